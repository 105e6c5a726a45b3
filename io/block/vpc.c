/*
 * Virtual PC's images (VHD 1.0), fixed and dynamic, without parents. Numbers are big-endian.
 *
 * A fixed image is the disk, and behind it a footer of 512 bytes. A dynamic one begins with a copy
 * of the footer and a second header, then the table: for each block of 2 MiB the sector where it
 * begins, or 0xffffffff. A block is a bitmap of its sectors and the sectors; all bits are set when
 * a block is made, since it is written as a whole. The footer is always the last sector.
 *
 * Footer:  0 "conectix"   8 features   12 version   16 offset of the second header   24 time
 *          28 creator     32 its version   36 its system   40 and 48 sizes   56 geometry
 *          60 type        64 checksum   68 UUID
 * Header:  0 "cxsparse"   16 offset of the table   24 version   28 entries   32 size of a block
 *          36 checksum    40 UUID of the parent
 *
 * The size is the geometry's for the programs that go by it (as Virtual PC does), else the stated
 * one.
 */
#include "io/block/bytes.h"
#include "io/block/cluster-map.h"
#include "io/block/crypto.h"
#include "io/block/drivers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FOOTER_SIZE  512
#define HEADER_SIZE  1024
#define SECTOR       512
#define BLOCK_SIZE   (1u << 21)
#define MAX_BLOCK    (1u << 28)
#define NOT_THERE    0xffffffffu
#define MAX_SIZE     (UINT64_C(2040) << 30)
#define TYPE_FIXED   2
#define TYPE_DYNAMIC 3
#define EPOCH        946684800 /* 2000-01-01 */
#define MAX_CHS      (UINT64_C(65535) * 16 * 255)

enum { SIZE_AUTO, SIZE_CHS, SIZE_CURRENT };

struct vpc_options {
    int force_size;
};

static const char *const force_names[] = {"auto", "chs", "current_size", NULL};

static const struct property vpc_properties[] = {
    PROPERTY(ENUM, "force_size_calc", struct vpc_options, force_size, .names = force_names,
             .help = "where the size comes from"),
    PROPERTY_END,
};

struct vpc {
    struct cluster_map map;
    bool dynamic;
    uint32_t *table; /* entries are read and written atomically */
    uint32_t blocks, block_size, bitmap_size;
    uint64_t table_offset;
    uint64_t end; /* where the footer is */
    uint8_t footer[FOOTER_SIZE];
};

static const struct block_child_rule vpc_children[] = {
    {.name = "file", .role = BLOCK_ROLE_FILE, .required = true},
    {0},
};

static uint32_t checksum(const uint8_t *bytes, size_t size, size_t place)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i++) {
        sum += i >= place && i < place + 4 ? 0 : bytes[i];
    }
    return ~sum;
}

/* ---- dynamic images ---- */

static int vpc_lookup(struct block_node *node, uint64_t index, struct cluster_entry *entry)
{
    const struct vpc *vpc = node->state;
    uint32_t sector =
        index < vpc->blocks ? __atomic_load_n(&vpc->table[index], __ATOMIC_ACQUIRE) : NOT_THERE;

    entry->kind = sector == NOT_THERE ? CLUSTER_NONE : CLUSTER_DATA;
    entry->host = (uint64_t)sector * SECTOR + vpc->bitmap_size;
    return 0;
}

/* At the footer's place, which moves on before anything points to the block. */
static int vpc_allocate(struct block_node *node, uint64_t index, uint64_t *host)
{
    struct vpc *vpc = node->state;
    uint64_t next = vpc->end + vpc->bitmap_size + vpc->block_size;
    uint8_t *bitmap;
    int err;

    if (index >= vpc->blocks || vpc->end / SECTOR >= NOT_THERE) {
        return -ENOSPC;
    }
    bitmap = malloc(vpc->bitmap_size);
    if (!bitmap) {
        return -ENOMEM;
    }
    memset(bitmap, 0xff, vpc->bitmap_size);
    err = block_pwrite(node->file->node, next, vpc->footer, FOOTER_SIZE, 0);
    if (!err) {
        err = block_pwrite(node->file->node, vpc->end, bitmap, vpc->bitmap_size, 0);
    }
    free(bitmap);
    *host = vpc->end + vpc->bitmap_size;
    return err;
}

static int vpc_commit(struct block_node *node, uint64_t index, uint64_t host)
{
    struct vpc *vpc = node->state;
    uint32_t sector = (uint32_t)(vpc->end / SECTOR);
    uint8_t number[4];
    int err;

    bytes_put_be32(number, sector);
    err = block_pwrite(node->file->node, vpc->table_offset + index * 4, number, 4, 0);
    if (!err) {
        vpc->end = host + vpc->block_size;
        __atomic_store_n(&vpc->table[index], sector, __ATOMIC_RELEASE);
    }
    return err;
}

static const struct cluster_map_ops vpc_ops = {
    .lookup = vpc_lookup, .allocate = vpc_allocate, .commit = vpc_commit};

static int bad(const struct block_node *node, const char *what, char *error, size_t error_size)
{
    snprintf(error, error_size, "vpc: %s: %s", node->filename, what);
    return -EINVAL;
}

static int open_dynamic(struct block_node *node, char *error, size_t error_size)
{
    struct vpc *vpc = node->state;
    struct block_node *file = node->file->node;
    uint64_t offset = bytes_be64(vpc->footer + 16), table_end;
    uint8_t header[HEADER_SIZE];
    int err;

    if (offset > block_size(file)) {
        return bad(node, "the second header lies behind the end of the file", error, error_size);
    }
    err = block_pread(file, offset, header, sizeof(header));
    if (err) {
        return err;
    }
    vpc->table_offset = bytes_be64(header + 16);
    vpc->blocks = bytes_be32(header + 28);
    vpc->block_size = bytes_be32(header + 32);
    table_end = vpc->table_offset + (uint64_t)vpc->blocks * 4;
    if (memcmp(header, "cxsparse", 8) != 0 ||
        checksum(header, sizeof(header), 36) != bytes_be32(header + 36)) {
        return bad(node, "the second header is damaged", error, error_size);
    }
    if (vpc->block_size < SECTOR || vpc->block_size > MAX_BLOCK ||
        (vpc->block_size & (vpc->block_size - 1))) {
        return bad(node, "the size of blocks is not plausible", error, error_size);
    }
    if (vpc->table_offset > block_size(file) || table_end > block_size(file) ||
        block_size(node) > (uint64_t)vpc->blocks * vpc->block_size) {
        return bad(node, "the table's place or size is not plausible", error, error_size);
    }
    vpc->bitmap_size = (vpc->block_size / SECTOR / 8 + SECTOR - 1) / SECTOR * SECTOR;
    vpc->table = malloc((size_t)vpc->blocks * 4 + 1);
    if (!vpc->table) {
        return -ENOMEM;
    }
    err = block_pread(file, vpc->table_offset, vpc->table, (size_t)vpc->blocks * 4);
    vpc->end = (table_end + SECTOR - 1) / SECTOR * SECTOR;
    for (uint32_t i = 0; i < vpc->blocks && !err; i++) {
        vpc->table[i] = bytes_be32((const uint8_t *)&vpc->table[i]);
        uint64_t end = (uint64_t)vpc->table[i] * SECTOR + vpc->bitmap_size + vpc->block_size;

        if (vpc->table[i] != NOT_THERE && end > vpc->end) {
            vpc->end = end;
        }
    }
    if (err) {
        free(vpc->table);
    } else {
        cluster_map_init(&vpc->map, &vpc_ops, file, vpc->block_size);
    }
    return err;
}

/* ---- opening ---- */

static int vpc_probe(const uint8_t *head, size_t size, const char *filename)
{
    return size >= 8 && memcmp(head, "conectix", 8) == 0 ? 100 : 0;
}

static uint64_t disk_size(const uint8_t *footer, int force)
{
    static const char *const stated[] = {"win ", "qem2", "d2v ", "tap", "vs  ", "wa"};
    uint64_t chs = (uint64_t)(footer[56] << 8 | footer[57]) * footer[58] * footer[59];
    uint64_t size = bytes_be64(footer + 48) / SECTOR * SECTOR;

    for (unsigned i = 0; i < sizeof(stated) / sizeof(stated[0]); i++) {
        if (force == SIZE_AUTO && strncmp((const char *)footer + 28, stated[i], 4) == 0) {
            return size;
        }
    }
    return force == SIZE_CURRENT || (force == SIZE_AUTO && chs == MAX_CHS) ? size : chs * SECTOR;
}

static int read_footer(struct block_node *node, char *error, size_t error_size)
{
    struct vpc *vpc = node->state;
    struct block_node *file = node->file->node;
    uint64_t size = block_size(file);
    int err = block_pread(file, 0, vpc->footer, FOOTER_SIZE);

    if (!err && memcmp(vpc->footer, "conectix", 8) != 0 && size >= FOOTER_SIZE) {
        err = block_pread(file, size - FOOTER_SIZE, vpc->footer, FOOTER_SIZE);
    }
    if (err) {
        return err;
    }
    if (memcmp(vpc->footer, "conectix", 8) != 0) {
        return bad(node, "this is no VHD image", error, error_size);
    }
    return checksum(vpc->footer, FOOTER_SIZE, 64) == bytes_be32(vpc->footer + 64)
               ? 0
               : bad(node, "the footer is damaged", error, error_size);
}

static int vpc_open(struct block_node *node, char *error, size_t error_size)
{
    const struct vpc_options *options = node->options;
    struct vpc *vpc = node->state;
    uint32_t type;
    int err = read_footer(node, error, error_size);

    if (err) {
        return err;
    }
    type = bytes_be32(vpc->footer + 60);
    block_set_size(node, disk_size(vpc->footer, options->force_size));
    if (block_size(node) > UINT64_C(0x1fffffffe00)) {
        return bad(node, "expected at most 2 TiB", error, error_size);
    }
    if (type == TYPE_DYNAMIC) {
        vpc->dynamic = true;
        return open_dynamic(node, error, error_size);
    }
    if (type != TYPE_FIXED) {
        return bad(node, "expected a fixed or a dynamic image", error, error_size);
    }
    return block_size(node) > block_size(node->file->node)
               ? bad(node, "the disk is larger than the file", error, error_size)
               : 0;
}

static void vpc_close(struct block_node *node)
{
    struct vpc *vpc = node->state;

    if (vpc->dynamic) {
        cluster_map_destroy(&vpc->map);
        free(vpc->table);
    }
}

/* ---- requests ---- */

static int vpc_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    struct vpc *vpc = node->state;

    return vpc->dynamic ? cluster_map_read(&vpc->map, node, offset, vec)
                        : block_read(node->file->node, offset, vec);
}

static int vpc_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                     unsigned flags)
{
    struct vpc *vpc = node->state;

    if (flags & BLOCK_COMPRESSED) {
        return -ENOTSUP;
    }
    return vpc->dynamic ? cluster_map_write(&vpc->map, node, offset, vec)
                        : block_write(node->file->node, offset, vec, 0);
}

static int vpc_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    struct vpc *vpc = node->state;

    return vpc->dynamic ? cluster_map_zero(&vpc->map, node, offset, size)
                        : block_zero(node->file->node, offset, size, flags & ~BLOCK_FUA);
}

static int vpc_status(struct block_node *node, uint64_t offset, uint64_t size,
                      struct block_status *status)
{
    struct vpc *vpc = node->state;
    int err = 0;

    if (vpc->dynamic) {
        err = cluster_map_status(&vpc->map, node, offset, size, status);
        status->flags |= BLOCK_STATUS_ALLOCATED; /* there is no backing file */
    } else {
        *status = (struct block_status){.size = size,
                                        .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED |
                                                 BLOCK_STATUS_OFFSET | BLOCK_STATUS_RECURSE,
                                        .host = offset,
                                        .file = node->file->node};
    }
    return err;
}

static int vpc_info(struct block_node *node, struct block_info *info)
{
    const struct vpc *vpc = node->state;

    info->cluster_size = vpc->dynamic ? vpc->block_size : 0;
    return 0;
}

/* ---- creation ---- */

struct vpc_create_options {
    int subformat;
    bool force_size;
};

static const char *const subformat_names[] = {"dynamic", "fixed", NULL};

static const struct property vpc_create_properties[] = {
    PROPERTY(ENUM, "subformat", struct vpc_create_options, subformat, .names = subformat_names,
             .help = "dynamic or fixed"),
    PROPERTY(BOOL, "force_size", struct vpc_create_options, force_size,
             .help = "exactly the size, not the next one that a geometry has"),
    PROPERTY_END,
};

struct geometry {
    uint32_t cylinders, heads, sectors;
};

/* "Virtual Hard Disk Image Format Specification", appendix: CHS calculation. */
static struct geometry geometry_of(uint64_t total)
{
    struct geometry g;
    uint64_t tracks;

    total = total < MAX_CHS ? total : MAX_CHS;
    if (total >= UINT64_C(65535) * 16 * 63) {
        g.sectors = 255;
        g.heads = 16;
        tracks = total / g.sectors;
    } else {
        g.sectors = 17;
        tracks = total / g.sectors;
        g.heads = (uint32_t)((tracks + 1023) / 1024);
        g.heads = g.heads < 4 ? 4 : g.heads;
        if (tracks >= g.heads * 1024 || g.heads > 16) {
            g.sectors = 31;
            g.heads = 16;
            tracks = total / g.sectors;
        }
        if (tracks >= g.heads * 1024) {
            g.sectors = 63;
            g.heads = 16;
            tracks = total / g.sectors;
        }
    }
    g.cylinders = (uint32_t)(tracks / g.heads);
    return g;
}

/* The smallest geometry that holds so many sectors. */
static struct geometry geometry_for(uint64_t sectors)
{
    struct geometry g = geometry_of(sectors);

    for (uint64_t more = sectors;
         (uint64_t)g.cylinders * g.heads * g.sectors < sectors && more < MAX_CHS;) {
        g = geometry_of(++more);
    }
    return g;
}

static int make_footer(uint8_t *f, uint64_t size, struct geometry g, bool dynamic, bool forced)
{
    int err;

    memset(f, 0, FOOTER_SIZE);
    bytes_put_text(f, "conectix", 8);
    bytes_put_be32(f + 8, 2);
    bytes_put_be32(f + 12, 0x00010000);
    bytes_put_be64(f + 16, dynamic ? FOOTER_SIZE : UINT64_MAX);
    bytes_put_be32(f + 24, (uint32_t)(time(NULL) - EPOCH));
    bytes_put_text(f + 28, forced ? "qem2" : "qemu",
                   4); /* by which everybody knows how to read the size */
    bytes_put_be16(f + 32, 5);
    bytes_put_be16(f + 34, 3);
    bytes_put_text(f + 36, "Wi2k", 4);
    bytes_put_be64(f + 40, size);
    bytes_put_be64(f + 48, size);
    bytes_put_be16(f + 56, (uint16_t)g.cylinders);
    f[58] = (uint8_t)g.heads;
    f[59] = (uint8_t)g.sectors;
    bytes_put_be32(f + 60, dynamic ? TYPE_DYNAMIC : TYPE_FIXED);
    err = crypto_random(f + 68, 16);
    bytes_put_be32(f + 64, checksum(f, FOOTER_SIZE, 64));
    return err;
}

static int create_dynamic(struct block_node *file, const uint8_t *footer, uint64_t size)
{
    uint32_t blocks = (uint32_t)((size + BLOCK_SIZE - 1) / BLOCK_SIZE);
    size_t table_size = ((size_t)blocks * 4 + SECTOR - 1) / SECTOR * SECTOR;
    size_t total = FOOTER_SIZE + HEADER_SIZE + table_size + FOOTER_SIZE;
    uint8_t *image = calloc(1, total), *header = image + FOOTER_SIZE;
    int err;

    if (!image) {
        return -ENOMEM;
    }
    memcpy(image, footer, FOOTER_SIZE);
    bytes_put_text(header, "cxsparse", 8);
    bytes_put_be64(header + 8, UINT64_MAX);
    bytes_put_be64(header + 16, FOOTER_SIZE + HEADER_SIZE);
    bytes_put_be32(header + 24, 0x00010000);
    bytes_put_be32(header + 28, blocks);
    bytes_put_be32(header + 32, BLOCK_SIZE);
    bytes_put_be32(header + 36, checksum(header, HEADER_SIZE, 36));
    memset(header + HEADER_SIZE, 0xff, table_size);
    memcpy(image + total - FOOTER_SIZE, footer, FOOTER_SIZE);
    err = block_pwrite(file, 0, image, total, 0);
    free(image);
    return err;
}

static int vpc_create(const struct block_create *create, const void *options, char *error,
                      size_t error_size)
{
    const struct vpc_create_options *o = options;
    uint64_t sectors = create->size / SECTOR + (create->size % SECTOR != 0), size;
    uint8_t footer[FOOTER_SIZE];
    struct geometry g;
    int err;

    if (create->size > MAX_SIZE) {
        snprintf(error, error_size, "vpc: size %" PRIu64 ": expected at most 2040G", create->size);
        return -EFBIG;
    }
    g = o->force_size ? geometry_of(MAX_CHS) : geometry_for(sectors);
    size = (uint64_t)g.cylinders * g.heads * g.sectors;
    if (o->force_size || size < sectors) {
        size = sectors;
    }
    size *= SECTOR;
    err = make_footer(footer, size, g, o->subformat == 0, o->force_size);
    if (!err && o->subformat == 0) {
        err = create_dynamic(create->file, footer, size);
    } else if (!err) {
        err = block_truncate(create->file, size + FOOTER_SIZE, true, BLOCK_PREALLOC_OFF, error,
                             error_size);
        err = err ? err : block_pwrite(create->file, size, footer, FOOTER_SIZE, 0);
    }
    return err;
}

const struct block_driver block_vpc = {
    .name = "vpc",
    .is_format = true,
    .options = vpc_properties,
    .options_size = sizeof(struct vpc_options),
    .state_size = sizeof(struct vpc),
    .children = vpc_children,
    .create_options = vpc_create_properties,
    .create_options_size = sizeof(struct vpc_create_options),
    .create = vpc_create,
    .probe = vpc_probe,
    .open = vpc_open,
    .close = vpc_close,
    .read = vpc_read,
    .write = vpc_write,
    .zero = vpc_zero,
    .status = vpc_status,
    .info = vpc_info,
};
