/*
 * Compressed clusters ("Compressed Clusters Descriptor").
 *
 * Packing and unpacking happen outside of all locks, on as many workers as there are requests; the
 * lock is taken for finding room and for the L2 entry. What does not get smaller is stored plain.
 */
#include "io/block/qcow2/pack.h"
#include "io/block/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int qcow2_read_compressed(struct qcow2 *q, uint64_t raw, uint8_t *cluster)
{
    uint64_t offset = qcow2_compressed_offset(q, raw), size = qcow2_compressed_size(q, raw);
    uint8_t *packed = malloc(size);
    int err = packed ? qcow2_pread(q, offset, packed, size) : -ENOMEM;

    if (err == 0) {
        err = qcow2_unpack(q->header.compression, packed, size, cluster, q->cluster_size);
    }
    free(packed);
    return err;
}

/* Points the entry of a cluster to its packed data; the old data goes. */
static int link_packed(struct qcow2 *q, uint64_t cluster, uint64_t at, size_t size)
{
    struct qcow2_entry old, entry = {.raw = qcow2_compressed_entry(q, at, size)};
    bool dropped = false;
    int err;

    pthread_mutex_lock(&q->lock);
    q->data_dirty = true;
    err = qcow2_entry_get(q, cluster, &old, &dropped);
    if (err == 0) {
        err = qcow2_entry_set(q, cluster, &entry);
    }
    if (err == 0) {
        qcow2_free_entry(q, old.raw, QCOW2_FREE_OTHER);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

/* The claim is held. */
static int store_packed(struct qcow2 *q, uint64_t cluster, const uint8_t *packed, size_t size)
{
    unsigned found;
    uint64_t at;
    int err = qcow2_l2_prepare(q, cluster);

    if (err == 0) {
        err = qcow2_alloc_packed(q, size, &at);
    }
    if (err != 0) {
        return err;
    }
    pthread_mutex_lock(&q->lock);
    found = qcow2_overlaps(q, at, size, 0);
    pthread_mutex_unlock(&q->lock);
    if (found) {
        return qcow2_overlap_found(q, at, found);
    }
    err = (at + size) >> (62 - (q->cluster_bits - 8)) ? -EFBIG
                                                      : block_pwrite(q->file, at, packed, size, 0);
    if (err == 0) {
        err = link_packed(q, cluster, at, size);
    }
    if (err != 0) {
        qcow2_unalloc(q, at, size);
    }
    return err;
}

static int write_packed(struct qcow2 *q, uint64_t cluster, const uint8_t *packed, size_t size)
{
    struct qcow2_claim claim;
    int err;

    pthread_mutex_lock(&q->lock);
    (void)qcow2_claim_wait(q, cluster, cluster, true);
    qcow2_claim_add(q, &claim, cluster, cluster, true);
    err = qcow2_refusal(q);
    pthread_mutex_unlock(&q->lock);
    if (err == 0) {
        err = store_packed(q, cluster, packed, size);
    }
    pthread_mutex_lock(&q->lock);
    qcow2_claim_remove(q, &claim);
    pthread_mutex_unlock(&q->lock);
    return err;
}

int qcow2_write_compressed(struct qcow2 *q, uint64_t offset, const struct block_vec *vec)
{
    uint8_t *plain, *packed;
    size_t done = 0, size;
    int err = 0;

    if (q->external || q->header.crypt || qcow2_within(q, offset) ||
        (qcow2_within(q, vec->size) && offset + vec->size != q->header.size)) {
        return q->external || q->header.crypt ? -ENOTSUP : -EINVAL;
    }
    plain = malloc(q->cluster_size);
    packed = malloc(q->cluster_size);
    if (!plain || !packed) {
        err = -ENOMEM;
    }
    while (err == 0 && done < vec->size) {
        size_t n = (size_t)qcow2_min(vec->size - done, q->cluster_size);
        struct block_vec part = block_vec_part(vec, done, n);

        block_vec_get(&part, 0, plain, n);
        memset(plain + n, 0, q->cluster_size - n);
        err = qcow2_pack(q->header.compression, plain, q->cluster_size, packed, &size);
        if (err == 0) {
            err = size ? write_packed(q, qcow2_cluster_of(q, offset + done), packed, size)
                       : qcow2_write_at(q, offset + done, &part);
        }
        done += n;
    }
    free(plain);
    free(packed);
    return err;
}
