/*
 * ACPI tables that all x86 machines have: of processors and interrupt controllers (MADT), of the
 * configuration space of PCI Express (MCFG), and for machines with hardware-reduced ACPI the fixed
 * table (FADT).
 */
#ifndef TINAMOU_HW_MACHINE_X86_ACPI_H
#define TINAMOU_HW_MACHINE_X86_ACPI_H

#include "hw/acpi/tables.h"
#include "hw/machine/machine.h"

struct x86_acpi_madt {
    const struct machine *machine;
    bool pic;         /* there are 8259s */
    bool timer;       /* interrupt 0 is on pin 2 */
    unsigned ioapics; /* the second one at X86_IOAPIC2_BASE */
};

void x86_acpi_madt(struct acpi_tables *tables, const struct x86_acpi_madt *what);

void x86_acpi_mcfg(struct acpi_tables *tables, uint64_t ecam, uint8_t last_bus);

struct x86_acpi_fadt {
    uint32_t dsdt;      /* offset of that table */
    uint64_t registers; /* of the generic event device */
    bool rtc;
};

void x86_acpi_fadt_reduced(struct acpi_tables *tables, const struct x86_acpi_fadt *what);

#endif
