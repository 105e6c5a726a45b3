/*
 * The registers of a local APIC as software sees them, by memory ("xAPIC mode") or by MSRs ("x2APIC
 * mode"), and IA32_APIC_BASE. What may be done with a register is the table `registers`.
 *
 * By memory, reserved registers and bits read as 0 and take nothing; access to a reserved register
 * is an error in the ESR. By MSR, what is reserved is a general protection exception.
 */
#include "hw/intc/apic-internal.h"
#include "util/bits.h"
#include "util/log.h"

#include <errno.h>

enum {
    READ = 1,
    WRITE = 2,
    MEMORY_ONLY = 4,
    MSR_ONLY = 8,

    VERSION = 0x14,
    VERSION_DIRECTED_EOI = 1 << 24,
};

/* Bits that can be written; of the LVT and of the spurious vector it depends. */
static const struct {
    uint8_t access;
    uint32_t writable;
} registers[APIC_REGISTERS] = {
    [APIC_ID] = {READ, 0},
    [APIC_VERSION] = {READ, 0},
    [APIC_TPR] = {READ | WRITE, 0xff},
    [APIC_APR] = {READ | MEMORY_ONLY, 0},
    [APIC_PPR] = {READ, 0},
    [APIC_EOI] = {WRITE, 0},
    [APIC_REMOTE_READ] = {READ | MEMORY_ONLY, 0},
    [APIC_LDR] = {READ | WRITE, 0xff000000},
    [APIC_DFR] = {READ | WRITE | MEMORY_ONLY, 0xf0000000},
    [APIC_SPURIOUS] = {READ | WRITE, 0},
    [APIC_ISR... APIC_ESR - 1] = {READ, 0},
    [APIC_ESR] = {READ | WRITE, 0},
    [APIC_ICR] = {READ | WRITE, APIC_ICR_WRITABLE},
    [APIC_ICR_HIGH] = {READ | WRITE | MEMORY_ONLY, 0xff000000},
    [APIC_LVT... APIC_LVT + APIC_LVT_COUNT - 1] = {READ | WRITE, 0},
    [APIC_INITIAL_COUNT] = {READ | WRITE, UINT32_MAX},
    [APIC_CURRENT_COUNT] = {READ, 0},
    [APIC_DIVIDE] = {READ | WRITE, 0xb},
    [APIC_SELF_IPI] = {WRITE | MSR_ONLY, 0xff},
};

/* "Local Vector Table": vector, delivery mode, polarity, trigger mode, mask, timer mode. */
uint32_t apic_lvt_writable(const struct apic *apic, enum apic_lvt lvt)
{
    static const uint32_t writable[APIC_LVT_COUNT] = {
        [APIC_LVT_TIMER] = 0x300ff, [APIC_LVT_THERMAL] = 0x107ff, [APIC_LVT_PERFORMANCE] = 0x107ff,
        [APIC_LVT_LINT0] = 0x1a7ff, [APIC_LVT_LINT1] = 0x1a7ff,   [APIC_LVT_ERROR] = 0x100ff,
    };
    uint32_t deadline_mode = APIC_TIMER_TSC_DEADLINE << APIC_LVT_TIMER_SHIFT;

    return writable[lvt] | (lvt == APIC_LVT_TIMER && apic->ops->tsc ? deadline_mode : 0);
}

/* Bit 9 has no effect, but systems for the P6 family set it. */
uint32_t apic_spurious_writable(const struct apic *apic)
{
    return 0x3ff | (apic->directed_eoi ? APIC_SPURIOUS_NO_BROADCAST : 0);
}

static uint32_t writable_bits(const struct apic *apic, unsigned index)
{
    if (index >= APIC_LVT && index < APIC_LVT + APIC_LVT_COUNT) {
        return apic_lvt_writable(apic, (enum apic_lvt)(index - APIC_LVT));
    }
    return index == APIC_SPURIOUS ? apic_spurious_writable(apic) : registers[index].writable;
}

static bool may(const struct apic *apic, unsigned index, unsigned access)
{
    unsigned has = index < APIC_REGISTERS ? registers[index].access : 0;
    bool msr = apic_is_x2apic(apic);

    /* The logical id of x2APIC mode follows from the id. */
    return has & access && !(has & (msr ? MEMORY_ONLY : MSR_ONLY)) &&
           !(msr && index == APIC_LDR && access == WRITE);
}

/* ---- reading --------------------------------------------------------------------------------- */

uint32_t apic_read_register(const struct apic *apic, unsigned index)
{
    if (index >= APIC_ISR && index < APIC_ESR) {
        static const size_t sets[3] = {offsetof(struct apic, isr), offsetof(struct apic, tmr),
                                       offsetof(struct apic, irr)};
        unsigned n = index - APIC_ISR;

        return ((const uint32_t *)((const char *)apic + sets[n / 8]))[n % 8];
    }
    if (index >= APIC_LVT && index < APIC_LVT + APIC_LVT_COUNT) {
        return apic->lvt[index - APIC_LVT];
    }
    switch (index) {
    case APIC_ID:
        return apic_is_x2apic(apic) ? apic->id : apic->id << 24;
    case APIC_VERSION:
        return VERSION | (APIC_LVT_COUNT - 1) << 16 |
               (apic->directed_eoi ? VERSION_DIRECTED_EOI : 0);
    case APIC_TPR:
        return apic->tpr;
    case APIC_PPR:
        return apic_ppr(apic);
    case APIC_LDR:
        return apic_logical_id(apic);
    case APIC_DFR:
        return apic->format;
    case APIC_SPURIOUS:
        return apic->spurious;
    case APIC_ESR:
        return apic->error;
    case APIC_ICR:
        return (uint32_t)apic->icr;
    case APIC_ICR_HIGH:
        return (uint32_t)(apic->icr >> 32);
    case APIC_INITIAL_COUNT:
        return apic->initial_count;
    case APIC_CURRENT_COUNT:
        return apic_timer_count(apic);
    case APIC_DIVIDE:
        return apic->divide;
    default:
        return 0; /* arbitration priority and remote read: since the Pentium 4 there are none */
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

/* "Local APIC State After It Has Been Software Disabled": entries are masked and stay so. */
static void write_spurious(struct apic *apic, uint32_t value)
{
    apic->spurious = value;
    for (unsigned i = 0; i < APIC_LVT_COUNT && !apic_is_software_enabled(apic); i++) {
        apic->lvt[i] |= APIC_LVT_MASKED;
    }
    apic_update(apic);
}

static void write_lvt(struct apic *apic, enum apic_lvt lvt, uint32_t value)
{
    unsigned timer_mode = apic_timer_mode(apic);
    uint32_t kept = apic->lvt[lvt] & APIC_LVT_REMOTE_IRR;

    apic->lvt[lvt] = value | (apic_is_software_enabled(apic) ? 0 : APIC_LVT_MASKED);
    if (lvt == APIC_LVT_TIMER) {
        apic_timer_mode_changed(apic, timer_mode);
    } else if (lvt == APIC_LVT_LINT0) {
        apic->lvt[lvt] |= value & APIC_LVT_LEVEL ? kept : 0;
        apic_sample_lint(apic, 0, false);
    } else if (lvt == APIC_LVT_LINT1) {
        apic_sample_lint(apic, 1, false);
    }
}

static void write_self_ipi(struct apic *apic, uint8_t vector)
{
    if (vector < APIC_FIRST_VECTOR) {
        apic_add_error(apic, APIC_ERROR_SEND_VECTOR);
    } else {
        apic_receive(apic, APIC_FIXED, vector, false);
    }
}

/* A register that may be written, with bits that may be set. */
static void write_register(struct apic *apic, unsigned index, uint32_t value)
{
    if (index >= APIC_LVT && index < APIC_LVT + APIC_LVT_COUNT) {
        write_lvt(apic, (enum apic_lvt)(index - APIC_LVT), value);
        return;
    }
    switch (index) {
    case APIC_TPR:
        apic->tpr = (uint8_t)value;
        apic_update(apic);
        break;
    case APIC_EOI:
        apic_end_of_interrupt(apic);
        break;
    case APIC_LDR:
        apic->logical = value;
        break;
    case APIC_DFR:
        apic->format = value | 0x0fffffff;
        break;
    case APIC_SPURIOUS:
        write_spurious(apic, value);
        break;
    case APIC_ESR:
        apic->error = apic->errors;
        apic->errors = 0;
        break;
    case APIC_ICR:
        apic->icr = bits_deposit(apic->icr, 0, 32, value);
        apic_send_ipi(apic);
        break;
    case APIC_ICR_HIGH:
        apic->icr = bits_deposit(apic->icr, 32, 32, value);
        break;
    case APIC_INITIAL_COUNT:
        apic_timer_start(apic, value);
        break;
    case APIC_DIVIDE:
        apic_timer_set_divide(apic, value);
        break;
    case APIC_SELF_IPI:
        write_self_ipi(apic, (uint8_t)value);
        break;
    }
}

/* ---- by memory ------------------------------------------------------------------------------- */

static void reserved(struct apic *apic, const char *what, uint64_t offset)
{
    log_limited(LOG_GUEST_ERRORS, "apic: %s of offset %#llx, which is reserved\n", what,
                (unsigned long long)offset);
    apic_add_error(apic, APIC_ERROR_REGISTER);
}

/* "Must be accessed with 128-bit aligned" words; what lies between reads as 0. */
uint32_t apic_mmio_read(struct apic *apic, uint64_t offset, bool quiet)
{
    unsigned index = (unsigned)(offset / 16);

    if (may(apic, index, READ)) {
        return offset % 16 ? 0 : apic_read_register(apic, index);
    }
    if (!quiet && !may(apic, index, WRITE)) {
        reserved(apic, "read", offset);
    }
    return 0;
}

void apic_mmio_write(struct apic *apic, uint64_t offset, uint32_t value)
{
    unsigned index = (unsigned)(offset / 16);

    if (may(apic, index, WRITE)) {
        if (offset % 16 == 0) {
            write_register(apic, index, value & writable_bits(apic, index));
        }
    } else if (!may(apic, index, READ)) {
        reserved(apic, "write", offset);
    }
}

/* ---- by MSR ---------------------------------------------------------------------------------- */

static int x2apic_read(const struct apic *apic, unsigned index, uint64_t *value)
{
    if (!apic_is_x2apic(apic) || !may(apic, index, READ)) {
        return -EINVAL;
    }
    *value = index == APIC_ICR ? apic->icr : apic_read_register(apic, index);
    return 0;
}

/* Bits that are not reserved, but not for writing either: what was read may be written back. */
static uint32_t read_only_bits(unsigned index)
{
    if (index == APIC_LVT + APIC_LVT_LINT0 || index == APIC_LVT + APIC_LVT_LINT1) {
        return APIC_LVT_PENDING | APIC_LVT_REMOTE_IRR;
    }
    return index >= APIC_LVT && index < APIC_LVT + APIC_LVT_COUNT ? APIC_LVT_PENDING : 0;
}

static int x2apic_write(struct apic *apic, unsigned index, uint64_t value)
{
    uint32_t writable = index < APIC_REGISTERS ? writable_bits(apic, index) : 0;

    if (!apic_is_x2apic(apic) || !may(apic, index, WRITE)) {
        return -EINVAL;
    }
    if (index == APIC_ICR) {
        if ((uint32_t)value & ~(APIC_ICR_WRITABLE | APIC_LVT_PENDING)) {
            return -EINVAL;
        }
        apic->icr = value & ~(uint64_t)APIC_LVT_PENDING;
        apic_send_ipi(apic);
        return 0;
    }
    if (value & ~(uint64_t)(writable | read_only_bits(index))) {
        return -EINVAL;
    }
    write_register(apic, index, (uint32_t)value & writable);
    return 0;
}

int apic_msr_read(struct apic *apic, uint32_t msr, uint64_t *value)
{
    if (msr == APIC_MSR_BASE) {
        *value = apic->base;
        return 0;
    }
    if (msr == APIC_MSR_TSC_DEADLINE && apic->ops->tsc) {
        *value = apic->tsc_deadline;
        return 0;
    }
    if (msr >= APIC_MSR_X2APIC_FIRST && msr <= APIC_MSR_X2APIC_LAST) {
        return x2apic_read(apic, msr - APIC_MSR_X2APIC_FIRST, value);
    }
    return -EINVAL;
}

static int write_base(struct apic *apic, uint64_t value);

int apic_msr_write(struct apic *apic, uint32_t msr, uint64_t value)
{
    if (msr == APIC_MSR_BASE) {
        return write_base(apic, value);
    }
    if (msr == APIC_MSR_TSC_DEADLINE && apic->ops->tsc) {
        apic_timer_set_tsc_deadline(apic, value);
        return 0;
    }
    if (msr >= APIC_MSR_X2APIC_FIRST && msr <= APIC_MSR_X2APIC_LAST) {
        return x2apic_write(apic, msr - APIC_MSR_X2APIC_FIRST, value);
    }
    return -EINVAL;
}

/* ---- IA32_APIC_BASE -------------------------------------------------------------------------- */

#define BASE_MODE     (APIC_BASE_ENABLE | APIC_BASE_X2APIC)
#define BASE_RESERVED (~bits_mask(52) | 0x2ff)

/*
 * "x2APIC State Transitions". A disabled APIC has nothing in service and begins as after INIT; of
 * the way into x2APIC mode only the upper half of the ICR does not survive.
 */
int apic_set_base(struct apic *apic, uint64_t value)
{
    uint64_t mode = value & BASE_MODE;

    if (value & BASE_RESERVED || mode == APIC_BASE_X2APIC ||
        (mode & APIC_BASE_X2APIC && !apic->x2apic)) {
        return -EINVAL;
    }
    if ((mode & APIC_BASE_X2APIC) != (apic->base & APIC_BASE_X2APIC)) {
        apic->icr = (uint32_t)apic->icr;
    }
    apic->base = value;
    if (!mode) {
        apic_reset_registers(apic);
    }
    apic_update(apic);
    return 0;
}

/* Into x2APIC mode leads only xAPIC mode, and out of it only the disabled state. */
static int write_base(struct apic *apic, uint64_t value)
{
    uint64_t before = apic->base & BASE_MODE, after = value & BASE_MODE;

    if ((!before && after == BASE_MODE) || (before == BASE_MODE && after == APIC_BASE_ENABLE)) {
        return -EINVAL;
    }
    return apic_set_base(apic, value);
}
