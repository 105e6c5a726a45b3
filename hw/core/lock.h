/*
 * The machine lock: under it are the state of all devices without a lock of their own, the run
 * state, reset and plugging. The order of locks is machine, device, queue.
 *
 * It is recursive in a thread, for a device's DMA may reach another device's registers. vCPU
 * threads take it to dispatch, the main loop holds it except while it waits.
 */
#ifndef TINAMOU_HW_CORE_LOCK_H
#define TINAMOU_HW_CORE_LOCK_H

#include "mem/region.h"

#include <stdbool.h>

/* Any thread, holding no device's lock. Each acquire has its release. */
void hw_lock_acquire(void);
void hw_lock_release(void);

/* Does this thread hold it? */
bool hw_lock_is_held(void);

/* lock and unlock of a struct mem_owner, for devices under the machine lock. */
void hw_lock_owner_lock(struct mem_owner *owner);
void hw_lock_owner_unlock(struct mem_owner *owner);

#endif
