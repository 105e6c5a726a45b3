/* The 16550A: FIFOs, interrupts in their order, flow control both ways, loopback, break. */
#define BENCH_CHARDEV
#include "hw/char/serial16550.h"

#include "tests/unit/hw-bench.h"

enum { UART = 0x10000000, RBR = 0, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct chardev chr = {.room = 1000};
static struct bench_line line;

static uint8_t get(unsigned reg)
{
    return (uint8_t)bench_read(UART + reg, 1);
}

static void set(unsigned reg, uint8_t value)
{
    bench_write(UART + reg, 1, value);
}

static void check_probe(void)
{
    tap_eq(get(LSR), 0x60, "the transmitter is empty");
    tap_eq(get(IIR), 0x01, "no interrupt");
    tap_eq(get(MSR), 0xb0, "the host is there");
    set(SCR, 0x5a);
    tap_eq(get(SCR), 0x5a, "scratch");
    set(IER, 0xff);
    tap_eq(get(IER), 0x0f, "IER has four bits: no 16750");
    get(IIR);
    set(IER, 0);
    set(LCR, 0x83);
    tap_eq(get(RBR), 12, "divisor after reset");
    set(RBR, 0x34);
    set(IER, 0x12);
    tap_ok(get(RBR) == 0x34 && get(IER) == 0x12, "divisor");
    set(RBR, 1);
    set(IER, 0);
    set(LCR, 0x03);
    tap_eq(get(IER), 0, "IER is behind the divisor");
    set(MCR, 0x1a);
    tap_eq(get(MSR) & 0xf0, 0x90, "loopback of RTS and OUT2, as Linux probes");
    set(MCR, 0xff);
    tap_eq(get(MCR), 0x1f, "MCR has five bits");
    set(MCR, 0);
    get(MSR);
    set(IIR, 0x01);
    tap_eq(get(IIR), 0xc1, "FIFOs work");
    set(IIR, 0);
}

static void check_transmit(void)
{
    set(RBR, 'a');
    set(RBR, 'b');
    tap_str(bench_sent(&chr), "ab", "bytes are sent");
    tap_ok(!line.level, "nobody asked for interrupts");
    set(IER, 2);
    tap_ok(line.level, "enabling the interrupt of an empty THR raises it");
    tap_eq(get(IIR), 0x02, "IIR tells");
    tap_ok(!line.level && get(IIR) == 0x01, "once");
    set(RBR, 'c');
    tap_ok(line.level, "sent and empty again");
    get(IIR);
    chr.room = 1;
    set(IIR, 0x01);
    for (unsigned i = 0; i < 16; i++) {
        set(RBR, (uint8_t)('A' + i));
    }
    tap_eq(get(LSR), 0x00, "a slow host leaves the FIFO filled");
    chr.room = 3;
    get(IIR);
    line.rises = 0;
    bench_take(&chr);
    tap_ok(get(LSR) == 0 && !line.level, "some are taken");
    chr.room = 1000;
    bench_take(&chr);
    tap_str(bench_sent(&chr), "cABCDEFGHIJKLMNOP", "nothing is lost, in order");
    tap_ok(get(LSR) == 0x60 && line.rises == 1, "and empty is an interrupt");
    chr.room = 0;
    for (unsigned i = 0; i < 18; i++) {
        set(RBR, (uint8_t)('a' + i));
    }
    chr.room = 1000;
    bench_take(&chr);
    tap_str(bench_sent(&chr), "abcdefghijklmnor", "a full FIFO's last byte is overwritten");
    chr.room = 0;
    set(RBR, 'x');
    get(IIR);
    set(IIR, 0x05);
    tap_ok(get(LSR) == 0x60 && get(IIR) == 0xc2, "a transmit reset empties it");
    chr.room = 1000;
    bench_take(&chr);
    tap_str(bench_sent(&chr), "", "nothing comes after it");
    set(IER, 0);
    set(IIR, 0);
}

static void check_receive(void)
{
    bench_type(&chr, "12");
    tap_eq(get(LSR), 0x61, "a byte is there");
    tap_eq(get(RBR), '1', "the first");
    tap_eq(get(RBR), '2', "the chardev kept the second");
    tap_eq(get(LSR), 0x60, "that was all");
    tap_eq(get(RBR), '2', "an empty receiver shows the last");
    set(IER, 1);
    set(IIR, 0x81);
    bench_type(&chr, "1234567");
    tap_ok(!line.level, "seven of eight bytes are below the trigger level");
    bench_advance(10 * INT64_C(1000000000) / 115200 * 4 - 1);
    tap_ok(!line.level, "for a while");
    bench_advance(1);
    tap_ok(line.level && get(IIR) == 0xcc, "after four characters they time out");
    tap_eq(get(RBR), '1', "reading");
    tap_ok(!line.level, "ends the time-out");
    bench_advance(1000000);
    tap_ok(line.level, "which comes again for those that stay");
    bench_type(&chr, "89abcdefghijk");
    tap_ok(line.level && get(IIR) == 0xc4, "the trigger level goes first");
    tap_eq(chr.waiting_count, 3, "sixteen are taken, not more");
    for (unsigned i = 0; i < 3; i++) {
        get(RBR);
    }
    tap_eq(chr.waiting_count, 0, "the rest when there is room");
    set(IIR, 0x83);
    tap_ok(get(LSR) == 0x60 && !line.level, "a receive reset empties it");
    bench_advance(1000000);
    tap_ok(!line.level, "nothing is left to time out");
}

static void check_line_status(void)
{
    struct mem_attrs debug = {.debug = 1};
    uint64_t value;

    set(IER, 0x0f);
    set(IIR, 0x01);
    get(IIR);
    bench_type(&chr, "x");
    if (chr.handlers) {
        chr.handlers->event(chr.opaque, CHARDEV_BREAK);
    }
    tap_eq(get(LSR), 0xe1, "a break waits behind a byte");
    tap_eq(get(IIR), 0xc4, "received data");
    tap_eq(get(RBR), 'x', "the byte");
    tap_eq(get(IIR), 0xc6, "now the break's interrupt is first");
    mem_access_load(&bench_space, mem_gpa(UART + LSR), 1, &value, debug);
    tap_eq(value, 0xf1, "break");
    tap_eq(get(LSR), 0xf1, "a debugger did not clear it");
    tap_eq(get(LSR), 0x61, "a read does");
    tap_eq(get(RBR), 0, "its byte is 0");
    set(MCR, 0x10);
    get(MSR);
    bench_type(&chr, "w");
    tap_eq(get(LSR), 0x60, "in loopback nothing comes from outside");
    for (unsigned i = 0; i < 17; i++) {
        set(RBR, (uint8_t)i);
    }
    tap_str(bench_sent(&chr), "", "and nothing goes out");
    tap_eq(get(IIR), 0xc6, "seventeen bytes");
    tap_eq(get(LSR), 0x63, "are one too many");
    tap_eq(get(RBR), 0, "the first is there");
    set(MCR, 0x14);
    set(MCR, 0x10);
    set(IIR, 0x03);
    tap_ok(get(IIR) == 0xc2 && get(IIR) == 0xc0, "an empty THR goes before the modem's lines");
    tap_eq(get(MSR), 0x04, "ring has ended");
    tap_ok(get(IIR) == 0xc1 && !line.level, "reading MSR was all");
    set(MCR, 0);
    tap_eq(get(RBR), 'w', "out of loopback, what waited comes");
    set(IIR, 0);
    set(MCR, 0x10);
    set(RBR, 'p');
    set(RBR, 'q');
    tap_ok(get(LSR) == 0x63 && get(RBR) == 'q', "without FIFO the new byte overruns the old");
    set(MCR, 0);
    get(MSR);
    set(IER, 0);
}

static void check_life(struct serial16550 *s)
{
    struct serial16550 *other = bench_create(&serial16550_type, "regshift=2,baudbase=1");
    struct chardev second = {.room = 0};
    struct serial16550 *refused = bench_create(&serial16550_type, "");
    char error[256];

    refused->chr = &chr;
    refused->clock = other->clock = &bench_clock;
    tap_ok(hw_device_realize(&refused->device, NULL, false, error, sizeof(error)) == -EBUSY,
           "a chardev has one device");
    tap_str(error, "serial: chardev=bench: another device uses it", "and says so");
    other->chr = &second;
    bench_realize(other);
    bench_put(0x20000000, &other->mmio);
    set(IER, 1);
    set(IIR, 0x41);
    chr.room = 0;
    set(RBR, 't');
    bench_type(&chr, "r");
    second.room = 100;
    tap_eq(bench_move(serial16550_type.state, s, other), 0, "state moves");
    tap_str(bench_sent(&second), "t", "what was not sent is sent");
    tap_eq(bench_read(0x20000000 + 4 * LSR, 4), 0x61, "registers are four bytes apart");
    tap_ok(!other->out.level, "below the trigger");
    bench_advance(INT64_C(600000000000));
    tap_ok(other->out.level, "until the time-out, which is long at one baud");
    s->rx.count = 17;
    tap_ok(bench_move(serial16550_type.state, s, other) < 0, "an impossible state is refused");
    hw_reset_device(&s->device, false);
    tap_ok(!line.level && get(LSR) == 0x60 && get(IER) == 0, "reset");
    for (unsigned reg = 0; reg < 8; reg++) {
        for (unsigned value = 0; value < 256; value += 51) {
            set(reg, (uint8_t)value);
            get(reg);
        }
    }
    tap_ok(true, "anything may be written anywhere");
    tap_eq(bench_read(UART, 8) & ~UINT64_C(0xff), 0, "wide accesses see one register");
    mem_region_remove(&s->mmio);
    mem_region_remove(&other->mmio);
    hw_device_destroy(&s->device);
    hw_device_destroy(&other->device);
    hw_device_destroy(&refused->device);
    tap_ok(!chr.handlers && !bench_timers, "nothing is left behind");
}

int main(void)
{
    struct serial16550 *s;

    bench_init();
    hw_lock_acquire();
    s = bench_create(&serial16550_type, "");
    s->chr = &chr;
    s->clock = &bench_clock;
    bench_realize(s);
    bench_put(UART, &s->mmio);
    bench_watch(&line, &s->out);
    check_probe();
    check_transmit();
    check_receive();
    check_line_status();
    check_life(s);
    hw_lock_release();
    return tap_done();
}
