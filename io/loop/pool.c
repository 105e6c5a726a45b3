/*
 * Workers take jobs from one queue. A finished job goes to the outlet of its loop, a list with a
 * bottom half; there is an outlet for each loop that ever submitted.
 */
#include "io/loop/pool.h"

#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

struct outlet {
    struct loop_pool *pool;
    struct loop *loop;
    struct loop_bh *bh;
    struct loop_job *first, **last; /* finished, in the order of finishing */
    unsigned pending;               /* submitted and not done */
    struct outlet *next;
};

struct loop_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct loop_job *first, **last; /* waiting for a worker */
    unsigned max, idle, count;      /* threads: allowed, waiting for work, alive */
    unsigned waiting;               /* jobs in the queue */
    bool ending;
    pthread_t *thread;
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

    pthread_mutex_lock(&o->pool->lock);
    struct loop_job *job = o->first;

    o->first = NULL;
    o->last = &o->first;
    pthread_mutex_unlock(&o->pool->lock);
    while (job) {
        struct loop_job *next = job->next; /* done() may free the job */

        job->done(job);
        pthread_mutex_lock(&o->pool->lock);
        o->pending--;
        pthread_mutex_unlock(&o->pool->lock);
        job = next;
    }
}

static void *worker_main(void *opaque)
{
    struct loop_pool *pool = opaque;

    prctl(PR_SET_NAME, "tinamou-worker");
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->first && !pool->ending) {
            pool->idle++;
            pthread_cond_wait(&pool->work, &pool->lock);
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
        pthread_mutex_unlock(&pool->lock);
        job->work(job);
        pthread_mutex_lock(&pool->lock);
        struct outlet *o = outlet_of_locked(pool, job->loop);

        job->next = NULL;
        *o->last = job;
        o->last = &job->next;
        loop_bh_schedule(o->bh);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Without a first worker nothing would ever be done; without a further one it takes longer. */
static void start_worker_locked(struct loop_pool *pool)
{
    sigset_t all, before;

    /* Signals are for the threads that expect them; what a sandbox has to say is not such a one. */
    sigfillset(&all);
    sigdelset(&all, SIGSYS);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&pool->thread[pool->count], NULL, worker_main, pool) == 0) {
        pool->count++;
    } else {
        g_assert(pool->count);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct loop_pool *loop_pool_create(unsigned threads)
{
    struct loop_pool *pool = g_try_new0(struct loop_pool, 1);

    if (pool) {
        pthread_mutex_init(&pool->lock, NULL);
        pthread_cond_init(&pool->work, NULL);
        pool->last = &pool->first;
        pool->max = MAX(threads, 1);
        pool->thread = g_new0(pthread_t, pool->max);
    }
    return pool;
}

void loop_pool_submit(struct loop_pool *pool, struct loop_job *job)
{
    pthread_mutex_lock(&pool->lock);
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
        start_worker_locked(pool);
    }
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

void loop_pool_forget(struct loop_pool *pool, struct loop *loop)
{
    pthread_mutex_lock(&pool->lock);
    struct outlet **at = &pool->outlets, *o;

    while (*at && (*at)->loop != loop) {
        at = &(*at)->next;
    }
    o = *at;
    if (o) {
        g_assert(!o->pending);
        *at = o->next;
    }
    pthread_mutex_unlock(&pool->lock);
    if (o) {
        loop_bh_destroy(o->bh);
        g_free(o);
    }
}

void loop_pool_rest(struct loop_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->count; i++) {
        pthread_join(pool->thread[i], NULL);
    }
    pool->count = 0;
    pool->ending = false;
}

void loop_pool_destroy(struct loop_pool *pool)
{
    for (struct outlet *o = pool->outlets; o; o = o->next) {
        for (;;) {
            pthread_mutex_lock(&pool->lock);
            bool busy = o->pending != 0;

            pthread_mutex_unlock(&pool->lock);
            if (!busy) {
                break;
            }
            loop_iterate(o->loop, true);
        }
    }
    loop_pool_rest(pool);
    while (pool->outlets) {
        struct outlet *o = pool->outlets;

        pool->outlets = o->next;
        loop_bh_destroy(o->bh);
        g_free(o);
    }
    g_free(pool->thread);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    g_free(pool);
}
