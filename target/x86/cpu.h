/*
 * x86 vCPU state: what software and debuggers see of a processor, in the order of the manuals
 * (Intel SDM volume 3, chapters 2 and 3), for whatever runs it.
 *
 * An accelerator that has the registers elsewhere brings them here when somebody asks
 * (cpu_service_ops.registers_fetch), and takes them from here when they were changed. So gdb,
 * monitors, snapshots, migration and whoever takes a vCPU over from an accelerator that cannot go
 * on all use this structure and nothing else.
 */
#ifndef TINAMOU_TARGET_X86_CPU_H
#define TINAMOU_TARGET_X86_CPU_H

#include "cpu/cpu.h"
#include "cpu/system.h"
#include "target/x86/model.h"

/* General registers, by their numbers in instructions. */
enum x86_gpr {
    X86_RAX,
    X86_RCX,
    X86_RDX,
    X86_RBX,
    X86_RSP,
    X86_RBP,
    X86_RSI,
    X86_RDI,
    X86_R8, /* and so on to R15 */
    X86_GPRS = 16,
};

/* Segment registers, by their numbers in instructions; then the system's. */
enum x86_segment_number {
    X86_ES,
    X86_CS,
    X86_SS,
    X86_DS,
    X86_FS,
    X86_GS,
    X86_LDTR,
    X86_TR,
    X86_SEGMENTS,
};

/* With its hidden part. */
struct x86_segment {
    uint64_t base;
    uint32_t limit; /* in bytes, granularity applied */
    uint16_t selector;
    uint16_t attributes; /* bits 40 to 55 of the descriptor (SDM 3.4.5): X86_SEGMENT_* */
};

enum {
    X86_SEGMENT_TYPE = 0xf,
    X86_SEGMENT_S = 1 << 4, /* code or data, not system */
    X86_SEGMENT_DPL_SHIFT = 5,
    X86_SEGMENT_P = 1 << 7,
    X86_SEGMENT_AVL = 1 << 12,
    X86_SEGMENT_L = 1 << 13,
    X86_SEGMENT_DB = 1 << 14,
    X86_SEGMENT_G = 1 << 15,
};

struct x86_table {
    uint64_t base;
    uint16_t limit;
};

/* What has been raised and not been delivered yet, and what holds events back. */
struct x86_events {
    bool exception_injected; /* delivery has begun: it is delivered again */
    bool exception_pending;  /* recognised, effects as those of a fresh one */
    bool exception_has_error;
    uint8_t exception;
    uint32_t exception_error;
    bool exception_has_payload;
    uint64_t exception_payload; /* CR2 or DR6, not yet there */
    bool interrupt_injected, interrupt_soft;
    uint8_t interrupt;
    uint8_t shadow; /* bit 0: by mov ss; bit 1: by sti */
    bool nmi_injected, nmi_pending, nmi_masked;
    bool smi_pending, smm, smm_inside_nmi, smi_latched_init;
    bool triple_fault;
    uint32_t sipi_vector;
};

enum x86_activity {
    X86_RUNNABLE,
    X86_WAIT_FOR_SIPI, /* an application processor after INIT */
    X86_INIT_RECEIVED,
    X86_HALTED,
    X86_SIPI_RECEIVED,
};

/* Guest-physical pages that an accelerator may use for itself, four of them: machines have neither
 * memory nor devices there, and say in their memory maps that they are reserved. */
#define X86_ACCEL_PAGES UINT64_C(0xfeffc000)

/* Bytes of the extended state that are kept: all that XCR0 can name, tiles included. */
#define X86_XSAVE_SIZE 12288

/* Input lines (cpu/irq.h) of a vCPU whose local APIC is not the accelerator's. */
enum {
    X86_LINE_INTR, /* level; the vector comes by x86_interrupts.acknowledge */
    X86_LINE_NMI,  /* edge: taken with x86_take_edges() */
    X86_LINE_SMI,
    X86_LINE_INIT,
    X86_LINE_SIPI, /* edge; the vector is in x86_cpu.sipi_vector */
    X86_LINES,
};

/*
 * The interrupt controllers around a vCPU, as the machine has them; all under the machine lock,
 * which the caller takes. With a local APIC of the accelerator's, only `acknowledge` matters: the
 * 8259's, behind X86_LINE_INTR.
 */
struct x86_interrupts {
    /* The vCPU takes the interrupt: its vector, or -1 when there is none any more. */
    int (*acknowledge)(void *opaque);
    /* CR8 and IA32_APIC_BASE, which the vCPU's software writes by instructions. May be NULL. */
    uint8_t (*tpr)(void *opaque); /* 0 to 15 */
    void (*set_tpr)(void *opaque, uint8_t tpr);
    uint64_t (*base)(void *opaque);
    int (*set_base)(void *opaque, uint64_t value); /* -EINVAL: #GP */
    /* Model-specific registers of x2APIC, 0x800 to 0x8ff. -EINVAL: #GP. May be NULL. */
    int (*read_msr)(void *opaque, uint32_t msr, uint64_t *value);
    int (*write_msr)(void *opaque, uint32_t msr, uint64_t value);
    void (*lock)(void); /* the machine lock */
    void (*unlock)(void);
    void *opaque;
};

/* Model-specific registers that are kept, by index: msrs.def has number, name and reset value. */
enum x86_msr {
#define X86_MSR(id, number, name, reset, feature) X86_MSR_##id,
#include "target/x86/msrs.def"
#undef X86_MSR
    X86_MSR_COUNT
};

struct x86_cpu {
    struct cpu common;
    uint64_t gpr[X86_GPRS];
    uint64_t rip, rflags;
    struct x86_segment segment[X86_SEGMENTS];
    struct x86_table gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, xcr0;
    /* The pointers that PAE paging has loaded (SDM volume 3, 4.4.1); read from memory when CR3 is
     * written, so they may differ from what is there. */
    uint64_t pdptr[4];
    bool has_pdptrs;
    uint64_t dr[8]; /* 4 and 5 are not used */
    uint64_t msr[X86_MSR_COUNT];
    bool msr_absent[X86_MSR_COUNT]; /* the accelerator does not have it: its value means nothing */
    /* x87, SSE, AVX and so on: the standard format of XSAVE (SDM volume 1, 13.4), XSTATE_BV set for
     * all that is not in its initial configuration. */
    uint8_t xsave[X86_XSAVE_SIZE] __attribute__((aligned(64)));
    struct x86_events events;
    enum x86_activity activity;
    bool has_apic_page; /* the local APIC is the accelerator's, and its state is here: */
    uint8_t apic_page[1024];
    uint64_t apic_base;
    /* not registers */
    struct x86_model model;
    struct cpu_system wiring;
    struct x86_interrupts interrupts; /* set by the machine after attach, before the vCPU runs */
    _Atomic uint32_t sipi_vector;
    bool bootstrap; /* the processor that starts by itself (BSP); set by the machine */
};

extern const struct cpu_target_ops x86_64_target_ops;
extern const struct cpu_system_ops x86_system_ops;

static inline struct x86_cpu *x86_cpu(struct cpu *cpu)
{
    return (struct x86_cpu *)cpu;
}

/*
 * Where a machine has a vCPU start in place of the reset vector: written over the reset state, by
 * the machine's reset. The vCPU runs then, be it the bootstrap processor or not.
 */
void x86_start_real(struct x86_cpu *cpu, uint16_t cs, uint16_t ip); /* real mode */
/* 32-bit protected mode without paging, flat segments of 4 GiB (0x08 code, 0x10 data), interrupts
 * off: PVH's and multiboot's contract, and that of Linux's 32-bit boot protocol. */
void x86_start_flat32(struct x86_cpu *cpu, uint32_t eip, uint32_t ebx, uint32_t esi);

/* Takes (and clears) the edge-triggered lines that are up: bits 1 << X86_LINE_* of all but INTR.
 * Its own thread. */
uint64_t x86_take_edges(struct x86_cpu *cpu);

/* INIT: registers as after it (SDM 10.1.1, table 10-1), and SIPI: starts at vector << 12 in real
 * mode. On the vCPU's thread, or while it stands. */
void x86_init(struct x86_cpu *cpu);
void x86_sipi(struct x86_cpu *cpu, uint8_t vector);

/* The standard configuration of registers after power-up (SDM 10.1.1, table 10-1), of model and
 * `bootstrap`. Same thread as x86_init(). */
void x86_power_up(struct x86_cpu *cpu);

/* The vCPU's model has the register. */
bool x86_msr_present(const struct x86_cpu *cpu, enum x86_msr msr);
/* Number of the model-specific register (ECX of rdmsr), and its name ("IA32_STAR"). */
uint32_t x86_msr_number(enum x86_msr msr);
const char *x86_msr_name(enum x86_msr msr);
/* The index of a number; X86_MSR_COUNT when it is not kept. */
enum x86_msr x86_msr_find(uint32_t number);

/*
 * Prints what a person who looks for a fault wants: general, control and segment registers, mode,
 * flags by name; then the code bytes around rip, as text where they can be read. A line at a time
 * to `line`. Registers are in the state. Any thread, while the vCPU stands.
 */
void x86_dump(struct x86_cpu *cpu, void (*line)(void *opaque, const char *text), void *opaque);

#endif
