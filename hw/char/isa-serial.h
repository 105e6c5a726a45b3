/*
 * Serial port of a PC ("isa-serial", on an ISA bus): a 16550A at the ports of COM1 to COM4, or
 * where properties say. A machine that has one of its own sets `uart.chr` before it is realized.
 */
#ifndef TINAMOU_HW_CHAR_ISA_SERIAL_H
#define TINAMOU_HW_CHAR_ISA_SERIAL_H

#include "hw/char/serial16550.h"

struct isa_serial {
    struct serial16550 uart; /* the device itself */
    /* properties */
    int32_t index;  /* 0 to 3 for COM1 to COM4; -1: as many as there are on the bus before it */
    int32_t iobase; /* -1: by index */
    int32_t irq;    /* -1: by index */
    char *chardev;  /* id of the host's end; NULL: uart.chr as it is */
};

extern const struct hw_device_type isa_serial_type;

#endif
