/*
 * Generic event device of hardware-reduced ACPI (ACPI 6.5, clause 5.6.9, and 4.8.3 for sleep
 * control), with the registers that QEMU's has: which events have come, which the method _EVT
 * reads; sleep control and status; and a reset register.
 *
 * Wiring: create, realize, put `selector` and `registers` into memory, connect `out`. Under the
 * machine lock.
 */
#ifndef TINAMOU_HW_ACPI_GED_H
#define TINAMOU_HW_ACPI_GED_H

#include "hw/core/device.h"
#include "hw/core/irq.h"

enum {
    GED_SELECTOR_SIZE = 4,
    GED_REGISTERS_SIZE = 3,
    /* in `registers` */
    GED_SLEEP_CONTROL = 0,
    GED_SLEEP_STATUS = 1,
    GED_RESET = 2,
    GED_RESET_VALUE = 0x42,
    GED_SLEEP_TYPE_S5 = 5, /* what the tables give as \_S5 */
    /* events: bits of the selector */
    GED_EVENT_POWER = 1 << 1, /* the power button was pressed */
};

struct ged {
    struct hw_device device;
    /* for the machine; valid once realized */
    struct mem_region selector, registers;
    struct hw_irq out; /* edges */
    /* private */
    uint32_t events; /* since they were read */
};

extern const struct hw_device_type ged_type; /* "acpi-ged-x86" */

/* An event, GED_EVENT_*: the guest gets an interrupt. */
void ged_raise(struct ged *ged, uint32_t event);

#endif
