/*
 * MC146818 (Motorola data sheet ADI-856), as PCs have it: a time base of 32768 Hz, and the century
 * in a byte of the memory.
 *
 * The time is a number of seconds that follows from the host's clock; registers show it as their
 * mode says (BCD or binary, 12 or 24 hours). While the clock is stopped, by SET or by a divider
 * that is held in reset, the registers are bytes, from which the time is made when it starts again.
 *
 * Once a second there is an update, of no length: UIP is high in the last 244 us before it. Flags
 * of updates, alarms and periods are raised when somebody looks, for all that was due since the
 * last time; timers run for those only whose interrupt is enabled.
 */
#include "hw/rtc/mc146818.h"
#include "hw/core/reset.h"
#include "util/bits.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    SECONDS = 0x00,
    SECONDS_ALARM = 0x01,
    MINUTES = 0x02,
    MINUTES_ALARM = 0x03,
    HOURS = 0x04,
    HOURS_ALARM = 0x05,
    WEEKDAY = 0x06, /* 1 is Sunday */
    DAY = 0x07,
    MONTH = 0x08,
    YEAR = 0x09,
    REGISTER_A = 0x0a,
    REGISTER_B = 0x0b,
    REGISTER_C = 0x0c,
    REGISTER_D = 0x0d,

    A_UPDATE = 0x80, /* UIP */
    A_WRITABLE = 0x7f,
    B_SET = 0x80,
    B_PERIODIC = 0x40, /* these three as in C */
    B_ALARM = 0x20,
    B_UPDATE = 0x10,
    B_SQUARE_WAVE = 0x08,
    B_BINARY = 0x04,
    B_24_HOURS = 0x02,
    C_INTERRUPT = 0x80,
    C_FLAGS = 0x70,
    D_VALID = 0x80,

    HOURS_PM = 0x80,
    ANY = 0xc0, /* and above, in an alarm */
    DIVIDER_RUNS_MAX = 2,

    SECOND = 1000000000,
    UPDATE_NS = 244000,
    TICKS = 32768, /* a second */
    HALF_SECOND = SECOND / 2,
};

#define OFFSET_MAX (INT64_C(1) << 40) /* seconds, more than any date that can be set */

static bool divider_runs(const struct mc146818 *rtc)
{
    return bits_extract(rtc->cmos[REGISTER_A], 4, 3) <= DIVIDER_RUNS_MAX;
}

static bool is_running(const struct mc146818 *rtc)
{
    return divider_runs(rtc) && !(rtc->cmos[REGISTER_B] & B_SET);
}

/* ---- time ------------------------------------------------------------------------------------ */

static int64_t host_now(const struct mc146818 *rtc)
{
    return cpu_clock_now(rtc->clock, CPU_CLOCK_HOST) + rtc->phase;
}

/* Divides down, also what is negative. */
static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Nanoseconds of the present second, and shown seconds. */
static int64_t fraction_now(const struct mc146818 *rtc)
{
    return host_now(rtc) - floor_div(host_now(rtc), SECOND) * SECOND;
}

static int64_t seconds_now(const struct mc146818 *rtc)
{
    return floor_div(host_now(rtc), SECOND) + rtc->offset;
}

static uint8_t encode(const struct mc146818 *rtc, unsigned value)
{
    return (uint8_t)(rtc->cmos[REGISTER_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static unsigned decode(const struct mc146818 *rtc, uint8_t value)
{
    return rtc->cmos[REGISTER_B] & B_BINARY ? value : (value >> 4) * 10u + (value & 15);
}

static uint8_t encode_hours(const struct mc146818 *rtc, unsigned hours)
{
    if (rtc->cmos[REGISTER_B] & B_24_HOURS) {
        return encode(rtc, hours);
    }
    return encode(rtc, hours % 12 ? hours % 12 : 12) | (hours >= 12 ? HOURS_PM : 0);
}

static unsigned decode_hours(const struct mc146818 *rtc, uint8_t value)
{
    if (rtc->cmos[REGISTER_B] & B_24_HOURS) {
        return decode(rtc, value);
    }
    return decode(rtc, value & ~HOURS_PM) % 12 + (value & HOURS_PM ? 12 : 0);
}

/* Brings the bytes of the time up to date. */
static void show_time(struct mc146818 *rtc)
{
    time_t seconds = seconds_now(rtc);
    struct tm tm = {0};

    gmtime_r(&seconds, &tm);
    int64_t year = tm.tm_year + INT64_C(1900);
    int64_t century = floor_div(year, 100);

    rtc->cmos[SECONDS] = encode(rtc, (unsigned)tm.tm_sec);
    rtc->cmos[MINUTES] = encode(rtc, (unsigned)tm.tm_min);
    rtc->cmos[HOURS] = encode_hours(rtc, (unsigned)tm.tm_hour);
    rtc->cmos[WEEKDAY] = encode(rtc, ((unsigned)tm.tm_wday + rtc->weekday) % 7 + 1);
    rtc->cmos[DAY] = encode(rtc, (unsigned)tm.tm_mday);
    rtc->cmos[MONTH] = encode(rtc, (unsigned)tm.tm_mon + 1);
    rtc->cmos[YEAR] = encode(rtc, (unsigned)(year - century * 100));
    rtc->cmos[MC146818_CENTURY] = encode(rtc, (unsigned)(century - floor_div(century, 100) * 100));
}

/* Makes the bytes of the time the time, in whatever fraction of a second it is. What is no date is
 * taken as so many months and days from the beginning of the year. */
static void take_time(struct mc146818 *rtc)
{
    struct tm tm = {
        .tm_sec = (int)decode(rtc, rtc->cmos[SECONDS]),
        .tm_min = (int)decode(rtc, rtc->cmos[MINUTES]),
        .tm_hour = (int)decode_hours(rtc, rtc->cmos[HOURS]),
        .tm_mday = (int)decode(rtc, rtc->cmos[DAY]),
        .tm_mon = (int)decode(rtc, rtc->cmos[MONTH]) - 1,
        .tm_year =
            (int)(decode(rtc, rtc->cmos[YEAR]) + decode(rtc, rtc->cmos[MC146818_CENTURY]) * 100) -
            1900,
    };
    unsigned weekday = decode(rtc, rtc->cmos[WEEKDAY]);
    int64_t seconds = timegm(&tm);

    rtc->offset += seconds - seconds_now(rtc);
    rtc->checked = seconds;
    rtc->weekday =
        (uint8_t)(weekday >= 1 && weekday <= 7 ? (weekday + 6 - (unsigned)tm.tm_wday) % 7 : 0);
}

/* ---- alarm ----------------------------------------------------------------------------------- */

static bool matches(uint8_t alarm, unsigned wanted, unsigned value)
{
    return alarm >= ANY || wanted == value;
}

/*
 * The first shown second after `after` whose time is the alarm's; INT64_MAX when there is none. A
 * match is less than 25 hours away.
 */
static int64_t next_alarm(const struct mc146818 *rtc, int64_t after)
{
    uint8_t s = rtc->cmos[SECONDS_ALARM], m = rtc->cmos[MINUTES_ALARM], h = rtc->cmos[HOURS_ALARM];
    unsigned second = decode(rtc, s), minute = decode(rtc, m), hour = decode_hours(rtc, h);
    int64_t at = after + 1;

    if ((s < ANY && second > 59) || (m < ANY && minute > 59) || (h < ANY && hour > 23)) {
        return INT64_MAX;
    }
    for (;;) {
        unsigned of_day = (unsigned)(at - floor_div(at, 86400) * 86400);

        if (!matches(h, hour, of_day / 3600)) {
            at += 3600 - of_day % 3600;
        } else if (!matches(m, minute, of_day / 60 % 60)) {
            at += 60 - of_day % 60;
        } else if (!matches(s, second, of_day % 60)) {
            at++;
        } else {
            return at;
        }
    }
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static int64_t tick_now(const struct mc146818 *rtc)
{
    return (int64_t)cpu_clock_to_ticks(cpu_clock_now(rtc->clock, CPU_CLOCK_VIRTUAL), TICKS);
}

/* Ticks between two periodic interrupts; 0: none. */
static int64_t period(const struct mc146818 *rtc)
{
    unsigned rate = rtc->cmos[REGISTER_A] & 15;

    if (!rate || !divider_runs(rtc)) {
        return 0;
    }
    return INT64_C(1) << (rate < 3 ? rate + 6 : rate - 1);
}

static void raise_periodic(struct mc146818 *rtc)
{
    int64_t tick = tick_now(rtc), ticks = period(rtc);

    if (ticks && tick / ticks > rtc->periodic_seen / ticks) {
        rtc->cmos[REGISTER_C] |= B_PERIODIC;
    }
    rtc->periodic_seen = tick;
}

static void raise_updates(struct mc146818 *rtc)
{
    int64_t seconds = seconds_now(rtc);

    if (is_running(rtc)) {
        if (seconds > rtc->checked) {
            rtc->cmos[REGISTER_C] |= B_UPDATE;
            if (next_alarm(rtc, rtc->checked) <= seconds) {
                rtc->cmos[REGISTER_C] |= B_ALARM;
            }
        }
        rtc->checked = seconds; /* the host's clock may have been set back */
    }
}

/* Raises what was due. Comes before every change. */
static void catch_up(struct mc146818 *rtc)
{
    raise_periodic(rtc);
    raise_updates(rtc);
}

static bool awaits(const struct mc146818 *rtc, uint8_t flag)
{
    return rtc->cmos[REGISTER_B] & flag && !(rtc->cmos[REGISTER_C] & flag);
}

static void arm_periodic(struct mc146818 *rtc)
{
    int64_t ticks = period(rtc), deadline = CPU_CLOCK_NEVER;

    if (ticks && awaits(rtc, B_PERIODIC)) {
        deadline =
            cpu_clock_from_ticks((uint64_t)((rtc->periodic_seen / ticks + 1) * ticks), TICKS);
    }
    rtc->clock->ops->timer_arm(rtc->periodic_timer, deadline);
}

/* When the host's clock shows the beginning of a shown second. */
static int64_t host_time(const struct mc146818 *rtc, int64_t seconds)
{
    __int128 ns = ((__int128)seconds - rtc->offset) * SECOND - rtc->phase;

    return ns > INT64_MAX ? CPU_CLOCK_NEVER : ns < 0 ? 0 : (int64_t)ns;
}

static void arm_update(struct mc146818 *rtc)
{
    int64_t seconds = INT64_MAX;

    if (is_running(rtc) && awaits(rtc, B_UPDATE)) {
        seconds = rtc->checked + 1;
    } else if (is_running(rtc) && awaits(rtc, B_ALARM)) {
        seconds = next_alarm(rtc, rtc->checked);
    }
    rtc->clock->ops->timer_arm(rtc->update_timer, host_time(rtc, seconds));
}

/* After every change. */
static void update(struct mc146818 *rtc)
{
    uint8_t *flags = &rtc->cmos[REGISTER_C];
    bool level = *flags & rtc->cmos[REGISTER_B] & C_FLAGS;

    *flags = (uint8_t)((*flags & C_FLAGS) | (level ? C_INTERRUPT : 0));
    arm_periodic(rtc);
    arm_update(rtc);
    hw_irq_set(&rtc->out, level);
}

static void timer_fired(void *opaque)
{
    catch_up(opaque);
    update(opaque);
}

/* ---- registers ------------------------------------------------------------------------------- */

static bool is_time(unsigned n)
{
    return n == SECONDS || n == MINUTES || (n >= HOURS && n <= YEAR && n != HOURS_ALARM) ||
           n == MC146818_CENTURY;
}

static bool is_updating(const struct mc146818 *rtc)
{
    return is_running(rtc) && fraction_now(rtc) >= SECOND - UPDATE_NS;
}

static uint8_t read_byte(struct mc146818 *rtc, unsigned n, bool quiet)
{
    uint8_t value;

    catch_up(rtc);
    if (is_time(n) && is_running(rtc)) {
        show_time(rtc);
    }
    update(rtc);
    value = rtc->cmos[n];
    switch (n) {
    case REGISTER_A:
        return is_updating(rtc) ? value | A_UPDATE : value;
    case REGISTER_C:
        if (!quiet) {
            rtc->cmos[REGISTER_C] = 0;
            update(rtc);
        }
        return value;
    case REGISTER_D:
        return D_VALID;
    default:
        return value;
    }
}

/* Registers A and B, which stop and start the clock. Out of its reset the divider takes half a
 * second to the first update. */
static void write_control(struct mc146818 *rtc, unsigned n, uint8_t value)
{
    bool ran = is_running(rtc), divided = divider_runs(rtc);

    if (ran) {
        show_time(rtc);
    }
    rtc->cmos[n] = value;
    if (divider_runs(rtc) && !divided) {
        rtc->phase = (uint32_t)((rtc->phase + HALF_SECOND + SECOND - fraction_now(rtc)) % SECOND);
    }
    if (!ran && is_running(rtc)) {
        take_time(rtc);
    }
}

static void write_byte(struct mc146818 *rtc, unsigned n, uint8_t value)
{
    catch_up(rtc);
    switch (n) {
    case REGISTER_A:
        write_control(rtc, n, value & A_WRITABLE);
        break;
    case REGISTER_B:
        write_control(rtc, n, value & B_SET ? value & ~B_UPDATE : value);
        break;
    case REGISTER_C:
    case REGISTER_D:
        break;
    default:
        if (is_time(n) && is_running(rtc)) {
            show_time(rtc);
            rtc->cmos[n] = value;
            take_time(rtc);
        }
        rtc->cmos[n] = value;
    }
    update(rtc);
}

void mc146818_set_cmos(struct mc146818 *rtc, unsigned n, uint8_t value)
{
    assert(n > REGISTER_D && n < MC146818_BYTES && n != MC146818_CENTURY);
    rtc->cmos[n] = value;
}

uint8_t mc146818_cmos(const struct mc146818 *rtc, unsigned n)
{
    assert(n < MC146818_BYTES);
    return rtc->cmos[n];
}

static int rtc_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                    struct mem_attrs attrs)
{
    struct mc146818 *rtc = opaque;

    *value = offset ? read_byte(rtc, rtc->index, attrs.debug) : 0xff;
    return 0;
}

/* Bit 7 of the index masks NMI, which nothing here makes. */
static int rtc_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                     struct mem_attrs attrs)
{
    struct mc146818 *rtc = opaque;

    if (offset) {
        write_byte(rtc, rtc->index, (uint8_t)value);
    } else {
        rtc->index = value % MC146818_BYTES;
    }
    return 0;
}

static const struct mem_ops rtc_ops = {
    .read = rtc_read, .write = rtc_write, .max_size = 1, .split = true};

/* ---- life ------------------------------------------------------------------------------------ */

static int rtc_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct mc146818 *rtc = (struct mc146818 *)device;
    const struct cpu_clock_ops *ops = rtc->clock->ops;

    rtc->update_timer = ops->timer_create(rtc->clock, CPU_CLOCK_HOST, timer_fired, rtc);
    rtc->periodic_timer = ops->timer_create(rtc->clock, CPU_CLOCK_VIRTUAL, timer_fired, rtc);
    if (!rtc->update_timer || !rtc->periodic_timer) {
        if (rtc->update_timer) {
            ops->timer_destroy(rtc->update_timer);
        }
        if (rtc->periodic_timer) {
            ops->timer_destroy(rtc->periodic_timer);
        }
        snprintf(error, error_size, "mc146818rtc: no memory for timers");
        return -ENOMEM;
    }
    rtc->offset = floor_div(rtc->base_offset, SECOND);
    rtc->phase = (uint32_t)(rtc->base_offset - rtc->offset * SECOND);
    rtc->cmos[REGISTER_A] = 0x26;
    rtc->cmos[REGISTER_B] = B_24_HOURS;
    rtc->checked = seconds_now(rtc);
    rtc->periodic_seen = tick_now(rtc);
    mem_region_init_mmio(&rtc->io, "rtc", 2, &rtc_ops, rtc, &device->owner);
    return 0;
}

static void rtc_unrealize(struct hw_device *device)
{
    struct mc146818 *rtc = (struct mc146818 *)device;

    mem_region_retire(&rtc->io, NULL, NULL);
    rtc->clock->ops->timer_destroy(rtc->update_timer);
    rtc->clock->ops->timer_destroy(rtc->periodic_timer);
}

/* What the RESET pin does; time, alarm and memory have a battery. */
static void rtc_reset_enter(struct hw_device *device, bool cold)
{
    struct mc146818 *rtc = (struct mc146818 *)device;

    catch_up(rtc);
    rtc->cmos[REGISTER_B] &= (uint8_t) ~(B_PERIODIC | B_ALARM | B_UPDATE | B_SQUARE_WAVE);
    rtc->cmos[REGISTER_C] = 0;
    rtc->index = 0;
}

static void rtc_reset_hold(struct hw_device *device)
{
    update((struct mc146818 *)device);
}

static int rtc_post_load(void *object, uint32_t version)
{
    struct mc146818 *rtc = object;

    if (rtc->index >= MC146818_BYTES || rtc->phase >= SECOND || rtc->weekday > 6 ||
        rtc->offset > OFFSET_MAX || rtc->offset < -OFFSET_MAX || rtc->checked > OFFSET_MAX ||
        rtc->checked < -OFFSET_MAX || rtc->periodic_seen < 0 || rtc->periodic_seen > OFFSET_MAX ||
        rtc->cmos[REGISTER_A] & ~A_WRITABLE) {
        return -EINVAL;
    }
    rtc->out.level = rtc->cmos[REGISTER_C] & rtc->cmos[REGISTER_B] & C_FLAGS;
    arm_periodic(rtc);
    arm_update(rtc);
    return 0;
}

static const struct state_field rtc_fields[] = {
    STATE(U8, "index", struct mc146818, index),
    STATE_ARRAY(U8, "cmos", struct mc146818, cmos),
    STATE(U64, "offset", struct mc146818, offset),
    STATE(U32, "phase", struct mc146818, phase),
    STATE(U8, "weekday", struct mc146818, weekday),
    STATE(U64, "checked", struct mc146818, checked),
    STATE(U64, "periodic_seen", struct mc146818, periodic_seen),
    STATE_END,
};
static const struct state_table rtc_state = {.name = "mc146818rtc",
                                             .version = 1,
                                             .min_version = 1,
                                             .fields = rtc_fields,
                                             .post_load = rtc_post_load};

const struct hw_device_type mc146818_type = {
    .name = "mc146818rtc",
    .help = "real-time clock and CMOS memory",
    .size = sizeof(struct mc146818),
    .state = &rtc_state,
    .internal = true,
    .realize = rtc_realize,
    .unrealize = rtc_unrealize,
    .reset_enter = rtc_reset_enter,
    .reset_hold = rtc_reset_hold,
};
