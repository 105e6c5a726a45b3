# Unit tests of the qcow2 format.

ifeq ($(CONFIG_SYSTEM),yes)
qcow2-tests := block-full-disk block-host-errors block-qcow2-async block-qcow2-errors \
    block-qcow2-header block-qcow2-hostile block-qcow2-interop block-qcow2-pack \
    block-qcow2-powerfail block-qcow2-random
unit-tests += $(qcow2-tests)
$(foreach t,$(qcow2-tests),$(eval unit-libs-$(t) := io util))
$(foreach t,$(qcow2-tests),$(eval unit-syslibs-$(t) := $(SYSTEM_LIBS)))
endif
