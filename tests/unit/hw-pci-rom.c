/*
 * Expansion ROMs as software finds them: size, enable bit, content, behind a bridge; and what
 * romfile and rombar may be.
 */
#include "hw/pci/root-port.h"
#include "tests/unit/pci-driver.h"
#include "util/bits.h"

#include <errno.h>
#include <unistd.h>

/* ---- a function that has nothing else ---- */

static int card_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct pci_ids ids = {.vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000};

    pci_function_init((struct pci_function *)device, &ids);
    return pci_add_rom((struct pci_function *)device, error, error_size);
}

static void card_unrealize(struct hw_device *device)
{
    pci_function_exit((struct pci_function *)device);
}

static void card_reset(struct hw_device *device)
{
    pci_function_reset((struct pci_function *)device);
}

static const struct property card_properties[] = {PCI_PROPERTIES, PROPERTY_END};

static const struct hw_device_type card_type = {
    .name = "card",
    .bus = "PCI",
    .size = sizeof(struct pci_function),
    .properties = card_properties,
    .state = &pci_function_state,
    .realize = card_realize,
    .unrealize = card_unrealize,
    .reset_hold = card_reset,
};

static struct machine m;
static struct gpex *host;
static char error[256];

static struct hw_device *plug(struct pci_bus *bus, const char *options)
{
    return pci_plug(&card_type, bus, options, error, sizeof(error));
}

static void refuse(const char *options, const char *message)
{
    tap_ok(!plug(&host->bus, options) && strstr(error, message), "refused: %s: %s", options, error);
}

/* A file of `size` bytes that count up from `first`; its path, of this process until the next. */
static const char *make_rom(uint64_t size, uint8_t first)
{
    static char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/tmp/tinamou-pci-rom.%d", (int)getpid());
    f = fopen(path, "wb");
    for (uint64_t i = 0; f && i < size; i++) {
        fputc((uint8_t)(first + i), f);
    }
    if (f) {
        fclose(f);
    }
    return path;
}

static struct hw_device *plug_rom(struct pci_bus *bus, uint64_t size, const char *more)
{
    char options[160];

    snprintf(options, sizeof(options), "romfile=%s%s", make_rom(size, 7), more);
    return plug(bus, options);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static char looked_for[32];

static char *find_rom(const char *name)
{
    snprintf(looked_for, sizeof(looked_for), "%s", name);
    return strcmp(name, "known.rom") == 0 ? strdup(make_rom(0, 0)) : NULL;
}

static void check_content(void)
{
    struct hw_device *card = plug_rom(&host->bus, 5000, ",addr=1");
    uint64_t at = ecam(0, 1, 0, 0), rom = MMIO + 0x8000;
    bool good = true;

    remove(make_rom(0, 0)); /* it has been read */
    tap_eq(rd(&m, at + 0x30, 4), 0, "an expansion ROM that is off");
    wr(&m, at + 0x30, 4, 0xffffffff);
    tap_eq(rd(&m, at + 0x30, 4), 0xffffe001, "5000 bytes are 8 KiB");
    wr(&m, at + 0x30, 4, rom);
    wr(&m, at + 4, 2, PCI_COMMAND_MEMORY);
    tap_eq(rd(&m, rom, 4), UINT64_MAX, "not without its enable bit");
    wr(&m, at + 0x30, 1, 1);
    tap_eq(rd(&m, at + 0x30, 4), rom | 1, "which a byte sets");
    for (unsigned i = 0; i < 5000; i++) {
        good &= rd(&m, rom + i, 1) == (uint8_t)(7 + i);
    }
    tap_ok(good, "the file");
    tap_eq(rd(&m, rom + 5000, 8), 0, "and zeros");
    tap_eq(rd(&m, rom + 8184, 8), 0, "up to its end");
    tap_eq(rd(&m, rom + 8192, 8), UINT64_MAX, "no more");
    wr(&m, rom, 4, 0);
    tap_eq(rd(&m, rom, 4), 0x0a090807, "it cannot be written");
    wr(&m, at + 0x32, 1, 0x01);
    tap_eq(rd(&m, rom, 4), UINT64_MAX, "moved away");
    tap_eq(rd(&m, (rom & 0xff00ffff) | 0x10000, 4), 0x0a090807, "to there");
    wr(&m, at + 0x30, 4, rom | 1);
    wr(&m, at + 4, 2, PCI_COMMAND_IO);
    tap_eq(rd(&m, rom, 4), UINT64_MAX, "nor without memory space");
    wr(&m, at + 4, 2, PCI_COMMAND_MEMORY);
    tap_eq(rd(&m, rom, 4), 0x0a090807, "on again");
    wr(&m, at + 0x30, 4, 0xffffe001);
    tap_eq(rd(&m, 0xffffe000, 4), UINT64_MAX, "at the end of the space it is being sized");
    wr(&m, at + 0x30, 4, rom | 1);
    hw_reset_device(&host->device, false);
    tap_ok(rd(&m, rom, 4) == UINT64_MAX && rd(&m, at + 0x30, 4) == 0, "a reset turns it off");
    wr(&m, at + 0x30, 4, rom | 1);
    wr(&m, at + 4, 2, PCI_COMMAND_MEMORY);
    hw_device_destroy(card);
    tap_eq(rd(&m, rom, 4), UINT64_MAX, "gone with its card");
}

static void check_sizes(void)
{
    static const struct {
        uint64_t size;
        uint32_t mask;
    } rows[] = {{1, 0xfffff801},    {2047, 0xfffff801}, {2048, 0xfffff801},   {2049, 0xfffff001},
                {4096, 0xfffff001}, {4097, 0xffffe001}, {1 << 20, 0xfff00001}};
    uint64_t at = ecam(0, 1, 0, 0);

    for (unsigned i = 0; i < BITS_ARRAY_SIZE(rows); i++) {
        struct hw_device *card = plug_rom(&host->bus, rows[i].size, ",addr=1");
        uint64_t last = MMIO + 0x100000 + (uint32_t) - (rows[i].mask & ~1u);

        wr(&m, at + 0x30, 4, 0xffffffff);
        tap_eq(rd(&m, at + 0x30, 4), rows[i].mask, "size of a ROM");
        wr(&m, at + 0x30, 4, (MMIO + 0x100000) | 1);
        wr(&m, at + 4, 2, PCI_COMMAND_MEMORY);
        tap_eq(rd(&m, MMIO + 0x100000 + rows[i].size - 1, 1), (uint8_t)(6 + rows[i].size),
               "its last byte");
        tap_ok(rd(&m, last - 1, 1) != UINT64_MAX && rd(&m, last, 1) == UINT64_MAX, "its end");
        hw_device_destroy(card);
    }
}

static void check_properties(void)
{
    struct hw_device *card = plug_rom(&host->bus, 100, ",addr=1,rombar=0");
    uint64_t at = ecam(0, 1, 0, 0);

    wr(&m, at + 0x30, 4, 0xffffffff);
    tap_eq(rd(&m, at + 0x30, 4), 0, "rombar=0: none");
    hw_device_destroy(card);
    card = plug(&host->bus, "addr=1,romfile=");
    wr(&m, at + 0x30, 4, 0xffffffff);
    tap_eq(rd(&m, at + 0x30, 4), 0, "romfile empty: none");
    hw_device_destroy(card);
    refuse("romfile=/nowhere/at.all", "card: romfile=/nowhere/at.all: No such file");
    refuse("romfile=/tmp", "card: romfile=/tmp: expected a file of 1 byte to 16 MiB");
    tap_ok(!plug_rom(&host->bus, 0, "") && strstr(error, "expected a file"), "an empty file");
    tap_eq(truncate(make_rom(1, 0), (16 << 20) + 1), 0, "a file of 16 MiB and a byte");
    {
        char options[100];

        snprintf(options, sizeof(options), "romfile=/tmp/tinamou-pci-rom.%d", (int)getpid());
        refuse(options, "expected a file");
    }
    pci_set_rom_finder(find_rom);
    tap_ok(!plug(&host->bus, "romfile=known.rom") && strstr(error, "expected a file"),
           "a file that was looked for");
    tap_str(looked_for, "known.rom", "by that name");
    refuse("romfile=other.rom", "No such file");
    pci_set_rom_finder(NULL);
}

/* A bridge has the register elsewhere, and a card behind it needs its window. */
static void check_bridge(void)
{
    struct hw_device *port = hw_device_create(&pcie_root_port_type, "rp");
    struct pci_bus *behind;
    uint64_t bridge = ecam(0, 2, 0, 0), at = ecam(1, 0, 0, 0);
    struct hw_device *card;

    hw_device_set(port, "addr", "2", error, sizeof(error));
    hw_device_set(port, "romfile", make_rom(2048, 7), error, sizeof(error));
    tap_eq(hw_device_realize(port, &host->bus.bus, false, error, sizeof(error)), 0, "a port");
    behind = (struct pci_bus *)port->buses;
    wr(&m, bridge + 0x38, 4, 0xffffffff);
    tap_eq(rd(&m, bridge + 0x38, 4), 0xfffff801, "its ROM");
    wr(&m, bridge + 0x38, 4, MMIO | 1);
    wr(&m, bridge + 4, 2, 7);
    tap_eq(rd(&m, MMIO, 4), 0x0a090807, "is seen");
    wr(&m, bridge + 0x18, 4, 0x00ff0100);
    card = plug_rom(behind, 4096, "");
    wr(&m, at + 0x30, 4, (MMIO + 0x100000) | 1);
    wr(&m, at + 4, 2, 2);
    tap_eq(rd(&m, MMIO + 0x100000, 4), UINT64_MAX, "another behind it, without a window");
    wr(&m, bridge + 0x20, 4, (uint32_t)((MMIO + 0x100000) >> 16) * 0x10001u);
    tap_eq(rd(&m, MMIO + 0x100000, 4), 0x0a090807, "and with one");
    tap_ok(card != NULL, "a card with a ROM");
    hw_device_destroy(port);
    tap_eq(rd(&m, MMIO, 4), UINT64_MAX, "all is gone");
    remove(make_rom(0, 0));
}

int main(void)
{
    machine_make(&m);
    host = gpex_make(&m);
    check_content();
    check_sizes();
    check_properties();
    check_bridge();
    hw_device_destroy(&host->device);
    epoch_reclaim(&mem_epoch);
    machine_end(&m);
    return tap_done();
}
