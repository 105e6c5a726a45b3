/*
 * The tree of regions. One lock for all trees, held for a whole transaction: changes are rare, and
 * a transaction may span trees (a PCI bar moves in memory and in I/O space at once).
 *
 * Invariants: a container's children are sorted by falling priority, among equals the last added
 * first; no region can reach itself through children and alias targets, so rendering ends.
 */
#include "mem/region.h"
#include "mem/space.h"

#include <assert.h>
#include <errno.h>

void (*mem_region_changed)(void);

static struct lock topology_lock = LOCK_INIT;
static _Atomic uintptr_t topology_owner;    /* address of the holder's thread_mark, or 0 */
static unsigned topology_depth;             /* of the holder */
static bool topology_dirty;                 /* something changed since the outermost begin */
static struct mem_region *topology_retired; /* ended since then; linked by their next */
static _Thread_local char thread_mark;

void mem_region_begin(void)
{
    uintptr_t self = (uintptr_t)&thread_mark;

    if (atomic_load_explicit(&topology_owner, memory_order_relaxed) != self) {
        lock_acquire(&topology_lock);
        atomic_store_explicit(&topology_owner, self, memory_order_relaxed);
    }
    topology_depth++;
}

static void region_retired(struct epoch_node *node)
{
    struct mem_region *region =
        (struct mem_region *)((char *)node - offsetof(struct mem_region, retired));

    mem_ram_unref(region->ram);
    region->initialised = false;
    if (region->free) {
        region->free(region->free_opaque);
    }
}

void mem_region_commit(void)
{
    assert(topology_depth);
    /* Listeners may change the topology in turn; their commits nest, and what they change is
     * brought about here, in another round. */
    while (topology_depth == 1 && topology_dirty) {
        topology_dirty = false;
        if (mem_region_changed) {
            mem_region_changed();
        }
    }
    struct mem_region *retired = topology_depth == 1 ? topology_retired : NULL;

    /* Only now are they out of every view that a new reader can find. */
    while (retired) {
        topology_retired = retired->next;
        epoch_defer(&mem_epoch, &retired->retired, region_retired);
        retired = topology_retired;
    }
    if (--topology_depth == 0) {
        atomic_store_explicit(&topology_owner, 0, memory_order_relaxed);
        lock_release(&topology_lock);
        epoch_reclaim(&mem_epoch);
    }
}

void mem_region_commit_changed(void)
{
    topology_dirty = true;
    mem_region_commit();
}

static void init(struct mem_region *region, const char *name, uint64_t size,
                 enum mem_region_kind kind)
{
    assert(size && !region->initialised);
    *region = (struct mem_region){
        .name = name, .size = size, .kind = kind, .initialised = true, .enabled = true};
}

void mem_region_init_container(struct mem_region *region, const char *name, uint64_t size)
{
    init(region, name, size, MEM_REGION_CONTAINER);
}

int mem_region_init_ram(struct mem_region *region, const char *name, struct mem_ram *ram,
                        uint64_t ram_offset, uint64_t size, bool readonly)
{
    if (!size || (ram_offset | size) & (MEM_PAGE_SIZE - 1) ||
        !mem_ram_host(ram, ram_offset, size)) {
        return -EINVAL;
    }
    init(region, name, size, MEM_REGION_RAM);
    region->ram = mem_ram_ref(ram);
    region->ram_offset = ram_offset;
    region->readonly = readonly;
    return 0;
}

static void check_ops(const struct mem_ops *ops)
{
    unsigned min = ops->min_size ? ops->min_size : 1, max = ops->max_size ? ops->max_size : 8;

    assert(min <= max && max <= 8 && !(min & (min - 1)) && !(max & (max - 1)));
    (void)min, (void)max;
}

void mem_region_init_mmio(struct mem_region *region, const char *name, uint64_t size,
                          const struct mem_ops *ops, void *opaque, struct mem_owner *owner)
{
    check_ops(ops);
    init(region, name, size, MEM_REGION_MMIO);
    region->ops = ops;
    region->opaque = opaque;
    region->owner = owner;
}

int mem_region_init_rom_device(struct mem_region *region, const char *name, struct mem_ram *ram,
                               uint64_t ram_offset, uint64_t size, const struct mem_ops *ops,
                               void *opaque, struct mem_owner *owner)
{
    int err = mem_region_init_ram(region, name, ram, ram_offset, size, true);

    if (err) {
        return err;
    }
    check_ops(ops);
    region->kind = MEM_REGION_ROM_DEVICE;
    region->rom_mode = true;
    region->ops = ops;
    region->opaque = opaque;
    region->owner = owner;
    return 0;
}

void mem_region_init_alias(struct mem_region *region, const char *name, struct mem_region *target,
                           uint64_t target_offset, uint64_t size)
{
    init(region, name, size, MEM_REGION_ALIAS);
    region->target = target;
    region->target_offset = target_offset;
}

static bool reaches(const struct mem_region *from, const struct mem_region *to)
{
    if (from == to || (from->target && reaches(from->target, to))) {
        return true;
    }
    for (const struct mem_region *c = from->children; c; c = c->next) {
        if (reaches(c, to)) {
            return true;
        }
    }
    return false;
}

int mem_region_add(struct mem_region *container, uint64_t offset, struct mem_region *region,
                   int priority)
{
    int err = 0;

    mem_region_begin();
    if (container->kind != MEM_REGION_CONTAINER || !region->initialised) {
        err = -EINVAL;
    } else if (region->container) {
        err = -EBUSY;
    } else if (reaches(region, container)) {
        err = -ELOOP;
    } else {
        struct mem_region **link = &container->children;

        while (*link && (*link)->priority > priority) {
            link = &(*link)->next;
        }
        region->container = container;
        region->offset = offset;
        region->priority = priority;
        region->next = *link;
        *link = region;
        topology_dirty = true;
    }
    mem_region_commit();
    return err;
}

int mem_region_remove(struct mem_region *region)
{
    int err = 0;

    mem_region_begin();
    if (!region->container) {
        err = -ENOENT;
    } else {
        struct mem_region **link = &region->container->children;

        while (*link != region) {
            link = &(*link)->next;
        }
        *link = region->next;
        region->container = region->next = NULL;
        topology_dirty = true;
    }
    mem_region_commit();
    return err;
}

int mem_region_move(struct mem_region *region, uint64_t offset)
{
    int err = 0;

    mem_region_begin();
    if (!region->container) {
        err = -ENOENT;
    } else if (region->offset != offset) {
        region->offset = offset;
        topology_dirty = true;
    }
    mem_region_commit();
    return err;
}

void mem_region_set_enabled(struct mem_region *region, bool enabled)
{
    mem_region_begin();
    topology_dirty |= region->enabled != enabled;
    region->enabled = enabled;
    mem_region_commit();
}

void mem_region_set_readonly(struct mem_region *region, bool readonly)
{
    mem_region_begin();
    topology_dirty |= region->readonly != readonly;
    region->readonly = readonly;
    mem_region_commit();
}

void mem_region_set_rom_mode(struct mem_region *region, bool direct)
{
    assert(region->kind == MEM_REGION_ROM_DEVICE);
    mem_region_begin();
    topology_dirty |= region->rom_mode != direct;
    region->rom_mode = direct;
    mem_region_commit();
}

void mem_region_set_coalesced(struct mem_region *region, bool coalesced)
{
    assert(region->kind == MEM_REGION_MMIO);
    mem_region_begin();
    topology_dirty |= region->coalesced != coalesced;
    region->coalesced = coalesced;
    mem_region_commit();
}

void mem_region_set_alias_offset(struct mem_region *region, uint64_t target_offset)
{
    assert(region->kind == MEM_REGION_ALIAS);
    mem_region_begin();
    topology_dirty |= region->target_offset != target_offset;
    region->target_offset = target_offset;
    mem_region_commit();
}

int mem_region_add_eventfd(struct mem_region *region, struct mem_eventfd *eventfd)
{
    if (region->kind != MEM_REGION_MMIO) {
        return -EINVAL;
    }
    mem_region_begin();
    for (struct mem_eventfd *e = region->eventfds; e; e = e->next) {
        if (e->offset == eventfd->offset && e->size == eventfd->size &&
            e->match == eventfd->match && (!e->match || e->data == eventfd->data)) {
            mem_region_commit();
            return -EEXIST;
        }
    }
    eventfd->next = region->eventfds;
    region->eventfds = eventfd;
    mem_region_commit_changed();
    return 0;
}

int mem_region_remove_eventfd(struct mem_region *region, struct mem_eventfd *eventfd)
{
    mem_region_begin();
    for (struct mem_eventfd **link = &region->eventfds; *link; link = &(*link)->next) {
        if (*link == eventfd) {
            *link = eventfd->next;
            mem_region_commit_changed();
            return 0;
        }
    }
    mem_region_commit();
    return -ENOENT;
}

void mem_region_retire(struct mem_region *region, void (*free)(void *opaque), void *opaque)
{
    mem_region_begin();
    assert(!region->children);
    if (region->container) {
        mem_region_remove(region);
    }
    region->free = free;
    region->free_opaque = opaque;
    region->next = topology_retired;
    topology_retired = region;
    mem_region_commit();
}
