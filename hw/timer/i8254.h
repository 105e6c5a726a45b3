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
    uint8_t control; /* what software wrote: access, mode, BCD, as in the status */
    bool gate;
    bool loaded;     /* a count was written since the mode was */
    bool triggered;  /* modes 1 and 5: the gate has risen since then */
    bool counting;   /* else it stands where it had come to */
    bool write_high; /* the next byte written is the high one */
    bool read_high;  /* the next byte read is, if none is latched */
    uint8_t low;     /* low byte of a count that is being written */
    uint8_t latched; /* 1: the low byte of `latch` is to be read, 2: the high one; 3: both */
    uint16_t latch;
    bool status_latched;
    uint8_t status;
    uint32_t reload;   /* initial count, 1 to 65536 */
    uint32_t next;     /* initial count that has yet to take effect; 0: none */
    int64_t switch_at; /* tick at which it does, while counting; in modes 2 and 3 */
    int64_t start;     /* tick at which it had its initial count, while counting */
    int64_t held;      /* ticks it has counted, while it is not counting */
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
    uint8_t port_b; /* the lower four bits of port 0x61; bit 0 is the gate of counter 2 */
    int64_t driven; /* tick up to which `out` was driven */
    struct cpu_timer *timer;
};

extern const struct hw_device_type i8254_type;

#endif
