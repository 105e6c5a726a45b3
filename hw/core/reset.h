/*
 * Reset, in three phases over a whole tree, so that no device sees another half reset:
 *
 *   enter  a device clears its own state and has no effect on anything else;
 *   hold   it drives its outputs (lines, regions) to what they are in reset;
 *   exit   it begins to work: timers start, a vCPU may fetch.
 *
 * Each phase is finished for all devices before the next begins. In every phase children go before
 * their parent, siblings in the order of plugging: a PCI function before its bridge, a bridge
 * before the host bridge.
 */
#ifndef TINAMOU_HW_CORE_RESET_H
#define TINAMOU_HW_CORE_RESET_H

#include "hw/core/device.h"

/*
 * Resets all devices below a bus, or one device with all below it. `cold`: as after power-on, else
 * what a reset line does. Under the machine lock, vCPUs stopped or (for a part of the machine) by
 * the guest's own access. A reset that a device starts inside of a reset of itself does nothing.
 */
void hw_reset_bus(struct hw_bus *bus, bool cold);
void hw_reset_device(struct hw_device *device, bool cold);

/* Is the device in reset, that is between enter and exit? It ignores inputs then. */
bool hw_reset_is_active(const struct hw_device *device);

#endif
