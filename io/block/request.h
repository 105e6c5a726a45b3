/*
 * Requests on their way: what request.c, the edge, and async.c, the way without workers, share.
 */
#ifndef TINAMOU_IO_BLOCK_REQUEST_H
#define TINAMOU_IO_BLOCK_REQUEST_H

#include "io/block/async.h"
#include "io/block/internal.h"
#include "io/block/throttle.h"
#include "io/loop/pool.h"

#include <assert.h>

#define REQUEST_MAX_FORWARDS 8

struct request_step {
    struct block_node *node; /* whose driver has forwarded */
    void *cookie;
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
    bool inside;    /* of another one: not counted, not limited, not in the list */
    unsigned depth; /* how often it was cut out of another one */
    int refused;    /* -errno: what is wrong with the request itself */
    union {
        struct loop_job job;
        struct loop_post post;
    };
    struct throttle_wait wait;
    struct block_async async;
    unsigned steps;
    struct request_step step[REQUEST_MAX_FORWARDS];
    struct block_node *bottom;
    unsigned long written; /* of the bottom, when a flush began */
    struct range_lock lock;
    bool locked;
    /* what goes on: all of the request, or its first part, or that with what is around it */
    const struct iovec *iov;
    unsigned iov_count;
    size_t size;
    struct request_rest *rest; /* the other part, or NULL */
    struct request_copy *copy; /* what is around it, or NULL */
    unsigned waiting;          /* parts that are not done */
    int result;
    bool again; /* a worker has to do all of it */
};

static_assert(sizeof(struct block_request_state) <=
                  sizeof(((struct block_request *)0)->private_area),
              "the private area is too small");

/* ---- request.c ---- */

/* It is done: counted, and the user is told. On the loop's thread, not from inside of submit. */
void request_finish(struct block_request_state *s, int result);
/* The same in the loop's next round. */
void request_finish_soon(struct block_request_state *s, int result);
/* A worker does all of it, and finishes it. */
void request_give_to_worker(struct block_request_state *s);
/* Begins one that is a part of another one: no limits, no statistics. `depth` as in the state. */
void request_submit_inside(struct block_node *node, struct block_request *request, unsigned depth);

/* ---- async.c ---- */

/* Begins it without a worker; false: not possible, and nothing was begun. */
bool request_start_async(struct block_request_state *s);

#endif
