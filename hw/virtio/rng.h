/* The virtio entropy device. */
#ifndef TINAMOU_HW_VIRTIO_RNG_H
#define TINAMOU_HW_VIRTIO_RNG_H

#include "hw/core/device.h"

extern const struct hw_device_type virtio_rng_type; /* "virtio-rng-device" */

#endif
