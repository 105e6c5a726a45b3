/*
 * Asynchronous file requests: the seam between those who do disk I/O and how the host does it.
 *
 * An engine is a table; the one here uses workers and runs everywhere. An io_uring engine has the
 * same table, and whoever sets one up falls back to this one when the kernel forbids io_uring.
 */
#ifndef TINAMOU_IO_LOOP_REQUEST_H
#define TINAMOU_IO_LOOP_REQUEST_H

#include "io/loop/pool.h"

#include <sys/uio.h>

enum loop_request_kind {
    LOOP_REQUEST_READ, /* behind the end of the file it reads zeros */
    LOOP_REQUEST_WRITE,
    LOOP_REQUEST_FLUSH,   /* all writes that were done before it was submitted are on the medium */
    LOOP_REQUEST_DISCARD, /* size bytes; what they read as afterwards is undefined */
    LOOP_REQUEST_ZERO,    /* size bytes read as zero afterwards */
};

/* Embedded by the user, who leaves it and its buffers alone until done(). */
struct loop_request {
    enum loop_request_kind kind;
    int fd;
    bool fua;              /* of a write: it is on the medium when done */
    bool keep_allocated;   /* of ZERO: the range stays allocated */
    uint64_t offset, size; /* size: of DISCARD and ZERO; READ and WRITE take it from iov */
    const struct iovec *iov;
    unsigned iov_count;
    /* Called once, on the thread that runs `loop`. */
    void (*done)(struct loop_request *request);
    struct loop *loop;
    int result; /* 0: all of it was done; -errno: perhaps some of it; -ENOTSUP: not possible here */
    struct loop_job job;        /* private to the engine */
    struct loop_engine *engine; /* set by submit */
};

struct loop_engine;

struct loop_engine_ops {
    const char *name;
    /* Never fails: errors arrive in done(). On the thread that runs request->loop. */
    void (*submit)(struct loop_engine *engine, struct loop_request *request);
    /* No request is under way. */
    void (*destroy)(struct loop_engine *engine);
};

struct loop_engine {
    const struct loop_engine_ops *ops;
};

/* The engine of workers; the pool outlives it. NULL when out of memory. */
struct loop_engine *loop_engine_create_workers(struct loop_pool *pool);

static inline void loop_request_submit(struct loop_engine *engine, struct loop_request *request)
{
    request->engine = engine;
    engine->ops->submit(engine, request);
}

static inline void loop_engine_destroy(struct loop_engine *engine)
{
    engine->ops->destroy(engine);
}

/* Carries out a request at once, blocking; returns what result would be. Any thread. */
int loop_request_perform(const struct loop_request *request);

#endif
