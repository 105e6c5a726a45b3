/*
 * Block nodes: disks and what they are made of.
 *
 * A node is a driver with its options and its children: a format over a protocol
 * (qcow2 over file), a filter over either. Requests are asynchronous at the edge, and come back on
 * the loop that submitted them.
 *
 * Offsets and sizes are bytes. A device submits whole sectors of its logical block size; nodes take
 * any alignment and do what the host needs (O_DIRECT) by themselves.
 */
#ifndef TINAMOU_IO_BLOCK_BLOCK_H
#define TINAMOU_IO_BLOCK_BLOCK_H

#include "io/loop/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct block_node;
struct json_t; /* jansson's */

/* ---- opening ---- */

/*
 * Opens the graph that `options` describes: a JSON object as in QMP's blockdev-add, nested children
 * included ("driver", "node-name", "file", "read-only", "cache", "discard", "detect-zeroes", ...).
 * 0 with a reference in *node, or -errno with one line in error[]. Main loop's thread.
 */
int block_open(struct block_node **node, const struct json_t *options, char *error,
               size_t error_size);
/* The same from a file name as -drive file= has it (json: and PROTOCOL: prefixes understood), a
 * format (NULL: probed; a probed raw image is never written in its first sector with what would
 * change the probe's answer) and flat options "a=b,c.d=e" (may be NULL). */
int block_open_file(struct block_node **node, const char *filename, const char *format,
                    const char *options, bool readonly, char *error, size_t error_size);
/* By node-name; no reference. */
struct block_node *block_find(const char *node_name);
struct block_node *block_ref(struct block_node *node);
/* The last one flushes and closes; the caller has no request under way. Main loop's thread. */
void block_unref(struct block_node *node);

/* ---- facts ---- */

const char *block_name(const struct block_node *node);
uint64_t block_size(const struct block_node *node);
bool block_readonly(const struct block_node *node);

struct block_limits {
    uint32_t alignment;           /* of requests, for best speed; a power of two */
    uint32_t discard_granularity; /* 0: discards do nothing */
    uint64_t max_transfer;        /* bytes; 0: no limit */
};
void block_get_limits(const struct block_node *node, struct block_limits *limits);

/* ---- requests ---- */

enum block_request_kind {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,   /* every write that was done before it was submitted is on the medium */
    BLOCK_DISCARD, /* contents of the range become undefined */
    BLOCK_ZERO,    /* the range reads as zero; may be unmapped if `unmap` */
};

/* Embedded by the user, who leaves it and its buffers alone until done(). */
struct block_request {
    enum block_request_kind kind;
    bool fua;              /* of WRITE and ZERO: on the medium when done */
    bool unmap;            /* of ZERO */
    uint64_t offset, size; /* READ and WRITE: size is that of iov */
    const struct iovec *iov;
    unsigned iov_count;
    void (*done)(struct block_request *request); /* once, on the thread of `loop` */
    struct loop *loop;
    int result;            /* 0 or -errno (-ENOSPC, -EIO, -EPERM of a read-only node, ...) */
    void *private_data[4]; /* of io/block */
};

/* Never fails: errors arrive in done(), which is not called from inside of submit. On the thread
 * that runs request->loop. */
void block_submit(struct block_node *node, struct block_request *request);

/* Waits until no request is under way, running the calling thread's loop. */
void block_drain(struct block_node *node);

#endif
