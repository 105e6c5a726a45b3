/* The phases of reset, each a walk over the tree. */
#include "hw/core/reset.h"

static int enter(struct hw_device *device, void *cold)
{
    if (device->resetting++ == 0 && device->type->reset_enter) {
        device->type->reset_enter(device, *(bool *)cold);
    }
    return 0;
}

/* What was in reset already is left to the reset that brought it there. */
static int hold(struct hw_device *device, void *unused)
{
    if (device->resetting == 1 && device->type->reset_hold) {
        device->type->reset_hold(device);
    }
    return 0;
}

static int leave(struct hw_device *device, void *unused)
{
    if (--device->resetting == 0 && device->type->reset_exit) {
        device->type->reset_exit(device);
    }
    return 0;
}

void hw_reset_bus(struct hw_bus *bus, bool cold)
{
    hw_device_walk(bus, true, enter, &cold);
    hw_device_walk(bus, true, hold, NULL);
    hw_device_walk(bus, true, leave, NULL);
}

static void phase(struct hw_device *device, int (*fn)(struct hw_device *, void *), void *opaque)
{
    for (struct hw_bus *bus = device->buses; bus; bus = bus->next) {
        hw_device_walk(bus, true, fn, opaque);
    }
    fn(device, opaque);
}

void hw_reset_device(struct hw_device *device, bool cold)
{
    phase(device, enter, &cold);
    phase(device, hold, NULL);
    phase(device, leave, NULL);
}

bool hw_reset_is_active(const struct hw_device *device)
{
    return device->resetting != 0;
}
