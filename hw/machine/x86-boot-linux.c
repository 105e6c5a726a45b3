/*
 * Linux's boot protocol (Documentation/arch/x86/boot.rst), "32-bit boot protocol": the setup code
 * is not run; its header is copied into struct boot_params (the "zero page"), to which ESI points,
 * together with the memory map. CS is 0x10 and the data segments are 0x18, of a table that the
 * kernel replaces soon. The protocol has this entry in every kernel, those of 64 bits included,
 * which go on to long mode by themselves.
 */
#include "hw/machine/loader-x86.h"
#include "hw/machine/x86-boot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL_ADDRESS 0x100000

/* struct boot_params (Linux, arch/x86/include/uapi/asm/bootparam.h); the header lies in it at its
 * offset in the file. */
enum {
    PARAMS_ACPI_RSDP = 0x70,
    PARAMS_E820_ENTRIES = 0x1e8,
    PARAMS_HEADER_MAX = 0x290, /* it ends there at the latest */
    PARAMS_E820 = 0x2d0,
    PARAMS_SIZE = 0x1000,
    HEADER_START = LOADER_LINUX_SETUP_SECTS,
    LOADER_UNDEFINED = 0xff, /* type_of_loader: without an assigned number */
    VID_MODE_NORMAL = 0xffff,
};

static const uint64_t gdt[4] = {
    0, 0, UINT64_C(0x00cf9b000000ffff), /* 0x10: code */
    UINT64_C(0x00cf93000000ffff),       /* 0x18: data */
};

static void put(uint8_t *params, unsigned offset, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        params[offset + i] = (uint8_t)(value >> (8 * i));
    }
}

static int add_command_line(struct x86_boot *boot, const struct loader_linux *image,
                            uint8_t *params, char *error, size_t error_size)
{
    const char *append = boot->append ? boot->append : "";
    uint32_t address;
    int err;

    if (strlen(append) > image->cmdline_max) {
        snprintf(error, error_size, "-append: has %zu bytes, but the kernel %s takes %u",
                 strlen(append), boot->machine->kernel, image->cmdline_max);
        return -EFBIG;
    }
    err = x86_boot_place(boot, "the kernel's command line", append, strlen(append) + 1, &address,
                         error, error_size);
    put(params, LOADER_LINUX_CMD_LINE, address, 4);
    return err;
}

static int check_room(const struct x86_boot *boot, const struct loader_linux *image,
                      uint64_t kernel_size, char *error, size_t error_size)
{
    uint64_t at = image->runs_at > KERNEL_ADDRESS ? image->runs_at : KERNEL_ADDRESS;
    uint64_t size = image->init_size > kernel_size ? image->init_size : kernel_size;

    if (at > boot->memory->below_4g || size > boot->memory->below_4g - at) {
        snprintf(error, error_size,
                 "-kernel %s: needs %" PRIu64 " MiB of memory from 0x%" PRIx64
                 " on, more than -m gives",
                 boot->machine->kernel, (size + X86_1M - 1) / X86_1M, at);
        return -EFBIG;
    }
    return 0;
}

/* Everything of boot_params that the file's header does not say. */
static int fill(struct x86_boot *boot, const struct loader_linux *image, uint8_t *params,
                char *error, size_t error_size)
{
    struct x86_e820 e820[X86_E820_MAX];
    unsigned count = x86_memory_map(boot->memory, boot->tables, e820);
    uint32_t initrd, initrd_size;
    int err = add_command_line(boot, image, params, error, error_size);

    if (!err) {
        err = x86_boot_initrd(boot, (uint64_t)image->initrd_max + 1, &initrd, &initrd_size, error,
                              error_size);
    }
    if (err) {
        return err;
    }
    put(params, LOADER_LINUX_RAMDISK_IMAGE, initrd, 4);
    put(params, LOADER_LINUX_RAMDISK_SIZE, initrd_size, 4);
    put(params, LOADER_LINUX_TYPE_OF_LOADER, LOADER_UNDEFINED, 1);
    put(params, LOADER_LINUX_VID_MODE, VID_MODE_NORMAL, 2);
    put(params, LOADER_LINUX_CODE32_START, KERNEL_ADDRESS, 4);
    put(params, PARAMS_E820_ENTRIES, count, 1);
    memcpy(params + PARAMS_E820, e820, count * sizeof(e820[0]));
    put(params, PARAMS_ACPI_RSDP, boot->rsdp, 8);
    return 0;
}

int x86_boot_linux(struct x86_boot *boot, struct loader_file *file,
                   const struct loader_linux *image, char *error, size_t error_size)
{
    uint32_t header_end =
        image->header_end < PARAMS_HEADER_MAX ? image->header_end : PARAMS_HEADER_MAX;
    uint64_t size = file->size - image->setup_size;
    uint8_t *params = calloc(1, PARAMS_SIZE);
    char name[256];
    int err;

    if (!params) {
        snprintf(error, error_size, "-kernel: out of memory");
        return -ENOMEM;
    }
    if (header_end > HEADER_START) {
        memcpy(params + HEADER_START, file->data + HEADER_START, header_end - HEADER_START);
    }
    err = check_room(boot, image, size, error, error_size);
    if (!err) {
        err = fill(boot, image, params, error, error_size);
    }
    if (!err) {
        snprintf(name, sizeof(name), "-kernel %s", file->path);
        err = loader_add(&boot->machine->blobs, name, KERNEL_ADDRESS,
                         file->data + image->setup_size, size, size, error, error_size);
    }
    if (!err) {
        err = x86_boot_place(boot, "the kernel's boot_params", params, PARAMS_SIZE, &boot->esi,
                             error, error_size);
    }
    if (!err) {
        err = x86_boot_place(boot, "the boot GDT", gdt, sizeof(gdt), &boot->gdt, error, error_size);
    }
    if (!err) {
        boot->entry = X86_BOOT_LINUX;
        boot->eip = KERNEL_ADDRESS;
    }
    free(params);
    return err;
}
