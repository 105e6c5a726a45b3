/*
 * Programmable interval timer 8254 as in a PC ("isa-pit"): three counters at 1193182 Hz. Counter 0
 * drives `out` (interrupt 0). Counter 2 has its gate and output in the port 0x61, which a machine
 * may leave out; without it that gate is low.
 *
 * Counters are not counted: what they show follows from the virtual clock and when they were
 * loaded, and edges of `out` come from a timer that is armed for the next one, so nothing drifts.
 *
 * Wiring: create, set `clock`, realize, put `io` at 0x40 and `port61` at 0x61 of the port space,
 * connect `out`. Under the machine lock.
 */
#ifndef TINAMOU_HW_TIMER_I8254_H
#define TINAMOU_HW_TIMER_I8254_H

#include "cpu/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq.h"

#define I8254_FREQUENCY UINT64_C(1193182) /* Hz: 105/88 MHz, rounded */
enum { I8254_PORT = 0x40, I8254_PORT_61 = 0x61, I8254_COUNTERS = 3 };

struct i8254_counter {
    uint8_t mode;   /* 0 to 5 */
    uint8_t access; /* 1: low byte, 2: high byte, 3: low then high */
    bool bcd;
    bool gate;
    bool loaded;                    /* a count was written since the mode was */
    bool triggered;                 /* modes 1 and 5: by a rising gate */
    bool write_high;                /* the next byte written is the high one */
    bool read_high;                 /* the next byte read is */
    bool latched_low, latched_high; /* bytes of `latch` that are yet to be read */
    bool status_latched;
    uint8_t status, low; /* latched status; low byte of a count that is being written */
    uint16_t latch;
    uint32_t reload; /* 1 to 65536, or 10000 in BCD */
    uint32_t next;   /* count to be taken over at the end of the period; 0: none */
    uint32_t held;   /* count that it stands at while it does not count */
    uint64_t start;  /* tick of the input clock at which it had `reload` */
};

struct i8254 {
    struct hw_device device;
    /* set by the machine before realize */
    struct cpu_clock_source *clock;
    /* for the machine; valid once realized */
    struct mem_region io, port61; /* 4 bytes and 1 byte */
    struct hw_irq out;
    /* private */
    struct i8254_counter counter[I8254_COUNTERS];
    uint8_t speaker; /* bits 0 and 1 of port 0x61: gate of counter 2, speaker on */
    struct cpu_timer *timer;
};

extern const struct hw_device_type i8254_type;

#endif
