/*
 * What of a local APIC is saved: the fields themselves, or the page of registers that KVM has.
 * Levels of LINT0 and LINT1 belong to the fields, since wires are not saved.
 */
#include "hw/intc/apic-internal.h"
#include "util/bits.h"

#include <errno.h>

/* ---- the page of registers ------------------------------------------------------------------- */

static void put(uint8_t *page, unsigned index, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        page[index * 16 + i] = (uint8_t)(value >> 8 * i);
    }
}

static uint32_t get(const uint8_t *page, unsigned index)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < 4; i++) {
        value |= (uint32_t)page[index * 16 + i] << 8 * i;
    }
    return value;
}

void apic_get_page(struct apic *apic, uint8_t page[APIC_PAGE_SIZE])
{
    for (unsigned i = 0; i < APIC_PAGE_SIZE; i++) {
        page[i] = 0;
    }
    for (unsigned index = 0; index < APIC_REGISTERS; index++) {
        put(page, index, apic_read_register(apic, index));
    }
}

static void get_set(const uint8_t *page, unsigned index, uint32_t set[8])
{
    for (unsigned i = 0; i < 8; i++) {
        set[i] = get(page, index + i);
    }
    set[0] &= ~UINT32_C(0xffff); /* vectors that are illegal */
}

static uint32_t legal_lvt(const struct apic *apic, enum apic_lvt lvt, uint32_t value)
{
    uint32_t legal = apic_lvt_writable(apic, lvt);

    if (lvt == APIC_LVT_LINT0 && value & APIC_LVT_LEVEL) {
        legal |= APIC_LVT_REMOTE_IRR;
    }
    return value & legal;
}

static uint64_t legal_icr(const struct apic *apic, uint64_t value)
{
    uint64_t high = apic_is_x2apic(apic) ? UINT64_C(0xffffffff) << 32 : UINT64_C(0xff) << 56;

    return value & (high | APIC_ICR_WRITABLE);
}

static void set_timer(struct apic *apic, uint32_t initial, uint32_t count)
{
    bool one_shot_ended = !count && apic_timer_mode(apic) != APIC_TIMER_PERIODIC;

    apic_timer_start(apic, initial);
    if (apic->running && one_shot_ended) {
        apic->running = false;
    } else if (apic->running && count && count < initial) {
        apic_timer_go_on(apic, count);
    }
    apic_timer_arm(apic);
}

void apic_set_page(struct apic *apic, const uint8_t page[APIC_PAGE_SIZE])
{
    apic_timer_stop(apic);
    apic->tpr = (uint8_t)get(page, APIC_TPR);
    if (!apic_is_x2apic(apic)) {
        apic->logical = get(page, APIC_LDR) & 0xff000000;
    }
    apic->format = get(page, APIC_DFR) | 0x0fffffff;
    apic->spurious = get(page, APIC_SPURIOUS) & apic_spurious_writable(apic);
    get_set(page, APIC_ISR, apic->isr);
    get_set(page, APIC_TMR, apic->tmr);
    get_set(page, APIC_IRR, apic->irr);
    apic->error = get(page, APIC_ESR) & 0xff;
    apic->errors = 0;
    apic->icr = legal_icr(apic, get(page, APIC_ICR) | (uint64_t)get(page, APIC_ICR_HIGH) << 32);
    for (unsigned i = 0; i < APIC_LVT_COUNT; i++) {
        apic->lvt[i] = legal_lvt(apic, (enum apic_lvt)i, get(page, APIC_LVT + i));
    }
    apic->divide = get(page, APIC_DIVIDE) & 0xb;
    apic->extint = false;
    set_timer(apic, get(page, APIC_INITIAL_COUNT), get(page, APIC_CURRENT_COUNT));
    apic_update(apic);
}

/* ---- the state table ------------------------------------------------------------------------- */

static bool is_legal_timer(const struct apic *apic)
{
    bool deadline_mode = apic_timer_mode(apic) == APIC_TIMER_TSC_DEADLINE;

    return (!apic->running || apic->initial_count) && (!apic->initial_count || !deadline_mode) &&
           (!apic->tsc_deadline || (apic->ops->tsc && deadline_mode)) &&
           apic->started >= -(INT64_MAX / 2) && apic->started <= INT64_MAX / 2 &&
           !(apic->divide & ~UINT32_C(0xb));
}

static bool is_legal(const struct apic *apic)
{
    uint64_t mode = apic->base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC);

    for (unsigned i = 0; i < APIC_LVT_COUNT; i++) {
        if (apic->lvt[i] != legal_lvt(apic, (enum apic_lvt)i, apic->lvt[i])) {
            return false;
        }
    }
    return mode != APIC_BASE_X2APIC && (apic->x2apic || !(mode & APIC_BASE_X2APIC)) &&
           !((apic->isr[0] | apic->irr[0] | apic->tmr[0]) & 0xffff) &&
           !(apic->spurious & ~apic_spurious_writable(apic)) && !(apic->logical & 0xffffff) &&
           (apic->format | 0xf0000000) == UINT32_MAX && apic->error <= UINT8_MAX &&
           apic->errors <= UINT8_MAX && apic->icr == legal_icr(apic, apic->icr) &&
           is_legal_timer(apic);
}

static int apic_post_load(void *object, uint32_t version)
{
    struct apic *apic = object;

    if (!is_legal(apic)) {
        return -EINVAL;
    }
    apic_timer_arm(apic);
    apic->intr = apic_has_interrupt(apic);
    apic->ops->interrupt(apic->opaque, apic->intr);
    return 0;
}

static const struct state_field apic_fields[] = {
    STATE(U64, "base", struct apic, base),
    STATE(U32, "logical", struct apic, logical),
    STATE(U32, "format", struct apic, format),
    STATE_ARRAY(U32, "isr", struct apic, isr),
    STATE_ARRAY(U32, "irr", struct apic, irr),
    STATE_ARRAY(U32, "tmr", struct apic, tmr),
    STATE_ARRAY(U32, "lvt", struct apic, lvt),
    STATE(U32, "spurious", struct apic, spurious),
    STATE(U32, "error", struct apic, error),
    STATE(U32, "errors", struct apic, errors),
    STATE(U64, "icr", struct apic, icr),
    STATE(U8, "tpr", struct apic, tpr),
    STATE_ARRAY(BOOL, "lint", struct apic, lint),
    STATE(BOOL, "extint", struct apic, extint),
    STATE(U32, "divide", struct apic, divide),
    STATE(U32, "initial_count", struct apic, initial_count),
    STATE(BOOL, "running", struct apic, running),
    STATE(U64, "started", struct apic, started),
    STATE(U64, "tsc_deadline", struct apic, tsc_deadline),
    STATE_END,
};
const struct state_table apic_state = {.name = "apic",
                                       .version = 1,
                                       .min_version = 1,
                                       .fields = apic_fields,
                                       .post_load = apic_post_load};
