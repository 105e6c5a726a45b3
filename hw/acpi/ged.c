/*
 * Generic event device. The selector shows all events since it was read last, and forgets them:
 * the interrupt is an edge, so one that comes meanwhile is another edge.
 */
#include "hw/acpi/ged.h"
#include "hw/core/runstate.h"
#include "util/log.h"

enum { SLEEP_ENABLE = 1 << 5, SLEEP_TYPE_SHIFT = 2, SLEEP_TYPE_MASK = 7 };

static int selector_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                         struct mem_attrs attrs)
{
    struct ged *ged = opaque;

    *value = ged->events;
    ged->events = 0;
    return 0;
}

static int ignore_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    return 0;
}

static const struct mem_ops selector_ops = {
    .read = selector_read, .write = ignore_write, .min_size = 4, .max_size = 4};

static int registers_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                          struct mem_attrs attrs)
{
    *value = 0;
    return 0;
}

static int registers_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                           struct mem_attrs attrs)
{
    unsigned type = value >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK;

    if (offset == GED_RESET && value == GED_RESET_VALUE) {
        hw_runstate_request(HW_REQUEST_RESET, HW_CAUSE_GUEST, 0);
    } else if (offset == GED_SLEEP_CONTROL && value & SLEEP_ENABLE) {
        if (type == GED_SLEEP_TYPE_S5) {
            hw_runstate_request(HW_REQUEST_SHUTDOWN, HW_CAUSE_GUEST, 0);
        } else {
            log_limited(LOG_GUEST_ERRORS, "acpi-ged: sleep of type %u\n", type);
        }
    }
    return 0;
}

static const struct mem_ops registers_ops = {
    .read = registers_read, .write = registers_write, .max_size = 1, .split = true};

void ged_raise(struct ged *ged, uint32_t event)
{
    ged->events |= event;
    hw_irq_pulse(&ged->out);
}

static int ged_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct ged *ged = (struct ged *)device;

    mem_region_init_mmio(&ged->selector, "acpi-ged", GED_SELECTOR_SIZE, &selector_ops, ged,
                         &device->owner);
    mem_region_init_mmio(&ged->registers, "acpi-ged-regs", GED_REGISTERS_SIZE, &registers_ops, ged,
                         &device->owner);
    return 0;
}

static void ged_unrealize(struct hw_device *device)
{
    struct ged *ged = (struct ged *)device;

    mem_region_retire(&ged->selector, NULL, NULL);
    mem_region_retire(&ged->registers, NULL, NULL);
}

static void ged_reset(struct hw_device *device)
{
    struct ged *ged = (struct ged *)device;

    ged->events = 0;
    hw_irq_set(&ged->out, false);
}

static const struct state_field fields[] = {
    STATE(U32, "events", struct ged, events),
    STATE_END,
};

static const struct state_table state = {
    .name = "acpi-ged", .version = 1, .min_version = 1, .fields = fields};

const struct hw_device_type ged_type = {
    .name = "acpi-ged-x86",
    .help = "generic event device of ACPI: power button, power off, reset",
    .size = sizeof(struct ged),
    .state = &state,
    .internal = true,
    .realize = ged_realize,
    .unrealize = ged_unrealize,
    .reset_hold = ged_reset,
};
