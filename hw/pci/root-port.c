/*
 * pcie-root-port: a PCI Express port with a bus of its own behind it (PCI-to-PCI bridge
 * architecture 1.2; PCI Express 4.0, clause 7.5.1.3).
 *
 * The secondary bus has containers of memory and I/O ports like every bus. The windows that
 * software opens are aliases of them in the bus above: for memory, for prefetchable memory (64
 * bits), and for I/O.
 */
#include "hw/core/reset.h"
#include "hw/pci/root-port.h"
#include "util/bits.h"

#include <stdlib.h>

enum { MEMORY, PREFETCH, IO, WINDOWS };

struct window {
    struct mem_region *alias; /* NULL: closed */
    uint64_t base, size;
};

struct root_port {
    struct pci_function pci; /* first */
    /* properties */
    uint32_t chassis, slot, port;
    bool hotplug;
    /* behind it */
    struct pci_bus secondary;
    struct mem_region memory, io;
    struct window windows[WINDOWS];
    bool in_reset; /* by bridge control */
};

/* Base and limit registers have 4 bits of kind below 12 of address. */
static void window_range(const struct pci_function *f, unsigned n, uint64_t *base, uint64_t *limit)
{
    switch (n) {
    case MEMORY:
        *base = (uint64_t)(pci_get(f, PCI_MEMORY_BASE, 2) & 0xfff0) << 16;
        *limit = (uint64_t)(pci_get(f, PCI_MEMORY_LIMIT, 2) & 0xfff0) << 16 | 0xfffff;
        break;
    case PREFETCH:
        *base = (uint64_t)(pci_get(f, PCI_PREFETCH_BASE, 2) & 0xfff0) << 16 |
                (uint64_t)pci_get(f, PCI_PREFETCH_BASE_HIGH, 4) << 32;
        *limit = (uint64_t)(pci_get(f, PCI_PREFETCH_LIMIT, 2) & 0xfff0) << 16 | 0xfffff |
                 (uint64_t)pci_get(f, PCI_PREFETCH_LIMIT_HIGH, 4) << 32;
        break;
    default:
        *base = (uint64_t)(pci_get(f, PCI_IO_BASE, 1) & 0xf0) << 8;
        *limit = (uint64_t)(pci_get(f, PCI_IO_LIMIT, 1) & 0xf0) << 8 | 0xfff;
        break;
    }
}

static void close_window(struct window *w)
{
    if (w->alias) {
        mem_region_retire(w->alias, free, w->alias);
        w->alias = NULL;
    }
}

static void update_window(struct root_port *port, unsigned n)
{
    struct window *w = &port->windows[n];
    struct pci_function *f = &port->pci;
    uint64_t base, limit;
    unsigned enable = n == IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

    window_range(f, n, &base, &limit);
    bool open = pci_get(f, PCI_COMMAND, 2) & enable && limit > base && limit - base < UINT64_MAX;

    if (open == (w->alias != NULL) && (!open || (base == w->base && limit - base + 1 == w->size))) {
        return;
    }
    close_window(w);
    w->alias = open ? calloc(1, sizeof(*w->alias)) : NULL;
    if (w->alias) {
        w->base = base;
        w->size = limit - base + 1;
        mem_region_init_alias(w->alias, "pci-window", n == IO ? &port->io : &port->memory, base,
                              w->size);
        mem_region_add(n == IO ? f->bus->io : f->bus->memory, base, w->alias, 1);
    }
}

static void config_written(struct pci_function *function, unsigned offset, unsigned size)
{
    struct root_port *port = (struct root_port *)function;

    mem_region_begin();
    for (unsigned n = 0; n < WINDOWS; n++) {
        update_window(port, n);
    }
    mem_region_commit();
    /* Secondary bus reset: software sets and clears it; the reset is when it sets. */
    bool reset = pci_get(function, PCI_BRIDGE_CONTROL, 2) & PCI_BRIDGE_CONTROL_RESET;

    if (reset && !port->in_reset) {
        hw_reset_bus(&port->secondary.bus, false);
    }
    port->in_reset = reset;
}

static const struct pci_ids ids = {.vendor = PCI_VENDOR_REDHAT,
                                   .device = PCI_DEVICE_ROOT_PORT,
                                   .class_code = 0x060400,
                                   .header_type = 1,
                                   .pin = 1};

static void port_init(struct hw_device *device)
{
    struct root_port *port = (struct root_port *)device;

    pci_bus_init(&port->secondary, device->id ? device->id : "pcie-root-port", device);
    port->secondary.express = true;
    port->secondary.single_slot = true;
    port->secondary.bridge = &port->pci;
}

static void init_bridge_registers(struct pci_function *f)
{
    pci_set_writable(f, PCI_PRIMARY_BUS, 4, 0x00ffffff);
    pci_set_writable(f, PCI_IO_BASE, 2, 0xf0f0);
    f->write_clear[PCI_SECONDARY_STATUS + 1] = PCI_STATUS_ERRORS >> 8;
    pci_set_writable(f, PCI_MEMORY_BASE, 4, 0xfff0fff0);
    pci_set(f, PCI_PREFETCH_BASE, 4, 0x00010001); /* 64 bits */
    pci_set_writable(f, PCI_PREFETCH_BASE, 4, 0xfff0fff0);
    pci_set_writable(f, PCI_PREFETCH_BASE_HIGH, 4, UINT32_MAX);
    pci_set_writable(f, PCI_PREFETCH_LIMIT_HIGH, 4, UINT32_MAX);
    pci_set_writable(f, PCI_BRIDGE_CONTROL, 2, 0x0043); /* parity, SERR, reset */
}

static int port_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct root_port *port = (struct root_port *)device;
    struct pci_function *f = &port->pci;
    int err;

    pci_function_init(f, &ids);
    err = pci_add_rom(f, error, error_size);
    if (err) {
        return err;
    }
    init_bridge_registers(f);
    pci_add_express(f, PCI_EXP_TYPE_ROOT_PORT);
    pci_set(f, f->express + 15u, 1, port->port);
    pci_add_msi(f, 1);
    f->config_written = config_written;
    f->secondary = &port->secondary;
    mem_region_init_container(&port->memory, "pci-memory", MEM_SIZE_ALL);
    mem_region_init_container(&port->io, "pci-io", MEM_SIZE_ALL);
    port->secondary.memory = &port->memory;
    port->secondary.io = &port->io;
    port->secondary.space = f->bus->space;
    port->secondary.loop = f->bus->loop;
    return 0;
}

static void port_unrealize(struct hw_device *device)
{
    struct root_port *port = (struct root_port *)device;

    pci_function_exit(&port->pci);
    for (unsigned n = 0; n < WINDOWS; n++) {
        close_window(&port->windows[n]);
    }
    mem_region_retire(&port->memory, NULL, NULL);
    mem_region_retire(&port->io, NULL, NULL);
}

static void port_reset(struct hw_device *device)
{
    pci_function_reset((struct pci_function *)device);
}

static const struct state_field fields[] = {
    STATE(STRUCT, "pci", struct root_port, pci, .table = &pci_function_state),
    STATE_END,
};

static const struct state_table state = {
    .name = "pcie-root-port", .version = 1, .min_version = 1, .fields = fields};

static const struct property properties[] = {
    PCI_PROPERTIES,
    PROPERTY(U32, "chassis", struct root_port, chassis, .max = 255,
             .help = "number of the chassis; accepted"),
    PROPERTY(U32, "slot", struct root_port, slot, .max = 0x1fff,
             .help = "number of the slot; accepted"),
    PROPERTY(BOOL, "hotplug", struct root_port, hotplug, .number = 1,
             .help = "functions may come and go; accepted, they do not"),
    PROPERTY(U32, "port", struct root_port, port, .max = 255, .help = "number of the port"),
    PROPERTY_END,
};

const struct hw_device_type pcie_root_port_type = {
    .name = "pcie-root-port",
    .bus = "PCI",
    .help = "PCI Express port with a bus",
    .size = sizeof(struct root_port),
    .properties = properties,
    .state = &state,
    .init = port_init,
    .realize = port_realize,
    .unrealize = port_unrealize,
    .reset_hold = port_reset,
};
