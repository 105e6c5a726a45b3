/*
 * A mutex for a process whose threads are made by the guest.
 *
 * A pthread mutex may look at the thread's own descriptor (owner, robust list, elision), which a
 * child made by clone(CLONE_VM) without one does not have. This is one futex word and nothing
 * else: any task that shares the memory may take it, and another may release it. It is not
 * recursive and not fair, and makes no use of errno or of thread-local storage beyond preserving
 * errno. A zeroed struct is an unlocked lock.
 *
 * After fork, the child may find locks held by threads it does not have: it calls lock_init() on
 * them. A lock may not be taken from a signal handler that could interrupt its holder.
 */
#ifndef TINAMOU_UTIL_LOCK_H
#define TINAMOU_UTIL_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct lock {
    uint32_t word; /* 0 free, 1 held, 2 held and perhaps waited for */
};

#define LOCK_INIT \
    {             \
        0         \
    }

/* Slow paths; call lock_acquire() and lock_release(). */
void lock_wait(struct lock *lock);
void lock_wake(struct lock *lock);

/* Makes the lock free, whatever it was. Nobody else may be using it. */
static inline void lock_init(struct lock *lock)
{
    __atomic_store_n(&lock->word, 0, __ATOMIC_RELEASE);
}

/* True: the caller holds the lock now. False: somebody else holds it. */
static inline bool lock_try(struct lock *lock)
{
    uint32_t unheld = 0;
    return __atomic_compare_exchange_n(&lock->word, &unheld, 1, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

/* Returns when the caller holds the lock. The caller must not hold it already. */
static inline void lock_acquire(struct lock *lock)
{
    if (!lock_try(lock)) {
        lock_wait(lock);
    }
}

/* Releases a lock that is held, whoever acquired it. */
static inline void lock_release(struct lock *lock)
{
    if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2) {
        lock_wake(lock);
    }
}

/* Is it held by anybody? For assertions only: the answer is old when it arrives. */
static inline bool lock_is_held(const struct lock *lock)
{
    return __atomic_load_n(&lock->word, __ATOMIC_RELAXED) != 0;
}

#endif
