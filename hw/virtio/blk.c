/*
 * The block device, clause 5.2: a disk over a block node.
 *
 * A request goes from its chain straight to the node, on the device's loop (the main loop, or an
 * I/O thread): the driver's pieces become the node's, without a copy. Reads or writes that follow
 * each other on the disk and in the queue go as one. When a merged request fails, its parts are
 * tried one by one, so that each gets its own answer.
 *
 * Answers are shown to the driver (virtio_flush()) at once when nothing else is under way, and
 * otherwise together with those that come in the same round of the loop.
 *
 * Durability. With the write cache on, a write is durable when a later flush is done; with it off,
 * each write is when it is done (FUA). Which one it is the driver decides (FLUSH and CONFIG_WCE,
 * clause 5.2.6.2).
 *
 * Errors go to the driver, or (werror=, rerror=) stop the VM: the request is kept, and made again
 * when the VM goes on. While there are such requests the device cannot be saved.
 *
 * Everything in a request is the driver's word: header, status and data may be in any pieces,
 * sectors anywhere. A chain without room for header and status breaks the device, what else is
 * wrong gets an error status.
 */
#include "hw/virtio/blk.h"
#include "hw/core/runstate.h"
#include "hw/virtio/virtio.h"
#include "io/block/block.h"
#include "io/loop/thread.h"
#include "util/bits.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define F_SEG_MAX      2
#define F_GEOMETRY     4
#define F_RO           5
#define F_BLK_SIZE     6
#define F_FLUSH        9
#define F_TOPOLOGY     10
#define F_CONFIG_WCE   11
#define F_MQ           12
#define F_DISCARD      13
#define F_WRITE_ZEROES 14

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
    SECTOR = 512, /* the unit of the protocol, whatever the logical block size */
    ID_SIZE = 20,
    MERGE_MAX = 32,         /* requests that become one */
    BURST = 256,            /* chains that are taken before others get their turn */
    MAX_SECTORS = 0x3fffff, /* of a discard */
    UNMAP = 1,              /* flag of a segment of WRITE_ZEROES */
};

struct blk_header { /* little-endian */
    uint32_t type, reserved;
    uint64_t sector;
};

struct blk_segment { /* of DISCARD and WRITE_ZEROES; little-endian */
    uint64_t sector;
    uint32_t sectors, flags;
};

struct blk_config { /* clause 5.2.4; little-endian */
    uint64_t capacity;
    uint32_t size_max, seg_max;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp, alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t writeback, unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap, unused1[3];
};
_Static_assert(sizeof(struct blk_config) == 64, "60 bytes of fields");
#define CONFIG_SIZE 60

struct virtio_blk;

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

struct virtio_blk {
    struct virtio_device virtio; /* first */
    /* properties */
    char *drive, *serial, *iothread;
    uint16_t num_queues, queue_size;
    uint32_t logical_block_size, physical_block_size, min_io_size, opt_io_size;
    uint32_t discard_granularity, max_discard_sectors, max_write_zeroes_sectors;
    int write_cache, werror, rerror; /* SWITCH_*, POLICY_* */
    bool discard, write_zeroes, config_wce, share_rw, merging;
    int32_t bootindex;
    /* resources */
    struct block_node *node;
    struct block_claim *claim;
    struct loop_thread *thread;
    struct loop_bh *flush_bh, *more_bh;
    /* state; of the device's loop but for write_through */
    _Atomic bool write_through; /* each write is durable when it is done */
    unsigned under_way;
    uint64_t unflushed;         /* queues with answers that are not shown yet */
    uint64_t unserved;          /* queues whose burst was too long */
    struct blk_request *failed; /* that stopped the VM */
    struct blk_request *spare;
    /* reads or writes in a row, which become one */
    struct blk_request *row, **row_end;
    unsigned row_count, row_pieces;
    uint64_t row_size;
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

static void show_answers(void *opaque)
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
        show_answers(blk);
    } else {
        loop_bh_schedule(blk->flush_bh);
    }
}

/* ---- the way to the node --------------------------------------------------------------------- */

enum { POLICY_AUTO, POLICY_REPORT, POLICY_IGNORE, POLICY_STOP, POLICY_ENOSPC };
static const char *const policy_names[] = {"auto", "report", "ignore", "stop", "enospc", NULL};

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

static void request_failed(struct blk_request *r)
{
    struct virtio_blk *blk = r->blk;

    if (stops(r)) {
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

    return size <= capacity && sector <= (capacity - size) / SECTOR &&
           sector * SECTOR % blk->logical_block_size == 0 && size % blk->logical_block_size == 0;
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
    r->io.offset = sector * SECTOR;
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
    if (sectors > most || !range_is_ok(blk, sector, (uint64_t)sectors * SECTOR)) {
        complete(r, S_IOERR);
        return;
    }
    if (!sectors) {
        complete(r, S_OK);
        return;
    }
    r->io.kind = discard ? BLOCK_DISCARD : BLOCK_ZERO;
    r->io.unmap = flags & UNMAP;
    r->io.offset = sector * SECTOR;
    r->io.size = (uint64_t)sectors * SECTOR;
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

static void handle(struct virtio_device *device, struct virtio_queue *queue)
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

static void serve_more(void *opaque)
{
    struct virtio_blk *blk = opaque;
    uint64_t queues = blk->unserved;

    blk->unserved = 0;
    for (; queues; queues &= queues - 1) {
        struct virtio_queue *queue =
            virtio_queue_at(&blk->virtio, (unsigned)__builtin_ctzll(queues));

        if (virtio_queue_is_ready(queue)) {
            handle(&blk->virtio, queue);
        }
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Requests that stopped the VM are made again, in the order in which they failed. */
static void start(struct virtio_device *device)
{
    struct virtio_blk *blk = (struct virtio_blk *)device;
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

static void stop(struct virtio_device *device)
{
    struct virtio_blk *blk = (struct virtio_blk *)device;

    while (blk->under_way) {
        loop_iterate(virtio_loop(device), true);
    }
    show_answers(blk);
    blk->unserved = 0;
}

static void drop_failed(struct virtio_blk *blk)
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

enum { SWITCH_AUTO, SWITCH_ON, SWITCH_OFF };
static const char *const switch_names[] = {"auto", "on", "off", NULL};

static void reset(struct virtio_device *device)
{
    struct virtio_blk *blk = (struct virtio_blk *)device;

    drop_failed(blk);
    atomic_store(&blk->write_through, blk->write_cache == SWITCH_OFF);
}

static uint64_t features(struct virtio_device *device)
{
    const struct virtio_blk *blk = (const struct virtio_blk *)device;
    uint64_t bits = 1U << F_SEG_MAX | 1U << F_GEOMETRY | 1U << F_BLK_SIZE | 1U << F_TOPOLOGY;

    bits |= blk->write_cache != SWITCH_OFF || blk->config_wce ? 1U << F_FLUSH : 0;
    bits |= blk->config_wce ? 1U << F_CONFIG_WCE : 0;
    bits |= blk->num_queues > 1 ? 1U << F_MQ : 0;
    if (block_readonly(blk->node)) {
        return bits | 1U << F_RO;
    }
    bits |= blk->discard ? 1U << F_DISCARD : 0;
    return bits | (blk->write_zeroes ? 1U << F_WRITE_ZEROES : 0);
}

/* A driver that does not know of flushes gets a disk without a cache. */
static bool set_features(struct virtio_device *device, uint64_t accepted)
{
    struct virtio_blk *blk = (struct virtio_blk *)device;

    if (!(accepted >> F_CONFIG_WCE & 1)) {
        atomic_store(&blk->write_through, !(accepted >> F_FLUSH & 1));
    }
    return true;
}

static void config_read(struct virtio_device *device, uint32_t offset, void *bytes, uint32_t size)
{
    const struct virtio_blk *blk = (const struct virtio_blk *)device;
    uint64_t sectors = block_size(blk->node) / SECTOR, cylinders = sectors / (16 * 63);
    uint32_t block = blk->logical_block_size;
    uint32_t granularity = blk->discard_granularity ? blk->discard_granularity : block;
    struct blk_config config = {
        .capacity = htole64(sectors),
        .seg_max = htole32(blk->queue_size - 2U),
        .cylinders = htole16((uint16_t)(cylinders < 16383 ? cylinders : 16383)),
        .heads = 16,
        .sectors = 63,
        .blk_size = htole32(block),
        .physical_block_exp = (uint8_t)__builtin_ctz(blk->physical_block_size / block),
        .min_io_size = htole16((uint16_t)(blk->min_io_size / block)),
        .opt_io_size = htole32(blk->opt_io_size / block),
        .writeback = !atomic_load(&blk->write_through),
        .num_queues = htole16(blk->num_queues),
        .max_discard_sectors = htole32(blk->max_discard_sectors),
        .max_discard_seg = htole32(1),
        .discard_sector_alignment = htole32(granularity / SECTOR),
        .max_write_zeroes_sectors = htole32(blk->max_write_zeroes_sectors),
        .max_write_zeroes_seg = htole32(1),
        .write_zeroes_may_unmap = 1,
    };

    memcpy(bytes, (const uint8_t *)&config + offset, size);
}

/* Only the cache's mode can be written. */
static void config_write(struct virtio_device *device, uint32_t offset, const void *bytes,
                         uint32_t size)
{
    struct virtio_blk *blk = (struct virtio_blk *)device;
    uint32_t at = offsetof(struct blk_config, writeback);

    if (virtio_has(device, F_CONFIG_WCE) && offset <= at && offset + size > at) {
        atomic_store(&blk->write_through, !((const uint8_t *)bytes)[at - offset]);
    }
}

static const struct virtio_device_ops ops = {
    .device_id = 2,
    .pci_class = 0x0100,
    .config_size = CONFIG_SIZE,
    .features = features,
    .set_features = set_features,
    .config_read = config_read,
    .config_write = config_write,
    .start = start,
    .stop = stop,
    .reset = reset,
};

/* ---- the type -------------------------------------------------------------------------------- */

static int wrong(const struct hw_device *device, char *error, size_t error_size, const char *what)
{
    char name[128];

    hw_device_name(device, name, sizeof(name));
    snprintf(error, error_size, "%s: %s", name, what);
    return -EINVAL;
}

static int check_properties(struct virtio_blk *blk, char *error, size_t error_size)
{
    struct hw_device *device = &blk->virtio.device;

    if (!bits_is_pow2(blk->logical_block_size) || !bits_is_pow2(blk->physical_block_size) ||
        blk->physical_block_size < blk->logical_block_size) {
        return wrong(device, error, error_size,
                     "logical_block_size, physical_block_size: expected powers of two, the second "
                     "not smaller");
    }
    if (!bits_is_pow2(blk->queue_size)) {
        return wrong(device, error, error_size, "queue-size: expected a power of two");
    }
    if (blk->min_io_size % blk->logical_block_size || blk->opt_io_size % blk->logical_block_size ||
        blk->discard_granularity % blk->logical_block_size) {
        return wrong(device, error, error_size,
                     "min_io_size, opt_io_size, discard_granularity: expected multiples of "
                     "logical_block_size");
    }
    return 0;
}

static void release(struct virtio_blk *blk)
{
    while (blk->spare) {
        struct blk_request *next = blk->spare->next;

        free(blk->spare);
        blk->spare = next;
    }
    if (blk->flush_bh) {
        loop_bh_destroy(blk->flush_bh);
        blk->flush_bh = NULL;
    }
    if (blk->more_bh) {
        loop_bh_destroy(blk->more_bh);
        blk->more_bh = NULL;
    }
    if (blk->claim) {
        block_claim_release(blk->claim);
        blk->claim = NULL;
    }
    if (blk->thread) {
        loop_thread_use(blk->thread, false);
        blk->thread = NULL;
    }
}

static int take_resources(struct virtio_blk *blk, char *error, size_t error_size)
{
    struct hw_device *device = &blk->virtio.device;
    struct block_limits limits;
    char name[128];

    hw_device_name(device, name, sizeof(name));
    blk->node = block_find(blk->drive);
    if (!blk->node) {
        snprintf(error, error_size, "%s: drive=%s: there is no such drive or node", name,
                 blk->drive);
        return -ENODEV;
    }
    if (blk->iothread) {
        blk->thread = loop_thread_find(blk->iothread);
        if (!blk->thread) {
            snprintf(error, error_size, "%s: iothread=%s: there is no such object", name,
                     blk->iothread);
            return -ENODEV;
        }
        loop_thread_use(blk->thread, true);
    }
    unsigned permissions = BLOCK_PERM_READ | (block_readonly(blk->node) ? 0 : BLOCK_PERM_WRITE);

    block_get_limits(blk->node, &limits);
    if (!blk->discard_granularity && limits.discard_granularity % blk->logical_block_size == 0) {
        blk->discard_granularity = limits.discard_granularity;
    }
    return block_claim(&blk->claim, blk->node, permissions,
                       blk->share_rw ? BLOCK_PERM_ALL
                                     : BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED,
                       error, error_size);
}

static int blk_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct virtio_blk *blk = (struct virtio_blk *)device;
    int err = check_properties(blk, error, error_size);

    if (!err) {
        err = take_resources(blk, error, error_size);
    }
    if (!err) {
        err = virtio_init(&blk->virtio, &ops, blk->num_queues, blk->queue_size, handle,
                          blk->thread ? loop_thread_loop(blk->thread) : NULL, error, error_size);
    }
    if (!err) {
        blk->flush_bh = loop_bh_create(virtio_loop(&blk->virtio), show_answers, blk);
        blk->more_bh = loop_bh_create(virtio_loop(&blk->virtio), serve_more, blk);
        if (!blk->flush_bh || !blk->more_bh) {
            virtio_exit(&blk->virtio);
            err = wrong(device, error, error_size, "out of memory");
        }
    }
    if (err) {
        release(blk);
        return err;
    }
    reset(&blk->virtio);
    return 0;
}

static void blk_unrealize(struct hw_device *device)
{
    struct virtio_blk *blk = (struct virtio_blk *)device;

    drop_failed(blk);
    virtio_exit(&blk->virtio);
    release(blk);
}

static int pre_save(void *object)
{
    return ((struct virtio_blk *)object)->failed ? -EBUSY : 0;
}

static const struct state_field fields[] = {
    STATE(STRUCT, "virtio", struct virtio_blk, virtio, .table = &virtio_state),
    STATE(BOOL, "write_through", struct virtio_blk, write_through),
    STATE_END,
};

static const struct state_table state = {
    .name = "virtio-blk", .version = 1, .min_version = 1, .fields = fields, .pre_save = pre_save};

static const struct property properties[] = {
    PROPERTY(STRING, "drive", struct virtio_blk, drive, .required = true,
             .help = "id of a drive, or name of a block node"),
    PROPERTY(STRING, "serial", struct virtio_blk, serial,
             .help = "serial number, of which 20 bytes count"),
    PROPERTY(STRING, "iothread", struct virtio_blk, iothread,
             .help = "id of the I/O thread that serves the queues"),
    PROPERTY(U16, "num-queues", struct virtio_blk, num_queues, .number = 1, .min = 1,
             .max = VIRTIO_MAX_QUEUES, .help = "queues"),
    PROPERTY(U16, "queue-size", struct virtio_blk, queue_size, .number = 256, .min = 4,
             .max = VIRTIO_QUEUE_MAX_SIZE, .help = "descriptors of a queue, a power of two"),
    PROPERTY(U32, "logical_block_size", struct virtio_blk, logical_block_size, .number = SECTOR,
             .min = SECTOR, .max = 2 << 20, .help = "bytes of the smallest access"),
    PROPERTY(U32, "physical_block_size", struct virtio_blk, physical_block_size, .number = SECTOR,
             .min = SECTOR, .max = 2 << 20, .help = "bytes of an access without a penalty"),
    PROPERTY(U32, "min_io_size", struct virtio_blk, min_io_size, .max = 0xffff * SECTOR,
             .help = "bytes that an access had better have at least"),
    PROPERTY(U32, "opt_io_size", struct virtio_blk, opt_io_size,
             .help = "bytes that an access had better have"),
    PROPERTY(U32, "discard_granularity", struct virtio_blk, discard_granularity,
             .help = "bytes, 0: the image's"),
    PROPERTY(U32, "max-discard-sectors", struct virtio_blk, max_discard_sectors,
             .number = MAX_SECTORS, .min = 1, .max = MAX_SECTORS, .help = "of a discard"),
    PROPERTY(U32, "max-write-zeroes-sectors", struct virtio_blk, max_write_zeroes_sectors,
             .number = MAX_SECTORS, .min = 1, .max = MAX_SECTORS, .help = "of writing zeros"),
    PROPERTY(ENUM, "write-cache", struct virtio_blk, write_cache, .names = switch_names,
             .help = "writes wait for a flush to be durable"),
    PROPERTY(ENUM, "werror", struct virtio_blk, werror, .names = policy_names,
             .help = "what a failed write does"),
    PROPERTY(ENUM, "rerror", struct virtio_blk, rerror, .names = policy_names,
             .help = "what a failed read does"),
    PROPERTY(BOOL, "discard", struct virtio_blk, discard, .number = 1, .help = "offers discards"),
    PROPERTY(BOOL, "write-zeroes", struct virtio_blk, write_zeroes, .number = 1,
             .help = "offers writing zeros"),
    PROPERTY(BOOL, "config-wce", struct virtio_blk, config_wce, .number = 1,
             .help = "the driver may turn the write cache on and off"),
    PROPERTY(BOOL, "share-rw", struct virtio_blk, share_rw,
             .help = "others may write the image, too"),
    PROPERTY(BOOL, "request-merging", struct virtio_blk, merging, .number = 1,
             .help = "requests in a row become one"),
    PROPERTY(I32, "bootindex", struct virtio_blk, bootindex, .number = -1, .low = -1,
             .high = INT32_MAX, .help = "place in the order of booting"),
    PROPERTY_END,
};

const struct hw_device_type virtio_blk_type = {
    .name = "virtio-blk-device",
    .bus = "virtio-bus",
    .help = "virtio disk",
    .size = sizeof(struct virtio_blk),
    .properties = properties,
    .state = &state,
    .hotplug = true,
    .realize = blk_realize,
    .unrealize = blk_unrealize,
};
