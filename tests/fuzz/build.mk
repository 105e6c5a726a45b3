# Fuzz targets; README.md says how to write one. Two lines each:
#
#   fuzz-targets += NAME                tests/fuzz/NAME.c
#   fuzz-libs-NAME := hw mem util       what it is linked with, as unit-libs-NAME
#   fuzz-syslibs-NAME := $(GLIB_LIBS)   perhaps, libraries of the system

fuzz-targets += property
fuzz-libs-property := util

fuzz-targets += fw-cfg
fuzz-libs-fw-cfg := hw mem util

fuzz-targets += devices
fuzz-libs-devices := hw mem util
fuzz-targets += devices-x86
fuzz-libs-devices-x86 := hw mem util
ifeq ($(CONFIG_GLIB),yes)
fuzz-targets += pci virtio-blk virtio-mmio virtio-net virtio-pci
fuzz-libs-virtio-blk := hw io mem util
fuzz-libs-virtio-net := hw io mem util
fuzz-libs-pci := hw io mem util
fuzz-libs-virtio-mmio := hw io mem util
fuzz-libs-virtio-pci := hw io mem util
fuzz-syslibs-pci := $(GLIB_LIBS)
fuzz-syslibs-virtio-blk := $(GLIB_LIBS)
fuzz-syslibs-virtio-net := $(SLIRP_LIBS) $(GLIB_LIBS)
fuzz-syslibs-virtio-mmio := $(GLIB_LIBS)
fuzz-syslibs-virtio-pci := $(GLIB_LIBS)
endif
ifeq ($(CONFIG_SYSTEM),yes)
fuzz-targets += block-image block-options
fuzz-libs-block-image := io util
fuzz-libs-block-options := io util
fuzz-syslibs-block-image := $(SYSTEM_LIBS)
fuzz-syslibs-block-options := $(SYSTEM_LIBS)
endif

ifeq ($(CONFIG_SYSTEM),yes)
fuzz-targets += x86-kernel
fuzz-libs-x86-kernel := hw io x86 mem util
fuzz-syslibs-x86-kernel := $(SYSTEM_LIBS)

fuzz-targets += qcow2
fuzz-libs-qcow2 := io util
fuzz-syslibs-qcow2 := $(SYSTEM_LIBS)
endif

check-tests += tests/fuzz/run
