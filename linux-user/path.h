/*
 * Where a guest's path leads on the host.
 *
 * With -L PREFIX, an absolute path that exists below PREFIX is taken from there, symbolic links
 * resolved as if PREFIX were the root; every other path is the host's own. PREFIX is asked each
 * time, but top folders missing in it are remembered, so that paths elsewhere cost no system call.
 * Not redirected are relative paths, and /proc, /dev, /sys, /run and /tmp, which are the host's
 * whatever PREFIX contains. Paths that create or remove names are not redirected either: use
 * user_string() for these.
 */
#ifndef TINAMOU_LINUX_USER_PATH_H
#define TINAMOU_LINUX_USER_PATH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct user_path_buffer {
    char guest[PATH_MAX];    /* the guest's string */
    char host[2 * PATH_MAX]; /* the redirected path */
};

/* Sets -L's folder; NULL for none. 0, or -errno if it is no folder. */
int user_path_init(const char *prefix);

/* The host path for a guest path; `path` itself when it is not redirected. host[] has room for
 * 2 * PATH_MAX. The process's own /proc/self/exe leads to the guest's executable. */
const char *user_path(const char *path, char *host);

/* The same for calls that do not follow a symbolic link in the last place (lstat, readlink). */
const char *user_path_link(const char *path, char *host);

/* Reads a guest string and maps it. 0 with *host pointing to the path (somewhere in buffer), or
 * -errno. */
int user_path_get(uint64_t guest, struct user_path_buffer *buffer, const char **host);
int user_path_get_link(uint64_t guest, struct user_path_buffer *buffer, const char **host);

#endif
