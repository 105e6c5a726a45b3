/* Counting is under the node's lock, which the end of a request takes anyway. */
#include "io/block/stats.h"
#include "io/block/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void block_stats_count_locked(struct block_core_stats *stats, const struct block_request *r,
                              bool invalid, int result, int64_t start)
{
    struct block_kind_stats *k = &stats->kind[r->kind < BLOCK_KINDS ? r->kind : BLOCK_READ];
    struct block_histogram *h;
    int64_t now = loop_clock_now(LOOP_CLOCK_REALTIME);
    uint64_t time = now > start ? (uint64_t)(now - start) : 0;

    stats->last = now;
    if (invalid) {
        k->invalid++;
        return;
    }
    k->time += time;
    if (result) {
        k->failed++;
        return;
    }
    k->operations++;
    k->bytes += r->kind == BLOCK_FLUSH ? 0 : r->size;
    if ((r->kind == BLOCK_WRITE || r->kind == BLOCK_ZERO) && r->offset + r->size > stats->highest) {
        stats->highest = r->offset + r->size;
    }
    h = stats->histogram[r->kind];
    if (h) {
        unsigned i = 0;

        while (i < h->boundaries && time >= h->boundary[i]) {
            i++;
        }
        h->bin[i]++;
    }
}

void block_stats_free(struct block_core_stats *stats)
{
    for (unsigned i = 0; i < BLOCK_KINDS; i++) {
        free(stats->histogram[i]);
    }
}

void block_get_stats(struct block_node *node, struct block_stats *stats)
{
    struct block_core *core = node->core;

    pthread_mutex_lock(&core->lock);
    memcpy(stats->kind, core->stats.kind, sizeof(stats->kind));
    stats->highest = core->stats.highest;
    stats->idle = core->stats.last ? loop_clock_now(LOOP_CLOCK_REALTIME) - core->stats.last : -1;
    pthread_mutex_unlock(&core->lock);
}

int block_set_histogram(struct block_node *node, enum block_request_kind kind,
                        const uint64_t *boundary, unsigned count)
{
    struct block_core *core = node->core;
    struct block_histogram *h = NULL, *before;

    if (count > BLOCK_HISTOGRAM_MAX) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < count; i++) {
        if (boundary[i] <= (i ? boundary[i - 1] : 0)) {
            return -EINVAL;
        }
    }
    if (count) {
        h = calloc(1, sizeof(*h));
        if (!h) {
            return -ENOMEM;
        }
        h->boundaries = count;
        memcpy(h->boundary, boundary, count * sizeof(boundary[0]));
    }
    pthread_mutex_lock(&core->lock);
    before = core->stats.histogram[kind];
    core->stats.histogram[kind] = h;
    pthread_mutex_unlock(&core->lock);
    free(before);
    return 0;
}

bool block_get_histogram(struct block_node *node, enum block_request_kind kind,
                         struct block_histogram *histogram)
{
    struct block_core *core = node->core;

    pthread_mutex_lock(&core->lock);
    const struct block_histogram *h = core->stats.histogram[kind];
    bool there = h;

    if (h) {
        *histogram = *h;
    }
    pthread_mutex_unlock(&core->lock);
    return there;
}
