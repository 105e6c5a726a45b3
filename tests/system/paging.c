/*
 * Paging, with each of the three formats: permissions, views, accessed and dirty bits, superpages,
 * accesses and instructions across pages, fences, address spaces.
 *
 * RAM is mapped where it is as a supervisor's gigabyte, and for users 64 GiB higher.
 */
#include "tests/system/guest.h"

#define USER  UINT64_C(0x1000000000)
#define VA    UINT64_C(0x10000000) /* pages of the tests */
#define PAGE  4096
#define PTE_V 1
#define PTE_R 2
#define PTE_W 4
#define PTE_X 8
#define PTE_U 16
#define PTE_G 32
#define PTE_A 64
#define PTE_D 128
#define RWX   (PTE_V | PTE_R | PTE_W | PTE_X)
#define AD    (PTE_A | PTE_D)

static uint64_t tables[16][512] __attribute__((aligned(PAGE)));
static uint64_t data[8][512] __attribute__((aligned(PAGE)));
static uint64_t huge[512 * 512] __attribute__((aligned(0x200000)));
static unsigned used, levels;

static uint64_t pointer(const void *table)
{
    return (uint64_t)table >> 12 << 10 | PTE_V;
}

static uint64_t leaf(const void *at, uint64_t flags)
{
    return (uint64_t)at >> 12 << 10 | flags;
}

/* The entry for va at a level; tables are made on the way. */
static uint64_t *entry(uint64_t va, unsigned level)
{
    uint64_t *table = tables[0];

    for (unsigned n = levels - 1; n > level; n--) {
        uint64_t *e = &table[va >> (12 + 9 * n) & 511];
        if (!(*e & PTE_V)) {
            *e = pointer(tables[++used]);
        }
        table = (uint64_t *)(*e >> 10 << 12);
    }
    return &table[va >> (12 + 9 * level) & 511];
}

static void map(uint64_t va, const void *at, uint64_t flags)
{
    *entry(va, 0) = leaf(at, flags);
    __asm__ volatile("sfence.vma" ::: "memory");
}

static void start(unsigned mode)
{
    levels = mode - 5;
    used = 0;
    for (unsigned n = 0; n < 16 * 512; n++) {
        tables[n / 512][n % 512] = 0;
    }
    *entry(0x80000000, 2) = leaf((void *)0x80000000, RWX | AD | PTE_G);
    *entry(0x80000000 + USER, 2) = leaf((void *)0x80000000, RWX | AD | PTE_U);
    csr_write(satp, (uint64_t)mode << 60 | (uint64_t)tables[0] >> 12);
    __asm__ volatile("sfence.vma" ::: "memory");
    line1("mode", csr_read(satp) >> 60);
}

static uint64_t user(const char *piece)
{
    return (uint64_t)piece + USER;
}

static void at_s(const char *what, const char *piece, uint64_t a0)
{
    RUN(piece, a0, S);
    show(what, piece);
}

static void at_u(const char *what, const char *piece, uint64_t a0)
{
    run_at(user(piece), a0, U);
    line4(what, trap.cause, trap.epc - user(piece), trap.tval, trap.status >> 11 & 3);
}

static void permissions(void)
{
    static const uint8_t sets[] = {0,     PTE_R,         PTE_X,         PTE_R | PTE_X,
                                   PTE_W, PTE_R | PTE_W, PTE_W | PTE_X, PTE_R | PTE_W | PTE_X};

    data[0][0] = UINT64_C(0x0000007300000073); /* ecall, twice */
    for (unsigned n = 0; n < sizeof(sets) * 2; n++) {
        uint64_t flags = PTE_V | AD | sets[n / 2] | (n & 1 ? PTE_U : 0);
        map(VA, data[0], flags);
        line1("flags", flags);
        for (unsigned view = 0; view < 4; view++) {
            csr_write(mstatus, (uint64_t)view << 18); /* SUM, MXR */
            at_s("S load", do_load8, VA);
            at_s("S store", do_store8, VA + 64);
            at_u("U load", do_load8, VA);
        }
        at_s("S fetch", do_jump, VA);
        at_u("U store", do_store8, VA + 72);
        at_u("U fetch", do_jump, VA);
    }
    csr_write(mstatus, 0);
}

static void reserved(void)
{
    for (unsigned bit = 54; bit < 64; bit++) {
        map(VA, data[0], RWX | AD | UINT64_C(1) << bit);
        line1("bit", bit);
        at_s("reserved bit", do_load8, VA);
    }
    map(VA, data[0], AD | PTE_R);
    at_s("not valid", do_load8, VA);
    *entry(VA, 1) |= PTE_A;
    __asm__ volatile("sfence.vma" ::: "memory");
    at_s("pointer with A", do_load8, VA);
    *entry(VA, 1) &= ~(uint64_t)PTE_A;
    map(VA, data[0], PTE_V);
    at_s("pointer at the last level", do_load8, VA);
    at_s("no such address", do_load8, UINT64_C(1) << 60);
    at_s("not the sign's extension", do_load8, UINT64_C(1) << (12 + 9 * levels - 1));
    at_s("the last page", do_load8, UINT64_C(0) - 8);
    csr_write(0x30a, 0x40);
    csr_write(senvcfg, 0x40);
    map(VA, 0, 0);
    at_s("cbo.clean of nothing", do_clean, VA + 8);
    map(VA, data[0], PTE_V | PTE_R | PTE_U | AD);
    at_s("cbo.clean of a user's page", do_clean, VA + 8);
    at_u("cbo.clean of a page that can be read", do_clean, VA + 8);
    csr_write(0x30a, 0);
    map(VA, (void *)0x18000000, RWX | AD);
    at_s("a page of nothing", do_load8, VA);
    at_s("fetch from it", do_jump, VA);
    *entry(VA, 1) = pointer((void *)0x18000000);
    __asm__ volatile("sfence.vma" ::: "memory");
    at_s("a table of nothing", do_store8, VA);
    *entry(VA, 1) = 0;
}

static void accessed(uint64_t menvcfg)
{
    csr_write(0x30a, menvcfg);
    line1("ADUE", csr_read(0x30a) >> 61 & 1);
    map(VA, data[0], RWX);
    at_s("load sets A", do_load8, VA);
    line1("  flags", *entry(VA, 0) & 255);
    at_s("store sets D", do_store8, VA + 8);
    line1("  flags", *entry(VA, 0) & 255);
    map(VA, data[0], RWX);
    at_s("amo sets both", do_amo, VA + 8);
    line1("  flags", *entry(VA, 0) & 255);
    map(VA, data[0], PTE_V | PTE_R | PTE_W | PTE_A);
    at_s("load", do_load8, VA);
    at_s("then store", do_store8, VA + 8);
    line1("  flags", *entry(VA, 0) & 255);
    map(VA, data[0], PTE_V | PTE_X);
    at_s("fetch sets A", do_jump, VA);
    line1("  flags", *entry(VA, 0) & 255);
    map(VA, data[0], PTE_V | PTE_R);
    at_s("a store that may not sets nothing", do_store8, VA);
    line1("  flags", *entry(VA, 0) & 255);
}

static void across(void)
{
    static const uint16_t words[] = {0x0000, 0x0513, 0x0055}; /* li a0, 5 from its second half on */

    map(VA, data[0], RWX | AD);
    map(VA + PAGE, data[2], RWX | AD);
    data[0][511] = UINT64_C(0x1122334455667788);
    data[2][0] = UINT64_C(0x99aabbccddeeff00);
    at_s("load across pages", do_load8, VA + PAGE - 3);
    line1("  is", trap.a0);
    at_s("store across pages", do_store8, VA + PAGE - 5);
    line4("  leaves", data[0][511], data[2][0], 0, 0);
    map(VA + PAGE, data[2], 0);
    at_s("load into nothing", do_load8, VA + PAGE - 3);
    data[0][511] = UINT64_C(0x1122334455667788);
    at_s("store into nothing", do_store8, VA + PAGE - 3);
    line1("  leaves", data[0][511]);
    /* an instruction in two pages that are not neighbours */
    ((uint16_t *)data[0])[2047] = words[1];
    ((uint16_t *)data[2])[0] = words[2];
    ((uint32_t *)((uint16_t *)data[2] + 1))[0] = 0x73;
    map(VA + PAGE, data[2], RWX | AD);
    __asm__ volatile("fence.i" ::: "memory");
    at_s("instruction across pages", do_jump, VA + PAGE - 2);
    line1("  a0", trap.a0);
    ((uint16_t *)data[2])[0] = 0x0066 + 0x000f; /* li a0, 7 */
    __asm__ volatile("fence.i" ::: "memory");
    at_s("its second half changed", do_jump, VA + PAGE - 2);
    line1("  a0", trap.a0);
    ((uint16_t *)data[4])[0] = 0x0095; /* li a0, 9 */
    ((uint32_t *)((uint16_t *)data[4] + 1))[0] = 0x73;
    __asm__ volatile("fence.i" ::: "memory");
    map(VA + PAGE, data[4], RWX | AD);
    at_s("its second page another", do_jump, VA + PAGE - 2);
    line1("  a0", trap.a0);
    map(VA + PAGE, data[4], PTE_V | PTE_R | AD);
    at_s("its second page not executable", do_jump, VA + PAGE - 2);
}

static void superpages(void)
{
    uint64_t *two = (uint64_t *)huge;

    two[0] = 1;
    two[0x100000 / 8] = 2;
    *entry(VA + 0x200000, 1) = leaf(two, PTE_V | PTE_R | PTE_W | AD);
    __asm__ volatile("sfence.vma" ::: "memory");
    at_s("2 MiB, its start", do_load8, VA + 0x200000);
    line1("  is", trap.a0);
    at_s("2 MiB, its middle", do_load8, VA + 0x300000);
    line1("  is", trap.a0);
    *entry(VA + 0x200000, 1) = leaf((char *)two + PAGE, PTE_V | PTE_R | PTE_W | AD);
    __asm__ volatile("sfence.vma" ::: "memory");
    at_s("misaligned superpage", do_load8, VA + 0x200000);
    *entry(VA + 0x200000, 1) = 0;
    data[0][0] = 3;
    for (unsigned n = 0; n < 16; n++) {
        *entry(VA + n * PAGE, 0) =
            (((uint64_t)two >> 12) | 8) << 10 | PTE_V | PTE_R | AD | UINT64_C(1) << 63;
    }
    ((uint64_t *)((char *)two + 0xf000))[1] = 4;
    __asm__ volatile("sfence.vma" ::: "memory");
    at_s("64 KiB", do_load8, VA + 0xf008);
    line1("  is", trap.a0);
    map(VA, two, PTE_V | PTE_R | AD | UINT64_C(1) << 63);
    at_s("NAPOT of another size", do_load8, VA);
}

/* What must be seen after which fence; and a global page in all address spaces. */
static void fences(void)
{
    uint64_t satp = csr_read(satp);

    data[0][0] = 10;
    data[1][0] = 11;
    map(VA, data[0], PTE_V | PTE_R | PTE_W | AD);
    RUN(do_load8, VA, S);
    *entry(VA, 0) = leaf(data[1], PTE_V | PTE_R | PTE_W | AD);
    __asm__ volatile("sfence.vma %0, zero" ::"r"(VA + 8) : "memory");
    RUN(do_load8, VA, S);
    line1("after a fence of the address", trap.a0);
    csr_write(satp, satp | UINT64_C(5) << 44);
    *entry(VA, 0) = leaf(data[0], PTE_V | PTE_R | PTE_W | AD);
    RUN(do_load8, VA, S);
    line1("another address space", trap.a0);
    *entry(VA, 0) = leaf(data[1], PTE_V | PTE_R | PTE_W | AD);
    __asm__ volatile("sfence.vma zero, %0" ::"r"(UINT64_C(5)) : "memory");
    RUN(do_load8, VA, S);
    line1("after a fence of that", trap.a0);
    *entry(VA, 0) = 0;
    __asm__ volatile("sfence.vma" ::: "memory");
    at_s("unmapped", do_load8, VA);
    csr_write(satp, 0);
    at_s("not paged", do_load8, (uint64_t)data[1]);
    line1("  is", trap.a0);
    csr_write(satp, satp);
    /* code: the same address, other pages */
    data[0][0] = UINT64_C(0x0000007300100513); /* li a0, 1; ecall */
    data[1][0] = UINT64_C(0x0000007300200513);
    __asm__ volatile("fence.i" ::: "memory");
    for (unsigned n = 0; n < 4; n++) {
        map(VA, data[n & 1], PTE_V | PTE_X | AD);
        RUN(do_jump, VA, S);
        line1("code", trap.a0);
    }
}

/* MPRV: M loads as S or U would. */
static void previous(void)
{
    data[0][0] = 77;
    map(VA, data[0], PTE_V | PTE_R | PTE_U | AD);
    for (unsigned n = 0; n < 8; n++) {
        uint64_t privilege = n & 3, value;

        if (privilege == 2) {
            continue;
        }
        csr_write(mstatus, (n & 4 ? 1 << 18 : 0));
        /* run_at() sets MPP to M; the piece is run with MPRV and MPP by hand */
        __asm__ volatile("" ::: "memory");
        csr_clear(mstatus, 0x1800);
        csr_set(mstatus, privilege << 11 | 1 << 17);
        if (n == 3 || n == 7 || (privilege == S && !(n & 4))) {
            csr_clear(mstatus, 1 << 17); /* those would fault */
            line1("skipped", n);
            continue;
        }
        __asm__ volatile("ld %0, (%1)" : "=r"(value) : "r"(VA));
        csr_clear(mstatus, 1 << 17);
        line4("MPRV", n, value, 0, 0);
    }
    csr_write(mstatus, 0);
}

int main(void)
{
    open_memory();
    for (unsigned mode = 8; mode <= 10; mode++) {
        csr_write(0x30a, 0);
        start(mode);
        permissions();
        reserved();
        accessed(0);
        accessed(UINT64_C(1) << 61);
        across();
        superpages();
        fences();
        previous();
        csr_write(satp, 0);
    }
    return 0;
}
