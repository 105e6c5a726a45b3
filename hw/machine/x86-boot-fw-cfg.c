/*
 * A kernel for firmware: what QEMU has in fw_cfg for it, so that qboot and SeaBIOS start the same
 * kernel in the same way.
 *
 * A bzImage is handed over in three pieces, with the places for them: setup code (of which the
 * header is filled in as by a boot loader: boot.rst, "real-mode kernel header"), kernel, command
 * line. A kernel with PVH note lies in memory already, at the addresses of its ELF headers; what
 * is handed over is where it starts. qboot does the rest by itself. SeaBIOS runs an option ROM that
 * comes with QEMU, named as the first to boot; where that is not installed there is none.
 */
#include "hw/machine/loader-x86.h"
#include "hw/machine/x86-boot.h"
#include "hw/nvram/fw-cfg.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REAL_MODE = 0x10000, /* the setup code's place: up to 64 KiB */
    CMDLINE = 0x20000,
    PROTECTED_MODE = 0x100000,
    TYPE_QEMU = 0xb0, /* of loader, version 0 */
    HEAP_MARGIN = 0x200,
    ELF_HEADER_SIZE = 8192, /* how much of an ELF file's start is handed over as "setup" */
};

static void put(uint8_t *bytes, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
}

struct item {
    uint16_t key;
    const void *data; /* NULL: a number of 4 bytes */
    uint64_t value;   /* that, or the size */
};

static int add_items(struct x86_boot *boot, const struct item *items, unsigned count, char *error,
                     size_t error_size)
{
    struct fw_cfg *fw = boot->machine->fw_cfg;
    int err = 0;

    for (unsigned i = 0; i < count && !err; i++) {
        err = items[i].data ? fw_cfg_add_bytes(fw, items[i].key, items[i].data, items[i].value)
                            : fw_cfg_add_number(fw, items[i].key, items[i].value, 4);
    }
    if (err) {
        snprintf(error, error_size, "fw_cfg: %s", strerror(-err));
    }
    return err;
}
#define ADD_ITEMS(boot, items) \
    add_items(boot, items, sizeof(items) / sizeof((items)[0]), error, error_size)

static int add_append(struct x86_boot *boot, uint32_t limit, char *error, size_t error_size)
{
    const char *append = boot->append ? boot->append : "";
    const struct item items[] = {
        {FW_CFG_CMDLINE_SIZE, NULL, strlen(append) + 1},
        {FW_CFG_CMDLINE_DATA, append, strlen(append) + 1},
    };

    if (strlen(append) > limit) {
        snprintf(error, error_size, "-append: has %zu bytes, but the kernel %s takes %u",
                 strlen(append), boot->machine->kernel, limit);
        return -EFBIG;
    }
    return ADD_ITEMS(boot, items);
}

static int add_initrd(struct x86_boot *boot, uint64_t end, uint32_t *address, uint32_t *size,
                      char *error, size_t error_size)
{
    struct loader_file file;
    int err;

    *address = *size = 0;
    if (!boot->machine->initrd) {
        return 0;
    }
    err = x86_boot_open_initrd(boot, end, &file, address, error, error_size);
    if (!err) {
        const struct item items[] = {
            {FW_CFG_INITRD_ADDR, NULL, *address},
            {FW_CFG_INITRD_SIZE, NULL, file.size},
            {FW_CFG_INITRD_DATA, file.data, file.size},
        };

        *size = (uint32_t)file.size;
        err = ADD_ITEMS(boot, items);
        loader_close(&file);
    }
    return err;
}

/* The option ROM for SeaBIOS, where there is one. */
static int add_rom(struct x86_boot *boot, const char *name, char *error, size_t error_size)
{
    char *path = boot->machine->find_firmware(name), file_name[64], order[80];
    struct loader_file file;
    int err;

    if (!path) {
        return 0;
    }
    err = loader_open(&file, "option ROM", path, 1 << 20, error, error_size);
    if (!err) {
        snprintf(file_name, sizeof(file_name), "genroms/%s", name);
        snprintf(order, sizeof(order), "/rom@%s", file_name);
        err = fw_cfg_add_file(boot->machine->fw_cfg, file_name, file.data, file.size);
        if (!err) {
            err = fw_cfg_add_file(boot->machine->fw_cfg, "bootorder", order, strlen(order) + 1);
        }
        if (err) {
            snprintf(error, error_size, "fw_cfg: %s: %s", file_name, strerror(-err));
        }
        loader_close(&file);
    }
    free(path);
    return err;
}

static int add_linux(struct x86_boot *boot, struct loader_file *file,
                     const struct loader_linux *image, char *error, size_t error_size)
{
    uint64_t size = file->size - image->setup_size;
    uint8_t *setup = malloc(image->setup_size);
    const struct item items[] = {
        {FW_CFG_KERNEL_ADDR, NULL, PROTECTED_MODE},
        {FW_CFG_KERNEL_SIZE, NULL, size},
        {FW_CFG_KERNEL_DATA, file->data + image->setup_size, size},
        {FW_CFG_CMDLINE_ADDR, NULL, CMDLINE},
        {FW_CFG_SETUP_ADDR, NULL, REAL_MODE},
        {FW_CFG_SETUP_SIZE, NULL, image->setup_size},
        {FW_CFG_SETUP_DATA, setup, image->setup_size},
    };
    uint32_t initrd, initrd_size;
    int err;

    if (!setup || image->setup_size > CMDLINE - REAL_MODE) {
        snprintf(error, error_size, "-kernel %s: %s", file->path,
                 setup ? "its setup code is too large" : "out of memory");
        err = setup ? -EFBIG : -ENOMEM;
        free(setup);
        return err;
    }
    memcpy(setup, file->data, image->setup_size);
    err = add_append(boot, image->cmdline_max, error, error_size);
    if (!err) {
        err = add_initrd(boot, (uint64_t)image->initrd_max + 1, &initrd, &initrd_size, error,
                         error_size);
    }
    if (!err) {
        setup[LOADER_LINUX_TYPE_OF_LOADER] = TYPE_QEMU;
        setup[LOADER_LINUX_LOADFLAGS] |= LOADER_LINUX_CAN_USE_HEAP;
        put(setup + LOADER_LINUX_HEAP_END, CMDLINE - REAL_MODE - HEAP_MARGIN, 2);
        put(setup + LOADER_LINUX_CMD_LINE, CMDLINE, 4);
        put(setup + LOADER_LINUX_RAMDISK_IMAGE, initrd, 4);
        put(setup + LOADER_LINUX_RAMDISK_SIZE, initrd_size, 4);
        err = ADD_ITEMS(boot, items);
    }
    free(setup);
    return err ? err : add_rom(boot, "linuxboot_dma.bin", error, error_size);
}

static int add_pvh(struct x86_boot *boot, struct loader_file *file, uint32_t entry, char *error,
                   size_t error_size)
{
    uint64_t header = file->size < ELF_HEADER_SIZE ? file->size : ELF_HEADER_SIZE;
    struct loader_elf elf = {0};
    uint32_t initrd, initrd_size;
    int err = x86_boot_load_elf(boot, file, &elf, error, error_size);
    const struct item items[] = {
        {FW_CFG_KERNEL_ADDR, NULL, elf.low},     {FW_CFG_KERNEL_SIZE, NULL, elf.high - elf.low},
        {FW_CFG_KERNEL_ENTRY, NULL, entry},      {FW_CFG_SETUP_SIZE, NULL, header},
        {FW_CFG_SETUP_DATA, file->data, header},
    };

    if (!err) {
        err = ADD_ITEMS(boot, items);
    }
    if (!err) {
        err = add_append(boot, UINT32_MAX, error, error_size);
    }
    if (!err) {
        err = add_initrd(boot, X86_4G, &initrd, &initrd_size, error, error_size);
    }
    return err ? err : add_rom(boot, "pvh.bin", error, error_size);
}

int x86_boot_fw_cfg(struct x86_boot *boot, struct loader_file *file, char *error, size_t error_size)
{
    struct loader_linux image;
    uint32_t entry;
    int err = loader_linux(file, &image, error, error_size);

    if (err != -ENOENT) {
        return err ? err : add_linux(boot, file, &image, error, error_size);
    }
    err = loader_is_elf(file) ? loader_pvh_entry(file, &entry, error, error_size) : -ENOENT;
    if (err != -ENOENT) {
        return err ? err : add_pvh(boot, file, entry, error, error_size);
    }
    snprintf(error, error_size,
             "-kernel %s: with -bios, expected a bzImage or an ELF file with PVH note", file->path);
    return -EINVAL;
}
