/*
 * Devices and buses. A device is one file with a descriptor; what it needs is data there, so the
 * command line, device_add, help, introspection, reset, snapshots and migration need no code of the
 * device's.
 *
 *     struct uart {
 *         struct hw_device device;                     first
 *         uint32_t clock;
 *         ...
 *     };
 *     const struct hw_device_type uart_type = {
 *         .name = "uart", .help = "16550 serial port", .size = sizeof(struct uart),
 *         .properties = uart_properties, .state = &uart_state,
 *         .realize = uart_realize, .reset_hold = uart_reset,
 *     };
 *
 * Life: create (defaults) - set properties - plug into a bus - realize - [reset, run] - unrealize -
 * freed when nobody can reach it. Everything here is under the machine lock.
 *
 * Errors are -errno and one line in error[], "TYPE[ ID]: what".
 */
#ifndef TINAMOU_HW_CORE_DEVICE_H
#define TINAMOU_HW_CORE_DEVICE_H

#include "mem/region.h"
#include "util/property.h"
#include "util/state.h"

struct hw_device;
struct hw_bus;

struct hw_bus_type {
    const char *name; /* "PCI", "virtio-bus" */
    /* A device is about to be plugged: checks its address or gives it one. May be NULL. */
    int (*plug)(struct hw_bus *bus, struct hw_device *device, char *error, size_t error_size);
    void (*unplug)(struct hw_bus *bus, struct hw_device *device);
    bool hotplug; /* devices may come and go while the machine runs */
    bool board;   /* takes the devices whose type names no bus, and no others */
    bool single;  /* has room for one device */
};

struct hw_device_type {
    const char *name; /* as -device has it */
    const char *bus;  /* name of the bus type it is plugged into; NULL: the board's own, the machine
                         wires it */
    const char *help; /* one line */
    size_t size;      /* of the struct that begins with struct hw_device */
    const struct property *properties; /* offsets into that struct; may be NULL */
    const struct state_table *state;   /* of that struct; NULL: nothing survives */
    /* Name of a type of which each device has one inside: made with it, it gets the properties that
     * this type has not, and is plugged by this type's realize into a bus of its own. NULL: none */
    const char *inner;
    bool internal; /* made by machines, not by -device */
    bool hotplug;  /* may be plugged and unplugged while the machine runs */
    /* Right after creation: child buses, lines. Does not fail and has no effect outside. */
    void (*init)(struct hw_device *device);
    /* Properties are final: checks them, takes resources, makes regions. On error it has undone
     * what it did. The bus is realized before its devices. */
    int (*realize)(struct hw_device *device, char *error, size_t error_size);
    /* Undoes realize; regions are ended by mem_region_retire(). */
    void (*unrealize)(struct hw_device *device);
    /* The guest is asked to let go (ACPI, PCI attention button); NULL: unplugged at once. */
    void (*unplug_request)(struct hw_device *device);
    /* The three phases of a reset; see hw/core/reset.h. Each may be NULL. */
    void (*reset_enter)(struct hw_device *device, bool cold);
    void (*reset_hold)(struct hw_device *device);
    void (*reset_exit)(struct hw_device *device);
};

struct hw_device {
    const struct hw_device_type *type;
    char *id;                /* given by the user, or NULL */
    struct hw_bus *bus;      /* plugged into; NULL: none */
    struct hw_device *next;  /* on the bus */
    struct hw_bus *buses;    /* its own, in the order of hw_bus_init() */
    struct hw_device *inner; /* of type->inner; this device ends it while it is not realized */
    bool realized;
    bool realizing;         /* inside of realize, which may plug devices into its own buses */
    unsigned resetting;     /* depth; see hw/core/reset.h */
    struct mem_owner owner; /* of its regions; under the machine lock unless init changes it */
    struct epoch_node freed;
};

struct hw_bus {
    const struct hw_bus_type *type;
    const char *name;
    struct hw_device *parent;  /* NULL: a root bus of the machine */
    struct hw_device *devices; /* in the order of plugging */
    struct hw_bus *next;       /* of the same parent */
};

/* Types, a NULL-terminated array that is static; before any device is made. */
void hw_device_add_types(const struct hw_device_type *const *types);
const struct hw_device_type *hw_device_find_type(const char *name);
/* The n-th type in the order of adding, or NULL: for help and introspection. */
const struct hw_device_type *hw_device_type_at(unsigned n);

/* A device with defaults set and init() called; NULL when out of memory, or when its type->inner is
 * not there. id (may be NULL) is copied. */
struct hw_device *hw_device_create(const struct hw_device_type *type, const char *id);

/*
 * Sets a property from text: errors of property_set(), and -EBUSY for one that is not `runtime`
 * when the device is realized.
 */
int hw_device_set(struct hw_device *device, const char *name, const char *value, char *error,
                  size_t error_size);

/*
 * Plugs into a realized bus of the right type and realizes: -EINVAL when the bus is of another
 * type, full or missing, or a required property is not set; -EPERM when the machine runs
 * (`hotplug`) and type or bus do not allow it; else what plug() and realize() return. On error the
 * device is as before.
 */
int hw_device_realize(struct hw_device *device, struct hw_bus *bus, bool hotplug, char *error,
                      size_t error_size);

/* Asks the guest to let go of a device, or takes it away at once. -EPERM when it cannot be. */
int hw_device_unplug(struct hw_device *device, char *error, size_t error_size);

/*
 * Ends a device, realized or not: first the devices on its buses, last plugged first. The memory
 * goes when no reader of memory views can be in it.
 */
void hw_device_destroy(struct hw_device *device);

/* A bus of a device (in init), or with parent NULL a root bus. Embedded; name lives as long. */
void hw_bus_init(struct hw_bus *bus, const struct hw_bus_type *type, const char *name,
                 struct hw_device *parent);

/* The device with that id below a bus, or NULL. */
struct hw_device *hw_device_find(struct hw_bus *bus, const char *id);

/*
 * Calls fn for each device below a bus: children before their parent, or after; in the order of
 * plugging among siblings. Stops at the first result that is not 0, and returns it. fn may not
 * change the tree.
 */
int hw_device_walk(struct hw_bus *bus, bool children_first,
                   int (*fn)(struct hw_device *device, void *opaque), void *opaque);

/* "TYPE" or "TYPE ID", as messages have it. */
void hw_device_name(const struct hw_device *device, char *text, size_t text_size);

#endif
