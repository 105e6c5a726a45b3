/*
 * One lock for allocation: whoever finds a cluster missing takes it, looks again, writes the whole
 * cluster and then the table. Reads and writes of what is there take no lock.
 */
#include "io/block/cluster-map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void cluster_map_init(struct cluster_map *map, const struct cluster_map_ops *ops,
                      struct block_node *file, uint32_t cluster_size)
{
    *map = (struct cluster_map){.ops = ops, .file = file, .cluster_size = cluster_size};
    pthread_mutex_init(&map->lock, NULL);
}

void cluster_map_destroy(struct cluster_map *map)
{
    pthread_mutex_destroy(&map->lock);
}

static int read_compressed(struct cluster_map *map, struct block_node *node, uint64_t index,
                           uint64_t host, uint32_t within, const struct block_vec *part)
{
    uint8_t *plain = malloc(map->cluster_size);
    int err = plain ? map->ops->inflate(node, index, host, plain) : -ENOMEM;

    if (!err) {
        block_vec_put(part, 0, plain + within, part->size);
    }
    free(plain);
    return err;
}

static int read_cluster(struct cluster_map *map, struct block_node *node, uint64_t offset,
                        const struct block_vec *part)
{
    uint64_t index = offset / map->cluster_size;
    uint32_t within = (uint32_t)(offset % map->cluster_size);
    struct cluster_entry entry;
    int err = map->ops->lookup(node, index, &entry);

    if (err) {
        return err;
    }
    switch (entry.kind) {
    case CLUSTER_NONE:
        return block_read_backing(node, offset, part);
    case CLUSTER_ZERO:
        block_vec_fill(part, 0, 0, part->size);
        return 0;
    case CLUSTER_DATA:
        return block_read(map->file, entry.host + within, part);
    case CLUSTER_COMPRESSED:
        return read_compressed(map, node, index, entry.host, within, part);
    }
    return -EIO;
}

int cluster_map_read(struct cluster_map *map, struct block_node *node, uint64_t offset,
                     const struct block_vec *vec)
{
    int err = 0;

    for (size_t at = 0; at < vec->size && !err;) {
        size_t n = map->cluster_size - (size_t)((offset + at) % map->cluster_size);

        n = n < vec->size - at ? n : vec->size - at;
        struct block_vec part = block_vec_part(vec, at, n);

        err = read_cluster(map, node, offset + at, &part);
        at += n;
    }
    return err;
}

/* Writes a cluster that is not there: what it reads as now, with the new bytes over it. */
static int write_new(struct cluster_map *map, struct block_node *node, uint64_t offset,
                     const struct block_vec *part)
{
    uint64_t index = offset / map->cluster_size;
    uint32_t within = (uint32_t)(offset % map->cluster_size);
    uint8_t *cluster;
    uint64_t host;
    int err = 0;

    if (posix_memalign((void **)&cluster, 4096, map->cluster_size)) {
        return -ENOMEM;
    }
    if (part->size < map->cluster_size) {
        struct iovec iov;
        struct block_vec whole = block_vec_of(&iov, cluster, map->cluster_size);

        err = read_cluster(map, node, offset - within, &whole);
    }
    if (!err) {
        block_vec_get(part, 0, cluster + within, part->size);
        err = map->ops->allocate(node, index, &host);
    }
    if (!err) {
        err = block_pwrite(map->file, host, cluster, map->cluster_size, 0);
    }
    if (!err) {
        err = map->ops->commit(node, index, host);
    }
    free(cluster);
    return err;
}

static int write_cluster(struct cluster_map *map, struct block_node *node, uint64_t offset,
                         const struct block_vec *part)
{
    uint64_t index = offset / map->cluster_size;
    struct cluster_entry entry;
    int err = map->ops->lookup(node, index, &entry);

    if (!err && entry.kind != CLUSTER_DATA) {
        pthread_mutex_lock(&map->lock);
        err = map->ops->lookup(node, index, &entry);
        if (!err && entry.kind != CLUSTER_DATA) {
            err = entry.kind == CLUSTER_COMPRESSED ? -ENOTSUP : write_new(map, node, offset, part);
            pthread_mutex_unlock(&map->lock);
            return err;
        }
        pthread_mutex_unlock(&map->lock);
    }
    return err ? err : block_write(map->file, entry.host + offset % map->cluster_size, part, 0);
}

int cluster_map_write(struct cluster_map *map, struct block_node *node, uint64_t offset,
                      const struct block_vec *vec)
{
    int err = 0;

    for (size_t at = 0; at < vec->size && !err;) {
        size_t n = map->cluster_size - (size_t)((offset + at) % map->cluster_size);

        n = n < vec->size - at ? n : vec->size - at;
        struct block_vec part = block_vec_part(vec, at, n);

        err = write_cluster(map, node, offset + at, &part);
        at += n;
    }
    return err;
}

int cluster_map_zero(struct cluster_map *map, struct block_node *node, uint64_t offset,
                     uint64_t size)
{
    for (uint64_t at = 0; at < size;) {
        uint64_t n = map->cluster_size - (offset + at) % map->cluster_size;
        struct cluster_entry entry;
        int err = map->ops->lookup(node, (offset + at) / map->cluster_size, &entry);

        if (err) {
            return err;
        }
        if (entry.kind != CLUSTER_ZERO && (entry.kind != CLUSTER_NONE || node->backing)) {
            return -ENOTSUP;
        }
        at += n < size - at ? n : size - at;
    }
    return 0;
}

int cluster_map_status(struct cluster_map *map, struct block_node *node, uint64_t offset,
                       uint64_t size, struct block_status *status)
{
    uint64_t index = offset / map->cluster_size;
    uint64_t within = offset % map->cluster_size;
    struct cluster_entry first, next;
    int err = map->ops->lookup(node, index, &first);

    if (err) {
        return err;
    }
    status->size = map->cluster_size - within;
    while (status->size < size) {
        err = map->ops->lookup(node, ++index, &next);
        if (err) {
            return err;
        }
        if (next.kind != first.kind ||
            (first.kind == CLUSTER_DATA && next.host != first.host + within + status->size)) {
            break;
        }
        status->size += map->cluster_size;
    }
    switch (first.kind) {
    case CLUSTER_NONE:
        status->flags = node->backing ? 0 : BLOCK_STATUS_ZERO;
        break;
    case CLUSTER_ZERO:
        status->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
        break;
    case CLUSTER_DATA:
        status->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET;
        status->host = first.host + within;
        status->file = map->file;
        break;
    case CLUSTER_COMPRESSED:
        status->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_COMPRESSED;
        break;
    }
    return 0;
}
