/* Exceptions other than page faults, debug registers, and the state of x87, SSE and AVX. */
#include "tests/kvm/irq.h"

/* ---- each kind ----------------------------------------------------------------------------- */

PIECE(divide, "xor %ecx, %ecx; xor %edx, %edx; mov $1, %eax; div %ecx");
PIECE(divide_over, "mov $1, %ecx; mov $1, %edx; xor %eax, %eax; div %ecx");
PIECE(divide_int, "mov $-1, %ecx; mov $0x80000000, %eax; cltd; idiv %ecx");
PIECE(invalid, "ud2; nop");
PIECE(invalid_64, ".byte 0x06");
PIECE(invalid_lock, ".byte 0xf0, 0x90");
PIECE(invalid_lock_move, ".byte 0xf0, 0x89, 0x07");
PIECE(invalid_map, ".byte 0x0f, 0xff, 0xc0");
PIECE(invalid_cr, "mov %cr1, %rax");
PIECE(breakpoint, "int3");
PIECE(int_3, ".byte 0xcd, 3");
PIECE(int_n, "int $0x80");
PIECE(int_closed, "int $0x0d");
PIECE(int_1, "int1");
PIECE(too_long, ".fill 15, 1, 0x2e; nop");
PIECE(long_enough, ".fill 14, 1, 0x2e; nop");

static void kinds(void)
{
    for (unsigned ring = 0; ring < 4; ring += 3) {
        RUN(divide, 0, ring);
        EXPECT_TRAP("divide by zero", divide, 0, 0);
        RUN(divide_over, 0, ring);
        EXPECT_TRAP("quotient too large", divide_over, 0, 0);
        RUN(divide_int, 0, ring);
        EXPECT_TRAP("-2^31 by -1", divide_int, 0, 0);
        RUN(invalid, 0, ring);
        EXPECT_TRAP("invalid", invalid, 6, 0);
        RUN(invalid_64, 0, ring);
        EXPECT_TRAP("not in 64 bits", invalid_64, 6, 0);
        RUN(invalid_lock, 0, ring);
        EXPECT_TRAP("locked nop", invalid_lock, 6, 0);
        RUN(long_enough, 0, ring);
        EXPECT_DONE("15 bytes", long_enough);
        RUN(too_long, 0, ring);
        EXPECT_TRAP("16 bytes", too_long, 13, 0);
    }
    RUN(invalid_lock_move, (uint64_t)run_stack_end - 64, RING3);
    EXPECT_TRAP("locked move", invalid_lock_move, 6, 0);
    RUN(invalid_map, 0, RING3);
    EXPECT_TRAP("UD0", invalid_map, 6, 0);
    RUN(invalid_cr, 0, RING0);
    EXPECT_TRAP("CR1", invalid_cr, 6, 0);
    RUN(breakpoint, 0, RING3);
    EXPECT_TRAP("INT3", breakpoint, 3, 0);
    RUN(int_1, 0, RING3);
    EXPECT_TRAP("INT1", int_1, 1, 0);
}

/* INT n: allowed by the gate, forbidden by it, beyond the table, and gates that are wrong. */
static void software(void)
{
    uint64_t saved = idt[0x80 * 2];

    RUN(int_3, 0, RING3);
    EXPECT_TRAP("INT 3", int_3, 3, 0);
    RUN(int_n, 0, RING3);
    EXPECT_TRAP("INT 80", int_n, 0x80, 0);
    idt[0x80 * 2] = saved & ~(3ull << 45);
    RUN(int_n, 0, RING3);
    EXPECT_TRAP("closed", int_n, 13, 0x80 * 8 + 2);
    idt[0x80 * 2] = saved & ~(1ull << 47);
    RUN(int_n, 0, RING3);
    EXPECT_TRAP("not present", int_n, 11, 0x80 * 8 + 2);
    idt[0x80 * 2] = (saved & ~(0xfull << 40)) | 5ull << 40;
    RUN(int_n, 0, RING3);
    EXPECT_TRAP("a task gate", int_n, 13, 0x80 * 8 + 2);
    idt[0x80 * 2] = saved;
}

static void software_kernel(void)
{
    RUN(int_n, 0, RING0);
    EXPECT_TRAP("INT 80", int_n, 0x80, 0);
}

static void breakpoint_kernel(void)
{
    RUN(breakpoint, 0, RING0);
    EXPECT_TRAP("INT3", breakpoint, 3, 0);
}

/* ---- segments ------------------------------------------------------------------------------ */

PIECE(load_ds, "mov %edi, %ds");
PIECE(load_fs, "mov %edi, %fs");
PIECE(load_ss, "mov %edi, %ss; nop");
PIECE(far_jump,
      "mov %edi, -4(%rsp); lea 1f(%rip), %rax; mov %eax, -8(%rsp); ljmp *-8(%rsp)\n1: nop");
PIECE(iret_to, "mov %ss, %eax; push %rax; lea 8(%rsp), %rcx; push %rcx; pushfq; push %rdi; "
               "lea 1f(%rip), %rax; push %rax; iretq\n1: nop");

/* Selectors; vector and error code in ring 0; -1: none. */
struct selector {
    uint16_t selector;
    int vector, error;
};

static void each_selector(const char *what, const void *piece, const void *piece_end, unsigned ring,
                          const struct selector *list, unsigned n)
{
    for (; n; list++, n--) {
        say("%s %x", what, list->selector);
        RUN(piece, list->selector, ring);
        expect_trap("", piece, piece_end, list->vector, (uint64_t)list->error);
    }
}
#define EACH(what, piece, ring, list) \
    each_selector(what, piece, piece##_end, ring, list, sizeof(list) / sizeof(*list))

static void segments(void)
{
    static const struct selector ds[] = {
        {0, -1, 0},
        {3, -1, 0},
        {SEL_DATA, -1, 0},
        {SEL_DATA | 3, 13, SEL_DATA},
        {SEL_CODE64, -1, 0},
        {SEL_ABSENT, 11, SEL_ABSENT},
        {SEL_TSS, 13, SEL_TSS},
        {SEL_CODE64_USER, -1, 0},
        {SEL_DATA_USER, -1, 0},
        {0x100, 13, 0x100},
        {0x104, 13, 0x104},
    };
    static const struct selector ss[] = {
        {0, -1, 0},
        {3, 13, 0},
        {SEL_DATA, -1, 0},
        {SEL_DATA | 3, 13, SEL_DATA},
        {SEL_CODE64, 13, SEL_CODE64},
        {SEL_ABSENT, 12, SEL_ABSENT},
        {SEL_TSS, 13, SEL_TSS},
        {SEL_DATA_USER, 13, SEL_DATA_USER & ~3},
        {0x100, 13, 0x100},
        {0x104, 13, 0x104},
    };

    EACH("DS", load_ds, RING0, ds);
    EACH("SS", load_ss, RING0, ss);
}

static void far_jumps(void)
{
    static const struct selector to[] = {
        {0, 13, 0},
        {3, 13, 0},
        {SEL_CODE64, -1, 0},
        {SEL_DATA, 13, SEL_DATA},
        {SEL_ABSENT, 13, SEL_ABSENT},
        {SEL_CODE64_USER, 13, SEL_CODE64_USER & ~3},
        {0x100, 13, 0x100},
        {0x104, 13, 0x104},
        {SEL_TSS, 13, SEL_TSS},
    };

    EACH("jump", far_jump, RING0, to);
}

/* The same in ring 3, which is not allowed what is ring 0's. */
static void segments_user(void)
{
    static const struct selector fs[] = {
        {0, -1, 0},
        {SEL_DATA, 13, SEL_DATA},
        {SEL_DATA_USER, -1, 0},
        {SEL_CODE64_USER, -1, 0},
        {SEL_CODE64, 13, SEL_CODE64},
        {SEL_ABSENT | 3, 13, SEL_ABSENT},
        {SEL_TSS, 13, SEL_TSS},
        {0x1f8, 13, 0x1f8},
    };

    EACH("FS", load_fs, RING3, fs);
    RUN(load_ss, 0, RING3);
    EXPECT_TRAP("SS null", load_ss, 13, 0);
    RUN(far_jump, SEL_CODE64, RING3);
    EXPECT_TRAP("far jump to ring 0", far_jump, 13, SEL_CODE64);
    RUN(far_jump, SEL_CODE64_USER, RING3);
    EXPECT_DONE("far jump", far_jump);
}

/* IRET to selectors that are wrong. */
static void irets(void)
{
    RUN(iret_to, SEL_CODE64, RING0);
    EXPECT_DONE("iret", iret_to);
    RUN(iret_to, 0, RING0);
    EXPECT_TRAP("to null", iret_to, 13, 0);
    RUN(iret_to, SEL_DATA, RING0);
    EXPECT_TRAP("to data", iret_to, 13, SEL_DATA);
    RUN(iret_to, 0x200, RING0);
    EXPECT_TRAP("beyond the table", iret_to, 13, 0x200);
}

/* ---- double faults ------------------------------------------------------------------------- */

PIECE(general, "mov $0x55aa55aa55aa55aa, %rax; mov (%rax), %rax");
PIECE(load_nowhere, "mov $0x7000000000, %rax; mov (%rax), %rax");
PIECE(push_nowhere, "mov $0x7000000000, %rsp; push %rax");

static void doubled(void)
{
    uint64_t saved = idt[13 * 2], page_fault = idt[14 * 2];

    for (unsigned ring = 0; ring < 4; ring += 3) {
        idt[13 * 2] &= ~(1ull << 47);
        RUN(general, 0, ring);
        idt[13 * 2] = saved;
        EXPECT_TRAP("no gate for #GP", general, 8, 0);
        idt[14 * 2] &= ~(1ull << 47);
        RUN(load_nowhere, 0, ring);
        idt[14 * 2] = page_fault;
        EXPECT_TRAP("no gate for #PF", load_nowhere, 8, 0);
    }
    /* A benign one that meets a contributory one: the second is delivered. */
    saved = idt[6 * 2];
    idt[6 * 2] &= ~(1ull << 47);
    RUN(divide, 0, RING3);
    EXPECT_TRAP("just #DE", divide, 0, 0);
    RUN(invalid, 0, RING3);
    EXPECT_TRAP("no gate for #UD", invalid, 11, 6 * 8 + 2);
    idt[6 * 2] = saved;
}

/* The stack table: the double fault has a stack of its own, where the ordinary one is missing. */
static void stack_table(void)
{
    uint64_t saved[2] = {idt[8 * 2], idt[14 * 2]};
    uint8_t *stack = pages(1);
    uint8_t *own = open_ports();

    *(uint64_t *)(own + 36) = (uint64_t)stack + 4096; /* IST1 */
    idt[8 * 2] |= 1ull << 32;
    RUN(push_nowhere, 0, RING0);
    EXPECT_TRAP("#PF with a bad stack, #DF on its own", push_nowhere, 8, 0);
    *(volatile uint64_t *)(own + 4) = 0x7000000000;
    RUN(divide, 0, RING3);
    EXPECT_TRAP("bad stack of ring 0", divide, 8, 0);
    idt[14 * 2] |= 1ull << 32;
    RUN(push_nowhere, 0, RING0);
    EXPECT_TRAP("#PF on its own", push_nowhere, 14, 2);
    idt[8 * 2] = saved[0];
    idt[14 * 2] = saved[1];
    set_tss(tss, 103);
}

/* ---- debug --------------------------------------------------------------------------------- */

static void set_dr(unsigned n, uint64_t v)
{
    switch (n) {
    case 0:
        __asm__ volatile("mov %0, %%dr0" ::"r"(v));
        break;
    case 1:
        __asm__ volatile("mov %0, %%dr1" ::"r"(v));
        break;
    case 2:
        __asm__ volatile("mov %0, %%dr2" ::"r"(v));
        break;
    case 3:
        __asm__ volatile("mov %0, %%dr3" ::"r"(v));
        break;
    case 6:
        __asm__ volatile("mov %0, %%dr6" ::"r"(v));
        break;
    default:
        __asm__ volatile("mov %0, %%dr7" ::"r"(v));
    }
}

static uint64_t dr6(void)
{
    uint64_t v;

    __asm__ volatile("mov %%dr6, %0" : "=r"(v));
    return v;
}

PIECE(steps, "nop; mov %rax, %rax; nop");
PIECE(watched, "nop; mov %eax, (%rdi); nop; mov (%rdi), %ecx; nop; mov %al, 3(%rdi); nop");
PIECE(watched_ins, "mov $4, %ecx; rep stosb; nop");

static volatile uint32_t stepped;
static volatile uint64_t last_dr6;

static void on_debug(struct frame *frame)
{
    stepped++;
    last_dr6 = dr6();
    set_dr(6, 0xffff0ff0);
    frame->rflags |= 1 << 16; /* RF: past an instruction breakpoint */
}

static void single_step(void)
{
    for (unsigned ring = 0; ring < 4; ring += 3) {
        set_dr(6, 0xffff0ff0);
        RUN(steps, 0, ring | HOW_TF);
        EXPECT_TRAP("one step", steps, 1, 0);
        expect("at", trap.rip - (uint64_t)steps, 1);
        expect("DR6", dr6(), 0xffff4ff0);
        handlers[1] = on_debug;
        stepped = 0;
        RUN(steps, 0, ring | HOW_TF);
        handlers[1] = NULL;
        EXPECT_DONE("all", steps);
        expect("steps", stepped, 3);
    }
}

static void registers(void)
{
    uint64_t v;

    set_dr(6, 0xffff0ff0);
    set_dr(7, 0);
    __asm__ volatile("mov %%dr7, %0" : "=r"(v));
    expect("DR7", v, 0x400);
    expect("DR6", dr6(), 0xffff0ff0);
    for (unsigned i = 0; i < 4; i++) {
        set_dr(i, 0x123456789a00 + i);
    }
    __asm__ volatile("mov %%dr2, %0" : "=r"(v));
    expect("DR2", v, 0x123456789a02);
    for (unsigned i = 0; i < 4; i++) {
        set_dr(i, 0);
    }
}

static void breakpoints(void)
{
    static volatile uint64_t word;

    for (unsigned ring = 0; ring < 4; ring += 3) {
        set_dr(0, (uint64_t)steps + 1);
        set_dr(7, 0x403);
        set_dr(6, 0xffff0ff0);
        RUN(steps, 0, ring);
        EXPECT_TRAP("instruction", steps, 1, 0);
        expect("DR6", dr6(), 0xffff0ff1);
        handlers[1] = on_debug;
        stepped = 0;
        RUN(steps, 0, ring);
        handlers[1] = NULL;
        EXPECT_DONE("with RF", steps);
        expect("hits", stepped, 1);

        set_dr(0, 0);
        set_dr(1, (uint64_t)&word);
        set_dr(7, 0x40c | 0xdull << 20); /* DR1: writes of four bytes */
        set_dr(6, 0xffff0ff0);
        RUN(watched, &word, ring);
        EXPECT_TRAP("write", watched, 1, 0);
        expect("after it", trap.rip - (uint64_t)watched, 3);
        expect("DR6", dr6(), 0xffff0ff2);
        handlers[1] = on_debug;
        stepped = 0;
        RUN(watched, &word, ring);
        EXPECT_DONE("writes", watched);
        expect("hits", stepped, 2);
        set_dr(7, 0x40c | 0xfull << 20); /* and reads */
        stepped = 0;
        RUN(watched, &word, ring);
        EXPECT_DONE("writes and reads", watched);
        expect("hits", stepped, 3);
        set_dr(1, (uint64_t)&word + 3);
        set_dr(7, 0x40c | 1ull << 20); /* of one byte */
        stepped = 0;
        RUN(watched_ins, &word, ring);
        EXPECT_DONE("string", watched_ins);
        expect("hits", stepped, 1);
        handlers[1] = NULL;
        set_dr(7, 0x400);
    }
}

PIECE(touch_dr, "mov %dr0, %rax");

static void general_detect(void)
{
    set_dr(6, 0xffff0ff0);
    set_dr(7, 0x2400);
    RUN(touch_dr, 0, RING0);
    EXPECT_TRAP("GD", touch_dr, 1, 0);
    expect("DR6", dr6() & 0x2000, 0x2000);
    set_dr(7, 0x400);
}

/* ---- x87, SSE, AVX --------------------------------------------------------------------------- */

PIECE(x87_divide, "fninit; pushq $0x37b; fldcw (%rsp); fld1; fldz; fdivrp; fwait; pop %rax");
PIECE(x87_masked, "fninit; fld1; fldz; fdivrp; fwait; fnstsw %ax");
PIECE(sse_divide, "pushq $0x1d80; ldmxcsr (%rsp); mov $1, %eax; cvtsi2sd %eax, %xmm0; "
                  "xorpd %xmm1, %xmm1; divsd %xmm1, %xmm0; pop %rax");
PIECE(sse_masked, "pushq $0x1f80; ldmxcsr (%rsp); mov $1, %eax; cvtsi2sd %eax, %xmm0; "
                  "xorpd %xmm1, %xmm1; divsd %xmm1, %xmm0; stmxcsr (%rsp); pop %rax");
PIECE(mxcsr_reserved, "pushq $0x11f80; ldmxcsr (%rsp)");
PIECE(use_x87, "fld1");
PIECE(use_sse, "movaps %xmm0, %xmm1");
PIECE(unaligned_sse, "movaps 1(%rdi), %xmm0");
PIECE(unaligned, "mov 1(%rdi), %rax");

static void floating(void)
{
    RUN(x87_masked, 0, RING3);
    EXPECT_DONE("x87, masked", x87_masked);
    expect("status", trap.rax & 0x7f, 4);
    RUN(x87_divide, 0, RING3);
    EXPECT_TRAP("x87 divide", x87_divide, 16, 0);
    __asm__ volatile("fninit");
    RUN(sse_masked, 0, RING3);
    EXPECT_DONE("SSE, masked", sse_masked);
    expect("MXCSR", trap.rax & 0xffff, 0x1f84);
    RUN(sse_divide, 0, RING3);
    EXPECT_TRAP("SSE divide", sse_divide, 19, 0);
    RUN(mxcsr_reserved, 0, RING3);
    EXPECT_TRAP("MXCSR, reserved bit", mxcsr_reserved, 13, 0);
    RUN(unaligned_sse, run_stack_end - 64, RING3);
    EXPECT_TRAP("movaps, unaligned", unaligned_sse, 13, 0);
}

static void not_available(void)
{
    write_cr0(read_cr0() | 8);
    RUN(use_x87, 0, RING3);
    EXPECT_TRAP("TS: x87", use_x87, 7, 0);
    RUN(use_sse, 0, RING3);
    EXPECT_TRAP("TS: SSE", use_sse, 7, 0);
    __asm__ volatile("clts");
    RUN(use_x87, 0, RING3);
    EXPECT_DONE("clts: x87", use_x87);
    write_cr0(read_cr0() | 4);
    RUN(use_x87, 0, RING3);
    EXPECT_TRAP("EM: x87", use_x87, 7, 0);
    RUN(use_sse, 0, RING3);
    EXPECT_TRAP("EM: SSE", use_sse, 6, 0);
    write_cr0(read_cr0() & ~4ull);
    write_cr4(read_cr4() & ~0x200ull);
    RUN(use_sse, 0, RING3);
    EXPECT_TRAP("no OSFXSR: SSE", use_sse, 6, 0);
    write_cr4(read_cr4() | 0x200);
}

static void alignment(void)
{
    write_cr0(read_cr0() | 0x40000);
    RUN(unaligned, run_stack_end - 64, RING3);
    EXPECT_DONE("AM, no AC", unaligned);
    RUN(unaligned, run_stack_end - 64, RING3 | HOW_AC);
    EXPECT_TRAP("AM, AC", unaligned, 17, 0);
    RUN(unaligned, run_stack_end - 65, RING3 | HOW_AC);
    EXPECT_DONE("aligned", unaligned);
    write_cr0(read_cr0() & ~0x40000ull);
    RUN(unaligned, run_stack_end - 64, RING3 | HOW_AC);
    EXPECT_DONE("no AM, AC", unaligned);
}

/* Registers over many exits: each turn leaves to the monitor, and is interrupted. */
PIECE(keep_state, "mov %rdi, %r8; mov $0x1234567890abcdef, %rax; movq %rax, %xmm0; not %rax; "
                  "movq %rax, %xmm15; punpcklqdq %xmm0, %xmm15; fninit; fldpi; fldl2e; "
                  "mov $0x3ff, %edx\n"
                  "1: in %dx, %al; dec %r8d; jnz 1b\n"
                  "movq %xmm0, %rax; movq %xmm15, %rbx; movhlps %xmm15, %xmm1; movq %xmm1, %rcx; "
                  "lea -32(%rsp), %rsp; fstpl (%rsp); mov (%rsp), %r9; fstpl (%rsp); "
                  "mov (%rsp), %r10");

static volatile uint32_t interrupts;

/* Uses, as kernels do, the same registers for something else. */
static void on_timer(struct frame *frame)
{
    (void)frame;
    interrupts++;
    apic_eoi();
}

static void state(void)
{
    apic_enable();
    handlers[0x50] = on_timer;
    apic_write(APIC_TIMER_DIVIDE, 0xb);
    apic_write(APIC_LVT_TIMER, 0x50 | PERIODIC);
    apic_write(APIC_TIMER_INITIAL, 1000000);
    open_ports();
    RUN(keep_state, count / 2, RING3 | HOW_IF);
    apic_write(APIC_LVT_TIMER, MASKED);
    set_tss(tss, 103);
    EXPECT_DONE("loop", keep_state);
    check("interrupted", interrupts > 0);
    expect("XMM0", trap.rax, 0x1234567890abcdef);
    expect("XMM15", trap.rbx, ~0x1234567890abcdefull);
    expect("its upper half", trap.rcx, 0x1234567890abcdef);
    expect("ST0", trap.r9, 0x3ff71547652b82fe);
    expect("ST1", trap.r10, 0x400921fb54442d18);
}

/* AVX needs XSETBV, which this is a part of its own for. */
PIECE(keep_avx, "mov %rdi, %r8; mov $0x5555aaaa3333cccc, %rax; movq %rax, %xmm0; "
                "vpunpcklqdq %xmm0, %xmm0, %xmm1; vinsertf128 $1, %xmm1, %ymm1, %ymm7; "
                "mov $0x3ff, %edx\n"
                "1: in %dx, %al; dec %r8d; jnz 1b\n"
                "vextractf128 $1, %ymm7, %xmm2; vmovhlps %xmm2, %xmm2, %xmm3; vmovq %xmm3, %rax; "
                "vzeroupper");

static void avx(void)
{
    uint32_t r[4];

    cpuid(1, 0, r);
    if ((r[2] & 0x14000000) != 0x14000000) {
        say("no AVX\n");
        return;
    }
    RUN(keep_avx, 1, RING3);
    EXPECT_TRAP("without OSXSAVE", keep_avx, 6, 0);
    write_cr4(read_cr4() | 0x40000);
    __asm__ volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
    open_ports();
    RUN(keep_avx, count / 5, RING3);
    EXPECT_DONE("loop", keep_avx);
    expect("YMM7, above", trap.rax, 0x5555aaaa3333cccc);
    set_tss(tss, 103);
}

/* ---- many ---------------------------------------------------------------------------------- */

static void on_invalid(struct frame *frame)
{
    frame->rip += 2;
    frame->rax++;
}

PIECE(many_invalid, "xor %eax, %eax\n"
                    "1: ud2; dec %edi; jnz 1b; int3");

static void many(void)
{
    handlers[6] = on_invalid;
    RUN(many_invalid, count, RING3);
    handlers[6] = NULL;
    expect("then INT3: vector", trap.vector, 3);
    expect("exceptions", trap.rax, count);
}

const struct part parts[] = {
    {"kinds", kinds},
    {"software", software},
    {"software-kernel", software_kernel},
    {"breakpoint-kernel", breakpoint_kernel},
    {"segments", segments},
    {"far-jumps", far_jumps},
    {"segments-user", segments_user},
    {"irets", irets},
    {"doubled", doubled},
    {"stack-table", stack_table},
    {"single-step", single_step},
    {"registers", registers},
    {"breakpoints", breakpoints},
    {"general-detect", general_detect},
    {"floating", floating},
    {"not-available", not_available},
    {"alignment", alignment},
    {"state", state},
    {"avx", avx},
    {"many", many},
    {NULL, NULL},
};
