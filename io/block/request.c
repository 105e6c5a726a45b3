/*
 * The edge: asynchronous requests of devices.
 *
 * A request is either started on the host's engine (async.c), or carried out by a worker with
 * blocking code; what needs neither is done in the loop's next round. Either way it ends on the
 * loop that submitted it, is counted there, and leaves the node's list of requests under way.
 */
#include "io/block/request.h"
#include "io/block/throttle-filter.h"
#include "io/block/uring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define WORKERS 64 /* that may block in the host at once */

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

void request_finish(struct block_request_state *s, int result)
{
    struct block_request *request = s->request;
    struct block_core *core = s->node->core;

    request->result = result;
    if (s->inside) {
        request->done(request);
        return;
    }
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

    s->request->result = perform(s);
}

static void work_done(struct loop_job *job)
{
    struct block_request_state *s = state_of_job(job);

    request_finish(s, s->request->result);
}

void request_give_to_worker(struct block_request_state *s)
{
    s->job = (struct loop_job){.work = work, .done = work_done, .loop = s->request->loop};
    loop_pool_submit(get_pool(), &s->job);
}

/* ---- at once ---- */

static void posted(struct loop_post *post)
{
    struct block_request_state *s =
        (struct block_request_state *)((char *)post - offsetof(struct block_request_state, post));

    request_finish(s, s->request->result);
}

void request_finish_soon(struct block_request_state *s, int result)
{
    s->request->result = result;
    s->post.fn = posted;
    loop_post(s->request->loop, &s->post);
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
    if (!request_start_async(s)) {
        request_give_to_worker(s);
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

static struct block_request_state *begin(struct block_node *node, struct block_request *request)
{
    struct block_request_state *s = (struct block_request_state *)request->private_area;

    memset(s, 0, offsetof(struct block_request_state, async));
    s->request = request;
    s->node = node;
    s->target = node;
    return s;
}

void request_submit_inside(struct block_node *node, struct block_request *request, unsigned depth)
{
    struct block_request_state *s = begin(node, request);

    s->inside = true;
    s->depth = depth;
    s->fua = request->fua;
    dispatch(s);
}

void block_submit(struct block_node *node, struct block_request *request)
{
    struct block_request_state *s = begin(node, request);

    s->submitter = pthread_self();
    s->start = loop_clock_now(LOOP_CLOCK_REALTIME);
    s->refused = check(node, request);
    s->fua = (request->fua || !node->core->generic.writeback) &&
             (request->kind == BLOCK_WRITE || request->kind == BLOCK_ZERO);
    link_request(s);
    if (s->refused) {
        request_finish_soon(s, s->refused);
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
