/*
 * Functions: configuration space and what it does.
 *
 * A configuration space is bytes with two masks, of bits that software writes and of bits that
 * writing 1 clears; everything else reads as it was made. After a write, what lives off the bytes
 * is brought up to date: BARs are put where they say, INTx is gated, MSI looks at its masks, and
 * the function's own callback follows.
 *
 * A BAR's region is in its bus's container while decoding is on (and it is not at the top of its
 * space, as while software sizes it), so moving one is a transaction of two changes.
 */
#include "hw/pci/internal.h"
#include "util/bits.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define BAR_MEM64    0x4
#define BAR_PREFETCH 0x8
#define BAR_IO       0x1
#define ROM_ENABLE   0x1

/* ---- bytes ----------------------------------------------------------------------------------- */

uint32_t pci_get(const struct pci_function *function, unsigned offset, unsigned size)
{
    uint32_t value = 0;

    memcpy(&value, function->config + offset, size);
    return value;
}

void pci_set(struct pci_function *function, unsigned offset, unsigned size, uint32_t value)
{
    memcpy(function->config + offset, &value, size);
}

void pci_set_writable(struct pci_function *function, unsigned offset, unsigned size, uint32_t mask)
{
    memcpy(function->write + offset, &mask, size);
}

/* ---- base address registers ------------------------------------------------------------------ */

static unsigned bar_offset(const struct pci_function *function, unsigned n)
{
    if (n < PCI_BARS) {
        return PCI_BAR0 + 4 * n;
    }
    return function->config[PCI_HEADER_TYPE] & ~PCI_HEADER_MULTIFUNCTION ? PCI_BRIDGE_ROM : PCI_ROM;
}

static bool is_64(const struct pci_bar *bar)
{
    return bar->kind == PCI_BAR_MEM64 || bar->kind == PCI_BAR_MEM64_PREFETCH;
}

/* Where software has put the BAR; false: nowhere. */
static bool bar_address(const struct pci_function *function, unsigned n, uint64_t *address)
{
    const struct pci_bar *bar = &function->bars[n];
    unsigned offset = bar_offset(function, n);
    uint16_t command = (uint16_t)pci_get(function, PCI_COMMAND, 2);
    uint64_t space = bits_mask(is_64(bar) ? 64 : 32);

    if (!(command & (bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY))) {
        return false;
    }
    *address = pci_get(function, offset, 4);
    if (bar->kind == PCI_BAR_ROM && !(*address & ROM_ENABLE)) {
        return false;
    }
    if (is_64(bar)) {
        *address |= (uint64_t)pci_get(function, offset + 4, 4) << 32;
    }
    *address &= ~(bar->size - 1);
    /* Address 0 is not assigned; what reaches the end is being sized. */
    return *address && *address + bar->size - 1 < space && *address + bar->size - 1 >= *address;
}

static void update_bar(struct pci_function *function, unsigned n)
{
    struct pci_bar *bar = &function->bars[n];
    struct pci_bus *bus = function->bus;
    uint64_t address = 0;
    bool on = bar_address(function, n, &address);

    if (on == bar->mapped && (!on || address == bar->address)) {
        return;
    }
    if (bar->mapped && on) {
        mem_region_move(bar->region, address);
    } else if (on) {
        mem_region_add(bar->kind == PCI_BAR_IO ? bus->io : bus->memory, address, bar->region, 1);
    } else {
        mem_region_remove(bar->region);
    }
    bar->mapped = on;
    bar->address = address;
}

static void update_bars(struct pci_function *function)
{
    mem_region_begin();
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(function->bars); n++) {
        if (function->bars[n].region) {
            update_bar(function, n);
        }
    }
    mem_region_commit();
}

void pci_add_bar(struct pci_function *function, unsigned n, enum pci_bar_kind kind,
                 struct mem_region *region, uint64_t size)
{
    struct pci_bar *bar = &function->bars[n];
    unsigned offset = bar_offset(function, n);
    uint32_t flags = 0, writable = (uint32_t) ~(size - 1);

    assert(bits_is_pow2(size) && size >= (kind == PCI_BAR_IO ? 4 : 16));
    *bar = (struct pci_bar){.region = region, .size = size, .kind = kind};
    if (kind == PCI_BAR_IO) {
        flags = BAR_IO;
    } else if (kind == PCI_BAR_MEM32_PREFETCH || kind == PCI_BAR_MEM64_PREFETCH) {
        flags = BAR_PREFETCH;
    }
    flags |= is_64(bar) ? BAR_MEM64 : 0;
    pci_set(function, offset, 4, flags);
    pci_set_writable(function, offset, 4, writable | (kind == PCI_BAR_ROM ? ROM_ENABLE : 0));
    if (is_64(bar)) {
        assert(n + 1 < PCI_BARS && !function->bars[n + 1].region);
        pci_set_writable(function, offset + 4, 4, (uint32_t)(~(size - 1) >> 32));
    }
}

/* ---- bus mastering --------------------------------------------------------------------------- */

bool pci_may_master(const struct pci_function *function)
{
    for (const struct pci_function *f = function; f; f = f->bus->bridge) {
        if (!(pci_get(f, PCI_COMMAND, 2) & PCI_COMMAND_MASTER)) {
            return false;
        }
    }
    return true;
}

static void tell_master(struct pci_function *function)
{
    struct pci_bus *secondary = function->secondary;

    if (function->master_changed) {
        function->master_changed(function, pci_may_master(function));
    }
    for (unsigned i = 0; secondary && i < BITS_ARRAY_SIZE(secondary->functions); i++) {
        if (secondary->functions[i]) {
            tell_master(secondary->functions[i]);
        }
    }
}

uint16_t pci_requester(const struct pci_function *function)
{
    return (uint16_t)(pci_bus_number(function->bus) << 8 | function->devfn);
}

/* ---- INTx ------------------------------------------------------------------------------------ */

/* Drives the host bridge's input that the function's wire leads to (bridges: PCI-to-PCI bridge
 * architecture 1.2, clause 9.1). */
static void drive_intx(struct pci_function *function, bool level)
{
    struct pci_bus *bus = function->bus;
    unsigned pin = function->config[PCI_INTERRUPT_PIN] - 1u;
    unsigned slot = PCI_SLOT(function->devfn);

    while (bus->bridge) {
        pin = (pin + slot) % PCI_PINS;
        slot = PCI_SLOT(bus->bridge->devfn);
        bus = bus->bridge->bus;
    }
    unsigned input = bus->map_irq ? bus->map_irq(bus, slot, pin) : (slot + pin) % PCI_PINS;

    assert(input < BITS_ARRAY_SIZE(bus->asserted));
    bus->asserted[input] = (uint16_t)(bus->asserted[input] + (level ? 1 : -1));
    if (bus->asserted[input] == level) {
        bus->set_irq(bus->opaque, input, level);
    }
}

static void update_intx(struct pci_function *function)
{
    uint16_t command = (uint16_t)pci_get(function, PCI_COMMAND, 2);
    uint16_t status = (uint16_t)pci_get(function, PCI_STATUS, 2) & (uint16_t)~PCI_STATUS_INTX;
    bool level = function->intx && !(command & PCI_COMMAND_INTX_OFF);

    pci_set(function, PCI_STATUS, 2, status | (function->intx ? PCI_STATUS_INTX : 0));
    if (level != function->intx_driven) {
        function->intx_driven = level;
        drive_intx(function, level);
    }
}

void pci_set_intx(struct pci_function *function, bool level)
{
    if (function->config[PCI_INTERRUPT_PIN]) {
        function->intx = level;
        update_intx(function);
    }
}

/* ---- accesses of software -------------------------------------------------------------------- */

uint32_t pci_config_read(struct pci_function *function, unsigned offset, unsigned size)
{
    if (offset + size > function->config_size) {
        return (uint32_t)bits_mask(8 * size);
    }
    if (function->config_reading) {
        function->config_reading(function, offset, size);
    }
    return pci_get(function, offset, size);
}

static bool touches(unsigned offset, unsigned size, unsigned at, unsigned length)
{
    return offset < at + length && at < offset + size;
}

void pci_config_write(struct pci_function *function, unsigned offset, unsigned size, uint32_t value)
{
    uint16_t command = (uint16_t)pci_get(function, PCI_COMMAND, 2);

    if (offset + size > function->config_size) {
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * i);
        uint8_t *config = &function->config[offset + i];
        uint8_t write = function->write[offset + i];

        *config = (uint8_t)((*config & ~write) | (byte & write));
        *config &= (uint8_t) ~(byte & function->write_clear[offset + i]);
    }
    if (touches(offset, size, PCI_COMMAND, 2)) {
        update_bars(function);
        update_intx(function);
        if ((command ^ pci_get(function, PCI_COMMAND, 2)) & PCI_COMMAND_MASTER) {
            tell_master(function);
        }
    } else if (touches(offset, size, PCI_BAR0, 4 * PCI_BARS) ||
               touches(offset, size, bar_offset(function, PCI_ROM_BAR), 4)) {
        update_bars(function);
    }
    if (function->msi && touches(offset, size, function->msi, PCI_MSI_SIZE)) {
        pci_msi_written(function);
    }
    if (function->msix && touches(offset, size, function->msix_cap, 4)) {
        pci_msix_written(function);
    }
    if (function->config_written) {
        function->config_written(function, offset, size);
    }
}

/* ---- capabilities ---------------------------------------------------------------------------- */

unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned size)
{
    unsigned offset = function->next_cap;

    assert(offset + size <= PCI_CONFIG_SIZE);
    function->next_cap = (uint16_t)bits_align_up(offset + size, 4);
    function->config[offset] = id;
    function->config[offset + 1] = function->config[PCI_CAP_POINTER];
    function->config[PCI_CAP_POINTER] = (uint8_t)offset;
    function->config[PCI_STATUS] |= PCI_STATUS_CAPS;
    return offset;
}

/* PCI Express 4.0, clause 7.5.3. No slot: nothing is plugged while the machine runs. */
void pci_add_express(struct pci_function *function, unsigned type)
{
    unsigned at = pci_add_capability(function, PCI_CAP_EXPRESS, 0x3c);
    bool port = type == PCI_EXP_TYPE_ROOT_PORT;

    function->express = (uint16_t)at;
    pci_set(function, at + 2, 2, 2 | type << 4); /* version 2 */
    pci_set(function, at + 4, 4, 0x8000);        /* device: role-based error reporting */
    pci_set_writable(function, at + 8, 2, 0x70ff);
    function->write_clear[at + 10] = 0x0f;
    pci_set(function, at + 12, 4, port ? 0x100411 : 0x411); /* link: x1, 2.5 GT/s, ASPM L0s */
    pci_set_writable(function, at + 16, 2, 0x01db);
    pci_set(function, at + 18, 2, port ? 0x2011 : 0x11); /* so it is; and a port's is active */
    if (port) {
        pci_set_writable(function, at + 28, 2, 0x001f); /* root control */
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

void pci_function_init(struct pci_function *function, const struct pci_ids *ids)
{
    memset(function->config, 0, sizeof(function->config));
    memset(function->write, 0, sizeof(function->write));
    memset(function->write_clear, 0, sizeof(function->write_clear));
    memset(function->bars, 0, sizeof(function->bars));
    function->msi = function->msix_cap = function->express = 0;
    function->msix = NULL;
    function->config_size = function->bus->express ? PCI_EXPRESS_CONFIG_SIZE : PCI_CONFIG_SIZE;
    function->next_cap = PCI_CAPS_START;
    pci_set(function, PCI_VENDOR_ID, 2, ids->vendor);
    pci_set(function, PCI_DEVICE_ID, 2, ids->device);
    pci_set(function, PCI_REVISION, 1, ids->revision);
    pci_set(function, PCI_CLASS, 3, ids->class_code);
    pci_set(function, PCI_HEADER_TYPE, 1,
            ids->header_type | (function->multifunction ? PCI_HEADER_MULTIFUNCTION : 0));
    pci_set(function, PCI_INTERRUPT_PIN, 1, ids->pin);
    if (ids->header_type == 0) {
        pci_set(function, PCI_SUBSYSTEM_VENDOR, 2, ids->subsystem_vendor);
        pci_set(function, PCI_SUBSYSTEM, 2, ids->subsystem);
    }
    pci_set_writable(function, PCI_COMMAND, 2,
                     PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                         PCI_COMMAND_SERR | PCI_COMMAND_INTX_OFF);
    function->write_clear[PCI_STATUS + 1] = PCI_STATUS_ERRORS >> 8;
    pci_set_writable(function, PCI_CACHE_LINE, 1, 0xff);
    pci_set_writable(function, PCI_INTERRUPT_LINE, 1, 0xff);
}

void pci_function_exit(struct pci_function *function)
{
    pci_set_intx(function, false);
    pci_set(function, PCI_COMMAND, 2, 0);
    update_bars(function);
    pci_rom_free(function);
    pci_msix_free(function);
}

void pci_function_reset(struct pci_function *function)
{
    bool master = pci_may_master(function);

    function->intx = false;
    function->msi_pending = 0;
    for (unsigned i = 0; i < function->config_size; i++) {
        function->config[i] &= (uint8_t) ~(function->write[i] | function->write_clear[i]);
    }
    if (function->msi) {
        pci_set(function, function->msi + PCI_MSI_PENDING, 4, 0);
    }
    update_intx(function);
    update_bars(function);
    pci_msix_reset(function);
    if (function->config_written) {
        function->config_written(function, 0, function->config_size);
    }
    if (master) {
        tell_master(function);
    }
}

/* ---- saved state ----------------------------------------------------------------------------- */

static int function_pre_save(void *object)
{
    struct pci_function *function = object;

    memcpy(function->saved, function->config, function->config_size);
    function->saved_size = function->config_size;
    return 0;
}

/* What software cannot change stays as realize made it, whatever the stream says. */
static int function_post_load(void *object, uint32_t version)
{
    struct pci_function *function = object;

    if (function->saved_size != function->config_size ||
        memcmp(function->saved, function->config, 4) != 0) {
        return -EINVAL; /* another device */
    }
    for (unsigned i = 0; i < function->config_size; i++) {
        uint8_t mask = function->write[i] | function->write_clear[i];

        function->config[i] =
            (uint8_t)((function->config[i] & ~mask) | (function->saved[i] & mask));
    }
    function->intx &= function->config[PCI_INTERRUPT_PIN] != 0;
    update_bars(function);
    update_intx(function);
    tell_master(function);
    if (function->msi) {
        pci_set(function, function->msi + PCI_MSI_PENDING, 4, function->msi_pending);
    }
    if (function->config_written) {
        function->config_written(function, 0, function->config_size);
    }
    return 0;
}

static const struct state_table *const parts[] = {&pci_msix_state, NULL};

static const struct state_field fields[] = {
    STATE_USED(U8, "config", struct pci_function, saved, saved_size),
    STATE(BOOL, "intx", struct pci_function, intx),
    STATE(U32, "msi_pending", struct pci_function, msi_pending),
    STATE_END,
};

const struct state_table pci_function_state = {.name = "pci",
                                               .version = 1,
                                               .min_version = 1,
                                               .fields = fields,
                                               .parts = parts,
                                               .pre_save = function_pre_save,
                                               .post_load = function_post_load};
