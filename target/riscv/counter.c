/*
 * Time, the supervisor timer (Sstc) and the counters (Zihpm, Sscofpmf).
 *
 * Everything counts by the machine's virtual clock. `time` is the clock at the machine's frequency,
 * or the machine's timebase, which software may set elsewhere (mtime).
 * cycle, instret and those hpm counters that count one of these two are nanoseconds: a CPU of 1 GHz
 * that retires an instruction a cycle. Units do not count instructions, and no guest can tell; but
 * counters stand still when the machine does, overflow when they should, and agree with `time`.
 * The privilege filters of Sscofpmf are kept, and do not filter, unless they exclude both U and S.
 */
#include <errno.h>
#include "target/riscv/priv.h"

enum { EVENT_CYCLES = 1, EVENT_INSTRUCTIONS = 2 }; /* mhpmevent: as QEMU's virt machine */

/* mhpmevent: overflow, and the privileges that do not count. */
#define EVENT_OF    (UINT64_C(1) << 63)
#define EVENT_SINH  (UINT64_C(1) << 61)
#define EVENT_UINH  (UINT64_C(1) << 60)
#define EVENT_WIDE  ((UINT64_C(1) << 56) - 1)
#define EVENT_FLAGS (UINT64_C(0xf) << 60)

int64_t rv_now(const struct riscv_cpu *rv)
{
    return cpu_clock_now(rv->sys.wiring.clock, CPU_CLOCK_VIRTUAL);
}

/* What `time` is ahead of the clock. */
static uint64_t time_offset(const struct riscv_cpu *rv)
{
    const struct cpu_timebase *timebase = rv->sys.timebase;

    return timebase ? atomic_load_explicit(&timebase->offset, memory_order_acquire) : 0;
}

uint64_t rv_time(const struct riscv_cpu *rv)
{
    return cpu_clock_to_ticks(rv_now(rv), rv->sys.frequency) + time_offset(rv);
}

/* ---- stimecmp -------------------------------------------------------------------------------- */

static void wake(void *opaque)
{
    struct riscv_cpu *rv = opaque;

    rv->sys.wiring.service->wake(&rv->common);
}

static void stimer_fired(void *opaque)
{
    struct riscv_cpu *rv = opaque;

    atomic_store(&rv->sys.stimer_due, true);
    wake(rv);
}

bool rv_stimecmp_pending(const struct riscv_cpu *rv)
{
    return rv->sys.menvcfg & RV_ENVCFG_STCE && rv_time(rv) >= rv->sys.stimecmp;
}

bool rv_stimer_interrupts(struct riscv_cpu *rv)
{
    /* the timer may be one that was set again while it fired */
    if (atomic_load_explicit(&rv->sys.stimer_due, memory_order_relaxed) &&
        !rv_stimecmp_pending(rv)) {
        atomic_store(&rv->sys.stimer_due, false);
        if (rv_stimecmp_pending(rv)) {
            atomic_store(&rv->sys.stimer_due, true);
        }
    }
    return atomic_load_explicit(&rv->sys.stimer_due, memory_order_relaxed);
}

static int64_t stimecmp_deadline(const struct riscv_cpu *rv)
{
    if (!(rv->sys.menvcfg & RV_ENVCFG_STCE)) {
        return CPU_CLOCK_NEVER;
    }
    return cpu_clock_deadline(rv_now(rv), rv->sys.frequency, time_offset(rv), rv->sys.stimecmp);
}

void rv_stimecmp_changed(struct riscv_cpu *rv)
{
    struct cpu_clock_source *clock = rv->sys.wiring.clock;

    /* in this order: once armed the timer may fire at any time, and that must not be forgotten */
    atomic_store(&rv->sys.stimer_due, false);
    clock->ops->timer_arm(rv->sys.stimer, stimecmp_deadline(rv));
    if (rv_stimecmp_pending(rv)) {
        atomic_store(&rv->sys.stimer_due, true);
    }
}

static void time_changed(struct cpu *cpu, void *unused)
{
    rv_stimecmp_changed(riscv_cpu(cpu));
}

/* The timer belongs to the vCPU's thread; this may be another one's. */
static void timebase_changed(struct cpu_timebase_user *user)
{
    struct riscv_cpu *rv =
        (struct riscv_cpu *)((char *)user - offsetof(struct riscv_cpu, sys.timebase_user));

    rv->sys.wiring.service->run_on(&rv->common, time_changed, NULL);
}

void riscv_set_timebase(struct cpu *cpu, struct cpu_timebase *timebase)
{
    struct rv_system *s = &riscv_cpu(cpu)->sys;

    s->timebase = timebase;
    s->timebase_user.changed = timebase_changed;
    cpu_timebase_add(timebase, &s->timebase_user);
}

int64_t rv_deadline(struct cpu *cpu)
{
    struct riscv_cpu *rv = riscv_cpu(cpu);
    int64_t timer = CPU_CLOCK_NEVER, overflow = CPU_CLOCK_NEVER;

    if (rv->sys.mie & RV_IRQ_BIT(RV_IRQ_STI)) {
        timer = stimecmp_deadline(rv);
    }
    if (rv->sys.mie & RV_IRQ_BIT(RV_IRQ_LCOFI)) {
        overflow = rv->sys.overflow;
    }
    return timer < overflow ? timer : overflow;
}

/* ---- counters -------------------------------------------------------------------------------- */

uint32_t rv_counters_available(const struct riscv_cpu *rv)
{
    return 5 | (rv_has(&rv->ext, RV_EXT_zihpm) ? RV_HPM_MASK : 0);
}

static bool is_hpm(unsigned n)
{
    return n > 2;
}

static bool counts(const struct riscv_cpu *rv, unsigned n)
{
    uint64_t event = rv->sys.mhpmevent[n], excluded = EVENT_SINH | EVENT_UINH;

    if (rv->sys.mcountinhibit >> n & 1 || !(rv_counters_available(rv) >> n & 1)) {
        return false;
    }
    if (!is_hpm(n)) {
        return true;
    }
    event &= EVENT_WIDE | excluded;
    if ((event & excluded) == excluded) {
        return false;
    }
    event &= ~excluded;
    return event == EVENT_CYCLES || event == EVENT_INSTRUCTIONS;
}

uint64_t rv_counter_read(const struct riscv_cpu *rv, unsigned n)
{
    const struct rv_counter *c = &rv->sys.counter[n];

    return c->since < 0 ? c->value : c->value + (uint64_t)(rv_now(rv) - c->since);
}

/* When a counter that can tell will next overflow. */
static int64_t overflow_of(const struct riscv_cpu *rv, unsigned n)
{
    const struct rv_counter *c = &rv->sys.counter[n];
    uint64_t left = -c->value;

    if (!is_hpm(n) || c->since < 0 || rv->sys.mhpmevent[n] & EVENT_OF ||
        !rv_has(&rv->ext, RV_EXT_sscofpmf) || left == 0 ||
        left > (uint64_t)(CPU_CLOCK_NEVER - c->since)) {
        return CPU_CLOCK_NEVER;
    }
    return c->since + (int64_t)left;
}

static void find_overflow(struct riscv_cpu *rv)
{
    int64_t first = CPU_CLOCK_NEVER;

    for (unsigned n = 3; n < RV_COUNTERS; n++) {
        int64_t at = overflow_of(rv, n);
        first = at < first ? at : first;
    }
    if (first != rv->sys.overflow) {
        rv->sys.overflow = first;
        rv->sys.wiring.clock->ops->timer_arm(rv->sys.pmtimer, first);
    }
}

void rv_counters_poll(struct riscv_cpu *rv)
{
    int64_t now;

    if (rv->sys.overflow == CPU_CLOCK_NEVER) {
        return;
    }
    now = rv_now(rv);
    if (now < rv->sys.overflow) {
        return;
    }
    for (unsigned n = 3; n < RV_COUNTERS; n++) {
        if (overflow_of(rv, n) <= now) {
            rv->sys.mhpmevent[n] |= EVENT_OF;
            rv->sys.mip |= RV_IRQ_BIT(RV_IRQ_LCOFI);
        }
    }
    find_overflow(rv);
}

/* Gives a counter a value, and has it run or stand still as the registers say. */
static void restart(struct riscv_cpu *rv, unsigned n, uint64_t value)
{
    rv->sys.counter[n].value = value;
    rv->sys.counter[n].since = counts(rv, n) ? rv_now(rv) : -1;
}

void rv_counter_write(struct riscv_cpu *rv, unsigned n, uint64_t value)
{
    if (!(rv_counters_available(rv) >> n & 1)) {
        return;
    }
    rv_counters_poll(rv);
    restart(rv, n, value);
    find_overflow(rv);
}

void rv_countinhibit_write(struct riscv_cpu *rv, uint64_t value)
{
    uint64_t values[RV_COUNTERS];

    rv_counters_poll(rv);
    for (unsigned n = 0; n < RV_COUNTERS; n++) {
        values[n] = rv_counter_read(rv, n);
    }
    rv->sys.mcountinhibit = value & rv_counters_available(rv);
    for (unsigned n = 0; n < RV_COUNTERS; n++) {
        restart(rv, n, values[n]);
    }
    find_overflow(rv);
}

void rv_counters_restart(struct riscv_cpu *rv)
{
    rv_countinhibit_write(rv, rv->sys.mcountinhibit);
}

void rv_counters_loaded(struct riscv_cpu *rv)
{
    for (unsigned n = 0; n < RV_COUNTERS; n++) {
        restart(rv, n, rv->sys.counter[n].value);
    }
    find_overflow(rv);
    rv_stimecmp_changed(rv);
}

uint64_t rv_hpmevent_writes(const struct riscv_cpu *rv, unsigned n)
{
    if (!is_hpm(n)) {
        return 0;
    }
    return rv_has(&rv->ext, RV_EXT_sscofpmf) ? EVENT_WIDE | EVENT_FLAGS : EVENT_WIDE;
}

void rv_hpmevent_write(struct riscv_cpu *rv, unsigned n, uint64_t value)
{
    uint64_t count;

    if (!is_hpm(n) || !(rv_counters_available(rv) >> n & 1)) {
        return;
    }
    rv_counters_poll(rv);
    count = rv_counter_read(rv, n);
    rv->sys.mhpmevent[n] = value & rv_hpmevent_writes(rv, n);
    restart(rv, n, count);
    find_overflow(rv);
}

/* ---- life ------------------------------------------------------------------------------------ */

int rv_counters_attach(struct riscv_cpu *rv)
{
    struct cpu_clock_source *clock = rv->sys.wiring.clock;

    rv->sys.stimer = clock->ops->timer_create(clock, CPU_CLOCK_VIRTUAL, stimer_fired, rv);
    rv->sys.pmtimer = clock->ops->timer_create(clock, CPU_CLOCK_VIRTUAL, wake, rv);
    return rv->sys.stimer && rv->sys.pmtimer ? 0 : -ENOMEM;
}

void rv_counters_reset(struct riscv_cpu *rv)
{
    struct cpu_clock_source *clock = rv->sys.wiring.clock;

    rv->sys.mcountinhibit = 0;
    for (unsigned n = 0; n < RV_COUNTERS; n++) {
        rv->sys.mhpmevent[n] = 0;
        restart(rv, n, 0);
    }
    rv->sys.stimecmp = UINT64_MAX;
    rv->sys.overflow = CPU_CLOCK_NEVER;
    clock->ops->timer_arm(rv->sys.pmtimer, CPU_CLOCK_NEVER);
    rv_stimecmp_changed(rv);
}
