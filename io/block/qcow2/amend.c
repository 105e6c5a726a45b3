/*
 * Changing options of an image that exists.
 *
 * Version 3 to 2 needs all zero clusters to become something that version 2 can say: nothing, where
 * nothing shines through, or clusters of zeros. In tables that snapshots share an entry stands for
 * several references, so a cluster that takes its place is counted as often as its table.
 */
#include "io/block/qcow2/qcow2.h"
#include "io/block/luks-header.h"
#include "util/bits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What was asked for; `has` says which of the creation options. */
struct wish {
    struct qcow2_create_options to;
    uint32_t has;
    char *backing_file, *backing_format;
    bool has_backing_file, has_backing_format, has_size, has_luks;
    uint64_t size;
    struct luks_amend luks;
    char error[300]; /* what note() found wrong */
};

struct progress {
    void (*fn)(void *opaque, uint64_t done, uint64_t total);
    void *opaque;
};

static bool has(const struct wish *wish, const char *name)
{
    for (unsigned i = 0; qcow2_create_properties[i].name; i++) {
        if (strcmp(qcow2_create_properties[i].name, name) == 0) {
            return wish->has >> i & 1;
        }
    }
    return false;
}

static void set_text(struct wish *wish, char **to, bool *is_there, const char *value)
{
    free(*to);
    *to = strdup(value);
    *is_there = true;
    if (!*to) {
        snprintf(wish->error, sizeof(wish->error), "qcow2: out of memory");
    }
}

/* Of key slots; those of creation have the rest of encrypt.*, and iter-time, too. */
static bool is_of_slots(const char *name)
{
    return property_find(luks_amend_properties, name) != NULL;
}

/* Sees every name of the list first. */
static bool note(void *opaque, const char *name, const char *value)
{
    struct wish *wish = opaque;

    if (strcmp(name, "backing_file") == 0) {
        set_text(wish, &wish->backing_file, &wish->has_backing_file, value);
        return true;
    }
    if (strcmp(name, "backing_fmt") == 0) {
        set_text(wish, &wish->backing_format, &wish->has_backing_format, value);
        return true;
    }
    if (strcmp(name, "size") == 0) {
        const struct property size[] = {
            PROPERTY(SIZE, "size", struct wish, size, .help = "virtual disk size"), PROPERTY_END};

        (void)property_set(size, wish, "qcow2", name, value, wish->error, sizeof(wish->error));
        wish->has_size = true;
        return true;
    }
    if (strncmp(name, "encrypt.", 8) == 0 && is_of_slots(name + 8)) {
        (void)property_set(luks_amend_properties, &wish->luks, "qcow2: encrypt", name + 8, value,
                           wish->error, sizeof(wish->error));
        wish->has_luks = true;
        return true;
    }
    for (unsigned i = 0; qcow2_create_properties[i].name; i++) {
        if (strcmp(qcow2_create_properties[i].name, name) == 0) {
            wish->has |= 1u << i;
        }
    }
    return false;
}

/* ---- without zero clusters ------------------------------------------------------------------- */

/* Writes zeros over a host cluster. */
static int write_zeros(struct qcow2 *q, uint64_t host)
{
    return block_zero(q->file, host, q->cluster_size, 0);
}

/* Makes a zero entry at `at` sayable in version 2. `uses`: references to its table. */
static int expand_entry(struct qcow2 *q, uint8_t *at, uint64_t uses, bool shines)
{
    uint64_t raw = bytes_be64(at), host = raw & QCOW2_OFFSET_MASK, count = 0;
    int err = 0;

    if (host) {
        err = qcow2_refcount(q, qcow2_cluster_of(q, host), &count);
    }
    if (err == 0 && host && count == uses && shines) {
        err = write_zeros(q, host);
        bytes_put_be64(at, raw & ~QCOW2_ZERO);
        return err;
    }
    for (uint64_t i = 0; err == 0 && host && i < uses; i++) {
        err = qcow2_free_list_add(&q->ready, qcow2_cluster_of(q, host), 1, QCOW2_FREE_OTHER);
    }
    if (err != 0 || !shines) {
        bytes_put_be64(at, 0);
        return err;
    }
    err = qcow2_alloc_exact(q, 1, &host);
    for (uint64_t i = 1; err == 0 && i < uses; i++) {
        err = qcow2_refcount_add(q, qcow2_cluster_of(q, host), 1, 1);
    }
    if (err == 0) {
        err = write_zeros(q, host);
        bytes_put_be64(at, host | (uses == 1 ? QCOW2_COPIED : 0));
    }
    return err;
}

/* alloc_lock held. */
static int expand_table(struct qcow2 *q, uint64_t offset, bool shines)
{
    uint64_t uses;
    uint8_t *table = malloc(q->cluster_size);
    bool changed = false;
    int err = table ? qcow2_refcount(q, qcow2_cluster_of(q, offset), &uses) : -ENOMEM;

    if (err == 0) {
        err = qcow2_pread(q, offset, table, q->cluster_size);
    }
    for (size_t at = 0; err == 0 && at < q->cluster_size; at += 8) {
        uint64_t raw = bytes_be64(table + at);

        if (!(raw & QCOW2_COMPRESSED) && (raw & QCOW2_ZERO)) {
            err = expand_entry(q, table + at, uses, shines);
            changed = true;
        }
    }
    if (err == 0 && changed) {
        qcow2_sync_begin(q);
        err = qcow2_sync_counts(q);
        qcow2_sync_end(q);
        if (err == 0) {
            err = qcow2_barrier(q);
        }
        pthread_mutex_lock(&q->lock);
        qcow2_cache_forget(&q->l2_cache, offset, q->cluster_size);
        pthread_mutex_unlock(&q->lock);
        if (err == 0) {
            err = qcow2_pwrite(q, QCOW2_OL_ACTIVE_L2, offset, table, q->cluster_size);
        }
        if (err == 0) {
            err = block_flush(q->file);
        }
        if (err == 0) {
            err = qcow2_release_ready(q);
        }
    }
    free(table);
    return err;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int add_tables(uint64_t **list, size_t *count, const uint64_t *l1, uint32_t n)
{
    uint64_t *more = realloc(*list, (*count + n + 1) * sizeof(**list));

    if (!more) {
        return -ENOMEM;
    }
    *list = more;
    for (uint32_t i = 0; i < n; i++) {
        if (l1[i] & QCOW2_OFFSET_MASK) {
            more[(*count)++] = l1[i] & QCOW2_OFFSET_MASK;
        }
    }
    return 0;
}

/* Every L2 table, once. */
static int all_tables(struct qcow2 *q, uint64_t **list, size_t *count)
{
    int err = add_tables(list, count, q->l1.entries, q->l1.count);

    for (unsigned i = 0; err == 0 && i < q->snapshot_count; i++) {
        uint64_t *l1 = NULL;

        err = qcow2_l1_read(q, q->snapshots[i].l1_offset, q->snapshots[i].l1_size, &l1);
        if (err == 0) {
            err = add_tables(list, count, l1, q->snapshots[i].l1_size);
        }
        free(l1);
    }
    if (err == 0 && *count) {
        qsort(*list, *count, sizeof(**list), by_value);
    }
    return err;
}

static int expand_zeros(struct qcow2 *q, const struct progress *progress)
{
    uint64_t *tables = NULL;
    size_t count = 0;
    int err = all_tables(q, &tables, &count);

    pthread_mutex_lock(&q->alloc_lock);
    for (size_t i = 0; err == 0 && i < count; i++) {
        if (i == 0 || tables[i] != tables[i - 1]) {
            err = qcow2_within(q, tables[i])
                      ? -EIO
                      : expand_table(q, tables[i], q->header.backing != NULL);
        }
        if (progress->fn) {
            progress->fn(progress->opaque, i + 1, count);
        }
    }
    pthread_mutex_unlock(&q->alloc_lock);
    free(tables);
    return err;
}

/* ---- single changes -------------------------------------------------------------------------- */

static int refuse(char *error, size_t error_size, int err, const char *text)
{
    snprintf(error, error_size, "qcow2: %s", text);
    return err;
}

static int downgrade(struct qcow2 *q, const struct progress *progress, char *error,
                     size_t error_size)
{
    struct qcow2_header *h = &q->header;
    int err;

    if (h->incompatible & (QCOW2_INCOMPAT_DATA_FILE | QCOW2_INCOMPAT_COMPRESSION |
                           QCOW2_INCOMPAT_EXTL2 | QCOW2_INCOMPAT_CORRUPT)) {
        return refuse(error, error_size, -ENOTSUP,
                      "compat=0.10: the image uses features that version 2 does not have");
    }
    if (h->refcount_order != 4) {
        return refuse(error, error_size, -ENOTSUP, "compat=0.10: expected refcount_bits=16");
    }
    if (h->has_bitmaps) {
        return refuse(error, error_size, -ENOTSUP, "compat=0.10: expected no bitmaps");
    }
    for (unsigned i = 0; i < q->snapshot_count; i++) {
        if (q->snapshots[i].disk_size != h->size || q->snapshots[i].vm_state_size > UINT32_MAX) {
            return refuse(error, error_size, -ENOTSUP, "compat=0.10: a snapshot needs version 3");
        }
    }
    err = qcow2_set_dirty(q);
    if (err == 0) {
        err = expand_zeros(q, progress);
    }
    if (err == 0) {
        err = qcow2_sync_all(q);
    }
    if (err != 0) {
        qcow2_unsettle(q, err);
    } else {
        q->lazy = false;
        err = qcow2_clear_dirty(q);
    }
    if (err == 0) {
        h->version = 2;
        h->compatible = h->autoclear = 0;
        h->header_length = QCOW2_HEADER_SIZE_V2;
        free(h->tail);
        h->tail = NULL;
        h->tail_size = 0;
        err = qcow2_write_header(q);
    }
    return err == 0 ? 0 : refuse(error, error_size, err, "compat=0.10: can't change the image");
}

static int change_version(struct qcow2 *q, int compat, const struct progress *progress, char *error,
                          size_t error_size)
{
    uint32_t version = compat < QCOW2_COMPAT_V3 ? 2 : 3, version_before = q->header.version;
    int err = 0;

    if (version < q->header.version) {
        return downgrade(q, progress, error, error_size);
    }
    if (version > q->header.version) {
        q->header.version = 3;
        err = q->snapshot_count ? qcow2_snapshots_store(q) : 0; /* with all extra data */
        if (err == 0) {
            err = qcow2_write_header(q);
        }
        if (err != 0) {
            q->header.version = version_before;
        }
    }
    return err == 0 ? 0 : refuse(error, error_size, err, "compat=1.1: can't write the header");
}

static int change_lazy(struct qcow2 *q, bool on, char *error, size_t error_size)
{
    uint64_t before;
    int err;

    if (on && q->header.version < 3) {
        return refuse(error, error_size, -EINVAL,
                      "lazy_refcounts=on: expected compat=1.1 (or greater)");
    }
    before = q->header.compatible;
    q->header.compatible &= ~(uint64_t)QCOW2_COMPAT_LAZY_REFCOUNTS;
    q->header.compatible |= on ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0;
    err = qcow2_write_header(q);
    if (err == 0) {
        q->lazy = on;
        err = on ? 0 : qcow2_clear_dirty(q);
    } else {
        q->header.compatible = before;
    }
    return err == 0 ? 0 : refuse(error, error_size, err, "lazy_refcounts: can't write the header");
}

static int change_width(struct qcow2 *q, uint64_t bits, char *error, size_t error_size)
{
    unsigned order = (unsigned)__builtin_ctzll(bits);
    int err;

    if (bits & (bits - 1)) {
        return refuse(error, error_size, -EINVAL,
                      "refcount_bits: expected a power of two up to 64");
    }
    if (order == q->header.refcount_order) {
        return 0;
    }
    if (q->header.version < 3) {
        return refuse(error, error_size, -EINVAL, "refcount_bits: expected compat=1.1");
    }
    err = qcow2_recount(q, order);
    return err == 0 ? 0
                    : refuse(error, error_size, err,
                             err == -ERANGE ? "refcount_bits: a reference count does not fit"
                                            : "refcount_bits: can't write reference counts");
}

static int change_raw(struct qcow2 *q, bool raw, char *error, size_t error_size)
{
    int err;

    if (raw == q->data_raw) {
        return 0;
    }
    if (raw) {
        return refuse(error, error_size, -EINVAL,
                      "data_file_raw: cannot be set on existing images");
    }
    q->header.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_DATA_RAW;
    err = qcow2_write_header(q);
    if (err == 0) {
        q->data_raw = false;
    } else {
        q->header.autoclear |= QCOW2_AUTOCLEAR_DATA_RAW;
    }
    return err == 0 ? 0 : refuse(error, error_size, err, "data_file_raw: can't write the header");
}

static int change_data_file(struct qcow2 *q, const char *name, char *error, size_t error_size)
{
    char *old = q->header.data_file;
    int err;

    if (!q->external) {
        return refuse(error, error_size, -EINVAL,
                      "data_file: expected an image that has a data file");
    }
    q->header.data_file = name && *name ? strdup(name) : NULL;
    err = name && *name && !q->header.data_file ? -ENOMEM : qcow2_write_header(q);
    if (err != 0) {
        free(q->header.data_file);
        q->header.data_file = old;
        return refuse(error, error_size, err, "data_file: can't write the header");
    }
    free(old);
    return 0;
}

/* What cannot be changed may be named with the value that it has. */
static int check_fixed(struct qcow2 *q, const struct wish *wish, char *error, size_t error_size)
{
    for (unsigned i = 0; qcow2_create_properties[i].name; i++) {
        const char *name = qcow2_create_properties[i].name;
        bool same =
            qcow2_create_properties[i].runtime ||
            (strcmp(name, "cluster_size") == 0 && wish->to.cluster_size == q->cluster_size) ||
            (strcmp(name, "compression_type") == 0 &&
             (uint32_t)wish->to.compression == q->header.compression) ||
            (strcmp(name, "extended_l2") == 0 && wish->to.extended_l2 == (q->subs > 1)) ||
            (strcmp(name, "encrypt.format") == 0 && wish->to.encrypt_format &&
             q->header.crypt == QCOW2_CRYPT_LUKS);

        if ((wish->has >> i & 1) && !same) {
            snprintf(error, error_size, "qcow2: %s: cannot be changed", name);
            return -ENOTSUP;
        }
    }
    return 0;
}

/* In the order in which the format allows it. Quiesced and synced. */
static int apply(struct qcow2 *q, const struct wish *wish, const struct progress *progress,
                 char *error, size_t error_size)
{
    const struct qcow2_create_options *to = &wish->to;
    bool down = has(wish, "compat") && to->compat < QCOW2_COMPAT_V3;
    int err = 0;

    if (has(wish, "compat") && !down) {
        err = change_version(q, to->compat, progress, error, error_size);
    }
    if (err == 0 && has(wish, "data_file")) {
        err = change_data_file(q, to->data_file, error, error_size);
    }
    if (err == 0 && has(wish, "data_file_raw")) {
        err = change_raw(q, to->data_file_raw, error, error_size);
    }
    if (err == 0 && has(wish, "lazy_refcounts")) {
        err = change_lazy(q, to->lazy_refcounts, error, error_size);
    }
    if (err == 0 && has(wish, "refcount_bits")) {
        err = change_width(q, to->refcount_bits, error, error_size);
    }
    if (err == 0 && down) {
        err = change_version(q, to->compat, progress, error, error_size);
    }
    return err;
}

static int amend(struct block_node *node, const struct wish *wish, bool force,
                 const struct progress *progress, char *error, size_t error_size)
{
    struct qcow2 *q = node->state;
    int err = check_fixed(q, wish, error, error_size);

    if (err != 0) {
        return err;
    }
    qcow2_quiesce(q);
    err = qcow2_settle_quiesced(q);
    if (err == 0) {
        err = qcow2_sync_all(q);
    }
    if (err == 0) {
        err = apply(q, wish, progress, error, error_size);
    }
    if (err == 0 && wish->has_luks) {
        err = qcow2_crypto_amend(q, &wish->luks, force, error, error_size);
    }
    if (err == 0) {
        err = block_flush(q->file);
    }
    qcow2_resume(q);
    if (err == 0 && (wish->has_backing_file || wish->has_backing_format)) {
        err = qcow2_change_backing(
            node, wish->has_backing_file ? wish->backing_file : q->header.backing,
            wish->has_backing_format ? wish->backing_format : q->header.backing_format);
    }
    if (err == 0 && wish->has_size) {
        err = qcow2_truncate(node, wish->size, true, BLOCK_PREALLOC_OFF, error, error_size);
    }
    return err;
}

int qcow2_amend(struct block_node *node, const char *options, bool force,
                void (*progress)(void *opaque, uint64_t done, uint64_t total), void *opaque,
                char *error, size_t error_size)
{
    struct qcow2 *q = node->state;
    struct progress report = {progress, opaque};
    struct wish wish = {0};
    int err;

    if (!q->writable) {
        return refuse(error, error_size, -EPERM, "the image is read-only");
    }
    error[0] = 0;
    err = property_set_defaults(qcow2_create_properties, &wish.to);
    if (err == 0) {
        err = property_set_defaults(luks_amend_properties, &wish.luks);
    }
    if (err == 0) {
        err = property_set_list(qcow2_create_properties, &wish.to, "qcow2", options, note, &wish,
                                error, error_size);
    }
    if (err == 0 && wish.error[0]) {
        snprintf(error, error_size, "%s", wish.error);
        err = -EINVAL;
    }
    if (err == 0) {
        err = amend(node, &wish, force, &report, error, error_size);
    }
    if (err != 0 && !error[0]) {
        snprintf(error, error_size, "qcow2: can't amend the image: %s", strerror(-err));
    }
    property_clear(qcow2_create_properties, &wish.to);
    property_clear(luks_amend_properties, &wish.luks);
    free(wish.backing_file);
    free(wish.backing_format);
    return err;
}
