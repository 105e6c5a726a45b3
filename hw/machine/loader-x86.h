/*
 * Kernels for x86 machines, as files: what their headers say, checked. Where they go in memory is
 * x86-boot.c's business.
 */
#ifndef TINAMOU_HW_MACHINE_LOADER_X86_H
#define TINAMOU_HW_MACHINE_LOADER_X86_H

#include "hw/machine/loader.h"

/* A Linux bzImage (Linux, Documentation/arch/x86/boot.rst): setup code with a header, then the
 * kernel in protected mode. */
struct loader_linux {
    uint16_t protocol;   /* 0x20f: 2.15 */
    uint8_t loadflags;   /* LOADER_LINUX_* */
    uint16_t xloadflags; /* 0 before protocol 2.12 */
    uint32_t header_end; /* the header has the bytes from 0x1f1 up to this */
    uint32_t setup_size; /* bytes of the setup code, boot sector included; at most the file's */
    uint32_t code32_start;
    uint32_t initrd_max;  /* the highest address that an initrd may have */
    uint32_t cmdline_max; /* bytes of a command line, without its final NUL */
    uint64_t runs_at;     /* where it moves itself, if not to where it was loaded; or 0 */
    uint64_t init_size;   /* bytes that it needs there before it knows of the memory map; or 0 */
};

enum {
    LOADER_LINUX_LOADED_HIGH = 1 << 0,  /* of loadflags: the kernel goes to 1 MiB */
    LOADER_LINUX_CAN_USE_HEAP = 1 << 7, /* set by loaders */
    LOADER_LINUX_KERNEL_64 = 1 << 0,    /* of xloadflags: it has a 64-bit entry at 0x200 */
};

/* Offsets of fields of the header in the file, and in boot_params. */
enum {
    LOADER_LINUX_SETUP_SECTS = 0x1f1,
    LOADER_LINUX_VID_MODE = 0x1fa,
    LOADER_LINUX_BOOT_FLAG = 0x1fe,
    LOADER_LINUX_JUMP = 0x200,
    LOADER_LINUX_MAGIC = 0x202,
    LOADER_LINUX_VERSION = 0x206,
    LOADER_LINUX_TYPE_OF_LOADER = 0x210,
    LOADER_LINUX_LOADFLAGS = 0x211,
    LOADER_LINUX_CODE32_START = 0x214,
    LOADER_LINUX_RAMDISK_IMAGE = 0x218,
    LOADER_LINUX_RAMDISK_SIZE = 0x21c,
    LOADER_LINUX_HEAP_END = 0x224,
    LOADER_LINUX_CMD_LINE = 0x228,
    LOADER_LINUX_INITRD_MAX = 0x22c,
    LOADER_LINUX_ALIGNMENT = 0x230,
    LOADER_LINUX_RELOCATABLE = 0x234,
    LOADER_LINUX_XLOADFLAGS = 0x236,
    LOADER_LINUX_CMDLINE_SIZE = 0x238,
    LOADER_LINUX_SETUP_DATA = 0x250,
    LOADER_LINUX_PREF_ADDRESS = 0x258,
    LOADER_LINUX_INIT_SIZE = 0x260,
};

/* 0; -ENOENT when it is no such image; -EINVAL when its header is wrong, or the file cut off. */
int loader_linux(const struct loader_file *file, struct loader_linux *image, char *error,
                 size_t error_size);

/*
 * Of an ELF file: where it starts by the contract of PVH (Xen's note PHYS32_ENTRY). 0; -ENOENT when
 * it has no such note; -EINVAL when that is wrong.
 */
int loader_pvh_entry(const struct loader_file *file, uint32_t *entry, char *error,
                     size_t error_size);

/* A multiboot kernel (Multiboot Specification 0.6.96, clause 3.1). */
struct loader_multiboot {
    uint32_t flags; /* LOADER_MULTIBOOT_* */
    uint32_t entry;
    /* With addresses in the header (the "a.out kludge"): `loaded` bytes from file_offset on go to
     * load_address, and memory up to memory_end is cleared behind them. */
    bool has_addresses;
    uint64_t file_offset, loaded;
    uint32_t load_address, memory_end;
};

enum {
    LOADER_MULTIBOOT_PAGE_ALIGN = 1 << 0,
    LOADER_MULTIBOOT_MEMORY_INFO = 1 << 1,
    LOADER_MULTIBOOT_VIDEO = 1 << 2,
    LOADER_MULTIBOOT_ADDRESSES = 1 << 16,
};

/* 0; -ENOENT when there is no such header; -EINVAL when it asks for what cannot be. Without
 * addresses, `entry` is to be the ELF header's. */
int loader_multiboot(const struct loader_file *file, struct loader_multiboot *image, char *error,
                     size_t error_size);

#endif
