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

#include <errno.h>
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
/* How tools open images. */
#define BLOCK_OPEN_READONLY   1u
#define BLOCK_OPEN_NO_BACKING 2u /* the backing file that the image names is not opened */
#define BLOCK_OPEN_NO_IO      4u /* contents are not read: needs no secret */
#define BLOCK_OPEN_REPAIR     8u /* as it is, even if corrupt */
/* block_open_file() with these. */
int block_open_image(struct block_node **node, const char *filename, const char *format,
                     const char *options, unsigned flags, char *error, size_t error_size);
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

/* What users of a node may do, and bear from other users; the same bits as in QEMU's locks. */
#define BLOCK_PERM_READ            1u /* what is read is consistent */
#define BLOCK_PERM_WRITE           2u
#define BLOCK_PERM_WRITE_UNCHANGED 4u /* writes that do not change what is read */
#define BLOCK_PERM_RESIZE          8u
#define BLOCK_PERM_ALL             15u

struct block_claim; /* the right of one user */

/*
 * Claims a node for a user: what he does, and what others may do meanwhile (a disk with share-rw
 * shares all, one without shares READ and WRITE_UNCHANGED). -EBUSY when another user of the node,
 * or another process that has the image open, does not agree; -EACCES for writing a read-only one.
 * A node that block_open() made and that has no claim and no parent yet is held as by a disk
 * without share-rw; the first claim replaces that. Takes a reference. Main loop's thread.
 */
int block_claim(struct block_claim **claim, struct block_node *node, unsigned permissions,
                unsigned shared, char *error, size_t error_size);
void block_claim_release(struct block_claim *claim);
/* The node that it is about: block_replace() changes it. */
struct block_node *block_claim_node(const struct block_claim *claim);

/* What a user wants to be told; each may be NULL. Main loop's thread, nothing is under way. */
struct block_claim_ops {
    void (*resized)(void *opaque);                           /* block_size() is another */
    void (*replaced)(void *opaque, struct block_node *node); /* use this one from now on */
};
void block_claim_set_ops(struct block_claim *claim, const struct block_claim_ops *ops,
                         void *opaque);

/* ---- changes to what is in use; main loop's thread, no I/O thread submits meanwhile ---- */

/* Another size; users are told. 0 or -errno with a line in error[]. */
int block_resize(struct block_node *node, uint64_t size, char *error, size_t error_size);
/* All users of `from` use `to` from now on, which nobody uses yet. The caller's references stay.
 * -EBUSY and others, with a line in error[]; then nothing has changed. */
int block_replace(struct block_node *from, struct block_node *to, char *error, size_t error_size);
/* The same for an overlay without a backing file, which gets `base` as that: a snapshot of a disk
 * that is in use. The image's header does not name it; driver->change_backing() does. */
int block_append(struct block_node *base, struct block_node *overlay, char *error,
                 size_t error_size);
/* Flushes everything and gives back all locks, so that another process may use the images
 * (migration); and takes them again, with what that has written. With a line in error[]; when
 * handing over fails everything is as it was. */
int block_inactivate_all(char *error, size_t error_size);
int block_activate_all(char *error, size_t error_size);
/* On: what is opened from now on is in the hands of another process (the source of a migration):
 * nothing is locked or written until block_activate_all(). */
void block_set_incoming(bool on);

/* ---- requests ---- */

enum block_request_kind {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,   /* every write that was done before it was submitted is on the medium */
    BLOCK_DISCARD, /* contents of the range become undefined */
    BLOCK_ZERO,    /* the range reads as zero; may be unmapped if `unmap` */
    BLOCK_KINDS,
};

/* Embedded by the user, who leaves it and its buffers alone until done(). */
struct block_request {
    enum block_request_kind kind;
    bool fua;              /* of WRITE and ZERO: on the medium when done */
    bool unmap;            /* of ZERO */
    uint64_t offset, size; /* READ and WRITE: size is that of iov, or less */
    const struct iovec *iov;
    unsigned iov_count;
    void (*done)(struct block_request *request); /* once, on the thread of `loop` */
    struct loop *loop;
    int result; /* 0 or -errno (-ENOSPC, -EIO, -EPERM of a read-only node, ...) */
    _Alignas(16) unsigned char private_area[768]; /* of io/block; need not be initialised */
};

/* Never fails: errors arrive in done(), which is not called from inside of submit. On the thread
 * that runs request->loop. */
void block_submit(struct block_node *node, struct block_request *request);

/* ---- errors ---- */

/* What a disk does about errors of the host (rerror, werror). */
enum block_error_policy {
    BLOCK_ERROR_REPORT, /* to the guest */
    BLOCK_ERROR_IGNORE, /* as if all were well */
    BLOCK_ERROR_STOP,   /* the machine, until the user has done something about it */
    BLOCK_ERROR_ENOSPC, /* stop for want of space, report anything else */
};
extern const char *const block_error_policy_names[]; /* for PROPERTY_ENUM */

/* What to do about this error: REPORT, IGNORE or STOP; a stopped request is submitted again when
 * the machine goes on. */
static inline enum block_error_policy block_error_action(enum block_error_policy policy, int error)
{
    if (policy == BLOCK_ERROR_ENOSPC) {
        return error == -ENOSPC ? BLOCK_ERROR_STOP : BLOCK_ERROR_REPORT;
    }
    return policy;
}

/* Waits until no request is under way, running the loops of those that this thread submitted. */
void block_drain(struct block_node *node);

/* Lets go of what io/block keeps for a loop, before loop_destroy(). The loop's thread, or when that
 * has ended; nothing of the loop is under way. */
void block_loop_gone(struct loop *loop);
/*
 * In a process that gives up rights (system/confine.c). First, before nodes are opened: what
 * io/block hands to the kernel to be done by itself (io_uring, which no seccomp filter looks into)
 * can only read, write and flush. Then on each loop's thread: what is made for a loop when it is
 * first used is made now. Last, with nothing under way: nothing more of this is made, and no worker
 * is left; those that come have the rights of then. Main loop's thread but for prepare.
 */
void block_restrict(void);
void block_prepare_loop(struct loop *loop);
void block_seal(void);
/* At the end of the process, when all nodes are closed: no worker is left. */
void block_finish(void);

#endif
