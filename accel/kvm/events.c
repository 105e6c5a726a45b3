/*
 * Descriptors that the guest's writes signal, without leaving the kernel (KVM_IOEVENTFD).
 *
 * They are an optimisation: where the kernel does not take one (too many, one that overlaps
 * another, a comparison without a size), the write comes out of KVM_RUN, and mem/ signals the
 * descriptor.
 */
#include "accel/kvm/kvm.h"

#include "util/bits.h"
#include "util/log.h"

#include <string.h>

void kvm_eventfd_change(const struct mem_view_eventfd *e, bool io, bool add)
{
    struct kvm_ioeventfd args = {
        .datamatch = e->data,
        .addr = e->gpa.value,
        .len = e->size,
        .fd = e->fd,
        .flags = (e->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) | (io ? KVM_IOEVENTFD_FLAG_PIO : 0) |
                 (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };
    int err;

    if (e->match && !e->size) {
        return;
    }
    if (e->match && e->region->ops->endian == MEM_BIG) {
        args.datamatch = bits_bswap64(e->data) >> (64 - 8 * e->size);
    }
    err = kvm_vm_ioctl(KVM_IOEVENTFD, &args);
    if (err < 0 && add) {
        log_limited(LOG_UNIMP, "event descriptor at %s %#llx: %s\n", io ? "port" : "memory",
                    (unsigned long long)e->gpa.value, strerror(-err));
    }
}
