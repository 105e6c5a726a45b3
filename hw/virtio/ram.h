/*
 * Guest RAM as a device's queues see it: windows that stay mapped, so that a descriptor becomes a
 * host pointer by a comparison. Chains hold the whole; when the memory map changes, a new one is
 * begun and the old one ends with its last chain.
 *
 * Not locked: of one device's loop.
 */
#ifndef TINAMOU_HW_VIRTIO_RAM_H
#define TINAMOU_HW_VIRTIO_RAM_H

#include "mem/access.h"

#define VIRTIO_RAM_WINDOWS 16

struct virtio_ram_window {
    uint64_t gpa;
    struct mem_mapping map; /* size bytes from gpa on */
};

struct virtio_ram {
    unsigned references;
    unsigned count;
    unsigned recent; /* the window that was used last */
    struct virtio_ram_window windows[VIRTIO_RAM_WINDOWS];
};

/* With one reference; NULL when out of memory. */
struct virtio_ram *virtio_ram_create(void);
void virtio_ram_unref(struct virtio_ram *ram);

/*
 * Host memory at gpa: at most `size` bytes, *got says how many. NULL: no RAM there, or with `write`
 * none to be written; or with *full set, there are too many windows, and a new one is needed.
 */
uint8_t *virtio_ram_find(struct virtio_ram *ram, struct mem_space *space, uint64_t gpa,
                         uint64_t size, bool write, uint64_t *got, bool *full);

/* Marks pages dirty; `host` came from virtio_ram_find(). */
void virtio_ram_dirty(struct virtio_ram *ram, const uint8_t *host, uint64_t size);

#endif
