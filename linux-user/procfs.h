/*
 * Files of /proc that would show the emulator instead of the guest: self/maps, exe, cmdline, auxv,
 * stat, environ, and cpuinfo; `self` may also be `thread-self`, `self/task/TID` or the process's
 * own number. Opening one gives a memory-backed file with the guest's content.
 */
#ifndef TINAMOU_LINUX_USER_PROCFS_H
#define TINAMOU_LINUX_USER_PROCFS_H

#include "linux-user/user.h"

#define PROCFS_NOT_OURS INT64_MAX

/* openat() of a guest path: descriptor, -errno, or PROCFS_NOT_OURS (open it yourself). dirfd counts
 * for relative paths only, which are looked at when they could lead into /proc. */
int64_t procfs_open(struct user_thread *t, int dirfd, const char *path, int flags);

/* readlinkat(): length written to buffer (no NUL), -errno, or PROCFS_NOT_OURS. */
int64_t procfs_readlink(struct user_thread *t, int dirfd, const char *path, char *buffer,
                        size_t size);

/* Is path the process's own `exe` link? Then execve, stat and open go to user_process.exe_path. */
bool procfs_is_exe(const char *path);

#endif
