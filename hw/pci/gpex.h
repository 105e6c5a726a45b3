/*
 * The generic PCI Express host bridge ("pci-host-ecam-generic" in device trees): configuration
 * space by ECAM, windows of memory and I/O ports, four interrupt wires.
 *
 *     struct gpex *host = (struct gpex *)hw_device_create(&gpex_type, NULL);
 *     host->config = (struct gpex_config){.system = &system_memory, .space = &space, ...};
 *     hw_irq_connect(&host->irq[n], ...);
 *     hw_device_realize(&host->device, NULL, false, error, sizeof(error));
 *     ... -device options are plugged into &host->bus.bus, "pcie.0"
 */
#ifndef TINAMOU_HW_PCI_GPEX_H
#define TINAMOU_HW_PCI_GPEX_H

#include "hw/core/irq.h"
#include "hw/pci/pci.h"

/* Guest-physical windows; a size of 0: there is none. */
struct gpex_config {
    struct mem_region *system;     /* container that the windows are put into */
    struct mem_space *space;       /* the machine's: DMA and MSI go there */
    struct loop *loop;             /* the main loop */
    uint64_t ecam_base, ecam_size; /* 1 MiB a bus; a power of two, at most 256 MiB */
    /* Memory as the bus has it at the same addresses: below 4 GiB, and above. */
    uint64_t mmio_base, mmio_size;
    uint64_t mmio64_base, mmio64_size;
    uint64_t pio_base, pio_size; /* port 0 is at pio_base */
};

struct gpex {
    struct hw_device device;     /* first */
    struct gpex_config config;   /* set before it is realized */
    struct hw_irq irq[PCI_PINS]; /* slot s pin p drives irq[(s + p) % 4] */
    struct pci_bus bus;          /* "pcie.0" */
    struct mem_region ecam, memory, io, mmio_window, mmio64_window, pio_window;
    struct pci_function *root; /* 00.0, "gpex-root" */
};

extern const struct hw_device_type gpex_type; /* "gpex-pcihost" */

#endif
