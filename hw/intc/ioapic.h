/*
 * I/O APIC (Intel 82093AA; with version 0x20 also the EOI register of its successors).
 *
 * Interrupts leave as messages, in the form in which PCI devices write them to the local APICs. The
 * machine says where they go: to apic_bus_send_msi(), or to local APICs in the kernel; those have
 * the messages of all pins filed as routes, which `route_changed` keeps up to date.
 *
 * Wiring: create, set `send` and `opaque` (and `route_changed`), realize, put `mmio` at
 * IOAPIC_BASE, connect lines to in[]. A PC has interrupt 0 on pin 2, else interrupts 0 to 15 on the
 * pins of the same number.
 *
 * Under the machine lock, callbacks too.
 */
#ifndef TINAMOU_HW_INTC_IOAPIC_H
#define TINAMOU_HW_INTC_IOAPIC_H

#include "hw/core/device.h"
#include "hw/core/irq.h"

struct cpu_msi;

#define IOAPIC_BASE UINT64_C(0xfec00000) /* of a PC's first */
enum { IOAPIC_PINS = 24, IOAPIC_SIZE = 0x1000 };

struct ioapic {
    struct hw_device device;
    /* properties */
    uint8_t version; /* 0x11: 82093AA; 0x20: with EOI register */
    /* set by the machine before realize */
    void *opaque;
    /* An interrupt: physical or logical destination, vector, delivery mode and trigger as in the
     * pin's redirection entry. */
    void (*send)(void *opaque, const struct cpu_msi *msi);
    /* What send() would be called with for a pin is different from now on; `masked` and `level` are
     * those of the entry. Also called for every pin after reset and loading. May be NULL. */
    void (*route_changed)(void *opaque, unsigned pin, const struct cpu_msi *msi, bool masked,
                          bool level);
    /* for the machine; valid once realized */
    struct mem_region mmio; /* IOAPIC_SIZE bytes */
    struct hw_irq_input in[IOAPIC_PINS];
    /* private */
    uint8_t select, id;
    uint32_t lines; /* which pins are active, a bit each */
    uint64_t redirection[IOAPIC_PINS];
};

extern const struct hw_device_type ioapic_type;

/*
 * A local APIC has broadcast the end of a level-triggered interrupt: pins with that vector are
 * sent again if their line is still active.
 */
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector);

/* The message of a pin, as its entry is now. */
void ioapic_message(const struct ioapic *ioapic, unsigned pin, struct cpu_msi *msi);

#endif
