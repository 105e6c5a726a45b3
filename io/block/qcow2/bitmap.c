/*
 * Persistent dirty bitmaps ("Bitmaps").
 *
 * The bitmaps themselves live above: this stores and loads them. Nothing of them is kept in memory;
 * each operation reads the directory. A change writes everything new to new clusters, then the
 * header, then frees the old: at any moment the header points to a whole directory.
 */
#include "io/block/qcow2/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_SIZE           24u
#define FLAG_IN_USE          1u
#define FLAG_AUTO            2u
#define FLAG_EXTRA_OK        4u
#define TYPE_DIRTY           1u
#define ALL_ONES             UINT64_C(1)
#define TABLE_RESERVED       UINT64_C(0xff000000000001fe)
#define MAX_NAME             1023u
#define MIN_GRANULARITY_BITS 9u
#define MAX_GRANULARITY_BITS 31u
#define MAX_BITMAP_BYTES     (UINT64_C(1) << 29) /* of one bitmap; QEMU's limit */
#define MAX_TABLE_BYTES      (UINT64_C(1) << 27)

/* The directory as it is in the image. */
struct directory {
    uint8_t *bytes;
    size_t size;
    uint32_t count;
};

/* One entry of it. */
struct entry {
    size_t at, size; /* in the directory */
    uint64_t table_offset;
    uint32_t table_size, flags, extra_size;
    unsigned granularity_bits, type;
    char name[MAX_NAME + 1];
};

static int read_directory(struct qcow2 *q, struct directory *dir)
{
    int err = 0;

    *dir = (struct directory){.size = q->header.has_bitmaps ? q->header.bitmap_dir_size : 0,
                              .count = q->header.has_bitmaps ? q->header.bitmap_count : 0};
    dir->bytes = calloc(1, dir->size + 1);
    if (!dir->bytes) {
        return -ENOMEM;
    }
    if (dir->size) {
        err = qcow2_pread(q, q->header.bitmap_dir_offset, dir->bytes, dir->size);
    }
    if (err != 0) {
        free(dir->bytes);
    }
    return err;
}

/* The entry at `at`; false: the directory ends, or is not valid (*err). */
static bool next_entry(const struct qcow2 *q, const struct directory *dir, size_t at,
                       struct entry *e, int *err)
{
    const uint8_t *b = dir->bytes + at;
    uint32_t name_size;
    uint64_t size;

    *err = 0;
    if (at == dir->size) {
        return false;
    }
    *err = -EINVAL;
    if (dir->size - at < ENTRY_SIZE) {
        return false;
    }
    *e = (struct entry){
        .at = at,
        .table_offset = bytes_be64(b),
        .table_size = bytes_be32(b + 8),
        .flags = bytes_be32(b + 12),
        .type = b[16],
        .granularity_bits = b[17],
        .extra_size = bytes_be32(b + 20),
    };
    name_size = bytes_be16(b + 18);
    size = ((uint64_t)ENTRY_SIZE + e->extra_size + name_size + 7) & ~UINT64_C(7);
    if (size > dir->size - at || name_size == 0 || name_size > MAX_NAME ||
        qcow2_within(q, e->table_offset) || e->table_offset >> 56 ||
        (uint64_t)e->table_size * 8 > MAX_TABLE_BYTES || e->granularity_bits > 63) {
        return false;
    }
    e->size = size;
    memcpy(e->name, b + ENTRY_SIZE + e->extra_size, name_size);
    *err = 0;
    return true;
}

/* -ENOENT, or what is wrong with the directory. */
static int find_entry(const struct qcow2 *q, const struct directory *dir, const char *name,
                      struct entry *e)
{
    size_t at = 0;
    int err;

    while (next_entry(q, dir, at, e, &err)) {
        if (strcmp(e->name, name) == 0) {
            return 0;
        }
        at += e->size;
    }
    return err != 0 ? err : -ENOENT;
}

/* Can this program use it? Others are kept as they are. */
static bool usable(const struct entry *e)
{
    return e->type == TYPE_DIRTY && (e->extra_size == 0 || (e->flags & FLAG_EXTRA_OK)) &&
           e->granularity_bits >= MIN_GRANULARITY_BITS &&
           e->granularity_bits <= MAX_GRANULARITY_BITS;
}

static uint64_t bytes_of(const struct qcow2 *q, unsigned granularity_bits)
{
    uint64_t bits = q->header.size >> granularity_bits;

    bits += (q->header.size & ((UINT64_C(1) << granularity_bits) - 1)) != 0;
    return (bits + 7) / 8;
}

static void describe(const struct qcow2 *q, const struct entry *e, struct block_bitmap_info *info)
{
    *info = (struct block_bitmap_info){
        .granularity = 1u << e->granularity_bits,
        .autoload = (e->flags & FLAG_AUTO) != 0,
        .in_use = (e->flags & FLAG_IN_USE) != 0,
        .bytes = bytes_of(q, e->granularity_bits),
    };
    snprintf(info->name, sizeof(info->name), "%s", e->name);
}

int qcow2_bitmap_list(struct block_node *node, struct block_bitmap_info **list)
{
    struct qcow2 *q = node->state;
    struct directory dir;
    struct entry e;
    size_t at = 0;
    int count = 0, err = read_directory(q, &dir);

    if (err != 0) {
        return err;
    }
    *list = calloc(dir.count + 1u, sizeof(**list));
    if (!*list) {
        err = -ENOMEM;
    }
    while (err == 0 && (uint32_t)count < dir.count && next_entry(q, &dir, at, &e, &err)) {
        if (usable(&e)) {
            describe(q, &e, &(*list)[count++]);
        }
        at += e.size;
    }
    free(dir.bytes);
    if (err != 0) {
        free(*list);
        *list = NULL;
        return err;
    }
    return count;
}

/* ---- loading --------------------------------------------------------------------------------- */

static int load_bits(struct qcow2 *q, const struct entry *e, uint8_t *bits, uint64_t bytes)
{
    uint64_t *table = NULL;
    int err;

    err = qcow2_l1_read(q, e->table_offset, e->table_size, &table);
    for (uint32_t i = 0; err == 0 && i < e->table_size; i++) {
        uint64_t at = (uint64_t)i << q->cluster_bits, offset = table[i] & QCOW2_OFFSET_MASK;
        uint64_t n = qcow2_min(bytes - at, q->cluster_size);

        if ((table[i] & TABLE_RESERVED) || qcow2_within(q, offset) || (offset && (table[i] & 1))) {
            err = -EINVAL;
        } else if (offset) {
            err = qcow2_pread(q, offset, bits + at, n);
        } else {
            memset(bits + at, table[i] & ALL_ONES ? 0xff : 0, n);
        }
    }
    free(table);
    return err;
}

/* Says on the medium that the bitmap is not up to date any more. */
static int set_in_use(struct qcow2 *q, struct directory *dir, const struct entry *e)
{
    uint8_t *flags = dir->bytes + e->at + 12;
    int err;

    bytes_put_be32(flags, e->flags | FLAG_IN_USE);
    err = qcow2_pwrite(q, QCOW2_OL_BITMAPS, q->header.bitmap_dir_offset + e->at + 12, flags, 4);
    return err == 0 ? block_flush(q->file) : err;
}

int qcow2_bitmap_load(struct block_node *node, const char *name, struct block_bitmap_info *info,
                      uint8_t **bits)
{
    struct qcow2 *q = node->state;
    struct directory dir;
    struct entry e;
    int err = read_directory(q, &dir);

    if (err != 0) {
        return err;
    }
    *bits = NULL;
    err = find_entry(q, &dir, name, &e);
    if (err == 0 && !usable(&e)) {
        err = -ENOTSUP;
    }
    if (err == 0) {
        describe(q, &e, info);
        /* A table of another size is of a disk of another size. */
        err = info->bytes > MAX_BITMAP_BYTES                   ? -EFBIG
              : e.table_size != qcow2_clusters(q, info->bytes) ? -EINVAL
                                                               : 0;
    }
    if (err == 0) {
        *bits = calloc(1, info->bytes + 1);
        err = *bits ? load_bits(q, &e, *bits, info->bytes) : -ENOMEM;
    }
    if (err == 0 && q->writable && !(e.flags & FLAG_IN_USE)) {
        err = set_in_use(q, &dir, &e);
    }
    if (err != 0) {
        free(*bits);
        *bits = NULL;
    }
    free(dir.bytes);
    return err;
}

/* ---- storing --------------------------------------------------------------------------------- */

/* The clusters of a bitmap that was written, for giving them back. */
struct stored {
    uint64_t table_offset;
    uint32_t table_size;
    uint64_t *table;
};

static void free_stored(struct qcow2 *q, struct stored *s, bool never_used)
{
    for (uint32_t i = 0; s->table && i < s->table_size; i++) {
        uint64_t offset = s->table[i] & QCOW2_OFFSET_MASK;

        if (offset && !qcow2_within(q, offset) && never_used) {
            qcow2_unalloc(q, offset, q->cluster_size);
        } else if (offset && !qcow2_within(q, offset)) {
            pthread_mutex_lock(&q->lock);
            qcow2_free_later(q, offset, q->cluster_size, QCOW2_FREE_OTHER);
            pthread_mutex_unlock(&q->lock);
        }
    }
    if (s->table_offset && never_used) {
        qcow2_unalloc(q, s->table_offset, (uint64_t)s->table_size * 8);
    } else if (s->table_offset) {
        pthread_mutex_lock(&q->lock);
        qcow2_free_later(q, s->table_offset, (uint64_t)s->table_size * 8, QCOW2_FREE_OTHER);
        pthread_mutex_unlock(&q->lock);
    }
    free(s->table);
    *s = (struct stored){0};
}

/* Are all bytes like the first one? */
static bool uniform(const uint8_t *bytes, uint64_t n)
{
    return n == 0 || memcmp(bytes, bytes + 1, n - 1) == 0;
}

static int write_cluster(struct qcow2 *q, const uint8_t *bits, uint64_t n, uint64_t *entry)
{
    uint8_t *cluster;
    int err;

    *entry = 0;
    if (uniform(bits, n) && (bits[0] == 0 || (bits[0] == 0xff && n == q->cluster_size))) {
        *entry = bits[0] ? ALL_ONES : 0;
        return 0;
    }
    cluster = calloc(1, q->cluster_size);
    if (!cluster) {
        return -ENOMEM;
    }
    memcpy(cluster, bits, n);
    err = qcow2_alloc_bytes(q, q->cluster_size, entry);
    if (err == 0) {
        err = qcow2_pwrite(q, 0, *entry, cluster, q->cluster_size);
    }
    free(cluster);
    return err;
}

/* Writes bits and their table to new clusters. */
static int write_bits(struct qcow2 *q, const uint8_t *bits, uint64_t bytes, struct stored *s)
{
    uint8_t *table;
    int err;

    *s = (struct stored){.table_size = (uint32_t)qcow2_clusters(q, bytes)};
    s->table = calloc(s->table_size + 1u, 8);
    table = calloc(s->table_size + 1u, 8);
    err = s->table && table ? 0 : -ENOMEM;
    for (uint32_t i = 0; err == 0 && i < s->table_size; i++) {
        uint64_t at = (uint64_t)i << q->cluster_bits;

        err = write_cluster(q, bits + at, qcow2_min(bytes - at, q->cluster_size), &s->table[i]);
        bytes_put_be64(table + (size_t)i * 8, s->table[i]);
    }
    if (err == 0 && s->table_size) {
        err = qcow2_alloc_bytes(q, (uint64_t)s->table_size * 8, &s->table_offset);
        if (err == 0) {
            err = qcow2_pwrite(q, 0, s->table_offset, table, (size_t)s->table_size * 8);
        }
    }
    free(table);
    if (err != 0) {
        free_stored(q, s, true);
    }
    return err;
}

/* Makes `dir` the directory; the old one goes. */
static int switch_directory(struct qcow2 *q, const struct directory *dir)
{
    uint64_t old_offset = q->header.bitmap_dir_offset, old_size = q->header.bitmap_dir_size;
    struct qcow2_header old = q->header;
    uint64_t offset = 0;
    int err = 0;

    if (dir->count) {
        err = qcow2_alloc_bytes(q, dir->size, &offset);
        if (err == 0) {
            err = qcow2_pwrite(q, 0, offset, dir->bytes, dir->size);
        }
    }
    if (err == 0) {
        err = qcow2_sync(q);
    }
    if (err == 0) {
        q->header.has_bitmaps = dir->count != 0;
        q->header.bitmap_count = dir->count;
        q->header.bitmap_dir_size = dir->size;
        q->header.bitmap_dir_offset = offset;
        q->header.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS;
        q->header.autoclear |= dir->count ? QCOW2_AUTOCLEAR_BITMAPS : 0;
        err = qcow2_store_header(q);
    }
    if (err != 0) {
        q->header.has_bitmaps = old.has_bitmaps;
        q->header.bitmap_count = old.bitmap_count;
        q->header.bitmap_dir_size = old.bitmap_dir_size;
        q->header.bitmap_dir_offset = old.bitmap_dir_offset;
        q->header.autoclear = old.autoclear;
        if (offset) {
            qcow2_unalloc(q, offset, dir->size);
        }
        return err;
    }
    pthread_mutex_lock(&q->lock);
    if (old.has_bitmaps) {
        qcow2_owners_remove(q, old_offset, old_size, QCOW2_OL_BITMAPS);
        qcow2_free_later(q, old_offset, old_size, QCOW2_FREE_OTHER);
    }
    if (dir->count) {
        err = qcow2_owners_add(q, offset, dir->size, QCOW2_OL_BITMAPS);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

/* Takes an entry out of the directory, and remembers its clusters. */
static int cut_entry(struct qcow2 *q, struct directory *dir, const struct entry *e,
                     struct stored *old)
{
    *old = (struct stored){.table_offset = e->table_offset, .table_size = e->table_size};
    if (e->table_size) {
        int err = qcow2_l1_read(q, e->table_offset, e->table_size, &old->table);

        if (err != 0) {
            return err;
        }
    }
    memmove(dir->bytes + e->at, dir->bytes + e->at + e->size, dir->size - e->at - e->size);
    dir->size -= e->size;
    dir->count--;
    return 0;
}

static int append_entry(struct directory *dir, const struct block_bitmap_info *info,
                        const struct stored *s)
{
    size_t name = strlen(info->name), size = (ENTRY_SIZE + name + 7) & ~(size_t)7;
    uint8_t *more, *b;

    if (dir->count >= QCOW2_MAX_BITMAPS || dir->size + size > QCOW2_MAX_BITMAP_DIR_BYTES) {
        return -EFBIG;
    }
    more = realloc(dir->bytes, dir->size + size);
    if (!more) {
        return -ENOMEM;
    }
    dir->bytes = more;
    b = more + dir->size;
    memset(b, 0, size);
    bytes_put_be64(b, s->table_offset);
    bytes_put_be32(b + 8, s->table_size);
    bytes_put_be32(b + 12, (info->in_use ? FLAG_IN_USE : 0) | (info->autoload ? FLAG_AUTO : 0));
    b[16] = TYPE_DIRTY;
    b[17] = (uint8_t)__builtin_ctz(info->granularity);
    bytes_put_be16(b + 18, (uint16_t)name);
    memcpy(b + ENTRY_SIZE, info->name, name);
    dir->size += size;
    dir->count++;
    return 0;
}

static int check_info(struct qcow2 *q, const struct block_bitmap_info *info, char *error,
                      size_t error_size)
{
    size_t name = strnlen(info->name, sizeof(info->name));

    if (q->header.version < 3) {
        snprintf(error, error_size, "qcow2: bitmap '%.200s': expected an image of version 3",
                 info->name);
        return -ENOTSUP;
    }
    if (!q->writable || name == 0 || name > MAX_NAME || info->granularity < 512 ||
        (info->granularity & (info->granularity - 1)) ||
        info->bytes != bytes_of(q, (unsigned)__builtin_ctz(info->granularity)) ||
        info->bytes > MAX_BITMAP_BYTES) {
        snprintf(error, error_size, "qcow2: bitmap '%.200s': can't be stored in this image",
                 info->name);
        return q->writable ? -EINVAL : -EPERM;
    }
    return 0;
}

static int change_directory(struct qcow2 *q, const char *name, const struct block_bitmap_info *info,
                            const uint8_t *bits)
{
    struct stored old = {0}, new = {0};
    struct directory dir;
    struct entry e;
    int err = qcow2_settle(q);

    if (err == 0) {
        err = read_directory(q, &dir);
    }
    if (err != 0) {
        return err;
    }
    err = find_entry(q, &dir, name, &e);
    if (err == 0) {
        err = cut_entry(q, &dir, &e, &old);
    } else if (err == -ENOENT && info) {
        err = 0;
    }
    if (err == 0 && info) {
        err = write_bits(q, bits, info->bytes, &new);
    }
    if (err == 0 && info) {
        err = append_entry(&dir, info, &new);
    }
    if (err == 0) {
        err = switch_directory(q, &dir);
    }
    if (err == 0) {
        free_stored(q, &old, false);
        free(new.table);
    } else {
        free_stored(q, &new, true);
        free(old.table);
    }
    free(dir.bytes);
    if (err == 0) {
        (void)qcow2_sync_all(q); /* the header is on the medium; the rest may come later */
    }
    return err;
}

int qcow2_bitmap_store(struct block_node *node, const struct block_bitmap_info *info,
                       const uint8_t *bits, char *error, size_t error_size)
{
    struct qcow2 *q = node->state;
    int err = check_info(q, info, error, error_size);

    if (err == 0) {
        err = change_directory(q, info->name, info, bits);
        if (err != 0) {
            snprintf(error, error_size, "qcow2: bitmap '%.200s': can't be stored: %s", info->name,
                     strerror(-err));
        }
    }
    return err;
}

int qcow2_bitmap_remove(struct block_node *node, const char *name, char *error, size_t error_size)
{
    struct qcow2 *q = node->state;
    int err = q->writable ? change_directory(q, name, NULL, NULL) : -EPERM;

    if (err != 0) {
        snprintf(error, error_size, "qcow2: bitmap '%.200s': can't be removed: %s", name,
                 strerror(-err));
    }
    return err;
}

int qcow2_bitmaps_walk(struct qcow2 *q,
                       int (*fn)(void *opaque, uint64_t offset, uint64_t size, bool table),
                       void *opaque)
{
    struct directory dir;
    struct entry e;
    size_t at = 0;
    uint32_t seen = 0;
    int err = q->header.has_bitmaps ? read_directory(q, &dir) : -ENOENT;

    if (err != 0) {
        return err == -ENOENT ? 0 : err;
    }
    err = fn(opaque, q->header.bitmap_dir_offset, dir.size, true);
    while (err == 0 && next_entry(q, &dir, at, &e, &err)) {
        uint64_t *table = NULL;

        seen++;
        err = e.table_size ? fn(opaque, e.table_offset, (uint64_t)e.table_size * 8, true) : 0;
        if (err == 0) {
            err = qcow2_l1_read(q, e.table_offset, e.table_size, &table);
        }
        for (uint32_t i = 0; err == 0 && i < e.table_size; i++) {
            if (table[i] & QCOW2_OFFSET_MASK) {
                err = fn(opaque, table[i] & QCOW2_OFFSET_MASK, q->cluster_size, false);
            }
        }
        free(table);
        at += e.size;
    }
    free(dir.bytes);
    return err == 0 && seen != q->header.bitmap_count ? -EINVAL : err;
}
