/*
 * Address translation: Sv39, Sv48, Sv57, with Svnapot, Svpbmt, Svade and Svadu.
 *
 * A struct space_view is what permission depends on: it is taken from the state for data accesses
 * (mstatus.MPRV, SUM, MXR) and for fetches, and the keys of rv_spaces() hold the same. What a
 * translation may be used for (prot) is complete under its view, so that both can be cached
 * together.
 *
 * Page tables are read as the implicit accesses that they are: supervisor loads, checked by
 * physical memory protection; in RAM directly, within one reader section of the memory view.
 * Accessed and dirty bits are set by compare-and-swap; when the entry has changed meanwhile the
 * walk starts again, as the manual's algorithm does.
 */
#include <errno.h>
#include "mem/access.h"
#include "target/riscv/priv.h"
#include "util/bits.h"

#define PTE_V    (UINT64_C(1) << 0)
#define PTE_R    (UINT64_C(1) << 1)
#define PTE_W    (UINT64_C(1) << 2)
#define PTE_X    (UINT64_C(1) << 3)
#define PTE_U    (UINT64_C(1) << 4)
#define PTE_G    (UINT64_C(1) << 5)
#define PTE_A    (UINT64_C(1) << 6)
#define PTE_D    (UINT64_C(1) << 7)
#define PTE_RSVD (UINT64_C(0x7f) << 54)
#define PTE_PBMT (UINT64_C(3) << 61)
#define PTE_N    (UINT64_C(1) << 63)

/* Physical addresses have 56 bits; without paging a range this large translates alike. */
#define BARE_SIZE (UINT64_C(1) << 30)

enum { NAPOT_BITS = 16 };

struct space_view {
    enum rv_priv priv;
    bool sum, mxr;
};

static bool paged(const struct riscv_cpu *rv, enum rv_priv priv)
{
    return priv != RV_PRIV_M && RV_SATP_MODE(rv->sys.satp) != RV_SATP_BARE;
}

static struct space_view view_of(const struct riscv_cpu *rv, enum cpu_access access)
{
    uint64_t status = rv->sys.mstatus;
    struct space_view view = {.priv = (enum rv_priv)rv->sys.priv};

    if (access != CPU_ACCESS_FETCH) {
        if (status & RV_MSTATUS_MPRV) {
            view.priv = (enum rv_priv)bits_extract(status, 11, 2);
        }
        if (paged(rv, view.priv)) {
            view.sum = view.priv == RV_PRIV_S && status & RV_MSTATUS_SUM;
            view.mxr = status & RV_MSTATUS_MXR;
        }
    }
    return view;
}

static struct cpu_space_key key_of(const struct riscv_cpu *rv, enum cpu_access access)
{
    struct space_view view = view_of(rv, access);
    struct cpu_space_key key = {.flags = (uint32_t)view.priv | (view.sum ? 4u : 0) |
                                         (view.mxr ? 8u : 0)};

    if (paged(rv, view.priv)) {
        key.root = rv->sys.satp & ~(UINT64_C(0xffff) << 44);
        key.asid = RV_SATP_ASID(rv->sys.satp);
    }
    return key;
}

void rv_spaces(const struct cpu *cpu, struct cpu_space_key *data, struct cpu_space_key *code)
{
    const struct riscv_cpu *rv = (const struct riscv_cpu *)cpu;

    *data = key_of(rv, CPU_ACCESS_LOAD);
    *code = key_of(rv, CPU_ACCESS_FETCH);
}

bool rv_satp_mode_known(const struct riscv_cpu *rv, unsigned mode)
{
    switch (mode) {
    case RV_SATP_BARE:
        return true;
    case RV_SATP_SV39:
        return rv_has(&rv->ext, RV_EXT_sv39);
    case RV_SATP_SV48:
        return rv_has(&rv->ext, RV_EXT_sv48);
    case RV_SATP_SV57:
        return rv_has(&rv->ext, RV_EXT_sv57);
    default:
        return false;
    }
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* How a walk ends. */
enum outcome { FOUND, AGAIN, PAGE_FAULT, ACCESS_FAULT };

struct walk {
    struct riscv_cpu *rv;
    uint64_t address;
    enum cpu_access access;
    bool debug; /* no permissions, no effects */
    struct space_view view;
    const struct mem_view *memory;
    const struct mem_section *section; /* of the last table; its neighbours are often there too */
    /* found: */
    uint64_t pte, pte_at;
    unsigned page_bits;
    bool global;
};

static enum outcome read_pte(struct walk *w, uint64_t at)
{
    const struct mem_section *s;
    uint64_t range;

    if (!w->debug &&
        !(rv_pmp_check(w->rv, at, 8, RV_PRIV_S, MEM_PAGE_SIZE, &range) & CPU_PROT_READ)) {
        return ACCESS_FAULT;
    }
    w->pte_at = at;
    s = w->section;
    if (!s || at < s->first.value || at > s->last) {
        s = w->section = mem_view_find(w->memory, mem_gpa(at));
    }
    if (s && s->host && s->last - at >= 7) {
        const void *host = s->host + (at - s->first.value);
        w->pte = __atomic_load_n((const uint64_t *)host, __ATOMIC_ACQUIRE);
        return FOUND;
    }
    return mem_access_load(w->rv->sys.wiring.memory, mem_gpa(at), 8, &w->pte, MEM_ATTRS_NONE)
               ? ACCESS_FAULT
               : FOUND;
}

/* Bits that this vCPU reserves: "... a page-fault exception is raised". */
static bool reserved(const struct walk *w, bool leaf, unsigned level)
{
    uint64_t pte = w->pte, pbmt = pte & PTE_PBMT;

    if (pte & PTE_RSVD || pbmt == PTE_PBMT) {
        return true;
    }
    if (!leaf) {
        return pte & (PTE_A | PTE_D | PTE_U | PTE_PBMT | PTE_N);
    }
    if (pbmt && !(w->rv->sys.menvcfg & RV_ENVCFG_PBMTE)) {
        return true;
    }
    /* only one size of NAPOT ranges is defined: 64 KiB, of the smallest pages */
    return pte & PTE_N &&
           (!rv_has(&w->rv->ext, RV_EXT_svnapot) || level != 0 || (pte >> 10 & 15) != 8);
}

/* What the entry allows under the view, accessed and dirty bits aside: CPU_PROT_*. */
static unsigned leaf_prot(const struct walk *w)
{
    uint64_t pte = w->pte;
    bool user = w->view.priv == RV_PRIV_U, data, code;
    unsigned prot = 0;

    data = pte & PTE_U ? user || w->view.sum : !user;
    code = pte & PTE_U ? user : !user;
    if (data && pte & (PTE_R | (w->view.mxr ? PTE_X : 0))) {
        prot |= CPU_PROT_READ;
    }
    if (data && pte & PTE_W) {
        prot |= CPU_PROT_WRITE;
    }
    if (code && pte & PTE_X) {
        prot |= CPU_PROT_EXEC;
    }
    return prot;
}

static unsigned needed(enum cpu_access access)
{
    switch (access) {
    case CPU_ACCESS_LOAD:
        return CPU_PROT_READ;
    case CPU_ACCESS_STORE:
        return CPU_PROT_WRITE;
    default:
        return CPU_PROT_EXEC;
    }
}

/* Whether the vCPU sets accessed and dirty bits by itself. */
static bool sets_bits(const struct riscv_cpu *rv)
{
    return rv_has(&rv->ext, RV_EXT_svadu) ? rv->sys.menvcfg & RV_ENVCFG_ADUE
                                          : !rv_has(&rv->ext, RV_EXT_svade);
}

static enum outcome set_bits(struct walk *w, uint64_t bits)
{
    uint64_t expected = w->pte, range;
    int err;

    if (!sets_bits(w->rv)) {
        return PAGE_FAULT;
    }
    if (!(rv_pmp_check(w->rv, w->pte_at, 8, RV_PRIV_S, MEM_PAGE_SIZE, &range) & CPU_PROT_WRITE)) {
        return ACCESS_FAULT;
    }
    err = mem_access_cas(w->rv->sys.wiring.memory, mem_gpa(w->pte_at), 8, &expected, w->pte | bits);
    if (err == -EAGAIN) {
        return AGAIN;
    }
    if (err) {
        return ACCESS_FAULT;
    }
    w->pte |= bits;
    return FOUND;
}

static enum outcome check_leaf(struct walk *w, unsigned level)
{
    uint64_t bits = PTE_A | (w->access == CPU_ACCESS_STORE ? PTE_D : 0);

    if (reserved(w, true, level) || w->pte >> 10 & bits_mask(9 * level)) {
        return PAGE_FAULT;
    }
    w->page_bits = w->pte & PTE_N ? NAPOT_BITS : 12 + 9 * level;
    if (w->debug) {
        return FOUND;
    }
    if (!(leaf_prot(w) & needed(w->access))) {
        return PAGE_FAULT;
    }
    return (w->pte & bits) == bits ? FOUND : set_bits(w, bits);
}

static enum outcome walk_once(struct walk *w)
{
    unsigned levels = RV_SATP_MODE(w->rv->sys.satp) - RV_SATP_SV39 + 3;
    uint64_t table = RV_SATP_PPN(w->rv->sys.satp) << 12;

    w->global = false;
    if (bits_sext(w->address, 12 + 9 * levels) != (int64_t)w->address) {
        return PAGE_FAULT;
    }
    for (unsigned level = levels; level-- > 0;) {
        enum outcome result = read_pte(w, table + bits_extract(w->address, 12 + 9 * level, 9) * 8);

        if (result != FOUND) {
            return result;
        }
        if (!(w->pte & PTE_V) || (w->pte & (PTE_R | PTE_W)) == PTE_W) {
            return PAGE_FAULT;
        }
        w->global |= w->pte & PTE_G;
        if (w->pte & (PTE_R | PTE_X)) {
            return check_leaf(w, level);
        }
        if (reserved(w, false, level)) {
            return PAGE_FAULT;
        }
        table = bits_extract(w->pte, 10, 44) << 12;
    }
    return PAGE_FAULT; /* the last entry is a pointer */
}

/* Fills in everything but what physical memory protection says. */
static enum outcome walk(struct walk *w, struct cpu_translation *result)
{
    enum outcome outcome;
    uint64_t offset;

    if (!paged(w->rv, w->view.priv)) {
        *result = (struct cpu_translation){
            .gpa = w->address,
            .page_size = BARE_SIZE,
            .prot = CPU_PROT_READ | CPU_PROT_WRITE | CPU_PROT_EXEC,
            .global = true,
        };
        return FOUND;
    }
    w->memory = mem_space_enter(w->rv->sys.wiring.memory);
    do {
        outcome = walk_once(w);
    } while (outcome == AGAIN);
    mem_space_leave();
    if (outcome != FOUND) {
        return outcome;
    }
    offset = w->address & bits_mask(w->page_bits);
    *result = (struct cpu_translation){
        .gpa = ((bits_extract(w->pte, 10, 44) << 12) & ~bits_mask(w->page_bits)) | offset,
        .page_size = UINT64_C(1) << w->page_bits,
        .prot = (uint8_t)leaf_prot(w),
        .global = w->global,
    };
    if (!(w->pte & PTE_D)) {
        result->prot &= (uint8_t)~CPU_PROT_WRITE;
    }
    return FOUND;
}

int rv_translate_address(struct cpu *cpu, uint64_t address, unsigned size, enum cpu_access access,
                         struct cpu_translation *result)
{
    static const uint8_t page_fault[] = {
        [CPU_ACCESS_LOAD] = RV_CAUSE_LOAD_PAGE,
        [CPU_ACCESS_STORE] = RV_CAUSE_STORE_PAGE,
        [CPU_ACCESS_FETCH] = RV_CAUSE_FETCH_PAGE,
    };
    static const uint8_t access_fault[] = {
        [CPU_ACCESS_LOAD] = RV_CAUSE_LOAD_ACCESS,
        [CPU_ACCESS_STORE] = RV_CAUSE_STORE_ACCESS,
        [CPU_ACCESS_FETCH] = RV_CAUSE_FETCH_ACCESS,
    };
    struct riscv_cpu *rv = riscv_cpu(cpu);
    struct walk w = {.rv = rv, .address = address, .access = access, .view = view_of(rv, access)};
    enum outcome outcome = walk(&w, result);

    if (outcome == FOUND) {
        uint64_t range;
        unsigned prot =
            rv_pmp_check(rv, result->gpa, size ? size : 1, w.view.priv, result->page_size, &range);
        if (prot & needed(access)) {
            result->prot &= (uint8_t)prot;
            result->page_size = range;
            return 0;
        }
        outcome = ACCESS_FAULT;
    }
    rv->sys.fault = outcome == PAGE_FAULT ? page_fault[access] : access_fault[access];
    return -EFAULT;
}

int rv_debug_address(struct cpu *cpu, uint64_t address, struct cpu_translation *result)
{
    struct riscv_cpu *rv = riscv_cpu(cpu);
    struct walk w = {.rv = rv,
                     .address = address,
                     .access = CPU_ACCESS_LOAD,
                     .debug = true,
                     .view = view_of(rv, CPU_ACCESS_LOAD)};

    return walk(&w, result) == FOUND ? 0 : -EFAULT;
}

/* ---- flushes --------------------------------------------------------------------------------- */

void rv_sfence(struct riscv_cpu *rv, bool one_address, uint64_t address, bool one_asid,
               uint64_t asid)
{
    struct cpu_flush what = {
        .address = one_address ? address : 0,
        .size = one_address ? MEM_PAGE_SIZE : 0,
        .asid = (uint32_t)(asid & 0xffff),
        .any_asid = !one_asid,
        .any_vmid = true,
    };

    rv->sys.wiring.service->tlb_flush(&rv->common, &what);
}

void rv_flush_all(struct riscv_cpu *rv)
{
    rv_sfence(rv, false, 0, false, 0);
}
