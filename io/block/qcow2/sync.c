/*
 * Writing metadata in an order that survives a power failure. qcow2.h has the rule.
 *
 * A round takes a picture of all that is dirty, under the lock: counts and the entries that rely on
 * them are of the same moment. Then it writes from copies while requests go on changing the caches.
 * L1 entries need no flush between L2 and them, because a new L2 table is written, as zeros or as a
 * copy, when it is allocated, which the flush before covers: what the table holds at any moment
 * is right, if perhaps old.
 *
 * With lazy reference counts the dirty bit is on the medium, so the counts need no order.
 */
#include "io/block/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct taken_slots {
    struct qcow2_slot **slots;
    unsigned count;
    uint8_t *copy;
};

struct taken_table {
    uint32_t first, end;
    uint64_t offset;
    uint8_t *copy;
};

struct round {
    struct taken_slots blocks, slices;
    struct taken_table l1, reftable;
    size_t frees;
    bool data;
    bool blocks_ok, reftable_ok, slices_ok, l1_ok;
};

int qcow2_pread(struct qcow2 *q, uint64_t offset, void *buffer, size_t size)
{
    return block_pread(q->file, offset, buffer, size);
}

int qcow2_pwrite(struct qcow2 *q, unsigned kind, uint64_t offset, const void *buffer, size_t size)
{
    unsigned found;

    pthread_mutex_lock(&q->lock);
    found = qcow2_overlaps(q, offset, size, kind);
    if (offset + size > q->zero_from) {
        q->zero_from = offset + size;
    }
    pthread_mutex_unlock(&q->lock);
    if (found) {
        return qcow2_overlap_found(q, offset, found);
    }
    return block_pwrite(q->file, offset, buffer, size, 0);
}

int qcow2_barrier(struct qcow2 *q)
{
    int err = q->external ? block_flush(q->data) : 0;

    return err != 0 ? err : block_flush(q->file);
}

void qcow2_table_mark(struct qcow2_table *table, uint32_t first, uint32_t end)
{
    bool none = table->dirty_first == table->dirty_end;

    table->dirty_first = none || first < table->dirty_first ? first : table->dirty_first;
    table->dirty_end = none || end > table->dirty_end ? end : table->dirty_end;
}

/* Copies of the slots' contents; lock held. */
static int take_slots(struct qcow2_cache *cache, struct taken_slots *taken)
{
    int err = qcow2_cache_take_dirty(cache, &taken->slots, &taken->count);

    if (err != 0 || taken->count == 0) {
        return err;
    }
    taken->copy = malloc(taken->count * cache->slot_size);
    if (!taken->copy) {
        qcow2_cache_written(cache, taken->slots, taken->count, false);
        *taken = (struct taken_slots){0};
        return -ENOMEM;
    }
    for (unsigned i = 0; i < taken->count; i++) {
        memcpy(taken->copy + i * cache->slot_size, taken->slots[i]->data, cache->slot_size);
    }
    return 0;
}

/* The dirty part of a table, in whole sectors, so that each entry is written atomically. */
static int take_table(struct qcow2_table *table, struct taken_table *taken)
{
    if (table->dirty_first == table->dirty_end) {
        return 0;
    }
    taken->first = table->dirty_first & ~63u;
    taken->end =
        (uint32_t)qcow2_min(((uint64_t)table->dirty_end + 63) & ~UINT64_C(63), table->count);
    taken->offset = table->offset + (uint64_t)taken->first * 8;
    taken->copy = malloc((size_t)(taken->end - taken->first) * 8);
    if (!taken->copy) {
        *taken = (struct taken_table){0};
        return -ENOMEM;
    }
    for (uint32_t i = taken->first; i < taken->end; i++) {
        bytes_put_be64(taken->copy + (size_t)(i - taken->first) * 8, table->entries[i]);
    }
    table->dirty_first = table->dirty_end = 0;
    return 0;
}

/* Neighbours in the image are neighbours in the copy, and go in one write. */
static int write_slots(struct qcow2 *q, struct qcow2_cache *cache, unsigned kind,
                       const struct taken_slots *taken)
{
    unsigned i = 0;

    while (i < taken->count) {
        unsigned n = 1;
        int err;

        while (i + n < taken->count &&
               taken->slots[i + n]->offset == taken->slots[i]->offset + n * cache->slot_size) {
            n++;
        }
        err = qcow2_pwrite(q, kind, taken->slots[i]->offset, taken->copy + i * cache->slot_size,
                           n * cache->slot_size);
        if (err != 0) {
            return err;
        }
        i += n;
    }
    return 0;
}

static int write_table(struct qcow2 *q, unsigned kind, const struct taken_table *taken)
{
    return qcow2_pwrite(q, kind, taken->offset, taken->copy,
                        (size_t)(taken->end - taken->first) * 8);
}

static int write_counts(struct qcow2 *q, struct round *round)
{
    int err = write_slots(q, &q->block_cache, QCOW2_OL_REFBLOCK, &round->blocks);

    if (err != 0) {
        return err;
    }
    round->blocks_ok = true;
    if (round->reftable.copy) {
        if (!q->lazy) {
            err = block_flush(q->file);
        }
        if (err == 0) {
            err = write_table(q, QCOW2_OL_REFTABLE, &round->reftable);
        }
        round->reftable_ok = err == 0;
    }
    return err;
}

static int write_round(struct qcow2 *q, struct round *round)
{
    bool counts = round->blocks.count || round->reftable.copy;
    int err = write_counts(q, round);

    if (err == 0 && (round->slices.count || round->l1.copy) &&
        (round->data || (counts && !q->lazy))) {
        err = qcow2_barrier(q);
    }
    if (err == 0) {
        err = write_slots(q, &q->l2_cache, QCOW2_OL_ACTIVE_L2, &round->slices);
        round->slices_ok = err == 0;
    }
    if (err == 0 && round->l1.copy) {
        err = write_table(q, QCOW2_OL_ACTIVE_L1, &round->l1);
        round->l1_ok = err == 0;
    }
    return err == 0 ? qcow2_barrier(q) : err;
}

static int take(struct qcow2 *q, struct round *round, bool all)
{
    int err = take_slots(&q->block_cache, &round->blocks);

    if (err == 0) {
        err = take_table(&q->reftable, &round->reftable);
    }
    if (err == 0 && all) {
        err = take_slots(&q->l2_cache, &round->slices);
    }
    if (err == 0 && all) {
        err = take_table(&q->l1, &round->l1);
    }
    if (all) {
        round->frees = q->frees.count;
        round->data = q->data_dirty;
        q->data_dirty = false;
    }
    return err;
}

static void give_back(struct qcow2 *q, struct round *round)
{
    qcow2_cache_written(&q->block_cache, round->blocks.slots, round->blocks.count,
                        round->blocks_ok);
    qcow2_cache_written(&q->l2_cache, round->slices.slots, round->slices.count, round->slices_ok);
    if (round->reftable.copy && !round->reftable_ok) {
        qcow2_table_mark(&q->reftable, round->reftable.first, round->reftable.end);
    }
    if (round->l1.copy && !round->l1_ok) {
        qcow2_table_mark(&q->l1, round->l1.first, round->l1.end);
    }
    free(round->blocks.copy);
    free(round->slices.copy);
    free(round->reftable.copy);
    free(round->l1.copy);
}

/* The first n frees are final. */
static void frees_ready(struct qcow2 *q, size_t n)
{
    struct qcow2_free_list *frees = &q->frees;

    for (size_t i = 0; i < n; i++) {
        if (qcow2_free_list_add(&q->ready, frees->items[i].cluster, frees->items[i].count,
                                frees->items[i].kind) != 0) {
            n = i; /* the others wait for the next round */
            break;
        }
    }
    if (n) {
        memmove(frees->items, frees->items + n, (frees->count - n) * sizeof(*frees->items));
        frees->count -= n;
        frees->clusters = 0;
        for (size_t i = 0; i < frees->count; i++) {
            frees->clusters += frees->items[i].count;
        }
    }
}

/* With the slot, lock held; drops it. */
static int run_round(struct qcow2 *q)
{
    struct round round = {0};
    int err = q->settling || !q->unsettled ? take(q, &round, true) : q->unsettled;

    pthread_mutex_unlock(&q->lock);
    if (err == 0) {
        err = write_round(q, &round);
    }
    pthread_mutex_lock(&q->lock);
    give_back(q, &round);
    if (err == 0) {
        frees_ready(q, round.frees);
    } else {
        q->data_dirty = q->data_dirty || round.data;
    }
    return err;
}

int qcow2_sync(struct qcow2 *q)
{
    uint64_t want;
    int err;

    pthread_mutex_lock(&q->lock);
    want = q->sync_started + 1;
    while (q->sync_done < want) {
        uint64_t mine;

        if (q->sync_busy) {
            qcow2_wait(q);
            continue;
        }
        q->sync_busy = true;
        mine = ++q->sync_started;
        err = run_round(q);
        q->sync_results[mine % 4] = err;
        q->sync_done = mine;
        q->sync_busy = false;
        qcow2_wake(q);
    }
    err = q->sync_done - want < 4 ? q->sync_results[want % 4] : 0;
    pthread_mutex_unlock(&q->lock);
    return err;
}

void qcow2_sync_begin(struct qcow2 *q)
{
    pthread_mutex_lock(&q->lock);
    while (q->sync_busy) {
        qcow2_wait(q);
    }
    q->sync_busy = true;
    pthread_mutex_unlock(&q->lock);
}

void qcow2_sync_end(struct qcow2 *q)
{
    pthread_mutex_lock(&q->lock);
    q->sync_busy = false;
    qcow2_wake(q);
    pthread_mutex_unlock(&q->lock);
}

int qcow2_sync_counts(struct qcow2 *q)
{
    struct round round = {0};
    int err;

    pthread_mutex_lock(&q->lock);
    err = q->settling || !q->unsettled ? take(q, &round, false) : q->unsettled;
    pthread_mutex_unlock(&q->lock);
    if (err == 0) {
        err = write_counts(q, &round);
    }
    pthread_mutex_lock(&q->lock);
    give_back(q, &round);
    pthread_mutex_unlock(&q->lock);
    return err;
}

int qcow2_sync_all(struct qcow2 *q)
{
    bool more = true;
    int err = 0;

    while (err == 0 && more) {
        err = qcow2_sync(q);
        pthread_mutex_lock(&q->alloc_lock);
        if (err == 0) {
            err = qcow2_release_ready(q);
        }
        pthread_mutex_unlock(&q->alloc_lock);
        pthread_mutex_lock(&q->lock);
        more = q->block_cache.dirty || q->l2_cache.dirty || q->frees.count || q->ready.count ||
               q->l1.dirty_first != q->l1.dirty_end ||
               q->reftable.dirty_first != q->reftable.dirty_end;
        pthread_mutex_unlock(&q->lock);
    }
    return err;
}

int qcow2_flush(struct block_node *node)
{
    struct qcow2 *q = node->state;
    bool ready;
    int err;

    if (!q->writable) {
        return 0;
    }
    err = qcow2_settle(q);
    if (err == 0) {
        err = qcow2_sync(q);
    }
    pthread_mutex_lock(&q->lock);
    ready = q->ready.count != 0;
    pthread_mutex_unlock(&q->lock);
    if (err == 0 && ready) {
        pthread_mutex_lock(&q->alloc_lock);
        err = qcow2_release_ready(q);
        pthread_mutex_unlock(&q->alloc_lock);
    }
    return err;
}
