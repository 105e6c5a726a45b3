/*
 * Coalesced writes: those that a device need not see at once, such as a frame buffer's or a ring's
 * tail, are put into a ring by the kernel, and the guest goes on. They are delivered, in order,
 * before any other access is made for a vCPU, when the VM is paused, and when a device asks
 * (mem_access_deliver()).
 *
 * The ring is one for the VM, and a page of each vCPU's mapping. Its readers hold the machine lock,
 * so that what one takes out has reached its device before another takes the next; a lock of our
 * own would have to be taken before the machine lock here, and after it by devices that ask. An
 * entry is taken out before it is delivered. A device whose callback comes here again finds
 * `draining` and goes on without.
 */
#include "accel/kvm/kvm.h"

#include "mem/access.h"
#include "util/bits.h"

#include <unistd.h>

static struct {
    uint32_t page; /* in units of pages */
    uint32_t room; /* entries */
    bool ports;    /* too */
    bool draining; /* under the machine lock */
} coalesced;

/* For mem_access_deliver(). */
static void drain_any(void)
{
    if (kvm.first) {
        kvm_coalesced_drain(kvm.first);
    }
}

void kvm_coalesced_init(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int at = kvm_check_extension(KVM_CAP_COALESCED_MMIO);

    coalesced.room = (uint32_t)((page - sizeof(struct kvm_coalesced_mmio_ring)) /
                                sizeof(struct kvm_coalesced_mmio));
    kvm.coalesced_page = kvm.options.coalesced_mmio && kvm.lock && at > 0 ? (uint32_t)at : 0;
    coalesced.ports = kvm_check_extension(KVM_CAP_COALESCED_PIO);
    coalesced.page = (uint32_t)page;
    mem_access_set_deliver_hook(drain_any);
}

void kvm_coalesced_change(const struct mem_section *section, bool io, bool add)
{
    uint64_t size = section->last - section->first.value + 1;
    struct kvm_coalesced_mmio_zone zone = {
        .addr = section->first.value, .size = (uint32_t)size, .pio = io};

    if (!section->coalesced || !kvm.coalesced_page || size > UINT32_MAX ||
        (io && !coalesced.ports)) {
        return;
    }
    /* Where the kernel refuses, writes come as before. */
    (void)kvm_vm_ioctl(add ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO, &zone);
}

static void deliver(const struct kvm_coalesced_mmio *entry)
{
    struct mem_space *space = entry->pio == 1 ? kvm.io : kvm.memory;
    unsigned size = entry->len < 8 ? entry->len : 8;

    /* Nobody is there any more: no effect. */
    if (bits_is_pow2(size)) {
        uint64_t value = 0;

        __builtin_memcpy(&value, entry->data, size);
        (void)mem_access_store(space, mem_gpa(entry->phys_addr), size, value, MEM_ATTRS_NONE);
    } else {
        (void)mem_access_write(space, mem_gpa(entry->phys_addr), entry->data, size, MEM_ATTRS_NONE);
    }
}

void kvm_coalesced_drain(struct kvm_cpu *k)
{
    struct kvm_coalesced_mmio_ring *ring;

    if (!kvm.coalesced_page) {
        return;
    }
    ring = (void *)((uint8_t *)k->run + (size_t)kvm.coalesced_page * coalesced.page);
    if (__atomic_load_n(&ring->first, __ATOMIC_RELAXED) ==
        __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE)) {
        return;
    }
    kvm.lock();
    if (!coalesced.draining) {
        uint32_t first = ring->first;

        coalesced.draining = true;
        while (first != __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE)) {
            struct kvm_coalesced_mmio entry = ring->coalesced_mmio[first % coalesced.room];

            first = (first + 1) % coalesced.room;
            __atomic_store_n(&ring->first, first, __ATOMIC_RELEASE);
            deliver(&entry);
            kvm_count(&kvm.coalesced_count);
        }
        coalesced.draining = false;
    }
    kvm.unlock();
}
