# The ISA bus.

src-hw += hw/isa/isa.c
