/*
 * RISC-V ACLINT 1.0-rc4: software interrupts between harts (MSWI, SSWI) and the machine timer
 * (MTIMER). Laid out together, MSWI at 0 and MTIMER at 0x4000 are SiFive's CLINT.
 *
 *     0x2000000  aclint_swi (sswi=off)   4 bytes a hart           16 KiB
 *     0x2004000  aclint_mtimer           mtimecmp, 8 bytes a hart; mtime at 0x7ff8     32 KiB
 *     0x2f00000  aclint_swi (sswi=on)    4 bytes a hart           16 KiB
 *
 * Harts here are numbered from 0 within the device: a socket has its own devices.
 */
#ifndef TINAMOU_HW_INTC_ACLINT_H
#define TINAMOU_HW_INTC_ACLINT_H

#include "cpu/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq.h"

enum {
    ACLINT_HARTS_MAX = 4095,
    ACLINT_SWI_SIZE = 0x4000,
    ACLINT_MTIMER_SIZE = 0x8000,
    ACLINT_TIMEBASE = 10000000, /* Hz, unless a property says otherwise */
};

struct aclint_swi {
    struct hw_device device;
    /* properties */
    uint32_t num_harts;
    bool sswi; /* supervisor: a write pulses the line; else it is the level of MSIP */
    /* for the machine; valid once realized */
    struct mem_region mmio;
    /* MSIP of each hart, a level; or with sswi SSIP, of which the rising edge sets the bit in the
     * hart's mip: software clears it there. */
    struct hw_irq out[ACLINT_HARTS_MAX];
    /* private */
    uint32_t harts; /* num_harts, for the saved state */
    bool msip[ACLINT_HARTS_MAX];
};

struct aclint_mtimer;

struct aclint_hart_timer {
    struct aclint_mtimer *mtimer;
    uint64_t mtimecmp;
    struct cpu_timer *timer;
};

struct aclint_mtimer {
    struct hw_device device;
    /* properties */
    uint32_t num_harts;
    uint32_t timebase_freq; /* Hz */
    /* set by the machine before realize */
    struct cpu_clock_source *clock;
    /* for the machine; valid once realized */
    struct mem_region mmio;
    struct hw_irq out[ACLINT_HARTS_MAX]; /* MTIP of each hart, a level */
    struct cpu_timebase timebase;        /* mtime, for whoever else shows it */
    /* private */
    uint32_t harts; /* num_harts, for the saved state */
    struct aclint_hart_timer hart[ACLINT_HARTS_MAX];
};

extern const struct hw_device_type aclint_swi_type;
extern const struct hw_device_type aclint_mtimer_type;

/* mtime now, what the harts' `time` CSR shows. Any thread, without a lock. */
uint64_t aclint_mtimer_time(struct aclint_mtimer *mtimer);

#endif
