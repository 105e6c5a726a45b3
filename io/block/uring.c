/*
 * A ring for each loop: the loop watches the ring's descriptor for completions, and a bottom half
 * submits what one round has gathered.
 *
 * The loop's thread alone touches its ring; a thread-local pointer finds it, the list of all rings
 * is for the end and for threads that run several loops. When the kernel forbids io_uring (seccomp,
 * sysctl), that is found out once, and everything goes by workers.
 */
#include "io/block/uring.h"
#include "build/config.h"
#include "io/loop/loop.h"

#include <pthread.h>
#include <stddef.h>

#ifdef CONFIG_URING

#include <liburing.h>
#include <stdlib.h>

#define ENTRIES 128

struct ring {
    struct loop *loop;
    struct io_uring uring;
    struct loop_fd *watch;
    struct loop_bh *bh;             /* submits */
    struct uring_op *first, **last; /* gathered, and not in the ring yet */
    unsigned under_way;
    struct ring *next;
};

static struct ring *rings;
static pthread_mutex_t rings_lock = PTHREAD_MUTEX_INITIALIZER;
static bool forbidden;                         /* atomic */
static unsigned generation;                    /* atomic: counts rings that are gone */
static _Thread_local struct ring *mine;        /* the last one that was looked up ... */
static _Thread_local unsigned mine_generation; /* ... which exists if none has gone since */

static void prepare(struct io_uring_sqe *sqe, const struct uring_op *op)
{
    switch (op->kind) {
    case URING_READ:
        io_uring_prep_readv(sqe, op->fd, op->iov, op->iov_count, op->offset);
        break;
    case URING_WRITE:
        io_uring_prep_writev2(sqe, op->fd, op->iov, op->iov_count, op->offset, op->rw_flags);
        break;
    case URING_FDATASYNC:
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
        break;
    }
    io_uring_sqe_set_data(sqe, (void *)op);
}

static void submit_gathered(void *opaque)
{
    struct ring *ring = opaque;

    while (ring->first && ring->under_way < ENTRIES) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

        if (!sqe) {
            break;
        }
        prepare(sqe, ring->first);
        ring->first = ring->first->next;
        ring->under_way++;
    }
    if (!ring->first) {
        ring->last = &ring->first;
    }
    if (io_uring_submit(&ring->uring) < 0 || io_uring_sq_ready(&ring->uring)) {
        loop_bh_schedule(ring->bh); /* the kernel is short of something for now */
    }
}

static void completed(void *opaque, unsigned events)
{
    struct ring *ring = opaque;
    struct io_uring_cqe *cqe;

    while (io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
        struct uring_op *op = io_uring_cqe_get_data(cqe);
        int result = cqe->res;

        io_uring_cqe_seen(&ring->uring, cqe);
        ring->under_way--;
        op->done(op, result);
    }
    if (ring->first) {
        submit_gathered(ring);
    }
}

static void free_ring(struct ring *ring)
{
    if (ring->watch) {
        loop_fd_remove(ring->watch);
    }
    if (ring->bh) {
        loop_bh_destroy(ring->bh);
    }
    io_uring_queue_exit(&ring->uring);
    free(ring);
}

static struct ring *create_ring(struct loop *loop)
{
    struct ring *ring = calloc(1, sizeof(*ring));

    if (!ring) {
        return NULL;
    }
    if (io_uring_queue_init(ENTRIES, &ring->uring, 0) < 0) {
        __atomic_store_n(&forbidden, true, __ATOMIC_RELAXED);
        free(ring);
        return NULL;
    }
    ring->loop = loop;
    ring->last = &ring->first;
    ring->watch = loop_fd_add(loop, ring->uring.ring_fd, LOOP_IN, completed, ring);
    ring->bh = loop_bh_create(loop, submit_gathered, ring);
    if (!ring->watch || !ring->bh) {
        free_ring(ring);
        return NULL;
    }
    pthread_mutex_lock(&rings_lock);
    ring->next = rings;
    rings = ring;
    pthread_mutex_unlock(&rings_lock);
    return ring;
}

static struct ring *ring_of(struct loop *loop)
{
    unsigned g = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);

    if (g != mine_generation || !mine || mine->loop != loop) {
        pthread_mutex_lock(&rings_lock);
        mine_generation = g;
        mine = rings;
        while (mine && mine->loop != loop) {
            mine = mine->next;
        }
        pthread_mutex_unlock(&rings_lock);
    }
    if (!mine) {
        mine = create_ring(loop);
    }
    return mine;
}

bool uring_submit(struct loop *loop, struct uring_op *op)
{
    struct ring *ring = __atomic_load_n(&forbidden, __ATOMIC_RELAXED) ? NULL : ring_of(loop);

    if (!ring) {
        return false;
    }
    if (!ring->first) {
        loop_bh_schedule(ring->bh);
    }
    op->next = NULL;
    *ring->last = op;
    ring->last = &op->next;
    return true;
}

void uring_loop_gone(struct loop *loop)
{
    pthread_mutex_lock(&rings_lock);
    struct ring **at = &rings, *ring;

    while (*at && (*at)->loop != loop) {
        at = &(*at)->next;
    }
    ring = *at;
    if (ring) {
        *at = ring->next;
        __atomic_fetch_add(&generation, 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&rings_lock);
    if (ring) {
        free_ring(ring);
    }
}

#else

bool uring_submit(struct loop *loop, struct uring_op *op)
{
    return false;
}

void uring_loop_gone(struct loop *loop)
{
}

#endif
