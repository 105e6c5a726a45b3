/*
 * States after power-up, INIT and SIPI against the manual's table, where machines start vCPUs,
 * lines, and the tables that debuggers read.
 */
#include "tests/unit/x86-bench.h"

static uint64_t field(unsigned at, size_t size)
{
    uint64_t value = 0;

    memcpy(&value, cpu->xsave + at, size);
    return value;
}

static uint32_t apic(unsigned at)
{
    uint32_t value;

    memcpy(&value, cpu->apic_page + at, 4);
    return value;
}

/* SDM volume 3, table 10-1, in its order. */
static void power_up(void)
{
    bool zero = true;

    bench_create("qemu64,family=6,model=0x3c,stepping=4", 0);
    tap_eq(cpu->rflags, 2, "EFLAGS");
    tap_eq(cpu->rip, 0xfff0, "EIP");
    tap_eq(cpu->cr0, 0x60000010, "CR0");
    tap_eq(cpu->cr2 | cpu->cr3 | cpu->cr4, 0, "CR2, CR3, CR4");
    tap_eq(cpu->segment[X86_CS].selector, 0xf000, "CS");
    tap_eq(cpu->segment[X86_CS].base, 0xffff0000, "its base");
    for (unsigned n = X86_ES; n <= X86_GS; n++) {
        const struct x86_segment *s = &cpu->segment[n];
        zero &= s->limit == 0xffff && s->attributes == (n == X86_CS ? 0x9b : 0x93) &&
                (n == X86_CS || (s->base == 0 && s->selector == 0));
    }
    tap_ok(zero, "limits and rights of segments");
    tap_eq(cpu->gpr[X86_RDX], 0x306c4, "EDX is the processor's signature");
    for (unsigned n = 0; n < X86_GPRS; n++) {
        zero &= n == X86_RDX || cpu->gpr[n] == 0;
    }
    tap_ok(zero, "other registers are 0");
    tap_eq(field(X86_XSAVE_FCW, 2), 0x40, "FPU control word");
    tap_eq(field(X86_XSAVE_FTW, 1), 0xff, "no register is empty");
    tap_eq(field(X86_XSAVE_MXCSR, 4), 0x1f80, "MXCSR");
    tap_ok(cpu->gdt.base == 0 && cpu->gdt.limit == 0xffff && cpu->idt.limit == 0xffff,
           "GDTR, IDTR");
    tap_ok(cpu->segment[X86_LDTR].limit == 0xffff && cpu->segment[X86_TR].limit == 0xffff,
           "LDTR, task register");
    tap_eq(cpu->dr[6], 0xffff0ff0, "DR6");
    tap_eq(cpu->dr[7], 0x400, "DR7");
    tap_eq(cpu->xcr0, 1, "XCR0");
    tap_eq(cpu->msr[X86_MSR_tsc], 0, "time stamp counter");
    tap_eq(cpu->msr[X86_MSR_pat], 0x0007040600070406, "IA32_PAT");
    tap_eq(cpu->apic_base, 0xfee00900, "IA32_APIC_BASE");
    tap_eq(apic(0xf0), 0xff, "spurious vector of the local APIC");
    tap_eq(apic(0x320), 0x10000, "its timer is masked");
    tap_eq(cpu->activity, X86_RUNNABLE, "the bootstrap processor runs");
    bench_create("qemu64", 3);
    tap_eq(cpu->activity, X86_WAIT_FOR_SIPI, "others wait");
    tap_eq(cpu->apic_base, 0xfee00800, "and are none");
    tap_eq(apic(0x20), 3u << 24, "with ids of their own");
}

static void capabilities(void)
{
    bench_create("Cascadelake-Server-v2", 0);
    tap_eq(cpu->msr[X86_MSR_arch_capabilities], 0x2b, "a model's capabilities are in the register");
    bench_create("Haswell", 0);
    tap_eq(cpu->msr[X86_MSR_arch_capabilities], 0, "of one without, nothing");
}

static void init_and_sipi(void)
{
    bench_create("max", 1);
    memset(cpu->gpr, 0x55, sizeof(cpu->gpr));
    cpu->cr0 = X86_CR0_PG | X86_CR0_PE | X86_CR0_ET;
    cpu->cr4 = X86_CR4_PAE;
    cpu->efer = X86_EFER_LME | X86_EFER_LMA;
    cpu->xsave[X86_XSAVE_XMM] = 7;
    cpu->xcr0 = 7;
    cpu->msr[X86_MSR_star] = 0x1234;
    cpu->msr[X86_MSR_tsc] = 99;
    cpu->events.nmi_masked = true;
    cpu->activity = X86_RUNNABLE;
    x86_init(cpu);
    tap_eq(cpu->cr0, 0x10, "INIT leaves CD and NW");
    tap_ok(cpu->gpr[X86_RBX] == 0 && cpu->cr4 == 0 && cpu->efer == 0 && cpu->rip == 0xfff0,
           "clears registers");
    tap_ok(cpu->xsave[X86_XSAVE_XMM] == 7 && cpu->xcr0 == 7 && cpu->msr[X86_MSR_star] == 0x1234 &&
               cpu->msr[X86_MSR_tsc] == 99,
           "and leaves extended state, model-specific registers and time");
    tap_ok(!cpu->events.nmi_masked, "nothing is pending or masked");
    tap_eq(cpu->activity, X86_WAIT_FOR_SIPI, "the processor waits");
    x86_sipi(cpu, 0x9f);
    tap_ok(x86_linear_pc(cpu) == 0x9f000 && cpu->segment[X86_CS].selector == 0x9f00,
           "SIPI starts it at its vector");
    tap_eq(cpu->activity, X86_RUNNABLE, "and it runs");
    bench_create("max", 0);
    x86_init(cpu);
    tap_eq(cpu->activity, X86_RUNNABLE, "INIT of the bootstrap processor starts it again");
}

static void starts(void)
{
    bench_create("max", 0);
    x86_start_real(cpu, 0x7c0, 0x10);
    tap_eq(x86_linear_pc(cpu), 0x7c10, "a start in real mode");
    tap_eq(x86_mode(cpu), X86_MODE_REAL, "is in that mode");
    bench_create("max", 0);
    x86_start_flat32(cpu, 0x1000000, 0x7000, 0x8000);
    tap_eq(x86_mode(cpu), X86_MODE_PROTECTED_32, "a start in protected mode");
    tap_ok(x86_linear_pc(cpu) == 0x1000000 && cpu->gpr[X86_RBX] == 0x7000 &&
               cpu->gpr[X86_RSI] == 0x8000,
           "has pc and arguments");
    tap_ok(cpu->cr0 == 0x11 && !(cpu->rflags & X86_FLAG_IF), "no paging, no interrupts");
    tap_ok(cpu->segment[X86_CS].attributes == 0xc09b && cpu->segment[X86_SS].attributes == 0xc093 &&
               cpu->segment[X86_CS].limit == UINT32_MAX && cpu->segment[X86_CS].selector == 8 &&
               cpu->segment[X86_DS].selector == 16,
           "and flat segments");
}

static bool has_work(void)
{
    return x86_system_ops.has_work(&cpu->common);
}

static void lines(void)
{
    struct cpu_irq_lines *l;

    bench_create("max", 1);
    l = &x86_system_ops.system(&cpu->common)->lines;
    tap_ok(!has_work(), "a processor that waits for SIPI has nothing to do");
    cpu_irq_set(l, X86_LINE_NMI, true);
    cpu_irq_set(l, X86_LINE_INTR, true);
    tap_ok(bench_wakes == 2 && !has_work(), "not even for an NMI");
    cpu_irq_set(l, X86_LINE_SIPI, true);
    tap_ok(has_work(), "but for SIPI");
    tap_eq(x86_take_edges(cpu), 1u << X86_LINE_NMI | 1u << X86_LINE_SIPI, "edges are taken");
    tap_eq(x86_take_edges(cpu), 0, "once");
    tap_eq(cpu_irq_levels(l), 1u << X86_LINE_INTR, "levels stay");
    cpu->activity = X86_HALTED;
    tap_ok(!has_work(), "a halted one with interrupts off stays");
    cpu->rflags |= X86_FLAG_IF;
    tap_ok(has_work(), "with interrupts on it goes on");
    cpu->rflags &= ~(uint64_t)X86_FLAG_IF;
    cpu_irq_set(l, X86_LINE_SMI, true);
    tap_ok(has_work(), "as it does for SMI");
    x86_system_ops.reset(&cpu->common, X86_RESET_VECTOR);
    tap_eq(cpu_irq_levels(l), 1u << X86_LINE_INTR, "reset forgets edges");
    tap_eq(x86_system_ops.deadline(&cpu->common), CPU_CLOCK_NEVER, "there is no timer");
}

/* ---- tables ---------------------------------------------------------------------------------- */

static const struct cpu_register *find(const struct cpu_register *r, const char *name)
{
    while (r->name && strcmp(r->name, name) != 0) {
        r++;
    }
    return r->name ? r : NULL;
}

static void registers(void)
{
    static const char *const order[] = {"rax", "rbx",  "rcx",   "rdx",  "rsi",    "rdi", "rbp",
                                        "rsp", "r8",   "r15",   "rip",  "eflags", "cs",  "ss",
                                        "ds",  "es",   "fs",    "gs",   "st0",    "st7", "fctrl",
                                        "fop", "xmm0", "xmm15", "mxcsr"};
    const struct cpu_register *r = x86_64_target_ops.registers, *s;
    bool inside = true;
    unsigned last = 0, sum = 0;

    for (unsigned n = 0; n < sizeof(order) / sizeof(order[0]); n++) {
        s = find(r, order[n]);
        if (!s || (unsigned)(s - r) < last) {
            tap_ok(false, "%s is at its place", order[n]);
            return;
        }
        last = (unsigned)(s - r);
    }
    tap_ok(r[last + 1].name == NULL, "registers are in the order of gdb");
    tap_eq(last + 1, 16 + 2 + 6 + 8 + 8 + 16 + 1, "and as many");
    for (; r->name; r++) {
        inside &= r->offset + r->size <= x86_64_target_ops.state_size && r->size <= 16;
        sum += r->size;
    }
    for (r = x86_64_target_ops.system_registers; r->name; r++) {
        inside &= r->offset + r->size <= x86_64_target_ops.state_size;
    }
    tap_ok(inside, "they are in the state");
    tap_eq(sum, 17 * 8 + 4 + 6 * 2 + 80 + 19 + 256 + 4, "with their sizes");
    bench_create("max", 0);
    cpu->segment[X86_GS].base = 0x1122334455667788;
    s = find(x86_64_target_ops.system_registers, "gs_base");
    tap_ok(s && !memcmp((char *)cpu + s->offset, &cpu->segment[X86_GS].base, 8), "gs_base");
    s = find(x86_64_target_ops.registers, "rsp");
    tap_ok(s && s->offset == offsetof(struct x86_cpu, gpr) + 8 * X86_RSP, "rsp is register 4");
}

static void msrs(void)
{
    bool same = true, unique = true;

    for (unsigned n = 0; n < X86_MSR_COUNT; n++) {
        unique &= x86_msr_find(x86_msr_number((enum x86_msr)n)) == n;
        for (unsigned m = 0; m < n; m++) {
            same &= strcmp(x86_msr_name((enum x86_msr)n), x86_msr_name((enum x86_msr)m)) != 0;
        }
    }
    tap_ok(unique && same, "%u model-specific registers, each once", X86_MSR_COUNT);
    tap_eq(x86_msr_find(0xdeadbeef), X86_MSR_COUNT, "and no others");
    tap_eq(x86_msr_number(X86_MSR_lstar), 0xc0000082, "IA32_LSTAR");
    tap_str(x86_msr_name(X86_MSR_lstar), "IA32_LSTAR", "has its name");
    bench_create("pentium", 0);
    tap_ok(!x86_msr_present(cpu, X86_MSR_lstar) && x86_msr_present(cpu, X86_MSR_misc_enable),
           "a model has those of its features");
}

static char dumped[8192];

static void collect(void *opaque, const char *text)
{
    strncat(dumped, text, sizeof(dumped) - strlen(dumped) - 2);
    strcat(dumped, "\n");
}

static void dump(void)
{
    static const uint8_t code[] = {0x48, 0x89, 0xc8, 0x90};

    bench_create("max", 0);
    x86_start_flat32(cpu, 0x5000, 0, 0);
    cpu->gpr[X86_RCX] = 0xabcdef;
    cpu->rflags |= X86_FLAG_IF | X86_FLAG_ZF;
    memcpy(bench_at(0x5000), code, sizeof(code));
    x86_dump(cpu, collect, NULL);
    tap_ok(strstr(dumped, "rcx 0000000000abcdef") && strstr(dumped, "[IF ZF]") &&
               strstr(dumped, "protected mode, privilege 0") && strstr(dumped, "cr0 00000011"),
           "a dump has registers, flags and mode");
    tap_ok(strstr(dumped, "> 0000000000005000: 48") &&
               (strstr(dumped, "dec eax") || strstr(dumped, "no disassembly")),
           "and the code, of the mode's width");
    dumped[0] = 0;
    x86_start_flat32(cpu, 0xd0000000, 0, 0);
    x86_dump(cpu, collect, NULL);
    tap_ok(strstr(dumped, "code: cannot be read") && !bench_reads, "or says that there is none");
}

int main(void)
{
    bench_create("max", 0);
    power_up();
    capabilities();
    init_and_sipi();
    starts();
    lines();
    registers();
    msrs();
    dump();
    return tap_done();
}
