/* A driver of the tests' device in a virtio-mmio slot. */
#ifndef TINAMOU_TESTS_UNIT_VIRTIO_MMIO_DRIVER_H
#define TINAMOU_TESTS_UNIT_VIRTIO_MMIO_DRIVER_H

#include "hw/virtio/mmio.h"
#include "tests/unit/virtio-driver.h"

#define SLOT UINT64_C(0x10001000)

#define F_BASE  (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define F_EVENT (UINT64_C(1) << VIRTIO_F_EVENT_IDX)
#define F_INDIR (UINT64_C(1) << VIRTIO_F_INDIRECT_DESC)

static struct machine m;
static struct virtio_mmio *slot;
static struct test_device *dev;
static struct ring ring;
static bool line;
static unsigned edges;

static inline void line_changed(void *opaque, unsigned n, bool level)
{
    line = level;
    edges += level;
}

static struct hw_irq_input line_input = {.handler = line_changed};

static inline uint32_t reg(unsigned offset)
{
    return (uint32_t)rd(&m, SLOT + offset, 4);
}

static inline void set_reg(unsigned offset, uint32_t value)
{
    wr(&m, SLOT + offset, 4, value);
}

static inline void slot_make(struct loop *loop)
{
    char error[256];

    slot = (struct virtio_mmio *)hw_device_create(&virtio_mmio_type, NULL);
    slot->bus.space = &m.space;
    slot->bus.loop = m.loop;
    hw_irq_connect(&slot->irq, &line_input);
    tap_eq(hw_device_realize(&slot->device, NULL, false, error, sizeof(error)), 0, "a slot");
    mem_region_add(&m.system, SLOT, &slot->registers, 0);
    tap_eq(reg(0), 0x74726976, "magic of an empty slot");
    tap_eq(reg(4), 2, "version of an empty slot");
    tap_eq(reg(8), 0, "an empty slot has device id 0");
    set_reg(0x70, 1);
    tap_eq(reg(0x70), 0, "an empty slot keeps nothing");
    dev = test_plug(&slot->bus, loop);
}

static inline void slot_end(void)
{
    hw_device_destroy(&slot->device);
    epoch_reclaim(&mem_epoch);
}

/* Up to and including FEATURES_OK. */
static inline void negotiate(uint64_t features)
{
    set_reg(0x70, 0);
    machine_settle(&m);
    set_reg(0x70, 1);
    set_reg(0x70, 3);
    set_reg(0x24, 0);
    set_reg(0x20, (uint32_t)features);
    set_reg(0x24, 1);
    set_reg(0x20, (uint32_t)(features >> 32));
    set_reg(0x70, 11);
}

static inline void set_queue(unsigned n, const struct ring *r)
{
    set_reg(0x30, n);
    set_reg(0x38, r->size);
    set_reg(0x80, (uint32_t)r->desc);
    set_reg(0x84, (uint32_t)(r->desc >> 32));
    set_reg(0x90, (uint32_t)r->avail);
    set_reg(0x94, (uint32_t)(r->avail >> 32));
    set_reg(0xa0, (uint32_t)r->used);
    set_reg(0xa4, (uint32_t)(r->used >> 32));
    set_reg(0x44, 1);
}

static inline void drive(uint64_t features, unsigned size)
{
    negotiate(features);
    ring_make(&ring, &m, 0, size);
    set_queue(0, &ring);
    set_reg(0x70, 15);
    machine_settle(&m);
    set_reg(0x64, reg(0x60));
    dev->popped = dev->handled = edges = 0;
}

static inline void notify(void)
{
    set_reg(0x50, 0);
    machine_settle(&m);
}

/* One piece out at BUFFERS + n * 4096, one in behind it. */
static inline void offer_pair(unsigned n, unsigned out, unsigned in)
{
    unsigned head = 2 * n % ring.size;
    uint64_t at = BUFFERS + n % ring.size * 4096;

    ring_desc(&ring, head, at, out, NEXT, (uint16_t)(head + 1));
    ring_desc(&ring, head + 1, at + out, in, WRITE, 0);
    ring_offer(&ring, (uint16_t)head);
}

#endif
