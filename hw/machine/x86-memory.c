/* RAM and firmware of x86 machines. */
#include "hw/machine/x86-memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BIOS_UNIT = 64 << 10, ISA_BIOS_MAX = 128 << 10 };

int x86_memory_init(struct x86_memory *memory, struct machine *machine, uint64_t low, char *error,
                    size_t error_size)
{
    struct mem_ram *block = machine->ram_block;
    int err;

    memory->below_4g = machine->ram_size < low ? machine->ram_size : low;
    memory->above_4g = machine->ram_size - memory->below_4g;
    if (memory->below_4g < 2 * X86_1M) {
        snprintf(error, error_size, "-m: the machine %s needs 2 MiB of memory at least",
                 machine->type->alias);
        return -EINVAL;
    }
    err = mem_region_init_ram(&machine->ram, "ram-below-4g", block, 0, memory->below_4g,
                              block->readonly);
    if (!err && memory->above_4g) {
        err = mem_region_init_ram(&memory->high, "ram-above-4g", block, memory->below_4g,
                                  memory->above_4g, block->readonly);
    }
    if (err) {
        snprintf(error, error_size, "the memory backend is smaller than the machine's memory");
        return err;
    }
    err = mem_region_add(&machine->root, 0, &machine->ram, 0);
    return err || !memory->above_4g ? err
                                    : mem_region_add(&machine->root, X86_4G, &memory->high, 0);
}

static int map_bios(struct x86_memory *memory, struct machine *machine, uint64_t size, char *error,
                    size_t error_size)
{
    const struct mem_ram_config config = {.name = "bios", .size = size};
    uint64_t isa_size = size < ISA_BIOS_MAX ? size : ISA_BIOS_MAX;
    struct mem_ram *block;
    int err = mem_ram_create(&block, &config, error, error_size);

    if (err) {
        return err;
    }
    (void)mem_region_init_ram(&memory->bios, "bios", block, 0, size, false);
    (void)mem_region_init_ram(&memory->isa_bios, "isa-bios", block, size - isa_size, isa_size,
                              false);
    mem_ram_unref(block);
    err = mem_region_add(&machine->root, X86_4G - size, &memory->bios, 0);
    return err ? err : mem_region_add(&machine->root, X86_1M - isa_size, &memory->isa_bios, 1);
}

int x86_memory_add_bios(struct x86_memory *memory, struct machine *machine, char *error,
                        size_t error_size)
{
    char *path = machine->find_firmware(machine->bios);
    struct loader_file file;
    int err;

    if (!path) {
        snprintf(error, error_size, "-bios %s: no such file, here or in the folders of -L",
                 machine->bios);
        return -ENOENT;
    }
    err = loader_open(&file, "-bios", path, X86_BIOS_MAX, error, error_size);
    if (!err && file.size % BIOS_UNIT) {
        snprintf(error, error_size,
                 "-bios %s: has %" PRIu64 " bytes, expected a multiple of 64 KiB", machine->bios,
                 file.size);
        err = -EINVAL;
        loader_close(&file);
    }
    if (!err) {
        memory->bios_size = file.size;
        err = map_bios(memory, machine, file.size, error, error_size);
        if (!err) {
            err = loader_add_file(&machine->blobs, &file, X86_4G - file.size, error, error_size);
        }
        loader_close(&file);
    }
    free(path);
    return err;
}

unsigned x86_memory_ram(const struct x86_memory *memory, struct x86_e820 entries[X86_E820_MAX])
{
    entries[0] = (struct x86_e820){0, memory->below_4g, X86_E820_RAM};
    entries[1] = (struct x86_e820){X86_4G, memory->above_4g, X86_E820_RAM};
    return memory->above_4g ? 2 : 1;
}

unsigned x86_memory_map(const struct x86_memory *memory, uint64_t tables,
                        struct x86_e820 entries[X86_E820_MAX])
{
    unsigned n = 0;

    entries[n++] = (struct x86_e820){0, X86_EBDA, X86_E820_RAM};
    entries[n++] = (struct x86_e820){X86_EBDA, 0xa0000 - X86_EBDA, X86_E820_RESERVED};
    entries[n++] = (struct x86_e820){tables, X86_FIRMWARE - tables, X86_E820_NVS};
    entries[n++] = (struct x86_e820){X86_FIRMWARE, X86_1M - X86_FIRMWARE, X86_E820_RESERVED};
    entries[n++] = (struct x86_e820){X86_1M, memory->below_4g - X86_1M, X86_E820_RAM};
    if (memory->above_4g) {
        entries[n++] = (struct x86_e820){X86_4G, memory->above_4g, X86_E820_RAM};
    }
    return n;
}
