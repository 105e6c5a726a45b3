/*
 * Landlock (Linux 5.13): the kernel's own rules about files, which hold whatever way an access
 * takes; a filter of system calls sees the ways, and not the files. Here everything is forbidden:
 * no file is opened, made, renamed, removed or executed, and no TCP port is bound or connected to
 * by a machine without sockets (Linux 6.7). What is open stays usable. Where the kernel has no
 * Landlock the filter alone says the same.
 */
#ifndef TINAMOU_SYSTEM_LANDLOCK_H
#define TINAMOU_SYSTEM_LANDLOCK_H

#include <stdbool.h>

/* Makes the rules: a descriptor; -1: the kernel has no Landlock. `sockets`: connections may be
 * made. */
int landlock_prepare(bool sockets);

/* Puts the calling thread, and the threads that it makes, under the rules. It has no_new_privs. 0
 * or -errno. */
int landlock_apply(int rules);

#endif
