/* The port that ends the emulator. It reads as zero. */
#include "hw/misc/isa-debug-exit.h"
#include "hw/core/runstate.h"
#include "hw/isa/isa.h"

static int exit_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    *value = 0;
    return 0;
}

static int exit_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    hw_runstate_request(HW_REQUEST_SHUTDOWN, HW_CAUSE_GUEST, (uint32_t)value << 1 | 1);
    return 0;
}

static const struct mem_ops exit_ops = {
    .read = exit_read, .write = exit_write, .max_size = 4, .split = true, .unaligned = true};

static int exit_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct isa_debug_exit *port = (struct isa_debug_exit *)device;
    int err;

    mem_region_init_mmio(&port->io, "isa-debug-exit", port->iosize, &exit_ops, port,
                         &device->owner);
    err = isa_add_ports(device, port->iobase, &port->io, error, error_size);
    if (err) {
        mem_region_retire(&port->io, NULL, NULL);
    }
    return err;
}

static void exit_unrealize(struct hw_device *device)
{
    mem_region_retire(&((struct isa_debug_exit *)device)->io, NULL, NULL);
}

static const struct property exit_properties[] = {
    PROPERTY(U32, "iobase", struct isa_debug_exit, iobase, .number = 0x501, .max = ISA_PORTS - 1,
             .help = "port"),
    PROPERTY(U32, "iosize", struct isa_debug_exit, iosize, .number = 2, .min = 1, .max = ISA_PORTS,
             .help = "how many ports"),
    PROPERTY_END,
};

const struct hw_device_type isa_debug_exit_type = {
    .name = "isa-debug-exit",
    .bus = "ISA",
    .help = "port that ends the emulator",
    .size = sizeof(struct isa_debug_exit),
    .properties = exit_properties,
    .realize = exit_realize,
    .unrealize = exit_unrealize,
};
