/*
 * The 8254 (Intel data sheet 231164; section names are its).
 *
 * A tick is a pulse of the input clock, numbered from the start of the virtual clock. A counter
 * that counts had its initial count N at tick `start`, one after it was written; what it shows at
 * tick T, and its output, are functions of N and T - start:
 *
 *     mode  counts         output                                 counts again
 *     0     N - e          high from e = N                        with each new count
 *     1     N - e          low while e < N                        at each rise of the gate
 *     2     N - e % N      low at e % N = N - 1                   by itself
 *     3     by two         high for (N + 1) / 2, low for N / 2    by itself
 *     4     N - e          low at e = N                           with each new count
 *     5     N - e          low at e = N                           at each rise of the gate
 *
 * In modes 2 and 3 a new count waits for the end of the period or half period (`next`,
 * `switch_at`).
 *
 * The line of counter 0 is brought up to date when a register is accessed and by a timer at the
 * next edge that matters: where the output is low for one tick only, the rising one. Edges that
 * went by since are one; an interrupt controller would keep no more.
 */
#include "hw/timer/i8254.h"
#include "hw/core/reset.h"
#include "util/bits.h"

#include <errno.h>
#include <stdio.h>

enum {
    ACCESS_LOW = 1,
    ACCESS_HIGH = 2,
    ACCESS_BOTH = 3,

    READ_BACK = 3, /* in place of a counter's number */
    READ_BACK_NO_COUNT = 0x20,
    READ_BACK_NO_STATUS = 0x10,
    STATUS_OUT = 0x80,
    STATUS_NULL_COUNT = 0x40,

    PORT_B_GATE = 0x01,
    PORT_B_WRITABLE = 0x0f,
    PORT_B_REFRESH = 0x10,
    PORT_B_OUT = 0x20,

    REFRESH_TICKS = 18,   /* the period of memory refresh, 15 us */
    MIN_INTERVAL = 20000, /* ns between interrupts */
};

#define NEVER     INT64_MAX
#define TICKS_MAX (INT64_MAX / 4)

static int64_t now(const struct i8254 *pit)
{
    return (int64_t)cpu_clock_to_ticks(cpu_clock_now(pit->clock, CPU_CLOCK_VIRTUAL),
                                       I8254_FREQUENCY);
}

/* ---- a counter at a tick --------------------------------------------------------------------- */

static unsigned mode_of(const struct i8254_counter *c)
{
    unsigned mode = bits_extract(c->control, 1, 3);

    return mode > 5 ? mode - 4 : mode; /* bit 2 of modes 2 and 3 is not looked at */
}

static unsigned access_of(const struct i8254_counter *c)
{
    return (unsigned)bits_extract(c->control, 4, 2);
}

static bool is_bcd(const struct i8254_counter *c)
{
    return c->control & 1;
}

static bool is_periodic(const struct i8254_counter *c)
{
    return mode_of(c) == 2 || mode_of(c) == 3;
}

static bool is_triggered_by_gate(const struct i8254_counter *c)
{
    return mode_of(c) == 1 || mode_of(c) == 5;
}

/* Ticks since it had the initial count. */
static int64_t elapsed(const struct i8254_counter *c, int64_t tick)
{
    return !c->counting ? c->held : tick > c->start ? tick - c->start : 0;
}

/* The half period in which the output of mode 3 is high. */
static int64_t high_half(const struct i8254_counter *c)
{
    return (c->reload + 1) / 2;
}

/* "Mode 3": counts by two; of an odd count one is taken off first, and the high half is longer. */
static int64_t square_wave_count(const struct i8254_counter *c, int64_t e)
{
    int64_t even = c->reload & ~1u;

    e %= c->reload;
    return even - 2 * (e < high_half(c) ? e : e - high_half(c));
}

/* What is in the counting element: 0 to 65535, as a number. */
static uint16_t count_at(const struct i8254_counter *c, int64_t tick)
{
    int64_t e = elapsed(c, tick), modulus = is_bcd(c) ? 10000 : 65536;
    int64_t count = mode_of(c) == 3   ? square_wave_count(c, e)
                    : mode_of(c) == 2 ? c->reload - e % c->reload
                                      : c->reload - e;

    count %= modulus;
    return (uint16_t)(count < 0 ? count + modulus : count);
}

static bool out_at(const struct i8254_counter *c, int64_t tick)
{
    int64_t e = elapsed(c, tick), n = c->reload;

    switch (mode_of(c)) {
    case 0:
        return c->loaded && e >= n;
    case 1:
        return !c->triggered || e >= n;
    case 2:
        return !c->loaded || !c->gate || n == 1 || e % n != n - 1;
    case 3:
        return !c->loaded || !c->gate || e % n < high_half(c);
    case 4:
        return !c->loaded || e != n;
    default:
        return !c->triggered || e != n;
    }
}

/* The first tick after `tick` that is first + k * period; NEVER without a period and too late. */
static int64_t next_of(int64_t first, int64_t period, int64_t tick)
{
    if (first > tick) {
        return first;
    }
    return period ? first + ((tick - first) / period + 1) * period : NEVER;
}

/* When the output rises next. */
static int64_t next_rise(const struct i8254_counter *c, int64_t tick)
{
    int64_t n = c->reload;

    if (!c->counting || (is_triggered_by_gate(c) && !c->triggered)) {
        return NEVER;
    }
    switch (mode_of(c)) {
    case 0:
    case 1:
        return next_of(c->start + n, 0, tick);
    case 2:
    case 3:
        return n > 1 ? next_of(c->start + n, n, tick) : NEVER;
    default:
        return next_of(c->start + n + 1, 0, tick);
    }
}

/* When it changes in a way that its line has to show. */
static int64_t next_change(const struct i8254_counter *c, int64_t tick)
{
    int64_t rise = next_rise(c, tick), fall = NEVER;

    if (mode_of(c) == 3 && c->counting && c->reload > 1) {
        fall = next_of(c->start + high_half(c), c->reload, tick);
    }
    return fall < rise ? fall : rise;
}

/* A count that waits takes effect if its time has come. */
static void take_next(struct i8254_counter *c, int64_t tick)
{
    if (is_periodic(c) && c->next && c->counting && tick >= c->switch_at) {
        bool at_half = (c->switch_at - c->start) % c->reload != 0;

        c->reload = c->next;
        c->next = 0;
        c->start = c->switch_at - (at_half ? high_half(c) : 0);
    }
}

/* Begins with an initial count, at the next tick if it may. */
static void load(struct i8254_counter *c, uint32_t count, int64_t tick)
{
    c->reload = count;
    c->next = 0;
    c->loaded = true;
    c->held = 0;
    c->start = tick + 1;
    c->counting = c->gate || is_triggered_by_gate(c);
}

/* ---- the line of counter 0 ------------------------------------------------------------------- */

static void arm(struct i8254 *pit, int64_t tick)
{
    const struct i8254_counter *c = &pit->counter[0];
    int64_t change = next_change(c, tick), deadline = CPU_CLOCK_NEVER;

    if (change < TICKS_MAX) {
        deadline = cpu_clock_from_ticks((uint64_t)change, I8254_FREQUENCY);
    }
    if (is_periodic(c) && cpu_clock_from_ticks(c->reload, I8254_FREQUENCY) < MIN_INTERVAL) {
        int64_t earliest = cpu_clock_now(pit->clock, CPU_CLOCK_VIRTUAL) + MIN_INTERVAL;

        deadline = deadline < earliest ? earliest : deadline;
    }
    pit->clock->ops->timer_arm(pit->timer, deadline);
}

/* Brings all up to date: counts that wait, the line, its timer. */
static int64_t update(struct i8254 *pit)
{
    struct i8254_counter *c = &pit->counter[0];
    int64_t tick = now(pit);
    bool rose = false;

    if (is_periodic(c) && c->next && c->counting && tick >= c->switch_at) {
        rose = next_rise(c, pit->driven) <= c->switch_at;
        pit->driven = c->switch_at;
    }
    for (unsigned i = 0; i < I8254_COUNTERS; i++) {
        take_next(&pit->counter[i], tick);
    }
    if (rose || next_rise(c, pit->driven) <= tick) {
        hw_irq_set(&pit->out, false);
        hw_irq_set(&pit->out, true);
    }
    pit->driven = tick;
    return tick;
}

/* After a change of registers, which update() went before. */
static void changed(struct i8254 *pit, int64_t tick)
{
    hw_irq_set(&pit->out, out_at(&pit->counter[0], tick));
    arm(pit, tick);
}

static void timer_fired(void *opaque)
{
    struct i8254 *pit = opaque;

    changed(pit, update(pit));
}

/* ---- writing --------------------------------------------------------------------------------- */

static uint32_t from_bcd(uint16_t value)
{
    return (value >> 12) * 1000u + (value >> 8 & 15) * 100u + (value >> 4 & 15) * 10u +
           (value & 15);
}

static uint16_t to_bcd(uint16_t value)
{
    return (uint16_t)(value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 |
                      value % 10);
}

/* "Write Operations": 0 is the highest count. */
static uint32_t initial_count(const struct i8254_counter *c, uint16_t value)
{
    if (is_bcd(c)) {
        return value ? from_bcd(value) : 10000;
    }
    return value ? value : 65536;
}

/* A whole count was written. */
static void write_count(struct i8254_counter *c, uint16_t value, int64_t tick)
{
    uint32_t count = initial_count(c, value);

    if (is_triggered_by_gate(c)) {
        c->next = count;
        c->loaded = true;
    } else if (is_periodic(c) && c->loaded && c->counting && tick >= c->start) {
        int64_t e = elapsed(c, tick) % c->reload;
        int64_t rest = mode_of(c) == 3 && e < high_half(c) ? high_half(c) - e : c->reload - e;

        c->next = count;
        c->switch_at = tick + rest;
    } else {
        load(c, count, tick);
    }
}

/* "Mode 0": the first of two bytes stops the counter. */
static void write_counter(struct i8254_counter *c, uint8_t byte, int64_t tick)
{
    switch (access_of(c)) {
    case ACCESS_LOW:
        write_count(c, byte, tick);
        break;
    case ACCESS_HIGH:
        write_count(c, (uint16_t)(byte << 8), tick);
        break;
    default:
        if (c->write_high) {
            write_count(c, (uint16_t)(byte << 8 | c->low), tick);
        } else {
            c->low = byte;
            if (mode_of(c) == 0) {
                c->held = elapsed(c, tick);
                c->counting = c->loaded = false;
            }
        }
        c->write_high = !c->write_high;
    }
}

/* "Counter Latch Command": a count that is latched already stays. */
static void latch_count(struct i8254_counter *c, int64_t tick)
{
    if (!c->latched) {
        uint16_t count = count_at(c, tick);

        c->latch = is_bcd(c) ? to_bcd(count) : count;
        c->latched = (uint8_t)access_of(c);
    }
}

/* "Read-Back Command" */
static uint8_t status_at(const struct i8254_counter *c, int64_t tick)
{
    bool null_count = !c->loaded || c->next || (c->counting && tick < c->start);

    return (uint8_t)(c->control | (out_at(c, tick) ? STATUS_OUT : 0) |
                     (null_count ? STATUS_NULL_COUNT : 0));
}

static void read_back(struct i8254 *pit, uint8_t command, int64_t tick)
{
    for (unsigned i = 0; i < I8254_COUNTERS; i++) {
        struct i8254_counter *c = &pit->counter[i];

        if (!(command >> (i + 1) & 1)) {
            continue;
        }
        if (!(command & READ_BACK_NO_COUNT)) {
            latch_count(c, tick);
        }
        if (!(command & READ_BACK_NO_STATUS) && !c->status_latched) {
            c->status_latched = true;
            c->status = status_at(c, tick);
        }
    }
}

/* "All control logic is immediately reset"; what it had counted to can still be read. */
static void set_mode(struct i8254_counter *c, uint8_t command, int64_t tick)
{
    uint16_t count = count_at(c, tick);

    *c = (struct i8254_counter){
        .control = command & 0x3f, .gate = c->gate, .reload = count ? count : 65536};
}

static void write_control(struct i8254 *pit, uint8_t command, int64_t tick)
{
    unsigned n = command >> 6;

    if (n == READ_BACK) {
        read_back(pit, command, tick);
    } else if (bits_extract(command, 4, 2) == 0) {
        latch_count(&pit->counter[n], tick);
    } else {
        set_mode(&pit->counter[n], command, tick);
    }
}

static int pit_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                     struct mem_attrs attrs)
{
    struct i8254 *pit = opaque;
    int64_t tick = update(pit);

    if (offset < I8254_COUNTERS) {
        write_counter(&pit->counter[offset], (uint8_t)value, tick);
    } else {
        write_control(pit, (uint8_t)value, tick);
    }
    changed(pit, tick);
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static uint8_t half(uint16_t value, bool high)
{
    return (uint8_t)(high ? value >> 8 : value);
}

/* The status goes first, then a latched count, else the count as it is. */
static uint8_t read_counter(struct i8254_counter *c, int64_t tick)
{
    uint16_t count = count_at(c, tick);
    bool high = access_of(c) == ACCESS_HIGH;

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    if (c->latched) {
        high = c->latched == ACCESS_HIGH;
        c->latched &= high ? 0 : ACCESS_HIGH;
        return half(c->latch, high);
    }
    if (access_of(c) == ACCESS_BOTH) {
        high = c->read_high;
        c->read_high = !c->read_high;
    }
    return half(is_bcd(c) ? to_bcd(count) : count, high);
}

static int pit_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                    struct mem_attrs attrs)
{
    struct i8254 *pit = opaque;
    struct i8254_counter copy;
    int64_t tick;

    *value = 0; /* the control word cannot be read */
    if (offset < I8254_COUNTERS) {
        tick = update(pit);
        copy = pit->counter[offset];
        *value = read_counter(attrs.debug ? &copy : &pit->counter[offset], tick);
        changed(pit, tick);
    }
    return 0;
}

static const struct mem_ops pit_ops = {
    .read = pit_read, .write = pit_write, .max_size = 1, .split = true};

/* ---- port 0x61 ------------------------------------------------------------------------------- */

/* "Gate Pin Operations Summary" */
static void set_gate(struct i8254_counter *c, bool gate, int64_t tick)
{
    bool rises = gate && !c->gate, falls = !gate && c->gate;

    c->gate = gate;
    if (is_triggered_by_gate(c)) {
        if (rises && c->loaded) {
            load(c, c->next ? c->next : c->reload, tick);
            c->triggered = true;
        }
    } else if (falls) {
        c->held = elapsed(c, tick);
        c->counting = false;
    } else if (rises && c->loaded && is_periodic(c)) {
        load(c, c->next ? c->next : c->reload, tick);
    } else if (rises && c->loaded) {
        c->start = tick - c->held;
        c->counting = true;
    }
}

static int port61_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                       struct mem_attrs attrs)
{
    struct i8254 *pit = opaque;
    int64_t tick = update(pit);

    *value = pit->port_b | (tick / REFRESH_TICKS & 1 ? PORT_B_REFRESH : 0) |
             (out_at(&pit->counter[2], tick) ? PORT_B_OUT : 0);
    changed(pit, tick);
    return 0;
}

static int port61_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    struct i8254 *pit = opaque;
    int64_t tick = update(pit);

    pit->port_b = (uint8_t)value & PORT_B_WRITABLE;
    set_gate(&pit->counter[2], value & PORT_B_GATE, tick);
    changed(pit, tick);
    return 0;
}

static const struct mem_ops port61_ops = {
    .read = port61_read, .write = port61_write, .max_size = 1, .split = true};

/* ---- life ------------------------------------------------------------------------------------ */

static int pit_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct i8254 *pit = (struct i8254 *)device;

    pit->timer = pit->clock->ops->timer_create(pit->clock, CPU_CLOCK_VIRTUAL, timer_fired, pit);
    if (!pit->timer) {
        snprintf(error, error_size, "isa-pit: no memory for a timer");
        return -ENOMEM;
    }
    mem_region_init_mmio(&pit->io, "pit", 4, &pit_ops, pit, &device->owner);
    mem_region_init_mmio(&pit->port61, "port61", 1, &port61_ops, pit, &device->owner);
    return 0;
}

static void pit_unrealize(struct hw_device *device)
{
    struct i8254 *pit = (struct i8254 *)device;

    mem_region_retire(&pit->io, NULL, NULL);
    mem_region_retire(&pit->port61, NULL, NULL);
    pit->clock->ops->timer_destroy(pit->timer);
}

/* After power-on a counter is undefined; ours run as a PC's firmware leaves counter 0. */
static void pit_reset_enter(struct hw_device *device, bool cold)
{
    struct i8254 *pit = (struct i8254 *)device;

    pit->port_b = 0;
    pit->driven = now(pit);
    for (unsigned i = 0; i < I8254_COUNTERS; i++) {
        pit->counter[i] =
            (struct i8254_counter){.control = ACCESS_BOTH << 4 | 3 << 1, .gate = i != 2};
        load(&pit->counter[i], 65536, pit->driven);
    }
}

static void pit_reset_hold(struct hw_device *device)
{
    changed((struct i8254 *)device, ((struct i8254 *)device)->driven);
}

static bool is_legal(const struct i8254_counter *c)
{
    return access_of(c) && c->control < 0x40 && c->reload >= 1 && c->reload <= 65536 &&
           c->next <= 65536 && c->latched <= 3 && c->held >= 0 && c->held < TICKS_MAX &&
           c->start > -TICKS_MAX && c->start < TICKS_MAX && c->switch_at > -TICKS_MAX &&
           c->switch_at < TICKS_MAX && (!c->next || !is_periodic(c) || c->switch_at >= c->start);
}

static int pit_post_load(void *object, uint32_t version)
{
    struct i8254 *pit = object;

    for (unsigned i = 0; i < I8254_COUNTERS; i++) {
        if (!is_legal(&pit->counter[i])) {
            return -EINVAL;
        }
    }
    if (pit->port_b & ~PORT_B_WRITABLE || pit->driven < 0 || pit->driven >= TICKS_MAX) {
        return -EINVAL;
    }
    pit->out.level = out_at(&pit->counter[0], pit->driven);
    arm(pit, pit->driven);
    return 0;
}

static const struct state_field counter_fields[] = {
    STATE(U8, "control", struct i8254_counter, control),
    STATE(BOOL, "gate", struct i8254_counter, gate),
    STATE(BOOL, "loaded", struct i8254_counter, loaded),
    STATE(BOOL, "triggered", struct i8254_counter, triggered),
    STATE(BOOL, "counting", struct i8254_counter, counting),
    STATE(BOOL, "write_high", struct i8254_counter, write_high),
    STATE(BOOL, "read_high", struct i8254_counter, read_high),
    STATE(U8, "low", struct i8254_counter, low),
    STATE(U8, "latched", struct i8254_counter, latched),
    STATE(U16, "latch", struct i8254_counter, latch),
    STATE(BOOL, "status_latched", struct i8254_counter, status_latched),
    STATE(U8, "status", struct i8254_counter, status),
    STATE(U32, "reload", struct i8254_counter, reload),
    STATE(U32, "next", struct i8254_counter, next),
    STATE(U64, "switch_at", struct i8254_counter, switch_at),
    STATE(U64, "start", struct i8254_counter, start),
    STATE(U64, "held", struct i8254_counter, held),
    STATE_END,
};
static const struct state_table counter_state = {
    .name = "i8254-counter", .version = 1, .min_version = 1, .fields = counter_fields};
static const struct state_field pit_fields[] = {
    STATE_ARRAY(STRUCT, "counter", struct i8254, counter, .table = &counter_state),
    STATE(U8, "port_b", struct i8254, port_b),
    STATE(U64, "driven", struct i8254, driven),
    STATE_END,
};
static const struct state_table pit_state = {.name = "i8254",
                                             .version = 1,
                                             .min_version = 1,
                                             .fields = pit_fields,
                                             .post_load = pit_post_load};

const struct hw_device_type i8254_type = {
    .name = "isa-pit",
    .help = "8254 interval timer",
    .size = sizeof(struct i8254),
    .state = &pit_state,
    .internal = true,
    .realize = pit_realize,
    .unrealize = pit_unrealize,
    .reset_enter = pit_reset_enter,
    .reset_hold = pit_reset_hold,
};
