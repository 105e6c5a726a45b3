/*
 * virtio over PCI (virtio 1.2, clause 4.1), modern only: ids 0x1040 + type, revision 1. A function
 * has a virtio bus with one device inside. Types for users contain both: "virtio-blk-pci" is a
 * function with a "virtio-blk-device" made and plugged with it, and hands on the properties that it
 * has not itself.
 */
#ifndef TINAMOU_HW_VIRTIO_PCI_H
#define TINAMOU_HW_VIRTIO_PCI_H

#include "hw/pci/pci.h"
#include "hw/virtio/transport.h"

#define VIRTIO_PCI_PARTS        4 /* common, interrupt status, device, notifications */
#define VIRTIO_PCI_VECTORS_AUTO UINT32_MAX

struct virtio_pci {
    struct pci_function pci; /* first */
    struct virtio_bus bus;   /* "virtio-bus" */
    /* properties */
    uint32_t vectors; /* of MSI-X; VIRTIO_PCI_VECTORS_AUTO: one for each queue and one more */
    int disable_legacy, ats, page_per_queue;
    bool disable_modern, iommu_platform;
    /* registers */
    struct mem_region bar, parts[VIRTIO_PCI_PARTS], msix_bar;
    uint32_t device_features_select, driver_features_select;
    uint16_t queue_select, config_vector;
    uint16_t queue_vectors[VIRTIO_MAX_QUEUES];
    uint8_t isr_status;
    uint16_t window; /* capability of access through configuration space */
    struct mem_eventfd *eventfds;
    unsigned eventfd_count;
};

/* virtio-blk-pci, virtio-net-pci, virtio-serial-pci, virtio-rng-pci; for hw_device_add_types(). The
 * types inside (virtio-blk-device, ...) have to be added too. */
extern const struct hw_device_type *const virtio_pci_types[];

#endif
