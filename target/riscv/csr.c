/*
 * Control and status registers: the table, and those that are more than a field.
 *
 * A write function gets the bits to change as a mask, so that setting and clearing bits of a
 * register whose read value is not all its own (mip, with its input lines) does what the manual
 * says.
 */
#include "target/riscv/csr.h"
#include "target/riscv/decode.h"
#include "target/riscv/priv.h"
#include "util/bits.h"

#define RV_EPC_WRITES (~UINT64_C(1))

static uint64_t merge(uint64_t old, uint64_t value, uint64_t mask)
{
    return (old & ~mask) | (value & mask);
}

uint64_t rv_supervisor_irqs(const struct riscv_cpu *rv)
{
    uint64_t irqs = RV_IRQ_BIT(RV_IRQ_SSI) | RV_IRQ_BIT(RV_IRQ_STI) | RV_IRQ_BIT(RV_IRQ_SEI);

    if (!rv_has(&rv->ext, RV_EXT_s)) {
        irqs = 0;
    }
    return rv_has(&rv->ext, RV_EXT_sscofpmf) ? irqs | RV_IRQ_BIT(RV_IRQ_LCOFI) : irqs;
}

static uint64_t read_zero(struct riscv_cpu *rv, unsigned number)
{
    return 0;
}

static bool write_nothing(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    return false;
}

static uint64_t read_tinfo(struct riscv_cpu *rv, unsigned number)
{
    return 1; /* "If tinfo.info is 1, ... there is no trigger at this tselect" */
}

static uint64_t read_mhartid(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.wiring.hart;
}

/* ---- status ---------------------------------------------------------------------------------- */

bool rv_status_write(struct riscv_cpu *rv, uint64_t old, uint64_t value)
{
    uint64_t mode = rv->common.mode, changed;

    /* MPP is WARL: what is no privilege of this vCPU leaves it as it was. */
    switch (bits_extract(value, 11, 2)) {
    case RV_PRIV_S:
        value = rv_has(&rv->ext, RV_EXT_s) ? value : merge(value, old, RV_MSTATUS_MPP);
        break;
    case RV_PRIV_U:
        value = rv_has(&rv->ext, RV_EXT_u) ? value : merge(value, old, RV_MSTATUS_MPP);
        break;
    case RV_PRIV_M:
        break;
    default:
        value = merge(value, old, RV_MSTATUS_MPP);
    }
    value &= ~RV_MSTATUS_SD;
    if ((value & RV_MSTATUS_FS) == RV_MSTATUS_FS) {
        value |= RV_MSTATUS_SD;
    }
    rv->sys.mstatus = value;
    rv_mode_update(rv);
    changed = old ^ value;
    if (mode != rv->common.mode) {
        return true;
    }
    if (changed & (RV_MSTATUS_SUM | RV_MSTATUS_MXR | RV_MSTATUS_MPRV) ||
        (value & RV_MSTATUS_MPRV && changed & RV_MSTATUS_MPP)) {
        if (!rv->sys.wiring.service->data_space_changed) {
            return true;
        }
        /* kernels do this around each access to a user's memory */
        rv->sys.wiring.service->data_space_changed(&rv->common);
    }
    return changed & value & RV_MSTATUS_ENABLES && rv_interrupt_pending(rv);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static uint64_t read_medeleg(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.medeleg;
}

static bool write_medeleg(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    rv->sys.medeleg = merge(rv->sys.medeleg, value, mask & RV_MEDELEG_WRITES);
    return false;
}

static uint64_t read_mideleg(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.mideleg;
}

static bool write_mideleg(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    rv->sys.mideleg = merge(rv->sys.mideleg, value, mask & rv_supervisor_irqs(rv));
    return rv_interrupt_pending(rv);
}

static uint64_t read_mie(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.mie;
}

uint64_t rv_mie_writes(const struct riscv_cpu *rv)
{
    return rv_supervisor_irqs(rv) | RV_IRQ_BIT(RV_IRQ_MSI) | RV_IRQ_BIT(RV_IRQ_MTI) |
           RV_IRQ_BIT(RV_IRQ_MEI);
}

static bool write_mie(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    rv->sys.mie = merge(rv->sys.mie, value, mask & rv_mie_writes(rv));
    return rv_interrupt_pending(rv);
}

static uint64_t read_sie(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.mie & rv->sys.mideleg;
}

static bool write_sie(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    return write_mie(rv, number, value, mask & rv->sys.mideleg);
}

static uint64_t read_mip(struct riscv_cpu *rv, unsigned number)
{
    return rv_mip(rv);
}

static bool write_mip(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    rv_mip(rv); /* takes in an edge of SSIP, which this may clear */
    mask &= rv_supervisor_irqs(rv);
    if (rv->sys.menvcfg & RV_ENVCFG_STCE) {
        mask &= ~RV_IRQ_BIT(RV_IRQ_STI); /* "STIP ... is read-only" then (Sstc) */
    }
    rv->sys.mip = merge(rv->sys.mip, value, mask);
    return rv_interrupt_pending(rv);
}

static uint64_t read_sip(struct riscv_cpu *rv, unsigned number)
{
    return rv_mip(rv) & rv->sys.mideleg;
}

static bool write_sip(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    uint64_t writable = RV_IRQ_BIT(RV_IRQ_SSI) | RV_IRQ_BIT(RV_IRQ_LCOFI);

    return write_mip(rv, number, value, mask & writable & rv->sys.mideleg);
}

/* ---- trap vectors ---------------------------------------------------------------------------- */

/* Modes above 1 are reserved: the register stays as it was. */
static uint64_t vector(uint64_t old, uint64_t value, uint64_t mask)
{
    value = merge(old, value, mask);
    return value & 2 ? old : value;
}

static uint64_t read_mtvec(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.mtvec;
}

static bool write_mtvec(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    rv->sys.mtvec = vector(rv->sys.mtvec, value, mask);
    return false;
}

static uint64_t read_stvec(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.stvec;
}

static bool write_stvec(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    rv->sys.stvec = vector(rv->sys.stvec, value, mask);
    return false;
}

/* ---- configuration --------------------------------------------------------------------------- */

static uint64_t read_menvcfg(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.menvcfg;
}

uint64_t rv_menvcfg_writes(const struct riscv_cpu *rv)
{
    const struct rv_ext_set *ext = &rv->ext;
    uint64_t writable = RV_ENVCFG_FIOM;

    writable |= rv_has(ext, RV_EXT_zicbom) ? RV_ENVCFG_CBIE | RV_ENVCFG_CBCFE : 0;
    writable |= rv_has(ext, RV_EXT_zicboz) ? RV_ENVCFG_CBZE : 0;
    writable |= rv_has(ext, RV_EXT_svpbmt) ? RV_ENVCFG_PBMTE : 0;
    writable |= rv_has(ext, RV_EXT_svadu) ? RV_ENVCFG_ADUE : 0;
    writable |= rv_has(ext, RV_EXT_sstc) ? RV_ENVCFG_STCE : 0;
    return writable;
}

static bool write_menvcfg(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    uint64_t old = rv->sys.menvcfg, changed;

    rv->sys.menvcfg = merge(old, value, mask & rv_menvcfg_writes(rv));
    changed = old ^ rv->sys.menvcfg;
    if (changed & RV_ENVCFG_STCE) {
        rv->sys.mip &= ~RV_IRQ_BIT(RV_IRQ_STI);
        rv_stimecmp_changed(rv);
    }
    if (changed & (RV_ENVCFG_PBMTE | RV_ENVCFG_ADUE)) {
        rv_flush_all(rv);
        return true;
    }
    return changed & RV_ENVCFG_STCE && rv_interrupt_pending(rv);
}

static uint64_t read_stimecmp(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.stimecmp;
}

static bool write_stimecmp(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    rv->sys.stimecmp = merge(rv->sys.stimecmp, value, mask);
    rv_stimecmp_changed(rv);
    return rv_interrupt_pending(rv);
}

static uint64_t read_satp(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.satp;
}

/* "... if satp is written with an unsupported MODE, the entire write has no effect" */
static bool write_satp(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    value = merge(rv->sys.satp, value, mask);
    if (rv_satp_mode_known(rv, RV_SATP_MODE(value))) {
        rv->sys.satp = value;
    }
    return true;
}

/* ---- physical memory protection -------------------------------------------------------------- */

static bool pmp_changed(struct riscv_cpu *rv, bool changed)
{
    if (changed) {
        rv_flush_all(rv);
    }
    return changed;
}

static uint64_t read_mseccfg(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.mseccfg;
}

static bool write_mseccfg(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    return pmp_changed(rv, rv_pmp_write_mseccfg(rv, value, mask));
}

/* An even pmpcfg register holds eight entries of a byte. */
static uint64_t read_pmpcfg(struct riscv_cpu *rv, unsigned number)
{
    unsigned first = (number & 15) * 4;
    uint64_t value = 0;

    for (unsigned n = first; n < first + 8 && n < RV_PMP_ENTRIES; n++) {
        value |= (uint64_t)rv->sys.pmpcfg[n] << (n - first) * 8;
    }
    return value;
}

static bool write_pmpcfg(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    return pmp_changed(rv, rv_pmp_write_cfg(rv, (number & 15) * 4, value, mask));
}

static uint64_t read_pmpaddr(struct riscv_cpu *rv, unsigned number)
{
    unsigned n = number - 0x3b0;

    return n < RV_PMP_ENTRIES ? rv->sys.pmpaddr[n] : 0;
}

static bool write_pmpaddr(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    return pmp_changed(rv, rv_pmp_write_addr(rv, number - 0x3b0, value, mask));
}

/* ---- counters -------------------------------------------------------------------------------- */

static uint64_t read_time(struct riscv_cpu *rv, unsigned number)
{
    return rv_time(rv);
}

static uint64_t read_counter(struct riscv_cpu *rv, unsigned number)
{
    return rv_counter_read(rv, number & 31);
}

static bool write_counter(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    unsigned n = number & 31;

    rv_counter_write(rv, n, merge(rv_counter_read(rv, n), value, mask));
    return false;
}

static uint64_t read_mcountinhibit(struct riscv_cpu *rv, unsigned number)
{
    return rv->sys.mcountinhibit;
}

static bool write_mcountinhibit(struct riscv_cpu *rv, unsigned number, uint64_t value,
                                uint64_t mask)
{
    rv_countinhibit_write(rv, merge(rv->sys.mcountinhibit, value, mask));
    return false;
}

static uint64_t read_mhpmevent(struct riscv_cpu *rv, unsigned number)
{
    rv_counters_poll(rv);
    return rv->sys.mhpmevent[number & 31];
}

static bool write_mhpmevent(struct riscv_cpu *rv, unsigned number, uint64_t value, uint64_t mask)
{
    unsigned n = number & 31;

    rv_hpmevent_write(rv, n, merge(rv->sys.mhpmevent[n], value, mask));
    return false;
}

/* The OF bits of all events; below M only those of counters that mcounteren shows. */
static uint64_t read_scountovf(struct riscv_cpu *rv, unsigned number)
{
    uint64_t value = 0;

    rv_counters_poll(rv);
    for (unsigned n = 3; n < RV_COUNTERS; n++) {
        value |= rv->sys.mhpmevent[n] >> 63 << n;
    }
    return rv->sys.priv == RV_PRIV_M ? value : value & rv->sys.mcounteren;
}

/* ---- the table ------------------------------------------------------------------------------- */

#define FIELD(f) offsetof(struct riscv_cpu, sys.f)

/* The functions, numbered, and PLAIN ones' 0: a table of pointers would be relocated whenever any
 * program starts. */
/* clang-format off */
#define READERS                                                                                    \
    X(zero) X(tinfo) X(mhartid) X(medeleg) X(mideleg) X(mie) X(sie) X(mip) X(sip) X(mtvec)         \
    X(stvec) X(menvcfg) X(stimecmp) X(satp) X(mseccfg) X(pmpcfg) X(pmpaddr) X(time) X(counter)     \
    X(mcountinhibit) X(mhpmevent) X(scountovf)
#define WRITERS                                                                                    \
    X(nothing) X(medeleg) X(mideleg) X(mie) X(sie) X(mip) X(sip) X(mtvec) X(stvec) X(menvcfg)      \
    X(stimecmp) X(satp) X(mseccfg) X(pmpcfg) X(pmpaddr) X(counter) X(mcountinhibit) X(mhpmevent)
/* clang-format on */

#define X(name) READ_##name,
enum { READ_0, READERS };
#undef X
#define X(name) WRITE_##name,
enum { WRITE_0, WRITERS };
#undef X

#define X(name) read_##name,
static uint64_t (*const readers[])(struct riscv_cpu *rv, unsigned number) = {NULL, READERS};
#undef X
#define X(name) write_##name,
static bool (*const writers[])(struct riscv_cpu *rv, unsigned number, uint64_t value,
                               uint64_t mask) = {NULL, WRITERS};
#undef X

static const struct rv_csr csrs[] = {
#define PLAIN(number, name, ext, gate, field, reads, writes) \
    {#name, number, RV_EXT_##ext, RV_GATE_##gate, RV_CSR_PLAIN, 0, 0, FIELD(field), reads, writes},
#define STATUS(number, name, reads, writes) \
    {#name, number, RV_EXT_i, RV_GATE_NONE, RV_CSR_STATUS, 0, 0, FIELD(mstatus), reads, writes},
#define CSR(number, name, ext, gate, read, write) \
    {#name, number, RV_EXT_##ext, RV_GATE_##gate, RV_CSR_CALL, READ_##read, WRITE_##write, 0, 0, 0},
#include "target/riscv/csrs.def"
};

/* Rows are numbered in the order of the table ... */
enum {
#define CSR(number, name, ext, gate, read, write) ROW_##name,
#include "target/riscv/csrs.def"
    ROW_COUNT
};
_Static_assert(ROW_COUNT == BITS_ARRAY_SIZE(csrs), "rows");

/* ... and found by number here, plus one. */
static const uint16_t by_number[4096] = {
#define CSR(number, name, ext, gate, read, write) [number] = ROW_##name + 1,
#include "target/riscv/csrs.def"
};

const struct rv_csr *rv_csr_find(unsigned number)
{
    return number < 4096 && by_number[number] ? &csrs[by_number[number] - 1] : NULL;
}

const char *rv_csr_name(unsigned number)
{
    static const char *const fp[] = {NULL, "fflags", "frm", "fcsr"};
    const struct rv_csr *csr = rv_csr_find(number);

    if (number < BITS_ARRAY_SIZE(fp)) {
        return fp[number];
    }
    return csr ? csr->name : NULL;
}

/* Without the C extension instructions are aligned to four bytes, and so is a pc in xepc; without F
 * there is no FS. */
uint64_t rv_csr_writable(const struct riscv_cpu *rv, const struct rv_csr *csr)
{
    bool is_epc = csr->offset == FIELD(mepc) || csr->offset == FIELD(sepc);

    if (csr->kind == RV_CSR_STATUS && !rv_has(&rv->ext, RV_EXT_f)) {
        return csr->writes & ~RV_MSTATUS_FS;
    }
    return is_epc && !rv_has(&rv->ext, RV_EXT_c) ? csr->writes & ~UINT64_C(2) : csr->writes;
}

uint64_t rv_csr_read(struct riscv_cpu *rv, const struct rv_csr *csr)
{
    if (csr->kind == RV_CSR_CALL) {
        return readers[csr->read](rv, csr->number);
    }
    return *(uint64_t *)((char *)rv + csr->offset) & csr->reads;
}

bool rv_csr_write(struct riscv_cpu *rv, const struct rv_csr *csr, uint64_t value, uint64_t mask)
{
    uint64_t *field = (uint64_t *)((char *)rv + csr->offset);

    switch ((enum rv_csr_kind)csr->kind) {
    case RV_CSR_PLAIN:
        *field = merge(*field, value, mask & rv_csr_writable(rv, csr));
        return false;
    case RV_CSR_STATUS:
        return rv_status_write(rv, *field, merge(*field, value, mask & rv_csr_writable(rv, csr)));
    case RV_CSR_CALL:
        return writers[csr->write](rv, csr->number, value, mask);
    }
    return false;
}
