/* Writes that signal a descriptor, and writes that are told late. */
#include "tests/unit/kvm-bench.h"

#include <errno.h>
#include <sys/eventfd.h>

/* ---- a device that writes down what it gets ---- */

static struct {
    struct mem_region region;
    unsigned count;
    uint64_t order; /* changes with the order of writes */
} dev;

static int dev_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                    struct mem_attrs attrs)
{
    *value = dev.count;
    return 0;
}

static int dev_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                     struct mem_attrs attrs)
{
    dev.count++;
    dev.order = dev.order * 31 + value + (offset << 8) + ((uint64_t)size << 20);
    return 0;
}

static const struct mem_ops little = {.read = dev_read, .write = dev_write, .unaligned = true};
static const struct mem_ops big = {
    .read = dev_read, .write = dev_write, .unaligned = true, .endian = MEM_BIG};

static void put(const struct mem_ops *ops, struct mem_region *where, uint64_t at)
{
    memset(&dev, 0, sizeof(dev));
    mem_region_init_mmio(&dev.region, "dev", 0x1000, ops, NULL, &bench_owner);
    mem_region_add(where, at, &dev.region, 1);
}

/* ---- descriptors ---- */

/* How often it was signalled since the last time. */
static unsigned signals(int fd)
{
    uint64_t count = 0;

    return read(fd, &count, sizeof(count)) == sizeof(count) ? (unsigned)count : 0;
}

/* Exits for devices so far. */
static uint64_t exits(void)
{
    return BENCH_COUNT(0, mmio) + BENCH_COUNT(0, port);
}

static bool guest_write(bool port, unsigned offset, unsigned size, uint32_t value)
{
    return port ? bench_out((uint16_t)(0x2000 + offset), size, value)
                : bench_poke(0xd0000 + offset, size, value);
}

static void check_descriptors(bool port)
{
    const char *what = port ? "ports" : "memory";
    struct mem_eventfd any = {.offset = 0x10, .size = 4}, match, other;
    int fd[3];
    uint64_t before;

    for (unsigned n = 0; n < 3; n++) {
        fd[n] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    put(&little, port ? &bench.io_root : &bench.root, port ? 0x2000 : 0xd0000);
    any.fd = fd[0];
    match =
        (struct mem_eventfd){.offset = 0x20, .size = 2, .match = true, .data = 0x1234, .fd = fd[1]};
    other =
        (struct mem_eventfd){.offset = 0x20, .size = 2, .match = true, .data = 0x1235, .fd = fd[2]};
    mem_region_add_eventfd(&dev.region, &any);
    mem_region_add_eventfd(&dev.region, &match);
    mem_region_add_eventfd(&dev.region, &other);
    before = exits();
    guest_write(port, 0x10, 4, 77);
    guest_write(port, 0x10, 4, 78);
    guest_write(port, 0x20, 2, 0x1234);
    guest_write(port, 0x20, 2, 0x1235);
    tap_ok(signals(fd[0]) == 2 && signals(fd[1]) == 1 && signals(fd[2]) == 1,
           "%s: descriptors are signalled, by any value and by theirs", what);
    tap_ok(!dev.count && exits() == before, "without an exit");
    guest_write(port, 0x10, 2, 77);
    guest_write(port, 0x20, 2, 0x1236);
    guest_write(port, 0x20, 4, 0x1234);
    tap_ok(dev.count == 3 && !signals(fd[0]) && !signals(fd[1]) && !signals(fd[2]),
           "other sizes and values are the device's");
    mem_region_move(&dev.region, port ? 0x3000 : 0xe0000);
    guest_write(port, 0x10, 4, 77);
    tap_ok(!signals(fd[0]), "it has moved");
    before = exits();
    guest_write(port, 0x10 + (port ? 0x1000 : 0x10000), 4, 77);
    tap_ok(signals(fd[0]) == 1 && exits() == before, "and its descriptors with it");
    mem_region_remove_eventfd(&dev.region, &any);
    mem_region_remove_eventfd(&dev.region, &match);
    dev.count = 0;
    guest_write(port, 0x10 + (port ? 0x1000 : 0x10000), 4, 77);
    guest_write(port, 0x20 + (port ? 0x1000 : 0x10000), 2, 0x1234);
    guest_write(port, 0x20 + (port ? 0x1000 : 0x10000), 2, 0x1235);
    tap_ok(dev.count == 2 && !signals(fd[0]) && !signals(fd[1]) && signals(fd[2]) == 1,
           "without them the device is told");
    mem_region_remove_eventfd(&dev.region, &other);
    mem_region_remove(&dev.region);
    for (unsigned n = 0; n < 3; n++) {
        close(fd[n]);
    }
}

static void check_special_descriptors(void)
{
    struct mem_eventfd any = {.offset = 0x10}, match, two = {.offset = 0x10, .size = 2};
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint64_t before = exits();

    put(&big, &bench.root, 0xd0000);
    any.fd = two.fd = fd;
    match = (struct mem_eventfd){.offset = 0x20, .size = 4, .match = true, .data = 0x01020304};
    match.fd = fd;
    mem_region_add_eventfd(&dev.region, &any);
    mem_region_add_eventfd(&dev.region, &match);
    bench_poke(0xd0010, 1, 1);
    bench_poke(0xd0010, 2, 1);
    bench_poke(0xd0010, 4, 1);
    tap_ok(signals(fd) == 3 && !dev.count && exits() == before, "a descriptor of any size");
    bench_poke(0xd0020, 4, 0x04030201);
    tap_ok(signals(fd) == 1 && exits() == before, "the value is as a big-endian device has it");
    bench_poke(0xd0020, 4, 0x01020304);
    tap_ok(signals(fd) == 0 && dev.count == 1, "and not as the processor has it");
    mem_region_remove_eventfd(&dev.region, &match);
    match = (struct mem_eventfd){.offset = 0x30, .match = true, .data = 5, .fd = fd};
    mem_region_add_eventfd(&dev.region, &match);
    mem_region_add_eventfd(&dev.region, &two); /* overlaps `any`: the kernel may refuse it */
    bench_poke(0xd0030, 1, 5);
    bench_poke(0xd0010, 2, 1);
    tap_eq(signals(fd), 2, "what the kernel does not take is signalled after an exit");
    mem_region_remove_eventfd(&dev.region, &any);
    mem_region_remove_eventfd(&dev.region, &two);
    mem_region_remove_eventfd(&dev.region, &match);
    mem_region_remove(&dev.region);
    close(fd);
}

/* ---- writes that may come late ---- */

static void deliver(void)
{
    bench_acquire();
    mem_access_deliver();
    bench_release();
}

/* So many writes, with numbers from `from` on. */
static void guest_writes(bool port, unsigned from, unsigned count)
{
    for (unsigned n = from; n < from + count; n++) {
        guest_write(port, n % 64 * 4, n & 1 ? 4 : 2, n);
    }
}

static uint64_t order_of(unsigned count)
{
    uint64_t order = 0;

    for (unsigned n = 0; n < count; n++) {
        order = order * 31 + n + (n % 64 * 4 << 8) + ((uint64_t)(n & 1 ? 4 : 2) << 20);
    }
    return order;
}

static void check_late_writes(bool port)
{
    const char *what = port ? "ports" : "memory";
    uint64_t before = exits();

    put(&little, port ? &bench.io_root : &bench.root, port ? 0x2000 : 0xd0000);
    mem_region_set_coalesced(&dev.region, true);
    guest_writes(port, 0, 100);
    tap_ok(!dev.count && exits() == before, "%s: coalesced writes wait", what);
    deliver();
    tap_ok(dev.count == 100 && dev.order == order_of(100), "and are delivered in order");
    guest_writes(port, 100, 20);
    if (port) {
        bench_in(0x2000);
    } else {
        bench_peek(0xd0000);
    }
    tap_ok(dev.count == 120 && exits() - before == 1, "and before an access that does not wait");
    guest_writes(port, 120, 400);
    tap_ok(dev.count > 120 && dev.count < 520, "and when there are too many");
    deliver();
    tap_ok(dev.count == 520 && dev.order == order_of(520), "still in order");
    guest_writes(port, 520, 10);
    vcpu_pause_all(NULL, NULL);
    tap_eq(dev.count, 530, "and when the VM is paused");
    vcpu_resume_all();
    before = exits();
    mem_region_set_coalesced(&dev.region, false);
    guest_writes(port, 530, 10);
    tap_ok(exits() - before == 10 && dev.count == 540 && dev.order == order_of(540),
           "without the flag each is told");
    mem_region_set_coalesced(&dev.region, true);
    guest_writes(port, 540, 10);
    mem_region_remove(&dev.region);
    dev.count = 0;
    deliver();
    tap_eq(dev.count, 0, "those to what has gone go nowhere");
}

/* A device that asks for what waits, in the middle of a delivery. */
static int asking_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    mem_access_deliver();
    return dev_write(opaque, offset, size, value, attrs);
}

static void check_nested_delivery(void)
{
    static const struct mem_ops ops = {.write = asking_write};

    put(&ops, &bench.root, 0xd0000);
    mem_region_set_coalesced(&dev.region, true);
    guest_writes(false, 0, 50);
    deliver();
    tap_ok(dev.count == 50 && dev.order == order_of(50), "a device that asks while it is told");
    mem_region_remove(&dev.region);
}

int main(void)
{
    alarm(240);
    if (bench_open_listener("kernel-irqchip=off")) {
        check_descriptors(false);
        check_descriptors(true);
        check_special_descriptors();
        check_late_writes(false);
        check_late_writes(true);
        check_nested_delivery();
        bench_close();
    }
    if (bench_open_listener("kernel-irqchip=off,coalesced-mmio=off")) {
        put(&little, &bench.root, 0xd0000);
        mem_region_set_coalesced(&dev.region, true);
        guest_writes(false, 0, 10);
        tap_eq(dev.count, 10, "coalesced-mmio=off: no write waits");
        mem_region_remove(&dev.region);
        bench_close();
    }
    return tap_done();
}
