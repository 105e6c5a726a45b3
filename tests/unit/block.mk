# Unit tests of block nodes.

ifeq ($(CONFIG_SYSTEM),yes)
block-tests := block-crypto block-file block-filter block-formats block-graph block-parts block-qemu \
    block-restrict
unit-tests += $(block-tests)
$(foreach t,$(block-tests),$(eval unit-libs-$(t) := io util))
$(foreach t,$(block-tests),$(eval unit-syslibs-$(t) := $(SYSTEM_LIBS)))
cflags-tests/unit/block-restrict.c := $(URING_CFLAGS)
cflags-tests/unit/block-graph.c := $(JANSSON_CFLAGS)
endif
