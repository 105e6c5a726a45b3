/*
 * Private to the core of virtio: its state, shared by core.c (life, status), ring.c (the rings) and
 * state.c (snapshots).
 */
#ifndef TINAMOU_HW_VIRTIO_CORE_H
#define TINAMOU_HW_VIRTIO_CORE_H

#include "hw/core/runstate.h"
#include "hw/virtio/ram.h"
#include "hw/virtio/transport.h"
#include "util/lock.h"

#include <semaphore.h>

/* Chains that one call of a handler takes at most. */
#define VIRTIO_HANDLER_BUDGET 1024

/* The areas of a split ring, clause 2.7, as they lie in guest memory. */
struct virtio_ring_desc {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
};

struct virtio_ring_avail {
    uint16_t flags, index;
    uint16_t ring[]; /* and used_event behind the last */
};

struct virtio_ring_used {
    uint16_t flags, index;
    struct {
        uint32_t head, written;
    } ring[]; /* and avail_event behind the last */
};

/* What the driver has set up when it made the queue ready. */
struct virtio_ring_setup {
    uint32_t size;
    uint64_t desc, driver, device;
    uint16_t next_avail, next_used; /* not 0 after loading a saved state only */
};

struct virtio_queue {
    struct virtio_core *core;
    unsigned index;
    int kick; /* eventfd */
    struct loop_fd *watch;
    struct virtio_queue_setup registers; /* under the machine lock */
    struct virtio_ring_setup published;  /* under core->lock */
    /* Odd while the queue is ready, and another number each time. */
    _Atomic uint32_t round;

    /* The rest belongs to the device's loop. */
    uint32_t seen;     /* the round that what follows is of */
    uint32_t seen_map; /* core->map_changes when the areas were mapped */
    struct virtio_ring_setup setup;
    bool mapped;
    struct mem_mapping maps[3]; /* desc, avail, used */
    const struct virtio_ring_desc *desc;
    const struct virtio_ring_avail *avail;
    struct virtio_ring_used *used;
    uint16_t next_avail; /* to be taken */
    uint16_t last_avail; /* as the driver's index was read last */
    uint16_t next_used;  /* as the driver sees it */
    uint16_t pushed;     /* given back behind it */
    uint16_t armed;      /* avail_event as written last */
    unsigned in_use;     /* chains of this round that devices have */
    unsigned taken;      /* chains of any round that devices have */
    bool quiet;          /* the device wants no notifications */
    bool handling;       /* inside of the handler, which may take ... */
    unsigned budget;     /* ... so many chains */
    bool exhausted;      /* and has wanted more */
    struct virtio_chain *spare;
};

struct virtio_core {
    struct virtio_device *device;
    struct virtio_bus *bus;
    struct loop *loop; /* of queues */
    void (*handler)(struct virtio_device *device, struct virtio_queue *queue);
    uint64_t offered;

    /* Under the machine lock. */
    uint64_t driver_features;
    bool started;    /* ops->start was called */
    bool resetting;  /* a reset waits for stop */
    uint8_t waiting; /* what the status reads as meanwhile */
    bool updating, again;
    struct hw_runstate_listener runstate;
    bool vm_runs;
    struct loop_bh *update; /* on the main loop */

    /* Of any thread. */
    _Atomic uint8_t status;
    _Atomic bool running; /* queues may be popped */
    _Atomic bool broken;
    _Atomic bool dma;
    _Atomic uint32_t generation;
    _Atomic uint32_t map_changes;
    _Atomic uint64_t pending_queues; /* interrupts on their way to the main loop */
    _Atomic bool pending_config;
    struct loop_bh *interrupt;
    struct lock lock;
    struct mem_listener listener;

    /* How the main loop has something done on another loop. */
    struct loop_bh *call;
    void (*call_fn)(struct virtio_core *core);
    sem_t called;

    struct virtio_ram *ram; /* of the device's loop */
    uint32_t ram_map;       /* map_changes when it was made */

    unsigned queue_count;
    struct virtio_queue queues[];
};

/* The queue's interrupt to the driver. Any thread. */
void virtio_core_interrupt(struct virtio_core *core, uint64_t queues, bool config);

/* Starts or stops as status and run state say. Main loop's thread, machine lock. */
void virtio_core_update(struct virtio_core *core);

/* Has ready queues looked at, as if the driver had notified. */
void virtio_core_kick(struct virtio_core *core);

/* Makes a queue ready with `setup`, or with NULL not ready. Machine lock. */
void virtio_queue_publish(struct virtio_queue *queue, const struct virtio_ring_setup *setup);

/* Unmaps rings and frees spare chains. On the device's loop. */
void virtio_queue_release(struct virtio_queue *queue);

#endif
