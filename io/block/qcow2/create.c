/*
 * New images.
 *
 * The empty image is laid out by hand: header, reference count table and blocks, L1 table, each
 * contiguous; the header is written last. Everything after that (encryption header,
 * preallocation) goes the ordinary way, on the image that is there.
 */
#include "io/block/qcow2/qcow2.h"

#include "io/block/crypto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const qcow2_compat_names[] = {"0.10", "v2", "1.1", "v3", NULL};
const char *const qcow2_compression_names[] = {"zlib", "zstd", NULL};
static const char *const encrypt_names[] = {"", "aes", "luks", NULL};

#define OPTION(type, name, field, ...) \
    PROPERTY(type, name, struct qcow2_create_options, field, __VA_ARGS__)

const struct property qcow2_create_properties[] = {
    OPTION(ENUM, "compat", compat, .runtime = true, .names = qcow2_compat_names,
           .number = QCOW2_COMPAT_V3, .help = "compatibility level (v2 [0.10] or v3 [1.1])"),
    OPTION(SIZE, "cluster_size", cluster_size, .number = 65536, .min = 512, .max = 2u << 20,
           .help = "qcow2 cluster size"),
    OPTION(BOOL, "lazy_refcounts", lazy_refcounts, .runtime = true,
           .help = "postpone refcount updates"),
    OPTION(U64, "refcount_bits", refcount_bits, .runtime = true, .number = 16, .min = 1, .max = 64,
           .help = "width of a reference count entry in bits"),
    OPTION(ENUM, "compression_type", compression, .names = qcow2_compression_names,
           .help = "compression method used for image cluster compression"),
    OPTION(ENUM, "preallocation", preallocation, .names = block_preallocation_names,
           .help = "preallocation mode"),
    OPTION(BOOL, "extended_l2", extended_l2, .help = "extended L2 tables"),
    OPTION(STRING, "data_file", data_file, .runtime = true,
           .help = "file name of an external data file"),
    OPTION(BOOL, "data_file_raw", data_file_raw, .runtime = true,
           .help = "the external data file must stay valid as a raw image"),
    OPTION(BOOL, "encryption", encryption, .help = "encrypt the image with AES; not supported"),
    OPTION(ENUM, "encrypt.format", encrypt_format, .names = encrypt_names,
           .help = "encrypt the image: luks"),
    OPTION(STRING, "encrypt.key-secret", key_secret,
           .help = "id of the secret with the passphrase"),
    OPTION(ENUM, "encrypt.cipher-alg", cipher_alg, .names = crypto_cipher_names,
           .number = CRYPTO_AES_256, .help = "name of encryption cipher algorithm"),
    OPTION(ENUM, "encrypt.cipher-mode", cipher_mode, .names = crypto_mode_names,
           .number = CRYPTO_XTS, .help = "name of encryption cipher mode"),
    OPTION(ENUM, "encrypt.ivgen-alg", ivgen_alg, .names = crypto_ivgen_names,
           .number = CRYPTO_PLAIN64, .help = "name of IV generator algorithm"),
    OPTION(ENUM, "encrypt.ivgen-hash-alg", ivgen_hash_alg, .names = crypto_hash_names,
           .number = CRYPTO_SHA256, .help = "name of IV generator hash algorithm"),
    OPTION(ENUM, "encrypt.hash-alg", hash_alg, .names = crypto_hash_names, .number = CRYPTO_SHA256,
           .help = "name of encryption hash algorithm"),
    OPTION(U64, "encrypt.iter-time", iter_time, .help = "milliseconds to spend in PBKDF"),
    PROPERTY_END,
};

static int refuse(char *error, size_t error_size, const char *text)
{
    snprintf(error, error_size, "qcow2: %s", text);
    return -EINVAL;
}

static uint64_t div_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* ---- what is asked for ----------------------------------------------------------------------- */

static int check_options(const struct block_create *create, const struct qcow2_create_options *o,
                         char *error, size_t error_size)
{
    bool v2 = o->compat < QCOW2_COMPAT_V3;

    if (o->cluster_size & (o->cluster_size - 1)) {
        return refuse(error, error_size, "cluster_size: expected a power of two from 512 to 2M");
    }
    if (o->refcount_bits & (o->refcount_bits - 1)) {
        return refuse(error, error_size, "refcount_bits: expected a power of two up to 64");
    }
    if (v2 && (o->lazy_refcounts || o->refcount_bits != 16 || o->extended_l2 || o->compression ||
               o->data_file || o->data_file_raw || create->data)) {
        return refuse(error, error_size,
                      "lazy_refcounts, refcount_bits, extended_l2, compression_type and data_file "
                      "need compat=1.1 (or greater)");
    }
    if (o->extended_l2 && o->cluster_size < 1u << QCOW2_MIN_EXTL2_CLUSTER_BITS) {
        return refuse(error, error_size, "extended_l2: expected cluster_size of at least 16384");
    }
    if (o->data_file_raw && !o->data_file) {
        return refuse(error, error_size, "data_file_raw: expected data_file with it");
    }
    if (o->data_file && !create->data) {
        return refuse(error, error_size, "data_file: the file is not open");
    }
    if (create->backing_filename && o->data_file_raw) {
        return refuse(error, error_size, "Backing file and data_file_raw cannot be used together");
    }
    if (create->backing_filename && strlen(create->backing_filename) > QCOW2_MAX_BACKING_NAME) {
        return refuse(error, error_size, "backing file name: expected at most 1023 bytes");
    }
    if (create->backing_filename && o->preallocation && !o->extended_l2) {
        return refuse(error, error_size,
                      "Backing file and preallocation can only be used together with extended_l2");
    }
    if (o->encryption || o->encrypt_format == QCOW2_CRYPT_AES) {
        return refuse(error, error_size,
                      "encrypt.format: expected luks; new AES images are unsafe");
    }
    if (create->size > INT64_MAX || create->size % 512) {
        return refuse(error, error_size, "size: expected a multiple of 512 below 8 EiB");
    }
    return 0;
}

static int fill_header(struct qcow2_header *h, const struct block_create *create,
                       const struct qcow2_create_options *o)
{
    *h = (struct qcow2_header){
        .version = o->compat < QCOW2_COMPAT_V3 ? 2 : 3,
        .cluster_bits = (unsigned)__builtin_ctzll(o->cluster_size),
        .size = create->size,
        .refcount_order = (unsigned)__builtin_ctzll(o->refcount_bits),
        .compression = (uint32_t)o->compression,
        .compatible = o->lazy_refcounts ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0,
        .autoclear = o->data_file_raw ? QCOW2_AUTOCLEAR_DATA_RAW : 0,
    };
    h->incompatible = (create->data ? QCOW2_INCOMPAT_DATA_FILE : 0) |
                      (o->compression ? QCOW2_INCOMPAT_COMPRESSION : 0) |
                      (o->extended_l2 ? QCOW2_INCOMPAT_EXTL2 : 0);
    if (create->backing_filename) {
        h->backing = strdup(create->backing_filename);
        h->backing_format = create->backing_format ? strdup(create->backing_format) : NULL;
        if (!h->backing || (create->backing_format && !h->backing_format)) {
            return -ENOMEM;
        }
    }
    if (o->data_file) {
        h->data_file = strdup(o->data_file);
        return h->data_file ? 0 : -ENOMEM;
    }
    return 0;
}

/* ---- the empty image ------------------------------------------------------------------------- */

/* Where the parts go, in clusters. */
struct layout {
    uint64_t table, blocks, l1, total;
};

static void lay_out(const struct qcow2_header *h, struct layout *to)
{
    uint64_t cluster = UINT64_C(1) << h->cluster_bits;
    uint64_t per_block = UINT64_C(1) << (h->cluster_bits + 3 - h->refcount_order);
    uint64_t before;

    *to = (struct layout){.table = 1, .blocks = 1, .l1 = div_up((uint64_t)h->l1_size * 8, cluster)};
    do {
        before = to->total;
        to->total = 1 + to->table + to->blocks + to->l1;
        to->blocks = div_up(to->total, per_block);
        to->table = div_up(to->blocks * 8, cluster);
    } while (before != to->total);
}

static int write_empty(struct block_node *file, struct qcow2_header *h)
{
    uint64_t cluster = UINT64_C(1) << h->cluster_bits;
    uint64_t per_block = UINT64_C(1) << (h->cluster_bits + 3 - h->refcount_order);
    struct layout to;
    uint8_t *buffer;
    int err = 0;

    lay_out(h, &to);
    buffer = calloc((size_t)qcow2_max(to.table, 1), cluster);
    if (!buffer) {
        return -ENOMEM;
    }
    h->reftable_offset = cluster;
    h->reftable_clusters = (uint32_t)to.table;
    h->l1_offset = (1 + to.table + to.blocks) * cluster;
    for (uint64_t i = 0; err == 0 && i < to.blocks; i++) {
        uint64_t n = qcow2_min(per_block, to.total - i * per_block);

        memset(buffer, 0, cluster);
        for (uint64_t j = 0; j < n; j++) {
            qcow2_count_set(buffer, j, h->refcount_order, 1);
        }
        err = block_pwrite(file, (1 + to.table + i) * cluster, buffer, cluster, 0);
    }
    memset(buffer, 0, cluster);
    for (uint64_t i = 0; i < to.blocks; i++) {
        bytes_put_be64(buffer + i * 8, (1 + to.table + i) * cluster);
    }
    if (err == 0) {
        err = block_pwrite(file, cluster, buffer, to.table * cluster, 0);
    }
    memset(buffer, 0, cluster);
    for (uint64_t i = 0; err == 0 && i < to.l1; i++) {
        err = block_pwrite(file, h->l1_offset + i * cluster, buffer, cluster, 0);
    }
    if (err == 0) {
        err = block_flush(file);
    }
    if (err == 0) {
        err = qcow2_header_write(h, NULL, buffer);
    }
    if (err == 0) {
        err = block_pwrite(file, 0, buffer, cluster, 0);
    }
    free(buffer);
    return err == 0 ? block_flush(file) : err;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static int finish(const struct block_create *create, const struct qcow2_create_options *o,
                  char *error, size_t error_size)
{
    enum block_preallocation mode = (enum block_preallocation)o->preallocation;
    struct qcow2 *q;
    int err = 0, closed;

    if (o->data_file_raw && mode == BLOCK_PREALLOC_OFF) {
        mode = BLOCK_PREALLOC_METADATA;
    }
    if (create->data) {
        err = block_truncate(create->data, create->size, false,
                             mode == BLOCK_PREALLOC_METADATA ? BLOCK_PREALLOC_OFF : mode, error,
                             error_size);
        if (err != 0) {
            return err;
        }
    }
    if (mode == BLOCK_PREALLOC_OFF && !o->encrypt_format) {
        return 0;
    }
    q = qcow2_new(create->file, create->data, error, error_size);
    if (!q) {
        return -EIO;
    }
    if (o->encrypt_format) {
        err = qcow2_crypto_create(q, o, error, error_size);
    }
    if (err == 0 && mode != BLOCK_PREALLOC_OFF) {
        err = qcow2_preallocate(q, 0, create->size, mode);
    }
    if (err == 0 && !q->external && mode != BLOCK_PREALLOC_OFF &&
        block_size(q->file) < q->zero_from) {
        err = block_truncate(q->file, q->zero_from, false, BLOCK_PREALLOC_OFF, error, error_size);
    }
    closed = qcow2_delete(q);
    return err != 0 ? err : closed;
}

int qcow2_create(const struct block_create *create, const void *options, char *error,
                 size_t error_size)
{
    const struct qcow2_create_options *o = options;
    struct qcow2_header header;
    uint64_t entries;
    int err = check_options(create, o, error, error_size);

    if (err != 0) {
        return err;
    }
    err = fill_header(&header, create, o);
    entries = qcow2_header_l1_entries(header.size, header.cluster_bits, o->extended_l2);
    header.l1_size = (uint32_t)qcow2_max(entries, 1);
    error[0] = 0;
    if (err == 0 && entries * 8 > QCOW2_MAX_L1_BYTES) {
        snprintf(error, error_size, "qcow2: size: too large for clusters of %" PRIu64 " bytes",
                 o->cluster_size);
        err = -EFBIG;
    }
    if (err == 0) {
        err = write_empty(create->file, &header);
    }
    qcow2_header_free(&header);
    if (err == 0) {
        err = finish(create, o, error, error_size);
    }
    if (err != 0 && !error[0]) {
        snprintf(error, error_size, "qcow2: can't create the image: %s", strerror(-err));
    }
    return err;
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* Reference count table and blocks for so many clusters and themselves. */
static uint64_t counts_size(uint64_t clusters, unsigned cluster_bits, unsigned refcount_order)
{
    uint64_t cluster = UINT64_C(1) << cluster_bits;
    uint64_t per_block = UINT64_C(1) << (cluster_bits + 3 - refcount_order);
    uint64_t blocks = 0, table = 0, total = 0, before;

    do {
        before = total;
        blocks = div_up(clusters + table + blocks, per_block);
        table = div_up(blocks, cluster / 8);
        total = clusters + blocks + table;
    } while (total != before);
    return (blocks + table) << cluster_bits;
}

uint64_t qcow2_full_size(uint64_t size, unsigned cluster_bits, unsigned refcount_order,
                         bool extended)
{
    uint64_t cluster = UINT64_C(1) << cluster_bits, entry = extended ? 16 : 8;
    uint64_t data = div_up(size, cluster);
    uint64_t l2 = div_up(data, cluster / entry);
    uint64_t l1 = div_up(l2, cluster / 8);
    uint64_t meta = 1 + l2 + l1;

    return ((meta + data) << cluster_bits) + counts_size(meta + data, cluster_bits, refcount_order);
}

/* Bytes in clusters that hold something. */
static int measure_data(struct block_node *from, uint64_t size, uint64_t cluster, uint64_t *bytes)
{
    uint64_t last = UINT64_MAX;

    *bytes = 0;
    for (uint64_t at = 0; at < size;) {
        struct block_status status;
        int err = block_status_above(from, NULL, at, size - at, &status);

        if (err != 0) {
            return err;
        }
        if (status.size == 0) {
            break;
        }
        if ((status.flags & BLOCK_STATUS_DATA) && !(status.flags & BLOCK_STATUS_ZERO)) {
            uint64_t first = at / cluster, end = div_up(at + status.size, cluster);

            first += last != UINT64_MAX && first == last;
            *bytes += end > first ? (end - first) * cluster : 0;
            last = end - 1;
        }
        at += status.size;
    }
    return 0;
}

/* What the bitmaps of a qcow2 image take when they are copied, each wholly allocated. */
static int measure_bitmaps(struct block_node *from, uint64_t cluster, struct block_measure *measure)
{
    const struct qcow2 *q = from->state;
    struct block_bitmap_info *list = NULL;
    uint64_t directory = 0;
    int count;

    if (from->driver->measure != qcow2_measure || q->header.version < 3) {
        return 0;
    }
    count = qcow2_bitmap_list(from, &list);
    if (count < 0) {
        return count;
    }
    measure->has_bitmaps = true;
    for (int i = 0; i < count; i++) {
        uint64_t bits = div_up(block_size(from), list[i].granularity);
        uint64_t clusters = div_up(div_up(bits, 8), cluster);

        measure->bitmaps += (clusters + div_up(clusters * 8, cluster)) * cluster;
        directory += (24 + strlen(list[i].name) + 7) & ~UINT64_C(7);
    }
    measure->bitmaps += div_up(directory, cluster) * cluster;
    free(list);
    return 0;
}

int qcow2_measure(uint64_t size, struct block_node *from, const void *options,
                  struct block_measure *measure, char *error, size_t error_size)
{
    const struct qcow2_create_options *o = options;
    struct block_create create = {.size = from ? block_size(from) : size};
    unsigned bits = (unsigned)__builtin_ctzll(o->cluster_size);
    unsigned order = (unsigned)__builtin_ctzll(o->refcount_bits);
    uint64_t aligned, data = 0, luks = 0;
    int err = 0;

    create.size = (create.size + 511) & ~UINT64_C(511);
    if (o->data_file) {
        create.data = from; /* only its presence is looked at */
    }
    err = check_options(&create, o, error, error_size);
    if (err != 0) {
        return err;
    }
    if (o->encrypt_format) {
        err = qcow2_crypto_measure(o, &luks, error, error_size);
    }
    aligned = div_up(create.size, o->cluster_size) << bits;
    if (err == 0 && from) {
        err = measure_bitmaps(from, o->cluster_size, measure);
    }
    if (err == 0 && from && !o->data_file) {
        err = measure_data(from, create.size, o->cluster_size, &data);
    }
    if (err != 0) {
        return err;
    }
    if (o->preallocation >= BLOCK_PREALLOC_FALLOC) {
        data = aligned;
    }
    measure->fully_allocated = qcow2_full_size(create.size, bits, order, o->extended_l2) +
                               div_up(luks, o->cluster_size) * o->cluster_size;
    if (o->data_file) {
        measure->fully_allocated -= aligned;
        aligned = data = 0;
    }
    measure->required = measure->fully_allocated - aligned + data;
    return 0;
}
