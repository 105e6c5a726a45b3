/*
 * The saved state of a machine's hart.
 *
 * Counters are saved as what they show, with the virtual clock, which is loaded first: those that
 * run start from there. Interrupt lines are the hart's view of them, since a line has no memory of
 * its own. A reservation is not saved, "an SC may fail" (A); neither is a wait for an interrupt,
 * which may end at any time (wfi).
 *
 * A stream is not trusted: what no sequence of instructions could have brought about on this
 * model is refused. Everything else is derived from it as after a write of the register.
 */
#include <errno.h>
#include <string.h>
#include "target/riscv/csr.h"
#include "target/riscv/model.h"
#include "target/riscv/priv.h"
#include "util/bits.h"
#include "util/state.h"

/* ---- what is impossible ---------------------------------------------------------------------- */

static bool has_priv(const struct riscv_cpu *rv, uint64_t priv)
{
    switch (priv) {
    case RV_PRIV_U:
        return rv_has(&rv->ext, RV_EXT_u);
    case RV_PRIV_S:
        return rv_has(&rv->ext, RV_EXT_s);
    default:
        return priv == RV_PRIV_M;
    }
}

static bool status_is_legal(const struct riscv_cpu *rv)
{
    uint64_t status = rv->sys.mstatus, fixed = RV_MSTATUS_UXL | RV_MSTATUS_SXL;
    uint64_t writable = rv_csr_writable(rv, rv_csr_find(0x300));
    bool dirty = (status & RV_MSTATUS_FS) == RV_MSTATUS_FS;

    return !(status & ~(writable | fixed | RV_MSTATUS_SD)) &&
           (status & fixed) == (rv_status_reset(rv) & fixed) &&
           has_priv(rv, bits_extract(status, 11, 2)) && !(status & RV_MSTATUS_SD) == !dirty;
}

/* Whether registers have only bits that they can have. */
static bool bits_are_legal(const struct riscv_cpu *rv)
{
    const struct rv_system *s = &rv->sys;
    uint64_t pc = rv_has(&rv->ext, RV_EXT_c) ? ~UINT64_C(1) : ~UINT64_C(3);
    uint64_t all = UINT64_MAX, vector = ~UINT64_C(2), counters = rv_counters_available(rv);
    const struct {
        uint64_t value, bits;
        enum rv_ext ext; /* without which it stays 0 */
    } fields[] = {
        {rv->x[0], 0, RV_EXT_i},
        {rv->pc, pc, RV_EXT_i},
        {rv->fflags, 31, RV_EXT_f},
        {rv->frm, 7, RV_EXT_f},
        {s->medeleg, RV_MEDELEG_WRITES, RV_EXT_s},
        {s->mideleg, rv_supervisor_irqs(rv), RV_EXT_s},
        {s->mie, rv_mie_writes(rv), RV_EXT_i},
        {s->mip, rv_supervisor_irqs(rv), RV_EXT_s},
        {s->mtvec, vector, RV_EXT_i},
        {s->mcounteren, RV_COUNTEREN_WRITES, RV_EXT_u},
        {s->mcountinhibit, counters, RV_EXT_i},
        {s->mepc, pc, RV_EXT_i},
        {s->menvcfg, rv_menvcfg_writes(rv), RV_EXT_u},
        {s->mseccfg, RV_MSECCFG_MML | RV_MSECCFG_MMWP | RV_MSECCFG_RLB, RV_EXT_smepmp},
        {s->stvec, vector, RV_EXT_s},
        {s->scounteren, RV_COUNTEREN_WRITES, RV_EXT_s},
        {s->sscratch, all, RV_EXT_s},
        {s->sepc, pc, RV_EXT_s},
        {s->scause, all, RV_EXT_s},
        {s->stval, all, RV_EXT_s},
        {s->satp, all, RV_EXT_s},
        {s->senvcfg, RV_SENVCFG_WRITES, RV_EXT_s},
        {atomic_load(&s->wiring.lines.level), RV_IRQ_LINES, RV_EXT_i},
    };

    for (unsigned i = 0; i < BITS_ARRAY_SIZE(fields); i++) {
        if (fields[i].value & ~(rv_has(&rv->ext, fields[i].ext) ? fields[i].bits : 0)) {
            return false;
        }
    }
    return true;
}

static bool counters_are_legal(const struct riscv_cpu *rv)
{
    uint32_t available = rv_counters_available(rv);

    for (unsigned n = 0; n < RV_COUNTERS; n++) {
        bool there = available >> n & 1;

        if (rv->sys.mhpmevent[n] & ~(there ? rv_hpmevent_writes(rv, n) : 0) ||
            (!there && rv->sys.counter[n].value)) {
            return false;
        }
    }
    return true;
}

static bool is_same_model(const struct riscv_cpu *rv)
{
    char isa[sizeof(rv->sys.isa)];
    size_t length = rv_model_isa(&rv->ext, isa, sizeof(isa));

    return length == rv->sys.isa_length && memcmp(isa, rv->sys.isa, length) == 0;
}

static bool is_legal(const struct riscv_cpu *rv)
{
    return is_same_model(rv) && has_priv(rv, rv->sys.priv) && status_is_legal(rv) &&
           bits_are_legal(rv) && rv_satp_mode_known(rv, RV_SATP_MODE(rv->sys.satp)) &&
           !(rv->sys.menvcfg & RV_ENVCFG_STCE && rv->sys.mip & RV_IRQ_BIT(RV_IRQ_STI)) &&
           rv_pmp_is_legal(rv) && counters_are_legal(rv);
}

/* ---- the table ------------------------------------------------------------------------------- */

static int pre_save(void *object)
{
    struct riscv_cpu *rv = object;
    size_t length = rv_model_isa(&rv->ext, rv->sys.isa, sizeof(rv->sys.isa));

    if (length > sizeof(rv->sys.isa)) {
        return -EOVERFLOW;
    }
    rv->sys.isa_length = (uint32_t)length;
    rv_counters_restart(rv);
    return 0;
}

static int post_load(void *object, uint32_t version)
{
    struct riscv_cpu *rv = object;

    if (!is_legal(rv)) {
        return -EINVAL;
    }
    rv->reservation = 1;
    rv_mode_update(rv);
    rv_pmp_reset(rv);
    rv_counters_loaded(rv);
    rv_flush_all(rv);
    return 0;
}

static const struct state_field counter_fields[] = {
    STATE(U64, "value", struct rv_counter, value),
    STATE_END,
};
static const struct state_table counter_state = {
    .name = "riscv-counter", .version = 1, .min_version = 1, .fields = counter_fields};

#define X(name) STATE(U64, #name, struct riscv_cpu, sys.name)

static const struct state_field fields[] = {
    STATE_USED(U8, "isa", struct riscv_cpu, sys.isa, sys.isa_length),
    STATE_ARRAY(U64, "x", struct riscv_cpu, x),
    STATE_ARRAY(U64, "f", struct riscv_cpu, f),
    STATE(U64, "pc", struct riscv_cpu, pc),
    STATE(U32, "fflags", struct riscv_cpu, fflags),
    STATE(U32, "frm", struct riscv_cpu, frm),
    STATE(U8, "priv", struct riscv_cpu, sys.priv),
    STATE(U64, "lines", struct riscv_cpu, sys.wiring.lines.level),
    X(mstatus),
    X(medeleg),
    X(mideleg),
    X(mie),
    X(mip),
    X(mtvec),
    X(mcounteren),
    X(mcountinhibit),
    X(mscratch),
    X(mepc),
    X(mcause),
    X(mtval),
    X(menvcfg),
    X(mseccfg),
    X(stvec),
    X(scounteren),
    X(sscratch),
    X(sepc),
    X(scause),
    X(stval),
    X(satp),
    X(senvcfg),
    X(stimecmp),
    STATE_ARRAY(STRUCT, "counter", struct riscv_cpu, sys.counter, .table = &counter_state),
    STATE_ARRAY(U64, "mhpmevent", struct riscv_cpu, sys.mhpmevent),
    STATE_ARRAY(U8, "pmpcfg", struct riscv_cpu, sys.pmpcfg),
    STATE_ARRAY(U64, "pmpaddr", struct riscv_cpu, sys.pmpaddr),
    STATE_END,
};
#undef X

const struct state_table riscv_state = {
    .name = "riscv-hart",
    .version = 1,
    .min_version = 1,
    .fields = fields,
    .pre_save = pre_save,
    .post_load = post_load,
};
