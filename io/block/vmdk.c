/*
 * VMware's images (Virtual Disk Format 5.0): one sparse file (monolithicSparse), one made for
 * streaming (streamOptimized, compressed: read only), or a descriptor with one extent, flat or
 * sparse, next to it.
 *
 * A sparse file has a directory of tables of grains; each table entry is the sector where the grain
 * begins, 0: there is none, 1: it is zeros (if the header says that this is used). Tables are read
 * when first needed, and kept. There are two directories for the same grains; both are written.
 *
 * Header, little-endian:  0 magic   4 version   8 flags   12 capacity   20 grain   28 descriptor
 *     36 its size   44 entries of a table   48 redundant directory   56 directory   64 data
 *     72 unclean   77 compression
 */
#include "io/block/vmdk.h"
#include "build/config.h"
#include "io/block/bytes.h"
#include "io/block/cluster-map.h"
#include "io/block/drivers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define AT_END       UINT64_MAX
#define MAX_GRAIN    (1u << 22) /* bytes */
#define MAX_TABLES   (1u << 22)
#define ENTRIES_MAX  (1u << 15)
#define GRAIN_HEADER 12
#define MAX_CAPACITY (UINT64_C(1) << 40) /* sectors */

struct vmdk {
    struct vmdk_descriptor descriptor;
    bool flat, compressed, zeroed, cid_changed;
    uint64_t flat_start;
    struct block_node *extent; /* where the data is */
    struct cluster_map map;
    uint32_t entries, tables;        /* of a table; of the directory */
    uint32_t *directory, *redundant; /* sectors of the tables; redundant may be NULL */
    uint32_t **table;                /* NULL: not read yet; read and written atomically */
    pthread_mutex_t lock;            /* of reading tables */
    uint64_t end;                    /* where the next grain goes */
};

static const struct block_child_rule vmdk_children[] = {
    {.name = "file", .role = BLOCK_ROLE_FILE, .required = true},
    {.name = "backing", .role = BLOCK_ROLE_BACKING},
    {0},
};

static int bad(const struct block_node *node, const char *what, char *error, size_t error_size)
{
    snprintf(error, error_size, "vmdk: %s: %s", node->filename, what);
    return -EINVAL;
}

/* ---- tables ---- */

static int read_entries(struct block_node *file, uint64_t sector, uint32_t count, uint32_t **to)
{
    uint32_t *entry = malloc((size_t)count * 4 + 1);
    int err = entry ? block_pread(file, sector * VMDK_SECTOR, entry, (size_t)count * 4) : -ENOMEM;

    for (uint32_t i = 0; i < count && !err; i++) {
        entry[i] = bytes_le32((const uint8_t *)&entry[i]);
    }
    if (err) {
        free(entry);
        entry = NULL;
    }
    *to = entry;
    return err;
}

static int get_table(struct vmdk *vmdk, uint32_t number, uint32_t **table)
{
    int err = 0;

    *table = __atomic_load_n(&vmdk->table[number], __ATOMIC_ACQUIRE);
    if (*table) {
        return 0;
    }
    pthread_mutex_lock(&vmdk->lock);
    *table = vmdk->table[number];
    if (!*table) {
        err = read_entries(vmdk->extent, vmdk->directory[number], vmdk->entries, table);
        if (!err) {
            __atomic_store_n(&vmdk->table[number], *table, __ATOMIC_RELEASE);
        }
    }
    pthread_mutex_unlock(&vmdk->lock);
    return err;
}

static int vmdk_lookup(struct block_node *node, uint64_t index, struct cluster_entry *entry)
{
    struct vmdk *vmdk = node->state;
    uint32_t sector = 0, *table;

    if (index / vmdk->entries < vmdk->tables && vmdk->directory[index / vmdk->entries]) {
        int err = get_table(vmdk, (uint32_t)(index / vmdk->entries), &table);

        if (err) {
            return err;
        }
        sector = __atomic_load_n(&table[index % vmdk->entries], __ATOMIC_ACQUIRE);
    }
    entry->host = (uint64_t)sector * VMDK_SECTOR;
    entry->kind = !sector                       ? CLUSTER_NONE
                  : sector == 1 && vmdk->zeroed ? CLUSTER_ZERO
                  : vmdk->compressed            ? CLUSTER_COMPRESSED
                                                : CLUSTER_DATA;
    return 0;
}

static int vmdk_allocate(struct block_node *node, uint64_t index, uint64_t *host)
{
    struct vmdk *vmdk = node->state;

    if (vmdk->compressed) {
        return -ENOTSUP;
    }
    if (index / vmdk->entries >= vmdk->tables || !vmdk->directory[index / vmdk->entries]) {
        return -EIO; /* an image whose directory has holes is not written by anybody */
    }
    if (vmdk->end / VMDK_SECTOR > UINT32_MAX) {
        return -ENOSPC;
    }
    if (!vmdk->cid_changed) {
        int err = vmdk_descriptor_new_cid(node, &vmdk->descriptor);

        if (err) {
            return err;
        }
        vmdk->cid_changed = true;
    }
    *host = vmdk->end;
    return 0;
}

static int vmdk_commit(struct block_node *node, uint64_t index, uint64_t host)
{
    struct vmdk *vmdk = node->state;
    uint32_t number = (uint32_t)(index / vmdk->entries), within = (uint32_t)(index % vmdk->entries);
    uint32_t *table;
    uint8_t sector[4];
    int err = get_table(vmdk, number, &table);

    bytes_put_le32(sector, (uint32_t)(host / VMDK_SECTOR));
    if (!err && vmdk->redundant && vmdk->redundant[number]) {
        err =
            block_pwrite(vmdk->extent, (uint64_t)vmdk->redundant[number] * VMDK_SECTOR + within * 4,
                         sector, 4, 0);
    }
    if (!err) {
        err =
            block_pwrite(vmdk->extent, (uint64_t)vmdk->directory[number] * VMDK_SECTOR + within * 4,
                         sector, 4, 0);
    }
    if (!err) {
        vmdk->end = host + vmdk->map.cluster_size;
        __atomic_store_n(&table[within], (uint32_t)(host / VMDK_SECTOR), __ATOMIC_RELEASE);
    }
    return err;
}

/* A compressed grain: its first sector (8 bytes), the size of what follows (4), a zlib stream. */
static int vmdk_inflate(struct block_node *node, uint64_t index, uint64_t host, uint8_t *plain)
{
    struct vmdk *vmdk = node->state;
    uLongf plain_size = vmdk->map.cluster_size;
    uint8_t head[GRAIN_HEADER], *packed;
    uint32_t size;
    int err = block_pread(vmdk->extent, host, head, sizeof(head));

    if (err) {
        return err;
    }
    size = bytes_le32(head + 8);
    if (bytes_le64(head) != index * (vmdk->map.cluster_size / VMDK_SECTOR) || !size ||
        size > 2 * vmdk->map.cluster_size) {
        return -EIO;
    }
    packed = malloc(size);
    err = packed ? block_pread(vmdk->extent, host + GRAIN_HEADER, packed, size) : -ENOMEM;
    if (!err) {
        err = uncompress(plain, &plain_size, packed, size) == Z_OK ? 0 : -EIO;
        memset(plain + plain_size, 0, vmdk->map.cluster_size - plain_size); /* the last grain */
    }
    free(packed);
    return err;
}

static const struct cluster_map_ops vmdk_ops = {.lookup = vmdk_lookup,
                                                .allocate = vmdk_allocate,
                                                .commit = vmdk_commit,
                                                .inflate = vmdk_inflate};

/* ---- opening ---- */

static int vmdk_probe(const uint8_t *head, size_t size, const char *filename)
{
    if (size >= 4 && bytes_le32(head) == VMDK_MAGIC) {
        return 100;
    }
    return size >= 21 && memcmp(head, "# Disk DescriptorFile", 21) == 0 ? 100 : 0;
}

/* Streams have the header with the directory's place at their end, before the last marker. */
static int use_footer(struct block_node *node, uint8_t *header, char *error, size_t error_size)
{
    const struct vmdk *vmdk = node->state;
    uint64_t size = block_size(vmdk->extent);
    int err;

    if (size < 3 * VMDK_SECTOR) {
        return bad(node, "the file is too short for its footer", error, error_size);
    }
    err = block_pread(vmdk->extent, size - 2 * VMDK_SECTOR, header, VMDK_HEADER_SIZE);
    if (!err && (bytes_le32(header) != VMDK_MAGIC || bytes_le64(header + 56) == AT_END)) {
        return bad(node, "the footer is damaged", error, error_size);
    }
    return err;
}

static int check_sparse(struct block_node *node, const uint8_t *h, char *error, size_t error_size)
{
    struct vmdk *vmdk = node->state;
    uint64_t capacity = bytes_le64(h + 12), grain = bytes_le64(h + 20), tables;
    uint32_t version = bytes_le32(h + 4), flags = bytes_le32(h + 8);

    vmdk->entries = bytes_le32(h + 44);
    if (version < 1 || version > 3) {
        return bad(node, "expected version 1, 2 or 3", error, error_size);
    }
    if ((flags & VMDK_FLAG_NEWLINES) && memcmp(h + 73, "\n \r\n", 4) != 0) {
        return bad(node, "it was damaged by a transfer as text", error, error_size);
    }
    if (capacity > MAX_CAPACITY || grain < 8 || grain > MAX_GRAIN / VMDK_SECTOR ||
        (grain & (grain - 1)) || !vmdk->entries || vmdk->entries > ENTRIES_MAX) {
        return bad(node, "the sizes in the header are not plausible", error, error_size);
    }
    tables = (capacity + grain * vmdk->entries - 1) / (grain * vmdk->entries);
    if (tables > MAX_TABLES) {
        return bad(node, "the directory would be too large", error, error_size);
    }
    if ((flags & VMDK_FLAG_DEFLATE) && bytes_le16(h + 77) != 1) {
        return bad(node, "expected compression by deflate", error, error_size);
    }
    vmdk->tables = (uint32_t)tables;
    vmdk->compressed = flags & VMDK_FLAG_DEFLATE;
    vmdk->zeroed = flags & VMDK_FLAG_ZEROED;
    block_set_size(node, capacity * VMDK_SECTOR);
    return 0;
}

static void free_tables(struct vmdk *vmdk)
{
    for (uint32_t i = 0; vmdk->table && i < vmdk->tables; i++) {
        free(vmdk->table[i]);
    }
    free(vmdk->table);
    free(vmdk->directory);
    free(vmdk->redundant);
}

/* Are there more tables than the file can hold? They are kept, so that would be a lot of memory. */
static bool too_many_tables(const struct vmdk *vmdk)
{
    uint64_t room = block_size(vmdk->extent) / 4 / vmdk->entries + 1, used = 0;

    for (uint32_t i = 0; i < vmdk->tables; i++) {
        used += vmdk->directory[i] != 0;
    }
    return used > room;
}

static int open_sparse(struct block_node *node, char *error, size_t error_size)
{
    struct vmdk *vmdk = node->state;
    uint64_t size = block_size(vmdk->extent), grain;
    uint8_t header[VMDK_HEADER_SIZE];
    int err = block_pread(vmdk->extent, 0, header, sizeof(header));

    if (!err && bytes_le32(header) != VMDK_MAGIC) {
        return bad(node, "expected a sparse extent", error, error_size);
    }
    if (!err && bytes_le64(header + 56) == AT_END) {
        err = use_footer(node, header, error, error_size);
    }
    err = err ? err : check_sparse(node, header, error, error_size);
    if (err) {
        return err;
    }
    /* What a file of this size can't hold is not worth the memory. */
    if ((uint64_t)vmdk->tables * 4 > size || bytes_le64(header + 56) > size / VMDK_SECTOR ||
        bytes_le64(header + 48) > size / VMDK_SECTOR) {
        return bad(node, "the directory lies behind the end of the file", error, error_size);
    }
    err = read_entries(vmdk->extent, bytes_le64(header + 56), vmdk->tables, &vmdk->directory);
    if (!err && (bytes_le32(header + 8) & VMDK_FLAG_REDUNDANT)) {
        err = read_entries(vmdk->extent, bytes_le64(header + 48), vmdk->tables, &vmdk->redundant);
    }
    if (!err && too_many_tables(vmdk)) {
        err = bad(node, "it has more tables than fit into the file", error, error_size);
    }
    vmdk->table = calloc(vmdk->tables + 1, sizeof(vmdk->table[0]));
    if (!err && !vmdk->table) {
        err = -ENOMEM;
    }
    if (err) {
        free_tables(vmdk);
        return err;
    }
    grain = bytes_le64(header + 20) * VMDK_SECTOR;
    vmdk->end = (size + grain - 1) / grain * grain;
    pthread_mutex_init(&vmdk->lock, NULL);
    cluster_map_init(&vmdk->map, &vmdk_ops, vmdk->extent, (uint32_t)grain);
    return 0;
}

static int open_by_descriptor(struct block_node *node, char *error, size_t error_size)
{
    struct vmdk *vmdk = node->state;
    const struct vmdk_descriptor *d = &vmdk->descriptor;
    uint64_t size = block_size(node->file->node);
    int err = vmdk_descriptor_read(node, &vmdk->descriptor, 0,
                                   size < VMDK_DESCRIPTOR_MAX ? (size_t)size : VMDK_DESCRIPTOR_MAX,
                                   error, error_size);

    if (err) {
        return err;
    }
    if (d->extents != 1) {
        return bad(node, "expected an image of one extent", error, error_size);
    }
    err = block_set_data_file(node, d->extent, error, error_size);
    if (err) {
        return err;
    }
    vmdk->extent = node->data->node;
    if (strcmp(d->kind, "SPARSE") == 0) {
        return open_sparse(node, error, error_size);
    }
    if (strcmp(d->kind, "FLAT") != 0 && strcmp(d->kind, "VMFS") != 0) {
        return bad(node, "expected an extent of the kind SPARSE, FLAT or VMFS", error, error_size);
    }
    if (d->sectors > MAX_CAPACITY || d->start > MAX_CAPACITY ||
        (d->start + d->sectors) * VMDK_SECTOR > block_size(vmdk->extent)) {
        return bad(node, "the extent is larger than its file", error, error_size);
    }
    vmdk->flat = true;
    vmdk->flat_start = d->start * VMDK_SECTOR;
    block_set_size(node, d->sectors * VMDK_SECTOR);
    return 0;
}

static int open_image(struct block_node *node, char *error, size_t error_size)
{
    struct vmdk *vmdk = node->state;
    uint8_t header[VMDK_HEADER_SIZE];
    uint64_t offset, sectors;
    int err = block_pread(node->file->node, 0, header, sizeof(header));

    if (err) {
        return err;
    }
    if (bytes_le32(header) != VMDK_MAGIC) {
        return vmdk_probe(header, sizeof(header), NULL)
                   ? open_by_descriptor(node, error, error_size)
                   : bad(node, "this is no VMDK image", error, error_size);
    }
    offset = bytes_le64(header + 28);
    sectors = bytes_le64(header + 36);
    if (offset && sectors) {
        if (offset > block_size(node->file->node) / VMDK_SECTOR ||
            sectors > VMDK_DESCRIPTOR_MAX / VMDK_SECTOR) {
            return bad(node, "the descriptor's place is not plausible", error, error_size);
        }
        err = vmdk_descriptor_read(node, &vmdk->descriptor, offset * VMDK_SECTOR,
                                   (size_t)sectors * VMDK_SECTOR, error, error_size);
    }
    vmdk->extent = node->file->node;
    return err ? err : open_sparse(node, error, error_size);
}

static int vmdk_open(struct block_node *node, char *error, size_t error_size)
{
    struct vmdk *vmdk = node->state;
    int err = open_image(node, error, error_size);

    if (!err && vmdk->descriptor.parent[0]) {
        err = block_set_backing(node, vmdk->descriptor.parent, "vmdk");
        if (err && !vmdk->flat) {
            cluster_map_destroy(&vmdk->map);
            free_tables(vmdk);
        }
    }
    if (err) {
        vmdk_descriptor_free(&vmdk->descriptor);
    }
    return err;
}

static void vmdk_close(struct block_node *node)
{
    struct vmdk *vmdk = node->state;

    if (!vmdk->flat) {
        cluster_map_destroy(&vmdk->map);
        pthread_mutex_destroy(&vmdk->lock);
        free_tables(vmdk);
    }
    vmdk_descriptor_free(&vmdk->descriptor);
}

/* ---- requests ---- */

static int vmdk_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    struct vmdk *vmdk = node->state;

    return vmdk->flat ? block_read(vmdk->extent, vmdk->flat_start + offset, vec)
                      : cluster_map_read(&vmdk->map, node, offset, vec);
}

static int vmdk_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                      unsigned flags)
{
    struct vmdk *vmdk = node->state;

    if (flags & BLOCK_COMPRESSED) {
        return -ENOTSUP;
    }
    return vmdk->flat ? block_write(vmdk->extent, vmdk->flat_start + offset, vec, 0)
                      : cluster_map_write(&vmdk->map, node, offset, vec);
}

static int vmdk_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    struct vmdk *vmdk = node->state;

    return vmdk->flat
               ? block_zero(vmdk->extent, vmdk->flat_start + offset, size, flags & ~BLOCK_FUA)
               : cluster_map_zero(&vmdk->map, node, offset, size);
}

static int vmdk_status(struct block_node *node, uint64_t offset, uint64_t size,
                       struct block_status *status)
{
    struct vmdk *vmdk = node->state;

    if (!vmdk->flat) {
        return cluster_map_status(&vmdk->map, node, offset, size, status);
    }
    *status = (struct block_status){.size = size,
                                    .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED |
                                             BLOCK_STATUS_OFFSET | BLOCK_STATUS_RECURSE,
                                    .host = vmdk->flat_start + offset,
                                    .file = vmdk->extent};
    return 0;
}

static int vmdk_info(struct block_node *node, struct block_info *info)
{
    const struct vmdk *vmdk = node->state;

    info->cluster_size = vmdk->flat ? 0 : vmdk->map.cluster_size;
    info->compressed = vmdk->compressed;
    if (vmdk->descriptor.parent[0]) {
        info->backing_filename = strdup(vmdk->descriptor.parent);
        info->backing_format = strdup("vmdk");
    }
    return 0;
}

const struct block_driver block_vmdk = {
    .name = "vmdk",
    .is_format = true,
    .may_back = true,
    .state_size = sizeof(struct vmdk),
    .children = vmdk_children,
    .create_options = vmdk_create_properties,
    .create_options_size = sizeof(struct vmdk_create_options),
    .create = vmdk_create,
    .probe = vmdk_probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .read = vmdk_read,
    .write = vmdk_write,
    .zero = vmdk_zero,
    .status = vmdk_status,
    .info = vmdk_info,
};
