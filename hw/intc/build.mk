# Interrupt controllers.

src-hw += hw/intc/aclint.c
src-hw += hw/intc/apic.c
src-hw += hw/intc/apic-bus.c
src-hw += hw/intc/apic-registers.c
src-hw += hw/intc/apic-state.c
src-hw += hw/intc/apic-timer.c
src-hw += hw/intc/i8259.c
src-hw += hw/intc/ioapic.c
src-hw += hw/intc/plic.c
