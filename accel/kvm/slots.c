/*
 * Memory slots: which guest-physical addresses the processor reaches without us, from the flat view
 * of the machine's memory.
 *
 * A section of RAM is a slot, or several where it is larger than the kernel takes; ROM, and a ROM
 * device whose reads are direct, is a read-only slot, so its writes come out as accesses to
 * registers. A slot is whole pages of guest and host: what a section has of a page at its ends, and
 * a section whose guest and host addresses differ within a page, stays without one; accesses come
 * out of KVM_RUN and are made by mem/, but code there cannot run.
 *
 * Changes are collected in the order in which mem/ tells them (removals, then additions) and made
 * at the end. The kernel knows no replacement in one step. Where some of what goes comes back, as
 * another slot with other bounds or rights, no vCPU may be in the guest between: data would be read
 * correctly through mem/, whose readers have the new view already, but code and page tables not. So
 * those changes are made while the others are stopped (run.c), and so are removals of slots whose
 * writes are logged, for the log goes with the slot. All other changes need no stop.
 *
 * Slot numbers: the lowest that is free. The table never moves, so that the reader of dirty rings
 * may look numbers up under the lock of dirty.c, under which they change.
 */
#include "accel/kvm/kvm.h"

#include "util/bits.h"
#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kernel's limit is 2^31 - 1 pages. */
#define SLOT_SIZE_MAX (UINT64_C(1) << 42)

static struct {
    struct kvm_slot *slots; /* `room` of them */
    uint32_t room, used;    /* numbers below `used` have been given */
    uint64_t page;
    /* of the transaction */
    bool *removed; /* by number */
    bool removing;
    struct kvm_slot *added;
    unsigned added_count, added_room;
    struct mem_listener memory_listener, io_listener;
} s;

struct kvm_slot *kvm_slot(uint32_t number)
{
    return number < s.used && s.slots[number].size ? &s.slots[number] : NULL;
}

int kvm_slot_set(uint32_t number, const struct kvm_slot *slot, uint64_t size)
{
    struct kvm_userspace_memory_region region = {
        .slot = number,
        .flags = (slot->readonly ? KVM_MEM_READONLY : 0) |
                 (slot->logging && !slot->readonly ? KVM_MEM_LOG_DIRTY_PAGES : 0),
        .guest_phys_addr = slot->first,
        .memory_size = size,
        .userspace_addr = (uintptr_t)slot->host,
    };

    return kvm_vm_ioctl(KVM_SET_USER_MEMORY_REGION, &region);
}

/* The whole pages of a section; false if there are none. */
static bool pages_of(const struct mem_section *section, struct kvm_slot *slot)
{
    uint64_t first = bits_align_up(section->first.value, s.page);
    uint64_t end =
        bits_align_down(section->last == UINT64_MAX ? section->last : section->last + 1, s.page);
    uint64_t skip = first - section->first.value;

    if (!section->host || first < section->first.value || end <= first ||
        (uintptr_t)(section->host + skip) % s.page) {
        return false;
    }
    *slot = (struct kvm_slot){
        .first = first,
        .size = end - first,
        .host = section->host + skip,
        .ram = section->ram,
        .ram_offset = section->ram_offset + skip,
        .readonly = section->readonly || section->device,
        .logging = section->logging,
    };
    return true;
}

/* ---- collecting ------------------------------------------------------------------------------ */

static void begin(struct mem_listener *listener, struct mem_space *space)
{
    memset(s.removed, 0, s.used * sizeof(*s.removed));
    s.removing = false;
    s.added_count = 0;
}

static void remove_section(struct mem_listener *listener, const struct mem_section *section)
{
    struct kvm_slot gone;

    if (!section->ram) {
        kvm_coalesced_change(section, false, false);
        return;
    }
    if (!pages_of(section, &gone)) {
        return;
    }
    for (uint32_t n = 0; n < s.used; n++) {
        if (s.slots[n].size && s.slots[n].first - gone.first < gone.size) {
            s.removed[n] = s.removing = true;
        }
    }
}

static void add_section(struct mem_listener *listener, const struct mem_section *section)
{
    struct kvm_slot slot;

    if (!section->ram) {
        kvm_coalesced_change(section, false, true);
        return;
    }
    if (!pages_of(section, &slot)) {
        return;
    }
    if (s.added_count == s.added_room) {
        s.added_room = s.added_room ? 2 * s.added_room : 16;
        s.added = realloc(s.added, s.added_room * sizeof(*s.added));
        if (!s.added) {
            error_fatal("-accel kvm: no memory for memory slots");
        }
    }
    s.added[s.added_count++] = slot;
}

/* ---- changing -------------------------------------------------------------------------------- */

static bool needs_stop(void)
{
    if (!s.removing || !kvm.first) {
        return false;
    }
    for (uint32_t n = 0; n < s.used; n++) {
        const struct kvm_slot *old = &s.slots[n];

        if (!s.removed[n]) {
            continue;
        }
        if (old->logging) {
            return true;
        }
        for (unsigned i = 0; i < s.added_count; i++) {
            const struct kvm_slot *new = &s.added[i];

            if (old->first - new->first < new->size || new->first - old->first < old->size) {
                return true;
            }
        }
    }
    return false;
}

static void report(const struct kvm_slot *slot, const char *what, int err)
{
    error_report("-accel kvm: memory %s at %#llx, %llu bytes, cannot be %s: %s", slot->ram->name,
                 (unsigned long long)slot->first, (unsigned long long)slot->size, what,
                 strerror(-err));
}

static void remove_slot(uint32_t number)
{
    struct kvm_slot *slot = &s.slots[number];
    int err = kvm_slot_set(number, slot, 0);

    if (err) {
        report(slot, "removed", err);
    }
    kvm_dirty_lock();
    *slot = (struct kvm_slot){0};
    kvm_dirty_unlock();
}

static int add_slot(const struct kvm_slot *slot)
{
    uint32_t number = 0;

    while (number < s.used && s.slots[number].size) {
        number++;
    }
    if (number == s.room) {
        return -ENOSPC;
    }
    kvm_dirty_lock();
    s.slots[number] = *slot;
    s.used = number == s.used ? number + 1 : s.used;
    kvm_dirty_unlock();
    int err = kvm_slot_set(number, slot, slot->size);

    if (err) {
        kvm_dirty_lock();
        s.slots[number] = (struct kvm_slot){0};
        kvm_dirty_unlock();
    }
    return err;
}

static void add_slots(struct kvm_slot slot)
{
    while (slot.size) {
        struct kvm_slot piece = slot;
        int err;

        piece.size = slot.size < SLOT_SIZE_MAX ? slot.size : SLOT_SIZE_MAX;
        err = add_slot(&piece);
        if (err) {
            /* The guest gets at it by exits, slowly; it finds out if it wants to run code there. */
            report(&piece, "given to the kernel", err);
        }
        slot.first += piece.size;
        slot.host += piece.size;
        slot.ram_offset += piece.size;
        slot.size -= piece.size;
    }
}

static void commit(struct mem_listener *listener, struct mem_space *space)
{
    bool stop = needs_stop();

    if (stop) {
        kvm_stop_others();
    }
    for (uint32_t n = 0; n < s.used && s.removing; n++) {
        if (s.removed[n] && s.slots[n].logging) {
            kvm_dirty_fetch(n, stop);
        }
    }
    for (uint32_t n = 0; n < s.used && s.removing; n++) {
        if (s.removed[n]) {
            remove_slot(n);
        }
    }
    for (unsigned i = 0; i < s.added_count; i++) {
        add_slots(s.added[i]);
    }
    if (stop) {
        kvm_go_on_others();
    }
}

/* ---- logging --------------------------------------------------------------------------------- */

/* Calls fn for the slots that a section has. */
static void each_slot(const struct mem_section *section, void (*fn)(uint32_t number, uint32_t arg),
                      uint32_t arg)
{
    struct kvm_slot whole;

    if (!section->ram || !pages_of(section, &whole)) {
        return;
    }
    for (uint32_t n = 0; n < s.used; n++) {
        if (s.slots[n].size && s.slots[n].first - whole.first < whole.size) {
            fn(n, arg);
        }
    }
}

static void set_logging(uint32_t number, uint32_t logging)
{
    struct kvm_slot *slot = &s.slots[number];
    bool change = !slot->logging != !logging && !slot->readonly;
    int err = 0;

    slot->logging = logging;
    if (change) {
        err = kvm_slot_set(number, slot, slot->size);
    }
    if (err) {
        report(slot, "logged", err);
    }
}

static void log_changed(struct mem_listener *listener, const struct mem_section *section,
                        uint32_t before)
{
    each_slot(section, set_logging, section->logging);
}

static void fetch_log(uint32_t number, uint32_t arg)
{
    if (s.slots[number].logging && !s.slots[number].readonly) {
        kvm_dirty_fetch(number, false);
    }
}

static void log_sync(struct mem_listener *listener, const struct mem_section *section)
{
    each_slot(section, fetch_log, 0);
}

/* ---- I/O ports and event descriptors --------------------------------------------------------- */

static void add_memory_eventfd(struct mem_listener *listener, const struct mem_view_eventfd *e)
{
    kvm_eventfd_change(e, false, true);
}

static void remove_memory_eventfd(struct mem_listener *listener, const struct mem_view_eventfd *e)
{
    kvm_eventfd_change(e, false, false);
}

static void add_io_eventfd(struct mem_listener *listener, const struct mem_view_eventfd *e)
{
    kvm_eventfd_change(e, true, true);
}

static void remove_io_eventfd(struct mem_listener *listener, const struct mem_view_eventfd *e)
{
    kvm_eventfd_change(e, true, false);
}

static void add_io_section(struct mem_listener *listener, const struct mem_section *section)
{
    kvm_coalesced_change(section, true, true);
}

static void remove_io_section(struct mem_listener *listener, const struct mem_section *section)
{
    kvm_coalesced_change(section, true, false);
}

int kvm_slots_init(char *error, size_t error_size)
{
    int room = kvm_check_extension(KVM_CAP_NR_MEMSLOTS);

    s.room = room ? (uint32_t)room : 32; /* so says the interface of a kernel that does not */
    s.used = 0;
    s.page = (uint64_t)sysconf(_SC_PAGESIZE);
    s.slots = calloc(s.room, sizeof(*s.slots));
    s.removed = calloc(s.room, sizeof(*s.removed));
    if (!s.slots || !s.removed) {
        free(s.slots);
        free(s.removed);
        s.slots = NULL;
        snprintf(error, error_size, "-accel kvm: no memory for memory slots");
        return -ENOMEM;
    }
    s.memory_listener = (struct mem_listener){
        .priority = 10,
        .begin = begin,
        .remove = remove_section,
        .add = add_section,
        .commit = commit,
        .log = log_changed,
        .log_sync = log_sync,
        .eventfd_remove = remove_memory_eventfd,
        .eventfd_add = add_memory_eventfd,
    };
    s.io_listener = (struct mem_listener){
        .priority = 10,
        .remove = remove_io_section,
        .add = add_io_section,
        .eventfd_remove = remove_io_eventfd,
        .eventfd_add = add_io_eventfd,
    };
    mem_space_add_listener(kvm.memory, &s.memory_listener);
    if (kvm.io) {
        mem_space_add_listener(kvm.io, &s.io_listener);
    }
    return 0;
}

void kvm_slots_end(void)
{
    if (!s.slots) {
        return;
    }
    mem_space_remove_listener(kvm.memory, &s.memory_listener);
    if (kvm.io) {
        mem_space_remove_listener(kvm.io, &s.io_listener);
    }
    free(s.slots);
    free(s.removed);
    free(s.added);
    memset(&s, 0, sizeof(s));
}
