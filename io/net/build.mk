# Network back ends.

ifeq ($(CONFIG_GLIB),yes)
src-io += io/net/hub.c
src-io += io/net/link-dgram.c
src-io += io/net/link-stream.c
src-io += io/net/net.c
src-io += io/net/offload.c
src-io += io/net/socket.c
src-io += io/net/tap.c
cflags-io/net/offload.c := -O3
ifeq ($(CONFIG_SLIRP),yes)
src-io += io/net/user-forward.c
src-io += io/net/user-options.c
src-io += io/net/user.c
cflags-io/net/user-forward.c := $(SLIRP_CFLAGS)
cflags-io/net/user.c := $(SLIRP_CFLAGS)
endif
endif
