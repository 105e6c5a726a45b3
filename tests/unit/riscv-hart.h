/*
 * A hart for tests of the privileged architecture: a vCPU wired to memory, a clock that stands
 * where the test puts it, and services that write down what they are asked.
 */
#ifndef TINAMOU_TESTS_UNIT_RISCV_HART_H
#define TINAMOU_TESTS_UNIT_RISCV_HART_H

#include <stdlib.h>
#include "mem/access.h"
#include "target/riscv/csr.h"
#include "target/riscv/priv.h"
#include "tests/unit/riscv-csrs.h"
#include "tests/unit/tap.h"
#include "util/bits.h"

#define HART_RAM      UINT64_C(0x80000000)
#define HART_RAM_SIZE UINT64_C(0x400000)

struct cpu_timer {
    void (*fire)(void *opaque);
    void *opaque;
    int64_t deadline;
};

static struct riscv_cpu *hart;
static struct mem_space hart_space;
static struct mem_region hart_root, hart_ram_region;
static struct mem_ram *hart_ram;
static int64_t hart_now;
static struct cpu_timer hart_timers[2];
static unsigned hart_timer_count, hart_wakes, hart_flushes, hart_switches;
static struct cpu_flush hart_flush; /* the last */

static int64_t hart_clock_now(struct cpu_clock_source *source, enum cpu_clock clock)
{
    return hart_now;
}

static struct cpu_timer *hart_timer_create(struct cpu_clock_source *source, enum cpu_clock clock,
                                           void (*fire)(void *opaque), void *opaque)
{
    struct cpu_timer *timer = &hart_timers[hart_timer_count++ & 1];

    *timer = (struct cpu_timer){fire, opaque, CPU_CLOCK_NEVER};
    return timer;
}

static void hart_timer_arm(struct cpu_timer *timer, int64_t deadline)
{
    timer->deadline = deadline;
}

static const struct cpu_clock_ops hart_clock_ops = {
    .now = hart_clock_now, .timer_create = hart_timer_create, .timer_arm = hart_timer_arm};
static struct cpu_clock_source hart_clock = {&hart_clock_ops};

static void hart_wake(struct cpu *cpu)
{
    hart_wakes++;
}

static void hart_tlb_flush(struct cpu *cpu, const struct cpu_flush *what)
{
    hart_flushes++;
    hart_flush = *what;
}

static void hart_data_space_changed(struct cpu *cpu)
{
    hart_switches++;
}

static struct cpu_service_ops hart_service = {
    .wake = hart_wake, .tlb_flush = hart_tlb_flush, .data_space_changed = hart_data_space_changed};

/* Lets the clock reach `ns`, with the timers that are due on the way. */
static inline void hart_advance(int64_t ns)
{
    hart_now = ns;
    for (unsigned n = 0; n < 2; n++) {
        if (hart_timers[n].fire && hart_timers[n].deadline <= ns) {
            hart_timers[n].deadline = CPU_CLOCK_NEVER;
            hart_timers[n].fire(hart_timers[n].opaque);
        }
    }
}

static inline uint64_t *hart_word(uint64_t gpa)
{
    return (uint64_t *)mem_ram_host(hart_ram, gpa - HART_RAM, 8);
}

/* Number 3 of a machine, in reset at 0x1000; the model as -cpu has it. */
static inline void hart_create(const char *model)
{
    static bool done;
    char error[256];
    struct cpu_system wiring = {&hart_service, &hart_space, &hart_clock, .hart = 3};

    if (!done) {
        mem_region_init_container(&hart_root, "root", MEM_SIZE_ALL);
        mem_space_init(&hart_space, "memory", &hart_root);
        mem_ram_create(&hart_ram, &(struct mem_ram_config){.name = "ram", .size = HART_RAM_SIZE},
                       error, sizeof(error));
        mem_region_init_ram(&hart_ram_region, "ram", hart_ram, 0, HART_RAM_SIZE, false);
        mem_region_add(&hart_root, HART_RAM, &hart_ram_region, 0);
        hart = aligned_alloc(64, (sizeof(*hart) + 63) & ~(size_t)63);
        done = true;
    }
    hart_timer_count = 0;
    memset(hart, 0, sizeof(*hart));
    hart->common.ops = &riscv64_target_ops;
    riscv64_target_ops.reset(&hart->common);
    if (riscv64_target_ops.set_model(&hart->common, model, error, sizeof(error)) < 0 ||
        riscv_system_ops.attach(&hart->common, &wiring, error, sizeof(error)) < 0) {
        tap_ok(false, "a hart %s: %s", model, error);
        exit(tap_done());
    }
    riscv_system_ops.reset(&hart->common, 0x1000);
}

static inline void hart_destroy(void)
{
    mem_region_retire(&hart_ram_region, NULL, NULL);
    mem_space_destroy(&hart_space);
    mem_region_retire(&hart_root, NULL, NULL);
    mem_ram_unref(hart_ram);
    free(hart);
}

static inline uint64_t hart_read(unsigned csr)
{
    return rv_csr_read(hart, rv_csr_find(csr));
}

static inline bool hart_write(unsigned csr, uint64_t value)
{
    return rv_csr_write(hart, rv_csr_find(csr), value, UINT64_MAX);
}

static inline void hart_set_priv(enum rv_priv priv)
{
    hart->sys.priv = priv;
    rv_mode_update(hart);
}

#endif
