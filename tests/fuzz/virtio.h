/*
 * What the fuzz targets of virtio's transports share: a machine with the tests' device, and the
 * operations that an input is made of. Each is a byte and its operands:
 *
 *     0 to 3   write 1, 2, 4 or 8 bytes to a register: offset (2 bytes), value
 *     4 to 7   read such
 *     8        fill RAM: offset (2 bytes), length (1 byte), bytes
 *     9        write descriptor n: n, where, offset (3 bytes), size (2 bytes), flags, next
 *     10       make the chain at a head available and notify
 *     11       set the device and ring 0 up: features (1 byte), log2 of the size
 *     12       run the loop
 *     13       give a chain back that the device keeps
 *     14       let the device keep chains, or not
 *     15       stop the VM, or let it go on
 *     16       reset the device as the machine does
 *     17       take a part of RAM away, or bring it back
 */
#ifndef TINAMOU_TESTS_FUZZ_VIRTIO_H
#define TINAMOU_TESTS_FUZZ_VIRTIO_H

#include "tests/fuzz/fuzz.h"
#include "tests/unit/virtio-driver.h"

#include <assert.h>

/* What a transport adds. */
struct fuzz_transport {
    /* A guest-physical address of a register, for an offset of the input. */
    uint64_t (*address)(uint64_t offset);
    void (*set_up)(uint64_t features, const struct ring *ring);
    void (*notify)(void);
    void (*reset)(void); /* by the driver, and asserts that it works */
    struct hw_device *device;
};

static struct machine fuzzed;
static struct test_device *dev;
static struct ring ring;
static struct mem_region part;

/* Features that an input may choose. */
static inline uint64_t fuzz_features(uint8_t bits)
{
    return (uint64_t)(bits & 1) << VIRTIO_F_INDIRECT_DESC |
           (uint64_t)(bits >> 1 & 1) << VIRTIO_F_EVENT_IDX |
           (uint64_t)(bits >> 2 & 1) << TEST_FEATURE |
           (uint64_t) !(bits >> 3 & 1) << VIRTIO_F_VERSION_1 | (uint64_t)(bits >> 4 & 1) << 40;
}

static inline void fuzz_fill(struct fuzz_input *in)
{
    uint64_t offset = fuzz_number(in, 2), n = fuzz_number(in, 1);
    uint8_t bytes[256];

    fuzz_bytes(in, bytes, n);
    mem_access_write(&fuzzed.space, mem_gpa(RAM_BASE + offset), bytes, n, MEM_ATTRS_NONE);
}

static inline void fuzz_desc(struct fuzz_input *in)
{
    unsigned n = (unsigned)fuzz_number(in, 1);
    bool buffer = fuzz_number(in, 1) & 1;
    uint64_t address = (buffer ? BUFFERS : RAM_BASE) + fuzz_number(in, 3);
    uint32_t size = (uint32_t)fuzz_number(in, 2);
    uint16_t flags = (uint16_t)fuzz_number(in, 1);

    ring_desc(&ring, n, address, size, flags, (uint16_t)fuzz_number(in, 1));
}

static inline void fuzz_give_back(void)
{
    if (dev->held_count) {
        struct virtio_chain *chain = dev->held[--dev->held_count];
        struct virtio_queue *queue = chain->queue;

        test_touch(chain);
        virtio_push(chain, 1);
        virtio_flush(queue);
    }
}

static inline void fuzz_run_state(bool run)
{
    hw_runstate_set(run ? HW_RUNSTATE_RUNNING : HW_RUNSTATE_PAUSED);
}

static inline void fuzz_operation(const struct fuzz_transport *t, struct fuzz_input *in)
{
    unsigned op = (unsigned)fuzz_number(in, 1) % 18;
    uint64_t at;

    switch (op) {
    case 0:
    case 1:
    case 2:
    case 3:
        at = t->address(fuzz_number(in, 2));
        wr(&fuzzed, at, 1u << op, fuzz_number(in, 1u << op));
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        rd(&fuzzed, t->address(fuzz_number(in, 2)), 1u << (op - 4));
        break;
    case 8:
        fuzz_fill(in);
        break;
    case 9:
        fuzz_desc(in);
        break;
    case 10:
        ring_offer(&ring, (uint16_t)fuzz_number(in, 1));
        t->notify();
        machine_settle(&fuzzed);
        break;
    case 11:
        at = fuzz_number(in, 1);
        ring_make(&ring, &fuzzed, 0, 1u << fuzz_number(in, 1) % 5);
        t->set_up(fuzz_features((uint8_t)at), &ring);
        machine_settle(&fuzzed);
        break;
    case 12:
        machine_settle(&fuzzed);
        break;
    case 13:
        fuzz_give_back();
        break;
    case 14:
        dev->hold = !dev->hold;
        break;
    case 15:
        fuzz_run_state(hw_runstate_get() != HW_RUNSTATE_RUNNING);
        break;
    case 16:
        hw_reset_device(t->device, true);
        break;
    default:
        mem_region_set_enabled(&part, !part.enabled);
        break;
    }
}

/* The machine, before its device. */
static inline void fuzz_machine(void)
{
    machine_make(&fuzzed);
    /* The second half of RAM is seen through an alias that may go. */
    mem_region_remove(&fuzzed.ram_region);
    mem_region_init_alias(&part, "part", &fuzzed.ram_region, RAM_SIZE / 2, RAM_SIZE / 2);
    static struct mem_region rest;

    mem_region_init_alias(&rest, "rest", &fuzzed.ram_region, 0, RAM_SIZE / 2);
    mem_region_add(&fuzzed.system, RAM_BASE, &rest, 0);
    mem_region_add(&fuzzed.system, RAM_BASE + RAM_SIZE / 2, &part, 0);
    hw_runstate_set(HW_RUNSTATE_RUNNING);
}

static inline int fuzz_input(const struct fuzz_transport *t, const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    memset(fuzzed.ram->host, 0, RAM_SIZE);
    ring_make(&ring, &fuzzed, 0, 8);
    while (in.left) {
        fuzz_operation(t, &in);
    }
    fuzz_run_state(true);
    mem_region_set_enabled(&part, true);
    dev->hold = false;
    t->reset();
    assert(!dev->held_count && dev->started == dev->stopped);
    return 0;
}

#endif
