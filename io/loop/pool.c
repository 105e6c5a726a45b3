/*
 * Workers take jobs from one queue. A finished job goes to the outlet of its loop, a list with a
 * bottom half; there is an outlet for each loop that ever submitted.
 */
#include "io/loop/pool.h"

#include <glib.h>

struct outlet {
    struct loop_pool *pool;
    struct loop *loop;
    struct loop_bh *bh;
    struct loop_job *first, **last; /* finished, in the order of finishing */
    unsigned pending;               /* submitted and not done */
    struct outlet *next;
};

struct loop_pool {
    GMutex lock;
    GCond work;
    struct loop_job *first, **last; /* waiting for a worker */
    unsigned max, idle, count;      /* threads: allowed, waiting for work, alive */
    unsigned waiting;               /* jobs in the queue */
    bool ending;
    GThread **thread;
    struct outlet *outlets;
};

static struct outlet *outlet_of_locked(struct loop_pool *pool, struct loop *loop)
{
    struct outlet *o = pool->outlets;

    while (o && o->loop != loop) {
        o = o->next;
    }
    return o;
}

/* Calls done() of what has finished, on the loop's thread. */
static void outlet_ready(void *opaque)
{
    struct outlet *o = opaque;

    g_mutex_lock(&o->pool->lock);
    struct loop_job *job = o->first;

    o->first = NULL;
    o->last = &o->first;
    g_mutex_unlock(&o->pool->lock);
    while (job) {
        struct loop_job *next = job->next; /* done() may free the job */

        job->done(job);
        g_mutex_lock(&o->pool->lock);
        o->pending--;
        g_mutex_unlock(&o->pool->lock);
        job = next;
    }
}

static gpointer worker_main(gpointer opaque)
{
    struct loop_pool *pool = opaque;

    g_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->first && !pool->ending) {
            pool->idle++;
            g_cond_wait(&pool->work, &pool->lock);
            pool->idle--;
        }
        struct loop_job *job = pool->first;

        if (!job) {
            break;
        }
        pool->first = job->next;
        if (!pool->first) {
            pool->last = &pool->first;
        }
        pool->waiting--;
        g_mutex_unlock(&pool->lock);
        job->work(job);
        g_mutex_lock(&pool->lock);
        struct outlet *o = outlet_of_locked(pool, job->loop);

        job->next = NULL;
        *o->last = job;
        o->last = &job->next;
        loop_bh_schedule(o->bh);
    }
    g_mutex_unlock(&pool->lock);
    return NULL;
}

struct loop_pool *loop_pool_create(unsigned threads)
{
    struct loop_pool *pool = g_try_new0(struct loop_pool, 1);

    if (pool) {
        g_mutex_init(&pool->lock);
        g_cond_init(&pool->work);
        pool->last = &pool->first;
        pool->max = MAX(threads, 1);
        pool->thread = g_new0(GThread *, pool->max);
    }
    return pool;
}

void loop_pool_submit(struct loop_pool *pool, struct loop_job *job)
{
    g_mutex_lock(&pool->lock);
    struct outlet *o = outlet_of_locked(pool, job->loop);

    if (!o) {
        o = g_new0(struct outlet, 1);
        o->pool = pool;
        o->loop = job->loop;
        o->last = &o->first;
        o->bh = loop_bh_create(job->loop, outlet_ready, o);
        g_assert(o->bh);
        o->next = pool->outlets;
        pool->outlets = o;
    }
    o->pending++;
    job->next = NULL;
    *pool->last = job;
    pool->last = &job->next;
    pool->waiting++;
    if (pool->waiting > pool->idle && pool->count < pool->max) {
        pool->thread[pool->count++] = g_thread_new("tinamou-worker", worker_main, pool);
    }
    g_cond_signal(&pool->work);
    g_mutex_unlock(&pool->lock);
}

void loop_pool_destroy(struct loop_pool *pool)
{
    for (struct outlet *o = pool->outlets; o; o = o->next) {
        for (;;) {
            g_mutex_lock(&pool->lock);
            bool busy = o->pending != 0;

            g_mutex_unlock(&pool->lock);
            if (!busy) {
                break;
            }
            loop_iterate(o->loop, true);
        }
    }
    g_mutex_lock(&pool->lock);
    pool->ending = true;
    g_cond_broadcast(&pool->work);
    g_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->count; i++) {
        g_thread_join(pool->thread[i]);
    }
    while (pool->outlets) {
        struct outlet *o = pool->outlets;

        pool->outlets = o->next;
        loop_bh_destroy(o->bh);
        g_free(o);
    }
    g_free(pool->thread);
    g_mutex_clear(&pool->lock);
    g_cond_clear(&pool->work);
    g_free(pool);
}
