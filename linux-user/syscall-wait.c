/*
 * System calls that wait for events, most with a temporary signal mask, and epoll, whose event is
 * packed on x86-64 and not elsewhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "linux-user/signal.h"
#include "linux-user/syscall-pass.h"
#include "linux-user/syscall.h"

#define SET_SIZE         8
#define EVENTS_ON_STACK  64
#define EPOLL_MAX_EVENTS (INT32_MAX / 16)
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

/* struct epoll_event of asm-generic. */
struct guest_event {
    uint32_t events, padding;
    uint64_t data;
};

int64_t sys_epoll_ctl(struct user_thread *t, const uint64_t args[6])
{
    struct guest_event guest;
    struct epoll_event host;

    if ((int)args[1] == EPOLL_CTL_DEL) {
        return user_safe_syscall(t, SYS_epoll_ctl, args[0], args[1], args[2], 0, 0, 0);
    }
    if (mem_guest_read(&guest, args[3], sizeof(guest)) < 0) {
        return -EFAULT;
    }
    host.events = guest.events;
    host.data.u64 = guest.data;
    return user_safe_syscall(t, SYS_epoll_ctl, args[0], args[1], args[2], (uint64_t)&host, 0, 0);
}

/* A wait with the mask at guest address `set` (0: none) of `set_size` bytes, in the argument
 * `set_index` of call nr. */
static int64_t wait_masked(struct user_thread *t, long nr, const uint64_t call[6], uint64_t set,
                           uint64_t set_size, unsigned set_index)
{
    uint64_t a[6], mask, host;
    int64_t result;

    memcpy(a, call, sizeof(a));
    if (!set) {
        a[set_index] = 0;
        return user_safe_syscall(t, nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    if (set_size != SET_SIZE) {
        return -EINVAL;
    }
    if (mem_guest_read(&mask, set, sizeof(mask)) < 0) {
        return -EFAULT;
    }
    host = signal_host_mask(mask);
    a[set_index] = (uint64_t)&host;
    result = signal_before_wait(t, mask);
    if (result == 0) {
        result = user_safe_syscall(t, nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    return signal_after_wait(t, mask, result);
}

static int64_t epoll_wait_any(struct user_thread *t, long nr, const uint64_t args[6])
{
    struct epoll_event some[EVENTS_ON_STACK], *events = some;
    int count = (int)args[2];
    uint64_t call[6] = {args[0], 0, args[2], args[3], 0, SET_SIZE};
    int64_t result;

    if (count <= 0 || count > EPOLL_MAX_EVENTS) {
        return -EINVAL;
    }
    if (count > EVENTS_ON_STACK) {
        events = malloc((size_t)count * sizeof(*events));
        if (!events) {
            return -ENOMEM;
        }
    }
    call[1] = (uint64_t)events;
    if (nr == SYS_epoll_pwait2) {
        call[3] = pass_address(args[3]);
    }
    result = wait_masked(t, nr, call, args[4], args[5], 4);
    for (int64_t i = 0; i < result; i++) {
        struct guest_event guest = {.events = events[i].events, .data = events[i].data.u64};

        if (mem_guest_write(args[1] + (uint64_t)i * sizeof(guest), &guest, sizeof(guest)) < 0) {
            result = i ? i : -EFAULT;
            break;
        }
    }
    if (events != some) {
        free(events);
    }
    return result;
}

int64_t sys_epoll_pwait(struct user_thread *t, const uint64_t args[6])
{
    return epoll_wait_any(t, SYS_epoll_pwait, args);
}

int64_t sys_epoll_pwait2(struct user_thread *t, const uint64_t args[6])
{
    return epoll_wait_any(t, SYS_epoll_pwait2, args);
}

int64_t sys_ppoll(struct user_thread *t, const uint64_t args[6])
{
    const uint64_t call[6] = {pass_address(args[0]), args[1], pass_address(args[2]), 0, SET_SIZE};

    return wait_masked(t, SYS_ppoll, call, args[3], args[4], 3);
}

/* The sixth argument of pselect6 and io_pgetevents. */
struct sized_set {
    uint64_t set, size;
};

int64_t sys_pselect6(struct user_thread *t, const uint64_t args[6])
{
    struct sized_set sized = {0, SET_SIZE};
    uint64_t mask, host;
    int64_t result;

    if (args[5] && mem_guest_read(&sized, args[5], sizeof(sized)) < 0) {
        return -EFAULT;
    }
    if (!sized.set) {
        return user_safe_syscall(t, SYS_pselect6, args[0], pass_address(args[1]),
                                 pass_address(args[2]), pass_address(args[3]),
                                 pass_address(args[4]), 0);
    }
    if (sized.size != SET_SIZE) {
        return -EINVAL;
    }
    if (mem_guest_read(&mask, sized.set, sizeof(mask)) < 0) {
        return -EFAULT;
    }
    host = signal_host_mask(mask);
    sized.set = (uint64_t)&host;
    result = signal_before_wait(t, mask);
    if (result == 0) {
        result = user_safe_syscall(t, SYS_pselect6, args[0], pass_address(args[1]),
                                   pass_address(args[2]), pass_address(args[3]),
                                   pass_address(args[4]), (uint64_t)&sized);
    }
    return signal_after_wait(t, mask, result);
}

int64_t sys_io_pgetevents(struct user_thread *t, const uint64_t args[6])
{
    struct sized_set sized = {0, SET_SIZE};
    uint64_t mask, host;
    int64_t result;

    if (mem_guest_base != 0) {
        return -ENOSYS; /* as io_setup */
    }
    if (args[5] && mem_guest_read(&sized, args[5], sizeof(sized)) < 0) {
        return -EFAULT;
    }
    if (!sized.set) {
        return user_safe_syscall(t, SYS_io_pgetevents, args[0], args[1], args[2], args[3], args[4],
                                 0);
    }
    if (sized.size != SET_SIZE) {
        return -EINVAL;
    }
    if (mem_guest_read(&mask, sized.set, sizeof(mask)) < 0) {
        return -EFAULT;
    }
    host = signal_host_mask(mask);
    sized.set = (uint64_t)&host;
    result = signal_before_wait(t, mask);
    if (result == 0) {
        result = user_safe_syscall(t, SYS_io_pgetevents, args[0], args[1], args[2], args[3],
                                   args[4], (uint64_t)&sized);
    }
    return signal_after_wait(t, mask, result);
}

/* The signals of faults never wait on the host, so that reading them from the descriptor is what is
 * missing here. */
int64_t sys_signalfd4(struct user_thread *t, const uint64_t args[6])
{
    return user_safe_syscall(t, SYS_signalfd4, args[0], pass_address(args[1]), args[2], args[3], 0,
                             0);
}
