/*
 * Goldfish real-time clock ("google,goldfish-rtc"): nanoseconds since 1970, and an alarm.
 *
 * It shows the host's wall clock plus what the guest has set it off by. Wiring: set `clock`,
 * realize, put `mmio` into memory and connect `out`.
 */
#ifndef TINAMOU_HW_RTC_GOLDFISH_RTC_H
#define TINAMOU_HW_RTC_GOLDFISH_RTC_H

#include "cpu/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq.h"

struct goldfish_rtc {
    struct hw_device device;
    /* set by the machine before realize */
    struct cpu_clock_source *clock;
    int64_t base_offset; /* ns added to the host's wall clock at start, from -rtc base= */
    /* for the machine; valid once realized */
    struct mem_region mmio;
    struct hw_irq out;
    /* private */
    int64_t offset; /* shown time - time of the virtual clock */
    uint64_t alarm; /* ns of shown time */
    uint32_t alarm_low, time_high;
    bool alarm_running, pending, enabled;
    struct cpu_timer *timer;
};

extern const struct hw_device_type goldfish_rtc_type;

#endif
