# Serial ports.

src-hw += hw/char/serial16550.c
