/*
 * Local APICs in user space (Intel SDM volume 3, chapter "Advanced Programmable Interrupt
 * Controller"): one device ("apic") for each vCPU, and the bus that joins them.
 *
 * The bus has the one megabyte of memory where APICs are and messages (MSIs) are written to. An
 * access to the registers' page by a vCPU goes to its own APIC, so the bus asks `current` whose
 * thread it is on. Where the APIC's base is another than APIC_BASE its page is not seen at all.
 *
 *     apic_bus_init(&bus); bus.current = ...; bus.eoi = ...; bus.acknowledge = ...;
 *     put bus.mmio at APIC_BASE
 *     for each vCPU: create, set id and the fields below, realize (joins the bus)
 *     connect the 8259's INTR to lint0, and NMI to lint1
 *
 * An APIC drives its vCPU by struct apic_cpu_ops. A vCPU that takes an interrupt asks
 * apic_acknowledge() for the vector; one that executes WRMSR, RDMSR, MOV to CR8 or takes INIT uses
 * the functions for that.
 *
 * Everything is under the machine lock, callbacks too: threads of vCPUs take it first.
 */
#ifndef TINAMOU_HW_INTC_APIC_H
#define TINAMOU_HW_INTC_APIC_H

#include "cpu/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq.h"

struct apic;
struct cpu_msi;

#define APIC_BASE UINT64_C(0xfee00000)
enum { APIC_SIZE = 0x100000, APIC_PAGE_SIZE = 1024 };

/* Of IA32_APIC_BASE. */
#define APIC_BASE_BSP    (UINT64_C(1) << 8)
#define APIC_BASE_X2APIC (UINT64_C(1) << 10)
#define APIC_BASE_ENABLE (UINT64_C(1) << 11)

/* MSRs that apic_msr_read() and apic_msr_write() take; of the range, those that there are. */
enum {
    APIC_MSR_BASE = 0x1b,
    APIC_MSR_TSC_DEADLINE = 0x6e0,
    APIC_MSR_X2APIC_FIRST = 0x800,
    APIC_MSR_X2APIC_LAST = 0x8ff,
};

/* Local interrupts, in the order of their registers. */
enum apic_lvt {
    APIC_LVT_TIMER,
    APIC_LVT_THERMAL,
    APIC_LVT_PERFORMANCE,
    APIC_LVT_LINT0,
    APIC_LVT_LINT1,
    APIC_LVT_ERROR,
    APIC_LVT_COUNT
};

/* What an APIC does to its processor. */
struct apic_cpu_ops {
    /* The INTR wire: apic_acknowledge() has a vector. Told of changes only. */
    void (*interrupt)(void *opaque, bool level);
    void (*nmi)(void *opaque);
    void (*smi)(void *opaque);
    /* An INIT message. The vCPU is reset and waits for a SIPI; apic_reset_by_init() is called here
     * at once, or by the vCPU. */
    void (*init)(void *opaque);
    /* A start-up message; the vCPU ignores it where it does not wait for one. */
    void (*sipi)(void *opaque, uint8_t vector);
    /* The processor's time-stamp counter now. NULL: there is no TSC-deadline mode. */
    uint64_t (*tsc)(void *opaque);
};

struct apic_bus {
    /* set by the machine after apic_bus_init() */
    void *opaque;
    /* The APIC of the vCPU whose thread calls; NULL: none's. */
    struct apic *(*current)(void *opaque);
    /* Broadcast of the end of a level-triggered interrupt, for I/O APICs. May be NULL. */
    void (*eoi)(void *opaque, uint8_t vector);
    /* The INTA cycles of an ExtINT: the vector from the 8259. NULL: there is none. */
    int (*acknowledge)(void *opaque);
    /* for the machine */
    struct mem_region mmio; /* APIC_SIZE bytes */
    /* private */
    struct mem_owner owner;
    struct apic *first;   /* in the order of ids */
    uint32_t last_lowest; /* id that got the latest interrupt of lowest priority */
};

struct apic {
    struct hw_device device;
    /* properties */
    uint32_t id;        /* of the processor at power-on; those of a bus differ */
    bool x2apic;        /* the processor has that mode */
    bool directed_eoi;  /* broadcasts of EOI can be suppressed */
    uint64_t frequency; /* of the timer's input, in Hz */
    /* set by the machine before realize */
    struct apic_bus *bus;
    struct cpu_clock_source *clock;
    const struct apic_cpu_ops *ops;
    void *opaque;           /* of ops */
    uint64_t tsc_frequency; /* in Hz; not 0 where ops->tsc is given */
    bool bsp;               /* is the boot processor after a reset */
    /* for the machine; valid once realized */
    struct hw_irq_input lint0, lint1;
    /* private */
    struct apic *next; /* on the bus */
    uint64_t base;
    uint32_t logical, format;        /* of xAPIC mode */
    uint32_t isr[8], irr[8], tmr[8]; /* a bit per vector */
    uint32_t lvt[APIC_LVT_COUNT];
    uint32_t spurious;      /* vector, and what is enabled */
    uint32_t error, errors; /* as shown; come since then */
    uint64_t icr;
    uint8_t tpr;
    bool lint[2]; /* levels of lint0 and lint1 */
    bool extint;  /* a message of that mode waits for its acknowledge */
    bool intr;    /* as told to the vCPU */
    /* timer */
    uint32_t divide, initial_count;
    bool running;          /* counts; in TSC-deadline mode never */
    int64_t started;       /* virtual clock, when it had the initial count */
    uint64_t tsc_deadline; /* 0: none */
    struct cpu_timer *timer;
};

extern const struct hw_device_type apic_type;

/* Makes mmio. The memory of `bus` outlives its APICs; end() comes after them and retires mmio. */
void apic_bus_init(struct apic_bus *bus);
void apic_bus_end(struct apic_bus *bus);

/*
 * Delivers a message-signalled interrupt: SDM, "Message Signalled Interrupts". The destination has
 * 8 bits; bits 5 to 11 of the address extend it to 15 bits, or bits 40 to 63 to 32 bits, as KVM has
 * it, where APICs are told apart by more than 8 bits. An address outside of the APICs' is ignored.
 */
void apic_bus_send_msi(struct apic_bus *bus, const struct cpu_msi *msi);

/* ---- by the vCPU ---- */

/*
 * The vCPU takes an interrupt: the vector, which is in service from now on; for an ExtINT that of
 * the 8259. -1: there is none, also when an 8259's request is not for this processor.
 */
int apic_acknowledge(struct apic *apic);

/* Would apic_acknowledge() return a vector? */
bool apic_has_interrupt(const struct apic *apic);

/* CR8 and bits 4 to 7 of the task priority register, 0 to 15. */
uint8_t apic_tpr(const struct apic *apic);
void apic_set_tpr(struct apic *apic, uint8_t cr8);

/* RDMSR and WRMSR of the MSRs above. 0, or -EINVAL: a general protection exception. */
int apic_msr_read(struct apic *apic, uint32_t msr, uint64_t *value);
int apic_msr_write(struct apic *apic, uint32_t msr, uint64_t value);

/* IA32_APIC_BASE. Setting by the machine or from a saved state makes any change of mode that is not
 * reserved. 0, or -EINVAL. */
uint64_t apic_base(const struct apic *apic);
int apic_set_base(struct apic *apic, uint64_t value);

/* The vCPU takes an INIT: SDM, "Local APIC State After an INIT Reset". */
void apic_reset_by_init(struct apic *apic);

/* The time-stamp counter was written, so that a deadline is due at another time. */
void apic_tsc_changed(struct apic *apic);

/* The processor's own interrupts: APIC_LVT_THERMAL and APIC_LVT_PERFORMANCE. */
void apic_local_interrupt(struct apic *apic, enum apic_lvt lvt);

/* ---- by the machine ---- */

/* Connects LINT0 to the 8259 (ExtINT, not masked) and LINT1 to NMI, as firmware leaves it on the
 * boot processor: by the machine, after each reset, where no firmware does. */
void apic_set_virtual_wire(struct apic *apic);

/*
 * The registers as memory, each at its offset of xAPIC mode, little-endian: what KVM_GET_LAPIC and
 * KVM_SET_LAPIC have with KVM_CAP_X2APIC_API (an id of x2APIC mode has all 32 bits). The mode is
 * not in it, so apic_set_base() comes first; nor is the TSC deadline. The count of a running timer
 * is, and set_page lets it go on from there.
 */
void apic_get_page(struct apic *apic, uint8_t page[APIC_PAGE_SIZE]);
void apic_set_page(struct apic *apic, const uint8_t page[APIC_PAGE_SIZE]);

#endif
