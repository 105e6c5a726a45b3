/* The 8254: what each mode counts and puts out at which tick, latches, BCD, gates, and no drift. */
#include "hw/timer/i8254.h"

#include "tests/unit/hw-bench.h"

#include <errno.h>

enum { C0 = 0x40, C2 = 0x42, CONTROL = 0x43, PORT_B = 0x61 };

static struct i8254 *pit;
static struct bench_line irq;
static int64_t tick; /* of the input clock, now */

/* To the first nanosecond of a tick. */
static void go_to(int64_t to)
{
    tick = to;
    bench_advance(cpu_clock_from_ticks((uint64_t)to, I8254_FREQUENCY) -
                  bench_now[CPU_CLOCK_VIRTUAL]);
}

static void go(int64_t ticks)
{
    go_to(tick + ticks);
}

static void out(unsigned port, uint8_t value)
{
    bench_write(port, 1, value);
}

static uint8_t in(unsigned port)
{
    return (uint8_t)bench_read(port, 1);
}

/* Counter n (0 or 2) in a mode with a count, both bytes of it; counts at the next tick. */
static void start(unsigned n, unsigned mode, unsigned count)
{
    out(CONTROL, (uint8_t)(n << 6 | 0x30 | mode << 1));
    out(C0 + n, (uint8_t)count);
    out(C0 + n, (uint8_t)(count >> 8));
}

static unsigned count_of(unsigned n)
{
    unsigned low;

    out(CONTROL, (uint8_t)(n << 6));
    low = in(C0 + n);
    return low | (unsigned)in(C0 + n) << 8;
}

static uint8_t status_of(unsigned n)
{
    out(CONTROL, (uint8_t)(0xe0 | 2 << n));
    return in(C0 + n);
}

static bool output(unsigned n)
{
    return status_of(n) & 0x80;
}

static void gate(bool level)
{
    out(PORT_B, level);
}

static void check_reset(void)
{
    tap_eq(status_of(0) & 0x3f, 0x36, "counter 0 runs as a square wave after reset");
    go(1 + 10);
    tap_eq(count_of(0), 65536 - 20, "by two");
    tap_ok(irq.level, "its line is high");
    go(32758);
    tap_ok(!irq.level, "for half of the period");
    go(32768);
    tap_ok(irq.level && irq.rises == 2, "and again");
}

static void check_mode_0(void)
{
    start(0, 0, 1000);
    tap_ok(!irq.level && !output(0), "mode 0: low");
    tap_eq(status_of(0), 0x70, "the count is not taken over yet");
    go(1);
    tap_eq(status_of(0), 0x30, "now it is");
    tap_eq(count_of(0), 1000, "at the tick after it was written");
    go(999);
    tap_ok(count_of(0) == 1 && !output(0) && !irq.level, "counts down");
    irq.rises = 0;
    go(1);
    tap_ok(count_of(0) == 0 && output(0) && irq.level && irq.rises == 1, "to 0, after N + 1");
    go(5);
    tap_ok(count_of(0) == 65531 && output(0), "and goes on");
    go(200000);
    tap_ok(irq.rises == 1 && irq.level, "once");
    out(C0, 100);
    tap_ok(!irq.level, "the first byte of another count lowers it");
    go(50);
    tap_ok(status_of(0) & 0x40, "and stops it");
    out(C0, 0);
    go(101);
    tap_ok(irq.level, "the second one begins anew");
    start(0, 0, 100);
    go(50);
    out(C0, 200);
    out(C0, 0);
    go(1);
    tap_eq(count_of(0), 200, "a new count replaces the old");
    start(0, 0, 0);
    go(65536);
    tap_ok(!irq.level, "0 is 65536");
    go(1);
    tap_ok(irq.level, "ticks");

    gate(false);
    start(2, 0, 10);
    go(100);
    tap_eq(count_of(2), 10, "without gate it does not count");
    gate(true);
    go(4);
    tap_eq(count_of(2), 6, "it does with the gate");
    gate(false);
    go(100);
    tap_ok(count_of(2) == 6 && !output(2), "stops");
    gate(true);
    go(6);
    tap_ok(output(2) && in(PORT_B)&0x20, "and goes on; port 0x61 shows the output");
}

static void check_mode_1(void)
{
    gate(false);
    start(2, 1, 5);
    tap_ok(output(2) && status_of(2) == 0xf2, "mode 1: high until triggered");
    go(10);
    gate(true);
    go(1);
    tap_ok(!output(2) && status_of(2) == 0x32 && count_of(2) == 5, "low from the tick after it");
    gate(false);
    go(4);
    tap_ok(!output(2) && count_of(2) == 1, "whatever the gate does then");
    go(1);
    tap_ok(output(2) && count_of(2) == 0, "for N ticks");
    go(1);
    tap_eq(count_of(2), 65535, "it goes on counting");
    gate(true);
    go(3);
    out(C2, 50);
    out(C2, 0);
    tap_ok(count_of(2) == 3 && status_of(2) & 0x40, "a new count waits for the next trigger");
    gate(false);
    gate(true);
    go(1);
    tap_ok(count_of(2) == 50 && !output(2), "which may come while it is low");
    go(50);
    tap_ok(output(2), "to the end of the new count");
    gate(false);
}

static void check_mode_2(void)
{
    start(0, 2, 4);
    go(1);
    for (unsigned i = 0; i < 12; i++) {
        if (count_of(0) != 4 - i % 4 || output(0) != (i % 4 != 3)) {
            tap_ok(false, "mode 2 at tick %u: %u", i, count_of(0));
        }
        go(1);
    }
    tap_ok(output(0), "mode 2: low for the last tick of each period");
    start(0, 2, 1000);
    go(1);
    irq.rises = 0;
    go(1000);
    tap_ok(irq.rises == 1 && irq.level, "an interrupt a period");
    go(300);
    out(C0, 0xd0);
    out(C0, 0x07);
    tap_ok(count_of(0) == 700 && status_of(0) & 0x40, "a new count waits");
    go(700);
    tap_ok(count_of(0) == 2000 && irq.rises == 2 && !(status_of(0) & 0x40),
           "for the end of the period");
    go(1999);
    tap_eq(irq.rises, 2, "which is longer now");
    go(1);
    tap_eq(irq.rises, 3, "by what was said");
    out(C0, 100);
    out(C0, 0);
    go(2000 + 550);
    tap_ok(irq.rises == 4 || irq.rises == 5, "periods that were missed are not made up for");
    tap_eq(count_of(0), 50, "but nothing is displaced");
    irq.rises = 0;
    go(50);
    tap_eq(irq.rises, 1, "the next one is in time");
    start(0, 2, 1);
    go(1000);
    tap_ok(output(0), "a count of 1 is no period");

    gate(false);
    start(2, 2, 10);
    go(20);
    tap_ok(output(2) && count_of(2) == 10, "without gate");
    gate(true);
    go(10);
    tap_ok(!output(2) && count_of(2) == 1, "the gate begins a period");
    gate(false);
    tap_ok(output(2), "and without it the output is high");
    go(50);
    gate(true);
    go(1);
    tap_eq(count_of(2), 10, "anew");
}

static void check_mode_3(void)
{
    static const uint8_t even[] = {6, 4, 2, 6, 4, 2}, odd[] = {6, 4, 2, 0, 6, 4, 2};

    start(0, 3, 6);
    go(1);
    for (unsigned i = 0; i < 18; i++) {
        if (count_of(0) != even[i % 6] || output(0) != (i % 6 < 3)) {
            tap_ok(false, "mode 3 at tick %u: %u", i, count_of(0));
        }
        go(1);
    }
    start(0, 7, 7);
    go(1);
    for (unsigned i = 0; i < 21; i++) {
        if (count_of(0) != odd[i % 7] || output(0) != (i % 7 < 4)) {
            tap_ok(false, "mode 3 of an odd count at tick %u: %u", i, count_of(0));
        }
        go(1);
    }
    tap_eq(status_of(0) & 0x3f, 0x3e, "mode 7 is mode 3 by another name");
    start(0, 3, 1000);
    go(1);
    irq.rises = 0;
    go(500);
    tap_ok(!irq.level, "half of the time low");
    go(100);
    out(C0, 200);
    out(C0, 0);
    go(400);
    tap_ok(irq.level && count_of(0) == 200 && irq.rises == 1, "a new count at the next half");
    go(100);
    tap_ok(!irq.level, "whose halves are its own");
    go(1);
    out(C0, 100);
    out(C0, 0);
    go(99);
    tap_ok(irq.level && count_of(0) == 100, "also in the low half");
    go(10);
    out(C0, 0xe8);
    out(C0, 3);
    go(40);
    tap_ok(!irq.level && count_of(0) == 1000, "from the high half on");
    go(500);
    tap_ok(irq.level, "to its end");
}

static void check_mode_4_5(void)
{
    start(0, 4, 10);
    tap_ok(output(0), "mode 4: high");
    irq.rises = 0;
    go(10);
    tap_ok(output(0) && count_of(0) == 1, "while it counts");
    go(1);
    tap_ok(!output(0) && count_of(0) == 0, "low at 0");
    go(1);
    tap_ok(output(0) && irq.level && irq.rises == 1, "for a tick");
    go(100000);
    tap_eq(irq.rises, 1, "once");
    out(C0, 20);
    out(C0, 0);
    go(22);
    tap_eq(irq.rises, 2, "and once more");
    gate(false);
    start(2, 5, 3);
    go(10);
    tap_ok(output(2), "mode 5: nothing without a trigger");
    gate(true);
    go(4);
    tap_ok(!output(2), "low after N + 1");
    go(1);
    tap_ok(output(2), "for a tick");
    gate(false);
    gate(true);
    go(2);
    gate(false);
    gate(true);
    go(3);
    tap_ok(output(2), "triggered once more");
    go(1);
    tap_ok(!output(2), "it is later");
}

static void check_access(void)
{
    uint64_t value;
    struct mem_attrs debug = {.debug = 1};

    out(CONTROL, 0x14);
    out(C0, 200);
    go(1);
    tap_ok(in(C0) == 200 && in(C0) == 200, "low byte only");
    tap_eq(count_of(0) & 0xff, 200, "latched too");
    out(CONTROL, 0x24);
    out(C0, 3);
    go(1);
    tap_ok(in(C0) == 3 && in(C0) == 3, "high byte only");
    go(1);
    tap_eq(in(C0), 2, "of 767");
    start(0, 2, 0x1234);
    go(1);
    tap_ok(in(C0) == 0x34 && in(C0) == 0x12 && in(C0) == 0x34, "both in turn");
    in(C0);
    out(CONTROL, 0x00);
    go(0x234);
    out(CONTROL, 0x00);
    tap_ok(in(C0) == 0x34 && in(C0) == 0x12, "a latched count stays as it was");
    tap_eq(in(C0), 0x00, "until it is read");
    tap_eq(in(C0), 0x10, "both bytes");
    out(CONTROL, 0xc2);
    go(0x10);
    out(CONTROL, 0xc2);
    tap_ok(in(C0) == 0xb4 && in(C0) == 0x00 && in(C0) == 0x10, "read-back: status, then count");
    tap_eq(in(C0), 0xf0, "then as it is");
    in(C0);
    start(2, 2, 0x5555);
    gate(true);
    out(CONTROL, 0xcc);
    tap_ok(in(C2) == 0xf4 && in(C2) == 0x55 && in(C2) == 0x55, "of several counters");
    out(CONTROL, 0xff);
    tap_eq(count_of(2), 0x5555, "of none");
    out(CONTROL, 0x00);
    tap_ok(!mem_access_load(&bench_space, mem_gpa(C0), 1, &value, debug) && value == in(C0),
           "a debugger takes no byte away");
    in(C0);
    out(CONTROL, 0x00);
    start(0, 2, 0x100);
    tap_ok(in(C0) == 0 && in(C0) == 1, "a new mode forgets what is latched");
    out(CONTROL, 0x35);
    out(C0, 0x34);
    out(C0, 0x12);
    go(1);
    tap_eq(count_of(0), 0x1234, "BCD");
    go(35);
    tap_eq(count_of(0), 0x1199, "borrows tens");
    tap_eq(in(C0), 0x99, "without latch too");
    in(C0);
    out(CONTROL, 0x31);
    out(C0, 0);
    out(C0, 0);
    go(2);
    tap_eq(count_of(0), 0x9999, "0 is 10000");
    go(10000);
    tap_ok(count_of(0) == 0x9999 && output(0), "and wraps there");
    bench_write(C0, 2, 0x1234);
    bench_read(C0, 4);
    tap_eq(in(CONTROL), 0, "the control word cannot be read");
}

static void check_drift(void)
{
    unsigned count = 0, wakes = 0;
    int64_t deadline = 0;

    start(0, 2, 11932);
    irq.rises = 0;
    tick = 0;
    for (int64_t end = bench_now[CPU_CLOCK_VIRTUAL] + INT64_C(100000000000);
         bench_now[CPU_CLOCK_VIRTUAL] < end;) {
        deadline = bench_timers->deadline;
        bench_advance(deadline - bench_now[CPU_CLOCK_VIRTUAL] + 137);
        wakes++;
    }
    count = irq.rises;
    tap_ok(count == 10000 || count == 9999, "100 s of 100 Hz are 10000 interrupts, not %u", count);
    tap_ok(wakes <= count + 1, "with a timer each");
    start(0, 2, 2);
    wakes = 0;
    for (int64_t end = bench_now[CPU_CLOCK_VIRTUAL] + 1000000;
         bench_now[CPU_CLOCK_VIRTUAL] < end;) {
        bench_advance(bench_timers->deadline - bench_now[CPU_CLOCK_VIRTUAL]);
        wakes++;
    }
    tap_ok(wakes < 60, "a period of two ticks does not keep the host busy: %u", wakes);
    tick = (int64_t)cpu_clock_to_ticks(bench_now[CPU_CLOCK_VIRTUAL], I8254_FREQUENCY);
    unsigned toggles = 0;
    bool before = in(PORT_B)&0x10;
    for (unsigned i = 0; i < 1800; i++) {
        go(1);
        toggles += before != (bool)(in(PORT_B)&0x10);
        before = in(PORT_B)&0x10;
    }
    tap_eq(toggles, 100, "memory is refreshed every 15 us");
}

static void check_life(void)
{
    struct i8254 *other = bench_create(&i8254_type, "");
    struct bench_line copy;

    other->clock = &bench_clock;
    bench_realize(other);
    bench_watch(&copy, &other->out);
    start(0, 2, 1000);
    out(PORT_B, 0xff);
    tap_eq(in(PORT_B)&0xcf, 0x0f, "port 0x61");
    start(2, 0, 500);
    go(1);
    go(400);
    out(C0, 0x10);
    out(CONTROL, 0x80);
    tap_eq(bench_move(i8254_type.state, pit, other), 0, "state moves");
    mem_region_remove(&pit->io);
    mem_region_remove(&pit->port61);
    bench_put(C0, &other->io);
    bench_put(PORT_B, &other->port61);
    go(10);
    tap_ok(in(C2) == 100 && in(C2) == 0, "what is latched");
    tap_eq(count_of(2), 90, "what counts");
    out(C0, 0x27);
    copy.rises = 0;
    go(590);
    tap_ok(copy.rises == 1 && count_of(0) == 10000, "what is half written");
    pit->counter[1].reload = 0;
    tap_eq(bench_move(i8254_type.state, pit, other), -EINVAL, "no count is refused");
    pit->counter[1].reload = 1;
    pit->counter[1].control = 0;
    tap_eq(bench_move(i8254_type.state, pit, other), -EINVAL, "so is a control word that is none");
    hw_reset_device(&other->device, false);
    tap_ok((status_of(0) & 0x3f) == 0x36 && !(in(PORT_B)&0x0f), "reset");
    for (unsigned i = 0, seed = 1; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        if (seed >> 31) {
            bench_write(seed >> 30 & 1 ? PORT_B : C0 + (seed >> 8 & 3), 1, seed >> 16 & 0xff);
        } else {
            in(seed >> 30 & 1 ? PORT_B : C0 + (seed >> 8 & 3));
        }
        bench_advance(seed % 3 ? seed & 0xfff : seed >> 4);
        if (i % 100 == 0 && bench_move(i8254_type.state, other, other)) {
            tap_ok(false, "its own state");
        }
    }
    tap_ok(true, "anything may be written anywhere at any time");
    mem_region_remove(&other->io);
    mem_region_remove(&other->port61);
    hw_device_destroy(&pit->device);
    hw_device_destroy(&other->device);
    tap_ok(!bench_timers, "no timer is left");
}

int main(void)
{
    bench_init();
    hw_lock_acquire();
    pit = bench_create(&i8254_type, "");
    pit->clock = &bench_clock;
    bench_watch(&irq, &pit->out);
    bench_realize(pit);
    bench_put(C0, &pit->io);
    bench_put(PORT_B, &pit->port61);
    check_reset();
    check_mode_0();
    check_mode_1();
    check_mode_2();
    check_mode_3();
    check_mode_4_5();
    check_access();
    check_drift();
    check_life();
    hw_lock_release();
    return tap_done();
}
