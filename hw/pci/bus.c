/* Buses: which function is where, and how configuration accesses and bus numbers find it. */
#include "hw/pci/pci.h"
#include "util/bits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SLOTS 32

static int fail(const struct pci_function *function, const char *what, char *error,
                size_t error_size)
{
    snprintf(error, error_size, "%s: addr=%s: %s", function->device.type->name,
             function->addr ? function->addr : "", what);
    return -EINVAL;
}

/* A hexadecimal number, with or without 0x, at most `max`; where it ends. NULL: it is none. */
static const char *parse_hex(const char *text, unsigned max, unsigned *value)
{
    static const char digits[] = "0123456789abcdef";
    const char *at;

    text += text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 2 : 0;
    at = text;

    *value = 0;
    for (; *at; at++) {
        const char *digit = strchr(digits, *at >= 'A' && *at <= 'F' ? *at + 32 : *at);

        if (!digit) {
            break;
        }
        *value = *value * 16 + (unsigned)(digit - digits);
        if (*value > max) {
            return NULL;
        }
    }
    return at == text ? NULL : at;
}

static bool parse_addr(const char *text, uint8_t *devfn)
{
    unsigned slot, fn = 0;

    text = parse_hex(text, SLOTS - 1, &slot);
    if (text && *text == '.') {
        text = parse_hex(text + 1, 7, &fn);
    }
    *devfn = (uint8_t)PCI_DEVFN(slot, fn);
    return text && !*text;
}

static bool slot_is_free(const struct pci_bus *bus, unsigned slot)
{
    for (unsigned fn = 0; fn < 8; fn++) {
        if (bus->functions[PCI_DEVFN(slot, fn)]) {
            return false;
        }
    }
    return true;
}

static int next_slot(const struct pci_bus *bus)
{
    for (unsigned slot = 0; slot < (bus->single_slot ? 1 : SLOTS); slot++) {
        if (slot_is_free(bus, slot)) {
            return PCI_DEVFN((int)slot, 0);
        }
    }
    return -1;
}

/* Clause 3.2.2.3.4 of PCI 3.0: software looks at functions 1 to 7 only if function 0 says so. */
static const char *check_slot(const struct pci_bus *bus, const struct pci_function *function,
                              uint8_t devfn)
{
    const struct pci_function *first = bus->functions[devfn & ~7u];

    if (bus->single_slot && PCI_SLOT(devfn)) {
        return "expected slot 0, there is no other behind a port";
    }
    if (bus->functions[devfn]) {
        return "the place is taken";
    }
    if (PCI_FN(devfn) && first && !first->multifunction) {
        return "function 0 of the slot has not multifunction=on";
    }
    if (!PCI_FN(devfn) && !function->multifunction && !slot_is_free(bus, PCI_SLOT(devfn))) {
        return "there are other functions in the slot, so it needs multifunction=on";
    }
    return NULL;
}

static int plug(struct hw_bus *hw_bus, struct hw_device *device, char *error, size_t error_size)
{
    struct pci_bus *bus = (struct pci_bus *)hw_bus;
    struct pci_function *function = (struct pci_function *)device;
    int free_slot = next_slot(bus);
    uint8_t devfn;
    const char *why;

    if (function->addr && *function->addr) {
        if (!parse_addr(function->addr, &devfn)) {
            return fail(function, "expected SLOT or SLOT.FUNCTION in hexadecimal, up to 1f.7",
                        error, error_size);
        }
    } else if (free_slot >= 0) {
        devfn = (uint8_t)free_slot;
    } else {
        snprintf(error, error_size, "%s: no slot of bus %s is free", device->type->name,
                 hw_bus->name);
        return -ENOSPC;
    }
    why = check_slot(bus, function, devfn);
    if (why) {
        return fail(function, why, error, error_size);
    }
    function->bus = bus;
    function->devfn = devfn;
    bus->functions[devfn] = function;
    return 0;
}

static void unplug(struct hw_bus *hw_bus, struct hw_device *device)
{
    struct pci_function *function = (struct pci_function *)device;

    function->bus->functions[function->devfn] = NULL;
    function->bus = NULL;
}

const struct hw_bus_type pci_bus_type = {.name = "PCI", .plug = plug, .unplug = unplug};

void pci_bus_init(struct pci_bus *bus, const char *name, struct hw_device *parent)
{
    hw_bus_init(&bus->bus, &pci_bus_type, name, parent);
}

uint8_t pci_bus_number(const struct pci_bus *bus)
{
    return bus->bridge ? bus->bridge->config[PCI_SECONDARY_BUS] : 0;
}

/* The bridge on a bus that forwards configuration accesses to a bus number. */
static struct pci_bus *find_below(const struct pci_bus *bus, uint8_t number)
{
    for (unsigned i = 0; i < BITS_ARRAY_SIZE(bus->functions); i++) {
        const struct pci_function *bridge = bus->functions[i];

        if (bridge && bridge->secondary && number >= bridge->config[PCI_SECONDARY_BUS] &&
            number <= bridge->config[PCI_SUBORDINATE_BUS] && bridge->config[PCI_SECONDARY_BUS]) {
            return bridge->secondary;
        }
    }
    return NULL;
}

struct pci_function *pci_find_function(struct pci_bus *root, uint8_t number, uint8_t devfn)
{
    struct pci_bus *bus = root;

    /* Each step is a level down the tree, so it ends whatever the numbers are. */
    while (bus && pci_bus_number(bus) != number) {
        bus = find_below(bus, number);
    }
    return bus ? bus->functions[devfn] : NULL;
}
