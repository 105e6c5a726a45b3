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
    uint64_t used[ISA_IRQS]; /* inputs of each gate that are connected, a bit each */
};

struct isa_bridge {
    struct hw_device device;
    struct isa_bus bus;
};

extern const struct hw_bus_type isa_bus_type; /* "ISA" */
extern const struct hw_device_type isa_bridge_type;

/* A zeroed bus as a child of `parent`; in its init. */
void isa_bus_init(struct isa_bus *bus, const char *name, struct hw_device *parent);

/* Levels of shared lines, which senders do not repeat: of struct isa_bus, for its bridge's table.
 */
extern const struct state_table isa_bus_state;

/*
 * For devices, in realize: puts registers at a port. 0, or -EINVAL with a line in error[] when they
 * reach beyond the port space. Undone by mem_region_retire().
 */
int isa_add_ports(struct hw_device *device, uint32_t port, struct mem_region *region, char *error,
                  size_t error_size);

/* Connects an output to a line below ISA_IRQS. 0, or -ENOSPC: too many share it. */
int isa_connect(struct isa_bus *bus, unsigned irq, struct hw_irq *out);
/* Lowers an output that is connected and takes it from the line. */
void isa_disconnect(struct isa_bus *bus, unsigned irq, struct hw_irq *out);

#endif
