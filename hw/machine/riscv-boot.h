/*
 * How RISC-V machines start: code in a boot ROM hands a hart id, the device tree and (to OpenSBI's
 * fw_dynamic) what comes next to the firmware; firmware and kernel are blobs in RAM.
 */
#ifndef TINAMOU_HW_MACHINE_RISCV_BOOT_H
#define TINAMOU_HW_MACHINE_RISCV_BOOT_H

#include "hw/machine/fdt.h"
#include "hw/machine/machine.h"

/* The boot ROM of all machines, where harts start. */
#define RISCV_MROM      0x1000
#define RISCV_MROM_SIZE 0xf000

struct riscv_boot {
    struct mem_region rom;
    uint64_t ram_base;
    uint64_t firmware_entry; /* where the boot ROM jumps to */
    uint64_t firmware_end;   /* behind it in RAM; ram_base when there is none */
    uint64_t kernel_entry;   /* 0: none */
    uint64_t kernel_end;
    uint64_t initrd_start, initrd_end; /* both 0: none */
    uint64_t fdt_address;
};

/* Puts the ROM into the machine's memory. */
int riscv_boot_add_rom(struct machine *machine, struct riscv_boot *boot, char *error,
                       size_t error_size);
/* -bios: adds the firmware at ram_base, or where its ELF headers say. */
int riscv_boot_firmware(struct machine *machine, struct riscv_boot *boot, char *error,
                        size_t error_size);
/*
 * -kernel and -initrd. The kernel is an ELF executable (at its own addresses), or a Linux image or
 * raw binary at the first multiple of 2 MiB behind the firmware.
 */
int riscv_boot_kernel(struct machine *machine, struct riscv_boot *boot, char *error,
                      size_t error_size);
/*
 * What comes last, when it is known what starts: the device tree, of -dtb or what build() writes
 * into an empty one, with kernel command line and initrd in /chosen, near the end of RAM below 3
 * GiB; the code and data at the start of the boot ROM; and a look at whether all blobs find room.
 * With dumpdtb the tree is written to that file, and the result is MACHINE_DONE.
 */
int riscv_boot_finish(struct machine *machine, struct riscv_boot *boot,
                      int (*build)(struct machine *machine, struct fdt_tree *tree, char *error,
                                   size_t error_size),
                      char *error, size_t error_size);

#define RISCV_TIMEBASE 10000000 /* Hz of mtime and of the time CSR */

/* Input lines of a hart: bits of mip. */
enum {
    RISCV_LINE_SSIP = 1,
    RISCV_LINE_MSIP = 3,
    RISCV_LINE_MTIP = 7,
    RISCV_LINE_SEIP = 9,
    RISCV_LINE_MEIP = 11,
};

/* ---- what device trees say of harts ---- */

/* The nodes /cpus and below; phandles[n] is that of hart n's interrupt controller. */
void riscv_fdt_cpus(struct machine *machine, struct fdt_tree *tree, uint32_t *phandles);
void riscv_fdt_memory(struct machine *machine, struct fdt_tree *tree, uint64_t base);
/* The property interrupts-extended: each hart's controller with each of `count` lines. */
void riscv_fdt_hart_lines(struct machine *machine, struct fdt_tree *tree, const char *path,
                          const uint32_t *phandles, const uint32_t *lines, unsigned count);

#endif
