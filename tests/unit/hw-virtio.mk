# virtio and PCI.

ifeq ($(CONFIG_GLIB),yes)
unit-tests += hw-virtio-ring
unit-libs-hw-virtio-ring := hw io mem util
unit-syslibs-hw-virtio-ring := $(GLIB_LIBS)
endif
