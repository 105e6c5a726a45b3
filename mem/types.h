/*
 * Addresses of guest memory, each of its own type, so that one is never taken for another.
 *
 * A guest-virtual address of user mode is struct mem_gva (mem/guest.h). A host pointer to guest
 * memory comes only from mem_access_map() or mem_ram_host(), both of which check the range.
 */
#ifndef TINAMOU_MEM_TYPES_H
#define TINAMOU_MEM_TYPES_H

#include <stdbool.h>
#include <stdint.h>

/* A guest-physical address, in bytes, of some address space. */
struct mem_gpa {
    uint64_t value;
};

static inline struct mem_gpa mem_gpa(uint64_t value)
{
    return (struct mem_gpa){value};
}

/*
 * Size of a region that covers an address space whole: it means 2^64, which has no uint64_t. Every
 * other size is exact and not 0.
 */
#define MEM_SIZE_ALL UINT64_MAX

/* Who accesses memory, for devices that must know. Zeroed: a CPU, or nobody in particular. */
struct mem_attrs {
    uint16_t requester; /* PCI requester id (bus, device, function) of a DMA or an MSI */
    uint8_t user : 1;   /* an access of an unprivileged mode */
    uint8_t fetch : 1;  /* an instruction fetch */
    uint8_t debug : 1;  /* a debugger or monitor: devices answer without side effects or refuse */
};

#define MEM_ATTRS_NONE ((struct mem_attrs){0})

/*
 * The errors of an access, all negative errno values:
 *   -ENXIO   nothing is mapped at the address
 *   -EACCES  a write to read-only memory
 *   -EINVAL  the device takes no access of this size or alignment
 *   -EIO     the device refuses (or whatever else its callback returns)
 *   -EBUSY   the device is being dispatched by this thread already: it may not reach itself
 * A CPU's access turns each into the architecture's access fault, a device's DMA into what its
 * specification says of an aborted transfer.
 */

/* A power of two; dirty bits are kept for pages of this size, whatever the host's or guest's. */
#define MEM_PAGE_BITS 12
#define MEM_PAGE_SIZE (UINT64_C(1) << MEM_PAGE_BITS)

#endif
