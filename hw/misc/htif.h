/*
 * Host-target interface of the Berkeley boot loader and of spike: two 64-bit words by which a guest
 * exits, writes and reads characters.
 *
 * Where they are is said by the symbols tohost and fromhost of the program that the guest starts
 * from; otherwise the machine has a place for them. Wiring: set `chr` and `memory`,
 * realize, put `tohost` and `fromhost` into memory at their addresses, above the RAM that may be
 * there.
 */
#ifndef TINAMOU_HW_MISC_HTIF_H
#define TINAMOU_HW_MISC_HTIF_H

#include "hw/core/device.h"
#include "mem/space.h"

struct chardev;

struct htif {
    struct hw_device device;
    /* set by the machine before realize; chr may be NULL */
    struct chardev *chr;
    struct mem_space *memory; /* where proxied system calls have their arguments */
    /* for the machine; valid once realized: 8 bytes each */
    struct mem_region tohost, fromhost;
    /* private */
    uint64_t to, from;
    bool getchar_waiting;
};

extern const struct hw_device_type htif_type;

#endif
