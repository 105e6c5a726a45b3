/* What of the vCPU contracts is code: input lines, and ticks of guest counters. */
#include "cpu/clock.h"
#include "cpu/cpu.h"
#include "cpu/irq.h"
#include "cpu/service.h"

#include "tests/unit/tap.h"

#include <pthread.h>

static _Atomic unsigned woken;

static void wake(struct cpu *cpu)
{
    cpu_kick(cpu);
    atomic_fetch_add(&woken, 1);
}

static struct cpu cpu;
static struct cpu_irq_lines lines = {.cpu = &cpu, .wake = wake};

static void *drive_main(void *line)
{
    for (int i = 0; i < 20000; i++) {
        cpu_irq_set(&lines, (unsigned)(uintptr_t)line, i & 1);
    }
    return NULL;
}

static void check_lines(void)
{
    pthread_t a, b;

    cpu_irq_set(&lines, 0, true);
    cpu_irq_set(&lines, 63, true);
    tap_eq(cpu_irq_levels(&lines), UINT64_C(1) << 63 | 1, "two lines are high");
    tap_ok(cpu.kicked && woken == 2, "each has woken the vCPU");
    cpu_irq_set(&lines, 0, true);
    cpu_irq_set(&lines, 0, false);
    tap_eq(cpu_irq_levels(&lines), UINT64_C(1) << 63, "one fell");
    tap_eq(woken, 2, "a line that is high already, or falls, wakes nobody");
    cpu_irq_set(&lines, 63, false);
    woken = 0;
    pthread_create(&a, NULL, drive_main, (void *)5);
    pthread_create(&b, NULL, drive_main, (void *)6);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    tap_ok(cpu_irq_levels(&lines) == (3u << 5) && woken == 20000,
           "two threads drive their lines and every rise wakes");
}

static void check_ticks(void)
{
    static const uint64_t frequencies[] = {1, 32768, 3579545, 10000000, 1000000000, 3999999999};
    unsigned wrong = 0;

    for (unsigned f = 0; f < sizeof(frequencies) / sizeof(frequencies[0]); f++) {
        for (uint64_t ticks = 1; ticks < UINT64_C(1) << 60; ticks = ticks * 3 + 1) {
            int64_t ns = cpu_clock_from_ticks(ticks, frequencies[f]);

            if (ns != CPU_CLOCK_NEVER) {
                wrong += cpu_clock_to_ticks(ns, frequencies[f]) < ticks;
                wrong += cpu_clock_to_ticks(ns - 1, frequencies[f]) >= ticks;
            }
        }
    }
    tap_eq(wrong, 0, "a deadline is the first nanosecond that shows the ticks");
    tap_eq(cpu_clock_from_ticks(0, 1), 0, "0 ticks are at once");
    tap_eq(cpu_clock_from_ticks(UINT64_MAX, 10000000), CPU_CLOCK_NEVER, "2^64 - 1 ticks are never");
    tap_eq(cpu_clock_to_ticks(INT64_MAX, 10000000), 92233720368547758, "292 years are no overflow");
}

static unsigned told;

static void changed(struct cpu_timebase_user *user)
{
    told++;
}

static void check_timebase(void)
{
    struct cpu_timebase_user users[2] = {{.changed = changed}, {.changed = changed}};
    struct cpu_timebase timebase = {0};
    unsigned wrong = 0;

    cpu_timebase_add(&timebase, &users[0]);
    cpu_timebase_add(&timebase, &users[1]);
    cpu_timebase_set(&timebase, 5);
    tap_ok(told == 2 && timebase.offset == 5, "all users hear of a new offset");

    /* 10 MHz: a tick is 100 ns */
    tap_eq(cpu_clock_deadline(1000, 10000000, 0, 10), 1000, "due now");
    tap_eq(cpu_clock_deadline(1099, 10000000, 0, 11), 1100, "in a nanosecond");
    tap_eq(cpu_clock_deadline(1099, 10000000, 100, 11), 1099, "long ago, for it is ahead");
    tap_eq(cpu_clock_deadline(0, 10000000, -(uint64_t)50, 10), 0, "it is a large number");
    tap_eq(cpu_clock_deadline(6000, 10000000, -(uint64_t)50, 20), 7000, "it is behind");
    tap_eq(cpu_clock_deadline(0, 10000000, 0, UINT64_MAX), CPU_CLOCK_NEVER, "it never comes");
    tap_eq(cpu_clock_deadline(0, 10000000, UINT64_MAX - 9, UINT64_MAX), 900, "but from near to it");
    for (uint64_t n = 1; n < 100000; n = n * 5 / 4 + 1) {
        uint64_t offset = n * UINT64_C(0x9e3779b97f4a7c15);
        int64_t ns = (int64_t)(n * 12345), at;

        at = cpu_clock_deadline(ns, 32768, offset, cpu_clock_to_ticks(ns, 32768) + offset + n);
        if (cpu_clock_to_ticks(ns, 32768) + offset + n > n) { /* it does not wrap meanwhile */
            wrong += cpu_clock_to_ticks(at, 32768) != cpu_clock_to_ticks(ns, 32768) + n;
            wrong += cpu_clock_to_ticks(at - 1, 32768) == cpu_clock_to_ticks(at, 32768);
        }
    }
    tap_eq(wrong, 0, "any offset");
}

int main(void)
{
    check_lines();
    check_ticks();
    check_timebase();
    return tap_done();
}
