/*
 * PVH (Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h): an ELF file, loaded by its
 * physical addresses, starts in flat 32-bit protected mode with EBX pointing to struct
 * hvm_start_info. All addresses there are 64 bits wide, and below 4 GiB here.
 */
#include "hw/machine/loader-x86.h"
#include "hw/machine/x86-boot.h"

#include <stdio.h>
#include <string.h>

#define START_MAGIC   0x336ec578
#define START_VERSION 1

/* hvm_start_info, hvm_modlist_entry and hvm_memmap_table_entry, whose types are those of E820. */
struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp, memory_map;
    uint32_t memory_map_entries, reserved;
};

struct module {
    uint64_t address, size, cmdline, reserved;
};

struct memory_map_entry {
    uint64_t address, size;
    uint32_t type, reserved;
};

static int place_map(struct x86_boot *boot, struct start_info *info, char *error, size_t error_size)
{
    struct memory_map_entry map[X86_E820_MAX];
    struct x86_e820 e820[X86_E820_MAX];
    unsigned count = x86_memory_map(boot->memory, boot->tables, e820);
    uint32_t address;
    int err;

    for (unsigned i = 0; i < count; i++) {
        map[i] = (struct memory_map_entry){e820[i].address, e820[i].size, e820[i].type, 0};
    }
    err = x86_boot_place(boot, "PVH's memory map", map, count * sizeof(map[0]), &address, error,
                         error_size);
    info->memory_map = address;
    info->memory_map_entries = count;
    return err;
}

static int place_initrd(struct x86_boot *boot, struct start_info *info, char *error,
                        size_t error_size)
{
    struct module module = {0};
    uint32_t start, size, address;
    int err = x86_boot_initrd(boot, X86_4G, &start, &size, error, error_size);

    if (err || size == 0) {
        return err;
    }
    module.address = start;
    module.size = size;
    err = x86_boot_place(boot, "PVH's module list", &module, sizeof(module), &address, error,
                         error_size);
    info->modules = address;
    info->module_count = 1;
    return err;
}

int x86_boot_pvh(struct x86_boot *boot, struct loader_file *file, uint32_t entry, char *error,
                 size_t error_size)
{
    const char *append = boot->append ? boot->append : "";
    struct start_info info = {.magic = START_MAGIC, .version = START_VERSION, .rsdp = boot->rsdp};
    struct loader_elf elf = {0};
    uint32_t address;
    int err;

    err = x86_boot_load_elf(boot, file, &elf, error, error_size);
    if (!err) {
        err = place_map(boot, &info, error, error_size);
    }
    if (!err) {
        err = place_initrd(boot, &info, error, error_size);
    }
    if (!err) {
        err = x86_boot_place(boot, "the kernel's command line", append, strlen(append) + 1,
                             &address, error, error_size);
        info.cmdline = address;
    }
    if (!err) {
        err = x86_boot_place(boot, "PVH's start info", &info, sizeof(info), &address, error,
                             error_size);
    }
    if (!err) {
        boot->entry = X86_BOOT_FLAT32;
        boot->eip = entry;
        boot->ebx = address;
    }
    return err;
}
