/* virtio rings and the virtio-mmio transport under a hostile guest. */
#include "hw/virtio/mmio.h"
#include "tests/fuzz/virtio.h"

#include <stdlib.h>

#define SLOT UINT64_C(0x10001000)

static struct virtio_mmio *slot;
static bool line;

static void line_changed(void *opaque, unsigned n, bool level)
{
    line = level;
}

static struct hw_irq_input line_input = {.handler = line_changed};

static uint64_t address(uint64_t offset)
{
    return SLOT + offset % VIRTIO_MMIO_SIZE;
}

static void set_reg(unsigned offset, uint64_t value)
{
    wr(&fuzzed, SLOT + offset, 4, value & UINT32_MAX);
}

static void set_up(uint64_t features, const struct ring *r)
{
    set_reg(0x70, 0);
    set_reg(0x70, 3);
    for (unsigned word = 0; word < 2; word++) {
        set_reg(0x24, word);
        set_reg(0x20, features >> 32 * word);
    }
    set_reg(0x70, 11);
    set_reg(0x30, 0);
    set_reg(0x38, r->size);
    set_reg(0x80, r->desc);
    set_reg(0x90, r->avail);
    set_reg(0xa0, r->used);
    set_reg(0x44, 1);
    set_reg(0x70, 15);
}

static void notify(void)
{
    set_reg(0x50, 0);
}

static void reset(void)
{
    set_reg(0x70, 0);
    machine_settle(&fuzzed);
    assert(rd(&fuzzed, SLOT + 0x70, 4) == 0 && !line);
}

static struct fuzz_transport transport = {
    .address = address, .set_up = set_up, .notify = notify, .reset = reset};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char error[256];

    fuzz_machine();
    slot = (struct virtio_mmio *)hw_device_create(&virtio_mmio_type, NULL);
    slot->bus.space = &fuzzed.space;
    slot->bus.loop = fuzzed.loop;
    hw_irq_connect(&slot->irq, &line_input);
    if (hw_device_realize(&slot->device, NULL, false, error, sizeof(error)) ||
        mem_region_add(&fuzzed.system, SLOT, &slot->registers, 0)) {
        abort();
    }
    dev = test_plug(&slot->bus, NULL);
    dev->light = true;
    transport.device = &slot->device;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_input(&transport, data, size);
}
