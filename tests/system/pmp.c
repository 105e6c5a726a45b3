/* Physical memory protection: entries of each kind, for each privilege, locked, and under paging.
 */
#include "tests/system/guest.h"

static uint64_t area[4 * 512] __attribute__((aligned(16384)));

static void entry(unsigned n, uint64_t addr, uint64_t cfg)
{
    switch (n) {
    case 0:
        csr_write(pmpaddr0, addr);
        break;
    case 1:
        csr_write(pmpaddr1, addr);
        break;
    case 2:
        csr_write(pmpaddr2, addr);
        break;
    default:
        csr_write(pmpaddr3, addr);
    }
    csr_clear(pmpcfg0, UINT64_C(0xff) << 8 * n);
    csr_set(pmpcfg0, cfg << 8 * n);
}

static void probe(const char *what, uint64_t at)
{
    line1(what, at - (uint64_t)area);
    for (unsigned p = 0; p < 4; p++) {
        if (p == 2) {
            continue;
        }
        RUN(do_load1, at, p);
        line4("  load", p, trap.cause, trap.tval, 0);
        RUN(do_store8, at & ~UINT64_C(7), p);
        line4("  store", p, trap.cause, trap.tval, 0);
        RUN(do_jump, at & ~UINT64_C(3), p);
        line4("  fetch", p, trap.cause, trap.tval, 0);
    }
}

static void fill(void)
{
    for (unsigned n = 0; n < 4 * 512; n++) {
        area[n] = UINT64_C(0x0000007300000073);
    }
    __asm__ volatile("fence.i" ::: "memory");
}

int main(void)
{
    uint64_t base = (uint64_t)area;

    csr_write(mstatus, 0);
    fill();
    entry(3, -1, 0x1f);
    for (unsigned cfg = 0; cfg < 8; cfg++) {
        if ((cfg & 3) == 2) {
            continue;
        }
        entry(0, (base + 4096) >> 2 | 0x1ff, 0x18 | cfg);
        line1("page", cfg);
        probe("below", base + 4095);
        probe("first", base + 4096);
        fill();
        probe("last", base + 8191);
        probe("above", base + 8192);
        fill();
    }
    entry(0, (base + 64) >> 2, 0x11);
    probe("four bytes", base + 64);
    RUN(do_load8, base + 64, S);
    show("eight of which four", do_load8);
    RUN(do_load8, base + 60, S);
    show("and before", do_load8);
    entry(0, (base + 128) >> 2, 0);
    entry(1, (base + 192) >> 2, 0x08);
    fill();
    probe("from here", base + 128);
    fill();
    probe("to here", base + 191);
    fill();
    probe("not here", base + 192);
    fill();
    /* the page tables of S are checked as S's loads */
    area[2] = (uint64_t)0x80000000 >> 2 | 0xcf;
    entry(1, 0, 0);
    entry(0, (base + 64) >> 2, 0x11);
    csr_write(satp, UINT64_C(8) << 60 | base >> 12);
    __asm__ volatile("sfence.vma" ::: "memory");
    RUN(do_load8, base + 4096, S);
    show("paged", do_load8);
    entry(0, base >> 2 | 0x1ff, 0x18);
    RUN(do_load8, base + 4096, S);
    show("a table that may not be read", do_load8);
    entry(0, base >> 2 | 0x1ff, 0x19);
    RUN(do_load8, base + 4096, S);
    show("that may", do_load8);
    csr_write(0x30a, UINT64_C(1) << 61);
    area[2] = (uint64_t)0x80000000 >> 2 | 0x0f;
    __asm__ volatile("sfence.vma" ::: "memory");
    RUN(do_load8, base + 4096, S);
    show("but not be written", do_load8);
    csr_write(satp, 0);
    /* locked: M too */
    entry(0, (base + 4096) >> 2 | 0x1ff, 0x99);
    probe("locked", base + 4096);
    entry(0, 0, 0);
    line1("pmpaddr0", csr_read(pmpaddr0) - (base >> 2));
    line1("pmpcfg0", csr_read(pmpcfg0));
    return 0;
}
