/* Starting x86 machines: which protocol a kernel has, and what the protocols share. */
#include "hw/machine/x86-boot.h"

#include "hw/machine/loader-x86.h"
#include "target/x86/cpu.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RESET_VECTOR UINT64_C(0xfffffff0)

int x86_boot_place(struct x86_boot *boot, const char *name, const void *data, size_t size,
                   uint32_t *address, char *error, size_t error_size)
{
    if (boot->next < X86_FIRMWARE) {
        boot->next = X86_FIRMWARE;
    }
    boot->next = (boot->next + 15) & ~15u;
    if (size > X86_1M - boot->next) {
        snprintf(error, error_size, "%s: has %zu bytes, more than the %" PRIu64 " there are for it",
                 name, size, X86_1M - boot->next);
        return -EFBIG;
    }
    *address = boot->next;
    boot->next += (uint32_t)size;
    return loader_add(&boot->machine->blobs, name, *address, data, size, size, error, error_size);
}

int x86_boot_load_elf(struct x86_boot *boot, const struct loader_file *file, struct loader_elf *elf,
                      char *error, size_t error_size)
{
    if (!loader_elf_class(file, &elf->machine, &elf->bits) || elf->machine != LOADER_EM_386) {
        elf->machine = LOADER_EM_X86_64;
    }
    return loader_add_elf(&boot->machine->blobs, file, elf, error, error_size);
}

int x86_boot_open_initrd(struct x86_boot *boot, uint64_t end, struct loader_file *file,
                         uint32_t *address, char *error, size_t error_size)
{
    int err;

    if (end > boot->memory->below_4g) {
        end = boot->memory->below_4g;
    }
    err = loader_open(file, "-initrd", boot->machine->initrd, end > X86_1M ? end - X86_1M : 0,
                      error, error_size);
    if (!err) {
        *address = (uint32_t)((end - file->size) & ~(uint64_t)(MEM_PAGE_SIZE - 1));
    }
    return err;
}

int x86_boot_initrd(struct x86_boot *boot, uint64_t end, uint32_t *address, uint32_t *size,
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
        *size = (uint32_t)file.size;
        err = loader_add_file(&boot->machine->blobs, &file, *address, error, error_size);
        loader_close(&file);
    }
    return err;
}

int x86_boot_file(struct x86_boot *boot, struct loader_file *file, char *error, size_t error_size)
{
    struct loader_multiboot multiboot;
    struct loader_linux image;
    uint32_t entry;
    int err = loader_linux(file, &image, error, error_size);

    if (err != -ENOENT) {
        return err ? err : x86_boot_linux(boot, file, &image, error, error_size);
    }
    err = loader_is_elf(file) ? loader_pvh_entry(file, &entry, error, error_size) : -ENOENT;
    if (err != -ENOENT) {
        return err ? err : x86_boot_pvh(boot, file, entry, error, error_size);
    }
    err = loader_multiboot(file, &multiboot, error, error_size);
    if (err != -ENOENT) {
        return err ? err : x86_boot_multiboot(boot, file, &multiboot, error, error_size);
    }
    snprintf(error, error_size,
             loader_is_elf(file)
                 ? "-kernel %s: is an ELF file without PVH note (CONFIG_PVH) or multiboot header"
                 : "-kernel %s: expected a bzImage, an ELF file with PVH note, or multiboot",
             file->path);
    return -EINVAL;
}

int x86_boot_kernel(struct x86_boot *boot, char *error, size_t error_size)
{
    struct machine *machine = boot->machine;
    struct loader_file file;
    int err =
        loader_open(&file, "-kernel", machine->kernel, boot->memory->below_4g, error, error_size);

    if (err) {
        return err;
    }
    err = loader_unpack(&file, boot->memory->below_4g, error, error_size);
    if (!err) {
        err = boot->memory->bios_size ? x86_boot_fw_cfg(boot, &file, error, error_size)
                                      : x86_boot_file(boot, &file, error, error_size);
    }
    loader_close(&file);
    return err;
}

static void start_bsp(const struct x86_boot *boot, struct x86_cpu *cpu)
{
    x86_start_flat32(cpu, boot->eip, boot->ebx, boot->esi);
    cpu->gpr[X86_RAX] = boot->eax;
    if (boot->entry == X86_BOOT_LINUX) {
        static const uint8_t data[] = {X86_DS, X86_ES, X86_SS, X86_FS, X86_GS};

        cpu->segment[X86_CS].selector = 0x10;
        for (unsigned i = 0; i < sizeof(data); i++) {
            cpu->segment[data[i]].selector = 0x18;
        }
        cpu->gdt = (struct x86_table){.base = boot->gdt, .limit = 4 * 8 - 1};
    }
}

void x86_boot_reset(const struct x86_boot *boot)
{
    struct machine *machine = boot->machine;

    for (unsigned n = 0; n < machine->smp.cpus; n++) {
        machine->cpus[n]->ops->system->reset(machine->cpus[n], RESET_VECTOR);
    }
    if (boot->entry != X86_BOOT_RESET_VECTOR) {
        start_bsp(boot, x86_cpu(machine->cpus[0]));
    }
}
