# virtio and PCI.

ifeq ($(CONFIG_GLIB),yes)
unit-tests += hw-virtio-ring
unit-libs-hw-virtio-ring := hw io mem util
unit-syslibs-hw-virtio-ring := $(GLIB_LIBS)

unit-tests += hw-pci-core
unit-libs-hw-pci-core := hw io mem util
unit-syslibs-hw-pci-core := $(GLIB_LIBS)

unit-tests += hw-pci-rom
unit-libs-hw-pci-rom := hw io mem util
unit-syslibs-hw-pci-rom := $(GLIB_LIBS)

unit-tests += hw-virtio-pci
unit-libs-hw-virtio-pci := hw io mem util
unit-syslibs-hw-virtio-pci := $(GLIB_LIBS)

unit-tests += hw-virtio-hostile
unit-libs-hw-virtio-hostile := hw io mem util
unit-syslibs-hw-virtio-hostile := $(GLIB_LIBS)

unit-tests += hw-virtio-rng
unit-libs-hw-virtio-rng := hw io mem util
unit-syslibs-hw-virtio-rng := $(GLIB_LIBS)
endif
