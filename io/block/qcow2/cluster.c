/*
 * Guest clusters to host clusters: L2 entries, and the tables that hold them ("Cluster mapping",
 * "Extended L2 Entries").
 *
 * An entry of any kind of image is taken apart into masks of subclusters, an image without them
 * having one subcluster in each cluster; so there is one code for both.
 */
#include "io/block/qcow2/qcow2.h"
#include "util/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- entries --------------------------------------------------------------------------------- */

static unsigned size_shift(const struct qcow2 *q)
{
    return 62 - (q->cluster_bits - 8);
}

uint64_t qcow2_compressed_offset(const struct qcow2 *q, uint64_t raw)
{
    return raw & bits_mask(size_shift(q)) & bits_mask(56);
}

uint64_t qcow2_compressed_size(const struct qcow2 *q, uint64_t raw)
{
    uint64_t sectors = ((raw & bits_mask(62)) >> size_shift(q)) + 1;

    return sectors * 512 - (qcow2_compressed_offset(q, raw) & 511);
}

uint64_t qcow2_compressed_entry(const struct qcow2 *q, uint64_t offset, uint64_t size)
{
    uint64_t more = ((offset + size - 1) >> 9) - (offset >> 9);

    return QCOW2_COMPRESSED | offset | more << size_shift(q);
}

int qcow2_entry_decode(const struct qcow2 *q, uint64_t raw, uint64_t bitmap, uint64_t cluster,
                       struct qcow2_entry *entry)
{
    bool zero_bit = q->subs == 1 && q->header.version >= 3 && (raw & QCOW2_ZERO);

    *entry = (struct qcow2_entry){.raw = raw, .bitmap = bitmap};
    if (raw & QCOW2_COMPRESSED) {
        entry->compressed = true;
        return q->external ? -EIO : 0;
    }
    entry->host = raw & QCOW2_OFFSET_MASK;
    entry->copied = (raw & QCOW2_COPIED) != 0;
    entry->has_host = entry->host != 0 || (q->external && entry->copied);
    if (qcow2_within(q, entry->host) ||
        (q->external && entry->has_host && entry->host != cluster << q->cluster_bits)) {
        return -EIO;
    }
    if (q->subs == 1) {
        entry->zero = zero_bit;
        entry->data = entry->has_host && !zero_bit;
        return 0;
    }
    entry->data = (uint32_t)bitmap;
    entry->zero = (uint32_t)(bitmap >> 32);
    return (entry->data & entry->zero) || (entry->data && !entry->has_host) ? -EIO : 0;
}

void qcow2_entry_encode(const struct qcow2 *q, struct qcow2_entry *entry)
{
    entry->raw = entry->has_host ? entry->host | (entry->copied ? QCOW2_COPIED : 0) : 0;
    entry->bitmap = 0;
    if (q->subs == 1) {
        entry->raw |= entry->zero ? QCOW2_ZERO : 0;
    } else {
        entry->bitmap = (uint64_t)entry->zero << 32 | entry->data;
    }
}

/* ---- L2 tables ------------------------------------------------------------------------------- */

/* lock held; may drop it. *data NULL: there is no L2 table. */
static int get_slice(struct qcow2 *q, uint64_t cluster, uint8_t **data, uint64_t *offset,
                     bool *dropped)
{
    uint64_t index = cluster >> q->l2_bits;
    uint64_t l1 = index < q->l1.count ? q->l1.entries[index] : 0;
    uint64_t slice = (cluster & bits_mask(q->l2_bits)) >> q->slice_bits;

    *data = NULL;
    *offset = l1 & QCOW2_OFFSET_MASK;
    if (*offset == 0) {
        return 0;
    }
    if (qcow2_within(q, *offset)) {
        return -EINVAL;
    }
    *offset += slice * q->slice_size;
    return qcow2_cache_get(&q->l2_cache, *offset, data, dropped);
}

int qcow2_slice_get(const struct qcow2 *q, const uint8_t *slice, uint64_t cluster,
                    struct qcow2_entry *entry)
{
    const uint8_t *at = slice + (cluster & bits_mask(q->slice_bits)) * q->entry_size;

    return qcow2_entry_decode(q, bytes_be64(at), q->entry_size == 16 ? bytes_be64(at + 8) : 0,
                              cluster, entry);
}

void qcow2_slice_put(const struct qcow2 *q, uint8_t *slice, uint64_t cluster,
                     const struct qcow2_entry *entry)
{
    uint8_t *at = slice + (cluster & bits_mask(q->slice_bits)) * q->entry_size;

    bytes_put_be64(at, entry->raw);
    if (q->entry_size == 16) {
        bytes_put_be64(at + 8, entry->bitmap);
    }
}

/* -EINVAL and -EIO of hostile tables become a corrupt image. lock held; drops it. */
static int invalid(struct qcow2 *q, uint64_t cluster)
{
    pthread_mutex_unlock(&q->lock);
    (void)qcow2_corrupt(q, "L1 or L2 table entry is invalid", cluster << q->cluster_bits);
    pthread_mutex_lock(&q->lock);
    return -EIO;
}

int qcow2_entry_get(struct qcow2 *q, uint64_t cluster, struct qcow2_entry *entry, bool *dropped)
{
    uint64_t offset;
    uint8_t *slice;
    int err = get_slice(q, cluster, &slice, &offset, dropped);

    *entry = (struct qcow2_entry){0};
    if (err == 0 && slice) {
        err = qcow2_slice_get(q, slice, cluster, entry);
        if (err != 0) {
            *dropped = true;
            return invalid(q, cluster);
        }
    }
    return err == -EINVAL ? invalid(q, cluster) : err;
}

int qcow2_entry_set(struct qcow2 *q, uint64_t cluster, const struct qcow2_entry *entry)
{
    uint64_t offset;
    uint8_t *slice;
    bool dropped;
    int err;

    do {
        dropped = false;
        err = get_slice(q, cluster, &slice, &offset, &dropped);
    } while (err == 0 && dropped);
    if (err != 0) {
        return err == -EINVAL ? invalid(q, cluster) : err;
    }
    if (!slice) {
        return -EIO; /* cannot be: qcow2_l2_prepare() was called */
    }
    qcow2_slice_put(q, slice, cluster, entry);
    qcow2_cache_mark(&q->l2_cache, offset);
    return 0;
}

int qcow2_l1_grow(struct qcow2 *q, uint64_t entries)
{
    uint64_t room, offset, old_offset, old_bytes;
    struct qcow2_table bigger;
    uint8_t *bytes;
    int err;

    if (entries <= q->l1.count) {
        return 0;
    }
    if (entries > QCOW2_MAX_L1_BYTES / 8) {
        return -EFBIG;
    }
    room = qcow2_clusters(q, entries * 8) << q->cluster_bits;
    bigger =
        (struct qcow2_table){.entries = calloc((size_t)entries, 8), .count = (uint32_t)entries};
    bytes = calloc(1, room);
    err =
        bigger.entries && bytes ? qcow2_alloc_exact(q, room >> q->cluster_bits, &offset) : -ENOMEM;
    if (err != 0) {
        free(bigger.entries);
        free(bytes);
        return err;
    }
    bigger.offset = offset;
    old_offset = q->l1.offset;
    old_bytes = (uint64_t)q->l1.count * 8;
    /* The slot keeps the old table from being written, which has to be exact when copied. */
    qcow2_sync_begin(q);
    err = qcow2_sync_counts(q);
    if (err == 0) {
        err = qcow2_barrier(q); /* counts and L2 tables that the entries rely on */
    }
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < q->l1.count; i++) {
        bigger.entries[i] = q->l1.entries[i];
        bytes_put_be64(bytes + (size_t)i * 8, q->l1.entries[i]);
    }
    pthread_mutex_unlock(&q->lock);
    if (err == 0) {
        err = qcow2_pwrite(q, QCOW2_OL_ACTIVE_L1, offset, bytes, room);
    }
    free(bytes);
    if (err == 0) {
        err = block_flush(q->file);
    }
    if (err == 0) {
        q->header.l1_offset = offset;
        q->header.l1_size = bigger.count;
        err = qcow2_write_header(q);
        if (err != 0) {
            q->header.l1_offset = old_offset;
            q->header.l1_size = q->l1.count;
        }
    }
    if (err == 0) {
        pthread_mutex_lock(&q->lock);
        qcow2_owners_remove(q, old_offset, old_bytes, QCOW2_OL_ACTIVE_L1);
        err = qcow2_owners_add(q, offset, room, QCOW2_OL_ACTIVE_L1);
        free(q->l1.entries);
        q->l1 = bigger;
        if (old_offset && old_bytes) {
            qcow2_free_later(q, old_offset, old_bytes, QCOW2_FREE_OTHER);
        }
        pthread_mutex_unlock(&q->lock);
        qcow2_sync_end(q);
        return err;
    }
    qcow2_sync_end(q);
    free(bigger.entries);
    if (!q->unsettled) { /* or the header on the medium may point there */
        (void)qcow2_refcount_add(q, qcow2_cluster_of(q, offset), room >> q->cluster_bits, -1);
    }
    return err;
}

/* The contents of the L2 table at `old` (0: zeros), as they are with all changes in memory. */
static int copy_table(struct qcow2 *q, uint64_t old, uint8_t *table)
{
    memset(table, 0, q->cluster_size);
    for (uint64_t at = 0; old && at < q->cluster_size; at += q->slice_size) {
        bool dropped = false;
        uint8_t *slice;
        int err;

        pthread_mutex_lock(&q->lock);
        err = qcow2_cache_get(&q->l2_cache, old + at, &slice, &dropped);
        if (err == 0) {
            memcpy(table + at, slice, q->slice_size);
        }
        pthread_mutex_unlock(&q->lock);
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

/* alloc_lock held: a private table for L1 entry `index`. */
static int new_table(struct qcow2 *q, uint32_t index)
{
    uint64_t old = q->l1.entries[index] & QCOW2_OFFSET_MASK, offset;
    uint8_t *table = malloc(q->cluster_size);
    int err = table ? copy_table(q, old, table) : -ENOMEM;

    if (err == 0) {
        err = qcow2_alloc_exact(q, 1, &offset);
    }
    if (err == 0) {
        err = qcow2_pwrite(q, 0, offset, table, q->cluster_size);
        if (err != 0) {
            (void)qcow2_refcount_add(q, qcow2_cluster_of(q, offset), 1, -1);
        }
    }
    free(table);
    if (err != 0) {
        return err;
    }
    pthread_mutex_lock(&q->lock);
    qcow2_cache_forget(&q->l2_cache, offset, q->cluster_size);
    err = qcow2_owners_add(q, offset, q->cluster_size, QCOW2_OL_ACTIVE_L2);
    q->l1.entries[index] = offset | QCOW2_COPIED;
    q->data_dirty = true;
    qcow2_table_mark(&q->l1, index, index + 1);
    if (old) {
        qcow2_owners_remove(q, old, q->cluster_size, QCOW2_OL_ACTIVE_L2);
        qcow2_cache_forget(&q->l2_cache, old, q->cluster_size);
        qcow2_free_later(q, old, q->cluster_size, QCOW2_FREE_OTHER);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

int qcow2_l2_prepare(struct qcow2 *q, uint64_t cluster)
{
    uint64_t index = cluster >> q->l2_bits, entry = 0;
    bool ready;
    int err;

    pthread_mutex_lock(&q->lock);
    ready = index < q->l1.count && (q->l1.entries[index] & QCOW2_COPIED) &&
            (q->l1.entries[index] & QCOW2_OFFSET_MASK);
    pthread_mutex_unlock(&q->lock);
    if (ready) {
        return 0;
    }
    pthread_mutex_lock(&q->alloc_lock);
    err = qcow2_l1_grow(q, index + 1);
    if (err == 0) {
        entry = q->l1.entries[index];
        if (qcow2_within(q, entry & QCOW2_OFFSET_MASK)) {
            err = qcow2_corrupt(q, "L2 table offset is not aligned", entry & QCOW2_OFFSET_MASK);
        } else if (!(entry & QCOW2_COPIED) || !(entry & QCOW2_OFFSET_MASK)) {
            err = new_table(q, (uint32_t)index);
        }
    }
    pthread_mutex_unlock(&q->alloc_lock);
    return err;
}

/* ---- extents --------------------------------------------------------------------------------- */

/* Where a subcluster is of what kind. */
static enum qcow2_what what_of(const struct qcow2_entry *entry, unsigned sub)
{
    if (entry->compressed) {
        return QCOW2_IS_COMPRESSED;
    }
    if (entry->data >> sub & 1) {
        return QCOW2_IS_DATA;
    }
    return entry->zero >> sub & 1 ? QCOW2_IS_ZERO : QCOW2_IS_UNALLOCATED;
}

/* The extent that begins in `entry` at `offset`: as far as this cluster goes. */
static void begin_extent(const struct qcow2 *q, uint64_t offset, const struct qcow2_entry *entry,
                         struct qcow2_extent *extent)
{
    uint64_t within = qcow2_within(q, offset);
    unsigned sub = (unsigned)(within >> q->sub_bits), end = sub + 1;

    *extent = (struct qcow2_extent){.what = what_of(entry, sub), .raw = entry->raw};
    if (entry->compressed) {
        extent->size = q->cluster_size - within;
        return;
    }
    while (end < q->subs && what_of(entry, end) == extent->what) {
        end++;
    }
    extent->size = ((uint64_t)end << q->sub_bits) - within;
    extent->preallocated = entry->has_host && extent->what != QCOW2_IS_DATA;
    if (entry->has_host) {
        extent->host = entry->host + within;
        extent->copied = entry->copied || q->external;
    }
}

/* Continues an extent, that ends where this cluster begins, with its entry; false: it ends. */
static bool continue_extent(const struct qcow2 *q, uint64_t cluster,
                            const struct qcow2_entry *entry, struct qcow2_extent *extent)
{
    struct qcow2_extent more;

    begin_extent(q, cluster << q->cluster_bits, entry, &more);
    if (more.what != extent->what || more.copied != extent->copied ||
        more.preallocated != extent->preallocated || more.what == QCOW2_IS_COMPRESSED ||
        (entry->has_host && more.host != extent->host + extent->size)) {
        return false;
    }
    extent->size += more.size;
    return more.size == q->cluster_size;
}

/* From a slice (NULL: no table), as far as the slice goes. */
static int extent_in(struct qcow2 *q, const uint8_t *slice, uint64_t offset, uint64_t size,
                     struct qcow2_extent *extent)
{
    uint64_t cluster = qcow2_cluster_of(q, offset);
    uint64_t slice_end = ((cluster >> q->slice_bits) + 1) << q->slice_bits;
    struct qcow2_entry entry = {0};
    int err = 0;

    if (!slice) {
        uint64_t table_end = ((cluster >> q->l2_bits) + 1) << (q->l2_bits + q->cluster_bits);

        *extent = (struct qcow2_extent){.what = QCOW2_IS_UNALLOCATED};
        extent->size = qcow2_min(size, table_end - offset);
        return 0;
    }
    err = qcow2_slice_get(q, slice, cluster, &entry);
    if (err != 0) {
        return err;
    }
    begin_extent(q, offset, &entry, extent);
    while (extent->size < size && qcow2_within(q, offset + extent->size) == 0 &&
           ++cluster < slice_end && qcow2_slice_get(q, slice, cluster, &entry) == 0 &&
           continue_extent(q, cluster, &entry, extent)) {
    }
    extent->size = qcow2_min(extent->size, size);
    return 0;
}

int qcow2_extent_get(struct qcow2 *q, uint64_t offset, uint64_t size, struct qcow2_extent *extent,
                     bool *dropped)
{
    uint64_t at;
    uint8_t *slice;
    int err;

    qcow2_caches_age(q);
    err = get_slice(q, qcow2_cluster_of(q, offset), &slice, &at, dropped);
    if (err == 0) {
        err = extent_in(q, slice, offset, size, extent);
        err = err == 0 ? 0 : -EINVAL;
    }
    if (err == -EINVAL) {
        *dropped = true;
        return invalid(q, qcow2_cluster_of(q, offset));
    }
    return err;
}

uint8_t *qcow2_slice_peek(struct qcow2 *q, uint64_t cluster, uint64_t *offset, bool *is_private)
{
    uint64_t index = cluster >> q->l2_bits, entry;

    entry = index < q->l1.count ? q->l1.entries[index] : 0;
    *is_private = (entry & QCOW2_COPIED) != 0;
    *offset = entry & QCOW2_OFFSET_MASK;
    if (!*offset || qcow2_within(q, *offset)) {
        return NULL;
    }
    *offset += ((cluster & bits_mask(q->l2_bits)) >> q->slice_bits) * q->slice_size;
    return qcow2_cache_peek(&q->l2_cache, *offset);
}

int qcow2_extent_peek(struct qcow2 *q, uint64_t offset, uint64_t size, struct qcow2_extent *extent)
{
    bool is_private;
    uint64_t at;
    const uint8_t *slice = qcow2_slice_peek(q, qcow2_cluster_of(q, offset), &at, &is_private);

    return at && !slice ? -EAGAIN : extent_in(q, slice, offset, size, extent);
}
