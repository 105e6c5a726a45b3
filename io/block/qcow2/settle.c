/*
 * The header, and what follows when a change in several steps fails on its way.
 *
 * After a failed write of the header nobody knows which one is on the medium. After a failed change
 * of a snapshot counts may be too high and "copied" flags wrong. Then the node is `unsettled`:
 * nothing that either header points to is freed or used again, no metadata is written, and whoever
 * wants to change something has to settle first, which fails as long as the host fails: the header
 * that is meant is written, and the check makes counts and flags right. So after a full disk has
 * room again everything goes on; and a process that ends before leaves an image with at worst
 * leaks, or (version 3) the dirty bit, which has it repaired when it is opened.
 */
#include "io/block/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int qcow2_unsettle(struct qcow2 *q, int err)
{
    int none = 0;

    (void)atomic_compare_exchange_strong(&q->unsettled, &none, err);
    return err;
}

static int settle(struct qcow2 *q)
{
    struct block_check check = {0};
    int err = qcow2_store_header(q);

    if (err == 0) {
        err = qcow2_sync_all(q);
    }
    if (err == 0) {
        err = qcow2_check_image(q, BLOCK_CHECK_LEAKS | BLOCK_CHECK_ERRORS, &check);
    }
    if (err == 0 && (check.corruptions || check.check_errors)) {
        err = -EIO;
    }
    if (err == 0) {
        err = qcow2_owners_rebuild(q);
    }
    if (err == 0) {
        err = q->lazy ? qcow2_set_dirty(q) : qcow2_clear_dirty(q);
    }
    return err;
}

int qcow2_settle_quiesced(struct qcow2 *q)
{
    int err;

    if (!q->unsettled) {
        return 0;
    }
    if (q->broken) {
        return -EIO;
    }
    q->settling = true;
    err = settle(q);
    if (err == 0) {
        q->unsettled = 0;
    }
    q->settling = false;
    return err;
}

int qcow2_settle(struct qcow2 *q)
{
    int err;

    if (!q->unsettled) {
        return 0;
    }
    qcow2_quiesce(q);
    err = qcow2_settle_quiesced(q);
    qcow2_resume(q);
    return err;
}

/* ---- header ---------------------------------------------------------------------------------- */

/* Sectors [*first, *end) of the cluster differ from what is on the medium. */
static void find_changes(const struct qcow2 *q, const uint8_t *image, size_t *first, size_t *end)
{
    *first = 0;
    *end = q->cluster_size;
    if (q->header_unknown) {
        return;
    }
    while (*first < *end && memcmp(image + *first, q->header_image + *first, 512) == 0) {
        *first += 512;
    }
    while (*end > *first && memcmp(image + *end - 512, q->header_image + *end - 512, 512) == 0) {
        *end -= 512;
    }
}

/* What the first sector points to is there before it. */
static int write_changes(struct qcow2 *q, const uint8_t *image, size_t first, size_t end)
{
    int err = 0;

    if (first == 0 && end > 512) {
        err = block_pwrite(q->file, 512, image + 512, end - 512, 0);
        if (err == 0) {
            err = block_flush(q->file);
        }
        end = 512;
    }
    return err == 0 && end > first ? block_pwrite(q->file, first, image + first, end - first, 0)
                                   : err;
}

/*
 * Only the sectors that differ are written: nearly always the first, which holds all offsets and
 * feature bits and is written atomically. header_lock held.
 */
static int write_header_locked(struct qcow2 *q, uint8_t *image)
{
    size_t first, end;
    int err = qcow2_header_write(&q->header, q->header_image, image);

    if (err != 0) {
        return err;
    }
    find_changes(q, image, &first, &end);
    err = write_changes(q, image, first, end);
    if (err == 0) {
        memcpy(q->header_image, image, q->cluster_size);
    } else {
        /* Behind the first sector the new one has what either of them needs. */
        memcpy(q->header_image + 512, image + 512, q->cluster_size - 512);
    }
    q->header_unknown = err != 0;
    return err == 0 ? 0 : qcow2_unsettle(q, err);
}

int qcow2_write_header(struct qcow2 *q)
{
    uint8_t *image = malloc(q->cluster_size);
    int err;

    if (!image) {
        return -ENOMEM;
    }
    pthread_mutex_lock(&q->header_lock);
    err = write_header_locked(q, image);
    pthread_mutex_unlock(&q->header_lock);
    free(image);
    return err;
}

int qcow2_store_header(struct qcow2 *q)
{
    int err = qcow2_write_header(q);

    if (err == 0) {
        err = block_flush(q->file);
        if (err != 0) {
            pthread_mutex_lock(&q->header_lock);
            q->header_unknown = true; /* the host may have forgotten it */
            pthread_mutex_unlock(&q->header_lock);
            qcow2_unsettle(q, err);
        }
    }
    return err;
}

int qcow2_set_dirty(struct qcow2 *q)
{
    int err;

    if (q->header.version < 3 || (q->header.incompatible & QCOW2_INCOMPAT_DIRTY)) {
        return 0;
    }
    q->header.incompatible |= QCOW2_INCOMPAT_DIRTY;
    err = qcow2_store_header(q);
    if (err != 0) {
        q->header.incompatible &= ~(uint64_t)QCOW2_INCOMPAT_DIRTY;
    }
    return err;
}

int qcow2_clear_dirty(struct qcow2 *q)
{
    int err;

    if (!(q->header.incompatible & QCOW2_INCOMPAT_DIRTY)) {
        return 0;
    }
    err = qcow2_barrier(q);
    if (err == 0) {
        q->header.incompatible &= ~(uint64_t)QCOW2_INCOMPAT_DIRTY;
        err = qcow2_store_header(q);
        if (err != 0) {
            q->header.incompatible |= QCOW2_INCOMPAT_DIRTY;
        }
    }
    return err;
}
