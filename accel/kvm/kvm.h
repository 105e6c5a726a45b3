/*
 * KVM as an accelerator: shared by the files of this folder and by nobody else.
 *
 * Three layers. kvm.c is the core: the struct accel_system_ops, options, life of VM and vCPUs.
 * Mechanisms know the kernel's interface but no architecture: check.c (capabilities and the
 * messages for what is missing), run.c (the run loop and its exits), slots.c (memory), events.c
 * (event descriptors and routes), stats.c. What differs by architecture is behind the functions
 * kvm_arch_*(), in x86*.c.
 *
 * Threads. A vCPU's descriptor is used by its own thread; other threads that need it go through
 * vcpu_run_on_wait(), or find it paused. The VM's descriptor may be used by any thread; memory
 * slots change inside of transactions of mem/ only.
 */
#ifndef TINAMOU_ACCEL_KVM_KVM_H
#define TINAMOU_ACCEL_KVM_KVM_H

#include "accel/accel.h"
#include "accel/vcpu.h"
#include "cpu/irq.h"
#include "mem/space.h"

#include <linux/kvm.h>
#include <stdbool.h>

enum kvm_irqchip_mode { KVM_IRQCHIP_OFF, KVM_IRQCHIP_SPLIT, KVM_IRQCHIP_ON };

struct kvm {
    int device; /* /dev/kvm */
    int vm;
    struct mem_space *memory, *io;
    unsigned cpus, max_cpus;
    size_t run_size; /* of the mapping of a vCPU */
    enum kvm_irqchip_mode irqchip_mode;
    struct cpu_irqchip *irqchip;                            /* NULL: off */
    void (*event)(enum accel_event event, struct cpu *cpu); /* accel_system_config's */
    /* of -accel kvm,... */
    uint32_t dirty_ring_size; /* entries, a power of two; 0: bitmaps */
    int64_t halt_poll_ns;     /* -1: as the kernel has it */
    bool coalesced_mmio;
};

extern struct kvm kvm;

struct kvm_cpu {
    struct cpu *cpu;
    int fd;
    struct kvm_run *run;
    struct kvm_dirty_gfn *ring; /* NULL: none */
    uint32_t ring_next;
    bool fetched; /* the state has the guest's registers ... */
    bool changed; /* ... and is to be taken over before the next run */
    _Atomic bool in_kernel;
    void *arch; /* of x86.c */
    struct {
        uint64_t exits, io, mmio, halt, interrupted, other;
    } count;
};

static inline struct kvm_cpu *kvm_cpu(struct cpu *cpu)
{
    return cpu->accel;
}

/* ioctl() that is repeated after EINTR; the result, or -errno. `arg` is a pointer or a number. */
int kvm_dev_ioctl(unsigned long request, void *arg);
int kvm_vm_ioctl(unsigned long request, void *arg);
int kvm_vcpu_ioctl(struct kvm_cpu *cpu, unsigned long request, void *arg);
#define KVM_NUMBER(n) ((void *)(uintptr_t)(n))

/* KVM_CHECK_EXTENSION on the VM where there is one, else on the device; 0 when it is not known. */
int kvm_check_extension(unsigned capability);

/* check.c: opens /dev/kvm and checks it, in the order in which a person would mend things; what is
 * missing is one line in error[]: no such device (is it a module to load, is virtualisation off),
 * no permission (and the name of the group that has it), another architecture, too old an
 * interface, or a capability by name. */
int kvm_open(char *error, size_t error_size);

/* slots.c */
int kvm_slots_init(char *error, size_t error_size); /* adds listeners to kvm.memory and kvm.io */
/* Fetches what the rings hold; with dirty rings only. On the vCPU's thread, or while it stands. */
void kvm_slots_reap(struct kvm_cpu *cpu);

/* events.c: descriptors signalled by the guest's writes; routes and descriptors that raise
 * interrupts, for the irqchip ops. */
void kvm_eventfd_change(const struct mem_view_eventfd *eventfd, bool io, bool add);
extern const struct cpu_irqchip_ops kvm_irqchip_ops_full, kvm_irqchip_ops_split;
int kvm_irqchip_create(char *error, size_t error_size); /* by kvm.irqchip_mode */
/* Routes of pins that an architecture has from the start. */
int kvm_route_pin(uint32_t gsi, uint32_t chip, uint32_t pin);
/* An EOI of this vector was broadcast (split). On a vCPU's thread. */
void kvm_irqchip_eoi(uint8_t vector);

/* run.c */
extern const struct vcpu_ops kvm_vcpu_ops;
int kvm_run_init(void); /* once: the signal that interrupts KVM_RUN */
/*
 * The guest cannot go on here: says so with the registers and the instruction, and what to try, and
 * tells accel_system_config.event. The state has been fetched, so whoever can go on may.
 */
void kvm_internal_error(struct kvm_cpu *cpu, const char *what);

void kvm_stats_print(void);

/* ---- by architecture ---- */

/* Capabilities that must be there; ends with a NULL name. */
struct kvm_need {
    unsigned capability;
    const char *name; /* "KVM_CAP_IMMEDIATE_EXIT" */
};
extern const struct kvm_need kvm_arch_needs[];

int kvm_arch_init_vm(char *error, size_t error_size);      /* after KVM_CREATE_VM */
int kvm_arch_init_irqchip(char *error, size_t error_size); /* KVM_CREATE_IRQCHIP or split */
int kvm_arch_add_pit(void);                                /* cpu_irqchip_ops.add_pit */
int kvm_arch_irqchip_save(unsigned part, void *state, uint32_t size);
int kvm_arch_irqchip_load(unsigned part, const void *state, uint32_t size);

/* After KVM_CREATE_VCPU, before the model is chosen: 0 or -errno. */
int kvm_arch_init_cpu(struct kvm_cpu *cpu);
void kvm_arch_exit_cpu(struct kvm_cpu *cpu);

/* Registers into struct cpu, and back. 0 or -errno. On the vCPU's thread, or while it stands. */
int kvm_arch_fetch(struct kvm_cpu *cpu);
int kvm_arch_store(struct kvm_cpu *cpu);

/* Right before and after KVM_RUN: interrupts that user space injects, what kvm_run mirrors. before:
 * false when the vCPU waits and is not to be run. Without the machine lock. */
bool kvm_arch_before_run(struct kvm_cpu *cpu);
void kvm_arch_after_run(struct kvm_cpu *cpu);

/* Exits that run.c does not know. */
enum kvm_outcome {
    KVM_GO_ON,
    KVM_HALTED,   /* waits for an interrupt, which user space knows of first */
    KVM_LEAVE,    /* what comes next is not the vCPU's business: it was paused or reset */
    KVM_UNHANDLED /* neither knows it */
};
enum kvm_outcome kvm_arch_handle_exit(struct kvm_cpu *cpu);

/* Guest debugging, of cpu_service_ops. */
int kvm_arch_breakpoint(struct kvm_cpu *cpu, uint64_t address, bool insert);
int kvm_arch_watchpoint(struct kvm_cpu *cpu, uint64_t address, uint64_t size, unsigned access,
                        bool insert);
int kvm_arch_single_step(struct kvm_cpu *cpu, bool on);

/* Lines for kvm_internal_error(): registers and code. */
void kvm_arch_dump(struct kvm_cpu *cpu, void (*line)(void *opaque, const char *text), void *opaque);

#endif
