/*
 * Workers take jobs from one queue. A finished job is posted to its loop; what is under way is
 * counted for each loop that ever submitted.
 */
#include "io/loop/pool.h"

#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

struct loop_outlet {
    struct loop *loop;
    unsigned pending; /* submitted and not done; atomic */
    struct loop_outlet *next;
};

struct loop_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct loop_job *first, **last; /* waiting for a worker */
    unsigned max, idle, count;      /* threads: allowed, waiting for work, alive */
    unsigned waiting;               /* jobs in the queue */
    bool ending;
    pthread_t *thread;
    struct loop_outlet *outlets;
};

static struct loop_outlet *outlet_of_locked(struct loop_pool *pool, struct loop *loop)
{
    struct loop_outlet *o = pool->outlets;

    while (o && o->loop != loop) {
        o = o->next;
    }
    if (!o) {
        o = g_new0(struct loop_outlet, 1);
        o->loop = loop;
        o->next = pool->outlets;
        pool->outlets = o;
    }
    return o;
}

/* On the loop's thread. */
static void finished(struct loop_post *post)
{
    struct loop_job *job = (struct loop_job *)((char *)post - offsetof(struct loop_job, post));
    struct loop_outlet *o = job->outlet;

    job->done(job); /* may free the job */
    __atomic_fetch_sub(&o->pending, 1, __ATOMIC_RELEASE);
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
        loop_post(job->loop, &job->post);
        pthread_mutex_lock(&pool->lock);
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
    bool wake;

    job->next = NULL;
    job->post.fn = finished;
    pthread_mutex_lock(&pool->lock);
    job->outlet = outlet_of_locked(pool, job->loop);
    __atomic_fetch_add(&job->outlet->pending, 1, __ATOMIC_RELAXED);
    *pool->last = job;
    pool->last = &job->next;
    pool->waiting++;
    if (pool->waiting > pool->idle && pool->count < pool->max) {
        start_worker_locked(pool);
    }
    wake = pool->idle != 0;
    pthread_mutex_unlock(&pool->lock);
    if (wake) {
        pthread_cond_signal(&pool->work);
    }
}

void loop_pool_forget(struct loop_pool *pool, struct loop *loop)
{
    pthread_mutex_lock(&pool->lock);
    struct loop_outlet **at = &pool->outlets, *o;

    while (*at && (*at)->loop != loop) {
        at = &(*at)->next;
    }
    o = *at;
    if (o) {
        g_assert(!__atomic_load_n(&o->pending, __ATOMIC_ACQUIRE));
        *at = o->next;
    }
    pthread_mutex_unlock(&pool->lock);
    g_free(o);
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
    for (struct loop_outlet *o = pool->outlets; o; o = o->next) {
        while (__atomic_load_n(&o->pending, __ATOMIC_ACQUIRE)) {
            loop_iterate(o->loop, true);
        }
    }
    loop_pool_rest(pool);
    while (pool->outlets) {
        struct loop_outlet *o = pool->outlets;

        pool->outlets = o->next;
        g_free(o);
    }
    g_free(pool->thread);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    g_free(pool);
}
