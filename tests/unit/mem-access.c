/* Checked access: bounds, registers of every kind, event descriptors, atomics, mappings, marks. */
#include "mem/access.h"
#include "mem/dirty.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RAM_AT    0x10000
#define ROM_AT    0x20000
#define LITTLE_AT 0x30000
#define BIG_AT    0x31000
#define STRICT_AT 0x32000
#define SELF_AT   0x33000
#define FLASH_AT  0x40000
#define TOP_AT    (UINT64_MAX - MEM_PAGE_SIZE + 1)

/* A device that keeps bytes and a log of its accesses. */
struct device {
    struct mem_owner owner;
    struct mem_region region;
    uint8_t bytes[64];
    char log[256];
    unsigned locks;
    int fail; /* what callbacks return */
};

static struct mem_space space;
static struct mem_region root, ram_region, rom_region, flash_region, top_region;
static struct mem_ram *ram, *rom;
static struct device little, big, strict, self, flash;

static void device_log(struct device *d, char what, uint64_t offset, unsigned size)
{
    size_t n = strlen(d->log);

    snprintf(d->log + n, sizeof(d->log) - n, "%c%u@%llu ", what, size, (unsigned long long)offset);
}

static int device_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                       struct mem_attrs attrs)
{
    struct device *d = opaque;

    device_log(d, 'r', offset, size);
    *value = ~UINT64_C(0); /* bits above the size must not matter */
    memcpy(value, d->bytes + offset, size);
    if (d == &big) {
        *value = 0x1122334455667788 >> (64 - 8 * size);
    }
    return d->fail;
}

static int device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    struct device *d = opaque;

    device_log(d, 'w', offset, size);
    if (size < 8 && value >> (8 * size)) {
        device_log(d, '!', offset, size);
    }
    memcpy(d->bytes + offset, &value, size);
    return d->fail;
}

/* Does DMA into its own registers, and into another device's. */
static int self_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    uint32_t word = 7;
    int err = mem_access_store(&space, mem_gpa(LITTLE_AT), 4, 5, attrs);

    return err ? err : mem_access_write(&space, mem_gpa(SELF_AT), &word, 4, attrs);
}

static void device_lock(struct mem_owner *owner)
{
    ((struct device *)owner)->locks++;
}

static void device_unlock(struct mem_owner *owner)
{
    ((struct device *)owner)->locks += 100;
}

static const struct mem_ops little_ops = {
    .read = device_read, .write = device_write, .max_size = 4, .split = true};
static const struct mem_ops big_ops = {
    .read = device_read, .write = device_write, .endian = MEM_BIG};
static const struct mem_ops strict_ops = {
    .read = device_read, .write = device_write, .min_size = 4, .max_size = 4};
static const struct mem_ops self_ops = {.write = self_write};

static void add_device(struct device *d, const char *name, uint64_t at, const struct mem_ops *ops)
{
    d->owner = (struct mem_owner){.name = name, .lock = device_lock, .unlock = device_unlock};
    mem_region_init_mmio(&d->region, name, sizeof(d->bytes), ops, d, &d->owner);
    mem_region_add(&root, at, &d->region, 0);
}

static bool build(void)
{
    char error[256] = "";
    struct mem_ram_config ram_config = {.name = "ram", .size = 8 * MEM_PAGE_SIZE};
    struct mem_ram_config rom_config = {.name = "rom", .size = 2 * MEM_PAGE_SIZE};

    if (mem_ram_create(&ram, &ram_config, error, sizeof(error)) ||
        mem_ram_create(&rom, &rom_config, error, sizeof(error))) {
        tap_ok(false, "RAM blocks can be made");
        tap_note("%s", error);
        return false;
    }
    mem_region_begin();
    mem_region_init_container(&root, "root", MEM_SIZE_ALL);
    mem_space_init(&space, "memory", &root);
    mem_region_init_ram(&ram_region, "ram", ram, 0, 4 * MEM_PAGE_SIZE, false);
    mem_region_init_ram(&rom_region, "rom", rom, 0, MEM_PAGE_SIZE, true);
    mem_region_init_ram(&top_region, "top", ram, 4 * MEM_PAGE_SIZE, MEM_PAGE_SIZE, false);
    mem_region_init_rom_device(&flash_region, "flash", rom, MEM_PAGE_SIZE, MEM_PAGE_SIZE,
                               &little_ops, &flash, NULL);
    mem_region_add(&root, RAM_AT, &ram_region, 0);
    mem_region_add(&root, ROM_AT, &rom_region, 0);
    mem_region_add(&root, FLASH_AT, &flash_region, 0);
    mem_region_add(&root, TOP_AT, &top_region, 0);
    add_device(&little, "little", LITTLE_AT, &little_ops);
    add_device(&big, "big", BIG_AT, &big_ops);
    add_device(&strict, "strict", STRICT_AT, &strict_ops);
    add_device(&self, "self", SELF_AT, &self_ops);
    mem_region_commit();
    return true;
}

static int load(uint64_t at, unsigned size, uint64_t *value)
{
    return mem_access_load(&space, mem_gpa(at), size, value, MEM_ATTRS_NONE);
}

static int store(uint64_t at, unsigned size, uint64_t value)
{
    return mem_access_store(&space, mem_gpa(at), size, value, MEM_ATTRS_NONE);
}

static int rd(uint64_t at, void *to, uint64_t size)
{
    return mem_access_read(&space, mem_gpa(at), to, size, MEM_ATTRS_NONE);
}

static int wr(uint64_t at, const void *from, uint64_t size)
{
    return mem_access_write(&space, mem_gpa(at), from, size, MEM_ATTRS_NONE);
}

static void check_ram(void)
{
    uint8_t bytes[32] = "abcdefghijklmnopqrstuvwxyz", back[32] = {0};
    uint64_t value = 0, end = RAM_AT + 4 * MEM_PAGE_SIZE;

    tap_eq(wr(RAM_AT + 5, bytes, 26), 0, "RAM is written");
    tap_ok(!rd(RAM_AT + 5, back, 26) && !memcmp(bytes, back, 26), "and read back");
    tap_ok(!load(RAM_AT + 5, 4, &value) && value == 0x64636261, "loads are little-endian");
    tap_ok(!store(RAM_AT + 3, 8, 0x1122334455667788) && !load(RAM_AT + 3, 8, &value) &&
               value == 0x1122334455667788,
           "unaligned accesses work");
    tap_eq(load(RAM_AT, 3, &value), -EINVAL, "three bytes are no access");
    tap_eq(load(end, 1, &value), -ENXIO, "behind RAM there is nothing");
    tap_eq(load(end - 4, 8, &value), -ENXIO, "nor for the second half of a load");
    tap_eq(load(RAM_AT - 1, 2, &value), -ENXIO, "nor for the first half");
    tap_eq(wr(end - 8, bytes, 16), -ENXIO, "nor for the end of a copy");
    tap_ok(!rd(end - 8, back, 8) && !memcmp(back, bytes, 8), "whose beginning was written");
    tap_eq(rd(RAM_AT, back, 0), 0, "an empty copy reaches nothing");
    tap_eq(rd(0, back, 0), 0, "wherever it is");
    tap_eq(store(TOP_AT + MEM_PAGE_SIZE - 8, 8, 77), 0, "the last bytes of the space");
    tap_eq(store(TOP_AT + MEM_PAGE_SIZE - 4, 8, 77), -ENXIO, "nothing wraps: a store");
    tap_eq(rd(TOP_AT + MEM_PAGE_SIZE - 4, back, 8), -ENXIO, "nothing wraps: a copy");
    tap_eq(rd(0, back, UINT64_MAX), -ENXIO, "a size of 2^64 - 1 is refused");
}

static void check_rom(void)
{
    uint64_t value = 0;

    tap_eq(store(ROM_AT, 4, 1), -EACCES, "ROM is not written by stores");
    tap_eq(wr(ROM_AT, &value, 8), -EACCES, "nor by copies");
    value = 0xfeedface;
    tap_eq(mem_access_write_rom(&space, mem_gpa(ROM_AT), &value, 8), 0, "a loader writes it");
    tap_ok(!load(ROM_AT, 8, &value) && value == 0xfeedface, "and it reads");
    tap_eq(mem_access_write_rom(&space, mem_gpa(LITTLE_AT), &value, 4), -EIO,
           "a loader does not write registers");

    mem_access_write_rom(&space, mem_gpa(FLASH_AT), &value, 8);
    tap_ok(!load(FLASH_AT, 4, &value) && value == 0xfeedface && !flash.log[0],
           "a ROM device reads directly");
    store(FLASH_AT + 4, 4, 0x90);
    tap_str(flash.log, "w4@4 ", "and is written by its callback");
    mem_region_set_rom_mode(&flash_region, false);
    tap_ok(!load(FLASH_AT + 4, 4, &value) && value == 0x90, "out of ROM mode it reads by it too");
    mem_region_set_rom_mode(&flash_region, true);
    tap_ok(!load(FLASH_AT, 4, &value) && value == 0xfeedface, "and back again");
}

static void check_devices(void)
{
    uint64_t value = 0;
    uint8_t bytes[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, back[16] = {0};

    tap_eq(store(LITTLE_AT + 8, 8, 0x1122334455667788), 0, "a wide store is split");
    tap_ok(!load(LITTLE_AT + 8, 8, &value) && value == 0x1122334455667788, "and read again");
    tap_str(little.log, "w4@8 w4@12 r4@8 r4@12 ", "low offset first");
    tap_eq(little.locks, 202, "the owner's lock is held once for each access");
    little.log[0] = 0;
    tap_eq(load(LITTLE_AT + 2, 4, &value), -EINVAL, "an unaligned access is refused");
    tap_eq(load(LITTLE_AT + 62, 8, &value), -ENXIO, "behind the region there is nothing");
    little.log[0] = 0;
    tap_eq(wr(LITTLE_AT + 1, bytes, 12), 0, "a copy to registers");
    tap_str(little.log, "w1@1 w2@2 w4@4 w4@8 w1@12 ", "becomes the widest aligned accesses");
    tap_ok(!rd(LITTLE_AT + 1, back, 12) && !memcmp(back, bytes, 12), "and reads back");
    little.fail = -EIO;
    tap_eq(load(LITTLE_AT, 4, &value), -EIO, "a device may refuse");
    little.fail = 0;

    tap_ok(!load(BIG_AT, 4, &value) && value == 0x44332211,
           "a big-endian device's value is swapped");
    tap_ok(!load(BIG_AT, 8, &value) && value == 0x8877665544332211, "at every size");
    big.log[0] = 0;
    tap_eq(store(BIG_AT + 4, 2, 0x1234), 0, "a store to it");
    tap_ok(big.bytes[4] == 0x12 && big.bytes[5] == 0x34, "is swapped as well");
    tap_str(big.log, "w2@4 ", "with no bits above the size");

    tap_eq(load(STRICT_AT, 2, &value), -EINVAL, "too narrow an access is refused");
    tap_eq(load(STRICT_AT, 8, &value), -EINVAL, "too wide a one too");
    tap_eq(load(STRICT_AT, 4, &value), 0, "the right one is not");
    tap_eq(rd(STRICT_AT, back, 6), -EINVAL, "a copy that ends in half a register is refused");
    tap_str(strict.log, "r4@0 r4@0 ", "after the whole ones");

    tap_eq(load(SELF_AT, 4, &value), -EIO, "a register without a read callback");
    tap_eq(store(SELF_AT, 4, 1), -EBUSY, "a device may not reach itself");
    tap_eq(little.bytes[0], 5, "but another");
    tap_eq(self.owner.thread, 0, "and is free afterwards");
    tap_ok(mem_access_owner_enter(&little.owner), "a device may say that it does DMA");
    tap_eq(load(LITTLE_AT, 4, &value), -EBUSY, "then it may not reach itself either");
    mem_access_owner_leave(&little.owner);
    tap_eq(load(LITTLE_AT, 4, &value), 0, "afterwards it is reached");

    /* Half RAM, half device: bytes. */
    mem_region_move(&strict.region, RAM_AT + 4 * MEM_PAGE_SIZE);
    mem_region_move(&little.region, RAM_AT + 4 * MEM_PAGE_SIZE - 64);
    mem_region_remove(&little.region);
    mem_region_add(&root, RAM_AT + 4 * MEM_PAGE_SIZE - 64, &little.region, 1);
    little.bytes[0] = 0xee;
    little.log[0] = 0;
    store(RAM_AT + 4 * MEM_PAGE_SIZE - 65, 1, 0xdd);
    tap_ok(!load(RAM_AT + 4 * MEM_PAGE_SIZE - 65, 2, &value) && value == 0xeedd,
           "a load over a border is made of bytes");
    tap_str(little.log, "r1@0 ", "and reaches the device");
    mem_region_remove(&little.region);
    mem_region_add(&root, LITTLE_AT, &little.region, 0);
    mem_region_move(&strict.region, STRICT_AT);
}

static uint64_t signalled(int fd)
{
    uint64_t n = 0;

    return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void check_eventfds(void)
{
    int any = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), five = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct mem_eventfd e_any = {.offset = 16, .fd = any};
    struct mem_eventfd e_five = {.offset = 16, .size = 2, .match = true, .data = 5, .fd = five};

    tap_eq(mem_region_add_eventfd(&little.region, &e_five), 0, "an event descriptor for a value");
    tap_eq(mem_region_add_eventfd(&little.region, &e_five), -EEXIST, "but once");
    little.log[0] = 0;
    store(LITTLE_AT + 16, 2, 5);
    store(LITTLE_AT + 16, 2, 5);
    tap_eq(signalled(five), 2, "is signalled by that value");
    tap_str(little.log, "", "without the callback");
    store(LITTLE_AT + 16, 2, 6);
    store(LITTLE_AT + 16, 4, 5);
    store(LITTLE_AT + 18, 2, 5);
    tap_eq(signalled(five), 0, "and by nothing else");
    tap_str(little.log, "w2@16 w4@16 w2@18 ", "which reaches the callback");
    mem_region_add_eventfd(&little.region, &e_any);
    store(LITTLE_AT + 16, 4, 99);
    store(LITTLE_AT + 16, 2, 5);
    tap_ok(signalled(any) == 1 && signalled(five) == 1, "an exact match goes before any value");
    tap_eq(mem_region_remove_eventfd(&little.region, &e_five), 0, "they are removed");
    tap_eq(mem_region_remove_eventfd(&little.region, &e_five), -ENOENT, "once");
    mem_region_remove_eventfd(&little.region, &e_any);
    little.log[0] = 0;
    store(LITTLE_AT + 16, 2, 5);
    tap_str(little.log, "w2@16 ", "and the callback is back");
    close(any);
    close(five);
}

static void check_cas_and_map(void)
{
    uint64_t expected = 1, value = 0;
    struct mem_mapping map;

    store(RAM_AT + 64, 8, 1);
    tap_eq(mem_access_cas(&space, mem_gpa(RAM_AT + 64), 8, &expected, 2), 0, "an exchange");
    tap_eq(mem_access_cas(&space, mem_gpa(RAM_AT + 64), 8, &expected, 3), -EAGAIN, "a mismatch");
    tap_eq(expected, 2, "says what is there");
    tap_eq(mem_access_cas(&space, mem_gpa(RAM_AT + 64), 4, &expected, 9), 0, "of four bytes");
    tap_ok(!load(RAM_AT + 64, 8, &value) && value == 9, "stores");
    tap_eq(mem_access_cas(&space, mem_gpa(RAM_AT + 66), 4, &expected, 9), -EINVAL, "not aligned");
    tap_eq(mem_access_cas(&space, mem_gpa(LITTLE_AT), 4, &expected, 9), -ENXIO, "not RAM");
    tap_eq(mem_access_cas(&space, mem_gpa(ROM_AT), 4, &expected, 9), -EACCES, "ROM");

    mem_dirty_clear(ram, MEM_DIRTY_MIGRATION, 0, ram->size, NULL);
    tap_eq(mem_access_map(&space, mem_gpa(RAM_AT + 100), 1 << 20, true, &map), 0, "RAM is mapped");
    tap_eq(map.size, 4 * MEM_PAGE_SIZE - 100, "as far as it goes");
    tap_ok(map.host == mem_ram_host(ram, 100, 1), "at the right place");
    mem_access_unmap(&map, MEM_PAGE_SIZE);
    tap_ok(mem_dirty_test(ram, MEM_DIRTY_MIGRATION, MEM_PAGE_SIZE, 1) &&
               !mem_dirty_test(ram, MEM_DIRTY_MIGRATION, 2 * MEM_PAGE_SIZE, 1),
           "what was written is dirty, the rest is not");
    tap_eq(mem_access_map(&space, mem_gpa(ROM_AT), 16, true, &map), -EACCES, "ROM, to write");
    tap_eq(mem_access_map(&space, mem_gpa(ROM_AT), 16, false, &map), 0, "ROM, to read");
    mem_access_unmap(&map, 16);
    tap_eq(mem_access_map(&space, mem_gpa(LITTLE_AT), 16, false, &map), -ENXIO, "registers");
    tap_eq(mem_access_map(&space, mem_gpa(TOP_AT), UINT64_MAX, false, &map), 0, "the top");
    tap_eq(map.size, MEM_PAGE_SIZE, "ends at the end");

    /* A mapping outlives the region and the block's owner. */
    struct mem_ram *block = map.ram;
    uint32_t before = block->references;

    mem_region_remove(&top_region);
    mem_region_retire(&top_region, NULL, NULL);
    epoch_wait(&mem_epoch);
    tap_ok(block->references < before && map.host[0] == 0, "a mapping keeps its block");
    mem_access_unmap(&map, 0);
    mem_access_unmap(&map, 0);

    mem_dirty_clear(ram, MEM_DIRTY_MIGRATION, 0, ram->size, NULL);
    store(RAM_AT + MEM_PAGE_SIZE - 2, 4, 1);
    tap_eq(mem_dirty_clear(ram, MEM_DIRTY_MIGRATION, 0, ram->size, NULL), 2,
           "a store over two pages marks both");
}

static uint64_t load_parts(uint64_t at, unsigned size, int want)
{
    uint64_t value = 0x5555555555555555;

    tap_eq(mem_access_load_parts(&space, mem_gpa(at), size, &value, MEM_ATTRS_NONE), want,
           "a load by parts");
    return value;
}

static void store_parts(uint64_t at, unsigned size, uint64_t value, int want)
{
    tap_eq(mem_access_store_parts(&space, mem_gpa(at), size, value, MEM_ATTRS_NONE), want,
           "a store by parts");
}

/* Each byte of a bus has its own answer. */
static void check_parts(void)
{
    uint64_t end = LITTLE_AT + sizeof(little.bytes);

    for (unsigned i = 0; i < sizeof(little.bytes); i++) {
        little.bytes[i] = (uint8_t)(0x40 + i);
    }
    little.log[0] = '\0';
    tap_eq(load_parts(LITTLE_AT + 8, 4, 0), 0x4b4a4948, "all in a device is one access");
    tap_eq(load_parts(end - 1, 2, 0), 0xff7f, "its last byte, and none");
    tap_eq(load_parts(end - 3, 4, 0), 0xff7f7e7d, "the widest pieces that are aligned");
    tap_eq(load_parts(LITTLE_AT - 1, 2, 0), 0x40ff, "none, and its first byte");
    tap_eq(load_parts(LITTLE_AT - 2, 8, 0), 0x454443424140ffff, "six of them");
    tap_eq(load_parts(end - 3, 3, 0), 0x7f7e7d, "a size that no processor's is");
    tap_str(little.log, "r4@8 r1@63 r1@61 r2@62 r1@0 r4@0 r2@4 r1@61 r2@62 ", "as accesses");
    tap_eq(load_parts(end, 4, -ENXIO), 0xffffffff, "nothing there at all");
    tap_eq(load_parts(STRICT_AT, 2, -EINVAL), 0xffff, "what a device refuses");
    tap_eq(load_parts(STRICT_AT + 62, 4, -ENXIO), 0xffffffff, "in part, too");
    tap_eq(load_parts(UINT64_MAX - 1, 4, 0), 0xffff0000, "the end of the space is one, too");
    little.fail = -EIO;
    tap_eq(load_parts(LITTLE_AT, 1, -EIO), 0xff, "what it fails at");
    tap_eq(load_parts(end - 1, 2, -ENXIO), 0xffff, "in part, too");
    little.fail = 0;
    tap_eq(load_parts(LITTLE_AT, 0, -EINVAL), 0, "no size");
    load_parts(LITTLE_AT, 9, -EINVAL);
    store(RAM_AT + 4 * MEM_PAGE_SIZE - 2, 2, 0x2211);
    tap_eq(load_parts(RAM_AT + 4 * MEM_PAGE_SIZE - 2, 4, 0), 0xffff2211, "RAM, and none");

    little.log[0] = '\0';
    store_parts(end - 1, 2, 0xa1a2, 0);
    store_parts(LITTLE_AT - 1, 2, 0xb1b2, 0);
    store_parts(LITTLE_AT + 4, 4, 0xc1c2c3c4, 0);
    tap_str(little.log, "w1@63 w1@0 w4@4 ", "stores go to where something is");
    tap_ok(little.bytes[63] == 0xa2 && little.bytes[0] == 0xb1 && little.bytes[4] == 0xc4,
           "with the bytes that are for it");
    store_parts(end, 2, 0, -ENXIO);
    store_parts(ROM_AT, 2, 0, -EACCES);
    store_parts(ROM_AT - 1, 2, 0, -EACCES);
    store_parts(LITTLE_AT, 16, 0, -EINVAL);
}

static void *count_main(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        uint64_t old = 0;

        while (mem_access_cas(&space, mem_gpa(RAM_AT + 128), 4, &old, (old + 1) & 0xffffffff)) {
        }
    }
    return arg;
}

int main(void)
{
    pthread_t thread;
    uint64_t value = 0;

    if (!build()) {
        return tap_done();
    }
    check_ram();
    check_rom();
    check_devices();
    check_eventfds();
    check_parts();
    check_cas_and_map();
    pthread_create(&thread, NULL, count_main, NULL);
    count_main(NULL);
    pthread_join(thread, NULL);
    tap_ok(!load(RAM_AT + 128, 4, &value) && value == 40000, "exchanges of two threads add up");
    return tap_done();
}
