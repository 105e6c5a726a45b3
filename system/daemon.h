/* Going into the background, and what the process gives up before it runs a guest. */
#ifndef TINAMOU_SYSTEM_DAEMON_H
#define TINAMOU_SYSTEM_DAEMON_H

#include <stddef.h>

/*
 * -daemonize: forks; the parent waits for daemon_ready() and ends with status 0, or with status 1
 * when the child ends before. Before threads are made.
 */
void daemon_fork(void);

/* -pidfile: writes it and holds a lock on it, so that no other machine has the same; it is removed
 * when the process exits. */
int daemon_write_pidfile(const char *path, char *error, size_t error_size);

/* Opens what daemon_ready() needs, while that is possible. */
void daemon_prepare(void);

/* The machine is there: the parent may end, and the terminal is let go of. No file is opened, and
 * no right is needed. */
void daemon_ready(void);

#endif
