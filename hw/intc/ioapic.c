/*
 * The I/O APIC: Intel 82093AA data sheet (290566); the EOI register is that of the ICH chip sets.
 *
 * An edge is sent at once, or lost where its entry is masked, as the data sheet has it ("ignored").
 * The request of a level-triggered pin is its line: when it is sent the entry's remote IRR is set,
 * and nothing more is sent before a local APIC has said EOI. If the line is active still, it is
 * sent once more then; a device that nobody quiets costs one interrupt an EOI, as on hardware.
 *
 * A line is active when it is high: wires of the model say that their sender wants attention, and
 * the entry's polarity is only kept for who reads it.
 */
#include "hw/intc/ioapic.h"
#include "cpu/irq.h"
#include "hw/core/reset.h"
#include "util/bits.h"
#include "util/log.h"

#include <errno.h>
#include <stdio.h>

enum {
    SELECT = 0x00, /* offsets of registers */
    WINDOW = 0x10,
    EOI = 0x40,

    REGISTER_ID = 0x00, /* behind the window */
    REGISTER_VERSION = 0x01,
    REGISTER_ARBITRATION = 0x02,
    REGISTER_REDIRECTION = 0x10,

    ID_SHIFT = 24,
    ID_MASK = 0xf,
    VERSION_WITH_EOI = 0x20,

    MODE_LOWEST = 1, /* the higher ones know no level */
};

/* Of an entry. Bits 49 to 55 extend the destination, for software that knows of it. */
#define ENTRY_REMOTE_IRR (UINT64_C(1) << 14)
#define ENTRY_LEVEL      (UINT64_C(1) << 15)
#define ENTRY_MASKED     (UINT64_C(1) << 16)
#define ENTRY_WRITABLE   UINT64_C(0xfffe00000001afff)

static unsigned entry_mode(uint64_t entry)
{
    return (unsigned)bits_extract(entry, 8, 3);
}

/* "Always treated as an edge triggered interrupt", NMI and INIT; "must be edge", SMI and ExtINT. */
static bool is_level(uint64_t entry)
{
    return entry & ENTRY_LEVEL && entry_mode(entry) <= MODE_LOWEST;
}

/*
 * Bits 48 to 63 of the entry are bits 4 to 19 of the address: destination and its extension.
 */
void ioapic_message(const struct ioapic *ioapic, unsigned pin, struct cpu_msi *msi)
{
    uint64_t entry = ioapic->redirection[pin];
    uint32_t data = (uint32_t)(bits_extract(entry, 0, 8) | entry_mode(entry) << 8);

    *msi = (struct cpu_msi){
        .address = 0xfee00000 | bits_extract(entry, 48, 16) << 4 | bits_extract(entry, 11, 1) << 2,
        .data = is_level(entry) ? data | 1u << 14 | 1u << 15 : data,
    };
}

static void send(struct ioapic *ioapic, unsigned pin)
{
    struct cpu_msi msi;

    ioapic_message(ioapic, pin, &msi);
    if (ioapic->send) {
        ioapic->send(ioapic->opaque, &msi);
    }
}

/* Sends what a level-triggered pin asks for, if it may. */
static void service(struct ioapic *ioapic, unsigned pin)
{
    uint64_t entry = ioapic->redirection[pin];

    if (is_level(entry) && !(entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)) &&
        bits_test(ioapic->lines, pin) && !hw_reset_is_active(&ioapic->device)) {
        ioapic->redirection[pin] |= ENTRY_REMOTE_IRR;
        send(ioapic, pin);
    }
}

static void pin_changed(void *opaque, unsigned pin, bool level)
{
    struct ioapic *ioapic = opaque;
    uint64_t entry = ioapic->redirection[pin];
    bool rises = level && !bits_test(ioapic->lines, pin);

    ioapic->lines = (uint32_t)bits_deposit(ioapic->lines, pin, 1, level);
    if (is_level(entry)) {
        service(ioapic, pin);
    } else if (rises && !(entry & ENTRY_MASKED) && !hw_reset_is_active(&ioapic->device)) {
        send(ioapic, pin);
    }
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector)
{
    uint32_t ended = 0;

    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *entry = &ioapic->redirection[pin];

        if (*entry & ENTRY_REMOTE_IRR && (uint8_t)*entry == vector) {
            *entry &= ~ENTRY_REMOTE_IRR;
            ended |= 1u << pin;
        }
    }
    for (; ended; ended &= ended - 1) {
        service(ioapic, bits_ctz32(ended));
    }
}

/* ---- registers ------------------------------------------------------------------------------- */

static void route_changed(struct ioapic *ioapic, unsigned pin)
{
    uint64_t entry = ioapic->redirection[pin];
    struct cpu_msi msi;

    if (ioapic->route_changed) {
        ioapic_message(ioapic, pin, &msi);
        ioapic->route_changed(ioapic->opaque, pin, &msi, entry & ENTRY_MASKED, is_level(entry));
    }
}

static void all_routes_changed(struct ioapic *ioapic)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        route_changed(ioapic, pin);
    }
}

/* One half of an entry. What becomes edge-triggered forgets its remote IRR: by that, software ends
 * interrupts where there is no EOI register. */
static void write_entry(struct ioapic *ioapic, unsigned pin, bool high, uint32_t value)
{
    uint64_t before = ioapic->redirection[pin];
    uint64_t entry = bits_deposit(before, high ? 32 : 0, 32, value) & ENTRY_WRITABLE;

    entry |= is_level(entry) ? before & ENTRY_REMOTE_IRR : 0;
    ioapic->redirection[pin] = entry;
    if ((before ^ entry) & ENTRY_WRITABLE) {
        route_changed(ioapic, pin);
    }
    service(ioapic, pin);
}

static uint32_t read_window(const struct ioapic *ioapic)
{
    unsigned n = ioapic->select - (unsigned)REGISTER_REDIRECTION;

    switch (ioapic->select) {
    case REGISTER_ID:
    case REGISTER_ARBITRATION:
        return (uint32_t)ioapic->id << ID_SHIFT;
    case REGISTER_VERSION:
        return ioapic->version | (IOAPIC_PINS - 1) << 16;
    default:
        return n < 2 * IOAPIC_PINS ? (uint32_t)(ioapic->redirection[n / 2] >> (n % 2 * 32)) : 0;
    }
}

static void write_window(struct ioapic *ioapic, uint32_t value)
{
    unsigned n = ioapic->select - (unsigned)REGISTER_REDIRECTION;

    if (n < 2 * IOAPIC_PINS) {
        write_entry(ioapic, n / 2, n % 2, value);
    } else if (ioapic->select == REGISTER_ID) {
        ioapic->id = value >> ID_SHIFT & ID_MASK;
    } else {
        log_limited(LOG_GUEST_ERRORS, "ioapic: write to register %#x, which takes none\n",
                    ioapic->select);
    }
}

/* The window and the EOI register are accessed as words, "aligned on a 128 bit boundary". */
static int ioapic_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                       struct mem_attrs attrs)
{
    const struct ioapic *ioapic = opaque;

    *value = 0;
    if (offset == SELECT) {
        *value = ioapic->select;
    } else if (offset == WINDOW && size == 4) {
        *value = read_window(ioapic);
    } else {
        log_limited(LOG_GUEST_ERRORS, "ioapic: read of %u bytes at offset %#x\n", size,
                    (unsigned)offset);
    }
    return 0;
}

static int ioapic_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    struct ioapic *ioapic = opaque;

    if (offset == SELECT) {
        ioapic->select = (uint8_t)value;
    } else if (offset == WINDOW && size == 4) {
        write_window(ioapic, (uint32_t)value);
    } else if (offset == EOI && size == 4 && ioapic->version >= VERSION_WITH_EOI) {
        ioapic_eoi(ioapic, (uint8_t)value);
    } else {
        log_limited(LOG_GUEST_ERRORS, "ioapic: write of %u bytes at offset %#x\n", size,
                    (unsigned)offset);
    }
    return 0;
}

static const struct mem_ops ioapic_ops = {
    .read = ioapic_read, .write = ioapic_write, .max_size = 4, .split = true};

/* ---- life ------------------------------------------------------------------------------------ */

static int ioapic_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct ioapic *ioapic = (struct ioapic *)device;

    if (ioapic->version != 0x11 && ioapic->version != VERSION_WITH_EOI) {
        snprintf(error, error_size, "ioapic: version=%#x: expected 0x11 or 0x20", ioapic->version);
        return -EINVAL;
    }
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        ioapic->in[pin] = (struct hw_irq_input){pin_changed, ioapic, pin};
    }
    mem_region_init_mmio(&ioapic->mmio, "ioapic", IOAPIC_SIZE, &ioapic_ops, ioapic, &device->owner);
    return 0;
}

static void ioapic_unrealize(struct hw_device *device)
{
    mem_region_retire(&((struct ioapic *)device)->mmio, NULL, NULL);
}

/* Lines keep their level through a reset: their senders lower them in theirs. */
static void ioapic_reset_enter(struct hw_device *device, bool cold)
{
    struct ioapic *ioapic = (struct ioapic *)device;

    ioapic->select = ioapic->id = 0;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        ioapic->redirection[pin] = ENTRY_MASKED;
    }
}

static void ioapic_reset_hold(struct hw_device *device)
{
    all_routes_changed((struct ioapic *)device);
}

static int ioapic_post_load(void *object, uint32_t version)
{
    struct ioapic *ioapic = object;

    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t entry = ioapic->redirection[pin];

        if (entry & ~(ENTRY_WRITABLE | ENTRY_REMOTE_IRR) ||
            (entry & ENTRY_REMOTE_IRR && !is_level(entry))) {
            return -EINVAL;
        }
    }
    if (ioapic->id > ID_MASK || ioapic->lines >> IOAPIC_PINS) {
        return -EINVAL;
    }
    all_routes_changed(ioapic);
    return 0;
}

static const struct property ioapic_properties[] = {
    PROPERTY(U8, "version", struct ioapic, version, .number = VERSION_WITH_EOI, .min = 0x11,
             .max = VERSION_WITH_EOI, .help = "0x11, or 0x20 with an EOI register"),
    PROPERTY_END,
};
static const struct state_field ioapic_fields[] = {
    STATE(U8, "select", struct ioapic, select),
    STATE(U8, "id", struct ioapic, id),
    STATE(U32, "lines", struct ioapic, lines),
    STATE_ARRAY(U64, "redirection", struct ioapic, redirection),
    STATE_END,
};
static const struct state_table ioapic_state = {.name = "ioapic",
                                                .version = 1,
                                                .min_version = 1,
                                                .fields = ioapic_fields,
                                                .post_load = ioapic_post_load};

const struct hw_device_type ioapic_type = {
    .name = "ioapic",
    .help = "I/O APIC",
    .size = sizeof(struct ioapic),
    .properties = ioapic_properties,
    .state = &ioapic_state,
    .internal = true,
    .realize = ioapic_realize,
    .unrealize = ioapic_unrealize,
    .reset_enter = ioapic_reset_enter,
    .reset_hold = ioapic_reset_hold,
};
