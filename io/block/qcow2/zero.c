/*
 * Zeros and discards: changes of L2 entries without data.
 *
 * Both walk whole clusters (zeros also whole subclusters) under exclusive claims, one slice of an
 * L2 table at a time, and skip at once what has no L2 table and already reads as it should: a disk
 * of many terabytes is cleared in the time that its tables take. Parts of clusters become ordinary
 * writes of zeros, unless they read as zeros already.
 */
#include "io/block/qcow2/qcow2.h"
#include "util/bits.h"

#include <errno.h>
#include <stdlib.h>

enum change {
    CHANGE_ZERO,       /* reads as zero; host clusters stay */
    CHANGE_ZERO_UNMAP, /* reads as zero; host clusters are given up */
    CHANGE_DISCARD,    /* what a guest discards */
    CHANGE_DROP,       /* unallocated, whatever shines through */
};

/* Whether a cluster without an entry is what the change wants. */
static bool nothing_to_do(const struct qcow2 *q, enum change change, uint64_t offset)
{
    bool shines =
        q->node->backing && offset < q->node->size && offset < block_size(q->node->backing->node);

    return change == CHANGE_DROP || !shines;
}

/* The new entry; false: nothing changes. *keeps: the host cluster stays referenced. */
static bool changed_entry(const struct qcow2 *q, enum change change, uint64_t cluster,
                          const struct qcow2_entry *old, struct qcow2_entry *entry, bool *keeps)
{
    uint32_t all = (uint32_t)bits_mask(q->subs);
    bool bare = nothing_to_do(q, change, cluster << q->cluster_bits);

    *entry = (struct qcow2_entry){0};
    *keeps = false;
    if (change == CHANGE_DROP || (change == CHANGE_DISCARD && q->header.version < 3)) {
        qcow2_entry_encode(q, entry);
        return old->raw != 0 || old->bitmap != 0;
    }
    if (!old->compressed && !old->data && (bare || old->zero == all) &&
        (change == CHANGE_ZERO || !old->has_host)) {
        return false;
    }
    *keeps = old->has_host && !old->compressed &&
             (change == CHANGE_ZERO || q->external ||
              (change == CHANGE_DISCARD && q->options->discard_no_unref));
    if (*keeps && q->header.version < 3) {
        *keeps = false;
    }
    if (*keeps) {
        entry->has_host = true;
        entry->host = old->host;
        entry->copied = old->copied;
    }
    entry->zero = q->header.version >= 3 && (*keeps || !bare) ? all : 0;
    qcow2_entry_encode(q, entry);
    return entry->raw != old->raw || entry->bitmap != old->bitmap;
}

/* lock held; may drop it. The cluster is claimed and its L2 table is private. */
static int change_cluster(struct qcow2 *q, enum change change, uint64_t cluster,
                          enum qcow2_free_kind kind)
{
    struct qcow2_entry old, entry;
    bool dropped = false, keeps;
    int err = qcow2_entry_get(q, cluster, &old, &dropped);

    if (err != 0 || !changed_entry(q, change, cluster, &old, &entry, &keeps)) {
        return err;
    }
    err = qcow2_entry_set(q, cluster, &entry);
    if (err == 0 && !keeps) {
        qcow2_free_entry(q, old.raw, kind);
    }
    return err;
}

static bool has_table(const struct qcow2 *q, uint64_t cluster)
{
    uint64_t index = cluster >> q->l2_bits;

    return index < q->l1.count && (q->l1.entries[index] & QCOW2_OFFSET_MASK);
}

/* Claims clusters from `first` on, at most to the end of the slice; returns how many. */
static int claim_some(struct qcow2 *q, struct qcow2_claim *claim, uint64_t first, uint64_t end,
                      uint64_t *n)
{
    uint64_t slice_end = ((first >> q->slice_bits) + 1) << q->slice_bits, limit;

    pthread_mutex_lock(&q->lock);
    (void)qcow2_claim_wait(q, first, first, true);
    limit = qcow2_claim_limit(q, first, qcow2_min(end, slice_end) - 1, true);
    *n = limit - first;
    qcow2_claim_add(q, claim, first, limit - 1, true);
    pthread_mutex_unlock(&q->lock);
    return qcow2_refusal(q);
}

/* Would the change alter any of these clusters? Saves copying L2 tables for nothing. */
static int any_change(struct qcow2 *q, enum change change, uint64_t first, uint64_t n, bool *any)
{
    int err = 0;

    *any = false;
    pthread_mutex_lock(&q->lock);
    for (uint64_t i = 0; err == 0 && !*any && i < n; i++) {
        struct qcow2_entry old, entry;
        bool dropped = false, keeps;

        err = qcow2_entry_get(q, first + i, &old, &dropped);
        *any = err == 0 && changed_entry(q, change, first + i, &old, &entry, &keeps);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

/* Whole clusters [first, end). */
static int change_clusters(struct qcow2 *q, enum change change, uint64_t first, uint64_t end,
                           enum qcow2_free_kind kind)
{
    int err = 0;

    while (err == 0 && first < end) {
        struct qcow2_claim claim;
        uint64_t n;
        bool bare, any = true;

        pthread_mutex_lock(&q->lock);
        bare = !has_table(q, first);
        pthread_mutex_unlock(&q->lock);
        if (bare && nothing_to_do(q, change, first << q->cluster_bits)) {
            first = ((first >> q->l2_bits) + 1) << q->l2_bits;
            continue;
        }
        err = claim_some(q, &claim, first, end, &n);
        if (err == 0) {
            err = any_change(q, change, first, n, &any);
        }
        if (err == 0 && any) {
            err = qcow2_l2_prepare(q, first);
        }
        pthread_mutex_lock(&q->lock);
        for (uint64_t i = 0; err == 0 && any && i < n; i++) {
            err = change_cluster(q, change, first + i, kind);
        }
        qcow2_claim_remove(q, &claim);
        pthread_mutex_unlock(&q->lock);
        first += n;
        if (err == 0 && qcow2_many_frees(q)) {
            err = qcow2_flush(q->node);
        }
    }
    return err;
}

/* ---- zeros ----------------------------------------------------------------------------------- */

/* Subclusters of one cluster, on their boundaries. */
static int zero_subclusters(struct qcow2 *q, uint64_t offset, uint64_t size)
{
    uint64_t cluster = qcow2_cluster_of(q, offset), n;
    unsigned first = (unsigned)(qcow2_within(q, offset) >> q->sub_bits);
    uint32_t mask = (uint32_t)(bits_mask((unsigned)(size >> q->sub_bits)) << first);
    struct qcow2_entry entry;
    struct qcow2_claim claim;
    bool dropped = false;
    int err = claim_some(q, &claim, cluster, cluster + 1, &n);

    if (err == 0) {
        err = qcow2_l2_prepare(q, cluster);
    }
    pthread_mutex_lock(&q->lock);
    if (err == 0) {
        err = qcow2_entry_get(q, cluster, &entry, &dropped);
    }
    if (err == 0 && entry.compressed) {
        err = -ENOTSUP;
    }
    if (err == 0) {
        entry.zero |= mask;
        entry.data &= ~mask;
        qcow2_entry_encode(q, &entry);
        err = qcow2_entry_set(q, cluster, &entry);
    }
    qcow2_claim_remove(q, &claim);
    pthread_mutex_unlock(&q->lock);
    return err;
}

/* Does the range read as zeros already, without a look at data? */
static bool is_zero(struct qcow2 *q, uint64_t offset, uint64_t size)
{
    bool zero = true;

    pthread_mutex_lock(&q->lock);
    while (zero && size) {
        struct qcow2_extent extent;
        bool dropped =
            qcow2_claim_wait(q, qcow2_cluster_of(q, offset), qcow2_cluster_of(q, offset), false);

        zero = qcow2_extent_get(q, offset, size, &extent, &dropped) == 0;
        if (zero && dropped) {
            continue;
        }
        zero = zero && (extent.what == QCOW2_IS_ZERO || (extent.what == QCOW2_IS_UNALLOCATED &&
                                                         nothing_to_do(q, CHANGE_ZERO, offset)));
        offset += zero ? extent.size : 0;
        size -= zero ? extent.size : 0;
    }
    pthread_mutex_unlock(&q->lock);
    return zero;
}

static int write_zeros(struct qcow2 *q, uint64_t offset, uint64_t size, unsigned flags)
{
    uint8_t *zeros;
    int err = 0;

    if (size == 0 || is_zero(q, offset, size)) {
        return 0;
    }
    if (flags & BLOCK_NO_FALLBACK) {
        return -ENOTSUP;
    }
    zeros = calloc(1, (size_t)qcow2_min(size, q->cluster_size));
    if (!zeros) {
        return -ENOMEM;
    }
    while (err == 0 && size) {
        size_t n = (size_t)qcow2_min(size, q->cluster_size);
        struct iovec iov;
        struct block_vec vec = block_vec_of(&iov, zeros, n);

        err = qcow2_write_at(q, offset, &vec);
        offset += n;
        size -= n;
    }
    free(zeros);
    return err;
}

/* A range inside of one cluster. */
static int zero_part(struct qcow2 *q, uint64_t offset, uint64_t size, unsigned flags)
{
    uint64_t sub = UINT64_C(1) << q->sub_bits;
    uint64_t start = (offset + sub - 1) & ~(sub - 1), end = (offset + size) & ~(sub - 1);
    int err = -ENOTSUP;

    if (size == 0 || is_zero(q, offset, size)) {
        return 0;
    }
    if (q->subs > 1 && start < end && !q->data_raw) {
        err = zero_subclusters(q, start, end - start);
    }
    if (err == -ENOTSUP) {
        return write_zeros(q, offset, size, flags);
    }
    if (err == 0) {
        err = write_zeros(q, offset, start - offset, flags);
    }
    return err == 0 ? write_zeros(q, end, offset + size - end, flags) : err;
}

int qcow2_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    struct qcow2 *q = node->state;
    enum change change = flags & BLOCK_MAY_UNMAP ? CHANGE_ZERO_UNMAP : CHANGE_ZERO;
    uint64_t end = offset + size, first, last;
    int err;

    if (!q->writable) {
        return -EPERM;
    }
    if (end > q->header.size) {
        return -ENOSPC;
    }
    if (q->header.version < 3 && node->backing) {
        return -ENOTSUP; /* there is no way to say zero */
    }
    err = qcow2_settle(q);
    if (err == 0 && q->data_raw) {
        err = block_zero(q->data, offset, size, flags);
    }
    /* The tail of the last cluster is nobody's. */
    first = qcow2_clusters(q, offset);
    last = end == q->header.size ? qcow2_clusters(q, end) : qcow2_cluster_of(q, end);
    if (err == 0 && first > last) {
        return zero_part(q, offset, size, flags);
    }
    if (err == 0) {
        err = zero_part(q, offset, (first << q->cluster_bits) - offset, flags);
    }
    if (err == 0) {
        err = change_clusters(q, change, first, last, QCOW2_FREE_REQUEST);
    }
    if (err == 0 && end > last << q->cluster_bits) {
        err = zero_part(q, last << q->cluster_bits, end - (last << q->cluster_bits), flags);
    }
    return err;
}

/* ---- discards -------------------------------------------------------------------------------- */

/* Guest data in a data file keeps its place; the host is told itself. */
static int discard_external(struct qcow2 *q, uint64_t first, uint64_t end)
{
    int err = 0;

    if (!q->data_raw) {
        err = change_clusters(q, CHANGE_DISCARD, first, end, QCOW2_FREE_NEVER);
    }
    if (err == 0 && q->node->discard_unmap) {
        uint64_t from = first << q->cluster_bits;
        uint64_t to = qcow2_min(end << q->cluster_bits, q->header.size);

        err = q->data_raw ? block_zero(q->data, from, to - from, BLOCK_MAY_UNMAP)
                          : block_discard(q->data, from, to - from);
    }
    return err;
}

int qcow2_discard(struct block_node *node, uint64_t offset, uint64_t size)
{
    struct qcow2 *q = node->state;
    uint64_t end = qcow2_min(offset + size, q->header.size), first, last;
    int err;

    if (!q->writable) {
        return -EPERM;
    }
    err = qcow2_settle(q);
    if (err != 0 || end <= offset) {
        return err;
    }
    first = qcow2_clusters(q, offset);
    last = end == q->header.size ? qcow2_clusters(q, end) : qcow2_cluster_of(q, end);
    if (first >= last) {
        return 0;
    }
    return q->external ? discard_external(q, first, last)
                       : change_clusters(q, CHANGE_DISCARD, first, last, QCOW2_FREE_REQUEST);
}

int qcow2_drop_range(struct qcow2 *q, uint64_t offset, uint64_t size)
{
    return change_clusters(q, CHANGE_DROP, qcow2_clusters(q, offset),
                           qcow2_clusters(q, offset + size), QCOW2_FREE_OTHER);
}

int qcow2_make_empty(struct block_node *node)
{
    struct qcow2 *q = node->state;
    int err = q->writable ? qcow2_settle(q) : -EPERM;

    if (err == 0) {
        err = qcow2_drop_range(q, 0, q->header.size);
    }
    return err == 0 ? qcow2_sync_all(q) : err;
}
