# Kernels of distributions on whole machines.

check-tests += tests/boot/docs
check-tests += tests/boot/full-disk
check-tests += tests/boot/virtio
check-tests += tests/boot/linux
