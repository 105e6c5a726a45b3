/* Modes: real, 16, 32 and 64 bits, rings 0 and 3, and the ways from one to the other. */
#include "tests/kvm/irq.h"

#define MSR_STAR        0xc0000081
#define MSR_LSTAR       0xc0000082
#define MSR_CSTAR       0xc0000083
#define MSR_FMASK       0xc0000084
#define MSR_FS          0xc0000100
#define MSR_GS          0xc0000101
#define MSR_KGS         0xc0000102
#define MSR_EFER        0xc0000080
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_SP 0x175
#define MSR_SYSENTER_IP 0x176

/* ---- real mode ----------------------------------------------------------------------------- */

enum {
    REAL_BASIC,
    REAL_INT,
    REAL_FAULTS,
    REAL_IRQ,
    REAL_UNREAL,
    REAL_STEP,
    REAL_INT3,
    REAL_PORTS,
    REAL_INVALID
};

#define REAL 0x9000ul

extern const char real_start[], real_end[], real_results[];
void real_mode(unsigned test);

static const volatile uint32_t *run_real(unsigned test)
{
    copy((void *)REAL, real_start, (size_t)(real_end - real_start));
    real_mode(test);
    return (const volatile uint32_t *)(REAL + (uint64_t)(real_results - real_start));
}

static void real_basic(void)
{
    const volatile uint32_t *r = run_real(REAL_BASIC);

    expect("segments", r[0], 0x89abcdef);
    expect("address line 20", r[1], read32(0x100000));
    expect("stack pointer", r[2], 6);
    expect("pop", r[3], 0x22223333);
    expect("far call", r[4], 0x77);
    expect("rep movsl", r[5], 1);
    expect("IF", r[6], 0);
    expect("PE", r[7], 0);
    r = run_real(REAL_PORTS);
    expect("in and out", r[0], 0x6b);
    expect("in, 32 bits", r[1], 0x554d4551);
    expect("rep insl", r[2], 0x554d4551);
    expect("DI", r[3], 0xc000 - REAL + 400);
}

static void real_int(void)
{
    const volatile uint32_t *r = run_real(REAL_INT);

    expect("frame", r[0], 6);
    expect("IF in the handler", r[1], 0);
    expect("flags on the stack", r[2], 0x201);
    expect("CF after IRET", r[3], 1);
}

static void real_faults(void)
{
    static const char *const names[] = {"divide", "limit", "stack"};
    const volatile uint32_t *r = run_real(REAL_FAULTS);

    for (unsigned i = 0; i < 3; i++) {
        expect(names[i], r[i], 1);
    }
    expect("not taken", r[5], 0);
}

static void real_invalid(void)
{
    const volatile uint32_t *r = run_real(REAL_INVALID);

    expect("invalid", r[0], 1);
    expect("not taken", r[5], 0);
}

static void real_irq(void)
{
    apic_enable();
    expect("interrupts", run_real(REAL_IRQ)[0], 100);
}

static void real_unreal(void)
{
    write32(0x600000, 0);
    expect("through FS", run_real(REAL_UNREAL)[0], 0x13579bdf);
    expect("in memory", read32(0x600000), 0x13579bdf);
}

static void real_step(void)
{
    expect("steps", run_real(REAL_STEP)[0], 8);
}

static void real_int3(void)
{
    const volatile uint32_t *r = run_real(REAL_INT3);

    expect("INT3", r[0], 1);
    expect("INTO", r[1], 1);
}

static void real_often(void)
{
    uint32_t good = 0;

    for (uint32_t n = 0; n < count / 50; n++) {
        good += run_real(REAL_UNREAL)[0] == 0x13579bdf;
    }
    expect("there and back", good, count / 50);
}

/* ---- compatibility mode -------------------------------------------------------------------- */

PIECE(inc_32, ".code32; xor %eax, %eax; .byte 0x40, 0x40, 0x40; .code64");
PIECE(push_32, ".code32; mov %esp, %eax; push $5; sub %esp, %eax; pop %ecx; .code64");
PIECE(pusha_32,
      ".code32; mov $7, %ebx; pusha; mov 16(%esp), %ecx; mov %ecx, 28(%esp); xor %ebx, %ebx; "
      "popa; .code64");
PIECE(wrap_32, ".code32; mov $0xfffffff0, %ebx; mov 0x40(%ebx), %eax; .code64");
PIECE(salc_32, ".code32; mov $0x59, %al; aam; mov %eax, %ecx; aad; daa; .code64");
PIECE(les_32,
      ".code32; push %ds; push $0x1234; les (%esp), %eax; mov %es, %ecx; pop %edx; pop %edx; "
      ".code64");
PIECE(bound_32,
      ".code32; push $9; push $3; mov %edi, %eax; bound %eax, (%esp); pop %ecx; pop %ecx; "
      ".code64");
PIECE(into_32, ".code32; mov $0x7f, %al; add $1, %al; into; .code64");
PIECE(arpl_32, ".code32; mov $0x20, %eax; mov $3, %ecx; arpl %cx, %ax; .code64");
PIECE(far_64,
      ".code32; ljmp $" STRING(
          SEL_CODE64_USER) ", $1f\n .code64\n 1: mov $0x123456789, %rax; "
                           "lea -16(%rsp), %rsp; lea 2f(%rip), %rcx; mov %ecx, (%rsp); "
                           "movl $" STRING(SEL_CODE32_USER) ", 4(%rsp); "
                                                            "ljmp *(%rsp)\n 2: .code32; .byte "
                                                            "0x40; add $16, %esp; .code64");
PIECE(far_64_kernel,
      ".code32; ljmp $" STRING(
          SEL_CODE64) ", $1f\n .code64\n 1: mov $0x123456789, %rax; "
                      "lea -16(%rsp), %rsp; lea 2f(%rip), %rcx; mov %ecx, (%rsp); "
                      "movl $" STRING(SEL_CODE32) ", 4(%rsp); ljmp *(%rsp)\n 2: .code32; .byte "
                                                  "0x40; add $16, %esp; "
                                                  ".code64");
PIECE(ret_64, ".code32; push $" STRING(
                  SEL_CODE64_USER) "; push $1f; lret\n .code64\n 1: mov $0x123456789, %rax; "
                                   "mov %rsp, %rcx");
PIECE(syscall_32, ".code32; syscall; .code64");
PIECE(sysenter_32, ".code32; sysenter; .code64");

static void compatibility(void)
{
    for (unsigned ring = 0; ring < 4; ring += 3) {
        say("ring %d\n", ring);
        RUN(inc_32, 0, ring | HOW_32);
        EXPECT_DONE("40 is INC", inc_32);
        expect("three times", trap.rax, 3);
        RUN(push_32, 0, ring | HOW_32);
        EXPECT_DONE("push", push_32);
        expect("of four bytes", trap.rax, 4);
        RUN(pusha_32, 0, ring | HOW_32);
        EXPECT_DONE("pusha", pusha_32);
        check("EBX pushed, popped", trap.rax == 7 && trap.rbx == 7);
        RUN(wrap_32, 0, ring | HOW_32);
        EXPECT_DONE("addresses wrap", wrap_32);
        expect("to", trap.rax, read32(0x30));
        RUN(les_32, 0, ring | HOW_32);
        EXPECT_DONE("les", les_32);
        expect("ES", trap.rcx, ring ? SEL_DATA_USER : SEL_DATA);
    }
    RUN(arpl_32, 0, RING3 | HOW_32);
    EXPECT_DONE("arpl", arpl_32);
    expect("adjusted", trap.rax & 0xffff, 0x23);
    RUN(salc_32, 0, RING3 | HOW_32);
    EXPECT_DONE("decimal", salc_32);
    expect("aam", trap.rcx & 0xffff, 0x0809);
    RUN(bound_32, 5, RING3 | HOW_32);
    EXPECT_DONE("bound", bound_32);
    RUN(bound_32, 50, RING3 | HOW_32);
    EXPECT_TRAP("out of bounds", bound_32, 5, 0);
    RUN(into_32, 50, RING3 | HOW_32);
    EXPECT_TRAP("into", into_32, 4, 0);
    RUN(far_64, 0, RING3 | HOW_32);
    EXPECT_DONE("to 64 bits and back", far_64);
    expect("with", trap.rax, 0x2345678a);
    expect("CS", trap.cs, SEL_CODE32_USER);
    RUN(far_64_kernel, 0, RING0 | HOW_32);
    EXPECT_DONE("in ring 0", far_64_kernel);
    expect("CS", trap.cs, SEL_CODE32);
    RUN(ret_64, 0, RING3 | HOW_32);
    EXPECT_DONE("far return to 64 bits", ret_64);
    expect("CS", trap.cs, SEL_CODE64_USER);
    expect("with", trap.rax, 0x123456789);
}

/* Instructions of 32 bits that an emulator of ring 0 may not know. */
static void compatibility_arpl(void)
{
    RUN(arpl_32, 0, RING0 | HOW_32);
    EXPECT_DONE("arpl", arpl_32);
    expect("adjusted", trap.rax & 0xffff, 0x23);
}

/* 16 bits, copied to low memory; and the same code with 64 KiB pages of stack. */
PIECE(code_16, ".code16; mov $0x1111, %ax; push %ax; pop %bx; mov $0xffff, %cx; inc %cx; setz %dl; "
               ".code64");

static void sixteen(void)
{
    copy((void *)0x8800, code_16, 64);
    run_at((void *)0x8800, 0, RING0 | HOW_16);
    expect("vector", trap.vector, 6);
    expect("at", trap.rip, 0x8800 + (uint64_t)(code_16_end - code_16));
    expect("CS", trap.cs, SEL_CODE16);
    expect("pushed and popped", trap.rbx & 0xffff, 0x1111);
    expect("wrapped", trap.rdx & 0xff, 1);
}

/* ---- system calls -------------------------------------------------------------------------- */

extern const char on_syscall[], on_syscall32[];
extern volatile uint32_t syscalls;
extern volatile uint64_t syscall_flags, syscall_r11, syscall_rcx;

PIECE(one_syscall, "stc; syscall; nop");
PIECE(many_syscalls, "xor %eax, %eax\n"
                     "1: syscall\n"
                     "inc %eax; cmp %edi, %eax; jne 1b");
PIECE(syscall_to_32, "syscall\n .code32; xor %eax, %eax; .byte 0x40; .code64");
PIECE(just_sysenter, "sysenter");
PIECE(sysret_from, "sysretq");

static void system_calls(void)
{
    wrmsr(MSR_STAR, (uint64_t)SEL_CODE32_USER << 48 | (uint64_t)SEL_CODE64 << 32);
    wrmsr(MSR_LSTAR, (uint64_t)on_syscall);
    wrmsr(MSR_CSTAR, (uint64_t)on_syscall);
    wrmsr(MSR_FMASK, 0x301);
    expect("STAR", rdmsr(MSR_STAR), (uint64_t)SEL_CODE32_USER << 48 | (uint64_t)SEL_CODE64 << 32);
    expect("LSTAR", rdmsr(MSR_LSTAR), (uint64_t)on_syscall);
    expect("FMASK", rdmsr(MSR_FMASK), 0x301);
    RUN(one_syscall, 0, RING3 | HOW_IF);
    EXPECT_DONE("one", one_syscall);
    expect("calls", syscalls, 1);
    expect("RCX", syscall_rcx - (uint64_t)one_syscall, 3);
    expect("R11", syscall_r11 & 0xfd5, 0x201);
    expect("flags in it", syscall_flags & 0xf01, 0);
    expect("flags after it", trap.rflags & 0x201, 0x201);
    expect("CS", trap.cs, SEL_CODE64_USER);
    expect("SS", trap.ss, SEL_DATA_USER);
    syscalls = 0;
    RUN(many_syscalls, count, RING3);
    EXPECT_DONE("many", many_syscalls);
    expect("calls", syscalls, count);
    RUN(sysret_from, 0, RING3);
    EXPECT_TRAP("sysret in ring 3", sysret_from, 13, 0);
}

static void syscall_modes(void)
{
    wrmsr(MSR_LSTAR, (uint64_t)on_syscall32);
    RUN(syscall_to_32, 0, RING3);
    EXPECT_DONE("back to 32 bits", syscall_to_32);
    expect("CS", trap.cs, SEL_CODE32_USER);
    wrmsr(MSR_LSTAR, (uint64_t)on_syscall);
    wrmsr(MSR_CSTAR, (uint64_t)on_syscall32);
    RUN(syscall_32, 0, RING3 | HOW_32);
    SAY_TRAP("from 32 bits", syscall_32); /* not on Intel's */
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~1ull);
    RUN(one_syscall, 0, RING3);
    EXPECT_TRAP("switched off", one_syscall, 6, 0);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
}

static void sysenter(void)
{
    wrmsr(MSR_SYSENTER_CS, 0);
    RUN(just_sysenter, 0, RING3);
    SAY_TRAP("CS is null", just_sysenter);
    wrmsr(MSR_SYSENTER_CS, SEL_CODE64);
    wrmsr(MSR_SYSENTER_SP, (uint64_t)trap_stack_end);
    wrmsr(MSR_SYSENTER_IP, (uint64_t)just_sysenter_end);
    expect("MSRs", rdmsr(MSR_SYSENTER_IP), (uint64_t)just_sysenter_end);
    RUN(just_sysenter, 0, RING3);
    SAY_TRAP("64 bits", just_sysenter);
    RUN(sysenter_32, 0, RING3 | HOW_32);
    SAY_TRAP("32 bits", sysenter_32);
}

/* ---- control registers and privileged instructions --------------------------------------------
 */

PIECE(set_cr0, "mov %rdi, %cr0");
PIECE(set_cr3, "mov %rdi, %cr3");
PIECE(set_cr4, "mov %rdi, %cr4");
PIECE(set_cr8, "mov %rdi, %cr8");
PIECE(set_efer, "mov $0xc0000080, %ecx; mov %rdi, %rax; mov %rdi, %rdx; shr $32, %rdx; wrmsr");
PIECE(set_lstar, "mov $0xc0000082, %ecx; mov %rdi, %rax; mov %rdi, %rdx; shr $32, %rdx; wrmsr");

static void control(void)
{
    uint64_t cr0 = read_cr0(), cr4 = read_cr4(), efer = rdmsr(MSR_EFER);

#define CONTROL(what, piece, value)      \
    do {                                 \
        RUN(piece, value, RING0);        \
        EXPECT_TRAP(what, piece, 13, 0); \
    } while (0)
    CONTROL("CR0: PG without PE", set_cr0, cr0 & ~1ull);
    CONTROL("CR0: NW without CD", set_cr0, cr0 | 1 << 29);
    CONTROL("CR0: bit 32", set_cr0, cr0 | 1ull << 32);
    CONTROL("CR4: no PAE in long mode", set_cr4, cr4 & ~0x20ull);
    CONTROL("CR4: bit 31", set_cr4, cr4 | 1u << 31);
    CONTROL("CR4: bit 32", set_cr4, cr4 | 1ull << 32);
    CONTROL("CR8: 16", set_cr8, 16);
    CONTROL("CR3: bit 63", set_cr3, read_cr3() | 1ull << 63);
    CONTROL("EFER: LME while paging", set_efer, efer & ~0x100ull);
    CONTROL("EFER: reserved", set_efer, efer | 1 << 20);
    CONTROL("LSTAR: not canonical", set_lstar, 0x0000900000000000);
    expect("CR0 as before", read_cr0(), cr0);
    expect("CR4 as before", read_cr4(), cr4);
    expect("EFER as before", rdmsr(MSR_EFER), efer);
    write_cr0(cr0 | 1 << 30 | 8);
    expect("CR0: CD and TS", read_cr0(), cr0 | 1 << 30 | 8);
    __asm__ volatile("clts");
    write_cr0(cr0);
    expect("CR0", read_cr0(), cr0);
    write_cr4(cr4 | 0x80 | 4);
    expect("CR4: PGE, TSD", read_cr4(), cr4 | 0x84);
    write_cr4(cr4);
}

PIECE(p_hlt, "hlt");
PIECE(p_cli, "cli");
PIECE(p_sti, "sti");
PIECE(p_lgdt, "lgdt gdt_pointer");
PIECE(p_lidt, "lidt idt_pointer");
PIECE(p_ltr, "mov $0x58, %eax; ltr %ax");
PIECE(p_lldt, "xor %eax, %eax; lldt %ax");
PIECE(p_lmsw, "mov $0x33, %eax; lmsw %ax");
PIECE(p_clts, "clts");
PIECE(p_cr0, "mov %cr0, %rax");
PIECE(p_cr3, "mov %rax, %cr3");
PIECE(p_cr8, "mov %cr8, %rax");
PIECE(p_dr7, "mov %dr7, %rax");
PIECE(p_rdmsr, "mov $0x10, %ecx; rdmsr");
PIECE(p_wrmsr, "mov $0x10, %ecx; wrmsr");
PIECE(p_invd, "invd");
PIECE(p_wbinvd, "wbinvd");
PIECE(p_invlpg, "invlpg 0x100000");
PIECE(p_swapgs, "swapgs");
PIECE(p_iret,
      "mov $" STRING(SEL_DATA) ", %eax; push %rax; push %rsp; pushfq; "
                               "mov $" STRING(
                                   SEL_CODE64) ", %eax; push %rax; "
                                               "lea 1f(%rip), %rax; push %rax; iretq\n 1: nop");

static void privileged(void)
{
#define RING3_GP(name)                       \
    do {                                     \
        RUN(p_##name, 0, RING3);             \
        EXPECT_TRAP(#name, p_##name, 13, 0); \
    } while (0)
    RING3_GP(hlt);
    RING3_GP(cli);
    RING3_GP(sti);
    RING3_GP(lgdt);
    RING3_GP(lidt);
    RING3_GP(ltr);
    RING3_GP(lldt);
    RING3_GP(lmsw);
    RING3_GP(clts);
    RING3_GP(cr0);
    RING3_GP(cr3);
    RING3_GP(cr8);
    RING3_GP(dr7);
    RING3_GP(rdmsr);
    RING3_GP(wrmsr);
    RING3_GP(invd);
    RING3_GP(wbinvd);
    RING3_GP(invlpg);
    RING3_GP(swapgs);
    RUN(p_iret, 0, RING3);
    EXPECT_TRAP("iret to ring 0", p_iret, 13, SEL_CODE64);
    RUN(p_cli, 0, RING3 | HOW_IOPL);
    EXPECT_DONE("cli with IOPL 3", p_cli);
}

/* ---- bases ----------------------------------------------------------------------------------- */

PIECE(fs_load, "mov %fs:(%rdi), %rax; mov %gs:8(%rdi), %rcx");
PIECE(fs_clear, "mov $" STRING(SEL_DATA_USER) ", %eax; mov %eax, %fs; mov %fs:(%rdi), %rax");

static void bases(void)
{
    uint64_t *page = pages(1);
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) table;
    uint16_t selector;

    page[0] = 0x1111;
    page[1] = 0x2222;
    wrmsr(MSR_FS, (uint64_t)page - 0x1000);
    wrmsr(MSR_GS, (uint64_t)page - 0x1000);
    RUN(fs_load, 0x1000, RING3);
    EXPECT_DONE("FS and GS in ring 3", fs_load);
    check("their memory", trap.rax == 0x1111 && trap.rcx == 0x2222);
    RUN(fs_load, 0x1000, RING0);
    EXPECT_DONE("in ring 0", fs_load);
    check("their memory", trap.rax == 0x1111 && trap.rcx == 0x2222);
    expect("base stays", rdmsr(MSR_FS), (uint64_t)page - 0x1000);
    RUN(fs_clear, (uint64_t)page, RING3);
    EXPECT_DONE("a selector clears it", fs_clear);
    expect("memory", trap.rax, 0x1111);
    expect("base", rdmsr(MSR_FS), 0);
    wrmsr(MSR_KGS, 0x12345000);
    wrmsr(MSR_GS, 0x6789000);
    __asm__ volatile("swapgs");
    check("swapgs", rdmsr(MSR_GS) == 0x12345000 && rdmsr(MSR_KGS) == 0x6789000);
    __asm__ volatile("sgdt %0" : "=m"(table));
    check("GDTR", table.limit == gdt_pointer.limit && table.base == gdt_pointer.base);
    __asm__ volatile("sidt %0" : "=m"(table));
    check("IDTR", table.limit == idt_pointer.limit && table.base == idt_pointer.base);
    __asm__ volatile("str %0" : "=r"(selector));
    expect("TR", selector, SEL_TSS);
    __asm__ volatile("mov %%fs, %0" : "=r"(selector));
    expect("FS", selector, SEL_DATA_USER);
}

const struct part parts[] = {
    {"real", real_basic},
    {"real-int", real_int},
    {"real-faults", real_faults},
    {"real-invalid", real_invalid},
    {"real-irq", real_irq},
    {"real-unreal", real_unreal},
    {"real-step", real_step},
    {"real-int3", real_int3},
    {"real-often", real_often},
    {"compatibility", compatibility},
    {"compatibility-arpl", compatibility_arpl},
    {"sixteen", sixteen},
    {"system-calls", system_calls},
    {"syscall-modes", syscall_modes},
    {"sysenter", sysenter},
    {"control", control},
    {"privileged", privileged},
    {"bases", bases},
    {NULL, NULL},
};
