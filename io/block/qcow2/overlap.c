/*
 * Which host clusters hold metadata: the guard against images whose tables point at themselves.
 *
 * A hash of clusters to kinds, kept up to date by whoever allocates and frees metadata. Every write
 * is compared with it: metadata may go only where its kind is, guest data nowhere in it. A hit
 * means that the image was made wrong, by accident or on purpose; it is marked corrupt, and this
 * node does not write any more.
 */
#include "io/block/qcow2/qcow2.h"
#include "util/error.h"
#include "util/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

const char *const qcow2_overlap_names[] = {"none", "constant", "cached", "all", NULL};

static size_t slot_of(const struct qcow2_owners *owners, uint64_t key)
{
    return (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (owners->size - 1);
}

/* The place of a key, or the empty one where it would go. */
static size_t place(const struct qcow2_owners *owners, uint64_t key)
{
    size_t i = slot_of(owners, key);

    while (owners->keys[i] && owners->keys[i] != key) {
        i = (i + 1) & (owners->size - 1);
    }
    return i;
}

static int grow(struct qcow2_owners *owners)
{
    struct qcow2_owners bigger = {.size = 64};
    size_t live = 0;

    for (size_t i = 0; i < owners->size; i++) {
        live += owners->kinds[i] != 0;
    }
    while (bigger.size < live * 4) {
        bigger.size *= 2;
    }
    bigger.keys = calloc(bigger.size, sizeof(*bigger.keys));
    bigger.kinds = calloc(bigger.size, sizeof(*bigger.kinds));
    if (!bigger.keys || !bigger.kinds) {
        free(bigger.keys);
        free(bigger.kinds);
        return -ENOMEM;
    }
    for (size_t i = 0; i < owners->size; i++) {
        if (owners->kinds[i]) {
            size_t to = place(&bigger, owners->keys[i]);

            bigger.keys[to] = owners->keys[i];
            bigger.kinds[to] = owners->kinds[i];
            bigger.used++;
        }
    }
    free(owners->keys);
    free(owners->kinds);
    *owners = bigger;
    return 0;
}

int qcow2_owners_add(struct qcow2 *q, uint64_t offset, uint64_t size, unsigned kind)
{
    struct qcow2_owners *owners = &q->owners;
    uint64_t end = qcow2_clusters(q, offset + size);

    for (uint64_t c = qcow2_cluster_of(q, offset); size && c < end; c++) {
        size_t i;

        if (owners->used * 2 >= owners->size && grow(owners) != 0) {
            return -ENOMEM;
        }
        i = place(owners, c + 1);
        if (!owners->keys[i]) {
            owners->keys[i] = c + 1;
            owners->used++;
        }
        owners->kinds[i] |= (uint16_t)kind;
    }
    return 0;
}

void qcow2_owners_remove(struct qcow2 *q, uint64_t offset, uint64_t size, unsigned kind)
{
    uint64_t end = qcow2_clusters(q, offset + size);

    for (uint64_t c = qcow2_cluster_of(q, offset); q->owners.size && c < end; c++) {
        size_t i = place(&q->owners, c + 1);

        /* An entry without a kind stays as a mark that probing goes on. */
        q->owners.kinds[i] &= (uint16_t)~kind;
    }
}

void qcow2_owners_free(struct qcow2_owners *owners)
{
    free(owners->keys);
    free(owners->kinds);
    *owners = (struct qcow2_owners){0};
}

static int add_tables(struct qcow2 *q)
{
    const struct qcow2_header *h = &q->header;
    int err = qcow2_owners_add(q, 0, q->cluster_size, QCOW2_OL_HEADER);

    if (err == 0) {
        err = qcow2_owners_add(q, q->l1.offset, (uint64_t)q->l1.count * 8, QCOW2_OL_ACTIVE_L1);
    }
    if (err == 0) {
        err = qcow2_owners_add(q, q->reftable.offset, (uint64_t)q->reftable.count * 8,
                               QCOW2_OL_REFTABLE);
    }
    if (err == 0 && q->snapshot_count) {
        err = qcow2_owners_add(q, h->snapshots_offset, q->snapshots_size, QCOW2_OL_SNAPSHOTS);
    }
    for (unsigned i = 0; err == 0 && i < q->snapshot_count; i++) {
        err = qcow2_owners_add(q, q->snapshots[i].l1_offset, (uint64_t)q->snapshots[i].l1_size * 8,
                               QCOW2_OL_INACTIVE_L1);
    }
    if (err == 0 && h->has_bitmaps) {
        err = qcow2_owners_add(q, h->bitmap_dir_offset, h->bitmap_dir_size, QCOW2_OL_BITMAPS);
    }
    return err;
}

/* L2 tables of snapshots: only for overlap-check=all, as they have to be read. */
static int add_inactive(struct qcow2 *q)
{
    int err = 0;

    for (unsigned i = 0; err == 0 && i < q->snapshot_count; i++) {
        uint64_t *l1;

        err = qcow2_l1_read(q, q->snapshots[i].l1_offset, q->snapshots[i].l1_size, &l1);
        if (err != 0) {
            return err;
        }
        for (uint32_t j = 0; err == 0 && j < q->snapshots[i].l1_size; j++) {
            if (l1[j] & QCOW2_OFFSET_MASK) {
                err = qcow2_owners_add(q, l1[j] & QCOW2_OFFSET_MASK, q->cluster_size,
                                       QCOW2_OL_INACTIVE_L2);
            }
        }
        free(l1);
    }
    return err;
}

int qcow2_owners_rebuild(struct qcow2 *q)
{
    int err;

    qcow2_owners_free(&q->owners);
    err = add_tables(q);
    for (uint32_t i = 0; err == 0 && i < q->l1.count; i++) {
        uint64_t offset = q->l1.entries[i] & QCOW2_OFFSET_MASK;

        if (offset) {
            err = qcow2_owners_add(q, offset, q->cluster_size, QCOW2_OL_ACTIVE_L2);
        }
    }
    for (uint32_t i = 0; err == 0 && i < q->reftable.count; i++) {
        if (q->reftable.entries[i]) {
            err = qcow2_owners_add(q, q->reftable.entries[i], q->cluster_size, QCOW2_OL_REFBLOCK);
        }
    }
    if (err == 0 && (q->overlap_mask & QCOW2_OL_INACTIVE_L2)) {
        err = add_inactive(q);
    }
    return err;
}

unsigned qcow2_overlaps(const struct qcow2 *q, uint64_t offset, uint64_t size, unsigned kind)
{
    uint64_t end = qcow2_clusters(q, offset + size);
    unsigned found = 0;

    for (uint64_t c = qcow2_cluster_of(q, offset); q->owners.size && c < end; c++) {
        found |= q->owners.kinds[place(&q->owners, c + 1)];
    }
    /* An L2 table that the active disk and a snapshot share is found under both names. */
    if (kind & (QCOW2_OL_ACTIVE_L2 | QCOW2_OL_INACTIVE_L2)) {
        kind |= QCOW2_OL_ACTIVE_L2 | QCOW2_OL_INACTIVE_L2;
    }
    return found & ~kind & q->overlap_mask;
}

int qcow2_corrupt(struct qcow2 *q, const char *what, uint64_t offset)
{
    bool first;

    pthread_mutex_lock(&q->lock);
    first = !q->broken;
    if (q->writable) {
        q->broken = true;
    }
    pthread_mutex_unlock(&q->lock);
    if (!q->writable) {
        static struct log_limit limit;

        log_limit_printf(&limit, "qcow2: %s: Image is corrupt: %s (offset %#" PRIx64 ")\n",
                         q->node->filename, what, offset);
        return -EIO;
    }
    if (first) {
        error_warn("qcow2: %s: Marking image as corrupt: %s (offset %#" PRIx64
                   "); further corruption events will be suppressed",
                   q->node->filename, what, offset);
        if (q->header.version >= 3) {
            q->header.incompatible |= QCOW2_INCOMPAT_CORRUPT;
            if (qcow2_write_header(q) == 0) {
                (void)block_flush(q->file);
            }
        }
    }
    return -EIO;
}

int qcow2_overlap_found(struct qcow2 *q, uint64_t offset, unsigned kinds)
{
    static const char *const names[] = {
        "Preventing invalid write on metadata (overlaps with qcow2_header)",
        "Preventing invalid write on metadata (overlaps with active L1 table)",
        "Preventing invalid write on metadata (overlaps with active L2 table)",
        "Preventing invalid write on metadata (overlaps with refcount block)",
        "Preventing invalid write on metadata (overlaps with refcount table)",
        "Preventing invalid write on metadata (overlaps with snapshot table)",
        "Preventing invalid write on metadata (overlaps with inactive L1 table)",
        "Preventing invalid write on metadata (overlaps with inactive L2 table)",
        "Preventing invalid write on metadata (overlaps with bitmap directory)",
    };

    return qcow2_corrupt(q, names[__builtin_ctz(kinds)], offset);
}
