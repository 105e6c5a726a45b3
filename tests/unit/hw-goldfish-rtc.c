/* The Goldfish RTC: time in halves, and an alarm. */
#include "hw/rtc/goldfish-rtc.h"

#include "tests/unit/hw-bench.h"

enum {
    RTC = 0x101000,
    LOW = 0,
    HIGH = 4,
    ALARM = 8,
    ALARM_HIGH = 12,
    ENABLE = 16,
    STOP = 20,
    STATUS = 24,
    ACKNOWLEDGE = 28
};

#define START INT64_C(1700000000123456789)

static uint64_t get_time(void)
{
    uint64_t low = bench_read(RTC + LOW, 4);

    return bench_read(RTC + HIGH, 4) << 32 | low;
}

static void set_alarm(uint64_t when)
{
    bench_write(RTC + ALARM_HIGH, 4, when >> 32);
    bench_write(RTC + ALARM, 4, when & UINT32_MAX);
}

int main(void)
{
    struct goldfish_rtc *rtc, *other;
    struct bench_line line, copy;
    uint64_t value;

    bench_init();
    hw_lock_acquire();
    bench_now[CPU_CLOCK_HOST] = START;
    rtc = bench_create(&goldfish_rtc_type, "");
    other = bench_create(&goldfish_rtc_type, "");
    rtc->clock = other->clock = &bench_clock;
    rtc->base_offset = 1000;
    bench_realize(rtc);
    bench_realize(other);
    bench_put(RTC, &rtc->mmio);
    bench_watch(&line, &rtc->out);
    bench_watch(&copy, &other->out);

    tap_eq(get_time(), START + 1000, "the host's time and the offset given");
    bench_read(RTC + LOW, 4);
    bench_advance(INT64_C(1) << 33);
    tap_eq(bench_read(RTC + HIGH, 4), (START + 1000) >> 32, "the high half stays with the low one");
    tap_ok(!mem_access_load(&bench_space, mem_gpa(RTC + LOW), 4, &value,
                            (struct mem_attrs){.debug = 1}) &&
               bench_read(RTC + HIGH, 4) == (START + 1000) >> 32,
           "also when a debugger looks");

    bench_write(RTC + HIGH, 4, 0x10);
    bench_write(RTC + LOW, 4, 500);
    tap_eq(get_time(), 0x1000000000 + 500, "time is set");
    set_alarm(0x1000000000 + 900);
    tap_eq(bench_read(RTC + STATUS, 4), 1, "the alarm is armed");
    tap_ok(bench_read(RTC + ALARM_HIGH, 4) == 0x10 && bench_read(RTC + ALARM, 4) == 900,
           "and can be read");
    bench_advance(400);
    tap_eq(bench_read(RTC + STATUS, 4), 0, "it has gone off");
    tap_ok(!line.level, "without an interrupt, which is off");
    bench_write(RTC + ENABLE, 4, 1);
    tap_ok(line.level, "until that is enabled");
    bench_write(RTC + ACKNOWLEDGE, 4, 1);
    tap_ok(!line.level, "acknowledged");
    set_alarm(get_time() - 1);
    tap_ok(line.level, "an alarm in the past goes off at once");
    bench_write(RTC + ACKNOWLEDGE, 4, 1);

    set_alarm(get_time() + 1000);
    tap_eq(bench_move(goldfish_rtc_type.state, rtc, other), 0, "state moves");
    bench_write(RTC + STOP, 4, 1);
    bench_advance(1000);
    tap_ok(!line.level, "a stopped alarm is quiet");
    tap_ok(copy.level, "the copy was not stopped");
    set_alarm(get_time() + 1000);
    bench_write(RTC + LOW, 4, bench_read(RTC + LOW, 4) + 999);
    tap_ok(!line.level, "setting the clock moves it towards the alarm");
    bench_advance(1);
    tap_ok(line.level, "which is that much earlier");

    set_alarm(UINT64_MAX);
    bench_write(RTC + HIGH, 4, UINT32_MAX);
    bench_write(RTC + LOW, 4, UINT32_MAX);
    bench_advance(INT64_C(1) << 40);
    bench_write(RTC + STATUS, 4, 5);
    bench_write(RTC + 0xffc, 4, 5);
    tap_eq(bench_read(RTC + 0xffc, 4), 0, "nothing else is there");
    set_alarm(get_time() - 1);
    hw_reset_device(&rtc->device, false);
    tap_ok(!line.level && !bench_read(RTC + ENABLE, 4), "reset lowers the line");

    mem_region_remove(&rtc->mmio);
    hw_device_destroy(&rtc->device);
    hw_device_destroy(&other->device);
    tap_ok(!bench_timers, "no timer is left");
    hw_lock_release();
    return tap_done();
}
