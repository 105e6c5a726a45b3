/*
 * Physical memory protection against a reference that asks byte by byte, with random entries and
 * configurations; what writes may change; and how far an answer holds.
 */
#include "target/riscv/random.h"
#include "tests/unit/riscv-hart.h"

static struct rv_random rnd = {2718};

static uint64_t draw(uint64_t n)
{
    return rv_random_next(&rnd) % n;
}

/* ---- the reference --------------------------------------------------------------------------- */

/* Does entry n match the byte? Straight from the manual's text on address matching. */
static bool matches(unsigned n, uint64_t at)
{
    uint64_t word = at >> 2, addr = hart->sys.pmpaddr[n];
    unsigned ones = 0;

    switch (hart->sys.pmpcfg[n] >> 3 & 3) {
    case 0:
        return false;
    case 1:
        return word >= (n ? hart->sys.pmpaddr[n - 1] : 0) && word < addr;
    case 2:
        return word == addr;
    default:
        while (ones < 54 && addr >> ones & 1) {
            ones++;
        }
        return ones >= 53 || word >> (ones + 1) == addr >> (ones + 1);
    }
}

/* Grants of an entry: the two tables, written as the manual writes them. */
static unsigned grants(uint8_t cfg, bool machine)
{
    static const char *const table[16][2] = {
        /* L R W X: for M, for S and U */
        {"---", "---"}, {"---", "--x"}, {"rw-", "r--"}, {"rw-", "rw-"},
        {"---", "r--"}, {"---", "r-x"}, {"---", "rw-"}, {"---", "rwx"},
        {"---", "---"}, {"--x", "---"}, {"--x", "--x"}, {"r-x", "--x"},
        {"r--", "---"}, {"r-x", "---"}, {"rw-", "---"}, {"r--", "r--"},
    };
    const char *text;

    if (!(hart->sys.mseccfg & 1)) {
        return machine && !(cfg & 0x80) ? 7 : cfg & 7u;
    }
    text = table[(cfg >> 7) * 8 + (cfg & 1) * 4 + (cfg >> 1 & 1) * 2 + (cfg >> 2 & 1)][!machine];
    return (text[0] == 'r' ? 1u : 0) | (text[1] == 'w' ? 2u : 0) | (text[2] == 'x' ? 4u : 0);
}

static unsigned reference(uint64_t at, unsigned size, bool machine)
{
    for (unsigned n = 0; n < 16; n++) {
        unsigned count = 0;
        for (unsigned k = 0; k < size; k++) {
            count += matches(n, at + k);
        }
        if (count) {
            return count == size ? grants(hart->sys.pmpcfg[n], machine) : 0;
        }
    }
    if (!machine || hart->sys.mseccfg & 2) {
        return 0;
    }
    return hart->sys.mseccfg & 1 ? 3 : 7;
}

/* ---- random entries -------------------------------------------------------------------------- */

static void random_entries(void)
{
    for (unsigned n = 0; n < 16; n++) {
        uint64_t addr = (HART_RAM >> 2) + draw(0x8000);
        if (draw(3) == 0) {
            addr |= bits_mask((unsigned)draw(20));
        }
        if (draw(40) == 0) {
            addr = bits_mask(50 + (unsigned)draw(5));
        }
        hart_write(PMPADDR0 + n, addr);
    }
    hart_write(PMPCFG0, rv_random_next(&rnd) & UINT64_C(0x1f1f1f1f1f1f1f1f));
    hart_write(PMPCFG0 + 2, rv_random_next(&rnd) & UINT64_C(0x9f9f9f9f9f9f9f9f));
}

static void compare(unsigned count, const char *what)
{
    unsigned wrong = 0, wrong_range = 0, narrow = 0, denied = 0, granted = 0;

    for (unsigned n = 0; n < count; n++) {
        static const uint8_t privs[] = {RV_PRIV_U, RV_PRIV_S, RV_PRIV_M};
        enum rv_priv priv = (enum rv_priv)privs[draw(3)];
        bool machine = priv == RV_PRIV_M;
        unsigned size = 1u << draw(4);
        uint64_t at = HART_RAM + draw(0x20000), range, limit = UINT64_C(1) << (12 + draw(8));
        unsigned prot, expected;

        if (draw(4) == 0) { /* near an edge */
            at = (hart->sys.pmpaddr[draw(16)] << 2) - 8 + draw(16);
            at &= bits_mask(56);
        }
        prot = rv_pmp_check(hart, at, size, priv, limit, &range);
        expected = reference(at, size, machine);
        wrong += prot != expected;
        denied += prot == 0;
        granted += prot != 0;
        if (!bits_is_pow2(range) || range > limit || range < 4) {
            wrong_range++;
            continue;
        }
        if (prot) {
            uint64_t base = bits_align_down(at, range);
            /* any byte of the range has the same answer ... */
            for (unsigned k = 0; k < 64; k++) {
                uint64_t other = base + draw(range);
                wrong_range += reference(other, 1, machine) != prot;
            }
            /* ... and its edges */
            wrong_range += reference(base, 1, machine) != prot;
            wrong_range += reference(base + range - 1, 1, machine) != prot;
            narrow += range < limit;
        }
    }
    tap_ok(wrong == 0, "%s: permissions (%u granted, %u denied)", what, granted, denied);
    tap_ok(wrong_range == 0, "%s: ranges are uniform (%u cut)", what, narrow);
}

/* A range is as large as it can be: the one twice as large differs somewhere at its edges. */
static void largest(void)
{
    uint64_t range;

    hart_create("rv64");
    hart_write(PMPADDR0, (HART_RAM + 0x10000) >> 2);
    hart_write(PMPADDR0 + 1, (HART_RAM + 0x18000) >> 2);
    hart_write(PMPADDR0 + 2, UINT64_MAX);
    hart_write(PMPCFG0, 0x1f080f); /* up to 0x80010000 rwx, to 0x80018000 nothing, rest rwx */
    tap_eq(rv_pmp_check(hart, HART_RAM + 0x8000, 8, RV_PRIV_S, 1 << 30, &range), 7, "below");
    tap_eq(range, 0x10000, "64 KiB alike");
    tap_eq(rv_pmp_check(hart, HART_RAM + 0x14000, 8, RV_PRIV_S, 1 << 30, &range), 0, "inside");
    tap_eq(range, 0x8000, "32 KiB alike");
    tap_eq(rv_pmp_check(hart, HART_RAM + 0x18000, 8, RV_PRIV_S, 1 << 30, &range), 7, "above");
    tap_eq(range, 0x8000, "32 KiB alike");
    tap_eq(rv_pmp_check(hart, 0x1000, 8, RV_PRIV_S, UINT64_C(1) << 30, &range), 7, "far below");
    tap_eq(range, 1 << 30, "all that was asked");
    tap_eq(rv_pmp_check(hart, HART_RAM + 0xfffc, 8, RV_PRIV_S, 4096, &range), 0,
           "an access across an edge fails");
    tap_eq(rv_pmp_check(hart, HART_RAM + 0xfffc, 8, RV_PRIV_M, 4096, &range), 0, "in M too");
}

static void nothing_set(void)
{
    uint64_t range;

    hart_create("rv64");
    tap_eq(rv_pmp_check(hart, HART_RAM, 8, RV_PRIV_M, 4096, &range), 7, "no entries: M may all");
    tap_eq(rv_pmp_check(hart, HART_RAM, 8, RV_PRIV_S, 4096, &range), 0, "S nothing");
    hart_create("rv64,pmp=off");
    tap_eq(rv_pmp_check(hart, HART_RAM, 8, RV_PRIV_U, 4096, &range), 7, "no PMP: U may all");
    tap_eq(range, 4096, "everywhere");
}

/* ---- writes ---------------------------------------------------------------------------------- */

static void writes(void)
{
    unsigned before;

    hart_create("rv64");
    hart_write(PMPADDR0, UINT64_MAX);
    tap_eq(hart_read(PMPADDR0), bits_mask(54), "an address has 54 bits");
    hart_write(PMPADDR0 + 16, UINT64_MAX);
    tap_eq(hart_read(PMPADDR0 + 16), 0, "entry 16 is none");
    hart_write(PMPCFG0, 0xff);
    tap_eq(hart_read(PMPCFG0), 0x9f, "bits 5 and 6 are zero");
    hart_write(PMPCFG0, 0);
    tap_eq(hart_read(PMPCFG0), 0x9f, "a locked entry stays");
    hart_write(PMPADDR0, 0);
    tap_eq(hart_read(PMPADDR0), bits_mask(54), "and so does its address");
    hart_write(PMPCFG0, 0x8f0000);
    hart_write(PMPADDR0 + 1, 5);
    tap_eq(hart_read(PMPADDR0 + 1), 0, "as does the bottom of a locked TOR entry");
    hart_write(PMPCFG0 + 2, 0x02);
    tap_eq(hart_read(PMPCFG0 + 2), 0, "write without read is reserved");
    hart_write(PMPCFG0 + 4, UINT64_MAX);
    tap_eq(hart_read(PMPCFG0 + 4), 0, "entries from 16 on are none");
    before = hart_flushes;
    hart_write(PMPADDR0 + 5, 77);
    tap_ok(hart_flushes == before + 1 && hart_flush.any_asid && hart_flush.size == 0,
           "a change flushes the TLB");
    tap_ok(!hart_write(PMPADDR0 + 5, 77) && hart_flushes == before + 1,
           "what is no change does not");

    hart_create("rv64,smepmp=on");
    hart_write(MSECCFG, 4);
    tap_eq(hart_read(MSECCFG), 4, "RLB can be set while nothing is locked");
    hart_write(PMPCFG0, 0x98);
    hart_write(PMPCFG0, 0x19);
    tap_eq(hart_read(PMPCFG0), 0x19, "under RLB a locked entry can be changed");
    hart_write(PMPCFG0, 0x98);
    hart_write(MSECCFG, 0);
    hart_write(MSECCFG, 4);
    tap_eq(hart_read(MSECCFG), 0, "RLB cannot be set while something is locked");
    hart_write(MSECCFG, 3);
    hart_write(MSECCFG, 0);
    tap_eq(hart_read(MSECCFG), 3, "MML and MMWP stay");
    hart_write(PMPCFG0 + 2, 0x9c);
    tap_eq(hart_read(PMPCFG0 + 2), 0, "under MML no rule that lets M execute can be added");
    hart_write(PMPCFG0 + 2, 0x9f);
    tap_eq(hart_read(PMPCFG0 + 2), 0x9f, "a locked shared one that does not, can");
    hart_write(PMPCFG0 + 2, 0x029f);
    tap_eq(hart_read(PMPCFG0 + 2), 0x029f, "write without read has a meaning");
}

int main(void)
{
    for (unsigned n = 0; n < 60; n++) {
        char what[64];

        hart_create("rv64,smepmp=on");
        random_entries();
        if (n >= 20) {
            hart->sys.mseccfg = draw(4);
            rv_pmp_reset(hart);
        }
        snprintf(what, sizeof(what), "set %u, mseccfg %u", n, (unsigned)hart->sys.mseccfg);
        compare(400, what);
    }
    largest();
    nothing_set();
    writes();
    hart_destroy();
    return tap_done();
}
