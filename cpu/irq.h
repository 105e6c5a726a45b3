/*
 * Interrupts at the vCPU's end: the input lines of a vCPU, and what an interrupt controller asks of
 * an accelerator that has one in the kernel.
 *
 * Devices do not see this header's irqchip: they drive the wires of hw/core/irq.h. A controller
 * model (PLIC, IOAPIC, ...) ends in the input lines of vCPUs; with an in-kernel controller the
 * wires end in a struct cpu_irqchip instead. A machine is built the same way for both, and nothing
 * in it names the accelerator.
 */
#ifndef TINAMOU_CPU_IRQ_H
#define TINAMOU_CPU_IRQ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct cpu;

#define CPU_IRQ_LINES 64

/*
 * Levels of the input lines of one vCPU; what a line means is the target's business (RISC-V: bits
 * of mip that come from outside; x86: INTR, NMI, SMI, INIT, SIPI). Embedded in the target's state
 * or in the machine's data of the vCPU, zeroed.
 */
struct cpu_irq_lines {
    _Atomic uint64_t level; /* bit per line */
    struct cpu *cpu;
    /* Makes the vCPU look at its lines soon, also when it is halted: cpu_service_ops.wake. */
    void (*wake)(struct cpu *cpu);
};

/*
 * Drives a line, 0 to CPU_IRQ_LINES - 1. Any thread, any lock. What the caller stored before it
 * raised the line is visible to the vCPU that sees it. A rising line wakes the vCPU; a falling one
 * does not, the target finds it low when it looks.
 */
static inline void cpu_irq_set(struct cpu_irq_lines *lines, unsigned line, bool level)
{
    uint64_t bit = UINT64_C(1) << line;

    if (!level) {
        atomic_fetch_and_explicit(&lines->level, ~bit, memory_order_release);
    } else if (!(atomic_fetch_or_explicit(&lines->level, bit, memory_order_seq_cst) & bit) &&
               lines->wake) {
        lines->wake(lines->cpu);
    }
}

/* The lines that are high. By the vCPU's thread, before it decides whether to take an interrupt. */
static inline uint64_t cpu_irq_levels(const struct cpu_irq_lines *lines)
{
    return atomic_load_explicit(&lines->level, memory_order_seq_cst);
}

/* A message-signalled interrupt, as a device writes it. */
struct cpu_msi {
    uint64_t address;
    uint32_t data;
    uint16_t requester; /* PCI requester id, for remapping */
};

/* Where an interrupt number (GSI) of an in-kernel controller leads. */
struct cpu_irq_route {
    enum { CPU_IRQ_ROUTE_PIN, CPU_IRQ_ROUTE_MSI } kind;
    uint32_t chip, pin; /* of a pin */
    struct cpu_msi msi;
};

/*
 * Parts of a controller whose state can be saved (cpu_irqchip_ops.save). The state of a part is the
 * structure that the kernel's interface has for it, of exactly that many bytes: it does not change
 * between kernels, and whoever wants to carry it over into a model of the same chip converts it.
 */
enum cpu_irqchip_part {
    CPU_IRQCHIP_PIC_MASTER, /* x86: 8259, struct kvm_pic_state, 16 bytes */
    CPU_IRQCHIP_PIC_SLAVE,
    CPU_IRQCHIP_IOAPIC, /* struct kvm_ioapic_state, 216 bytes */
    CPU_IRQCHIP_TIMER,  /* 8254, when it was added: struct kvm_pit_state2, 112 bytes */
};

struct cpu_irqchip;

/*
 * An accelerator's interrupt controller. All return 0 or -errno: -ENOTSUP for what this one lacks,
 * and then the machine falls back (an MSI without routes is sent, an irqfd is polled by the main
 * loop). Any thread; route changes hold the machine lock.
 */
struct cpu_irqchip_ops {
    const char *name;
    bool split; /* only the CPU-local part is in the kernel, the machine models the rest, sends
                   messages, and takes the interrupts of an 8259 to the vCPU's lines */
    /* How many interrupt numbers are pins of the controller, from 0 on. They are routed from the
     * start: x86 as a PC has it, 0 to 15 to the 8259s and 0 to 23 to the I/O APIC, but interrupt 0
     * to pin 2 of that, and interrupt 2, the cascade, nowhere. In a split controller they have no
     * routes: the machine's model gives them its messages (route_change), which is how the
     * CPU-local part knows for which vectors it is to tell `set_eoi`. */
    uint32_t (*gsi_count)(struct cpu_irqchip *chip);
    int (*set_line)(struct cpu_irqchip *chip, uint32_t gsi, bool level);
    int (*send_msi)(struct cpu_irqchip *chip, const struct cpu_msi *msi);
    /* Takes a free interrupt number and gives it a route; changes one; gives it back. */
    int (*route_add)(struct cpu_irqchip *chip, const struct cpu_irq_route *route, uint32_t *gsi);
    int (*route_change)(struct cpu_irqchip *chip, uint32_t gsi, const struct cpu_irq_route *route);
    void (*route_remove)(struct cpu_irqchip *chip, uint32_t gsi);
    /* Changes since the last commit take effect together. */
    int (*route_commit)(struct cpu_irqchip *chip);
    /*
     * A write to the event descriptor fd raises gsi. With resample_fd (not -1) the line is level:
     * it falls at the guest's end-of-interrupt, when resample_fd is signalled. Descriptors stay the
     * caller's, who detaches them before closing.
     */
    int (*eventfd_attach)(struct cpu_irqchip *chip, uint32_t gsi, int fd, int resample_fd);
    int (*eventfd_detach)(struct cpu_irqchip *chip, uint32_t gsi, int fd);
    /* Adds the timer that the architecture has beside its controller (x86: the 8254, on interrupt
     * 0), before vCPUs run. */
    int (*add_timer)(struct cpu_irqchip *chip);
    /* Whom to tell, on a vCPU's thread without locks, that a vCPU has finished the level-triggered
     * interrupt with this vector; for controllers that the machine models. */
    void (*set_eoi)(struct cpu_irqchip *chip, void (*eoi)(void *opaque, uint8_t vector),
                    void *opaque);
    /* The state of the controller as the saved-state tables want it; the vCPUs are stopped. */
    int (*save)(struct cpu_irqchip *chip, unsigned part /* enum cpu_irqchip_part */, void *state,
                uint32_t size);
    int (*load)(struct cpu_irqchip *chip, unsigned part, const void *state, uint32_t size);
};

/* Embedded in the accelerator's own; NULL where a machine runs without one. */
struct cpu_irqchip {
    const struct cpu_irqchip_ops *ops;
};

#endif
