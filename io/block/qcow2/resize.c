/*
 * Other virtual sizes.
 *
 * Growing: what the longer disk would show behind its old end (the rest of a cluster, a longer
 * backing file) is made zero first; the header's size is the last to change. Shrinking: what is
 * behind the new end is dropped first, then the header, then the file gets shorter.
 */
#include "io/block/qcow2/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_size(struct qcow2 *q, uint64_t size)
{
    q->header.size = size;
    return qcow2_store_header(q);
}

/* [offset, offset + size) reads as zero. */
static int clear(struct qcow2 *q, uint64_t offset, uint64_t size)
{
    int err = size ? qcow2_zero(q->node, offset, size, BLOCK_MAY_UNMAP) : 0;
    uint64_t n = qcow2_min(size, 1u << 20);
    uint8_t *zeros;

    if (err != -ENOTSUP) {
        return err;
    }
    zeros = calloc(1, (size_t)n);
    err = zeros ? 0 : -ENOMEM;
    while (err == 0 && size) {
        struct iovec iov;
        struct block_vec vec = block_vec_of(&iov, zeros, (size_t)qcow2_min(n, size));

        err = qcow2_write_at(q, offset, &vec);
        offset += vec.size;
        size -= vec.size;
    }
    free(zeros);
    return err;
}

static int grow(struct qcow2 *q, uint64_t size, enum block_preallocation mode, char *error,
                size_t error_size)
{
    uint64_t old = q->header.size, shown = 0;
    uint64_t entries = qcow2_header_l1_entries(size, q->cluster_bits, q->subs > 1);
    int err;

    if (entries * 8 > QCOW2_MAX_L1_BYTES) {
        snprintf(error, error_size, "qcow2: size: too large for this cluster size");
        return -EFBIG;
    }
    pthread_mutex_lock(&q->alloc_lock);
    err = qcow2_l1_grow(q, entries);
    pthread_mutex_unlock(&q->alloc_lock);
    if (err == 0 && q->external) {
        err = block_truncate(q->data, size, false,
                             mode == BLOCK_PREALLOC_METADATA ? BLOCK_PREALLOC_OFF : mode, error,
                             error_size);
    }
    if (err != 0) {
        return err;
    }
    if (q->node->backing) {
        shown = qcow2_min(size, block_size(q->node->backing->node));
    }
    shown = qcow2_max(shown, qcow2_min(size, qcow2_clusters(q, old) << q->cluster_bits));
    q->header.size = size;
    q->node->size = size;
    if (shown > old) {
        err = clear(q, old, shown - old);
    }
    if (err == 0 && (mode != BLOCK_PREALLOC_OFF || q->data_raw)) {
        uint64_t from = qcow2_clusters(q, old) << q->cluster_bits;

        err = size > from
                  ? qcow2_preallocate(q, from, size - from,
                                      mode == BLOCK_PREALLOC_OFF ? BLOCK_PREALLOC_METADATA : mode)
                  : 0;
    }
    if (err == 0) {
        err = qcow2_sync_all(q);
    }
    if (err == 0 && !q->external && mode != BLOCK_PREALLOC_OFF &&
        block_size(q->file) < q->zero_from && q->zero_from != UINT64_MAX) {
        err = block_truncate(q->file, q->zero_from, false, BLOCK_PREALLOC_OFF, error, error_size);
    }
    if (err == 0) {
        err = write_size(q, size);
    }
    if (err != 0) {
        q->header.size = old;
        q->node->size = old;
    }
    return err;
}

/* L2 tables that are wholly behind the end go. */
static void drop_tables(struct qcow2 *q, uint64_t size)
{
    uint64_t first = qcow2_header_l1_entries(size, q->cluster_bits, q->subs > 1);

    pthread_mutex_lock(&q->alloc_lock);
    pthread_mutex_lock(&q->lock);
    for (uint64_t i = first; i < q->l1.count; i++) {
        uint64_t offset = q->l1.entries[i] & QCOW2_OFFSET_MASK;

        if (offset) {
            q->l1.entries[i] = 0;
            qcow2_table_mark(&q->l1, (uint32_t)i, (uint32_t)i + 1);
            qcow2_owners_remove(q, offset, q->cluster_size, QCOW2_OL_ACTIVE_L2);
            qcow2_cache_forget(&q->l2_cache, offset, q->cluster_size);
            qcow2_free_later(q, offset, q->cluster_size, QCOW2_FREE_OTHER);
        }
    }
    pthread_mutex_unlock(&q->lock);
    pthread_mutex_unlock(&q->alloc_lock);
}

/* The disk has its new size; that the files can't get shorter does no harm. */
static void cut_files(struct qcow2 *q, uint64_t size)
{
    char ignored[256];
    uint64_t end;
    int err;

    if (q->external) {
        (void)block_truncate(q->data, size, false, BLOCK_PREALLOC_OFF, ignored, sizeof(ignored));
        return;
    }
    pthread_mutex_lock(&q->alloc_lock);
    err = qcow2_end_of_used(q, &end);
    if (err == 0 && end << q->cluster_bits < block_size(q->file)) {
        err = block_truncate(q->file, end << q->cluster_bits, false, BLOCK_PREALLOC_OFF, ignored,
                             sizeof(ignored));
        pthread_mutex_lock(&q->lock);
        if (err == 0 && q->file->growable) {
            q->zero_from = end << q->cluster_bits;
        }
        pthread_mutex_unlock(&q->lock);
    }
    pthread_mutex_unlock(&q->alloc_lock);
}

static int shrink(struct qcow2 *q, uint64_t size)
{
    uint64_t old = q->header.size;
    int err = qcow2_drop_range(q, size, old - size);

    if (err == 0) {
        err = qcow2_sync_all(q);
    }
    if (err == 0) {
        drop_tables(q, size);
        err = qcow2_sync_all(q);
    }
    if (err == 0) {
        err = write_size(q, size);
    }
    if (err != 0) {
        q->header.size = old;
        return err;
    }
    cut_files(q, size);
    return 0;
}

int qcow2_resize(struct qcow2 *q, uint64_t size, enum block_preallocation preallocation,
                 char *error, size_t error_size)
{
    int err = qcow2_settle(q);

    if (err != 0) {
        return err;
    }
    if (size % 512 || size > INT64_MAX) {
        snprintf(error, error_size, "qcow2: size: expected a multiple of 512 below 8 EiB");
        return -EINVAL;
    }
    if (q->snapshot_count && q->header.version < 3) {
        snprintf(error, error_size, "qcow2: can't resize a version 2 image with snapshots");
        return -ENOTSUP;
    }
    if (size < q->header.size && preallocation != BLOCK_PREALLOC_OFF) {
        snprintf(error, error_size, "qcow2: preallocation: expected off when shrinking");
        return -EINVAL;
    }
    if (size > q->header.size) {
        err = grow(q, size, preallocation, error, error_size);
    } else if (size < q->header.size) {
        err = shrink(q, size);
    }
    return err;
}

int qcow2_truncate(struct block_node *node, uint64_t size, bool exact,
                   enum block_preallocation preallocation, char *error, size_t error_size)
{
    struct qcow2 *q = node->state;
    int err;

    (void)exact;
    if (!q->writable) {
        return -EPERM;
    }
    error[0] = 0;
    err = qcow2_resize(q, size, preallocation, error, error_size);
    if (err == 0) {
        block_set_size(node, size);
    } else if (!error[0]) {
        snprintf(error, error_size, "qcow2: can't resize: %s", strerror(-err));
    }
    return err;
}

int qcow2_change_backing(struct block_node *node, const char *filename, const char *format)
{
    struct qcow2 *q = node->state;
    struct qcow2_header *h = &q->header;
    char *old_name = h->backing, *old_format = h->backing_format;
    int err;

    if (!q->writable) {
        return -EPERM;
    }
    if (filename && (q->data_raw || strlen(filename) > QCOW2_MAX_BACKING_NAME)) {
        return -EINVAL;
    }
    h->backing = filename && *filename ? strdup(filename) : NULL;
    h->backing_format = format && *format ? strdup(format) : NULL;
    err = (filename && *filename && !h->backing) || (format && *format && !h->backing_format)
              ? -ENOMEM
              : qcow2_settle(q);
    if (err == 0) {
        err = qcow2_sync_all(q);
    }
    if (err == 0) {
        err = qcow2_store_header(q);
    }
    if (err != 0) {
        free(h->backing);
        free(h->backing_format);
        h->backing = old_name;
        h->backing_format = old_format;
        return err;
    }
    free(old_name);
    free(old_format);
    return 0;
}
