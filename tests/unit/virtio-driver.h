/*
 * A small driver of virtio for tests: a machine with RAM, a device that does what the test says,
 * and rings that are written through mem/access.h as a guest would. What a test wants broken it
 * writes itself.
 */
#ifndef TINAMOU_TESTS_UNIT_VIRTIO_DRIVER_H
#define TINAMOU_TESTS_UNIT_VIRTIO_DRIVER_H

#include "hw/core/irq.h"
#include "hw/core/lock.h"
#include "hw/core/reset.h"
#include "hw/core/runstate.h"
#include "hw/virtio/core.h"
#include "tests/unit/tap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define RAM_BASE UINT64_C(0x80000000)
#define RAM_SIZE UINT64_C(0x200000)
#define BUFFERS  (RAM_BASE + 0x100000)

#define NEXT     1
#define WRITE    2
#define INDIRECT 4

/* ---- the machine ----------------------------------------------------------------------------- */

struct machine {
    struct mem_region system, ram_region;
    struct mem_ram *ram;
    struct mem_space space;
    struct loop *loop;
};

static inline void machine_make(struct machine *m)
{
    struct mem_ram_config config = {.name = "ram", .size = RAM_SIZE};
    char error[256];

    memset(m, 0, sizeof(*m));
    hw_lock_acquire();
    m->loop = loop_create();
    if (!m->loop || mem_ram_create(&m->ram, &config, error, sizeof(error))) {
        abort();
    }
    loop_set_lock(m->loop, hw_lock_acquire, hw_lock_release);
    mem_region_init_container(&m->system, "system", MEM_SIZE_ALL);
    mem_region_init_ram(&m->ram_region, "ram", m->ram, 0, RAM_SIZE, false);
    mem_region_add(&m->system, RAM_BASE, &m->ram_region, 0);
    mem_space_init(&m->space, "memory", &m->system);
}

static inline void machine_end(struct machine *m)
{
    mem_region_retire(&m->ram_region, NULL, NULL);
    mem_space_destroy(&m->space);
    mem_region_retire(&m->system, NULL, NULL);
    epoch_reclaim(&mem_epoch);
    mem_ram_unref(m->ram);
    loop_destroy(m->loop);
    hw_lock_release();
}

static inline void machine_settle(struct machine *m)
{
    while (loop_iterate(m->loop, false)) {
    }
}

static inline uint64_t rd(struct machine *m, uint64_t gpa, unsigned size)
{
    uint64_t value = 0;

    if (mem_access_load(&m->space, mem_gpa(gpa), size, &value, MEM_ATTRS_NONE)) {
        return UINT64_MAX;
    }
    return value;
}

static inline void wr(struct machine *m, uint64_t gpa, unsigned size, uint64_t value)
{
    (void)mem_access_store(&m->space, mem_gpa(gpa), size, value, MEM_ATTRS_NONE);
}

/* ---- a ring ---------------------------------------------------------------------------------- */

struct ring {
    struct machine *m;
    unsigned size;
    uint64_t desc, avail, used;
    uint16_t index; /* of chains made available */
};

/* Ring n lies in RAM at n * 64 KiB. */
static inline void ring_make(struct ring *r, struct machine *m, unsigned n, unsigned size)
{
    uint64_t base = RAM_BASE + n * UINT64_C(0x10000);

    *r = (struct ring){
        .m = m, .size = size, .desc = base, .avail = base + 0x8000, .used = base + 0xa000};
    static const uint8_t zeros[0x10000];

    (void)mem_access_write(&m->space, mem_gpa(base), zeros, sizeof(zeros), MEM_ATTRS_NONE);
}

static inline void ring_write_desc(struct machine *m, uint64_t table, unsigned n, uint64_t address,
                                   uint32_t size, uint16_t flags, uint16_t next)
{
    wr(m, table + 16 * n, 8, address);
    wr(m, table + 16 * n + 8, 4, size);
    wr(m, table + 16 * n + 12, 2, flags);
    wr(m, table + 16 * n + 14, 2, next);
}

static inline void ring_desc(struct ring *r, unsigned n, uint64_t address, uint32_t size,
                             uint16_t flags, uint16_t next)
{
    ring_write_desc(r->m, r->desc, n, address, size, flags, next);
}

/* Makes the chain that starts at head available. */
static inline void ring_offer(struct ring *r, uint16_t head)
{
    wr(r->m, r->avail + 4 + 2 * (r->index % r->size), 2, head);
    wr(r->m, r->avail + 2, 2, ++r->index);
}

static inline uint16_t ring_used_index(struct ring *r)
{
    return (uint16_t)rd(r->m, r->used + 2, 2);
}

static inline uint32_t ring_used_head(struct ring *r, unsigned n)
{
    return (uint32_t)rd(r->m, r->used + 4 + 8 * (n % r->size), 4);
}

static inline uint32_t ring_used_written(struct ring *r, unsigned n)
{
    return (uint32_t)rd(r->m, r->used + 8 + 8 * (n % r->size), 4);
}

static inline void ring_set_used_event(struct ring *r, uint16_t event)
{
    wr(r->m, r->avail + 4 + 2 * r->size, 2, event);
}

static inline uint16_t ring_avail_event(struct ring *r)
{
    return (uint16_t)rd(r->m, r->used + 4 + 8 * r->size, 2);
}

/* ---- a device -------------------------------------------------------------------------------- */

enum { TEST_QUEUES = 3, TEST_SIZE = 16, TEST_HELD_MAX = 64, TEST_CONFIG = 12 };

#define TEST_FEATURE 5 /* one of the device's own */

struct test_device {
    struct virtio_device virtio; /* first */
    struct loop *loop;           /* of queues; set before it is realized */
    bool refuse;                 /* refuses the driver's features */
    bool hold;                   /* keeps chains until stopped */
    bool push_on_stop;           /* then pushes them, else frees them */
    bool light;                  /* looks at the ends of pieces only */
    bool eager;                  /* asks for notifications itself, and goes on if there are more */
    void (*answered)(void);      /* called behind each answer; may be NULL */
    _Atomic unsigned handled, popped, started, stopped, reset;
    pthread_t handler_thread;
    struct virtio_chain *held[TEST_HELD_MAX];
    _Atomic unsigned held_count;
    uint8_t config[TEST_CONFIG];
};

/* Reads and writes the first and the last byte of each piece. */
static inline void test_touch(struct virtio_chain *chain)
{
    for (unsigned i = 0; i < chain->out_count + chain->in_count; i++) {
        const struct iovec *iov =
            i < chain->out_count ? &chain->out[i] : &chain->in[i - chain->out_count];
        volatile uint8_t *first = iov->iov_base, *last = first + iov->iov_len - 1;
        uint8_t a = *first, b = *last;

        if (i >= chain->out_count) {
            *first = a;
            *last = b;
        }
    }
}

/* Writes the sum of the bytes read to each byte of `in`. */
static inline void test_answer(struct virtio_chain *chain)
{
    uint8_t sum = 0;

    if (((struct test_device *)chain->queue->core->device)->light) {
        test_touch(chain);
        virtio_push(chain, (uint32_t)chain->in_size);
        return;
    }

    for (unsigned i = 0; i < chain->out_count; i++) {
        for (size_t n = 0; n < chain->out[i].iov_len; n++) {
            sum += ((const uint8_t *)chain->out[i].iov_base)[n];
        }
    }
    for (unsigned i = 0; i < chain->in_count; i++) {
        memset(chain->in[i].iov_base, sum, chain->in[i].iov_len);
    }
    virtio_push(chain, (uint32_t)chain->in_size);
}

static inline void test_handle(struct virtio_device *device, struct virtio_queue *queue)
{
    struct test_device *test = (struct test_device *)device;
    struct virtio_chain *chain;

    test->handled++;
    test->handler_thread = pthread_self();
    while ((chain = virtio_pop(queue))) {
        test->popped++;
        if (test->hold && test->held_count < TEST_HELD_MAX) {
            test->held[test->held_count++] = chain;
        } else {
            test_answer(chain);
            virtio_flush(queue);
            if (test->answered) {
                test->answered();
            }
        }
        if (test->eager) {
            virtio_want_notify(queue, false);
        }
    }
    virtio_flush(queue);
    if (test->eager && virtio_want_notify(queue, true)) {
        test_handle(device, queue);
    }
}

static inline uint64_t test_features(struct virtio_device *device)
{
    return UINT64_C(1) << TEST_FEATURE;
}

static inline bool test_set_features(struct virtio_device *device, uint64_t accepted)
{
    return !((struct test_device *)device)->refuse;
}

static inline void test_config_read(struct virtio_device *device, uint32_t offset, void *bytes,
                                    uint32_t size)
{
    memcpy(bytes, ((struct test_device *)device)->config + offset, size);
}

static inline void test_config_write(struct virtio_device *device, uint32_t offset,
                                     const void *bytes, uint32_t size)
{
    memcpy(((struct test_device *)device)->config + offset, bytes, size);
}

static inline void test_start(struct virtio_device *device)
{
    ((struct test_device *)device)->started++;
}

static inline void test_stop(struct virtio_device *device)
{
    struct test_device *test = (struct test_device *)device;

    test->stopped++;
    while (test->held_count) {
        struct virtio_chain *chain = test->held[--test->held_count];
        struct virtio_queue *queue = chain->queue;

        if (test->push_on_stop) {
            test_answer(chain);
            virtio_flush(queue);
        } else {
            virtio_chain_free(chain);
        }
    }
}

static inline void test_reset(struct virtio_device *device)
{
    ((struct test_device *)device)->reset++;
}

static const struct virtio_device_ops test_ops = {
    .device_id = 4,
    .pci_class = 0x00ff,
    .config_size = TEST_CONFIG,
    .features = test_features,
    .set_features = test_set_features,
    .config_read = test_config_read,
    .config_write = test_config_write,
    .start = test_start,
    .stop = test_stop,
    .reset = test_reset,
};

static inline int test_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct test_device *test = (struct test_device *)device;

    return virtio_init(&test->virtio, &test_ops, TEST_QUEUES, TEST_SIZE, test_handle, test->loop,
                       error, error_size);
}

static inline void test_unrealize(struct hw_device *device)
{
    virtio_exit((struct virtio_device *)device);
}

static const struct state_field test_fields[] = {
    STATE(STRUCT, "virtio", struct test_device, virtio, .table = &virtio_state),
    STATE_END,
};

static const struct state_table test_state = {
    .name = "test", .version = 1, .min_version = 1, .fields = test_fields};

static const struct property test_properties[] = {
    VIRTIO_PROPERTIES,
    PROPERTY(BOOL, "hold", struct test_device, hold, .help = "keeps chains"),
    PROPERTY_END,
};

static const struct hw_device_type test_type = {
    .name = "virtio-rng-device", /* what the entropy device's PCI function has inside */
    .bus = "virtio-bus",
    .size = sizeof(struct test_device),
    .properties = test_properties,
    .state = &test_state,
    .realize = test_realize,
    .unrealize = test_unrealize,
};

static inline struct test_device *test_plug(struct virtio_bus *bus, struct loop *loop)
{
    struct test_device *test = (struct test_device *)hw_device_create(&test_type, NULL);
    char error[256] = "";

    test->loop = loop;
    if (hw_device_realize(&test->virtio.device, &bus->bus, false, error, sizeof(error))) {
        printf("# %s\n", error);
        abort();
    }
    return test;
}

#endif
