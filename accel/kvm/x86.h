/*
 * The x86 side of the KVM accelerator, as its files share it: x86.c (VM and vCPUs, CPUID),
 * x86-regs.c and x86-msrs.c (registers), x86-run.c (interrupts, exits), x86-debug.c.
 */
#ifndef TINAMOU_ACCEL_KVM_X86_H
#define TINAMOU_ACCEL_KVM_X86_H

#include "accel/kvm/kvm.h"
#include "target/x86/cpu.h"

enum { KVM_X86_DEBUG_REGISTERS = 4 };

/* A breakpoint of one vCPU: in a debug register, or int3 in memory. */
struct kvm_x86_breakpoint {
    uint64_t address;
    int reg; /* -1: in memory, at: */
    struct mem_gpa gpa;
};

/* What debuggers want of a vCPU (x86-debug.c), and what came of it (x86-debug-run.c). */
struct kvm_x86_debug {
    struct {
        uint64_t address;
        uint8_t size;   /* 0: free */
        uint8_t type;   /* DR7's R/W field */
        uint8_t access; /* of a watchpoint: CPU_WATCH_* */
    } reg[KVM_X86_DEBUG_REGISTERS];
    struct kvm_x86_breakpoint *breakpoint;
    unsigned count;
    bool stepping;
    struct cpu_stop stop; /* why the vCPU has stopped last */
    bool noticed;         /* somebody has asked about a breakpoint at `pass` */
    bool passing;         /* the instruction at `pass` is executed without it; out of memory: */
    bool lifted;
    uint64_t pass;
    struct mem_gpa lifted_at;
};

/* What the kernel is known to have of the registers, class by class. */
struct kvm_x86_known {
    struct kvm_regs regs;
    struct kvm_sregs2 sregs;
    struct kvm_vcpu_events events;
    struct kvm_debugregs debugregs;
    struct kvm_mp_state mp_state;
    struct kvm_xcrs xcrs;
    struct kvm_lapic_state lapic;
    uint64_t msr[X86_MSR_COUNT];
    void *xsave; /* kvm_x86.xsave_size bytes */
};

/* A vCPU's (struct kvm_cpu.arch). */
struct kvm_x86_cpu {
    bool set_up; /* CPUID and what follows from it was given to the kernel */
    /* Both are valid until the vCPU runs again: what was fetched or stored last, and whether
     * kvm_run's mirrors (if_flag, ready_for_interrupt_injection) are those of the guest's state. */
    bool is_known, is_mirrored;
    struct kvm_x86_known known, wanted;
    struct kvm_msrs *msrs; /* with room for all */
    struct kvm_x86_debug debug;
};

static inline struct kvm_x86_cpu *kvm_x86_cpu(struct kvm_cpu *cpu)
{
    return cpu->arch;
}

/* The VM's. */
struct kvm_x86 {
    bool supported; /* what CPUID may show is known */
    bool sregs2, xcrs, smm, triple_fault, payload, msr_exits;
    size_t xsave_size;
    unsigned mce_banks;
    bool msr_listed[X86_MSR_COUNT]; /* the kernel has it */
};

extern struct kvm_x86 kvm_x86;

static inline bool kvm_x86_apic_in_kernel(void)
{
    return kvm.irqchip_mode != KVM_IRQCHIP_OFF;
}

/* x86.c: gives the kernel CPUID and whatever must be there before registers. Once per vCPU. */
int kvm_x86_set_up(struct kvm_cpu *cpu);

/* x86-msrs.c */
int kvm_x86_init_msrs(void); /* once: which the kernel has */
int kvm_x86_fetch_msrs(struct kvm_cpu *cpu);
/* All that differ from what is known, the timer of the local APIC or all others. */
int kvm_x86_store_msrs(struct kvm_cpu *cpu, bool timer);

/* x86-debug.c */
int kvm_x86_init_debug(struct kvm_cpu *cpu);
void kvm_x86_free_debug(struct kvm_cpu *cpu);
int kvm_x86_update_debug(struct kvm_cpu *cpu); /* KVM_SET_GUEST_DEBUG; 0 or -errno */
/* Is there an int3 of ours at this address? Puts the byte behind it back for a while (lift). */
bool kvm_x86_has_patch(struct mem_gpa gpa);
void kvm_x86_lift_patch(struct mem_gpa gpa, bool lift);

/* x86-debug-run.c */
/* False: the vCPU is not to run, since what stopped it was not asked about. */
bool kvm_x86_debug_before_run(struct kvm_cpu *cpu);
void kvm_x86_end_pass(struct kvm_cpu *cpu); /* puts a breakpoint that is passed back */
/* Why the guest was left for debugging: a debugger's business (KVM_UNHANDLED: whoever called tells
 * the machine), or the guest's own exception, which it gets. */
enum kvm_outcome kvm_x86_handle_debug(struct kvm_cpu *cpu);

static inline bool kvm_x86_is_debugged(struct kvm_cpu *cpu)
{
    const struct kvm_x86_debug *d = &kvm_x86_cpu(cpu)->debug;

    return d->stepping | d->noticed | d->passing | (d->stop.kind != CPU_STOP_NONE);
}

#endif
