/*
 * A request on its way through the host's engine, without a worker: what request.c hands to the
 * driver at the bottom (submit()), and the driver to io_uring.
 */
#ifndef TINAMOU_IO_BLOCK_ASYNC_H
#define TINAMOU_IO_BLOCK_ASYNC_H

#include "io/block/block.h"
#include "io/block/uring.h"

/* Of the core; the driver uses it until done(). */
struct block_async {
    enum block_request_kind kind; /* READ, WRITE or FLUSH */
    unsigned flags;               /* BLOCK_FUA */
    uint64_t offset;
    size_t size;
    const struct iovec *iov; /* all of its bytes, exactly `size` */
    unsigned iov_count;
    struct loop *loop;
    /* Once, on the loop's thread, not from inside of submit(). -ENOTSUP: could not be done this
     * way, or not wholly; a worker does all of it again. */
    void (*done)(struct block_async *async, int result);
    /* of the driver */
    struct block_node *file;
    union {
        struct uring_op op;
        struct {
            struct loop_post post;
            unsigned rounds;
        };
    };
};

/* submit() of filters for tests: the driver's blocking operation, on the loop's thread some rounds
 * later, where nothing else needs it to go on. Always true. */
bool block_async_soon(struct block_node *node, struct block_async *async);

#endif
