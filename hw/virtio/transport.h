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

/* ---- registers; bus->device is not NULL ------------------------------------------------------ */

/* What the device offers; and what the driver has asked for, 32 bits at a time (word 0 or 1; others
 * read as 0 and are not written). */
uint64_t virtio_bus_features(struct virtio_bus *bus);
uint32_t virtio_bus_driver_features(struct virtio_bus *bus, uint32_t word);
void virtio_bus_set_driver_features(struct virtio_bus *bus, uint32_t word, uint32_t bits);

/*
 * The status, clause 2.1; writing 0 resets. While requests from before a reset are under way it
 * reads as what it was, until the driver writes it again: drivers that wait for 0 know that no
 * buffer of theirs is in use.
 */
uint8_t virtio_bus_status(struct virtio_bus *bus);
void virtio_bus_set_status(struct virtio_bus *bus, uint8_t status);

/* Changes when the device's configuration does, clause 2.5. */
uint32_t virtio_bus_generation(struct virtio_bus *bus);

/* Device configuration; of size 1, 2, 4 or 8. What lies beyond it reads as 0. */
uint64_t virtio_bus_config_read(struct virtio_bus *bus, uint64_t offset, unsigned size);
void virtio_bus_config_write(struct virtio_bus *bus, uint64_t offset, unsigned size,
                             uint64_t value);

/* Registers of a queue. */
struct virtio_queue_setup {
    uint32_t size; /* a power of two, at most max_size; that at first */
    uint32_t max_size;
    bool ready;
    uint64_t desc, driver, device; /* guest-physical addresses of the ring's areas */
};

/* Of a device: the queue's registers to read and, while it is not ready, to write; NULL: no such
 * queue. */
struct virtio_queue_setup *virtio_bus_queue(struct virtio_bus *bus, unsigned n);
/* Sets the size, if it is one that may be. */
void virtio_bus_set_queue_size(struct virtio_bus *bus, unsigned n, uint32_t size);
/* Begins to use the ring, or stops using it; doing what is done already does nothing. */
void virtio_bus_set_queue_ready(struct virtio_bus *bus, unsigned n, bool ready);
unsigned virtio_bus_queue_count(struct virtio_bus *bus);

/* The driver notifies: a descriptor whose signalling does that, and the call. Any thread. */
int virtio_bus_queue_fd(struct virtio_bus *bus, unsigned n);
void virtio_bus_notify(struct virtio_bus *bus, unsigned n);

/* What the transport does when it is reset itself: as writing 0 to the status. There may be no
 * device. */
void virtio_bus_reset(struct virtio_bus *bus);

/* May the device reach memory? It does at first. While it may not, it takes nothing from queues. */
void virtio_bus_set_dma(struct virtio_bus *bus, bool on);

#endif
