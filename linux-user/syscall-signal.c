/* System calls on signals: guest memory in and out of signal.c. */
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>

#include "linux-user/abi.h"
#include "linux-user/signal.h"
#include "linux-user/syscall-pass.h"
#include "linux-user/syscall.h"

#define SET_SIZE 8

int64_t sys_rt_sigaction(struct user_thread *t, const uint64_t args[6])
{
    struct signal_action new, old;
    int64_t result;

    if (args[3] != SET_SIZE) {
        return -EINVAL;
    }
    if (args[1] && mem_guest_read(&new, args[1], sizeof(new)) < 0) {
        return -EFAULT;
    }
    result = signal_set_action(t, (int)args[0], args[1] ? &new : NULL, &old);
    if (result == 0 && args[2] && mem_guest_write(args[2], &old, sizeof(old)) < 0) {
        return -EFAULT;
    }
    return result;
}

int64_t sys_rt_sigprocmask(struct user_thread *t, const uint64_t args[6])
{
    const uint64_t old = t->sigmask;
    uint64_t set, mask = old;
    int64_t result;

    if (args[3] != SET_SIZE) {
        return -EINVAL;
    }
    if (args[1]) {
        if (mem_guest_read(&set, args[1], sizeof(set)) < 0) {
            return -EFAULT;
        }
        switch ((int)args[0]) {
        case SIG_BLOCK:
            mask |= set;
            break;
        case SIG_UNBLOCK:
            mask &= ~set;
            break;
        case SIG_SETMASK:
            mask = set;
            break;
        default:
            return -EINVAL;
        }
        result = signal_set_mask(t, mask);
        if (result < 0) {
            return result;
        }
    }
    if (args[2] && mem_guest_write(args[2], &old, sizeof(old)) < 0) {
        return -EFAULT;
    }
    return 0;
}

int64_t sys_rt_sigpending(struct user_thread *t, const uint64_t args[6])
{
    uint64_t set = 0;
    int64_t result;

    if (args[1] > SET_SIZE) {
        return -EINVAL;
    }
    result = user_safe_syscall(t, SYS_rt_sigpending, (uint64_t)&set, sizeof(set), 0, 0, 0, 0);
    if (result < 0) {
        return result;
    }
    set |= signal_pending_faults(t);
    return mem_guest_write(args[0], &set, args[1]) < 0 ? -EFAULT : 0;
}

int64_t sys_rt_sigsuspend(struct user_thread *t, const uint64_t args[6])
{
    uint64_t mask, host;
    int64_t result;

    if (args[1] != SET_SIZE) {
        return -EINVAL;
    }
    if (mem_guest_read(&mask, args[0], sizeof(mask)) < 0) {
        return -EFAULT;
    }
    host = signal_host_mask(mask);
    result = signal_before_wait(t, mask);
    if (result == 0) {
        result = user_safe_syscall(t, SYS_rt_sigsuspend, (uint64_t)&host, sizeof(host), 0, 0, 0, 0);
    }
    return signal_after_wait(t, mask, result);
}

int64_t sys_rt_sigtimedwait(struct user_thread *t, const uint64_t args[6])
{
    uint64_t set;
    siginfo_t info;
    struct timespec timeout;
    int64_t result;

    if (args[3] != SET_SIZE) {
        return -EINVAL;
    }
    if (mem_guest_read(&set, args[0], sizeof(set)) < 0 ||
        (args[2] && mem_guest_read(&timeout, args[2], sizeof(timeout)) < 0)) {
        return -EFAULT;
    }
    /* Those of the five that are pending are here; the host never has them pending. One that comes
     * while we wait ends the wait, is kept pending by signal_deliver(), and found on repetition. */
    result = signal_take_fault(t, set, &info);
    if (result == 0) {
        uint64_t host = signal_host_mask(set);

        result = user_safe_syscall(t, SYS_rt_sigtimedwait, (uint64_t)&host, (uint64_t)&info,
                                   args[2] ? (uint64_t)&timeout : 0, sizeof(host), 0, 0);
        if (result == -EINTR && (set & SIGNAL_FAULTS) && signal_fault_recorded(t)) {
            return -USER_ERESTARTNOINTR;
        }
    }
    if (result > 0 && args[1] && mem_guest_write(args[1], &info, sizeof(info)) < 0) {
        return -EFAULT;
    }
    return result;
}

int64_t sys_rt_sigreturn(struct user_thread *t, const uint64_t args[6])
{
    struct user_altstack stack;
    uint64_t mask;
    int64_t result;

    if (abi_sigframe_mask(t, &mask) < 0) {
        return signal_bad_return(t);
    }
    result = signal_set_mask(t, mask);
    if (result < 0) {
        return result;
    }
    if (abi_sigframe_pop(t, &mask, &stack) < 0) {
        return signal_bad_return(t);
    }
    /* The kernel takes no notice of a stack it would refuse, either. */
    signal_set_altstack(t, &stack, NULL, abi_sp(t->cpu));
    return -USER_ESIGRETURN;
}

int64_t sys_sigaltstack(struct user_thread *t, const uint64_t args[6])
{
    struct {
        uint64_t sp;
        int32_t flags, padding;
        uint64_t size;
    } memory;
    struct user_altstack new, old;
    int64_t result;

    if (args[0]) {
        if (mem_guest_read(&memory, args[0], sizeof(memory)) < 0) {
            return -EFAULT;
        }
        new = (struct user_altstack){
            .sp = memory.sp, .size = memory.size, .flags = (uint32_t)memory.flags};
    }
    result = signal_set_altstack(t, args[0] ? &new : NULL, &old, abi_sp(t->cpu));
    if (result == 0 && args[1]) {
        memory.sp = old.sp;
        memory.size = old.size;
        memory.flags = (int32_t)old.flags;
        memory.padding = 0;
        if (mem_guest_write(args[1], &memory, sizeof(memory)) < 0) {
            return -EFAULT;
        }
    }
    return result;
}

/* The host kernel continues what it has interrupted by itself; a guest that asks for it has nothing
 * to continue. */
int64_t sys_restart_syscall(struct user_thread *t, const uint64_t args[6])
{
    return -EINTR;
}
