/*
 * PCI (3.0) and PCI Express functions and buses, as software sees them: configuration space, base
 * address registers, INTx wires, MSI and MSI-X, bus mastering.
 *
 * A function is a device of bus type "PCI" whose struct begins with struct pci_function. Its
 * realize calls pci_function_init(), makes its regions and hands them over with pci_add_bar(), adds
 * capabilities; its unrealize calls pci_function_exit() first. Everything else (decoding, moving of
 * BARs, masks, routing) is done here.
 *
 *     int rtl_realize(struct hw_device *device, char *error, size_t error_size)
 *     {
 *         struct rtl *rtl = (struct rtl *)device;
 *         pci_function_init(&rtl->pci, &rtl_ids);
 *         mem_region_init_mmio(&rtl->registers, "rtl", 256, &rtl_ops, rtl, &device->owner);
 *         pci_add_bar(&rtl->pci, 0, PCI_BAR_MEM32, &rtl->registers, 256);
 *         return 0;
 *     }
 *
 * All under the machine lock unless said otherwise.
 */
#ifndef TINAMOU_HW_PCI_PCI_H
#define TINAMOU_HW_PCI_PCI_H

#include "hw/core/device.h"
#include "hw/pci/regs.h"
#include "mem/access.h"

struct loop;
struct pci_bus;
struct pci_function;
struct pci_msix;

#define PCI_DEVFN(slot, fn) ((slot) << 3 | (fn))
#define PCI_SLOT(devfn)     ((devfn) >> 3)
#define PCI_FN(devfn)       ((devfn)&7)

enum {
    PCI_CONFIG_SIZE = 256,
    PCI_EXPRESS_CONFIG_SIZE = 4096,
    PCI_BARS = 6,
    PCI_ROM_BAR = PCI_BARS, /* the expansion ROM's, which is like one */
    PCI_PINS = 4,           /* INTA to INTD are 0 to 3 */
    PCI_MSIX_MAX = 2048,
};

/* ---- buses ----------------------------------------------------------------------------------- */

extern const struct hw_bus_type pci_bus_type; /* "PCI" */

struct pci_bus {
    struct hw_bus bus;                   /* first */
    struct pci_function *functions[256]; /* by devfn */
    struct pci_function *bridge;         /* this is its secondary bus; NULL: a root bus */
    struct mem_region *memory, *io;      /* containers of 2^64 bytes; offsets are bus addresses */
    struct mem_space *space;             /* what bus masters reach, and MSI */
    struct loop *loop;                   /* the main loop, for devices that need one */
    bool express;                        /* functions have 4096 bytes of configuration space */
    bool single_slot;                    /* behind a port there is slot 0 only */
    /* Of a root bus: the host bridge's interrupt inputs. map_irq NULL: (slot + pin) % 4. */
    unsigned (*map_irq)(const struct pci_bus *bus, unsigned slot, unsigned pin);
    void (*set_irq)(void *opaque, unsigned input, bool level);
    void *opaque;
    uint16_t asserted[16]; /* functions that hold an input */
};

/*
 * A root bus below the host bridge `parent`, called in its init; the host bridge fills in memory,
 * io, space, loop, express, map_irq, set_irq and opaque before anything is plugged. `name` lives as
 * long.
 */
void pci_bus_init(struct pci_bus *bus, const char *name, struct hw_device *parent);

/* The number that software has given the bus; 0 for a root bus. */
uint8_t pci_bus_number(const struct pci_bus *bus);

/* The function that answers configuration accesses to a bus number and devfn, from a root bus on;
 * or NULL. */
struct pci_function *pci_find_function(struct pci_bus *root, uint8_t bus, uint8_t devfn);

/* ---- functions ------------------------------------------------------------------------------- */

struct pci_ids {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint8_t revision;
    uint32_t class_code; /* 24 bits: class, subclass, programming interface */
    uint8_t header_type; /* 0, or 1 for bridges */
    uint8_t pin;         /* 1 to 4: INTA to INTD; 0: none */
};

enum pci_bar_kind {
    PCI_BAR_MEM32,
    PCI_BAR_MEM32_PREFETCH,
    PCI_BAR_MEM64, /* takes the next BAR too */
    PCI_BAR_MEM64_PREFETCH,
    PCI_BAR_IO,
    PCI_BAR_ROM, /* with an enable bit of its own */
};

struct pci_bar {
    struct mem_region *region; /* NULL: not implemented, or the upper half */
    uint64_t size;
    enum pci_bar_kind kind;
    bool mapped;
    uint64_t address; /* where it is mapped */
};

struct pci_function {
    struct hw_device device; /* first */
    /* properties */
    char *addr; /* "slot.fn" in hexadecimal, or "slot"; NULL: the next free slot */
    bool multifunction;
    char *romfile;
    uint32_t rombar;
    /* place */
    struct pci_bus *bus;
    uint8_t devfn;
    /* configuration space; write and write_clear say which bits software changes, and how */
    uint32_t config_size;
    uint8_t config[PCI_EXPRESS_CONFIG_SIZE];
    uint8_t write[PCI_EXPRESS_CONFIG_SIZE];
    uint8_t write_clear[PCI_EXPRESS_CONFIG_SIZE]; /* writing 1 clears */
    uint16_t next_cap;                            /* free bytes for capabilities start here */
    uint16_t msi, msix_cap, express;              /* offsets of capabilities, 0: none */
    struct pci_bar bars[PCI_BARS + 1];            /* the last is PCI_ROM_BAR */
    struct mem_ram *rom;                          /* NULL: none */
    struct mem_region rom_memory, rom_window;
    struct pci_msix *msix;
    bool intx;        /* the function asks for its INTx */
    bool intx_driven; /* and it reaches the wire */
    /* Called after software has changed bytes of the configuration space, and before it reads them.
     * May be NULL. */
    void (*config_written)(struct pci_function *function, unsigned offset, unsigned size);
    void (*config_reading)(struct pci_function *function, unsigned offset, unsigned size);
    /* Bus mastering has been switched on or off, here or at a bridge above. May be NULL. */
    void (*master_changed)(struct pci_function *function, bool on);
    struct pci_bus *secondary; /* of a bridge */
    uint32_t msi_pending;
    /* private: what is in a saved state */
    uint8_t saved[PCI_EXPRESS_CONFIG_SIZE];
    uint32_t saved_size;
    uint8_t *msix_saved;
    uint32_t msix_saved_size;
};

/* Properties that every function has; goes into the type's table. */
#define PCI_PROPERTIES                                                                            \
    PROPERTY(STRING, "addr", struct pci_function, addr, .help = "slot and function, as in 03.0"), \
        PROPERTY(BOOL, "multifunction", struct pci_function, multifunction,                       \
                 .help = "more functions may be in the slot"),                                    \
        PROPERTY(STRING, "romfile", struct pci_function, romfile,                                 \
                 .help = "file of the expansion ROM; empty: none"),                               \
        PROPERTY(U32, "rombar", struct pci_function, rombar, .number = 1, .max = 1,               \
                 .help = "0: software sees no expansion ROM")

/* State of a function: STATE(STRUCT, "pci", struct rtl, pci, .table = &pci_function_state). It puts
 * BARs and INTx back. */
extern const struct state_table pci_function_state;

/* In realize, first. And in unrealize, before regions are retired: takes them off the bus. */
void pci_function_init(struct pci_function *function, const struct pci_ids *ids);
void pci_function_exit(struct pci_function *function);

/*
 * Base address register n is `region`, of `size` bytes: a power of two, at least 16 (4 for I/O).
 * In realize; what the region is for is the caller's.
 */
void pci_add_bar(struct pci_function *function, unsigned n, enum pci_bar_kind kind,
                 struct mem_region *region, uint64_t size);

/*
 * The expansion ROM of properties romfile and rombar, if there is one. In realize, after
 * pci_function_init(). 0, or -errno with a line. pci_function_exit() ends it.
 */
int pci_add_rom(struct pci_function *function, char *error, size_t error_size);

/* Who looks for ROM files: NULL, or a path that is free()d. Before devices are made. */
void pci_set_rom_finder(char *(*find)(const char *name));

/* Room for a capability of `size` bytes with that id (PCI_CAP_*), linked in; its offset. Bytes
 * after the two of its header are 0 and read-only. */
unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned size);

/* The PCI Express capability (version 2), PCI_EXP_TYPE_*; offset in function->express. */
void pci_add_express(struct pci_function *function, unsigned type);

/* Bytes of the configuration space, little-endian, for realize. */
void pci_set(struct pci_function *function, unsigned offset, unsigned size, uint32_t value);
uint32_t pci_get(const struct pci_function *function, unsigned offset, unsigned size);
/* These bits may be written by software. */
void pci_set_writable(struct pci_function *function, unsigned offset, unsigned size, uint32_t mask);

/* Accesses of software, of 1, 2 or 4 bytes inside of the space; beyond config_size reads are ones.
 */
uint32_t pci_config_read(struct pci_function *function, unsigned offset, unsigned size);
void pci_config_write(struct pci_function *function, unsigned offset, unsigned size,
                      uint32_t value);

/* Reset of a function: call it in the type's reset_hold. */
void pci_function_reset(struct pci_function *function);

/* Bus, device and function, as DMA and MSI carry it. */
uint16_t pci_requester(const struct pci_function *function);

/* May the function write and read memory: bus mastering is on here, and at the bridges above. */
bool pci_may_master(const struct pci_function *function);

/* ---- interrupts ------------------------------------------------------------------------------ */

/* Drives the function's INTx. */
void pci_set_intx(struct pci_function *function, bool level);

/* An MSI capability with `vectors` messages (1 to 32, a power of two), 64-bit, with masks. */
void pci_add_msi(struct pci_function *function, unsigned vectors);
bool pci_msi_is_enabled(const struct pci_function *function);
void pci_msi_send(struct pci_function *function, unsigned vector);

/*
 * MSI-X with `vectors` messages (1 to PCI_MSIX_MAX) in BAR n, which is a container that is added
 * already: the table at table_offset and the pending bits at pba_offset, both multiples of 8. 0 or
 * -ENOMEM.
 */
int pci_add_msix(struct pci_function *function, unsigned vectors, unsigned n, uint32_t table_offset,
                 uint32_t pba_offset);
bool pci_msix_is_enabled(const struct pci_function *function);
/* Sends a message, or leaves it pending while it is masked. A vector that there is not: nothing. */
void pci_msix_send(struct pci_function *function, unsigned vector);

#endif
