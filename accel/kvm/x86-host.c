/*
 * What of x86 is neither a vCPU's nor an interrupt controller's.
 *
 * kvmclock: the guest's paravirtual clock, in nanoseconds since the VM began, stands still while
 * the VM does, as the virtual clock does (docs/contracts.md, "Time"). The kernel keeps it going, so
 * it is read when the VM stops and set to that when it goes on. It begins at 0 with the VM's first
 * run, and goes on over resets.
 */
#include "accel/kvm/kvm.h"

#include "util/error.h"

#include <string.h>

const char kvm_arch_machine[] = "x86_64";

static uint64_t stands_at; /* ns; by whoever pauses and resumes */

void kvm_arch_clock_stop(void)
{
    struct kvm_clock_data clock = {0};

    if (kvm_check_extension(KVM_CAP_ADJUST_CLOCK) && kvm_vm_ioctl(KVM_GET_CLOCK, &clock) == 0) {
        stands_at = clock.clock;
    }
}

void kvm_arch_clock_go(void)
{
    struct kvm_clock_data clock = {.clock = stands_at};

    if (kvm_check_extension(KVM_CAP_ADJUST_CLOCK)) {
        int err = kvm_vm_ioctl(KVM_SET_CLOCK, &clock);

        if (err < 0) {
            error_warn("-accel kvm: the guest's clock cannot be set: %s", strerror(-err));
        }
    }
}

void kvm_arch_clock_paused(struct kvm_cpu *k)
{
    /* -EINVAL: the guest does not use the clock. */
    if (kvm_check_extension(KVM_CAP_KVMCLOCK_CTRL)) {
        (void)kvm_vcpu_ioctl(k, KVM_KVMCLOCK_CTRL, NULL);
    }
}
