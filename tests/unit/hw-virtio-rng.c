/* The entropy device in a virtio-mmio slot: bytes, limits, hostile chains. */
#include "hw/virtio/rng.h"
#include "hw/virtio/mmio.h"
#include "tests/unit/virtio-driver.h"

#define SLOT UINT64_C(0x10001000)

static struct machine m;
static struct virtio_mmio *slot;
static struct ring ring;
static char error[256];

static void set_reg(unsigned offset, uint32_t value)
{
    wr(&m, SLOT + offset, 4, value);
}

static void plug(const char *max_bytes, const char *period)
{
    struct hw_device *rng = hw_device_create(&virtio_rng_type, NULL);

    slot = (struct virtio_mmio *)hw_device_create(&virtio_mmio_type, NULL);
    slot->bus.space = &m.space;
    slot->bus.loop = m.loop;
    hw_device_realize(&slot->device, NULL, false, error, sizeof(error));
    mem_region_add(&m.system, SLOT, &slot->registers, 0);
    tap_eq(hw_device_set(rng, "max-bytes", max_bytes, error, sizeof(error)), 0, "max-bytes");
    tap_eq(hw_device_set(rng, "period", period, error, sizeof(error)), 0, "period");
    tap_eq(hw_device_set(rng, "rng", "rng0", error, sizeof(error)), 0, "rng");
    tap_eq(hw_device_realize(rng, &slot->bus.bus, false, error, sizeof(error)), 0, "plugged");
    tap_eq(rd(&m, SLOT + 8, 4), 4, "device id");
    set_reg(0x70, 3);
    set_reg(0x24, 1);
    set_reg(0x20, 1);
    set_reg(0x70, 11);
    ring_make(&ring, &m, 0, 8);
    set_reg(0x30, 0);
    set_reg(0x38, 8);
    set_reg(0x80, (uint32_t)ring.desc);
    set_reg(0x90, (uint32_t)ring.avail);
    set_reg(0xa0, (uint32_t)ring.used);
    set_reg(0x44, 1);
    set_reg(0x70, 15);
    machine_settle(&m);
}

static void notify(void)
{
    set_reg(0x50, 0);
    machine_settle(&m);
}

/* Do the bytes look random? A block of 32 equal bytes does not. */
static bool is_random(uint64_t gpa)
{
    bool differs = false;

    for (unsigned i = 1; i < 32; i++) {
        differs |= rd(&m, gpa + i, 1) != rd(&m, gpa, 1);
    }
    return differs;
}

static void test_bytes(void)
{
    plug("0x7fffffffffffffff", "65536");
    ring_desc(&ring, 0, BUFFERS, 32, WRITE | NEXT, 1);
    ring_desc(&ring, 1, BUFFERS + 0x1000, 32, WRITE, 0);
    ring_offer(&ring, 0);
    notify();
    tap_ok(ring_used_index(&ring) == 1 && ring_used_written(&ring, 0) == 64, "64 bytes");
    tap_ok(is_random(BUFFERS) && is_random(BUFFERS + 0x1000), "are random");
    tap_eq(rd(&m, BUFFERS + 32, 8), 0, "and no more than was asked for");
    ring_desc(&ring, 2, BUFFERS, 0x80000, WRITE, 0);
    ring_offer(&ring, 2);
    notify();
    tap_ok(ring_used_index(&ring) == 2 && ring_used_written(&ring, 1) == 0x10000 &&
               is_random(BUFFERS + 0xffe0),
           "a large buffer gets a part");
    ring_desc(&ring, 3, BUFFERS, 16, 0, 0);
    ring_offer(&ring, 3);
    notify();
    tap_ok(ring_used_index(&ring) == 3 && ring_used_written(&ring, 2) == 0, "nothing to write to");
    hw_device_destroy(&slot->device);
}

static void test_limit(void)
{
    plug("24", "5");
    for (unsigned i = 0; i < 4; i++) {
        ring_desc(&ring, i, BUFFERS + 0x1000 * i, 16, WRITE, 0);
        ring_offer(&ring, (uint16_t)i);
    }
    notify();
    tap_ok(ring_used_index(&ring) == 2 && ring_used_written(&ring, 0) == 16 &&
               ring_used_written(&ring, 1) == 8,
           "24 bytes in a period");
    notify();
    tap_eq(ring_used_index(&ring), 2, "and not more");
    loop_clock_set_virtual(loop_clock_now(LOOP_CLOCK_VIRTUAL) + 5000000);
    loop_clock_run(true);
    while (ring_used_index(&ring) != 4) {
        loop_iterate(m.loop, true);
    }
    loop_clock_run(false);
    tap_ok(ring_used_written(&ring, 2) == 16 && ring_used_written(&ring, 3) == 8,
           "the next period has 24 more");
    hw_device_destroy(&slot->device);
}

int main(void)
{
    machine_make(&m);
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    test_bytes();
    test_limit();
    machine_end(&m);
    return tap_done();
}
