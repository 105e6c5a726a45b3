# Unit tests of block nodes.

ifeq ($(CONFIG_SYSTEM),yes)
unit-tests += block-file
unit-libs-block-file := io util
unit-syslibs-block-file := $(SYSTEM_LIBS)
endif
