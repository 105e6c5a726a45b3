/*
 * The keeper: a process beside ours that has kept the rights which ours has given up, and uses them
 * for what was settled beforehand: it opens a few files to be read, and pays what the process owes
 * the host at its end (util/ending.h).
 *
 * It is forked off before rights are given up, and asked over a socket. It knows lists and numbers
 * only: whoever takes over our process can have it do earlier what it would do anyway. When the
 * process is gone, however that came, it pays what is left, and ends.
 */
#ifndef TINAMOU_SYSTEM_KEEPER_H
#define TINAMOU_SYSTEM_KEEPER_H

#include <stdbool.h>
#include <stddef.h>

struct keeper_config {
    /* What may be opened to be read: files by their path, and what is in folders, by paths that
     * begin with the folder's; both as the asker writes them. Lists end with NULL, and may be NULL.
     */
    const char *const *files, *const *folders;
    bool silent; /* commands that it runs have no standard error */
};

/* Starts it; endings are paid through it from now on. 0, or -errno with a line in error[]. Main
 * thread. */
int keeper_start(const struct keeper_config *config, char *error, size_t error_size);
/* Is there one? */
bool keeper_runs(void);

/*
 * Opens a file to be read: a descriptor that closes on exec, or -errno: -EPERM when it is not on
 * the list, or there is no keeper. A link on the list is followed; within a folder nothing leads
 * out of it. Any thread, async-signal-safe but not inside of itself.
 */
int keeper_open(const char *path);

#endif
