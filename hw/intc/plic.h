/*
 * Platform-level interrupt controller: RISC-V PLIC specification 1.0.0, as SiFive lays it out.
 *
 * Sources are numbered from 1; a context is a hart in a mode. Wiring: create, set properties,
 * realize, then put `mmio` into the machine's memory, connect sources to in[1] .. in[num_sources]
 * and out[] to the harts' external interrupts.
 */
#ifndef TINAMOU_HW_INTC_PLIC_H
#define TINAMOU_HW_INTC_PLIC_H

#include "hw/core/device.h"
#include "hw/core/irq.h"

enum {
    PLIC_SOURCES_MAX = 1024, /* source 0 included, which does not exist */
    PLIC_WORDS = PLIC_SOURCES_MAX / 32,
    PLIC_CONTEXTS_MAX = 1024,
};

struct plic_context {
    uint32_t enable[PLIC_WORDS];
    uint32_t threshold;
};

struct plic {
    struct hw_device device;
    /* properties */
    char *hart_config;       /* modes of each hart, "MS,MS": contexts are numbered in that order */
    uint32_t num_sources;    /* highest source */
    uint32_t num_priorities; /* highest priority */
    uint32_t aperture_size;  /* bytes; multiple of 4 KiB */
    /* for the machine; valid once realized */
    struct mem_region mmio;
    struct hw_irq_input in[PLIC_SOURCES_MAX]; /* 1 to num_sources */
    struct hw_irq out[PLIC_CONTEXTS_MAX];
    uint32_t contexts;
    /* private: a bit per source */
    uint32_t level[PLIC_WORDS];   /* of the line */
    uint32_t pending[PLIC_WORDS]; /* the gateway has forwarded it and nobody claimed it yet */
    uint32_t claimed[PLIC_WORDS]; /* forwarded and claimed: the gateway waits for completion */
    uint32_t priority[PLIC_SOURCES_MAX];
    struct plic_context context[PLIC_CONTEXTS_MAX];
};

extern const struct hw_device_type plic_type;

/*
 * The context of a hart (numbered from 0 as in hart-config) in mode 'M', 'S' or 'U', for connecting
 * out[]; -1 when the hart-config has none. Only once realized.
 */
int plic_context_of(const struct plic *plic, unsigned hart, char mode);

#endif
