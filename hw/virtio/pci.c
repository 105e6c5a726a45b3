/*
 * The registers of virtio-pci, clause 4.1.4, and the function around them.
 *
 * BAR 4 has them all, in pages: common configuration, interrupt status, device configuration, and
 * notifications, four bytes for each queue. BAR 1 has MSI-X. Vendor capabilities say so; a last
 * one gives access to BAR 4 through configuration space.
 *
 * The function becomes what its device is when the device attaches: in realize of the function,
 * which plugs the device that it has inside. All is under the machine lock, apart from
 * notifications, which are event descriptors.
 */
#include "hw/virtio/pci.h"
#include "util/bits.h"
#include "util/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Clause 4.1.2.1. */
#define DEVICE_ID_BASE 0x1040
#define SUBSYSTEM      0x1100

#define MSIX_BAR   1
#define MODERN_BAR 4

/* In BAR 4. */
enum {
    COMMON_OFFSET = 0x0000,
    ISR_OFFSET = 0x1000,
    CONFIG_OFFSET = 0x2000,
    NOTIFY_OFFSET = 0x3000,
    PART_SIZE = 0x1000,
    BAR_SIZE = 0x4000,
    NOTIFY_MULTIPLIER = 4,
};

/* Common configuration, clause 4.1.4.3. */
enum {
    DEVICE_FEATURE_SELECT = 0,
    DEVICE_FEATURE = 4,
    DRIVER_FEATURE_SELECT = 8,
    DRIVER_FEATURE = 12,
    CONFIG_VECTOR = 16,
    NUM_QUEUES = 18,
    DEVICE_STATUS = 20,
    CONFIG_GENERATION = 21,
    QUEUE_SELECT = 22,
    QUEUE_SIZE = 24,
    QUEUE_VECTOR = 26,
    QUEUE_ENABLE = 28,
    QUEUE_NOTIFY_OFFSET = 30,
    QUEUE_DESC = 32,
    QUEUE_DRIVER = 40,
    QUEUE_DEVICE = 48,
    COMMON_SIZE = 56,
};

#define NO_VECTOR 0xffff

/* Capabilities, clause 4.1.4. */
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4, CAP_PCI = 5 };
enum { CAP_LENGTH = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_SIZE = 12, CAP_MORE = 16 };

#define ISR_QUEUE  1
#define ISR_CONFIG 2

/* ---- common configuration -------------------------------------------------------------------- */

static uint32_t read_queue(struct virtio_pci *vp, unsigned offset)
{
    const struct virtio_queue_setup *queue = virtio_bus_queue(&vp->bus, vp->queue_select);

    if (!queue) {
        return offset == QUEUE_VECTOR ? NO_VECTOR : 0; /* a size of 0: there is none */
    }
    switch (offset) {
    case QUEUE_SIZE:
        return queue->size;
    case QUEUE_VECTOR:
        return vp->queue_vectors[vp->queue_select];
    case QUEUE_ENABLE:
        return queue->ready;
    case QUEUE_NOTIFY_OFFSET:
        return vp->queue_select;
    case QUEUE_DESC:
    case QUEUE_DESC + 4:
        return (uint32_t)(queue->desc >> 8 * (offset - QUEUE_DESC));
    case QUEUE_DRIVER:
    case QUEUE_DRIVER + 4:
        return (uint32_t)(queue->driver >> 8 * (offset - QUEUE_DRIVER));
    case QUEUE_DEVICE:
    case QUEUE_DEVICE + 4:
        return (uint32_t)(queue->device >> 8 * (offset - QUEUE_DEVICE));
    default:
        return 0;
    }
}

static uint32_t read_common(struct virtio_pci *vp, unsigned offset)
{
    switch (offset) {
    case DEVICE_FEATURE_SELECT:
        return vp->device_features_select;
    case DEVICE_FEATURE:
        return vp->device_features_select < 2
                   ? (uint32_t)(virtio_bus_features(&vp->bus) >> 32 * vp->device_features_select)
                   : 0;
    case DRIVER_FEATURE_SELECT:
        return vp->driver_features_select;
    case DRIVER_FEATURE:
        return virtio_bus_driver_features(&vp->bus, vp->driver_features_select);
    case CONFIG_VECTOR:
        return vp->config_vector;
    case NUM_QUEUES:
        return virtio_bus_queue_count(&vp->bus);
    case DEVICE_STATUS:
        return virtio_bus_status(&vp->bus);
    case CONFIG_GENERATION:
        return virtio_bus_generation(&vp->bus) & 0xff;
    case QUEUE_SELECT:
        return vp->queue_select;
    default:
        return read_queue(vp, offset);
    }
}

/* Clause 4.1.5.1.2.1: what cannot be had reads back as NO_VECTOR. */
static uint16_t valid_vector(const struct virtio_pci *vp, uint32_t vector)
{
    return vector < vp->vectors ? (uint16_t)vector : NO_VECTOR;
}

static void write_queue(struct virtio_pci *vp, unsigned offset, uint32_t value)
{
    struct virtio_queue_setup *queue = virtio_bus_queue(&vp->bus, vp->queue_select);
    unsigned half = 8 * (offset & 4);

    if (!queue) {
        return;
    }
    if (offset == QUEUE_VECTOR) {
        vp->queue_vectors[vp->queue_select] = valid_vector(vp, value);
    } else if (offset == QUEUE_ENABLE && value == 1) {
        virtio_bus_set_queue_ready(&vp->bus, vp->queue_select, true);
    } else if (offset == QUEUE_SIZE) {
        virtio_bus_set_queue_size(&vp->bus, vp->queue_select, value);
    } else if (queue->ready) {
        log_limited(LOG_GUEST_ERRORS, "virtio-pci: a queue that is enabled is set up\n");
    } else if ((offset & ~4u) == QUEUE_DESC) {
        queue->desc = bits_deposit(queue->desc, half, 32, value);
    } else if ((offset & ~4u) == QUEUE_DRIVER) {
        queue->driver = bits_deposit(queue->driver, half, 32, value);
    } else if ((offset & ~4u) == QUEUE_DEVICE) {
        queue->device = bits_deposit(queue->device, half, 32, value);
    }
}

static void write_common(struct virtio_pci *vp, unsigned offset, uint32_t value)
{
    switch (offset) {
    case DEVICE_FEATURE_SELECT:
        vp->device_features_select = value;
        break;
    case DRIVER_FEATURE_SELECT:
        vp->driver_features_select = value;
        break;
    case DRIVER_FEATURE:
        virtio_bus_set_driver_features(&vp->bus, vp->driver_features_select, value);
        break;
    case CONFIG_VECTOR:
        vp->config_vector = valid_vector(vp, value);
        break;
    case DEVICE_STATUS:
        virtio_bus_set_status(&vp->bus, (uint8_t)value);
        break;
    case QUEUE_SELECT:
        vp->queue_select = (uint16_t)value;
        break;
    default:
        write_queue(vp, offset, value);
        break;
    }
}

static int common_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                       struct mem_attrs attrs)
{
    *value = read_common(opaque, (unsigned)offset);
    return 0;
}

static int common_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    write_common(opaque, (unsigned)offset, (uint32_t)value);
    return 0;
}

/* ---- the other parts ------------------------------------------------------------------------- */

/* Clause 4.1.4.5: reading acknowledges. */
static int isr_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                    struct mem_attrs attrs)
{
    struct virtio_pci *vp = opaque;

    *value = offset ? 0 : vp->isr_status;
    if (!offset && !attrs.debug) {
        vp->isr_status = 0;
        pci_set_intx(&vp->pci, false);
    }
    return 0;
}

static int nothing_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                         struct mem_attrs attrs)
{
    return 0;
}

static int config_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                       struct mem_attrs attrs)
{
    *value = virtio_bus_config_read(&((struct virtio_pci *)opaque)->bus, offset, size);
    return 0;
}

static int config_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    virtio_bus_config_write(&((struct virtio_pci *)opaque)->bus, offset, size, value);
    return 0;
}

static int notify_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                       struct mem_attrs attrs)
{
    *value = 0;
    return 0;
}

static int notify_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    virtio_bus_notify(&((struct virtio_pci *)opaque)->bus, (unsigned)offset / NOTIFY_MULTIPLIER);
    return 0;
}

static const struct mem_ops common_ops = {
    .read = common_read, .write = common_write, .max_size = 4, .split = true};
static const struct mem_ops isr_ops = {
    .read = isr_read, .write = nothing_write, .max_size = 4, .split = true};
static const struct mem_ops config_ops = {.read = config_read, .write = config_write};
static const struct mem_ops notify_ops = {
    .read = notify_read, .write = notify_write, .max_size = 4, .split = true};

/* The parts of BAR 4, in the order of their pages. */
static const struct {
    const char *name;
    const struct mem_ops *ops;
    uint32_t size;
    uint8_t type;
} part_rows[] = {
    {"virtio-pci-common", &common_ops, COMMON_SIZE, CAP_COMMON},
    {"virtio-pci-isr", &isr_ops, 4, CAP_ISR},
    {"virtio-pci-device", &config_ops, PART_SIZE, CAP_DEVICE},
    {"virtio-pci-notify", &notify_ops, PART_SIZE, CAP_NOTIFY},
};

_Static_assert(BITS_ARRAY_SIZE(part_rows) == VIRTIO_PCI_PARTS, "a region for each part");
_Static_assert(NOTIFY_MULTIPLIER *VIRTIO_MAX_QUEUES <= PART_SIZE, "room for all notifications");

/* ---- access through configuration space, clause 4.1.4.9 -------------------------------------- */

/* One access to BAR 4 as the capability has it; false: software has asked for what cannot be. */
static bool window_access(struct virtio_pci *vp, bool write)
{
    struct pci_function *f = &vp->pci;
    uint32_t offset = pci_get(f, vp->window + CAP_OFFSET, 4);
    uint32_t size = pci_get(f, vp->window + CAP_SIZE, 4);
    uint64_t value = 0;

    if (pci_get(f, vp->window + CAP_BAR, 1) != MODERN_BAR || offset >= BAR_SIZE ||
        (size != 1 && size != 2 && size != 4) || offset & (size - 1)) {
        return false;
    }
    unsigned part = offset / PART_SIZE, at = offset % PART_SIZE;
    const struct mem_ops *ops = part_rows[part].ops;

    if (at + size > part_rows[part].size) {
        return false;
    }
    if (write) {
        memcpy(&value, f->config + vp->window + CAP_MORE, size);
        ops->write(vp, at, size, value, MEM_ATTRS_NONE);
    } else {
        ops->read(vp, at, size, &value, MEM_ATTRS_NONE);
        memcpy(f->config + vp->window + CAP_MORE, &value, size);
    }
    return true;
}

static bool touches_window(const struct virtio_pci *vp, unsigned offset, unsigned size)
{
    unsigned data = vp->window + CAP_MORE;

    return vp->window && offset < data + 4 && offset + size > data;
}

static void config_reading(struct pci_function *function, unsigned offset, unsigned size)
{
    struct virtio_pci *vp = (struct virtio_pci *)function;

    if (vp->bus.device && touches_window(vp, offset, size) && !window_access(vp, false)) {
        pci_set(function, vp->window + CAP_MORE, 4, UINT32_MAX);
    }
}

static void config_written(struct pci_function *function, unsigned offset, unsigned size)
{
    struct virtio_pci *vp = (struct virtio_pci *)function;

    /* Not what a reset or a loaded state brings. */
    if (vp->bus.device && size <= 4 && touches_window(vp, offset, size)) {
        window_access(vp, true);
    }
    pci_set_intx(function, vp->isr_status && !pci_msix_is_enabled(function));
}

static void master_changed(struct pci_function *function, bool on)
{
    virtio_bus_set_dma(&((struct virtio_pci *)function)->bus, on);
}

/* ---- the transport --------------------------------------------------------------------------- */

static void interrupt(struct virtio_bus *bus, uint64_t queues, bool config)
{
    struct virtio_pci *vp = bus->opaque;

    if (!pci_msix_is_enabled(&vp->pci)) {
        vp->isr_status |= (queues ? ISR_QUEUE : 0) | (config ? ISR_CONFIG : 0);
        pci_set_intx(&vp->pci, vp->isr_status != 0);
        return;
    }
    for (; queues; queues &= queues - 1) {
        pci_msix_send(&vp->pci, vp->queue_vectors[bits_ctz64(queues)]);
    }
    if (config) {
        pci_msix_send(&vp->pci, vp->config_vector);
    }
}

static void reset(struct virtio_bus *bus)
{
    struct virtio_pci *vp = bus->opaque;

    vp->device_features_select = vp->driver_features_select = 0;
    vp->queue_select = 0;
    vp->config_vector = NO_VECTOR;
    memset(vp->queue_vectors, 0xff, sizeof(vp->queue_vectors));
    vp->isr_status = 0;
    pci_set_intx(&vp->pci, false);
}

static unsigned add_part_capability(struct virtio_pci *vp, uint8_t type, uint32_t offset,
                                    uint32_t size)
{
    unsigned length = type == CAP_NOTIFY || type == CAP_PCI ? CAP_MORE + 4 : CAP_MORE;
    unsigned at = pci_add_capability(&vp->pci, PCI_CAP_VENDOR, length);

    pci_set(&vp->pci, at + CAP_LENGTH, 1, length);
    pci_set(&vp->pci, at + CAP_TYPE, 1, type);
    pci_set(&vp->pci, at + CAP_BAR, 1, type == CAP_PCI ? 0 : MODERN_BAR);
    pci_set(&vp->pci, at + CAP_OFFSET, 4, offset);
    pci_set(&vp->pci, at + CAP_SIZE, 4, size);
    return at;
}

static void add_parts(struct virtio_pci *vp)
{
    struct pci_function *f = &vp->pci;

    mem_region_init_container(&vp->bar, "virtio-pci", BAR_SIZE);
    for (unsigned i = 0; i < VIRTIO_PCI_PARTS; i++) {
        unsigned at;

        mem_region_init_mmio(&vp->parts[i], part_rows[i].name, part_rows[i].size, part_rows[i].ops,
                             vp, &f->device.owner);
        mem_region_add(&vp->bar, i * PART_SIZE, &vp->parts[i], 0);
        at = add_part_capability(vp, part_rows[i].type, i * PART_SIZE, part_rows[i].size);
        if (part_rows[i].type == CAP_NOTIFY) {
            pci_set(f, at + CAP_MORE, 4, NOTIFY_MULTIPLIER);
        }
    }
    vp->window = (uint16_t)add_part_capability(vp, CAP_PCI, 0, 0);
    pci_set_writable(f, vp->window + CAP_BAR, 1, 0xff);
    pci_set_writable(f, vp->window + CAP_OFFSET, 4, UINT32_MAX);
    pci_set_writable(f, vp->window + CAP_SIZE, 4, UINT32_MAX);
    pci_set_writable(f, vp->window + CAP_MORE, 4, UINT32_MAX);
    pci_add_bar(f, MODERN_BAR, PCI_BAR_MEM64_PREFETCH, &vp->bar, BAR_SIZE);
}

/* A BAR of its own: the table in the first half, at least 2 KiB, then the pending bits. */
static int add_msix(struct virtio_pci *vp)
{
    uint32_t table = PCI_MSIX_ENTRY * vp->vectors;
    uint32_t pba = table <= 0x800 ? 0x800 : (uint32_t)bits_pow2_ceil(table);

    mem_region_init_container(&vp->msix_bar, "virtio-pci-msix", UINT64_C(2) * pba);
    pci_add_bar(&vp->pci, MSIX_BAR, PCI_BAR_MEM32, &vp->msix_bar, UINT64_C(2) * pba);
    return pci_add_msix(&vp->pci, vp->vectors, MSIX_BAR, 0, pba);
}

static int add_notifications(struct virtio_pci *vp)
{
    unsigned count = virtio_bus_queue_count(&vp->bus);

    vp->eventfds = calloc(count, sizeof(*vp->eventfds));
    if (!vp->eventfds) {
        return -ENOMEM;
    }
    vp->eventfd_count = count;
    for (unsigned i = 0; i < count; i++) {
        vp->eventfds[i] = (struct mem_eventfd){.offset = NOTIFY_MULTIPLIER * i,
                                               .fd = virtio_bus_queue_fd(&vp->bus, i)};
        mem_region_add_eventfd(&vp->parts[NOTIFY_OFFSET / PART_SIZE], &vp->eventfds[i]);
    }
    return 0;
}

static void detach(struct virtio_bus *bus)
{
    struct virtio_pci *vp = bus->opaque;

    mem_region_begin();
    pci_function_exit(&vp->pci);
    for (unsigned i = 0; i < vp->eventfd_count; i++) {
        mem_region_remove_eventfd(&vp->parts[NOTIFY_OFFSET / PART_SIZE], &vp->eventfds[i]);
    }
    for (unsigned i = 0; i < VIRTIO_PCI_PARTS; i++) {
        mem_region_retire(&vp->parts[i], NULL, NULL);
    }
    mem_region_retire(&vp->bar, NULL, NULL);
    if (vp->msix_bar.initialised) {
        mem_region_retire(&vp->msix_bar, NULL, NULL);
    }
    mem_region_commit();
    free(vp->eventfds);
    vp->eventfds = NULL;
    vp->eventfd_count = 0;
}

static int attach(struct virtio_bus *bus, char *error, size_t error_size)
{
    struct virtio_pci *vp = bus->opaque;
    const struct virtio_device_ops *ops = bus->device->ops;
    struct pci_ids ids = {.vendor = PCI_VENDOR_REDHAT_VIRTIO,
                          .device = (uint16_t)(DEVICE_ID_BASE + ops->device_id),
                          .subsystem_vendor = PCI_VENDOR_REDHAT_VIRTIO,
                          .subsystem = SUBSYSTEM,
                          .revision = 1,
                          .class_code = (uint32_t)ops->pci_class << 8,
                          .pin = 1};
    int err;

    if (vp->vectors == VIRTIO_PCI_VECTORS_AUTO) {
        vp->vectors = virtio_bus_queue_count(bus) + 1;
    }
    pci_function_init(&vp->pci, &ids);
    vp->pci.config_reading = config_reading;
    vp->pci.config_written = config_written;
    vp->pci.master_changed = master_changed;
    err = pci_add_rom(&vp->pci, error, error_size);
    if (err) {
        return err;
    }
    mem_region_begin();
    add_parts(vp);
    err = vp->vectors ? add_msix(vp) : 0;
    err = err ? err : add_notifications(vp);
    if (!err && vp->pci.bus->express && vp->pci.bus->bridge) {
        pci_add_express(&vp->pci, PCI_EXP_TYPE_ENDPOINT);
    }
    mem_region_commit();
    if (err) {
        snprintf(error, error_size, "%s: out of memory", vp->pci.device.type->name);
        detach(bus);
        return err;
    }
    reset(bus);
    virtio_bus_set_dma(bus, false); /* until software allows bus mastering */
    return 0;
}

static const struct virtio_transport_ops transport_ops = {
    .attach = attach, .detach = detach, .interrupt = interrupt, .reset = reset};

/* ---- the function ---------------------------------------------------------------------------- */

static void pci_init(struct hw_device *device)
{
    struct virtio_pci *vp = (struct virtio_pci *)device;

    virtio_bus_init(&vp->bus, "virtio-bus", device, &transport_ops, vp);
}

enum { LEGACY_ON, LEGACY_OFF, LEGACY_AUTO };

static int pci_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct virtio_pci *vp = (struct virtio_pci *)device;
    const char *wrong = NULL;

    if (vp->disable_legacy == LEGACY_OFF) {
        wrong = "disable-legacy=off: expected on or auto, only virtio 1.x is supported";
    } else if (vp->disable_modern) {
        wrong = "disable-modern=on: expected off, only virtio 1.x is supported";
    }
    if (wrong) {
        char name[128];

        hw_device_name(device, name, sizeof(name));
        snprintf(error, error_size, "%s: %s", name, wrong);
        return -ENOTSUP;
    }
    vp->bus.space = vp->pci.bus->space;
    vp->bus.loop = vp->pci.bus->loop;
    vp->bus.access_platform = vp->iommu_platform;
    return hw_device_realize(device->inner, &vp->bus.bus, false, error, error_size);
}

static void pci_reset(struct hw_device *device)
{
    struct virtio_pci *vp = (struct virtio_pci *)device;

    virtio_bus_reset(&vp->bus);
    pci_function_reset(&vp->pci);
}

static int post_load(void *object, uint32_t version)
{
    struct virtio_pci *vp = object;

    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
        vp->queue_vectors[i] = valid_vector(vp, vp->queue_vectors[i]);
    }
    vp->config_vector = valid_vector(vp, vp->config_vector);
    return 0;
}

static const struct state_field fields[] = {
    STATE(STRUCT, "pci", struct virtio_pci, pci, .table = &pci_function_state),
    STATE(U32, "device_features_select", struct virtio_pci, device_features_select),
    STATE(U32, "driver_features_select", struct virtio_pci, driver_features_select),
    STATE(U16, "queue_select", struct virtio_pci, queue_select),
    STATE(U16, "config_vector", struct virtio_pci, config_vector),
    STATE_ARRAY(U16, "queue_vectors", struct virtio_pci, queue_vectors),
    STATE(U8, "isr_status", struct virtio_pci, isr_status),
    STATE_END,
};

static const struct state_table state = {
    .name = "virtio-pci", .version = 1, .min_version = 1, .fields = fields, .post_load = post_load};

static const char *const legacy_names[] = {
    [LEGACY_ON] = "on", [LEGACY_OFF] = "off", [LEGACY_AUTO] = "auto", [LEGACY_AUTO + 1] = NULL};

static const struct property properties[] = {
    PCI_PROPERTIES,
    PROPERTY(U32, "vectors", struct virtio_pci, vectors, .number = VIRTIO_PCI_VECTORS_AUTO,
             .max = PCI_MSIX_MAX, .help = "MSI-X vectors, 0 for none"),
    PROPERTY(ENUM, "disable-legacy", struct virtio_pci, disable_legacy, .number = LEGACY_AUTO,
             .names = legacy_names, .help = "virtio 0.9 registers; may not be off"),
    PROPERTY(BOOL, "disable-modern", struct virtio_pci, disable_modern,
             .help = "no virtio 1.x registers; must be off"),
    PROPERTY(ENUM, "ats", struct virtio_pci, ats, .names = virtio_off,
             .help = "address translation service; must be off"),
    PROPERTY(ENUM, "page-per-vq", struct virtio_pci, page_per_queue, .names = virtio_off,
             .help = "a page of notifications for each queue; must be off"),
    PROPERTY(BOOL, "iommu_platform", struct virtio_pci, iommu_platform,
             .help = "offer VIRTIO_F_ACCESS_PLATFORM"),
    PROPERTY_END,
};

#define VIRTIO_PCI_TYPE(name_, inner_, help_)                                                    \
    &(const struct hw_device_type)                                                               \
    {                                                                                            \
        .name = (name_), .bus = "PCI", .help = help_ ", PCI", .size = sizeof(struct virtio_pci), \
        .properties = properties, .state = &state, .inner = (inner_), .hotplug = true,           \
        .init = pci_init, .realize = pci_realize, .reset_hold = pci_reset                        \
    }

const struct hw_device_type *const virtio_pci_types[] = {
    VIRTIO_PCI_TYPE("virtio-blk-pci", "virtio-blk-device", "virtio disk"),
    VIRTIO_PCI_TYPE("virtio-net-pci", "virtio-net-device", "virtio network card"),
    VIRTIO_PCI_TYPE("virtio-rng-pci", "virtio-rng-device", "virtio entropy source"),
    VIRTIO_PCI_TYPE("virtio-serial-pci", "virtio-serial-device", "virtio consoles"),
    VIRTIO_PCI_TYPE("virtio-blk-pci-non-transitional", "virtio-blk-device", "virtio disk"),
    VIRTIO_PCI_TYPE("virtio-net-pci-non-transitional", "virtio-net-device", "virtio network card"),
    VIRTIO_PCI_TYPE("virtio-rng-pci-non-transitional", "virtio-rng-device",
                    "virtio entropy source"),
    VIRTIO_PCI_TYPE("virtio-serial-pci-non-transitional", "virtio-serial-device",
                    "virtio consoles"),
    NULL,
};
