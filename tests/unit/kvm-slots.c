/* Memory slots of the KVM accelerator: what the guest sees of regions, while they change. */
#include "tests/unit/kvm-bench.h"

#include "util/bits.h"

static struct mem_ram *make_ram(const char *name, uint64_t size)
{
    struct mem_ram_config config = {.name = name, .size = size};
    struct mem_ram *ram = NULL;
    char error[256];

    if (mem_ram_create(&ram, &config, error, sizeof(error))) {
        exit(1);
    }
    return ram;
}

static uint32_t word(const struct mem_ram *ram, uint64_t offset)
{
    uint32_t value;

    memcpy(&value, ram->host + offset, 4);
    return value;
}

/* So many accesses have come to user space. */
static uint64_t exits(void)
{
    return BENCH_COUNT(0, mmio);
}

static unsigned used_slots(void)
{
    unsigned count = 0;

    for (uint32_t n = 0; n < 64; n++) {
        count += kvm_slot(n) != NULL;
    }
    return count;
}

static void check_alias(void)
{
    struct mem_region alias = {0};

    mem_region_init_alias(&alias, "alias", &bench.ram_region, 0x20000, 0x4000);
    mem_region_add(&bench.root, 0x80000, &alias, 1);
    bench_poke(0x81234, 4, 0x11223344);
    tap_eq(word(bench.ram, 0x21234), 0x11223344, "a write through an alias");
    bench_poke(0x21238, 4, 0x55667788);
    tap_eq(bench_peek(0x81238), 0x55667788, "a read through it");
    tap_eq(exits(), 0, "without an exit");
    mem_region_set_alias_offset(&alias, 0x30000);
    bench.ram->host[0x31238] = 0x99;
    tap_eq(bench_peek(0x81238), 0x99, "its window moves");
    mem_region_move(&alias, 0x90000);
    tap_eq(bench_peek(0x91238), 0x99, "and itself");
    bench_poke(0x81238, 4, 0xabcd);
    tap_eq(word(bench.ram, 0x81238), 0xabcd, "what it hid is seen again");
    mem_region_remove(&alias);
    tap_eq(used_slots(), 1, "without it there is one slot");
    tap_eq(exits(), 0, "all without exits");
}

static void check_readonly(void)
{
    struct mem_ram *ram = make_ram("rom", 0x2000);
    struct mem_region rom = {0}, alias = {0};
    uint64_t before = exits();

    memcpy(ram->host + 0x100, "\x12\x34\x56\x78", 4);
    mem_region_init_ram(&rom, "rom", ram, 0, 0x2000, true);
    mem_region_add(&bench.root, 0xc0000, &rom, 1);
    tap_eq(bench_peek(0xc0100), 0x78563412, "ROM is read");
    tap_eq(exits() - before, 0, "without an exit");
    tap_ok(bench_poke(0xc0100, 4, 1), "a write to it");
    tap_ok(word(ram, 0x100) == 0x78563412 && BENCH_COUNT(0, refused) == 1,
           "has no effect, but is counted");
    mem_region_set_readonly(&rom, false);
    bench_poke(0xc0100, 4, 0x1234);
    tap_eq(word(ram, 0x100), 0x1234, "it is made writable");
    mem_region_set_readonly(&rom, true);
    bench_poke(0xc0100, 4, 0x5678);
    tap_eq(word(ram, 0x100), 0x1234, "and back");
    mem_region_init_alias(&alias, "alias", &bench.ram_region, 0xc0000, 0x1000);
    mem_region_set_readonly(&alias, true);
    mem_region_add(&bench.root, 0xe0000, &alias, 1);
    bench_poke(0xe0100, 4, 0x5678);
    tap_eq(word(bench.ram, 0xc0100), 0, "a read-only alias of RAM");
    mem_region_remove(&alias);
    mem_region_retire(&rom, NULL, NULL);
    mem_ram_unref(ram);
}

static unsigned flash_reads, flash_writes;

static int flash_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                      struct mem_attrs attrs)
{
    flash_reads++;
    *value = offset;
    return 0;
}

static int flash_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                       struct mem_attrs attrs)
{
    flash_writes++;
    /* As flash memory does: a command; the region changes under the vCPU that writes. */
    mem_region_set_rom_mode(opaque, value == 0xff);
    return 0;
}

static void check_rom_device(void)
{
    static const struct mem_ops ops = {.read = flash_read, .write = flash_write};
    struct mem_ram *ram = make_ram("flash", 0x4000);
    struct mem_region flash = {0};

    memcpy(ram->host + 0x3ffc, "flsh", 4);
    mem_region_init_rom_device(&flash, "flash", ram, 0, 0x4000, &ops, &flash, &bench_owner);
    mem_region_add(&bench.root, 0xc0000, &flash, 1);
    tap_ok(bench_peek(0xc3ffc) == 0x68736c66 && !flash_reads, "a ROM device is read directly");
    bench_poke(0xc0010, 1, 0x90);
    tap_eq(flash_writes, 1, "a write goes to the device");
    tap_ok(bench_peek(0xc3ffc) == 0x3ffc && flash_reads == 1,
           "which has it read through registers from then on");
    bench_poke(0xc0010, 1, 0xff);
    tap_ok(bench_peek(0xc3ffc) == 0x68736c66 && flash_reads == 1, "and back");
    for (unsigned n = 0; n < 100; n++) {
        bench_poke(0xc0010, 1, n & 1 ? 0xff : 0x90);
    }
    tap_ok(flash_writes == 102 && bench_peek(0xc3ffc) == 0x68736c66, "a hundred times");
    mem_region_retire(&flash, NULL, NULL);
    mem_ram_unref(ram);
}

static void check_parts_of_pages(void)
{
    static const struct mem_ops ops = {.read = flash_read};
    struct mem_ram *ram = make_ram("odd", 0x2000);
    struct mem_region odd = {0}, small = {0};
    uint64_t before = exits();

    /* RAM at an address that is not a page's */
    mem_region_init_ram(&odd, "odd", ram, 0, 0x2000, false);
    mem_region_add(&bench.root, 0xc0800, &odd, 1);
    bench_poke(0xc0800, 4, 0x01020304);
    bench_poke(0xc27fc, 4, 0x05060708);
    tap_ok(word(ram, 0) == 0x01020304 && word(ram, 0x1ffc) == 0x05060708,
           "RAM beside the boundaries of pages");
    tap_eq(exits() - before, 2, "by exits");
    bench_poke(0xc07fe, 4, 0xa1a2a3a4);
    tap_ok(word(ram, 0) == 0x0102a1a2 && word(bench.ram, 0xc07fc) == 0xa3a40000,
           "an access over its start");
    mem_region_remove(&odd);

    /* registers in the middle of a page */
    mem_region_init_mmio(&small, "small", 0x10, &ops, NULL, &bench_owner);
    mem_region_add(&bench.root, 0xd0100, &small, 1);
    tap_eq(bench_peek(0xd0104), 4, "registers within a page of RAM");
    bench_poke(0xd00fc, 4, 0x12345678);
    bench_poke(0xd0110, 4, 0x9abcdef0);
    tap_ok(word(bench.ram, 0xd00fc) == 0x12345678 && bench_peek(0xd0110) == 0x9abcdef0,
           "the rest of which is RAM");
    before = exits();
    bench_poke(0xcfffc, 4, 1);
    bench_poke(0xd1000, 4, 1);
    tap_eq(exits() - before, 0, "pages beside it have no exits");
    mem_region_remove(&small);
    mem_region_retire(&odd, NULL, NULL);
    mem_ram_unref(ram);
}

static void check_numbers(void)
{
    struct mem_ram *ram = make_ram("many", 0x20000);
    struct mem_region region[8] = {0};
    unsigned wrong = 0;

    for (unsigned n = 0; n < 8; n++) {
        mem_region_init_ram(&region[n], "many", ram, 0x1000 * n, 0x1000, false);
    }
    for (unsigned n = 0; n < 200; n++) {
        mem_region_begin();
        for (unsigned i = 0; i < 8; i++) {
            mem_region_add(&bench.root, 0xa0000 + 0x2000 * i, &region[i], 1);
        }
        mem_region_commit();
        wrong += used_slots() != 17 || kvm_slot(32);
        mem_region_begin();
        for (unsigned i = 0; i < 8; i++) {
            mem_region_remove(&region[i]);
        }
        mem_region_commit();
        wrong += used_slots() != 1;
    }
    tap_ok(!wrong, "slot numbers are used again");
    for (unsigned n = 0; n < 8; n++) {
        mem_region_retire(&region[n], NULL, NULL);
    }
    mem_ram_unref(ram);
}

/* A vCPU runs code, and has its stack, in a slot that is cut up and put together again. */
static void check_changes_under_code(void)
{
    static const uint8_t code[] = {
        0x50, 0x58,                               /* push ax; pop ax */
        0x66, 0xff, 0x06, 0x00, 0x30, 0xeb, 0xf7, /* inc dword [0x3000]; jmp back */
    };
    struct mem_region alias = {0};
    uint32_t before;
    uint64_t stopped;

    if (!bench_open("kernel-irqchip=off", 2)) {
        return;
    }
    bench_code(0, code, sizeof(code));
    bench_code(1, code, sizeof(code));
    bench_start();
    mem_region_init_alias(&alias, "alias", &bench.ram_region, 0x20000, 0x1000);
    before = word(bench.ram, 0x3000);
    for (unsigned n = 0; n < 300; n++) {
        mem_region_add(&bench.root, 0x80000, &alias, 1);
        mem_region_remove(&alias);
    }
    usleep(10000);
    vcpu_pause_all(NULL, NULL);
    stopped = BENCH_COUNT(0, stopped) + BENCH_COUNT(1, stopped);
    tap_ok(bench.event == -1 && word(bench.ram, 0x3000) != before,
           "vCPUs run in memory that is cut up under them");
    tap_ok(stopped > 0, "and were stopped for it");
    tap_note("%llu times", (unsigned long long)stopped);
    tap_eq(BENCH_COUNT(0, mmio) + BENCH_COUNT(1, mmio), 0, "without an exit for memory");
    bench_close();
}

/* Devices' registers through which vCPUs change memory: under the machine lock, and without. */
static int toggle_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    mem_region_set_enabled(opaque, value & 1);
    return 0;
}

static void check_changes_by_vcpus(struct mem_owner *owner)
{
    static const uint8_t code[] = {
        0x66, 0xff, 0x06, 0x00, 0x30,             /* back: inc dword [0x3000] */
        0xba, 0x00, 0x02, 0xa0, 0x00, 0x30, 0xee, /* mov dx, 0x200; mov al, [0x3000]; out dx, al */
        0xeb, 0xf2,                               /* jmp back */
    };
    static const struct mem_ops ops = {.write = toggle_write};
    struct mem_region alias = {0}, toggle = {0};
    unsigned slow = 0;

    if (!bench_open("kernel-irqchip=off", 3)) {
        return;
    }
    for (unsigned n = 0; n < 3; n++) {
        bench_code(n, code, sizeof(code));
        bench.ram->host[BENCH_CODE + n * 0x100 + 3] = (uint8_t)(4 * n);
        bench.ram->host[BENCH_CODE + n * 0x100 + 9] = (uint8_t)(4 * n);
    }
    mem_region_init_alias(&alias, "alias", &bench.ram_region, 0x20000, 0x1000);
    mem_region_add(&bench.root, 0x80000, &alias, 1);
    mem_region_init_mmio(&toggle, "toggle", 1, &ops, &alias, owner);
    mem_region_add(&bench.io_root, 0x200, &toggle, 0);
    bench_start();
    for (unsigned n = 0; n < 20; n++) {
        uint32_t before[3];

        for (unsigned i = 0; i < 3; i++) {
            before[i] = word(bench.ram, 0x3000 + 4 * i);
        }
        for (unsigned i = 0, ms = 0; i < 3; i++) {
            for (; before[i] == word(bench.ram, 0x3000 + 4 * i) && ms < 5000; ms++) {
                usleep(1000);
            }
            slow += ms == 5000;
        }
        vcpu_pause_all(NULL, NULL);
        vcpu_resume_all();
    }
    tap_ok(!slow && bench.event == -1, "vCPUs change memory by registers%s",
           owner ? " under the machine lock" : " without a lock");
    vcpu_pause_all(NULL, NULL);
    mem_region_remove(&alias);
    mem_region_remove(&toggle);
    bench_close();
}

int main(void)
{
    alarm(240);
    if (bench_open_listener("kernel-irqchip=off")) {
        check_alias();
        check_readonly();
        check_rom_device();
        check_parts_of_pages();
        check_numbers();
        bench_close();
    }
    check_changes_under_code();
    check_changes_by_vcpus(&bench_owner);
    check_changes_by_vcpus(NULL);
    return tap_done();
}
