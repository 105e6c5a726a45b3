# Real-time clocks.

src-hw += hw/rtc/goldfish-rtc.c
