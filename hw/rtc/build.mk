# Real-time clocks.

src-hw += hw/rtc/goldfish-rtc.c
src-hw += hw/rtc/mc146818.c
