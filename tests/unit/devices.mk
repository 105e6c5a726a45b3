# Unit tests of devices, on the bench of hw-bench.h. What a device has of the host is the test's own.

device-tests := hw-plic hw-aclint hw-serial16550 hw-goldfish-rtc hw-exits hw-fw-cfg hw-pflash
device-tests += hw-i8259 hw-ioapic hw-apic hw-apic-modes hw-apic-timer hw-i8254 hw-mc146818 hw-isa
device-tests += hw-x86-qemu hw-apic-kvm
device-tests += hw-acpi hw-acpi-aml
unit-tests += $(device-tests)
$(foreach t,$(device-tests),$(eval unit-libs-$(t) := hw mem util))
