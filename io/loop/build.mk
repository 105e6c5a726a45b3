# The event loop of the system emulator; needs GLib 2.

ifeq ($(CONFIG_GLIB),yes)
src-io += io/loop/clock.c
src-io += io/loop/loop.c
src-io += io/loop/pool.c
src-io += io/loop/thread.c
src-io += io/loop/timer.c
src-io += io/loop/wait.c
cflags-io/loop/loop.c := $(GLIB_CFLAGS)
cflags-io/loop/pool.c := $(GLIB_CFLAGS)
cflags-io/loop/timer.c := $(GLIB_CFLAGS)
endif
