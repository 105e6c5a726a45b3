/* The life of devices, and the tree that they form with their buses. */
#include "hw/core/device.h"
#include "hw/core/lock.h"
#include "mem/space.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_LISTS_MAX 32

static const struct hw_device_type *const *type_lists[TYPE_LISTS_MAX];
static unsigned type_list_count;

void hw_device_add_types(const struct hw_device_type *const *types)
{
    assert(type_list_count < TYPE_LISTS_MAX);
    type_lists[type_list_count++] = types;
}

const struct hw_device_type *hw_device_type_at(unsigned n)
{
    for (unsigned i = 0; i < type_list_count; i++) {
        for (const struct hw_device_type *const *t = type_lists[i]; *t; t++) {
            if (n-- == 0) {
                return *t;
            }
        }
    }
    return NULL;
}

const struct hw_device_type *hw_device_find_type(const char *name)
{
    const struct hw_device_type *type;

    for (unsigned n = 0; (type = hw_device_type_at(n)); n++) {
        if (strcmp(type->name, name) == 0) {
            return type;
        }
    }
    return NULL;
}

void hw_device_name(const struct hw_device *device, char *text, size_t text_size)
{
    snprintf(text, text_size, "%s%s%s", device->type->name, device->id ? " " : "",
             device->id ? device->id : "");
}

static int fail(const struct hw_device *device, int err, const char *what, const char *detail,
                char *error, size_t error_size)
{
    char name[128];

    hw_device_name(device, name, sizeof(name));
    snprintf(error, error_size, "%s: %s%s", name, what, detail);
    return err;
}

static bool create_inner(struct hw_device *device)
{
    const char *name = device->type->inner;
    const struct hw_device_type *type = name ? hw_device_find_type(name) : NULL;

    device->inner = type ? hw_device_create(type, NULL) : NULL;
    return !name || device->inner;
}

struct hw_device *hw_device_create(const struct hw_device_type *type, const char *id)
{
    struct hw_device *device = calloc(1, type->size);

    assert(type->size >= sizeof(*device));
    if (!device) {
        return NULL;
    }
    device->type = type;
    device->id = id ? strdup(id) : NULL;
    if ((id && !device->id) || property_set_defaults(type->properties, device) ||
        !create_inner(device)) {
        property_clear(type->properties, device);
        free(device->id);
        free(device);
        return NULL;
    }
    device->owner = (struct mem_owner){
        .name = type->name, .lock = hw_lock_owner_lock, .unlock = hw_lock_owner_unlock};
    if (type->init) {
        type->init(device);
    }
    return device;
}

/* Puts the outer device's name in place of the inner one's. */
static int rename_error(const struct hw_device *device, int err, char *error, size_t error_size)
{
    char inner[128], *rest;
    size_t length;

    hw_device_name(device->inner, inner, sizeof(inner));
    length = strlen(inner);
    rest = strncmp(error, inner, length) == 0 && error[length] == ':' ? strdup(error + length + 2)
                                                                      : NULL;
    if (rest) {
        fail(device, err, rest, "", error, error_size);
        free(rest);
    }
    return err;
}

int hw_device_set(struct hw_device *device, const char *name, const char *value, char *error,
                  size_t error_size)
{
    const struct property *p = property_find(device->type->properties, name);
    char who[128];

    if (p && device->realized && !p->runtime) {
        return fail(device, -EBUSY, name, ": cannot be changed any more", error, error_size);
    }
    if (!p && device->inner) {
        int err = hw_device_set(device->inner, name, value, error, error_size);

        /* The message names what the user has typed. */
        return err ? rename_error(device, err, error, error_size) : 0;
    }
    hw_device_name(device, who, sizeof(who));
    return property_set(device->type->properties, device, who, name, value, error, error_size);
}

/* A required property without a value: text and MAC all unset, numbers 0. */
static const struct property *missing_property(const struct hw_device *device)
{
    for (const struct property *p = device->type->properties; p && p->name; p++) {
        char text[64] = "";

        if (!p->required) {
            continue;
        }
        (void)property_get(p, device, p->name, text, sizeof(text));
        if (!*text || !strcmp(text, "0") || !strcmp(text, "00:00:00:00:00:00")) {
            return p;
        }
    }
    return NULL;
}

static int check_bus(const struct hw_device *device, const struct hw_bus *bus, bool hotplug,
                     char *error, size_t error_size)
{
    const struct hw_device_type *type = device->type;

    if (type->bus && !bus) {
        return fail(device, -EINVAL, "there is no bus of type ", type->bus, error, error_size);
    }
    if (bus && (type->bus ? strcmp(type->bus, bus->type->name) != 0 : !bus->type->board)) {
        return fail(device, -EINVAL, "cannot be plugged into a bus of type ", bus->type->name,
                    error, error_size);
    }
    if (bus && bus->parent && !bus->parent->realized && !bus->parent->realizing) {
        return fail(device, -EINVAL, "its bus is not realized: ", bus->name, error, error_size);
    }
    if (bus && bus->type->single && bus->devices) {
        return fail(device, -EINVAL, "there is a device on its bus already: ", bus->name, error,
                    error_size);
    }
    if (hotplug && (!type->hotplug || (bus && !bus->type->hotplug))) {
        return fail(device, -EPERM, "cannot be plugged while the machine runs", "", error,
                    error_size);
    }
    return 0;
}

int hw_device_realize(struct hw_device *device, struct hw_bus *bus, bool hotplug, char *error,
                      size_t error_size)
{
    const struct property *missing = missing_property(device);
    int err = check_bus(device, bus, hotplug, error, error_size);

    assert(!device->realized);
    if (err) {
        return err;
    }
    if (missing) {
        return fail(device, -EINVAL, missing->name, ": has to be given", error, error_size);
    }
    if (bus && bus->type->plug) {
        err = bus->type->plug(bus, device, error, error_size);
        if (err) {
            return err;
        }
    }
    device->bus = bus;
    device->realizing = true;
    err = device->type->realize ? device->type->realize(device, error, error_size) : 0;
    device->realizing = false;
    if (err) {
        if (bus && bus->type->unplug) {
            bus->type->unplug(bus, device);
        }
        device->bus = NULL;
        return err;
    }
    if (bus) {
        struct hw_device **link = &bus->devices;

        while (*link) {
            link = &(*link)->next;
        }
        *link = device;
    }
    device->realized = true;
    return 0;
}

int hw_device_unplug(struct hw_device *device, char *error, size_t error_size)
{
    if (!device->type->hotplug || !device->bus || !device->bus->type->hotplug) {
        return fail(device, -EPERM, "cannot be unplugged", "", error, error_size);
    }
    if (device->type->unplug_request) {
        device->type->unplug_request(device);
    } else {
        hw_device_destroy(device);
    }
    return 0;
}

static void device_freed(struct epoch_node *node)
{
    struct hw_device *device =
        (struct hw_device *)((char *)node - offsetof(struct hw_device, freed));

    property_clear(device->type->properties, device);
    free(device->id);
    free(device);
}

void hw_device_destroy(struct hw_device *device)
{
    /* One that is realized is on a bus of the device's. */
    struct hw_device *inner = device->inner && !device->inner->realized ? device->inner : NULL;

    for (struct hw_bus *bus = device->buses; bus; bus = bus->next) {
        while (bus->devices) {
            struct hw_device *last = bus->devices;

            while (last->next) {
                last = last->next;
            }
            hw_device_destroy(last);
        }
    }
    if (device->realized) {
        if (device->type->unrealize) {
            device->type->unrealize(device);
        }
        device->realized = false;
        if (device->bus) {
            struct hw_device **link = &device->bus->devices;

            while (*link != device) {
                link = &(*link)->next;
            }
            *link = device->next;
            if (device->bus->type->unplug) {
                device->bus->type->unplug(device->bus, device);
            }
        }
    }
    if (inner) {
        hw_device_destroy(inner);
    }
    /* Behind the regions that unrealize has retired, which are in the same queue. */
    epoch_defer(&mem_epoch, &device->freed, device_freed);
    epoch_reclaim(&mem_epoch);
}

void hw_bus_init(struct hw_bus *bus, const struct hw_bus_type *type, const char *name,
                 struct hw_device *parent)
{
    *bus = (struct hw_bus){.type = type, .name = name, .parent = parent};
    if (parent) {
        struct hw_bus **link = &parent->buses;

        while (*link) {
            link = &(*link)->next;
        }
        *link = bus;
    }
}

int hw_device_walk(struct hw_bus *bus, bool children_first,
                   int (*fn)(struct hw_device *device, void *opaque), void *opaque)
{
    int result = 0;

    for (struct hw_device *d = bus->devices; d && !result; d = d->next) {
        result = children_first ? 0 : fn(d, opaque);
        for (struct hw_bus *b = d->buses; b && !result; b = b->next) {
            result = hw_device_walk(b, children_first, fn, opaque);
        }
        if (children_first && !result) {
            result = fn(d, opaque);
        }
    }
    return result;
}

struct search {
    const char *id;
    struct hw_device *found;
};

static int match_id(struct hw_device *device, void *opaque)
{
    struct search *search = opaque;

    if (device->id && strcmp(device->id, search->id) == 0) {
        search->found = device;
    }
    return search->found != NULL;
}

struct hw_device *hw_device_find(struct hw_bus *bus, const char *id)
{
    struct search search = {.id = id};

    hw_device_walk(bus, false, match_id, &search);
    return search.found;
}
