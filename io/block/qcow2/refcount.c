/*
 * Reference counts of host clusters, and allocation by them ("Host cluster management").
 *
 * The reference count table is in memory, its blocks in a cache. All functions that change counts
 * run under alloc_lock, so what they have read stays true while a block is fetched.
 *
 * Where a run of free clusters reaches into regions (what one block counts) that have no block yet,
 * the blocks are placed at the beginning of the run itself: no allocation inside of an allocation.
 * The same holds for a bigger table, which goes to the first cluster that the old one cannot count.
 */
#include "io/block/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t qcow2_count_get(const uint8_t *block, uint64_t index, unsigned order)
{
    switch (order) {
    case 0:
    case 1:
    case 2:
        return (uint64_t)(block[index >> (3 - order)] >> ((index << order) & 7)) &
               ((1u << (1u << order)) - 1);
    case 3:
        return block[index];
    case 4:
        return bytes_be16(block + index * 2);
    case 5:
        return bytes_be32(block + index * 4);
    default:
        return bytes_be64(block + index * 8);
    }
}

void qcow2_count_set(uint8_t *block, uint64_t index, unsigned order, uint64_t count)
{
    unsigned shift = (unsigned)(index << order) & 7;
    unsigned mask;

    switch (order) {
    case 0:
    case 1:
    case 2:
        mask = ((1u << (1u << order)) - 1) << shift;
        block += index >> (3 - order);
        *block = (uint8_t)((*block & ~mask) | (unsigned)count << shift);
        break;
    case 3:
        block[index] = (uint8_t)count;
        break;
    case 4:
        bytes_put_be16(block + index * 2, (uint16_t)count);
        break;
    case 5:
        bytes_put_be32(block + index * 4, (uint32_t)count);
        break;
    default:
        bytes_put_be64(block + index * 8, count);
        break;
    }
}

/* lock held; may drop it. *block NULL: there is none, all counts are 0. */
static int get_block(struct qcow2 *q, uint64_t region, uint8_t **block, uint64_t *offset)
{
    bool dropped = false;

    *block = NULL;
    *offset = region < q->reftable.count ? q->reftable.entries[region] : 0;
    if (*offset == 0) {
        return 0;
    }
    return qcow2_cache_get(&q->block_cache, *offset, block, &dropped);
}

int qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *count)
{
    uint64_t offset;
    uint8_t *block;
    int err;

    pthread_mutex_lock(&q->lock);
    err = get_block(q, cluster >> q->block_bits, &block, &offset);
    if (err == 0) {
        uint64_t index = cluster & ((UINT64_C(1) << q->block_bits) - 1);

        *count = block ? qcow2_count_get(block, index, q->header.refcount_order) : 0;
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

int qcow2_block_add(struct qcow2 *q, uint8_t *block, uint64_t cluster, uint64_t n, int delta)
{
    uint64_t index = cluster & ((UINT64_C(1) << q->block_bits) - 1);

    for (uint64_t i = 0; i < n; i++) {
        uint64_t count = qcow2_count_get(block, index + i, q->header.refcount_order);

        if (delta < 0 ? count == 0 : count == q->refcount_max) {
            return delta < 0 ? -EUCLEAN : -EINVAL;
        }
        count += delta < 0 ? UINT64_MAX : 1;
        qcow2_count_set(block, index + i, q->header.refcount_order, count);
        if (count == 0) {
            q->hint = qcow2_min(q->hint, cluster + i);
            if (q->packed_offset && qcow2_cluster_of(q, q->packed_offset) == cluster + i) {
                q->packed_offset = 0;
            }
        }
    }
    return 0;
}

int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster, uint64_t n, int delta)
{
    int err = 0;

    pthread_mutex_lock(&q->lock);
    while (err == 0 && n) {
        uint64_t region = cluster >> q->block_bits, offset;
        uint64_t part = qcow2_min(n, ((region + 1) << q->block_bits) - cluster);
        uint8_t *block;

        err = get_block(q, region, &block, &offset);
        if (err == 0 && !block) {
            err = -EUCLEAN;
        }
        if (err == 0) {
            err = qcow2_block_add(q, block, cluster, part, delta);
            qcow2_cache_mark(&q->block_cache, offset);
        }
        cluster += part;
        n -= part;
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

/* ---- finding room ---------------------------------------------------------------------------- */

struct search {
    uint64_t want, need;
    uint64_t at, start, run;
    uint64_t first_free; /* UINT64_MAX: none seen yet */
    bool found;
};

static void search_free(struct search *s, uint64_t n)
{
    if (s->run == 0) {
        s->start = s->at;
    }
    if (s->first_free == UINT64_MAX) {
        s->first_free = s->at;
    }
    n = qcow2_min(n, s->want - s->run);
    s->run += n;
    s->at += n;
    s->found = s->run == s->want;
}

static void search_block(struct qcow2 *q, struct search *s, const uint8_t *block)
{
    uint64_t mask = (UINT64_C(1) << q->block_bits) - 1;

    do {
        if (qcow2_count_get(block, s->at & mask, q->header.refcount_order) == 0) {
            search_free(s, 1);
        } else if (s->run >= s->need) {
            s->found = true;
        } else {
            s->run = 0;
            s->at++;
        }
    } while (!s->found && (s->at & mask) != 0);
}

/* The first run of at least `need` free clusters, cut to `want`. */
static int find_run(struct qcow2 *q, struct search *s)
{
    int err = 0;

    s->at = q->hint;
    s->run = 0;
    s->first_free = UINT64_MAX;
    s->found = false;
    while (err == 0 && !s->found) {
        uint64_t region = s->at >> q->block_bits, offset;
        uint8_t *block;

        pthread_mutex_lock(&q->lock);
        err = get_block(q, region, &block, &offset);
        if (err == 0 && block) {
            search_block(q, s, block);
        }
        pthread_mutex_unlock(&q->lock);
        if (err == 0 && !block) {
            search_free(s, region >= q->reftable.count ? UINT64_MAX
                                                       : ((region + 1) << q->block_bits) - s->at);
        }
    }
    if (err == 0 && (s->start + s->run) > (QCOW2_OFFSET_MASK >> q->cluster_bits)) {
        return -EFBIG;
    }
    return err;
}

/* ---- blocks and table ------------------------------------------------------------------------ */

static bool region_has_block(const struct qcow2 *q, uint64_t region)
{
    return region < q->reftable.count && q->reftable.entries[region] != 0;
}

/* Regions of [cluster, cluster + n) without a block. */
static uint64_t missing_blocks(const struct qcow2 *q, uint64_t cluster, uint64_t n)
{
    uint64_t missing = 0;

    for (uint64_t r = cluster >> q->block_bits; r <= (cluster + n - 1) >> q->block_bits; r++) {
        missing += !region_has_block(q, r);
    }
    return missing;
}

/* Blocks that were put into [cluster, cluster + blocks) are not counted: nobody has seen them. */
static void undo_blocks(struct qcow2 *q, uint64_t cluster, uint64_t n, uint64_t blocks)
{
    pthread_mutex_lock(&q->lock);
    for (uint64_t r = cluster >> q->block_bits; r <= (cluster + n - 1) >> q->block_bits; r++) {
        uint64_t at = qcow2_cluster_of(q, q->reftable.entries[r]);

        if (at >= cluster && at < cluster + blocks) {
            q->reftable.entries[r] = 0;
            qcow2_cache_forget(&q->block_cache, at << q->cluster_bits, q->cluster_size);
            qcow2_owners_remove(q, at << q->cluster_bits, q->cluster_size, QCOW2_OL_REFBLOCK);
        }
    }
    pthread_mutex_unlock(&q->lock);
}

/* Puts the missing blocks of [cluster, cluster + n) at its beginning. The table is large enough. */
static int create_blocks(struct qcow2 *q, uint64_t cluster, uint64_t n, uint64_t blocks)
{
    uint64_t place = cluster;
    int err = 0;

    for (uint64_t r = cluster >> q->block_bits; err == 0 && r <= (cluster + n - 1) >> q->block_bits;
         r++) {
        uint64_t offset = place << q->cluster_bits;
        uint8_t *block;

        if (region_has_block(q, r)) {
            continue;
        }
        pthread_mutex_lock(&q->lock);
        err = qcow2_overlaps(q, offset, q->cluster_size, 0) ? -EIO : 0;
        if (err == 0) {
            err = qcow2_owners_add(q, offset, q->cluster_size, QCOW2_OL_REFBLOCK);
        }
        if (err == 0) {
            err = qcow2_cache_new(&q->block_cache, offset, &block);
        }
        if (err == 0) {
            q->reftable.entries[r] = offset;
            qcow2_table_mark(&q->reftable, (uint32_t)r, (uint32_t)r + 1);
            q->zero_from = qcow2_max(q->zero_from, offset + q->cluster_size);
        }
        pthread_mutex_unlock(&q->lock);
        place++;
    }
    if (err == 0) {
        err = qcow2_refcount_add(q, cluster, blocks, 1);
    }
    if (err != 0) {
        undo_blocks(q, cluster, n, blocks);
    }
    return err;
}

/* Where a bigger table and the blocks that count it go: from `start` on, the blocks first. */
struct growth {
    uint64_t start, blocks, clusters; /* clusters: of the table */
    uint64_t entries;
    uint64_t *table;
};

static int growth_write(struct qcow2 *q, const struct growth *g)
{
    size_t bytes = (size_t)(g->clusters << q->cluster_bits);
    uint8_t *buffer = malloc((size_t)qcow2_max(bytes, q->cluster_size));
    uint64_t used = g->blocks + g->clusters;
    int err = buffer ? 0 : -ENOMEM;

    for (uint64_t i = 0; err == 0 && i < g->blocks; i++) {
        uint64_t first = i << q->block_bits;
        uint64_t n = qcow2_min(UINT64_C(1) << q->block_bits, used - first);

        memset(buffer, 0, q->cluster_size);
        for (uint64_t j = 0; j < n; j++) {
            qcow2_count_set(buffer, j, q->header.refcount_order, 1);
        }
        err = qcow2_pwrite(q, 0, (g->start + i) << q->cluster_bits, buffer, q->cluster_size);
    }
    if (err == 0) {
        for (uint64_t i = 0; i < g->entries; i++) {
            bytes_put_be64(buffer + i * 8, g->table[i]);
        }
        err = qcow2_pwrite(q, 0, (g->start + g->blocks) << q->cluster_bits, buffer, bytes);
    }
    free(buffer);
    return err == 0 ? block_flush(q->file) : err;
}

/* With the sync slot: the table on the medium is exact, the new one can take its place. */
static int growth_switch(struct qcow2 *q, struct growth *g)
{
    uint64_t old_offset = q->reftable.offset, old_clusters = q->header.reftable_clusters;
    uint64_t *old = q->reftable.entries;
    int err;

    q->header.reftable_offset = (g->start + g->blocks) << q->cluster_bits;
    q->header.reftable_clusters = (uint32_t)g->clusters;
    err = qcow2_store_header(q);
    if (err != 0) {
        q->header.reftable_offset = old_offset;
        q->header.reftable_clusters = (uint32_t)old_clusters;
        return err;
    }
    pthread_mutex_lock(&q->lock);
    qcow2_owners_remove(q, old_offset, old_clusters << q->cluster_bits, QCOW2_OL_REFTABLE);
    q->reftable = (struct qcow2_table){
        .entries = g->table, .count = (uint32_t)g->entries, .offset = q->header.reftable_offset};
    g->table = old;
    err =
        qcow2_owners_add(q, q->reftable.offset, g->clusters << q->cluster_bits, QCOW2_OL_REFTABLE);
    for (uint64_t i = 0; err == 0 && i < g->blocks; i++) {
        err = qcow2_owners_add(q, (g->start + i) << q->cluster_bits, q->cluster_size,
                               QCOW2_OL_REFBLOCK);
    }
    pthread_mutex_unlock(&q->lock);
    return err == 0 ? qcow2_refcount_add(q, qcow2_cluster_of(q, old_offset), old_clusters, -1)
                    : err;
}

/* Makes room for at least `regions` entries. alloc_lock held. */
static int grow_table(struct qcow2 *q, uint64_t regions)
{
    uint64_t per_cluster = q->cluster_size / 8, old = q->reftable.count, settled = 0;
    struct growth g = {.start = old << q->block_bits, .blocks = 1};
    int err;

    while (settled != g.blocks) {
        uint64_t entries = qcow2_max(regions, old + g.blocks);

        settled = g.blocks;
        g.clusters = (entries + entries / 2) / per_cluster + 1;
        if (g.clusters << q->cluster_bits > QCOW2_MAX_REFTABLE_BYTES) {
            g.clusters = QCOW2_MAX_REFTABLE_BYTES >> q->cluster_bits;
        }
        g.entries = g.clusters * per_cluster;
        if (g.entries < entries) {
            return -EFBIG;
        }
        g.blocks = ((g.clusters + settled - 1) >> q->block_bits) + 1;
        g.blocks = qcow2_max(g.blocks, settled);
    }
    g.table = calloc((size_t)g.entries, sizeof(*g.table));
    if (!g.table) {
        return -ENOMEM;
    }
    qcow2_sync_begin(q);
    err = qcow2_sync_counts(q);
    memcpy(g.table, q->reftable.entries, (size_t)old * sizeof(*g.table));
    for (uint64_t i = 0; i < g.blocks; i++) {
        g.table[old + i] = (g.start + i) << q->cluster_bits;
    }
    if (err == 0) {
        err = growth_write(q, &g);
    }
    if (err == 0) {
        err = growth_switch(q, &g);
    }
    qcow2_sync_end(q);
    free(g.table);
    return err;
}

/* ---- allocation ------------------------------------------------------------------------------ */

/* alloc_lock held. `need` consecutive clusters at least, `want` at most. */
static int alloc_run(struct qcow2 *q, uint64_t want, uint64_t need, uint64_t *start, uint64_t *got,
                     bool *fresh)
{
    struct search s;
    uint64_t extra = 0, missing;
    unsigned found;
    int err;

    for (;;) {
        uint64_t regions;

        s = (struct search){.want = want + extra, .need = need + extra};
        err = find_run(q, &s);
        if (err != 0) {
            return err;
        }
        regions = ((s.start + s.run - 1) >> q->block_bits) + 1;
        missing = missing_blocks(q, s.start, s.run);
        if (missing > extra) {
            extra = missing;
        } else if (regions > q->reftable.count) {
            err = grow_table(q, regions);
            if (err != 0) {
                return err;
            }
        } else {
            break;
        }
    }
    pthread_mutex_lock(&q->lock);
    found = qcow2_overlaps(q, s.start << q->cluster_bits, s.run << q->cluster_bits, 0);
    *fresh = s.start << q->cluster_bits >= q->zero_from;
    pthread_mutex_unlock(&q->lock);
    if (found) {
        return qcow2_overlap_found(q, s.start << q->cluster_bits, found);
    }
    if (missing) {
        err = create_blocks(q, s.start, s.run, missing);
        if (err != 0) {
            return err;
        }
    }
    *start = s.start + missing;
    *got = qcow2_min(s.run - missing, want);
    err = qcow2_refcount_add(q, *start, *got, 1);
    if (err != 0) {
        return err;
    }
    q->hint = s.first_free == s.start ? *start + *got : s.first_free;
    pthread_mutex_lock(&q->lock);
    q->zero_from = qcow2_max(q->zero_from, (*start + *got) << q->cluster_bits);
    pthread_mutex_unlock(&q->lock);
    return 0;
}

/* What an allocation that may wait begins with. */
static int alloc_begin(struct qcow2 *q)
{
    int err = qcow2_refusal(q);

    if (err == 0) {
        err = qcow2_release_ready(q);
    }
    return err == 0 && q->lazy ? qcow2_set_dirty(q) : err;
}

static int alloc_locked(struct qcow2 *q, uint64_t want, uint64_t need, uint64_t *offset,
                        uint64_t *got, bool *fresh)
{
    uint64_t start = 0;
    int err = alloc_begin(q);

    if (err == 0) {
        err = alloc_run(q, want, need, &start, got, fresh);
    }
    if (err == 0) {
        *offset = start << q->cluster_bits;
    }
    return err;
}

int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *offset, uint64_t *got, bool *fresh)
{
    int err;

    pthread_mutex_lock(&q->alloc_lock);
    err = alloc_locked(q, want, 1, offset, got, fresh);
    pthread_mutex_unlock(&q->alloc_lock);
    return err;
}

int qcow2_alloc_exact(struct qcow2 *q, uint64_t n, uint64_t *offset)
{
    uint64_t got;
    bool fresh;

    return alloc_locked(q, n, n, offset, &got, &fresh);
}

int qcow2_alloc_bytes(struct qcow2 *q, uint64_t bytes, uint64_t *offset)
{
    int err;

    pthread_mutex_lock(&q->alloc_lock);
    err = qcow2_alloc_exact(q, qcow2_max(qcow2_clusters(q, bytes), 1), offset);
    pthread_mutex_unlock(&q->alloc_lock);
    return err;
}

/* alloc_lock held. */
static int alloc_packed(struct qcow2 *q, size_t size, uint64_t *offset)
{
    uint64_t at = q->packed_offset, left = 0, count, next;
    int err = 0;

    if (at) {
        left = q->cluster_size - qcow2_within(q, at);
        err = qcow2_refcount(q, qcow2_cluster_of(q, at), &count);
        if (err == 0 && (count == 0 || count == q->refcount_max)) {
            at = 0;
        }
    }
    if (err == 0 && (!at || left < size)) {
        err = qcow2_alloc_exact(q, 1, &next);
        if (err == 0 && (!at || next != at + left)) {
            at = next;
            *offset = at;
            q->packed_offset = qcow2_within(q, at + size) ? at + size : 0;
            return 0;
        }
    }
    if (err == 0) {
        err = qcow2_refcount_add(q, qcow2_cluster_of(q, at), 1, 1);
        *offset = at;
        q->packed_offset = qcow2_within(q, at + size) ? at + size : 0;
    }
    return err;
}

int qcow2_alloc_packed(struct qcow2 *q, size_t size, uint64_t *offset)
{
    int err;

    pthread_mutex_lock(&q->alloc_lock);
    err = alloc_begin(q);
    if (err == 0) {
        err = alloc_packed(q, size, offset);
    }
    pthread_mutex_unlock(&q->alloc_lock);
    return err;
}

void qcow2_unalloc(struct qcow2 *q, uint64_t offset, uint64_t size)
{
    uint64_t first = qcow2_cluster_of(q, offset);

    pthread_mutex_lock(&q->alloc_lock);
    /* When this fails the clusters are lost until the next check, not more. A header that may be on
     * the medium may point to them: settling gives them back. */
    if (!q->unsettled) {
        (void)qcow2_refcount_add(q, first, qcow2_clusters(q, offset + size) - first, -1);
    }
    pthread_mutex_unlock(&q->alloc_lock);
}

/* ---- freeing --------------------------------------------------------------------------------- */

int qcow2_free_list_add(struct qcow2_free_list *list, uint64_t cluster, uint64_t count,
                        enum qcow2_free_kind kind)
{
    struct qcow2_free *last = list->count ? &list->items[list->count - 1] : NULL;

    list->clusters += count;
    if (last && last->kind == kind && last->cluster + last->count == cluster) {
        last->count += count;
        return 0;
    }
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 64;
        struct qcow2_free *items = realloc(list->items, room * sizeof(*items));

        if (!items) {
            list->clusters -= count;
            return -ENOMEM;
        }
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = (struct qcow2_free){cluster, count, kind};
    return 0;
}

void qcow2_free_later(struct qcow2 *q, uint64_t offset, uint64_t size, enum qcow2_free_kind kind)
{
    uint64_t first = qcow2_cluster_of(q, offset);

    /* Without memory the clusters are lost until the next check. */
    (void)qcow2_free_list_add(&q->frees, first, qcow2_clusters(q, offset + size) - first, kind);
}

bool qcow2_many_frees(struct qcow2 *q)
{
    bool many;

    pthread_mutex_lock(&q->lock);
    many = q->frees.clusters > QCOW2_FREES_MAX;
    pthread_mutex_unlock(&q->lock);
    return many;
}

void qcow2_free_entry(struct qcow2 *q, uint64_t entry, enum qcow2_free_kind kind)
{
    if (entry & QCOW2_COMPRESSED) {
        qcow2_free_later(q, qcow2_compressed_offset(q, entry), qcow2_compressed_size(q, entry),
                         kind);
    } else if (!q->external && (entry & QCOW2_OFFSET_MASK)) {
        qcow2_free_later(q, entry & QCOW2_OFFSET_MASK, q->cluster_size, kind);
    }
}

static bool passes(const struct qcow2 *q, enum qcow2_free_kind kind)
{
    switch (kind) {
    case QCOW2_FREE_REQUEST:
        return q->options->pass_discard_request == 0 ? q->node->discard_unmap
                                                     : q->options->pass_discard_request == 1;
    case QCOW2_FREE_SNAPSHOT:
        return q->options->pass_discard_snapshot;
    case QCOW2_FREE_OTHER:
        return q->options->pass_discard_other;
    default:
        return false;
    }
}

/* Gives those clusters back to the host that nobody else refers to: before their counts go down,
 * as then they may hold something new at any moment. Errors do not matter. */
static void discard_host(struct qcow2 *q, const struct qcow2_free *item)
{
    uint64_t start = item->cluster, count;

    for (uint64_t c = item->cluster; c <= item->cluster + item->count; c++) {
        bool last = c == item->cluster + item->count;

        if (last || qcow2_refcount(q, c, &count) != 0 || count != 1) {
            if (c > start) {
                (void)block_discard(q->file, start << q->cluster_bits,
                                    (c - start) << q->cluster_bits);
            }
            start = c + 1;
        }
    }
}

static int by_cluster(const void *a, const void *b)
{
    const struct qcow2_free *x = a, *y = b;

    return x->cluster < y->cluster ? -1 : x->cluster > y->cluster;
}

int qcow2_release_ready(struct qcow2 *q)
{
    struct qcow2_free_list list;
    size_t done = 0;
    int err = 0;

    pthread_mutex_lock(&q->lock);
    list = q->ready;
    q->ready = (struct qcow2_free_list){0};
    pthread_mutex_unlock(&q->lock);
    if (list.count == 0) {
        return 0;
    }
    if (q->lazy) {
        err = qcow2_set_dirty(q);
    }
    qsort(list.items, list.count, sizeof(*list.items), by_cluster);
    for (size_t i = 0; err == 0 && i < list.count; i++) {
        if (passes(q, list.items[i].kind)) {
            discard_host(q, &list.items[i]);
        }
        err = qcow2_refcount_add(q, list.items[i].cluster, list.items[i].count, -1);
        if (err == -EUCLEAN) {
            err = qcow2_corrupt(q, "Reference count of a freed cluster is wrong",
                                list.items[i].cluster << q->cluster_bits);
        }
        done = i + 1;
    }
    /* What comes behind an error of the host waits; the one that met it may be lost. */
    pthread_mutex_lock(&q->lock);
    for (size_t i = done; i < list.count; i++) {
        (void)qcow2_free_list_add(&q->ready, list.items[i].cluster, list.items[i].count,
                                  list.items[i].kind);
    }
    pthread_mutex_unlock(&q->lock);
    free(list.items);
    return err;
}

int qcow2_end_of_used(struct qcow2 *q, uint64_t *cluster)
{
    *cluster = 0;
    for (uint32_t r = q->reftable.count; r-- > 0;) {
        uint64_t n = UINT64_C(1) << q->block_bits, offset;
        uint8_t *block;
        int err;

        pthread_mutex_lock(&q->lock);
        err = get_block(q, r, &block, &offset);
        while (err == 0 && block && n &&
               qcow2_count_get(block, n - 1, q->header.refcount_order) == 0) {
            n--;
        }
        pthread_mutex_unlock(&q->lock);
        if (err != 0) {
            return err;
        }
        if (block && n) {
            *cluster = ((uint64_t)r << q->block_bits) + n;
            return 0;
        }
    }
    return 0;
}
