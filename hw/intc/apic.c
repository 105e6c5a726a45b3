/*
 * The core of a local APIC: which interrupt the processor gets, and from where (Intel SDM, volume
 * 3, "Advanced Programmable Interrupt Controller"; section names in quotes are its).
 *
 *     messages --> IRR --(priority above PPR)--> vCPU --acknowledge--> ISR --EOI--> gone
 *     LVT      -->
 *     LINT0 as ExtINT, messages of ExtINT -----> vCPU --acknowledge--> vector of the 8259
 *     NMI, SMI, INIT, SIPI --------------------> vCPU
 *
 * A vCPU is told of one level: is there something to be acknowledged? It follows from the state and
 * is told again after each change. A vCPU that gets there too late, since its TPR has risen, finds
 * nothing; so the spurious vector is never needed.
 */
#include "hw/intc/apic-internal.h"
#include "hw/core/reset.h"
#include "util/bits.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- vectors --------------------------------------------------------------------------------- */

/* The highest vector of a set, or -1. */
static int highest(const uint32_t set[8])
{
    for (int word = 7; word >= 0; word--) {
        if (set[word]) {
            return word * 32 + 31 - (int)bits_clz32(set[word]);
        }
    }
    return -1;
}

static void set_vector(uint32_t set[8], unsigned vector, bool on)
{
    set[vector / 32] = (uint32_t)bits_deposit(set[vector / 32], vector % 32, 1, on);
}

static bool test_vector(const uint32_t set[8], unsigned vector)
{
    return bits_test(set[vector / 32], vector % 32);
}

/* "Task and Processor Priorities" */
uint8_t apic_ppr(const struct apic *apic)
{
    int serviced = highest(apic->isr);
    uint8_t class = serviced < 0 ? 0 : (uint8_t)(serviced & 0xf0);

    return apic->tpr >> 4 >= class >> 4 ? apic->tpr : class;
}

uint32_t apic_logical_id(const struct apic *apic)
{
    return apic_is_x2apic(apic) ? apic->id >> 4 << 16 | UINT32_C(1) << (apic->id & 15)
                                : apic->logical;
}

/* The vector that the processor is to take next, of those in the IRR; or -1. */
static int pending_vector(const struct apic *apic)
{
    int vector = apic_is_enabled(apic) ? highest(apic->irr) : -1;

    return vector >= 0 && vector >> 4 > apic_ppr(apic) >> 4 ? vector : -1;
}

static enum apic_mode lvt_mode(const struct apic *apic, enum apic_lvt lvt)
{
    return (enum apic_mode)bits_extract(apic->lvt[lvt], 8, 3);
}

/*
 * Does the 8259 ask for this processor? Without APIC, LINT0 is the processor's INTR ("Enabling or
 * Disabling the Local APIC").
 */
static bool wants_extint(const struct apic *apic)
{
    uint32_t entry = apic->lvt[APIC_LVT_LINT0];

    if (!apic->bus->acknowledge) {
        return false;
    }
    if (!apic_is_enabled(apic)) {
        return apic->lint[0];
    }
    return apic->extint || (apic->lint[0] && !(entry & APIC_LVT_MASKED) &&
                            lvt_mode(apic, APIC_LVT_LINT0) == APIC_EXTINT);
}

bool apic_has_interrupt(const struct apic *apic)
{
    return wants_extint(apic) || pending_vector(apic) >= 0;
}

void apic_update(struct apic *apic)
{
    bool level = apic_has_interrupt(apic) && !hw_reset_is_active(&apic->device);

    if (apic->intr != level) {
        apic->intr = level;
        apic->ops->interrupt(apic->opaque, level);
    }
}

int apic_acknowledge(struct apic *apic)
{
    int vector;

    if (wants_extint(apic)) {
        apic->extint = false;
        vector = apic->bus->acknowledge(apic->bus->opaque);
    } else {
        vector = pending_vector(apic);
        if (vector >= 0) {
            set_vector(apic->irr, (unsigned)vector, false);
            set_vector(apic->isr, (unsigned)vector, true);
        }
    }
    apic_update(apic);
    return vector;
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void deliver_local(struct apic *apic, enum apic_lvt lvt, bool level);

/* "Error Handling". An error interrupt with an illegal vector of its own is told by its bit only.
 */
void apic_add_error(struct apic *apic, uint32_t error)
{
    apic->errors |= error;
    if ((apic->lvt[APIC_LVT_ERROR] & 0xff) >= APIC_FIRST_VECTOR) {
        deliver_local(apic, APIC_LVT_ERROR, false);
    }
}

/* An interrupt enters the IRR; "Interrupt Acceptance for Fixed Interrupts" says what TMR is. */
static void accept(struct apic *apic, uint8_t vector, bool level)
{
    if (vector < APIC_FIRST_VECTOR) {
        apic_add_error(apic, APIC_ERROR_RECEIVE_VECTOR);
    } else {
        set_vector(apic->irr, vector, true);
        set_vector(apic->tmr, vector, level);
        apic_update(apic);
    }
}

/* While it is disabled by software it takes only what leads on to the processor at once. */
void apic_receive(struct apic *apic, enum apic_mode mode, uint8_t vector, bool level)
{
    switch (mode) {
    case APIC_FIXED:
    case APIC_LOWEST:
        if (apic_is_software_enabled(apic)) {
            accept(apic, vector, level);
        }
        break;
    case APIC_SMI:
        apic->ops->smi(apic->opaque);
        break;
    case APIC_NMI:
        apic->ops->nmi(apic->opaque);
        break;
    case APIC_INIT:
        apic->ops->init(apic->opaque);
        break;
    case APIC_SIPI:
        apic->ops->sipi(apic->opaque, vector);
        break;
    case APIC_EXTINT:
        apic->extint = true;
        apic_update(apic);
        break;
    }
}

/* "Local Vector Table". SIPI is no mode of its entries, nor is lowest priority. */
static void deliver_local(struct apic *apic, enum apic_lvt lvt, bool level)
{
    uint32_t entry = apic->lvt[lvt];
    enum apic_mode mode = lvt_mode(apic, lvt);

    if (!(entry & APIC_LVT_MASKED) && mode != APIC_LOWEST && mode != APIC_SIPI) {
        apic_receive(apic, mode, (uint8_t)entry, level);
    }
}

/* "Monitoring": a counter's overflow masks its entry. */
void apic_local_interrupt(struct apic *apic, enum apic_lvt lvt)
{
    if (!apic_is_enabled(apic)) {
        return;
    }
    deliver_local(apic, lvt, false);
    if (lvt == APIC_LVT_PERFORMANCE) {
        apic->lvt[lvt] |= APIC_LVT_MASKED;
    }
}

/* ---- LINT0 and LINT1 ------------------------------------------------------------------------- */

/* "Level-sensitive interrupts are not supported for LINT1", and only fixed ones have a level. */
static bool is_level_lint(const struct apic *apic, enum apic_lvt lvt)
{
    return lvt == APIC_LVT_LINT0 && apic->lvt[lvt] & APIC_LVT_LEVEL &&
           lvt_mode(apic, lvt) == APIC_FIXED;
}

void apic_sample_lint(struct apic *apic, unsigned n, bool rises)
{
    enum apic_lvt lvt = n ? APIC_LVT_LINT1 : APIC_LVT_LINT0;
    uint32_t *entry = &apic->lvt[lvt];

    if (!apic_is_enabled(apic)) {
        if (n && rises) {
            apic->ops->nmi(apic->opaque);
        }
    } else if (is_level_lint(apic, lvt)) {
        if (apic->lint[n] && !(*entry & (APIC_LVT_MASKED | APIC_LVT_REMOTE_IRR)) &&
            apic_is_software_enabled(apic)) {
            *entry |= APIC_LVT_REMOTE_IRR;
            deliver_local(apic, lvt, true);
        }
    } else if (rises && lvt_mode(apic, lvt) != APIC_EXTINT) {
        deliver_local(apic, lvt, false);
    }
    apic_update(apic);
}

static void lint_changed(void *opaque, unsigned n, bool level)
{
    struct apic *apic = opaque;
    bool rises = level && !apic->lint[n];

    apic->lint[n] = level;
    if (!hw_reset_is_active(&apic->device)) {
        apic_sample_lint(apic, n, rises);
    }
}

/* "Signaling Interrupt Servicing Completion" */
void apic_end_of_interrupt(struct apic *apic)
{
    int vector = highest(apic->isr);
    uint32_t *lint0 = &apic->lvt[APIC_LVT_LINT0];

    if (vector < 0) {
        return;
    }
    set_vector(apic->isr, (unsigned)vector, false);
    if (test_vector(apic->tmr, (unsigned)vector)) {
        if (*lint0 & APIC_LVT_REMOTE_IRR && (int)(*lint0 & 0xff) == vector) {
            *lint0 &= ~(uint32_t)APIC_LVT_REMOTE_IRR;
            apic_sample_lint(apic, 0, false);
        }
        if (!(apic->spurious & APIC_SPURIOUS_NO_BROADCAST) && apic->bus->eoi) {
            apic->bus->eoi(apic->bus->opaque, (uint8_t)vector);
        }
    }
    apic_update(apic);
}

/* ---- the vCPU's and the machine's interface -------------------------------------------------- */

uint8_t apic_tpr(const struct apic *apic)
{
    return apic->tpr >> 4;
}

void apic_set_tpr(struct apic *apic, uint8_t cr8)
{
    apic->tpr = (uint8_t)(cr8 << 4);
    apic_update(apic);
}

uint64_t apic_base(const struct apic *apic)
{
    return apic->base;
}

/* "Local APIC State After Power-Up or Reset" */
void apic_reset_registers(struct apic *apic)
{
    apic_timer_stop(apic);
    apic->logical = 0;
    apic->format = UINT32_MAX;
    memset(apic->isr, 0, sizeof(apic->isr));
    memset(apic->irr, 0, sizeof(apic->irr));
    memset(apic->tmr, 0, sizeof(apic->tmr));
    for (unsigned i = 0; i < APIC_LVT_COUNT; i++) {
        apic->lvt[i] = APIC_LVT_MASKED;
    }
    apic->spurious = APIC_SPURIOUS_RESET;
    apic->error = apic->errors = 0;
    apic->icr = 0;
    apic->tpr = 0;
    apic->extint = false;
    apic->divide = 0;
}

/* The base, and with it the mode, stays as it is. */
void apic_reset_by_init(struct apic *apic)
{
    apic_reset_registers(apic);
    apic_update(apic);
}

void apic_set_virtual_wire(struct apic *apic)
{
    apic->lvt[APIC_LVT_LINT0] = APIC_EXTINT << 8;
    apic->lvt[APIC_LVT_LINT1] = APIC_NMI << 8;
    apic_update(apic);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int apic_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct apic *apic = (struct apic *)device;
    int err;

    assert(apic->bus && apic->clock && apic->ops && (!apic->ops->tsc || apic->tsc_frequency));
    apic->timer =
        apic->clock->ops->timer_create(apic->clock, CPU_CLOCK_VIRTUAL, apic_timer_fired, apic);
    if (!apic->timer) {
        snprintf(error, error_size, "apic: no memory for a timer");
        return -ENOMEM;
    }
    err = apic_bus_join(apic, error, error_size);
    if (err) {
        apic->clock->ops->timer_destroy(apic->timer);
        return err;
    }
    apic->lint0 = (struct hw_irq_input){lint_changed, apic, 0};
    apic->lint1 = (struct hw_irq_input){lint_changed, apic, 1};
    return 0;
}

static void apic_unrealize(struct hw_device *device)
{
    struct apic *apic = (struct apic *)device;

    apic_bus_leave(apic);
    apic->clock->ops->timer_destroy(apic->timer);
}

/* Lines keep their level through a reset: their senders lower them in theirs. */
static void apic_reset_enter(struct hw_device *device, bool cold)
{
    struct apic *apic = (struct apic *)device;

    apic->base = APIC_BASE | APIC_BASE_ENABLE | (apic->bsp ? APIC_BASE_BSP : 0);
    apic_reset_registers(apic);
}

static void apic_reset_hold(struct hw_device *device)
{
    apic_update((struct apic *)device);
}

static const struct property apic_properties[] = {
    PROPERTY(U32, "id", struct apic, id, .max = UINT32_MAX - 1, .help = "APIC id"),
    PROPERTY(BOOL, "x2apic", struct apic, x2apic, .number = 1, .help = "has x2APIC mode"),
    PROPERTY(BOOL, "directed-eoi", struct apic, directed_eoi, .number = 1,
             .help = "broadcasts of EOI can be suppressed"),
    PROPERTY(U64, "timer-frequency", struct apic, frequency, .number = 1000000000, .min = 1000000,
             .max = 10000000000, .help = "input of the timer in Hz"),
    PROPERTY_END,
};

const struct hw_device_type apic_type = {
    .name = "apic",
    .help = "local APIC",
    .size = sizeof(struct apic),
    .properties = apic_properties,
    .state = &apic_state,
    .internal = true,
    .realize = apic_realize,
    .unrealize = apic_unrealize,
    .reset_enter = apic_reset_enter,
    .reset_hold = apic_reset_hold,
    .reset_exit = apic_reset_hold,
};
