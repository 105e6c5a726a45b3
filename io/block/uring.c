/*
 * A ring for each loop. What one round has gathered is submitted by a post at the beginning of the
 * next, which also takes what is complete by then; for what takes longer the loop watches the
 * ring's descriptor.
 *
 * The loop's thread alone touches its ring; a thread-local pointer finds it, the list of all rings
 * is for the end and for threads that run several loops. When the kernel forbids io_uring (seccomp,
 * sysctl), that is found out once, and everything goes by workers.
 *
 * Restricted rings are for processes in a sandbox: what a ring does passes by the filter of system
 * calls, so the kernel is told which operations there are (IORING_REGISTER_RESTRICTIONS, Linux
 * 5.10). A kernel without that gets no ring. Restrictions cannot be taken back, and rings are not
 * made any more once they are sealed.
 */
#include "io/block/uring.h"
#include "build/config.h"
#include "io/loop/loop.h"

#include <pthread.h>
#include <stddef.h>

#if CONFIG_URING

#include <errno.h>
#include <liburing.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRIES 128

struct ring {
    struct loop *loop;
    struct io_uring uring;
    struct loop_fd *watch;
    struct loop_post post; /* submits */
    bool posted;
    struct uring_op *first, **last; /* gathered, and not in the ring yet */
    unsigned under_way;
    struct ring *next;
};

static struct ring *rings;
static pthread_mutex_t rings_lock = PTHREAD_MUTEX_INITIALIZER;
static bool forbidden;                         /* atomic */
static bool restricted;                        /* before there are rings */
static bool sealed;                            /* atomic: what is there is all */
static unsigned generation;                    /* atomic: counts rings that are gone */
static _Thread_local struct ring *mine;        /* the last one that was looked up ... */
static _Thread_local unsigned mine_generation; /* ... which exists if none has gone since */

static void prepare(struct io_uring_sqe *sqe, const struct uring_op *op)
{
    bool one = op->iov_count == 1 && op->iov->iov_len <= UINT_MAX;

    switch (op->kind) {
    case URING_READ:
        if (one) {
            io_uring_prep_read(sqe, op->fd, op->iov->iov_base, (unsigned)op->iov->iov_len,
                               op->offset);
        } else {
            io_uring_prep_readv(sqe, op->fd, op->iov, op->iov_count, op->offset);
        }
        break;
    case URING_WRITE:
        if (one) {
            io_uring_prep_write(sqe, op->fd, op->iov->iov_base, (unsigned)op->iov->iov_len,
                                op->offset);
        } else {
            io_uring_prep_writev(sqe, op->fd, op->iov, op->iov_count, op->offset);
        }
        sqe->rw_flags = op->rw_flags;
        break;
    case URING_FDATASYNC:
        io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
        break;
    }
    io_uring_sqe_set_data(sqe, (void *)op);
}

static void post(struct ring *ring)
{
    if (!ring->posted) {
        ring->posted = true;
        loop_post(ring->loop, &ring->post);
    }
}

/* Ends what is complete, as far as it is now: what done() starts has its turn later. */
static void reap(struct ring *ring)
{
    unsigned n = io_uring_cq_ready(&ring->uring);
    struct io_uring_cqe *cqe;

    while (n-- && io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
        struct uring_op *op = io_uring_cqe_get_data(cqe);
        int result = cqe->res;

        io_uring_cqe_seen(&ring->uring, cqe);
        ring->under_way--;
        op->done(op, result);
    }
    if (ring->first || io_uring_cq_ready(&ring->uring)) {
        post(ring);
    }
}

static void submit_gathered(struct loop_post *opaque)
{
    struct ring *ring = (struct ring *)((char *)opaque - offsetof(struct ring, post));

    ring->posted = false;
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
        post(ring); /* short of memory, or of room for completions: they are taken first */
    }
    reap(ring);
}

static void completed(void *opaque, unsigned events)
{
    reap(opaque);
}

static void free_ring(struct ring *ring)
{
    if (ring->watch) {
        loop_fd_remove(ring->watch);
    }
    io_uring_queue_exit(&ring->uring);
    free(ring);
}

/* By ourselves: not every liburing that declares its functions for these has them. 0 or -errno. */
static int register_ring(struct io_uring *uring, unsigned what, const void *of, unsigned count)
{
    return syscall(SYS_io_uring_register, uring->ring_fd, what, of, count) < 0 ? -errno : 0;
}

/* What prepare() makes, and nothing else. */
static int restrict_ring(struct io_uring *uring)
{
    struct io_uring_restriction allowed[] = {
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
    };
    int err = register_ring(uring, IORING_REGISTER_RESTRICTIONS, allowed,
                            sizeof(allowed) / sizeof(allowed[0]));

    return err ? err : register_ring(uring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int init_ring(struct io_uring *uring)
{
    int err = io_uring_queue_init(ENTRIES, uring, restricted ? IORING_SETUP_R_DISABLED : 0);

    if (!err && restricted) {
        err = restrict_ring(uring);
        if (err) {
            io_uring_queue_exit(uring);
        }
    }
    return err;
}

static struct ring *create_ring(struct loop *loop)
{
    struct ring *ring = calloc(1, sizeof(*ring));

    if (!ring) {
        return NULL;
    }
    if (init_ring(&ring->uring) < 0) {
        __atomic_store_n(&forbidden, true, __ATOMIC_RELAXED);
        free(ring);
        return NULL;
    }
    ring->loop = loop;
    ring->last = &ring->first;
    ring->watch = loop_fd_add(loop, ring->uring.ring_fd, LOOP_IN, completed, ring);
    ring->post.fn = submit_gathered;
    if (!ring->watch) {
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
    if (!mine && !__atomic_load_n(&sealed, __ATOMIC_RELAXED)) {
        mine = create_ring(loop);
    }
    return mine;
}

void uring_restrict(void)
{
    restricted = true;
}

void uring_prepare(struct loop *loop)
{
    if (!__atomic_load_n(&forbidden, __ATOMIC_RELAXED)) {
        (void)ring_of(loop);
    }
}

void uring_seal(void)
{
    __atomic_store_n(&sealed, true, __ATOMIC_RELAXED);
}

bool uring_submit(struct loop *loop, struct uring_op *op)
{
    struct ring *ring = __atomic_load_n(&forbidden, __ATOMIC_RELAXED) ? NULL : ring_of(loop);

    if (!ring) {
        return false;
    }
    op->next = NULL;
    *ring->last = op;
    ring->last = &op->next;
    post(ring);
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

void uring_restrict(void)
{
}

void uring_prepare(struct loop *loop)
{
}

void uring_seal(void)
{
}

bool uring_submit(struct loop *loop, struct uring_op *op)
{
    return false;
}

void uring_loop_gone(struct loop *loop)
{
}

#endif
