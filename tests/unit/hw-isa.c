/* The ISA bus and what plugs into it: serial ports, the port that ends the emulator. */
#define BENCH_CHARDEV
#include "hw/char/isa-serial.h"
#include "hw/core/runstate.h"
#include "hw/isa/isa.h"
#include "hw/misc/isa-debug-exit.h"

#include "tests/unit/hw-bench.h"

static struct mem_region ports;
static struct bench_line lines[ISA_IRQS];
static struct isa_bridge *bridge;
static struct chardev chr = {.room = 100};

/* Plugs one in; NULL and a message when that fails. */
static void *plug(const struct hw_device_type *type, const char *properties, char *error,
                  size_t error_size)
{
    struct hw_device *device = bench_create(type, properties);

    *error = '\0';
    if (hw_device_realize(device, &bridge->bus.bus, false, error, error_size)) {
        hw_device_destroy(device);
        return NULL;
    }
    hw_reset_device(device, true);
    return device;
}

static void check_exit(void)
{
    enum hw_cause cause;
    uint32_t detail = 0;
    char error[256];
    struct isa_debug_exit *standard = plug(&isa_debug_exit_type, "", error, sizeof(error));
    struct isa_debug_exit *other =
        plug(&isa_debug_exit_type, "iobase=0xf4,iosize=0x04", error, sizeof(error));

    tap_ok(standard && other, "plugged");
    tap_eq(bench_read(0x501, 1), 0, "reads do nothing");
    tap_ok(!hw_runstate_take(HW_REQUEST_SHUTDOWN, &cause, &detail), "nothing yet");
    bench_write(0x501, 1, 0x10);
    tap_ok(hw_runstate_take(HW_REQUEST_SHUTDOWN, &cause, &detail) && cause == HW_CAUSE_GUEST &&
               detail == 0x21,
           "a write ends the process");
    bench_write(0xf4, 4, 0x11);
    tap_ok(hw_runstate_take(HW_REQUEST_SHUTDOWN, &cause, &detail) && detail == 0x23, "by words");
    bench_write(0xf5, 2, 0);
    tap_ok(hw_runstate_take(HW_REQUEST_SHUTDOWN, &cause, &detail) && detail == 1, "anywhere");
    tap_ok(!plug(&isa_debug_exit_type, "iobase=0xffff", error, sizeof(error)), "beyond the ports");
    tap_str(error, "isa-debug-exit: iobase=0xffff: expected at most 0xfffe, for 2 ports",
            "is refused");
    hw_device_destroy(&standard->device);
    tap_eq(bench_read(0x501, 1), UINT64_MAX, "gone");
}

static void check_serial(void)
{
    static const uint16_t iobase[4] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    static const uint8_t irq[4] = {4, 3, 4, 3};
    struct isa_serial *s[5], *other;
    struct state_buffer buffer = {0};
    char error[256];
    unsigned good = 0;

    bench_chardev = &chr;
    tap_ok(!plug(&isa_serial_type, "chardev=none", error, sizeof(error)), "no such chardev");
    tap_str(error, "isa-serial: chardev=none: there is no such character device", "is named");
    for (unsigned i = 0; i < 4; i++) {
        s[i] = plug(&isa_serial_type, i ? "" : "chardev=bench", error, sizeof(error));
        bench_write(iobase[i] + 7u, 1, 0x50 + i);
        good += bench_read(iobase[i] + 7u, 1) == 0x50 + i && s[i]->irq == irq[i];
    }
    tap_eq(good, 4, "four ports, each at its place");
    tap_ok(!plug(&isa_serial_type, "", error, sizeof(error)), "a fifth");
    tap_str(error, "isa-serial: expected iobase= and irq=, as there are 4 serial ports already",
            "has to say where");
    s[4] = plug(&isa_serial_type, "iobase=0x6f0,irq=5", error, sizeof(error));
    bench_write(0x6f7, 1, 0x33);
    tap_ok(s[4] && bench_read(0x6f7, 1) == 0x33, "it may");
    tap_ok(!plug(&isa_serial_type, "index=1,chardev=bench", error, sizeof(error)),
           "a chardev has one device");
    tap_str(error, "serial: chardev=bench: another device uses it", "and says so");
    tap_ok(!plug(&isa_serial_type, "iobase=0xfff9,irq=5", error, sizeof(error)),
           "beyond the ports");

    bench_write(0x3f8, 1, 'x');
    tap_str(bench_sent(&chr), "x", "it sends");
    bench_write(0x3f9, 1, 1);
    bench_type(&chr, "y");
    tap_ok(lines[4].level && bench_read(0x3f8, 1) == 'y' && !lines[4].level, "and receives");
    bench_write(0x3e9, 1, 2);
    bench_type(&chr, "z");
    tap_ok(lines[4].level, "two share a line");
    bench_read(0x3fa, 1);
    bench_read(0x3f8, 1);
    tap_ok(lines[4].level, "which stays high for the second");
    tap_eq(state_save(isa_bridge_type.state, bridge, &buffer, error, sizeof(error)), 0, "saved");
    bench_read(0x3ea, 1);
    tap_ok(!lines[4].level, "until that has enough too");
    tap_eq(state_load(isa_bridge_type.state, bridge, buffer.data, buffer.size, NULL, error,
                      sizeof(error)),
           0, "loaded");
    tap_ok(bridge->bus.gates[4].out.level && !lines[4].level, "levels are not sent again");
    buffer.data[buffer.size - 1] = 0x80;
    tap_ok(state_load(isa_bridge_type.state, bridge, buffer.data, buffer.size, NULL, error,
                      sizeof(error)) < 0,
           "a line of nobody is refused");
    state_buffer_free(&buffer);

    other = bench_create(&isa_serial_type, "iobase=0x100,irq=9");
    hw_device_realize(&other->uart.device, &bridge->bus.bus, false, error, sizeof(error));
    bench_write(0x2ff, 1, 0x77);
    tap_eq(bench_move(isa_serial_type.state, s[1], other), 0, "state moves");
    tap_eq(bench_read(0x107, 1), 0x77, "to another");
    bench_write(0x101, 1, 2);
    tap_ok(lines[9].level, "with its own line");
    hw_device_destroy(&other->uart.device);
    tap_ok(!lines[9].level, "which falls when it goes");
    good = 0;
    for (unsigned i = 0; i < 70; i++) {
        good += plug(&isa_serial_type, "iobase=0x200,irq=7", error, sizeof(error)) != NULL;
    }
    tap_eq(good, 64, "a line has so many");
    tap_str(error, "isa-serial: irq=7: too many devices share it", "not more");
}

int main(void)
{
    char error[256];

    bench_init();
    hw_lock_acquire();
    mem_region_init_container(&ports, "io", ISA_PORTS);
    bench_put(0, &ports);
    bridge = bench_create(&isa_bridge_type, "");
    bridge->bus.io = &ports;
    bridge->bus.clock = &bench_clock;
    for (unsigned n = 0; n < ISA_IRQS; n++) {
        lines[n].in = (struct hw_irq_input){bench_line_changed, &lines[n], n};
        bridge->bus.irqs[n] = &lines[n].in;
    }
    tap_ok(hw_device_realize(&bridge->device, NULL, false, error, sizeof(error)) == 0 &&
               strcmp(bridge->bus.bus.name, "isa.0") == 0,
           "the bridge");
    check_exit();
    check_serial();
    hw_device_destroy(&bridge->device);
    tap_ok(!chr.handlers && !bench_timers && !ports.children, "nothing is left behind");
    hw_lock_release();
    return tap_done();
}
