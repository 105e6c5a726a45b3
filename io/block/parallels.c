/*
 * Parallels' images, read only. Numbers are little-endian.
 *
 *     0  "WithoutFreeSpace" or "WithouFreSpacExt"   16 version 2   28 sectors of a cluster
 *    32  entries of the table   36 sectors of the disk (8 bytes; the older format: 4)
 *    44  0x746f6e59: in use    48 sector of the data       64 the table
 *
 * A table entry is where the cluster begins, in sectors, or in clusters for the newer format; 0:
 * there is none.
 */
#include "io/block/bytes.h"
#include "io/block/cluster-map.h"
#include "io/block/drivers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADER_SIZE 64
#define SECTOR      512
#define MAX_CLUSTER (1u << 28)

struct parallels {
    struct cluster_map map;
    uint32_t *table;
    uint32_t entries, unit; /* sectors that an entry counts */
};

static const struct block_child_rule parallels_children[] = {
    {.name = "file", .role = BLOCK_ROLE_FILE, .required = true},
    {0},
};

static int parallels_lookup(struct block_node *node, uint64_t index, struct cluster_entry *entry)
{
    const struct parallels *p = node->state;
    uint32_t place = index < p->entries ? p->table[index] : 0;

    entry->kind = place ? CLUSTER_DATA : CLUSTER_NONE;
    entry->host = (uint64_t)place * p->unit * SECTOR;
    return 0;
}

static const struct cluster_map_ops parallels_ops = {.lookup = parallels_lookup};

static bool is_extended(const uint8_t *head)
{
    return memcmp(head, "WithouFreSpacExt", 16) == 0;
}

static int parallels_probe(const uint8_t *head, size_t size, const char *filename)
{
    return size >= HEADER_SIZE && bytes_le32(head + 16) == 2 &&
                   (is_extended(head) || memcmp(head, "WithoutFreeSpace", 16) == 0)
               ? 100
               : 0;
}

static int read_table(struct block_node *node)
{
    struct parallels *p = node->state;
    int err;

    p->table = malloc((size_t)p->entries * 4 + 1);
    err = p->table ? block_pread(node->file->node, HEADER_SIZE, p->table, (size_t)p->entries * 4)
                   : -ENOMEM;
    for (uint32_t i = 0; i < p->entries && !err; i++) {
        p->table[i] = bytes_le32((const uint8_t *)&p->table[i]);
    }
    if (err) {
        free(p->table);
    }
    return err;
}

static int parallels_open(struct block_node *node, char *error, size_t error_size)
{
    struct parallels *p = node->state;
    uint8_t header[HEADER_SIZE];
    const char *wrong = NULL;
    uint64_t sectors, cluster;
    int err = block_pread(node->file->node, 0, header, sizeof(header));

    if (err) {
        return err;
    }
    cluster = (uint64_t)bytes_le32(header + 28) * SECTOR;
    p->entries = bytes_le32(header + 32);
    sectors = is_extended(header) ? bytes_le64(header + 36) : bytes_le32(header + 36);
    p->unit = is_extended(header) ? bytes_le32(header + 28) : 1;
    if (!parallels_probe(header, sizeof(header), NULL)) {
        wrong = "this is no Parallels image";
    } else if (!node->readonly) {
        wrong = "such images can only be read; expected read-only=on";
    } else if (!cluster || cluster > MAX_CLUSTER) {
        wrong = "the size of clusters is not plausible";
    } else if (HEADER_SIZE + (uint64_t)p->entries * 4 > block_size(node->file->node)) {
        wrong = "the table lies behind the end of the file";
    } else if (sectors > (uint64_t)p->entries * (cluster / SECTOR)) {
        wrong = "the table is too short for the disk";
    }
    if (wrong) {
        snprintf(error, error_size, "parallels: %s: %s", node->filename, wrong);
        return -EINVAL;
    }
    err = read_table(node);
    if (!err) {
        cluster_map_init(&p->map, &parallels_ops, node->file->node, (uint32_t)cluster);
        block_set_size(node, sectors * SECTOR);
    }
    return err;
}

static void parallels_close(struct block_node *node)
{
    struct parallels *p = node->state;

    cluster_map_destroy(&p->map);
    free(p->table);
}

static int parallels_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    struct parallels *p = node->state;

    return cluster_map_read(&p->map, node, offset, vec);
}

static int parallels_status(struct block_node *node, uint64_t offset, uint64_t size,
                            struct block_status *status)
{
    struct parallels *p = node->state;
    int err = cluster_map_status(&p->map, node, offset, size, status);

    status->flags |= BLOCK_STATUS_ALLOCATED; /* there is no backing file */
    return err;
}

static int parallels_info(struct block_node *node, struct block_info *info)
{
    const struct parallels *p = node->state;

    info->cluster_size = p->map.cluster_size;
    return 0;
}

const struct block_driver block_parallels = {
    .name = "parallels",
    .is_format = true,
    .state_size = sizeof(struct parallels),
    .children = parallels_children,
    .probe = parallels_probe,
    .open = parallels_open,
    .close = parallels_close,
    .read = parallels_read,
    .status = parallels_status,
    .info = parallels_info,
};
