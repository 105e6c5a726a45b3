# What accelerators share.

src-accel += accel/vcpu.c
