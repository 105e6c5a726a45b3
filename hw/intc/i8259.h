/*
 * A pair of 8259A interrupt controllers as in a PC ("isa-i8259"): a master, and a slave behind its
 * input 2, with the edge/level control registers (ELCR) of EISA and its successors.
 *
 * Wiring: create, realize, put the three regions into the port space, connect interrupts 0 to 15 to
 * in[], and `out` to INTR: of a vCPU without APIC, else to the LINT0 inputs of APICs, whose bus
 * then calls i8259_acknowledge(). in[2] is the cascade, and driving it does nothing.
 *
 * Under the machine lock.
 */
#ifndef TINAMOU_HW_INTC_I8259_H
#define TINAMOU_HW_INTC_I8259_H

#include "hw/core/device.h"
#include "hw/core/irq.h"

enum { I8259_INPUTS = 16 };

/* Where a PC has the regions. */
enum { I8259_MASTER_PORT = 0x20, I8259_SLAVE_PORT = 0xa0, I8259_ELCR_PORT = 0x4d0 };

/* One of the two chips; a bit per input. */
struct i8259_chip {
    uint8_t lines;    /* levels of the inputs */
    uint8_t edges;    /* of those that are edge-triggered: it has come, and was not acknowledged */
    uint8_t isr, imr; /* in service, masked */
    uint8_t elcr;     /* inputs that are level-triggered */
    uint8_t base;     /* vector of input 0, from ICW2 */
    uint8_t lowest;   /* input of lowest priority: 7, unless rotated */
    uint8_t step;     /* of initialization: the number of the ICW that port 1 takes next; 0: done */
    bool wants_icw4, single;
    bool auto_eoi;        /* ICW4 */
    bool rotate_auto_eoi; /* OCW2 */
    bool fully_nested;    /* ICW4: special fully nested mode */
    bool special_mask;    /* OCW3 */
    bool poll;            /* OCW3: the next read is an acknowledge */
    bool read_isr;        /* OCW3: port 0 shows ISR, else IRR */
};

struct i8259 {
    struct hw_device device;
    /* for the machine; valid once realized. Two bytes each */
    struct mem_region master_io, slave_io, elcr_io;
    struct hw_irq_input in[I8259_INPUTS];
    struct hw_irq out;
    /* private */
    struct i8259_chip chip[2]; /* master, slave */
};

extern const struct hw_device_type i8259_type;

/*
 * The two INTA cycles of a processor that takes INTR: returns the vector, 0 to 255, and puts the
 * input into service. When the request has gone meanwhile it is that of the chip's input 7
 * (spurious interrupt), which is not put into service.
 */
int i8259_acknowledge(struct i8259 *pic);

#endif
