/*
 * Page walks against a slow reference that follows the manual's steps, over random page tables,
 * modes and views; and directed cases for what random ones seldom meet.
 */
#include <errno.h>
#include "target/riscv/random.h"
#include "tests/unit/riscv-hart.h"

enum { TABLES = 12, PAGE = 4096 };

static struct rv_random rnd = {31415};
static uint64_t shadow[TABLES * 512]; /* the tables as they should be */

static uint64_t draw(uint64_t n)
{
    return rv_random_next(&rnd) % n;
}

static uint64_t *table(void)
{
    return hart_word(HART_RAM);
}

/* ---- the reference --------------------------------------------------------------------------- */

struct answer {
    int cause; /* -1: none */
    uint64_t gpa, size;
    unsigned prot; /* of what may be cached */
    bool global;
};

static bool physical(uint64_t at, unsigned need)
{
    uint64_t range;

    return at >= HART_RAM && at + 8 <= HART_RAM + HART_RAM_SIZE &&
           (rv_pmp_check(hart, at, 8, RV_PRIV_S, PAGE, &range) & need) == need;
}

/* "5. A leaf PTE has been found", and 6, 7: may `what` be done through it? */
static bool permits(uint64_t pte, unsigned what, enum rv_priv priv, bool sum, bool mxr)
{
    bool r = pte & 2, w = pte & 4, x = pte & 8, u = pte & 16;

    if (priv == RV_PRIV_U && !u) {
        return false;
    }
    if (priv == RV_PRIV_S && u && (what == CPU_PROT_EXEC || !sum)) {
        return false;
    }
    return what == CPU_PROT_READ ? r || (mxr && x) : what == CPU_PROT_WRITE ? w : x;
}

static struct answer reference(uint64_t va, enum cpu_access access)
{
    static const int page[] = {13, 15, 12}, bus[] = {5, 7, 1};
    static const unsigned what[] = {CPU_PROT_READ, CPU_PROT_WRITE, CPU_PROT_EXEC};
    struct answer fault = {page[access], 0, 0, 0, false}, denied = {bus[access], 0, 0, 0, false};
    struct answer good = {.cause = -1};
    uint64_t status = hart->sys.mstatus, satp = hart->sys.satp, a = (satp & bits_mask(44)) * PAGE;
    enum rv_priv priv = (enum rv_priv)hart->sys.priv;
    bool data = access != CPU_ACCESS_FETCH, sum, mxr, global = false;
    unsigned mode = (unsigned)(satp >> 60), levels = mode - 5, bits = 12 + 9 * levels;
    uint64_t range;
    unsigned pmp;

    if (data && status & RV_MSTATUS_MPRV) {
        priv = (enum rv_priv)(status >> 11 & 3);
    }
    sum = data && status & RV_MSTATUS_SUM;
    mxr = data && status & RV_MSTATUS_MXR;
    if (priv == RV_PRIV_M || mode == 0) {
        good = (struct answer){-1, va, UINT64_C(1) << 30, 7, true};
    } else {
        int64_t top = (int64_t)va >> (bits - 1);
        uint64_t pte = 0, at = 0;
        int i;

        if (top != 0 && top != -1) {
            return fault;
        }
        for (i = (int)levels - 1;; i--) {
            at = a + (va >> (12 + 9 * i) & 511) * 8;
            if (!physical(at, CPU_PROT_READ)) {
                return denied;
            }
            pte = *hart_word(at);
            if (!(pte & 1) || (!(pte & 2) && pte & 4) || pte >> 54 & 0x7f) {
                return fault;
            }
            global |= pte >> 5 & 1;
            if (pte & 10) {
                break;
            }
            if (pte >> 61 || pte & 0xd0 || i == 0) {
                return fault;
            }
            a = (pte >> 10 & bits_mask(44)) * PAGE;
        }
        if ((pte >> 61 & 3) == 3 || (pte >> 61 & 3 && !(hart->sys.menvcfg >> 62 & 1))) {
            return fault;
        }
        if (i > 0 && pte >> 10 & bits_mask(9 * (unsigned)i)) {
            return fault;
        }
        if (pte >> 63 && (i > 0 || (pte >> 10 & 15) != 8 || !rv_has(&hart->ext, RV_EXT_svnapot))) {
            return fault;
        }
        if (!permits(pte, what[access], priv, sum, mxr)) {
            return fault;
        }
        if (!(pte & 64) || (access == CPU_ACCESS_STORE && !(pte & 128))) {
            if (!(hart->sys.menvcfg >> 61 & 1)) {
                return fault;
            }
            if (!physical(at, CPU_PROT_WRITE)) {
                return denied;
            }
            pte |= access == CPU_ACCESS_STORE ? 192 : 64;
            shadow[(at - HART_RAM) / 8] = pte;
        }
        good.size = pte >> 63 ? 65536 : (uint64_t)PAGE << 9 * i;
        good.gpa = (pte >> 10 & bits_mask(44)) * PAGE / good.size * good.size + va % good.size;
        good.global = global;
        for (unsigned n = 0; n < 3; n++) {
            if (permits(pte, what[n], priv, sum, mxr) && (n != CPU_ACCESS_STORE || pte & 128)) {
                good.prot |= what[n];
            }
        }
    }
    pmp = rv_pmp_check(hart, good.gpa, 1, priv, good.size, &range);
    if (!(pmp & what[access])) {
        return denied;
    }
    good.prot &= pmp;
    good.size = range;
    return good;
}

/* ---- random tables --------------------------------------------------------------------------- */

static uint64_t random_pte(void)
{
    uint64_t pte = rv_random_next(&rnd) & 0xff, ppn = (HART_RAM >> 12) + draw(TABLES);

    pte |= 1;
    if (draw(2)) { /* a pointer */
        pte &= 0x21;
    } else {
        pte |= draw(2) ? 0xcf : 0x4b;
        ppn = draw(2) ? draw(1 << 20) : draw(1 << 26) << 18;
        pte |= draw(8) == 0 ? UINT64_C(1) << 63 : 0;
        ppn = pte >> 63 && draw(4) ? (ppn & ~UINT64_C(15)) | 8 : ppn;
        pte |= draw(8) == 0 ? draw(4) << 61 : 0;
        pte &= ~(draw(3) ? 0 : 1u << draw(8));
    }
    pte |= ppn << 10;
    pte ^= draw(60) == 0 ? UINT64_C(1) << draw(64) : 0;
    return draw(20) == 0 ? rv_random_next(&rnd) : pte;
}

static uint64_t random_va(void)
{
    uint64_t va = rv_random_next(&rnd);
    unsigned bits = 12 + 9 * (RV_SATP_MODE(hart->sys.satp) - 5);

    if (RV_SATP_MODE(hart->sys.satp) == 0) {
        return draw(3) ? HART_RAM + draw(HART_RAM_SIZE) : va;
    }
    return draw(20) ? (uint64_t)bits_sext(va, bits) : (uint64_t)bits_sext(va, bits + 1);
}

static void random_view(void)
{
    static const uint8_t privs[] = {RV_PRIV_U, RV_PRIV_S, RV_PRIV_S, RV_PRIV_M};
    uint64_t views = RV_MSTATUS_SUM | RV_MSTATUS_MXR | (draw(3) ? 0 : RV_MSTATUS_MPRV);

    hart_set_priv((enum rv_priv)privs[draw(4)]);
    hart->sys.mstatus = (rv_random_next(&rnd) & views) | (uint64_t)privs[draw(4)] << 11;
}

static void walks(const char *model, unsigned mode, bool adue, bool pmp)
{
    unsigned wrong = 0, found = 0, faults = 0, denials = 0, updates = 0;
    char what[96];

    hart_create(model);
    for (unsigned n = 0; n < TABLES * 512; n++) {
        shadow[n] = table()[n] = random_pte();
    }
    hart_write(PMPADDR0, UINT64_MAX);
    hart_write(PMPCFG0, 0x1f);
    if (pmp) { /* two tables can't be written, one not even read; some data can't be executed */
        hart_write(PMPADDR0, ((HART_RAM + 2 * PAGE) >> 2) | 0x3ff);
        hart_write(PMPADDR0 + 1, ((HART_RAM + 4 * PAGE) >> 2) | 0x1ff);
        hart_write(PMPADDR0 + 2, (UINT64_C(0x8000) >> 2) | 0xfff);
        hart_write(PMPADDR0 + 3, UINT64_MAX);
        hart_write(PMPCFG0, 0x1f1b1819);
    }
    hart_write(MENVCFG, (adue ? RV_ENVCFG_ADUE : 0) | (draw(2) ? RV_ENVCFG_PBMTE : 0));
    hart_write(SATP, (uint64_t)mode << 60 | HART_RAM >> 12 | UINT64_C(77) << 44);
    for (unsigned n = 0; n < 20000; n++) {
        enum cpu_access access = (enum cpu_access)draw(3);
        uint64_t va = random_va();
        struct cpu_translation t;
        struct answer expected;
        int result;

        random_view();
        hart->sys.fault = 99;
        expected = reference(va, access);
        result = rv_translate_address(&hart->common, va, 1, access, &t);
        if (expected.cause < 0) {
            wrong += result != 0 || t.gpa != expected.gpa || t.page_size != expected.size ||
                     t.prot != expected.prot || t.global != expected.global;
        } else {
            wrong += result != -EFAULT || hart->sys.fault != expected.cause;
        }
        found += expected.cause < 0;
        faults += expected.cause > 11;
        denials += expected.cause >= 0 && expected.cause < 12;
        if (memcmp(shadow, table(), sizeof(shadow)) != 0) {
            wrong++;
            memcpy(table(), shadow, sizeof(shadow));
        }
        if (n % 64 == 0) { /* bits that were set would soon be everywhere */
            for (unsigned k = 0; k < TABLES * 512; k += 1 + (unsigned)draw(20)) {
                updates += shadow[k] & 10 ? 1 : 0;
                shadow[k] &= ~(shadow[k] & 10 ? UINT64_C(0xc0) & rv_random_next(&rnd) : 0);
            }
            memcpy(table(), shadow, sizeof(shadow));
        }
    }
    snprintf(what, sizeof(what), "%s, mode %u%s%s", model, mode, adue ? ", ADUE" : "",
             pmp ? ", PMP" : "");
    tap_ok(wrong == 0, "%s: %u found, %u page faults, %u access faults: %u wrong", what, found,
           faults, denials, wrong);
}

/* ---- directed -------------------------------------------------------------------------------- */

static void map(uint64_t va, uint64_t pte)
{
    uint64_t at = HART_RAM;

    for (unsigned i = 2; i > 0; i--) {
        uint64_t next = at + PAGE;
        *hart_word(at + (va >> (12 + 9 * i) & 511) * 8) = next >> 12 << 10 | 1;
        at = next;
    }
    *hart_word(at + (va >> 12 & 511) * 8) = pte;
}

static struct cpu_translation found;

static bool translates(uint64_t va, enum cpu_access access)
{
    return rv_translate_address(&hart->common, va, 8, access, &found) == 0;
}

static void views(void)
{
    struct cpu_space_key data, code, data2, code2;
    uint64_t ppn = (HART_RAM + 0x100000) >> 12;

    hart_create("rv64");
    memset(table(), 0, TABLES * PAGE);
    hart_write(PMPADDR0, UINT64_MAX);
    hart_write(PMPCFG0, 0x1f);
    hart_write(SATP, UINT64_C(8) << 60 | UINT64_C(0x1234) << 44 | HART_RAM >> 12);
    map(0x1000, ppn << 10 | 0xdf); /* user, all */
    hart_set_priv(RV_PRIV_S);
    rv_spaces(&hart->common, &data, &code);
    tap_ok(data.root && data.root == code.root && data.asid == 0x1234 && data.flags == code.flags,
           "one space for data and code");
    tap_ok(!translates(0x1000, CPU_ACCESS_LOAD) && hart->sys.fault == RV_CAUSE_LOAD_PAGE,
           "S may not read a user page");
    hart_write(SSTATUS, RV_MSTATUS_SUM);
    tap_ok(translates(0x1008, CPU_ACCESS_STORE) && found.gpa == (ppn << 12) + 8 &&
               found.prot == (CPU_PROT_READ | CPU_PROT_WRITE),
           "with SUM it may");
    tap_ok(!translates(0x1000, CPU_ACCESS_FETCH) && hart->sys.fault == RV_CAUSE_FETCH_PAGE,
           "but not execute it");
    rv_spaces(&hart->common, &data2, &code2);
    tap_ok(data2.flags != data.flags && code2.flags == code.flags, "SUM is part of the data key");
    hart_set_priv(RV_PRIV_M);
    tap_ok(translates(0x1000, CPU_ACCESS_LOAD) && found.gpa == 0x1000, "M does not translate");
    hart_write(MSTATUS, RV_MSTATUS_MPRV);
    tap_ok(translates(0x1000, CPU_ACCESS_LOAD) && found.gpa == ppn << 12,
           "with MPRV it loads as the previous privilege");
    tap_ok(translates(HART_RAM, CPU_ACCESS_FETCH) && found.gpa == HART_RAM, "and fetches as M");
    rv_spaces(&hart->common, &data, &code);
    tap_ok(data.root && !code.root, "two spaces then");
    hart_set_priv(RV_PRIV_S);
    hart_write(MSTATUS, 0);
    map(0x2000, ppn << 10 | 0x09); /* execute only, not accessed */
    hart_write(MENVCFG, 0);
    tap_ok(!translates(0x2000, CPU_ACCESS_FETCH), "Svade: a page fault where A is to be set");
    hart_write(MENVCFG, RV_ENVCFG_ADUE);
    tap_ok(translates(0x2000, CPU_ACCESS_FETCH) && found.prot == CPU_PROT_EXEC, "Svadu sets it");
    hart_write(SSTATUS, RV_MSTATUS_MXR);
    tap_ok(translates(0x2000, CPU_ACCESS_LOAD), "MXR reads what can be executed");
    map(0x3000, ppn << 10 | 0x47);
    tap_ok(translates(0x3000, CPU_ACCESS_LOAD) && found.prot == CPU_PROT_READ,
           "a clean page is not shown writable");
    tap_ok(translates(0x3000, CPU_ACCESS_STORE) && found.prot == (CPU_PROT_READ | CPU_PROT_WRITE),
           "once stored to it is");
    hart_set_priv(RV_PRIV_U);
    tap_ok(rv_debug_address(&hart->common, 0x3008, &found) == 0 && found.gpa == (ppn << 12) + 8,
           "a debugger asks for no permission");
    tap_ok(rv_debug_address(&hart->common, 0x4000, &found) == -EFAULT, "but there must be a page");
    hart_set_priv(RV_PRIV_S);
    *hart_word(HART_RAM) = (UINT64_C(0x40000000) >> 12) << 10 | 1;
    tap_ok(!translates(0x1000, CPU_ACCESS_STORE) && hart->sys.fault == RV_CAUSE_STORE_ACCESS,
           "a table outside of memory: access fault of the access's kind");
    *hart_word(HART_RAM) = (HART_RAM >> 12) << 10 | 1;
    *hart_word(HART_RAM + 8) = (HART_RAM >> 12) << 10 | 1;
    tap_ok(!translates(0, CPU_ACCESS_LOAD) && hart->sys.fault == RV_CAUSE_LOAD_PAGE,
           "tables that point to themselves end");
}

/* A range of an address alone: superpages are cut where protection differs. */
static void cut_by_pmp(void)
{
    hart_create("rv64");
    memset(table(), 0, TABLES * PAGE);
    hart_write(PMPADDR0, ((HART_RAM + 0x201000) >> 2) | 0x1ff);
    hart_write(PMPADDR0 + 1, ((HART_RAM + 0x203000) >> 2) | 0x7f); /* 1 KiB */
    hart_write(PMPADDR0 + 2, UINT64_MAX);
    hart_write(PMPCFG0, 0x1f1819);
    hart_write(SATP, UINT64_C(8) << 60 | HART_RAM >> 12);
    *hart_word(HART_RAM + 16) = (HART_RAM >> 12) << 10 | 0xcf; /* 1 GiB at 0x80000000 */
    hart_set_priv(RV_PRIV_S);
    tap_ok(translates(HART_RAM, CPU_ACCESS_STORE) && found.page_size == 0x200000, "2 MiB below");
    tap_ok(translates(HART_RAM + 0x201000, CPU_ACCESS_LOAD) && found.page_size == PAGE &&
               found.prot == CPU_PROT_READ,
           "a page of its own");
    tap_ok(translates(HART_RAM + 0x203800, CPU_ACCESS_LOAD) && found.page_size == 0x800,
           "less than a page next to what is smaller");
    tap_ok(!translates(HART_RAM + 0x203000, CPU_ACCESS_LOAD) &&
               hart->sys.fault == RV_CAUSE_LOAD_ACCESS,
           "no access inside of it");
}

static void fences(void)
{
    hart_create("rv64");
    rv_sfence(hart, true, 0x5678, false, 9);
    tap_ok(hart_flush.address == 0x5678 && hart_flush.size == PAGE && hart_flush.any_asid,
           "one page of all spaces");
    rv_sfence(hart, false, 0x5678, true, 0x10009);
    tap_ok(hart_flush.size == 0 && !hart_flush.any_asid && hart_flush.asid == 9, "one space");
}

int main(void)
{
    static const uint8_t modes[] = {RV_SATP_SV39, RV_SATP_SV48, RV_SATP_SV57, RV_SATP_BARE};

    for (unsigned n = 0; n < sizeof(modes); n++) {
        walks("rv64", modes[n], true, false);
        walks("rv64", modes[n], false, true);
        walks("rv64,svnapot=off", modes[n], true, true);
    }
    views();
    cut_by_pmp();
    fences();
    hart_destroy();
    return tap_done();
}
