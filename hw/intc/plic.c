/*
 * The PLIC, RISC-V PLIC specification 1.0.0.
 *
 * A gateway stands before each source: it forwards a request when its line is high and no earlier
 * request of it is under way (clause 2, "Interrupt Gateways"). Of a level-triggered source the
 * forwarded request stays pending even if the line falls again, until it is claimed; when the
 * handler completes it while the line is still high, it is forwarded again. So a source is in one
 * of three states, and never both pending and claimed:
 *
 *     idle --line high--> pending --claim--> claimed --completion--> idle (or at once pending)
 *
 * An output is high while there is a pending source that is enabled for the context and has a
 * priority above its threshold. A claim does not look at the threshold (clause 8, "Interrupt Claim
 * Process": it returns the pending and enabled interrupt of highest priority, 0 if there is none,
 * and priority 0 means never interrupt); the lower number wins a tie.
 *
 * Layout: priorities at 0, pending bits at 0x1000, enable bits at 0x2000 with 0x80 bytes a context,
 * threshold and claim at 0x200000 with 0x1000 bytes a context. All registers are 32 bits wide.
 */
#include "hw/intc/plic.h"
#include "hw/core/reset.h"
#include "util/bits.h"
#include "util/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    PENDING_BASE = 0x1000,
    ENABLE_BASE = 0x2000,
    ENABLE_STRIDE = 0x80,
    CONTEXT_BASE = 0x200000,
    CONTEXT_STRIDE = 0x1000,
    CONTEXT_THRESHOLD = 0,
    CONTEXT_CLAIM = 4,
};

static unsigned word_count(const struct plic *plic)
{
    return plic->num_sources / 32 + 1;
}

/* The bits of a word that are sources. */
static uint32_t word_mask(const struct plic *plic, unsigned word)
{
    uint32_t mask = UINT32_MAX;

    if (word == plic->num_sources / 32) {
        mask = (uint32_t)bits_mask(plic->num_sources % 32 + 1);
    }
    return word ? mask : mask & ~1u;
}

/* The pending source that is enabled in the context and has the highest priority above `above`. */
static unsigned best_source(const struct plic *plic, const struct plic_context *context,
                            uint32_t above)
{
    unsigned best = 0;

    for (unsigned word = 0; word < word_count(plic); word++) {
        uint32_t candidates = plic->pending[word] & context->enable[word];

        while (candidates) {
            unsigned source = word * 32 + bits_ctz32(candidates);

            candidates &= candidates - 1;
            if (plic->priority[source] > above) {
                best = source;
                above = plic->priority[source];
            }
        }
    }
    return best;
}

static void update(struct plic *plic)
{
    if (hw_reset_is_active(&plic->device)) {
        return;
    }
    for (unsigned i = 0; i < plic->contexts; i++) {
        const struct plic_context *context = &plic->context[i];

        hw_irq_set(&plic->out[i], best_source(plic, context, context->threshold) != 0);
    }
}

/* Lets the gateways of a word forward what waits at them. */
static void forward(struct plic *plic, unsigned word)
{
    plic->pending[word] |= plic->level[word] & ~plic->claimed[word];
}

static void source_changed(void *opaque, unsigned source, bool level)
{
    struct plic *plic = opaque;
    uint32_t bit = UINT32_C(1) << source % 32;
    unsigned word = source / 32;
    uint32_t before = plic->pending[word];

    plic->level[word] = level ? plic->level[word] | bit : plic->level[word] & ~bit;
    forward(plic, word);
    if (plic->pending[word] != before) {
        update(plic);
    }
}

static uint32_t claim(struct plic *plic, const struct plic_context *context)
{
    unsigned source = best_source(plic, context, 0);

    if (source) {
        plic->pending[source / 32] &= ~(UINT32_C(1) << source % 32);
        plic->claimed[source / 32] |= UINT32_C(1) << source % 32;
        update(plic);
    }
    return source;
}

/* Clause 9: a completion of a source that is not enabled for the context is ignored. */
static void complete(struct plic *plic, const struct plic_context *context, uint32_t source)
{
    uint32_t bit = UINT32_C(1) << source % 32;
    unsigned word = source / 32;

    if (source > plic->num_sources || !(context->enable[word] & bit) ||
        !(plic->claimed[word] & bit)) {
        log_limited(LOG_GUEST_ERRORS, "plic: completion of source %u, which is not claimed\n",
                    (unsigned)source);
        return;
    }
    plic->claimed[word] &= ~bit;
    forward(plic, word);
    update(plic);
}

/*
 * What an offset means. Of ENABLE and CONTEXT, `context` exists; `index` is a source (PRIORITY), a
 * word of bits (PENDING, ENABLE) or the register's offset (CONTEXT).
 */
struct place {
    enum { NOWHERE, PRIORITY, PENDING, ENABLE, CONTEXT } what;
    unsigned index;
    struct plic_context *context;
};

static struct place find_place(struct plic *plic, uint64_t offset)
{
    struct place place = {NOWHERE, 0, NULL};

    if (offset < PENDING_BASE) {
        place.index = (unsigned)(offset / 4);
        place.what = place.index <= plic->num_sources ? PRIORITY : NOWHERE;
    } else if (offset < ENABLE_BASE) {
        place.index = (unsigned)(offset - PENDING_BASE) / 4;
        place.what = place.index < word_count(plic) ? PENDING : NOWHERE;
    } else if (offset < CONTEXT_BASE) {
        unsigned context = (unsigned)(offset - ENABLE_BASE) / ENABLE_STRIDE;

        place.index = (unsigned)(offset - ENABLE_BASE) % ENABLE_STRIDE / 4;
        if (context < plic->contexts && place.index < word_count(plic)) {
            place.what = ENABLE;
            place.context = &plic->context[context];
        }
    } else {
        uint64_t context = (offset - CONTEXT_BASE) / CONTEXT_STRIDE;

        place.index = (unsigned)(offset % CONTEXT_STRIDE);
        if (context < plic->contexts && place.index <= CONTEXT_CLAIM) {
            place.what = CONTEXT;
            place.context = &plic->context[context];
        }
    }
    return place;
}

static int plic_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    struct plic *plic = opaque;
    struct place place = find_place(plic, offset);

    *value = 0;
    switch (place.what) {
    case PRIORITY:
        *value = plic->priority[place.index];
        break;
    case PENDING:
        *value = plic->pending[place.index];
        break;
    case ENABLE:
        *value = place.context->enable[place.index];
        break;
    case CONTEXT:
        if (place.index == CONTEXT_THRESHOLD) {
            *value = place.context->threshold;
        } else {
            *value = attrs.debug ? best_source(plic, place.context, 0) : claim(plic, place.context);
        }
        break;
    case NOWHERE:
        log_limited(LOG_GUEST_ERRORS, "plic: read of offset %#llx, where nothing is\n",
                    (unsigned long long)offset);
    }
    return 0;
}

/* Priorities and thresholds are WARL fields, whose bits are those of the highest value: a mask when
 * that is all ones, else values above it are not taken. */
static void write_level(const struct plic *plic, uint32_t *field, uint64_t value)
{
    uint32_t highest = plic->num_priorities;

    if (bits_is_pow2((uint64_t)highest + 1)) {
        *field = (uint32_t)value & highest;
    } else if (value <= highest) {
        *field = (uint32_t)value;
    }
}

static int plic_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    struct plic *plic = opaque;
    struct place place = find_place(plic, offset);

    switch (place.what) {
    case PRIORITY:
        if (place.index) {
            write_level(plic, &plic->priority[place.index], value);
        }
        break;
    case ENABLE:
        place.context->enable[place.index] = (uint32_t)value & word_mask(plic, place.index);
        break;
    case CONTEXT:
        if (place.index == CONTEXT_CLAIM) {
            complete(plic, place.context, (uint32_t)value);
            return 0;
        }
        write_level(plic, &place.context->threshold, value);
        break;
    case PENDING:
    case NOWHERE:
        log_limited(LOG_GUEST_ERRORS, "plic: write to offset %#llx, which takes none\n",
                    (unsigned long long)offset);
        return 0;
    }
    update(plic);
    return 0;
}

static const struct mem_ops plic_ops = {
    .read = plic_read, .write = plic_write, .min_size = 4, .max_size = 4, .split = true};

int plic_context_of(const struct plic *plic, unsigned hart, char mode)
{
    unsigned h = 0;
    int context = 0;

    for (const char *p = plic->hart_config; *p; p++) {
        if (*p == ',') {
            h++;
        } else if (h == hart && *p == mode) {
            return context;
        } else {
            context++;
        }
    }
    return -1;
}

/* How many contexts a hart-config has: 0 when it is not one. A mode comes once a hart. */
static unsigned count_contexts(const char *config)
{
    static const char modes[] = "MSUH";
    unsigned contexts = 0, seen = 0;

    for (const char *p = config; p && *p; p++) {
        const char *mode = strchr(modes, *p);

        if (*p == ',' && seen) {
            seen = 0;
        } else if (mode && !(seen & 1u << (mode - modes)) && contexts < PLIC_CONTEXTS_MAX) {
            seen |= 1u << (mode - modes);
            contexts++;
        } else {
            return 0;
        }
    }
    return seen ? contexts : 0;
}

static int plic_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct plic *plic = (struct plic *)device;

    plic->contexts = count_contexts(plic->hart_config);
    if (!plic->contexts) {
        snprintf(error, error_size,
                 "plic: hart-config=%s: expected the modes of each hart, as in MS,MS, of at most "
                 "%d contexts",
                 plic->hart_config, PLIC_CONTEXTS_MAX);
        return -EINVAL;
    }
    if (plic->aperture_size < CONTEXT_BASE + plic->contexts * CONTEXT_STRIDE) {
        snprintf(error, error_size, "plic: aperture-size=%u: expected at least %u for %u contexts",
                 (unsigned)plic->aperture_size, CONTEXT_BASE + plic->contexts * CONTEXT_STRIDE,
                 (unsigned)plic->contexts);
        return -EINVAL;
    }
    for (unsigned i = 1; i <= plic->num_sources; i++) {
        plic->in[i] = (struct hw_irq_input){source_changed, plic, i};
    }
    mem_region_init_mmio(&plic->mmio, "plic", plic->aperture_size, &plic_ops, plic, &device->owner);
    return 0;
}

static void plic_unrealize(struct hw_device *device)
{
    mem_region_retire(&((struct plic *)device)->mmio, NULL, NULL);
}

/* Lines keep their level through a reset: their senders lower them in theirs. */
static void plic_reset_enter(struct hw_device *device, bool cold)
{
    struct plic *plic = (struct plic *)device;

    memset(plic->pending, 0, sizeof(plic->pending));
    memset(plic->claimed, 0, sizeof(plic->claimed));
    memset(plic->priority, 0, sizeof(plic->priority));
    memset(plic->context, 0, plic->contexts * sizeof(plic->context[0]));
}

static void plic_reset_hold(struct hw_device *device)
{
    struct plic *plic = (struct plic *)device;

    for (unsigned i = 0; i < plic->contexts; i++) {
        hw_irq_set(&plic->out[i], false);
    }
}

static void plic_reset_exit(struct hw_device *device)
{
    struct plic *plic = (struct plic *)device;

    for (unsigned word = 0; word < word_count(plic); word++) {
        forward(plic, word);
    }
    update(plic);
}

static const struct property plic_properties[] = {
    PROPERTY(STRING, "hart-config", struct plic, hart_config, .required = true,
             .help = "modes of each hart, as in MS,MS"),
    PROPERTY(U32, "num-sources", struct plic, num_sources, .number = 95, .min = 1,
             .max = PLIC_SOURCES_MAX - 1, .help = "number of the last source; the first is 1"),
    PROPERTY(U32, "num-priorities", struct plic, num_priorities, .number = 7, .min = 1,
             .max = UINT32_MAX, .help = "highest priority"),
    PROPERTY(U32, "aperture-size", struct plic, aperture_size, .number = 0x600000, .min = 0x201000,
             .max = 0x4000000, .help = "bytes of address space"),
    PROPERTY_END,
};

static int plic_post_load(void *object, uint32_t version)
{
    struct plic *plic = object;

    if (plic->contexts != count_contexts(plic->hart_config)) {
        return -EINVAL;
    }
    for (unsigned word = 0; word < PLIC_WORDS; word++) {
        uint32_t mask = word < word_count(plic) ? word_mask(plic, word) : 0;

        if ((plic->pending[word] | plic->claimed[word] | plic->level[word]) & ~mask ||
            plic->pending[word] & plic->claimed[word]) {
            return -EINVAL;
        }
        for (unsigned i = 0; i < plic->contexts; i++) {
            if (plic->context[i].enable[word] & ~mask) {
                return -EINVAL;
            }
        }
    }
    for (unsigned i = 0; i < plic->contexts; i++) {
        const struct plic_context *context = &plic->context[i];

        plic->out[i].level = best_source(plic, context, context->threshold) != 0;
    }
    return 0;
}

static const struct state_field context_fields[] = {
    STATE_ARRAY(U32, "enable", struct plic_context, enable),
    STATE(U32, "threshold", struct plic_context, threshold),
    STATE_END,
};
static const struct state_table context_state = {
    .name = "plic-context", .version = 1, .min_version = 1, .fields = context_fields};
static const struct state_field plic_fields[] = {
    STATE_ARRAY(U32, "level", struct plic, level),
    STATE_ARRAY(U32, "pending", struct plic, pending),
    STATE_ARRAY(U32, "claimed", struct plic, claimed),
    STATE_ARRAY(U32, "priority", struct plic, priority),
    STATE_USED(STRUCT, "context", struct plic, context, contexts, .table = &context_state),
    STATE_END,
};
static const struct state_table plic_state = {.name = "plic",
                                              .version = 1,
                                              .min_version = 1,
                                              .fields = plic_fields,
                                              .post_load = plic_post_load};

const struct hw_device_type plic_type = {
    .name = "riscv.sifive.plic",
    .help = "platform-level interrupt controller",
    .size = sizeof(struct plic),
    .properties = plic_properties,
    .state = &plic_state,
    .internal = true,
    .realize = plic_realize,
    .unrealize = plic_unrealize,
    .reset_enter = plic_reset_enter,
    .reset_hold = plic_reset_hold,
    .reset_exit = plic_reset_exit,
};
