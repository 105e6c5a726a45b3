/* System calls on the process and its threads: ends, identities, limits, prctl. */
#include <errno.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "linux-user/abi.h"
#include "linux-user/syscall-pass.h"
#include "linux-user/syscall.h"
#include "linux-user/thread.h"
#include "util/log.h"

#define ROBUST_HEAD_SIZE 24
#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif
#ifndef PR_GET_AUXV
#define PR_GET_AUXV 0x41555856
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif

/* The emulator's own address space beside the guest's: RLIMIT_AS of the host is the guest's and
 * this. */
#define OWN_ADDRESS_SPACE (8ull << 30)

int64_t sys_exit(struct user_thread *t, const uint64_t args[6])
{
    thread_exit(t, (int)args[0] & 0xff);
}

int64_t sys_exit_group(struct user_thread *t, const uint64_t args[6])
{
    thread_exit_group(t, (int)args[0] & 0xff);
}

int64_t sys_set_tid_address(struct user_thread *t, const uint64_t args[6])
{
    t->clear_child_tid = args[0];
    return t->tid;
}

/* The list is walked by thread_exit(). The host's kernel gets it too, where addresses agree: it
 * walks it when the process is killed. */
int64_t sys_set_robust_list(struct user_thread *t, const uint64_t args[6])
{
    if (args[1] != ROBUST_HEAD_SIZE) {
        return -EINVAL;
    }
    t->robust_list = args[0];
    if (mem_guest_base == 0) {
        user_host_syscall(SYS_set_robust_list, args[0], args[1], 0, 0, 0, 0);
    }
    return 0;
}

struct robust_query {
    int tid;
    bool found;
    uint64_t head;
};

static void robust_one(void *opaque, struct user_thread *t)
{
    struct robust_query *query = opaque;

    if (t->tid == query->tid) {
        query->found = true;
        query->head = t->robust_list;
    }
}

int64_t sys_get_robust_list(struct user_thread *t, const uint64_t args[6])
{
    struct robust_query query = {.tid = (int)args[0] ? (int)args[0] : t->tid};
    const uint64_t size = ROBUST_HEAD_SIZE;

    thread_each(robust_one, &query);
    if (!query.found) {
        return user_safe_syscall(t, SYS_get_robust_list, args[0], pass_address(args[1]),
                                 pass_address(args[2]), 0, 0, 0);
    }
    if (mem_guest_write(args[2], &size, sizeof(size)) < 0 ||
        mem_guest_write(args[1], &query.head, sizeof(query.head)) < 0) {
        return -EFAULT;
    }
    return 0;
}

int64_t sys_futex(struct user_thread *t, const uint64_t args[6])
{
    uint64_t timeout = args[3];

    /* Other commands have a number in the timeout's place. */
    switch ((int)args[1] & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
    case FUTEX_WAIT_REQUEUE_PI:
        timeout = pass_address(timeout);
        break;
    default:
        break;
    }
    return user_safe_syscall(t, SYS_futex, pass_address(args[0]), args[1], args[2], timeout,
                             pass_address(args[4]), args[5]);
}

int64_t sys_unshare(struct user_thread *t, const uint64_t args[6])
{
    const uint64_t of_threads = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;
    uint64_t flags = args[0];

    /* The host's answer would count threads of ours. */
    if (flags & of_threads) {
        if (thread_count() > 1) {
            return -EINVAL;
        }
        flags &= ~of_threads;
    }
    return user_safe_syscall(t, SYS_unshare, flags, 0, 0, 0, 0, 0);
}

/* ---- prctl ---------------------------------------------------------------------------------- */

static int64_t get_auxv(const uint64_t args[6])
{
    size_t size = user_process.auxv_size;

    if (args[3] || args[4]) {
        return -EINVAL;
    }
    if (mem_guest_write(args[1], user_process.auxv, size < args[2] ? size : args[2]) < 0) {
        return -EFAULT;
    }
    return (int64_t)size;
}

int64_t sys_prctl(struct user_thread *t, const uint64_t args[6])
{
    uint64_t a[5] = {args[0], args[1], args[2], args[3], args[4]};

    switch ((uint32_t)args[0]) {
    case PR_GET_AUXV:
        return get_auxv(args);
    case PR_GET_SECCOMP:
        return 0;
    case PR_GET_MDWE:
        return 0;
    /* These would rule the emulator's own calls, memory and instructions; or they are of other
     * architectures than the guest's. */
    case PR_SET_SECCOMP:
    case PR_SET_SYSCALL_USER_DISPATCH:
    case PR_SET_MM:
    case PR_SET_MDWE:
    case PR_SET_TSC:
    case PR_GET_TSC:
    case PR_SET_UNALIGN:
    case PR_GET_UNALIGN:
    case PR_SET_FPEMU:
    case PR_GET_FPEMU:
    case PR_SET_FPEXC:
    case PR_GET_FPEXC:
    case PR_SET_ENDIAN:
    case PR_GET_ENDIAN:
    case PR_SET_FP_MODE:
    case PR_GET_FP_MODE:
    case PR_SVE_SET_VL:
    case PR_SVE_GET_VL:
    case PR_PAC_RESET_KEYS:
    case PR_SET_TAGGED_ADDR_CTRL:
    case PR_GET_TAGGED_ADDR_CTRL:
        log_limited(LOG_UNIMP, "prctl option %d is refused\n", (int)args[0]);
        return -EINVAL;
    case PR_GET_TID_ADDRESS:
        return mem_guest_write(args[1], &t->clear_child_tid, sizeof(uint64_t)) < 0 ? -EFAULT : 0;
    case PR_SET_NAME:
    case PR_GET_NAME:
    case PR_GET_PDEATHSIG:
    case PR_GET_CHILD_SUBREAPER:
        a[1] = pass_address(args[1]);
        break;
    case PR_SET_VMA:
        a[2] = pass_address(args[2]);
        a[4] = pass_address(args[4]);
        break;
    default:
        break;
    }
    return user_safe_syscall(t, SYS_prctl, a[0], a[1], a[2], a[3], a[4], 0);
}

/* As a kernel that has the call and no filters. */
int64_t sys_seccomp(struct user_thread *t, const uint64_t args[6])
{
    const uint32_t get_action_avail = 2;

    log_limited(LOG_UNIMP, "seccomp operation %u is refused\n", (unsigned)args[0]);
    return (uint32_t)args[0] == get_action_avail ? -EOPNOTSUPP : -EINVAL;
}

/* ---- limits --------------------------------------------------------------------------------- */

static uint64_t limit_to_host(uint64_t guest)
{
    return guest >= RLIM_INFINITY - OWN_ADDRESS_SPACE ? RLIM_INFINITY : guest + OWN_ADDRESS_SPACE;
}

static uint64_t limit_to_guest(uint64_t host)
{
    if (host == RLIM_INFINITY) {
        return host;
    }
    return host > OWN_ADDRESS_SPACE ? host - OWN_ADDRESS_SPACE : 0;
}

static int64_t limits(struct user_thread *t, uint64_t pid, int resource, uint64_t new, uint64_t old)
{
    struct rlimit64 set, got;
    bool address_space = resource == RLIMIT_AS;
    int64_t result;

    if (new) {
        if (mem_guest_read(&set, new, sizeof(set)) < 0) {
            return -EFAULT;
        }
        if (address_space) {
            set.rlim_cur = limit_to_host(set.rlim_cur);
            set.rlim_max = limit_to_host(set.rlim_max);
        }
    }
    result = user_safe_syscall(t, SYS_prlimit64, pid, (uint64_t)resource, new ? (uint64_t)&set : 0,
                               old ? (uint64_t)&got : 0, 0, 0);
    if (result == 0 && old) {
        if (address_space) {
            got.rlim_cur = limit_to_guest(got.rlim_cur);
            got.rlim_max = limit_to_guest(got.rlim_max);
        }
        if (mem_guest_write(old, &got, sizeof(got)) < 0) {
            return -EFAULT;
        }
    }
    return result;
}

int64_t sys_setrlimit(struct user_thread *t, const uint64_t args[6])
{
    return args[1] ? limits(t, 0, (int)args[0], args[1], 0) : -EFAULT;
}

int64_t sys_getrlimit(struct user_thread *t, const uint64_t args[6])
{
    return args[1] ? limits(t, 0, (int)args[0], 0, args[1]) : -EFAULT;
}

int64_t sys_prlimit64(struct user_thread *t, const uint64_t args[6])
{
    return limits(t, args[0], (int)args[1], args[2], args[3]);
}

int64_t sys_uname(struct user_thread *t, const uint64_t args[6])
{
    struct utsname name;
    int64_t result = user_safe_syscall(t, SYS_uname, (uint64_t)&name, 0, 0, 0, 0, 0);

    if (result < 0) {
        return result;
    }
    memset(name.machine, 0, sizeof(name.machine));
    strncpy(name.machine, abi_machine, sizeof(name.machine) - 1);
    if (user_process.uname_release) {
        memset(name.release, 0, sizeof(name.release));
        strncpy(name.release, user_process.uname_release, sizeof(name.release) - 1);
    }
    return mem_guest_write(args[0], &name, sizeof(name)) < 0 ? -EFAULT : 0;
}
