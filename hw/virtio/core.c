/*
 * The life of a virtio device: status, features, starting and stopping, interrupts, notifications.
 *
 * Two things decide whether queues work: DRIVER_OK in the status, which vCPUs write, and whether
 * the VM runs. Both end in virtio_core_update(), always on the main loop's thread: it calls the
 * device's start and stop on the device's loop, and waits for them. A vCPU's write only changes the
 * registers and schedules an update, because a vCPU may not wait for other threads (it is in a
 * reader section, and the main loop may be waiting for it to pause).
 *
 * Reset. When a vCPU writes 0, the registers are reset at once, and queues get a new round, so that
 * nothing is taken from or given back to the old rings; requests under way are waited for by the
 * update. Until then the status reads as it was (`resetting`, `waiting`): a driver that polls, as
 * clause 2.4.2 has it for PCI, knows when its buffers are its own. A driver that does not poll may
 * go on at once, its features and DRIVER_OK take effect behind the wait; only the buffers of
 * requests that it has abandoned may still be written meanwhile. Blocking the vCPU instead would
 * need an access that can be repeated.
 *
 * Interrupts. The transport's lines are under the machine lock. Who holds it calls the transport;
 * an I/O thread sets a bit, and a bottom half of the main loop does it. Nothing is sent without
 * DRIVER_OK (clause 2.1.2), so one that was on its way during a reset gets lost.
 */
#include "hw/virtio/core.h"
#include "hw/core/lock.h"
#include "util/bits.h"
#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- loops ----------------------------------------------------------------------------------- */

static void call_now(void *opaque)
{
    struct virtio_core *core = opaque;

    core->call_fn(core);
    sem_post(&core->called);
}

/* Has fn called on the device's loop, and waits. By the main loop's thread. */
static void call(struct virtio_core *core, void (*fn)(struct virtio_core *core))
{
    if (core->loop == core->bus->loop || !core->call) { /* without it: not begun yet */
        fn(core);
        return;
    }
    core->call_fn = fn;
    loop_bh_schedule(core->call);
    while (sem_wait(&core->called)) {
    }
}

static void kick(struct virtio_queue *queue)
{
    uint64_t one = 1;
    ssize_t n = write(queue->kick, &one, sizeof(one));

    (void)n; /* a full counter wakes the loop, too */
}

/*
 * A driver that adds chains as fast as they are taken keeps a handler busy for ever, and the loop
 * and its lock with it. So a call of the handler takes so many chains at most, and is repeated
 * after what else the loop has to do.
 */
static void kicked(void *opaque, unsigned events)
{
    struct virtio_queue *queue = opaque;
    bool nested = queue->handling;
    uint64_t count;
    ssize_t n = read(queue->kick, &count, sizeof(count));

    (void)n;
    if (!virtio_queue_is_ready(queue)) {
        return;
    }
    queue->handling = true;
    queue->exhausted = false;
    queue->budget = VIRTIO_HANDLER_BUDGET;
    queue->core->handler(queue->core->device, queue);
    queue->handling = nested;
    if (queue->exhausted) {
        kick(queue);
    }
}

void virtio_core_kick(struct virtio_core *core)
{
    for (unsigned i = 0; i < core->queue_count; i++) {
        if (virtio_queue_is_ready(&core->queues[i])) {
            kick(&core->queues[i]);
        }
    }
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static void interrupt_now(struct virtio_core *core, uint64_t queues, bool config)
{
    if (atomic_load(&core->status) & VIRTIO_STATUS_DRIVER_OK) {
        core->bus->ops->interrupt(core->bus, queues, config);
    }
}

static void interrupt_pending(void *opaque)
{
    struct virtio_core *core = opaque;
    bool config = atomic_exchange(&core->pending_config, false);
    uint64_t queues = atomic_exchange(&core->pending_queues, 0);

    if (queues || config) {
        interrupt_now(core, queues, config);
    }
}

void virtio_core_interrupt(struct virtio_core *core, uint64_t queues, bool config)
{
    if (hw_lock_is_held()) {
        interrupt_now(core, queues, config);
        return;
    }
    if (config) {
        atomic_store(&core->pending_config, true);
    }
    atomic_fetch_or(&core->pending_queues, queues);
    loop_bh_schedule(core->interrupt);
}

void virtio_config_changed(struct virtio_device *device)
{
    struct virtio_core *core = device->core;

    atomic_fetch_add(&core->generation, 1);
    virtio_core_interrupt(core, 0, true);
}

void virtio_broken(struct virtio_device *device, const char *why)
{
    struct virtio_core *core = device->core;
    char name[128];

    if (atomic_exchange(&core->broken, true)) {
        return;
    }
    hw_device_name(&device->device, name, sizeof(name));
    log_limited(LOG_GUEST_ERRORS, "%s: %s: the device needs a reset\n", name, why);
    atomic_fetch_or(&core->status, VIRTIO_STATUS_NEEDS_RESET);
    virtio_core_interrupt(core, 0, true);
}

/* ---- start, stop, reset ---------------------------------------------------------------------- */

void virtio_queue_publish(struct virtio_queue *queue, const struct virtio_ring_setup *setup)
{
    struct virtio_core *core = queue->core;

    lock_acquire(&core->lock);
    uint32_t round = atomic_load(&queue->round);

    if (setup) {
        queue->published = *setup;
    }
    /* The next odd number, or the next even one. */
    atomic_store(&queue->round, setup ? (round + 1) | 1 : (round + 2) & ~1u);
    queue->registers.ready = setup != NULL;
    lock_release(&core->lock);
}

static void call_start(struct virtio_core *core)
{
    if (core->device->ops->start) {
        core->device->ops->start(core->device);
    }
}

static void call_stop(struct virtio_core *core)
{
    if (core->device->ops->stop) {
        core->device->ops->stop(core->device);
    }
}

static void start(struct virtio_core *core)
{
    core->started = true;
    atomic_store(&core->running, true);
    call(core, call_start);
    virtio_core_kick(core);
}

static void stop(struct virtio_core *core)
{
    atomic_store(&core->running, false);
    call(core, call_stop);
    core->started = false;
}

/* The driver's features become the device's. */
static bool accept_features(struct virtio_core *core)
{
    struct virtio_device *device = core->device;
    uint64_t accepted = core->driver_features;

    if (accepted & ~core->offered || !(accepted >> VIRTIO_F_VERSION_1 & 1)) {
        return false;
    }
    device->accepted = accepted;
    return !device->ops->set_features || device->ops->set_features(device, accepted);
}

static void reset_device(struct virtio_core *core)
{
    core->device->accepted = 0;
    if (core->device->ops->reset) {
        core->device->ops->reset(core->device);
    }
}

static void finish_reset(struct virtio_core *core)
{
    reset_device(core);
    /* Queues that are ready again get one more round: a handler on an I/O thread may have seen the
     * first one before it stopped. */
    for (unsigned i = 0; i < core->queue_count; i++) {
        struct virtio_ring_setup setup = core->queues[i].published;

        if (core->queues[i].registers.ready) {
            virtio_queue_publish(&core->queues[i], &setup);
        }
    }
    core->resetting = false;
    /* The driver has gone on without waiting, and believes that its features were accepted. */
    if (atomic_load(&core->status) & VIRTIO_STATUS_FEATURES_OK && !accept_features(core)) {
        virtio_broken(core->device, "the driver's features cannot be used");
    }
}

void virtio_core_update(struct virtio_core *core)
{
    if (core->updating) {
        core->again = true;
        return;
    }
    core->updating = true;
    do {
        core->again = false;
        if (core->started && (core->resetting || !core->vm_runs ||
                              !(atomic_load(&core->status) & VIRTIO_STATUS_DRIVER_OK))) {
            stop(core);
        }
        if (core->resetting) {
            finish_reset(core);
        }
        if (!core->started && core->vm_runs &&
            atomic_load(&core->status) & VIRTIO_STATUS_DRIVER_OK) {
            start(core);
        }
    } while (core->again);
    core->updating = false;
}

static void update_soon(void *opaque)
{
    virtio_core_update(opaque);
}

static void update(struct virtio_core *core)
{
    if (loop_is_current(core->bus->loop)) {
        virtio_core_update(core);
    } else {
        loop_bh_schedule(core->update);
    }
}

static void runstate_changed(struct hw_runstate_listener *listener, bool runs,
                             enum hw_runstate state)
{
    struct virtio_core *core =
        (struct virtio_core *)((char *)listener - offsetof(struct virtio_core, runstate));

    core->vm_runs = runs;
    virtio_core_update(core);
}

static void reset_registers(struct virtio_core *core)
{
    for (unsigned i = 0; i < core->queue_count; i++) {
        struct virtio_queue *queue = &core->queues[i];

        if (queue->registers.ready) {
            virtio_queue_publish(queue, NULL);
        }
        queue->registers = (struct virtio_queue_setup){.size = queue->registers.max_size,
                                                       .max_size = queue->registers.max_size};
    }
    core->driver_features = 0;
    atomic_store(&core->status, 0);
    atomic_store(&core->broken, false);
    atomic_store(&core->pending_queues, 0);
    atomic_store(&core->pending_config, false);
    core->bus->ops->reset(core->bus);
}

static void reset(struct virtio_core *core)
{
    uint8_t before = atomic_load(&core->status);

    atomic_store(&core->running, false);
    reset_registers(core);
    if (core->started) {
        if (!core->resetting) {
            core->waiting = before;
            core->resetting = true;
        }
        update(core);
    } else {
        reset_device(core);
    }
}

/* ---- what transports call -------------------------------------------------------------------- */

const struct hw_bus_type virtio_bus_type = {.name = "virtio-bus", .single = true};

void virtio_bus_init(struct virtio_bus *bus, const char *name, struct hw_device *parent,
                     const struct virtio_transport_ops *ops, void *opaque)
{
    hw_bus_init(&bus->bus, &virtio_bus_type, name, parent);
    bus->ops = ops;
    bus->opaque = opaque;
}

uint64_t virtio_bus_features(struct virtio_bus *bus)
{
    return bus->core->offered;
}

uint32_t virtio_bus_driver_features(struct virtio_bus *bus, uint32_t word)
{
    return word < 2 ? (uint32_t)(bus->core->driver_features >> 32 * word) : 0;
}

void virtio_bus_set_driver_features(struct virtio_bus *bus, uint32_t word, uint32_t bits)
{
    struct virtio_core *core = bus->core;

    if (word < 2 && !(atomic_load(&core->status) & VIRTIO_STATUS_FEATURES_OK)) {
        core->driver_features = bits_deposit(core->driver_features, 32 * word, 32, bits);
    }
}

uint8_t virtio_bus_status(struct virtio_bus *bus)
{
    uint8_t status = atomic_load(&bus->core->status);

    return !status && bus->core->resetting ? bus->core->waiting : status;
}

void virtio_bus_set_status(struct virtio_bus *bus, uint8_t value)
{
    struct virtio_core *core = bus->core;
    uint8_t before = atomic_load(&core->status);
    uint8_t added = value & ~before & ~VIRTIO_STATUS_NEEDS_RESET;

    if (!value) {
        reset(core);
        return;
    }
    /* Bits are not taken back other than by a reset, clause 2.1.1. */
    if (added & VIRTIO_STATUS_FEATURES_OK) {
        bool ok = core->resetting ? !(core->driver_features & ~core->offered) &&
                                        core->driver_features >> VIRTIO_F_VERSION_1 & 1
                                  : accept_features(core);

        if (!ok) {
            added &= (uint8_t) ~(VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
        }
    } else if (!(before & VIRTIO_STATUS_FEATURES_OK)) {
        added &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
    }
    atomic_fetch_or(&core->status, added);
    if (added & VIRTIO_STATUS_DRIVER_OK) {
        update(core);
    }
}

void virtio_bus_reset(struct virtio_bus *bus)
{
    if (bus->core) {
        reset(bus->core);
    } else {
        bus->ops->reset(bus);
    }
}

uint32_t virtio_bus_generation(struct virtio_bus *bus)
{
    return atomic_load(&bus->core->generation);
}

uint64_t virtio_bus_config_read(struct virtio_bus *bus, uint64_t offset, unsigned size)
{
    const struct virtio_device_ops *ops = bus->device->ops;
    uint64_t value = 0;

    if (offset < ops->config_size) {
        uint32_t left = ops->config_size - (uint32_t)offset;

        ops->config_read(bus->device, (uint32_t)offset, &value, size < left ? size : left);
    }
    return value;
}

void virtio_bus_config_write(struct virtio_bus *bus, uint64_t offset, unsigned size, uint64_t value)
{
    const struct virtio_device_ops *ops = bus->device->ops;

    if (ops->config_write && offset < ops->config_size && size <= ops->config_size - offset) {
        ops->config_write(bus->device, (uint32_t)offset, &value, size);
    }
}

unsigned virtio_bus_queue_count(struct virtio_bus *bus)
{
    return bus->core->queue_count;
}

struct virtio_queue_setup *virtio_bus_queue(struct virtio_bus *bus, unsigned n)
{
    return n < bus->core->queue_count ? &bus->core->queues[n].registers : NULL;
}

void virtio_bus_set_queue_size(struct virtio_bus *bus, unsigned n, uint32_t size)
{
    struct virtio_queue_setup *queue = virtio_bus_queue(bus, n);

    if (queue && !queue->ready && size <= queue->max_size && bits_is_pow2(size)) {
        queue->size = size;
    }
}

void virtio_bus_set_queue_ready(struct virtio_bus *bus, unsigned n, bool ready)
{
    struct virtio_queue_setup *registers = virtio_bus_queue(bus, n);

    if (!registers || registers->ready == ready) {
        return;
    }
    struct virtio_ring_setup setup = {.size = registers->size,
                                      .desc = registers->desc,
                                      .driver = registers->driver,
                                      .device = registers->device};

    virtio_queue_publish(&bus->core->queues[n], ready ? &setup : NULL);
}

int virtio_bus_queue_fd(struct virtio_bus *bus, unsigned n)
{
    return bus->core->queues[n].kick;
}

void virtio_bus_notify(struct virtio_bus *bus, unsigned n)
{
    if (n < bus->core->queue_count) {
        kick(&bus->core->queues[n]);
    }
}

void virtio_bus_set_dma(struct virtio_bus *bus, bool on)
{
    struct virtio_core *core = bus->core;

    if (core && atomic_exchange(&core->dma, on) != on && on) {
        virtio_core_kick(core);
    }
}

/* ---- what devices call ----------------------------------------------------------------------- */

static void map_section_changed(struct mem_listener *listener, const struct mem_section *section)
{
    struct virtio_core *core =
        (struct virtio_core *)((char *)listener - offsetof(struct virtio_core, listener));

    if (section->host) {
        atomic_fetch_add_explicit(&core->map_changes, 1, memory_order_release);
    }
}

static bool watch_queues(struct virtio_core *core)
{
    bool ok = true;

    for (unsigned i = 0; i < core->queue_count; i++) {
        struct virtio_queue *queue = &core->queues[i];

        queue->watch = loop_fd_add(core->loop, queue->kick, LOOP_IN, kicked, queue);
        ok &= queue->watch != NULL;
    }
    return ok;
}

/* Ends what belongs to the device's loop. */
static void unwatch_queues(struct virtio_core *core)
{
    for (unsigned i = 0; i < core->queue_count; i++) {
        struct virtio_queue *queue = &core->queues[i];

        if (queue->watch) {
            loop_fd_remove(queue->watch);
        }
        assert(!queue->taken);
        virtio_queue_release(queue);
    }
    virtio_ram_unref(core->ram);
    if (core->call) {
        loop_bh_destroy(core->call);
    }
}

static void free_core(struct virtio_core *core)
{
    call(core, unwatch_queues);
    if (core->update) {
        loop_bh_destroy(core->update);
    }
    if (core->interrupt) {
        loop_bh_destroy(core->interrupt);
    }
    for (unsigned i = 0; i < core->queue_count; i++) {
        if (core->queues[i].kick >= 0) {
            close(core->queues[i].kick);
        }
    }
    sem_destroy(&core->called);
    free(core);
}

static bool make_queues(struct virtio_core *core, unsigned size)
{
    bool ok = true;

    for (unsigned i = 0; i < core->queue_count; i++) {
        struct virtio_queue *queue = &core->queues[i];

        *queue = (struct virtio_queue){.core = core,
                                       .index = i,
                                       .registers = {.size = size, .max_size = size},
                                       .kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
        ok &= queue->kick >= 0;
    }
    return ok;
}

const char *const virtio_on_off[] = {"on", "off", NULL};
const char *const virtio_off[] = {"off", NULL};

static uint64_t offer(struct virtio_device *device, const struct virtio_bus *bus)
{
    return device->ops->features(device) |
           (uint64_t)!device->indirect_desc << VIRTIO_F_INDIRECT_DESC |
           (uint64_t)!device->event_idx << VIRTIO_F_EVENT_IDX | UINT64_C(1) << VIRTIO_F_VERSION_1 |
           (uint64_t)bus->access_platform << VIRTIO_F_ACCESS_PLATFORM;
}

int virtio_init(struct virtio_device *device, const struct virtio_device_ops *ops, unsigned queues,
                unsigned size,
                void (*handler)(struct virtio_device *device, struct virtio_queue *queue),
                struct loop *loop, char *error, size_t error_size)
{
    struct virtio_bus *bus = (struct virtio_bus *)device->device.bus;
    struct virtio_core *core = calloc(1, sizeof(*core) + queues * sizeof(core->queues[0]));
    char name[128];

    assert(queues <= VIRTIO_MAX_QUEUES && size <= VIRTIO_QUEUE_MAX_SIZE && bits_is_pow2(size));
    hw_device_name(&device->device, name, sizeof(name));
    if (!core) {
        snprintf(error, error_size, "%s: out of memory", name);
        return -ENOMEM;
    }
    device->ops = ops;
    device->core = core;
    device->accepted = 0;
    *core = (struct virtio_core){.device = device,
                                 .bus = bus,
                                 .loop = loop ? loop : bus->loop,
                                 .handler = handler,
                                 .offered = offer(device, bus),
                                 .dma = true,
                                 .queue_count = queues};
    core->update = loop_bh_create(bus->loop, update_soon, core);
    core->interrupt = loop_bh_create(bus->loop, interrupt_pending, core);
    core->call = loop_bh_create(core->loop, call_now, core);
    sem_init(&core->called, 0, 0);
    if (!make_queues(core, size) || !core->update || !core->interrupt || !core->call ||
        !watch_queues(core)) {
        snprintf(error, error_size, "%s: no event descriptors left, or no memory", name);
        device->core = NULL;
        free_core(core);
        return -ENOMEM;
    }
    bus->core = core;
    bus->device = device;
    int err = bus->ops->attach(bus, error, error_size);

    if (err) {
        bus->core = NULL;
        bus->device = NULL;
        device->core = NULL;
        free_core(core);
        return err;
    }
    core->vm_runs = hw_runstate_runs(hw_runstate_get());
    core->runstate.changed = runstate_changed;
    hw_runstate_add_listener(&core->runstate);
    core->listener.add = core->listener.remove = map_section_changed;
    mem_space_add_listener(bus->space, &core->listener);
    return 0;
}

void virtio_exit(struct virtio_device *device)
{
    struct virtio_core *core = device->core;
    struct virtio_bus *bus = core->bus;

    if (core->started) {
        stop(core);
    }
    mem_space_remove_listener(bus->space, &core->listener);
    hw_runstate_remove_listener(&core->runstate);
    bus->ops->detach(bus);
    bus->core = NULL;
    bus->device = NULL;
    device->core = NULL;
    free_core(core);
}

struct virtio_queue *virtio_queue_at(struct virtio_device *device, unsigned n)
{
    return &device->core->queues[n];
}

unsigned virtio_queue_index(const struct virtio_queue *queue)
{
    return queue->index;
}

struct loop *virtio_loop(struct virtio_device *device)
{
    return device->core->loop;
}
