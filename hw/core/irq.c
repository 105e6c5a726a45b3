/* The OR gate of interrupt lines. */
#include "hw/core/irq.h"
#include "util/bits.h"

static void or_input(void *opaque, unsigned n, bool level)
{
    struct hw_irq_or *gate = opaque;

    gate->levels = bits_deposit(gate->levels, n, 1, level);
    hw_irq_set(&gate->out, gate->levels != 0);
}

void hw_irq_or_init(struct hw_irq_or *gate)
{
    *gate = (struct hw_irq_or){0};
    for (unsigned n = 0; n < HW_IRQ_OR_INPUTS; n++) {
        gate->in[n] = (struct hw_irq_input){or_input, gate, n};
    }
}
