# What all machines and devices share.

src-hw += hw/core/device.c
src-hw += hw/core/irq.c
src-hw += hw/core/lock.c
src-hw += hw/core/reset.c
src-hw += hw/core/runstate.c
