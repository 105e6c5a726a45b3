# What firmware is told.

src-hw += hw/nvram/fw-cfg.c
