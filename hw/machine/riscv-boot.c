/*
 * Starting RISC-V machines. Addresses are those that OpenSBI's and Linux's users know from QEMU:
 * the firmware at the start of RAM, the kernel at the next multiple of 2 MiB, the initrd half way
 * into RAM (or 512 MiB behind the kernel), the device tree at the last multiple of 2 MiB below the
 * end of RAM or 3 GiB, where 32-bit code finds it.
 */
#include "hw/machine/riscv-boot.h"

#include "util/bits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB       (UINT64_C(1) << 20)
#define GIB       (UINT64_C(1) << 30)
#define ALIGNMENT (2 * MIB)

/* include/sbi/fw_dynamic.h of OpenSBI, version 2 of the structure. */
#define FW_DYNAMIC_MAGIC   UINT64_C(0x4942534f)
#define FW_DYNAMIC_VERSION 2
#define FW_DYNAMIC_S_MODE  1

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

static uint64_t ram_end(const struct machine *machine, const struct riscv_boot *boot)
{
    return boot->ram_base + machine->ram_size;
}

int riscv_boot_add_rom(struct machine *machine, struct riscv_boot *boot, char *error,
                       size_t error_size)
{
    const struct mem_ram_config config = {.name = "mrom", .size = RISCV_MROM_SIZE};
    struct mem_ram *block;
    int err = mem_ram_create(&block, &config, error, error_size);

    if (err) {
        return err;
    }
    (void)mem_region_init_ram(&boot->rom, "mrom", block, 0, RISCV_MROM_SIZE, true);
    mem_ram_unref(block);
    return mem_region_add(&machine->root, RISCV_MROM, &boot->rom, 0);
}

/* Without -bios the machine's own firmware, of which there must be a file. */
static int open_firmware(struct machine *machine, struct loader_file *file, char *error,
                         size_t error_size)
{
    bool own = !machine->bios || strcmp(machine->bios, "default") == 0;
    const char *name = own ? machine->type->firmware : machine->bios;
    char *path = machine->find_firmware(name);
    int err;

    if (!path) {
        snprintf(error, error_size,
                 own ? "-bios default: %s not found; Debian has it in the package %s"
                     : "-bios %s: no such file, here or in the folders of -L%.0s",
                 name, machine->type->firmware_package);
        return -ENOENT;
    }
    err = loader_open(file, "-bios", path, machine->ram_size, error, error_size);
    if (err) {
        free(path);
    }
    return err;
}

int riscv_boot_firmware(struct machine *machine, struct riscv_boot *boot, char *error,
                        size_t error_size)
{
    struct loader_file file;
    int err;

    boot->firmware_entry = boot->firmware_end = boot->ram_base;
    if ((machine->bios && strcmp(machine->bios, "none") == 0) ||
        (!machine->bios && !machine->type->firmware)) {
        return 0;
    }
    err = open_firmware(machine, &file, error, error_size);
    if (err) {
        return err;
    }
    if (loader_is_elf(&file)) {
        struct loader_elf elf = {.machine = LOADER_EM_RISCV};

        err = loader_add_elf(&machine->blobs, &file, &elf, error, error_size);
        boot->firmware_entry = elf.entry;
        boot->firmware_end = elf.high;
    } else {
        boot->firmware_end = boot->ram_base + file.size;
        err = loader_add_file(&machine->blobs, &file, boot->ram_base, error, error_size);
    }
    loader_close(&file);
    free((char *)(uintptr_t)file.path);
    return err;
}

static int add_kernel(struct machine *machine, struct riscv_boot *boot, struct loader_file *file,
                      char *error, size_t error_size)
{
    uint64_t start = align_up(boot->firmware_end, ALIGNMENT);
    struct loader_riscv_image image;
    int err;

    if (loader_is_elf(file)) {
        struct loader_elf elf = {.machine = LOADER_EM_RISCV};

        err = loader_add_elf(&machine->blobs, file, &elf, error, error_size);
        boot->kernel_entry = elf.entry;
        boot->kernel_end = elf.high;
        return err;
    }
    err = loader_riscv_image(file, &image, error, error_size);
    if (err && err != -ENOENT) {
        return err;
    }
    boot->kernel_entry = start;
    boot->kernel_end = start + (err ? file->size : image.image_size);
    if (boot->kernel_end > ram_end(machine, boot)) {
        snprintf(error, error_size,
                 "-kernel %s: needs %" PRIu64 " MiB of memory from 0x%" PRIx64
                 " on, more than -m gives",
                 machine->kernel, (boot->kernel_end - start + MIB - 1) / MIB, start);
        return -EFBIG;
    }
    return loader_add_file(&machine->blobs, file, start, error, error_size);
}

static int add_initrd(struct machine *machine, struct riscv_boot *boot, char *error,
                      size_t error_size)
{
    uint64_t half = machine->ram_size / 2 < 512 * MIB ? machine->ram_size / 2 : 512 * MIB;
    uint64_t start = boot->kernel_entry + half;
    struct loader_file file;
    int err;

    if (start < boot->kernel_end) {
        start = boot->kernel_end;
    }
    start = align_up(start, MEM_PAGE_SIZE);
    if (start >= ram_end(machine, boot)) {
        snprintf(error, error_size, "-initrd %s: there is no memory left for it", machine->initrd);
        return -EFBIG;
    }
    err = loader_open(&file, "-initrd", machine->initrd, ram_end(machine, boot) - start, error,
                      error_size);
    if (err) {
        return err;
    }
    boot->initrd_start = start;
    boot->initrd_end = start + file.size;
    err = loader_add_file(&machine->blobs, &file, start, error, error_size);
    loader_close(&file);
    return err;
}

int riscv_boot_kernel(struct machine *machine, struct riscv_boot *boot, char *error,
                      size_t error_size)
{
    struct loader_file file;
    int err;

    if (!machine->kernel) {
        return 0;
    }
    err = loader_open(&file, "-kernel", machine->kernel, machine->ram_size, error, error_size);
    if (err) {
        return err;
    }
    err = loader_unpack(&file, machine->ram_size, error, error_size);
    if (!err) {
        err = add_kernel(machine, boot, &file, error, error_size);
    }
    loader_close(&file);
    return err || !machine->initrd ? err : add_initrd(machine, boot, error, error_size);
}

static void add_chosen(const struct machine *machine, const struct riscv_boot *boot,
                       struct fdt_tree *tree)
{
    fdt_tree_need_node(tree, "/chosen");
    if (machine->append && *machine->append) {
        fdt_tree_string(tree, "/chosen", "bootargs", machine->append);
    }
    if (boot->initrd_start) {
        fdt_tree_wide(tree, "/chosen", "linux,initrd-start", &boot->initrd_start, 1);
        fdt_tree_wide(tree, "/chosen", "linux,initrd-end", &boot->initrd_end, 1);
    }
}

static int dump(const char *path, const void *data, size_t size, char *error, size_t error_size)
{
    FILE *file = fopen(path, "we");
    bool bad = !file || fwrite(data, 1, size, file) != size;

    if (file && fclose(file)) {
        bad = true;
    }
    if (bad) {
        int err = errno;

        snprintf(error, error_size, "-M dumpdtb=%s: %s", path, strerror(err));
        return -err;
    }
    return 0;
}

static int add_fdt(struct machine *machine, struct riscv_boot *boot, struct fdt_tree *tree,
                   char *error, size_t error_size)
{
    uint64_t end = ram_end(machine, boot);
    size_t size = 0;
    int err = fdt_tree_finish(tree, &size, error, error_size);

    if (err) {
        return err;
    }
    if (machine->dumpdtb) {
        err = dump(machine->dumpdtb, tree->blob, size, error, error_size);
        return err ? err : MACHINE_DONE;
    }
    if (boot->ram_base < 3 * GIB && end > 3 * GIB) {
        end = 3 * GIB;
    }
    if (end - boot->ram_base < size) {
        snprintf(error, error_size, "the device tree (%zu bytes) does not fit into memory", size);
        return -EFBIG;
    }
    boot->fdt_address = (end - size) & ~(ALIGNMENT - 1);
    if (boot->fdt_address < boot->ram_base) {
        boot->fdt_address = (end - size) & ~(MEM_PAGE_SIZE - 1);
    }
    return loader_add(&machine->blobs, "the device tree", boot->fdt_address, tree->blob, size, size,
                      error, error_size);
}

static int fill_rom(struct machine *machine, const struct riscv_boot *boot, char *error,
                    size_t error_size)
{
    /* a0: hart, a1: device tree, a2: what follows the firmware. Harts come here alike; firmware
     * and bare-metal programs sort them out. */
    const struct {
        uint32_t code[6];
        uint64_t firmware, fdt;
        uint64_t magic, version, next, mode, options, boot_hart;
    } __attribute__((packed)) image = {
        .code =
            {
                0x00000297, /*  0: auipc t0, 0 */
                0x02828613, /*  4: addi  a2, t0, 0x28 */
                0xf1402573, /*  8: csrr  a0, mhartid */
                0x0202b583, /* 12: ld    a1, 0x20(t0) */
                0x0182b283, /* 16: ld    t0, 0x18(t0) */
                0x00028067, /* 20: jr    t0 */
            },
        .firmware = boot->firmware_entry,
        .fdt = boot->fdt_address,
        .magic = FW_DYNAMIC_MAGIC,
        .version = FW_DYNAMIC_VERSION,
        .next = boot->kernel_entry,
        .mode = FW_DYNAMIC_S_MODE,
    };

    return loader_add(&machine->blobs, "the boot ROM", RISCV_MROM, &image, sizeof(image),
                      sizeof(image), error, error_size);
}

int riscv_boot_finish(struct machine *machine, struct riscv_boot *boot,
                      int (*build)(struct machine *machine, struct fdt_tree *tree, char *error,
                                   size_t error_size),
                      char *error, size_t error_size)
{
    struct fdt_tree tree;
    int err = machine->dtb ? fdt_tree_load(&tree, machine->dtb, error, error_size)
                           : fdt_tree_create(&tree, error, error_size);

    if (err) {
        return err;
    }
    if (!machine->dtb) {
        err = build(machine, &tree, error, error_size);
    }
    if (!err) {
        add_chosen(machine, boot, &tree);
        err = add_fdt(machine, boot, &tree, error, error_size);
    }
    fdt_tree_free(&tree);
    if (!err) {
        err = fill_rom(machine, boot, error, error_size);
    }
    return err ? err : loader_check(&machine->blobs, &machine->memory, error, error_size);
}
