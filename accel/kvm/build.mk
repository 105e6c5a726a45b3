# KVM as an accelerator: guests of the host's architecture.
src-kvm += accel/kvm/kvm.c
src-kvm += accel/kvm/options.c
src-kvm += accel/kvm/check.c
src-kvm += accel/kvm/run.c
src-kvm += accel/kvm/exits.c
src-kvm += accel/kvm/slots.c
src-kvm += accel/kvm/dirty.c
src-kvm += accel/kvm/events.c
src-kvm += accel/kvm/coalesced.c
src-kvm += accel/kvm/irqchip.c
src-kvm += accel/kvm/stats.c
src-kvm += accel/kvm/x86-irqchip.c
src-kvm += accel/kvm/x86-host.c
