/*
 * PCI functions and buses through the generic host bridge, as software sees them: configuration
 * space, BARs, interrupts of all kinds, bridges, plugging, saved state.
 */
#include "hw/pci/root-port.h"
#include "tests/unit/pci-driver.h"

#include <errno.h>

/* ---- a function ------------------------------------------------------------------------------ */

struct card {
    struct pci_function pci; /* first */
    uint32_t pin;
    struct mem_region small, large, ports, msix;
    unsigned masters, master;
};

static int card_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    *value = (uintptr_t)opaque + offset;
    return 0;
}

static int card_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    return 0;
}

static const struct mem_ops card_ops = {.read = card_read, .write = card_write};

static void card_master(struct pci_function *function, bool on)
{
    struct card *card = (struct card *)function;

    card->masters++;
    card->master = on;
}

static int card_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct card *card = (struct card *)device;
    struct pci_function *f = &card->pci;
    struct pci_ids ids = {.vendor = 0x1234,
                          .device = 0x5678,
                          .subsystem_vendor = 0x9abc,
                          .subsystem = 0xdef0,
                          .revision = 7,
                          .class_code = 0x0c0330,
                          .pin = (uint8_t)card->pin};

    pci_function_init(f, &ids);
    f->master_changed = card_master;
    mem_region_init_mmio(&card->small, "small", 0x1000, &card_ops, (void *)0x100000, NULL);
    mem_region_init_mmio(&card->large, "large", UINT64_C(1) << 33, &card_ops, (void *)0x200000,
                         NULL);
    mem_region_init_mmio(&card->ports, "ports", 16, &card_ops, (void *)0x300000, NULL);
    mem_region_init_container(&card->msix, "msix", 0x1000);
    pci_add_bar(f, 0, PCI_BAR_MEM32, &card->small, 0x1000);
    pci_add_bar(f, 1, PCI_BAR_IO, &card->ports, 16);
    pci_add_bar(f, 2, PCI_BAR_MEM64_PREFETCH, &card->large, UINT64_C(1) << 33);
    pci_add_bar(f, 4, PCI_BAR_MEM32, &card->msix, 0x1000);
    pci_add_msi(f, 4);
    return pci_add_msix(f, 70, 4, 0, 0x800);
}

static void card_unrealize(struct hw_device *device)
{
    struct card *card = (struct card *)device;

    pci_function_exit(&card->pci);
    mem_region_retire(&card->small, NULL, NULL);
    mem_region_retire(&card->large, NULL, NULL);
    mem_region_retire(&card->ports, NULL, NULL);
    mem_region_retire(&card->msix, NULL, NULL);
}

static void card_reset(struct hw_device *device)
{
    pci_function_reset((struct pci_function *)device);
}

static const struct state_field card_fields[] = {
    STATE(STRUCT, "pci", struct card, pci, .table = &pci_function_state),
    STATE_END,
};

static const struct state_table card_state = {
    .name = "card", .version = 1, .min_version = 1, .fields = card_fields};

static const struct property card_properties[] = {
    PCI_PROPERTIES,
    PROPERTY(U32, "pin", struct card, pin, .number = 1, .help = "interrupt pin"),
    PROPERTY_END,
};

static const struct hw_device_type card_type = {
    .name = "card",
    .bus = "PCI",
    .size = sizeof(struct card),
    .properties = card_properties,
    .state = &card_state,
    .realize = card_realize,
    .unrealize = card_unrealize,
    .reset_hold = card_reset,
};

static struct machine m;
static struct gpex *host;
static char error[256];

static struct card *plug(struct pci_bus *bus, const char *options)
{
    return pci_plug(&card_type, bus, options, error, sizeof(error));
}

static void refuse(const char *options, const char *message)
{
    tap_ok(!plug(&host->bus, options) && strstr(error, message), "refused: %s: %s", options, error);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_plugging(void)
{
    struct card *first = plug(&host->bus, "addr=3,multifunction=on");
    struct card *next, *third;

    tap_eq(rd(&m, ecam(0, 0, 0, 0), 4), 0x00081b36, "the host bridge is 00.0");
    tap_eq(rd(&m, ecam(0, 0, 0, 8), 4), 0x06000000, "its class");
    tap_eq(rd(&m, ecam(0, 3, 0, 0), 4), 0x56781234, "a card in slot 3");
    tap_eq(rd(&m, ecam(0, 3, 0, 8), 4), 0x0c033007, "class and revision");
    tap_eq(rd(&m, ecam(0, 3, 0, 0x0e), 1), 0x80, "more functions");
    tap_eq(rd(&m, ecam(0, 3, 0, 0x2c), 4), 0xdef09abc, "subsystem");
    tap_eq(rd(&m, ecam(0, 3, 0, 0x3d), 1), 1, "pin");
    tap_eq(rd(&m, ecam(0, 3, 1, 0), 4), UINT32_MAX, "no function 1 yet");
    tap_eq(rd(&m, ecam(1, 3, 0, 0), 4), UINT32_MAX, "no bus 1");
    tap_eq(rd(&m, ecam(255, 31, 7, 0), 2), 0xffff, "no bus 255");
    third = plug(&host->bus, "addr=0x3.0x7");
    tap_eq(rd(&m, ecam(0, 3, 7, 0), 4), 0x56781234, "a card as 03.7");
    next = plug(&host->bus, "");
    tap_eq(next->pci.devfn, 8, "the next free slot");
    refuse("addr=3", "taken");
    refuse("addr=1.1", "multifunction");
    refuse("addr=20", "expected SLOT");
    refuse("addr=1f.8", "expected SLOT");
    refuse("addr=2.", "expected SLOT");
    refuse("addr=-1", "expected SLOT");
    refuse("addr=3.0.1", "expected SLOT");
    refuse("addr=ffffffff", "expected SLOT");
    refuse("addr=g", "expected SLOT");
    refuse("addr=0x", "expected SLOT");
    refuse("addr=3.0x", "expected SLOT");
    hw_device_destroy(&first->pci.device);
    refuse("addr=3", "needs multifunction=on");
    tap_eq(rd(&m, ecam(0, 3, 0, 0), 4), UINT32_MAX, "gone");
    hw_device_destroy(&third->pci.device);
    hw_device_destroy(&next->pci.device);

    struct card *all[31];

    for (unsigned i = 0; i < 31; i++) {
        all[i] = plug(&host->bus, "");
    }
    tap_ok(all[30] && all[30]->pci.devfn == 0xf8, "all slots");
    refuse("", "no slot of bus pcie.0 is free");
    for (unsigned i = 0; i < 31; i++) {
        hw_device_destroy(&all[i]->pci.device);
    }
}

static void test_masks(void)
{
    struct card *card = plug(&host->bus, "addr=1");
    uint64_t at = ecam(0, 1, 0, 0);

    wr(&m, at, 4, 0);
    tap_eq(rd(&m, at, 4), 0x56781234, "ids are read-only");
    wr(&m, at + 4, 2, 0xffff);
    tap_eq(rd(&m, at + 4, 2), 0x0547, "command");
    wr(&m, at + 4, 2, 0);
    card->pci.config[7] = 0x80;
    wr(&m, at + 6, 2, 0x7fff);
    tap_eq(rd(&m, at + 6, 2), 0x8010, "status: writing 0 clears nothing");
    wr(&m, at + 6, 2, 0x8000);
    tap_eq(rd(&m, at + 6, 2), 0x0010, "status: writing 1 clears");
    wr(&m, at + 0x3c, 4, 0xffffffff);
    tap_eq(rd(&m, at + 0x3c, 4), 0x01ff, "interrupt line, and pin");
    wr(&m, at + 0x3d, 1, 9);
    tap_eq(rd(&m, at + 0x3d, 1), 1, "a byte");
    wr(&m, at + 0x30, 4, 0xffffffff);
    tap_eq(rd(&m, at + 0x30, 4), 0, "no ROM");
    tap_eq(rd(&m, at + 0xffc, 4), 0, "4096 bytes");
    wr(&m, at + 0xffc, 4, 1);
    tap_eq(rd(&m, at + 0xffc, 4), 0, "that are empty");
    tap_eq(rd(&m, at, 8), UINT64_C(0x0010000056781234), "8 bytes are twice 4");
    tap_eq(pci_config_read(&card->pci, 4095, 2), 0xffff, "beyond the end");
    pci_config_write(&card->pci, 4094, 4, 0);
    tap_ok(find_capability(&m, at, PCI_CAP_MSI, 0) && find_capability(&m, at, PCI_CAP_MSIX, 0) &&
               !find_capability(&m, at, PCI_CAP_EXPRESS, 0),
           "capabilities");
    hw_device_destroy(&card->pci.device);
}

static void test_bars(void)
{
    struct card *card = plug(&host->bus, "addr=1");
    uint64_t at = ecam(0, 1, 0, 0);

    for (unsigned i = 0x10; i < 0x28; i += 4) {
        wr(&m, at + i, 4, 0xffffffff);
    }
    tap_eq(rd(&m, at + 0x10, 4), 0xfffff000, "size of a 32-bit BAR");
    tap_eq(rd(&m, at + 0x14, 4), 0xfffffff1, "of I/O ports");
    tap_eq(rd(&m, at + 0x18, 4), 0x0000000c, "of a 64-bit BAR, low");
    tap_eq(rd(&m, at + 0x1c, 4), 0xfffffffe, "and high");
    tap_eq(rd(&m, at + 0x24, 4), 0, "no BAR 5");
    wr(&m, at + 0x10, 4, MMIO + 0x5000);
    tap_eq(rd(&m, MMIO + 0x5010, 4), UINT64_MAX, "not decoded yet");
    wr(&m, at + 4, 2, PCI_COMMAND_MEMORY);
    tap_eq(rd(&m, MMIO + 0x5010, 4), 0x100010, "decoded");
    wr(&m, at + 0x11, 1, 0x70);
    tap_eq(rd(&m, MMIO + 0x5010, 4), UINT64_MAX, "moved away");
    tap_eq(rd(&m, MMIO + 0x7010, 4), 0x100010, "to there");
    wr(&m, at + 0x18, 4, 0);
    wr(&m, at + 0x1c, 4, 6);
    tap_eq(rd(&m, UINT64_C(0x7fffffff0), 8), UINT64_C(0x2001ffff0), "8 GiB above 4 GiB");
    wr(&m, at + 0x14, 4, 0x1230);
    tap_eq(rd(&m, PIO + 0x1234, 2), UINT64_MAX, "ports are not decoded yet");
    wr(&m, at + 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
    tap_eq(rd(&m, PIO + 0x1234, 2), 4, "ports");
    wr(&m, at + 0x10, 4, RAM_BASE);
    wr(&m, RAM_BASE, 4, 0x11223344);
    tap_eq(rd(&m, RAM_BASE, 4), 0x11223344, "a BAR over RAM is outside of the windows");
    wr(&m, at + 0x10, 4, 0xfffff000);
    wr(&m, at + 0x18, 4, 0xffffffff);
    wr(&m, at + 0x1c, 4, 0xffffffff);
    wr(&m, at + 0x14, 4, 0xffffffff);
    tap_eq(rd(&m, 0xfffff000, 4), UINT64_MAX, "at the end of the space");
    wr(&m, at + 0x10, 4, MMIO);
    wr(&m, at + 4, 2, 0);
    tap_eq(rd(&m, MMIO, 4), UINT64_MAX, "decoding is off again");
    wr(&m, at + 4, 2, 2);
    hw_reset_device(&host->device, false);
    tap_eq(rd(&m, MMIO, 4), UINT64_MAX, "a reset takes BARs away");
    tap_eq(rd(&m, at + 0x10, 4), 0, "and clears them");
    tap_eq(rd(&m, at + 0x18, 4), 0xc, "but for their kind");
    wr(&m, at + 0x10, 4, MMIO);
    wr(&m, at + 4, 2, 2);
    tap_eq(rd(&m, MMIO, 4), 0x100000, "and back");
    hw_device_destroy(&card->pci.device);
    tap_eq(rd(&m, MMIO, 4), UINT64_MAX, "an unplugged card decodes nothing");
}

static void test_intx(void)
{
    struct card *a = plug(&host->bus, "addr=1");
    struct card *b = plug(&host->bus, "addr=5"); /* the same output: (1 + 0) % 4 */
    struct card *c = plug(&host->bus, "addr=2,pin=4");
    struct card *none = plug(&host->bus, "addr=3,pin=0");

    pci_set_intx(&a->pci, true);
    tap_eq(pci_level, 2, "slot 1 pin A is output 1");
    tap_eq(rd(&m, ecam(0, 1, 0, 6), 2), 0x18, "status says so");
    pci_set_intx(&b->pci, true);
    pci_set_intx(&a->pci, false);
    tap_eq(pci_level, 2, "shared with slot 5");
    wr(&m, ecam(0, 5, 0, 4), 2, PCI_COMMAND_INTX_OFF);
    tap_eq(pci_level, 0, "gated by the command");
    tap_eq(rd(&m, ecam(0, 5, 0, 6), 2), 0x18, "status shows it nonetheless");
    wr(&m, ecam(0, 5, 0, 4), 2, 0);
    tap_eq(pci_level, 2, "and back");
    pci_set_intx(&c->pci, true);
    tap_eq(pci_level, 2, "slot 2 pin D is output 1, too");
    pci_set_intx(&b->pci, false);
    tap_eq(pci_level, 2, "and holds it alone");
    pci_set_intx(&none->pci, true);
    tap_eq(rd(&m, ecam(0, 3, 0, 6), 2), 0x10, "a card without a pin");
    hw_reset_device(&host->device, true);
    tap_eq(pci_level, 0, "a reset lowers all");
    pci_set_intx(&a->pci, true);
    hw_device_destroy(&a->pci.device);
    tap_eq(pci_level, 0, "unplugging, too");
    hw_device_destroy(&b->pci.device);
    hw_device_destroy(&c->pci.device);
    hw_device_destroy(&none->pci.device);
}

#define TARGET (RAM_BASE + 0x1000)

static void test_msi(void)
{
    struct card *card = plug(&host->bus, "addr=4");
    uint64_t at = ecam(0, 4, 0, 0);
    uint64_t cap = at + find_capability(&m, at, PCI_CAP_MSI, 0);

    tap_eq(rd(&m, cap + 2, 2), 0x184, "4 messages, 64 bits, masks");
    wr(&m, cap + 4, 4, TARGET | 3);
    tap_eq(rd(&m, cap + 4, 4), TARGET, "address of a word");
    wr(&m, cap + 12, 2, 0x4567);
    wr(&m, cap + 2, 2, 0x21); /* enabled, 4 messages */
    wr(&m, TARGET, 4, 0);
    pci_msi_send(&card->pci, 3);
    tap_eq(rd(&m, TARGET, 4), 0, "nothing without bus mastering");
    wr(&m, at + 4, 2, PCI_COMMAND_MASTER);
    tap_ok(card->masters == 1 && card->master, "the function is told");
    pci_msi_send(&card->pci, 3);
    tap_eq(rd(&m, TARGET, 4), 0x4567, "message 3 of 4");
    pci_msi_send(&card->pci, 1);
    tap_eq(rd(&m, TARGET, 4), 0x4565, "message 1 of 4");
    wr(&m, cap + 2, 2, 0x71);
    pci_msi_send(&card->pci, 2);
    tap_eq(rd(&m, TARGET, 4), 0x4566, "more messages than there are");
    wr(&m, cap + 2, 2, 0x11);
    pci_msi_send(&card->pci, 2);
    tap_eq(rd(&m, TARGET, 4), 0x4566, "message 2 of 2 is 0");
    wr(&m, TARGET, 4, 0);
    wr(&m, cap + 16, 4, 0xffffffff);
    tap_eq(rd(&m, cap + 16, 4), 0xf, "masks");
    pci_msi_send(&card->pci, 1);
    tap_ok(!rd(&m, TARGET, 4) && rd(&m, cap + 20, 4) == 2, "masked: pending");
    wr(&m, cap + 20, 4, 0);
    tap_eq(rd(&m, cap + 20, 4), 2, "pending bits are read-only");
    wr(&m, cap + 16, 4, 0);
    tap_ok(rd(&m, TARGET, 4) == 0x4567 && !rd(&m, cap + 20, 4), "sent when unmasked");
    wr(&m, cap + 2, 2, 0);
    wr(&m, TARGET, 4, 0);
    pci_msi_send(&card->pci, 1);
    tap_eq(rd(&m, TARGET, 4), 0, "off");
    hw_device_destroy(&card->pci.device);
}

static void test_msix(void)
{
    struct card *card = plug(&host->bus, "addr=6");
    uint64_t at = ecam(0, 6, 0, 0), table = MMIO + 0x10000, pba = table + 0x800;
    uint64_t cap = at + find_capability(&m, at, PCI_CAP_MSIX, 0);

    tap_eq(rd(&m, cap + 2, 2), 69, "70 vectors");
    tap_eq(rd(&m, cap + 4, 4), 4, "table in BAR 4");
    tap_eq(rd(&m, cap + 8, 4), 0x804, "pending bits, too");
    wr(&m, at + 0x20, 4, table);
    wr(&m, at + 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    tap_eq(rd(&m, table + 0x0c, 4), 1, "a vector starts masked");
    for (unsigned i = 0; i < 70; i++) {
        wr(&m, table + 16 * i, 8, TARGET + 4 * i + 3);
        wr(&m, table + 16 * i + 8, 4, 0xabc00000 + i);
        wr(&m, table + 16 * i + 12, 4, i < 68 ? 0xfffffffe : 1);
        wr(&m, TARGET + 4 * i, 4, 0);
    }
    tap_eq(rd(&m, table + 16, 8), TARGET + 4, "an entry's address, 8 bytes at once");
    tap_eq(rd(&m, table + 12, 4), 0, "an entry's control has one bit");
    tap_eq(rd(&m, table + 16 * 70, 4), UINT64_MAX, "no entry behind the last");
    pci_msix_send(&card->pci, 2);
    tap_eq(rd(&m, TARGET + 8, 4), 0, "nothing while MSI-X is off");
    wr(&m, cap + 2, 2, 0xffff);
    tap_eq(rd(&m, cap + 2, 2), 0xc000 | 69, "control");
    pci_msix_send(&card->pci, 2);
    tap_ok(!rd(&m, TARGET + 8, 4) && rd(&m, pba, 8) == 4, "the function is masked: pending");
    wr(&m, cap + 2, 2, 0x8000);
    tap_ok(rd(&m, TARGET + 8, 4) == 0xabc00002 && !rd(&m, pba, 8), "sent when unmasked");
    pci_msix_send(&card->pci, 69);
    tap_ok(!rd(&m, TARGET + 4 * 69, 4) && rd(&m, pba + 8, 4) == 0x20, "a vector is masked");
    wr(&m, pba + 8, 4, 0);
    tap_eq(rd(&m, pba + 8, 8), 0x20, "pending bits are read-only");
    wr(&m, table + 16 * 69 + 12, 4, 0);
    tap_ok(rd(&m, TARGET + 4 * 69, 4) == 0xabc00045 && !rd(&m, pba + 8, 8), "and unmasked");
    pci_msix_send(&card->pci, 70);
    pci_msix_send(&card->pci, 0xffff);
    tap_ok(true, "vectors that there are not");
    wr(&m, table + 8, 4, 0x77);
    wr(&m, table, 8, table + 16 + 8);
    pci_msix_send(&card->pci, 0);
    tap_eq(rd(&m, table + 16 + 8, 4), 0x77, "a message to the table itself is a write there");
    wr(&m, table, 8, UINT64_MAX);
    pci_msix_send(&card->pci, 0);
    tap_ok(true, "a message to nowhere");

    /* Saved and loaded, with a vector pending. */
    struct state_buffer buffer = {0};

    wr(&m, table + 16 * 3 + 12, 4, 1);
    pci_msix_send(&card->pci, 3);
    pci_set_intx(&card->pci, true);
    tap_eq(state_save(&card_state, card, &buffer, error, sizeof(error)), 0, "saved");
    hw_reset_device(&host->device, true);
    tap_eq(rd(&m, table, 4), UINT64_MAX, "reset");
    tap_eq(state_load(&card_state, card, buffer.data, buffer.size, NULL, error, sizeof(error)), 0,
           "loaded");
    tap_ok(rd(&m, pba, 8) == 8 && pci_level == 4, "pending, and INTx");
    wr(&m, TARGET + 12, 4, 0);
    wr(&m, table + 16 * 3 + 12, 4, 0);
    tap_eq(rd(&m, TARGET + 12, 4), 0xabc00003, "it goes on where it was");
    for (unsigned i = 0; i < buffer.size; i++) {
        buffer.data[i] ^= 0x5a;
        (void)state_load(&card_state, card, buffer.data, buffer.size, NULL, error, sizeof(error));
        buffer.data[i] ^= 0x5a;
    }
    tap_eq(rd(&m, at, 4), 0x56781234, "no stream changes what a card is");
    tap_eq(rd(&m, at + 0x3d, 1), 1, "or its pin");
    state_buffer_free(&buffer);
    hw_device_destroy(&card->pci.device);
    tap_eq(pci_level, 0, "the wire is low");
}

static struct hw_device *plug_port(struct pci_bus *bus, const char *id, const char *addr)
{
    struct hw_device *port = hw_device_create(&pcie_root_port_type, id);

    hw_device_set(port, "addr", addr, error, sizeof(error));
    if (hw_device_realize(port, &bus->bus, false, error, sizeof(error))) {
        printf("# %s\n", error);
        abort();
    }
    return port;
}

static void test_bridges(void)
{
    struct hw_device *port = plug_port(&host->bus, "rp0", "2");
    struct pci_bus *behind = (struct pci_bus *)port->buses;
    uint64_t bridge = ecam(0, 2, 0, 0), at = ecam(1, 0, 0, 0);

    tap_str(behind->bus.name, "rp0", "the bus has the port's name");
    tap_eq(rd(&m, bridge, 4), 0x000c1b36, "a port");
    tap_eq(rd(&m, bridge + 0x0e, 1), 1, "is a bridge");
    tap_ok(!plug(behind, "addr=1") && strstr(error, "slot 0"), "there is one slot: %s", error);

    struct card *card = plug(behind, "");

    tap_eq(rd(&m, at, 4), UINT32_MAX, "no bus number yet");
    wr(&m, bridge + 0x18, 4, 0x00010100);
    tap_eq(rd(&m, at, 4), 0x56781234, "a card behind the port");
    tap_eq(rd(&m, ecam(2, 0, 0, 0), 4), UINT32_MAX, "and no other bus");
    wr(&m, bridge + 0x18, 4, 0x00ff0700);
    tap_eq(rd(&m, ecam(7, 0, 0, 0), 4), 0x56781234, "renumbered");
    tap_eq(rd(&m, ecam(8, 0, 0, 0), 4), UINT32_MAX, "a number below that nobody has");
    tap_eq(pci_requester(&card->pci), 0x700, "requester id");
    wr(&m, bridge + 0x18, 4, 0x00010100);

    wr(&m, at + 0x10, 4, MMIO + 0x100000);
    wr(&m, at + 0x14, 4, 0x2000);
    wr(&m, at + 0x18, 4, 0);
    wr(&m, at + 0x1c, 4, 6);
    wr(&m, at + 4, 2, 7);
    tap_eq(rd(&m, MMIO + 0x100000, 4), UINT64_MAX, "the window is closed");
    wr(&m, bridge + 0x20, 4, 0x40104010);
    wr(&m, bridge + 4, 2, 2);
    tap_eq(rd(&m, MMIO + 0x100010, 4), 0x100010, "a window of memory");
    tap_ok(!card->master, "no bus mastering behind a port that has none");
    wr(&m, bridge + 4, 2, 7);
    tap_ok(card->master, "now it has");
    wr(&m, bridge + 0x20, 4, 0x40204020);
    tap_eq(rd(&m, MMIO + 0x100010, 4), UINT64_MAX, "the window has moved");
    wr(&m, bridge + 0x20, 4, 0x40004030);
    tap_eq(rd(&m, MMIO + 0x100010, 4), UINT64_MAX, "a limit below the base closes it");
    wr(&m, bridge + 0x20, 4, 0x40304000);
    tap_eq(rd(&m, MMIO + 0x100010, 4), 0x100010, "it is open again");
    tap_eq(rd(&m, PIO + 0x2004, 2), UINT64_MAX, "ports are not");
    wr(&m, bridge + 0x1c, 2, 0x2020);
    tap_eq(rd(&m, PIO + 0x2004, 2), 4, "a window of ports");
    wr(&m, bridge + 0x24, 4, 0xfff10001);
    wr(&m, bridge + 0x28, 4, 6);
    wr(&m, bridge + 0x2c, 4, 7);
    tap_eq(rd(&m, bridge + 0x24, 4), 0xfff10001, "the other window has 64 bits");
    tap_eq(rd(&m, UINT64_C(0x600000008), 4), 0x200008, "and shows a BAR above 4 GiB");

    pci_set_intx(&card->pci, true);
    tap_eq(pci_level, 4, "INTx of slot 0 behind slot 2");
    wr(&m, bridge + 0x3e, 2, 0x40);
    tap_eq(pci_level, 0, "a reset of the bus behind");
    tap_eq(rd(&m, at + 4, 2), 0, "resets the card");
    tap_eq(rd(&m, bridge + 4, 2), 7, "not the port");
    wr(&m, bridge + 0x3e, 2, 0);

    /* A port behind a port, and numbers that make no sense. */
    hw_device_destroy(&card->pci.device);
    plug_port(behind, "rp1", "0");
    wr(&m, ecam(1, 0, 0, 0x18), 4, 0x00010101);
    wr(&m, bridge + 0x18, 4, 0x00ff0001);
    tap_eq(rd(&m, ecam(5, 0, 0, 0), 4), UINT32_MAX, "bus numbers that go in circles");
    wr(&m, bridge + 0x18, 4, 0x00ff0100);
    wr(&m, ecam(1, 0, 0, 0x18), 4, 0x00020201);
    struct card *deep =
        plug((struct pci_bus *)((struct hw_device *)behind->bus.devices)->buses, "");

    tap_eq(rd(&m, ecam(2, 0, 0, 0), 4), 0x56781234, "two ports deep");
    wr(&m, ecam(1, 0, 0, 0x20), 4, 0x7ff04000);
    wr(&m, ecam(1, 0, 0, 4), 2, 7);
    wr(&m, bridge + 4, 2, 7);
    wr(&m, ecam(2, 0, 0, 0x10), 4, MMIO + 0x100000);
    wr(&m, ecam(2, 0, 0, 4), 2, 2);
    tap_eq(rd(&m, MMIO + 0x100000, 4), 0x100000, "windows in windows");
    pci_set_intx(&deep->pci, true);
    tap_eq(pci_level, 4, "INTx from there");
    hw_device_destroy(port);
    tap_eq(pci_level, 0, "all is gone");
    tap_eq(rd(&m, MMIO + 0x100000, 4), UINT64_MAX, "its windows, too");
}

int main(void)
{
    machine_make(&m);
    host = gpex_make(&m);
    test_plugging();
    test_masks();
    test_bars();
    test_intx();
    test_msi();
    test_msix();
    test_bridges();
    hw_device_destroy(&host->device);
    tap_eq(rd(&m, ECAM, 4), UINT64_MAX, "no host bridge any more");
    epoch_reclaim(&mem_epoch);
    machine_end(&m);
    return tap_done();
}
