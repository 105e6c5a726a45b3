/*
 * virtio devices (virtio 1.2), apart from how they are attached: a device is plugged into the
 * virtio bus of a transport (virtio-mmio slot, virtio-pci function), which carries out the status
 * protocol, feature negotiation, queue set-up and notification.
 *
 * Queues. A device pops chains, and pushes them back with the number of bytes it wrote. Whatever a
 * driver puts into a ring is checked: a bad ring or chain breaks the device (DEVICE_NEEDS_RESET,
 * clause 2.1.2) and never the process; pop returns nothing then. Addresses become struct iovec of
 * mapped guest RAM; pieces that are not RAM break the device.
 *
 * Threads. Queue handlers, start and stop run on the device's loop: the main loop, under the
 * machine lock, or an I/O thread, without it; everything else under the machine lock, by the main
 * loop or a vCPU. Notifications from vCPUs reach the loop through an event descriptor, so that
 * vCPUs do not wait. See hw/virtio/core.c for how a reset by a vCPU gets along with requests under
 * way.
 */
#ifndef TINAMOU_HW_VIRTIO_VIRTIO_H
#define TINAMOU_HW_VIRTIO_VIRTIO_H

#include "hw/core/device.h"
#include "io/loop/loop.h"
#include "mem/access.h"

#include <sys/uio.h>

struct virtio_device;
struct virtio_queue;
struct virtio_ram;

enum {
    VIRTIO_MAX_QUEUES = 64,
    VIRTIO_QUEUE_MAX_SIZE = 1024,
    VIRTIO_MAX_PIECES = 1024, /* of a chain, mapped */
};

/* Ring and transport features that the core offers by itself. */
#define VIRTIO_F_INDIRECT_DESC   28
#define VIRTIO_F_EVENT_IDX       29
#define VIRTIO_F_VERSION_1       32
#define VIRTIO_F_ACCESS_PLATFORM 33

/* What a device type gives to the core. */
struct virtio_device_ops {
    uint16_t device_id;   /* clause 5: 1 net, 2 block, 3 console, 4 entropy, ... */
    uint16_t pci_class;   /* class and subclass of the PCI function, 0x0100 for SCSI disks */
    uint16_t config_size; /* bytes of device configuration space */
    uint64_t (*features)(struct virtio_device *device); /* what the device offers */
    /* The driver has accepted these (FEATURES_OK); false: it may not. May be NULL. */
    bool (*set_features)(struct virtio_device *device, uint64_t accepted);
    /* Copies of the configuration space; offset + size is checked. write may be NULL. */
    void (*config_read)(struct virtio_device *device, uint32_t offset, void *bytes, uint32_t size);
    void (*config_write)(struct virtio_device *device, uint32_t offset, const void *bytes,
                         uint32_t size);
    /* DRIVER_OK was set, or the VM goes on: queues work from now on. Each that is ready gets a call
     * of its handler soon. On the device's loop. May be NULL. */
    void (*start)(struct virtio_device *device);
    /*
     * The device is reset, or the VM stops: no request is under way when this returns, each chain
     * was pushed, put back or freed. virtio_pop() gives nothing meanwhile. On the device's loop, so
     * it may run nested rounds of it. May be NULL.
     */
    void (*stop)(struct virtio_device *device);
    /* Device state goes back to what it is after power-on; after stop. May be NULL. */
    void (*reset)(struct virtio_device *device);
};

/* What of a queue survives a snapshot. */
struct virtio_queue_saved {
    uint32_t size;
    bool ready;
    uint64_t desc, driver, device; /* guest-physical addresses of the ring's areas */
    uint16_t next_avail, next_used;
};

/* What of the core survives; up to date while it is saved or loaded, and only then. */
struct virtio_saved {
    uint8_t status;
    uint64_t driver_features;
    uint32_t generation;
    uint32_t queue_count;
    struct virtio_queue_saved queues[VIRTIO_MAX_QUEUES];
};

/* The head of every virtio device's struct. */
struct virtio_device {
    struct hw_device device; /* first */
    const struct virtio_device_ops *ops;
    struct virtio_core *core;             /* rings and status; hw/virtio/core.c */
    uint64_t accepted;                    /* features in use */
    int event_idx, indirect_desc, packed; /* properties; 0: as usual */
    struct virtio_saved saved;            /* private */
};

/* Properties that every device has; goes into its table. */
#define VIRTIO_PROPERTIES                                                                \
    PROPERTY(ENUM, "event_idx", struct virtio_device, event_idx, .names = virtio_on_off, \
             .help = "offer VIRTIO_F_EVENT_IDX"),                                        \
        PROPERTY(ENUM, "indirect_desc", struct virtio_device, indirect_desc,             \
                 .names = virtio_on_off, .help = "offer VIRTIO_F_INDIRECT_DESC"),        \
        PROPERTY(ENUM, "packed", struct virtio_device, packed, .names = virtio_off,      \
                 .help = "packed rings; must be off")
extern const char *const virtio_on_off[], *const virtio_off[];

/* Rings and status: STATE(STRUCT, "virtio", struct virtio_blk, virtio, .table = &virtio_state). */
extern const struct state_table virtio_state;

/* A chain taken from a queue. */
struct virtio_chain {
    struct virtio_queue *queue;
    uint16_t head;
    unsigned out_count, in_count;
    struct iovec *out, *in; /* the driver's pieces to read, and to write */
    uint64_t out_size, in_size;
    /* private */
    struct iovec *pieces; /* out, then in */
    unsigned room;
    uint32_t round;         /* of the queue, when it was taken */
    struct virtio_ram *ram; /* keeps the pieces mapped */
    struct virtio_chain *next;
};

/*
 * Called by a device's realize: `queues` queues of at most `size` descriptors (a power of two);
 * handler(device, queue) runs when the driver has notified, and drains the queue. `loop` NULL: the
 * main loop's. 0 or -errno with a line in error[].
 */
int virtio_init(struct virtio_device *device, const struct virtio_device_ops *ops, unsigned queues,
                unsigned size,
                void (*handler)(struct virtio_device *device, struct virtio_queue *queue),
                struct loop *loop, char *error, size_t error_size);
/* Called by unrealize; the device has stopped. */
void virtio_exit(struct virtio_device *device);

struct virtio_queue *virtio_queue_at(struct virtio_device *device, unsigned n);
unsigned virtio_queue_index(const struct virtio_queue *queue);
/* Ready, and the device not broken. */
bool virtio_queue_is_ready(const struct virtio_queue *queue);

/* On the queue's loop: */
/*
 * Takes the next chain: it is the caller's until pushed or virtio_unpop(). NULL: none, or the
 * handler has taken its share and will be called again soon.
 */
struct virtio_chain *virtio_pop(struct virtio_queue *queue);
/*
 * Gives it back with `written` bytes written to `in`, which is marked dirty if that is not 0; not
 * visible before virtio_flush(). Frees. After a reset it only frees.
 */
void virtio_push(struct virtio_chain *chain, uint32_t written);
/* Makes pushed chains visible, and interrupts the driver if it wants that. */
void virtio_flush(struct virtio_queue *queue);
/* Puts the chain taken last back, as if it had not been taken. Frees. */
void virtio_unpop(struct virtio_chain *chain);
/* Frees a chain without giving it back: when the device is reset or broken. */
void virtio_chain_free(struct virtio_chain *chain);
/*
 * Asks for a notification when the driver adds chains (true, which it is at first), or not; when
 * true is asked and there are chains already, returns true: go on popping. Who asks for them always
 * needs no call: virtio_pop() returns NULL only when a notification will come.
 */
bool virtio_want_notify(struct virtio_queue *queue, bool want);
/* Bytes between the copied-from and the pieces; how many were copied. */
size_t virtio_iov_read(const struct iovec *iov, unsigned count, size_t offset, void *to,
                       size_t size);
size_t virtio_iov_write(const struct iovec *iov, unsigned count, size_t offset, const void *from,
                        size_t size);

/* The configuration space has changed: generation and interrupt. Any thread. */
void virtio_config_changed(struct virtio_device *device);
/* The driver did what it must not: NEEDS_RESET. Any thread. One rate-limited log line. */
void virtio_broken(struct virtio_device *device, const char *why);
/* The loop that queues run on. */
struct loop *virtio_loop(struct virtio_device *device);

static inline bool virtio_has(const struct virtio_device *device, unsigned feature)
{
    return device->accepted >> feature & 1;
}

/* The bus of a transport takes one virtio device. */
extern const struct hw_bus_type virtio_bus_type; /* "virtio-bus" */

#endif
