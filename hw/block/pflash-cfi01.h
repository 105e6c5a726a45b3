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

enum {
    PFLASH_CFI_SIZE = 0x52,
    PFLASH_BUFFER_MAX = 8192, /* bytes of a buffered write: four chips with 2 KiB each */
    PFLASH_WRITE_MAX = 65536, /* bytes of a request to the node */
};

/* Writes what has changed to the node, one request at a time. */
struct pflash_writer {
    struct block_request request;
    struct iovec iov;
    uint64_t *dirty;      /* a bit per MEM_PAGE_SIZE of content; NULL without a node */
    uint64_t first, past; /* pages outside of these are not dirty */
    bool busy, failed;
    uint8_t bytes[PFLASH_WRITE_MAX];
};

struct pflash_cfi01 {
    struct hw_device device;
    /* properties */
    char *name;               /* of the RAM block, "virt.flash0" */
    uint32_t num_blocks;      /* erase blocks */
    uint64_t sector_length;   /* bytes of one */
    uint8_t width;            /* bytes of the bank's data bus: 1, 2 or 4 */
    uint8_t device_width;     /* bytes of a chip's, chips lie side by side; 0: as width */
    uint8_t max_device_width; /* what the chip could do; 0: as device_width */
    bool readonly;            /* nothing can be written; also when the node is read-only */
    uint16_t id[4];           /* "id0": manufacturer, "id1": device; the others are not shown */
    /* set by the machine before realize */
    struct block_node *node; /* its content, from byte 0 on, of the flash's size; NULL: erased, and
                                lost at the end. The device takes a reference. */
    struct loop *loop;       /* the main loop; may be NULL without a node */
    /* for the machine; valid once realized */
    struct mem_region mmio;
    struct mem_ram *ram; /* the content */
    /* private */
    uint64_t size;
    bool erased;          /* nothing was ever programmed, and the content is not in `ram` */
    uint32_t buffer_size; /* bytes of a buffered write */
    uint8_t cfi[PFLASH_CFI_SIZE];
    uint8_t command;       /* what reads show, and what is under way; 0: the content */
    uint8_t cycle;         /* how many writes of it were seen */
    uint8_t status;        /* of each chip */
    uint32_t buffer_left;  /* writes still to come of a buffered write */
    uint64_t buffer_first; /* offset of the buffer */
    bool buffer_placed;    /* the first write of data has said where it is */
    uint8_t buffer[PFLASH_BUFFER_MAX];
    struct pflash_writer writer;
};

extern const struct hw_device_type pflash_cfi01_type;

#endif
