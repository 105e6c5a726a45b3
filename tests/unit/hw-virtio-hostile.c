/*
 * A driver that does everything wrong: each breaks the device, which says so, and works again after
 * a reset.
 */
#include "tests/unit/virtio-mmio-driver.h"

/* Expects that the device needs a reset, says so, and works after one. */
static void expect_broken(const char *what)
{
    unsigned popped = dev->popped;

    notify();
    tap_ok(reg(0x70) == (15 | 64) && reg(0x60) & 2 && line, "%s", what);
    offer_pair(0, 1, 1);
    notify();
    tap_eq(dev->popped, popped, "a broken device takes nothing");
    drive(F_BASE | F_INDIR, 8);
    offer_pair(0, 1, 1);
    notify();
    tap_eq(ring_used_index(&ring), 1, "it works after a reset");
}

static void ring_at(uint64_t desc, uint64_t avail, uint64_t used, const char *what)
{
    negotiate(F_BASE);
    ring_make(&ring, &m, 0, 8);
    ring.desc = desc ? desc : ring.desc;
    ring.avail = avail ? avail : ring.avail;
    ring.used = used ? used : ring.used;
    set_queue(0, &ring);
    set_reg(0x70, 15);
    machine_settle(&m);
    expect_broken(what);
}

static void test_hostile_rings(void)
{
    uint64_t end = RAM_BASE + RAM_SIZE;

    ring_at(0x1000, 0, 0, "descriptors outside of RAM");
    ring_at(0, end - 4, 0, "an available ring over the end of RAM");
    ring_at(0, 0, end - 16, "a used ring over the end of RAM");
    ring_at(SLOT, 0, 0, "descriptors in the device's own registers");
    ring_at(RAM_BASE + 8, 0, 0, "descriptors that are not aligned");
    ring_at(0, RAM_BASE + 0x8001, 0, "an available ring that is not aligned");
    ring_at(0, 0, RAM_BASE + 0xa002, "a used ring that is not aligned");
    ring_at(UINT64_MAX - 15, 0, 0, "descriptors at the end of the address space");

    drive(F_BASE, 8);
    wr(&m, ring.avail + 2, 2, 9);
    expect_broken("an index that jumps by more than the size");
    drive(F_BASE, 8);
    wr(&m, ring.avail + 2, 2, 0xffff);
    expect_broken("an index that goes back");
    drive(F_BASE, 8);
    ring_offer(&ring, 8);
    expect_broken("a head outside of the table");
    drive(F_BASE, 8);
    dev->hold = true;
    for (unsigned i = 0; i < 9; i++) {
        offer_pair(0, 1, 1);
        notify();
    }
    dev->hold = false;
    expect_broken("more chains than descriptors");
}

static void test_hostile_chains(void)
{
    uint64_t table = BUFFERS + 0x10000;

    drive(F_BASE | F_INDIR, 8);
    ring_desc(&ring, 0, BUFFERS, 1, NEXT, 1);
    ring_desc(&ring, 1, BUFFERS, 1, NEXT, 0);
    ring_offer(&ring, 0);
    expect_broken("a loop");
    ring_desc(&ring, 0, BUFFERS, 1, NEXT, 8);
    ring_offer(&ring, 0);
    expect_broken("next is outside of the table");
    ring_desc(&ring, 0, BUFFERS, 0, 0, 0);
    ring_offer(&ring, 0);
    expect_broken("an empty descriptor");
    ring_desc(&ring, 0, BUFFERS, 1, NEXT | WRITE, 1);
    ring_desc(&ring, 1, BUFFERS, 1, 0, 0);
    ring_offer(&ring, 0);
    expect_broken("read behind write");
    ring_desc(&ring, 0, RAM_BASE - 1, 2, 0, 0);
    ring_offer(&ring, 0);
    expect_broken("a buffer that begins outside of RAM");
    ring_desc(&ring, 0, RAM_BASE + RAM_SIZE - 1, 2, 0, 0);
    ring_offer(&ring, 0);
    expect_broken("a buffer that ends outside of RAM");
    ring_desc(&ring, 0, BUFFERS, UINT32_MAX, WRITE, 0);
    ring_offer(&ring, 0);
    expect_broken("a buffer larger than RAM");
    ring_desc(&ring, 0, UINT64_MAX, 1, WRITE, 0);
    ring_offer(&ring, 0);
    expect_broken("a buffer at the end of the address space");
    ring_desc(&ring, 0, SLOT + 0x100, 4, WRITE, 0);
    ring_offer(&ring, 0);
    expect_broken("a buffer in the device's own registers");

    ring_desc(&ring, 0, table, 16, INDIRECT | NEXT, 1);
    ring_offer(&ring, 0);
    expect_broken("an indirect descriptor with next");
    ring_desc(&ring, 0, table, 24, INDIRECT, 0);
    ring_offer(&ring, 0);
    expect_broken("half a descriptor in a table");
    ring_desc(&ring, 0, table, 0, INDIRECT, 0);
    ring_offer(&ring, 0);
    expect_broken("an empty table");
    ring_desc(&ring, 0, RAM_BASE + RAM_SIZE - 16, 32, INDIRECT, 0);
    ring_offer(&ring, 0);
    expect_broken("a table over the end of RAM");
    ring_desc(&ring, 0, table, 32, INDIRECT, 0);
    ring_write_desc(&m, table, 0, table, 16, INDIRECT, 0);
    ring_offer(&ring, 0);
    expect_broken("an indirect table in an indirect table");
    ring_write_desc(&m, table, 0, BUFFERS, 1, NEXT, 2);
    ring_desc(&ring, 0, table, 32, INDIRECT, 0);
    ring_offer(&ring, 0);
    expect_broken("next is outside of an indirect table");
    ring_write_desc(&m, table, 0, BUFFERS, 1, NEXT, 0);
    ring_desc(&ring, 0, table, 32, INDIRECT, 0);
    ring_offer(&ring, 0);
    expect_broken("a loop in an indirect table");
    for (unsigned i = 0; i < VIRTIO_MAX_PIECES + 1; i++) {
        ring_write_desc(&m, table, i, BUFFERS, 1, i < VIRTIO_MAX_PIECES ? NEXT : 0,
                        (uint16_t)(i + 1));
    }
    ring_desc(&ring, 0, table, 16 * (VIRTIO_MAX_PIECES + 1), INDIRECT, 0);
    ring_offer(&ring, 0);
    expect_broken("more pieces than may be");
    ring_desc(&ring, 0, table + 16, 16 * VIRTIO_MAX_PIECES, INDIRECT, 0);
    for (unsigned i = 1; i < VIRTIO_MAX_PIECES + 1; i++) {
        wr(&m, table + 16 * i + 14, 2, i);
    }
    ring_offer(&ring, 0);
    notify();
    tap_eq(ring_used_index(&ring), 2, "as many pieces as may be");

    drive(F_BASE, 8);
    ring_desc(&ring, 0, table + 16, 16, INDIRECT, 0);
    ring_offer(&ring, 0);
    expect_broken("an indirect descriptor that was not negotiated");

    /* The areas of a ring may overlap with buffers, and with each other. */
    drive(F_BASE, 8);
    ring_desc(&ring, 0, ring.desc, 0x8000, NEXT, 1);
    ring_desc(&ring, 1, ring.avail, 0x3000, WRITE, 0);
    ring_offer(&ring, 0);
    notify();
    tap_ok(true, "the ring as a buffer");
    set_reg(0x70, 0);
    machine_settle(&m);
    tap_eq(reg(0x70), 0, "the device can be reset");
}

int main(void)
{
    machine_make(&m);
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    slot_make(NULL);
    test_hostile_rings();
    test_hostile_chains();
    slot_end();
    machine_end(&m);
    return tap_done();
}
