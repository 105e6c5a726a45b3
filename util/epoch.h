/*
 * Epochs: memory that is read without a lock is freed only when nobody can be reading it.
 *
 * A thread that reads has a struct epoch_reader and is either inside (between enter and leave) or
 * outside. A writer first makes the old object unreachable, then calls epoch_defer(); the object is
 * freed by a later epoch_reclaim() or epoch_wait(), once every reader that was inside at that time
 * has left, or has said epoch_pass(). Readers never wait; writers wait only in epoch_wait().
 *
 * The same mechanism serves flat views of guest memory, jump caches and translated code. For code,
 * a vCPU stays inside for as long as it runs and calls epoch_pass() in its run loop, at a point
 * where its shadow stack is empty and it holds no pointer into code.
 *
 * Readers are explicit, not thread-local: a guest's thread may be a task without a thread
 * descriptor of its own. Nothing here allocates, so it may run in any task that may take a lock.
 */
#ifndef TINAMOU_UTIL_EPOCH_H
#define TINAMOU_UTIL_EPOCH_H

#include "util/lock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct epoch_reader;

/* Embedded in what is to be freed. One may be waiting in one domain at a time. */
struct epoch_node {
    struct epoch_node *next;
    uint64_t epoch;
    void (*free)(struct epoch_node *node);
};

/* A domain: its readers hold up the reclaiming of its own objects only. */
struct epoch {
    _Atomic uint64_t now;         /* starts at 1, grows with each epoch_defer() */
    struct lock lock;             /* of what follows */
    struct epoch_reader *readers; /* registered ones */
    struct epoch_node *first;     /* deferred, oldest first */
    struct epoch_node *last;
    size_t deferred;
};

struct epoch_reader {
    _Atomic uint64_t seen; /* 0: outside; else a value of now read when it entered or passed */
    unsigned depth;        /* enters without their leaves */
    struct epoch *epoch;   /* NULL when not registered */
    struct epoch_reader *next, **link;
};

/* For a static domain; zeroed readers are unregistered ones. */
#define EPOCH_INIT \
    {              \
        .now = 1   \
    }

void epoch_init(struct epoch *epoch);

/* Adds a reader, outside. It must not be registered; it stays the caller's memory. Any thread. */
void epoch_register(struct epoch *epoch, struct epoch_reader *reader);

/* Removes a reader, which must be outside. Any thread. */
void epoch_unregister(struct epoch_reader *reader);

/*
 * What is loaded from shared memory after epoch_enter() stays valid until the matching
 * epoch_leave(). Pairs nest. Called by the one thread that uses the reader; the first enter costs a
 * full fence, a nested one an increment.
 */
static inline void epoch_enter(struct epoch_reader *reader)
{
    if (reader->depth++ == 0) {
        uint64_t now = atomic_load_explicit(&reader->epoch->now, memory_order_acquire);

        /* Sequentially consistent, as are the writer's steps in epoch.c: either the writer finds
         * this reader inside, or this reader finds the new pointer. */
        atomic_store_explicit(&reader->seen, now, memory_order_seq_cst);
        atomic_thread_fence(memory_order_seq_cst);
    }
}

static inline void epoch_leave(struct epoch_reader *reader)
{
    if (--reader->depth == 0) {
        atomic_store_explicit(&reader->seen, 0, memory_order_release);
    }
}

/* The same as leaving and entering again, at any depth: pointers loaded before are invalid now. */
static inline void epoch_pass(struct epoch_reader *reader)
{
    uint64_t now = atomic_load_explicit(&reader->epoch->now, memory_order_acquire);

    if (atomic_load_explicit(&reader->seen, memory_order_relaxed) != now) {
        atomic_store_explicit(&reader->seen, now, memory_order_seq_cst);
        atomic_thread_fence(memory_order_seq_cst);
    }
}

static inline bool epoch_is_inside(const struct epoch_reader *reader)
{
    return reader->depth != 0;
}

/*
 * Has free(node) called when no reader can hold the object any more. The caller has made it
 * unreachable before. Any thread, inside or outside; free() is called by the thread that reclaims,
 * without the domain's lock.
 */
void epoch_defer(struct epoch *epoch, struct epoch_node *node,
                 void (*free)(struct epoch_node *node));

/* Frees what can be freed now, and returns how many objects that were. Never waits. Any thread. */
size_t epoch_reclaim(struct epoch *epoch);

/*
 * Returns when everything deferred before the call has been freed, by this thread or another. Only
 * outside of this domain, and holding nothing that a reader needs to leave; readers that stay
 * inside for long have to be kicked by the caller. The last free() may still be running in another
 * thread that reclaims.
 */
void epoch_wait(struct epoch *epoch);

/*
 * In the child of a fork: forgets every reader but `self` (NULL: every reader), which belong to
 * threads that do not exist here, and makes the lock free.
 */
void epoch_after_fork(struct epoch *epoch, struct epoch_reader *self);

#endif
