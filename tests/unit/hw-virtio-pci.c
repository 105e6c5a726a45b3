/*
 * virtio over PCI, driven as a guest drives it: found by its capabilities, with INTx and with
 * MSI-X, through its BAR and through configuration space.
 */
#include "hw/virtio/pci.h"
#include "tests/unit/pci-driver.h"

#define BAR    (MMIO64 + 0x10000)
#define MSIX   (MMIO + 0x8000)
#define TARGET (RAM_BASE + 0x180000)

static struct machine m;
static struct gpex *host;
static struct virtio_pci *vp;
static struct test_device *dev;
static struct ring ring;
static uint64_t config, common, isr, device, notify;
static unsigned notify_multiplier;
static char error[256];

static const struct hw_device_type *const types[] = {&test_type, NULL};

static struct hw_device *plug(const char *type, const char *name, const char *value)
{
    struct hw_device *d = hw_device_create(hw_device_find_type(type), "v0");

    if ((name && hw_device_set(d, name, value, error, sizeof(error))) ||
        hw_device_realize(d, &host->bus.bus, false, error, sizeof(error))) {
        hw_device_destroy(d);
        return NULL;
    }
    return d;
}

/* Clause 4.1.4: the capability of a type tells BAR, offset and size. */
static unsigned find_part(uint8_t type, uint64_t *at)
{
    unsigned cap = 0;

    while ((cap = find_capability(&m, config, PCI_CAP_VENDOR, cap))) {
        if (rd(&m, config + cap + 3, 1) == type) {
            *at = BAR + rd(&m, config + cap + 8, 4);
            return cap;
        }
    }
    *at = 0;
    return 0;
}

static void set_up_function(void)
{
    config = ecam(0, vp->pci.devfn >> 3, 0, 0);
    wr(&m, config + 0x20, 4, (uint32_t)BAR);
    wr(&m, config + 0x24, 4, BAR >> 32);
    wr(&m, config + 0x14, 4, MSIX);
    wr(&m, config + 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static uint8_t status(void)
{
    return (uint8_t)rd(&m, common + 20, 1);
}

static void set_status(uint8_t value)
{
    wr(&m, common + 20, 1, value);
}

static void negotiate(uint64_t features)
{
    set_status(0);
    machine_settle(&m);
    set_status(1);
    set_status(3);
    wr(&m, common + 8, 4, 0);
    wr(&m, common + 12, 4, (uint32_t)features);
    wr(&m, common + 8, 4, 1);
    wr(&m, common + 12, 4, features >> 32);
    set_status(11);
}

static void drive(uint16_t vector)
{
    negotiate(UINT64_C(1) << VIRTIO_F_VERSION_1);
    ring_make(&ring, &m, 0, 8);
    wr(&m, common + 16, 2, 0);
    wr(&m, common + 22, 2, 1);
    wr(&m, common + 24, 2, 8);
    wr(&m, common + 26, 2, vector);
    wr(&m, common + 32, 8, ring.desc);
    wr(&m, common + 40, 4, (uint32_t)ring.avail);
    wr(&m, common + 44, 4, ring.avail >> 32);
    wr(&m, common + 48, 8, ring.used);
    wr(&m, common + 28, 2, 1);
    set_status(15);
    machine_settle(&m);
}

static void offer_and_notify(void)
{
    ring_desc(&ring, 0, BUFFERS, 1, NEXT, 1);
    ring_desc(&ring, 1, BUFFERS + 0x1000, 4, WRITE, 0);
    ring_offer(&ring, 0);
    wr(&m, notify + notify_multiplier * rd(&m, common + 30, 2), 2, 1);
    machine_settle(&m);
}

static void test_identity(void)
{
    tap_eq(rd(&m, config, 4), 0x10441af4, "ids of an entropy device");
    tap_eq(rd(&m, config + 8, 4), 0x00ff0001, "class, and revision 1");
    tap_eq(rd(&m, config + 0x2c, 4), 0x11001af4, "subsystem");
    tap_eq(rd(&m, config + 0x3d, 1), 1, "INTA");
    tap_ok(find_part(1, &common) && find_part(3, &isr) && find_part(4, &device), "three parts");
    unsigned cap = find_part(2, &notify);

    notify_multiplier = (unsigned)rd(&m, config + cap + 16, 4);
    tap_ok(cap && notify_multiplier == 4, "notifications");
    tap_eq(rd(&m, config + 0x20, 4) & 0xf, 0xc, "BAR 4 has 64 bits and is prefetchable");
    tap_ok(find_capability(&m, config, PCI_CAP_MSIX, 0) &&
               !find_capability(&m, config, PCI_CAP_EXPRESS, 0),
           "MSI-X; not an express device on the root bus");
    tap_eq(rd(&m, config + find_capability(&m, config, PCI_CAP_MSIX, 0) + 2, 2), TEST_QUEUES,
           "a vector for each queue and one more");
}

static void test_common(void)
{
    tap_eq(rd(&m, common + 18, 2), TEST_QUEUES, "queues");
    wr(&m, common, 4, 1);
    tap_eq(rd(&m, common + 4, 4), 1, "features, high");
    wr(&m, common, 4, 7);
    tap_eq(rd(&m, common + 4, 4), 0, "features beyond");
    wr(&m, common + 22, 2, 2);
    tap_eq(rd(&m, common + 24, 2), TEST_SIZE, "size of a queue");
    tap_eq(rd(&m, common + 26, 2), 0xffff, "no vector yet");
    wr(&m, common + 26, 2, TEST_QUEUES + 1);
    tap_eq(rd(&m, common + 26, 2), 0xffff, "a vector that is not there");
    wr(&m, common + 26, 2, TEST_QUEUES);
    tap_eq(rd(&m, common + 26, 2), TEST_QUEUES, "a vector");
    wr(&m, common + 16, 2, 0x1234);
    tap_eq(rd(&m, common + 16, 2), 0xffff, "of the configuration");
    tap_eq(rd(&m, common + 30, 2), 2, "notify offset");
    wr(&m, common + 24, 2, 4);
    wr(&m, common + 32, 8, UINT64_C(0x1234567890));
    tap_eq(rd(&m, common + 24, 2), 4, "a size");
    tap_ok(rd(&m, common + 32, 4) == 0x34567890 && rd(&m, common + 36, 4) == 0x12, "an address");
    wr(&m, common + 22, 2, TEST_QUEUES);
    tap_eq(rd(&m, common + 24, 2), 0, "no such queue");
    wr(&m, common + 28, 2, 1);
    wr(&m, common + 26, 2, 1);
    wr(&m, common + 22, 2, 0xffff);
    wr(&m, common + 28, 2, 1);
    tap_eq(rd(&m, common + 28, 2), 0, "nor that one");
    set_status(0);
    machine_settle(&m);
    wr(&m, common + 22, 2, 2);
    tap_eq(rd(&m, common + 26, 2), 0xffff, "a reset forgets vectors");
    tap_eq(rd(&m, common + 56, 4), UINT64_MAX, "the end of the common part");
    wr(&m, device + 4, 4, 0x12345678);
    tap_eq(rd(&m, device + 4, 4), 0x12345678, "device configuration");
}

static void test_intx(void)
{
    unsigned output = 1u << (vp->pci.devfn >> 3) % 4;

    drive(1);
    offer_and_notify();
    tap_eq(ring_used_index(&ring), 1, "used");
    tap_ok(pci_level == output && rd(&m, config + 6, 2) & 8, "INTx");
    tap_eq(rd(&m, isr, 1), 1, "ISR");
    tap_ok(!pci_level && !rd(&m, isr, 1), "reading acknowledges");
    virtio_config_changed(&dev->virtio);
    tap_ok(pci_level == output && rd(&m, isr, 1) == 2, "configuration");
    offer_and_notify();
    set_status(0);
    tap_eq(pci_level, 0, "a reset lowers it");
    machine_settle(&m);
}

static void test_msix(void)
{
    uint64_t cap = config + find_capability(&m, config, PCI_CAP_MSIX, 0);

    for (unsigned i = 0; i <= TEST_QUEUES; i++) {
        wr(&m, TARGET + 4 * i, 4, 0);
        wr(&m, MSIX + 16 * i, 8, TARGET + 4 * i);
        wr(&m, MSIX + 16 * i + 8, 4, 100 + i);
        wr(&m, MSIX + 16 * i + 12, 4, 0);
    }
    wr(&m, cap + 2, 2, 0x8000);
    drive(2);
    offer_and_notify();
    tap_ok(rd(&m, TARGET + 8, 4) == 102 && !pci_level, "the queue's message");
    tap_eq(rd(&m, isr, 1), 0, "not in ISR");
    virtio_config_changed(&dev->virtio);
    tap_eq(rd(&m, TARGET, 4), 100, "the configuration's message");
    wr(&m, TARGET + 8, 4, 0);
    wr(&m, MSIX + 44, 4, 1);
    offer_and_notify();
    tap_eq(rd(&m, TARGET + 8, 4), 0, "masked");
    tap_eq(rd(&m, MSIX + 0x800, 8), 4, "and pending");
    wr(&m, MSIX + 44, 4, 0);
    tap_eq(rd(&m, TARGET + 8, 4), 102, "and sent");
    wr(&m, TARGET + 8, 4, 0);
    drive(0xffff);
    offer_and_notify();
    tap_ok(ring_used_index(&ring) == 1 && !rd(&m, TARGET + 8, 4) && !pci_level, "no vector");

    wr(&m, ring.avail + 2, 2, 500);
    wr(&m, TARGET, 4, 0);
    wr(&m, notify + 4, 4, 1);
    machine_settle(&m);
    tap_ok(status() == (15 | 64) && rd(&m, TARGET, 4) == 100, "broken: configuration message");
    wr(&m, cap + 2, 2, 0);
}

static void test_master(void)
{
    drive(0xffff);
    wr(&m, config + 4, 2, PCI_COMMAND_MEMORY);
    offer_and_notify();
    tap_eq(ring_used_index(&ring), 0, "no bus mastering, no ring");
    tap_eq(status(), 15, "which is no fault");
    wr(&m, config + 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    machine_settle(&m);
    tap_eq(ring_used_index(&ring), 1, "it goes on with it");

    dev->hold = true;
    offer_and_notify();
    set_status(0);
    tap_eq(status(), 15, "a reset waits for requests");
    machine_settle(&m);
    tap_eq(status(), 0, "until they are done");
    dev->hold = false;

    drive(0xffff);
    wr(&m, config + 0x20, 4, (uint32_t)BAR + 0x100000);
    notify += 0x100000;
    common += 0x100000;
    offer_and_notify();
    tap_eq(ring_used_index(&ring), 1, "notifications move with the BAR");
    notify -= 0x100000;
    common -= 0x100000;
    wr(&m, config + 0x20, 4, (uint32_t)BAR);

    hw_reset_device(&host->device, true);
    machine_settle(&m);
    tap_eq(rd(&m, common + 20, 1), UINT64_MAX, "a reset of the machine");
    set_up_function();
    tap_eq(status(), 0, "resets the device");
}

/* Clause 4.1.4.9. */
static void test_window(void)
{
    uint64_t at;
    uint64_t cap = config + find_part(5, &at);

    tap_ok(at != 0, "access through configuration space");
    wr(&m, config + 4, 2, PCI_COMMAND_MASTER);
    wr(&m, cap + 4, 1, 4);
    wr(&m, cap + 8, 4, 18);
    wr(&m, cap + 12, 4, 2);
    tap_eq(rd(&m, cap + 16, 2), TEST_QUEUES, "queues, read there");
    wr(&m, cap + 8, 4, 20);
    wr(&m, cap + 12, 4, 1);
    wr(&m, cap + 16, 1, 3);
    tap_eq(rd(&m, cap + 16, 1), 3, "status, written and read there");
    wr(&m, cap + 8, 4, 0x2000);
    wr(&m, cap + 12, 4, 4);
    wr(&m, cap + 16, 4, 0xa1b2c3d4);
    tap_eq(*(uint32_t *)dev->config, 0xa1b2c3d4, "device configuration");

    static const uint32_t bad[][3] = {
        {3, 0, 4}, {4, 0x4000, 4}, {4, 0xfffffffc, 4}, {4, 1, 2}, {4, 0, 8},    {4, 0, 3},
        {4, 0, 0}, {4, 56, 4},     {4, 0x1004, 1},     {1, 0, 4}, {0xff, 0, 4}, {4, 0, 1u << 31},
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        wr(&m, cap + 4, 1, bad[i][0]);
        wr(&m, cap + 8, 4, bad[i][1]);
        wr(&m, cap + 12, 4, bad[i][2]);
        wr(&m, cap + 16, 4, 0);
        tap_eq(rd(&m, cap + 16, 4), UINT32_MAX, "an access that cannot be");
    }
    wr(&m, cap + 4, 1, 4);
    wr(&m, cap + 8, 4, 20);
    wr(&m, cap + 12, 4, 1);
    wr(&m, cap + 16, 1, 0);
    wr(&m, config + 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    machine_settle(&m);
    tap_eq(status(), 0, "reset there");
}

static void test_saved_state(void)
{
    struct state_buffer outer = {0}, inner = {0};
    uint64_t cap = config + find_capability(&m, config, PCI_CAP_MSIX, 0);

    wr(&m, cap + 2, 2, 0x8000);
    wr(&m, MSIX + 32, 8, TARGET);
    wr(&m, MSIX + 40, 4, 77);
    wr(&m, MSIX + 44, 4, 0);
    drive(2);
    offer_and_notify();
    hw_runstate_set(HW_RUNSTATE_PAUSED);
    tap_ok(!state_save(vp->pci.device.type->state, vp, &outer, error, sizeof(error)) &&
               !state_save(&test_state, dev, &inner, error, sizeof(error)),
           "saved");
    hw_reset_device(&host->device, true);
    tap_ok(!state_load(vp->pci.device.type->state, vp, outer.data, outer.size, NULL, error,
                       sizeof(error)) &&
               !state_load(&test_state, dev, inner.data, inner.size, NULL, error, sizeof(error)),
           "loaded");
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    machine_settle(&m);
    wr(&m, TARGET, 4, 0);
    wr(&m, common + 22, 2, 1);
    offer_and_notify();
    tap_ok(ring_used_index(&ring) == 2 && rd(&m, TARGET, 4) == 77, "it goes on where it was");
    for (unsigned i = 0; i < outer.size; i++) {
        outer.data[i] ^= 0xff;
        (void)state_load(vp->pci.device.type->state, vp, outer.data, outer.size, NULL, error,
                         sizeof(error));
        outer.data[i] ^= 0xff;
    }
    tap_eq(rd(&m, config, 4), 0x10441af4, "whatever is loaded");
    state_buffer_free(&outer);
    state_buffer_free(&inner);
}

static void refuse(const char *name, const char *value, const char *message)
{
    tap_ok(!plug("virtio-rng-pci", name, value) && strstr(error, message), "refused: %s", error);
}

static void test_options(void)
{
    refuse("disable-legacy", "off", "virtio-rng-pci v0: disable-legacy=off: expected on or auto");
    refuse("disable-modern", "on", "virtio-rng-pci v0: disable-modern=on: expected off");
    refuse("hold", "7", "virtio-rng-pci v0: hold=7");
    refuse("nonsense", "7", "virtio-rng-pci v0: ");
    refuse("vectors", "2049", "vectors=2049");
    refuse("packed", "on", "packed=on");
    refuse("ats", "on", "ats=on");

    struct hw_device *d = plug("virtio-rng-pci", "hold", "on");

    tap_ok(d && ((struct test_device *)d->inner)->hold, "the inner device gets what it knows");
    hw_device_destroy(d);
    d = plug("virtio-rng-pci-non-transitional", "vectors", "0");
    tap_ok(d && !((struct pci_function *)d)->msix_cap, "no MSI-X");
    hw_device_destroy(d);
    d = plug("virtio-rng-pci", "event_idx", "off");
    tap_eq(virtio_bus_features(&((struct virtio_pci *)d)->bus) >> 28 & 3, 1, "no event indices");
    hw_device_destroy(d);
    d = plug("virtio-rng-pci", "iommu_platform", "on");
    tap_ok(d && virtio_bus_features(&((struct virtio_pci *)d)->bus) >> 33 & 1, "access platform");
    hw_device_destroy(d);
    tap_ok(!hw_device_create(hw_device_find_type("virtio-net-pci"), NULL), "no inner type");
}

int main(void)
{
    machine_make(&m);
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    hw_device_add_types(types);
    hw_device_add_types(virtio_pci_types);
    host = gpex_make(&m);
    vp = (struct virtio_pci *)plug("virtio-rng-pci", "addr", "6");
    dev = (struct test_device *)vp->pci.device.inner;
    set_up_function();
    test_identity();
    test_common();
    test_intx();
    test_msix();
    test_master();
    test_window();
    test_saved_state();
    test_options();
    hw_device_destroy(&host->device);
    epoch_reclaim(&mem_epoch);
    machine_end(&m);
    return tap_done();
}
