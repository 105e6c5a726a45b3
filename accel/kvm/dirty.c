/*
 * What the kernel knows of pages that the guest has written, into the dirty bits of mem/.
 *
 * The order in both ways: learn which pages, have the kernel watch them again, then set the bits. A
 * write before the watching is before the bits, so whoever clears a bit reads it afterwards; a
 * write after it is learnt of next time. Were the bits set first, another client could clear them
 * and read the page before it is watched, and a write in between would be lost.
 *
 * Bitmaps, one a slot: KVM_GET_DIRTY_LOG, and, where the kernel lets us choose when to watch
 * (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2), KVM_CLEAR_DIRTY_LOG in pieces, so that vCPUs are held up for
 * a gigabyte at a time and not for all of memory.
 *
 * Rings, one a vCPU, of pages in the order of their first writes: read by the vCPU's thread when it
 * is full, and by whoever wants to know, then of all vCPUs, which have to leave KVM_RUN for that,
 * for the processor may keep the last few hundred pages to itself until then. `lock` is for the
 * rings and for the table of slots as far as their readers need it.
 */
#include "accel/kvm/kvm.h"

#include "mem/dirty.h"
#include "util/bits.h"
#include "util/error.h"
#include "util/lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WORD_BITS = 64, CLEAR_PAGES = 1 << 18, RING_MIN = 1024, RING_IDLE_MAX = 1000 };

static struct {
    struct lock lock;
    uint64_t page;
    bool manual;      /* watching again is KVM_CLEAR_DIRTY_LOG's */
    uint64_t *bitmap; /* under the topology lock */
    uint64_t bitmap_words;
    struct kvm_dirty_gfn *found; /* with lock */
    size_t found_room;
} dirty;

void kvm_dirty_lock(void)
{
    lock_acquire(&dirty.lock);
}

void kvm_dirty_unlock(void)
{
    lock_release(&dirty.lock);
}

static int enable(unsigned capability, uint64_t argument)
{
    struct kvm_enable_cap cap = {.cap = capability, .args = {argument}};

    return kvm_vm_ioctl(KVM_ENABLE_CAP, &cap);
}

static int init_rings(char *error, size_t error_size)
{
    unsigned capability = KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
    uint32_t entries = kvm.options.dirty_ring;
    int most = kvm_check_extension(capability), err;

    if (!most) {
        capability = KVM_CAP_DIRTY_LOG_RING;
        most = kvm_check_extension(capability);
    }
    most /= (int)sizeof(struct kvm_dirty_gfn);
    if (!most) {
        snprintf(error, error_size,
                 "-accel kvm: dirty-ring-size=%u: the host's kernel has no such rings "
                 "(KVM_CAP_DIRTY_LOG_RING, Linux 5.11)",
                 entries);
        return -ENOTSUP;
    }
    if (entries > (uint32_t)most || entries < RING_MIN || !bits_is_pow2(entries)) {
        snprintf(error, error_size,
                 "-accel kvm: dirty-ring-size=%u: expected 0 or a power of two from %d to %d",
                 entries, RING_MIN, most);
        return -EINVAL;
    }
    err = enable(capability, entries * sizeof(struct kvm_dirty_gfn));
    if (err < 0) {
        snprintf(error, error_size, "-accel kvm: dirty-ring-size=%u: %s", entries, strerror(-err));
        return err;
    }
    return 0;
}

int kvm_dirty_init(char *error, size_t error_size)
{
    dirty.page = (uint64_t)sysconf(_SC_PAGESIZE);
    dirty.manual = false;
    if (kvm.options.dirty_ring) {
        return init_rings(error, error_size);
    }
    if (kvm_check_extension(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) &
        KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) {
        dirty.manual =
            enable(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) == 0;
    }
    return 0;
}

/* ---- bitmaps --------------------------------------------------------------------------------- */

static bool get_log(uint32_t number, uint64_t pages)
{
    uint64_t words = (pages + WORD_BITS - 1) / WORD_BITS;
    struct kvm_dirty_log log = {.slot = number};
    int err;

    if (words > dirty.bitmap_words) {
        free(dirty.bitmap);
        dirty.bitmap = malloc(words * sizeof(*dirty.bitmap));
        dirty.bitmap_words = dirty.bitmap ? words : 0;
    }
    if (!dirty.bitmap) {
        return false;
    }
    memset(dirty.bitmap, 0, words * sizeof(*dirty.bitmap));
    log.dirty_bitmap = dirty.bitmap;
    err = kvm_vm_ioctl(KVM_GET_DIRTY_LOG, &log);
    return err >= 0;
}

static bool any(const uint64_t *words, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (words[i]) {
            return true;
        }
    }
    return false;
}

/* Has the kernel watch again what the bitmap says. */
static void clear_log(uint32_t number, uint64_t pages)
{
    for (uint64_t first = 0; first < pages; first += CLEAR_PAGES) {
        uint64_t count = pages - first < CLEAR_PAGES ? pages - first : CLEAR_PAGES;
        struct kvm_clear_dirty_log log = {.slot = number,
                                          .num_pages = (uint32_t)count,
                                          .first_page = first,
                                          .dirty_bitmap = dirty.bitmap + first / WORD_BITS};

        if (any(dirty.bitmap + first / WORD_BITS, (count + WORD_BITS - 1) / WORD_BITS)) {
            /* What is not cleared is reported once more: no harm. */
            (void)kvm_vm_ioctl(KVM_CLEAR_DIRTY_LOG, &log);
        }
    }
}

static void fetch_bitmap(uint32_t number, const struct kvm_slot *slot)
{
    uint64_t pages = slot->size / dirty.page;

    if (!get_log(number, pages)) {
        /* All may have been written. */
        mem_dirty_set_but_code(slot->ram, slot->ram_offset, slot->size);
        return;
    }
    if (dirty.manual) {
        clear_log(number, pages);
    }
    for (uint64_t at = 0; at < pages; at += WORD_BITS) {
        uint64_t word = dirty.bitmap[at / WORD_BITS];

        while (word) {
            unsigned low = bits_ctz64(word);
            unsigned run = ~(word >> low) ? bits_ctz64(~(word >> low)) : WORD_BITS;

            mem_dirty_set_but_code(slot->ram, slot->ram_offset + (at + low) * dirty.page,
                                   run * dirty.page);
            word &= ~(bits_mask(run) << low);
        }
    }
}

/* ---- rings ----------------------------------------------------------------------------------- */

int kvm_dirty_map_ring(struct kvm_cpu *k)
{
    uint32_t entries = kvm.options.dirty_ring;
    void *ring;

    if (!entries) {
        return 0;
    }
    ring = mmap(NULL, entries * sizeof(*k->ring), PROT_READ | PROT_WRITE, MAP_SHARED, k->fd,
                (off_t)(KVM_DIRTY_LOG_PAGE_OFFSET * dirty.page));
    if (ring == MAP_FAILED) {
        return -errno;
    }
    k->ring = ring;
    k->ring_next = 0;
    return 0;
}

void kvm_dirty_unmap_ring(struct kvm_cpu *k)
{
    if (k->ring) {
        munmap(k->ring, kvm.options.dirty_ring * sizeof(*k->ring));
        k->ring = NULL;
    }
}

static bool make_room(size_t entries)
{
    if (entries > dirty.found_room) {
        free(dirty.found);
        dirty.found = malloc(entries * sizeof(*dirty.found));
        dirty.found_room = dirty.found ? entries : 0;
    }
    return dirty.found;
}

/* Appends what a ring holds to `found`. */
static size_t harvest(struct kvm_cpu *k, size_t count)
{
    for (uint32_t n = 0; k->ring && n < kvm.options.dirty_ring; n++) {
        struct kvm_dirty_gfn *gfn = &k->ring[k->ring_next % kvm.options.dirty_ring];

        if (!(__atomic_load_n(&gfn->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY)) {
            break;
        }
        dirty.found[count].slot = gfn->slot;
        dirty.found[count++].offset = gfn->offset;
        __atomic_store_n(&gfn->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
        k->ring_next++;
    }
    return count;
}

static void mark(const struct kvm_dirty_gfn *gfn)
{
    const struct kvm_slot *slot = kvm_slot(gfn->slot & 0xffff); /* above it: the address space */
    uint64_t at = gfn->offset * dirty.page;

    if (slot && at < slot->size) {
        mem_dirty_set_but_code(slot->ram, slot->ram_offset + at, dirty.page);
    }
}

/* Has the kernel watch again what was harvested. A signal may have it do less at a time. */
static void reset_rings(size_t count)
{
    for (unsigned idle = 0; count && idle < 1000;) {
        int done = kvm_vm_ioctl(KVM_RESET_DIRTY_RINGS, NULL);

        idle = done > 0 ? 0 : idle + 1;
        count -= done > 0 && (size_t)done < count ? (size_t)done : done > 0 ? count : 0;
    }
}

/* One vCPU's ring, or with NULL those of all; how many pages they had. */
static size_t reap_locked(struct kvm_cpu *only)
{
    size_t cpus = 0, count = 0;

    for (struct kvm_cpu *k = kvm.first; k; k = k->next) {
        cpus++;
    }
    if (!make_room(cpus * kvm.options.dirty_ring)) {
        error_fatal("-accel kvm: no memory to read the rings of written pages");
    }
    for (struct kvm_cpu *k = kvm.first; k; k = k->next) {
        if (!only || k == only) {
            count = harvest(k, count);
        }
    }
    reset_rings(count);
    for (size_t i = 0; i < count; i++) {
        mark(&dirty.found[i]);
    }
    return count;
}

bool kvm_dirty_ring_full(struct kvm_cpu *k)
{
    lock_acquire(&dirty.lock);
    k->ring_idle = reap_locked(k) ? 0 : k->ring_idle + 1;
    lock_release(&dirty.lock);
    /* Somebody else may have been first, but not time and again. */
    return k->ring_idle < RING_IDLE_MAX;
}

void kvm_dirty_fetch(uint32_t number, bool stopped)
{
    if (!kvm.options.dirty_ring) {
        fetch_bitmap(number, kvm_slot(number));
        return;
    }
    if (!stopped) {
        kvm_stop_others();
    }
    lock_acquire(&dirty.lock);
    reap_locked(NULL);
    lock_release(&dirty.lock);
    if (!stopped) {
        kvm_go_on_others();
    }
}
