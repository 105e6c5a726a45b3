/* Page faults of every kind, with error code and CR2; sizes of pages; accessed and dirty bits. */
#include "tests/kvm/guest.h"

#define VIRTUAL  0x40000000ul /* within start.S's tables, 2 MiB of its own */
#define OTHER    (1ul << 39)  /* a table of the top level of its own */
#define MSR_EFER 0xc0000080

enum {
    P = 1,
    W = 2,
    U = 4,
    PWT = 8,
    PCD = 16,
    A = 32,
    D = 64,
    PS = 128,
    G = 256,
};
#define NX       (1ull << 63)
#define RESERVED (1ull << 51)

PIECE(load, "mov (%rdi), %rax");
PIECE(store, "mov %rdi, (%rdi)");
PIECE(modify, "incq (%rdi)");
PIECE(jump, "call *%rdi");
PIECE(load_over, "mov -4(%rdi), %rax");
PIECE(store_over, "mov %rdi, -4(%rdi)");
PIECE(push_to, "mov %rdi, %rsp; push %rax");
PIECE(load_ss, "mov %rdi, %rbp; mov (%rbp), %rax");
PIECE(string_to, "mov $8, %ecx; rep stosb");

/* ---- one page ------------------------------------------------------------------------------ */

static uint64_t physical;

static void map(uint64_t flags)
{
    *split(VIRTUAL) = physical | flags;
    invlpg(VIRTUAL);
}

static void one(const char *what, const void *piece, const void *piece_end, unsigned ring,
                int error)
{
    RUN(piece, VIRTUAL, ring);
    expect_trap(what, piece, piece_end, error < 0 ? -1 : 14, (uint64_t)error);
    if (error >= 0) {
        expect("  CR2", trap.cr2, VIRTUAL);
    }
}
#define ONE(what, piece, ring, error) one(what, piece, piece##_end, ring, error)

/* What a run has come to: ff without a fault, else the error code; fe if CR2 or all else is wrong.
 */
static unsigned outcome(const void *piece, const void *piece_end, uint64_t at, unsigned ring)
{
    RUN(piece, at, ring);
    if (trap.vector == 6 && trap.rip == (uint64_t)piece_end) {
        return 0xff;
    }
    return trap.vector == 14 && trap.cr2 == at && (trap.cs & 3) == ring ? (unsigned)trap.error
                                                                        : 0xfe;
}
#define OUTCOME(piece, at, ring) outcome(piece, piece##_end, at, ring)

/* Two digits each of load, store and jump in ring 3, and then in ring 0. */
static const struct {
    const char *name;
    uint64_t flags, outcomes;
} cases[] = {
    {"not present", W | U, 0x040614000210},
    {"all", P | W | U, 0xffffffffffff},
    {"read-only", P | U, 0xff07ffff03ff},
    {"of ring 0", P | W, 0x050715ffffff},
    {"of ring 0, read-only", P, 0x050715ff03ff},
    {"not executable", P | W | U | NX, 0xffff15ffff11},
    {"read-only, not executable", P | U | NX, 0xff0715ff0311},
    {"reserved bit", P | W | U | RESERVED, 0x0d0f1d090b19},
    {"not present, all bits", ~(uint64_t)P, 0x040614000210},
};

static void permissions(void)
{
    uint8_t *page = pages(1);

    physical = (uint64_t)page;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        uint64_t got = 0;

        *split(VIRTUAL) = cases[i].flags | ((cases[i].flags & 0xff000) ? 0 : physical);
        invlpg(VIRTUAL);
        for (unsigned n = 0; n < 2; n++) {
            unsigned ring = n ? RING0 : RING3;

            got = got << 8 | OUTCOME(load, VIRTUAL, ring);
            got = got << 8 | OUTCOME(store, VIRTUAL, ring);
            page[0] = 0xc3;
            got = got << 8 | OUTCOME(jump, VIRTUAL, ring);
        }
        expect(cases[i].name, got, cases[i].outcomes);
    }
    page[0] = 0xc3;
    write_cr0(read_cr0() & ~0x10000ull);
    map(P);
    ONE("without WP, store in ring 0", store, RING0, -1);
    map(P | U);
    ONE("and in ring 3", store, RING3, 7);
    write_cr0(read_cr0() | 0x10000);
    ONE("with WP again", store, RING0, 3);
    map(P | U);
    ONE("read, modify, write", modify, RING3, 7);
    ONE("string", string_to, RING3, 7);
    map(0);
    ONE("push", push_to, RING3, -1); /* to the page below */
    RUN(push_to, VIRTUAL + 8, RING3);
    EXPECT_TRAP("push into it", push_to, 14, 6);
}

/* NX is a reserved bit without EFER.NXE. */
static void no_nxe(void)
{
    physical = (uint64_t)pages(1);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~0x800ull);
    map(P | W | U | NX);
    ONE("NX without NXE, load", load, RING3, 0xd);
    ONE("in ring 0", load, RING0, 9);
    ONE("jump", jump, RING3, 0xd);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 0x800);
    ONE("with NXE", load, RING3, -1);
}

static void over(void)
{
    uint8_t *two = pages(2);

    *split(VIRTUAL) = (uint64_t)two | P | W | U;
    *split(VIRTUAL + 4096) = 0;
    invlpg(VIRTUAL);
    invlpg(VIRTUAL + 4096);
    for (unsigned ring = 0; ring < 4; ring += 3) {
        write32((uint64_t)two + 4092, 0x1234);
        RUN(load_over, VIRTUAL + 4096, ring);
        EXPECT_TRAP("load", load_over, 14, ring ? 4 : 0);
        expect("CR2", trap.cr2, VIRTUAL + 4096);
        RUN(store_over, VIRTUAL + 4096, ring);
        EXPECT_TRAP("store", store_over, 14, ring ? 6 : 2);
        expect("CR2", trap.cr2, VIRTUAL + 4096);
        expect("nothing stored", read32((uint64_t)two + 4092), 0x1234);
    }
    two[4095] = 0x90;
    RUN(jump, VIRTUAL + 4095, RING3);
    expect("jump: vector", trap.vector, 14);
    expect("error", trap.error, 0x14);
    expect("rip", trap.rip, VIRTUAL + 4096);
    two[4094] = 0xb8; /* an instruction of five bytes */
    RUN(jump, VIRTUAL + 4094, RING3);
    expect("instruction over the edge: vector", trap.vector, 14);
    expect("rip", trap.rip, VIRTUAL + 4094);
    expect("CR2", trap.cr2, VIRTUAL + 4096);
}

static void not_canonical(void)
{
    for (unsigned ring = 0; ring < 4; ring += 3) {
        RUN(load, 0x0000800000000000, ring);
        EXPECT_TRAP("load", load, 13, 0);
        RUN(store, 0xffff7ffffffffff8, ring);
        EXPECT_TRAP("store", store, 13, 0);
        RUN(load_ss, 0x0000800000000000, ring);
        EXPECT_TRAP("by RBP", load_ss, 12, 0);
    }
    RUN(push_to, 0x0000800000000010, RING3);
    EXPECT_TRAP("push", push_to, 12, 0);
    RUN(load, 0xfffffffffffffff8, RING3);
    EXPECT_TRAP("last word", load, 14, 4);
}

/* ---- many ---------------------------------------------------------------------------------- */

static volatile uint32_t faults;
static volatile uint64_t wrong_faults;

/* Skips the three bytes of "mov (%rdi), %rax". */
static void on_skip(struct frame *frame)
{
    uint64_t cr2;

    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    wrong_faults += cr2 != frame->rdi || frame->error != 4;
    faults++;
    frame->rip += 3;
}

PIECE(fault_loop, "mov %rdi, %rsi; movabs $0x7000000000, %rdi\n"
                  "1: mov (%rdi), %rax; add $8, %rdi; dec %esi; jnz 1b");

/* Maps what is missing. */
static void on_demand(struct frame *frame)
{
    uint64_t cr2;

    (void)frame;
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    *split(cr2) = physical | P | W | U;
    faults++;
}

PIECE(demand_loop, "xor %eax, %eax; mov $512, %ecx\n"
                   "1: incl (%rdi); add $4096, %rdi; dec %ecx; jnz 1b");

static void many(void)
{
    uint32_t *page = pages(1);

    handlers[14] = on_skip;
    faults = 0;
    wrong_faults = 0;
    RUN(fault_loop, count, RING3);
    handlers[14] = NULL;
    EXPECT_DONE("loop", fault_loop);
    expect("faults", faults, count);
    expect("with another address or code", wrong_faults, 0);

    physical = (uint64_t)page;
    for (unsigned n = 0; n < 3; n++) {
        for (unsigned i = 0; i < 512; i++) {
            *split(VIRTUAL + i * 4096) = 0;
        }
        write_cr3(read_cr3());
        faults = 0;
        handlers[14] = on_demand;
        RUN(demand_loop, VIRTUAL, RING3);
        handlers[14] = NULL;
        EXPECT_DONE("on demand", demand_loop);
        expect("faults", faults, 512);
        expect("in memory", page[0], 512 * (n + 1));
    }
}

/* ---- large pages, bits, the upper levels ----------------------------------------------------- */

static uint64_t *levels[3]; /* pdpt, pd, pt of OTHER */

static void other(uint64_t l4, uint64_t l3, uint64_t l2, uint64_t l1)
{
    for (unsigned i = 0; i < 3; i++) {
        if (!levels[i]) {
            levels[i] = pages(1);
        }
    }
    pml4[1] = (uint64_t)levels[0] | l4;
    levels[0][0] = l3 & PS ? l3 : (uint64_t)levels[1] | l3;
    levels[1][0] = l2 & PS ? l2 : (uint64_t)levels[2] | l2;
    levels[2][0] = physical | l1;
    write_cr3(read_cr3());
}

/* Two digits each: not present; read-only: store in rings 3 and 0, load; of ring 0: load in ring 3,
 * store in ring 0; not executable: jump; reserved bit: load. */
static void upper_levels(void)
{
    static const char *const names[] = {"PML4E", "PDPTE", "PDE", "PTE"};
    const uint64_t all = P | W | U;

    physical = (uint64_t)pages(1);
    *(volatile uint8_t *)physical = 0xc3;
    for (unsigned level = 0; level < 4; level++) {
        uint64_t got;
#define LEVEL(flags)                                                                          \
    other(level == 0 ? (flags) : all, level == 1 ? (flags) : all, level == 2 ? (flags) : all, \
          level == 3 ? (flags) : all)

        LEVEL(W | U);
        got = OUTCOME(load, OTHER, RING3);
        LEVEL(P | U);
        got = got << 8 | OUTCOME(store, OTHER, RING3);
        got = got << 8 | OUTCOME(store, OTHER, RING0);
        got = got << 8 | OUTCOME(load, OTHER, RING3);
        LEVEL(P | W);
        got = got << 8 | OUTCOME(load, OTHER, RING3);
        got = got << 8 | OUTCOME(store, OTHER, RING0);
        LEVEL(all | NX);
        *(volatile uint8_t *)physical = 0xc3;
        got = got << 8 | OUTCOME(jump, OTHER, RING3);
        LEVEL(all | RESERVED);
        got = got << 8 | OUTCOME(load, OTHER, RING3);
        expect(names[level], got, 0x040703ff05ff150d);
    }
    other(all | PS, all, all, all);
    expect("PS in a PML4E", OUTCOME(load, OTHER, RING3), 0xd);
}

static void large(void)
{
    const uint64_t all = P | W | U;
    uint32_t r[4];

    write64(0x2345678, 0x1122334455667788);
    other(all, all, 0x2200000 | all | PS, 0);
    expect("2 MiB", read64(OTHER + 0x145678), 0x1122334455667788);
    expect("load", OUTCOME(load, OTHER, RING3), 0xff);
    other(all, all, 0x2200000 | P | U | PS, 0);
    expect("read-only", OUTCOME(store, OTHER, RING3), 7);
    other(all, all, 0x2202000 | all | PS, 0);
    expect("reserved bit 13", OUTCOME(load, OTHER, RING3), 0xd);
    cpuid(0x80000001, 0, r);
    if (!(r[3] >> 26 & 1)) {
        say("no pages of 1 GiB\n");
        return;
    }
    other(all, 0 | all | PS, 0, 0);
    expect("1 GiB", read64(OTHER + 0x2345678), 0x1122334455667788);
    expect("load", OUTCOME(load, OTHER, RING3), 0xff);
    other(all, 0x200000 | all | PS, 0, 0);
    expect("reserved bit 21", OUTCOME(load, OTHER, RING3), 0xd);
}

static void accessed(void)
{
    const uint64_t all = P | W | U;

    physical = (uint64_t)pages(1);
    for (unsigned ring = 0; ring < 4; ring += 3) {
        other(all, all, all, all);
        expect("before", levels[2][0] & (A | D), 0);
        expect("load", OUTCOME(load, OTHER, ring), 0xff);
        expect("after a load", levels[2][0] & (A | D), A);
        check("in the upper levels", levels[0][0] & levels[1][0] & pml4[1] & A);
        expect("store", OUTCOME(store, OTHER, ring), 0xff);
        expect("after a store", levels[2][0] & (A | D), A | D);
        other(all, all, all, P | U);
        expect("store that faults", OUTCOME(store, OTHER, ring), ring ? 7 : 3);
        expect("not dirty", levels[2][0] & D, 0);
        other(all, all, 0x2200000 | all | PS, 0);
        expect("load, 2 MiB", OUTCOME(load, OTHER, ring), 0xff);
        expect("its bits", levels[1][0] & (A | D), A);
        expect("store, 2 MiB", OUTCOME(store, OTHER, ring), 0xff);
        expect("its bits", levels[1][0] & (A | D), A | D);
    }
}

/* What has been changed and flushed is seen: by INVLPG, by CR3, and global pages by CR4. */
static void flushes(void)
{
    uint64_t *two[2] = {pages(1), pages(1)};
    uint32_t good[3] = {0};

    two[0][0] = 0;
    two[1][0] = 1;
    for (unsigned way = 0; way < 3; way++) {
        for (unsigned n = 0; n < 100; n++) {
            *split(VIRTUAL) = (uint64_t)two[n & 1] | P | W | U | (way == 2 ? G : 0);
            if (way == 0) {
                invlpg(VIRTUAL);
            } else if (way == 1) {
                write_cr3(read_cr3());
            } else {
                write_cr4(read_cr4() & ~0x80ull);
                write_cr4(read_cr4() | 0x80);
            }
            RUN(load, VIRTUAL, n & 2 ? RING3 : RING0);
            good[way] += trap.rax == (n & 1);
        }
        expect(way == 0 ? "INVLPG" : way == 1 ? "CR3" : "CR4.PGE", good[way], 100);
    }
    *split(VIRTUAL) = (uint64_t)two[0] | P | W | U;
    invlpg(VIRTUAL);
    write_cr4(read_cr4() & ~0x80ull);
}

/* SMEP and SMAP, where there are: pages of ring 3 are not for ring 0, whose own must not be open.
 */
static void supervisor(void)
{
    uint32_t r[4];

    cpuid(0, 0, r);
    if (r[0] < 7) {
        say("neither SMEP nor SMAP\n");
        return;
    }
    cpuid(7, 0, r);
    say("SMEP %d, SMAP %d\n", r[1] >> 7 & 1, r[1] >> 20 & 1);
    physical = (uint64_t)pages(1);
    map(P | W | U);
    *(volatile uint8_t *)physical = 0xc3;
    pd[0] &= ~(uint64_t)U;
    pd[4] &= ~(uint64_t)U;
    write_cr3(read_cr3());
    if (r[1] >> 7 & 1) {
        write_cr4(read_cr4() | 1 << 20);
        expect("SMEP, jump", OUTCOME(jump, VIRTUAL, RING0), 0x11);
        expect("load", OUTCOME(load, VIRTUAL, RING0), 0xff);
        write_cr4(read_cr4() & ~(1ull << 20));
        expect("without", OUTCOME(jump, VIRTUAL, RING0), 0xff);
    }
    if (r[1] >> 20 & 1) {
        write_cr4(read_cr4() | 1 << 21);
        expect("SMAP, load", OUTCOME(load, VIRTUAL, RING0), 1);
        expect("store", OUTCOME(store, VIRTUAL, RING0), 3);
        RUN(load, VIRTUAL, RING0 | HOW_AC);
        EXPECT_DONE("with AC", load);
        write_cr4(read_cr4() & ~(1ull << 21));
        expect("without", OUTCOME(load, VIRTUAL, RING0), 0xff);
    }
    pd[0] |= U;
    pd[4] |= U;
    write_cr3(read_cr3());
}

const struct part parts[] = {
    {"permissions", permissions},
    {"no-nxe", no_nxe},
    {"over", over},
    {"not-canonical", not_canonical},
    {"many", many},
    {"upper-levels", upper_levels},
    {"large", large},
    {"accessed", accessed},
    {"flushes", flushes},
    {"supervisor", supervisor},
    {NULL, NULL},
};
