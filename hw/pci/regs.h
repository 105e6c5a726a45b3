/* Offsets, bits and ids of PCI configuration space (PCI 3.0, PCI Express 4.0), as used here. */
#ifndef TINAMOU_HW_PCI_REGS_H
#define TINAMOU_HW_PCI_REGS_H

/* Header, clause 6.1 of PCI 3.0. */
enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_CLASS = 0x09,
    PCI_CACHE_LINE = 0x0c,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM = 0x2e,
    PCI_ROM = 0x30,
    PCI_CAP_POINTER = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
    PCI_CAPS_START = 0x40,
};

#define PCI_HEADER_MULTIFUNCTION 0x80

/* PCI_COMMAND */
#define PCI_COMMAND_IO       0x0001
#define PCI_COMMAND_MEMORY   0x0002
#define PCI_COMMAND_MASTER   0x0004
#define PCI_COMMAND_PARITY   0x0040
#define PCI_COMMAND_SERR     0x0100
#define PCI_COMMAND_INTX_OFF 0x0400

/* PCI_STATUS */
#define PCI_STATUS_INTX   0x0008
#define PCI_STATUS_CAPS   0x0010
#define PCI_STATUS_ERRORS 0xf900 /* bits that a 1 clears */

/* Header type 1: PCI-to-PCI bridge architecture, clause 3.2. */
enum {
    PCI_PRIMARY_BUS = 0x18,
    PCI_SECONDARY_BUS = 0x19,
    PCI_SUBORDINATE_BUS = 0x1a,
    PCI_IO_BASE = 0x1c,
    PCI_IO_LIMIT = 0x1d,
    PCI_SECONDARY_STATUS = 0x1e,
    PCI_MEMORY_BASE = 0x20,
    PCI_MEMORY_LIMIT = 0x22,
    PCI_PREFETCH_BASE = 0x24,
    PCI_PREFETCH_LIMIT = 0x26,
    PCI_PREFETCH_BASE_HIGH = 0x28,
    PCI_PREFETCH_LIMIT_HIGH = 0x2c,
    PCI_IO_BASE_HIGH = 0x30,
    PCI_IO_LIMIT_HIGH = 0x32,
    PCI_BRIDGE_ROM = 0x38,
    PCI_BRIDGE_CONTROL = 0x3e,
};

#define PCI_BRIDGE_CONTROL_RESET 0x0040

/* Capability ids. */
enum {
    PCI_CAP_MSI = 0x05,
    PCI_CAP_VENDOR = 0x09,
    PCI_CAP_SUBSYSTEM = 0x0d,
    PCI_CAP_EXPRESS = 0x10,
    PCI_CAP_MSIX = 0x11,
};

/* Device/port type in the PCI Express capability. */
enum { PCI_EXP_TYPE_ENDPOINT = 0, PCI_EXP_TYPE_ROOT_PORT = 4 };

/* MSI, clause 6.8.1 of PCI 3.0; the layout with 64-bit address and masks. */
enum {
    PCI_MSI_CONTROL = 2,
    PCI_MSI_ADDRESS = 4,
    PCI_MSI_ADDRESS_HIGH = 8,
    PCI_MSI_DATA = 12,
    PCI_MSI_MASK = 16,
    PCI_MSI_PENDING = 20,
    PCI_MSI_SIZE = 24,
};
#define PCI_MSI_ENABLE   0x0001
#define PCI_MSI_MULTIPLE 0x0070 /* vectors in use, as a power of two */

/* MSI-X, clause 6.8.2. */
enum {
    PCI_MSIX_CONTROL = 2,
    PCI_MSIX_TABLE = 4,
    PCI_MSIX_PBA = 8,
    PCI_MSIX_SIZE = 12,
    PCI_MSIX_ENTRY = 16, /* bytes of a table entry: address, its upper half, data, control */
};
#define PCI_MSIX_ENABLE 0x8000
#define PCI_MSIX_MASK   0x4000

/* Vendors and devices of our functions. */
enum {
    PCI_VENDOR_REDHAT_VIRTIO = 0x1af4,
    PCI_VENDOR_REDHAT = 0x1b36,
    PCI_DEVICE_GPEX_ROOT = 0x0008,
    PCI_DEVICE_ROOT_PORT = 0x000c,
};

#endif
