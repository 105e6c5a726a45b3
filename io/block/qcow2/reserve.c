/*
 * Room ahead in the image file.
 *
 * A write behind the end of a file makes the host change the file's length, and one into a hole
 * makes it look for blocks, each under the file's lock: writes that are under way at the same time
 * wait for each other. So when there are several the file is made longer, with blocks, in steps of
 * a part of its size. (A single one is done sooner without: blocks that were there before are
 * marked as written by another thread of the host.) What lies behind `zero_from` still reads as
 * zeros. The rest is cut off when the image is closed; after a crash it stays, as free clusters.
 */
#include "io/block/qcow2/qcow2.h"

#include <errno.h>

#define STEP_LEAST (UINT64_C(1) << 20)
#define STEP_MOST  (UINT64_C(64) << 20)

static uint64_t step(const struct qcow2 *q)
{
    uint64_t least = qcow2_max(STEP_LEAST, 16 * q->cluster_size);

    return qcow2_max(least, qcow2_min(q->zero_from / 8, STEP_MOST)) & ~(q->cluster_size - 1);
}

bool qcow2_reserve_due(const struct qcow2 *q, uint64_t end)
{
    return q->places && !q->no_reserve && !q->reserving && q->file->growable &&
           end + step(q) / 4 > block_size(q->file);
}

void qcow2_reserve(struct qcow2 *q, uint64_t end)
{
    int err;

    if (!qcow2_reserve_due(q, end)) {
        return;
    }
    q->reserving = true;
    end += step(q);
    pthread_mutex_unlock(&q->lock);
    err = block_reserve(q->file, end);
    pthread_mutex_lock(&q->lock);
    q->reserving = false;
    q->reserved = q->reserved || err == 0;
    q->no_reserve = err != 0;
}

void qcow2_reserve_end(struct qcow2 *q)
{
    char error[256];

    if (q->reserved && qcow2_refusal(q) == 0 && q->zero_from < block_size(q->file)) {
        /* What can't be cut off are free clusters. */
        (void)block_truncate(q->file, q->zero_from, false, BLOCK_PREALLOC_OFF, error,
                             sizeof(error));
    }
    q->reserved = false;
}
