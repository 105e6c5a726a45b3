# Interrupt controllers.

src-hw += hw/intc/aclint.c
src-hw += hw/intc/plic.c
