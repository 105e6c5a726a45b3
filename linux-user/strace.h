/*
 * -strace: a line per system call, written when it returns (or before it, if it does not).
 */
#ifndef TINAMOU_LINUX_USER_STRACE_H
#define TINAMOU_LINUX_USER_STRACE_H

#include <signal.h>
#include "linux-user/syscall.h"

#define STRACE_LINE 1024

/* Formats name and arguments of the call in t->syscall_args to line[STRACE_LINE]. row may be NULL
 * (unknown number). Called before the call is made: arguments may be overwritten by it. */
void strace_enter(struct user_thread *t, const struct syscall_row *row, char *line);

/* Writes the line with the result; strace_no_result() for calls that don't return. */
void strace_leave(struct user_thread *t, const struct syscall_row *row, const char *line,
                  int64_t result);
void strace_no_result(struct user_thread *t, const char *line);

#endif
