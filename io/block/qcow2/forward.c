/*
 * The way around the workers: what a request needs from the format is in memory, and the rest is
 * the same request on the file, or on the backing file.
 *
 * Reads of one extent go there under a shared claim, and so do writes in place. What reads as zeros
 * needs nobody. A write that allocates gets its clusters here (a "place"), if the counts and the
 * slice of the L2 table are in memory. The data goes to the place, with what is around it unless
 * the clusters are fresh and thereby zeros, or written as a whole; and then the L2 entries change,
 * as in io.c. The slice is pinned meanwhile, so that this needs no input. A request in several
 * extents is cut behind the first.
 *
 * Writes to other parts of a fresh place join it if all of it was zeros before: a guest that writes
 * in sequence has many of them under way for each cluster. The first that has been written links
 * the place, whose other parts read as before then, also after a power failure; it is there, with
 * its exclusive claim, until the last has been. If all fail the clusters are freed like others that
 * nothing refers to any more.
 */
#include "io/block/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_COPY (256u << 10) /* bytes of a write with what is around it */

struct qcow2_place {
    struct qcow2_run run;
    struct qcow2_claim claim;
    struct qcow2_slot *slot;
    uint64_t slice; /* its offset */
    unsigned users;
    bool joinable, linked;
    bool touched; /* something may have been written to it */
    struct qcow2_place *next, *prev;
};

struct qcow2_pass {
    struct qcow2_claim claim;
    struct qcow2_place *place; /* NULL: has a claim of its own */
    struct qcow2_pass *next;
};

static struct qcow2_pass *get_pass(struct qcow2 *q)
{
    struct qcow2_pass *pass = q->spare_passes;

    if (pass) {
        q->spare_passes = pass->next;
        pass->place = NULL;
        return pass;
    }
    return calloc(1, sizeof(*pass));
}

static void put_pass(struct qcow2 *q, struct qcow2_pass *pass)
{
    pass->next = q->spare_passes;
    q->spare_passes = pass;
}

void qcow2_forward_free(struct qcow2 *q)
{
    while (q->spare_passes) {
        struct qcow2_pass *pass = q->spare_passes;

        q->spare_passes = pass->next;
        free(pass);
    }
    while (q->spare_places) {
        struct qcow2_place *place = q->spare_places;

        q->spare_places = place->next;
        free(place);
    }
}

/* ---- places; lock held ----------------------------------------------------------------------- */

/* Guest bytes from the end of what backing files show on read as zeros where nothing is. */
static uint64_t shines_until(const struct qcow2 *q)
{
    return q->node->backing ? qcow2_min(block_size(q->node->backing->node), q->node->size) : 0;
}

/* Does all that the run replaces read as zeros? */
static bool was_zero(const struct qcow2 *q, const struct qcow2_run *run,
                     const struct qcow2_extent *extent)
{
    return extent->what == QCOW2_IS_ZERO ||
           (extent->what == QCOW2_IS_UNALLOCATED &&
            (run->first << q->cluster_bits) + run->lo >= shines_until(q));
}

/* Whether the request could be done below at all: not to be found out after something was allocated
 * for it. */
static bool is_aligned(const struct qcow2 *q, uint64_t offset, uint64_t size)
{
    uint32_t unit = q->data->alignment ? q->data->alignment : 1;

    return ((offset | size) & (unit - 1)) == 0;
}

static struct qcow2_place *add_place(struct qcow2 *q, const struct qcow2_run *run, uint64_t slice,
                                     bool joinable)
{
    struct qcow2_place *place = q->spare_places;

    if (place) {
        q->spare_places = place->next;
    } else {
        place = malloc(sizeof(*place));
        if (!place) {
            return NULL;
        }
    }
    *place =
        (struct qcow2_place){.run = *run, .slice = slice, .joinable = joinable, .next = q->places};
    if (place->next) {
        place->next->prev = place;
    }
    q->places = place;
    place->slot = qcow2_cache_pin(&q->l2_cache, slice);
    qcow2_claim_add(q, &place->claim, run->first, run->last, true);
    return place;
}

static void remove_place(struct qcow2 *q, struct qcow2_place *place)
{
    *(place->prev ? &place->prev->next : &q->places) = place->next;
    if (place->next) {
        place->next->prev = place->prev;
    }
    qcow2_cache_unpin(&q->l2_cache, place->slot);
    qcow2_claim_remove(q, &place->claim);
    place->next = q->spare_places;
    q->spare_places = place;
}

/* The place that all of these bytes belong to. */
static struct qcow2_place *find_place(const struct qcow2 *q, uint64_t offset, uint64_t size)
{
    struct qcow2_place *place = q->places;

    while (place && (offset < (place->run.first << q->cluster_bits) + place->run.lo ||
                     offset + size > (place->run.last << q->cluster_bits) + place->run.hi)) {
        place = place->next;
    }
    return place;
}

/* What a place is going to get. */
struct plan {
    struct qcow2_run run;
    uint64_t slice;       /* of the L2 entries */
    size_t before, after; /* around the guest's bytes */
    bool zero;            /* that and what is replaced reads as zeros */
    bool aligned;         /* the guest's bytes can be written without what is around them */
    bool copy;            /* they can be written with it */
};

/* False: a worker has to do it. */
static bool make_plan(struct qcow2 *q, uint64_t offset, size_t size,
                      const struct qcow2_extent *extent, struct plan *plan)
{
    struct qcow2_run *run = &plan->run;
    struct qcow2_entry first, last;
    const uint8_t *slice;
    bool is_private;

    *plan = (struct plan){.run = {.offset = offset, .size = size}};
    run->first = qcow2_cluster_of(q, offset);
    run->last = qcow2_cluster_of(q, offset + size - 1);
    slice = qcow2_slice_peek(q, run->first, &plan->slice, &is_private);
    if (q->external || extent->preallocated || q->frees.clusters > QCOW2_FREES_MAX || !slice ||
        !is_private || qcow2_slice_get(q, slice, run->first, &first) != 0 ||
        qcow2_slice_get(q, slice, run->last, &last) != 0) {
        return false;
    }
    qcow2_run_bounds(q, run, &first, &last);
    plan->before = offset - ((run->first << q->cluster_bits) + run->lo);
    plan->after = (run->last << q->cluster_bits) + run->hi - (offset + size);
    plan->zero = was_zero(q, run, extent);
    plan->aligned = is_aligned(q, offset, size);
    /* In one extent the old clusters are in a row; but with subclusters what is around may be of
     * another kind than what the guest writes. */
    plan->copy = plan->before + plan->after != 0 && extent->what != QCOW2_IS_COMPRESSED &&
                 q->subs == 1 && plan->before + size + plan->after <= MAX_COPY &&
                 is_aligned(q, offset - plan->before, plan->before + size + plan->after);
    return plan->copy || (plan->aligned && (plan->zero || plan->before + plan->after == 0));
}

/* Where the bytes around the guest's come from. */
static void copy_around(const struct qcow2 *q, const struct plan *plan,
                        const struct qcow2_extent *extent, struct block_forward *forward)
{
    forward->before = plan->before;
    forward->after = plan->after;
    forward->offset -= plan->before;
    if (!plan->zero && extent->what == QCOW2_IS_DATA) {
        forward->from = q->data;
        forward->from_offset = extent->host - plan->before;
    } else if (!plan->zero) {
        forward->from = q->node->backing->node;
        forward->from_offset = plan->run.offset - plan->before;
    }
}

/* Allocates clusters for a write of forward->size bytes; NULL when a worker has to. */
static struct qcow2_place *new_place(struct qcow2 *q, uint64_t offset,
                                     const struct qcow2_extent *extent,
                                     struct block_forward *forward)
{
    struct qcow2_place *place;
    struct plan plan;
    bool alone; /* nothing is written around it */
    uint64_t n;

    if (qcow2_reserve_due(q, q->zero_from) || !make_plan(q, offset, forward->size, extent, &plan)) {
        return NULL;
    }
    n = plan.run.last - plan.run.first + 1;
    alone = plan.before + plan.after == 0;
    if (qcow2_alloc_now(q, n, !alone && !plan.copy, &plan.run.host, &plan.run.fresh) != 0) {
        return NULL;
    }
    alone = alone || (plan.zero && plan.run.fresh && plan.aligned);
    place = add_place(q, &plan.run, plan.slice, alone && plan.zero && plan.run.fresh);
    if (!place) {
        qcow2_alloc_undo(q, plan.run.host, n, plan.run.fresh);
        return NULL;
    }
    forward->node = q->data;
    forward->offset = plan.run.host + qcow2_within(q, offset);
    if (!alone) {
        copy_around(q, &plan, extent, forward);
    }
    return place;
}

/* Makes the L2 entries say what was written. */
static void link_place(struct qcow2 *q, struct qcow2_place *place)
{
    const struct qcow2_run *run = &place->run;

    for (uint64_t cluster = run->first; cluster <= run->last; cluster++) {
        struct qcow2_entry old, entry;

        /* That it is valid was seen before, and the claim has kept it. */
        (void)qcow2_slice_get(q, place->slot->data, cluster, &old);
        qcow2_run_entry(q, run, cluster, &old, &entry);
        qcow2_slice_put(q, place->slot->data, cluster, &entry);
        qcow2_free_entry(q, old.raw, QCOW2_FREE_OTHER);
    }
    qcow2_cache_mark(&q->l2_cache, place->slice);
    q->data_dirty = true;
    place->linked = true;
}

static void leave_place(struct qcow2 *q, struct qcow2_place *place, int result)
{
    uint64_t n = place->run.last - place->run.first + 1;

    place->touched |= result != -ECANCELED;
    if (result == 0 && !place->linked) {
        link_place(q, place);
    }
    if (--place->users) {
        return;
    }
    if (!place->linked && place->touched) {
        qcow2_free_later(q, place->run.host, n << q->cluster_bits, QCOW2_FREE_NEVER);
    } else if (!place->linked) {
        qcow2_alloc_undo(q, place->run.host, n, place->run.fresh);
    }
    remove_place(q, place);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool nothing_dirty(const struct qcow2 *q)
{
    return !q->block_cache.dirty && !q->l2_cache.dirty && q->l1.dirty_first == q->l1.dirty_end &&
           q->reftable.dirty_first == q->reftable.dirty_end && !q->frees.count && !q->data_dirty &&
           !q->sync_busy;
}

static bool forward_read(struct qcow2 *q, uint64_t offset, const struct qcow2_extent *extent,
                         struct block_forward *forward)
{
    uint64_t shines = shines_until(q);

    if (extent->what == QCOW2_IS_DATA) {
        forward->node = q->data;
        forward->offset = extent->host;
    } else if (extent->what == QCOW2_IS_UNALLOCATED && offset < shines) {
        forward->node = q->node->backing->node;
        forward->offset = offset;
        forward->size = (size_t)qcow2_min(forward->size, shines - offset);
    } else {
        forward->zeros = true;
    }
    return extent->what != QCOW2_IS_COMPRESSED;
}

static bool forward_write(struct qcow2 *q, uint64_t offset, const struct qcow2_extent *extent,
                          struct qcow2_place **place, struct block_forward *forward)
{
    if (extent->what == QCOW2_IS_DATA && extent->copied) {
        if (!q->external && qcow2_overlaps(q, extent->host, forward->size, 0)) {
            return false;
        }
        if (!q->external) {
            q->zero_from = qcow2_max(q->zero_from, extent->host + forward->size);
        }
        forward->node = q->data;
        forward->offset = extent->host;
        return true;
    }
    *place = new_place(q, offset, extent, forward);
    return *place != NULL;
}

/* How much of the request is of one kind, and free for it; 0: unknown without input, or not free.
 */
static size_t one_extent(struct qcow2 *q, bool write, uint64_t offset, uint64_t size,
                         struct qcow2_extent *extent)
{
    uint64_t first = qcow2_cluster_of(q, offset), last, limit;

    if (qcow2_extent_peek(q, offset, size, extent) != 0) {
        return 0;
    }
    /* What is allocated at once is so in one slice; an extent reaches no further anyway, unless
     * there is no table. */
    last = qcow2_cluster_of(q, offset + extent->size - 1);
    limit = qcow2_claim_limit(q, first, last,
                              write && !(extent->what == QCOW2_IS_DATA && extent->copied));
    return limit > last    ? (size_t)extent->size
           : limit > first ? (size_t)((limit << q->cluster_bits) - offset)
                           : 0;
}

static struct qcow2_pass *pass_to_place(struct qcow2 *q, struct qcow2_place *place)
{
    struct qcow2_pass *pass = get_pass(q);

    place->users++;
    if (pass) {
        pass->place = place;
    } else {
        leave_place(q, place, -ECANCELED);
    }
    return pass;
}

static struct qcow2_pass *pass_with_claim(struct qcow2 *q, uint64_t offset, uint64_t size)
{
    struct qcow2_pass *pass = get_pass(q);

    if (pass) {
        qcow2_claim_add(q, &pass->claim, qcow2_cluster_of(q, offset),
                        qcow2_cluster_of(q, offset + size - 1), false);
    }
    return pass;
}

static bool forward_locked(struct qcow2 *q, bool write, uint64_t offset, uint64_t size,
                           struct block_forward *forward)
{
    struct qcow2_place *place = write ? find_place(q, offset, size) : NULL;
    struct qcow2_extent extent;

    if (place) {
        if (!place->joinable || q->quiesced || !is_aligned(q, offset, size)) {
            return false;
        }
        forward->node = q->data;
        forward->offset = place->run.host + (offset - (place->run.first << q->cluster_bits));
    } else {
        forward->size = one_extent(q, write, offset, size, &extent);
        if (!forward->size || !(write ? forward_write(q, offset, &extent, &place, forward)
                                      : forward_read(q, offset, &extent, forward))) {
            return false;
        }
    }
    if (forward->zeros) {
        return true;
    }
    forward->cookie = place ? pass_to_place(q, place) : pass_with_claim(q, offset, forward->size);
    return forward->cookie != NULL;
}

bool qcow2_forward(struct block_node *node, enum block_request_kind kind, uint64_t offset,
                   uint64_t size, struct block_forward *forward)
{
    struct qcow2 *q = node->state;
    bool yes = false;

    pthread_mutex_lock(&q->lock);
    if (kind == BLOCK_FLUSH) {
        yes = q->writable && !q->external && !q->unsettled && nothing_dirty(q);
        forward->node = q->file;
    } else if ((kind == BLOCK_READ || (kind == BLOCK_WRITE && q->writable && !qcow2_refusal(q))) &&
               size && !q->header.crypt && offset + size <= q->header.size) {
        yes = forward_locked(q, kind == BLOCK_WRITE, offset, size, forward);
    }
    pthread_mutex_unlock(&q->lock);
    return yes;
}

void qcow2_forward_done(struct block_node *node, void *cookie, enum block_request_kind kind,
                        int result)
{
    struct qcow2 *q = node->state;
    struct qcow2_pass *pass = cookie;

    (void)kind;
    if (pass) {
        pthread_mutex_lock(&q->lock);
        if (pass->place) {
            leave_place(q, pass->place, result);
        } else {
            qcow2_claim_remove(q, &pass->claim);
        }
        put_pass(q, pass);
        pthread_mutex_unlock(&q->lock);
    }
}
