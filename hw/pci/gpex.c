/*
 * The host bridge. Buses see memory at the addresses at which CPUs see it; the windows are aliases
 * into the bus's containers, so what a BAR says outside of them is seen by nobody.
 *
 * ECAM (PCI Express 4.0, clause 7.2.2): address bits 27 to 20 are the bus, 19 to 12 device and
 * function, 11 to 0 the register.
 */
#include "hw/pci/gpex.h"
#include "util/bits.h"

#include <errno.h>
#include <stdio.h>

static int ecam_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    struct gpex *host = opaque;
    struct pci_function *f =
        pci_find_function(&host->bus, (uint8_t)(offset >> 20), (uint8_t)(offset >> 12));

    *value = f ? pci_config_read(f, offset & 0xfff, size) : UINT64_MAX;
    return 0;
}

static int ecam_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    struct gpex *host = opaque;
    struct pci_function *f =
        pci_find_function(&host->bus, (uint8_t)(offset >> 20), (uint8_t)(offset >> 12));

    if (f) {
        pci_config_write(f, offset & 0xfff, size, (uint32_t)value);
    }
    return 0;
}

static const struct mem_ops ecam_ops = {
    .read = ecam_read, .write = ecam_write, .max_size = 4, .split = true};

static void set_irq(void *opaque, unsigned input, bool level)
{
    hw_irq_set(&((struct gpex *)opaque)->irq[input], level);
}

/* ---- 00.0 ------------------------------------------------------------------------------------ */

static const struct pci_ids root_ids = {.vendor = PCI_VENDOR_REDHAT,
                                        .device = PCI_DEVICE_GPEX_ROOT,
                                        .subsystem_vendor = PCI_VENDOR_REDHAT_VIRTIO,
                                        .subsystem = 0x1100,
                                        .class_code = 0x060000};

static int root_realize(struct hw_device *device, char *error, size_t error_size)
{
    pci_function_init((struct pci_function *)device, &root_ids);
    return 0;
}

static void root_unrealize(struct hw_device *device)
{
    pci_function_exit((struct pci_function *)device);
}

static void root_reset(struct hw_device *device)
{
    pci_function_reset((struct pci_function *)device);
}

static const struct property root_properties[] = {
    PCI_PROPERTIES,
    PROPERTY_END,
};

static const struct hw_device_type root_type = {
    .name = "gpex-root",
    .bus = "PCI",
    .help = "the host bridge as a function of its bus",
    .size = sizeof(struct pci_function),
    .properties = root_properties,
    .state = &pci_function_state,
    .internal = true,
    .realize = root_realize,
    .unrealize = root_unrealize,
    .reset_hold = root_reset,
};

/* ---- the host bridge ------------------------------------------------------------------------- */

static void gpex_init(struct hw_device *device)
{
    struct gpex *host = (struct gpex *)device;

    pci_bus_init(&host->bus, "pcie.0", device);
    host->bus.express = true;
    host->bus.set_irq = set_irq;
    host->bus.opaque = host;
    host->bus.memory = &host->memory;
    host->bus.io = &host->io;
}

static void add_window(struct gpex *host, struct mem_region *window, const char *name,
                       struct mem_region *into, uint64_t from, uint64_t at, uint64_t size)
{
    if (size) {
        mem_region_init_alias(window, name, into, from, size);
        mem_region_add(host->config.system, at, window, 0);
    }
}

static void retire_regions(struct gpex *host)
{
    struct mem_region *const windows[] = {&host->mmio_window, &host->mmio64_window,
                                          &host->pio_window,  &host->ecam,
                                          &host->memory,      &host->io};

    for (unsigned i = 0; i < BITS_ARRAY_SIZE(windows); i++) {
        if (windows[i]->initialised) {
            mem_region_retire(windows[i], NULL, NULL);
        }
    }
}

static int add_root(struct gpex *host, char *error, size_t error_size)
{
    struct hw_device *root = hw_device_create(&root_type, NULL);
    int err = root ? hw_device_set(root, "addr", "0", error, error_size) : -ENOMEM;

    err = err ? err : hw_device_realize(root, &host->bus.bus, false, error, error_size);
    if (err && root) {
        hw_device_destroy(root);
    }
    host->root = err ? NULL : (struct pci_function *)root;
    return err;
}

static int gpex_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct gpex *host = (struct gpex *)device;
    const struct gpex_config *c = &host->config;

    host->bus.space = c->space;
    host->bus.loop = c->loop;
    mem_region_begin();
    mem_region_init_container(&host->memory, "pci-memory", MEM_SIZE_ALL);
    mem_region_init_container(&host->io, "pci-io", MEM_SIZE_ALL);
    mem_region_init_mmio(&host->ecam, "pcie-ecam", c->ecam_size, &ecam_ops, host, &device->owner);
    mem_region_add(c->system, c->ecam_base, &host->ecam, 0);
    add_window(host, &host->mmio_window, "pcie-mmio", &host->memory, c->mmio_base, c->mmio_base,
               c->mmio_size);
    add_window(host, &host->mmio64_window, "pcie-mmio-high", &host->memory, c->mmio64_base,
               c->mmio64_base, c->mmio64_size);
    add_window(host, &host->pio_window, "pcie-pio", &host->io, 0, c->pio_base, c->pio_size);
    mem_region_commit();
    int err = add_root(host, error, error_size);

    if (err) {
        retire_regions(host);
    }
    return err;
}

static void gpex_unrealize(struct hw_device *device)
{
    retire_regions((struct gpex *)device);
}

const struct hw_device_type gpex_type = {
    .name = "gpex-pcihost",
    .help = "generic PCI Express host bridge",
    .size = sizeof(struct gpex),
    .internal = true,
    .init = gpex_init,
    .realize = gpex_realize,
    .unrealize = gpex_unrealize,
};
