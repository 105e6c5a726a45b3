# Serial ports.

src-hw += hw/char/isa-serial.c
src-hw += hw/char/serial16550.c
