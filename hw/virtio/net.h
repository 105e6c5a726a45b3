/* The virtio network device. */
#ifndef TINAMOU_HW_VIRTIO_NET_H
#define TINAMOU_HW_VIRTIO_NET_H

#include "hw/core/device.h"

extern const struct hw_device_type virtio_net_type; /* "virtio-net-device" */

#endif
