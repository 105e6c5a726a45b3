/*
 * Multiboot (Multiboot Specification, version 0.6.96): an ELF file of 32 bits, or one whose header
 * has addresses, starts in flat 32-bit protected mode with the magic number in EAX and EBX pointing
 * to the information that flags announce. -initrd is a list of modules, "FILE[ TEXT][,FILE...]"; a
 * comma in a name is doubled, and the text of a module begins with its name.
 */
#include "hw/machine/loader-x86.h"
#include "hw/machine/x86-boot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOADED_MAGIC 0x2badb002

enum { INFO_MEMORY = 1, INFO_CMDLINE = 4, INFO_MODULES = 8, INFO_MAP = 64, INFO_LOADER = 512 };
enum { MODULES_MAX = 64 };

/* Clause 3.3. */
struct info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
    uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name;
    uint32_t apm_table;
};

struct module {
    uint32_t start, end, string, reserved;
};

struct map_entry {
    uint32_t size; /* of what follows */
    struct x86_e820 range;
} __attribute__((packed));

static int place_text(struct x86_boot *boot, const char *text, uint32_t *address, char *error,
                      size_t error_size)
{
    return x86_boot_place(boot, "a text of multiboot", text, strlen(text) + 1, address, error,
                          error_size);
}

/* ---- modules --------------------------------------------------------------------------------- */

/* One module, of which the text is "FILE[ TEXT]", behind `*next`. */
static int add_module(struct x86_boot *boot, const char *text, uint64_t *next,
                      struct module *module, char *error, size_t error_size)
{
    size_t length = strcspn(text, " ");
    char *path = strndup(text, length);
    struct loader_file file;
    int err;

    if (!path) {
        snprintf(error, error_size, "-initrd: out of memory");
        return -ENOMEM;
    }
    *next = (*next + MEM_PAGE_SIZE - 1) & ~(uint64_t)(MEM_PAGE_SIZE - 1);
    err = loader_open(&file, "-initrd", path,
                      boot->memory->below_4g > *next ? boot->memory->below_4g - *next : 0, error,
                      error_size);
    if (!err) {
        module->start = (uint32_t)*next;
        *next += file.size;
        module->end = (uint32_t)*next;
        err = loader_add_file(&boot->machine->blobs, &file, module->start, error, error_size);
        loader_close(&file);
    }
    free(path);
    return err ? err : place_text(boot, text, &module->string, error, error_size);
}

/* Takes the first of a list of texts, with "," for ",,", and returns what is behind its comma. */
static const char *take_text(const char *list, char *text)
{
    for (; *list; list++) {
        if (*list == ',' && *++list != ',') {
            break;
        }
        *text++ = *list;
    }
    *text = '\0';
    return list;
}

static int add_modules(struct x86_boot *boot, struct info *info, uint64_t next, char *error,
                       size_t error_size)
{
    const char *list = boot->machine->initrd;
    struct module modules[MODULES_MAX] = {0};
    unsigned count = 0;
    char *text = list ? malloc(strlen(list) + 1) : NULL;
    int err = list && !text ? -ENOMEM : 0;

    while (list && *list && !err) {
        list = take_text(list, text);
        if (count == MODULES_MAX) {
            snprintf(error, error_size, "-initrd: there are more than %d modules", MODULES_MAX);
            err = -E2BIG;
            break;
        }
        err = add_module(boot, text, &next, &modules[count++], error, error_size);
    }
    free(text);
    if (!err && count) {
        info->flags |= INFO_MODULES;
        info->mods_count = count;
        err = x86_boot_place(boot, "multiboot's modules", modules, count * sizeof(modules[0]),
                             &info->mods_addr, error, error_size);
    }
    return err;
}

/* ---- what the kernel is told ----------------------------------------------------------------- */

static int add_map(struct x86_boot *boot, struct info *info, char *error, size_t error_size)
{
    struct map_entry map[X86_E820_MAX];
    struct x86_e820 e820[X86_E820_MAX];
    unsigned count = x86_memory_map(boot->memory, boot->tables, e820);

    for (unsigned i = 0; i < count; i++) {
        map[i] = (struct map_entry){.size = sizeof(e820[i]), .range = e820[i]};
    }
    info->flags |= INFO_MEMORY | INFO_MAP;
    info->mem_lower = X86_EBDA / 1024;
    info->mem_upper = (uint32_t)((boot->memory->below_4g - X86_1M) / 1024);
    info->mmap_length = (uint32_t)(count * sizeof(map[0]));
    return x86_boot_place(boot, "multiboot's memory map", map, info->mmap_length, &info->mmap_addr,
                          error, error_size);
}

/* The command line begins with the kernel's name. */
static int add_texts(struct x86_boot *boot, struct info *info, char *error, size_t error_size)
{
    char *line = NULL;
    int err;

    if (asprintf(&line, "%s %s", boot->machine->kernel, boot->append ? boot->append : "") < 0) {
        snprintf(error, error_size, "-append: out of memory");
        return -ENOMEM;
    }
    info->flags |= INFO_CMDLINE | INFO_LOADER;
    err = place_text(boot, line, &info->cmdline, error, error_size);
    free(line);
    return err ? err : place_text(boot, "tinamou", &info->boot_loader_name, error, error_size);
}

static int load(struct x86_boot *boot, struct loader_file *file,
                const struct loader_multiboot *image, uint32_t *entry, uint64_t *end, char *error,
                size_t error_size)
{
    struct loader_elf elf = {.machine = LOADER_EM_386, .bits = 32};
    char name[256];
    int err;

    if (image->has_addresses) {
        snprintf(name, sizeof(name), "-kernel %s", file->path);
        *entry = image->entry;
        *end = image->memory_end;
        return loader_add(&boot->machine->blobs, name, image->load_address,
                          file->data + image->file_offset, image->loaded,
                          image->memory_end - image->load_address, error, error_size);
    }
    err = loader_add_elf(&boot->machine->blobs, file, &elf, error, error_size);
    *entry = (uint32_t)elf.entry;
    *end = elf.high;
    return err;
}

int x86_boot_multiboot(struct x86_boot *boot, struct loader_file *file,
                       const struct loader_multiboot *image, char *error, size_t error_size)
{
    struct info info = {0};
    uint64_t end;
    int err = load(boot, file, image, &boot->eip, &end, error, error_size);

    if (!err) {
        err = add_map(boot, &info, error, error_size);
    }
    if (!err) {
        err = add_modules(boot, &info, end > X86_1M ? end : X86_1M, error, error_size);
    }
    if (!err) {
        err = add_texts(boot, &info, error, error_size);
    }
    if (!err) {
        err = x86_boot_place(boot, "multiboot's information", &info, sizeof(info), &boot->ebx,
                             error, error_size);
    }
    if (!err) {
        boot->entry = X86_BOOT_FLAT32;
        boot->eax = LOADED_MAGIC;
    }
    return err;
}
