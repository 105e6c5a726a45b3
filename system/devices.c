/* -device: names that mean types, finding a bus, setting what is left over as properties. */
#include "system/devices.h"

#include "system/drives.h"
#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What QEMU calls devices when the transport does not matter; here it is PCI. */
static const struct {
    const char *name, *type;
} aliases[] = {
    {"virtio-blk", "virtio-blk-pci"},         {"virtio-net", "virtio-net-pci"},
    {"virtio-serial", "virtio-serial-pci"},   {"virtio-rng", "virtio-rng-pci"},
    {"virtio-balloon", "virtio-balloon-pci"}, {"virtio-scsi", "virtio-scsi-pci"},
    {"virtio-gpu", "virtio-gpu-pci"},         {"virtio-keyboard", "virtio-keyboard-pci"},
};

static const struct hw_device_type *find_type(const char *name)
{
    for (unsigned i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (strcmp(aliases[i].name, name) == 0) {
            name = aliases[i].type;
        }
    }
    return hw_device_find_type(name);
}

static const struct hw_device_type *inner_type(const struct hw_device_type *type)
{
    return type->inner ? hw_device_find_type(type->inner) : NULL;
}

bool devices_has_property(const struct hw_device_type *type, const char *name)
{
    for (; type; type = inner_type(type)) {
        if (property_find(type->properties, name)) {
            return true;
        }
    }
    return false;
}

void devices_print_types(void)
{
    const struct hw_device_type *type;

    for (unsigned n = 0; (type = hw_device_type_at(n)); n++) {
        if (!type->internal && type->bus) {
            printf("name \"%s\", bus %s, desc \"%s\"\n", type->name, type->bus, type->help);
        }
    }
}

static void print_properties(const struct property *table)
{
    for (const struct property *p = table; p && p->name; p++) {
        char expects[256];

        property_expects(p, expects, sizeof(expects));
        printf("  %s=<%s> - %s\n", p->name, expects, p->help ? p->help : "");
    }
}

void devices_print_type_help(const char *name)
{
    const struct hw_device_type *type = find_type(name);

    if (!type || type->internal) {
        error_fatal("-device %s: no such device (-device help lists them)", name);
    }
    printf("%s options:\n", type->name);
    for (; type; type = inner_type(type)) {
        print_properties(type->properties);
    }
}

void devices_print_machine_help(const char *name)
{
    const struct machine_type *type = machine_find_type(name);

    if (!type) {
        error_fatal("-M %s: no such machine (-M help lists them)", name);
    }
    printf("%s options:\n", type->name);
    print_properties(type->properties);
    print_properties(machine_properties);
}

/* Only devices of the user have ids, and they are unique. */
static int check_id(struct machine *machine, const char *id, char *error, size_t error_size)
{
    if (id && hw_device_find(&machine->bus, id)) {
        snprintf(error, error_size, "-device: id=%s: there is such a device already", id);
        return -EEXIST;
    }
    return 0;
}

static int set_properties(struct hw_device *device, struct keyval *list, char *error,
                          size_t error_size)
{
    for (unsigned i = 0; i < list->count; i++) {
        struct keyval_pair *pair = &list->pairs[i];
        int err = 0;

        if (!pair->taken) {
            err = hw_device_set(device, pair->name, pair->value, error, error_size);
        }
        if (err) {
            return err;
        }
    }
    return 0;
}

int devices_add(struct machine *machine, struct keyval *list, char *error, size_t error_size)
{
    const char *name = keyval_take(list, "driver");
    const char *id = keyval_take(list, "id");
    const char *bus_name = keyval_take(list, "bus");
    const struct hw_device_type *type = find_type(name);
    struct hw_device *device;
    struct hw_bus *bus;
    int err;

    if (!type || type->internal || !type->bus) {
        snprintf(error, error_size, "-device %s: %s (-device help lists them)", name,
                 type ? "is a part of machines, not for -device" : "no such device");
        return -EINVAL;
    }
    bus = machine_find_bus(machine, type->bus, bus_name);
    if (!bus) {
        snprintf(error, error_size, "-device %s: there is no %s%s%s", name,
                 bus_name ? "bus " : "free bus of type ", bus_name ? bus_name : type->bus,
                 bus_name ? "" : " in this machine");
        return -ENOENT;
    }
    err = check_id(machine, id, error, error_size);
    if (err) {
        return err;
    }
    err = drives_complete_device(list, type, error, error_size);
    if (err) {
        return err;
    }
    device = machine_new_device(machine, type, id, error, error_size);
    if (!device) {
        return -EINVAL;
    }
    err = set_properties(device, list, error, error_size);
    if (!err) {
        err = hw_device_realize(device, bus, false, error, error_size);
    }
    if (err) {
        hw_device_destroy(device);
    }
    return err;
}
