/*
 * Statistics of a node's requests at the edge: counts, bytes, times, and histograms of latencies.
 */
#ifndef TINAMOU_IO_BLOCK_STATS_H
#define TINAMOU_IO_BLOCK_STATS_H

#include "io/block/block.h"

#define BLOCK_HISTOGRAM_MAX 64 /* boundaries */

struct block_histogram {
    unsigned boundaries;                    /* 0: there is none */
    uint64_t boundary[BLOCK_HISTOGRAM_MAX]; /* nanoseconds, ascending */
    uint64_t bin[BLOCK_HISTOGRAM_MAX + 1];  /* bin[i]: below boundary[i]; the last: above all */
};

struct block_kind_stats {
    uint64_t operations, bytes; /* that were done */
    uint64_t failed, invalid;   /* by the host, and by themselves */
    uint64_t time;              /* nanoseconds, of all together */
};

struct block_stats {
    struct block_kind_stats kind[BLOCK_KINDS];
    uint64_t highest; /* the end of the last written byte */
    int64_t idle;     /* nanoseconds since the last request; -1: there was none */
};

/* Any thread. */
void block_get_stats(struct block_node *node, struct block_stats *stats);

/* Starts a histogram with these boundaries, or none with count 0. -EINVAL: not ascending, or more
 * than BLOCK_HISTOGRAM_MAX. -ENOMEM. Main loop's thread. */
int block_set_histogram(struct block_node *node, enum block_request_kind kind,
                        const uint64_t *boundary, unsigned count);
/* False: there is none. Any thread. */
bool block_get_histogram(struct block_node *node, enum block_request_kind kind,
                         struct block_histogram *histogram);

/* ---- for io/block ---- */

struct block_core_stats {
    struct block_kind_stats kind[BLOCK_KINDS];
    uint64_t highest;
    int64_t last; /* when the last one ended */
    struct block_histogram *histogram[BLOCK_KINDS];
};

/* Counts a request that has ended. Under the node's lock. */
void block_stats_count_locked(struct block_core_stats *stats, const struct block_request *request,
                              bool invalid, int result, int64_t start);
void block_stats_free(struct block_core_stats *stats);

#endif
