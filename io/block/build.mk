# Block nodes and their drivers; part of the system emulator.

ifeq ($(CONFIG_SYSTEM),yes)
src-io += io/block/async.c
src-io += io/block/blkdebug.c
src-io += io/block/cluster-map.c
src-io += io/block/copy-on-read.c
src-io += io/block/create.c
src-io += io/block/crypto.c
src-io += io/block/drivers.c
src-io += io/block/file-lock.c
src-io += io/block/file.c
src-io += io/block/graph.c
src-io += io/block/host-device.c
src-io += io/block/io.c
src-io += io/block/luks-header.c
src-io += io/block/luks.c
src-io += io/block/node.c
src-io += io/block/null.c
src-io += io/block/open-file.c
src-io += io/block/open.c
src-io += io/block/options.c
src-io += io/block/parallels.c
src-io += io/block/perm.c
src-io += io/block/query.c
src-io += io/block/range-lock.c
src-io += io/block/raw.c
src-io += io/block/record.c
src-io += io/block/request.c
src-io += io/block/secret.c
src-io += io/block/stats.c
src-io += io/block/throttle-filter.c
src-io += io/block/throttle.c
src-io += io/block/uring.c
src-io += io/block/vdi.c
src-io += io/block/vec.c
src-io += io/block/vhdx.c
src-io += io/block/vmdk-create.c
src-io += io/block/vmdk.c
src-io += io/block/vpc.c
cflags-io/block/crypto.c := $(GNUTLS_CFLAGS) $(NETTLE_CFLAGS)
cflags-io/block/luks.c := $(JANSSON_CFLAGS)
cflags-io/block/query.c := $(JANSSON_CFLAGS)
cflags-io/block/secret.c := $(NETTLE_CFLAGS)
cflags-io/block/options.c := $(JANSSON_CFLAGS)
cflags-io/block/uring.c := $(URING_CFLAGS)
cflags-io/block/vmdk.c := $(ZLIB_CFLAGS)
endif
