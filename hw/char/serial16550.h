/*
 * 16550A serial port with memory-mapped registers ("ns16550a" in a device tree);
 * hw/char/isa-serial.h has it at ports.
 *
 * The host's end is a chardev; without one, output is lost and nothing comes in. Wiring: set `chr`
 * and `clock`, realize, put `mmio` into memory and connect `out`.
 */
#ifndef TINAMOU_HW_CHAR_SERIAL16550_H
#define TINAMOU_HW_CHAR_SERIAL16550_H

#include "cpu/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq.h"

struct chardev;

enum { SERIAL16550_FIFO = 16 };

/* Bytes of a FIFO with, of received ones, the error bits of LSR that came along. */
struct serial16550_fifo {
    uint8_t byte[SERIAL16550_FIFO], flags[SERIAL16550_FIFO];
    uint32_t first, count;
};

struct serial16550 {
    struct hw_device device;
    /* properties */
    uint8_t regshift;  /* registers are 1 << regshift bytes apart, 0 to 3 */
    uint32_t baudbase; /* bits a second at divisor 1: the input clock / 16 */
    /* set by the machine before realize; chr may be NULL */
    struct chardev *chr;
    struct cpu_clock_source *clock;
    bool narrow; /* on a bus of eight bits, as ISA's ports; regshift is 0 */
    /* for the machine; valid once realized */
    struct mem_region mmio; /* 8 << regshift bytes */
    struct hw_irq out;
    /* private */
    uint8_t ier, fcr, lcr, mcr, msr, scr;
    uint16_t divisor;
    uint8_t last;       /* what RBR shows when nothing has been received since */
    bool overrun;       /* LSR's, until it is read */
    bool thr_interrupt; /* THR has become empty, and IIR has not told yet */
    bool timeout;       /* character time-out: bytes below the trigger level have lain too long */
    struct serial16550_fifo rx, tx; /* without FIFO mode, of one byte */
    struct cpu_timer *timeout_timer;
};

extern const struct hw_device_type serial16550_type;
/* Of struct serial16550, for devices that are one at another place. */
extern const struct state_table serial16550_state;

#endif
