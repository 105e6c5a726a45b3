/* fw_cfg: items, files and their order, both ways to read, DMA descriptors good and bad. */
#include "hw/nvram/fw-cfg.h"

#include "tests/unit/hw-bench.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { FW = 0x10100000, IO = 0x20000000, RAM_SIZE = 0x10000 };

#define RAM        UINT64_C(0x80000000)
#define DESCRIPTOR RAM

static uint8_t live[16];
static unsigned selects, writes, written_offset, written_size;

static void live_select(void *opaque)
{
    selects++;
    live[0]++;
}

static void live_written(void *opaque, uint32_t offset, uint32_t size)
{
    writes++;
    written_offset = offset;
    written_size = size;
}

static const struct fw_cfg_item_ops live_ops = {live_select, live_written};

static uint64_t swap(uint64_t value, unsigned size)
{
    return __builtin_bswap64(value) >> (64 - 8 * size);
}

static void select_key(uint16_t key)
{
    bench_write(FW + 8, 2, swap(key, 2));
}

static void read_item(void *to, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        ((uint8_t *)to)[i] = (uint8_t)bench_read(FW, 1);
    }
}

/* The key of a file as the directory has it, 0 without one; and its place there. */
static uint16_t find_file(const char *name, uint32_t *size, unsigned *place)
{
    uint8_t count[4], entry[64];

    select_key(FW_CFG_FILE_DIR);
    read_item(count, 4);
    for (unsigned i = 0; i < (unsigned)(count[2] << 8 | count[3]); i++) {
        read_item(entry, sizeof(entry));
        if (strcmp((char *)entry + 8, name) == 0) {
            *size = (uint32_t)entry[2] << 8 | entry[3];
            *place = i;
            return (uint16_t)(entry[4] << 8 | entry[5]);
        }
    }
    return 0;
}

/* Runs a descriptor; its control word afterwards. */
static uint32_t dma(uint32_t control, uint32_t length, uint64_t address)
{
    bench_write(DESCRIPTOR, 4, swap(control, 4));
    bench_write(DESCRIPTOR + 4, 4, swap(length, 4));
    bench_write(DESCRIPTOR + 8, 8, swap(address, 8));
    bench_write(FW + 16, 8, swap(DESCRIPTOR, 8));
    return (uint32_t)swap(bench_read(DESCRIPTOR, 4), 4);
}

static void check_items(struct fw_cfg *fw)
{
    char text[8] = "";

    select_key(FW_CFG_SIGNATURE);
    read_item(text, 4);
    tap_str(text, "QEMU", "signature");
    select_key(FW_CFG_ID);
    tap_eq(bench_read(FW, 4), 3, "id: traditional and DMA, little-endian");
    tap_eq(fw_cfg_add_number(fw, FW_CFG_NB_CPUS, 0x1234, 2), 0, "a number");
    tap_eq(fw_cfg_add_string(fw, FW_CFG_KERNEL_CMDLINE, "ro"), 0, "text");
    tap_eq(-fw_cfg_add_string(fw, FW_CFG_KERNEL_CMDLINE, "rw"), EEXIST, "once");
    tap_eq(fw_cfg_add_bytes(fw, FW_CFG_ARCH_LOCAL | 3, "local", 5), 0, "one of the architecture");
    tap_eq(-fw_cfg_add_bytes(fw, 0x3fff, "", 0), ENOSPC, "a key too high");
    select_key(FW_CFG_NB_CPUS);
    tap_eq(bench_read(FW, 8), 0x1234, "a wide read has the item's bytes, and zeros behind them");
    tap_eq(bench_read(FW, 1), 0, "the end");
    select_key(FW_CFG_KERNEL_CMDLINE);
    read_item(text, 3);
    tap_str(text, "ro", "text with its end");
    select_key(FW_CFG_ARCH_LOCAL | 0x4000 | 3);
    tap_eq(bench_read(FW, 2), 'l' | 'o' << 8, "the write bit is ignored");
    select_key(3);
    tap_eq(bench_read(FW, 2), 0, "the common item of that number is another");
    select_key(0xffff);
    tap_eq(bench_read(FW, 4), 0, "a key that is not there reads as 0");
    select_key(FW_CFG_SIGNATURE);
    bench_write(FW, 4, 0);
    bench_write(FW + 8, 1, 0xff);
    bench_write(FW + 12, 4, 0xff);
    tap_eq(bench_read(FW, 4), 0x554d4551, "data is not written, nor half a key");
    tap_eq(bench_read(FW + 8, 2), 0, "keys are not read");
}

static void check_files(struct fw_cfg *fw)
{
    char long_name[FW_CFG_NAME_MAX + 2], text[8] = "";
    uint32_t size = 0;
    unsigned place = 0, second = 0;
    uint16_t key;

    tap_eq(fw_cfg_add_file(fw, "etc/smbios", "SM", 2), 0, "a file");
    tap_eq(fw_cfg_add_file(fw, "bootorder", "disk", 5), 0, "one that goes before it");
    tap_eq(fw_cfg_add_live_file(fw, "etc/live", live, sizeof(live), true, &live_ops, NULL), 0,
           "a live one between");
    tap_eq(-fw_cfg_add_file(fw, "etc/live", "", 0), EEXIST, "names are unique");
    memset(long_name, 'n', sizeof(long_name));
    long_name[FW_CFG_NAME_MAX + 1] = '\0';
    tap_eq(-fw_cfg_add_file(fw, long_name, "", 0), ENAMETOOLONG, "56 bytes are too many");
    long_name[FW_CFG_NAME_MAX] = '\0';
    tap_eq(fw_cfg_add_file(fw, long_name, "", 0), 0, "55 are not");
    tap_eq(find_file("bootorder", &size, &place), 0x20, "the first by name has the first key");
    tap_ok(place == 0 && size == 5, "and place");
    key = find_file("etc/smbios", &size, &second);
    tap_ok(key == 0x22 && second == 2, "the third");
    select_key(key);
    read_item(text, 2);
    tap_str(text, "SM", "its content");
    tap_ok(find_file(long_name, &size, &place) == 0x23 && size == 0, "an empty file");
    live[0] = 5;
    select_key(0x21);
    tap_ok(selects == 1 && bench_read(FW, 1) == 6, "a live file is brought up to date");
}

static void check_dma(struct fw_cfg *fw)
{
    char text[16] = "";

    tap_eq(bench_read(FW + 16, 8), swap(UINT64_C(0x51454d5520434647), 8), "DMA's signature");
    tap_eq(bench_read(FW + 16, 4), swap(0x51454d55, 4), "by halves");
    tap_eq(bench_read(FW + 20, 4), swap(0x20434647, 4), "too");
    tap_eq(dma(FW_CFG_SIGNATURE << 16 | 0x0a, 4, RAM + 0x100), 0, "select and read");
    mem_access_read(&bench_space, mem_gpa(RAM + 0x100), text, 4, MEM_ATTRS_NONE);
    tap_str(text, "QEMU", "the item");
    bench_write(RAM + 0x108, 8, UINT64_MAX);
    tap_eq(dma(FW_CFG_SIGNATURE << 16 | 0x0c, 2, 0), 0, "skip");
    tap_eq(dma(0x02, 8, RAM + 0x104), 0, "read the rest and more");
    tap_eq(bench_read(RAM + 0x104, 8), 'M' | 'U' << 8, "it is followed by zeros");
    tap_eq(bench_read(RAM + 0x10c, 4), 0xffffffff, "as many as asked for");
    tap_eq(dma(0, 8, 0), 0, "nothing to be done is done");
    tap_eq(dma(0x3fffu << 16 | 0x0a, 8, RAM + 0x104), 0, "no item reads as zeros");
    tap_eq(bench_read(RAM + 0x104, 8), 0, "it does");

    bench_write(RAM + 0x200, 8, 0x1122334455667788);
    dma(0x21 << 16 | 0x0c, 4, 0);
    tap_eq(dma(0x10, 8, RAM + 0x200), 0, "a live file is written");
    tap_ok(live[4] == 0x88 && live[11] == 0x11 && live[12] == 0, "where it was");
    tap_ok(writes == 1 && written_offset == 4 && written_size == 8, "its owner hears of it");
    tap_eq(dma(0x10, 5, RAM + 0x200), 1, "not beyond its end");
    tap_eq(dma(0x22 << 16 | 0x18, 1, RAM + 0x200), 1, "other files are not written");
    tap_eq(dma(0x3fffu << 16 | 0x18, 1, RAM + 0x200), 1, "nor what is not there");
    tap_eq(writes, 1, "their owners hear nothing");
    tap_eq(dma(0x21 << 16 | 0x18, 4, 0x1234), 1, "memory that is none cannot be read");
    tap_eq(writes, 1, "nor is the file touched");

    bench_write(DESCRIPTOR, 4, swap(FW_CFG_SIGNATURE << 16 | 0x0a, 4));
    bench_write(DESCRIPTOR + 4, 4, swap(4, 4));
    bench_write(DESCRIPTOR + 8, 8, swap(RAM + 0x300, 8));
    bench_write(FW + 16, 4, 0);
    bench_write(FW + 20, 4, swap(DESCRIPTOR, 4));
    tap_eq(bench_read(RAM + 0x300, 4), 0x554d4551, "the address comes in halves");
}

static void check_hostile_dma(void)
{
    tap_eq(dma(FW_CFG_SIGNATURE << 16 | 0x0a, 4, 0x1000), 1, "no memory there");
    tap_eq(dma(FW_CFG_SIGNATURE << 16 | 0x0a, UINT32_MAX, RAM + 0x100), 1, "4 GiB of zeros");
    tap_eq(dma(FW_CFG_SIGNATURE << 16 | 0x0a, 4, UINT64_MAX - 1), 1, "over the end");
    tap_eq(dma(FW_CFG_SIGNATURE << 16 | 0x0a, 16, FW), 1, "its own registers");
    tap_eq(dma(UINT32_MAX, UINT32_MAX, UINT64_MAX), 1, "all ones");
    tap_eq(dma(0x0c, UINT32_MAX, 0), 0, "skipping far");
    tap_eq(bench_read(FW, 1), 0, "ends at the end");
    bench_write(FW + 16, 8, swap(FW + 16, 8));
    bench_write(FW + 16, 8, swap(0x1234, 8));
    bench_write(FW + 16, 8, swap(RAM + RAM_SIZE - 8, 8));
    bench_write(FW + 16, 8, UINT64_MAX);
    bench_write(FW + 18, 2, 0xffff);
    bench_write(FW + 23, 1, 0xff);
    tap_ok(true, "descriptors anywhere are survived");
}

static void check_ports(struct fw_cfg *fw)
{
    bench_write(IO, 2, FW_CFG_NB_CPUS);
    tap_eq(bench_read(IO + 1, 1), 0x34, "ports: a key, little-endian, and data");
    tap_eq(bench_read(IO + 1, 1), 0x12, "byte by byte");
    tap_eq(bench_read(IO + 4, 8), swap(UINT64_C(0x51454d5520434647), 8), "DMA's signature");
    bench_write(DESCRIPTOR, 4, swap(FW_CFG_SIGNATURE << 16 | 0x0a, 4));
    bench_write(DESCRIPTOR + 4, 4, swap(4, 4));
    bench_write(DESCRIPTOR + 8, 8, swap(RAM + 0x400, 8));
    bench_write(IO + 4, 4, 0);
    bench_write(IO + 8, 4, swap(DESCRIPTOR, 4));
    tap_eq(bench_read(RAM + 0x400, 4), 0x554d4551, "and DMA");
    bench_write(IO, 1, 0xff);
    bench_write(IO + 1, 1, 0xff);
    tap_eq(bench_read(IO, 2), 0, "nothing else");
}

static void check_options(struct fw_cfg *fw)
{
    char path[256], option[512], error[256] = "", text[8] = "";
    const char *folder = getenv("TMPDIR");
    uint32_t size = 0;
    unsigned place;
    int fd;

    tap_eq(fw_cfg_add_option(fw, "name=opt/a,string=x,,y", error, sizeof(error)), 0, "string=");
    select_key(find_file("opt/a", &size, &place));
    read_item(text, 3);
    tap_ok(size == 3 && !strcmp(text, "x,y"), "its text, without an end");
    snprintf(path, sizeof(path), "%s/fw-cfg.XXXXXX", folder ? folder : "/tmp");
    fd = mkstemp(path);
    tap_ok(fd >= 0 && write(fd, "file", 4) == 4 && !ftruncate(fd, 70000), "a file of the host");
    close(fd);
    snprintf(option, sizeof(option), "opt/b,file=%s", path);
    tap_eq(fw_cfg_add_option(fw, option, error, sizeof(error)), 0, "file=, with a bare name");
    select_key(find_file("opt/b", &size, &place));
    tap_ok(size == 70000 % 65536 && bench_read(FW, 4) == 0x656c6966, "its content");
    unlink(path);
    tap_eq(-fw_cfg_add_option(fw, option, error, sizeof(error)), ENOENT, "no such file");
    tap_ok(strstr(error, "fw-cfg.") && strstr(error, "No such file"), "%s", error);
    tap_eq(-fw_cfg_add_option(fw, "opt/a,string=z", error, sizeof(error)), EEXIST, "twice");
    tap_str(error, "-fw_cfg: name=opt/a: there is a file of that name already", "says so");
    tap_eq(-fw_cfg_add_option(fw, "opt/c", error, sizeof(error)), EINVAL, "no content");
    tap_str(error, "-fw_cfg: name=opt/c: expected one of file= and string=", "says so");
    tap_eq(-fw_cfg_add_option(fw, "opt/c,string=a,file=b", error, sizeof(error)), EINVAL, "two");
    tap_eq(-fw_cfg_add_option(fw, "string=a", error, sizeof(error)), EINVAL, "no name");
    tap_eq(-fw_cfg_add_option(fw, "", error, sizeof(error)), EINVAL, "nothing");
    tap_eq(-fw_cfg_add_option(fw, "opt/c,strong=a", error, sizeof(error)), ENOENT, "unknown");
}

static void check_life(struct fw_cfg *fw)
{
    struct fw_cfg *other = bench_create(&fw_cfg_type, "dma_enabled=off");
    char name[16];
    unsigned n;
    int err = 0;

    other->memory = &bench_space;
    bench_realize(other);
    bench_put(FW + 0x1000, &other->mmio);
    tap_eq(bench_read(FW + 0x1010, 8), 0, "without DMA there is no signature");
    bench_write(FW + 0x1010, 8, swap(DESCRIPTOR, 8));
    bench_write(FW + 0x1008, 2, swap(FW_CFG_ID, 2));
    tap_eq(bench_read(FW + 0x1000, 4), 1, "and the id has no bit for it");
    select_key(FW_CFG_SIGNATURE);
    bench_read(FW, 2);
    tap_eq(bench_move(fw_cfg_type.state, fw, other), 0, "state moves");
    tap_eq(bench_read(FW + 0x1000, 2), 'M' | 'U' << 8, "and reading goes on");
    for (n = 0; !err; n++) {
        snprintf(name, sizeof(name), "f%u", n);
        err = fw_cfg_add_file(other, name, name, strlen(name));
    }
    tap_ok(err == -ENOSPC && n == FW_CFG_FILES_MAX + 1, "so many files");
    select_key(FW_CFG_NB_CPUS);
    hw_reset_device(&fw->device, false);
    tap_eq(bench_read(FW, 4), 0x554d4551, "reset selects the signature");
    mem_region_remove(&fw->mmio);
    mem_region_remove(&fw->io);
    mem_region_remove(&other->mmio);
    hw_device_destroy(&fw->device);
    hw_device_destroy(&other->device);
}

int main(void)
{
    struct mem_ram_config config = {.name = "ram", .size = RAM_SIZE};
    struct mem_region region = {0};
    struct mem_ram *ram;
    struct fw_cfg *fw;
    char error[256];

    bench_init();
    hw_lock_acquire();
    if (mem_ram_create(&ram, &config, error, sizeof(error)) ||
        mem_region_init_ram(&region, "ram", ram, 0, RAM_SIZE, false)) {
        tap_ok(false, "RAM");
        return tap_done();
    }
    bench_put(RAM, &region);
    fw = bench_create(&fw_cfg_type, "");
    fw->memory = &bench_space;
    bench_realize(fw);
    bench_put(FW, &fw->mmio);
    bench_put(IO, &fw->io);
    check_items(fw);
    check_files(fw);
    check_dma(fw);
    check_hostile_dma();
    check_ports(fw);
    check_options(fw);
    check_life(fw);
    mem_region_retire(&region, NULL, NULL);
    mem_ram_unref(ram);
    hw_lock_release();
    return tap_done();
}
