/*
 * Where a guest's path leads on the host.
 *
 * With -L PREFIX, an absolute path that exists below PREFIX is taken from there; every other path
 * is the host's own. What is below PREFIX is asked of the kernel each time, but folders found
 * missing in PREFIX are remembered, so that most paths cost no system call. Relative paths are
 * never redirected. Paths that create or remove names are not redirected either: use user_string()
 * for these.
 */
#ifndef TINAMOU_LINUX_USER_PATH_H
#define TINAMOU_LINUX_USER_PATH_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

struct user_path_buffer {
    char guest[PATH_MAX];    /* the guest's string */
    char host[2 * PATH_MAX]; /* the redirected path */
};

/* Sets -L's folder; NULL for none. 0, or -errno if it is no folder. */
int user_path_init(const char *prefix);

/* The host path for a guest path; `path` itself when it is not redirected. host[] has room for 2 *
 * PATH_MAX. Follows /proc/self/exe and its equals to the guest's executable. */
const char *user_path(const char *path, char *host);

/* Reads a guest string and maps it. 0 with *host pointing to the path (somewhere in buffer), or
 * -errno. */
int user_path_get(uint64_t guest, struct user_path_buffer *buffer, const char **host);

#endif
