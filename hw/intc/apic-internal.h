/* What the files of the local APIC share. Section names are those of the SDM's chapter. */
#ifndef TINAMOU_HW_INTC_APIC_INTERNAL_H
#define TINAMOU_HW_INTC_APIC_INTERNAL_H

#include "hw/intc/apic.h"

/* Registers, by their offset in xAPIC mode / 16, which is their MSR - 0x800 in x2APIC mode. */
enum apic_register {
    APIC_ID = 0x02,
    APIC_VERSION = 0x03,
    APIC_TPR = 0x08,
    APIC_APR = 0x09,
    APIC_PPR = 0x0a,
    APIC_EOI = 0x0b,
    APIC_REMOTE_READ = 0x0c,
    APIC_LDR = 0x0d,
    APIC_DFR = 0x0e,
    APIC_SPURIOUS = 0x0f,
    APIC_ISR = 0x10, /* eight each */
    APIC_TMR = 0x18,
    APIC_IRR = 0x20,
    APIC_ESR = 0x28,
    APIC_ICR = 0x30,
    APIC_ICR_HIGH = 0x31,
    APIC_LVT = 0x32, /* in the order of enum apic_lvt */
    APIC_INITIAL_COUNT = 0x38,
    APIC_CURRENT_COUNT = 0x39,
    APIC_DIVIDE = 0x3e,
    APIC_SELF_IPI = 0x3f,
    APIC_REGISTERS = 0x40
};

enum apic_mode { /* "Delivery Mode" */
                 APIC_FIXED = 0,
                 APIC_LOWEST = 1,
                 APIC_SMI = 2,
                 APIC_NMI = 4,
                 APIC_INIT = 5,
                 APIC_SIPI = 6,
                 APIC_EXTINT = 7
};

enum {
    APIC_FIRST_VECTOR = 16, /* lower ones are illegal */

    APIC_SPURIOUS_ENABLE = 1 << 8, /* "APIC Software Enable" */
    APIC_SPURIOUS_NO_BROADCAST = 1 << 12,
    APIC_SPURIOUS_RESET = 0xff,

    APIC_LVT_PENDING = 1 << 12, /* delivery status; and of the ICR */
    APIC_LVT_REMOTE_IRR = 1 << 14,
    APIC_LVT_LEVEL = 1 << 15,
    APIC_LVT_MASKED = 1 << 16,
    APIC_LVT_TIMER_SHIFT = 17, /* mode of the timer */
    APIC_TIMER_ONE_SHOT = 0,
    APIC_TIMER_PERIODIC = 1,
    APIC_TIMER_TSC_DEADLINE = 2,

    APIC_ERROR_SEND_VECTOR = 1 << 5,
    APIC_ERROR_RECEIVE_VECTOR = 1 << 6,
    APIC_ERROR_REGISTER = 1 << 7,
};

#define APIC_ICR_WRITABLE UINT32_C(0x000ccfff) /* of its lower half */

/* A message between APICs. */
struct apic_message {
    uint32_t destination;
    bool logical;
    bool wide;  /* the destination has 32 bits, else 8 and perhaps an extension */
    bool level; /* level-triggered, asserted */
    enum apic_mode mode;
    uint8_t vector;
};

/* ---- apic.c: the state of one APIC ---- */

static inline bool apic_is_enabled(const struct apic *apic)
{
    return apic->base & APIC_BASE_ENABLE;
}

static inline bool apic_is_x2apic(const struct apic *apic)
{
    return apic->base & APIC_BASE_X2APIC;
}

static inline bool apic_is_software_enabled(const struct apic *apic)
{
    return apic->spurious & APIC_SPURIOUS_ENABLE;
}

/* Processor priority. */
uint8_t apic_ppr(const struct apic *apic);
/* The logical id, in the form of the present mode. */
uint32_t apic_logical_id(const struct apic *apic);
/* A message has come for this APIC. */
void apic_receive(struct apic *apic, enum apic_mode mode, uint8_t vector, bool level);
/* Tells the vCPU whether there is an interrupt for it. */
void apic_update(struct apic *apic);
/* Looks at LINT0 or LINT1: its line has changed (and risen), or its entry has. */
void apic_sample_lint(struct apic *apic, unsigned n, bool rises);
void apic_end_of_interrupt(struct apic *apic);
/* Some bits of the ESR. */
void apic_add_error(struct apic *apic, uint32_t error);
/* All registers as after INIT. */
void apic_reset_registers(struct apic *apic);

/* ---- apic-bus.c ---- */

int apic_bus_join(struct apic *apic, char *error, size_t error_size);
void apic_bus_leave(struct apic *apic);
/* The ICR says what. */
void apic_send_ipi(struct apic *apic);

/* ---- apic-registers.c: as software sees them ---- */

/* Bits that software can set in the LVT. */
uint32_t apic_lvt_writable(const struct apic *apic, enum apic_lvt lvt);
uint32_t apic_spurious_writable(const struct apic *apic);
/* A register that exists, without side effects. */
uint32_t apic_read_register(const struct apic *apic, unsigned index);
/* Accesses by memory, of an aligned word; what is reserved is an error in the ESR. */
uint32_t apic_mmio_read(struct apic *apic, uint64_t offset, bool quiet);
void apic_mmio_write(struct apic *apic, uint64_t offset, uint32_t value);

/* ---- apic-timer.c ---- */

unsigned apic_timer_mode(const struct apic *apic);
uint32_t apic_timer_count(const struct apic *apic);
/* Begins to count. */
void apic_timer_start(struct apic *apic, uint32_t initial);
void apic_timer_stop(struct apic *apic);
void apic_timer_set_divide(struct apic *apic, uint32_t divide);
/* The mode is another than `before`. */
void apic_timer_mode_changed(struct apic *apic, unsigned before);
void apic_timer_set_tsc_deadline(struct apic *apic, uint64_t deadline);
/* Lets a running one go on from a count of its period, 1 to the initial one; arm() comes after. */
void apic_timer_go_on(struct apic *apic, uint32_t count);
/* Sets the host's timer for what the state says. */
void apic_timer_arm(struct apic *apic);
void apic_timer_fired(void *apic);

/* ---- apic-state.c ---- */

extern const struct state_table apic_state;

#endif
