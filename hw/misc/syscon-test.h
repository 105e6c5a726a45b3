/*
 * SiFive's test finisher ("sifive,test1", "sifive,test0", "syscon"): a register by which the guest
 * powers off, reports failure, or resets. Wiring: realize, put `mmio` into memory.
 */
#ifndef TINAMOU_HW_MISC_SYSCON_TEST_H
#define TINAMOU_HW_MISC_SYSCON_TEST_H

#include "hw/core/device.h"

/* What is written into the low half of the register at 0; the high half is FAIL's exit status. */
enum {
    SYSCON_TEST_FAIL = 0x3333,
    SYSCON_TEST_PASS = 0x5555,
    SYSCON_TEST_RESET = 0x7777,
};

struct syscon_test {
    struct hw_device device;
    struct mem_region mmio; /* 4 KiB */
};

extern const struct hw_device_type syscon_test_type;

#endif
