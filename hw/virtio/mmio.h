/*
 * virtio over MMIO (virtio 1.2, clause 4.2): a page of registers and an interrupt line. A slot
 * without a device reads as device id 0, which drivers pass over.
 *
 *     struct virtio_mmio *slot = (struct virtio_mmio *)hw_device_create(&virtio_mmio_type, NULL);
 *     slot->bus.space = &space;
 *     slot->bus.loop = main_loop;
 *     hw_irq_connect(&slot->irq, &plic->in[1]);
 *     hw_device_realize(&slot->device, NULL, false, error, sizeof(error));
 *     mem_region_add(&system, 0x10001000, &slot->registers, 0);
 *     ... a virtio device is plugged into &slot->bus.bus, free while bus.bus.devices is NULL
 */
#ifndef TINAMOU_HW_VIRTIO_MMIO_H
#define TINAMOU_HW_VIRTIO_MMIO_H

#include "hw/core/irq.h"
#include "hw/virtio/transport.h"

#define VIRTIO_MMIO_SIZE 0x200 /* registers and device configuration; machines space them wider */

struct virtio_mmio {
    struct hw_device device; /* first */
    struct virtio_bus bus;   /* "virtio-mmio-bus" */
    struct mem_region registers;
    struct hw_irq irq;
    bool force_legacy; /* property; must be off */
    uint32_t device_features_select, driver_features_select, queue_select;
    uint32_t interrupt_status;
    struct mem_eventfd *notify; /* one for each queue of the device */
    unsigned notify_count;
};

extern const struct hw_device_type virtio_mmio_type; /* "virtio-mmio" */

#endif
