/*
 * Rings and the virtio-mmio transport, driven as a guest drives them: set-up, chains of all kinds,
 * event indices, resets with requests under way, the stopping of the VM, saved state, I/O threads.
 */
#include "mem/dirty.h"
#include "tests/unit/virtio-mmio-driver.h"

#include <pthread.h>

static void test_registers(void)
{
    tap_eq(reg(8), 4, "device id");
    tap_eq(reg(0x0c), 0x554d4551, "vendor");
    set_reg(0x14, 0);
    tap_eq(reg(0x10), 1u << 28 | 1u << 29 | 1u << TEST_FEATURE, "features, low");
    set_reg(0x14, 1);
    tap_eq(reg(0x10), 1, "features, high");
    set_reg(0x14, 2);
    tap_eq(reg(0x10), 0, "features beyond");
    set_reg(0x14, UINT32_MAX);
    tap_eq(reg(0x10), 0, "features far beyond");
    set_reg(0x30, 2);
    tap_eq(reg(0x34), TEST_SIZE, "size of a queue");
    set_reg(0x30, 3);
    tap_eq(reg(0x34), 0, "size of no queue");
    set_reg(0x44, 1);
    tap_eq(reg(0x44), 0, "no queue is never ready");
    tap_eq(reg(0xb0), UINT32_MAX, "no shared memory");
    wr(&m, SLOT + 0x104, 1, 0x5a);
    tap_eq(rd(&m, SLOT + 0x104, 4), 0x5a, "configuration, written in bytes");
    wr(&m, SLOT + 0x100, 8, UINT64_C(0x1122334455667788));
    tap_eq(rd(&m, SLOT + 0x106, 2), 0x1122, "configuration, read in words");
    wr(&m, SLOT + 0x10c, 4, 7);
    tap_eq(rd(&m, SLOT + 0x10c, 4), 0, "beyond the configuration");
    wr(&m, SLOT + 0x108, 8, UINT64_MAX);
    tap_eq(rd(&m, SLOT + 0x108, 4), 0, "a write over its end is none");
    tap_eq(rd(&m, SLOT + 0x08, 2), 0, "registers are words of 32 bits");

    uint32_t generation = reg(0xfc);

    virtio_config_changed(&dev->virtio);
    tap_ok(reg(0xfc) != generation, "the generation changes with the configuration");
    tap_ok(!line, "no interrupt before DRIVER_OK");
}

static void test_negotiation(void)
{
    negotiate(F_BASE | UINT64_C(1) << 40);
    tap_eq(reg(0x70) & 8, 0, "a feature that was not offered");
    set_reg(0x70, 15);
    tap_eq(reg(0x70) & 4, 0, "no DRIVER_OK without FEATURES_OK");
    negotiate(1u << TEST_FEATURE);
    tap_eq(reg(0x70) & 8, 0, "no features without VERSION_1");
    dev->refuse = true;
    negotiate(F_BASE);
    tap_eq(reg(0x70) & 8, 0, "the device refuses");
    dev->refuse = false;
    negotiate(F_BASE | 1u << TEST_FEATURE);
    tap_eq(reg(0x70), 11, "FEATURES_OK");
    tap_ok(virtio_has(&dev->virtio, TEST_FEATURE), "the device knows");
    set_reg(0x24, 0);
    set_reg(0x20, 0);
    set_reg(0x70, 15);
    machine_settle(&m);
    tap_ok(virtio_has(&dev->virtio, TEST_FEATURE), "features are fixed by FEATURES_OK");
    set_reg(0x70, 1);
    tap_eq(reg(0x70), 15, "bits of the status are not taken back");
    set_reg(0x70, 15 | 64);
    tap_eq(reg(0x70), 15, "the driver does not set NEEDS_RESET");

    negotiate(F_BASE);
    set_reg(0x30, 1);
    set_reg(0x38, 12);
    tap_eq(virtio_bus_queue(&slot->bus, 1)->size, TEST_SIZE, "a size that is no power of two");
    set_reg(0x38, 2 * TEST_SIZE);
    tap_eq(virtio_bus_queue(&slot->bus, 1)->size, TEST_SIZE, "a size that is too large");
    set_reg(0x38, 0);
    tap_eq(virtio_bus_queue(&slot->bus, 1)->size, TEST_SIZE, "no size");
    set_reg(0x38, 4);
    set_reg(0x80, 0x1000);
    set_reg(0x84, 2);
    tap_eq(virtio_bus_queue(&slot->bus, 1)->size, 4, "a size");
    tap_eq(virtio_bus_queue(&slot->bus, 1)->desc, UINT64_C(0x200001000), "an address");
    set_reg(0x44, 1);
    set_reg(0x38, 8);
    set_reg(0x80, 0);
    tap_eq(virtio_bus_queue(&slot->bus, 1)->size, 4, "a ready queue keeps its size");
    tap_eq(virtio_bus_queue(&slot->bus, 1)->desc, UINT64_C(0x200001000), "and its address");
    tap_eq(reg(0x44), 1, "ready");
    set_reg(0x70, 0);
    tap_eq(reg(0x44), 0, "not ready after a reset");
    tap_eq(virtio_bus_queue(&slot->bus, 1)->size, TEST_SIZE, "the size is back");
}

static void test_chains(void)
{
    drive(F_BASE, 8);
    tap_eq(dev->started, dev->stopped + 1, "started by DRIVER_OK");
    wr(&m, BUFFERS, 4, 0x04030201);
    offer_pair(0, 4, 2);
    machine_settle(&m);
    tap_eq(dev->popped, 0, "nothing happens without a notification");
    notify();
    tap_eq(ring_used_index(&ring), 1, "used");
    tap_eq(ring_used_head(&ring, 0), 0, "its head");
    tap_eq(ring_used_written(&ring, 0), 2, "its length");
    tap_eq(rd(&m, BUFFERS + 4, 4), 0x0a0a, "the answer, and not more");
    tap_ok(line && reg(0x60) == 1, "an interrupt");
    set_reg(0x64, 1);
    tap_ok(!line && reg(0x60) == 0, "acknowledged");

    mem_dirty_clear(m.ram, MEM_DIRTY_MIGRATION, 0, RAM_SIZE, NULL);
    ring_desc(&ring, 2, BUFFERS + 0x2ffe, 4, NEXT, 5);
    ring_desc(&ring, 5, BUFFERS + 0x1000, 1, NEXT, 4);
    ring_desc(&ring, 4, BUFFERS + 0x4ffe, 4, NEXT | WRITE, 7);
    ring_desc(&ring, 7, BUFFERS + 0x7000, 1, WRITE, 3);
    ring_offer(&ring, 2);
    mem_dirty_clear(m.ram, MEM_DIRTY_MIGRATION, 0, RAM_SIZE, NULL);
    notify();
    tap_eq(ring_used_written(&ring, 1), 5, "four pieces over pages");
    tap_ok(mem_dirty_test(m.ram, MEM_DIRTY_MIGRATION, 0x104000, 1) &&
               mem_dirty_test(m.ram, MEM_DIRTY_MIGRATION, 0x105000, 1) &&
               mem_dirty_test(m.ram, MEM_DIRTY_MIGRATION, 0x107000, 1),
           "what was written is dirty");
    tap_ok(!mem_dirty_test(m.ram, MEM_DIRTY_MIGRATION, 0x102000, 0x2000), "what was read is not");
    tap_ok(mem_dirty_test(m.ram, MEM_DIRTY_MIGRATION, 0xa000, 1), "the used ring is");

    wr(&m, ring.avail, 2, 1);
    set_reg(0x64, 3);
    offer_pair(0, 4, 4);
    notify();
    tap_ok(ring_used_index(&ring) == 3 && !line, "no interrupt when the driver wants none");
    wr(&m, ring.avail, 2, 0);

    for (unsigned i = 0; i < 70000; i++) {
        offer_pair(i & 3, 1, 1);
        if (i % 4 == 3) {
            notify();
        }
    }
    tap_eq(ring_used_index(&ring), (uint16_t)70003, "indices wrap");
    tap_eq(dev->popped, 70003, "no chain is lost");
    tap_eq(reg(0x70), 15, "the device is well");
}

static void test_indirect(void)
{
    uint64_t table = BUFFERS + 0x10000;

    drive(F_BASE | F_INDIR, 4);
    for (unsigned i = 0; i < 40; i++) {
        wr(&m, BUFFERS + i, 1, 1);
        ring_write_desc(&m, table, i, BUFFERS + i, 1, NEXT, (uint16_t)(i + 1));
    }
    ring_write_desc(&m, table, 40, BUFFERS + 0x1000, 4, WRITE, 0);
    ring_desc(&ring, 1, table, 41 * 16, INDIRECT, 0);
    ring_offer(&ring, 1);
    notify();
    tap_eq(ring_used_head(&ring, 0), 1, "an indirect chain, longer than the ring");
    tap_eq(rd(&m, BUFFERS + 0x1000, 4), 0x28282828, "its answer");
    ring_desc(&ring, 0, BUFFERS, 1, NEXT, 2);
    ring_desc(&ring, 2, table + 16, 40 * 16, INDIRECT, 0);
    for (unsigned i = 1; i < 41; i++) {
        wr(&m, table + 16 * i + 14, 2, i);
    }
    ring_offer(&ring, 0);
    notify();
    tap_eq(ring_used_index(&ring), 2, "an indirect descriptor behind a direct one");
    tap_eq(rd(&m, BUFFERS + 0x1000, 4), 0x28282828, "its answer, too");
}

static void test_event_index(void)
{
    drive(F_BASE | F_EVENT, 8);
    tap_eq(ring_avail_event(&ring), 0, "a notification for the first chain");
    for (unsigned i = 0; i < 3; i++) {
        offer_pair(i, 1, 1);
    }
    ring_set_used_event(&ring, 2);
    notify();
    tap_eq(edges, 1, "the third chain interrupts");
    tap_eq(ring_avail_event(&ring), 3, "a notification for the fourth chain");
    set_reg(0x64, 3);
    ring_set_used_event(&ring, 5);
    offer_pair(3, 1, 1);
    notify();
    tap_eq(edges, 1, "the fourth does not interrupt");
    ring_set_used_event(&ring, 3);
    offer_pair(0, 1, 1);
    notify();
    tap_eq(edges, 1, "an event that has passed does not");
    ring_set_used_event(&ring, 5);
    offer_pair(1, 1, 1);
    notify();
    tap_eq(edges, 2, "an event that is reached does");

    /* Around the wrap of the index, an event for every fourth chain. */
    set_reg(0x64, 3);
    edges = 0;
    unsigned first = ring.index;

    for (unsigned i = first; i < first + 66000; i++) {
        ring_set_used_event(&ring, (uint16_t)(i & ~3u) + 3);
        offer_pair(i & 3, 1, 1);
        notify();
        set_reg(0x64, 3);
    }
    tap_eq(edges, (first + 66000) / 4 - first / 4, "events around the wrap");
    tap_eq(ring_avail_event(&ring), ring.index, "notifications around the wrap");

    struct virtio_queue *queue = virtio_queue_at(&dev->virtio, 0);

    tap_ok(!virtio_want_notify(queue, false), "no notifications");
    offer_pair(0, 1, 1);
    struct virtio_chain *chain = virtio_pop(queue);

    tap_ok(chain && !virtio_pop(queue), "popped without one");
    tap_eq(ring_avail_event(&ring), (uint16_t)(ring.index - 1), "and none is asked for");
    virtio_unpop(chain);
    tap_ok(virtio_want_notify(queue, true), "there is one more");
    chain = virtio_pop(queue);
    tap_ok(chain != NULL, "the chain that was put back");
    virtio_push(chain, 0);
    virtio_flush(queue);
    tap_ok(!virtio_want_notify(queue, true), "there is none");
    tap_eq(ring_avail_event(&ring), ring.index, "the next one notifies");
}

static void test_suppression(void)
{
    struct virtio_queue *queue = virtio_queue_at(&dev->virtio, 0);

    drive(F_BASE, 8);
    tap_ok(!virtio_want_notify(queue, false), "no notifications");
    tap_eq(rd(&m, ring.used, 2), 1, "flag of the used ring");
    offer_pair(0, 1, 1);
    tap_ok(virtio_want_notify(queue, true), "a chain came meanwhile");
    tap_eq(rd(&m, ring.used, 2), 0, "no flag");
    notify();
    tap_eq(ring_used_index(&ring), 1, "handled");
}

#define ENDLESS 5000

/* A driver that offers the next chain as soon as it has one back. */
static void offer_next(void)
{
    if (ring.index < ENDLESS) {
        offer_pair(ring.index & 3, 1, 1);
    }
}

static void test_fairness(uint64_t features, bool eager)
{
    unsigned rounds = 0;

    drive(features, 8);
    dev->answered = offer_next;
    dev->eager = eager;
    ring_set_used_event(&ring, ENDLESS);
    offer_pair(0, 1, 1);
    set_reg(0x50, 0);
    while (loop_iterate(m.loop, false)) {
        rounds++;
    }
    tap_ok(rounds >= ENDLESS / VIRTIO_HANDLER_BUDGET && rounds < ENDLESS,
           "a driver that is never done leaves the loop to others (%u rounds)", rounds);
    tap_ok(dev->popped == ENDLESS && ring_used_index(&ring) == ENDLESS, "and loses nothing");
    dev->answered = NULL;
    dev->eager = false;
}

static void test_reset_under_way(void)
{
    unsigned resets;

    drive(F_BASE, 8);
    dev->hold = true;
    offer_pair(0, 1, 4);
    offer_pair(1, 1, 4);
    notify();
    tap_eq(dev->held_count, 2, "two requests are under way");
    resets = dev->reset;
    set_reg(0x70, 0);
    tap_eq(reg(0x70), 15, "the status waits");
    tap_eq(dev->held_count, 2, "the vCPU does not");
    machine_settle(&m);
    tap_eq(reg(0x70), 0, "the reset is finished");
    tap_eq(dev->held_count, 0, "nothing is under way");
    tap_eq(dev->reset, resets + 1, "the device was reset");
    tap_eq(ring_used_index(&ring), 0, "the old ring is left alone");

    /* A driver that does not wait. */
    drive(F_BASE, 8);
    offer_pair(0, 1, 4);
    notify();
    dev->push_on_stop = true;
    set_reg(0x70, 0);
    set_reg(0x70, 1);
    set_reg(0x70, 3);
    tap_eq(reg(0x70), 3, "the status is the new driver's");
    set_reg(0x24, 1);
    set_reg(0x20, 1);
    set_reg(0x24, 0);
    set_reg(0x20, 1u << TEST_FEATURE);
    set_reg(0x70, 11);
    ring_make(&ring, &m, 0, 4);
    set_queue(0, &ring);
    set_reg(0x70, 15);
    dev->hold = false;
    offer_pair(1, 1, 1);
    tap_eq(dev->held_count, 1, "the old request is under way still");
    machine_settle(&m);
    tap_eq(dev->held_count, 0, "and then it is not");
    tap_eq(ring_used_index(&ring), 1, "the new ring has one chain");
    tap_eq(ring_used_head(&ring, 0), 2, "its own");
    tap_ok(virtio_has(&dev->virtio, TEST_FEATURE), "the new features are in use");
    dev->push_on_stop = false;

    /* The same, with a ring at the end of RAM that has no room for events, and then features that
     * want it: what is given back late must not map the new ring with the old features. */
    drive(F_BASE, 8);
    dev->hold = true;
    offer_pair(0, 1, 4);
    notify();
    dev->push_on_stop = true;
    set_reg(0x70, 0);
    set_reg(0x70, 3);
    set_reg(0x24, 1);
    set_reg(0x20, 1);
    set_reg(0x24, 0);
    set_reg(0x20, 1u << VIRTIO_F_EVENT_IDX);
    set_reg(0x70, 11);
    ring_make(&ring, &m, 0, 8);
    ring.used = RAM_BASE + RAM_SIZE - 4 - 8 * 8;
    set_queue(0, &ring);
    set_reg(0x70, 15);
    machine_settle(&m);
    tap_eq(reg(0x70), 15 | 64, "a ring without room for events");
    dev->push_on_stop = dev->hold = false;

    /* A reset of the machine. */
    drive(F_BASE, 8);
    dev->hold = true;
    offer_pair(0, 1, 4);
    notify();
    hw_reset_device(&slot->device, true);
    machine_settle(&m);
    tap_ok(!reg(0x70) && !dev->held_count && !line, "a reset of the machine");
    dev->hold = false;

    /* A queue that is taken back by itself. */
    drive(F_BASE, 8);
    dev->hold = true;
    offer_pair(0, 1, 4);
    notify();
    set_reg(0x44, 0);
    virtio_push(dev->held[--dev->held_count], 4);
    virtio_flush(virtio_queue_at(&dev->virtio, 0));
    tap_eq(ring_used_index(&ring), 0, "a queue that is not ready gets nothing");
    ring_make(&ring, &m, 0, 8);
    set_queue(0, &ring);
    dev->hold = false;
    offer_pair(0, 1, 4);
    notify();
    tap_eq(ring_used_index(&ring), 1, "it is ready again, from the start");
}

static void test_run_state(void)
{
    drive(F_BASE, 8);
    dev->hold = true;
    offer_pair(0, 1, 4);
    notify();
    dev->push_on_stop = true;
    hw_runstate_set(HW_RUNSTATE_PAUSED);
    tap_ok(!dev->held_count && ring_used_index(&ring) == 1, "stopping finishes requests");
    dev->push_on_stop = dev->hold = false;
    offer_pair(1, 1, 4);
    notify();
    tap_eq(ring_used_index(&ring), 1, "a VM that stands does nothing");
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    machine_settle(&m);
    tap_eq(ring_used_index(&ring), 2, "the notification was not lost");

    set_reg(0x70, 0);
    machine_settle(&m);
    hw_runstate_set(HW_RUNSTATE_PAUSED);
    drive(F_BASE, 8);
    offer_pair(0, 1, 4);
    notify();
    tap_eq(ring_used_index(&ring), 0, "DRIVER_OK while the VM stands");
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    machine_settle(&m);
    tap_eq(ring_used_index(&ring), 1, "takes effect when it goes");
}

static void test_saved_state(void)
{
    struct state_buffer core = {0}, regs = {0};
    char error[256] = "";

    drive(F_BASE | F_EVENT, 8);
    for (unsigned i = 0; i < 11; i++) {
        offer_pair(i & 3, 1, 1);
        ring_set_used_event(&ring, ring.index - 1);
        notify();
    }
    hw_runstate_set(HW_RUNSTATE_PAUSED);
    tap_eq(state_save(&test_state, dev, &core, error, sizeof(error)), 0, "saved: device");
    tap_eq(state_save(virtio_mmio_type.state, slot, &regs, error, sizeof(error)), 0, "and slot");
    set_reg(0x70, 0);
    machine_settle(&m);
    tap_ok(!line, "reset lowers the line");
    tap_eq(
        state_load(virtio_mmio_type.state, slot, regs.data, regs.size, NULL, error, sizeof(error)),
        0, "loaded: slot");
    tap_eq(state_load(&test_state, dev, core.data, core.size, NULL, error, sizeof(error)), 0,
           "and device");
    tap_ok(line && reg(0x70) == 15 && reg(0x44) == 1, "registers and line are back");
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    machine_settle(&m);
    set_reg(0x64, 3);
    offer_pair(0, 1, 1);
    ring_set_used_event(&ring, ring.index - 1);
    notify();
    tap_ok(ring_used_index(&ring) == 12 && line, "the ring goes on where it was");

    unsigned refused = 0;

    hw_runstate_set(HW_RUNSTATE_PAUSED);
    for (unsigned i = 0; i < core.size; i++) {
        uint8_t was = core.data[i];

        core.data[i] ^= 0xff;
        refused +=
            state_load(&test_state, dev, core.data, core.size, NULL, error, sizeof(error)) != 0;
        core.data[i] = was;
    }
    tap_ok(refused > 20, "what cannot be is refused (%u of %u bytes)", refused,
           (unsigned)core.size);
    set_reg(0x70, 0);
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    machine_settle(&m);
    state_buffer_free(&core);
    state_buffer_free(&regs);
}

static void test_memory_map(void)
{
    drive(F_BASE, 8);
    offer_pair(0, 1, 4);
    notify();
    tap_eq(ring_used_index(&ring), 1, "before the move");

    /* The same RAM twice, and a hole in it: buffers over the seam become two pieces. */
    struct mem_region alias = {0};

    mem_region_init_alias(&alias, "alias", &m.ram_region, 0x1000, 0x1000);
    mem_region_add(&m.system, RAM_BASE + RAM_SIZE, &alias, 0);
    ring_desc(&ring, 0, RAM_BASE + RAM_SIZE - 2, 4, WRITE, 0);
    ring_offer(&ring, 0);
    dev->hold = true;
    notify();
    tap_eq(dev->held[0]->in_count, 2, "a buffer over two RAMs has two pieces");
    tap_eq(dev->held[0]->in_size, 4, "and its size");
    mem_region_remove(&alias);
    mem_region_retire(&alias, NULL, NULL);
    dev->hold = false;
    dev->held_count = 0;
    test_answer(dev->held[0]);
    virtio_flush(virtio_queue_at(&dev->virtio, 0));
    tap_eq(ring_used_index(&ring), 2, "it may be gone when the chain comes back");
    offer_pair(0, 1, 4);
    notify();
    tap_eq(ring_used_index(&ring), 3, "and the ring goes on");

    virtio_bus_set_dma(&slot->bus, false);
    offer_pair(0, 1, 4);
    notify();
    tap_eq(ring_used_index(&ring), 3, "without bus mastering nothing is taken");
    virtio_bus_set_dma(&slot->bus, true);
    machine_settle(&m);
    tap_eq(ring_used_index(&ring), 4, "it is taken when that comes back");

    /* The ring's own RAM goes. */
    mem_region_set_enabled(&m.ram_region, false);
    notify();
    mem_region_set_enabled(&m.ram_region, true);
    tap_eq(reg(0x70), 15 | 64, "a ring without RAM");
}

/* ---- an I/O thread --------------------------------------------------------------------------- */

static void *io_thread(void *loop)
{
    loop_run(loop);
    return NULL;
}

/* Runs the main loop until the ring has `index`; the test's time limit is the bound. */
static void wait_used(uint16_t index)
{
    while (ring_used_index(&ring) != index) {
        loop_iterate(m.loop, true);
    }
}

static void test_io_thread(void)
{
    struct loop *io = loop_create();
    pthread_t thread;

    hw_runstate_set(HW_RUNSTATE_PAUSED);
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    slot_make(io);
    pthread_create(&thread, NULL, io_thread, io);
    drive(F_BASE | F_EVENT, 8);
    for (unsigned i = 0; i < 1000; i++) {
        set_reg(0x64, 3);
        ring_set_used_event(&ring, ring.index);
        offer_pair(i & 3, 1, 1);
        set_reg(0x50, 0);
        wait_used(ring.index);
        while (!line) {
            loop_iterate(m.loop, true);
        }
    }
    tap_eq(dev->popped, 1000, "chains on an I/O thread");
    tap_ok(pthread_equal(dev->handler_thread, thread), "the handler ran there");
    dev->hold = true;
    unsigned popped = ring.index;

    offer_pair(0, 1, 4);
    set_reg(0x50, 0);
    while (dev->held_count == 0) {
        loop_iterate(m.loop, false);
    }
    dev->push_on_stop = true;
    hw_runstate_set(HW_RUNSTATE_PAUSED);
    tap_ok(!dev->held_count && ring_used_index(&ring) == (uint16_t)(popped + 1),
           "stopping the VM waits for it");
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    set_reg(0x70, 0);
    while (reg(0x70)) {
        loop_iterate(m.loop, true);
    }
    tap_eq(dev->started, dev->stopped, "stopped by a reset");
    drive(F_BASE, 8);
    wr(&m, ring.avail + 2, 2, 100);
    set_reg(0x50, 0);
    while (!line) {
        loop_iterate(m.loop, true);
    }
    tap_eq(reg(0x70), 15 | 64, "broken on an I/O thread");
    slot_end();
    loop_quit(io);
    pthread_join(thread, NULL);
    loop_destroy(io);
}

int main(void)
{
    char error[256] = "";

    machine_make(&m);
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    slot_make(NULL);
    test_registers();
    test_negotiation();
    test_chains();
    test_indirect();
    test_event_index();
    test_suppression();
    test_fairness(F_BASE, false);
    test_fairness(F_BASE | F_EVENT, false);
    test_fairness(F_BASE, true);
    test_fairness(F_BASE | F_EVENT, true);
    test_reset_under_way();
    test_run_state();
    test_saved_state();
    test_memory_map();

    struct hw_device *second = hw_device_create(&test_type, NULL);

    tap_ok(hw_device_realize(second, &slot->bus.bus, false, error, sizeof(error)) < 0 &&
               strstr(error, "already"),
           "a slot takes one device");
    hw_device_destroy(second);
    slot_end();
    test_io_thread();

    struct hw_device *legacy = hw_device_create(&virtio_mmio_type, NULL);

    hw_device_set(legacy, "force-legacy", "on", error, sizeof(error));
    tap_ok(hw_device_realize(legacy, NULL, false, error, sizeof(error)) < 0 &&
               strstr(error, "force-legacy=on"),
           "legacy registers are refused");
    hw_device_destroy(legacy);
    machine_end(&m);
    return tap_done();
}
