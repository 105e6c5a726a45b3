/* The virtio block device. */
#ifndef TINAMOU_HW_VIRTIO_BLK_H
#define TINAMOU_HW_VIRTIO_BLK_H

#include "hw/core/device.h"

extern const struct hw_device_type virtio_blk_type; /* "virtio-blk-device" */

#endif
