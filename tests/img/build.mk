# tinamou-img, run as a user runs it.

ifeq ($(CONFIG_SYSTEM),yes)
check-tests += tests/img/commands
check-tests += tests/img/compatible
check-tests += tests/img/convert
check-tests += tests/img/manual
check-tests += tests/img/passwords
endif
