/*
 * Physical memory protection, with Smepmp.
 *
 * Sixteen entries of a granularity of four bytes. What each covers is worked out when an entry is
 * written; a check walks the entries, and cuts the range it answers for at the edges of those it
 * passes, so that whoever caches the answer knows how far it holds. A few answers are kept here
 * too: page walks ask for each entry of a page table.
 */
#include <string.h>
#include "target/riscv/priv.h"
#include "util/bits.h"

enum { CFG_R = 1, CFG_W = 2, CFG_X = 4, CFG_A = 0x18, CFG_L = 0x80 };
enum { A_OFF = 0, A_TOR = 0x08, A_NA4 = 0x10, A_NAPOT = 0x18 };

/* More than there is of physical memory; larger ranges are never asked for. */
#define LARGEST (UINT64_C(1) << 57)

#define ADDR_MASK ((UINT64_C(1) << 54) - 1)

#define R   CPU_PROT_READ
#define RW  (CPU_PROT_READ | CPU_PROT_WRITE)
#define X   CPU_PROT_EXEC
#define RX  (CPU_PROT_READ | CPU_PROT_EXEC)
#define RWX (CPU_PROT_READ | CPU_PROT_WRITE | CPU_PROT_EXEC)

_Static_assert(CFG_R == (int)CPU_PROT_READ && CFG_W == (int)CPU_PROT_WRITE &&
                   CFG_X == (int)CPU_PROT_EXEC,
               "permissions of an entry are CPU_PROT_*");

/* ---- what entries cover ---------------------------------------------------------------------- */

static struct rv_pmp_range range_of(const struct rv_system *s, unsigned n)
{
    uint64_t addr = s->pmpaddr[n], size;

    switch (s->pmpcfg[n] & CFG_A) {
    case A_TOR:
        /* nothing if the top is not above the bottom; top 0 wraps to a last below any first */
        if (addr > (n ? s->pmpaddr[n - 1] : 0)) {
            return (struct rv_pmp_range){n ? s->pmpaddr[n - 1] << 2 : 0, (addr << 2) - 1};
        }
        break;
    case A_NA4:
        return (struct rv_pmp_range){addr << 2, (addr << 2) + 3};
    case A_NAPOT:
        /* the trailing ones tell the size; all ones is everything */
        size = UINT64_C(8) << bits_ctz64(~addr);
        return (struct rv_pmp_range){(addr << 2) & ~(size - 1), ((addr << 2) | (size - 1))};
    default:
        break;
    }
    return (struct rv_pmp_range){1, 0};
}

static void update(struct rv_system *s)
{
    for (unsigned n = 0; n < RV_PMP_ENTRIES; n++) {
        s->pmp[n] = range_of(s, n);
    }
    memset(s->pmp_answer, 0, sizeof(s->pmp_answer));
}

void rv_pmp_reset(struct riscv_cpu *rv)
{
    update(&rv->sys);
}

/* ---- checks ---------------------------------------------------------------------------------- */

/* What an entry grants when mseccfg.MML is set, by L R W X: the manual's truth table. */
static unsigned mml_prot(uint8_t cfg, enum rv_priv priv)
{
    static const uint8_t machine[16] = {0, 0, RW, RW, 0, 0, 0, 0, 0, X, X, RX, R, RX, RW, R};
    static const uint8_t others[16] = {0, X, R, RW, R, RX, RW, RWX, 0, 0, X, X, 0, 0, 0, R};
    unsigned row = (cfg & CFG_L ? 8u : 0) | (cfg & CFG_R ? 4u : 0) | (cfg & CFG_W ? 2u : 0) |
                   (cfg & CFG_X ? 1u : 0);

    return priv == RV_PRIV_M ? machine[row] : others[row];
}

static unsigned entry_prot(const struct rv_system *s, unsigned n, enum rv_priv priv)
{
    uint8_t cfg = s->pmpcfg[n];

    if (s->mseccfg & RV_MSECCFG_MML) {
        return mml_prot(cfg, priv);
    }
    return priv == RV_PRIV_M && !(cfg & CFG_L) ? RWX : cfg & RWX;
}

static unsigned default_prot(const struct rv_system *s, enum rv_priv priv)
{
    if (priv != RV_PRIV_M || s->mseccfg & RV_MSECCFG_MMWP) {
        return 0;
    }
    return s->mseccfg & RV_MSECCFG_MML ? RW : RWX;
}

/*
 * The answer for [gpa, last], and in *range the size of the largest naturally aligned range around
 * gpa with the same one, at most LARGEST; 0 when entries cover the access in parts.
 */
static unsigned walk(const struct rv_system *s, uint64_t gpa, uint64_t last, enum rv_priv priv,
                     uint64_t *range)
{
    *range = LARGEST;
    for (unsigned n = 0; n < RV_PMP_ENTRIES; n++) {
        const struct rv_pmp_range *e = &s->pmp[n];
        bool first_in = gpa >= e->first && gpa <= e->last;
        bool last_in = last >= e->first && last <= e->last;

        if (e->first > e->last) {
            continue;
        }
        if (first_in && last_in) {
            while (bits_align_down(gpa, *range) < e->first ||
                   bits_align_down(gpa, *range) + (*range - 1) > e->last) {
                *range /= 2;
            }
            return entry_prot(s, n, priv);
        }
        if (first_in || last_in || (gpa < e->first && last > e->last)) {
            *range = 0;
            return 0; /* "... must match all bytes of an access, or the access fails" */
        }
        while (bits_align_down(gpa, *range) <= e->last &&
               bits_align_down(gpa, *range) + (*range - 1) >= e->first) {
            *range /= 2;
        }
    }
    return default_prot(s, priv);
}

unsigned rv_pmp_check(struct riscv_cpu *rv, uint64_t gpa, unsigned size, enum rv_priv priv,
                      uint64_t limit, uint64_t *range)
{
    struct rv_pmp_answer *kept = &rv->sys.pmp_answer[priv == RV_PRIV_M][gpa >> 28 & 3];
    uint64_t offset = gpa - kept->base;
    unsigned prot;

    *range = limit;
    if (!rv_has(&rv->ext, RV_EXT_pmp)) {
        return RWX;
    }
    if (offset < kept->size && size <= kept->size - offset) {
        *range = kept->size < limit ? kept->size : limit;
        return kept->prot;
    }
    prot = walk(&rv->sys, gpa, gpa + size - 1, priv, range);
    if (*range) {
        *kept = (struct rv_pmp_answer){bits_align_down(gpa, *range), *range, (uint8_t)prot};
    }
    *range = *range && *range < limit ? *range : limit;
    return prot;
}

/* ---- writes ---------------------------------------------------------------------------------- */

static bool locked(const struct rv_system *s, unsigned n)
{
    return s->pmpcfg[n] & CFG_L && !(s->mseccfg & RV_MSECCFG_RLB);
}

/* Whether Smepmp forbids the rule: one that lets M execute can't be added once MML is set. */
static bool forbidden(const struct rv_system *s, uint8_t cfg)
{
    return (s->mseccfg & (RV_MSECCFG_MML | RV_MSECCFG_RLB)) == RV_MSECCFG_MML &&
           mml_prot(cfg, RV_PRIV_M) & X;
}

bool rv_pmp_is_legal(const struct riscv_cpu *rv)
{
    const struct rv_system *s = &rv->sys;
    bool there = rv_has(&rv->ext, RV_EXT_pmp), mml = s->mseccfg & RV_MSECCFG_MML;

    for (unsigned n = 0; n < RV_PMP_ENTRIES; n++) {
        uint8_t cfg = s->pmpcfg[n];

        if (cfg & ~(there ? CFG_L | CFG_A | RWX : 0) || s->pmpaddr[n] & ~(there ? ADDR_MASK : 0) ||
            (!mml && (cfg & RW) == CFG_W)) {
            return false;
        }
    }
    return true;
}

bool rv_pmp_write_cfg(struct riscv_cpu *rv, unsigned first, uint64_t value, uint64_t mask)
{
    struct rv_system *s = &rv->sys;
    bool changed = false;

    for (unsigned n = first; n < first + 8 && n < RV_PMP_ENTRIES; n++, value >>= 8, mask >>= 8) {
        uint8_t old = s->pmpcfg[n];
        uint8_t cfg = (uint8_t)((old & ~mask) | (value & mask)) & (CFG_L | CFG_A | RWX);

        if (!(s->mseccfg & RV_MSECCFG_MML) && (cfg & RW) == CFG_W) {
            cfg &= (uint8_t)~CFG_W; /* reserved without MML */
        }
        if (locked(s, n) || (cfg != old && forbidden(s, cfg))) {
            continue;
        }
        changed |= cfg != old;
        s->pmpcfg[n] = cfg;
    }
    update(s);
    return changed;
}

bool rv_pmp_write_addr(struct riscv_cpu *rv, unsigned n, uint64_t value, uint64_t mask)
{
    struct rv_system *s = &rv->sys;
    uint64_t old;

    if (n >= RV_PMP_ENTRIES || locked(s, n) ||
        (n + 1 < RV_PMP_ENTRIES && locked(s, n + 1) && (s->pmpcfg[n + 1] & CFG_A) == A_TOR)) {
        return false;
    }
    old = s->pmpaddr[n];
    s->pmpaddr[n] = ((old & ~mask) | (value & mask)) & ADDR_MASK;
    update(s);
    return old != s->pmpaddr[n];
}

bool rv_pmp_write_mseccfg(struct riscv_cpu *rv, uint64_t value, uint64_t mask)
{
    struct rv_system *s = &rv->sys;
    uint64_t old = s->mseccfg, sticky = RV_MSECCFG_MML | RV_MSECCFG_MMWP;
    bool any_locked = false;

    for (unsigned n = 0; n < RV_PMP_ENTRIES; n++) {
        any_locked |= s->pmpcfg[n] & CFG_L;
    }
    value = (old & ~mask) | (value & mask);
    value = (value & (sticky | RV_MSECCFG_RLB)) | (old & sticky);
    if (any_locked && !(old & RV_MSECCFG_RLB)) {
        value &= ~(uint64_t)RV_MSECCFG_RLB;
    }
    s->mseccfg = value;
    update(s);
    return value != old;
}
