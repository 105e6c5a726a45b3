/*
 * The virtio-pci transport under a hostile guest, and the PCI core below it: the registers of an
 * input are the function's configuration space, its BARs, and the host bridge's.
 */
#include "hw/virtio/pci.h"
#include "tests/fuzz/virtio.h"
#include "tests/unit/pci-driver.h"

#include <stdlib.h>

#define CONFIG (ECAM + (1u << 15))
#define BAR    (MMIO64 + 0x10000)
#define MSIX   (MMIO + 0x8000)

static struct gpex *host;
static const struct hw_device_type *const types[] = {&test_type, NULL};

static uint64_t address(uint64_t offset)
{
    switch (offset >> 13) {
    case 0:
        return CONFIG + (offset & 0xff); /* what is there */
    case 1:
        return ECAM + (offset & 0x1fff) * 8;
    case 2:
    case 3:
        return MSIX + (offset & 0xfff);
    default:
        return BAR + (offset & 0x3fff);
    }
}

static void enable(void)
{
    wr(&fuzzed, CONFIG + 0x20, 8, BAR);
    wr(&fuzzed, CONFIG + 0x14, 4, MSIX);
    wr(&fuzzed, CONFIG + 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void set_up(uint64_t features, const struct ring *r)
{
    enable();
    wr(&fuzzed, BAR + 20, 1, 0);
    wr(&fuzzed, BAR + 20, 1, 3);
    for (unsigned word = 0; word < 2; word++) {
        wr(&fuzzed, BAR + 8, 4, word);
        wr(&fuzzed, BAR + 12, 4, features >> 32 * word & UINT32_MAX);
    }
    wr(&fuzzed, BAR + 20, 1, 11);
    wr(&fuzzed, BAR + 22, 2, 0);
    wr(&fuzzed, BAR + 24, 2, r->size);
    wr(&fuzzed, BAR + 26, 2, 1);
    wr(&fuzzed, BAR + 32, 8, r->desc);
    wr(&fuzzed, BAR + 40, 8, r->avail);
    wr(&fuzzed, BAR + 48, 8, r->used);
    wr(&fuzzed, BAR + 28, 2, 1);
    wr(&fuzzed, BAR + 20, 1, 15);
    /* A vector that works. */
    wr(&fuzzed, MSIX + 16, 8, BUFFERS);
    wr(&fuzzed, MSIX + 28, 4, 0);
}

static void notify(void)
{
    wr(&fuzzed, BAR + 0x3000, 2, 0);
}

static void reset(void)
{
    hw_reset_device(&host->device, true);
    machine_settle(&fuzzed);
    assert(!pci_level);
    enable();
    assert(rd(&fuzzed, CONFIG, 4) == 0x10441af4 && rd(&fuzzed, BAR + 20, 1) == 0);
    wr(&fuzzed, CONFIG + 4, 2, 0);
}

static struct fuzz_transport transport = {
    .address = address, .set_up = set_up, .notify = notify, .reset = reset};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct hw_device *device;
    char error[256];

    fuzz_machine();
    hw_device_add_types(types);
    hw_device_add_types(virtio_pci_types);
    host = gpex_make(&fuzzed);
    device = hw_device_create(hw_device_find_type("virtio-rng-pci"), NULL);
    if (!device || hw_device_realize(device, &host->bus.bus, false, error, sizeof(error))) {
        abort();
    }
    dev = (struct test_device *)device->inner;
    dev->light = true;
    transport.device = device;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_input(&transport, data, size);
}
