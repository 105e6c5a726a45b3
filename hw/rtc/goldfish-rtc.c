/*
 * Goldfish RTC, as the Android emulator's documentation of its virtual hardware and Linux's driver
 * have it. Time is a 64-bit number of nanoseconds in two 32-bit registers: reading the low half
 * latches the high one; writing either half changes that half of the present time.
 *
 * Writing ALARM_LOW arms the alarm (after ALARM_HIGH); at that time it disarms itself and raises
 * the interrupt, at once if the time has passed. The time survives a reset as with a battery; the
 * alarm does not.
 */
#include "hw/rtc/goldfish-rtc.h"
#include "util/bits.h"
#include "util/log.h"

#include <errno.h>
#include <stdio.h>

enum {
    TIME_LOW = 0x00,
    TIME_HIGH = 0x04,
    ALARM_LOW = 0x08,
    ALARM_HIGH = 0x0c,
    IRQ_ENABLED = 0x10,
    CLEAR_ALARM = 0x14,
    ALARM_STATUS = 0x18,
    CLEAR_INTERRUPT = 0x1c,
    SIZE = 0x1000,
};

static uint64_t time_now(struct goldfish_rtc *rtc)
{
    return (uint64_t)cpu_clock_now(rtc->clock, CPU_CLOCK_HOST) + rtc->offset;
}

static void update(struct goldfish_rtc *rtc)
{
    hw_irq_set(&rtc->out, rtc->pending && rtc->enabled);
}

static void stop_alarm(struct goldfish_rtc *rtc)
{
    rtc->alarm_running = false;
    rtc->clock->ops->timer_arm(rtc->timer, CPU_CLOCK_NEVER);
}

/* Fires the alarm if it is due, else sets the timer. */
static void check_alarm(struct goldfish_rtc *rtc)
{
    uint64_t deadline = rtc->alarm - rtc->offset;

    if (!rtc->alarm_running) {
        return;
    }
    if (rtc->alarm <= time_now(rtc)) {
        stop_alarm(rtc);
        rtc->pending = true;
    } else {
        rtc->clock->ops->timer_arm(rtc->timer,
                                   deadline > INT64_MAX ? CPU_CLOCK_NEVER : (int64_t)deadline);
    }
    update(rtc);
}

static void alarm_fired(void *opaque)
{
    check_alarm(opaque);
}

/* The guest sets the clock; the alarm stays at the time that it was set to. */
static void set_time(struct goldfish_rtc *rtc, unsigned shift, uint32_t half)
{
    uint64_t now = time_now(rtc);

    rtc->offset += bits_deposit(now, shift, 32, half) - now;
    check_alarm(rtc);
}

static int rtc_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                    struct mem_attrs attrs)
{
    struct goldfish_rtc *rtc = opaque;
    uint64_t now;

    *value = 0;
    switch (offset) {
    case TIME_LOW:
        now = time_now(rtc);
        if (!attrs.debug) {
            rtc->time_high = (uint32_t)(now >> 32);
        }
        *value = (uint32_t)now;
        break;
    case TIME_HIGH:
        *value = rtc->time_high;
        break;
    case ALARM_LOW:
        *value = (uint32_t)rtc->alarm;
        break;
    case ALARM_HIGH:
        *value = rtc->alarm >> 32;
        break;
    case IRQ_ENABLED:
        *value = rtc->enabled;
        break;
    case ALARM_STATUS:
        *value = rtc->alarm_running;
        break;
    default:
        log_limited(LOG_GUEST_ERRORS, "goldfish_rtc: read of offset %#x\n", (unsigned)offset);
    }
    return 0;
}

static int rtc_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                     struct mem_attrs attrs)
{
    struct goldfish_rtc *rtc = opaque;

    switch (offset) {
    case TIME_LOW:
        set_time(rtc, 0, (uint32_t)value);
        break;
    case TIME_HIGH:
        set_time(rtc, 32, (uint32_t)value);
        break;
    case ALARM_LOW:
        rtc->alarm = bits_deposit(rtc->alarm, 0, 32, value);
        rtc->alarm_running = true;
        check_alarm(rtc);
        break;
    case ALARM_HIGH:
        rtc->alarm = bits_deposit(rtc->alarm, 32, 32, value);
        break;
    case IRQ_ENABLED:
        rtc->enabled = value & 1;
        break;
    case CLEAR_ALARM:
        stop_alarm(rtc);
        break;
    case CLEAR_INTERRUPT:
        rtc->pending = false;
        break;
    default:
        log_limited(LOG_GUEST_ERRORS, "goldfish_rtc: write to offset %#x\n", (unsigned)offset);
    }
    update(rtc);
    return 0;
}

static const struct mem_ops rtc_ops = {
    .read = rtc_read, .write = rtc_write, .min_size = 4, .max_size = 4, .split = true};

static int rtc_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct goldfish_rtc *rtc = (struct goldfish_rtc *)device;

    rtc->timer = rtc->clock->ops->timer_create(rtc->clock, CPU_CLOCK_HOST, alarm_fired, rtc);
    if (!rtc->timer) {
        snprintf(error, error_size, "goldfish_rtc: no memory for a timer");
        return -ENOMEM;
    }
    rtc->offset = (uint64_t)rtc->base_offset;
    mem_region_init_mmio(&rtc->mmio, "goldfish_rtc", SIZE, &rtc_ops, rtc, &device->owner);
    return 0;
}

static void rtc_unrealize(struct hw_device *device)
{
    struct goldfish_rtc *rtc = (struct goldfish_rtc *)device;

    mem_region_retire(&rtc->mmio, NULL, NULL);
    rtc->clock->ops->timer_destroy(rtc->timer);
}

static void rtc_reset_enter(struct hw_device *device, bool cold)
{
    struct goldfish_rtc *rtc = (struct goldfish_rtc *)device;

    stop_alarm(rtc);
    rtc->alarm = 0;
    rtc->time_high = 0;
    rtc->pending = rtc->enabled = false;
}

static void rtc_reset_hold(struct hw_device *device)
{
    update((struct goldfish_rtc *)device);
}

static int rtc_post_load(void *object, uint32_t version)
{
    struct goldfish_rtc *rtc = object;

    update(rtc);
    check_alarm(rtc);
    return 0;
}

static const struct state_field rtc_fields[] = {
    STATE(U64, "offset", struct goldfish_rtc, offset),
    STATE(U64, "alarm", struct goldfish_rtc, alarm),
    STATE(U32, "time_high", struct goldfish_rtc, time_high),
    STATE(BOOL, "alarm_running", struct goldfish_rtc, alarm_running),
    STATE(BOOL, "pending", struct goldfish_rtc, pending),
    STATE(BOOL, "enabled", struct goldfish_rtc, enabled),
    STATE_END,
};
static const struct state_table rtc_state = {.name = "goldfish_rtc",
                                             .version = 1,
                                             .min_version = 1,
                                             .fields = rtc_fields,
                                             .post_load = rtc_post_load};

const struct hw_device_type goldfish_rtc_type = {
    .name = "goldfish_rtc",
    .help = "real-time clock",
    .size = sizeof(struct goldfish_rtc),
    .state = &rtc_state,
    .internal = true,
    .realize = rtc_realize,
    .unrealize = rtc_unrealize,
    .reset_enter = rtc_reset_enter,
    .reset_hold = rtc_reset_hold,
};
