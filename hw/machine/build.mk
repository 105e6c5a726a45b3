# Machines: boards, and what they start from.

src-hw += hw/machine/loader.c
src-hw += hw/machine/loader-elf.c
src-hw += hw/machine/loader-x86.c
src-hw += hw/machine/machine.c
ifeq ($(CONFIG_SYSTEM),yes)
src-hw += hw/machine/loader-image.c
src-hw += hw/machine/fdt.c
src-hw += hw/machine/riscv-boot.c
src-hw += hw/machine/riscv-fdt.c
src-hw += hw/machine/riscv-spike.c
src-hw += hw/machine/riscv-virt.c
src-hw += hw/machine/riscv-virt-fdt.c
src-hw += hw/machine/x86-acpi.c
src-hw += hw/machine/x86-boot.c
src-hw += hw/machine/x86-boot-fw-cfg.c
src-hw += hw/machine/x86-boot-linux.c
src-hw += hw/machine/x86-boot-multiboot.c
src-hw += hw/machine/x86-boot-pvh.c
src-hw += hw/machine/x86-cpus.c
src-hw += hw/machine/x86-irq.c
src-hw += hw/machine/x86-memory.c
src-hw += hw/machine/x86-microvm.c
src-hw += hw/machine/x86-microvm-acpi.c
src-hw += hw/machine/x86-mp.c
cflags-hw/machine/loader-image.c := $(ZLIB_CFLAGS) $(ZSTD_CFLAGS)
cflags-hw/machine/fdt.c := $(FDT_CFLAGS)
endif
