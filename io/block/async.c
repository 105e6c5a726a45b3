/*
 * The way without workers.
 *
 * A request is forwarded, step by step, to a node at the bottom whose driver starts it on the
 * host's engine (files by io_uring). What the engine could not do wholly a worker does again.
 *
 * Where a driver can forward only the first part of a request (it lies in pieces), the rest is a
 * request of its own, which begins at the top at the same time and may be cut again. Where a write
 * needs what is around it (copy on write), that is read first, and then all is written at once.
 */
#include "io/block/request.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH    32 /* how often a request is cut */
#define COPY_ALIGNED 4096
#define SOON_ROUNDS  6

/* The part of a request that goes its own way, and the pieces of both parts. */
struct request_rest {
    struct block_request request;
    struct block_request_state *parent;
    struct iovec iov[]; /* of the first part, and then of the rest */
};

/* A write with what is around it. */
struct request_copy {
    struct block_request read;
    struct block_request_state *parent;
    struct block_node *node; /* where it goes on */
    uint64_t offset;
    size_t before;
    struct iovec whole;
};

/* ---- ends ---- */

/* Leaves the way, in the reverse order of coming. */
static void leave(struct block_request_state *s, int result)
{
    if (s->locked) {
        range_lock_release(&s->bottom->core->writes, &s->lock);
        s->locked = false;
    }
    while (s->steps) {
        const struct request_step *step = &s->step[--s->steps];

        if (step->node->driver->forward_done) {
            step->node->driver->forward_done(step->node, step->cookie, s->request->kind, result);
        }
    }
    if (s->copy) {
        free(s->copy->whole.iov_base);
        free(s->copy);
        s->copy = NULL;
    }
}

/* One part has ended. */
static void part_done(struct block_request_state *s, int result)
{
    if (result == -ENOTSUP) {
        s->again = true;
    } else if (result && !s->result) {
        s->result = result;
    }
    if (--s->waiting) {
        return;
    }
    free(s->rest);
    if (s->again) {
        request_give_to_worker(s);
    } else {
        request_finish(s, s->result);
    }
}

static void rest_done(struct block_request *request)
{
    struct request_rest *rest =
        (struct request_rest *)((char *)request - offsetof(struct request_rest, request));

    part_done(rest->parent, request->result);
}

static void async_done(struct block_async *async, int result)
{
    struct block_request_state *s =
        (struct block_request_state *)((char *)async - offsetof(struct block_request_state, async));
    struct block_core *bottom = s->bottom->core;

    if (s->request->kind == BLOCK_WRITE) {
        if (!result) {
            block_grown_to(s->bottom, async->offset + async->size);
        }
        __atomic_fetch_add(&bottom->written, 1, __ATOMIC_ACQ_REL);
    } else if (s->request->kind == BLOCK_FLUSH && !result) {
        __atomic_store_n(&bottom->flushed, s->written, __ATOMIC_RELEASE);
    }
    leave(s, result);
    part_done(s, result);
}

static void done_at_once(struct loop_post *post)
{
    part_done(
        (struct block_request_state *)((char *)post - offsetof(struct block_request_state, post)),
        0);
}

/* Nothing is to be done for this part; but done() is not called from inside of submit. */
static bool end_at_once(struct block_request_state *s)
{
    leave(s, 0);
    s->post.fn = done_at_once;
    loop_post(s->request->loop, &s->post);
    return true;
}

/* ---- the bottom ---- */

/* Does this node let the request through as it is? */
static bool passes(const struct block_node *node, const struct block_request_state *s,
                   uint64_t offset)
{
    const struct block_core *core = node->core;
    enum block_request_kind kind = s->request->kind;

    if (core->inactive) {
        return false;
    }
    if (kind == BLOCK_WRITE && (node->readonly || core->generic.detect_zeroes != BLOCK_DETECT_OFF ||
                                (core->probed_raw && offset < BLOCK_PROBE_SIZE))) {
        return false;
    }
    uint64_t size = block_size(node);

    return kind == BLOCK_FLUSH || (offset <= size && s->size <= size - offset) ||
           (kind == BLOCK_WRITE && node->growable && node->driver->submit);
}

static bool iov_fits(const struct block_node *node, const struct block_request_state *s)
{
    uintptr_t mask = (node->memory_alignment ? node->memory_alignment : 1) - 1;
    uint64_t unit = (node->alignment ? node->alignment : 1) - 1;
    uint64_t total = 0;

    for (unsigned i = 0; i < s->iov_count; i++) {
        if (((uintptr_t)s->iov[i].iov_base & mask) || (s->iov[i].iov_len & unit)) {
            return false;
        }
        total += s->iov[i].iov_len;
    }
    return total == s->size;
}

static bool start_at_bottom(struct block_request_state *s, uint64_t offset)
{
    struct block_request *r = s->request;
    struct block_node *node = s->bottom;
    uint64_t unit = (node->alignment ? node->alignment : 1) - 1;

    s->written = __atomic_load_n(&node->core->written, __ATOMIC_ACQUIRE);
    if (r->kind == BLOCK_FLUSH &&
        (node->no_flush || s->written == __atomic_load_n(&node->core->flushed, __ATOMIC_ACQUIRE))) {
        return end_at_once(s);
    }
    if (!node->driver->submit) {
        return false;
    }
    if (r->kind != BLOCK_FLUSH && (((offset | s->size) & unit) || !iov_fits(node, s) ||
                                   (node->max_transfer && s->size > node->max_transfer))) {
        return false;
    }
    if (r->kind == BLOCK_WRITE && unit) {
        s->locked = range_lock_try(&node->core->writes, &s->lock, offset, s->size, false);
        if (!s->locked) {
            return false;
        }
    }
    s->async = (struct block_async){.kind = r->kind,
                                    .flags = s->fua ? BLOCK_FUA : 0,
                                    .offset = offset,
                                    .size = s->size,
                                    .iov = s->iov,
                                    .iov_count = s->iov_count,
                                    .loop = r->loop,
                                    .done = async_done};
    return node->driver->submit(node, &s->async);
}

/* ---- the way there ---- */

static struct block_vec first_part(const struct block_request_state *s)
{
    return (struct block_vec){.iov = s->iov, .size = s->size};
}

/* The first `size` bytes go on, the rest is going to go its own way. */
static bool cut(struct block_request_state *s, size_t size)
{
    struct block_vec all = first_part(s), head, tail;
    struct request_rest *rest;
    unsigned count, more;

    if (s->rest || s->copy || s->depth == MAX_DEPTH) {
        return false;
    }
    rest = malloc(sizeof(*rest) + (2 * (size_t)s->iov_count + 1) * sizeof(struct iovec));
    if (!rest) {
        return false;
    }
    head = block_vec_part(&all, 0, size);
    tail = block_vec_part(&all, size, all.size - size);
    count = block_vec_export(&head, rest->iov, s->iov_count, NULL);
    more = block_vec_export(&tail, rest->iov + count, s->iov_count, NULL);
    rest->parent = s;
    rest->request = (struct block_request){.kind = s->request->kind,
                                           .fua = s->fua,
                                           .offset = s->request->offset + size,
                                           .size = tail.size,
                                           .iov = rest->iov + count,
                                           .iov_count = more,
                                           .done = rest_done,
                                           .loop = s->request->loop};
    s->rest = rest;
    s->iov = rest->iov;
    s->iov_count = count;
    s->size = size;
    return true;
}

static bool start_copy(struct block_request_state *s, const struct block_forward *to);

/* From `node` on to the bottom, and starts it there. False: the way is at an end. */
static bool advance(struct block_request_state *s, struct block_node *node, uint64_t offset)
{
    while (passes(node, s, offset)) {
        const struct block_driver *driver = node->driver;
        struct block_forward to = {.size = s->size};

        if (!driver->forward) {
            s->bottom = node;
            return start_at_bottom(s, offset);
        }
        /* Below a format is only its data, but what makes it durable is more. */
        if (s->steps == REQUEST_MAX_FORWARDS || (s->fua && !(node->write_flags & BLOCK_FUA)) ||
            !driver->forward(node, s->request->kind, offset, s->size, &to)) {
            return false;
        }
        s->step[s->steps++] = (struct request_step){node, to.cookie};
        if (to.size < s->size && !cut(s, to.size)) {
            return false;
        }
        if (to.zeros) {
            struct block_vec vec = first_part(s);

            block_vec_fill(&vec, 0, 0, vec.size);
            return end_at_once(s);
        }
        if (to.before || to.after) {
            return start_copy(s, &to);
        }
        node = to.node;
        offset = to.offset;
    }
    return false;
}

/* What is around it is there: goes on with all of it. */
static bool write_copy(struct block_request_state *s)
{
    struct request_copy *copy = s->copy;
    struct block_vec vec = first_part(s);

    block_vec_get(&vec, 0, (uint8_t *)copy->whole.iov_base + copy->before, vec.size);
    s->iov = &copy->whole;
    s->iov_count = 1;
    s->size = copy->whole.iov_len;
    return advance(s, copy->node, copy->offset);
}

static void copy_read(struct block_request *read)
{
    struct request_copy *copy =
        (struct request_copy *)((char *)read - offsetof(struct request_copy, read));
    struct block_request_state *s = copy->parent;
    int err = read->result;

    if (err || !write_copy(s)) {
        leave(s, -ECANCELED);
        part_done(s, err ? err : -ENOTSUP);
    }
}

static bool start_copy(struct block_request_state *s, const struct block_forward *to)
{
    size_t size = to->before + s->size + to->after;
    struct request_copy *copy = s->copy ? NULL : malloc(sizeof(*copy));

    if (!copy) {
        return false;
    }
    *copy = (struct request_copy){
        .parent = s, .node = to->node, .offset = to->offset, .before = to->before};
    if (posix_memalign(&copy->whole.iov_base, COPY_ALIGNED, size)) {
        free(copy);
        return false;
    }
    copy->whole.iov_len = size;
    s->copy = copy;
    if (!to->from) {
        memset(copy->whole.iov_base, 0, to->before);
        memset((uint8_t *)copy->whole.iov_base + size - to->after, 0, to->after);
        return write_copy(s);
    }
    copy->read.kind = BLOCK_READ;
    copy->read.offset = to->from_offset;
    copy->read.size = size;
    copy->read.iov = &copy->whole;
    copy->read.iov_count = 1;
    copy->read.done = copy_read;
    copy->read.loop = s->request->loop;
    request_submit_inside(to->from, &copy->read, 0);
    return true;
}

bool request_start_async(struct block_request_state *s)
{
    struct block_request *r = s->request;

    s->steps = 0;
    s->locked = s->again = false;
    s->rest = NULL;
    s->copy = NULL;
    s->result = 0;
    s->waiting = 1;
    s->iov = r->iov;
    s->iov_count = r->iov_count;
    s->size = (size_t)r->size;
    if (r->kind != BLOCK_READ && r->kind != BLOCK_WRITE && r->kind != BLOCK_FLUSH) {
        return false;
    }
    if (!advance(s, s->target, r->offset)) {
        leave(s, -ECANCELED);
        free(s->rest);
        return false;
    }
    if (s->rest) {
        s->waiting++;
        request_submit_inside(s->target, &s->rest->request, s->depth + 1);
    }
    return true;
}

/* ---- for tests ---- */

static void do_soon(struct loop_post *post)
{
    struct block_async *async =
        (struct block_async *)((char *)post - offsetof(struct block_async, post));
    struct block_node *node = async->file;
    struct block_vec vec = {.iov = async->iov, .size = async->size};
    int result;

    if (async->rounds--) {
        sched_yield(); /* others may come first */
        loop_post(async->loop, post);
        return;
    }
    if (async->kind == BLOCK_FLUSH) {
        result = node->driver->flush(node);
    } else if (async->kind == BLOCK_WRITE) {
        result = node->driver->write(node, async->offset, &vec, async->flags);
    } else {
        result = node->driver->read(node, async->offset, &vec);
    }
    async->done(async, result);
}

bool block_async_soon(struct block_node *node, struct block_async *async)
{
    async->file = node;
    async->post.fn = do_soon;
    async->rounds = SOON_ROUNDS;
    loop_post(async->loop, &async->post);
    return true;
}
