# Unit tests of machines and of the system emulator's options.
ifeq ($(CONFIG_SYSTEM),yes)
unit-tests += machine-loader machine-fdt
unit-libs-machine-loader := hw mem util
unit-syslibs-machine-loader := $(ZLIB_LIBS) $(ZSTD_LIBS)
unit-libs-machine-fdt := hw mem util
unit-syslibs-machine-fdt := $(FDT_LIBS)

x86-machine-tests := machine-x86-acpi machine-x86-boot machine-x86-mp
unit-tests += $(x86-machine-tests)
$(foreach t,$(x86-machine-tests),$(eval unit-libs-$(t) := hw io x86 mem util))
$(foreach t,$(x86-machine-tests),$(eval unit-syslibs-$(t) := $(SYSTEM_LIBS)))

unit-tests += system-keyval system-setup
unit-libs-system-keyval := system util
unit-syslibs-system-keyval := $(JANSSON_LIBS)
unit-libs-system-setup := system hw io mem util
unit-syslibs-system-setup := $(SYSTEM_LIBS)

unit-tests += system-keeper system-sandbox system-sandbox-use
unit-libs-system-keeper := system io util
unit-syslibs-system-keeper := $(SYSTEM_LIBS)
unit-libs-system-sandbox := system io util
unit-syslibs-system-sandbox := $(SYSTEM_LIBS)
unit-libs-system-sandbox-use := system io util
unit-syslibs-system-sandbox-use := $(SYSTEM_LIBS)

ifneq ($(wildcard system/main-riscv64.c),)
check-tests += tests/machine/run tests/system-options/run tests/system-options/manual
endif
ifneq ($(wildcard system/main-x86_64.c),)
check-tests += tests/system-options/run-x86
endif
endif
