/*
 * The x86 machine `microvm`: little more than processors, interrupt controllers and virtio-mmio
 * slots, for guests that start fast. Shared by its construction and its ACPI tables.
 *
 * Map, as software written for QEMU's machine of this name expects it. Physical addresses:
 *
 *     0x00000000  RAM, up to 3 GiB        0xfec00000  I/O APIC, interrupts 0 to 23
 *     0x000f0000  (firmware, with -bios)  0xfec10000  second I/O APIC, 24 to 47
 *     0xc0000000  PCIe memory, 512 MiB    0xfee00000  local APICs
 *     0xe0000000  PCIe configuration      0xff000000  (firmware, up to 4 GiB)
 *     0xfea00000  generic event device    0x100000000  RAM, the rest
 *     0xfeb00000  virtio-mmio slots       0xc000000000  PCIe memory, 256 GiB
 *
 * I/O ports: 0x20, 0xa0 and 0x4d0 8259s; 0x40 8254 and 0x61; 0x70 RTC; 0x3f8 COM1; 0x510 fw_cfg.
 */
#ifndef TINAMOU_HW_MACHINE_X86_MICROVM_H
#define TINAMOU_HW_MACHINE_X86_MICROVM_H

#include "hw/machine/machine.h"
#include "hw/machine/x86-boot.h"
#include "hw/machine/x86-irq.h"
#include "hw/machine/x86-memory.h"

#define MICROVM_LOW_RAM     UINT64_C(0xc0000000)
#define MICROVM_PCI         UINT64_C(0xc0000000)
#define MICROVM_PCI_SIZE    UINT64_C(0x20000000)
#define MICROVM_ECAM        UINT64_C(0xe0000000)
#define MICROVM_ECAM_SIZE   UINT64_C(0x10000000)
#define MICROVM_GED         UINT64_C(0xfea00000)
#define MICROVM_GED_REGS    UINT64_C(0xfea00200)
#define MICROVM_MMIO        UINT64_C(0xfeb00000)
#define MICROVM_MMIO_SIZE   UINT64_C(0x200)
#define MICROVM_PCI64       UINT64_C(0xc000000000)
#define MICROVM_PCI64_SIZE  UINT64_C(0x4000000000)
#define MICROVM_FW_CFG      0x510
#define MICROVM_FW_CFG_SIZE 12

#define MICROVM_SLOTS_MAX 24

enum { MICROVM_IRQ_GED = 9 };

/* Of a property: as the machine thinks best, or as told. */
enum microvm_choice { MICROVM_AUTO, MICROVM_ON, MICROVM_OFF };

struct microvm {
    struct machine machine; /* first */
    /* properties */
    int pit, pic, rtc, pcie, ioapic2, acpi; /* enum microvm_choice */
    bool isa_serial, option_roms, auto_kernel_cmdline;
    char *oem_id, *oem_table_id;
    /* what is there */
    bool has_pit, has_pic, has_rtc, has_pcie, has_acpi, has_serial;
    unsigned slots;    /* virtio-mmio */
    unsigned mmio_irq; /* of slot 0 */
    unsigned pcie_irq; /* of INTA of slot 0 */
    /* parts */
    struct x86_irq irq;
    struct x86_memory memory;
    struct x86_boot boot;
    struct isa_bus *isa;
    struct ged *ged;
    struct virtio_mmio *slot[MICROVM_SLOTS_MAX];
    char *append; /* -append, and what the machine adds to it */
};

/* Writes all tables, in the order of construction's end: devices are there. 0 or -ENOMEM. */
struct acpi_tables;
int microvm_acpi_build(const struct microvm *vm, struct acpi_tables *tables);

#endif
