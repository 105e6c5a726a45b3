/*
 * The other process waits for the end of a pipe whose other end is open in ours alone: the kernel
 * lets go of a process's memory first and of its descriptors then. It shares memory with us and so
 * is no safer than we are: whoever takes us over can rewrite what it does next. Therefore it is in
 * seccomp's strict mode: read, write and the end are all that it can ever do.
 */
#include "system/teardown.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STACK = 64 << 10 };

static _Atomic long strict = 1; /* 0: it is; else -errno, or 1 while it is not known yet */

/* Without errno, which is the main thread's here: the pointer to it was inherited. */
static long call(long number, long a, long b, long c, long d)
{
    register long fourth __asm__("r10") = d;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}

static int wait_for_end(void *opaque)
{
    long fd = (long)(intptr_t)opaque;
    uint64_t all = ~UINT64_C(0);
    long result;
    char byte;

    call(SYS_rt_sigprocmask, SIG_SETMASK, (long)(intptr_t)&all, 0, sizeof(all));
    call(SYS_prctl, PR_SET_NAME, (long)(intptr_t) "tinamou-cleanup", 0, 0);
    if (fd > 0) {
        call(SYS_close_range, 0, fd - 1, 0, 0);
    }
    call(SYS_close_range, fd + 1, UINT_MAX, 0, 0);
    result = call(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0);
    atomic_store(&strict, result);
    while (result == 0 && call(SYS_read, fd, (long)(intptr_t)&byte, 1, 0) == -EINTR) {
    }
    call(SYS_exit, 0, 0, 0, 0);
    return 0;
}

int teardown_start(char *error, size_t error_size)
{
    int ends[2], err;
    uint8_t *stack;

    if (pipe2(ends, O_CLOEXEC) < 0) {
        err = -errno;
        snprintf(error, error_size, "-run-with async-teardown=on: %s", strerror(-err));
        return err;
    }
    stack =
        mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED ||
        clone(wait_for_end, stack + STACK, CLONE_VM, (void *)(intptr_t)ends[0]) < 0) {
        err = -errno;
        snprintf(error, error_size, "-run-with async-teardown=on: %s", strerror(-err));
        return err;
    }
    close(ends[0]);
    /* No guest runs before it is harmless. */
    while (atomic_load(&strict) > 0) {
        sched_yield();
    }
    err = (int)atomic_load(&strict);
    if (err) {
        snprintf(error, error_size, "-run-with async-teardown=on: seccomp: %s", strerror(-err));
    }
    return err;
}
