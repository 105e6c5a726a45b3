/*
 * Allocation for requests around the workers: at once, from counts that are in memory, or not at
 * all. Nothing here waits; where another thread has the allocator the worker's way is taken.
 */
#include "io/block/qcow2/qcow2.h"

#include <errno.h>

/* The block that counts the cluster, from memory; lock held. NULL: it is not there. */
static uint8_t *peek_block(struct qcow2 *q, uint64_t cluster)
{
    uint64_t region = cluster >> q->block_bits;
    uint64_t offset = region < q->reftable.count ? q->reftable.entries[region] : 0;

    return offset ? qcow2_cache_peek(&q->block_cache, offset) : NULL;
}

/* lock and alloc_lock held: the first free clusters are `want` in a row, which are all counted by
 * this block. */
static bool find_now(struct qcow2 *q, const uint8_t *block, uint64_t want, uint64_t *start)
{
    uint64_t mask = (UINT64_C(1) << q->block_bits) - 1, at = q->hint & mask, end;

    while (at <= mask && qcow2_count_get(block, at, q->header.refcount_order) != 0) {
        at++;
    }
    for (end = at; end <= mask && end - at < want &&
                   qcow2_count_get(block, end, q->header.refcount_order) == 0;
         end++) {
    }
    *start = (q->hint & ~mask) + at;
    return end - at == want;
}

static int alloc_now(struct qcow2 *q, uint64_t want, bool fresh_only, uint64_t *offset, bool *fresh)
{
    bool marked = !q->lazy || (q->header.incompatible & QCOW2_INCOMPAT_DIRTY);
    uint8_t *block = peek_block(q, q->hint);
    uint64_t start, bytes = want << q->cluster_bits;

    if (!marked || !block || q->ready.count || !find_now(q, block, want, &start) ||
        start + want > QCOW2_OFFSET_MASK >> q->cluster_bits) {
        return -EAGAIN;
    }
    *offset = start << q->cluster_bits;
    *fresh = *offset >= q->zero_from;
    if ((fresh_only && !*fresh) || qcow2_overlaps(q, *offset, bytes, 0) ||
        qcow2_block_add(q, block, start, want, 1) != 0) {
        return -EAGAIN;
    }
    qcow2_cache_mark(&q->block_cache, q->reftable.entries[start >> q->block_bits]);
    q->hint = start + want;
    q->zero_from = qcow2_max(q->zero_from, *offset + bytes);
    return 0;
}

int qcow2_alloc_now(struct qcow2 *q, uint64_t want, bool fresh_only, uint64_t *offset, bool *fresh)
{
    int err = -EAGAIN;

    if (qcow2_refusal(q) == 0 && pthread_mutex_trylock(&q->alloc_lock) == 0) {
        err = alloc_now(q, want, fresh_only, offset, fresh);
        pthread_mutex_unlock(&q->alloc_lock);
    }
    return err;
}

void qcow2_alloc_undo(struct qcow2 *q, uint64_t offset, uint64_t count, bool fresh)
{
    uint64_t cluster = qcow2_cluster_of(q, offset), end = offset + (count << q->cluster_bits);
    uint8_t *block = NULL;

    if (pthread_mutex_trylock(&q->alloc_lock) == 0) {
        block = peek_block(q, cluster);
        if (block && qcow2_block_add(q, block, cluster, count, -1) == 0) {
            qcow2_cache_mark(&q->block_cache, q->reftable.entries[cluster >> q->block_bits]);
            if (fresh && q->zero_from == end) {
                q->zero_from = offset; /* still a hole */
            }
        } else {
            block = NULL;
        }
        pthread_mutex_unlock(&q->alloc_lock);
    }
    if (!block) {
        qcow2_free_later(q, offset, end - offset, QCOW2_FREE_NEVER);
    }
}
