/*
 * What all machines share: their types, the tree of devices, the wires to vCPUs, and the order of
 * reset. The board's own bus takes every device that has no bus type of its own, so that one walk
 * reaches everything.
 */
#include "hw/machine/machine.h"

#include "hw/core/reset.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct machine_type *const *types;

static const struct hw_bus_type machine_bus_type = {.name = "main-system-bus", .board = true};

const struct property machine_properties[] = {
    PROPERTY(STRING, "dumpdtb", struct machine, dumpdtb,
             .help = "write the device tree to this file and exit"),
    PROPERTY(STRING, "memory-backend", struct machine, memory_backend,
             .help = "id of the object that is the machine's memory"),
    PROPERTY(STRING, "kernel-irqchip", struct machine, kernel_irqchip,
             .help = "which interrupt controllers are the accelerator's: on, split or off"),
    PROPERTY(BOOL, "dump-guest-core", struct machine, dump_guest_core, .number = 1,
             .help = "guest memory is part of core dumps"),
    PROPERTY(BOOL, "usb", struct machine, usb, .help = "a USB controller on boards that have one"),
    PROPERTY_END,
};

void machine_add_types(const struct machine_type *const *list)
{
    types = list;
}

const struct machine_type *machine_type_at(unsigned n)
{
    for (unsigned i = 0; types && types[i]; i++) {
        if (i == n) {
            return types[i];
        }
    }
    return NULL;
}

const struct machine_type *machine_find_type(const char *name)
{
    const struct machine_type *type;

    for (unsigned n = 0; (type = machine_type_at(n)); n++) {
        if (strcmp(type->name, name) == 0 || (type->alias && !strcmp(type->alias, name))) {
            return type;
        }
    }
    return NULL;
}

struct machine *machine_create(const struct machine_type *type)
{
    struct machine *machine = calloc(1, type->size);

    assert(type->size >= sizeof(*machine));
    if (!machine) {
        return NULL;
    }
    machine->type = type;
    if (property_set_defaults(machine_properties, machine) ||
        property_set_defaults(type->properties, machine)) {
        property_clear(machine_properties, machine);
        property_clear(type->properties, machine);
        free(machine);
        return NULL;
    }
    hw_bus_init(&machine->bus, &machine_bus_type, "main-system-bus", NULL);
    mem_region_init_container(&machine->root, "system", MEM_SIZE_ALL);
    mem_space_init(&machine->memory, "memory", &machine->root);
    mem_region_init_container(&machine->io_root, "io", 0x10000);
    mem_space_init(&machine->io, "I/O", &machine->io_root);
    return machine;
}

void machine_remove_devices(struct machine *machine)
{
    while (machine->bus.devices) {
        struct hw_device *last = machine->bus.devices;

        while (last->next) {
            last = last->next;
        }
        hw_device_destroy(last);
    }
}

int machine_set_property(struct machine *machine, const char *name, const char *value, char *error,
                         size_t error_size)
{
    const struct machine_type *type = machine->type;
    const struct property *table =
        property_find(machine_properties, name) ? machine_properties : type->properties;

    return property_set(table, machine, type->alias ? type->alias : type->name, name, value, error,
                        error_size);
}

static int apply_defaults(struct hw_device *device, const struct machine_default *list, char *error,
                          size_t error_size)
{
    for (; list && list->type; list++) {
        if (strcmp(list->type, device->type->name) == 0) {
            int err = hw_device_set(device, list->property, list->value, error, error_size);

            if (err) {
                return err;
            }
        }
    }
    return 0;
}

struct hw_device *machine_new_device(struct machine *machine, const struct hw_device_type *type,
                                     const char *id, char *error, size_t error_size)
{
    struct hw_device *device = hw_device_create(type, id);

    if (!device) {
        snprintf(error, error_size, "%s: out of memory", type->name);
        return NULL;
    }
    for (struct hw_device *d = device; d; d = d->inner) {
        if (apply_defaults(d, machine->type->defaults, error, error_size) ||
            apply_defaults(d, machine->globals, error, error_size)) {
            hw_device_destroy(device);
            return NULL;
        }
    }
    return device;
}

int machine_add_device(struct machine *machine, struct hw_device *device, char *error,
                       size_t error_size)
{
    int err;

    if (!device) {
        return -EINVAL;
    }
    err = hw_device_realize(device, &machine->bus, false, error, error_size);
    if (err) {
        hw_device_destroy(device);
    }
    return err;
}

struct bus_search {
    const char *type, *name;
    struct hw_bus *found;
};

/* Transports have a bus of one slot each: a bus that is full is passed over. */
static int match_bus(struct hw_device *device, void *opaque)
{
    struct bus_search *search = opaque;

    for (struct hw_bus *bus = device->buses; bus && !search->found; bus = bus->next) {
        if (search->name
                ? !strcmp(bus->name, search->name)
                : !strcmp(bus->type->name, search->type) && !(bus->type->single && bus->devices)) {
            search->found = bus;
        }
    }
    return search->found != NULL;
}

struct hw_bus *machine_find_bus(struct machine *machine, const char *type, const char *name)
{
    struct bus_search search = {.type = type, .name = name};

    if (name && strcmp(name, machine->bus.name) == 0) {
        return &machine->bus;
    }
    hw_device_walk(&machine->bus, false, match_bus, &search);
    return search.found;
}

static void drive_cpu(void *opaque, unsigned n, bool level)
{
    struct cpu *cpu = opaque;

    cpu_irq_set(&cpu->ops->system->system(cpu)->lines, n, level);
}

struct hw_irq_input *machine_cpu_input(struct machine *machine, unsigned cpu, unsigned line)
{
    assert(cpu < machine->smp.cpus && line < MACHINE_CPU_INPUTS);
    if (!machine->cpu_inputs) {
        size_t count = (size_t)machine->smp.cpus * MACHINE_CPU_INPUTS;

        machine->cpu_inputs = calloc(count, sizeof(*machine->cpu_inputs));
        if (!machine->cpu_inputs) {
            return NULL;
        }
        for (size_t i = 0; i < count; i++) {
            machine->cpu_inputs[i] = (struct hw_irq_input){
                .handler = drive_cpu,
                .opaque = machine->cpus[i / MACHINE_CPU_INPUTS],
                .n = (unsigned)(i % MACHINE_CPU_INPUTS),
            };
        }
    }
    return &machine->cpu_inputs[(size_t)cpu * MACHINE_CPU_INPUTS + line];
}

int machine_map_ram(struct machine *machine, uint64_t base, char *error, size_t error_size)
{
    int err = mem_region_init_ram(&machine->ram, "ram", machine->ram_block, 0, machine->ram_size,
                                  machine->ram_block->readonly);

    if (err) {
        snprintf(error, error_size, "the memory backend is smaller than the machine's memory");
        return err;
    }
    return mem_region_add(&machine->root, base, &machine->ram, 0);
}

void machine_reset(struct machine *machine, bool cold)
{
    hw_reset_bus(&machine->bus, cold);
    loader_write(&machine->blobs, &machine->memory);
    machine->type->reset(machine);
}
