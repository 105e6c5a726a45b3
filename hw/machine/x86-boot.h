/*
 * How x86 machines start.
 *
 * Without firmware (the usual way of microvm) the kernel is a blob in RAM, and so is what its
 * protocol wants to be told; at reset the boot processor is put at its entry. What is told lies
 * between X86_FIRMWARE and 1 MiB, which is the firmware's where there is one; ACPI tables lie
 * before it. Protocols, in the order of looking:
 *
 *     Linux bzImage      32-bit entry of its boot protocol (x86-boot-linux.c)
 *     ELF with PVH note  Xen's PVH contract (x86-boot-pvh.c)
 *     multiboot          version 1 (x86-boot-multiboot.c)
 *
 * With firmware, fw_cfg has the kernel, and the firmware does all this (x86-boot-fw-cfg.c).
 */
#ifndef TINAMOU_HW_MACHINE_X86_BOOT_H
#define TINAMOU_HW_MACHINE_X86_BOOT_H

#include "hw/machine/machine.h"
#include "hw/machine/x86-memory.h"

struct x86_boot {
    /* set by the machine before the functions here */
    struct machine *machine;
    const struct x86_memory *memory; /* which says if there is firmware */
    const char *append;              /* the whole command line; NULL: none */
    uint64_t rsdp;                   /* of ACPI; 0: none */
    uint64_t tables;                 /* where ACPI's memory begins, below X86_FIRMWARE */
    /* where the boot processor starts; set by x86_boot_kernel() */
    enum {
        X86_BOOT_RESET_VECTOR,
        X86_BOOT_FLAT32, /* selectors 0x08 and 0x10 */
        X86_BOOT_LINUX,  /* selectors 0x10 and 0x18, of the table at `gdt` */
    } entry;
    uint32_t eip, eax, ebx, esi, gdt;
    /* private */
    uint32_t next; /* free from there on, up to 1 MiB */
};

/* -kernel and -initrd: started at reset, or told to the firmware that there is. 0, or -errno with
 * a line in error[]. */
int x86_boot_kernel(struct x86_boot *boot, char *error, size_t error_size);

/* At reset: all vCPUs as after power-on, and the boot processor at the kernel. */
void x86_boot_reset(const struct x86_boot *boot);

/* ---- for the protocols ----------------------------------------------------------------------- */

/* Puts bytes between X86_FIRMWARE and 1 MiB, aligned to 16; *address is where they are. */
int x86_boot_place(struct x86_boot *boot, const char *name, const void *data, size_t size,
                   uint32_t *address, char *error, size_t error_size);

/* Adds the segments of an ELF file of 32 or 64 bits: as loader_add_elf(). */
struct loader_elf;
int x86_boot_load_elf(struct x86_boot *boot, const struct loader_file *file, struct loader_elf *elf,
                      char *error, size_t error_size);

/* Opens -initrd, which is given, and finds its place: as high as possible, its end at most `end`
 * and the end of RAM below 4 GiB. */
int x86_boot_open_initrd(struct x86_boot *boot, uint64_t end, struct loader_file *file,
                         uint32_t *address, char *error, size_t error_size);

/* -initrd at that place. With no -initrd both results are 0. */
int x86_boot_initrd(struct x86_boot *boot, uint64_t end, uint32_t *address, uint32_t *size,
                    char *error, size_t error_size);

/* -kernel, open and unpacked, by the protocol that it has; each of these by that which
 * loader_linux(), loader_pvh_entry() or loader_multiboot() has found; and x86_boot_fw_cfg() tells
 * firmware. */
struct loader_linux;
struct loader_multiboot;
int x86_boot_file(struct x86_boot *boot, struct loader_file *file, char *error, size_t error_size);
int x86_boot_linux(struct x86_boot *boot, struct loader_file *file,
                   const struct loader_linux *image, char *error, size_t error_size);
int x86_boot_pvh(struct x86_boot *boot, struct loader_file *file, uint32_t entry, char *error,
                 size_t error_size);
int x86_boot_fw_cfg(struct x86_boot *boot, struct loader_file *file, char *error,
                    size_t error_size);
int x86_boot_multiboot(struct x86_boot *boot, struct loader_file *file,
                       const struct loader_multiboot *image, char *error, size_t error_size);

#endif
