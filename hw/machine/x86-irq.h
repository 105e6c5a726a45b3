/*
 * The interrupt topology of x86 machines: local APICs, one or two I/O APICs, the 8259s, and who
 * takes a message (MSI). It is built in one of three ways, by what the accelerator has:
 *
 *     machine->irqchip           in user space                     lines go to
 *     ops->split false           the second I/O APIC               ops->set_line, or its pins
 *     ops->split                 I/O APICs, 8259s                  their pins; messages to
 *                                                                  ops->send_msi, INTR to the BSP
 *     NULL                       local APICs too                   their pins; messages by the bus
 *
 * Devices know nothing of it: they are connected to gsi[n]. Interrupts 0 to 15 are those of the
 * 8259s too; on the I/O APIC interrupt 0 has pin 2, and interrupt 2 is the cascade.
 */
#ifndef TINAMOU_HW_MACHINE_X86_IRQ_H
#define TINAMOU_HW_MACHINE_X86_IRQ_H

#include "hw/intc/apic.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/machine/machine.h"

enum { X86_GSIS = 2 * IOAPIC_PINS, X86_IRQ_PARTS = 4, X86_IRQ_PART_MAX = 216 };

/* Guest-physical address of the second I/O APIC. */
#define X86_IOAPIC2_BASE UINT64_C(0xfec10000)

struct x86_irq {
    /* set before x86_irq_init() */
    bool pic;     /* 8259s, where they are not the accelerator's */
    bool ioapic2; /* interrupts 24 to 47 */
    /* for the machine */
    struct hw_irq_input gsi[X86_GSIS];
    struct i8259 *i8259; /* NULL: none, or the accelerator's */
    /* private */
    struct machine *machine;
    struct x86_ioapic {
        struct x86_irq *irq;
        unsigned first; /* interrupt of its pin 0 */
        struct ioapic *ioapic;
    } ioapics[2]; /* those in user space */
    struct apic_bus bus;
    struct apic **apics;      /* of each vCPU; NULL: the accelerator's */
    struct hw_irq_input intr; /* the 8259s' output */
    struct mem_region msi;
    /* what the accelerator's parts were like when they were made */
    struct x86_irq_part {
        bool saved;
        uint8_t state[X86_IRQ_PART_MAX];
    } part[X86_IRQ_PARTS];
};

/* Makes it and wires vCPUs to it; x86_cpu.bootstrap has been set. 0, or -errno with a line in
 * error[]. */
int x86_irq_init(struct x86_irq *irq, struct machine *machine, char *error, size_t error_size);

/* After each reset of the machine's devices: what the accelerator has of it is as it was made. */
void x86_irq_reset(struct x86_irq *irq);

#endif
