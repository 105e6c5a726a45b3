/* Clocks and timers for those below the system emulator. */
#include "system/clock.h"

#include "io/loop/loop.h"

#include <stdlib.h>

struct cpu_timer {
    struct loop_timer timer;
};

static struct {
    struct cpu_clock_source source; /* first */
    struct loop *loop;
} state;

_Static_assert((int)CPU_CLOCK_REALTIME == (int)LOOP_CLOCK_REALTIME &&
                   (int)CPU_CLOCK_VIRTUAL == (int)LOOP_CLOCK_VIRTUAL &&
                   (int)CPU_CLOCK_HOST == (int)LOOP_CLOCK_HOST && CPU_CLOCK_NEVER == LOOP_NEVER,
               "clocks are passed on by their numbers");

static int64_t now(struct cpu_clock_source *source, enum cpu_clock clock)
{
    return loop_clock_now((enum loop_clock)clock);
}

static struct cpu_timer *create(struct cpu_clock_source *source, enum cpu_clock clock,
                                void (*fire)(void *opaque), void *opaque)
{
    struct cpu_timer *timer = malloc(sizeof(*timer));

    if (timer) {
        loop_timer_init(&timer->timer, state.loop, (enum loop_clock)clock, fire, opaque);
    }
    return timer;
}

static void arm(struct cpu_timer *timer, int64_t deadline)
{
    loop_timer_arm(&timer->timer, deadline);
}

/* The loop's callbacks run under the machine lock, which the caller has: none is running. */
static void destroy(struct cpu_timer *timer)
{
    if (timer) {
        loop_timer_cancel(&timer->timer);
        free(timer);
    }
}

static const struct cpu_clock_ops ops = {
    .now = now, .timer_create = create, .timer_arm = arm, .timer_destroy = destroy};

struct cpu_clock_source *clock_source(struct loop *loop)
{
    state.source.ops = &ops;
    state.loop = loop;
    return &state.source;
}
