/*
 * -run-with async-teardown=on: the memory of a large machine takes the kernel seconds to free, and
 * as long nobody is told that the process has ended. So another process has the same memory, and
 * outlives ours for just that.
 */
#ifndef TINAMOU_SYSTEM_TEARDOWN_H
#define TINAMOU_SYSTEM_TEARDOWN_H

#include <stddef.h>

/* Starts that process. It may do nothing but wait for the end of ours. 0, or -errno with a line in
 * error[]. Main thread; when rights are given up, before the filter of system calls. */
int teardown_start(char *error, size_t error_size);

#endif
