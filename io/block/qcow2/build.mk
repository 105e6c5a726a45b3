# The qcow2 format; part of the system emulator, and of the image tools.

ifeq ($(CONFIG_SYSTEM),yes)
src-io += io/block/qcow2/alloc-now.c
src-io += io/block/qcow2/amend.c
src-io += io/block/qcow2/bitmap.c
src-io += io/block/qcow2/cache.c
src-io += io/block/qcow2/check.c
src-io += io/block/qcow2/claim.c
src-io += io/block/qcow2/cluster.c
src-io += io/block/qcow2/compressed.c
src-io += io/block/qcow2/counts.c
src-io += io/block/qcow2/create.c
src-io += io/block/qcow2/driver.c
src-io += io/block/qcow2/encrypt.c
src-io += io/block/qcow2/forward.c
src-io += io/block/qcow2/header.c
src-io += io/block/qcow2/info.c
src-io += io/block/qcow2/io.c
src-io += io/block/qcow2/open.c
src-io += io/block/qcow2/overlap.c
src-io += io/block/qcow2/pack.c
src-io += io/block/qcow2/refcount.c
src-io += io/block/qcow2/repair.c
src-io += io/block/qcow2/reserve.c
src-io += io/block/qcow2/resize.c
src-io += io/block/qcow2/settle.c
src-io += io/block/qcow2/snapshot.c
src-io += io/block/qcow2/sync.c
src-io += io/block/qcow2/zero.c
cflags-io/block/qcow2/encrypt.c := $(JANSSON_CFLAGS)
cflags-io/block/qcow2/pack.c := $(ISAL_CFLAGS) $(ZLIB_CFLAGS) $(ZSTD_CFLAGS)
cflags-io/block/qcow2/info.c := $(JANSSON_CFLAGS)
endif
