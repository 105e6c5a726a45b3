/*
 * The registers of virtio-mmio, clause 4.2.2, version 2. All under the machine lock, apart from
 * notifications: each queue has an event descriptor at QueueNotify, so that vCPUs only signal.
 *
 * Registers are 32 bits wide; what is written in another width is a driver's mistake and ignored.
 * The configuration of the device behind them may be accessed in any width (clause 4.2.2.2).
 */
#include "hw/virtio/mmio.h"
#include "util/bits.h"
#include "util/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MAGIC = 0x00,
    VERSION = 0x04,
    DEVICE_ID = 0x08,
    VENDOR_ID = 0x0c,
    DEVICE_FEATURES = 0x10,
    DEVICE_FEATURES_SELECT = 0x14,
    DRIVER_FEATURES = 0x20,
    DRIVER_FEATURES_SELECT = 0x24,
    QUEUE_SELECT = 0x30,
    QUEUE_SIZE_MAX = 0x34,
    QUEUE_SIZE = 0x38,
    QUEUE_READY = 0x44,
    QUEUE_NOTIFY = 0x50,
    INTERRUPT_STATUS = 0x60,
    INTERRUPT_ACK = 0x64,
    STATUS = 0x70,
    QUEUE_DESC_LOW = 0x80,
    QUEUE_DESC_HIGH = 0x84,
    QUEUE_DRIVER_LOW = 0x90,
    QUEUE_DRIVER_HIGH = 0x94,
    QUEUE_DEVICE_LOW = 0xa0,
    QUEUE_DEVICE_HIGH = 0xa4,
    SHM_LENGTH_LOW = 0xb0,
    SHM_LENGTH_HIGH = 0xb4,
    SHM_BASE_LOW = 0xb8,
    SHM_BASE_HIGH = 0xbc,
    CONFIG_GENERATION = 0xfc,
    CONFIG = 0x100,
};

#define MAGIC_VALUE  0x74726976 /* "virt" */
#define VENDOR_VALUE 0x554d4551 /* "QEMU", which drivers may look for */

#define INTERRUPT_QUEUE  1
#define INTERRUPT_CONFIG 2

static void drive_line(struct virtio_mmio *mmio)
{
    hw_irq_set(&mmio->irq, mmio->interrupt_status != 0);
}

static uint32_t read_queue(struct virtio_mmio *mmio, unsigned offset)
{
    const struct virtio_queue_setup *queue = virtio_bus_queue(&mmio->bus, mmio->queue_select);

    if (!queue) {
        return 0;
    }
    return offset == QUEUE_SIZE_MAX ? queue->max_size : queue->ready;
}

/* Of a slot with a device. */
static uint32_t read_register(struct virtio_mmio *mmio, unsigned offset)
{
    switch (offset) {
    case DEVICE_ID:
        return mmio->bus.device->ops->device_id;
    case DEVICE_FEATURES:
        return mmio->device_features_select < 2 ? (uint32_t)(virtio_bus_features(&mmio->bus) >>
                                                             32 * mmio->device_features_select)
                                                : 0;
    case QUEUE_SIZE_MAX:
    case QUEUE_READY:
        return read_queue(mmio, offset);
    case INTERRUPT_STATUS:
        return mmio->interrupt_status;
    case STATUS:
        return virtio_bus_status(&mmio->bus);
    case SHM_LENGTH_LOW:
    case SHM_LENGTH_HIGH:
    case SHM_BASE_LOW:
    case SHM_BASE_HIGH:
        return UINT32_MAX; /* no region of that id, clause 4.2.2 */
    case CONFIG_GENERATION:
        return virtio_bus_generation(&mmio->bus);
    default:
        log_limited(LOG_GUEST_ERRORS, "virtio-mmio: read of register %#x\n", offset);
        return 0;
    }
}

static int mmio_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    struct virtio_mmio *mmio = opaque;

    if (offset >= CONFIG) {
        *value = mmio->bus.device ? virtio_bus_config_read(&mmio->bus, offset - CONFIG, size) : 0;
    } else if (size != 4) {
        log_limited(LOG_GUEST_ERRORS, "virtio-mmio: read of %u bytes at %#x\n", size,
                    (unsigned)offset);
        *value = 0;
    } else if (offset == MAGIC) {
        *value = MAGIC_VALUE;
    } else if (offset == VERSION) {
        *value = 2;
    } else if (offset == VENDOR_ID) {
        *value = VENDOR_VALUE;
    } else {
        *value = mmio->bus.device ? read_register(mmio, (unsigned)offset) : 0;
    }
    return 0;
}

static uint64_t *queue_address(struct virtio_queue_setup *queue, unsigned offset)
{
    switch (offset & ~4u) {
    case QUEUE_DESC_LOW:
        return &queue->desc;
    case QUEUE_DRIVER_LOW:
        return &queue->driver;
    default:
        return &queue->device;
    }
}

static void write_queue(struct virtio_mmio *mmio, unsigned offset, uint32_t value)
{
    struct virtio_queue_setup *queue = virtio_bus_queue(&mmio->bus, mmio->queue_select);

    if (!queue) {
        return;
    }
    if (offset == QUEUE_READY) {
        virtio_bus_set_queue_ready(&mmio->bus, mmio->queue_select, value & 1);
    } else if (offset == QUEUE_SIZE) {
        virtio_bus_set_queue_size(&mmio->bus, mmio->queue_select, value);
    } else if (!queue->ready) {
        uint64_t *address = queue_address(queue, offset);

        *address = bits_deposit(*address, offset & 4 ? 32 : 0, 32, value);
    }
}

static void write_register(struct virtio_mmio *mmio, unsigned offset, uint32_t value)
{
    switch (offset) {
    case DEVICE_FEATURES_SELECT:
        mmio->device_features_select = value;
        break;
    case DRIVER_FEATURES:
        virtio_bus_set_driver_features(&mmio->bus, mmio->driver_features_select, value);
        break;
    case DRIVER_FEATURES_SELECT:
        mmio->driver_features_select = value;
        break;
    case QUEUE_SELECT:
        mmio->queue_select = value;
        break;
    case QUEUE_SIZE:
    case QUEUE_READY:
    case QUEUE_DESC_LOW:
    case QUEUE_DESC_HIGH:
    case QUEUE_DRIVER_LOW:
    case QUEUE_DRIVER_HIGH:
    case QUEUE_DEVICE_LOW:
    case QUEUE_DEVICE_HIGH:
        write_queue(mmio, offset, value);
        break;
    case QUEUE_NOTIFY:
        virtio_bus_notify(&mmio->bus, value);
        break;
    case INTERRUPT_ACK:
        mmio->interrupt_status &= ~value;
        drive_line(mmio);
        break;
    case STATUS:
        virtio_bus_set_status(&mmio->bus, (uint8_t)value);
        break;
    default:
        log_limited(LOG_GUEST_ERRORS, "virtio-mmio: write of register %#x\n", offset);
        break;
    }
}

static int mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    struct virtio_mmio *mmio = opaque;

    if (!mmio->bus.device) {
        return 0;
    }
    if (offset >= CONFIG) {
        virtio_bus_config_write(&mmio->bus, offset - CONFIG, size, value);
    } else if (size == 4) {
        write_register(mmio, (unsigned)offset, (uint32_t)value);
    } else {
        log_limited(LOG_GUEST_ERRORS, "virtio-mmio: write of %u bytes at %#x\n", size,
                    (unsigned)offset);
    }
    return 0;
}

static const struct mem_ops mmio_ops = {.read = mmio_read, .write = mmio_write};

/* ---- the transport --------------------------------------------------------------------------- */

static int attach(struct virtio_bus *bus, char *error, size_t error_size)
{
    struct virtio_mmio *mmio = bus->opaque;
    unsigned count = virtio_bus_queue_count(bus);

    mmio->notify = calloc(count, sizeof(*mmio->notify));
    if (!mmio->notify) {
        snprintf(error, error_size, "virtio-mmio: out of memory");
        return -ENOMEM;
    }
    mmio->notify_count = count;
    mem_region_begin();
    for (unsigned i = 0; i < count; i++) {
        mmio->notify[i] = (struct mem_eventfd){.offset = QUEUE_NOTIFY,
                                               .size = 4,
                                               .match = true,
                                               .data = i,
                                               .fd = virtio_bus_queue_fd(bus, i)};
        mem_region_add_eventfd(&mmio->registers, &mmio->notify[i]);
    }
    mem_region_commit();
    return 0;
}

static void detach(struct virtio_bus *bus)
{
    struct virtio_mmio *mmio = bus->opaque;

    mem_region_begin();
    for (unsigned i = 0; i < mmio->notify_count; i++) {
        mem_region_remove_eventfd(&mmio->registers, &mmio->notify[i]);
    }
    mem_region_commit();
    free(mmio->notify);
    mmio->notify = NULL;
    mmio->notify_count = 0;
}

static void interrupt(struct virtio_bus *bus, uint64_t queues, bool config)
{
    struct virtio_mmio *mmio = bus->opaque;

    mmio->interrupt_status |= (queues ? INTERRUPT_QUEUE : 0) | (config ? INTERRUPT_CONFIG : 0);
    drive_line(mmio);
}

static void reset(struct virtio_bus *bus)
{
    struct virtio_mmio *mmio = bus->opaque;

    mmio->device_features_select = mmio->driver_features_select = mmio->queue_select = 0;
    mmio->interrupt_status = 0;
    drive_line(mmio);
}

static const struct virtio_transport_ops transport_ops = {
    .attach = attach, .detach = detach, .interrupt = interrupt, .reset = reset};

static void mmio_init(struct hw_device *device)
{
    struct virtio_mmio *mmio = (struct virtio_mmio *)device;

    virtio_bus_init(&mmio->bus, "virtio-mmio-bus", device, &transport_ops, mmio);
    mem_region_init_mmio(&mmio->registers, "virtio-mmio", VIRTIO_MMIO_SIZE, &mmio_ops, mmio,
                         &device->owner);
}

static int mmio_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct virtio_mmio *mmio = (struct virtio_mmio *)device;

    if (mmio->force_legacy) {
        snprintf(error, error_size,
                 "virtio-mmio: force-legacy=on: expected off, only virtio 1.x is supported");
        return -ENOTSUP;
    }
    return 0;
}

static void mmio_unrealize(struct hw_device *device)
{
    struct virtio_mmio *mmio = (struct virtio_mmio *)device;

    mem_region_retire(&mmio->registers, NULL, NULL);
}

static void mmio_reset(struct hw_device *device)
{
    virtio_bus_reset(&((struct virtio_mmio *)device)->bus);
}

static int post_load(void *object, uint32_t version)
{
    drive_line(object);
    return 0;
}

static const struct state_field fields[] = {
    STATE(U32, "device_features_select", struct virtio_mmio, device_features_select),
    STATE(U32, "driver_features_select", struct virtio_mmio, driver_features_select),
    STATE(U32, "queue_select", struct virtio_mmio, queue_select),
    STATE(U32, "interrupt_status", struct virtio_mmio, interrupt_status),
    STATE_END,
};

static const struct state_table state = {.name = "virtio-mmio",
                                         .version = 1,
                                         .min_version = 1,
                                         .fields = fields,
                                         .post_load = post_load};

static const struct property properties[] = {
    PROPERTY(BOOL, "force-legacy", struct virtio_mmio, force_legacy,
             .help = "virtio 0.9 registers; must be off"),
    PROPERTY_END,
};

const struct hw_device_type virtio_mmio_type = {
    .name = "virtio-mmio",
    .help = "slot for a virtio device",
    .size = sizeof(struct virtio_mmio),
    .properties = properties,
    .state = &state,
    .internal = true,
    .init = mmio_init,
    .realize = mmio_realize,
    .unrealize = mmio_unrealize,
    .reset_hold = mmio_reset,
};
