/*
 * The event loop: file descriptors, timers, bottom halves, and a pool of workers.
 *
 * There is the main loop, for monitors, timers and devices, and one loop for each I/O thread. A
 * loop is run by one thread; its callbacks are called there. The main loop holds the machine lock
 * except while it waits: whoever creates it says how (loop_set_lock()).
 *
 * It is a GLib main context underneath, so libraries that bring GLib sources can be attached to it
 * (loop_context()); no header here needs GLib's.
 */
#ifndef TINAMOU_IO_LOOP_LOOP_H
#define TINAMOU_IO_LOOP_LOOP_H

#include "io/loop/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct _GMainContext;
struct loop;

/* A loop that nobody runs yet; NULL when the host refuses (descriptors, memory). Any thread. */
struct loop *loop_create(void);

/* It does not run, and nothing is left in it. */
void loop_destroy(struct loop *loop);

/*
 * How the loop's thread lets go of a lock while it waits: release() before waiting, acquire()
 * after. Set before it runs; the thread calls loop_run() with the lock held.
 */
void loop_set_lock(struct loop *loop, void (*acquire)(void), void (*release)(void));

/*
 * Before it sleeps, the loop may look for events for at most so many nanoseconds (0 at first: it
 * does not): it does so only while they come that fast, so an idle loop still sleeps. For loops
 * that vCPUs notify. Before it runs, or by its thread.
 */
void loop_set_look(struct loop *loop, int64_t most);

/* Calls callbacks until loop_quit(). By the one thread that owns the loop from now on. */
void loop_run(struct loop *loop);

/*
 * One round: waits if `wait` and nothing is ready, calls what is ready; true if it called anything.
 * By the loop's thread, also from inside a callback (a nested wait, for draining requests).
 */
bool loop_iterate(struct loop *loop, bool wait);

/* Makes loop_run() return after the callback that is running. Any thread, also before loop_run().
 */
void loop_quit(struct loop *loop);

/* Is the caller the loop's thread, inside of loop_run() or loop_iterate()? */
bool loop_is_current(const struct loop *loop);

struct _GMainContext *loop_context(struct loop *loop);

/* ---- file descriptors ------------------------------------------------------------------------ */

#define LOOP_IN  1u /* can be read, or the other end is gone */
#define LOOP_OUT 2u /* can be written */
#define LOOP_ERR 4u /* error or hang-up; always reported */

struct loop_fd; /* a watched descriptor */

/*
 * Calls fn(opaque, events) whenever one of the events is there (level-triggered). The descriptor
 * stays the caller's and is not closed before the watch is removed. NULL when out of memory.
 */
struct loop_fd *loop_fd_add(struct loop *loop, int fd, unsigned events,
                            void (*fn)(void *opaque, unsigned events), void *opaque);

/* Changes what is waited for; 0 waits for errors only. By the loop's thread. */
void loop_fd_set_events(struct loop_fd *watch, unsigned events);

/* fn is not called any more when this returns. By the loop's thread, also inside of fn. */
void loop_fd_remove(struct loop_fd *watch);

/* ---- timers ---------------------------------------------------------------------------------- */

/* Embedded by its user, who does not touch it. */
struct loop_timer {
    struct loop *loop;
    enum loop_clock clock;
    int64_t deadline; /* LOOP_NEVER: not armed */
    size_t slot;      /* in the heap */
    void (*fn)(void *opaque);
    void *opaque;
};

/* A disarmed timer. */
void loop_timer_init(struct loop_timer *timer, struct loop *loop, enum loop_clock clock,
                     void (*fn)(void *opaque), void *opaque);

/*
 * Has fn called once, as soon as the clock shows at least `deadline` (nanoseconds); replaces any
 * earlier deadline; LOOP_NEVER disarms. Precise to the host's timers, not rounded to milliseconds.
 * Any thread; but when another thread than the loop's disarms, fn may be running. Timers that are
 * due together fire in the order of their deadlines.
 */
void loop_timer_arm(struct loop_timer *timer, int64_t deadline);

static inline void loop_timer_cancel(struct loop_timer *timer)
{
    loop_timer_arm(timer, LOOP_NEVER);
}

static inline bool loop_timer_is_armed(const struct loop_timer *timer)
{
    return timer->deadline != LOOP_NEVER;
}

/* ---- bottom halves --------------------------------------------------------------------------- */

struct loop_bh; /* something to be done soon, on the loop's thread */

/* NULL when out of memory. Any thread. */
struct loop_bh *loop_bh_create(struct loop *loop, void (*fn)(void *opaque), void *opaque);

/*
 * Has fn called once by the loop; scheduling what is scheduled already does nothing, scheduling in
 * fn itself means another call. What the caller stored before is visible to fn. Any thread;
 * async-signal-safe.
 */
void loop_bh_schedule(struct loop_bh *bh);

/* fn is not called any more. By the loop's thread, also inside of fn; frees bh. */
void loop_bh_destroy(struct loop_bh *bh);

/* ---- posts ----------------------------------------------------------------------------------- */

/* What is to be done in the loop's next round, for what comes with every request: it is embedded by
 * its user, and on the loop's own thread costs no system call. */
struct loop_post {
    void (*fn)(struct loop_post *post);
    struct loop_post *next;
};

/*
 * Has post->fn called once on the loop's thread, in the order of posting. The loop does not touch
 * the post any more then: fn may free it or post it again. Posts come before descriptors, which
 * have their turn at least in every LOOP_POSTS_ONLY-th round. Any thread; not from signal handlers,
 * and not what is posted already.
 */
void loop_post(struct loop *loop, struct loop_post *post);
#define LOOP_POSTS_ONLY 8

#endif
