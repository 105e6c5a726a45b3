/*
 * RISC-V ACLINT 1.0-rc4.
 *
 * mtime is the virtual clock in ticks and an offset, which changes when software writes mtime or a
 * reset clears it. The harts' `time` CSR is the same time, "a read-only shadow of ... mtime", so
 * the machine lets them have the timebase.
 *
 * MTIP is a function of time: high while mtime >= mtimecmp (clause 3.2). The line is brought up to
 * date when mtimecmp or mtime is written, and by a timer at the moment it is to rise. A comparison
 * that is so far away that the clock cannot express it has no timer.
 */
#include "hw/intc/aclint.h"
#include "util/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

enum { MTIME = 0x7ff8 };

/* ---- software interrupts --------------------------------------------------------------------- */

static int swi_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                    struct mem_attrs attrs)
{
    struct aclint_swi *swi = opaque;
    uint64_t hart = offset / 4;

    /* SETSSIP reads as 0 (clause 4.1). */
    *value = hart < swi->num_harts && !swi->sswi && swi->msip[hart];
    return 0;
}

static int swi_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                     struct mem_attrs attrs)
{
    struct aclint_swi *swi = opaque;
    uint64_t hart = offset / 4;

    if (hart >= swi->num_harts) {
        log_limited(LOG_GUEST_ERRORS, "aclint: software interrupt to hart %u, there are %u\n",
                    (unsigned)hart, (unsigned)swi->num_harts);
    } else if (!swi->sswi) {
        swi->msip[hart] = value & 1;
        hw_irq_set(&swi->out[hart], swi->msip[hart]);
    } else if (value & 1) {
        hw_irq_pulse(&swi->out[hart]);
    }
    return 0;
}

static const struct mem_ops swi_ops = {
    .read = swi_read, .write = swi_write, .min_size = 4, .max_size = 4, .split = true};

static int swi_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct aclint_swi *swi = (struct aclint_swi *)device;

    swi->harts = swi->num_harts;
    mem_region_init_mmio(&swi->mmio, swi->sswi ? "aclint-sswi" : "aclint-mswi", ACLINT_SWI_SIZE,
                         &swi_ops, swi, &device->owner);
    return 0;
}

static void swi_unrealize(struct hw_device *device)
{
    mem_region_retire(&((struct aclint_swi *)device)->mmio, NULL, NULL);
}

static void swi_reset_hold(struct hw_device *device)
{
    struct aclint_swi *swi = (struct aclint_swi *)device;

    for (unsigned i = 0; i < swi->num_harts; i++) {
        swi->msip[i] = false;
        hw_irq_set(&swi->out[i], false);
    }
}

static int swi_post_load(void *object, uint32_t version)
{
    struct aclint_swi *swi = object;

    if (swi->harts != swi->num_harts) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < swi->num_harts; i++) {
        swi->out[i].level = swi->msip[i];
    }
    return 0;
}

static const struct property swi_properties[] = {
    PROPERTY(U32, "num-harts", struct aclint_swi, num_harts, .required = true, .min = 1,
             .max = ACLINT_HARTS_MAX, .help = "harts of this device"),
    PROPERTY(BOOL, "sswi", struct aclint_swi, sswi, .help = "supervisor's software interrupts"),
    PROPERTY_END,
};
static const struct state_field swi_fields[] = {
    STATE_USED(BOOL, "msip", struct aclint_swi, msip, harts),
    STATE_END,
};
static const struct state_table swi_state = {.name = "aclint-swi",
                                             .version = 1,
                                             .min_version = 1,
                                             .fields = swi_fields,
                                             .post_load = swi_post_load};

const struct hw_device_type aclint_swi_type = {
    .name = "riscv.aclint.swi",
    .help = "software interrupts between harts",
    .size = sizeof(struct aclint_swi),
    .properties = swi_properties,
    .state = &swi_state,
    .internal = true,
    .realize = swi_realize,
    .unrealize = swi_unrealize,
    .reset_hold = swi_reset_hold,
};

/* ---- machine timer --------------------------------------------------------------------------- */

static uint64_t clock_ticks(struct aclint_mtimer *mtimer)
{
    return cpu_clock_to_ticks(cpu_clock_now(mtimer->clock, CPU_CLOCK_VIRTUAL),
                              mtimer->timebase_freq);
}

static uint64_t offset_of(const struct aclint_mtimer *mtimer)
{
    return atomic_load_explicit(&mtimer->timebase.offset, memory_order_relaxed);
}

uint64_t aclint_mtimer_time(struct aclint_mtimer *mtimer)
{
    return clock_ticks(mtimer) + offset_of(mtimer);
}

/* Brings a hart's line and timer up to date. */
static void update(struct aclint_hart_timer *hart)
{
    struct aclint_mtimer *mtimer = hart->mtimer;
    int64_t now = cpu_clock_now(mtimer->clock, CPU_CLOCK_VIRTUAL);
    int64_t deadline =
        cpu_clock_deadline(now, mtimer->timebase_freq, offset_of(mtimer), hart->mtimecmp);

    mtimer->clock->ops->timer_arm(hart->timer, deadline > now ? deadline : CPU_CLOCK_NEVER);
    hw_irq_set(&mtimer->out[hart - mtimer->hart], deadline <= now);
}

/* Sets mtime. */
static void set_time(struct aclint_mtimer *mtimer, uint64_t value)
{
    cpu_timebase_set(&mtimer->timebase, value - clock_ticks(mtimer));
    for (unsigned i = 0; i < mtimer->num_harts; i++) {
        update(&mtimer->hart[i]);
    }
}

static void timer_fired(void *opaque)
{
    update(opaque);
}

static uint64_t *compare_register(struct aclint_mtimer *mtimer, uint64_t offset)
{
    return offset / 8 < mtimer->num_harts ? &mtimer->hart[offset / 8].mtimecmp : NULL;
}

static int mtimer_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                       struct mem_attrs attrs)
{
    struct aclint_mtimer *mtimer = opaque;
    const uint64_t *compare = compare_register(mtimer, offset);
    uint64_t whole = 0;

    if (offset >= MTIME) {
        whole = aclint_mtimer_time(mtimer);
    } else if (compare) {
        whole = *compare;
    } else {
        log_limited(LOG_GUEST_ERRORS, "aclint: read of offset %#llx, where nothing is\n",
                    (unsigned long long)offset);
    }
    *value = whole >> offset % 8 * 8;
    return 0;
}

static int mtimer_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    struct aclint_mtimer *mtimer = opaque;
    uint64_t *compare = compare_register(mtimer, offset);
    unsigned shift = offset % 8 * 8;
    uint64_t mask = size == 8 ? UINT64_MAX : UINT64_C(0xffffffff) << shift;

    value = value << shift & mask;
    if (offset >= MTIME) {
        set_time(mtimer, (aclint_mtimer_time(mtimer) & ~mask) | value);
    } else if (compare) {
        *compare = (*compare & ~mask) | value;
        update(&mtimer->hart[offset / 8]);
    } else {
        log_limited(LOG_GUEST_ERRORS, "aclint: write to offset %#llx, where nothing is\n",
                    (unsigned long long)offset);
    }
    return 0;
}

static const struct mem_ops mtimer_ops = {
    .read = mtimer_read, .write = mtimer_write, .min_size = 4, .max_size = 8};

static void mtimer_end_timers(struct aclint_mtimer *mtimer)
{
    for (unsigned i = 0; i < mtimer->num_harts && mtimer->hart[i].timer; i++) {
        mtimer->clock->ops->timer_destroy(mtimer->hart[i].timer);
        mtimer->hart[i].timer = NULL;
    }
}

static int mtimer_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct aclint_mtimer *mtimer = (struct aclint_mtimer *)device;

    mtimer->harts = mtimer->num_harts;
    for (unsigned i = 0; i < mtimer->num_harts; i++) {
        struct aclint_hart_timer *hart = &mtimer->hart[i];

        hart->mtimer = mtimer;
        hart->mtimecmp = UINT64_MAX;
        hart->timer =
            mtimer->clock->ops->timer_create(mtimer->clock, CPU_CLOCK_VIRTUAL, timer_fired, hart);
        if (!hart->timer) {
            mtimer_end_timers(mtimer);
            snprintf(error, error_size, "aclint: no memory for the timers of %u harts",
                     (unsigned)mtimer->num_harts);
            return -ENOMEM;
        }
    }
    mem_region_init_mmio(&mtimer->mmio, "aclint-mtimer", ACLINT_MTIMER_SIZE, &mtimer_ops, mtimer,
                         &device->owner);
    return 0;
}

static void mtimer_unrealize(struct hw_device *device)
{
    struct aclint_mtimer *mtimer = (struct aclint_mtimer *)device;

    mem_region_retire(&mtimer->mmio, NULL, NULL);
    mtimer_end_timers(mtimer);
}

/* mtimecmp is unknown after reset (clause 3.2); all ones spares firmware an interrupt. mtime is
 * cleared (clause 3.1). */
static void mtimer_reset_enter(struct hw_device *device, bool cold)
{
    struct aclint_mtimer *mtimer = (struct aclint_mtimer *)device;

    for (unsigned i = 0; i < mtimer->num_harts; i++) {
        mtimer->hart[i].mtimecmp = UINT64_MAX;
    }
}

static void mtimer_reset_hold(struct hw_device *device)
{
    set_time((struct aclint_mtimer *)device, 0);
}

/* The virtual clock is loaded before devices are; it stands still now. */
static int mtimer_post_load(void *object, uint32_t version)
{
    struct aclint_mtimer *mtimer = object;

    if (mtimer->harts != mtimer->num_harts) {
        return -EINVAL;
    }
    cpu_timebase_set(&mtimer->timebase, offset_of(mtimer));
    for (unsigned i = 0; i < mtimer->num_harts; i++) {
        update(&mtimer->hart[i]);
    }
    return 0;
}

static const struct property mtimer_properties[] = {
    PROPERTY(U32, "num-harts", struct aclint_mtimer, num_harts, .required = true, .min = 1,
             .max = ACLINT_HARTS_MAX, .help = "harts of this device"),
    PROPERTY(U32, "timebase-freq", struct aclint_mtimer, timebase_freq, .number = ACLINT_TIMEBASE,
             .min = 1, .max = UINT32_MAX, .help = "ticks of mtime a second"),
    PROPERTY_END,
};
static const struct state_field hart_fields[] = {
    STATE(U64, "mtimecmp", struct aclint_hart_timer, mtimecmp),
    STATE_END,
};
static const struct state_table hart_state = {
    .name = "aclint-hart", .version = 1, .min_version = 1, .fields = hart_fields};
static const struct state_field mtimer_fields[] = {
    STATE(U64, "delta", struct aclint_mtimer, timebase.offset),
    STATE_USED(STRUCT, "hart", struct aclint_mtimer, hart, harts, .table = &hart_state),
    STATE_END,
};
static const struct state_table mtimer_state = {.name = "aclint-mtimer",
                                                .version = 1,
                                                .min_version = 1,
                                                .fields = mtimer_fields,
                                                .post_load = mtimer_post_load};

const struct hw_device_type aclint_mtimer_type = {
    .name = "riscv.aclint.mtimer",
    .help = "machine timer of harts",
    .size = sizeof(struct aclint_mtimer),
    .properties = mtimer_properties,
    .state = &mtimer_state,
    .internal = true,
    .realize = mtimer_realize,
    .unrealize = mtimer_unrealize,
    .reset_enter = mtimer_reset_enter,
    .reset_hold = mtimer_reset_hold,
};
