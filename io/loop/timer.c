/*
 * Timers: a binary heap per clock and loop, and a timerfd for each kind of host time. GLib's own
 * timeouts are whole milliseconds, which a guest's timer interrupt would notice.
 *
 * One lock for all loops: the virtual clock's start and stop touches every loop, and arming is
 * short. Callbacks run without it.
 */
#include "io/loop/internal.h"
#include "util/lock.h"

#include <glib.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct heap {
    struct loop_timer **slot;
    size_t count, room;
};

struct loop_timers {
    struct heap heap[LOOP_CLOCK_COUNT];
    int fd[2];      /* monotonic, wall clock */
    int64_t set[2]; /* what they are set to; LOOP_NEVER: to nothing */
    struct loop_fd *watch[2];
    struct loop_timers *next;
};

static struct lock timers_lock = LOCK_INIT;
static struct loop_timers *all_timers;

static void put(struct heap *heap, size_t slot, struct loop_timer *timer)
{
    heap->slot[slot] = timer;
    timer->slot = slot;
}

static void sift(struct heap *heap, size_t slot, struct loop_timer *timer)
{
    while (slot && heap->slot[(slot - 1) / 2]->deadline > timer->deadline) {
        put(heap, slot, heap->slot[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * slot + 1;

        if (child + 1 < heap->count &&
            heap->slot[child + 1]->deadline < heap->slot[child]->deadline) {
            child++;
        }
        if (child >= heap->count || heap->slot[child]->deadline >= timer->deadline) {
            break;
        }
        put(heap, slot, heap->slot[child]);
        slot = child;
    }
    put(heap, slot, timer);
}

static void heap_remove(struct heap *heap, struct loop_timer *timer)
{
    size_t slot = timer->slot;
    struct loop_timer *last = heap->slot[--heap->count];

    if (last != timer) {
        sift(heap, slot, last);
    }
}

static void heap_add(struct heap *heap, struct loop_timer *timer)
{
    if (heap->count == heap->room) {
        heap->room = heap->room ? 2 * heap->room : 16;
        heap->slot = g_renew(struct loop_timer *, heap->slot, heap->room);
    }
    sift(heap, heap->count++, timer);
}

static int64_t earliest(const struct loop_timers *timers, enum loop_clock clock)
{
    const struct heap *heap = &timers->heap[clock];

    return heap->count ? loop_clock_host_deadline(clock, heap->slot[0]->deadline) : LOOP_NEVER;
}

static void set_fds_locked(struct loop_timers *timers)
{
    int64_t want[2] = {
        MIN(earliest(timers, LOOP_CLOCK_REALTIME), earliest(timers, LOOP_CLOCK_VIRTUAL)),
        earliest(timers, LOOP_CLOCK_HOST)};

    for (unsigned i = 0; i < 2; i++) {
        struct itimerspec spec = {0};

        if (want[i] == timers->set[i]) {
            continue;
        }
        timers->set[i] = want[i];
        if (want[i] != LOOP_NEVER) {
            int64_t at = want[i] > 0 ? want[i] : 1; /* 0 would disarm */

            spec.it_value.tv_sec = at / 1000000000;
            spec.it_value.tv_nsec = at % 1000000000;
        }
        timerfd_settime(timers->fd[i], TFD_TIMER_ABSTIME, &spec, NULL);
    }
}

/* Takes one timer that is due off its heap: the one with the earliest deadline of its clock. */
static struct loop_timer *take_due_locked(struct loop_timers *timers)
{
    for (unsigned clock = 0; clock < LOOP_CLOCK_COUNT; clock++) {
        struct heap *heap = &timers->heap[clock];

        if (!heap->count || (clock == LOOP_CLOCK_VIRTUAL && !loop_clock_is_running()) ||
            heap->slot[0]->deadline > loop_clock_now(clock)) {
            continue;
        }
        struct loop_timer *timer = heap->slot[0];

        heap_remove(heap, timer);
        timer->deadline = LOOP_NEVER;
        return timer;
    }
    return NULL;
}

static void timers_ready(void *opaque, unsigned events)
{
    struct loop_timers *timers = opaque;

    lock_acquire(&timers_lock);
    /* As many as there are now: timers that arm themselves for the past must not starve the rest.
     */
    size_t limit = 0;

    for (unsigned clock = 0; clock < LOOP_CLOCK_COUNT; clock++) {
        limit += timers->heap[clock].count;
    }
    for (struct loop_timer *timer; limit-- && (timer = take_due_locked(timers));) {
        void (*fn)(void *) = timer->fn;
        void *arg = timer->opaque;

        lock_release(&timers_lock);
        fn(arg);
        lock_acquire(&timers_lock);
    }
    /* Expired descriptors are set anew, which also makes them unreadable. */
    timers->set[0] = timers->set[1] = -1;
    set_fds_locked(timers);
    lock_release(&timers_lock);
}

struct loop_timers *loop_timers_create(struct loop *loop)
{
    struct loop_timers *timers = g_new0(struct loop_timers, 1);
    static const int clocks[2] = {CLOCK_MONOTONIC, CLOCK_REALTIME};

    for (unsigned i = 0; i < 2; i++) {
        timers->fd[i] = timerfd_create(clocks[i], TFD_NONBLOCK | TFD_CLOEXEC);
        if (timers->fd[i] < 0) {
            if (i) {
                close(timers->fd[0]);
            }
            g_free(timers);
            return NULL;
        }
        timers->set[i] = LOOP_NEVER;
    }
    for (unsigned i = 0; i < 2; i++) {
        timers->watch[i] = loop_fd_add(loop, timers->fd[i], LOOP_IN, timers_ready, timers);
    }
    lock_acquire(&timers_lock);
    timers->next = all_timers;
    all_timers = timers;
    lock_release(&timers_lock);
    return timers;
}

void loop_timers_destroy(struct loop_timers *timers)
{
    lock_acquire(&timers_lock);
    struct loop_timers **link = &all_timers;

    while (*link != timers) {
        link = &(*link)->next;
    }
    *link = timers->next;
    lock_release(&timers_lock);
    for (unsigned i = 0; i < 2; i++) {
        loop_fd_remove(timers->watch[i]);
        close(timers->fd[i]);
    }
    for (unsigned clock = 0; clock < LOOP_CLOCK_COUNT; clock++) {
        g_assert(!timers->heap[clock].count);
        g_free(timers->heap[clock].slot);
    }
    g_free(timers);
}

void loop_timers_clock_changed(void)
{
    lock_acquire(&timers_lock);
    for (struct loop_timers *timers = all_timers; timers; timers = timers->next) {
        set_fds_locked(timers);
    }
    lock_release(&timers_lock);
}

void loop_timer_init(struct loop_timer *timer, struct loop *loop, enum loop_clock clock,
                     void (*fn)(void *opaque), void *opaque)
{
    *timer = (struct loop_timer){
        .loop = loop, .clock = clock, .deadline = LOOP_NEVER, .fn = fn, .opaque = opaque};
}

void loop_timer_arm(struct loop_timer *timer, int64_t deadline)
{
    struct loop_timers *timers = loop_timers_of(timer->loop);
    struct heap *heap = &timers->heap[timer->clock];

    lock_acquire(&timers_lock);
    if (timer->deadline != LOOP_NEVER) {
        heap_remove(heap, timer);
    }
    timer->deadline = deadline;
    if (deadline != LOOP_NEVER) {
        heap_add(heap, timer);
    }
    set_fds_locked(timers);
    lock_release(&timers_lock);
}
