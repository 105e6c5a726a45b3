/*
 * Parsing and writing of the header.
 *
 * A parser of hostile bytes: every length is compared with what is left before it is used, and
 * nothing here allocates more than the header cluster's size. Extensions that are known become
 * fields; the others are kept in their order and written back.
 */
#include "io/block/qcow2/header.h"

#include "io/block/bytes.h"
#include "util/bits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXT_END            0u
#define EXT_BACKING_FORMAT 0xe2792acau
#define EXT_FEATURES       0x6803f857u
#define EXT_BITMAPS        0x23852875u
#define EXT_CRYPTO         0x0537be77u
#define EXT_DATA_FILE      0x44415441u

#define FEATURE_ENTRY 48u
#define SECTOR        512u /* what a disk writes wholly or not at all */

/* The feature name table that new headers carry (Feature name table). */
static const struct {
    uint8_t type, bit;
    const char *name;
} features[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};

static int refuse(char *error, size_t error_size, int err, const char *text)
{
    snprintf(error, error_size, "qcow2: %s", text);
    return err;
}

uint64_t qcow2_header_l1_entries(uint64_t size, unsigned cluster_bits, bool extended)
{
    unsigned shift = 2 * cluster_bits - (extended ? 4 : 3);

    return (size >> shift) + ((size & bits_mask(shift)) != 0);
}

size_t qcow2_header_bytes(const uint8_t *head)
{
    uint32_t bits = bytes_be32(head + 20);

    if (bytes_be32(head) != QCOW2_MAGIC || bits < QCOW2_MIN_CLUSTER_BITS ||
        bits > QCOW2_MAX_CLUSTER_BITS) {
        return 0;
    }
    return (size_t)1 << bits;
}

/* A copy of n bytes as a string. */
static char *text_of(const uint8_t *bytes, size_t n)
{
    char *text = malloc(n + 1);

    if (text) {
        memcpy(text, bytes, n);
        text[n] = 0;
    }
    return text;
}

static int set_text(char **text, const uint8_t *bytes, uint32_t n)
{
    free(*text);
    *text = text_of(bytes, n);
    return *text ? 0 : -ENOMEM;
}

static int keep_unknown(struct qcow2_header *h, uint32_t type, const uint8_t *data, uint32_t size)
{
    struct qcow2_unknown **end = &h->unknown;
    struct qcow2_unknown *ext = calloc(1, sizeof(*ext));

    if (!ext) {
        return -ENOMEM;
    }
    ext->type = type;
    ext->size = size;
    ext->data = malloc(size + 1);
    if (!ext->data) {
        free(ext);
        return -ENOMEM;
    }
    memcpy(ext->data, data, size);
    while (*end) {
        end = &(*end)->next;
    }
    *end = ext;
    return 0;
}

static int parse_bitmaps(struct qcow2_header *h, const uint8_t *data, uint32_t size, char *error,
                         size_t error_size)
{
    if (size != 24) {
        return refuse(error, error_size, -EINVAL, "bitmaps extension has a wrong length");
    }
    if (!(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        return 0; /* written by who does not know it: inconsistent, forgotten */
    }
    h->bitmap_count = bytes_be32(data);
    h->bitmap_dir_size = bytes_be64(data + 8);
    h->bitmap_dir_offset = bytes_be64(data + 16);
    if (bytes_be32(data + 4) != 0 || h->bitmap_count == 0 || h->bitmap_count > QCOW2_MAX_BITMAPS ||
        (h->bitmap_dir_offset & bits_mask(h->cluster_bits)) || h->bitmap_dir_offset == 0 ||
        h->bitmap_dir_offset >> 56 || h->bitmap_dir_size == 0 ||
        h->bitmap_dir_size > QCOW2_MAX_BITMAP_DIR_BYTES) {
        return refuse(error, error_size, -EINVAL, "bitmaps extension is invalid");
    }
    h->has_bitmaps = true;
    return 0;
}

static int parse_crypto(struct qcow2_header *h, const uint8_t *data, uint32_t size, char *error,
                        size_t error_size)
{
    if (size != 16 || h->crypt != QCOW2_CRYPT_LUKS) {
        return refuse(error, error_size, -EINVAL, "encryption header pointer is invalid");
    }
    h->luks_offset = bytes_be64(data);
    h->luks_size = bytes_be64(data + 8);
    if ((h->luks_offset & bits_mask(h->cluster_bits)) || h->luks_offset == 0 ||
        h->luks_offset >> 56 || h->luks_size > (UINT64_C(1) << 30)) {
        return refuse(error, error_size, -EINVAL, "encryption header pointer is invalid");
    }
    return 0;
}

static int parse_extension(struct qcow2_header *h, uint32_t type, const uint8_t *data,
                           uint32_t size, char *error, size_t error_size)
{
    switch (type) {
    case EXT_BACKING_FORMAT:
        return set_text(&h->backing_format, data, size);
    case EXT_DATA_FILE:
        return set_text(&h->data_file, data, size);
    case EXT_BITMAPS:
        return parse_bitmaps(h, data, size, error, error_size);
    case EXT_CRYPTO:
        return parse_crypto(h, data, size, error, error_size);
    case EXT_FEATURES:
        return 0; /* written anew each time */
    default:
        return keep_unknown(h, type, data, size);
    }
}

/* Names the unknown incompatible features; the table, if there is one, is in `table`. */
static void name_unknown(uint64_t unknown, const uint8_t *table, uint32_t size, char *error,
                         size_t error_size)
{
    int used = snprintf(error, error_size, "qcow2: unsupported feature(s):");

    for (uint32_t at = 0; at + FEATURE_ENTRY <= size; at += FEATURE_ENTRY) {
        if (table[at] == 0 && table[at + 1] < 64 && bits_test(unknown, table[at + 1])) {
            unknown &= ~(UINT64_C(1) << table[at + 1]);
            if (used > 0 && (size_t)used < error_size) {
                used += snprintf(error + used, error_size - (size_t)used, " %.46s",
                                 (const char *)table + at + 2);
            }
        }
    }
    if (unknown && used > 0 && (size_t)used < error_size) {
        snprintf(error + used, error_size - (size_t)used, " incompatible feature bits %#" PRIx64,
                 unknown);
    }
}

/* Walks the extensions in bytes[at, end). */
static int parse_extensions(struct qcow2_header *h, const uint8_t *bytes, size_t at, size_t end,
                            char *error, size_t error_size)
{
    uint64_t unknown = h->incompatible & ~(uint64_t)QCOW2_INCOMPAT_KNOWN;
    const uint8_t *table = NULL;
    uint32_t table_size = 0;
    int err = 0;

    while (err == 0 && end - at >= 8) {
        uint32_t type = bytes_be32(bytes + at), size = bytes_be32(bytes + at + 4);

        if (type == EXT_END) {
            break;
        }
        at += 8;
        if (size > end - at) {
            return refuse(error, error_size, -EINVAL, "header extension is too large");
        }
        if (type == EXT_FEATURES) {
            table = bytes + at;
            table_size = size;
        }
        if (!unknown) {
            err = parse_extension(h, type, bytes + at, size, error, error_size);
        }
        size = size + 7u < size ? size : (size + 7u) & ~7u;
        at = size > end - at ? end : at + size;
    }
    if (err == 0 && unknown) {
        name_unknown(unknown, table, table_size, error, error_size);
        return -ENOTSUP;
    }
    if (err == -ENOMEM) {
        refuse(error, error_size, err, "out of memory");
    }
    return err;
}

static int check_fields(const struct qcow2_header *h, char *error, size_t error_size)
{
    uint64_t within = bits_mask(h->cluster_bits);
    bool extended = (h->incompatible & QCOW2_INCOMPAT_EXTL2) != 0;

    if (h->refcount_order > 6) {
        return refuse(error, error_size, -EINVAL, "reference count entry is wider than 64 bits");
    }
    if (extended && h->cluster_bits < QCOW2_MIN_EXTL2_CLUSTER_BITS) {
        return refuse(error, error_size, -EINVAL,
                      "extended L2 entries need clusters of at least 16 KiB");
    }
    if (h->size > INT64_MAX) {
        return refuse(error, error_size, -EFBIG, "virtual size is too large");
    }
    if ((uint64_t)h->l1_size * 8 > QCOW2_MAX_L1_BYTES) {
        return refuse(error, error_size, -EFBIG, "active L1 table is too large");
    }
    if (h->l1_size < qcow2_header_l1_entries(h->size, h->cluster_bits, extended)) {
        return refuse(error, error_size, -EINVAL, "L1 table is too small");
    }
    if ((h->l1_offset & within) || h->l1_offset >> 56) {
        return refuse(error, error_size, -EINVAL, "active L1 table offset is invalid");
    }
    if ((h->reftable_offset & within) || h->reftable_offset >> 56) {
        return refuse(error, error_size, -EINVAL, "reference count table offset is invalid");
    }
    if ((uint64_t)h->reftable_clusters << h->cluster_bits > QCOW2_MAX_REFTABLE_BYTES) {
        return refuse(error, error_size, -EFBIG, "reference count table is too large");
    }
    if (h->snapshot_count > QCOW2_MAX_SNAPSHOTS ||
        (h->snapshot_count && ((h->snapshots_offset & within) || h->snapshots_offset >> 56 ||
                               h->snapshots_offset == 0))) {
        return refuse(error, error_size, -EINVAL, "snapshot table is invalid");
    }
    if (h->crypt > QCOW2_CRYPT_LUKS) {
        return refuse(error, error_size, -EINVAL, "encryption method is not supported");
    }
    if (h->compression > QCOW2_ZSTD ||
        !(h->incompatible & QCOW2_INCOMPAT_COMPRESSION) != !h->compression) {
        return refuse(error, error_size, -EINVAL,
                      h->compression > QCOW2_ZSTD
                          ? "compression type is not supported"
                          : "compression type does not fit its feature bit");
    }
    if ((h->autoclear & QCOW2_AUTOCLEAR_DATA_RAW) &&
        !(h->incompatible & QCOW2_INCOMPAT_DATA_FILE)) {
        return refuse(error, error_size, -EINVAL, "data_file_raw without a data file");
    }
    return 0;
}

static int parse_v3(struct qcow2_header *h, const uint8_t *b, size_t size, char *error,
                    size_t error_size)
{
    h->incompatible = bytes_be64(b + 72);
    h->compatible = bytes_be64(b + 80);
    h->autoclear = bytes_be64(b + 88);
    h->refcount_order = bytes_be32(b + 96);
    h->header_length = bytes_be32(b + 100);
    if (h->header_length < QCOW2_HEADER_SIZE_V3 || h->header_length > size ||
        h->header_length % 8) {
        return refuse(error, error_size, -EINVAL, "header length is invalid");
    }
    if (h->header_length > QCOW2_HEADER_SIZE_V3) {
        h->compression = b[104];
    }
    if (h->header_length > QCOW2_HEADER_SIZE_NOW) {
        h->tail_size = h->header_length - QCOW2_HEADER_SIZE_NOW;
        h->tail = malloc(h->tail_size);
        if (!h->tail) {
            return refuse(error, error_size, -ENOMEM, "out of memory");
        }
        memcpy(h->tail, b + QCOW2_HEADER_SIZE_NOW, h->tail_size);
    }
    return 0;
}

static int parse_all(struct qcow2_header *h, const uint8_t *b, size_t size, char *error,
                     size_t error_size)
{
    uint64_t backing_offset = bytes_be64(b + 8);
    uint32_t backing_size = bytes_be32(b + 16);
    int err;

    h->version = bytes_be32(b + 4);
    h->cluster_bits = bytes_be32(b + 20);
    h->size = bytes_be64(b + 24);
    h->crypt = bytes_be32(b + 32);
    h->l1_size = bytes_be32(b + 36);
    h->l1_offset = bytes_be64(b + 40);
    h->reftable_offset = bytes_be64(b + 48);
    h->reftable_clusters = bytes_be32(b + 56);
    h->snapshot_count = bytes_be32(b + 60);
    h->snapshots_offset = bytes_be64(b + 64);
    h->refcount_order = 4;
    h->header_length = QCOW2_HEADER_SIZE_V2;
    if (h->version < 2 || h->version > 3) {
        return refuse(error, error_size, -ENOTSUP, "version is neither 2 nor 3");
    }
    err = h->version == 3 ? parse_v3(h, b, size, error, error_size) : 0;
    if (err == 0 && backing_offset &&
        (backing_size == 0 || backing_size > QCOW2_MAX_BACKING_NAME ||
         backing_offset < h->header_length || backing_offset > size ||
         backing_size > size - backing_offset)) {
        return refuse(error, error_size, -EINVAL, "backing file name is invalid");
    }
    if (err == 0) {
        err = parse_extensions(h, b, h->header_length, backing_offset ? backing_offset : size,
                               error, error_size);
    }
    if (err == 0) {
        err = check_fields(h, error, error_size);
    }
    if (err == 0 && h->crypt == QCOW2_CRYPT_LUKS && h->luks_offset == 0) {
        return refuse(error, error_size, -EINVAL, "encryption header is missing");
    }
    if (err == 0 && backing_offset) {
        h->backing = text_of(b + backing_offset, backing_size);
        if (!h->backing) {
            return refuse(error, error_size, -ENOMEM, "out of memory");
        }
    }
    return err;
}

int qcow2_header_parse(struct qcow2_header *header, const uint8_t *bytes, size_t size, char *error,
                       size_t error_size)
{
    size_t need = size < QCOW2_HEADER_SIZE_V2 ? 0 : qcow2_header_bytes(bytes);
    int err;

    memset(header, 0, sizeof(*header));
    if (size < QCOW2_HEADER_SIZE_V2 || bytes_be32(bytes) != QCOW2_MAGIC) {
        return refuse(error, error_size, -EINVAL, "image is not in qcow2 format");
    }
    if (need == 0 || size < need) {
        return refuse(error, error_size, -EINVAL, "cluster size is not supported");
    }
    err = parse_all(header, bytes, need, error, error_size);
    if (err != 0) {
        qcow2_header_free(header);
    }
    return err;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct writer {
    uint8_t *at;
    size_t left;
    bool full;
};

static void put_extension(struct writer *w, uint32_t type, const void *data, uint32_t size)
{
    size_t padded = ((size_t)size + 7) & ~(size_t)7;

    if (w->full || padded + 8 > w->left) {
        w->full = true;
        return;
    }
    bytes_put_be32(w->at, type);
    bytes_put_be32(w->at + 4, size);
    if (size) {
        memcpy(w->at + 8, data, size);
    }
    w->at += padded + 8;
    w->left -= padded + 8;
}

/* As many names as there is room for; they are only for messages. */
static void put_features(struct writer *w, size_t room)
{
    uint8_t table[BITS_ARRAY_SIZE(features) * FEATURE_ENTRY] = {0};
    size_t n = room < 8 ? 0 : (room - 8) / FEATURE_ENTRY;

    n = n < BITS_ARRAY_SIZE(features) ? n : BITS_ARRAY_SIZE(features);
    for (size_t i = 0; i < n; i++) {
        uint8_t *entry = table + i * FEATURE_ENTRY;

        entry[0] = features[i].type;
        entry[1] = features[i].bit;
        memcpy(entry + 2, features[i].name, strlen(features[i].name));
    }
    if (n) {
        put_extension(w, EXT_FEATURES, table, (uint32_t)(n * FEATURE_ENTRY));
    }
}

/* Bytes of what comes behind the feature names. */
static size_t rest_bytes(const struct qcow2_header *h)
{
    size_t bytes = 8 + (h->has_bitmaps ? 32 : 0);

    for (const struct qcow2_unknown *ext = h->unknown; ext; ext = ext->next) {
        bytes += 8 + (((size_t)ext->size + 7) & ~(size_t)7);
    }
    return bytes;
}

static void put_extensions(struct writer *w, const struct qcow2_header *h, uint8_t *b)
{
    size_t rest = rest_bytes(h), room;
    uint8_t data[24] = {0};

    if (h->backing_format) {
        put_extension(w, EXT_BACKING_FORMAT, h->backing_format,
                      (uint32_t)strlen(h->backing_format));
    }
    if (h->data_file && (h->incompatible & QCOW2_INCOMPAT_DATA_FILE)) {
        put_extension(w, EXT_DATA_FILE, h->data_file, (uint32_t)strlen(h->data_file));
    }
    if (h->luks_offset) {
        bytes_put_be64(data, h->luks_offset);
        bytes_put_be64(data + 8, h->luks_size);
        put_extension(w, EXT_CRYPTO, data, 16);
    }
    if (h->version >= 3 && h->cluster_bits > QCOW2_MIN_CLUSTER_BITS) {
        room = (size_t)(w->at - b) + rest;
        put_features(w, room < SECTOR ? SECTOR - room : 0);
    }
    if (h->has_bitmaps) {
        bytes_put_be32(data, h->bitmap_count);
        bytes_put_be32(data + 4, 0);
        bytes_put_be64(data + 8, h->bitmap_dir_size);
        bytes_put_be64(data + 16, h->bitmap_dir_offset);
        put_extension(w, EXT_BITMAPS, data, 24);
    }
    for (const struct qcow2_unknown *ext = h->unknown; ext; ext = ext->next) {
        put_extension(w, ext->type, ext->data, ext->size);
    }
    put_extension(w, EXT_END, NULL, 0);
}

/* Where the backing name of a header ends, or its extensions if there is none. */
static size_t used_end(const uint8_t *b, size_t size)
{
    uint64_t name = bytes_be64(b + 8), name_end = name + bytes_be32(b + 16);
    size_t at = bytes_be32(b + 4) >= 3 ? bytes_be32(b + 100) : QCOW2_HEADER_SIZE_V2;

    while (at + 8 <= size && bytes_be32(b + at) != EXT_END) {
        at += 8 + (size_t)(((uint64_t)bytes_be32(b + at + 4) + 7) & ~UINT64_C(7));
    }
    at += 8;
    at = name && name_end > at ? (size_t)name_end : at;
    return at < size ? at : size;
}

/*
 * Places the backing name behind `end`. In the first sector it is written together with what
 * points to it. Elsewhere it must not lie on what the header on the medium has, unless it is that.
 */
static size_t place_name(const struct qcow2_header *h, const uint8_t *old, size_t end)
{
    size_t size = strlen(h->backing), cluster_size = (size_t)1 << h->cluster_bits, at;
    uint64_t there = old ? bytes_be64(old + 8) : 0;

    if (end + size <= SECTOR) {
        return end;
    }
    if (there >= end && there >= SECTOR && there + size <= cluster_size &&
        bytes_be32(old + 16) == size && memcmp(old + there, h->backing, size) == 0) {
        return (size_t)there;
    }
    at = old ? (used_end(old, cluster_size) + SECTOR - 1) & ~(size_t)(SECTOR - 1) : SECTOR;
    at = at < end ? end : at < SECTOR ? SECTOR : at;
    if (at + size > cluster_size) {
        at = there >= SECTOR + size && end <= SECTOR ? SECTOR : end;
    }
    return at;
}

int qcow2_header_write(const struct qcow2_header *h, const uint8_t *old, uint8_t *b)
{
    size_t cluster_size = (size_t)1 << h->cluster_bits;
    size_t length = h->version >= 3 ? QCOW2_HEADER_SIZE_NOW + h->tail_size : QCOW2_HEADER_SIZE_V2;
    size_t backing_size = h->backing ? strlen(h->backing) : 0, end, name;
    struct writer w;

    memset(b, 0, cluster_size);
    if (length > cluster_size) {
        return -ENOSPC;
    }
    bytes_put_be32(b, QCOW2_MAGIC);
    bytes_put_be32(b + 4, h->version);
    bytes_put_be32(b + 20, h->cluster_bits);
    bytes_put_be64(b + 24, h->size);
    bytes_put_be32(b + 32, h->crypt);
    bytes_put_be32(b + 36, h->l1_size);
    bytes_put_be64(b + 40, h->l1_offset);
    bytes_put_be64(b + 48, h->reftable_offset);
    bytes_put_be32(b + 56, h->reftable_clusters);
    bytes_put_be32(b + 60, h->snapshot_count);
    bytes_put_be64(b + 64, h->snapshots_offset);
    if (h->version >= 3) {
        bytes_put_be64(b + 72, h->incompatible);
        bytes_put_be64(b + 80, h->compatible);
        bytes_put_be64(b + 88, h->autoclear);
        bytes_put_be32(b + 96, h->refcount_order);
        bytes_put_be32(b + 100, (uint32_t)length);
        b[104] = (uint8_t)h->compression;
        if (h->tail_size) {
            memcpy(b + QCOW2_HEADER_SIZE_NOW, h->tail, h->tail_size);
        }
    }
    w = (struct writer){.at = b + length, .left = cluster_size - length};
    put_extensions(&w, h, b);
    end = (size_t)(w.at - b);
    if (w.full || end + backing_size > cluster_size) {
        return -ENOSPC;
    }
    if (old && end <= SECTOR && cluster_size > SECTOR) {
        memcpy(b + SECTOR, old + SECTOR, cluster_size - SECTOR);
    }
    if (backing_size) {
        name = place_name(h, old, end);
        bytes_put_be64(b + 8, name);
        bytes_put_be32(b + 16, (uint32_t)backing_size);
        memcpy(b + name, h->backing, backing_size);
    }
    return 0;
}

void qcow2_header_free(struct qcow2_header *header)
{
    while (header->unknown) {
        struct qcow2_unknown *ext = header->unknown;

        header->unknown = ext->next;
        free(ext->data);
        free(ext);
    }
    free(header->tail);
    free(header->backing);
    free(header->backing_format);
    free(header->data_file);
    memset(header, 0, sizeof(*header));
}
