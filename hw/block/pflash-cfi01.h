/*
 * Parallel NOR flash with Intel's command set (CFI 0001): the firmware and variable store of the
 * RISC-V virt machine, and of PCs.
 *
 * One device is a bank. Wiring: set properties, `node` and `loop`, realize (which reads the whole
 * medium), put `mmio` into memory.
 */
#ifndef TINAMOU_HW_BLOCK_PFLASH_CFI01_H
#define TINAMOU_HW_BLOCK_PFLASH_CFI01_H

#include "hw/core/device.h"
#include "io/block/block.h"

enum { PFLASH_BUFFER_MAX = 2048 };

struct pflash_cfi01 {
    struct hw_device device;
    /* properties */
    char *name;               /* of the RAM block, "virt.flash0" */
    uint32_t num_blocks;      /* erase blocks */
    uint64_t sector_length;   /* bytes of one, a multiple of 4 KiB */
    uint8_t width;            /* bytes of the bank's data bus: 1, 2, 4 */
    uint8_t device_width;     /* bytes of a chip's; chips lie side by side; 0: as width */
    uint8_t max_device_width; /* what the chip could do; 0: as device_width */
    bool readonly;            /* programming and erasing fail; also when the node is read-only */
    uint16_t id[4];           /* "id0": manufacturer, "id1": device, the rest is not shown */
    /* set by the machine before realize */
    struct block_node *node; /* its content, from byte 0 on; NULL: erased and lost at the end.
                                The device takes a reference. */
    struct loop *loop;       /* the main loop; NULL only without a node */
    /* for the machine; valid once realized */
    struct mem_region mmio;
    struct mem_ram *ram; /* the content as the guest sees it; firmware may be loaded into it */
    /* private */
    uint8_t cfi[0x52];
    uint64_t size;
    uint8_t command; /* the sequence in progress, by its first command; 0: array reads */
    uint8_t cycle;   /* writes of it seen */
    uint8_t status;
    uint32_t buffer_left;  /* words still to come of a buffered write */
    uint64_t buffer_first; /* offset of its block of the buffer */
    bool buffer_used;      /* the first word has come */
    uint8_t buffer[PFLASH_BUFFER_MAX];
    struct pflash_writer *writer; /* to the node */
};

extern const struct hw_device_type pflash_cfi01_type;

#endif
