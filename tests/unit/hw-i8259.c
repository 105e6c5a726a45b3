/* The 8259As: initialization, priorities and their rotation, the kinds of EOI, masks, polling. */
#include "hw/intc/i8259.h"

#include "tests/unit/hw-bench.h"

#include <errno.h>

enum { M0 = 0x20, M1, S0 = 0xa0, S1, ELCR = 0x4d0 };

static struct i8259 *pic;
static struct bench_line intr;

static void line(unsigned n, bool level)
{
    pic->in[n].handler(pic->in[n].opaque, pic->in[n].n, level);
}

static void pulse(unsigned n)
{
    line(n, true);
    line(n, false);
}

static void out(unsigned port, uint8_t value)
{
    bench_write(port, 1, value);
}

static uint8_t in(unsigned port)
{
    return (uint8_t)bench_read(port, 1);
}

/* As a PC's firmware does it; icw4 of the master. */
static void initialize(uint8_t icw4)
{
    out(M0, 0x11);
    out(M1, 0x20);
    out(M1, 0x04);
    out(M1, icw4);
    out(S0, 0x11);
    out(S1, 0x28);
    out(S1, 0x02);
    out(S1, 0x01);
}

/* Takes an interrupt; -1 if there is none. */
static int take(void)
{
    return intr.level ? i8259_acknowledge(pic) : -1;
}

static void check_initialization(void)
{
    pulse(1);
    tap_ok(!intr.level && in(M1) == 0xff && in(S1) == 0xff, "masked after reset");
    initialize(0x01);
    tap_eq(in(M1), 0, "ICW1 clears the mask");
    out(M1, 0xa5);
    tap_eq(in(M1), 0xa5, "after ICW4, port 1 is the mask");
    out(M0, 0x10);
    out(M1, 0x47);
    out(M1, 0x04);
    out(M1, 0x5a);
    tap_eq(in(M1), 0x5a, "without ICW4, ICW3 is the last");
    out(M1, 0);
    pulse(3);
    tap_eq(take(), 0x43, "ICW2 has the upper five bits of the vector");
    out(M0, 0x20);
    out(M0, 0x12);
    out(M1, 0x50);
    out(M1, 0xf0);
    tap_eq(in(M1), 0xf0, "a single one has no ICW3");
    out(M0, 0x13);
    out(M1, 0x50);
    out(M1, 0x03);
    out(M1, 0);
    pulse(0);
    tap_eq(take(), 0x50, "but may have ICW4");
    out(M0, 0x0b);
    tap_eq(in(M0), 0, "which has set automatic EOI");
    line(5, true);
    initialize(0x01);
    tap_ok(!intr.level && !in(M0), "what is high at ICW1 is no edge");
    line(5, false);
    line(5, true);
    tap_eq(take(), 0x25, "the next one is");
    line(5, false);
    initialize(0x01);
}

static void check_nesting(void)
{
    pulse(4);
    pulse(6);
    pulse(3);
    tap_eq(in(M0), 0x58, "IRR");
    tap_eq(take(), 0x23, "the lowest number goes first");
    tap_eq(take(), -1, "lower priorities wait");
    pulse(3);
    tap_eq(take(), -1, "as does the same again");
    pulse(1);
    tap_eq(take(), 0x21, "a higher one does not");
    out(M0, 0x0b);
    tap_eq(in(M0), 0x0a, "ISR has both");
    out(M0, 0x20);
    tap_eq(in(M0), 0x08, "a non-specific EOI ends the highest");
    out(M0, 0x63);
    tap_eq(in(M0), 0, "a specific one the one it names");
    out(M0, 0x0a);
    tap_eq(in(M0), 0x58, "IRR again");
    out(M1, 0x08);
    tap_eq(take(), 0x24, "a masked one is passed over");
    out(M0, 0x20);
    tap_eq(take(), 0x26, "the rest in order");
    out(M0, 0x20);
    out(M1, 0);
    tap_eq(take(), 0x23, "masked is not lost");
    out(M0, 0x20);
    out(M0, 0x20);
    tap_ok(!intr.level, "an EOI too many does nothing");
}

static void check_slave(void)
{
    pulse(12);
    out(M0, 0x0a);
    tap_eq(in(M0), 0x04, "the slave asks by input 2");
    tap_eq(take(), 0x2c, "vectors of the slave");
    pulse(10);
    tap_eq(take(), -1, "the slave as a whole waits for the master's EOI");
    out(S0, 0x20);
    out(M0, 0x20);
    tap_eq(take(), 0x2a, "then it goes on");
    pulse(3);
    tap_eq(take(), -1, "the slave's inputs are above the master's 3");
    pulse(1);
    tap_eq(take(), 0x21, "and below 1");
    out(M0, 0x20);
    out(M0, 0x20);
    out(S0, 0x20);
    tap_eq(take(), 0x23, "after all EOIs");
    out(M0, 0x20);
    line(2, true);
    tap_ok(!intr.level, "the cascade is no line of the board's");
    line(2, false);

    initialize(0x11);
    pulse(12);
    tap_eq(take(), 0x2c, "special fully nested mode");
    pulse(10);
    tap_eq(take(), 0x2a, "lets a higher one of the slave in");
    pulse(14);
    tap_eq(take(), -1, "but no lower one");
    pulse(3);
    tap_eq(take(), -1, "nor a lower one of the master");
    out(S0, 0x20);
    out(S0, 0x20);
    tap_eq(take(), 0x2e, "the third");
    out(S0, 0x20);
    out(M0, 0x20);
    tap_eq(take(), 0x23, "the master's");
    initialize(0x01);
}

static void check_spurious(void)
{
    out(ELCR, 0x20);
    out(ELCR + 1, 0x0e);
    line(5, true);
    line(5, false);
    tap_ok(!intr.level, "a level that has gone asks no more");
    tap_eq(i8259_acknowledge(pic), 0x27, "a late acknowledge gets vector 7");
    out(M0, 0x0b);
    tap_eq(in(M0), 0, "which is not in service");
    line(9, true);
    line(9, false);
    tap_ok(intr.level, "what the slave has asked for stays in the master");
    tap_eq(take(), 0x2f, "and gets the slave's vector 7");
    tap_eq(in(M0), 0x04, "the master has it in service");
    out(S0, 0x0b);
    tap_eq(in(S0), 0, "the slave has not");
    out(M0, 0x20);
    line(5, true);
    tap_eq(take(), 0x25, "a level");
    tap_eq(take(), -1, "once");
    out(M0, 0x20);
    tap_eq(take(), 0x25, "and again when it is still there at the EOI");
    line(5, false);
    out(M0, 0x20);
    tap_ok(!intr.level, "quieted");
    out(ELCR, 0xff);
    out(ELCR + 1, 0xff);
    tap_ok(in(ELCR) == 0xf8 && in(ELCR + 1) == 0xde, "the board's own are edge-triggered");
    bench_write(ELCR, 2, 0x0e20);
    tap_eq(bench_read(ELCR, 2), 0x0e20, "both with one access");
    line(9, true);
    line(10, true);
    tap_eq(take(), 0x29, "two levels at the slave");
    line(9, false);
    out(S0, 0x20);
    out(M0, 0x20);
    tap_eq(take(), 0x2a, "the second makes an edge for the master");
    line(10, false);
    out(S0, 0x20);
    out(M0, 0x20);
    bench_write(ELCR, 2, 0);
}

static void check_rotation(void)
{
    out(M0, 0xc4);
    pulse(4);
    pulse(5);
    pulse(0);
    tap_eq(take(), 0x25, "set priority: 4 is lowest, so 5 is highest");
    out(M0, 0xa0);
    tap_eq(take(), 0x20, "a rotating EOI makes 5 lowest, 0 is before 4");
    out(M0, 0xe0);
    tap_eq(take(), 0x24, "a specific one");
    out(M0, 0x20);
    pulse(0);
    pulse(1);
    tap_eq(take(), 0x21, "after that of 0, 1 is highest");
    out(M0, 0x20);
    tap_eq(take(), 0x20, "and 0 lowest");
    out(M0, 0x20);
    out(M0, 0xc7);
    initialize(0x03);
    out(M0, 0x80);
    pulse(3);
    pulse(4);
    tap_eq(take(), 0x23, "automatic EOI");
    pulse(3);
    tap_eq(take(), 0x24, "with rotation: 3 has become lowest");
    tap_eq(take(), 0x23, "nobody said EOI");
    out(M0, 0x00);
    pulse(5);
    pulse(4);
    tap_ok(take() == 0x24 && take() == 0x25, "rotation off: priorities stay as they are");
    pulse(8);
    tap_eq(take(), 0x28, "the slave has its EOI in the usual way");
    pulse(9);
    tap_eq(take(), -1, "which it waits for");
    out(S0, 0x20);
    tap_eq(take(), 0x29, "here");
    out(S0, 0x20);
    initialize(0x01);
}

static void check_special_mask(void)
{
    pulse(3);
    tap_eq(take(), 0x23, "in service");
    out(M1, 0x08);
    pulse(5);
    tap_eq(take(), -1, "lower ones wait, though it is masked");
    out(M0, 0x68);
    tap_eq(take(), 0x25, "not in special mask mode");
    out(M0, 0x0b);
    out(M0, 0x20);
    tap_eq(in(M0), 0x08, "where a non-specific EOI ends none that is masked");
    out(M0, 0x20);
    tap_eq(in(M0), 0x08, "however often");
    pulse(6);
    out(M0, 0x48);
    tap_eq(take(), -1, "off again");
    out(M0, 0x20);
    tap_eq(take(), 0x26, "ended");
    out(M0, 0x20);
    out(M1, 0);
    out(M0, 0x28);
    pulse(3);
    take();
    pulse(4);
    out(M1, 0x08);
    tap_eq(take(), -1, "without the enabling bit the mode is not changed");
    initialize(0x01);
}

static void check_poll(void)
{
    uint64_t value;
    struct mem_attrs debug = {.debug = 1};

    pulse(6);
    out(M0, 0x0c);
    tap_ok(!mem_access_load(&bench_space, mem_gpa(M0), 1, &value, debug) && value == 0x86,
           "a debugger sees what a poll would get");
    tap_eq(in(M0), 0x86, "a poll");
    tap_ok(!intr.level, "acknowledges");
    out(M0, 0x0b);
    tap_eq(in(M0), 0x40, "and puts into service");
    out(M0, 0x0c);
    tap_eq(in(M1), 0, "nothing more; port 1 polls too");
    tap_eq(in(M1), 0, "once");
    out(M0, 0x20);
    pulse(13);
    out(M0, 0x0c);
    out(S0, 0x0c);
    tap_ok(in(M0) == 0x82 && in(S0) == 0x85, "master and slave have a poll each");
    out(S0, 0x20);
    out(M0, 0x20);
    initialize(0x01);
}

static void check_life(void)
{
    struct i8259 *other = bench_create(&i8259_type, "");
    struct bench_line copy;

    bench_realize(other);
    bench_watch(&copy, &other->out);
    line(6, true);
    pulse(14);
    tap_eq(take(), 0x2e, "one in service");
    pulse(1);
    out(M1, 0x10);
    out(M0, 0x11);
    out(M1, 0x60);
    out(S0, 0x0b);
    tap_eq(bench_move(i8259_type.state, pic, other), 0, "state moves in the midst of things");
    mem_region_remove(&pic->master_io);
    mem_region_remove(&pic->slave_io);
    bench_put(M0, &other->master_io);
    bench_put(S0, &other->slave_io);
    tap_eq(in(S0), 0x40, "what is in service");
    out(M1, 0x04);
    out(M1, 0x01);
    other->in[6].handler(other->in[6].opaque, 6, true);
    tap_ok(!other->out.level, "a line that was high is no edge");
    other->in[6].handler(other->in[6].opaque, 6, false);
    other->in[6].handler(other->in[6].opaque, 6, true);
    tap_ok(copy.level && i8259_acknowledge(other) == 0x66, "initialization goes on in the copy");
    pic->chip[0].lowest = 8;
    tap_eq(bench_move(i8259_type.state, pic, other), -EINVAL, "an impossible state is refused");
    pic->chip[0].lowest = 7;
    pic->chip[1].elcr = 1;
    tap_eq(bench_move(i8259_type.state, pic, other), -EINVAL, "and another");
    hw_reset_device(&other->device, false);
    tap_ok(!copy.level && in(S1) == 0xff && !in(M0), "reset masks all");
    for (unsigned value = 0; value < 256; value++) {
        for (unsigned port = M0; port <= S1; port = port == M1 ? S0 : port + 1) {
            out(port, (uint8_t)(value * 7));
            in(port);
            i8259_acknowledge(other);
        }
        other->in[value % 16].handler(other->in[value % 16].opaque, value % 16, value & 16);
    }
    tap_ok(true, "anything may be written anywhere");
    bench_write(M0, 2, 0x2011);
    tap_eq(bench_read(M0, 2) >> 8, 0, "a word is two bytes");
    mem_region_remove(&pic->elcr_io);
    mem_region_remove(&other->master_io);
    mem_region_remove(&other->slave_io);
    hw_device_destroy(&pic->device);
    hw_device_destroy(&other->device);
}

int main(void)
{
    bench_init();
    hw_lock_acquire();
    pic = bench_create(&i8259_type, "");
    bench_realize(pic);
    bench_put(M0, &pic->master_io);
    bench_put(S0, &pic->slave_io);
    bench_put(ELCR, &pic->elcr_io);
    bench_watch(&intr, &pic->out);
    check_initialization();
    check_nesting();
    check_slave();
    check_spurious();
    check_rotation();
    check_special_mask();
    check_poll();
    check_life();
    hw_lock_release();
    return tap_done();
}
