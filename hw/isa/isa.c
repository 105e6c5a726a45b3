/* The ISA bus: ports, shared interrupt lines, and a bridge of its own for boards without PCI. */
#include "hw/isa/isa.h"
#include "util/bits.h"

#include <errno.h>
#include <stdio.h>

const struct hw_bus_type isa_bus_type = {.name = "ISA"};

void isa_bus_init(struct isa_bus *bus, const char *name, struct hw_device *parent)
{
    hw_bus_init(&bus->bus, &isa_bus_type, name, parent);
    for (unsigned n = 0; n < ISA_IRQS; n++) {
        hw_irq_or_init(&bus->gates[n]);
    }
}

int isa_add_ports(struct hw_device *device, uint32_t port, struct mem_region *region, char *error,
                  size_t error_size)
{
    struct isa_bus *bus = (struct isa_bus *)device->bus;

    if (port > ISA_PORTS - region->size) {
        snprintf(error, error_size, "%s: iobase=%#x: expected at most %#x, for %u ports",
                 device->type->name, (unsigned)port, (unsigned)(ISA_PORTS - region->size),
                 (unsigned)region->size);
        return -EINVAL;
    }
    return mem_region_add(bus->io, port, region, 0);
}

int isa_connect(struct isa_bus *bus, unsigned irq, struct hw_irq *out)
{
    struct hw_irq_or *gate = &bus->gates[irq];
    unsigned n;

    if (bus->used[irq] == UINT64_MAX) {
        return -ENOSPC;
    }
    n = bits_ctz64(~bus->used[irq]);
    bus->used[irq] |= UINT64_C(1) << n;
    if (gate->out.to != bus->irqs[irq]) {
        hw_irq_connect(&gate->out, bus->irqs[irq]);
    }
    hw_irq_connect(out, &gate->in[n]);
    return 0;
}

void isa_disconnect(struct isa_bus *bus, unsigned irq, struct hw_irq *out)
{
    unsigned n = out->to->n;

    hw_irq_set(out, false);
    hw_irq_connect(out, NULL);
    bus->used[irq] &= ~(UINT64_C(1) << n);
}

/* ---- saved state ----------------------------------------------------------------------------- */

static int gate_post_load(void *object, uint32_t version)
{
    struct hw_irq_or *gate = object;

    gate->out.level = gate->levels != 0;
    return 0;
}

static const struct state_field gate_fields[] = {
    STATE(U64, "levels", struct hw_irq_or, levels),
    STATE_END,
};
static const struct state_table gate_state = {.name = "isa-irq",
                                              .version = 1,
                                              .min_version = 1,
                                              .fields = gate_fields,
                                              .post_load = gate_post_load};
static const struct state_field bus_fields[] = {
    STATE_ARRAY(STRUCT, "irqs", struct isa_bus, gates, .table = &gate_state),
    STATE_END,
};

static int bus_post_load(void *object, uint32_t version)
{
    const struct isa_bus *bus = object;

    for (unsigned n = 0; n < ISA_IRQS; n++) {
        if (bus->gates[n].levels & ~bus->used[n]) {
            return -EINVAL;
        }
    }
    return 0;
}

const struct state_table isa_bus_state = {.name = "isa-bus",
                                          .version = 1,
                                          .min_version = 1,
                                          .fields = bus_fields,
                                          .post_load = bus_post_load};

/* ---- the bridge ------------------------------------------------------------------------------ */

static void bridge_init(struct hw_device *device)
{
    isa_bus_init(&((struct isa_bridge *)device)->bus, "isa.0", device);
}

static const struct state_field bridge_fields[] = {
    STATE(STRUCT, "bus", struct isa_bridge, bus, .table = &isa_bus_state),
    STATE_END,
};
static const struct state_table bridge_state = {
    .name = "isabus-bridge", .version = 1, .min_version = 1, .fields = bridge_fields};

const struct hw_device_type isa_bridge_type = {
    .name = "isabus-bridge",
    .help = "ISA bus of a board without PCI",
    .size = sizeof(struct isa_bridge),
    .state = &bridge_state,
    .internal = true,
    .init = bridge_init,
};
