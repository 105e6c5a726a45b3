/*
 * The vCPU as a processor of a machine: wiring, power-up, INIT, SIPI, and where machines start it.
 */
#include "target/x86/arch.h"
#include "target/x86/cpu.h"
#include "target/x86/mmu.h"

#include <string.h>

/* ---- states after power-up and INIT (SDM volume 3, 10.1.1, table 10-1) -------------------------
 */

static void set_word(struct x86_cpu *cpu, unsigned at, uint64_t value, size_t size)
{
    memcpy(cpu->xsave + at, &value, size);
}

static void reset_segments(struct x86_cpu *cpu)
{
    const uint16_t data = X86_TYPE_ACCESSED | X86_TYPE_WRITABLE | X86_SEGMENT_S | X86_SEGMENT_P;

    for (unsigned n = X86_ES; n <= X86_GS; n++) {
        cpu->segment[n] = (struct x86_segment){.limit = 0xffff, .attributes = data};
    }
    cpu->segment[X86_CS].attributes |= X86_TYPE_CODE;
    cpu->segment[X86_CS].selector = 0xf000;
    cpu->segment[X86_CS].base = 0xffff0000;
    cpu->segment[X86_LDTR] =
        (struct x86_segment){.limit = 0xffff, .attributes = X86_TYPE_LDT | X86_SEGMENT_P};
    cpu->segment[X86_TR] =
        (struct x86_segment){.limit = 0xffff, .attributes = X86_TYPE_TSS_BUSY | X86_SEGMENT_P};
    cpu->gdt = cpu->idt = (struct x86_table){.limit = 0xffff};
}

/* What power-up and INIT have in common. */
static void reset_common(struct x86_cpu *cpu)
{
    memset(cpu->gpr, 0, sizeof(cpu->gpr));
    cpu->gpr[X86_RDX] = x86_model_signature(&cpu->model);
    cpu->rip = 0xfff0;
    cpu->rflags = X86_FLAG_ONE;
    reset_segments(cpu);
    cpu->cr2 = cpu->cr3 = cpu->cr4 = cpu->cr8 = 0;
    cpu->efer = 0;
    memset(cpu->pdptr, 0, sizeof(cpu->pdptr));
    cpu->has_pdptrs = false;
    memset(cpu->dr, 0, sizeof(cpu->dr));
    cpu->dr[6] = X86_DR6_FIXED;
    cpu->dr[7] = X86_DR7_FIXED;
    memset(&cpu->events, 0, sizeof(cpu->events));
    cpu->activity = cpu->bootstrap ? X86_RUNNABLE : X86_WAIT_FOR_SIPI;
}

static void reset_xsave(struct x86_cpu *cpu)
{
    memset(cpu->xsave, 0, sizeof(cpu->xsave));
    set_word(cpu, X86_XSAVE_FCW, 0x40, 2);
    set_word(cpu, X86_XSAVE_FTW, 0xff, 1); /* tags 5555: eight zeros */
    set_word(cpu, X86_XSAVE_MXCSR, X86_MXCSR_RESET, 4);
    set_word(cpu, X86_XSAVE_XSTATE_BV, X86_XCR0_X87 | X86_XCR0_SSE, 8);
    cpu->xcr0 = X86_XCR0_X87;
}

static void reset_msrs(struct x86_cpu *cpu)
{
    static const uint64_t values[X86_MSR_COUNT] = {
#define X86_MSR(id, number, name, reset, feature) [X86_MSR_##id] = reset,
#include "target/x86/msrs.def"
#undef X86_MSR
    };

    memcpy(cpu->msr, values, sizeof(values));
    for (unsigned n = 0; n < X86_MSR_COUNT; n++) {
        cpu->msr[n] |= x86_model_capabilities(&cpu->model, x86_msr_number((enum x86_msr)n));
    }
}

/* Offsets of registers in the page of the local APIC (SDM volume 3, table 11-1). */
enum {
    APIC_ID = 0x20,
    APIC_VERSION = 0x30,
    APIC_DFR = 0xe0,
    APIC_SVR = 0xf0,
    APIC_LVT_CMCI = 0x2f0,
    APIC_LVT_TIMER = 0x320,
    APIC_LVT_ERROR = 0x370,
};

static void set_apic(struct x86_cpu *cpu, unsigned at, uint32_t value)
{
    memcpy(cpu->apic_page + at, &value, 4);
}

/* "Local APIC State After Power-Up or Reset" (11.4.7.1). The interrupts of an 8259 are masked too:
 * firmware opens LINT0, or the operating system does. */
static void reset_apic(struct x86_cpu *cpu)
{
    const uint32_t masked = 1u << 16;

    memset(cpu->apic_page, 0, sizeof(cpu->apic_page));
    set_apic(cpu, APIC_ID, cpu->model.apic_id << 24);
    set_apic(cpu, APIC_VERSION, 0x14 | 5u << 16);
    set_apic(cpu, APIC_DFR, UINT32_MAX);
    set_apic(cpu, APIC_SVR, 0xff);
    set_apic(cpu, APIC_LVT_CMCI, masked);
    for (unsigned at = APIC_LVT_TIMER; at <= APIC_LVT_ERROR; at += 16) {
        set_apic(cpu, at, masked);
    }
    cpu->apic_base =
        X86_APIC_BASE_ADDRESS | X86_APIC_BASE_ENABLE | (cpu->bootstrap ? X86_APIC_BASE_BSP : 0);
}

void x86_power_up(struct x86_cpu *cpu)
{
    reset_common(cpu);
    cpu->cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
    reset_xsave(cpu);
    reset_msrs(cpu);
    reset_apic(cpu);
    atomic_store(&cpu->sipi_vector, 0);
}

/* INIT leaves the extended state, most model-specific registers and CR0's CD and NW alone. */
void x86_init(struct x86_cpu *cpu)
{
    uint64_t cache = cpu->cr0 & (X86_CR0_CD | X86_CR0_NW);

    reset_common(cpu);
    cpu->cr0 = cache | X86_CR0_ET;
    cpu->msr[X86_MSR_misc_enable] |= 1;
    cpu->msr[X86_MSR_bndcfgs] = 0;
    cpu->msr[X86_MSR_xfd] = cpu->msr[X86_MSR_xfd_err] = 0;
}

void x86_sipi(struct x86_cpu *cpu, uint8_t vector)
{
    cpu->segment[X86_CS].selector = (uint16_t)(vector << 8);
    cpu->segment[X86_CS].base = (uint64_t)vector << 12;
    cpu->rip = 0;
    cpu->activity = X86_RUNNABLE;
}

/* ---- where machines start ---------------------------------------------------------------------
 */

void x86_start_real(struct x86_cpu *cpu, uint16_t cs, uint16_t ip)
{
    cpu->segment[X86_CS].selector = cs;
    cpu->segment[X86_CS].base = (uint64_t)cs << 4;
    cpu->rip = ip;
    cpu->activity = X86_RUNNABLE;
}

void x86_start_flat32(struct x86_cpu *cpu, uint32_t eip, uint32_t ebx, uint32_t esi)
{
    const uint16_t flat = X86_TYPE_ACCESSED | X86_TYPE_WRITABLE | X86_SEGMENT_S | X86_SEGMENT_P |
                          X86_SEGMENT_DB | X86_SEGMENT_G;

    for (unsigned n = X86_ES; n <= X86_GS; n++) {
        cpu->segment[n] = (struct x86_segment){
            .limit = UINT32_MAX, .selector = n == X86_CS ? 0x08 : 0x10, .attributes = flat};
    }
    cpu->segment[X86_CS].attributes |= X86_TYPE_CODE;
    /* "TR: must be a 32-bit TSS (active) with a base of 0 and a limit of 0x67" (PVH) */
    cpu->segment[X86_TR].limit = 0x67;
    cpu->cr0 = X86_CR0_PE | X86_CR0_ET;
    cpu->cr4 = 0;
    cpu->efer = 0;
    cpu->rflags = X86_FLAG_ONE;
    cpu->gpr[X86_RBX] = ebx;
    cpu->gpr[X86_RSI] = esi;
    cpu->rip = eip;
    cpu->activity = X86_RUNNABLE;
}

/* ---- the table --------------------------------------------------------------------------------
 */

uint64_t x86_take_edges(struct x86_cpu *cpu)
{
    const uint64_t edges = (UINT64_C(1) << X86_LINE_NMI) | (UINT64_C(1) << X86_LINE_SMI) |
                           (UINT64_C(1) << X86_LINE_INIT) | (UINT64_C(1) << X86_LINE_SIPI);
    uint64_t up = cpu_irq_levels(&cpu->wiring.lines) & edges;

    return up ? atomic_fetch_and(&cpu->wiring.lines.level, ~up) & up : 0;
}

/*
 * What wakes a processor depends on why it stands: HLT ends with anything that is not held back;
 * one that waits for SIPI takes INIT and SIPI only. The accelerator keeps IF and activity up to
 * date when the vCPU does not run.
 */
static bool has_work(struct cpu *cpu)
{
    struct x86_cpu *x86 = x86_cpu(cpu);
    uint64_t up = cpu_irq_levels(&x86->wiring.lines);

    switch (x86->activity) {
    case X86_WAIT_FOR_SIPI:
    case X86_INIT_RECEIVED:
        return up & ((UINT64_C(1) << X86_LINE_INIT) | (UINT64_C(1) << X86_LINE_SIPI));
    case X86_HALTED:
        return up & ~(UINT64_C(1) << X86_LINE_SIPI) &
               ~(x86->rflags & X86_FLAG_IF ? 0 : UINT64_C(1) << X86_LINE_INTR);
    default:
        return true;
    }
}

/* Timers of local APICs are devices, or the accelerator's. */
static int64_t deadline(struct cpu *cpu)
{
    return CPU_CLOCK_NEVER;
}

static int attach(struct cpu *cpu, const struct cpu_system *system, char *error, size_t error_size)
{
    struct x86_cpu *x86 = x86_cpu(cpu);

    x86->wiring = *system;
    x86->wiring.lines.cpu = cpu;
    x86->wiring.lines.wake = system->service->wake;
    x86->model.apic_id = system->hart;
    x86->bootstrap = cpu->index == 0; /* machines may choose another */
    x86_power_up(x86);
    return 0;
}

/* There is one reset vector; a machine that starts elsewhere says so afterwards. */
static void reset(struct cpu *cpu, uint64_t pc)
{
    struct x86_cpu *x86 = x86_cpu(cpu);

    x86_power_up(x86);
    x86_take_edges(x86); /* levels are those of the wires, whose devices are reset too */
    if (x86->wiring.service->registers_changed) {
        x86->wiring.service->registers_changed(cpu);
    }
}

static struct cpu_system *wiring(struct cpu *cpu)
{
    return &x86_cpu(cpu)->wiring;
}

const struct cpu_system_ops x86_system_ops = {
    .debug_address = x86_debug_address,
    .has_work = has_work,
    .deadline = deadline,
    .attach = attach,
    .reset = reset,
    .system = wiring,
};
