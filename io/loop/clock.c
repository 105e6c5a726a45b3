/*
 * Virtual time is monotonic time plus an offset while it goes, and a constant while it stands. The
 * pair is read without a lock, under a sequence count that is odd while it changes.
 */
#include "io/loop/clock.h"
#include "io/loop/internal.h"

#include <assert.h>
#include <stdatomic.h>
#include <time.h>

static _Atomic uint32_t sequence;
static _Atomic int64_t virtual_base; /* value when standing; offset to monotonic time when going */
static _Atomic bool running;

static int64_t host_time(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int64_t virtual_now(void)
{
    for (;;) {
        uint32_t before = atomic_load(&sequence);
        int64_t base = atomic_load(&virtual_base);
        bool going = atomic_load(&running);
        int64_t now = going ? base + host_time(CLOCK_MONOTONIC) : base;

        if (!(before & 1) && atomic_load(&sequence) == before) {
            return now;
        }
    }
}

int64_t loop_clock_now(enum loop_clock clock)
{
    switch (clock) {
    case LOOP_CLOCK_VIRTUAL:
        return virtual_now();
    case LOOP_CLOCK_HOST:
        return host_time(CLOCK_REALTIME);
    default:
        return host_time(CLOCK_MONOTONIC);
    }
}

static void change(int64_t base, bool run)
{
    atomic_fetch_add(&sequence, 1);
    atomic_store(&virtual_base, base);
    atomic_store(&running, run);
    atomic_fetch_add(&sequence, 1);
    loop_timers_clock_changed();
}

void loop_clock_run(bool run)
{
    if (run != atomic_load(&running)) {
        int64_t monotonic = host_time(CLOCK_MONOTONIC), base = atomic_load(&virtual_base);

        change(run ? base - monotonic : base + monotonic, run);
    }
}

bool loop_clock_is_running(void)
{
    return atomic_load(&running);
}

void loop_clock_set_virtual(int64_t now)
{
    assert(!atomic_load(&running));
    change(now, false);
}

int64_t loop_clock_host_deadline(enum loop_clock clock, int64_t deadline)
{
    int64_t monotonic;

    if (clock != LOOP_CLOCK_VIRTUAL || deadline == LOOP_NEVER) {
        return deadline;
    }
    if (!atomic_load(&running)) {
        return LOOP_NEVER;
    }
    return __builtin_sub_overflow(deadline, atomic_load(&virtual_base), &monotonic) ? LOOP_NEVER
                                                                                    : monotonic;
}
