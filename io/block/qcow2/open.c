/*
 * Opening and closing images; what is known about them.
 *
 * open() reads the header, L1 and reference count tables and the snapshot table, and compares each
 * with the others as far as that needs no more reading. An image that is marked dirty is repaired
 * before anybody writes to it; one that is marked corrupt is never written.
 */
#include "io/block/qcow2/qcow2.h"
#include "util/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define L2_CACHE_DEFAULT       (32u << 20)
#define L2_CACHE_ENTRY_DEFAULT 4096u
#define CACHE_DEFAULT_SHARE    4u /* of cache-size, what the reference count cache gets */
#define BLOCK_CACHE_LEAST      4u

static int refuse(char *error, size_t error_size, const struct qcow2 *q, int err, const char *text)
{
    snprintf(error, error_size, "qcow2: %s: %s", q->node->filename, text);
    return err;
}

/* ---- reading the tables ---------------------------------------------------------------------- */

static int read_header(struct qcow2 *q, char *error, size_t error_size)
{
    uint8_t head[QCOW2_HEADER_SIZE_V2];
    size_t size;
    int err = qcow2_pread(q, 0, head, sizeof(head));

    if (err != 0) {
        return refuse(error, error_size, q, err, "can't read the header");
    }
    size = qcow2_header_bytes(head);
    if (size == 0) {
        return refuse(error, error_size, q, -EINVAL,
                      "not an image in qcow2 format with clusters of 512 bytes to 2 MiB");
    }
    q->header_image = malloc(size);
    if (!q->header_image) {
        return refuse(error, error_size, q, -ENOMEM, "out of memory");
    }
    err = qcow2_pread(q, 0, q->header_image, size);
    if (err != 0) {
        return refuse(error, error_size, q, err, "can't read the header");
    }
    return qcow2_header_parse(&q->header, q->header_image, size, error, error_size);
}

static void derive(struct qcow2 *q)
{
    const struct qcow2_header *h = &q->header;
    bool extended = (h->incompatible & QCOW2_INCOMPAT_EXTL2) != 0;
    uint64_t slice =
        q->options->l2_cache_entry_size ? q->options->l2_cache_entry_size : L2_CACHE_ENTRY_DEFAULT;

    q->cluster_bits = h->cluster_bits;
    q->cluster_size = UINT64_C(1) << h->cluster_bits;
    q->entry_size = extended ? 16 : 8;
    q->l2_bits = h->cluster_bits - (extended ? 4 : 3);
    q->slice_size = (size_t)qcow2_min(slice, q->cluster_size);
    q->slice_bits = (unsigned)__builtin_ctzll(q->slice_size) - (extended ? 4 : 3);
    q->subs = extended ? QCOW2_SUBCLUSTERS : 1;
    q->sub_bits = h->cluster_bits - (extended ? 5 : 0);
    q->block_bits = h->cluster_bits + 3 - h->refcount_order;
    q->refcount_max =
        h->refcount_order == 6 ? INT64_MAX : (UINT64_C(1) << (1u << h->refcount_order)) - 1;
    q->external = (h->incompatible & QCOW2_INCOMPAT_DATA_FILE) != 0;
    q->data_raw = (h->autoclear & QCOW2_AUTOCLEAR_DATA_RAW) != 0;
    q->lazy = h->version >= 3 &&
              (q->options->lazy_refcounts == 0 ? (h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS) != 0
                                               : q->options->lazy_refcounts == 1);
}

int qcow2_l1_read(struct qcow2 *q, uint64_t offset, uint32_t count, uint64_t **entries)
{
    uint64_t *table = malloc((size_t)count * 8 + 8);
    int err = table ? 0 : -ENOMEM;

    if (err == 0 && count) {
        err = qcow2_pread(q, offset, table, (size_t)count * 8);
    }
    if (err != 0) {
        free(table);
        return err;
    }
    for (uint32_t i = 0; i < count; i++) {
        table[i] = bytes_be64((const uint8_t *)&table[i]);
    }
    *entries = table;
    return 0;
}

static int read_tables(struct qcow2 *q, char *error, size_t error_size)
{
    const struct qcow2_header *h = &q->header;
    uint32_t count = (uint32_t)(((uint64_t)h->reftable_clusters << h->cluster_bits) / 8);
    int err = 0;

    if (h->l1_size && h->l1_offset == 0) {
        return refuse(error, error_size, q, -EINVAL, "L1 table offset is invalid");
    }
    q->l1 = (struct qcow2_table){.count = h->l1_size, .offset = h->l1_offset};
    err = qcow2_l1_read(q, h->l1_offset, h->l1_size, &q->l1.entries);
    if (err != 0) {
        return refuse(error, error_size, q, err, "can't read the L1 table");
    }
    q->reftable = (struct qcow2_table){.count = count, .offset = h->reftable_offset};
    err = qcow2_l1_read(q, h->reftable_offset, count, &q->reftable.entries);
    if (err != 0) {
        return refuse(error, error_size, q, err, "can't read the reference count table");
    }
    for (uint32_t i = 0; i < count; i++) {
        /* A bad entry must not lead anywhere; the check finds it. */
        if (q->reftable.entries[i] & (q->cluster_size - 1)) {
            q->reftable.entries[i] = 0;
            if (q->writable) {
                q->header.incompatible |= QCOW2_INCOMPAT_CORRUPT;
            }
        }
    }
    return qcow2_snapshots_load(q, error, error_size);
}

/* ---- caches ---------------------------------------------------------------------------------- */

static int set_up_caches(struct qcow2 *q, char *error, size_t error_size)
{
    const struct qcow2_options *o = q->options;
    uint64_t whole = ((uint64_t)q->l1.count << q->cluster_bits);
    uint64_t l2 = qcow2_min(L2_CACHE_DEFAULT, qcow2_max(whole, q->cluster_size));
    uint64_t blocks = BLOCK_CACHE_LEAST * q->cluster_size;
    int err;

    if (o->cache_size && o->l2_cache_size && o->refcount_cache_size) {
        return refuse(error, error_size, q, -EINVAL,
                      "cache-size, l2-cache-size and refcount-cache-size: expected at most two");
    }
    if (o->l2_cache_entry_size &&
        (o->l2_cache_entry_size < 512 || o->l2_cache_entry_size > q->cluster_size ||
         (o->l2_cache_entry_size & (o->l2_cache_entry_size - 1)))) {
        return refuse(error, error_size, q, -EINVAL,
                      "l2-cache-entry-size: expected a power of two from 512 to the cluster size");
    }
    if (o->cache_size) {
        if (o->l2_cache_size > o->cache_size || o->refcount_cache_size > o->cache_size) {
            return refuse(error, error_size, q, -EINVAL,
                          "cache-size: expected at least l2-cache-size and refcount-cache-size");
        }
        l2 = o->l2_cache_size         ? o->l2_cache_size
             : o->refcount_cache_size ? o->cache_size - o->refcount_cache_size
             : o->cache_size > blocks ? o->cache_size - blocks
                                      : o->cache_size / 2;
        blocks = o->cache_size - qcow2_min(l2, o->cache_size);
        l2 = qcow2_min(l2, qcow2_max(whole, q->cluster_size));
    }
    l2 = o->l2_cache_size ? o->l2_cache_size : l2;
    blocks = o->refcount_cache_size ? o->refcount_cache_size : blocks;
    err = qcow2_cache_init(&q->l2_cache, q, q->slice_size, l2, 16);
    if (err == 0) {
        err = qcow2_cache_init(&q->block_cache, q, q->cluster_size, blocks, BLOCK_CACHE_LEAST);
    }
    return err == 0 ? 0 : refuse(error, error_size, q, err, "out of memory");
}

/* ---- life of the state ----------------------------------------------------------------------- */

static void forget_image(struct qcow2 *q)
{
    qcow2_snapshots_free(q);
    qcow2_crypto_close(q);
    qcow2_cache_destroy(&q->l2_cache);
    qcow2_cache_destroy(&q->block_cache);
    qcow2_owners_free(&q->owners);
    free(q->l1.entries);
    free(q->reftable.entries);
    free(q->frees.items);
    free(q->ready.items);
    free(q->header_image);
    q->l1 = q->reftable = (struct qcow2_table){0};
    q->frees = q->ready = (struct qcow2_free_list){0};
    q->header_image = NULL;
    q->hint = q->packed_offset = 0;
    q->data_dirty = q->no_reserve = q->reserved = false;
    qcow2_header_free(&q->header);
}

static void init_locks(struct qcow2 *q)
{
    pthread_mutex_init(&q->alloc_lock, NULL);
    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_init(&q->header_lock, NULL);
    pthread_cond_init(&q->changed, NULL);
}

static void destroy_locks(struct qcow2 *q)
{
    qcow2_forward_free(q);
    pthread_mutex_destroy(&q->alloc_lock);
    pthread_mutex_destroy(&q->lock);
    pthread_mutex_destroy(&q->header_lock);
    pthread_cond_destroy(&q->changed);
}

static unsigned overlap_mask(const struct qcow2_options *o)
{
    static const unsigned masks[] = {
        0,
        QCOW2_OL_HEADER | QCOW2_OL_REFTABLE | QCOW2_OL_SNAPSHOTS | QCOW2_OL_BITMAPS,
        511u & ~QCOW2_OL_INACTIVE_L2,
        511u,
    };

    if (o->repair) {
        return 0; /* tables that lie upon each other are what is repaired */
    }
    return (masks[o->overlap_check] | o->overlap_set) & ~(unsigned)o->overlap_clear;
}

/* All that is in memory about an image, from the file. */
static int load(struct qcow2 *q, char *error, size_t error_size)
{
    int err = read_header(q, error, error_size);

    if (err != 0) {
        return err;
    }
    q->overlap_mask = overlap_mask(q->options);
    derive(q);
    err = read_tables(q, error, error_size);
    if (err == 0) {
        err = set_up_caches(q, error, error_size);
    }
    if (err == 0 && q->writable) {
        err = qcow2_owners_rebuild(q);
        if (err != 0) {
            refuse(error, error_size, q, err, "can't read the tables");
        }
    }
    q->zero_from =
        q->file->growable ? qcow2_clusters(q, block_size(q->file)) << q->cluster_bits : UINT64_MAX;
    return err;
}

/* What has to be right before the first write. */
static int make_writable(struct qcow2 *q, char *error, size_t error_size)
{
    bool unknown = (q->header.autoclear & ~(uint64_t)QCOW2_AUTOCLEAR_KNOWN) != 0;
    bool lost = (q->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS) && !q->header.has_bitmaps;
    int err = 0;

    if (q->header.incompatible & QCOW2_INCOMPAT_CORRUPT) {
        return refuse(error, error_size, q, -EACCES,
                      "Image is corrupt; cannot be opened read/write (read-only=on, or repair it)");
    }
    if (q->header.incompatible & QCOW2_INCOMPAT_DIRTY) {
        struct block_check check = {0};

        err = qcow2_check_image(q, BLOCK_CHECK_LEAKS | BLOCK_CHECK_ERRORS, &check);
        if (err != 0 || check.corruptions || check.check_errors) {
            return refuse(error, error_size, q, err ? err : -EIO, "Could not repair dirty image");
        }
        err = qcow2_clear_dirty(q);
    }
    if (err == 0 && (unknown || lost)) {
        q->header.autoclear &= QCOW2_AUTOCLEAR_KNOWN;
        if (lost) {
            q->header.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS;
        }
        err = qcow2_write_header(q);
    }
    return err == 0 ? 0 : refuse(error, error_size, q, err, "can't write the header");
}

static int find_data_file(struct qcow2 *q, char *error, size_t error_size)
{
    if (!q->external) {
        if (q->node->data) {
            return refuse(error, error_size, q, -EINVAL,
                          "data-file: expected none, the image has its data in itself");
        }
        return 0;
    }
    if (!q->node->data && q->header.data_file && !q->node->no_io) {
        int err = block_set_data_file(q->node, q->header.data_file, error, error_size);

        if (err != 0) {
            return err;
        }
    }
    if (q->node->data) {
        q->data = q->node->data->node;
    } else if (!q->node->no_io) {
        return refuse(error, error_size, q, -EINVAL, "'data-file' is required for this image");
    }
    return 0;
}

/* Loads, and does what only a real node needs. */
static int load_node(struct qcow2 *q, char *error, size_t error_size)
{
    struct block_node *node = q->node;
    int err = load(q, error, error_size);

    if (err == 0) {
        err = find_data_file(q, error, error_size);
    }
    if (err == 0 && q->header.crypt) {
        err = qcow2_crypto_open(q, error, error_size);
    }
    if (err == 0 && q->writable && !q->options->repair) {
        err = make_writable(q, error, error_size);
    }
    if (err == 0 && q->header.backing) {
        err = block_set_backing(node, q->header.backing, q->header.backing_format);
    }
    if (err == 0 && q->options->snapshot) {
        q->active = true;
        err = qcow2_snapshot_load(node, q->options->snapshot, error, error_size);
    }
    if (err != 0) {
        forget_image(q);
        return err;
    }
    node->alignment = q->header.crypt ? 512 : 1;
    node->discard_granularity = (uint32_t)q->cluster_size;
    block_set_size(node, q->header.size);
    q->active = true;
    return 0;
}

int qcow2_open(struct block_node *node, char *error, size_t error_size)
{
    struct qcow2 *q = node->state;
    int err;

    q->node = node;
    q->file = q->data = node->file->node;
    q->options = node->options;
    q->writable = !node->readonly && !node->no_io && !q->options->snapshot;
    init_locks(q);
    err = load_node(q, error, error_size);
    if (err != 0) {
        destroy_locks(q);
    }
    return err;
}

/* Everything goes to the medium, and the image is clean. */
static int settle(struct qcow2 *q)
{
    int err = qcow2_settle(q);

    if (err == 0) {
        err = qcow2_sync_all(q);
    }
    if (err == 0 && !q->broken) {
        err = qcow2_clear_dirty(q);
    }
    qcow2_reserve_end(q);
    return err;
}

int qcow2_inactivate(struct block_node *node)
{
    struct qcow2 *q = node->state;
    int err = q->writable ? settle(q) : 0;

    if (err == 0) {
        q->active = false;
    }
    return err;
}

int qcow2_activate(struct block_node *node, char *error, size_t error_size)
{
    struct qcow2 *q = node->state;

    forget_image(q);
    return load_node(q, error, error_size);
}

void qcow2_close(struct block_node *node)
{
    struct qcow2 *q = node->state;

    if (q->active && q->writable && settle(q) != 0) {
        error_warn("qcow2: %s: metadata could not be written", node->filename);
    }
    forget_image(q);
    destroy_locks(q);
}

/* Without its image. */
static void free_own(struct qcow2 *q)
{
    free(q->own_options);
    free(q->node);
    free(q);
}

struct qcow2 *qcow2_new(struct block_node *file, struct block_node *data, char *error,
                        size_t error_size)
{
    struct qcow2 *q = calloc(1, sizeof(*q));

    if (!q) {
        return NULL;
    }
    q->own_options = calloc(1, sizeof(*q->own_options));
    q->node = calloc(1, sizeof(*q->node));
    if (!q->own_options || !q->node) {
        free_own(q);
        return NULL;
    }
    q->node->filename = file->filename;
    q->node->state = q;
    q->own_options->overlap_check = 2;
    q->own_options->pass_discard_snapshot = true;
    q->options = q->own_options;
    q->file = q->data = file;
    q->writable = true;
    init_locks(q);
    if (load(q, error, error_size) != 0) {
        forget_image(q);
        destroy_locks(q);
        free_own(q);
        return NULL;
    }
    q->data = q->external && data ? data : file;
    q->node->size = q->header.size;
    return q;
}

int qcow2_delete(struct qcow2 *q)
{
    int err = settle(q);

    forget_image(q);
    destroy_locks(q);
    free_own(q);
    return err;
}

int qcow2_info(struct block_node *node, struct block_info *info)
{
    struct qcow2 *q = node->state;

    info->cluster_size = (uint32_t)q->cluster_size;
    info->dirty = (q->header.incompatible & QCOW2_INCOMPAT_DIRTY) != 0;
    info->corrupt = (q->header.incompatible & QCOW2_INCOMPAT_CORRUPT) != 0;
    info->encrypted = q->header.crypt != QCOW2_CRYPT_NONE;
    info->vm_state_offset = qcow2_vmstate_offset(q);
    if (q->header.backing) {
        info->backing_filename = strdup(q->header.backing);
    }
    if (q->header.backing_format) {
        info->backing_format = strdup(q->header.backing_format);
    }
    return 0;
}
