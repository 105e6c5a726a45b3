/*
 * The bus between local APICs: who a message is for ("Determining IPI Destination"), and the memory
 * that APICs and messages share.
 *
 * In the first page a vCPU sees its APIC, and all of the megabyte takes messages of devices, whose
 * addresses have a destination in bits 12 to 19. Those for destination 0 are in the page of the
 * registers, but at offsets below 16, where no register is, so neither is taken for the other,
 * whatever thread a device's message comes from.
 */
#include "hw/intc/apic-internal.h"
#include "cpu/irq.h"
#include "hw/core/lock.h"
#include "util/bits.h"
#include "util/log.h"

#include <errno.h>
#include <stdio.h>

enum {
    BROADCAST = 0xff, /* of a destination of 8 bits */
    MESSAGE_OFFSETS = 16,
    PAGE = 0x1000,

    SHORTHAND_NONE = 0,
    SHORTHAND_SELF = 1,
    SHORTHAND_OTHERS = 3,
};

/* ---- destinations ---------------------------------------------------------------------------- */

static bool is_for(const struct apic_message *message, const struct apic *apic)
{
    uint32_t destination = message->destination, logical = apic_logical_id(apic);

    if (!apic_is_enabled(apic)) {
        return false;
    }
    if (destination == (message->wide ? UINT32_MAX : BROADCAST)) {
        return true;
    }
    if (!message->logical) {
        return destination == apic->id;
    }
    if (apic_is_x2apic(apic)) {
        return destination >> 16 == logical >> 16 && destination & logical & 0xffff;
    }
    if (destination > UINT8_MAX) {
        return false;
    }
    logical >>= 24;
    if (apic->format >> 28 == 0xf) {
        return destination & logical; /* flat */
    }
    return destination >> 4 == logical >> 4 && destination & logical & 0xf;
}

/* The better target of an interrupt of lowest priority; among equals, the one that comes first
 * behind the latest. */
static struct apic *lower(const struct apic_bus *bus, struct apic *a, struct apic *b)
{
    uint8_t of_a = apic_ppr(a), of_b = apic_ppr(b);

    if (of_a != of_b) {
        return of_a < of_b ? a : b;
    }
    return a->id - bus->last_lowest - 1 <= b->id - bus->last_lowest - 1 ? a : b;
}

/* Gives a message to whom it is for, all but `except` (may be NULL). */
static void deliver(struct apic_bus *bus, const struct apic_message *message,
                    const struct apic *except)
{
    struct apic *lowest = NULL;

    for (struct apic *apic = bus->first; apic; apic = apic->next) {
        if (apic == except || !is_for(message, apic)) {
            continue;
        }
        if (message->mode != APIC_LOWEST) {
            apic_receive(apic, message->mode, message->vector, message->level);
        } else if (apic_is_software_enabled(apic)) {
            lowest = lowest ? lower(bus, lowest, apic) : apic;
        }
    }
    if (lowest) {
        bus->last_lowest = lowest->id;
        apic_receive(lowest, message->mode, message->vector, message->level);
    }
}

/* ---- interprocessor interrupts --------------------------------------------------------------- */

/*
 * "Interrupt Command Register". Trigger mode and level mean something for INIT only: its de-assert
 * message set arbitration ids, and does nothing since the Pentium 4.
 */
void apic_send_ipi(struct apic *apic)
{
    uint64_t icr = apic->icr;
    unsigned shorthand = (unsigned)bits_extract(icr, 18, 2);
    struct apic_message message = {
        .destination = (uint32_t)(icr >> 32),
        .logical = bits_test(icr, 11),
        .wide = apic_is_x2apic(apic),
        .mode = (enum apic_mode)bits_extract(icr, 8, 3),
        .vector = (uint8_t)icr,
    };

    if (message.mode <= APIC_LOWEST && message.vector < APIC_FIRST_VECTOR) {
        apic_add_error(apic, APIC_ERROR_SEND_VECTOR);
        return;
    }
    if (message.mode == APIC_INIT && !bits_test(icr, 14) && bits_test(icr, 15)) {
        return;
    }
    if (!message.wide) {
        message.destination >>= 24;
    }
    if (shorthand == SHORTHAND_SELF) {
        apic_receive(apic, message.mode, message.vector, false);
        return;
    }
    if (shorthand != SHORTHAND_NONE) {
        message.wide = true;
        message.destination = UINT32_MAX;
    }
    deliver(apic->bus, &message, shorthand == SHORTHAND_OTHERS ? apic : NULL);
}

/* ---- messages of devices --------------------------------------------------------------------- */

/*
 * "Message Signalled Interrupts". A redirection hint with a logical destination asks for the lowest
 * priority.
 */
void apic_bus_send_msi(struct apic_bus *bus, const struct cpu_msi *msi)
{
    uint32_t address = (uint32_t)msi->address;
    struct apic_message message = {
        .destination = (uint32_t)(bits_extract(address, 12, 8) | bits_extract(address, 5, 7) << 8 |
                                  bits_extract(msi->address, 40, 24) << 8),
        .logical = bits_test(address, 2),
        .mode = (enum apic_mode)bits_extract(msi->data, 8, 3),
        .vector = (uint8_t)msi->data,
        .level = bits_test(msi->data, 15),
    };

    if ((address & ~(uint32_t)(APIC_SIZE - 1)) != APIC_BASE ||
        (message.level && !bits_test(msi->data, 14))) {
        log_limited(LOG_GUEST_ERRORS, "apic: a message of %#x to %#llx is for nobody\n",
                    (unsigned)msi->data, (unsigned long long)msi->address);
        return;
    }
    if (message.mode == APIC_FIXED && message.logical && bits_test(address, 3)) {
        message.mode = APIC_LOWEST;
    }
    message.level = message.level && message.mode <= APIC_LOWEST;
    deliver(bus, &message, NULL);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/*
 * Is the access one to registers, that is by a vCPU and not to where messages go? Then *apic is
 * whose they are, or NULL when the vCPU sees none there.
 */
static bool is_for_registers(struct apic_bus *bus, uint64_t offset, struct mem_attrs attrs,
                             struct apic **apic)
{
    struct apic *own = bus->current && !attrs.requester ? bus->current(bus->opaque) : NULL;

    if (!own || offset >= PAGE || offset < MESSAGE_OFFSETS) {
        return false;
    }
    *apic = apic_is_enabled(own) && !apic_is_x2apic(own) &&
                    bits_align_down(own->base, PAGE) == APIC_BASE
                ? own
                : NULL;
    return true;
}

/* Where no register is, nobody drives the bus. */
static int bus_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                    struct mem_attrs attrs)
{
    struct apic *apic;

    *value = UINT64_MAX;
    if (is_for_registers(opaque, offset, attrs, &apic) && apic) {
        *value = apic_mmio_read(apic, offset & ~UINT64_C(3), attrs.debug) >> 8 * (offset & 3);
    }
    return 0;
}

static int bus_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                     struct mem_attrs attrs)
{
    struct cpu_msi msi = {APIC_BASE + offset, (uint32_t)value, attrs.requester};
    struct apic *apic;

    if (size != 4) {
        log_limited(LOG_GUEST_ERRORS, "apic: write of %u bytes at offset %#x\n", size,
                    (unsigned)offset);
    } else if (!is_for_registers(opaque, offset, attrs, &apic)) {
        apic_bus_send_msi(opaque, &msi);
    } else if (apic) {
        apic_mmio_write(apic, offset, (uint32_t)value);
    }
    return 0;
}

static const struct mem_ops bus_ops = {
    .read = bus_read, .write = bus_write, .max_size = 4, .split = true};

void apic_bus_init(struct apic_bus *bus)
{
    *bus = (struct apic_bus){
        .owner = {"apic-bus", hw_lock_owner_lock, hw_lock_owner_unlock, 0},
        .last_lowest = UINT32_MAX,
    };
    mem_region_init_mmio(&bus->mmio, "apic-msi", APIC_SIZE, &bus_ops, bus, &bus->owner);
}

void apic_bus_end(struct apic_bus *bus)
{
    mem_region_retire(&bus->mmio, NULL, NULL);
}

int apic_bus_join(struct apic *apic, char *error, size_t error_size)
{
    struct apic **link = &apic->bus->first;

    while (*link && (*link)->id < apic->id) {
        link = &(*link)->next;
    }
    if (*link && (*link)->id == apic->id) {
        snprintf(error, error_size, "apic: id=%u: another APIC has it", (unsigned)apic->id);
        return -EBUSY;
    }
    apic->next = *link;
    *link = apic;
    return 0;
}

void apic_bus_leave(struct apic *apic)
{
    struct apic **link = &apic->bus->first;

    while (*link != apic) {
        link = &(*link)->next;
    }
    *link = apic->next;
}
