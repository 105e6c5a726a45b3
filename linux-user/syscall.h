/*
 * The table of system calls.
 *
 * syscalls.def has one row per system call by name: strace signature, handler, support level,
 * flags. A/syscall-numbers.def gives architecture A's number for a name. So a call is described
 * once for all architectures, and an architecture that lacks a call has no number for it.
 *
 *     SYSCALL(openat, "fd s open o", sys_openat, FULL, RESTART)
 *
 * Signature: a word per argument, space separated, then optionally `= word` for the result (default
 * `d`):
 *
 *     d u      signed, unsigned 32-bit decimal        l  signed 64-bit decimal
 *     x p      hexadecimal, guest address             o  octal mode
 *     s        guest string (paths, names)            fd descriptor, or AT_FDCWD
 *     b        guest bytes; the next argument is how many
 *     sig      signal number                          at   AT_* flags
 *     open prot map clone futex                       flag sets and commands of these calls
 *     -        argument not printed
 *     path     guest string that is looked up under -L
 *     link     the same, not following a symbolic link in the last place
 *     B        bytes the call writes to the guest; the next argument is how many at most
 *     iov      array of iovec; the next argument is how many
 *     ts set   address of a timespec, of a signal set
 *
 * p, s, b, B, path, iov, ts and set are addresses; syscall-pass.c depends on it.
 *
 * Handlers get the raw register values. A 32-bit argument's upper half is whatever the guest left
 * there: cast it.
 */
#ifndef TINAMOU_LINUX_USER_SYSCALL_H
#define TINAMOU_LINUX_USER_SYSCALL_H

#include "linux-user/user.h"

/* Result: a value, -errno, or a negative USER_E... code. May not return (exit). */
typedef int64_t syscall_handler(struct user_thread *t, const uint64_t args[6]);

enum syscall_level {
    SYSCALL_FULL,    /* as Linux, as far as we know */
    SYSCALL_PARTIAL, /* some commands or flags answer an error; the handler says which */
    SYSCALL_ABSENT,  /* answers -ENOSYS; logged with -d unimp */
};

enum {
    SYSCALL_NONE = 0,
    SYSCALL_NORETURN =
        2, /* does not come back as a rule: strace ends the line before the handler */
};

struct syscall_row {
    const char *name;
    const char *signature;
    syscall_handler *handler; /* NULL: absent */
    uint8_t level, flags;
};

/* The row of a number of the guest architecture; NULL if it has no such call. (syscall.c) */
const struct syscall_row *syscall_row(int64_t nr);

/*
 * Makes the system call that t->syscall_nr and t->syscall_args describe: strace, handler,
 * statistics. Returns what goes into the result register, or a negative USER_E... code. Also how
 * restart_syscall's handler is reached.
 */
int64_t syscall_make(struct user_thread *t);

/* Calls line() with "NUMBER NAME LEVEL" for every row of the architecture. */
void syscall_list(void (*line)(void *opaque, const char *text), void *opaque);

/* Handlers, wherever they live. */
#define SYSCALL(name, signature, handler, level, flags) syscall_handler handler;
#define SYSCALL_MISSING(name, signature)
#include "linux-user/syscalls.def"
#undef SYSCALL
#undef SYSCALL_MISSING

#endif
