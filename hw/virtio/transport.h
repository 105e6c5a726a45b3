/*
 * Between the core and the transports of virtio: what a transport is to a device, and the registers
 * of the core that a transport shows to the driver in its own way.
 *
 * All under the machine lock unless said otherwise.
 */
#ifndef TINAMOU_HW_VIRTIO_TRANSPORT_H
#define TINAMOU_HW_VIRTIO_TRANSPORT_H

#include "hw/virtio/virtio.h"

#include <stdatomic.h>

struct virtio_bus;

/* Status bits, clause 2.1. */
#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER      2
#define VIRTIO_STATUS_DRIVER_OK   4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 64
#define VIRTIO_STATUS_FAILED      128

struct virtio_transport_ops {
    /* A device has called virtio_init(): queues are known. 0, or -errno and a line in error[]. */
    int (*attach)(struct virtio_bus *bus, char *error, size_t error_size);
    /* The device goes: notifications are taken off. */
    void (*detach)(struct virtio_bus *bus);
    /* Interrupts for the queues of the mask, and for the configuration. */
    void (*interrupt)(struct virtio_bus *bus, uint64_t queues, bool config);
    /* The device was reset: vectors, selectors and the interrupt go back. */
    void (*reset)(struct virtio_bus *bus);
};

struct virtio_bus {
    struct hw_bus bus; /* first */
    const struct virtio_transport_ops *ops;
    void *opaque;             /* the transport's */
    struct mem_space *space;  /* where rings are; set before a device is plugged */
    struct loop *loop;        /* the main loop; likewise */
    bool access_platform;     /* offers VIRTIO_F_ACCESS_PLATFORM */
    struct virtio_core *core; /* of the device, while there is one */
    struct virtio_device *device;
};

/* In the transport's init. */
void virtio_bus_init(struct virtio_bus *bus, const char *name, struct hw_device *parent,
                     const struct virtio_transport_ops *ops, void *opaque);

#endif
