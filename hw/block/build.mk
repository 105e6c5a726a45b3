# Flash memory.

src-hw += hw/block/pflash-cfi01.c
