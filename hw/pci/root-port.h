/* The PCI Express root port. Its bus is named by the device's id, as -device's bus= has it. */
#ifndef TINAMOU_HW_PCI_ROOT_PORT_H
#define TINAMOU_HW_PCI_ROOT_PORT_H

#include "hw/pci/pci.h"

extern const struct hw_device_type pcie_root_port_type; /* "pcie-root-port" */

#endif
