/* 32-bit protected mode: segments, limits, gates, rings, tasks, virtual-8086 mode, paging. */
#include "tests/kvm/guest32.h"

/* ---- segments ------------------------------------------------------------------------------ */

PIECE(load_ds, "mov %edi, %ds");
PIECE(load_ss, "mov %edi, %ss; nop");
PIECE(store_ds, "mov %edi, %ds; movl $5, 0x200000");
PIECE(load_cs, "mov %cs:(%edi), %eax");
PIECE(store_cs, "mov %eax, %cs:(%edi)");

struct selector {
    uint16_t selector;
    int vector, error;
};

static void each(const char *what, const void *piece, const void *piece_end, unsigned ring,
                 const struct selector *list, unsigned n)
{
    for (; n; list++, n--) {
        say("%s %x", what, list->selector);
        RUN(piece, list->selector, ring);
        expect_trap("", piece, piece_end, list->vector, (uint32_t)list->error);
    }
}
#define EACH(what, piece, ring, list) \
    each(what, piece, piece##_end, ring, list, sizeof(list) / sizeof(*list))

static void segments(void)
{
    static const struct selector ds[] = {
        {0, -1, 0},
        {SEL_DATA, -1, 0},
        {SEL_DATA | 3, 13, SEL_DATA},
        {SEL_DATA_USER, -1, 0},
        {SEL_CODE, -1, 0},
        {SEL_EXECUTE, 13, SEL_EXECUTE},
        {SEL_CONFORMING | 3, -1, 0},
        {SEL_ABSENT, 11, SEL_ABSENT},
        {SEL_TSS, 13, SEL_TSS},
        {0x200, 13, 0x200},
        {0x14, 13, 0x14},
    };
    static const struct selector ss[] = {
        {0, 13, 0},
        {SEL_DATA, -1, 0},
        {SEL_DATA_USER, 13, SEL_DATA_USER & ~3},
        {SEL_READ_ONLY, 13, SEL_READ_ONLY},
        {SEL_CODE, 13, SEL_CODE},
        {SEL_ABSENT, 12, SEL_ABSENT},
    };
    static const struct selector user[] = {
        {0, -1, 0},
        {SEL_DATA, 13, SEL_DATA},
        {SEL_DATA_USER, -1, 0},
        {SEL_CODE_USER, -1, 0},
        {SEL_CODE, 13, SEL_CODE},
        {SEL_CONFORMING, -1, 0},
        {SEL_ABSENT | 3, 13, SEL_ABSENT},
    };

    EACH("DS", load_ds, RING0, ds);
    EACH("SS", load_ss, RING0, ss);
    EACH("DS in ring 3", load_ds, RING3, user);
}

static void kinds(void)
{
    static const struct selector write[] = {
        {SEL_DATA, -1, 0},
        {SEL_READ_ONLY, 13, 0},
        {SEL_CODE, 13, 0},
        {0, 13, 0},
    };

    EACH("store", store_ds, RING0, write);
    RUN(load_cs, 0x100000, RING0);
    EXPECT_DONE("load by CS", load_cs);
    RUN(store_cs, 0x200000, RING0);
    EXPECT_TRAP("store by CS", store_cs, 13, 0);
    run_at(load_cs, 0x100000, 2, SEL_EXECUTE, SEL_DATA);
    EXPECT_TRAP("load by CS, execute-only", load_cs, 13, 0);
}

/* ---- limits -------------------------------------------------------------------------------- */

PIECE(byte_at, "mov $" STRING(SEL_SMALL) ", %eax; mov %eax, %fs; mov %fs:(%edi), %al");
PIECE(long_at, "mov $" STRING(SEL_SMALL) ", %eax; mov %eax, %fs; mov %fs:(%edi), %eax");
PIECE(byte_down, "mov $" STRING(SEL_DOWN) ", %eax; mov %eax, %fs; mov %fs:(%edi), %al");
PIECE(push_small,
      "mov $" STRING(SEL_SMALL) ", %eax; mov %eax, %ss; mov %edi, %esp; push %eax; "
                                "mov $" STRING(
                                    SEL_DATA) ", %eax; mov %eax, %ss; mov $run_stack_end, %esp");

static void limits(void)
{
    write32(0x2000fc, 0x11223344);
    RUN(byte_at, 0xff, RING0);
    EXPECT_DONE("last byte", byte_at);
    expect("read", trap.eax & 0xff, 0x11);
    RUN(byte_at, 0x100, RING0);
    EXPECT_TRAP("beyond", byte_at, 13, 0);
    RUN(long_at, 0xfc, RING0);
    EXPECT_DONE("last long", long_at);
    expect("read", trap.eax, 0x11223344);
    RUN(long_at, 0xfd, RING0);
    EXPECT_TRAP("over the edge", long_at, 13, 0);
    RUN(long_at, 0xffffffff, RING0);
    EXPECT_TRAP("around", long_at, 13, 0);
    RUN(byte_down, 0xff, RING0);
    EXPECT_TRAP("expand-down, below", byte_down, 13, 0);
    RUN(byte_down, 0x100, RING0);
    EXPECT_DONE("expand-down, above", byte_down);
    RUN(push_small, 0x100, RING0);
    EXPECT_DONE("push to the last", push_small);
}

/* ---- gates and rings ----------------------------------------------------------------------- */

static void call_gate(unsigned n, const void *to, unsigned selector, unsigned words, unsigned dpl)
{
    uint32_t at = (uint32_t)to;

    gdt[SEL_FREE / 8 + n] = (at & 0xffff) | (uint64_t)selector << 16 | (uint64_t)words << 32 |
                            (uint64_t)(0x8c | dpl << 5) << 40 | (uint64_t)(at >> 16) << 48;
}

/* Two words from the caller's stack are above the return address; returns past them. */
PIECE(inner, "mov %cs, %ecx; mov %ss, %edx; mov 8(%esp), %eax; shl $16, %eax; mov 12(%esp), %ax; "
             "lret $8");
PIECE(call_inner, "push $0x2222; push $0x1111; lcall $" STRING(SEL_FREE) "+3, $0; mov %cs, %ebx; "
                                                                         "mov %esp, %esi");
PIECE(just_ret, "mov %cs, %ecx; lret");
PIECE(call_conforming, "lcall $" STRING(SEL_CONFORMING) "+3, $just_ret");
PIECE(jump_gate, "ljmp $" STRING(SEL_FREE) "+3, $0");
PIECE(ring_of, "mov %cs, %eax; mov %ss, %ecx");
PIECE(port_ring, "in $0x80, %al");

static void gates(void)
{
    call_gate(0, inner, SEL_CODE, 2, 3);
    RUN(call_inner, 0, RING3);
    EXPECT_DONE("call gate", call_inner);
    expect("parameters", trap.eax, 0x11112222);
    expect("CS inside", trap.ecx, SEL_CODE);
    expect("SS inside", trap.edx & 0xffff, SEL_DATA);
    expect("CS afterwards", trap.ebx, SEL_CODE_USER);
    expect("stack afterwards", trap.esi, (uint32_t)run_stack_end);
    call_gate(0, inner, SEL_CODE, 2, 0);
    RUN(call_inner, 0, RING3);
    EXPECT_TRAP("gate of ring 0", call_inner, 13, SEL_FREE);
    call_gate(0, inner, SEL_DATA, 2, 3);
    RUN(call_inner, 0, RING3);
    EXPECT_TRAP("gate to data", call_inner, 13, SEL_DATA);
    call_gate(0, just_ret, SEL_CODE, 0, 3);
    RUN(jump_gate, 0, RING3);
    EXPECT_TRAP("jump through a gate, inwards", jump_gate, 13, SEL_CODE);
    RUN(call_conforming, 0, RING3);
    EXPECT_DONE("conforming", call_conforming);
    expect("in ring", trap.ecx & 3, 3);
}

static void rings(void)
{
    tss[3] = (uint32_t)trap_stack_end;
    tss[4] = SEL_DATA_RING1;
    RUN(ring_of, 0, RING1);
    EXPECT_DONE("ring 1", ring_of);
    expect("CS", trap.eax, SEL_CODE_RING1);
    expect("SS", trap.ecx, SEL_DATA_RING1);
    RUN(port_ring, 0, RING1);
    EXPECT_TRAP("a port", port_ring, 13, 0);
    run_at(port_ring, 0, 0x1002, SEL_CODE_RING1, SEL_DATA_RING1);
    EXPECT_DONE("with IOPL 1", port_ring);
}

PIECE(nothing, "pushf; pop %eax");

static void irets(void)
{
    run_at_iret(nothing, 0, 0x202, SEL_CODE, SEL_DATA);
    EXPECT_DONE("to ring 0", nothing);
    expect("IF", trap.eax & 0x200, 0x200);
    run_at_iret(nothing, 0, 2, SEL_CODE_USER, SEL_DATA_USER);
    EXPECT_DONE("to ring 3", nothing);
    expect("CS", trap.cs, SEL_CODE_USER);
    run_at_iret(nothing, 0, 2, SEL_DATA, SEL_DATA);
    expect("to data: vector", trap.vector, 13);
    expect("error", trap.error, SEL_DATA);
}

/* ---- software interrupts -----------------------------------------------------------------------
 */

PIECE(int_80, "int $0x80");
PIECE(into, "mov $0x7f, %al; add $1, %al; into");
PIECE(bound, "push $9; push $3; mov %edi, %eax; bound %eax, (%esp); pop %eax; pop %eax");
PIECE(int_3, "int3");

static void software(void)
{
    uint64_t saved = idt[0x80];

    RUN(int_80, 0, RING3);
    EXPECT_TRAP("INT 80", int_80, 0x80, 0);
    expect("IF, by an interrupt gate", trap.eflags & 0x200, 0);
    idt[0x80] = saved & ~(3ull << 45);
    RUN(int_80, 0, RING3);
    EXPECT_TRAP("closed", int_80, 13, 0x402);
    idt[0x80] = saved;
    RUN(int_3, 0, RING3);
    EXPECT_TRAP("INT3", int_3, 3, 0);
    RUN(into, 0, RING3);
    EXPECT_TRAP("INTO", into, 4, 0);
    RUN(bound, 5, RING3);
    EXPECT_DONE("BOUND", bound);
    RUN(bound, 50, RING3);
    EXPECT_TRAP("out of bounds", bound, 5, 0);
}

/* ---- 16 bits --------------------------------------------------------------------------------- */

PIECE(code_16, ".code16; mov $0x1111, %ax; push %ax; pop %bx; mov $0xffff, %cx; inc %cx; setz %dl; "
               "mov %ss, %si; .code32");

static void sixteen(void)
{
    for (unsigned i = 0; i < 64; i++) {
        write8(0x8800 + i, (uint8_t)code_16[i]);
    }
    run_at((void *)0x8800, 0, 2, SEL_CODE16, SEL_DATA);
    expect("vector", trap.vector, 6);
    expect("at", trap.eip, 0x8800 + (uint32_t)(code_16_end - code_16));
    expect("CS", trap.cs, SEL_CODE16);
    expect("pushed and popped", trap.ebx & 0xffff, 0x1111);
    expect("wrapped", trap.edx & 0xff, 1);
    expect("SS", trap.esi & 0xffff, SEL_DATA);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

static uint32_t other_tss[26];
static volatile uint32_t task_runs, task_flags;

static void describe_tss(unsigned n, const void *at)
{
    uint32_t base = (uint32_t)at;

    gdt[SEL_FREE / 8 + n] =
        103 | (uint64_t)(base & 0xffffff) << 16 | 0x89ull << 40 | (uint64_t)(base >> 24) << 56;
}

static void prepare_task(const void *entry)
{
    for (unsigned i = 0; i < 26; i++) {
        other_tss[i] = 0;
    }
    other_tss[8] = (uint32_t)entry;
    other_tss[9] = 2;
    other_tss[14] = (uint32_t)trap_stack_end - 1024;
    other_tss[18] = other_tss[20] = other_tss[21] = SEL_DATA;
    other_tss[19] = SEL_CODE;
    other_tss[22] = other_tss[23] = SEL_DATA;
    other_tss[25] = 104 << 16;
    describe_tss(1, other_tss);
}

PIECE(task_body, "1: incl task_runs; pushf; popl task_flags; iret; jmp 1b");
PIECE(call_task, "mov $0x1234, %ebx; lcall $" STRING(SEL_FREE) "+8, $0; str %ax");
PIECE(jump_task, "ljmp $" STRING(SEL_FREE) "+8, $0");
PIECE(jump_back, "incl task_runs; ljmp $" STRING(SEL_TSS) ", $0");

static void tasks(void)
{
    prepare_task(task_body);
    RUN(call_task, 0, RING0);
    EXPECT_DONE("call", call_task);
    expect("runs", task_runs, 1);
    expect("NT inside", task_flags & 0x4000, 0x4000);
    expect("back link", other_tss[0] & 0xffff, SEL_TSS);
    expect("TR afterwards", trap.eax & 0xffff, SEL_TSS);
    expect("EBX is kept", trap.ebx, 0x1234);
    expect("not busy", gdt[SEL_FREE / 8 + 1] >> 40 & 0xff, 0x89);
    for (unsigned n = 0; n < 20; n++) {
        RUN(call_task, 0, RING0);
    }
    expect("runs", task_runs, 21);
    prepare_task(jump_back);
    RUN(jump_task, 0, RING0);
    EXPECT_DONE("jump, and back", jump_task);
    expect("runs", task_runs, 22);
    prepare_task(task_body);
    gdt[SEL_FREE / 8 + 1] |= 2ull << 40;
    RUN(call_task, 0, RING0);
    EXPECT_TRAP("busy", call_task, 13, SEL_FREE + 8);
}

/* A double fault by a task of its own. */
static volatile uint32_t task_error;

PIECE(on_double,
      "popl task_error; incl task_runs; mov $" STRING(
          SEL_TSS) ", %eax; "
                   "andb $0xfd, gdt + " STRING(SEL_TSS) " + 5; ltr %ax; push $0; push $8; "
                                                        "jmp trap_common");
PIECE(general, "mov $0x200, %eax; mov %eax, %fs");

static void task_gate(void)
{
    uint64_t saved[2] = {idt[8], idt[13]};

    prepare_task(on_double);
    task_runs = 0;
    idt[8] = (uint64_t)(SEL_FREE + 8) << 16 | 0x85ull << 40;
    idt[13] &= ~(1ull << 47);
    RUN(general, 0, RING0);
    idt[8] = saved[0];
    idt[13] = saved[1];
    expect("vector", trap.vector, 8);
    expect("runs", task_runs, 1);
    expect("error", task_error, 0);
    expect("EIP it was at", tss[8] - (uint32_t)general, 5);
}

/* ---- virtual-8086 mode --------------------------------------------------------------------------
 */

PIECE(v86_code, ".code16; mov $0x2000, %ax; mov %ax, %ds; mov 0x10, %bx; mov %cs, %cx; push %cx; "
                "pop %dx; pushf; pop %ax; hlt; .code32");
PIECE(v86_int, ".code16; int $0x21; .code32");
PIECE(v86_port, ".code16; in $0x80, %al; .code32");
PIECE(enter_v86, "push $0; push $0; push $0; push $0; push $0x1000; push $0x100; push %edi; "
                 "push $0x800; push $0; iret");

static void run_v86(const char *code, uint32_t flags)
{
    for (unsigned i = 0; i < 64; i++) {
        write8(0x8000 + i, (uint8_t)code[i]);
    }
    RUN(enter_v86, flags | 0x20002, RING0);
}

static void virtual_8086(void)
{
    write32(0x20010, 0x5678);
    run_v86(v86_code, 0x3000);
    expect("HLT: vector", trap.vector, 13);
    expect("VM", trap.eflags & 0x20000, 0x20000);
    expect("CS", trap.cs, 0x800);
    expect("memory", trap.ebx & 0xffff, 0x5678);
    expect("CS seen", trap.ecx & 0xffff, 0x800);
    expect("stack", trap.edx & 0xffff, 0x800);
    expect("SS", trap.ss, 0x1000);
    expect("DS on the stack of ring 0", trap.v86_ds, 0x2000);
    run_v86(v86_int, 0);
    expect("INT, IOPL 0: vector", trap.vector, 13);
    run_v86(v86_int, 0x3000);
    expect("INT, IOPL 3: vector", trap.vector, 0x21);
    run_v86(v86_port, 0x3000);
    expect("port: vector", trap.vector, 13);
}

/* ---- paging, of 32 bits and PAE ---------------------------------------------------------------
 */

PIECE(load, "mov (%edi), %eax");
PIECE(store, "mov %edi, (%edi)");

static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint32_t table[1024] __attribute__((aligned(4096)));
static uint64_t pae_directory[2048] __attribute__((aligned(4096)));
static uint64_t pae_pointers[4] __attribute__((aligned(32)));

#define PAGE 0x40000000

/* Two digits each: load in ring 3, store in ring 3, store in ring 0; ff without a fault. */
static uint32_t outcomes(void)
{
    static const struct {
        const char *piece, *end;
        unsigned ring;
    } tries[] = {{load, load_end, RING3}, {store, store_end, RING3}, {store, store_end, RING0}};
    uint32_t got = 0;

    for (unsigned i = 0; i < 3; i++) {
        RUN(tries[i].piece, PAGE, tries[i].ring);
        got = got << 8 | (trap.vector == 6 && trap.eip == (uint32_t)tries[i].end ? 0xff
                          : trap.vector == 14 && trap.cr2 == PAGE                ? trap.error
                                                                                 : 0xfe);
    }
    return got;
}

static void flush_tlb(void)
{
    uint32_t v;

    __asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(v)::"memory");
}

static void paging(void)
{
    static const struct {
        const char *name;
        uint32_t flags, outcomes;
    } cases[] = {
        {"all", 7, 0xffffff},
        {"not present", 6, 0x040602},
        {"read-only", 5, 0xff0703},
        {"of ring 0", 3, 0x0507ff},
    };

    for (unsigned i = 0; i < 1024; i++) {
        directory[i] = i << 22 | 0x87; /* 4 MiB each */
        table[i] = 0;
    }
    directory[PAGE >> 22] = (uint32_t)table | 7;
    write_cr4(read_cr4() | 0x10);
    write_cr3((uint32_t)directory);
    write_cr0(read_cr0() | 0x80010000);
    expect("CR0", read_cr0() & 0x80010001, 0x80010001);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        table[0] = 0x300000 | cases[i].flags;
        flush_tlb();
        expect(cases[i].name, outcomes(), cases[i].outcomes);
    }
    table[0] = 0x300000 | 7;
    flush_tlb();
    write32(PAGE, 0x1357);
    expect("memory", read32(0x300000), 0x1357);
    expect("accessed and dirty", table[0] & 0x60, 0x60);
    directory[PAGE >> 22] = 0x400000 | 0x85;
    flush_tlb();
    expect("4 MiB, read-only", outcomes(), 0xff0703);
    write_cr0(read_cr0() & 0x7fffffff);
}

static void pae(void)
{
    for (unsigned i = 0; i < 2048; i++) {
        pae_directory[i] = (uint64_t)i << 21 | 0x87;
    }
    for (unsigned i = 0; i < 4; i++) {
        pae_pointers[i] = ((uint32_t)pae_directory + i * 4096) | 1;
    }
    write_cr4(read_cr4() | 0x20);
    write_cr3((uint32_t)pae_pointers);
    write_cr0(read_cr0() | 0x80010000);
    pae_directory[PAGE >> 21] = 0x600000 | 0x87;
    flush_tlb();
    write32(0x600000, 0);
    expect("2 MiB", outcomes(), 0xffffff);
    expect("memory", read32(0x600000), PAGE);
    pae_directory[PAGE >> 21] = 0x600000 | 0x85;
    flush_tlb();
    expect("read-only", outcomes(), 0xff0703);
    pae_directory[PAGE >> 21] = 1ull << 51 | 0x87;
    flush_tlb();
    expect("reserved bit", outcomes(), 0x0d0f0b);
    write_cr0(read_cr0() & 0x7fffffff);
    write_cr4(read_cr4() & ~0x20u);
}

const struct part parts[] = {
    {"segments", segments},
    {"kinds", kinds},
    {"limits", limits},
    {"gates", gates},
    {"rings", rings},
    {"iret", irets},
    {"software", software},
    {"sixteen", sixteen},
    {"tasks", tasks},
    {"task-gate", task_gate},
    {"virtual-8086", virtual_8086},
    {"paging", paging},
    {"pae", pae},
    {NULL, NULL},
};
