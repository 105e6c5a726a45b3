# Unit tests of target/x86 and of the x86 side of accel/kvm.

x86-tests := x86-mmu x86-model x86-segment x86-reset
unit-tests += $(x86-tests)
$(foreach t,$(x86-tests),$(eval unit-libs-$(t) := x86 cpu mem util))


kvm-x86-tests := kvm-x86-regs kvm-x86-state kvm-x86-cpuid kvm-x86-debug kvm-x86-irq
unit-tests += $(kvm-x86-tests)
$(foreach t,$(kvm-x86-tests),$(eval unit-libs-$(t) := kvm accel x86 cpu mem util))
