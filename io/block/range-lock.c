/*
 * One list in the order of asking, holders and waiters alike: a lock is granted when nothing older
 * conflicts with it. So nobody starves, and a list that is as long as there are requests under way
 * needs no tree.
 */
#include "io/block/range-lock.h"

#include <stddef.h>

void range_locks_init(struct range_locks *locks)
{
    pthread_mutex_init(&locks->lock, NULL);
    pthread_cond_init(&locks->changed, NULL);
    locks->first = NULL;
}

void range_locks_destroy(struct range_locks *locks)
{
    pthread_cond_destroy(&locks->changed);
    pthread_mutex_destroy(&locks->lock);
}

static bool conflicts(const struct range_lock *a, const struct range_lock *b)
{
    return (a->exclusive || b->exclusive) && a->offset < b->offset + b->size &&
           b->offset < a->offset + a->size;
}

static bool blocked_locked(const struct range_locks *locks, const struct range_lock *lock)
{
    for (const struct range_lock *l = locks->first; l != lock; l = l->next) {
        if (conflicts(l, lock)) {
            return true;
        }
    }
    return false;
}

static void enqueue_locked(struct range_locks *locks, struct range_lock *lock, uint64_t offset,
                           uint64_t size, bool exclusive)
{
    struct range_lock **at = &locks->first;

    *lock = (struct range_lock){.offset = offset, .size = size, .exclusive = exclusive};
    while (*at) {
        at = &(*at)->next;
    }
    *at = lock;
}

static void dequeue_locked(struct range_locks *locks, struct range_lock *lock)
{
    struct range_lock **at = &locks->first;

    while (*at != lock) {
        at = &(*at)->next;
    }
    *at = lock->next;
}

void range_lock_acquire(struct range_locks *locks, struct range_lock *lock, uint64_t offset,
                        uint64_t size, bool exclusive)
{
    pthread_mutex_lock(&locks->lock);
    enqueue_locked(locks, lock, offset, size, exclusive);
    while (blocked_locked(locks, lock)) {
        pthread_cond_wait(&locks->changed, &locks->lock);
    }
    pthread_mutex_unlock(&locks->lock);
}

bool range_lock_try(struct range_locks *locks, struct range_lock *lock, uint64_t offset,
                    uint64_t size, bool exclusive)
{
    pthread_mutex_lock(&locks->lock);
    enqueue_locked(locks, lock, offset, size, exclusive);
    bool held = !blocked_locked(locks, lock);

    if (!held) {
        dequeue_locked(locks, lock);
    }
    pthread_mutex_unlock(&locks->lock);
    return held;
}

void range_lock_release(struct range_locks *locks, struct range_lock *lock)
{
    pthread_mutex_lock(&locks->lock);
    dequeue_locked(locks, lock);
    pthread_cond_broadcast(&locks->changed);
    pthread_mutex_unlock(&locks->lock);
}
