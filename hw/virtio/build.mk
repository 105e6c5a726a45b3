# virtio: the core, its transports, and devices.

src-hw += hw/virtio/blk-request.c
src-hw += hw/virtio/blk.c
src-hw += hw/virtio/console.c
src-hw += hw/virtio/core.c
src-hw += hw/virtio/mmio.c
src-hw += hw/virtio/net-filter.c
src-hw += hw/virtio/net.c
src-hw += hw/virtio/pci.c
src-hw += hw/virtio/ram.c
src-hw += hw/virtio/ring.c
src-hw += hw/virtio/rng.c
src-hw += hw/virtio/state.c
