/*
 * The host of devices under fuzzing: a clock that goes when told to, chardevs in place of
 * io/chardev, and nobody who carries out requests.
 */
#ifndef TINAMOU_TESTS_FUZZ_HOST_H
#define TINAMOU_TESTS_FUZZ_HOST_H

#include "cpu/clock.h"
#include "hw/core/runstate.h"
#include "io/chardev/chardev.h"

#include <assert.h>
#include <stddef.h>

enum { TIMERS = 16 };

struct cpu_timer {
    enum cpu_clock clock;
    int64_t deadline;
    void (*fire)(void *opaque);
    void *opaque;
};

static struct cpu_timer timers[TIMERS];
static unsigned timer_count;
static int64_t now[CPU_CLOCK_COUNT];

static inline int64_t clock_now(struct cpu_clock_source *source, enum cpu_clock clock)
{
    return now[clock];
}

static inline struct cpu_timer *timer_create_(struct cpu_clock_source *source, enum cpu_clock clock,
                                              void (*fire)(void *opaque), void *opaque)
{
    assert(timer_count < TIMERS);
    timers[timer_count] = (struct cpu_timer){clock, CPU_CLOCK_NEVER, fire, opaque};
    return &timers[timer_count++];
}

static inline void timer_arm(struct cpu_timer *timer, int64_t deadline)
{
    timer->deadline = deadline;
}

static inline void timer_destroy(struct cpu_timer *timer)
{
}

static const struct cpu_clock_ops clock_ops = {clock_now, timer_create_, timer_arm, timer_destroy};
static struct cpu_clock_source source = {&clock_ops};

/* Time goes on; the virtual clock does not reach the end of its range. */
static inline void advance(int64_t ns)
{
    for (unsigned i = 0; i < CPU_CLOCK_COUNT; i++) {
        now[i] = now[i] > INT64_MAX / 2 ? 0 : now[i] + ns;
    }
    for (unsigned i = 0; i < timer_count; i++) {
        if (timers[i].deadline <= now[timers[i].clock]) {
            timers[i].deadline = CPU_CLOCK_NEVER;
            timers[i].fire(timers[i].opaque);
        }
    }
}

struct chardev {
    const struct chardev_handlers *handlers;
    void *opaque;
    size_t room, waiting;
};

int chardev_attach(struct chardev *chr, const struct chardev_handlers *handlers, void *opaque)
{
    chr->handlers = handlers;
    chr->opaque = opaque;
    return 0;
}

void chardev_accept(struct chardev *chr)
{
    static const uint8_t bytes[64];
    size_t n = chr->handlers->can_receive(chr->opaque);

    assert(n <= sizeof(bytes));
    n = n < chr->waiting ? n : chr->waiting;
    chr->waiting -= n;
    if (n) {
        chr->handlers->receive(chr->opaque, bytes, n);
    }
}

static volatile uint8_t written_sum;

size_t chardev_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        written_sum = (uint8_t)(written_sum ^ bytes[i]);
    }
    size = size < chr->room ? size : chr->room;
    chr->room -= size;
    return size;
}

const char *chardev_id(const struct chardev *chr)
{
    return "fuzz";
}

/* None of the machine's: ids are unknown. */
struct chardev *chardev_find(const char *id)
{
    return NULL;
}

/* What devices have asked for is forgotten. */
static inline void take_requests(void)
{
    enum hw_cause cause;
    uint32_t detail;

    for (unsigned i = 0; i < HW_REQUEST_COUNT; i++) {
        (void)hw_runstate_take((enum hw_request)i, &cause, &detail);
    }
}

#endif
