# Without the monitor there is nothing to compare; `programs` is complete when this is used.
check-tests += $(if $(filter tinamou-system-x86_64,$(programs)),tests/kvm/run)
