/* The I/O APIC: its registers, edges and levels, end of interrupt, the messages and routes. */
#include "hw/intc/ioapic.h"
#include "cpu/irq.h"

#include "tests/unit/hw-bench.h"

#include <errno.h>

enum { MASKED = 1 << 16, LEVEL = 1 << 15, REMOTE = 1 << 14, LOGICAL = 1 << 11 };

static struct ioapic *ioapic;

struct record {
    unsigned sent, routes;
    struct cpu_msi msi, route;
    unsigned pin;
    bool masked, level;
};

static struct record record, copy;

static void sent(void *opaque, const struct cpu_msi *msi)
{
    struct record *r = opaque;

    r->sent++;
    r->msi = *msi;
}

static void routed(void *opaque, unsigned pin, const struct cpu_msi *msi, bool masked, bool level)
{
    struct record *r = opaque;

    r->routes++;
    r->pin = pin;
    r->route = *msi;
    r->masked = masked;
    r->level = level;
}

static void line(unsigned pin, bool level)
{
    ioapic->in[pin].handler(ioapic->in[pin].opaque, pin, level);
}

static void set(uint8_t reg, uint32_t value)
{
    bench_write(IOAPIC_BASE, 4, reg);
    bench_write(IOAPIC_BASE + 0x10, 4, value);
}

static uint32_t get(uint8_t reg)
{
    bench_write(IOAPIC_BASE, 4, reg);
    return (uint32_t)bench_read(IOAPIC_BASE + 0x10, 4);
}

static void set_entry(unsigned pin, uint32_t high, uint32_t low)
{
    set((uint8_t)(0x11 + 2 * pin), high);
    set((uint8_t)(0x10 + 2 * pin), low);
}

static uint32_t entry(unsigned pin)
{
    return get((uint8_t)(0x10 + 2 * pin));
}

/* How many messages since the last time. */
static unsigned news(void)
{
    unsigned n = record.sent;

    record.sent = 0;
    return n;
}

static void check_registers(void)
{
    tap_eq(record.routes, 24, "a reset says all routes");
    tap_eq(get(1), 0x00170020, "version");
    tap_eq(get(0), 0, "id");
    set(0, UINT32_MAX);
    tap_ok(get(0) == 0x0f000000 && get(2) == 0x0f000000, "the id, also of arbitration");
    set(0, 0);
    tap_eq(entry(23), MASKED, "entries are masked after reset");
    set_entry(5, UINT32_MAX, UINT32_MAX);
    tap_eq(entry(5), 0x1afff, "bits that are there");
    tap_eq(get(0x1b), 0xfffe0000, "of the upper half");
    set_entry(5, 0, MASKED);
    set(1, 5);
    set(2, 5);
    set(0x40, 5);
    tap_ok(get(1) == 0x00170020 && !get(0x40) && !get(0xff), "others take nothing");
    bench_write(IOAPIC_BASE, 1, 0x10);
    tap_eq(bench_read(IOAPIC_BASE, 4), 0x10, "the index has a byte");
    bench_write(IOAPIC_BASE + 0x10, 2, 0);
    bench_write(IOAPIC_BASE + 0x10, 1, 0);
    bench_write(IOAPIC_BASE + 0x14, 4, 0);
    tap_eq(entry(0), MASKED, "the window takes words only");
    for (unsigned offset = 0; offset < IOAPIC_SIZE; offset += 8) {
        bench_write(IOAPIC_BASE + offset, 8, UINT64_MAX);
        bench_read(IOAPIC_BASE + offset, 8);
        bench_write(IOAPIC_BASE + offset + 3, 1, 0x55);
        bench_read(IOAPIC_BASE + offset + 6, 2);
    }
    tap_ok(!news(), "accesses of any size at any place");
}

static void check_edge(void)
{
    line(4, true);
    set_entry(4, 0x03000000, 0x0931);
    tap_eq(news(), 0, "an edge while masked is lost");
    line(4, false);
    line(4, true);
    tap_eq(news(), 1, "an edge is sent");
    tap_eq(record.msi.address, 0xfee03000 | 1 << 2, "destination and its mode");
    tap_eq(record.msi.data, 0x0131, "vector and delivery mode");
    line(4, true);
    tap_eq(news(), 0, "once");
    ioapic_eoi(ioapic, 0x31);
    tap_eq(news(), 0, "its EOI is nobody's business");
    tap_eq(entry(4), 0x0931, "nor has it a remote IRR");
    line(4, false);
    set_entry(4, 0xff020000, 0x0400 | LEVEL);
    line(4, true);
    tap_ok(news() == 1 && record.msi.data == 0x0400 && !(entry(4) & REMOTE),
           "NMI is an edge, whatever is said");
    tap_eq(record.msi.address, 0xfeeff020, "an extended destination");
    line(4, false);
    set_entry(4, 0, MASKED);
}

static void check_level(void)
{
    set_entry(9, 0x01000000, 0x55 | LEVEL | LOGICAL);
    line(9, true);
    tap_ok(news() == 1 && record.msi.data == (0x55 | 1u << 15 | 1u << 14) &&
               record.msi.address == (0xfee01000 | 1 << 2),
           "a level is sent");
    tap_eq(entry(9), 0x55 | LEVEL | LOGICAL | REMOTE, "and has its remote IRR set");
    line(9, false);
    line(9, true);
    tap_eq(news(), 0, "nothing more before the EOI");
    ioapic_eoi(ioapic, 0x54);
    tap_eq(news(), 0, "of another vector");
    ioapic_eoi(ioapic, 0x55);
    tap_eq(news(), 1, "the line is active still: once more");
    tap_ok(entry(9) & REMOTE, "under way again");
    line(9, false);
    bench_write(IOAPIC_BASE + 0x40, 4, 0x55);
    tap_ok(!news() && !(entry(9) & REMOTE), "ended by the EOI register");
    set_entry(9, 0, 0x55 | LEVEL | MASKED);
    line(9, true);
    tap_eq(news(), 0, "masked");
    set_entry(9, 0, 0x55 | LEVEL);
    tap_eq(news(), 1, "and sent when unmasked");
    set_entry(9, 0, 0x55 | LEVEL | MASKED);
    ioapic_eoi(ioapic, 0x55);
    tap_ok(!news() && !(entry(9) & REMOTE), "an EOI while masked");
    set_entry(9, 0, 0x55 | LEVEL);
    tap_eq(news(), 1, "sent at the unmask");
    set_entry(9, 0, 0x55 | MASKED);
    set_entry(9, 0, 0x55 | LEVEL | MASKED);
    tap_ok(!(entry(9) & REMOTE), "going through edge mode is an EOI");
    set_entry(10, 0, 0x55 | LEVEL);
    line(10, true);
    set_entry(9, 0, 0x55 | LEVEL);
    tap_eq(news(), 2, "two pins of one vector");
    line(9, false);
    ioapic_eoi(ioapic, 0x55);
    tap_ok(news() == 1 && !(entry(9) & REMOTE) && entry(10) & REMOTE, "end together");
    line(10, false);
    ioapic_eoi(ioapic, 0x55);
    set_entry(10, 0, MASKED);
    set_entry(9, 0, MASKED);
    news();
}

static void check_routes(void)
{
    record.routes = 0;
    set_entry(11, 0x02000000, 0x61 | LEVEL | 1 << 8);
    tap_eq(record.routes, 2, "each half that changes is told");
    tap_ok(record.pin == 11 && !record.masked && record.level &&
               record.route.address == 0xfee02000 && record.route.data == 0xc161,
           "with what would be sent");
    set_entry(11, 0x02000000, 0x61 | LEVEL | 1 << 8);
    tap_eq(record.routes, 2, "what is the same is not");
    set_entry(11, 0x02000000, MASKED);
    tap_ok(record.routes == 3 && record.masked && !record.level, "masked");
    news();
}

static void check_life(void)
{
    struct ioapic *other = bench_create(&ioapic_type, "version=17");
    struct ioapic *refused = bench_create(&ioapic_type, "version=18");
    char error[256];

    tap_eq(hw_device_realize(&refused->device, NULL, false, error, sizeof(error)), -EINVAL,
           "versions that are none");
    tap_str(error, "ioapic: version=0x12: expected 0x11 or 0x20", "are named");
    other->opaque = &copy;
    other->send = sent;
    other->route_changed = routed;
    bench_realize(other);
    set_entry(7, 0, 0x71 | LEVEL);
    line(7, true);
    set(0, 0x05000000);
    copy.routes = 0;
    tap_eq(bench_move(ioapic_type.state, ioapic, other), 0, "state moves");
    tap_ok(copy.routes == 24 && !copy.sent, "with its routes");
    mem_region_remove(&ioapic->mmio);
    bench_put(IOAPIC_BASE, &other->mmio);
    tap_eq(get(1), 0x00170011, "an 82093AA");
    tap_eq(get(0), 0x05000000, "id");
    bench_write(IOAPIC_BASE + 0x40, 4, 0x71);
    tap_ok(entry(7) & REMOTE, "which has no EOI register");
    ioapic_eoi(other, 0x71);
    tap_eq(copy.sent, 1, "the line is known to be active");
    ioapic->redirection[3] = REMOTE;
    tap_eq(bench_move(ioapic_type.state, ioapic, other), -EINVAL, "an impossible state is refused");
    hw_reset_device(&other->device, false);
    tap_ok(entry(7) == MASKED && !get(0), "reset");
    set_entry(7, 0, 0x72 | LEVEL);
    tap_eq(copy.sent, 2, "lines outlive it");
    mem_region_remove(&other->mmio);
    hw_device_destroy(&ioapic->device);
    hw_device_destroy(&other->device);
    hw_device_destroy(&refused->device);
}

int main(void)
{
    bench_init();
    hw_lock_acquire();
    ioapic = bench_create(&ioapic_type, "");
    ioapic->opaque = &record;
    ioapic->send = sent;
    ioapic->route_changed = routed;
    bench_realize(ioapic);
    bench_put(IOAPIC_BASE, &ioapic->mmio);
    check_registers();
    check_edge();
    check_level();
    check_routes();
    check_life();
    hw_lock_release();
    return tap_done();
}
