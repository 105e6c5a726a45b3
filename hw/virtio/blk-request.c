/*
 * Requests of the block device: from a chain to the node and back; see blk.c for the rules.
 */
#include "hw/core/runstate.h"
#include "hw/virtio/blk-internal.h"
#include "util/error.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { /* types of requests */
       T_IN = 0,
       T_OUT = 1,
       T_FLUSH = 4,
       T_GET_ID = 8,
       T_DISCARD = 11,
       T_WRITE_ZEROES = 13,
};

enum { S_OK, S_IOERR, S_UNSUPP };

enum {
    ID_SIZE = 20,
    MERGE_MAX = 32, /* requests that become one */
    BURST = 256,    /* chains that are taken before others get their turn */
    UNMAP = 1,      /* flag of a segment of WRITE_ZEROES */
};

struct blk_header { /* little-endian */
    uint32_t type, reserved;
    uint64_t sector;
};

struct blk_segment { /* of DISCARD and WRITE_ZEROES; little-endian */
    uint64_t sector;
    uint32_t sectors, flags;
};

struct blk_request {
    struct block_request io; /* first */
    struct virtio_blk *blk;
    struct virtio_chain *chain;
    struct blk_request *next; /* of those merged behind it, or of a list */
    uint8_t *status;
    struct iovec *iov; /* the data in the chain's pieces */
    unsigned iov_count;
    size_t *restore;      /* a piece that was made shorter by the status */
    struct iovec *merged; /* of all parts; freed */
};

/* ---- requests as objects --------------------------------------------------------------------- */

static struct blk_request *request_get(struct virtio_blk *blk, struct virtio_chain *chain)
{
    struct blk_request *r = blk->spare;

    if (r) {
        blk->spare = r->next;
    } else {
        r = malloc(sizeof(*r));
        if (!r) {
            return NULL;
        }
        r->blk = blk;
    }
    r->chain = chain;
    r->next = NULL;
    r->iov = NULL;
    r->iov_count = 0;
    r->restore = NULL;
    r->merged = NULL;
    return r;
}

static void request_put(struct blk_request *r)
{
    struct virtio_blk *blk = r->blk;

    r->next = blk->spare;
    blk->spare = r;
}

/* Gives the answer. */
static void complete(struct blk_request *r, uint8_t status)
{
    struct virtio_blk *blk = r->blk;
    struct virtio_chain *chain = r->chain;

    *r->status = status;
    if (r->restore) {
        *r->restore += 1;
    }
    blk->unflushed |= UINT64_C(1) << virtio_queue_index(chain->queue);
    virtio_push(chain, (uint32_t)(chain->in_size < UINT32_MAX ? chain->in_size : UINT32_MAX));
    request_put(r);
}

void blk_show_answers(void *opaque)
{
    struct virtio_blk *blk = opaque;

    while (blk->unflushed) {
        unsigned n = (unsigned)__builtin_ctzll(blk->unflushed);

        blk->unflushed &= blk->unflushed - 1;
        virtio_flush(virtio_queue_at(&blk->virtio, n));
    }
}

static void show_answers_soon(struct virtio_blk *blk)
{
    if (!blk->under_way) {
        blk_show_answers(blk);
    } else {
        loop_bh_schedule(blk->flush_bh);
    }
}

/* ---- the way to the node --------------------------------------------------------------------- */

static void submit(struct blk_request *r);

/* Does the error stop the VM, and the request wait? */
static bool stops(const struct blk_request *r)
{
    const struct virtio_blk *blk = r->blk;
    bool read = r->io.kind == BLOCK_READ;
    int policy = read ? blk->rerror : blk->werror;

    if (policy == POLICY_AUTO) {
        policy = read ? POLICY_REPORT : POLICY_ENOSPC;
    }
    return policy == POLICY_STOP || (policy == POLICY_ENOSPC && r->io.result == -ENOSPC);
}

static bool ignores(const struct blk_request *r)
{
    const struct virtio_blk *blk = r->blk;

    return (r->io.kind == BLOCK_READ ? blk->rerror : blk->werror) == POLICY_IGNORE;
}

/* Says once why the machine stands still: nothing else would. */
static void report_stop(const struct blk_request *r)
{
    static const char *const kinds[] = {[BLOCK_READ] = "read",
                                        [BLOCK_WRITE] = "write",
                                        [BLOCK_FLUSH] = "flush",
                                        [BLOCK_DISCARD] = "discard",
                                        [BLOCK_ZERO] = "write of zeros"};
    char name[128];

    hw_device_name(&r->blk->virtio.device, name, sizeof(name));
    error_warn("%s: a %s at sector %llu failed: %s; the machine is stopped (%s)", name,
               kinds[r->io.kind], (unsigned long long)(r->io.offset / BLK_SECTOR),
               strerror((int)-r->io.result), r->io.kind == BLOCK_READ ? "rerror=" : "werror=");
}

static void request_failed(struct blk_request *r)
{
    struct virtio_blk *blk = r->blk;

    if (stops(r)) {
        if (!blk->failed) {
            report_stop(r);
        }
        r->next = blk->failed;
        blk->failed = r;
        hw_runstate_request(HW_REQUEST_STOP, HW_CAUSE_ERROR, HW_RUNSTATE_IO_ERROR);
    } else {
        complete(r, ignores(r) ? S_OK : r->io.result == -ENOTSUP ? S_UNSUPP : S_IOERR);
    }
}

/* The parts of a merged request, each on its own. */
static void submit_parts(struct blk_request *r)
{
    free(r->merged);
    r->merged = NULL;
    while (r) {
        struct blk_request *next = r->next;

        r->next = NULL;
        submit(r);
        r = next;
    }
}

static void done(struct block_request *io)
{
    struct blk_request *r = (struct blk_request *)io;
    struct virtio_blk *blk = r->blk;

    blk->under_way--;
    if (io->result < 0 && r->merged) {
        submit_parts(r);
        return;
    }
    free(r->merged);
    if (io->result < 0) {
        request_failed(r);
    } else {
        while (r) {
            struct blk_request *next = r->next;

            complete(r, S_OK);
            r = next;
        }
    }
    show_answers_soon(blk);
}

/* A request of the range in r->io, or (READ, WRITE) of its pieces. */
static void submit(struct blk_request *r)
{
    struct virtio_blk *blk = r->blk;

    if (!r->merged) {
        r->io.iov = r->iov;
        r->io.iov_count = r->iov_count;
        if (r->io.kind == BLOCK_READ || r->io.kind == BLOCK_WRITE) {
            r->io.size = 0;
            for (unsigned i = 0; i < r->iov_count; i++) {
                r->io.size += r->iov[i].iov_len;
            }
        }
    }
    r->io.fua = (r->io.kind == BLOCK_WRITE || r->io.kind == BLOCK_ZERO) &&
                atomic_load_explicit(&blk->write_through, memory_order_relaxed);
    r->io.done = done;
    r->io.loop = virtio_loop(&blk->virtio);
    blk->under_way++;
    block_submit(blk->node, &r->io);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void submit_row(struct virtio_blk *blk)
{
    struct blk_request *first = blk->row;
    unsigned n = 0;

    if (!first) {
        return;
    }
    blk->row = NULL;
    if (first->next) {
        first->merged = malloc(blk->row_pieces * sizeof(*first->merged));
        if (!first->merged) {
            submit_parts(first);
            return;
        }
        for (const struct blk_request *r = first; r; r = r->next) {
            memcpy(first->merged + n, r->iov, r->iov_count * sizeof(*r->iov));
            n += r->iov_count;
        }
        first->io.iov = first->merged;
        first->io.iov_count = n;
        first->io.size = blk->row_size;
    }
    submit(first);
}

/* Adds a read or write, with the row before it if it follows that. */
static void add_to_row(struct virtio_blk *blk, struct blk_request *r, uint64_t size)
{
    const struct blk_request *first = blk->row;

    if (first && (!blk->merging || first->io.kind != r->io.kind || blk->row_count == MERGE_MAX ||
                  first->io.offset + blk->row_size != r->io.offset ||
                  blk->row_pieces + r->iov_count > VIRTIO_MAX_PIECES)) {
        submit_row(blk);
    }
    if (!blk->row) {
        blk->row_end = &blk->row;
        blk->row_count = blk->row_pieces = 0;
        blk->row_size = 0;
    }
    *blk->row_end = r;
    blk->row_end = &r->next;
    blk->row_count++;
    blk->row_pieces += r->iov_count;
    blk->row_size += size;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Are these sectors on the disk, and whole blocks? */
static bool range_is_ok(const struct virtio_blk *blk, uint64_t sector, uint64_t size)
{
    uint64_t capacity = block_size(blk->node);

    return size <= capacity && sector <= (capacity - size) / BLK_SECTOR &&
           sector * BLK_SECTOR % blk->logical_block_size == 0 &&
           size % blk->logical_block_size == 0;
}

static void read_or_write(struct virtio_blk *blk, struct blk_request *r, bool write,
                          uint64_t sector, uint64_t size)
{
    if (!range_is_ok(blk, sector, size) || (write && block_readonly(blk->node))) {
        complete(r, S_IOERR);
        return;
    }
    if (!size) {
        complete(r, S_OK);
        return;
    }
    r->io.kind = write ? BLOCK_WRITE : BLOCK_READ;
    r->io.offset = sector * BLK_SECTOR;
    add_to_row(blk, r, size);
}

/* DISCARD or WRITE_ZEROES, clause 5.2.6.2, of one segment as the configuration says. */
static void change_range(struct virtio_blk *blk, struct blk_request *r, bool discard, uint64_t size)
{
    struct blk_segment segment;
    uint32_t most = discard ? blk->max_discard_sectors : blk->max_write_zeroes_sectors;

    if (!virtio_has(&blk->virtio, discard ? F_DISCARD : F_WRITE_ZEROES) || size > sizeof(segment)) {
        complete(r, S_UNSUPP);
        return;
    }
    if (size < sizeof(segment) || block_readonly(blk->node)) {
        complete(r, S_IOERR);
        return;
    }
    virtio_iov_read(r->iov, r->iov_count, 0, &segment, sizeof(segment));
    uint64_t sector = le64toh(segment.sector);
    uint32_t sectors = le32toh(segment.sectors), flags = le32toh(segment.flags);

    if (flags & ~(discard ? 0U : UNMAP)) {
        complete(r, S_UNSUPP);
        return;
    }
    if (sectors > most || !range_is_ok(blk, sector, (uint64_t)sectors * BLK_SECTOR)) {
        complete(r, S_IOERR);
        return;
    }
    if (!sectors) {
        complete(r, S_OK);
        return;
    }
    r->io.kind = discard ? BLOCK_DISCARD : BLOCK_ZERO;
    r->io.unmap = flags & UNMAP;
    r->io.offset = sector * BLK_SECTOR;
    r->io.size = (uint64_t)sectors * BLK_SECTOR;
    submit(r);
}

static void get_id(struct virtio_blk *blk, struct blk_request *r)
{
    char id[ID_SIZE] = {0};

    if (blk->serial) {
        memcpy(id, blk->serial, strnlen(blk->serial, ID_SIZE));
    }
    virtio_iov_write(r->iov, r->iov_count, 0, id, sizeof(id));
    complete(r, S_OK);
}

/* Leaves in r->iov what is behind the header. */
static void skip_header(struct blk_request *r)
{
    struct virtio_chain *chain = r->chain;
    size_t left = sizeof(struct blk_header);

    r->iov = chain->out;
    r->iov_count = chain->out_count;
    while (r->iov_count && left >= r->iov->iov_len) {
        left -= r->iov->iov_len;
        r->iov++;
        r->iov_count--;
    }
    if (left) {
        r->iov->iov_base = (uint8_t *)r->iov->iov_base + left;
        r->iov->iov_len -= left;
    }
}

/* Leaves in r->iov what is before the status; complete() makes the last piece whole again. */
static void skip_status(struct blk_request *r)
{
    struct iovec *last = &r->chain->in[r->chain->in_count - 1];

    r->iov = r->chain->in;
    r->iov_count = r->chain->in_count;
    last->iov_len--;
    r->restore = &last->iov_len;
    if (!last->iov_len) {
        r->iov_count--;
    }
}

static void take_request(struct virtio_blk *blk, struct virtio_chain *chain)
{
    struct blk_header header;
    struct blk_request *r;

    if (chain->out_size < sizeof(header) || !chain->in_size) {
        virtio_chain_free(chain);
        virtio_broken(&blk->virtio, "a request without header or status");
        return;
    }
    r = request_get(blk, chain);
    if (!r) {
        virtio_chain_free(chain);
        virtio_broken(&blk->virtio, "out of memory");
        return;
    }
    virtio_iov_read(chain->out, chain->out_count, 0, &header, sizeof(header));
    const struct iovec *last = &chain->in[chain->in_count - 1];
    uint32_t type = le32toh(header.type);

    r->status = (uint8_t *)last->iov_base + last->iov_len - 1;
    switch (type) {
    case T_IN:
        skip_status(r);
        read_or_write(blk, r, false, le64toh(header.sector), chain->in_size - 1);
        break;
    case T_OUT:
        skip_header(r);
        read_or_write(blk, r, true, le64toh(header.sector), chain->out_size - sizeof(header));
        break;
    case T_FLUSH:
        /* It covers what was answered before it was sent; writes of the row were not. */
        r->io.kind = BLOCK_FLUSH;
        r->io.offset = r->io.size = 0;
        submit(r);
        break;
    case T_GET_ID:
        skip_status(r);
        get_id(blk, r);
        break;
    case T_DISCARD:
    case T_WRITE_ZEROES:
        skip_header(r);
        change_range(blk, r, type == T_DISCARD, chain->out_size - sizeof(header));
        break;
    default:
        complete(r, S_UNSUPP);
        break;
    }
}

void blk_handle(struct virtio_device *device, struct virtio_queue *queue)
{
    struct virtio_blk *blk = (struct virtio_blk *)device;
    struct virtio_chain *chain;
    unsigned taken = 0;

    do {
        virtio_want_notify(queue, false);
        while (taken < BURST && (chain = virtio_pop(queue))) {
            take_request(blk, chain);
            taken++;
        }
    } while (taken < BURST && virtio_want_notify(queue, true));
    submit_row(blk);
    if (blk->unflushed) {
        show_answers_soon(blk);
    }
    if (taken == BURST) {
        blk->unserved |= UINT64_C(1) << virtio_queue_index(queue);
        loop_bh_schedule(blk->more_bh);
    }
}

void blk_serve_more(void *opaque)
{
    struct virtio_blk *blk = opaque;
    uint64_t queues = blk->unserved;

    blk->unserved = 0;
    for (; queues; queues &= queues - 1) {
        struct virtio_queue *queue =
            virtio_queue_at(&blk->virtio, (unsigned)__builtin_ctzll(queues));

        if (virtio_queue_is_ready(queue)) {
            blk_handle(&blk->virtio, queue);
        }
    }
}

/* Requests that stopped the VM are made again, in the order in which they failed. */
void blk_retry_failed(struct virtio_blk *blk)
{
    struct blk_request *list = blk->failed, *in_turn = NULL;

    blk->failed = NULL;
    while (list) {
        struct blk_request *next = list->next;

        list->next = in_turn;
        in_turn = list;
        list = next;
    }
    while (in_turn) {
        struct blk_request *next = in_turn->next;

        in_turn->next = NULL;
        submit(in_turn);
        in_turn = next;
    }
}

void blk_drop_failed(struct virtio_blk *blk)
{
    while (blk->failed) {
        struct blk_request *r = blk->failed;

        blk->failed = r->next;
        if (r->restore) {
            *r->restore += 1;
        }
        virtio_chain_free(r->chain);
        request_put(r);
    }
}

void blk_free_spare(struct virtio_blk *blk)
{
    while (blk->spare) {
        struct blk_request *next = blk->spare->next;

        free(blk->spare);
        blk->spare = next;
    }
}
