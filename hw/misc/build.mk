# Devices of their own kind.

src-hw += hw/misc/htif.c
src-hw += hw/misc/isa-debug-exit.c
src-hw += hw/misc/syscon-test.c
