/*
 * Guest threads and processes: clone, fork, vfork, execve, exit.
 */
#ifndef TINAMOU_LINUX_USER_THREAD_H
#define TINAMOU_LINUX_USER_THREAD_H

#include "linux-user/user.h"

/* Makes the calling host thread the first guest thread, for a vCPU that is set up. To be
 * followed by signal_init(). NULL when out of memory. */
struct user_thread *thread_main(struct cpu *cpu);

/* Ends the calling thread as the exit system call does: robust list, clear_child_tid, its memory.
 * The last thread ends the process. */
_Noreturn void thread_exit(struct user_thread *t, int status);

/* Ends the process as exit_group does; prints what -d stats asks for. */
_Noreturn void thread_exit_group(struct user_thread *t, int status);

/* Number of guest threads. */
unsigned thread_count(void);

/* Calls visit() for each thread, under the lock. */
void thread_each(void (*visit)(void *opaque, struct user_thread *t), void *opaque);

#endif
