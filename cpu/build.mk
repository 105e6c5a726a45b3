src-cpu += cpu/cpu.c
