/*
 * Claims of requests on guest clusters, and waiting.
 *
 * The list is short (one for each request under way), so it is walked. All waiting in the driver is
 * on one condition: what is waited for is rare and takes one input or output of somebody who does
 * not wait himself, so nobody waits for a worker that is not there.
 */
#include "io/block/qcow2/qcow2.h"

void qcow2_wait(struct qcow2 *q)
{
    q->waiters++;
    pthread_cond_wait(&q->changed, &q->lock);
    q->waiters--;
}

void qcow2_wake(struct qcow2 *q)
{
    if (q->waiters) {
        pthread_cond_broadcast(&q->changed);
    }
}

uint64_t qcow2_claim_limit(const struct qcow2 *q, uint64_t first, uint64_t last, bool exclusive)
{
    uint64_t limit = last + 1;

    if (q->quiesced) {
        return first;
    }
    for (const struct qcow2_claim *claim = q->claims; claim; claim = claim->next) {
        if ((exclusive || claim->exclusive) && claim->first < limit && claim->last >= first) {
            limit = claim->first > first ? claim->first : first;
        }
    }
    return limit;
}

bool qcow2_claim_wait(struct qcow2 *q, uint64_t first, uint64_t last, bool exclusive)
{
    bool waited = false;

    while (qcow2_claim_limit(q, first, last, exclusive) <= last) {
        qcow2_wait(q);
        waited = true;
    }
    return waited;
}

void qcow2_claim_add(struct qcow2 *q, struct qcow2_claim *claim, uint64_t first, uint64_t last,
                     bool exclusive)
{
    *claim = (struct qcow2_claim){
        .first = first, .last = last, .exclusive = exclusive, .next = q->claims};
    if (claim->next) {
        claim->next->prev = claim;
    }
    q->claims = claim;
}

void qcow2_claim_remove(struct qcow2 *q, struct qcow2_claim *claim)
{
    *(claim->prev ? &claim->prev->next : &q->claims) = claim->next;
    if (claim->next) {
        claim->next->prev = claim->prev;
    }
    qcow2_wake(q);
}

void qcow2_quiesce(struct qcow2 *q)
{
    pthread_mutex_lock(&q->lock);
    while (q->quiesced) {
        qcow2_wait(q);
    }
    q->quiesced = true;
    while (q->claims) {
        qcow2_wait(q);
    }
    pthread_mutex_unlock(&q->lock);
}

void qcow2_resume(struct qcow2 *q)
{
    pthread_mutex_lock(&q->lock);
    q->quiesced = false;
    qcow2_wake(q);
    pthread_mutex_unlock(&q->lock);
}
