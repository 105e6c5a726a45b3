# Unit tests of what the system emulator stands on: cpu, properties, state tables, loop, devices.

unit-tests += cpu-contracts
unit-libs-cpu-contracts := cpu util

unit-tests += util-property util-state
unit-libs-util-property := util
unit-libs-util-state := util

ifeq ($(CONFIG_GLIB),yes)
unit-tests += io-wait
unit-libs-io-wait := io util
unit-syslibs-io-wait := $(GLIB_LIBS)

unit-tests += io-loop
unit-libs-io-loop := io util
unit-syslibs-io-loop := $(GLIB_LIBS)
endif

unit-tests += hw-core
unit-libs-hw-core := hw mem util
