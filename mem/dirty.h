/*
 * Dirty bits: which pages of a RAM block were written, told to each client apart.
 *
 * A bit is set when a page is written and cleared by its client. All bits start set: a client that
 * wants to know about writes clears first. So where no client has cleared, writing costs a test per
 * page, and a soft TLB may let stores through unseen while mem_dirty_is_set_all() says so.
 *
 * The order is the contract: a writer stores its bytes, then sets the bits; a client clears the
 * bits, then reads the bytes. Whatever a client has read too early is marked again.
 *
 * The client MEM_DIRTY_CODE belongs to a translator: it clears a page before it reads code there,
 * and is called when somebody writes the page (see mem_dirty_set_code_hook()).
 *
 * Writes that accelerators make behind our back (KVM) arrive through log_sync of mem/space.h.
 */
#ifndef TINAMOU_MEM_DIRTY_H
#define TINAMOU_MEM_DIRTY_H

#include "mem/ram.h"

/* The bitmaps of a new block, all set. For mem/ram.c. 0 or -ENOMEM. */
int mem_dirty_attach(struct mem_ram *ram);

/*
 * Marks the pages that the range touches for every client. Call it after the bytes are written. The
 * range is clipped to the block; an empty one does nothing. Any thread.
 */
void mem_dirty_set(struct mem_ram *ram, uint64_t offset, uint64_t size);

/* The same for all clients but MEM_DIRTY_CODE, whose owner has seen to these bytes by himself. */
void mem_dirty_set_but_code(struct mem_ram *ram, uint64_t offset, uint64_t size);

/* The same for one client; bit n of bitmap[] is the n-th page from `offset`, a page boundary. */
void mem_dirty_set_bitmap(struct mem_ram *ram, enum mem_dirty_client client, uint64_t offset,
                          const uint64_t *bitmap, uint64_t pages);

/* Is any page of the range dirty for the client? Any thread. */
bool mem_dirty_test(const struct mem_ram *ram, enum mem_dirty_client client, uint64_t offset,
                    uint64_t size);

/* Is the page at offset dirty for all clients, so that a write to it needs no mark? */
bool mem_dirty_is_set_all(const struct mem_ram *ram, uint64_t offset);

/*
 * Clears the client's bits of all pages that the range touches and returns how many were set; then
 * the caller may read the pages. With bitmap (may be NULL), bit n tells whether the n-th page,
 * counted from the one with `offset`, was set; the caller has cleared it before. Soft TLBs that let
 * stores through must be flushed by the caller before it relies on the bits. Any thread.
 */
uint64_t mem_dirty_clear(struct mem_ram *ram, enum mem_dirty_client client, uint64_t offset,
                         uint64_t size, uint64_t *bitmap);

/*
 * Whom mem_dirty_set() calls when it marks a page that was clean for MEM_DIRTY_CODE, once per run
 * of such pages; the translations of the range are to be dropped. Process-wide, set once before
 * guests run, by the accelerator that translates. It may be called on any thread, inside or outside
 * of a reader section, and takes only the accelerator's locks.
 */
void mem_dirty_set_code_hook(void (*hook)(void *opaque, struct mem_ram *ram, uint64_t offset,
                                          uint64_t size),
                             void *opaque);

#endif
