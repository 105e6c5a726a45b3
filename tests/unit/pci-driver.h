/* A machine with the generic PCI Express host bridge, and accesses as software makes them. */
#ifndef TINAMOU_TESTS_UNIT_PCI_DRIVER_H
#define TINAMOU_TESTS_UNIT_PCI_DRIVER_H

#include "hw/pci/gpex.h"
#include "tests/unit/virtio-driver.h"

#define ECAM   UINT64_C(0x30000000)
#define MMIO   UINT64_C(0x40000000)
#define MMIO64 UINT64_C(0x400000000)
#define PIO    UINT64_C(0x03000000)

static unsigned pci_level; /* bit per output of the host bridge */

static void pci_level_changed(void *opaque, unsigned n, bool level)
{
    pci_level = (pci_level & ~(1u << n)) | (unsigned)level << n;
}

static struct hw_irq_input pci_inputs[PCI_PINS];

static inline struct gpex *gpex_make(struct machine *m)
{
    struct gpex *host = (struct gpex *)hw_device_create(&gpex_type, NULL);
    char error[256] = "";

    host->config = (struct gpex_config){.system = &m->system,
                                        .space = &m->space,
                                        .loop = m->loop,
                                        .ecam_base = ECAM,
                                        .ecam_size = 0x10000000,
                                        .mmio_base = MMIO,
                                        .mmio_size = 0x40000000,
                                        .mmio64_base = MMIO64,
                                        .mmio64_size = 0x400000000,
                                        .pio_base = PIO,
                                        .pio_size = 0x10000};
    for (unsigned i = 0; i < PCI_PINS; i++) {
        pci_inputs[i] = (struct hw_irq_input){.handler = pci_level_changed, .n = i};
        hw_irq_connect(&host->irq[i], &pci_inputs[i]);
    }
    if (hw_device_realize(&host->device, NULL, false, error, sizeof(error))) {
        printf("# %s\n", error);
        abort();
    }
    return host;
}

/* Makes a function of that type, with properties as -device has them; NULL, and error[]. */
static inline void *pci_plug(const struct hw_device_type *type, struct pci_bus *bus,
                             const char *options, char *error, size_t error_size)
{
    struct hw_device *device = hw_device_create(type, NULL);

    if (property_set_list(type->properties, device, type->name, options, NULL, NULL, error,
                          error_size) ||
        hw_device_realize(device, &bus->bus, false, error, error_size)) {
        hw_device_destroy(device);
        return NULL;
    }
    return device;
}

static inline uint64_t ecam(unsigned bus, unsigned slot, unsigned fn, unsigned offset)
{
    return ECAM + (bus << 20 | slot << 15 | fn << 12 | offset);
}

/* Offset of the first capability with that id from `after` (0: the first of all) on, or 0. */
static inline unsigned find_capability(struct machine *m, uint64_t config, uint8_t id,
                                       unsigned after)
{
    unsigned at = (unsigned)rd(m, config + (after ? after + 1 : PCI_CAP_POINTER), 1);

    for (unsigned n = 0; at && n < 48; n++) {
        if (rd(m, config + at, 1) == id) {
            return at;
        }
        at = (unsigned)rd(m, config + at + 1, 1);
    }
    return 0;
}

#endif
