/*
 * Checked access to guest-physical memory. Every function may fail, with the errors of mem/types.h,
 * for every address a guest can name; none of them ends the process.
 *
 * Any thread may call these, inside or outside of a reader section, with or without the machine
 * lock, except that a device's own lock restricts it to mem_access_map() (see struct mem_owner).
 * RAM is accessed directly, at once and without a lock; naturally aligned accesses of 1, 2, 4 and 8
 * bytes are single host accesses, so vCPUs and devices may share flags and indices. Barriers are
 * the caller's. Registers are accessed under their owner's lock.
 */
#ifndef TINAMOU_MEM_ACCESS_H
#define TINAMOU_MEM_ACCESS_H

#include "mem/space.h"

/*
 * Copies size bytes. In registers, the bytes become the widest naturally aligned accesses that the
 * device takes. Returns 0, or the error of the first byte that fails; what comes before it has been
 * done, what comes after has not. Wrapping over the end of the space is -ENXIO.
 */
int mem_access_read(struct mem_space *space, struct mem_gpa from, void *to, uint64_t size,
                    struct mem_attrs attrs);
int mem_access_write(struct mem_space *space, struct mem_gpa to, const void *from, uint64_t size,
                     struct mem_attrs attrs);

/* As mem_access_write(), but ROM is written too: for loaders and debuggers. Not for registers:
 * -EIO. */
int mem_access_write_rom(struct mem_space *space, struct mem_gpa to, const void *from,
                         uint64_t size);

/*
 * One access of a little-endian processor, size 1, 2, 4 or 8; it need not be aligned. Event
 * descriptors are signalled by stores. Where it crosses from one section into another it is made
 * byte by byte.
 */
int mem_access_load(struct mem_space *space, struct mem_gpa from, unsigned size, uint64_t *value,
                    struct mem_attrs attrs);
int mem_access_store(struct mem_space *space, struct mem_gpa to, unsigned size, uint64_t value,
                     struct mem_attrs attrs);

/*
 * The same on a PC's buses, size 1 to 8, where each byte has its own answer: an access that does
 * not lie in one section is made part by part, parts that nobody takes read as ones or have no
 * effect, and the others go on. An error only when no part has been taken; *value is ones, then.
 */
int mem_access_load_parts(struct mem_space *space, struct mem_gpa from, unsigned size,
                          uint64_t *value, struct mem_attrs attrs);
int mem_access_store_parts(struct mem_space *space, struct mem_gpa to, unsigned size,
                           uint64_t value, struct mem_attrs attrs);

/*
 * Atomic compare and exchange in RAM of 1, 2, 4 or 8 bytes, naturally aligned (else -EINVAL). 0
 * when exchanged; -EAGAIN when memory held something else, which is in *expected then; -ENXIO where
 * there is no RAM. For page-table walkers that set accessed and dirty bits.
 */
int mem_access_cas(struct mem_space *space, struct mem_gpa at, unsigned size, uint64_t *expected,
                   uint64_t desired);

/* A piece of guest RAM that stays usable, also without a reader section, until it is unmapped. */
struct mem_mapping {
    uint8_t *host; /* size bytes */
    uint64_t size;
    struct mem_ram *ram; /* referenced */
    uint64_t ram_offset;
    bool writable;
};

/*
 * Maps guest RAM: at most `size` bytes (not 0) from gpa on, and fewer where RAM, or the block,
 * ends; map->size says how many, at least 1. With `write`, ROM is -EACCES. Registers are -ENXIO:
 * the caller falls back to mem_access_read() or write(). The mapping keeps showing the RAM block,
 * even when the guest moves the region away.
 */
int mem_access_map(struct mem_space *space, struct mem_gpa gpa, uint64_t size, bool write,
                   struct mem_mapping *map);

/* Ends a mapping; its first `written` bytes are marked dirty. A zeroed mapping may be unmapped. */
void mem_access_unmap(struct mem_mapping *map, uint64_t written);

/*
 * Dispatch is refused to owners that the thread is in: mem/ marks callbacks; a device that does DMA
 * from elsewhere (a bottom half, a timer) brackets it so, with its lock held. enter returns false,
 * and leave must not be called, when the thread is in this owner already.
 */
bool mem_access_owner_enter(struct mem_owner *owner);
void mem_access_owner_leave(struct mem_owner *owner);

/*
 * Delivers the writes to coalesced regions (mem_region_set_coalesced()) that wait; from within a
 * delivery it does nothing. Under the machine lock. The hook is of the accelerator that defers
 * them; process-wide, set before vCPUs run.
 */
void mem_access_deliver(void);
void mem_access_set_deliver_hook(void (*hook)(void));

#endif
