/*
 * Registers and code of a vCPU as text. Memory is read where it can be read without effects, so a
 * guest that has lost its page tables shows its registers at least.
 */
#include "target/x86/arch.h"
#include "target/x86/cpu.h"
#include "target/x86/mmu.h"
#include "target/x86/segment.h"

#include <stdio.h>
#include <string.h>

enum { LINE_SIZE = 256, CODE_BYTES = 64, CODE_INSNS = 6 };

typedef void line_fn(void *opaque, const char *text);

static void dump_general(const struct x86_cpu *cpu, line_fn *line, void *opaque)
{
    static const char *const names[X86_GPRS] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                "r12", "r13", "r14", "r15"};
    static const uint8_t order[X86_GPRS] = {X86_RAX, X86_RBX, X86_RCX, X86_RDX, X86_RSI, X86_RDI,
                                            X86_RBP, X86_RSP, 8,       9,       10,      11,
                                            12,      13,      14,      15};
    char text[LINE_SIZE];

    for (unsigned n = 0; n < X86_GPRS; n += 4) {
        size_t used = 0;
        for (unsigned i = n; i < n + 4; i++) {
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%-3s %016llx",
                                     i == n ? "" : "  ", names[order[i]],
                                     (unsigned long long)cpu->gpr[order[i]]);
        }
        line(opaque, text);
    }
}

static void dump_flags(const struct x86_cpu *cpu, line_fn *line, void *opaque)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } flags[] = {
        {X86_FLAG_ID, "ID"}, {X86_FLAG_VIP, "VIP"}, {X86_FLAG_VIF, "VIF"}, {X86_FLAG_AC, "AC"},
        {X86_FLAG_VM, "VM"}, {X86_FLAG_RF, "RF"},   {X86_FLAG_NT, "NT"},   {X86_FLAG_OF, "OF"},
        {X86_FLAG_DF, "DF"}, {X86_FLAG_IF, "IF"},   {X86_FLAG_TF, "TF"},   {X86_FLAG_SF, "SF"},
        {X86_FLAG_ZF, "ZF"}, {X86_FLAG_AF, "AF"},   {X86_FLAG_PF, "PF"},   {X86_FLAG_CF, "CF"},
    };
    static const char *const activities[] = {[X86_RUNNABLE] = "",
                                             [X86_WAIT_FOR_SIPI] = ", waits for SIPI",
                                             [X86_INIT_RECEIVED] = ", waits for SIPI",
                                             [X86_HALTED] = ", halted",
                                             [X86_SIPI_RECEIVED] = ", starts"};
    char text[LINE_SIZE];
    size_t used = (size_t)snprintf(text, sizeof(text), "rip %016llx  rflags %08llx [",
                                   (unsigned long long)cpu->rip, (unsigned long long)cpu->rflags);
    const char *space = "";

    for (unsigned n = 0; n < sizeof(flags) / sizeof(flags[0]); n++) {
        if (cpu->rflags & flags[n].bit) {
            used +=
                (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", space, flags[n].name);
            space = " ";
        }
    }
    snprintf(text + used, sizeof(text) - used, "]  %s, privilege %u%s%s",
             x86_mode_name(x86_mode(cpu)), x86_privilege(cpu), activities[cpu->activity],
             cpu->events.smm ? ", in SMM" : "");
    line(opaque, text);
}

static void dump_system(const struct x86_cpu *cpu, line_fn *line, void *opaque)
{
    static const char *const names[X86_SEGMENTS] = {"es", "cs", "ss",  "ds",
                                                    "fs", "gs", "ldt", "tr"};
    char text[LINE_SIZE];

    for (unsigned n = 0; n < X86_SEGMENTS; n++) {
        const struct x86_segment *s = &cpu->segment[n];

        snprintf(text, sizeof(text), "%-3s %04x  base %016llx  limit %08x  attributes %04x%s%s",
                 names[n], s->selector, (unsigned long long)s->base, s->limit, s->attributes,
                 s->attributes & X86_SEGMENT_P ? "" : " (not usable)",
                 n == X86_CS && s->attributes & X86_SEGMENT_L    ? " 64-bit"
                 : n == X86_CS && s->attributes & X86_SEGMENT_DB ? " 32-bit"
                                                                 : "");
        line(opaque, text);
    }
    snprintf(text, sizeof(text), "gdt base %016llx  limit %04x  idt base %016llx  limit %04x",
             (unsigned long long)cpu->gdt.base, cpu->gdt.limit, (unsigned long long)cpu->idt.base,
             cpu->idt.limit);
    line(opaque, text);
    snprintf(text, sizeof(text), "cr0 %08llx  cr2 %016llx  cr3 %016llx  cr4 %08llx  cr8 %llx",
             (unsigned long long)cpu->cr0, (unsigned long long)cpu->cr2,
             (unsigned long long)cpu->cr3, (unsigned long long)cpu->cr4,
             (unsigned long long)cpu->cr8);
    line(opaque, text);
    snprintf(text, sizeof(text), "efer %08llx  xcr0 %llx  apic base %llx  dr6 %08llx  dr7 %08llx",
             (unsigned long long)cpu->efer, (unsigned long long)cpu->xcr0,
             (unsigned long long)cpu->apic_base, (unsigned long long)cpu->dr[6],
             (unsigned long long)cpu->dr[7]);
    line(opaque, text);
}

static void dump_events(const struct x86_cpu *cpu, line_fn *line, void *opaque)
{
    const struct x86_events *e = &cpu->events;
    char text[LINE_SIZE];

    if (e->exception_injected || e->exception_pending) {
        snprintf(text, sizeof(text), "exception %u, error code %#x, is being delivered",
                 e->exception, e->exception_has_error ? e->exception_error : 0);
        line(opaque, text);
    }
    if (e->interrupt_injected) {
        snprintf(text, sizeof(text), "interrupt %#x is being delivered", e->interrupt);
        line(opaque, text);
    }
    if (e->nmi_injected || e->nmi_pending || e->nmi_masked) {
        snprintf(text, sizeof(text), "NMI%s%s%s", e->nmi_injected ? " is being delivered" : "",
                 e->nmi_pending ? " is pending" : "", e->nmi_masked ? " is masked" : "");
        line(opaque, text);
    }
}

/* Instructions from rip on; the first is marked. */
static void dump_code(const struct x86_cpu *cpu, line_fn *line, void *opaque)
{
    uint8_t bytes[CODE_BYTES];
    char text[LINE_SIZE], insn[160], hex[3 * 15 + 1];
    size_t have = 0, at = 0;

    while (have < sizeof(bytes)) { /* a page at a time: offsets wrap as the mode has it */
        uint64_t linear = x86_linear(cpu, X86_CS, cpu->rip + have);
        size_t left = (size_t)(MEM_PAGE_SIZE - (linear & (MEM_PAGE_SIZE - 1)));
        size_t piece = sizeof(bytes) - have < left ? sizeof(bytes) - have : left;
        size_t got = x86_read_linear_some(cpu, linear, bytes + have, piece);

        have += got;
        if (got < piece) {
            break;
        }
    }
    if (!have) {
        line(opaque, "code: cannot be read");
        return;
    }
    for (unsigned n = 0; n < CODE_INSNS && at < have; n++) {
        size_t length = cpu->common.ops->disassemble(&cpu->common, cpu->rip + at, bytes + at,
                                                     (unsigned)(have - at), insn, sizeof(insn));
        size_t used = 0;

        length = length < have - at ? length : have - at;
        hex[0] = 0;
        for (size_t i = 0; i < length && i < 15; i++) {
            used += (size_t)snprintf(hex + used, sizeof(hex) - used, "%02x ", bytes[at + i]);
        }
        snprintf(text, sizeof(text), "%s %016llx: %-24s %s", n == 0 ? ">" : " ",
                 (unsigned long long)(cpu->rip + at), hex, insn);
        line(opaque, text);
        at += length;
    }
}

void x86_dump(struct x86_cpu *cpu, line_fn *line, void *opaque)
{
    dump_general(cpu, line, opaque);
    dump_flags(cpu, line, opaque);
    dump_system(cpu, line, opaque);
    dump_events(cpu, line, opaque);
    dump_code(cpu, line, opaque);
}
