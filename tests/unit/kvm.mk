# Unit tests of the KVM accelerator; without a usable /dev/kvm most of each is skipped.

kvm-tests := kvm-options kvm-run kvm-slots kvm-dirty kvm-events kvm-irqchip
unit-tests += $(kvm-tests)
$(foreach t,$(kvm-tests),$(eval unit-libs-$(t) := kvm accel x86 cpu mem util))
