/*
 * Reading and writing guest data.
 *
 * A request is done in pieces, each of one kind: what is there is written in place under a shared
 * claim, in parallel with everything else; what has to be allocated is done under an exclusive
 * claim, whose data goes to the file outside of all locks, together with the parts of the clusters
 * that the guest did not write. Only then the L2 entries change, in memory.
 *
 * Clusters that the allocator says are fresh (behind all that the file ever had) hold zeros by
 * being holes, so nothing is written around the data there: a small random write costs one small
 * write.
 */
#include "io/block/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COW_ZERO_BY_HOST (128u << 10) /* bytes from which the host is asked to zero a range */

/* ---- reading --------------------------------------------------------------------------------- */

static int read_encrypted(struct qcow2 *q, uint64_t guest, uint64_t host,
                          const struct block_vec *vec)
{
    uint64_t first = guest & ~UINT64_C(511), skip = guest - first;
    size_t size = (size_t)((skip + vec->size + 511) & ~UINT64_C(511));
    uint8_t *buffer = malloc(size);
    int err = buffer ? block_pread(q->data, host - skip, buffer, size) : -ENOMEM;

    if (err == 0) {
        err = qcow2_decrypt(q, first, host - skip, buffer, size);
    }
    if (err == 0) {
        block_vec_put(vec, 0, buffer + skip, vec->size);
    }
    free(buffer);
    return err;
}

static int read_packed(struct qcow2 *q, uint64_t offset, uint64_t raw, const struct block_vec *vec)
{
    uint8_t *cluster = malloc(q->cluster_size);
    int err = cluster ? qcow2_read_compressed(q, raw, cluster) : -ENOMEM;

    if (err == 0) {
        block_vec_put(vec, 0, cluster + qcow2_within(q, offset), vec->size);
    }
    free(cluster);
    return err;
}

int qcow2_read_extent(struct qcow2 *q, uint64_t offset, const struct qcow2_extent *extent,
                      const struct block_vec *vec)
{
    switch (extent->what) {
    case QCOW2_IS_DATA:
        return q->header.crypt ? read_encrypted(q, offset, extent->host, vec)
                               : block_read(q->data, extent->host, vec);
    case QCOW2_IS_COMPRESSED:
        return read_packed(q, offset, extent->raw, vec);
    case QCOW2_IS_UNALLOCATED:
        if (q->node->backing && offset < q->node->size) {
            return block_read_backing(q->node, offset, vec);
        }
        break;
    default:
        break;
    }
    block_vec_fill(vec, 0, 0, vec->size);
    return 0;
}

int qcow2_read_at(struct qcow2 *q, uint64_t offset, const struct block_vec *vec)
{
    size_t done = 0;
    int err = 0;

    while (err == 0 && done < vec->size) {
        uint64_t at = offset + done, first = qcow2_cluster_of(q, at), last, limit;
        struct qcow2_extent extent;
        struct qcow2_claim claim;
        struct block_vec part;
        bool dropped;

        pthread_mutex_lock(&q->lock);
        do {
            dropped = qcow2_claim_wait(q, first, first, false);
            err = qcow2_extent_get(q, at, vec->size - done, &extent, &dropped);
        } while (err == 0 && dropped);
        if (err != 0) {
            pthread_mutex_unlock(&q->lock);
            return err;
        }
        last = qcow2_cluster_of(q, at + extent.size - 1);
        limit = qcow2_claim_limit(q, first, last, false);
        if (limit <= last) {
            extent.size = (limit << q->cluster_bits) - at;
            last = limit - 1;
        }
        qcow2_claim_add(q, &claim, first, last, false);
        pthread_mutex_unlock(&q->lock);

        part = block_vec_part(vec, done, extent.size);
        err = qcow2_read_extent(q, at, &extent, &part);
        done += extent.size;

        pthread_mutex_lock(&q->lock);
        qcow2_claim_remove(q, &claim);
        pthread_mutex_unlock(&q->lock);
    }
    return err;
}

int qcow2_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    return qcow2_read_at(node->state, offset, vec);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Writes to the data file what is in head, vec and tail, one after the other. */
struct pieces {
    uint64_t guest, host; /* of the first byte */
    uint8_t *head, *tail; /* NULL: nothing to write there */
    size_t head_size, tail_size;
    const struct block_vec *vec;
};

static int write_encrypted(struct qcow2 *q, const struct pieces *p)
{
    size_t size = p->head_size + p->vec->size + p->tail_size;
    uint8_t *buffer = malloc(size);
    int err;

    if (!buffer) {
        return -ENOMEM;
    }
    if (p->head_size) {
        memcpy(buffer, p->head, p->head_size);
    }
    block_vec_get(p->vec, 0, buffer + p->head_size, p->vec->size);
    if (p->tail_size) {
        memcpy(buffer + p->head_size + p->vec->size, p->tail, p->tail_size);
    }
    err = qcow2_encrypt(q, p->guest, p->host, buffer, size);
    if (err == 0) {
        err = block_pwrite(q->data, p->host, buffer, size, 0);
    }
    free(buffer);
    return err;
}

static int write_pieces(struct qcow2 *q, const struct pieces *p)
{
    struct block_vec all;
    struct iovec *iov;
    unsigned count = 0, max = 2;
    size_t skip = 0;
    int err;

    if (q->header.crypt) {
        return write_encrypted(q, p);
    }
    if (!p->head_size && !p->tail_size) {
        return block_write(q->data, p->host, p->vec, 0);
    }
    for (const struct iovec *i = p->vec->iov; skip < p->vec->skip + p->vec->size; i++) {
        skip += i->iov_len;
        max++;
    }
    iov = malloc(max * sizeof(*iov));
    if (!iov) {
        return -ENOMEM;
    }
    if (p->head_size) {
        iov[count++] = (struct iovec){p->head, p->head_size};
    }
    count += block_vec_export(p->vec, iov + count, max - 2, NULL);
    if (p->tail_size) {
        iov[count++] = (struct iovec){p->tail, p->tail_size};
    }
    all = (struct block_vec){.iov = iov, .size = p->head_size + p->vec->size + p->tail_size};
    err = block_write(q->data, p->host, &all, 0);
    free(iov);
    return err;
}

/* Does [offset, offset + size) read as zeros, as far as is known without reading data? */
static bool reads_as_zero(struct qcow2 *q, uint64_t offset, uint64_t size)
{
    uint64_t shines =
        q->node->backing && offset < q->node->size ? block_size(q->node->backing->node) : 0;
    bool zero = true;

    pthread_mutex_lock(&q->lock);
    while (zero && size) {
        struct qcow2_extent extent;
        bool dropped = false;

        zero = qcow2_extent_get(q, offset, size, &extent, &dropped) == 0 &&
               (extent.what == QCOW2_IS_ZERO ||
                (extent.what == QCOW2_IS_UNALLOCATED && offset >= shines));
        if (zero) {
            offset += extent.size;
            size -= extent.size;
        }
    }
    pthread_mutex_unlock(&q->lock);
    return zero;
}

/* What the guest reads in [offset, offset + size), while we hold its claim. */
static int read_claimed(struct qcow2 *q, uint64_t offset, uint8_t *buffer, size_t size)
{
    int err = 0;

    while (err == 0 && size) {
        struct qcow2_extent extent;
        struct block_vec vec;
        struct iovec iov;
        bool dropped = false;

        pthread_mutex_lock(&q->lock);
        err = qcow2_extent_get(q, offset, size, &extent, &dropped);
        pthread_mutex_unlock(&q->lock);
        if (err == 0) {
            vec = block_vec_of(&iov, buffer, extent.size);
            err = qcow2_read_extent(q, offset, &extent, &vec);
            buffer += extent.size;
            offset += extent.size;
            size -= extent.size;
        }
    }
    return err;
}

/*
 * The bytes that have to be written next to the guest's, in *buffer; *size becomes 0 when none
 * have to be: the host has zeros there already, or was made to.
 */
static int fill_around(struct qcow2 *q, uint64_t guest, uint64_t host, bool fresh, uint8_t **buffer,
                       size_t *size)
{
    bool zero;

    if (*size == 0) {
        return 0;
    }
    zero = reads_as_zero(q, guest, *size);
    if (zero && !q->header.crypt &&
        (fresh ||
         (*size >= COW_ZERO_BY_HOST && block_zero(q->data, host, *size, BLOCK_NO_FALLBACK) == 0))) {
        *size = 0;
        return 0;
    }
    *buffer = calloc(1, *size);
    if (!*buffer) {
        return -ENOMEM;
    }
    return zero ? 0 : read_claimed(q, guest, *buffer, *size);
}

/* Masks of subclusters. */
static uint32_t mask_of(unsigned first, unsigned end)
{
    return (uint32_t)(((UINT64_C(1) << end) - 1) & ~((UINT64_C(1) << first) - 1));
}

static void run_last(struct qcow2 *q, struct qcow2_run *run)
{
    run->last = qcow2_cluster_of(q, run->offset + run->size - 1);
}

void qcow2_run_bounds(const struct qcow2 *q, struct qcow2_run *run, const struct qcow2_entry *first,
                      const struct qcow2_entry *last)
{
    unsigned begin = (unsigned)(qcow2_within(q, run->offset) >> q->sub_bits);
    unsigned end = (unsigned)(qcow2_within(q, run->offset + run->size - 1) >> q->sub_bits) + 1;
    uint32_t moved;

    if (!run->reuse) {
        /* What is there already moves along. */
        moved = first->compressed ? mask_of(0, q->subs) : first->data;
        if (moved) {
            begin = (unsigned)qcow2_min(begin, (unsigned)__builtin_ctz(moved));
        }
        moved = last->compressed ? mask_of(0, q->subs) : last->data;
        if (moved) {
            end = (unsigned)qcow2_max(end, 32 - (unsigned)__builtin_clz(moved));
        }
    }
    run->lo = (uint64_t)begin << q->sub_bits;
    run->hi = (uint64_t)end << q->sub_bits;
}

static int run_write(struct qcow2 *q, const struct qcow2_run *run, const struct block_vec *vec)
{
    uint64_t start = (run->first << q->cluster_bits) + run->lo;
    uint64_t end = (run->last << q->cluster_bits) + run->hi, tail = run->offset + run->size;
    uint64_t host = run->host - (run->first << q->cluster_bits); /* plus guest offset */
    struct pieces p = {.head_size = run->offset - start, .tail_size = end - tail, .vec = vec};
    size_t head_size = p.head_size;
    int err = fill_around(q, start, host + start, run->fresh, &p.head, &p.head_size);

    if (err == 0) {
        err = fill_around(q, tail, host + tail, run->fresh, &p.tail, &p.tail_size);
    }
    if (err == 0) {
        p.guest = p.head_size == head_size ? start : run->offset;
        p.host = host + p.guest;
        err = write_pieces(q, &p);
    }
    free(p.head);
    free(p.tail);
    return err;
}

void qcow2_run_entry(const struct qcow2 *q, const struct qcow2_run *run, uint64_t cluster,
                     const struct qcow2_entry *old, struct qcow2_entry *entry)
{
    unsigned begin = cluster == run->first ? (unsigned)(run->lo >> q->sub_bits) : 0;
    unsigned end = cluster == run->last ? (unsigned)(run->hi >> q->sub_bits) : q->subs;
    uint32_t written = mask_of(begin, end);

    *entry = (struct qcow2_entry){
        .has_host = true,
        .copied = true,
        .host = run->host + ((cluster - run->first) << q->cluster_bits),
        .data = written | (run->reuse ? old->data : 0),
        .zero = old->zero & ~written,
    };
    qcow2_entry_encode(q, entry);
}

/* Makes the L2 entries say what was written. */
static int run_link(struct qcow2 *q, const struct qcow2_run *run)
{
    uint64_t cluster = run->first;
    int err = 0;

    pthread_mutex_lock(&q->lock);
    q->data_dirty = true;
    while (err == 0 && cluster <= run->last) {
        struct qcow2_entry old, entry;
        bool dropped = false;

        err = qcow2_entry_get(q, cluster, &old, &dropped);
        if (err == 0) {
            qcow2_run_entry(q, run, cluster, &old, &entry);
            err = qcow2_entry_set(q, cluster, &entry);
        }
        if (err == 0) {
            if (!run->reuse) {
                qcow2_free_entry(q, old.raw, QCOW2_FREE_OTHER);
            }
            cluster++;
        }
    }
    pthread_mutex_unlock(&q->lock);
    if (err != 0 && !run->reuse) {
        qcow2_unalloc(q, run->host + ((cluster - run->first) << q->cluster_bits),
                      (run->last + 1 - cluster) << q->cluster_bits);
    }
    return err;
}

static int run_alloc(struct qcow2 *q, struct qcow2_run *run, const struct qcow2_extent *extent)
{
    uint64_t n = run->last - run->first + 1, got;
    unsigned found;
    int err;

    if (q->external) {
        run->reuse = true;
        run->host = run->first << q->cluster_bits;
        return 0;
    }
    if (extent->preallocated && extent->copied) {
        run->reuse = true;
        run->host = extent->host - qcow2_within(q, run->offset);
        pthread_mutex_lock(&q->lock);
        found = qcow2_overlaps(q, run->host, n << q->cluster_bits, 0);
        q->zero_from = qcow2_max(q->zero_from, run->host + (n << q->cluster_bits));
        pthread_mutex_unlock(&q->lock);
        return found ? qcow2_overlap_found(q, run->host, found) : 0;
    }
    err = qcow2_alloc(q, n, &run->host, &got, &run->fresh);
    if (err == 0) {
        pthread_mutex_lock(&q->lock);
        qcow2_reserve(q, run->host + (got << q->cluster_bits));
        pthread_mutex_unlock(&q->lock);
    }
    if (err == 0 && got < n) {
        run->size = ((run->first + got) << q->cluster_bits) - run->offset;
        run_last(q, run);
    }
    return err;
}

/* Allocates and writes as much as goes in one step; *size is how much. The claim is held. */
static int write_new(struct qcow2 *q, uint64_t offset, const struct qcow2_extent *extent,
                     const struct block_vec *vec, uint64_t *size)
{
    struct qcow2_run run = {.offset = offset, .size = *size};
    struct qcow2_entry first, last;
    struct block_vec part;
    bool dropped = false;
    int err;

    run.first = qcow2_cluster_of(q, offset);
    run_last(q, &run);
    err = qcow2_l2_prepare(q, run.first);
    if (err == 0) {
        err = run_alloc(q, &run, extent);
    }
    if (err != 0) {
        return err;
    }
    *size = run.size;
    pthread_mutex_lock(&q->lock);
    err = qcow2_entry_get(q, run.first, &first, &dropped);
    if (err == 0) {
        err = qcow2_entry_get(q, run.last, &last, &dropped);
    }
    pthread_mutex_unlock(&q->lock);
    if (err == 0) {
        qcow2_run_bounds(q, &run, &first, &last);
        part = block_vec_part(vec, 0, run.size);
        err = run_write(q, &run, &part);
    }
    if (err != 0) {
        if (!run.reuse) {
            qcow2_unalloc(q, run.host, (run.last - run.first + 1) << q->cluster_bits);
        }
        return err;
    }
    return run_link(q, &run);
}

static int write_in_place(struct qcow2 *q, uint64_t offset, const struct qcow2_extent *extent,
                          const struct block_vec *vec)
{
    struct pieces p = {.guest = offset, .host = extent->host, .vec = vec};

    return write_pieces(q, &p);
}

/*
 * Decides, under the lock, what happens to the piece at `offset`, and claims it; *size comes in as
 * the most that is wanted.
 */
static int choose(struct qcow2 *q, uint64_t offset, uint64_t *size, struct qcow2_extent *extent,
                  struct qcow2_claim *claim, bool *in_place)
{
    uint64_t first = qcow2_cluster_of(q, offset), last, limit;
    unsigned found;

    for (;;) {
        bool dropped = false;
        int err;

        (void)qcow2_claim_wait(q, first, first, false);
        err = qcow2_refusal(q);
        if (err == 0) {
            err = qcow2_extent_get(q, offset, *size, extent, &dropped);
        }
        if (err != 0) {
            return err;
        }
        if (dropped) {
            continue;
        }
        *in_place = extent->what == QCOW2_IS_DATA && extent->copied;
        last = qcow2_cluster_of(q, offset + extent->size - 1);
        limit = qcow2_claim_limit(q, first, last, !*in_place);
        if (limit > first) {
            break;
        }
        qcow2_wait(q);
    }
    if (limit <= last) {
        extent->size = (limit << q->cluster_bits) - offset;
        last = limit - 1;
    }
    *size = extent->size;
    if (*in_place && !q->external) {
        found = qcow2_overlaps(q, extent->host, extent->size, 0);
        q->zero_from = qcow2_max(q->zero_from, extent->host + extent->size);
        if (found) {
            pthread_mutex_unlock(&q->lock);
            (void)qcow2_overlap_found(q, extent->host, found);
            pthread_mutex_lock(&q->lock);
            return -EIO;
        }
    }
    qcow2_claim_add(q, claim, first, last, !*in_place);
    return 0;
}

int qcow2_write_at(struct qcow2 *q, uint64_t offset, const struct block_vec *vec)
{
    size_t done = 0;
    int err = 0;

    while (err == 0 && done < vec->size) {
        uint64_t at = offset + done, size = qcow2_min(vec->size - done, QCOW2_MAX_PIECE);
        struct qcow2_extent extent;
        struct qcow2_claim claim;
        struct block_vec part;
        bool in_place;

        pthread_mutex_lock(&q->lock);
        err = choose(q, at, &size, &extent, &claim, &in_place);
        pthread_mutex_unlock(&q->lock);
        if (err != 0) {
            break;
        }
        part = block_vec_part(vec, done, size);
        err = in_place ? write_in_place(q, at, &extent, &part)
                       : write_new(q, at, &extent, &part, &size);
        done += size;
        pthread_mutex_lock(&q->lock);
        qcow2_claim_remove(q, &claim);
        pthread_mutex_unlock(&q->lock);
    }
    return err;
}

int qcow2_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                unsigned flags)
{
    struct qcow2 *q = node->state;
    uint64_t end;
    int err;

    if (!q->writable) {
        return -EPERM;
    }
    end = offset + vec->size;
    if (end > q->header.size) {
        return -ENOSPC;
    }
    err = qcow2_settle(q);
    if (err != 0) {
        return err;
    }
    if (flags & BLOCK_COMPRESSED) {
        err = qcow2_write_compressed(q, offset, vec);
    } else {
        err = qcow2_write_at(q, offset, vec);
    }
    if (err == 0 && qcow2_many_frees(q)) {
        err = qcow2_flush(node);
    }
    return err;
}

/* ---- preallocation --------------------------------------------------------------------------- */

/* The host's side of preallocation, for new clusters whose contents are unknown unless `fresh`. */
static int preallocate_host(struct qcow2 *q, uint64_t host, uint64_t size, bool fresh,
                            enum block_preallocation mode)
{
    uint64_t n = qcow2_min(size, 1u << 20);
    uint8_t *zeros;
    int err = 0;

    if (mode != BLOCK_PREALLOC_FULL) {
        return fresh && mode == BLOCK_PREALLOC_METADATA ? 0 : block_zero(q->file, host, size, 0);
    }
    zeros = calloc(1, (size_t)n);
    if (!zeros) {
        return -ENOMEM;
    }
    for (uint64_t done = 0; err == 0 && done < size; done += n) {
        n = qcow2_min(n, size - done);
        err = block_pwrite(q->file, host + done, zeros, (size_t)n, 0);
    }
    free(zeros);
    return err;
}

int qcow2_preallocate(struct qcow2 *q, uint64_t offset, uint64_t size,
                      enum block_preallocation mode)
{
    uint64_t cluster = qcow2_cluster_of(q, offset), end = qcow2_clusters(q, offset + size);
    int err = 0;

    while (err == 0 && cluster < end) {
        struct qcow2_run run = {.first = cluster, .hi = q->cluster_size};
        uint64_t table_end = ((cluster >> q->l2_bits) + 1) << q->l2_bits;
        uint64_t n = qcow2_min(end, table_end) - cluster, got = n;

        err = qcow2_l2_prepare(q, cluster);
        if (err == 0 && q->external) {
            run.reuse = true;
            run.host = cluster << q->cluster_bits;
        } else if (err == 0) {
            err = qcow2_alloc(q, n, &run.host, &got, &run.fresh);
            if (err == 0) {
                err = preallocate_host(q, run.host, got << q->cluster_bits, run.fresh, mode);
            }
        }
        run.last = cluster + got - 1;
        if (err == 0) {
            err = run_link(q, &run);
        }
        cluster += got;
    }
    return err;
}

/* ---- what is where --------------------------------------------------------------------------- */

int qcow2_status(struct block_node *node, uint64_t offset, uint64_t size,
                 struct block_status *status)
{
    struct qcow2 *q = node->state;
    uint64_t end = q->header.size;
    struct qcow2_extent extent;
    bool dropped;
    int err;

    *status = (struct block_status){0};
    if (offset >= end) {
        status->flags = BLOCK_STATUS_EOF;
        return 0;
    }
    pthread_mutex_lock(&q->lock);
    do {
        dropped =
            qcow2_claim_wait(q, qcow2_cluster_of(q, offset), qcow2_cluster_of(q, offset), false);
        err = qcow2_extent_get(q, offset, qcow2_min(size, end - offset), &extent, &dropped);
    } while (err == 0 && dropped);
    pthread_mutex_unlock(&q->lock);
    if (err != 0) {
        return err;
    }
    status->size = extent.size;
    if (offset + extent.size == end) {
        status->flags = BLOCK_STATUS_EOF;
    }
    switch (extent.what) {
    case QCOW2_IS_DATA:
        status->flags |= BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED;
        if (!q->header.crypt) {
            status->flags |= BLOCK_STATUS_OFFSET | BLOCK_STATUS_RECURSE;
            status->host = extent.host;
            status->file = q->data;
        }
        break;
    case QCOW2_IS_COMPRESSED:
        status->flags |= BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_COMPRESSED;
        break;
    case QCOW2_IS_ZERO:
        status->flags |= BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
        if (extent.preallocated && !q->header.crypt) {
            status->flags |= BLOCK_STATUS_OFFSET;
            status->host = extent.host;
            status->file = q->data;
        }
        break;
    default:
        if (!q->node->backing) {
            status->flags |= BLOCK_STATUS_ZERO;
        }
        break;
    }
    return 0;
}
