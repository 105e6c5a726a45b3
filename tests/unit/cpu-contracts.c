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

int main(void)
{
    check_lines();
    check_ticks();
    return tap_done();
}
