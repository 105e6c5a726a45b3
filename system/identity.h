/*
 * Who the process is: its user and groups, its root folder, its capabilities. All of this is given
 * up for good.
 */
#ifndef TINAMOU_SYSTEM_IDENTITY_H
#define TINAMOU_SYSTEM_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct identity {
    char *name; /* whose groups these are; NULL: the one group only */
    uid_t uid;
    gid_t gid;
};

/* A user by name, or "UID:GID". `option` names it in messages. 0, or -errno with a line in error[].
 */
int identity_find(struct identity *identity, const char *option, const char *text, char *error,
                  size_t error_size);
/* Makes it the process's: supplementary groups, group, user, in this order, on all threads. */
int identity_become(const struct identity *identity, const char *option, char *error,
                    size_t error_size);

/* A folder becomes the root and the working folder. */
int identity_chroot(const char *option, const char *folder, char *error, size_t error_size);

/*
 * Capabilities of the calling thread, by libcap-ng: what programs that it executes may ever get
 * (the bounding set: needs CAP_SETPCAP; without that nothing happens, and no_new_privs says the
 * same), and then all that it has (effective, permitted, inheritable, ambient). 0, -ENOTSUP when
 * built without libcap-ng, or -EPERM.
 */
int identity_drop_bounds(void);
int identity_drop_capabilities(void);

#endif
