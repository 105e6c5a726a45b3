/*
 * VirtualBox's images (VDI 1.1), dynamic and static, without parents.
 *
 *     0x000  text            0x154  offset of the table      0x170  size of the disk (8 bytes)
 *     0x040  0xbeda107f      0x158  offset of the data       0x178  size of a block
 *     0x044  version         0x168  size of a sector         0x180  blocks of the disk
 *     0x04c  type            0x188  UUIDs: of the image, its last snapshot, link, parent
 *
 * Numbers are little-endian. The table has the number of each block's place behind the data's
 * offset; 0xffffffff: there is none, 0xfffffffe: none, and zeros. Places are given out in order;
 * how many there are is found in the table, since the header's number may be older.
 */
#include "io/block/bytes.h"
#include "io/block/cluster-map.h"
#include "io/block/crypto.h"
#include "io/block/drivers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADER_SIZE  512
#define SIGNATURE    0xbeda107fu
#define VERSION      0x00010001u
#define BLOCK_SIZE   (1u << 20)
#define NOT_THERE    0xffffffffu
#define ZEROS        0xfffffffeu
#define MAX_BLOCKS   (1u << 26) /* 64 TiB; the table is in memory */
#define TYPE_DYNAMIC 1
#define TYPE_STATIC  2

struct vdi {
    struct cluster_map map;
    uint32_t *table; /* entries are read and written atomically */
    uint32_t blocks, used;
    uint64_t table_offset, data_offset;
};

static const struct block_child_rule vdi_children[] = {
    {.name = "file", .role = BLOCK_ROLE_FILE, .required = true},
    {0},
};

static int vdi_lookup(struct block_node *node, uint64_t index, struct cluster_entry *entry)
{
    const struct vdi *vdi = node->state;
    uint32_t place =
        index < vdi->blocks ? __atomic_load_n(&vdi->table[index], __ATOMIC_ACQUIRE) : NOT_THERE;

    entry->kind = place == NOT_THERE ? CLUSTER_NONE : place == ZEROS ? CLUSTER_ZERO : CLUSTER_DATA;
    entry->host = vdi->data_offset + (uint64_t)place * BLOCK_SIZE;
    return 0;
}

static int vdi_allocate(struct block_node *node, uint64_t index, uint64_t *host)
{
    const struct vdi *vdi = node->state;

    if (index >= vdi->blocks || vdi->used >= ZEROS) {
        return -ENOSPC;
    }
    *host = vdi->data_offset + (uint64_t)vdi->used * BLOCK_SIZE;
    return 0;
}

static int vdi_commit(struct block_node *node, uint64_t index, uint64_t host)
{
    struct vdi *vdi = node->state;
    uint8_t number[4];
    int err;

    bytes_put_le32(number, vdi->used);
    err = block_pwrite(node->file->node, vdi->table_offset + index * 4, number, 4, 0);
    if (!err) {
        __atomic_store_n(&vdi->table[index], vdi->used++, __ATOMIC_RELEASE);
        bytes_put_le32(number, vdi->used);
        err = block_pwrite(node->file->node, 0x184, number, 4, 0);
    }
    return err;
}

static const struct cluster_map_ops vdi_ops = {
    .lookup = vdi_lookup, .allocate = vdi_allocate, .commit = vdi_commit};

static int vdi_probe(const uint8_t *head, size_t size, const char *filename)
{
    return size >= HEADER_SIZE && bytes_le32(head + 0x40) == SIGNATURE ? 100 : 0;
}

static const char *check_header(const uint8_t *h, struct vdi *vdi, uint64_t *size)
{
    static const uint8_t none[16];

    vdi->table_offset = bytes_le32(h + 0x154);
    vdi->data_offset = bytes_le32(h + 0x158);
    vdi->blocks = bytes_le32(h + 0x180);
    *size = bytes_le64(h + 0x170);
    if (bytes_le32(h + 0x40) != SIGNATURE) {
        return "this is no VDI image";
    }
    if (bytes_le32(h + 0x44) != VERSION) {
        return "expected version 1.1";
    }
    if (bytes_le32(h + 0x4c) != TYPE_DYNAMIC && bytes_le32(h + 0x4c) != TYPE_STATIC) {
        return "expected a dynamic or a static image";
    }
    if (memcmp(h + 0x1a8, none, 16) != 0 || memcmp(h + 0x1b8, none, 16) != 0) {
        return "images with a parent are not supported";
    }
    if (bytes_le32(h + 0x168) != 512 || bytes_le32(h + 0x178) != BLOCK_SIZE) {
        return "expected sectors of 512 bytes and blocks of 1 MiB";
    }
    if (vdi->table_offset < HEADER_SIZE || vdi->table_offset % 512 || vdi->data_offset % 512 ||
        !vdi->blocks || vdi->blocks > MAX_BLOCKS ||
        vdi->table_offset + (uint64_t)vdi->blocks * 4 > vdi->data_offset) {
        return "the table's place or size is not plausible";
    }
    return *size > (uint64_t)vdi->blocks * BLOCK_SIZE ? "the table is too short for the disk"
                                                      : NULL;
}

static int load_table(struct block_node *node)
{
    struct vdi *vdi = node->state;
    int err;

    vdi->table = malloc(vdi->blocks * sizeof(vdi->table[0]));
    if (!vdi->table) {
        return -ENOMEM;
    }
    err = block_pread(node->file->node, vdi->table_offset, vdi->table,
                      vdi->blocks * sizeof(vdi->table[0]));
    for (uint32_t i = 0; i < vdi->blocks && !err; i++) {
        vdi->table[i] = bytes_le32((const uint8_t *)&vdi->table[i]);
        if (vdi->table[i] < ZEROS && vdi->table[i] >= vdi->used) {
            vdi->used = vdi->table[i] + 1;
        }
    }
    if (err) {
        free(vdi->table);
    }
    return err;
}

static int vdi_open(struct block_node *node, char *error, size_t error_size)
{
    struct vdi *vdi = node->state;
    struct block_node *file = node->file->node;
    uint8_t header[HEADER_SIZE];
    const char *wrong;
    uint64_t size;
    int err = block_pread(file, 0, header, sizeof(header));

    if (err) {
        return err;
    }
    wrong = check_header(header, vdi, &size);
    if (!wrong && vdi->table_offset + (uint64_t)vdi->blocks * 4 > block_size(file)) {
        wrong = "the table lies behind the end of the file";
    }
    if (wrong) {
        snprintf(error, error_size, "vdi: %s: %s", node->filename, wrong);
        return -EINVAL;
    }
    err = load_table(node);
    if (!err) {
        cluster_map_init(&vdi->map, &vdi_ops, file, BLOCK_SIZE);
        block_set_size(node, size / 512 * 512);
    }
    return err;
}

static void vdi_close(struct block_node *node)
{
    struct vdi *vdi = node->state;

    cluster_map_destroy(&vdi->map);
    free(vdi->table);
}

static int vdi_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    struct vdi *vdi = node->state;

    return cluster_map_read(&vdi->map, node, offset, vec);
}

static int vdi_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                     unsigned flags)
{
    struct vdi *vdi = node->state;

    return flags & BLOCK_COMPRESSED ? -ENOTSUP : cluster_map_write(&vdi->map, node, offset, vec);
}

static int vdi_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    struct vdi *vdi = node->state;

    return cluster_map_zero(&vdi->map, node, offset, size);
}

static int vdi_status(struct block_node *node, uint64_t offset, uint64_t size,
                      struct block_status *status)
{
    struct vdi *vdi = node->state;
    int err = cluster_map_status(&vdi->map, node, offset, size, status);

    status->flags |= BLOCK_STATUS_ALLOCATED; /* there is no backing file */
    status->flags |= status->flags & BLOCK_STATUS_DATA ? BLOCK_STATUS_RECURSE : 0;
    return err;
}

static int vdi_info(struct block_node *node, struct block_info *info)
{
    info->cluster_size = BLOCK_SIZE;
    return 0;
}

static int vdi_check(struct block_node *node, unsigned fix, struct block_check *check)
{
    const struct vdi *vdi = node->state;
    uint8_t *seen;

    if (fix) {
        return -ENOTSUP;
    }
    seen = calloc(1, (size_t)vdi->blocks + 1); /* a quarter of what the table takes */
    if (!seen) {
        return -ENOMEM;
    }
    check->total_clusters = vdi->blocks;
    for (uint32_t i = 0; i < vdi->blocks; i++) {
        char line[100];

        if (vdi->table[i] >= ZEROS) {
            continue;
        }
        check->allocated_clusters++;
        if (vdi->table[i] >= vdi->blocks || seen[vdi->table[i]]) {
            check->corruptions++;
            snprintf(line, sizeof(line), "ERROR: block %" PRIu32 " is at place %" PRIu32 ", %s", i,
                     vdi->table[i],
                     vdi->table[i] >= vdi->blocks ? "which does not exist" : "like another");
            if (check->report) {
                check->report(check->opaque, line);
            }
        } else {
            seen[vdi->table[i]] = 1;
        }
    }
    check->image_end_offset = vdi->data_offset + (uint64_t)vdi->used * BLOCK_SIZE;
    free(seen);
    return 0;
}

/* ---- creation ---- */

struct vdi_create_options {
    bool is_static;
};

static const struct property vdi_create_properties[] = {
    PROPERTY(BOOL, "static", struct vdi_create_options, is_static,
             .help = "all blocks are there from the beginning"),
    PROPERTY_END,
};

static int make_header(uint8_t *h, uint64_t size, uint32_t blocks, uint64_t data_offset,
                       bool is_static)
{
    static const char text[] = "<<< Tinamou VM Virtual Disk Image >>>\n";
    int err;

    memset(h, 0, HEADER_SIZE);
    memcpy(h, text, sizeof(text) - 1);
    bytes_put_le32(h + 0x40, SIGNATURE);
    bytes_put_le32(h + 0x44, VERSION);
    bytes_put_le32(h + 0x48, 0x180); /* of the header, from here on */
    bytes_put_le32(h + 0x4c, is_static ? TYPE_STATIC : TYPE_DYNAMIC);
    bytes_put_le32(h + 0x154, HEADER_SIZE);
    bytes_put_le32(h + 0x158, (uint32_t)data_offset);
    bytes_put_le32(h + 0x168, 512);
    bytes_put_le64(h + 0x170, size);
    bytes_put_le32(h + 0x178, BLOCK_SIZE);
    bytes_put_le32(h + 0x180, blocks);
    bytes_put_le32(h + 0x184, is_static ? blocks : 0);
    err = crypto_random(h + 0x188, 16);
    return err ? err : crypto_random(h + 0x198, 16);
}

static int vdi_create(const struct block_create *create, const void *options, char *error,
                      size_t error_size)
{
    const struct vdi_create_options *o = options;
    uint64_t size = (create->size + 511) / 512 * 512;
    uint64_t blocks = (size + BLOCK_SIZE - 1) / BLOCK_SIZE;
    uint64_t data_offset;
    uint8_t *head;
    int err;

    if (blocks > MAX_BLOCKS || create->size > INT64_MAX) {
        snprintf(error, error_size, "vdi: size %" PRIu64 ": expected at most 64T", create->size);
        return -EFBIG;
    }
    blocks = blocks ? blocks : 1;
    data_offset = (HEADER_SIZE + blocks * 4 + 511) / 512 * 512;
    head = calloc(1, data_offset);
    err = head ? make_header(head, size, (uint32_t)blocks, data_offset, o->is_static) : -ENOMEM;
    for (uint32_t i = 0; i < blocks && !err; i++) {
        bytes_put_le32(head + HEADER_SIZE + (size_t)i * 4, o->is_static ? i : NOT_THERE);
    }
    if (!err && o->is_static) {
        err = block_truncate(create->file, data_offset + blocks * BLOCK_SIZE, true,
                             BLOCK_PREALLOC_OFF, error, error_size);
    }
    if (!err) {
        err = block_pwrite(create->file, 0, head, data_offset, 0);
    }
    free(head);
    return err;
}

const struct block_driver block_vdi = {
    .name = "vdi",
    .is_format = true,
    .state_size = sizeof(struct vdi),
    .children = vdi_children,
    .create_options = vdi_create_properties,
    .create_options_size = sizeof(struct vdi_create_options),
    .create = vdi_create,
    .probe = vdi_probe,
    .open = vdi_open,
    .close = vdi_close,
    .read = vdi_read,
    .write = vdi_write,
    .zero = vdi_zero,
    .status = vdi_status,
    .info = vdi_info,
    .check = vdi_check,
};
