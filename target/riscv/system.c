/*
 * The vCPU as a hart of a machine: wiring, reset, and the table that the accelerator drives it by.
 */
#include <stdio.h>
#include <string.h>
#include "target/riscv/model.h"
#include "target/riscv/priv.h"

enum { TIME_FREQUENCY = 10000000 }; /* Hz, as QEMU's virt machine */

static uint64_t misa(const struct rv_ext_set *set)
{
    static const struct {
        uint8_t ext;
        char letter;
    } letters[] = {
        {RV_EXT_i, 'i'}, {RV_EXT_m, 'm'}, {RV_EXT_a, 'a'}, {RV_EXT_f, 'f'},
        {RV_EXT_d, 'd'}, {RV_EXT_c, 'c'}, {RV_EXT_s, 's'}, {RV_EXT_u, 'u'},
    };
    uint64_t value = UINT64_C(2) << 62; /* XLEN 64 */

    for (unsigned n = 0; n < sizeof(letters) / sizeof(letters[0]); n++) {
        if (rv_has(set, (enum rv_ext)letters[n].ext)) {
            value |= UINT64_C(1) << (letters[n].letter - 'a');
        }
    }
    return value;
}

static int attach(struct cpu *cpu, const struct cpu_system *system, char *error, size_t error_size)
{
    struct riscv_cpu *rv = riscv_cpu(cpu);
    int result;

    rv->system = true;
    rv->ext = rv->system_ext;
    rv->sys.wiring = *system;
    rv->sys.wiring.lines.cpu = cpu;
    rv->sys.wiring.lines.wake = system->service->wake;
    rv->sys.frequency = rv->sys.frequency ? rv->sys.frequency : TIME_FREQUENCY;
    result = rv_counters_attach(rv);
    if (result < 0) {
        snprintf(error, error_size, "hart %u: out of memory", system->hart);
    }
    return result;
}

uint64_t rv_status_reset(const struct riscv_cpu *rv)
{
    uint64_t status = rv_has(&rv->ext, RV_EXT_u) ? RV_MSTATUS_XL64 : RV_MSTATUS_MPP;

    return rv_has(&rv->ext, RV_EXT_s) ? status : status & ~RV_MSTATUS_SXL;
}

static void reset(struct cpu *cpu, uint64_t pc)
{
    struct riscv_cpu *rv = riscv_cpu(cpu);
    struct rv_system *s = &rv->sys;
    struct rv_system fresh = {
        .wiring = s->wiring,
        .frequency = s->frequency,
        .timebase = s->timebase,
        .timebase_user = s->timebase_user,
        .stimer = s->stimer,
        .pmtimer = s->pmtimer,
        .priv = RV_PRIV_M,
        .misa = misa(&rv->ext),
        .mstatus = rv_status_reset(rv),
    };

    cpu->ops->reset(cpu);
    *s = fresh;
    /* Software that does not know menvcfg finds page tables as they were before there was one. */
    s->menvcfg = rv_has(&rv->ext, RV_EXT_svpbmt) ? RV_ENVCFG_PBMTE : 0;
    if (rv_has(&rv->ext, RV_EXT_svadu) && !rv_has(&rv->ext, RV_EXT_svade)) {
        s->menvcfg |= RV_ENVCFG_ADUE;
    }
    rv_pmp_reset(rv);
    rv_counters_reset(rv);
    rv->pc = pc;
    rv_mode_update(rv);
    rv_flush_all(rv);
}

static struct cpu_system *wiring(struct cpu *cpu)
{
    return &riscv_cpu(cpu)->sys.wiring;
}

const struct cpu_system_ops riscv_system_ops = {
    .spaces = rv_spaces,
    .translate_address = rv_translate_address,
    .debug_address = rv_debug_address,
    .raise_memory = rv_raise_memory,
    .raise_exit = rv_raise_exit,
    .take_interrupt = rv_take_interrupt,
    .has_work = rv_has_work,
    .deadline = rv_deadline,
    .attach = attach,
    .reset = reset,
    .system = wiring,
};
