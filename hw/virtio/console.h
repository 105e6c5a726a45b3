/* virtio consoles: a device with ports, and the two kinds of ports. */
#ifndef TINAMOU_HW_VIRTIO_CONSOLE_H
#define TINAMOU_HW_VIRTIO_CONSOLE_H

#include "hw/core/device.h"

extern const struct hw_device_type virtio_serial_type;  /* "virtio-serial-device" */
extern const struct hw_device_type virtconsole_type;    /* "virtconsole", a console */
extern const struct hw_device_type virtserialport_type; /* "virtserialport", bytes with a name */

#endif
