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
#include "hw/virtio/blk-internal.h"
#include "io/loop/thread.h"
#include "util/bits.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

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

static const char *const policy_names[] = {"auto", "report", "ignore", "stop", "enospc", NULL};

/* ---- life ------------------------------------------------------------------------------------ */

/* Bottom halves come and go here because only the loop's own thread may end them. */
static void start(struct virtio_device *device)
{
    struct virtio_blk *blk = (struct virtio_blk *)device;

    blk->flush_bh = loop_bh_create(virtio_loop(device), blk_show_answers, blk);
    blk->more_bh = loop_bh_create(virtio_loop(device), blk_serve_more, blk);
    if (!blk->flush_bh || !blk->more_bh) {
        virtio_broken(device, "out of memory");
        return;
    }
    blk_retry_failed(blk);
}

static void end_bh(struct loop_bh **bh)
{
    if (*bh) {
        loop_bh_destroy(*bh);
        *bh = NULL;
    }
}

static void stop(struct virtio_device *device)
{
    struct virtio_blk *blk = (struct virtio_blk *)device;

    while (blk->under_way) {
        loop_iterate(virtio_loop(device), true);
    }
    blk_show_answers(blk);
    blk->unserved = 0;
    end_bh(&blk->flush_bh);
    end_bh(&blk->more_bh);
}

enum { SWITCH_AUTO, SWITCH_ON, SWITCH_OFF };
static const char *const switch_names[] = {"auto", "on", "off", NULL};

static void reset(struct virtio_device *device)
{
    struct virtio_blk *blk = (struct virtio_blk *)device;

    blk_drop_failed(blk);
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
    uint64_t sectors = block_size(blk->node) / BLK_SECTOR, cylinders = sectors / (16 * 63);
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
        .discard_sector_alignment = htole32(granularity / BLK_SECTOR),
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
    blk_free_spare(blk);
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
        err = virtio_init(&blk->virtio, &ops, blk->num_queues, blk->queue_size, blk_handle,
                          blk->thread ? loop_thread_loop(blk->thread) : NULL, error, error_size);
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

    blk_drop_failed(blk);
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
    PROPERTY(U32, "logical_block_size", struct virtio_blk, logical_block_size, .number = BLK_SECTOR,
             .min = BLK_SECTOR, .max = 2 << 20, .help = "bytes of the smallest access"),
    PROPERTY(U32, "physical_block_size", struct virtio_blk, physical_block_size,
             .number = BLK_SECTOR, .min = BLK_SECTOR, .max = 2 << 20,
             .help = "bytes of an access without a penalty"),
    PROPERTY(U32, "min_io_size", struct virtio_blk, min_io_size, .max = 0xffff * BLK_SECTOR,
             .help = "bytes that an access had better have at least"),
    PROPERTY(U32, "opt_io_size", struct virtio_blk, opt_io_size,
             .help = "bytes that an access had better have"),
    PROPERTY(U32, "discard_granularity", struct virtio_blk, discard_granularity,
             .help = "bytes, 0: the image's"),
    PROPERTY(U32, "max-discard-sectors", struct virtio_blk, max_discard_sectors,
             .number = BLK_MAX_SECTORS, .min = 1, .max = BLK_MAX_SECTORS, .help = "of a discard"),
    PROPERTY(U32, "max-write-zeroes-sectors", struct virtio_blk, max_write_zeroes_sectors,
             .number = BLK_MAX_SECTORS, .min = 1, .max = BLK_MAX_SECTORS,
             .help = "of writing zeros"),
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
