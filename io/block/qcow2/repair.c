/*
 * All reference counts anew: when their table or blocks can't be trusted, and when their width
 * changes.
 *
 * The new table and blocks go behind everything that is used, and are written and flushed before
 * the header points to them. Until then the image is as it was.
 */
#include "io/block/qcow2/qcow2.h"
#include "util/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct plan {
    unsigned order, block_bits;
    uint64_t start;          /* cluster: the table, then the blocks */
    uint64_t table_clusters; /* of the table */
    uint64_t blocks;
    uint64_t entries;
    uint64_t *table;
};

static bool region_used(const struct qcow2_counts *counts, const struct plan *p, uint64_t region)
{
    uint64_t end = (region + 1) << p->block_bits;

    return qcow2_counts_next(counts, region << p->block_bits, end) < end;
}

/* Where everything goes; `counts` gets the new areas. */
static int make_plan(struct qcow2 *q, struct qcow2_counts *counts, struct plan *p)
{
    uint64_t used = qcow2_counts_size(counts), regions, total, before = 0, blocks;
    int err;

    p->start = used;
    total = 2;
    while (total != before) {
        before = total;
        regions = ((p->start + total - 1) >> p->block_bits) + 1;
        p->entries = regions;
        p->table_clusters = qcow2_max(qcow2_clusters(q, regions * 8), 1);
        blocks = 0;
        for (uint64_t r = 0; r < regions; r++) {
            blocks += ((r + 1) << p->block_bits) > p->start || region_used(counts, p, r);
        }
        p->blocks = blocks;
        total = qcow2_max(p->table_clusters + blocks, before);
    }
    if (p->table_clusters << q->cluster_bits > QCOW2_MAX_REFTABLE_BYTES) {
        return -EFBIG;
    }
    p->entries = (p->table_clusters << q->cluster_bits) / 8;
    err = qcow2_counts_resize(counts, p->start + total);
    if (err == 0) {
        err = qcow2_counts_add(counts, p->start, p->table_clusters + p->blocks);
    }
    return err;
}

static int fill_block(const struct qcow2_counts *counts, const struct plan *p, uint64_t region,
                      uint8_t *block)
{
    uint64_t first = region << p->block_bits, end = first + (UINT64_C(1) << p->block_bits);
    uint64_t most = p->order == 6 ? INT64_MAX : bits_mask(1u << p->order);

    for (uint64_t c = qcow2_counts_next(counts, first, end); c < end;
         c = qcow2_counts_next(counts, c + 1, end)) {
        if (qcow2_counts_get(counts, c) > most) {
            return -ERANGE;
        }
        qcow2_count_set(block, c - first, p->order, qcow2_counts_get(counts, c));
    }
    return 0;
}

static int write_plan(struct qcow2 *q, const struct qcow2_counts *counts, struct plan *p)
{
    uint64_t place = p->start + p->table_clusters, last = p->start + p->table_clusters + p->blocks;
    size_t bytes = (size_t)(p->table_clusters << q->cluster_bits);
    uint8_t *buffer = malloc(qcow2_max(bytes, q->cluster_size));
    int err = buffer ? 0 : -ENOMEM;

    for (uint64_t r = 0; err == 0 && r < p->entries && place < last; r++) {
        if (!region_used(counts, p, r)) {
            continue;
        }
        memset(buffer, 0, q->cluster_size);
        err = fill_block(counts, p, r, buffer);
        if (err == 0) {
            err = qcow2_pwrite(q, 0, place << q->cluster_bits, buffer, q->cluster_size);
        }
        p->table[r] = place++ << q->cluster_bits;
    }
    if (err == 0) {
        for (uint64_t i = 0; i < p->entries; i++) {
            bytes_put_be64(buffer + i * 8, p->table[i]);
        }
        err = qcow2_pwrite(q, 0, p->start << q->cluster_bits, buffer, bytes);
    }
    free(buffer);
    return err == 0 ? block_flush(q->file) : err;
}

/* The header, and then what is in memory. */
static int switch_plan(struct qcow2 *q, struct plan *p)
{
    struct qcow2_header old = q->header;
    struct qcow2_cache fresh;
    uint64_t *gone;
    int err = qcow2_cache_init(&fresh, q, q->cluster_size,
                               (uint64_t)q->block_cache.limit * q->cluster_size, 4);

    if (err != 0) {
        return err;
    }
    q->header.reftable_offset = p->start << q->cluster_bits;
    q->header.reftable_clusters = (uint32_t)p->table_clusters;
    q->header.refcount_order = p->order;
    err = qcow2_store_header(q);
    if (err != 0) {
        q->header.reftable_offset = old.reftable_offset;
        q->header.reftable_clusters = old.reftable_clusters;
        q->header.refcount_order = old.refcount_order;
        qcow2_cache_destroy(&fresh);
        return err;
    }
    pthread_mutex_lock(&q->lock);
    qcow2_cache_destroy(&q->block_cache);
    q->block_cache = fresh;
    gone = q->reftable.entries;
    q->reftable = (struct qcow2_table){
        .entries = p->table, .count = (uint32_t)p->entries, .offset = p->start << q->cluster_bits};
    p->table = gone;
    q->block_bits = p->block_bits;
    q->refcount_max = p->order == 6 ? INT64_MAX : bits_mask(1u << p->order);
    q->hint = 0;
    q->packed_offset = 0;
    q->frees.count = q->ready.count = 0; /* the new counts do not have them */
    pthread_mutex_unlock(&q->lock);
    return qcow2_owners_rebuild(q);
}

int qcow2_rebuild(struct qcow2 *q, struct qcow2_counts *counts, unsigned order)
{
    struct plan p = {.order = order, .block_bits = q->cluster_bits + 3 - order};
    int err = make_plan(q, counts, &p);

    if (err != 0) {
        return err;
    }
    p.table = calloc((size_t)p.entries, sizeof(*p.table));
    if (!p.table) {
        return -ENOMEM;
    }
    qcow2_sync_begin(q);
    err = write_plan(q, counts, &p);
    if (err == 0) {
        err = switch_plan(q, &p);
    }
    qcow2_sync_end(q);
    free(p.table);
    return err;
}
