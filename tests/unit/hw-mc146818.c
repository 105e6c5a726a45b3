/* The MC146818: calendar in its forms, updates, alarms, periods, and its memory. */
#include "hw/rtc/mc146818.h"

#include "tests/unit/hw-bench.h"

#include <errno.h>

enum {
    INDEX = 0x70,
    DATA,
    SEC = 0,
    SEC_ALARM,
    MIN,
    MIN_ALARM,
    HOUR,
    HOUR_ALARM,
    WDAY,
    DAY,
    MONTH,
    YEAR,
    A,
    B,
    C,
    D,
    CENTURY = 0x32
};

#define SECOND INT64_C(1000000000)
#define START  (INT64_C(951782399) * SECOND) /* Monday, 2000-02-28 23:59:59 */

static struct mc146818 *rtc;
static struct bench_line irq;

static uint8_t get(unsigned n)
{
    bench_write(INDEX, 1, n);
    return (uint8_t)bench_read(DATA, 1);
}

static void set(unsigned n, uint8_t value)
{
    bench_write(INDEX, 1, n | 0x80);
    bench_write(DATA, 1, value);
}

/* Century to seconds, two hexadecimal digits each. */
static unsigned long long date(void)
{
    static const uint8_t order[] = {CENTURY, YEAR, MONTH, DAY, HOUR, MIN, SEC};
    unsigned long long value = 0;

    for (unsigned i = 0; i < sizeof(order); i++) {
        value = value << 8 | get(order[i]);
    }
    return value;
}

static void set_date(unsigned long long value)
{
    static const uint8_t order[] = {SEC, MIN, HOUR, DAY, MONTH, YEAR, CENTURY};

    for (unsigned i = 0; i < sizeof(order); i++) {
        set(order[i], (uint8_t)(value >> 8 * i));
    }
}

static void check_calendar(void)
{
    tap_eq(date(), 0x20000228235959, "BCD, 24 hours");
    tap_eq(get(WDAY), 2, "a Monday");
    tap_ok(get(A) == 0x26 && get(B) == 0x02 && get(D) == 0x80, "registers");
    bench_advance(SECOND / 2);
    tap_eq(date(), 0x20000229000000, "a leap day: the fraction of the base counts");
    tap_eq(get(WDAY), 3, "a Tuesday");
    set(B, 0x06);
    tap_eq(date(), 0x1400021d000000, "binary");
    set(B, 0x00);
    tap_eq(get(HOUR), 0x12, "12 hours: midnight");
    set(HOUR, 0x92);
    set(B, 0x02);
    tap_eq(get(HOUR), 0x12, "and noon");
    set(B, 0x04);
    tap_eq(get(HOUR), 0x8c, "in binary");
    set(HOUR, 0x0b);
    set(B, 0x02);
    tap_eq(date(), 0x20000229110000, "a running clock may be set");
    set(B, 0x82);
    set_date(0x19991231235930);
    set(WDAY, 1);
    bench_advance(10 * SECOND);
    tap_eq(date(), 0x19991231235930, "SET stops it");
    tap_eq(get(A), 0x26, "without updates");
    set(B, 0x02);
    bench_advance(29 * SECOND);
    tap_ok(date() == 0x19991231235959 && get(WDAY) == 1, "and lets it go on");
    bench_advance(SECOND);
    tap_ok(date() == 0x20000101000000 && get(WDAY) == 2, "the day of the week is what was said");
    set(B, 0x82);
    set_date(0x21000228235959);
    set(B, 0x02);
    bench_advance(SECOND);
    tap_eq(date(), 0x21000301000000, "2100 is no leap year");
    set(B, 0x82);
    set_date(0x99991231235959);
    set(B, 0x02);
    tap_eq(date(), 0x99991231235959, "the last of all");
    bench_advance(SECOND);
    tap_eq(date(), 0x00000101000000, "wraps");
    set(B, 0x82);
    set_date(0xffffffffffffff);
    set(B, 0x02);
    set(CENTURY, 0x20);
    tap_eq(date() >> 48, 0x20, "what is no date is some date");
    set(B, 0x86);
    set_date(0x14181f1f000000);
    set(B, 0x06);
    tap_eq(date(), 0x141a071f000000, "the 31st month");
    set(A, 0x76);
    bench_advance(5 * SECOND);
    set(B, 0x82);
    set_date(0x20240101000000);
    set(B, 0x02);
    bench_advance(5 * SECOND);
    tap_eq(date(), 0x20240101000000, "a divider in reset stops it too");
    set(A, 0x26);
    bench_advance(SECOND / 2 - 1);
    tap_eq(get(SEC), 0, "the first update");
    bench_advance(1);
    tap_eq(get(SEC), 1, "is half a second later");
}

static void check_update(void)
{
    set(A, 0x20);
    get(C);
    bench_advance(SECOND - 244001);
    tap_eq(get(A), 0x20, "an update is far");
    bench_advance(1);
    tap_eq(get(A), 0xa0, "is near: UIP");
    bench_advance(243999);
    tap_ok(get(A) == 0xa0 && get(C) == 0, "to its last nanosecond");
    bench_advance(1);
    tap_eq(get(A), 0x20, "is over");
    tap_eq(get(C), 0x10, "and has its flag");
    tap_eq(get(C), 0, "which reading clears");
    set(B, 0x12);
    bench_advance(SECOND - 1);
    tap_ok(!irq.level, "the interrupt");
    bench_advance(1);
    tap_ok(irq.level, "comes each second");
    bench_advance(SECOND);
    tap_eq(irq.rises, 1, "not before it is acknowledged");
    tap_ok(get(C) == 0x90 && !irq.level, "by reading C");
    bench_advance(SECOND);
    tap_eq(irq.rises, 2, "the next");
    set(B, 0x02);
    tap_ok(!irq.level, "disabled");
    set(B, 0x12);
    tap_ok(irq.level, "a flag that is there interrupts when enabled");
    set(B, 0x92);
    tap_eq(get(B), 0x82, "SET disables updates' interrupt");
    get(C);
    bench_advance(5 * SECOND);
    tap_eq(get(C), 0, "no updates");
    set(B, 0x02);
}

static void check_alarm(void)
{
    unsigned count;

    set(B, 0x82);
    set_date(0x20240101060000);
    set(SEC_ALARM, 0x30);
    set(MIN_ALARM, 0x15);
    set(HOUR_ALARM, 0x07);
    set(B, 0x22);
    get(C);
    irq.rises = 0;
    bench_advance(4529 * SECOND);
    tap_ok(!irq.level && date() == 0x20240101071529, "an alarm");
    bench_advance(SECOND);
    tap_ok(irq.level && (get(C) & 0xa0) == 0xa0, "goes off");
    bench_advance(86399 * SECOND);
    tap_eq(irq.rises, 1, "once a day");
    bench_advance(SECOND);
    tap_eq(irq.rises, 2, "each day");
    get(C);
    set(HOUR_ALARM, 0xff);
    set(MIN_ALARM, 0xc0);
    irq.rises = 0;
    for (count = 0; count < 300; count++) {
        bench_advance(SECOND);
        get(C);
    }
    tap_eq(irq.rises, 5, "once a minute");
    set(SEC_ALARM, 0xfe);
    irq.rises = 0;
    for (count = 0; count < 10; count++) {
        bench_advance(SECOND);
        get(C);
    }
    tap_eq(irq.rises, 10, "once a second");
    set(SEC_ALARM, 0x75);
    bench_advance(100000 * SECOND);
    tap_ok(!irq.level && !(get(C) & 0x20), "a time that is none never comes");
    set(SEC_ALARM, 0x00);
    set(MIN_ALARM, 0x00);
    set(HOUR_ALARM, 0x83);
    set(B, 0xa0);
    set_date(0x20240101030000);
    set(B, 0x20);
    bench_advance(43199 * SECOND);
    tap_ok(!irq.level, "at three");
    bench_advance(SECOND);
    tap_ok(irq.level && get(HOUR) == 0x83, "in the afternoon");
    set(B, 0x02);
    get(C);
    bench_advance(2 * 86400 * SECOND);
    set(HOUR_ALARM, 0x15);
    get(C);
    bench_advance(INT64_C(86400) * SECOND);
    tap_eq(get(C), 0x30, "flags come without interrupts too");
    bench_now[CPU_CLOCK_HOST] -= 7200 * SECOND;
    tap_eq(get(C), 0, "a host's clock that is set back raises none");
    set(B, 0x12);
    bench_advance(SECOND);
    tap_ok(irq.level, "and does not stop updates");
    set(B, 0x02);
    get(C);
}

static void check_periodic(void)
{
    static const uint16_t hertz[16] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                       256, 128, 64,  32,   16,   8,    4,    2};

    for (uint8_t rate = 0; rate < 16; rate++) {
        unsigned count = 0;

        set(A, 0x20 | rate);
        set(B, 0x42);
        get(C);
        for (unsigned i = 0; i < 20000; i++) {
            bench_advance(50000);
            count += irq.level;
            if (irq.level && (get(C) & 0xc0) != 0xc0) {
                count += 1000000;
            }
        }
        tap_ok(count + 1 >= hertz[rate] && count <= hertz[rate] + 1u, "rate %u: %u Hz", rate,
               hertz[rate]);
    }
    set(A, 0x26);
    set(B, 0x02);
    get(C);
    bench_advance(SECOND / 1024 + 1);
    tap_eq(get(C) & 0xc0, 0x40, "a flag without interrupt");
    set(A, 0x76);
    get(C);
    bench_advance(SECOND);
    tap_eq(get(C), 0, "nothing while the divider is in reset");
    set(A, 0x26);
    set(B, 0x42);
    get(C);
    irq.rises = 0;
    for (int64_t end = bench_now[CPU_CLOCK_VIRTUAL] + 100 * SECOND;
         bench_now[CPU_CLOCK_VIRTUAL] < end;) {
        int64_t deadline = CPU_CLOCK_NEVER;

        for (struct cpu_timer *t = bench_timers; t; t = t->next) {
            if (t->clock == CPU_CLOCK_VIRTUAL && t->deadline < deadline) {
                deadline = t->deadline;
            }
        }
        bench_advance(deadline - bench_now[CPU_CLOCK_VIRTUAL] + 100);
        get(C);
    }
    tap_ok(irq.rises >= 102400 - 1 && irq.rises <= 102400 + 1, "no drift in 100 s: %u", irq.rises);
    set(B, 0x02);
}

static void check_memory(void)
{
    uint64_t value;
    struct mem_attrs debug = {.debug = 1};
    unsigned good = 0;

    for (unsigned n = 14; n < 128; n++) {
        if (n != CENTURY) {
            set(n, (uint8_t)(n * 3));
            good += get(n) == (uint8_t)(n * 3);
        }
    }
    tap_eq(good, 113, "114 bytes, of which the century is one");
    mc146818_set_cmos(rtc, 0x34, 0x5a);
    tap_ok(get(0x34) == 0x5a && mc146818_cmos(rtc, 0x34) == 0x5a, "machines set them");
    set(0x8e, 1);
    tap_eq(get(0x0e), 1, "the index has seven bits");
    set(D, 0);
    set(C, 0);
    tap_eq(get(D), 0x80, "D says that the battery is good");
    tap_eq(bench_read(INDEX, 1), 0xff, "the index cannot be read");
    set(A, 0xff);
    tap_eq(get(A) & 0x7f, 0x7f, "UIP is not for writing");
    set(A, 0x26);
    bench_advance(SECOND);
    bench_write(INDEX, 1, C);
    tap_ok(!mem_access_load(&bench_space, mem_gpa(DATA), 1, &value, debug) && value & 0x10 &&
               get(C) == value,
           "a debugger clears nothing");
}

static void check_life(void)
{
    struct mc146818 *other = bench_create(&mc146818_type, "");
    struct bench_line copy;
    uint32_t seed = 1;

    other->clock = &bench_clock;
    bench_realize(other);
    bench_watch(&copy, &other->out);
    set(A, 0x26);
    set(B, 0x82);
    set_date(0x20300405060708);
    set(WDAY, 5);
    set(B, 0x52);
    get(C);
    bench_advance(SECOND / 3);
    tap_eq(bench_move(mc146818_type.state, rtc, other), 0, "state moves");
    tap_ok(copy.level == other->out.level || !copy.level, "lines as they are");
    mem_region_remove(&rtc->io);
    bench_put(INDEX, &other->io);
    get(C);
    tap_ok(!copy.level, "acknowledged in the copy");
    bench_advance(SECOND);
    tap_ok(date() == 0x20300405060709 && get(WDAY) == 5 && get(C) == 0xd0, "where it goes on");
    set(0x40, 0x77);
    hw_reset_device(&other->device, false);
    tap_ok(!copy.level && get(B) == 0x02 && get(C) == 0, "reset disables interrupts");
    tap_ok(date() == 0x20300405060709 && get(0x40) == 0x77, "time and memory survive");
    for (unsigned i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        set(seed >> 8 & (i & 1 ? 15 : 127), (uint8_t)(seed >> 16));
        get(seed >> 24 & 15);
        bench_advance(seed);
        if (i % 100 == 0 && bench_move(mc146818_type.state, other, other)) {
            tap_ok(false, "its own state");
        }
    }
    tap_ok(true, "anything may be written anywhere at any time");
    rtc->phase = SECOND;
    tap_eq(bench_move(mc146818_type.state, rtc, other), -EINVAL, "an impossible state is refused");
    mem_region_remove(&other->io);
    hw_device_destroy(&rtc->device);
    hw_device_destroy(&other->device);
    tap_ok(!bench_timers, "no timer is left");
}

int main(void)
{
    bench_init();
    hw_lock_acquire();
    bench_now[CPU_CLOCK_HOST] = START;
    rtc = bench_create(&mc146818_type, "");
    rtc->clock = &bench_clock;
    rtc->base_offset = SECOND / 2;
    bench_realize(rtc);
    bench_put(INDEX, &rtc->io);
    bench_watch(&irq, &rtc->out);
    check_calendar();
    check_update();
    check_alarm();
    check_periodic();
    check_memory();
    check_life();
    hw_lock_release();
    return tap_done();
}
