# Character devices.

ifeq ($(CONFIG_GLIB),yes)
src-io += io/chardev/chardev.c
src-io += io/chardev/fd.c
src-io += io/chardev/legacy.c
src-io += io/chardev/mux.c
src-io += io/chardev/pty.c
src-io += io/chardev/simple.c
src-io += io/chardev/socket.c
src-io += io/chardev/stdio.c
src-io += io/chardev/stream.c
src-io += io/chardev/telnet.c
src-io += io/chardev/terminal.c
src-io += io/chardev/udp.c
endif
