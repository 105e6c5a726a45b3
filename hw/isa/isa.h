/*
 * The ISA bus: ports and interrupt lines 0 to 15, which devices plugged into it take by number.
 *
 * Where a board has no PCI-to-ISA bridge, the device "isabus-bridge" brings a bus named "isa.0".
 * Wiring: create isa_bridge_type, set the fields of its `bus` that are the machine's, realize; a
 * bridge of another kind embeds a struct isa_bus of its own.
 *
 * Devices that share an interrupt line are joined by an OR gate; a board connects its own devices
 * through isa_connect() too if they may share.
 */
#ifndef TINAMOU_HW_ISA_ISA_H
#define TINAMOU_HW_ISA_ISA_H

#include "cpu/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq.h"

enum { ISA_IRQS = 16, ISA_PORTS = 0x10000 };

struct isa_bus {
    struct hw_bus bus;
    /* set by the machine before devices are plugged */
    struct mem_region *io;               /* the port space, a container of ISA_PORTS bytes */
    struct hw_irq_input *irqs[ISA_IRQS]; /* where lines lead; NULL: nowhere */
    struct cpu_clock_source *clock;
    /* private */
    struct hw_irq_or gates[ISA_IRQS];
    unsigned used[ISA_IRQS]; /* inputs of each gate */
};

struct isa_bridge {
    struct hw_device device;
    struct isa_bus bus;
};

extern const struct hw_bus_type isa_bus_type; /* "ISA" */
extern const struct hw_device_type isa_bridge_type;

/* A zeroed bus as a child of `parent`; in its init. */
void isa_bus_init(struct isa_bus *bus, const char *name, struct hw_device *parent);

/*
 * For devices, in realize: puts registers at a port; connects an output to an interrupt line. 0, or
 * -EINVAL (they reach beyond the port space; there is no such line), -ENOSPC (too many devices
 * share the line), with a line in error[]. They are undone by mem_region_retire(), and by
 * isa_disconnect() of the same arguments.
 */
int isa_add_ports(struct hw_device *device, uint32_t port, struct mem_region *region, char *error,
                  size_t error_size);
int isa_connect(struct isa_bus *bus, unsigned irq, struct hw_irq *out, char *error,
                size_t error_size);
void isa_disconnect(struct isa_bus *bus, unsigned irq, struct hw_irq *out);

#endif
