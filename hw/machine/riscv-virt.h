/*
 * The RISC-V machine `virt`: shared by its construction and its device tree.
 *
 * Map (physical addresses), as software written for QEMU's machine of this name expects it:
 *
 *     0x00000000  debug (nothing)      0x0c000000  PLIC
 *     0x00001000  boot ROM             0x10000000  serial port
 *     0x00100000  test finisher        0x10001000  8 virtio-mmio slots
 *     0x00101000  real-time clock      0x10100000  fw_cfg
 *     0x02000000  CLINT or ACLINT      0x20000000  flash, 2 banks of 32 MiB
 *     0x02f00000  ACLINT's SSWI        0x30000000  PCIe configuration space
 *     0x03000000  PCIe I/O ports       0x40000000  PCIe memory, 1 GiB
 *     0x80000000  RAM; behind it, aligned to its size, 16 GiB of PCIe memory
 */
#ifndef TINAMOU_HW_MACHINE_RISCV_VIRT_H
#define TINAMOU_HW_MACHINE_RISCV_VIRT_H

#include "hw/machine/machine.h"
#include "hw/machine/riscv-boot.h"

#define VIRT_TEST       0x100000
#define VIRT_RTC        0x101000
#define VIRT_CLINT      0x2000000
#define VIRT_CLINT_SIZE 0x10000
#define VIRT_SSWI       0x2f00000
#define VIRT_PIO        0x3000000
#define VIRT_PIO_SIZE   0x10000
#define VIRT_PLIC       0xc000000
#define VIRT_PLIC_SIZE  0x600000
#define VIRT_UART       0x10000000
#define VIRT_MMIO       0x10001000
#define VIRT_MMIO_SIZE  0x1000
#define VIRT_FW_CFG     0x10100000
#define VIRT_FLASH      0x20000000
#define VIRT_FLASH_SIZE 0x2000000 /* of a bank */
#define VIRT_ECAM       0x30000000
#define VIRT_ECAM_SIZE  0x10000000
#define VIRT_PCI        0x40000000
#define VIRT_PCI_SIZE   0x40000000
#define VIRT_RAM        UINT64_C(0x80000000)
#define VIRT_PCI64_SIZE (UINT64_C(16) << 30)

#define VIRT_MMIO_SLOTS 8
#define VIRT_SOURCES    95 /* of the PLIC; the device tree counts source 0 too */
#define VIRT_PRIORITIES 7

/* Sources of the PLIC. */
enum {
    VIRT_IRQ_MMIO = 1, /* to 8 */
    VIRT_IRQ_UART = 10,
    VIRT_IRQ_RTC = 11,
    VIRT_IRQ_PCI = 32, /* to 35: INTA to INTD of slot 0 */
};

struct riscv_virt {
    struct machine machine; /* first */
    /* properties */
    bool aclint;
    int aia, acpi;
    char *pflash[2];
    /* parts */
    struct plic *plic;
    struct hw_irq_input *ssip; /* of each hart, with aclint=on */
    uint64_t pci64_base;
    struct riscv_boot boot;
};

/* The whole tree but for what depends on files: kernel command line and initrd. */
int riscv_virt_fdt(struct machine *machine, struct fdt_tree *tree, char *error, size_t error_size);

#endif
