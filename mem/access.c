/*
 * Access and dispatch. One reader section spans an access, callbacks included: the region being
 * dispatched cannot be freed under its own callback.
 *
 * Values travel as a little-endian processor sees them; for a big-endian device each single access
 * that it gets is swapped. (Hosts are little-endian; a static assertion below says so.)
 */
#include "mem/access.h"
#include "mem/dirty.h"
#include "util/bits.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the host is little-endian");

static _Thread_local char thread_mark;

/* ---- RAM ------------------------------------------------------------------------------------- */

static bool is_single(const void *host, uint64_t size)
{
    return size <= 8 && bits_is_pow2(size) && ((uintptr_t)host & (size - 1)) == 0;
}

static uint64_t ram_load(const void *host, unsigned size)
{
    switch (size) {
    case 1:
        return __atomic_load_n((const uint8_t *)host, __ATOMIC_RELAXED);
    case 2:
        return __atomic_load_n((const uint16_t *)host, __ATOMIC_RELAXED);
    case 4:
        return __atomic_load_n((const uint32_t *)host, __ATOMIC_RELAXED);
    default:
        return __atomic_load_n((const uint64_t *)host, __ATOMIC_RELAXED);
    }
}

static void ram_store(void *host, unsigned size, uint64_t value)
{
    switch (size) {
    case 1:
        __atomic_store_n((uint8_t *)host, (uint8_t)value, __ATOMIC_RELAXED);
        break;
    case 2:
        __atomic_store_n((uint16_t *)host, (uint16_t)value, __ATOMIC_RELAXED);
        break;
    case 4:
        __atomic_store_n((uint32_t *)host, (uint32_t)value, __ATOMIC_RELAXED);
        break;
    default:
        __atomic_store_n((uint64_t *)host, value, __ATOMIC_RELAXED);
        break;
    }
}

static void ram_read(void *to, const void *host, uint64_t size)
{
    if (is_single(host, size)) {
        uint64_t value = ram_load(host, (unsigned)size);

        memcpy(to, &value, size);
    } else {
        memcpy(to, host, size);
    }
}

static void ram_write(const struct mem_section *s, uint64_t into, const void *from, uint64_t size)
{
    uint8_t *host = s->host + into;

    if (is_single(host, size)) {
        uint64_t value = 0;

        memcpy(&value, from, size);
        ram_store(host, (unsigned)size, value);
    } else {
        memcpy(host, from, size);
    }
    mem_dirty_set(s->ram, s->ram_offset + into, size);
}

/* ---- registers ------------------------------------------------------------------------------- */

bool mem_access_owner_enter(struct mem_owner *owner)
{
    uintptr_t self = (uintptr_t)&thread_mark;

    /* Only this thread ever stores its own mark, so the answer cannot change under us. */
    if (atomic_load_explicit(&owner->thread, memory_order_relaxed) == self) {
        return false;
    }
    if (owner->lock) {
        owner->lock(owner);
    }
    atomic_store_explicit(&owner->thread, self, memory_order_relaxed);
    return true;
}

void mem_access_owner_leave(struct mem_owner *owner)
{
    atomic_store_explicit(&owner->thread, 0, memory_order_relaxed);
    if (owner->unlock) {
        owner->unlock(owner);
    }
}

static void (*deliver_hook)(void);

void mem_access_deliver(void)
{
    if (deliver_hook) {
        deliver_hook();
    }
}

void mem_access_set_deliver_hook(void (*hook)(void))
{
    deliver_hook = hook;
}

static uint64_t device_order(const struct mem_ops *ops, uint64_t value, unsigned size)
{
    return ops->endian == MEM_LITTLE ? value : bits_bswap64(value) >> (64 - 8 * size);
}

static unsigned min_size(const struct mem_ops *ops)
{
    return ops->min_size ? ops->min_size : 1;
}

static unsigned max_size(const struct mem_ops *ops)
{
    return ops->max_size ? ops->max_size : 8;
}

static int call_device(const struct mem_region *region, uint64_t offset, unsigned size,
                       uint64_t *value, bool write, struct mem_attrs attrs)
{
    const struct mem_ops *ops = region->ops;
    int err;

    if (write) {
        err = ops->write
                  ? ops->write(region->opaque, offset, size, device_order(ops, *value, size), attrs)
                  : -EIO;
    } else {
        uint64_t got = 0;

        err = ops->read ? ops->read(region->opaque, offset, size, &got, attrs) : -EIO;
        *value = device_order(ops, got & bits_mask(8 * size), size);
    }
    return err;
}

/* One access of a processor to a device, all inside of the region. */
static int dispatch(const struct mem_region *region, uint64_t offset, unsigned size,
                    uint64_t *value, bool write, struct mem_attrs attrs)
{
    const struct mem_ops *ops = region->ops;
    struct mem_owner *owner = region->owner;
    unsigned piece = size < max_size(ops) ? size : max_size(ops);
    uint64_t result = 0;
    int err = 0;

    if (size < min_size(ops) || (piece < size && !ops->split) ||
        (!ops->unaligned && offset & (piece - 1))) {
        return -EINVAL;
    }
    if (owner && !mem_access_owner_enter(owner)) {
        return -EBUSY;
    }
    for (unsigned done = 0; done < size && !err; done += piece) {
        uint64_t part = (*value >> (8 * done)) & bits_mask(8 * piece);

        err = call_device(region, offset + done, piece, &part, write, attrs);
        result |= part << (8 * done);
    }
    if (owner) {
        mem_access_owner_leave(owner);
    }
    if (!write && !err) {
        *value = result;
    }
    return err;
}

/* Signals the event descriptors that a store asks for; true if there was one. */
static bool signal_eventfd(const struct mem_view *view, const struct mem_section *s,
                           struct mem_gpa gpa, unsigned size, uint64_t value)
{
    const struct mem_view_eventfd *e = mem_view_find_eventfd(view, gpa);

    for (; e && e < view->eventfds + view->eventfd_count && e->gpa.value == gpa.value; e++) {
        uint64_t one = 1;

        if ((e->size && e->size != size) ||
            (e->match && e->data != device_order(s->region->ops, value, size))) {
            continue;
        }
        /* A counter that is full (EAGAIN) has its reader woken already. */
        ssize_t n = write(e->fd, &one, sizeof(one));

        (void)n;
        return true;
    }
    return false;
}

static int device_store(const struct mem_view *view, const struct mem_section *s,
                        struct mem_gpa gpa, unsigned size, uint64_t value, struct mem_attrs attrs)
{
    if (!s->device) {
        return -EACCES;
    }
    value &= bits_mask(8 * size);
    if (view->eventfd_count && signal_eventfd(view, s, gpa, size, value)) {
        return 0;
    }
    return dispatch(s->region, gpa.value - s->first.value + s->region_offset, size, &value, true,
                    attrs);
}

static int device_load(const struct mem_section *s, struct mem_gpa gpa, unsigned size,
                       uint64_t *value, struct mem_attrs attrs)
{
    *value = 0;
    return dispatch(s->region, gpa.value - s->first.value + s->region_offset, size, value, false,
                    attrs);
}

/* The widest access the device takes at this offset, of at most `left` bytes; 0 if there is none.
 */
static unsigned piece_size(const struct mem_section *s, uint64_t offset, uint64_t left)
{
    const struct mem_ops *ops = s->region->ops;
    unsigned size = max_size(ops);

    while (size > left || (!ops->unaligned && offset & (size - 1))) {
        size /= 2;
    }
    return size >= min_size(ops) ? size : 0;
}

/* ---- copies ---------------------------------------------------------------------------------- */

enum copy { COPY_READ, COPY_WRITE, COPY_WRITE_ROM };

/* Copies up to `size` bytes at gpa, all in one section, and says how many in *done. */
static int copy_some(const struct mem_view *view, struct mem_gpa gpa, uint8_t *bytes, uint64_t size,
                     enum copy how, struct mem_attrs attrs, uint64_t *done)
{
    const struct mem_section *s = mem_view_find(view, gpa);

    if (!s) {
        return -ENXIO;
    }
    uint64_t into = gpa.value - s->first.value;
    uint64_t left = s->last - gpa.value;

    left = left < size - 1 ? left + 1 : size; /* left + 1 may be 2^64 */
    *done = left;
    if (how == COPY_READ && s->host) {
        ram_read(bytes, s->host + into, left);
        return 0;
    }
    if (how != COPY_READ && s->host &&
        (how == COPY_WRITE_ROM ? !s->ram->readonly : !s->readonly && !s->device)) {
        ram_write(s, into, bytes, left);
        return 0;
    }
    if (how == COPY_WRITE_ROM || !s->device) {
        return s->device ? -EIO : -EACCES;
    }
    unsigned piece = piece_size(s, into + s->region_offset, left);
    uint64_t value = 0;
    int err;

    if (!piece) {
        return -EINVAL;
    }
    *done = piece;
    if (how == COPY_READ) {
        err = device_load(s, gpa, piece, &value, attrs);
        if (!err) {
            memcpy(bytes, &value, piece);
        }
    } else {
        memcpy(&value, bytes, piece);
        err = device_store(view, s, gpa, piece, value, attrs);
    }
    return err;
}

static int copy(struct mem_space *space, struct mem_gpa gpa, uint8_t *bytes, uint64_t size,
                enum copy how, struct mem_attrs attrs)
{
    uint64_t done = 0;
    int err = 0;

    if (!size) {
        return 0;
    }
    /* A section ends at the space's end, so what would wrap finds address 0 below and must not. */
    bool wraps = gpa.value + (size - 1) < gpa.value;
    uint64_t room = wraps ? -gpa.value : size;

    while (room && !err) {
        /* The view is taken anew for each piece: a callback may have changed it. */
        const struct mem_view *view = mem_space_enter(space);

        err = copy_some(view, gpa, bytes, room, how, attrs, &done);
        mem_space_leave();
        gpa.value += done;
        bytes += done;
        room -= err ? 0 : done;
    }
    return err ? err : wraps ? -ENXIO : 0;
}

int mem_access_read(struct mem_space *space, struct mem_gpa from, void *to, uint64_t size,
                    struct mem_attrs attrs)
{
    return copy(space, from, to, size, COPY_READ, attrs);
}

int mem_access_write(struct mem_space *space, struct mem_gpa to, const void *from, uint64_t size,
                     struct mem_attrs attrs)
{
    return copy(space, to, (uint8_t *)from, size, COPY_WRITE, attrs);
}

int mem_access_write_rom(struct mem_space *space, struct mem_gpa to, const void *from,
                         uint64_t size)
{
    return copy(space, to, (uint8_t *)from, size, COPY_WRITE_ROM, MEM_ATTRS_NONE);
}

/* ---- single accesses ------------------------------------------------------------------------- */

static bool is_access_size(unsigned size)
{
    return size && size <= 8 && bits_is_pow2(size);
}

/* An access over the border of a section. */
static int access_bytes(struct mem_space *space, struct mem_gpa gpa, unsigned size, uint64_t *value,
                        enum copy how, struct mem_attrs attrs)
{
    uint64_t result = 0;
    int err = 0;

    for (unsigned i = 0; i < size && !err; i++) {
        uint8_t byte = (uint8_t)(*value >> (8 * i));

        err = gpa.value + i < gpa.value ? -ENXIO
                                        : copy(space, mem_gpa(gpa.value + i), &byte, 1, how, attrs);
        result |= (uint64_t)byte << (8 * i);
    }
    if (!err) {
        *value = result;
    }
    return err;
}

static bool is_within(const struct mem_section *s, struct mem_gpa gpa, unsigned size)
{
    return s->last - gpa.value >= size - 1;
}

static int load_within(const struct mem_section *s, struct mem_gpa from, unsigned size,
                       uint64_t *value, struct mem_attrs attrs)
{
    if (s->host) {
        *value = 0;
        ram_read(value, s->host + (from.value - s->first.value), size);
        return 0;
    }
    return device_load(s, from, size, value, attrs);
}

static int store_within(const struct mem_view *view, const struct mem_section *s, struct mem_gpa to,
                        unsigned size, uint64_t value, struct mem_attrs attrs)
{
    if (s->host && !s->readonly && !s->device) {
        ram_write(s, to.value - s->first.value, &value, size);
        return 0;
    }
    return device_store(view, s, to, size, value, attrs);
}

int mem_access_load(struct mem_space *space, struct mem_gpa from, unsigned size, uint64_t *value,
                    struct mem_attrs attrs)
{
    if (!is_access_size(size)) {
        return -EINVAL;
    }
    const struct mem_section *s = mem_view_find(mem_space_enter(space), from);
    int err = 0;

    *value = 0;
    if (!s) {
        err = -ENXIO;
    } else if (!is_within(s, from, size)) {
        err = access_bytes(space, from, size, value, COPY_READ, attrs);
    } else {
        err = load_within(s, from, size, value, attrs);
    }
    mem_space_leave();
    return err;
}

int mem_access_store(struct mem_space *space, struct mem_gpa to, unsigned size, uint64_t value,
                     struct mem_attrs attrs)
{
    if (!is_access_size(size)) {
        return -EINVAL;
    }
    const struct mem_view *view = mem_space_enter(space);
    const struct mem_section *s = mem_view_find(view, to);
    int err = 0;

    if (!s) {
        err = -ENXIO;
    } else if (!is_within(s, to, size)) {
        err = access_bytes(space, to, size, &value, COPY_WRITE, attrs);
    } else {
        err = store_within(view, s, to, size, value, attrs);
    }
    mem_space_leave();
    return err;
}

/* Each part on its own; 0 when there is one that succeeds, else the last error. */
static int access_parts(struct mem_space *space, struct mem_gpa gpa, unsigned size, uint8_t *bytes,
                        enum copy how, struct mem_attrs attrs)
{
    bool any = false;
    int last = 0;

    for (uint64_t at = 0, done; at < size; at += done) {
        const struct mem_view *view = mem_space_enter(space);

        done = 1; /* where there is nothing, and in what comes behind the end of the space */
        int err = gpa.value + at < gpa.value ? -ENXIO
                                             : copy_some(view, mem_gpa(gpa.value + at), bytes + at,
                                                         size - at, how, attrs, &done);

        mem_space_leave();
        if (err && how == COPY_READ) {
            memset(bytes + at, 0xff, done);
        }
        any |= !err;
        last = err ? err : last;
    }
    return any ? 0 : last;
}

int mem_access_load_parts(struct mem_space *space, struct mem_gpa from, unsigned size,
                          uint64_t *value, struct mem_attrs attrs)
{
    const struct mem_section *s = mem_view_find(mem_space_enter(space), from);
    int err;

    if (s && is_access_size(size) && is_within(s, from, size)) {
        err = load_within(s, from, size, value, attrs);
        *value = err ? bits_mask(8 * size) : *value;
    } else {
        *value = 0;
        err = size && size <= 8
                  ? access_parts(space, from, size, (uint8_t *)value, COPY_READ, attrs)
                  : -EINVAL;
    }
    mem_space_leave();
    return err;
}

int mem_access_store_parts(struct mem_space *space, struct mem_gpa to, unsigned size,
                           uint64_t value, struct mem_attrs attrs)
{
    const struct mem_view *view = mem_space_enter(space);
    const struct mem_section *s = mem_view_find(view, to);
    int err;

    if (s && is_access_size(size) && is_within(s, to, size)) {
        err = store_within(view, s, to, size, value, attrs);
    } else {
        err = size && size <= 8
                  ? access_parts(space, to, size, (uint8_t *)&value, COPY_WRITE, attrs)
                  : -EINVAL;
    }
    mem_space_leave();
    return err;
}

static bool ram_cas(void *host, unsigned size, uint64_t *expected, uint64_t desired)
{
    bool done;

    switch (size) {
    case 1: {
        uint8_t old = (uint8_t)*expected;

        done = __atomic_compare_exchange_n((uint8_t *)host, &old, (uint8_t)desired, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        *expected = old;
        break;
    }
    case 2: {
        uint16_t old = (uint16_t)*expected;

        done = __atomic_compare_exchange_n((uint16_t *)host, &old, (uint16_t)desired, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        *expected = old;
        break;
    }
    case 4: {
        uint32_t old = (uint32_t)*expected;

        done = __atomic_compare_exchange_n((uint32_t *)host, &old, (uint32_t)desired, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        *expected = old;
        break;
    }
    default:
        done = __atomic_compare_exchange_n((uint64_t *)host, expected, desired, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        break;
    }
    return done;
}

int mem_access_cas(struct mem_space *space, struct mem_gpa at, unsigned size, uint64_t *expected,
                   uint64_t desired)
{
    if (!is_access_size(size) || at.value & (size - 1)) {
        return -EINVAL;
    }
    const struct mem_section *s = mem_view_find(mem_space_enter(space), at);
    int err = 0;

    if (!s || !s->host || s->last - at.value < size - 1) {
        err = -ENXIO;
    } else if (s->readonly || s->device) {
        err = -EACCES;
    } else {
        uint8_t *host = s->host + (at.value - s->first.value);

        /* Sections need not begin on a multiple of 8, guest-aligned may be host-unaligned. */
        if ((uintptr_t)host & (size - 1)) {
            err = -EINVAL;
        } else if (!ram_cas(host, size, expected, desired)) {
            err = -EAGAIN;
        } else {
            mem_dirty_set(s->ram, s->ram_offset + (at.value - s->first.value), size);
        }
    }
    mem_space_leave();
    return err;
}

/* ---- mappings -------------------------------------------------------------------------------- */

int mem_access_map(struct mem_space *space, struct mem_gpa gpa, uint64_t size, bool write,
                   struct mem_mapping *map)
{
    *map = (struct mem_mapping){0};
    if (!size) {
        return -EINVAL;
    }
    const struct mem_section *s = mem_view_find(mem_space_enter(space), gpa);
    int err = 0;

    if (!s || !s->host) {
        err = -ENXIO;
    } else if (write && (s->readonly || s->device)) {
        err = -EACCES;
    } else {
        uint64_t into = gpa.value - s->first.value;
        uint64_t left = s->last - gpa.value;

        map->size = left < size - 1 ? left + 1 : size;
        map->host = s->host + into;
        map->ram = mem_ram_ref(s->ram);
        map->ram_offset = s->ram_offset + into;
        map->writable = write;
    }
    mem_space_leave();
    return err;
}

void mem_access_unmap(struct mem_mapping *map, uint64_t written)
{
    if (!map->ram) {
        return;
    }
    if (map->writable && written) {
        mem_dirty_set(map->ram, map->ram_offset, written < map->size ? written : map->size);
    }
    mem_ram_unref(map->ram);
    *map = (struct mem_mapping){0};
}
