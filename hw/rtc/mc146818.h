/*
 * Real-time clock and CMOS memory MC146818 as in a PC ("mc146818rtc"): calendar, alarm, periodic
 * interrupt, and 128 bytes of memory that outlive power-off.
 *
 * It shows the host's wall clock plus what the guest has set it off by. Wiring: create, set `clock`
 * and `base_offset`, realize, put `io` at 0x70 of the port space, connect `out` to interrupt 8;
 * what firmware is to find in the memory is set with mc146818_set_cmos(). Under the machine lock.
 */
#ifndef TINAMOU_HW_RTC_MC146818_H
#define TINAMOU_HW_RTC_MC146818_H

#include "cpu/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq.h"

enum { MC146818_PORT = 0x70, MC146818_BYTES = 128, MC146818_CENTURY = 0x32 };

struct mc146818 {
    struct hw_device device;
    /* set by the machine before realize */
    struct cpu_clock_source *clock;
    int64_t base_offset; /* ns added to the host's wall clock at start, from -rtc base= */
    /* for the machine; valid once realized */
    struct mem_region io; /* 2 bytes: index, data */
    struct hw_irq out;
    /* private */
    uint8_t index;
    /* Memory, alarm and registers A to C. The bytes of the time are what they show while the clock
     * is stopped; while it runs they are of no account. */
    uint8_t cmos[MC146818_BYTES];
    /* Shown seconds since 1970 are (host's wall clock + phase) / 1e9 + offset. */
    int64_t offset;
    uint32_t phase;        /* ns, less than a second */
    uint8_t weekday;       /* days that the day of the week is set off by, 0 to 6 */
    int64_t checked;       /* shown second up to which updates and alarms were looked for */
    int64_t periodic_seen; /* tick of 32768 Hz, of the virtual clock, up to which periods were */
    struct cpu_timer *update_timer, *periodic_timer;
};

extern const struct hw_device_type mc146818_type;

/*
 * A byte of the memory, MC146818_BYTES of them: for machines, that tell firmware the size of memory
 * and the like. The bytes of time and the registers A to D are not for setting. It survives resets.
 */
void mc146818_set_cmos(struct mc146818 *rtc, unsigned n, uint8_t value);
uint8_t mc146818_cmos(const struct mc146818 *rtc, unsigned n);

#endif
