/*
 * Exceptions, interrupts, and the return from them.
 *
 * The interrupt lines of the vCPU (struct cpu_irq_lines) are bits of mip by their numbers. All are
 * levels but the one of SSIP: who raises it (an ACLINT's SSWI, "edge-sensitive") sets the bit of
 * mip once, which software then clears. rv_mip() takes such an edge in.
 */
#include "mem/access.h"
#include "target/riscv/priv.h"
#include "util/bits.h"

#define LEVELS (RV_IRQ_LINES & ~RV_IRQ_BIT(RV_IRQ_SSI))

void rv_mode_update(struct riscv_cpu *rv)
{
    uint64_t mode = rv->frm > 3 ? RV_MODE_FRM_SOFT : 0;
    uint64_t fs = rv->sys.mstatus & RV_MSTATUS_FS;

    mode |= (uint64_t)rv->sys.priv << RV_MODE_PRIV_SHIFT;
    if (rv->sys.priv != RV_PRIV_U) {
        mode |= RV_MODE_FS_CHECK;
    } else if (fs == 0) {
        mode |= RV_MODE_FS_OFF;
    } else if (fs != RV_MSTATUS_FS) {
        mode |= RV_MODE_FS_CLEAN;
    }
    rv->common.mode = mode;
}

/* ---- pending interrupts ---------------------------------------------------------------------- */

/* mip, but for the bit that depends on the clock. */
static uint64_t mip_without_clock(struct riscv_cpu *rv)
{
    struct cpu_irq_lines *lines = &rv->sys.wiring.lines;
    uint64_t level = cpu_irq_levels(lines), edge = RV_IRQ_BIT(RV_IRQ_SSI);

    if (level & edge) {
        atomic_fetch_and_explicit(&lines->level, ~edge, memory_order_seq_cst);
        rv->sys.mip |= edge;
    }
    if (rv->sys.overflow != CPU_CLOCK_NEVER) {
        rv_counters_poll(rv);
    }
    return rv->sys.mip | (level & LEVELS);
}

uint64_t rv_mip(struct riscv_cpu *rv)
{
    uint64_t mip = mip_without_clock(rv);

    return rv_stimecmp_pending(rv) ? mip | RV_IRQ_BIT(RV_IRQ_STI) : mip;
}

/* mip where mie enables it. Whether the timer is due is told by its event, not by the clock. */
static uint64_t enabled_mip(struct riscv_cpu *rv)
{
    uint64_t mip = mip_without_clock(rv), timer = RV_IRQ_BIT(RV_IRQ_STI);

    if (rv->sys.mie & timer && rv_stimer_interrupts(rv)) {
        mip |= timer;
    }
    return mip & rv->sys.mie;
}

/* The interrupt to take now, -1 if there is none. */
static int next_interrupt(struct riscv_cpu *rv)
{
    static const uint8_t order[] = {RV_IRQ_MEI, RV_IRQ_MSI, RV_IRQ_MTI,  RV_IRQ_SEI,
                                    RV_IRQ_SSI, RV_IRQ_STI, RV_IRQ_LCOFI};
    struct rv_system *s = &rv->sys;
    uint64_t pending = enabled_mip(rv), machine = 0, supervisor = 0;

    if (!pending) {
        return -1;
    }
    if (s->priv < RV_PRIV_M || s->mstatus & RV_MSTATUS_MIE) {
        machine = pending & ~s->mideleg;
    }
    if (s->priv < RV_PRIV_S || (s->priv == RV_PRIV_S && s->mstatus & RV_MSTATUS_SIE)) {
        supervisor = pending & s->mideleg;
    }
    pending = machine ? machine : supervisor; /* the higher privilege comes first */
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(order); n++) {
        if (pending & RV_IRQ_BIT(order[n])) {
            return order[n];
        }
    }
    return -1;
}

bool rv_interrupt_pending(struct riscv_cpu *rv)
{
    return next_interrupt(rv) >= 0;
}

bool rv_take_interrupt(struct cpu *cpu)
{
    struct riscv_cpu *rv = riscv_cpu(cpu);
    int irq = next_interrupt(rv);

    if (irq < 0) {
        return false;
    }
    rv_trap(rv, (unsigned)irq, true, 0);
    return true;
}

/* "... an implementation ... resume execution ... if any ... interrupt ... is ... locally enabled,
 * whatever ... global" enables and delegation say (wfi). */
bool rv_has_work(struct cpu *cpu)
{
    struct riscv_cpu *rv = riscv_cpu(cpu);

    if (rv_stimecmp_pending(rv)) {
        atomic_store(&rv->sys.stimer_due, true); /* a wait may end before the event comes */
    }
    return enabled_mip(rv) != 0;
}

/* ---- traps ----------------------------------------------------------------------------------- */

static uint64_t vector(uint64_t tvec, unsigned cause, bool interrupt)
{
    return (tvec & ~UINT64_C(3)) + (interrupt && tvec & 1 ? 4 * (uint64_t)cause : 0);
}

/* Moves the bit `from` of mstatus to `to`, and clears `from`. */
static uint64_t push(uint64_t status, uint64_t from, uint64_t to)
{
    return (status & ~(from | to)) | (status & from ? to : 0);
}

void rv_trap(struct riscv_cpu *rv, unsigned cause, bool interrupt, uint64_t tval)
{
    struct rv_system *s = &rv->sys;
    uint64_t code = cause | (interrupt ? UINT64_C(1) << 63 : 0);
    uint64_t delegated = interrupt ? s->mideleg : s->medeleg;

    if (s->priv <= RV_PRIV_S && delegated >> cause & 1) {
        s->scause = code;
        s->sepc = rv->pc;
        s->stval = tval;
        s->mstatus = push(s->mstatus, RV_MSTATUS_SIE, RV_MSTATUS_SPIE) & ~RV_MSTATUS_SPP;
        s->mstatus |= s->priv == RV_PRIV_S ? RV_MSTATUS_SPP : 0;
        s->priv = RV_PRIV_S;
        rv->pc = vector(s->stvec, cause, interrupt);
    } else {
        s->mcause = code;
        s->mepc = rv->pc;
        s->mtval = tval;
        s->mstatus = push(s->mstatus, RV_MSTATUS_MIE, RV_MSTATUS_MPIE) & ~RV_MSTATUS_MPP;
        s->mstatus |= (uint64_t)s->priv << 11;
        s->priv = RV_PRIV_M;
        rv->pc = vector(s->mtvec, cause, interrupt);
    }
    rv_mode_update(rv);
}

void rv_raise_memory(struct cpu *cpu, uint64_t address, enum cpu_access access,
                     enum cpu_bus_error error)
{
    static const uint8_t bus[] = {
        [CPU_ACCESS_LOAD] = RV_CAUSE_LOAD_ACCESS,
        [CPU_ACCESS_STORE] = RV_CAUSE_STORE_ACCESS,
        [CPU_ACCESS_FETCH] = RV_CAUSE_FETCH_ACCESS,
    };
    struct riscv_cpu *rv = riscv_cpu(cpu);

    rv_trap(rv, error == CPU_BUS_ERROR_NONE ? rv->sys.fault : bus[access], false, address);
}

/*
 * The unit was made when the address could not be fetched. Now is what counts: where it can be, the
 * vCPU tries again.
 */
static void raise_fetch(struct riscv_cpu *rv, uint64_t address)
{
    struct cpu *cpu = &rv->common;
    struct cpu_translation found;
    struct mem_mapping map;

    if (rv_translate_address(cpu, address, 2, CPU_ACCESS_FETCH, &found) < 0) {
        rv_raise_memory(cpu, address, CPU_ACCESS_FETCH, CPU_BUS_ERROR_NONE);
    } else if (mem_access_map(rv->sys.wiring.memory, mem_gpa(found.gpa), 2, false, &map) < 0) {
        rv_raise_memory(cpu, address, CPU_ACCESS_FETCH, CPU_BUS_ERROR_ABSENT);
    } else {
        mem_access_unmap(&map, 0);
    }
}

void rv_raise_exit(struct cpu *cpu, enum cpu_exit reason)
{
    struct riscv_cpu *rv = riscv_cpu(cpu);

    switch (reason) {
    case CPU_EXIT_SYSCALL:
        rv_trap(rv, RV_CAUSE_ECALL + rv->sys.priv, false, 0);
        break;
    case CPU_EXIT_BREAKPOINT:
        rv_trap(rv, RV_CAUSE_BREAKPOINT, false, rv->pc);
        break;
    case CPU_EXIT_ILLEGAL:
        rv_trap(rv, RV_CAUSE_ILLEGAL, false, cpu->exit_arg);
        break;
    case CPU_EXIT_FETCH_FAULT:
        raise_fetch(rv, cpu->exit_arg);
        break;
    case CPU_EXIT_MISALIGNED:
        rv_trap(rv, rv->sys.misaligned, false, cpu->exit_arg);
        break;
    default:
        break; /* the others are no exceptions */
    }
}

/* ---- the way back ---------------------------------------------------------------------------- */

/*
 * A reservation does not outlive a return from a trap: the guest may have switched to another
 * address space, where the address means something else. "... an SC may ... fail" then.
 */
static void arrive(struct riscv_cpu *rv, enum rv_priv priv)
{
    rv->sys.priv = priv;
    if (priv != RV_PRIV_M) {
        rv->sys.mstatus &= ~RV_MSTATUS_MPRV;
    }
    rv->reservation = 1;
    rv_mode_update(rv);
}

uint64_t rv_mret(struct riscv_cpu *rv)
{
    struct rv_system *s = &rv->sys;
    enum rv_priv to = (enum rv_priv)bits_extract(s->mstatus, 11, 2);
    bool user = rv_has(&rv->ext, RV_EXT_u);

    s->mstatus = push(s->mstatus, RV_MSTATUS_MPIE, RV_MSTATUS_MIE) | RV_MSTATUS_MPIE;
    s->mstatus &= ~RV_MSTATUS_MPP;
    s->mstatus |= user ? 0 : RV_MSTATUS_MPP; /* "... the least-privileged supported mode" */
    arrive(rv, to);
    return s->mepc;
}

uint64_t rv_sret(struct riscv_cpu *rv)
{
    struct rv_system *s = &rv->sys;
    enum rv_priv to = s->mstatus & RV_MSTATUS_SPP ? RV_PRIV_S : RV_PRIV_U;

    s->mstatus = push(s->mstatus, RV_MSTATUS_SPIE, RV_MSTATUS_SIE) | RV_MSTATUS_SPIE;
    s->mstatus &= ~RV_MSTATUS_SPP;
    arrive(rv, to);
    return s->sepc;
}
