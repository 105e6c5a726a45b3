# Whole machines in the sandbox.

ifneq ($(filter riscv64-softmmu,$(TARGETS)),)
check-tests += tests/sandbox/run
endif
