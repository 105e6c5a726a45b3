/*
 * Caches of metadata: slices of L2 tables, and reference count blocks.
 *
 * A slot is clean (in the list of clean ones, by last use, and may be thrown out), dirty (in the
 * dirty list), writing (its contents of some moment are on their way; may be dirty again), or
 * loading (being read; whoever wants it waits). A pointer that get() returned is used before the
 * lock is dropped; only requests around the workers, which may not wait when they end, pin the slot
 * that they are going to change. When all slots are dirty, they are written, all together and
 * in order (qcow2_sync()): so the cost of flushes is shared by as many changes as fit in. When all
 * are in motion the cache is allowed to grow beyond its limit, for which there are at most as many
 * reasons as requests.
 */
#include "io/block/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned hash_of(const struct qcow2_cache *cache, uint64_t offset)
{
    return (unsigned)((offset / cache->slot_size * UINT64_C(0x9e3779b97f4a7c15)) >> 40) &
           cache->hash_mask;
}

int qcow2_cache_init(struct qcow2_cache *cache, struct qcow2 *q, size_t slot_size, uint64_t bytes,
                     unsigned least)
{
    uint64_t limit = qcow2_max(bytes / slot_size, least);
    unsigned buckets = 16;

    memset(cache, 0, sizeof(*cache));
    cache->q = q;
    cache->slot_size = slot_size;
    cache->limit = (unsigned)qcow2_min(limit, 1u << 24);
    while (buckets < cache->limit && buckets < (1u << 20)) {
        buckets *= 2;
    }
    cache->hash = calloc(buckets, sizeof(struct qcow2_slot *));
    cache->hash_mask = buckets - 1;
    return cache->hash ? 0 : -ENOMEM;
}

static struct qcow2_slot *find(const struct qcow2_cache *cache, uint64_t offset)
{
    struct qcow2_slot *slot = cache->hash[hash_of(cache, offset)];

    while (slot && slot->offset != offset) {
        slot = slot->chain;
    }
    return slot;
}

/* Is it in the list of those that may go? */
static bool is_clean(const struct qcow2_slot *slot)
{
    return !slot->dirty && !slot->writing && !slot->loading && !slot->pins;
}

static void clean_remove(struct qcow2_cache *cache, struct qcow2_slot *slot)
{
    *(slot->prev ? &slot->prev->next : &cache->newest) = slot->next;
    *(slot->next ? &slot->next->prev : &cache->oldest) = slot->prev;
    slot->next = slot->prev = NULL;
}

static void clean_add(struct qcow2_cache *cache, struct qcow2_slot *slot)
{
    slot->prev = NULL;
    slot->next = cache->newest;
    *(slot->next ? &slot->next->prev : &cache->oldest) = slot;
    cache->newest = slot;
}

static void dirty_add(struct qcow2_cache *cache, struct qcow2_slot *slot)
{
    slot->dirty = true;
    slot->prev = NULL;
    slot->next = cache->dirty;
    if (slot->next) {
        slot->next->prev = slot;
    }
    cache->dirty = slot;
    cache->dirty_count++;
}

static void dirty_remove(struct qcow2_cache *cache, struct qcow2_slot *slot)
{
    *(slot->prev ? &slot->prev->next : &cache->dirty) = slot->next;
    if (slot->next) {
        slot->next->prev = slot->prev;
    }
    slot->next = slot->prev = NULL;
    slot->dirty = false;
    cache->dirty_count--;
}

static void unhash(struct qcow2_cache *cache, struct qcow2_slot *slot)
{
    struct qcow2_slot **link = &cache->hash[hash_of(cache, slot->offset)];

    while (*link != slot) {
        link = &(*link)->chain;
    }
    *link = slot->chain;
}

/* Takes a slot that is in no list out of the cache. */
static void drop(struct qcow2_cache *cache, struct qcow2_slot *slot)
{
    unhash(cache, slot);
    cache->count--;
    free(slot->data);
    free(slot);
}

void qcow2_cache_destroy(struct qcow2_cache *cache)
{
    for (unsigned i = 0; cache->hash && i <= cache->hash_mask; i++) {
        while (cache->hash[i]) {
            struct qcow2_slot *slot = cache->hash[i];

            cache->hash[i] = slot->chain;
            free(slot->data);
            free(slot);
        }
    }
    free(cache->hash);
    memset(cache, 0, sizeof(*cache));
}

/* A slot for offset, in no list. NULL: look again (*err 0; the lock was dropped), or an error. */
static struct qcow2_slot *slot_for(struct qcow2_cache *cache, uint64_t offset, int *err)
{
    struct qcow2 *q = cache->q;
    struct qcow2_slot *slot = NULL, **bucket;

    *err = 0;
    while (cache->count > cache->limit && cache->oldest) {
        struct qcow2_slot *old = cache->oldest;

        clean_remove(cache, old);
        drop(cache, old);
    }
    if (cache->count >= cache->limit && cache->oldest) {
        slot = cache->oldest;
        clean_remove(cache, slot);
        unhash(cache, slot);
        cache->count--;
    } else if (cache->count >= cache->limit && cache->dirty && !q->sync_busy) {
        pthread_mutex_unlock(&q->lock);
        *err = qcow2_sync(q);
        pthread_mutex_lock(&q->lock);
        return NULL;
    } else {
        slot = calloc(1, sizeof(*slot));
        if (slot) {
            slot->data = malloc(cache->slot_size);
        }
        if (!slot || !slot->data) {
            free(slot);
            *err = -ENOMEM;
            return NULL;
        }
    }
    slot->offset = offset;
    slot->dirty = slot->writing = slot->loading = false;
    slot->pins = 0;
    slot->age = cache->age;
    bucket = &cache->hash[hash_of(cache, offset)];
    slot->chain = *bucket;
    *bucket = slot;
    cache->count++;
    return slot;
}

static int load(struct qcow2_cache *cache, struct qcow2_slot *slot)
{
    struct qcow2 *q = cache->q;
    int err;

    slot->loading = true;
    cache->loading++;
    pthread_mutex_unlock(&q->lock);
    err = qcow2_pread(q, slot->offset, slot->data, cache->slot_size);
    pthread_mutex_lock(&q->lock);
    slot->loading = false;
    cache->loading--;
    qcow2_wake(q);
    if (err != 0) {
        drop(cache, slot);
        return err;
    }
    clean_add(cache, slot);
    return 0;
}

/* It is used now. */
static void touch(struct qcow2_cache *cache, struct qcow2_slot *slot)
{
    slot->age = cache->age;
    if (cache->newest != slot && is_clean(slot)) {
        clean_remove(cache, slot);
        clean_add(cache, slot);
    }
}

int qcow2_cache_get(struct qcow2_cache *cache, uint64_t offset, uint8_t **data, bool *dropped)
{
    for (;;) {
        struct qcow2_slot *slot = find(cache, offset);
        int err;

        if (slot && slot->loading) {
            *dropped = true;
            qcow2_wait(cache->q);
            continue;
        }
        if (slot) {
            touch(cache, slot);
            *data = slot->data;
            return 0;
        }
        slot = slot_for(cache, offset, &err);
        if (!slot) {
            if (err != 0) {
                return err;
            }
            *dropped = true;
            continue;
        }
        *dropped = true;
        err = load(cache, slot);
        if (err != 0) {
            return err;
        }
        *data = slot->data;
        return 0;
    }
}

uint8_t *qcow2_cache_peek(struct qcow2_cache *cache, uint64_t offset)
{
    struct qcow2_slot *slot = find(cache, offset);

    if (!slot || slot->loading) {
        return NULL;
    }
    touch(cache, slot);
    return slot->data;
}

struct qcow2_slot *qcow2_cache_pin(struct qcow2_cache *cache, uint64_t offset)
{
    struct qcow2_slot *slot = find(cache, offset);

    if (is_clean(slot)) {
        clean_remove(cache, slot);
    }
    slot->pins++;
    return slot;
}

void qcow2_cache_unpin(struct qcow2_cache *cache, struct qcow2_slot *slot)
{
    slot->pins--;
    if (is_clean(slot)) {
        clean_add(cache, slot);
    }
    if (!slot->pins) {
        qcow2_wake(cache->q);
    }
}

int qcow2_cache_new(struct qcow2_cache *cache, uint64_t offset, uint8_t **data)
{
    struct qcow2_slot *slot;
    int err = 0;

    qcow2_cache_forget(cache, offset, cache->slot_size);
    do {
        slot = slot_for(cache, offset, &err);
    } while (!slot && err == 0);
    if (slot) {
        memset(slot->data, 0, cache->slot_size);
        dirty_add(cache, slot);
        *data = slot->data;
    }
    return err;
}

void qcow2_cache_mark(struct qcow2_cache *cache, uint64_t offset)
{
    struct qcow2_slot *slot = find(cache, offset);

    if (!slot->dirty) {
        if (is_clean(slot)) {
            clean_remove(cache, slot);
        }
        dirty_add(cache, slot);
    }
}

static void forget(struct qcow2_cache *cache, struct qcow2_slot *slot)
{
    if (slot->dirty) {
        dirty_remove(cache, slot);
    } else {
        clean_remove(cache, slot);
    }
    drop(cache, slot);
}

void qcow2_cache_forget(struct qcow2_cache *cache, uint64_t offset, uint64_t size)
{
    uint64_t end = offset + size;

    while (offset < end) {
        struct qcow2_slot *slot = find(cache, offset);

        if (slot && (slot->loading || slot->writing || slot->pins)) {
            qcow2_wait(cache->q);
            continue;
        }
        if (slot) {
            forget(cache, slot);
        }
        offset += cache->slot_size;
    }
}

static void age(struct qcow2_cache *cache)
{
    while (cache->oldest && cache->oldest->age != cache->age) {
        forget(cache, cache->oldest);
    }
    cache->age++;
}

void qcow2_caches_age(struct qcow2 *q)
{
    struct timespec now;

    if (!q->options->cache_clean_interval || ++q->lookups % 1024) {
        return;
    }
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if ((uint64_t)(now.tv_sec - q->aged) >= q->options->cache_clean_interval) {
        q->aged = now.tv_sec;
        age(&q->l2_cache);
        age(&q->block_cache);
    }
}

static int by_offset(const void *a, const void *b)
{
    const struct qcow2_slot *x = *(struct qcow2_slot *const *)a;
    const struct qcow2_slot *y = *(struct qcow2_slot *const *)b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

int qcow2_cache_take_dirty(struct qcow2_cache *cache, struct qcow2_slot ***slots, unsigned *count)
{
    unsigned n = 0;

    *count = 0;
    *slots = NULL;
    if (!cache->dirty) {
        return 0;
    }
    *slots = malloc(cache->dirty_count * sizeof(struct qcow2_slot *));
    if (!*slots) {
        return -ENOMEM;
    }
    while (cache->dirty) {
        struct qcow2_slot *slot = cache->dirty;

        dirty_remove(cache, slot);
        slot->writing = true;
        (*slots)[n++] = slot;
    }
    qsort(*slots, n, sizeof(struct qcow2_slot *), by_offset);
    *count = n;
    return 0;
}

void qcow2_cache_written(struct qcow2_cache *cache, struct qcow2_slot **slots, unsigned count,
                         bool ok)
{
    for (unsigned i = 0; i < count; i++) {
        struct qcow2_slot *slot = slots[i];

        slot->writing = false;
        if (!ok && !slot->dirty) {
            dirty_add(cache, slot);
        } else if (is_clean(slot)) {
            clean_add(cache, slot);
        }
    }
    free(slots);
}
