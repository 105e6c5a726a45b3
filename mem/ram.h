/*
 * RAM blocks: host memory that a guest sees as RAM or ROM.
 *
 * A block is a memfd, or a file, mapped once for its whole life; its host address never changes, so
 * an accelerator may hand it to the kernel and a soft TLB may keep pointers into it while the block
 * is referenced. It is counted: whoever keeps a pointer keeps a reference. Blocks know nothing of
 * guest addresses; regions (mem/region.h) put them there.
 */
#ifndef TINAMOU_MEM_RAM_H
#define TINAMOU_MEM_RAM_H

#include "mem/types.h"

#include <stdatomic.h>
#include <stddef.h>

/* Who keeps track of written pages; see mem/dirty.h. */
enum mem_dirty_client {
    MEM_DIRTY_MIGRATION, /* pages to be sent again */
    MEM_DIRTY_DISPLAY,   /* parts of a frame buffer to be drawn again */
    MEM_DIRTY_CODE,      /* pages without translations; clean means that there are some */
    MEM_DIRTY_CLIENTS
};

/* How a block is made. Zeroed fields mean no. */
struct mem_ram_config {
    const char *name; /* unique among blocks of a machine: migration and messages use it; copied */
    uint64_t size;    /* bytes, not 0; rounded up to the page size of the backing */
    const char *path; /* backing file, or a folder (then an unnamed file in it); NULL: a memfd */
    uint64_t offset;  /* in the backing file, a multiple of the page size */
    bool shared;      /* writes reach the file or memfd, so other processes may map it */
    bool huge;        /* huge pages: from hugetlbfs for a shared memfd, else by madvise */
    bool prealloc;    /* every page exists before the guest starts */
    bool readonly;    /* the backing file is opened and mapped read-only */
    bool dump;        /* leave it in the process's core dumps */
};

struct mem_ram {
    const char *name;
    uint8_t *host; /* size bytes; use mem_ram_host() for a checked pointer */
    uint64_t size;
    uint64_t page_size; /* of the backing */
    uint64_t pages;     /* of MEM_PAGE_SIZE */
    int fd;             /* of the backing, -1 if it is not shared; not the caller's to close */
    uint64_t fd_offset;
    bool readonly;
    _Atomic uint32_t references;
    _Atomic uint32_t logging; /* bit per client that wants dirty bits from accelerators */
    _Atomic uint64_t *dirty[MEM_DIRTY_CLIENTS]; /* bit per page; the last word may be partial */
};

/*
 * Makes a block with one reference, zero-filled or with the file's content. A file that is shorter
 * than offset + size is lengthened, unless readonly (then -EINVAL). A block without a file that the
 * host has not enough memory and swap for is -ENOMEM. On error returns -errno and one
 * line in error[] that names what was asked and what failed. Any thread; not in a signal handler.
 */
int mem_ram_create(struct mem_ram **ram, const struct mem_ram_config *config, char *error,
                   size_t error_size);

/* A reference more, or less; the last one frees the block. Any thread. */
struct mem_ram *mem_ram_ref(struct mem_ram *ram);
void mem_ram_unref(struct mem_ram *ram);

/*
 * Pointer to `size` bytes at `offset`; NULL when they are not all inside the block. Valid while the
 * caller has a reference. Whoever writes through it says so with mem_dirty_set() afterwards.
 */
static inline void *mem_ram_host(const struct mem_ram *ram, uint64_t offset, uint64_t size)
{
    return offset <= ram->size && size <= ram->size - offset ? ram->host + offset : NULL;
}

/*
 * Gives the pages that lie wholly inside the range back to the host; they read as zero (or as the
 * file, where it is not shared). Marks them dirty. For balloons and for discarded ranges. Returns 0
 * or -errno. Any thread.
 */
int mem_ram_discard(struct mem_ram *ram, uint64_t offset, uint64_t size);

#endif
