/*
 * fw_cfg: what QEMU tells firmware: numbered items, and named files among them.
 *
 * Wiring: set `memory`, realize, put `mmio` (24 bytes: data 0, selector 8, DMA 16) into memory, or
 * `io` (12 bytes, for ports 0x510 to 0x51b) into a space of I/O ports; add items; at reset of the
 * machine nothing needs to be done. Items are added under the machine lock, before the guest runs.
 *
 * Errors of the functions that add: 0, or -EEXIST (the key or the name is there already), -ENOSPC
 * (too many files), -ENAMETOOLONG, -EFBIG (4 GiB or more), -ENOMEM.
 */
#ifndef TINAMOU_HW_NVRAM_FW_CFG_H
#define TINAMOU_HW_NVRAM_FW_CFG_H

#include "hw/core/device.h"
#include "mem/space.h"

/* Items with fixed numbers; those not listed are of no use on machines that we have. */
enum fw_cfg_key {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_MACHINE_ID = 0x06,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_KERNEL_CMDLINE = 0x09,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_DEVICE = 0x0c,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_ARCH_LOCAL = 0x8000,    /* bit of keys that mean something else on each architecture */
    FW_CFG_IRQ0_OVERRIDE = 0x8002, /* x86: interrupt 0 is on pin 2 of the I/O APIC */
};

enum {
    FW_CFG_FILES_MAX = 0x1f0 - 0x20 + 1, /* of which some are the machine's */
    FW_CFG_NAME_MAX = 55,                /* bytes of a file's name, without the final NUL */
};

/* What happens when the guest touches an item; each may be NULL. Under the machine lock. */
struct fw_cfg_item_ops {
    /* The item has been selected and will be read: it may be brought up to date. */
    void (*select)(void *opaque);
    /* The guest wrote these bytes of a writable item, by DMA. */
    void (*written)(void *opaque, uint32_t offset, uint32_t size);
};

struct fw_cfg_item {
    uint8_t *data;
    uint32_t size;
    bool exists, owned, writable;
    const struct fw_cfg_item_ops *ops;
    void *opaque;
};

struct fw_cfg_file {
    char name[FW_CFG_NAME_MAX + 1];
};

enum { FW_CFG_ITEMS = FW_CFG_FILE_FIRST + FW_CFG_FILES_MAX };

struct fw_cfg {
    struct hw_device device;
    /* properties */
    bool dma_enabled;
    /* set by the machine before realize */
    struct mem_space *memory; /* what DMA reaches */
    /* for the machine; valid once realized */
    struct mem_region mmio;
    struct mem_region io;
    /* private */
    struct mem_region io_select, io_dma;
    struct fw_cfg_item item[2][FW_CFG_ITEMS];  /* common, and of the architecture */
    struct fw_cfg_file file[FW_CFG_FILES_MAX]; /* sorted by name; file n is item FILE_FIRST + n */
    uint32_t files;
    uint16_t selected;
    uint32_t offset; /* in the selected item */
    uint64_t dma_address;
};

extern const struct hw_device_type fw_cfg_type;

/* An item; the bytes are copied. */
int fw_cfg_add_bytes(struct fw_cfg *fw, uint16_t key, const void *data, size_t size);
/* A number, little-endian; size is 2, 4 or 8. */
int fw_cfg_add_number(struct fw_cfg *fw, uint16_t key, uint64_t value, unsigned size);
/* Text with its final NUL. */
int fw_cfg_add_string(struct fw_cfg *fw, uint16_t key, const char *text);

/* A file, its bytes copied. Adding changes the item numbers of files whose names sort behind. */
int fw_cfg_add_file(struct fw_cfg *fw, const char *name, const void *data, size_t size);

/*
 * A file whose bytes are the caller's, who keeps them as long as the device lives and may change
 * them under the machine lock. With `writable` the guest may write them.
 */
int fw_cfg_add_live_file(struct fw_cfg *fw, const char *name, void *data, size_t size,
                         bool writable, const struct fw_cfg_item_ops *ops, void *opaque);

/*
 * A file as -fw_cfg has it: "[name=]NAME,file=PATH" or "...,string=TEXT" (a comma in TEXT or PATH
 * is doubled). 0, or -EINVAL, what opening returned, or the errors above, with a line in error[].
 * Names that do not begin with "opt/" are taken with a warning.
 */
int fw_cfg_add_option(struct fw_cfg *fw, const char *option, char *error, size_t error_size);

#endif
