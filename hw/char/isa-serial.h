/*
 * Serial port of a PC ("isa-serial", on an ISA bus): a 16550A at ports of COM1 to COM4, or as
 * properties say. A machine that has one of its own sets `chr`.
 */
#ifndef TINAMOU_HW_CHAR_ISA_SERIAL_H
#define TINAMOU_HW_CHAR_ISA_SERIAL_H

#include "hw/core/device.h"

struct chardev;
struct serial16550;

struct isa_serial {
    struct hw_device device;
    /* properties */
    int32_t index;  /* 0 to 3 for COM1 to COM4; -1: as many as there are on the bus before it */
    int32_t iobase; /* -1: by index */
    int32_t irq;    /* -1: by index */
    char *chardev;  /* id of the host's end; NULL: chr, or none */
    /* set by the machine before realize; may be NULL */
    struct chardev *chr;
    /* private */
    struct hw_bus bus;        /* of the 16550A alone */
    struct serial16550 *uart; /* once realized */
};

extern const struct hw_device_type isa_serial_type;

#endif
