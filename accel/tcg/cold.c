/*
 * Code that runs for the first time is interpreted.
 *
 * Most of what a short process runs, it runs once: start-up, initialisation, error paths never
 * again. Compiling costs some thousand host instructions for each guest instruction, interpreting
 * its IR a hundred. So the first time control reaches a pc, a short unit is built (up to the next
 * branch, for nothing is known of what follows) and interpreted on the spot; the second time it is
 * compiled like any other. Nothing is kept of the first time but a count.
 *
 * While a process is young, code is compiled the fourth time only: of what start-up code and the
 * dynamic linker run twice, much is not run often enough to pay for compiling. In longer programs
 * that does not hold.
 *
 * The counts are a filter, not a map: where two pcs share one, the second is compiled sooner, which
 * is no more than it would be without the filter. It is written without a lock; a count lost to a
 * race means one more interpretation.
 */
#include <errno.h>
#include <stdlib.h>
#include "accel/tcg/internal.h"
#include "jit/interp/interp.h"
#include "util/log.h"

enum {
    FILTER_BITS = 17,
    YOUNG = 2000, /* runs of cold code that make a process old */
    YOUNG_RUNS = 3,
};

static uint8_t filter[1 << (FILTER_BITS - 2)]; /* two bits each */

struct tcg_cold {
    struct jit_options options; /* merging equal ops does not pay for one run */
    struct ir_builder builder;
    struct ir_unit unit;
};

static unsigned filter_index(uint64_t pc, uint64_t mode)
{
    uint64_t h = (pc >> 1) * 0x9e3779b97f4a7c15u ^ mode * 0xc2b2ae3d27d4eb4fu;
    return h >> (64 - FILTER_BITS);
}

static unsigned runs(unsigned i)
{
    return __atomic_load_n(&filter[i / 4], __ATOMIC_RELAXED) >> (i % 4 * 2) & 3;
}

bool tcg_is_cold(const struct cpu *cpu, uint64_t pc)
{
    bool young = __atomic_load_n(&tcg.stats.cold_units, __ATOMIC_RELAXED) < YOUNG;

    return tcg.options.cold && !tcg.config.one_insn && !tcg_breaks_any() &&
           runs(filter_index(pc, cpu->mode)) < (young ? YOUNG_RUNS : 1);
}

static void set_runs(const struct cpu *cpu, uint64_t pc, bool all)
{
    unsigned i = filter_index(pc, cpu->mode), count = all ? 3 : runs(i) + 1;

    if (count <= 3) {
        unsigned others = __atomic_load_n(&filter[i / 4], __ATOMIC_RELAXED) & ~(3u << (i % 4 * 2));

        __atomic_store_n(&filter[i / 4], (uint8_t)(others | count << (i % 4 * 2)),
                         __ATOMIC_RELAXED);
    }
}

bool tcg_cold_create(struct tcg_cpu *self)
{
    if (!self->cold) {
        self->cold = malloc(sizeof(*self->cold));
        if (self->cold) {
            self->cold->options = tcg.options;
            self->cold->options.cse = false;
            self->cold->options.fold = false;
            ir_unit_init(&self->cold->unit);
        }
    }
    return self->cold != NULL;
}

void tcg_cold_free(struct tcg_cpu *self)
{
    if (self->cold) {
        ir_unit_free(&self->cold->unit);
        free(self->cold);
    }
}

/* Returns how many guest instructions the unit has. */
static unsigned build(struct cpu *cpu, struct tcg_cold *cold, struct tcg_where *where, bool one)
{
    struct cpu_translate request = {.pc = where->pc,
                                    .mode = cpu->mode,
                                    .cpu = cpu,
                                    .max_insns = one ? 1 : UINT32_MAX,
                                    .fetch = tcg_fetch,
                                    .opaque = where};

    tcg_log_exec(cpu, where->pc);
    ir_build_begin(&cold->builder, &cold->unit, &cold->options, cpu->ops->ir, where->pc);
    cpu->ops->translate(&cold->builder, &request);
    return request.insns;
}

unsigned tcg_run_cold(struct cpu *cpu, struct tcg_where *where)
{
    struct tcg_cpu *self = cpu->accel;
    bool ready = tcg_cold_create(self);
    unsigned insns;

    set_runs(cpu, where->pc, !ready);
    if (!ready) {
        return CPU_EXIT_NONE;
    }
    insns = build(cpu, self->cold, where, where->host[1]);
    if (self->cold->unit.calls_memory) {
        set_runs(cpu, where->pc, true);
        return CPU_EXIT_NONE; /* helpers find their way back from a fault only in generated code */
    }
    __atomic_fetch_add(&tcg.stats.cold_units, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&tcg.stats.cold_insns, insns, __ATOMIC_RELAXED);
    return tcg_interpret(cpu, &self->cold->unit);
}

unsigned tcg_run_one(struct cpu *cpu, struct tcg_where *where)
{
    struct tcg_cold *cold = ((struct tcg_cpu *)cpu->accel)->cold;

    build(cpu, cold, where, true);
    return tcg_interpret(cpu, &cold->unit);
}
