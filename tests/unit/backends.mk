# Unit tests of the host's side of devices: character devices, network back ends.

ifeq ($(CONFIG_GLIB),yes)
unit-tests += io-chardev io-chardev-stdio
unit-libs-io-chardev := io util
unit-syslibs-io-chardev := $(GLIB_LIBS)
unit-libs-io-chardev-stdio := io util
unit-syslibs-io-chardev-stdio := $(GLIB_LIBS)
unit-tests += io-net
unit-libs-io-net := io util
unit-syslibs-io-net := $(SLIRP_LIBS) $(GLIB_LIBS)
ifeq ($(CONFIG_SLIRP),yes)
unit-tests += io-net-user
unit-libs-io-net-user := io util
unit-syslibs-io-net-user := $(SLIRP_LIBS) $(GLIB_LIBS)
endif
unit-tests += hw-virtio-blk hw-virtio-net hw-virtio-console
unit-libs-hw-virtio-console := hw io mem util
unit-syslibs-hw-virtio-console := $(GLIB_LIBS)
unit-libs-hw-virtio-net := hw io mem util
unit-syslibs-hw-virtio-net := $(GLIB_LIBS)
unit-libs-hw-virtio-blk := hw io mem util
unit-syslibs-hw-virtio-blk := $(GLIB_LIBS)
endif
