/*
 * RAM and firmware of x86 machines: RAM from 0 up to a hole below 4 GiB, and the rest from 4 GiB
 * on; firmware ends at 4 GiB, and its end is seen below 1 MiB too.
 */
#ifndef TINAMOU_HW_MACHINE_X86_MEMORY_H
#define TINAMOU_HW_MACHINE_X86_MEMORY_H

#include "hw/machine/machine.h"

#define X86_4G       (UINT64_C(1) << 32)
#define X86_1M       UINT64_C(0x100000)
#define X86_EBDA     UINT64_C(0x9fc00) /* what firmware keeps of conventional memory */
#define X86_FIRMWARE UINT64_C(0xf0000) /* to 1 MiB: of firmware, or of who starts without one */
#define X86_BIOS_MAX (UINT64_C(16) << 20)

/* As INT 15h, function E820h, boot_params and fw_cfg have it; ACPI 6.5, clause 15.1. */
struct x86_e820 {
    uint64_t address, size;
    uint32_t type;
} __attribute__((packed));

enum { X86_E820_RAM = 1, X86_E820_RESERVED = 2, X86_E820_ACPI = 3, X86_E820_NVS = 4 };

enum { X86_E820_MAX = 16 };

struct x86_memory {
    uint64_t below_4g, above_4g; /* bytes of RAM */
    uint64_t bios_size;          /* 0: there is none */
    /* private */
    struct mem_region high;
    struct mem_region bios, isa_bios; /* one and the same memory */
};

/* Maps RAM; what is more than `low` bytes goes above 4 GiB. 0, or -errno with a line in error[]. */
int x86_memory_init(struct x86_memory *memory, struct machine *machine, uint64_t low, char *error,
                    size_t error_size);

/*
 * -bios: the file, a multiple of 64 KiB, becomes memory that ends at 4 GiB; up to 128 KiB of its
 * end are seen below 1 MiB. Firmware may write it, and gets it back at each reset.
 */
int x86_memory_add_bios(struct x86_memory *memory, struct machine *machine, char *error,
                        size_t error_size);

/* The RAM that there is, for firmware: at most two entries; how many. */
unsigned x86_memory_ram(const struct x86_memory *memory, struct x86_e820 entries[X86_E820_MAX]);

/* The map as a kernel gets it that is started without firmware: how many entries. From `tables` on
 * up to X86_FIRMWARE is ACPI's. */
unsigned x86_memory_map(const struct x86_memory *memory, uint64_t tables,
                        struct x86_e820 entries[X86_E820_MAX]);

#endif
