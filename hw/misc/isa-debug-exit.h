/*
 * A port by which a guest ends the emulator ("isa-debug-exit", on an ISA bus): writing v gives the
 * exit status v * 2 + 1. For test programs.
 */
#ifndef TINAMOU_HW_MISC_ISA_DEBUG_EXIT_H
#define TINAMOU_HW_MISC_ISA_DEBUG_EXIT_H

#include "hw/core/device.h"

struct isa_debug_exit {
    struct hw_device device;
    /* properties */
    uint32_t iobase, iosize;
    /* private */
    struct mem_region io;
};

extern const struct hw_device_type isa_debug_exit_type;

#endif
