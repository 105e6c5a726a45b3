/*
 * A virtio device in a virtio-mmio slot, for tests of devices: plugging it with properties, and a
 * driver that negotiates, sets up rings and sends chains.
 */
#ifndef TINAMOU_TESTS_UNIT_VIRTIO_SLOT_H
#define TINAMOU_TESTS_UNIT_VIRTIO_SLOT_H

#include "hw/virtio/mmio.h"
#include "tests/unit/virtio-driver.h"

#include <errno.h>
#include <time.h>

#define SLOT    UINT64_C(0x10001000)
#define F(bit)  (UINT64_C(1) << (bit))
#define F_BASE  F(VIRTIO_F_VERSION_1)
#define SLOT_QS 8

struct slot {
    struct machine m;
    struct virtio_mmio *mmio;
    struct hw_device *device; /* in the slot, or NULL */
    struct ring rings[SLOT_QS];
    uint16_t seen[SLOT_QS]; /* used entries that were looked at */
    unsigned edges;         /* interrupts */
    char error[256];
};

static struct slot slot;

static inline void slot_line(void *opaque, unsigned n, bool level)
{
    slot.edges += level;
}

static inline uint32_t reg(unsigned offset)
{
    return (uint32_t)rd(&slot.m, SLOT + offset, 4);
}

static inline void set_reg(unsigned offset, uint32_t value)
{
    wr(&slot.m, SLOT + offset, 4, value);
}

static inline uint64_t config(unsigned offset, unsigned size)
{
    return rd(&slot.m, SLOT + 0x100 + offset, size);
}

static inline void slot_settle(void)
{
    machine_settle(&slot.m);
}

/* Runs the loop until something is true, for ten seconds at most. */
#define SLOT_WAIT(condition)                                            \
    for (int rounds_ = 0; rounds_ < 10000 && !(condition); rounds_++) { \
        if (!loop_iterate(slot.m.loop, false)) {                        \
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);    \
        }                                                               \
    }

/* A machine that runs, with an empty slot. */
static inline void slot_begin(void)
{
    static struct hw_irq_input line = {.handler = slot_line};

    machine_make(&slot.m);
    slot.mmio = (struct virtio_mmio *)hw_device_create(&virtio_mmio_type, NULL);
    slot.mmio->bus.space = &slot.m.space;
    slot.mmio->bus.loop = slot.m.loop;
    hw_irq_connect(&slot.mmio->irq, &line);
    if (hw_device_realize(&slot.mmio->device, NULL, false, slot.error, sizeof(slot.error))) {
        abort();
    }
    mem_region_add(&slot.m.system, SLOT, &slot.mmio->registers, 0);
    hw_runstate_set(HW_RUNSTATE_RUNNING);
}

/* Plugs a device; properties are "name=value name=value". 0 or -errno. */
static inline int slot_plug(const struct hw_device_type *type, const char *properties)
{
    struct hw_device *device = hw_device_create(type, NULL);
    char text[512], *save = NULL;
    int err = 0;

    snprintf(text, sizeof(text), "%s", properties);
    for (char *item = strtok_r(text, " ", &save); item && !err; item = strtok_r(NULL, " ", &save)) {
        char *value = strchr(item, '=');

        *value++ = 0;
        err = hw_device_set(device, item, value, slot.error, sizeof(slot.error));
    }
    if (!err) {
        err = hw_device_realize(device, &slot.mmio->bus.bus, false, slot.error, sizeof(slot.error));
    }
    if (err) {
        hw_device_destroy(device);
    }
    slot.device = err ? NULL : device;
    return err;
}

static inline void slot_unplug(void)
{
    hw_device_destroy(slot.device);
    slot.device = NULL;
    epoch_reclaim(&mem_epoch);
}

static inline void slot_end(void)
{
    hw_device_destroy(&slot.mmio->device);
    epoch_reclaim(&mem_epoch);
    slot_settle();
    machine_end(&slot.m);
}

static inline uint64_t slot_features(void)
{
    uint64_t features;

    set_reg(0x14, 1);
    features = (uint64_t)reg(0x10) << 32;
    set_reg(0x14, 0);
    return features | reg(0x10);
}

/* Resets the device; then everything up to FEATURES_OK. True: the device agrees. */
static inline bool slot_negotiate(uint64_t features)
{
    set_reg(0x70, 0);
    slot_settle();
    set_reg(0x70, 1);
    set_reg(0x70, 3);
    set_reg(0x24, 0);
    set_reg(0x20, (uint32_t)features);
    set_reg(0x24, 1);
    set_reg(0x20, (uint32_t)(features >> 32));
    set_reg(0x70, 11);
    return reg(0x70) & 8;
}

static inline void slot_set_queue(unsigned n, unsigned size)
{
    struct ring *r = &slot.rings[n];

    ring_make(r, &slot.m, n, size);
    slot.seen[n] = 0;
    set_reg(0x30, n);
    set_reg(0x38, size);
    set_reg(0x80, (uint32_t)r->desc);
    set_reg(0x84, (uint32_t)(r->desc >> 32));
    set_reg(0x90, (uint32_t)r->avail);
    set_reg(0x94, (uint32_t)(r->avail >> 32));
    set_reg(0xa0, (uint32_t)r->used);
    set_reg(0xa4, (uint32_t)(r->used >> 32));
    set_reg(0x44, 1);
}

/* The whole set-up with `queues` rings of `size`. */
static inline void slot_drive(uint64_t features, unsigned queues, unsigned size)
{
    if (!slot_negotiate(features)) {
        tap_ok(false, "the device agrees");
    }
    for (unsigned n = 0; n < queues; n++) {
        slot_set_queue(n, size);
    }
    set_reg(0x70, 15);
    slot_settle();
    slot.edges = 0;
}

static inline void slot_notify(unsigned n)
{
    set_reg(0x50, n);
}

/* Does the device need a reset? */
static inline bool slot_is_broken(void)
{
    return reg(0x70) & 64;
}

struct piece {
    uint64_t gpa;
    uint32_t size;
    bool write;
};

/* Offers a chain in descriptors from `head` on, without a notification. */
static inline void slot_offer(unsigned n, unsigned head, const struct piece *pieces, unsigned count)
{
    struct ring *r = &slot.rings[n];

    for (unsigned i = 0; i < count; i++) {
        ring_desc(r, head + i, pieces[i].gpa, pieces[i].size,
                  (uint16_t)((pieces[i].write ? WRITE : 0) | (i + 1 < count ? NEXT : 0)),
                  (uint16_t)(head + i + 1));
    }
    ring_offer(r, (uint16_t)head);
}

/* How many chains have come back since the last look. */
static inline unsigned slot_back(unsigned n)
{
    return (uint16_t)(ring_used_index(&slot.rings[n]) - slot.seen[n]);
}

/* The next one that came back: its head, and how much was written. */
static inline unsigned slot_take(unsigned n, uint32_t *written)
{
    if (written) {
        *written = ring_used_written(&slot.rings[n], slot.seen[n]);
    }
    return ring_used_head(&slot.rings[n], slot.seen[n]++);
}

static inline void put_bytes(uint64_t gpa, const void *bytes, size_t size)
{
    (void)mem_access_write(&slot.m.space, mem_gpa(gpa), bytes, size, MEM_ATTRS_NONE);
}

static inline void get_bytes(uint64_t gpa, void *bytes, size_t size)
{
    (void)mem_access_read(&slot.m.space, mem_gpa(gpa), bytes, size, MEM_ATTRS_NONE);
}

#endif
