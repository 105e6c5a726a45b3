# Machines: boards, and what they start from.

src-hw += hw/machine/loader.c
src-hw += hw/machine/loader-elf.c
src-hw += hw/machine/machine.c
ifeq ($(CONFIG_SYSTEM),yes)
src-hw += hw/machine/loader-image.c
cflags-hw/machine/loader-image.c := $(ZLIB_CFLAGS) $(ZSTD_CFLAGS)
endif
