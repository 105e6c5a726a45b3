# Firmware on whole machines.

ifneq ($(wildcard system/main-riscv64.c),)
check-tests += tests/firmware/run
endif
