/*
 * Regions: what can be put into an address space, as a tree.
 *
 * A region is a range of bytes with a meaning: RAM or ROM (a part of a RAM block), registers of a
 * device (MMIO), a window into another region (alias), or nothing but a place for others
 * (container). A container holds regions at offsets; where they overlap, the one with the higher
 * priority is seen, and among equal priorities the one added last. A container never hides what is
 * behind it where none of its children is. A region is in one container at most; to have it in two
 * places, use aliases.
 *
 * Worked example, 1 GiB of RAM of which the first 640 KiB and the rest are seen on both sides of a
 * video window:
 *
 *     mem_region_init_container(&root, "system", MEM_SIZE_ALL);
 *     mem_region_init_ram(&ram, "ram", block, 0, 1 << 30, false);
 *     mem_region_init_mmio(&video, "video", 0x20000, &video_ops, dev, &dev->owner);
 *     mem_region_init_alias(&all, "ram-low", &ram, 0, 1 << 30);
 *     mem_region_add(&root, 0, &all, 0);
 *     mem_region_add(&root, 0xa0000, &video, 1);     hides that part of the alias
 *
 * The structs are the caller's memory, zeroed before their init, and embedded in devices. All
 * functions here may be called on any thread (a lock inside orders them); they take effect in the
 * address spaces when the outermost mem_region_commit() is reached, at once if there is no
 * mem_region_begin(). Readers see the old or the new state of a whole transaction, never a mixture.
 */
#ifndef TINAMOU_MEM_REGION_H
#define TINAMOU_MEM_REGION_H

#include "mem/ram.h"
#include "mem/types.h"
#include "util/epoch.h"

struct mem_region;

enum mem_endian { MEM_LITTLE, MEM_BIG };

/*
 * Who owns a device's registers: how a callback is serialised, and the guard against a device that
 * reaches itself by DMA. One per device, embedded in it.
 *
 * Before a callback the dispatcher calls lock(owner), afterwards unlock(owner); both NULL: the
 * callbacks take care themselves. A lock that several owners share (the machine lock) has to be
 * recursive, for one device's DMA may reach another's registers. A device with a lock of its own
 * accesses guest memory through mem_access_map() only while it holds it: the machine lock is taken
 * before any device's, never after.
 */
struct mem_owner {
    const char *name;
    void (*lock)(struct mem_owner *owner);
    void (*unlock)(struct mem_owner *owner);
    _Atomic uintptr_t thread; /* the dispatching thread; private to mem/access.c */
};

/*
 * Callbacks of a device's registers. They get offsets into the region and one access of min_size to
 * max_size bytes, naturally aligned unless `unaligned`; what is refused never reaches them. They
 * return 0 or a negative errno value (see mem/types.h), and run inside of a reader section: they
 * may change the topology, but not wait for readers.
 */
struct mem_ops {
    /* Sets *value; bits above the size are ignored. NULL: reads fail with -EIO. */
    int (*read)(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                struct mem_attrs attrs);
    /* Bits of value above the size are 0. NULL: writes fail with -EIO. */
    int (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                 struct mem_attrs attrs);
    enum mem_endian endian; /* how the bytes of a value lie in guest memory */
    uint8_t min_size;       /* 1, 2, 4 or 8; 0 means 1 */
    uint8_t max_size;       /* min_size to 8; 0 means 8 */
    bool split;             /* a wider access becomes several of max_size, low offset first */
    bool unaligned;         /* offsets need not be multiples of the size */
};

enum mem_region_kind {
    MEM_REGION_CONTAINER,
    MEM_REGION_RAM, /* also ROM, when readonly */
    MEM_REGION_MMIO,
    MEM_REGION_ROM_DEVICE, /* reads as ROM or through ops, writes through ops: flash memory */
    MEM_REGION_ALIAS,
};

/* A write to [offset, offset + size) of a region signals fd instead of calling the device. */
struct mem_eventfd {
    uint64_t offset;
    uint8_t size;             /* 1, 2, 4, 8; 0: any size */
    bool match;               /* only if the value written is `data` */
    uint64_t data;            /* as the region's ops would get it */
    int fd;                   /* of the caller, who closes it after removing this */
    struct mem_eventfd *next; /* private */
};

/* All fields are private to mem/; they are here so that a region can be embedded. */
struct mem_region {
    const char *name; /* the caller's; lives as long as the region */
    uint64_t size;
    enum mem_region_kind kind;
    bool initialised, enabled, readonly;
    bool rom_mode;  /* of MEM_REGION_ROM_DEVICE: reads are direct */
    bool coalesced; /* of MEM_REGION_MMIO: writes may come late */
    /* place */
    struct mem_region *container;
    uint64_t offset;
    int priority;
    struct mem_region *next; /* in the container, highest priority first */
    /* content */
    struct mem_region *children;
    struct mem_region *target; /* of an alias */
    uint64_t target_offset;
    struct mem_ram *ram;
    uint64_t ram_offset;
    const struct mem_ops *ops;
    void *opaque;
    struct mem_owner *owner;
    struct mem_eventfd *eventfds;
    /* end */
    struct epoch_node retired;
    void (*free)(void *opaque);
    void *free_opaque;
};

/* size is MEM_SIZE_ALL or at least 1. */
void mem_region_init_container(struct mem_region *region, const char *name, uint64_t size);

/*
 * `size` bytes of a block from ram_offset on, both multiples of MEM_PAGE_SIZE. Takes a reference of
 * its own. Returns 0, or -EINVAL when the block does not hold them.
 */
int mem_region_init_ram(struct mem_region *region, const char *name, struct mem_ram *ram,
                        uint64_t ram_offset, uint64_t size, bool readonly);

/* ops, opaque and owner (may be NULL) live as long as the region. */
void mem_region_init_mmio(struct mem_region *region, const char *name, uint64_t size,
                          const struct mem_ops *ops, void *opaque, struct mem_owner *owner);

/* As RAM and MMIO together; starts with direct reads. Errors as mem_region_init_ram(). */
int mem_region_init_rom_device(struct mem_region *region, const char *name, struct mem_ram *ram,
                               uint64_t ram_offset, uint64_t size, const struct mem_ops *ops,
                               void *opaque, struct mem_owner *owner);

/*
 * A window of `size` bytes into target, from target_offset on; what lies beyond the target's end
 * is not mapped. The target's own place does not matter, its being enabled does. It must outlive
 * the alias.
 */
void mem_region_init_alias(struct mem_region *region, const char *name, struct mem_region *target,
                           uint64_t target_offset, uint64_t size);

/*
 * Puts a region into a container. Returns 0; -EBUSY when it is in one already; -EINVAL when the
 * container is none; -ELOOP when the region contains the container, by whatever way. A child may
 * reach beyond its container, and is cut there.
 */
int mem_region_add(struct mem_region *container, uint64_t offset, struct mem_region *region,
                   int priority);

/* Takes it out again; -ENOENT when it is in none. Its memory stays needed: mem_region_retire(). */
int mem_region_remove(struct mem_region *region);

/* Moves it inside its container, in one step for readers; keeps priority. -ENOENT as above. */
int mem_region_move(struct mem_region *region, uint64_t offset);

/* A disabled region is as if it were not in its container. Regions start enabled. */
void mem_region_set_enabled(struct mem_region *region, bool enabled);

/* Write-protects a RAM region, or lifts that. Of an alias: for what is seen through it. */
void mem_region_set_readonly(struct mem_region *region, bool readonly);

/* Of a ROM device: are reads direct, or do they go through ops? */
void mem_region_set_rom_mode(struct mem_region *region, bool direct);

/*
 * Of an MMIO region: its device need not see writes at once (a frame buffer, an index that is
 * looked at later). They are delivered in order, and before any other access that a vCPU makes;
 * the device calls mem_access_deliver() before it acts on what it has been told by then. Its owner
 * is under the machine lock.
 */
void mem_region_set_coalesced(struct mem_region *region, bool coalesced);

/* Moves an alias's window. */
void mem_region_set_alias_offset(struct mem_region *region, uint64_t target_offset);

/*
 * Adds an event descriptor to an MMIO region; the struct is the caller's until removed. -EEXIST
 * when one with the same offset, size, match and data is there.
 */
int mem_region_add_eventfd(struct mem_region *region, struct mem_eventfd *eventfd);
int mem_region_remove_eventfd(struct mem_region *region, struct mem_eventfd *eventfd);

/*
 * Ends a region's life: removes it if it is in a container, drops its reference of RAM, and calls
 * free(opaque) (may be NULL) when no reader can see it any more, on whatever thread finds that out.
 * Only then may its memory, its ops and its owner go. Its children must have been removed.
 */
void mem_region_retire(struct mem_region *region, void (*free)(void *opaque), void *opaque);

/* Begins a transaction, or nests in the thread's own. Others that want to change wait. */
void mem_region_begin(void);

/* Ends it; the outermost one brings every address space up to date and tells their listeners. */
void mem_region_commit(void);

/* Private to mem/: what commit calls (set by mem/space.c), and a commit that always does. */
extern void (*mem_region_changed)(void);
void mem_region_commit_changed(void);

#endif
