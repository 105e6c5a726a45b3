/*
 * The edge: asynchronous requests of devices.
 *
 * A request is either forwarded, step by step, to a node at the bottom whose driver starts it on
 * the host's engine (raw images by io_uring), or carried out by a worker with blocking code. What
 * the engine could not do wholly a worker does again. Either way it ends on the loop that submitted
 * it, is counted there, and leaves the node's list of requests under way.
 */
#include "io/block/async.h"
#include "io/block/internal.h"
#include "io/block/throttle-filter.h"
#include "io/loop/pool.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define WORKERS      64 /* that may block in the host at once */
#define MAX_FORWARDS 4

struct step {
    struct block_node *node;
    struct block_forward to;
};

/* In the request's private area. */
struct block_request_state {
    struct block_request *request;
    struct block_node *node;
    struct block_node *target; /* the node, or what is below the throttles on top of it */
    struct block_request_state *next, **link; /* under way; under the node's lock */
    pthread_t submitter;
    int64_t start; /* nanoseconds */
    bool fua;
    bool own_limits_done;
    int refused; /* -errno: what is wrong with the request itself */
    struct loop_job job;
    struct throttle_wait wait;
    struct block_async async;
    struct step step[MAX_FORWARDS];
    unsigned steps;
    struct block_node *bottom;
    unsigned long written; /* of the bottom, when a flush began */
    struct range_lock lock;
    bool locked;
};

static_assert(sizeof(struct block_request_state) <=
                  sizeof(((struct block_request *)0)->private_area),
              "the private area is too small");

static struct loop_pool *pool;
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;

/* Made when first needed; NULL when out of memory, which ends the request. */
static struct loop_pool *get_pool(void)
{
    struct loop_pool *p = __atomic_load_n(&pool, __ATOMIC_ACQUIRE);

    if (!p) {
        pthread_mutex_lock(&pool_lock);
        if (!pool) {
            __atomic_store_n(&pool, loop_pool_create(WORKERS), __ATOMIC_RELEASE);
        }
        p = pool;
        pthread_mutex_unlock(&pool_lock);
    }
    assert(p);
    return p;
}

void block_finish(void)
{
    if (pool) {
        loop_pool_destroy(pool);
        pool = NULL;
    }
}

void block_restrict(void)
{
    uring_restrict();
}

void block_prepare_loop(struct loop *loop)
{
    uring_prepare(loop);
}

void block_seal(void)
{
    uring_seal();
    if (pool) {
        loop_pool_rest(pool);
    }
}

void block_loop_gone(struct loop *loop)
{
    uring_loop_gone(loop);
    if (pool) {
        loop_pool_forget(pool, loop);
    }
}

/* ---- beginning and end ---- */

static void link_request(struct block_request_state *s)
{
    struct block_core *core = s->node->core;

    pthread_mutex_lock(&core->lock);
    s->next = core->under_way;
    s->link = &core->under_way;
    if (s->next) {
        s->next->link = &s->next;
    }
    core->under_way = s;
    pthread_mutex_unlock(&core->lock);
}

static void finish(struct block_request_state *s, int result)
{
    struct block_request *request = s->request;
    struct block_core *core = s->node->core;

    pthread_mutex_lock(&core->lock);
    block_stats_count_locked(&core->stats, request, s->refused != 0, result, s->start);
    *s->link = s->next;
    if (s->next) {
        s->next->link = s->link;
    }
    if (!core->under_way) {
        pthread_cond_broadcast(&core->idle);
    }
    pthread_mutex_unlock(&core->lock);
    request->result = result;
    request->done(request);
}

/* ---- by workers ---- */

static struct block_request_state *state_of_job(struct loop_job *job)
{
    return (struct block_request_state *)((char *)job - offsetof(struct block_request_state, job));
}

static int perform(struct block_request_state *s)
{
    struct block_request *r = s->request;
    struct block_vec vec = {.iov = r->iov, .size = (size_t)r->size};
    unsigned flags = s->fua ? BLOCK_FUA : 0;

    switch (r->kind) {
    case BLOCK_READ:
        return block_read(s->target, r->offset, &vec);
    case BLOCK_WRITE:
        return block_write(s->target, r->offset, &vec, flags);
    case BLOCK_FLUSH:
        return block_flush(s->target);
    case BLOCK_DISCARD:
        return block_discard(s->target, r->offset, r->size);
    case BLOCK_ZERO:
        return block_zero(s->target, r->offset, r->size, flags | (r->unmap ? BLOCK_MAY_UNMAP : 0));
    case BLOCK_KINDS:
        break;
    }
    return -EINVAL;
}

static void work(struct loop_job *job)
{
    struct block_request_state *s = state_of_job(job);

    s->request->result = s->refused ? s->refused : perform(s);
}

static void work_done(struct loop_job *job)
{
    struct block_request_state *s = state_of_job(job);

    finish(s, s->request->result);
}

static void give_to_worker(struct block_request_state *s)
{
    s->job = (struct loop_job){.work = work, .done = work_done, .loop = s->request->loop};
    loop_pool_submit(get_pool(), &s->job);
}

/* ---- by the host's engine ---- */

/* Leaves the way, in the reverse order of coming. */
static void leave(struct block_request_state *s, int result)
{
    if (s->locked) {
        range_lock_release(&s->bottom->core->writes, &s->lock);
        s->locked = false;
    }
    while (s->steps) {
        const struct step *step = &s->step[--s->steps];

        if (step->node->driver->forward_done) {
            step->node->driver->forward_done(step->node, &step->to, s->request->kind, result);
        }
    }
}

static void async_done(struct block_async *async, int result)
{
    struct block_request_state *s =
        (struct block_request_state *)((char *)async - offsetof(struct block_request_state, async));
    struct block_core *bottom = s->bottom->core;

    if (s->request->kind == BLOCK_WRITE) {
        __atomic_fetch_add(&bottom->written, 1, __ATOMIC_ACQ_REL);
    } else if (s->request->kind == BLOCK_FLUSH && !result) {
        __atomic_store_n(&bottom->flushed, s->written, __ATOMIC_RELEASE);
    }
    leave(s, result);
    if (result == -ENOTSUP) {
        give_to_worker(s);
    } else {
        finish(s, result);
    }
}

/* Does this node let the request through as it is? */
static bool passes(const struct block_node *node, const struct block_request *r, uint64_t offset)
{
    const struct block_core *core = node->core;

    if (core->inactive) {
        return false;
    }
    if (r->kind == BLOCK_WRITE &&
        (node->readonly || core->generic.detect_zeroes != BLOCK_DETECT_OFF ||
         (core->probed_raw && offset < BLOCK_PROBE_SIZE))) {
        return false;
    }
    uint64_t size = block_size(node);

    return r->kind == BLOCK_FLUSH || (offset <= size && r->size <= size - offset);
}

static bool iov_fits(const struct block_node *node, const struct block_request *r)
{
    uintptr_t mask = (node->memory_alignment ? node->memory_alignment : 1) - 1;
    uint64_t unit = (node->alignment ? node->alignment : 1) - 1;
    uint64_t total = 0;

    for (unsigned i = 0; i < r->iov_count; i++) {
        if (((uintptr_t)r->iov[i].iov_base & mask) || (r->iov[i].iov_len & unit)) {
            return false;
        }
        total += r->iov[i].iov_len;
    }
    return total == r->size;
}

static bool start_at_bottom(struct block_request_state *s, uint64_t offset)
{
    struct block_request *r = s->request;
    struct block_node *node = s->bottom;
    uint64_t unit = (node->alignment ? node->alignment : 1) - 1;

    if (!node->driver->submit || (r->kind == BLOCK_FLUSH && node->no_flush)) {
        return false;
    }
    if (r->kind != BLOCK_FLUSH && (((offset | r->size) & unit) || !iov_fits(node, r) ||
                                   (node->max_transfer && r->size > node->max_transfer))) {
        return false;
    }
    if (r->kind == BLOCK_WRITE && unit) {
        s->locked = range_lock_try(&node->core->writes, &s->lock, offset, r->size, false);
        if (!s->locked) {
            return false;
        }
    }
    s->written = __atomic_load_n(&node->core->written, __ATOMIC_ACQUIRE);
    if (r->kind == BLOCK_FLUSH &&
        s->written == __atomic_load_n(&node->core->flushed, __ATOMIC_ACQUIRE)) {
        return false; /* block_flush() sees that nothing is to be done */
    }
    s->async = (struct block_async){.kind = r->kind,
                                    .flags = s->fua ? BLOCK_FUA : 0,
                                    .offset = offset,
                                    .size = (size_t)r->size,
                                    .iov = r->iov,
                                    .iov_count = r->iov_count,
                                    .loop = r->loop,
                                    .done = async_done};
    return node->driver->submit(node, &s->async);
}

static bool start_async(struct block_request_state *s)
{
    struct block_request *r = s->request;
    struct block_node *node = s->target;
    uint64_t offset = r->offset;

    if (r->kind != BLOCK_READ && r->kind != BLOCK_WRITE && r->kind != BLOCK_FLUSH) {
        return false;
    }
    while (passes(node, r, offset)) {
        if (!node->driver->forward) {
            s->bottom = node;
            if (start_at_bottom(s, offset)) {
                return true;
            }
            break;
        }
        struct step *step = &s->step[s->steps];

        if (s->steps == MAX_FORWARDS ||
            !node->driver->forward(node, r->kind, offset, r->size, &step->to)) {
            break;
        }
        step->node = node;
        s->steps++;
        node = step->to.node;
        offset = step->to.offset;
    }
    leave(s, -ENOTSUP);
    return false;
}

/* ---- the way in ---- */

static int check(const struct block_node *node, const struct block_request *r)
{
    uint64_t size = block_size(node), total = 0;

    if (r->kind == BLOCK_FLUSH) {
        return 0;
    }
    if (r->kind >= BLOCK_KINDS) {
        return -EINVAL;
    }
    if (r->offset > size || r->size > size - r->offset) {
        return -EIO;
    }
    if (r->kind == BLOCK_READ || r->kind == BLOCK_WRITE) {
        for (unsigned i = 0; i < r->iov_count; i++) {
            total += r->iov[i].iov_len;
        }
        if (total < r->size) {
            return -EINVAL;
        }
    }
    return r->kind != BLOCK_READ && node->readonly ? -EPERM : 0;
}

static void dispatch(struct block_request_state *s)
{
    if (!start_async(s)) {
        give_to_worker(s);
    }
}

/* Lets the request wait for the limits of the node, and of the throttles on top of the graph one
 * after the other; then it goes on below them. */
static void admit(struct block_request_state *s);

static void admitted(struct throttle_wait *wait)
{
    admit(
        (struct block_request_state *)((char *)wait - offsetof(struct block_request_state, wait)));
}

static void admit(struct block_request_state *s)
{
    const struct block_request *r = s->request;

    for (;;) {
        struct throttle_group *group = s->node->core->throttle;

        if (s->own_limits_done) {
            group = throttle_filter_group(s->target);
            if (!group) {
                dispatch(s);
                return;
            }
            s->target = s->target->file->node;
        }
        s->own_limits_done = true;
        if (group && r->kind != BLOCK_FLUSH) {
            s->wait.admitted = admitted;
            s->wait.loop = r->loop;
            s->wait.write = r->kind != BLOCK_READ;
            s->wait.size = r->size;
            __atomic_store_n(&s->wait.group, group, __ATOMIC_RELEASE); /* block_drain() looks */
            if (!throttle_admit(&s->wait)) {
                return;
            }
        }
    }
}

void block_submit(struct block_node *node, struct block_request *request)
{
    struct block_request_state *s = (struct block_request_state *)request->private_area;

    memset(s, 0, offsetof(struct block_request_state, step));
    s->request = request;
    s->node = node;
    s->target = node;
    s->submitter = pthread_self();
    s->start = loop_clock_now(LOOP_CLOCK_REALTIME);
    s->refused = check(node, request);
    s->fua = (request->fua || !node->core->generic.writeback) &&
             (request->kind == BLOCK_WRITE || request->kind == BLOCK_ZERO);
    s->steps = 0;
    s->locked = false;
    link_request(s);
    if (s->refused) {
        give_to_worker(s);
    } else {
        admit(s);
    }
}

void block_drain(struct block_node *node)
{
    struct block_core *core = node->core;

    pthread_mutex_lock(&core->lock);
    while (core->under_way) {
        struct block_request_state *s = core->under_way;

        for (struct block_request_state *t = s; t; t = t->next) {
            if (__atomic_load_n(&t->wait.group, __ATOMIC_ACQUIRE)) {
                throttle_hurry(&t->wait);
            }
        }

        while (s && !pthread_equal(s->submitter, pthread_self())) {
            s = s->next;
        }
        if (s) {
            struct loop *loop = s->request->loop;

            pthread_mutex_unlock(&core->lock);
            loop_iterate(loop, true);
            pthread_mutex_lock(&core->lock);
        } else {
            pthread_cond_wait(&core->idle, &core->lock);
        }
    }
    pthread_mutex_unlock(&core->lock);
}
