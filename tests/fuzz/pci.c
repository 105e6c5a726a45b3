/*
 * PCI buses under hostile software: two root ports, one behind the other, a function with MSI and
 * MSI-X at the end and another beside them. An input is accesses, and interrupts of the functions:
 *
 *     0 to 3   write 1, 2, 4 or 8 bytes: where (1 byte), offset (2 bytes), value
 *     4 to 7   read such
 *     8        INTx of a function: which and level (1 byte)
 *     9        MSI, MSI-X: which (1 byte), vector (2 bytes)
 *     10       reset
 *     11       unplug the function at the end, or plug it again
 *     12       load a state: bytes to change in one that was saved
 */
#include "hw/pci/root-port.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/pci-driver.h"

#include <assert.h>
#include <stdlib.h>

struct card {
    struct pci_function pci; /* first */
    struct mem_region registers, ports, msix;
};

static int card_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    *value = offset;
    return 0;
}

static int card_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    return 0;
}

static const struct mem_ops card_ops = {.read = card_read, .write = card_write};

static int card_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct card *card = (struct card *)device;
    struct pci_function *f = &card->pci;
    static const struct pci_ids ids = {
        .vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000, .pin = 2};

    pci_function_init(f, &ids);
    mem_region_init_mmio(&card->registers, "registers", 0x4000, &card_ops, card, &device->owner);
    mem_region_init_mmio(&card->ports, "ports", 32, &card_ops, card, &device->owner);
    mem_region_init_container(&card->msix, "msix", 0x1000);
    pci_add_bar(f, 0, PCI_BAR_MEM64_PREFETCH, &card->registers, 0x4000);
    pci_add_bar(f, 2, PCI_BAR_IO, &card->ports, 32);
    pci_add_bar(f, 3, PCI_BAR_MEM32, &card->msix, 0x1000);
    pci_add_express(f, PCI_EXP_TYPE_ENDPOINT);
    pci_add_msi(f, 8);
    return pci_add_msix(f, 5, 3, 0, 0x800);
}

static void card_unrealize(struct hw_device *device)
{
    struct card *card = (struct card *)device;

    pci_function_exit(&card->pci);
    mem_region_retire(&card->registers, NULL, NULL);
    mem_region_retire(&card->ports, NULL, NULL);
    mem_region_retire(&card->msix, NULL, NULL);
}

static void card_reset(struct hw_device *device)
{
    pci_function_reset((struct pci_function *)device);
}

static const struct property card_properties[] = {PCI_PROPERTIES, PROPERTY_END};

static const struct hw_device_type card_type = {
    .name = "card",
    .bus = "PCI",
    .size = sizeof(struct card),
    .properties = card_properties,
    .state = &pci_function_state,
    .realize = card_realize,
    .unrealize = card_unrealize,
    .reset_hold = card_reset,
};

static struct machine fuzzed;
static struct gpex *host;
static struct hw_device *ports[2];
static struct card *cards[2]; /* beside the ports; behind them */

static struct hw_device *plug(const struct hw_device_type *type, struct hw_bus *bus)
{
    struct hw_device *device = hw_device_create(type, NULL);
    char error[256];

    if (!device || hw_device_realize(device, bus, false, error, sizeof(error))) {
        abort();
    }
    return device;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    machine_make(&fuzzed);
    host = gpex_make(&fuzzed);
    ports[0] = plug(&pcie_root_port_type, &host->bus.bus);
    ports[1] = plug(&pcie_root_port_type, ports[0]->buses);
    cards[0] = (struct card *)plug(&card_type, &host->bus.bus);
    cards[1] = (struct card *)plug(&card_type, ports[1]->buses);
    return 0;
}

static uint64_t address(struct fuzz_input *in)
{
    unsigned where = (unsigned)fuzz_number(in, 1);
    uint64_t offset = fuzz_number(in, 2);

    switch (where % 8) {
    case 0:
        return ecam(0, 1, 0, offset & 0xfff); /* the port */
    case 1:
        return ecam(0, 2, 0, offset & 0xff);
    case 2:
        return ecam(1, 0, 0, offset & 0xff);
    case 3:
        return ecam(2, 0, 0, offset & 0xff);
    case 4:
        return ECAM + (offset << 12) + where;
    case 5:
        return MMIO + offset;
    case 6:
        return PIO + offset;
    default:
        return MMIO64 + offset;
    }
}

static void load(struct card *card, struct fuzz_input *in)
{
    struct state_buffer buffer = {0};
    char error[256];

    if (state_save(&pci_function_state, card, &buffer, error, sizeof(error))) {
        abort();
    }
    for (unsigned n = (unsigned)fuzz_number(in, 1) % 8; n; n--) {
        uint64_t at = fuzz_number(in, 2) % buffer.size;

        buffer.data[at] = (uint8_t)fuzz_number(in, 1);
    }
    (void)state_load(&pci_function_state, card, buffer.data, buffer.size, NULL, error,
                     sizeof(error));
    state_buffer_free(&buffer);
}

static void operation(struct fuzz_input *in)
{
    unsigned op = (unsigned)fuzz_number(in, 1) % 13;
    unsigned which, value;
    uint64_t at;

    if (op < 8) {
        at = address(in);
        if (op < 4) {
            wr(&fuzzed, at, 1u << op, fuzz_number(in, 1u << op));
        } else {
            rd(&fuzzed, at, 1u << (op - 4));
        }
        return;
    }
    which = (unsigned)fuzz_number(in, 1);
    struct card *card = cards[which & 1];

    switch (op) {
    case 8:
        if (card) {
            pci_set_intx(&card->pci, which & 2);
        }
        break;
    case 9:
        value = (unsigned)fuzz_number(in, 2);
        if (card) {
            pci_msi_send(&card->pci, value);
            pci_msix_send(&card->pci, value);
        }
        break;
    case 10:
        hw_reset_device(which & 1 ? &host->device : ports[0], true);
        break;
    case 11:
        if (cards[1]) {
            hw_device_destroy(&cards[1]->pci.device);
            cards[1] = NULL;
        } else {
            cards[1] = (struct card *)plug(&card_type, ports[1]->buses);
        }
        break;
    default:
        if (card) {
            load(card, in);
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    while (in.left) {
        operation(&in);
    }
    if (!cards[1]) {
        cards[1] = (struct card *)plug(&card_type, ports[1]->buses);
    }
    hw_reset_device(&host->device, true);
    assert(!pci_level && !cards[0]->registers.container && !cards[1]->registers.container);
    assert(rd(&fuzzed, ecam(0, 2, 0, 0), 4) == 0x56781234);
    return 0;
}
