/* Registers and code for messages: accel/kvm/kvm.h's kvm_arch_dump(). */
#include "accel/kvm/x86.h"

void kvm_arch_dump(struct kvm_cpu *k, void (*line)(void *opaque, const char *text), void *opaque)
{
    x86_dump(x86_cpu(k->cpu), line, opaque);
}
