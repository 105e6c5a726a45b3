# Machines: boards, and what they start from.

src-hw += hw/machine/loader.c
src-hw += hw/machine/loader-elf.c
src-hw += hw/machine/machine.c
ifeq ($(CONFIG_SYSTEM),yes)
src-hw += hw/machine/loader-image.c
src-hw += hw/machine/fdt.c
src-hw += hw/machine/riscv-boot.c
src-hw += hw/machine/riscv-fdt.c
src-hw += hw/machine/riscv-spike.c
src-hw += hw/machine/riscv-virt.c
src-hw += hw/machine/riscv-virt-fdt.c
cflags-hw/machine/loader-image.c := $(ZLIB_CFLAGS) $(ZSTD_CFLAGS)
cflags-hw/machine/fdt.c := $(FDT_CFLAGS)
endif
