/*
 * The saved state of the core. The VM stands and devices have stopped, so the indices that belong
 * to a device's loop may be read, and loading publishes them as a driver publishes a ring.
 */
#include "hw/virtio/core.h"
#include "util/bits.h"

#include <errno.h>

static int pre_save(void *object)
{
    struct virtio_device *device = object;
    struct virtio_core *core = device->core;
    struct virtio_saved *saved = &device->saved;

    *saved = (struct virtio_saved){.status = atomic_load(&core->status),
                                   .driver_features = core->driver_features,
                                   .generation = atomic_load(&core->generation),
                                   .queue_count = core->queue_count};
    for (unsigned i = 0; i < core->queue_count; i++) {
        const struct virtio_queue *queue = &core->queues[i];
        const struct virtio_queue_setup *r = &queue->registers;
        bool used = queue->seen == atomic_load(&queue->round);

        saved->queues[i] = (struct virtio_queue_saved){
            .size = r->size,
            .ready = r->ready,
            .desc = r->desc,
            .driver = r->driver,
            .device = r->device,
            .next_avail = used ? queue->next_avail : queue->published.next_avail,
            .next_used = used ? queue->next_used : queue->published.next_used};
    }
    return 0;
}

static bool is_sane(const struct virtio_core *core, const struct virtio_saved *saved)
{
    uint64_t features = saved->driver_features;
    uint8_t late = VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK;

    if (saved->queue_count != core->queue_count) {
        return false;
    }
    for (unsigned i = 0; i < core->queue_count; i++) {
        if (!bits_is_pow2(saved->queues[i].size) ||
            saved->queues[i].size > core->queues[i].registers.max_size) {
            return false;
        }
    }
    return !(saved->status & late) ||
           (saved->status & VIRTIO_STATUS_FEATURES_OK && !(features & ~core->offered) &&
            features >> VIRTIO_F_VERSION_1 & 1);
}

static void load_queue(struct virtio_queue *queue, const struct virtio_queue_saved *saved)
{
    struct virtio_ring_setup setup = {.size = saved->size,
                                      .desc = saved->desc,
                                      .driver = saved->driver,
                                      .device = saved->device,
                                      .next_avail = saved->next_avail,
                                      .next_used = saved->next_used};

    queue->registers.size = saved->size;
    queue->registers.desc = saved->desc;
    queue->registers.driver = saved->driver;
    queue->registers.device = saved->device;
    virtio_queue_publish(queue, saved->ready ? &setup : NULL);
}

static int post_load(void *object, uint32_t version)
{
    struct virtio_device *device = object;
    struct virtio_core *core = device->core;
    const struct virtio_saved *saved = &device->saved;

    if (!is_sane(core, saved)) {
        return -EINVAL;
    }
    core->driver_features = saved->driver_features;
    device->accepted = 0;
    if (saved->status & VIRTIO_STATUS_FEATURES_OK) {
        device->accepted = saved->driver_features;
        if (device->ops->set_features &&
            !device->ops->set_features(device, saved->driver_features)) {
            return -EINVAL;
        }
    }
    for (unsigned i = 0; i < core->queue_count; i++) {
        load_queue(&core->queues[i], &saved->queues[i]);
    }
    atomic_store(&core->generation, saved->generation);
    atomic_store(&core->status, saved->status);
    atomic_store(&core->broken, (saved->status & VIRTIO_STATUS_NEEDS_RESET) != 0);
    return 0;
}

static const struct state_field queue_fields[] = {
    STATE(U32, "size", struct virtio_queue_saved, size),
    STATE(BOOL, "ready", struct virtio_queue_saved, ready),
    STATE(U64, "desc", struct virtio_queue_saved, desc),
    STATE(U64, "driver", struct virtio_queue_saved, driver),
    STATE(U64, "device", struct virtio_queue_saved, device),
    STATE(U16, "next_avail", struct virtio_queue_saved, next_avail),
    STATE(U16, "next_used", struct virtio_queue_saved, next_used),
    STATE_END,
};

static const struct state_table queue_state = {
    .name = "virtio-queue", .version = 1, .min_version = 1, .fields = queue_fields};

static const struct state_field fields[] = {
    STATE(U8, "status", struct virtio_device, saved.status),
    STATE(U64, "driver_features", struct virtio_device, saved.driver_features),
    STATE(U32, "generation", struct virtio_device, saved.generation),
    STATE_USED(STRUCT, "queues", struct virtio_device, saved.queues, saved.queue_count,
               .table = &queue_state),
    STATE_END,
};

const struct state_table virtio_state = {.name = "virtio",
                                         .version = 1,
                                         .min_version = 1,
                                         .fields = fields,
                                         .pre_save = pre_save,
                                         .post_load = post_load};
