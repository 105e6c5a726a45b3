/*
 * A pool of worker threads, for what would block a loop: straight-line image code, files where
 * io_uring may not be used, compression, name resolution.
 *
 * A worker may not wait for another job: all workers could be such waiters. What has steps submits
 * the next one from done().
 */
#ifndef TINAMOU_IO_LOOP_POOL_H
#define TINAMOU_IO_LOOP_POOL_H

#include "io/loop/loop.h"

struct loop_pool;

/* Embedded by the user, who leaves it alone between submit and done. */
struct loop_job {
    void (*work)(struct loop_job *job); /* on a worker, without locks */
    void (*done)(struct loop_job *job); /* on the loop's thread; may free or submit the job again */
    struct loop *loop;
    struct loop_job *next;
    struct loop_outlet *outlet;
    struct loop_post post;
};

/* At most `threads` (at least 1) workers; they start when needed. NULL when out of memory. */
struct loop_pool *loop_pool_create(unsigned threads);

/*
 * Ends the workers, which come again when they are needed, as children of whoever needs them then.
 * No job is under way, and nobody submits one meanwhile. Main loop's thread.
 */
void loop_pool_rest(struct loop_pool *pool);

/*
 * All jobs submitted are done, done() included, and no worker is left when this returns; it runs
 * their loops where it must, so only the main loop's thread may call it, when I/O loops have ended.
 */
void loop_pool_destroy(struct loop_pool *pool);

/*
 * Has job->work called by a worker, and then job->done by the thread that runs job->loop. Jobs
 * start in the order of submission, and end in any. Any thread but a worker.
 */
void loop_pool_submit(struct loop_pool *pool, struct loop_job *job);

/* Frees what the pool keeps for a loop, before loop_destroy(). No job of the loop is under way. The
 * loop's thread, or when that has ended. */
void loop_pool_forget(struct loop_pool *pool, struct loop *loop);

#endif
