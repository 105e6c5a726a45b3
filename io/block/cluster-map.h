/*
 * What formats with one table of clusters have in common (vdi, vpc, vmdk, vhdx, parallels): reads
 * and writes walk through clusters, and a cluster that is not there yet is written as a whole at
 * its new place before the table says so.
 */
#ifndef TINAMOU_IO_BLOCK_CLUSTER_MAP_H
#define TINAMOU_IO_BLOCK_CLUSTER_MAP_H

#include "io/block/driver.h"

#include <pthread.h>

enum cluster_kind {
    CLUSTER_NONE, /* of this layer: the backing file's, or zeros */
    CLUSTER_ZERO,
    CLUSTER_DATA,       /* at `host` of the file */
    CLUSTER_COMPRESSED, /* ops->inflate() knows how */
};

struct cluster_entry {
    enum cluster_kind kind;
    uint64_t host;
};

struct cluster_map_ops {
    /* What a cluster is. Any thread, also while another one commits. 0 or -errno. */
    int (*lookup)(struct block_node *node, uint64_t index, struct cluster_entry *entry);
    /* The place for a new cluster; nothing points there yet. Under the map's lock. */
    int (*allocate)(struct block_node *node, uint64_t index, uint64_t *host);
    /* The cluster's bytes are at host: the table says so. Under the map's lock. NULL with
     * allocate(): the format is not written. */
    int (*commit)(struct block_node *node, uint64_t index, uint64_t host);
    /* The plain bytes of a compressed cluster; NULL: there are none. */
    int (*inflate)(struct block_node *node, uint64_t index, uint64_t host, uint8_t *plain);
};

struct cluster_map {
    const struct cluster_map_ops *ops;
    struct block_node *file; /* where the data is */
    uint32_t cluster_size;
    pthread_mutex_t lock;
};

void cluster_map_init(struct cluster_map *map, const struct cluster_map_ops *ops,
                      struct block_node *file, uint32_t cluster_size);
void cluster_map_destroy(struct cluster_map *map);

/* The operations of a driver. Offsets are inside of the table. */
int cluster_map_read(struct cluster_map *map, struct block_node *node, uint64_t offset,
                     const struct block_vec *vec);
int cluster_map_write(struct cluster_map *map, struct block_node *node, uint64_t offset,
                      const struct block_vec *vec);
/* Clusters that are not there and read as zeros stay so; -ENOTSUP for the rest. */
int cluster_map_zero(struct cluster_map *map, struct block_node *node, uint64_t offset,
                     uint64_t size);
int cluster_map_status(struct cluster_map *map, struct block_node *node, uint64_t offset,
                       uint64_t size, struct block_status *status);

#endif
