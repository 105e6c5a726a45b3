/*
 * Checking: what every cluster is used for, compared with what is counted.
 *
 * First all references are counted (header, tables, trees of the active disk and of snapshots,
 * bitmaps, encryption header), then the counts in the image are compared; then the "copied" flags,
 * which depend on them. What points to nowhere is an error, and with BLOCK_CHECK_ERRORS it becomes
 * zeros (or nothing, in version 2): whatever was there can't be found anyway.
 *
 * Time is bounded by what the file can hold: an L2 table is walked at most once for each L1 table,
 * and L1 tables that lie upon each other are refused.
 */
#include "io/block/qcow2/qcow2.h"
#include "util/bits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct qcow2 *q;
    struct block_check *out;
    unsigned fix;
    struct qcow2_counts *counts;
    uint64_t file_clusters;
    unsigned trees;     /* L1 tables seen */
    bool active;        /* walking the active tree */
    uint64_t next_data; /* where a table's next cluster would lie without a gap; 0: its first */
    bool rebuild;       /* counts in the image can't be repaired one by one */
};

void qcow2_finding(struct block_check *check, const char *format, ...)
{
    char line[256];
    va_list ap;

    if (check->report) {
        va_start(ap, format);
        vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        check->report(check->opaque, line);
    }
}

/* One more error; it is going to be repaired if `fixed`. */
static void corruption(struct check *c, bool fixed)
{
    if (fixed) {
        c->out->corruptions_fixed++;
    } else {
        c->out->corruptions++;
    }
}

/* Counts references to an area. *bad (may be NULL): it is not wholly in the file. */
static int refer(struct check *c, uint64_t offset, uint64_t size, bool *bad)
{
    uint64_t first = qcow2_cluster_of(c->q, offset), end = qcow2_clusters(c->q, offset + size);
    int err;

    if (size == 0) {
        return 0;
    }
    err = qcow2_counts_add(c->counts, first, end - first);
    if (err == -ERANGE) {
        qcow2_finding(c->out,
                      "ERROR: counting reference for region exceeding the end of the file by one "
                      "cluster or more: offset 0x%" PRIx64 " size 0x%" PRIx64,
                      offset, size);
        if (bad) {
            *bad = true;
        } else {
            corruption(c, false);
        }
        return 0;
    }
    return err;
}

/* ---- trees ----------------------------------------------------------------------------------- */

static void count_guest_cluster(struct check *c, const struct qcow2_entry *e)
{
    if (!c->active) {
        return;
    }
    if (e->compressed) {
        c->out->allocated_clusters++;
        c->out->compressed_clusters++;
        c->out->fragmented_clusters++;
    } else if (e->data) {
        c->out->allocated_clusters++;
        c->out->fragmented_clusters += c->next_data && e->host != c->next_data;
        c->next_data = e->host + c->q->cluster_size;
    }
}

/* What stands where an entry leads nowhere. */
static void harmless(const struct qcow2 *q, uint8_t *at)
{
    bytes_put_be64(at, q->subs == 1 && q->header.version >= 3 ? QCOW2_ZERO : 0);
    if (q->entry_size == 16) {
        bytes_put_be64(at + 8, UINT64_C(0xffffffff00000000));
    }
}

/* One L2 entry; *changed: it was repaired. */
static int check_entry(struct check *c, uint8_t *at, uint64_t cluster, bool *changed)
{
    struct qcow2 *q = c->q;
    uint64_t raw = bytes_be64(at), bitmap = q->entry_size == 16 ? bytes_be64(at + 8) : 0;
    struct qcow2_entry entry;
    bool bad = qcow2_entry_decode(q, raw, bitmap, cluster, &entry) != 0;
    int err = 0;

    if (bad) {
        qcow2_finding(c->out, "ERROR offset=%" PRIx64 ": L2 entry corrupted (0x%" PRIx64 ")",
                      raw & QCOW2_OFFSET_MASK, raw);
    } else if (entry.compressed) {
        if (raw & QCOW2_COPIED) {
            qcow2_finding(c->out, "ERROR: compressed cluster 0x%" PRIx64 " has OFLAG_COPIED set",
                          raw);
            corruption(c, (c->fix & BLOCK_CHECK_ERRORS) != 0);
            if (c->fix & BLOCK_CHECK_ERRORS) {
                bytes_put_be64(at, raw & ~QCOW2_COPIED);
                *changed = true;
            }
        }
        err = refer(c, qcow2_compressed_offset(q, raw), qcow2_compressed_size(q, raw), &bad);
    } else if (entry.has_host && !q->external) {
        err = refer(c, entry.host, q->cluster_size, &bad);
    }
    if (bad) {
        corruption(c, (c->fix & BLOCK_CHECK_ERRORS) != 0);
        if (c->fix & BLOCK_CHECK_ERRORS) {
            harmless(q, at);
            *changed = true;
        }
    } else {
        count_guest_cluster(c, &entry);
    }
    return err;
}

static int check_l2(struct check *c, uint64_t offset, uint64_t first, uint8_t *table)
{
    struct qcow2 *q = c->q;
    bool changed = false;
    int err = qcow2_pread(q, offset, table, q->cluster_size);

    if (err != 0) {
        c->out->check_errors++;
        return 0;
    }
    c->next_data = 0;
    for (uint64_t i = 0; err == 0 && i < UINT64_C(1) << q->l2_bits; i++) {
        uint8_t *at = table + i * q->entry_size;

        if (bytes_be64(at) || (q->entry_size == 16 && bytes_be64(at + 8))) {
            err = check_entry(c, at, first + i, &changed);
        }
    }
    if (err == 0 && changed) {
        pthread_mutex_lock(&q->lock);
        qcow2_cache_forget(&q->l2_cache, offset, q->cluster_size);
        pthread_mutex_unlock(&q->lock);
        err = qcow2_pwrite(q, QCOW2_OL_ACTIVE_L2, offset, table, q->cluster_size);
    }
    return err;
}

/* One L1 entry; true if it is bad. */
static bool bad_l1_entry(struct check *c, uint64_t entry)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;

    if (qcow2_within(c->q, offset)) {
        qcow2_finding(c->out,
                      "ERROR l2_offset=%" PRIx64 ": Table is not cluster aligned; L1 entry "
                      "corrupted",
                      offset);
        return true;
    }
    if (qcow2_cluster_of(c->q, offset) >= c->file_clusters) {
        qcow2_finding(c->out, "ERROR l2_offset=%" PRIx64 ": Table is behind the end of the file",
                      offset);
        return true;
    }
    if (qcow2_counts_get(c->counts, qcow2_cluster_of(c->q, offset)) >= c->trees) {
        qcow2_finding(c->out, "ERROR l2_offset=%" PRIx64 ": Table is used more than once", offset);
        return true;
    }
    return false;
}

/* An L1 table at `l1_offset`, as it is on the medium. */
static int check_tree(struct check *c, const uint64_t *l1, uint32_t count, uint64_t l1_offset,
                      unsigned kind)
{
    struct qcow2 *q = c->q;
    uint8_t *table = malloc(q->cluster_size), zero[8] = {0};
    int err = table ? 0 : -ENOMEM;

    c->trees++;
    for (uint32_t i = 0; err == 0 && i < count; i++) {
        uint64_t offset = l1[i] & QCOW2_OFFSET_MASK;

        if (offset == 0) {
            continue;
        }
        if (!bad_l1_entry(c, l1[i])) {
            err = refer(c, offset, q->cluster_size, NULL);
            if (err == 0) {
                err = check_l2(c, offset, (uint64_t)i << q->l2_bits, table);
            }
            continue;
        }
        corruption(c, (c->fix & BLOCK_CHECK_ERRORS) != 0);
        if (c->fix & BLOCK_CHECK_ERRORS) {
            err = qcow2_pwrite(q, kind, l1_offset + (uint64_t)i * 8, zero, sizeof(zero));
            if (c->active) {
                q->l1.entries[i] = 0;
            }
        }
    }
    free(table);
    return err;
}

static int check_snapshot(struct check *c, const struct qcow2_snapshot *s)
{
    uint64_t first = qcow2_cluster_of(c->q, s->l1_offset), *l1;
    uint64_t bytes = (uint64_t)s->l1_size * 8;
    bool bad = false;
    int err;

    for (uint64_t i = 0; i < qcow2_clusters(c->q, bytes); i++) {
        bad |= qcow2_counts_get(c->counts, first + i) != 0;
    }
    if (bad) {
        qcow2_finding(c->out, "ERROR snapshot %s: L1 table overlaps other metadata", s->id);
        corruption(c, false);
        return 0;
    }
    err = refer(c, s->l1_offset, bytes, NULL);
    if (err != 0) {
        return err;
    }
    err = qcow2_l1_read(c->q, s->l1_offset, s->l1_size, &l1);
    if (err != 0) {
        c->out->check_errors++;
        return 0;
    }
    err = check_tree(c, l1, s->l1_size, s->l1_offset, QCOW2_OL_INACTIVE_L1);
    free(l1);
    return err;
}

/* ---- other metadata -------------------------------------------------------------------------- */

static int refer_bitmap(void *opaque, uint64_t offset, uint64_t size, bool table)
{
    (void)table;
    return refer(opaque, offset, size, NULL);
}

static int refer_all(struct check *c)
{
    struct qcow2 *q = c->q;
    int err = refer(c, 0, q->cluster_size, NULL);

    if (err == 0) {
        err = refer(c, q->header.snapshots_offset, q->snapshots_size, NULL);
    }
    if (err == 0 && q->header.luks_size) {
        err = refer(c, q->header.luks_offset, q->header.luks_size, NULL);
    }
    if (err == 0) {
        err = qcow2_bitmaps_walk(q, refer_bitmap, c);
        if (err != 0 && err != -ENOMEM) {
            qcow2_finding(c->out, "ERROR bitmap directory is not valid");
            corruption(c, false);
            err = 0;
        }
    }
    if (err == 0) {
        err = refer(c, q->l1.offset, (uint64_t)q->l1.count * 8, NULL);
    }
    c->active = true;
    if (err == 0) {
        err = check_tree(c, q->l1.entries, q->l1.count, q->l1.offset, QCOW2_OL_ACTIVE_L1);
    }
    c->active = false;
    for (unsigned i = 0; err == 0 && i < q->snapshot_count; i++) {
        err = check_snapshot(c, &q->snapshots[i]);
    }
    return err;
}

/* The table and blocks of the counts themselves. */
static int refer_counts(struct check *c)
{
    struct qcow2 *q = c->q;
    int err = refer(c, q->reftable.offset, (uint64_t)q->reftable.count * 8, NULL);

    for (uint32_t i = 0; err == 0 && i < q->reftable.count; i++) {
        uint64_t offset = q->reftable.entries[i], cluster = qcow2_cluster_of(q, offset);

        if (offset == 0) {
            continue;
        }
        if (cluster >= c->file_clusters || qcow2_counts_get(c->counts, cluster)) {
            qcow2_finding(c->out, "ERROR refcount block %" PRIu32 " is %s", i,
                          cluster >= c->file_clusters ? "outside image"
                                                      : "used for something else");
            corruption(c, (c->fix & BLOCK_CHECK_ERRORS) != 0);
            c->rebuild = true;
            continue;
        }
        err = refer(c, offset, q->cluster_size, NULL);
    }
    return err;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static int set_count(struct check *c, uint64_t cluster, uint64_t count)
{
    struct qcow2 *q = c->q;
    uint64_t region = cluster >> q->block_bits, offset;
    bool dropped = false;
    uint8_t *block;
    int err;

    /* When all is written anew, a block may lie upon something else: it is left alone. */
    if (c->rebuild || count > q->refcount_max || region >= q->reftable.count ||
        !q->reftable.entries[region]) {
        c->rebuild = true;
        return 0;
    }
    offset = q->reftable.entries[region];
    pthread_mutex_lock(&q->lock);
    err = qcow2_cache_get(&q->block_cache, offset, &block, &dropped);
    if (err == 0) {
        qcow2_count_set(block, cluster & bits_mask(q->block_bits), q->header.refcount_order, count);
        qcow2_cache_mark(&q->block_cache, offset);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

static int compare_one(struct check *c, uint64_t cluster, uint64_t counted, uint64_t referenced)
{
    bool leak = counted > referenced;
    bool fix = (c->fix & (leak ? BLOCK_CHECK_LEAKS : BLOCK_CHECK_ERRORS)) != 0;

    qcow2_finding(c->out, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
                  fix    ? "Repairing"
                  : leak ? "Leaked"
                         : "ERROR",
                  cluster, counted, referenced);
    if (leak && fix) {
        c->out->leaks_fixed++;
    } else if (leak) {
        c->out->leaks++;
    } else {
        corruption(c, fix);
    }
    return fix ? set_count(c, cluster, referenced) : 0;
}

/* One region's counts, copied: findings may change the block. */
static int compare_region(struct check *c, uint64_t region, uint8_t *copy, uint64_t *highest)
{
    struct qcow2 *q = c->q;
    uint64_t first = region << q->block_bits, n = UINT64_C(1) << q->block_bits;
    uint64_t offset = region < q->reftable.count ? q->reftable.entries[region] : 0;
    int err = 0;

    if (qcow2_cluster_of(q, offset) >= c->file_clusters) {
        offset = 0;
    }
    memset(copy, 0, q->cluster_size);
    if (offset) {
        bool dropped = false;
        uint8_t *block;

        pthread_mutex_lock(&q->lock);
        err = qcow2_cache_get(&q->block_cache, offset, &block, &dropped);
        if (err == 0) {
            memcpy(copy, block, q->cluster_size);
        }
        pthread_mutex_unlock(&q->lock);
        if (err != 0) {
            c->out->check_errors++;
            return 0;
        }
    }
    for (uint64_t i = 0; err == 0 && i < n; i++) {
        uint64_t counted = qcow2_count_get(copy, i, q->header.refcount_order);
        uint64_t referenced = qcow2_counts_get(c->counts, first + i);

        if (counted || referenced) {
            *highest = first + i;
        }
        if (counted != referenced) {
            err = compare_one(c, first + i, counted, referenced);
        }
    }
    return err;
}

/* All regions that have a block, or need one. */
static int compare(struct check *c)
{
    struct qcow2 *q = c->q;
    uint64_t highest = 0, used = 0, r = 0;
    uint8_t *copy = malloc(q->cluster_size);
    int err = copy ? 0 : -ENOMEM;

    while (err == 0) {
        uint64_t first = r << q->block_bits;

        if (used < first || r == 0) {
            used = qcow2_counts_next(c->counts, first, UINT64_MAX);
        }
        if (r >= q->reftable.count && used == UINT64_MAX) {
            break;
        }
        if (used >> q->block_bits == r || (r < q->reftable.count && q->reftable.entries[r])) {
            err = compare_region(c, r, copy, &highest);
        } else if (r >= q->reftable.count) {
            r = used >> q->block_bits;
            continue;
        }
        r++;
    }
    free(copy);
    c->out->image_end_offset = (highest + 1) << q->cluster_bits;
    return err;
}

/* ---- flags ----------------------------------------------------------------------------------- */

/* Does this entry's flag fit the count? */
static bool wrong_flag(struct check *c, uint64_t raw, uint64_t *right)
{
    uint64_t offset = raw & QCOW2_OFFSET_MASK;
    bool one;

    if ((raw & QCOW2_COMPRESSED) || offset == 0 || qcow2_within(c->q, offset)) {
        return false;
    }
    one = qcow2_counts_get(c->counts, qcow2_cluster_of(c->q, offset)) == 1;
    *right = (raw & ~QCOW2_COPIED) | (one ? QCOW2_COPIED : 0);
    return *right != raw;
}

static int check_l2_flags(struct check *c, uint64_t offset, uint8_t *table)
{
    struct qcow2 *q = c->q;
    bool fix = (c->fix & BLOCK_CHECK_ERRORS) != 0, changed = false;
    int err = qcow2_pread(q, offset, table, q->cluster_size);

    for (size_t at = 0; err == 0 && !q->external && at < q->cluster_size; at += q->entry_size) {
        uint64_t raw = bytes_be64(table + at), right;

        if (raw && wrong_flag(c, raw, &right)) {
            qcow2_finding(c->out, "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64,
                          fix ? "Repairing" : "ERROR", raw);
            corruption(c, fix);
            if (fix) {
                bytes_put_be64(table + at, right);
                changed = true;
            }
        }
    }
    if (err == 0 && changed) {
        pthread_mutex_lock(&q->lock);
        qcow2_cache_forget(&q->l2_cache, offset, q->cluster_size);
        pthread_mutex_unlock(&q->lock);
        err = qcow2_pwrite(q, QCOW2_OL_ACTIVE_L2, offset, table, q->cluster_size);
    }
    return err;
}

static int check_flags(struct check *c)
{
    struct qcow2 *q = c->q;
    bool fix = (c->fix & BLOCK_CHECK_ERRORS) != 0;
    uint8_t *table = malloc(q->cluster_size);
    int err = table ? 0 : -ENOMEM;

    for (uint32_t i = 0; err == 0 && i < q->l1.count; i++) {
        uint64_t offset = q->l1.entries[i] & QCOW2_OFFSET_MASK, right;

        if (offset == 0 || qcow2_within(q, offset) ||
            qcow2_cluster_of(q, offset) >= c->file_clusters) {
            continue;
        }
        if (wrong_flag(c, q->l1.entries[i], &right)) {
            qcow2_finding(c->out,
                          "%s OFLAG_COPIED L2 cluster: l1_index=%" PRIu32 " l1_entry=%" PRIx64,
                          fix ? "Repairing" : "ERROR", i, q->l1.entries[i]);
            corruption(c, fix);
            if (fix) {
                pthread_mutex_lock(&q->lock);
                q->l1.entries[i] = right;
                qcow2_table_mark(&q->l1, i, i + 1);
                pthread_mutex_unlock(&q->lock);
            }
        }
        err = check_l2_flags(c, offset, table);
    }
    free(table);
    return err;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* All is right now: the marks in the header go. */
static int mark_good(struct qcow2 *q)
{
    uint64_t marks = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;
    int err = qcow2_barrier(q);

    if (err == 0 && (q->header.incompatible & marks)) {
        q->header.incompatible &= ~marks;
        err = qcow2_store_header(q);
    }
    return err;
}

int qcow2_recount(struct qcow2 *q, unsigned order)
{
    uint64_t clusters = qcow2_clusters(q, block_size(q->file));
    struct block_check ignored = {0};
    struct check c = {.q = q, .out = &ignored, .file_clusters = clusters};
    int err;

    c.counts = qcow2_counts_create(clusters);
    err = c.counts ? refer_all(&c) : -ENOMEM;
    if (err == 0) {
        err = qcow2_rebuild(q, c.counts, order);
    }
    qcow2_counts_free(c.counts);
    return err;
}

static int run(struct check *c)
{
    struct qcow2 *q = c->q;
    int err = refer_all(c);

    c->out->total_clusters = qcow2_clusters(q, q->header.size);
    if (err == 0) {
        err = refer_counts(c);
    }
    if (err == 0) {
        err = compare(c);
    }
    if (err == 0) {
        err = check_flags(c);
    }
    if (err == 0 && c->fix && q->writable) {
        err = qcow2_sync_all(q);
    }
    if (err == 0 && c->rebuild && (c->fix & BLOCK_CHECK_ERRORS)) {
        qcow2_finding(c->out, "Rebuilding refcount structure");
        err = qcow2_recount(q, q->header.refcount_order);
    }
    return err;
}

int qcow2_check_image(struct qcow2 *q, unsigned fix, struct block_check *check)
{
    uint64_t clusters = qcow2_clusters(q, block_size(q->file));
    struct check c = {.q = q, .out = check, .fix = fix, .file_clusters = clusters};
    uint64_t hint = q->hint;
    int err;

    c.counts = qcow2_counts_create(clusters);
    if (!c.counts) {
        return -ENOMEM;
    }
    err = run(&c);
    qcow2_counts_free(c.counts);
    q->hint = fix ? 0 : hint;
    q->packed_offset = fix ? 0 : q->packed_offset;
    if (err == 0 && fix && q->writable) {
        err = qcow2_owners_rebuild(q);
        if (err == 0 && (fix & BLOCK_CHECK_ERRORS) && !check->corruptions && !check->check_errors) {
            err = mark_good(q);
        }
    }
    return err;
}

int qcow2_check(struct block_node *node, unsigned fix, struct block_check *check)
{
    struct qcow2 *q = node->state;
    int err = 0;

    if (fix && !q->writable) {
        return -EPERM;
    }
    qcow2_quiesce(q);
    err = qcow2_settle_quiesced(q);
    if (err == 0 && q->writable && !(q->header.incompatible & QCOW2_INCOMPAT_CORRUPT)) {
        err = qcow2_sync_all(q);
    }
    if (err == 0) {
        err = qcow2_check_image(q, fix, check);
    }
    if (err == 0 && fix && (check->corruptions_fixed || check->leaks_fixed)) {
        /* What is left after the repair. */
        struct block_check left = {.report = check->report, .opaque = check->opaque};

        err = qcow2_check_image(q, 0, &left);
        check->corruptions = left.corruptions;
        check->leaks = left.leaks;
        check->check_errors = left.check_errors;
        check->image_end_offset = left.image_end_offset;
        if (err == 0 && (fix & BLOCK_CHECK_ERRORS) && !left.corruptions && !left.check_errors) {
            err = mark_good(q);
        }
    }
    if (err == 0 && fix) {
        q->broken = false;
    }
    qcow2_resume(q);
    return err;
}
