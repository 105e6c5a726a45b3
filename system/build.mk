# The system emulator; the library has everything but main().
ifeq ($(CONFIG_SYSTEM),yes)
src-system += system/accel.c
src-system += system/clock.c
src-system += system/confine.c
src-system += system/daemon.c
src-system += system/devices.c
src-system += system/drives.c
src-system += system/firmware.c
src-system += system/identity.c
src-system += system/keeper.c
src-system += system/keyval.c
src-system += system/landlock.c
src-system += system/nics.c
src-system += system/objects.c
src-system += system/options.c
src-system += system/options-boot.c
src-system += system/options-confine.c
src-system += system/options-host.c
src-system += system/options-machine.c
src-system += system/options-run.c
src-system += system/run.c
src-system += system/sandbox-trap.c
src-system += system/sandbox.c
src-system += system/setup.c
src-system += system/system.c
src-system += system/teardown.c
cflags-system/identity.c := $(CAP_NG_CFLAGS)
cflags-system/sandbox-trap.c := $(SECCOMP_CFLAGS)
cflags-system/sandbox.c := $(SECCOMP_CFLAGS)
cflags-system/keyval.c := $(JANSSON_CFLAGS)
cflags-system/drives.c := $(JANSSON_CFLAGS)
endif
