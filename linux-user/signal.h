/*
 * Guest signals: actions, masks, delivery.
 *
 * Host and guest signal numbers are the same, 1 to 64, and none is reserved: host actions are set
 * with raw system calls. The host handler runs on an alternate host stack, records
 * (user_signal_slot), asks for an exit and returns; all delivery happens in the run loop, in
 * signal_deliver().
 */
#ifndef TINAMOU_LINUX_USER_SIGNAL_H
#define TINAMOU_LINUX_USER_SIGNAL_H

#include "linux-user/user.h"

/* Once, before the guest runs: host handlers for the synchronous signals, dispositions inherited
 * across execve. */
void signal_init(void);

/* For a new thread, on itself, before its first cpu_run(): host alternate stack, masks. 0 or
 * -errno. */
int signal_thread_start(struct user_thread *t);
void signal_thread_end(struct user_thread *t);

/*
 * A synchronous signal the guest caused: blocked or ignored ones kill, as in the kernel's
 * force_sig_fault(). addr is si_addr. Queued; delivered by the next signal_deliver().
 */
void signal_force(struct user_thread *t, int signo, int code, uint64_t addr);

/* Is there anything for signal_deliver() to do? Cheap; the run loop asks before every cpu_run(). */
bool signal_pending(const struct user_thread *t);

/*
 * Delivers what is deliverable: makes frames, or ends the process with the signal. Also resolves
 * t->syscall_restart: the system call is wound back (abi_syscall_again()) or answers -EINTR. Called
 * with registers in the state.
 */
void signal_deliver(struct user_thread *t);

/* Prints `--- SIGSEGV {...} ---` for -strace; signal_deliver() calls it. (strace.c) */
void strace_signal(struct user_thread *t, const siginfo_t *info);

#endif
