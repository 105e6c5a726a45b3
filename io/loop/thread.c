/*
 * I/O threads; see thread.h. The list belongs to the main loop's thread, so it needs no lock: an
 * I/O thread knows its loop only.
 */
#include "io/loop/thread.h"
#include "io/loop/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct loop_thread {
    struct loop_thread *next;
    struct loop *loop;
    pthread_t thread;
    unsigned users;
    char name[];
};

static struct loop_thread *threads;

static void *run(void *opaque)
{
    struct loop_thread *thread = opaque;

    loop_run(thread->loop);
    return NULL;
}

int loop_thread_create(struct loop_thread **thread, const char *name, char *error,
                       size_t error_size)
{
    struct loop_thread *made = calloc(1, sizeof(*made) + strlen(name) + 1);
    sigset_t all, before;
    int err = ENOMEM;

    *thread = NULL;
    if (made) {
        strcpy(made->name, name);
        made->loop = loop_create();
    }
    if (made && made->loop) {
        sigfillset(&all);
        sigdelset(&all, SIGSYS); /* of a sandbox, about the call that the thread makes */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        err = pthread_create(&made->thread, NULL, run, made);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (err) {
        snprintf(error, error_size, "iothread %s: %s", name, strerror(err));
        if (made && made->loop) {
            loop_destroy(made->loop);
        }
        free(made);
        return -err;
    }
    made->next = threads;
    threads = made;
    *thread = made;
    return 0;
}

struct loop_thread *loop_thread_find(const char *name)
{
    struct loop_thread *thread = threads;

    while (thread && strcmp(thread->name, name) != 0) {
        thread = thread->next;
    }
    return thread;
}

struct loop *loop_thread_loop(struct loop_thread *thread)
{
    return thread->loop;
}

void loop_thread_use(struct loop_thread *thread, bool use)
{
    thread->users += use ? 1 : -1U;
}

struct visit {
    struct loop *loop;
    struct loop_bh *bh;
    void (*fn)(struct loop *loop, void *opaque);
    void *opaque;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static void visited(void *opaque)
{
    struct visit *visit = opaque;

    visit->fn(visit->loop, visit->opaque);
    loop_bh_destroy(visit->bh);
    pthread_mutex_lock(&visit->lock);
    visit->done = true;
    pthread_cond_signal(&visit->changed);
    pthread_mutex_unlock(&visit->lock);
}

int loop_thread_run_all(void (*fn)(struct loop *loop, void *opaque), void *opaque)
{
    for (struct loop_thread *thread = threads; thread; thread = thread->next) {
        struct visit visit = {.loop = thread->loop,
                              .fn = fn,
                              .opaque = opaque,
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER};

        visit.bh = loop_bh_create(thread->loop, visited, &visit);
        if (!visit.bh) {
            return -ENOMEM;
        }
        loop_bh_schedule(visit.bh);
        pthread_mutex_lock(&visit.lock);
        while (!visit.done) {
            pthread_cond_wait(&visit.changed, &visit.lock);
        }
        pthread_mutex_unlock(&visit.lock);
    }
    return 0;
}

int loop_thread_destroy(struct loop_thread *thread, void (*gone)(struct loop *loop))
{
    struct loop_thread **link = &threads;

    if (thread->users) {
        return -EBUSY;
    }
    while (*link != thread) {
        link = &(*link)->next;
    }
    *link = thread->next;
    loop_quit(thread->loop);
    pthread_join(thread->thread, NULL);
    if (gone) {
        gone(thread->loop);
    }
    loop_destroy(thread->loop);
    free(thread);
    return 0;
}
