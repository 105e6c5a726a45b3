# Kernels of distributions on whole machines.

check-tests += tests/boot/virtio
