/*
 * A deferred object carries the value that `now` had when it became unreachable; deferring moves
 * `now` on. A reader that was inside then has `seen` <= that value; one that enters afterwards has
 * a greater one, and has read it with acquire order, so it finds the object unreachable. The list
 * is in the order of these values, so reclaiming is cutting off a prefix.
 *
 * epoch_wait() polls: it is called when a machine is reconfigured or code memory is recycled, where
 * a microsecond more does not count, and polling keeps epoch_leave() a plain store.
 */
#include "util/epoch.h"

#include <assert.h>
#include <sched.h>
#include <time.h>

void epoch_init(struct epoch *epoch)
{
    *epoch = (struct epoch)EPOCH_INIT;
}

void epoch_register(struct epoch *epoch, struct epoch_reader *reader)
{
    assert(!reader->epoch);
    reader->depth = 0;
    atomic_store(&reader->seen, 0);
    lock_acquire(&epoch->lock);
    reader->epoch = epoch;
    reader->next = epoch->readers;
    reader->link = &epoch->readers;
    if (reader->next) {
        reader->next->link = &reader->next;
    }
    epoch->readers = reader;
    lock_release(&epoch->lock);
}

void epoch_unregister(struct epoch_reader *reader)
{
    struct epoch *epoch = reader->epoch;

    assert(epoch && !reader->depth);
    lock_acquire(&epoch->lock);
    *reader->link = reader->next;
    if (reader->next) {
        reader->next->link = reader->link;
    }
    reader->epoch = NULL;
    lock_release(&epoch->lock);
}

void epoch_defer(struct epoch *epoch, struct epoch_node *node,
                 void (*free)(struct epoch_node *node))
{
    node->free = free;
    node->next = NULL;
    lock_acquire(&epoch->lock);
    atomic_thread_fence(memory_order_seq_cst);
    node->epoch = atomic_fetch_add_explicit(&epoch->now, 1, memory_order_seq_cst);
    if (epoch->last) {
        epoch->last->next = node;
    } else {
        epoch->first = node;
    }
    epoch->last = node;
    epoch->deferred++;
    lock_release(&epoch->lock);
}

/* The least value that a reader inside has seen; the present one if there is none. */
static uint64_t epoch_oldest_locked(struct epoch *epoch)
{
    uint64_t oldest = atomic_load_explicit(&epoch->now, memory_order_seq_cst);

    atomic_thread_fence(memory_order_seq_cst);
    for (struct epoch_reader *r = epoch->readers; r; r = r->next) {
        uint64_t seen = atomic_load_explicit(&r->seen, memory_order_seq_cst);

        if (seen && seen < oldest) {
            oldest = seen;
        }
    }
    return oldest;
}

size_t epoch_reclaim(struct epoch *epoch)
{
    struct epoch_node *first, *end;
    size_t n = 0;

    lock_acquire(&epoch->lock);
    uint64_t oldest = epoch_oldest_locked(epoch);

    first = epoch->first;
    for (end = first; end && end->epoch < oldest; end = end->next) {
        n++;
    }
    epoch->first = end;
    if (!end) {
        epoch->last = NULL;
    }
    epoch->deferred -= n;
    lock_release(&epoch->lock);

    while (first != end) {
        struct epoch_node *next = first->next;

        first->free(first);
        first = next;
    }
    return n;
}

void epoch_wait(struct epoch *epoch)
{
    uint64_t limit = atomic_load(&epoch->now);

    for (unsigned tries = 0;; tries++) {
        epoch_reclaim(epoch);
        lock_acquire(&epoch->lock);
        bool done = !epoch->first || epoch->first->epoch >= limit;

        lock_release(&epoch->lock);
        if (done) {
            return;
        }
        if (tries < 100) {
            sched_yield();
        } else {
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
        }
    }
}

void epoch_after_fork(struct epoch *epoch, struct epoch_reader *self)
{
    lock_init(&epoch->lock);
    for (struct epoch_reader *r = epoch->readers, *next; r; r = next) {
        next = r->next;
        r->epoch = NULL;
    }
    epoch->readers = NULL;
    if (self) {
        self->epoch = epoch;
        self->next = NULL;
        self->link = &epoch->readers;
        epoch->readers = self;
    }
}
