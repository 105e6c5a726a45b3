/*
 * Hyper-V's images (VHDX 1.0), read only, without parents. Numbers are little-endian.
 *
 *       0  "vhdxfile"
 *     64K  header: "head", checksum, sequence number (8), three UUIDs: at 48 the log's
 *    128K  its copy; that with the higher sequence number counts
 *    192K  regions: "regi", checksum, count (4), from 16 on 32 bytes each: UUID, offset, length
 *    256K  their copy
 *
 * Two regions matter: the metadata (a table of items by UUID) and the block allocation table. The
 * latter has 8 bytes for each block, state in 3 bits and the place in units of 1 MiB, and after so
 * many blocks as one bitmap of sectors describes, an entry for that bitmap, which only images with
 * parents use. A log with entries would have to be replayed first; such an image is refused.
 */
#include "io/block/bytes.h"
#include "io/block/cluster-map.h"
#include "io/block/drivers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define KIB         1024u
#define MIB         (1024u * KIB)
#define HEADER_SIZE (4 * KIB)
#define REGION_SIZE (64 * KIB)
#define MAX_ITEMS   2047
#define MAX_SIZE    (UINT64_C(64) << 40)

enum { STATE_FULLY_PRESENT = 6, STATE_PARTIALLY_PRESENT = 7 };

static const uint8_t uuid_table[16] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                       0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
static const uint8_t uuid_metadata[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                          0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t uuid_parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                            0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
static const uint8_t uuid_size[16] = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                      0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8};
static const uint8_t uuid_sector[16] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                        0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f};

struct vhdx {
    struct cluster_map map;
    uint64_t *table;
    uint64_t entries, chunk; /* chunk: blocks between entries of bitmaps */
};

static const struct block_child_rule vhdx_children[] = {
    {.name = "file", .role = BLOCK_ROLE_FILE, .required = true},
    {0},
};

/* CRC-32C, bit by bit: a few hundred KiB when an image is opened. */
static uint32_t crc32c(const uint8_t *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < size; i++) {
        crc ^= i >= 4 && i < 8 ? 0 : bytes[i]; /* the checksum itself counts as zeros */
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        }
    }
    return ~crc;
}

static int vhdx_lookup(struct block_node *node, uint64_t index, struct cluster_entry *entry)
{
    const struct vhdx *vhdx = node->state;
    uint64_t place = index + index / vhdx->chunk;
    uint64_t value = place < vhdx->entries ? vhdx->table[place] : 0;

    if ((value & 7) == STATE_PARTIALLY_PRESENT) {
        return -EIO;
    }
    entry->kind = (value & 7) == STATE_FULLY_PRESENT ? CLUSTER_DATA : CLUSTER_NONE;
    entry->host = value >> 20 << 20;
    return 0;
}

static const struct cluster_map_ops vhdx_ops = {.lookup = vhdx_lookup};

static int vhdx_probe(const uint8_t *head, size_t size, const char *filename)
{
    return size >= 8 && memcmp(head, "vhdxfile", 8) == 0 ? 100 : 0;
}

static int bad(const struct block_node *node, const char *what, char *error, size_t error_size)
{
    snprintf(error, error_size, "vhdx: %s: %s", node->filename, what);
    return -EINVAL;
}

static int check_log(struct block_node *node, char *error, size_t error_size)
{
    static const uint8_t none[16];
    uint8_t header[2][HEADER_SIZE];
    int newest = -1;

    for (unsigned i = 0; i < 2; i++) {
        int err = block_pread(node->file->node, 64 * KIB * (i + 1), header[i], HEADER_SIZE);

        if (err) {
            return err;
        }
        if (memcmp(header[i], "head", 4) == 0 &&
            crc32c(header[i], HEADER_SIZE) == bytes_le32(header[i] + 4) &&
            (newest < 0 || bytes_le64(header[i] + 8) > bytes_le64(header[0] + 8))) {
            newest = (int)i;
        }
    }
    if (newest < 0) {
        return bad(node, "both headers are damaged", error, error_size);
    }
    return memcmp(header[newest] + 48, none, 16) == 0
               ? 0
               : bad(node, "it was not closed properly; expected one whose log is empty", error,
                     error_size);
}

/* Finds a region in the copy of the table that is not damaged. */
static int find_region(struct block_node *node, const uint8_t *uuid, uint64_t *offset,
                       uint32_t *length, char *error, size_t error_size)
{
    uint8_t *table = malloc(REGION_SIZE);
    int err = table ? 0 : -ENOMEM;
    bool found = false;

    for (unsigned copy = 0; copy < 2 && !err && !found; copy++) {
        err = block_pread(node->file->node, (192 + 64 * copy) * KIB, table, REGION_SIZE);
        if (err || memcmp(table, "regi", 4) != 0 ||
            crc32c(table, REGION_SIZE) != bytes_le32(table + 4)) {
            continue;
        }
        uint32_t count = bytes_le32(table + 8);

        for (uint32_t i = 0; i < count && i < MAX_ITEMS; i++) {
            const uint8_t *entry = table + 16 + i * 32;

            if (memcmp(entry, uuid, 16) == 0) {
                *offset = bytes_le64(entry + 16);
                *length = bytes_le32(entry + 24);
                found = true;
            }
        }
    }
    free(table);
    if (!err && (!found || *offset > block_size(node->file->node) ||
                 *length > block_size(node->file->node) - *offset)) {
        return bad(node, "a region is missing, or behind the end of the file", error, error_size);
    }
    return err;
}

/* The value of a metadata item of at most 8 bytes. */
static int read_item(struct block_node *node, uint64_t region, uint32_t region_size,
                     const uint8_t *uuid, uint64_t *value, char *error, size_t error_size)
{
    uint8_t *table = malloc(REGION_SIZE), item[8] = {0};
    int err = table ? block_pread(node->file->node, region, table, REGION_SIZE) : -ENOMEM;
    bool found = false;

    if (!err && memcmp(table, "metadata", 8) == 0) {
        uint16_t count = bytes_le16(table + 10);

        for (uint16_t i = 0; i < count && i < MAX_ITEMS && !err; i++) {
            const uint8_t *entry = table + 32 + i * 32;
            uint32_t offset = bytes_le32(entry + 16), length = bytes_le32(entry + 20);

            if (memcmp(entry, uuid, 16) == 0 && length <= 8 && offset < region_size) {
                found = true;
                err = block_pread(node->file->node, region + offset, item, length);
            }
        }
    }
    free(table);
    *value = bytes_le64(item);
    return err || found ? err : bad(node, "a metadata item is missing", error, error_size);
}

static int read_table(struct block_node *node, uint64_t size, uint32_t block, char *error,
                      size_t error_size)
{
    struct vhdx *vhdx = node->state;
    uint64_t blocks = (size + block - 1) / block, offset;
    uint32_t length;
    int err = find_region(node, uuid_table, &offset, &length, error, error_size);

    if (err) {
        return err;
    }
    vhdx->entries = blocks + (blocks ? (blocks - 1) / vhdx->chunk : 0);
    if (vhdx->entries * 8 > length) {
        return bad(node, "the block allocation table is too short", error, error_size);
    }
    vhdx->table = malloc(vhdx->entries * 8 + 1);
    err = vhdx->table ? block_pread(node->file->node, offset, vhdx->table, vhdx->entries * 8)
                      : -ENOMEM;
    for (uint64_t i = 0; i < vhdx->entries && !err; i++) {
        vhdx->table[i] = bytes_le64((const uint8_t *)&vhdx->table[i]);
        if (vhdx->table[i] >> 20 > INT64_MAX / MIB) {
            err = bad(node, "a block lies at a wild place", error, error_size);
        }
    }
    if (err) {
        free(vhdx->table);
    }
    return err;
}

static int vhdx_open(struct block_node *node, char *error, size_t error_size)
{
    struct vhdx *vhdx = node->state;
    uint64_t metadata, parameters, size, sector;
    uint8_t magic[8];
    uint32_t length, block;
    int err = block_pread(node->file->node, 0, magic, sizeof(magic));

    if (!err && memcmp(magic, "vhdxfile", 8) != 0) {
        return bad(node, "this is no VHDX image", error, error_size);
    }
    if (!err && !node->readonly) {
        return bad(node, "such images can only be read; expected read-only=on", error, error_size);
    }
    err = err ? err : check_log(node, error, error_size);
    err = err ? err : find_region(node, uuid_metadata, &metadata, &length, error, error_size);
    err = err ? err
              : read_item(node, metadata, length, uuid_parameters, &parameters, error, error_size);
    err = err ? err : read_item(node, metadata, length, uuid_size, &size, error, error_size);
    err = err ? err : read_item(node, metadata, length, uuid_sector, &sector, error, error_size);
    if (err) {
        return err;
    }
    block = (uint32_t)parameters;
    if (parameters >> 32 & 2) {
        return bad(node, "images with a parent are not supported", error, error_size);
    }
    if (block < MIB || block > 256 * MIB || (block & (block - 1)) ||
        (sector != 512 && sector != 4096) || size > MAX_SIZE || size % sector) {
        return bad(node, "the sizes in the metadata are not plausible", error, error_size);
    }
    vhdx->chunk = (UINT64_C(1) << 23) * sector / block;
    err = read_table(node, size, block, error, error_size);
    if (!err) {
        cluster_map_init(&vhdx->map, &vhdx_ops, node->file->node, block);
        block_set_size(node, size);
    }
    return err;
}

static void vhdx_close(struct block_node *node)
{
    struct vhdx *vhdx = node->state;

    cluster_map_destroy(&vhdx->map);
    free(vhdx->table);
}

static int vhdx_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    struct vhdx *vhdx = node->state;

    return cluster_map_read(&vhdx->map, node, offset, vec);
}

static int vhdx_status(struct block_node *node, uint64_t offset, uint64_t size,
                       struct block_status *status)
{
    struct vhdx *vhdx = node->state;
    int err = cluster_map_status(&vhdx->map, node, offset, size, status);

    status->flags |= BLOCK_STATUS_ALLOCATED; /* there is no backing file */
    return err;
}

static int vhdx_info(struct block_node *node, struct block_info *info)
{
    const struct vhdx *vhdx = node->state;

    info->cluster_size = vhdx->map.cluster_size;
    return 0;
}

const struct block_driver block_vhdx = {
    .name = "vhdx",
    .is_format = true,
    .state_size = sizeof(struct vhdx),
    .children = vhdx_children,
    .probe = vhdx_probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .read = vhdx_read,
    .status = vhdx_status,
    .info = vhdx_info,
};
