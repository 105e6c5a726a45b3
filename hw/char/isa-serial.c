/* A 16550A at the ports and on the interrupt line of a PC's serial port. */
#include "hw/char/isa-serial.h"
#include "hw/isa/isa.h"
#include "io/chardev/chardev.h"

#include <errno.h>
#include <stdio.h>

static const struct {
    uint16_t iobase;
    uint8_t irq;
} ports[] = {{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}};

enum { PORTS = sizeof(ports) / sizeof(ports[0]) };

static int count_ports(const struct hw_bus *bus)
{
    int count = 0;

    for (const struct hw_device *d = bus->devices; d; d = d->next) {
        count += d->type == &isa_serial_type;
    }
    return count;
}

/* Which port it is, and where that is. */
static int choose_place(struct isa_serial *s, char *error, size_t error_size)
{
    if (s->index < 0) {
        s->index = count_ports(s->uart.device.bus);
    }
    if (s->index >= PORTS && (s->iobase < 0 || s->irq < 0)) {
        snprintf(error, error_size,
                 "isa-serial: expected iobase= and irq=, as there are %d serial ports already",
                 PORTS);
        return -EINVAL;
    }
    if (s->iobase < 0) {
        s->iobase = ports[s->index].iobase;
    }
    if (s->irq < 0) {
        s->irq = ports[s->index].irq;
    }
    return 0;
}

static int find_chardev(struct isa_serial *s, char *error, size_t error_size)
{
    if (s->chardev) {
        s->uart.chr = chardev_find(s->chardev);
        if (!s->uart.chr) {
            snprintf(error, error_size, "isa-serial: chardev=%s: there is no such character device",
                     s->chardev);
            return -ENOENT;
        }
    }
    return 0;
}

static int serial_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct isa_serial *s = (struct isa_serial *)device;
    struct isa_bus *bus = (struct isa_bus *)device->bus;
    int err = choose_place(s, error, error_size);

    if (!err) {
        err = find_chardev(s, error, error_size);
    }
    if (err) {
        return err;
    }
    s->uart.clock = bus->clock;
    s->uart.narrow = true;
    err = serial16550_type.realize(device, error, error_size);
    if (err) {
        return err;
    }
    err = isa_add_ports(device, (uint32_t)s->iobase, &s->uart.mmio, error, error_size);
    if (!err) {
        err = isa_connect(bus, (unsigned)s->irq, &s->uart.out);
        if (err) {
            snprintf(error, error_size, "isa-serial: irq=%d: too many devices share it",
                     (int)s->irq);
        }
    }
    if (err) {
        serial16550_type.unrealize(device);
    }
    return err;
}

static void serial_unrealize(struct hw_device *device)
{
    struct isa_serial *s = (struct isa_serial *)device;

    isa_disconnect((struct isa_bus *)device->bus, (unsigned)s->irq, &s->uart.out);
    serial16550_type.unrealize(device);
}

static void serial_reset_enter(struct hw_device *device, bool cold)
{
    serial16550_type.reset_enter(device, cold);
}

static void serial_reset_hold(struct hw_device *device)
{
    serial16550_type.reset_hold(device);
}

static void serial_reset_exit(struct hw_device *device)
{
    serial16550_type.reset_exit(device);
}

static const struct property serial_properties[] = {
    PROPERTY(I32, "index", struct isa_serial, index, .number = -1, .low = -1, .high = PORTS - 1,
             .help = "0 to 3 for COM1 to COM4; -1: the next one"),
    PROPERTY(I32, "iobase", struct isa_serial, iobase, .number = -1, .low = -1,
             .high = ISA_PORTS - 1, .help = "first port; -1: by index"),
    PROPERTY(I32, "irq", struct isa_serial, irq, .number = -1, .low = -1, .high = ISA_IRQS - 1,
             .help = "interrupt line; -1: by index"),
    PROPERTY(STRING, "chardev", struct isa_serial, chardev,
             .help = "id of the character device that is the host's end"),
    PROPERTY(U32, "baudbase", struct isa_serial, uart.baudbase, .number = 115200, .min = 1,
             .max = UINT32_MAX, .help = "bits a second at divisor 1"),
    PROPERTY_END,
};
static const struct state_field serial_fields[] = {
    STATE(STRUCT, "uart", struct isa_serial, uart, .table = &serial16550_state),
    STATE_END,
};
static const struct state_table serial_state = {
    .name = "isa-serial", .version = 1, .min_version = 1, .fields = serial_fields};

const struct hw_device_type isa_serial_type = {
    .name = "isa-serial",
    .bus = "ISA",
    .help = "16550A serial port",
    .size = sizeof(struct isa_serial),
    .properties = serial_properties,
    .state = &serial_state,
    .realize = serial_realize,
    .unrealize = serial_unrealize,
    .reset_enter = serial_reset_enter,
    .reset_hold = serial_reset_hold,
    .reset_exit = serial_reset_exit,
};
