/*
 * Locks on byte ranges, for drivers whose requests run at once on several workers: a
 * read-modify-write, an allocation or a copy excludes what overlaps it.
 *
 * A waiter blocks its worker; the holder runs on another worker already, or is an asynchronous
 * request of the host, so it ends without a free worker. Hold one lock at a time, or take several
 * in ascending order of offsets. Locks are granted in the order of asking where they overlap.
 */
#ifndef TINAMOU_IO_BLOCK_RANGE_LOCK_H
#define TINAMOU_IO_BLOCK_RANGE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* One lock that is held or waited for; on the holder's stack. */
struct range_lock {
    uint64_t offset, size;
    bool exclusive;
    struct range_lock *next; /* younger */
};

struct range_locks {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct range_lock *first; /* oldest */
};

void range_locks_init(struct range_locks *locks);
/* Nothing is held. */
void range_locks_destroy(struct range_locks *locks);

/* Returns when no older lock overlaps, except that shared ones overlap each other. */
void range_lock_acquire(struct range_locks *locks, struct range_lock *lock, uint64_t offset,
                        uint64_t size, bool exclusive);
/* Takes it if that needs no waiting; else false, and nothing is held. */
bool range_lock_try(struct range_locks *locks, struct range_lock *lock, uint64_t offset,
                    uint64_t size, bool exclusive);
/* Any thread, not only the one that acquired it. */
void range_lock_release(struct range_locks *locks, struct range_lock *lock);

#endif
