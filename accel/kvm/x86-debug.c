/* Guest debugging. */
#include "accel/kvm/x86.h"

#include <errno.h>

int kvm_arch_breakpoint(struct kvm_cpu *k, uint64_t address, bool insert)
{
    return -ENOSPC;
}

int kvm_arch_watchpoint(struct kvm_cpu *k, uint64_t address, uint64_t size, unsigned access,
                        bool insert)
{
    return -ENOSPC;
}

int kvm_arch_single_step(struct kvm_cpu *k, bool on)
{
    return -ENOTSUP;
}
