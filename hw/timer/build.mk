# Timers.

src-hw += hw/timer/i8254.c
