/*
 * The APIC timer ("APIC Timer").
 *
 * What its current count shows, and when it reaches 0, follows from when it had the initial count;
 * so a periodic timer does not drift, however late the host's timer is. Periods that went by while
 * the host was late are one interrupt, as they are in the IRR anyhow; and interrupts are not asked
 * for more often than once in MIN_INTERVAL, which no guest can tell from a slow processor.
 */
#include "hw/intc/apic-internal.h"
#include "util/bits.h"

enum { MIN_INTERVAL = 20000 /* ns */ };

unsigned apic_timer_mode(const struct apic *apic)
{
    return (unsigned)bits_extract(apic->lvt[APIC_LVT_TIMER], APIC_LVT_TIMER_SHIFT, 2);
}

/* "Divide Configuration Register": bits 0, 1 and 3 are 0 for 2, 1 for 4, ..., 6 for 128, 7 for 1.
 */
static unsigned divisor(const struct apic *apic)
{
    unsigned code = (apic->divide & 3) | (apic->divide >> 1 & 4);

    return 1u << ((code + 1) & 7);
}

static int64_t now(const struct apic *apic)
{
    return cpu_clock_now(apic->clock, CPU_CLOCK_VIRTUAL);
}

/* Counts since it had the initial one. */
static uint64_t elapsed(const struct apic *apic)
{
    int64_t ns = now(apic) - apic->started;

    return ns > 0 ? cpu_clock_to_ticks(ns, apic->frequency) / divisor(apic) : 0;
}

static int64_t later(int64_t time, int64_t ns)
{
    return time > 0 && ns > CPU_CLOCK_NEVER - time ? CPU_CLOCK_NEVER : time + ns;
}

/* Nanoseconds of some counts. */
static int64_t duration(const struct apic *apic, uint64_t counts)
{
    return cpu_clock_from_ticks(counts * divisor(apic), apic->frequency);
}

static bool is_periodic(const struct apic *apic)
{
    return apic_timer_mode(apic) == APIC_TIMER_PERIODIC;
}

uint32_t apic_timer_count(const struct apic *apic)
{
    uint64_t counts = elapsed(apic);

    if (!apic->running) {
        return 0;
    }
    if (is_periodic(apic)) {
        return apic->initial_count - (uint32_t)(counts % apic->initial_count);
    }
    return counts < apic->initial_count ? apic->initial_count - (uint32_t)counts : 0;
}

/* ---- the host's timer ------------------------------------------------------------------------ */

/* Ends of periods are at multiples of the initial count. */
static int64_t counting_deadline(const struct apic *apic, int64_t earliest)
{
    uint64_t counts = apic->initial_count;
    int64_t ns = earliest - apic->started;

    if (is_periodic(apic) && ns > 0) {
        uint64_t by_then = cpu_clock_to_ticks(ns, apic->frequency) / divisor(apic);

        counts *= by_then / apic->initial_count + 1;
    }
    return later(apic->started, duration(apic, counts));
}

static int64_t tsc_deadline(const struct apic *apic)
{
    uint64_t tsc = apic->ops->tsc(apic->opaque);
    int64_t ns = apic->tsc_deadline > tsc
                     ? cpu_clock_from_ticks(apic->tsc_deadline - tsc, apic->tsc_frequency)
                     : 0;

    return later(now(apic), ns);
}

static void arm(struct apic *apic, int64_t earliest)
{
    int64_t deadline = CPU_CLOCK_NEVER;

    if (apic->tsc_deadline) {
        deadline = tsc_deadline(apic);
    } else if (apic->running) {
        deadline = counting_deadline(apic, earliest);
    }
    apic->clock->ops->timer_arm(apic->timer, deadline);
}

void apic_timer_arm(struct apic *apic)
{
    arm(apic, now(apic));
}

static void interrupt(struct apic *apic)
{
    apic_local_interrupt(apic, APIC_LVT_TIMER);
}

void apic_timer_fired(void *opaque)
{
    struct apic *apic = opaque;

    if (apic->tsc_deadline) {
        if (apic->ops->tsc(apic->opaque) >= apic->tsc_deadline) {
            apic->tsc_deadline = 0;
            interrupt(apic);
        }
    } else if (apic->running && elapsed(apic) >= apic->initial_count) {
        apic->running = is_periodic(apic);
        interrupt(apic);
    }
    arm(apic, now(apic) + (duration(apic, apic->initial_count) < MIN_INTERVAL ? MIN_INTERVAL : 0));
}

/* ---- what software does ---------------------------------------------------------------------- */

void apic_timer_stop(struct apic *apic)
{
    apic->running = false;
    apic->initial_count = 0;
    apic->tsc_deadline = 0;
    apic_timer_arm(apic);
}

void apic_timer_start(struct apic *apic, uint32_t initial)
{
    if (apic_timer_mode(apic) != APIC_TIMER_TSC_DEADLINE) {
        apic->initial_count = initial;
        apic->running = initial != 0;
        apic->started = now(apic);
        apic_timer_arm(apic);
    }
}

/* Lets it go on from a count of the current period, under settings that have changed. */
void apic_timer_go_on(struct apic *apic, uint32_t count)
{
    apic->started = now(apic) - duration(apic, apic->initial_count - count);
}

void apic_timer_set_divide(struct apic *apic, uint32_t divide)
{
    uint32_t count = apic_timer_count(apic);

    apic->divide = divide;
    if (apic->running) {
        apic_timer_go_on(apic, count);
        apic_timer_arm(apic);
    }
}

/* "A write to the LVT timer that changes its mode to or from TSC-deadline disarms the timer". */
void apic_timer_mode_changed(struct apic *apic, unsigned before)
{
    unsigned mode = apic_timer_mode(apic);

    if (mode == before) {
        return;
    }
    if (mode == APIC_TIMER_TSC_DEADLINE || before == APIC_TIMER_TSC_DEADLINE) {
        apic_timer_stop(apic);
    } else if (apic->running) {
        uint64_t counts = elapsed(apic);

        apic_timer_go_on(apic, apic->initial_count - (uint32_t)(counts % apic->initial_count));
        apic_timer_arm(apic);
    }
}

/* "When not in TSC-deadline mode ... writes are ignored". */
void apic_timer_set_tsc_deadline(struct apic *apic, uint64_t deadline)
{
    if (apic_timer_mode(apic) == APIC_TIMER_TSC_DEADLINE) {
        apic->tsc_deadline = deadline;
        if (deadline && apic->ops->tsc(apic->opaque) >= deadline) {
            apic->tsc_deadline = 0;
            interrupt(apic);
        }
        apic_timer_arm(apic);
    }
}

void apic_tsc_changed(struct apic *apic)
{
    apic_timer_arm(apic);
}
