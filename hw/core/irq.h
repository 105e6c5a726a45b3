/*
 * Interrupt lines: wires from an output of one device to an input of another.
 *
 * An input belongs to the receiver, an output to the sender, and both are embedded. An output that
 * is connected to nothing may be driven. Lines that share an input go through struct hw_irq_or. A
 * line has no memory of its own: after loading a saved state, each sender's post_load leaves its
 * output's level as it was and each receiver has saved its own view.
 *
 * Under the machine lock, unless the receiver says that its handler takes any thread (an in-kernel
 * controller, a vCPU's lines).
 */
#ifndef TINAMOU_HW_CORE_IRQ_H
#define TINAMOU_HW_CORE_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct hw_irq_input {
    void (*handler)(void *opaque, unsigned n, bool level);
    void *opaque;
    unsigned n; /* which of the receiver's inputs it is */
};

struct hw_irq {
    struct hw_irq_input *to; /* NULL: not connected */
    bool level;
};

/* Connects, or with NULL disconnects; a receiver sees the present level when it is high. */
static inline void hw_irq_connect(struct hw_irq *irq, struct hw_irq_input *to)
{
    irq->to = to;
    if (to && irq->level) {
        to->handler(to->opaque, to->n, true);
    }
}

/* Drives the line. The receiver is told of changes only. */
static inline void hw_irq_set(struct hw_irq *irq, bool level)
{
    if (irq->level != level) {
        irq->level = level;
        if (irq->to) {
            irq->to->handler(irq->to->opaque, irq->to->n, level);
        }
    }
}

/* An edge: up and down. The line must be low. */
static inline void hw_irq_pulse(struct hw_irq *irq)
{
    hw_irq_set(irq, true);
    hw_irq_set(irq, false);
}

#define HW_IRQ_OR_INPUTS 64

/* An OR gate: its output is high while any of its inputs is. */
struct hw_irq_or {
    struct hw_irq_input in[HW_IRQ_OR_INPUTS];
    uint64_t levels;
    struct hw_irq out;
};

void hw_irq_or_init(struct hw_irq_or *gate);

#endif
