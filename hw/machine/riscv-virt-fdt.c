/*
 * The device tree of the machine `virt`: bindings of Linux (Documentation/devicetree/bindings), by
 * node: interrupt-controller/sifive,plic-1.0.0.yaml, timer/sifive,clint.yaml,
 * pci/host-generic-pci.yaml, mtd/mtd-physmap.yaml, power/reset/syscon-*.yaml, and so on.
 */
#include "hw/machine/riscv-virt.h"

#include "hw/intc/aclint.h"
#include "target/riscv/cpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define PATH_SIZE 64

#define CLOCK_UART 3686400

/* pci-bus.txt: what the first cell of a range or of an address says. */
#define PCI_RANGE_IO    0x1000000
#define PCI_RANGE_MEM32 0x2000000
#define PCI_RANGE_MEM64 0x3000000

struct context {
    struct riscv_virt *virt;
    struct fdt_tree *tree;
    uint32_t *harts; /* phandles of their controllers */
    uint32_t plic;
};

/* A node of /soc at an address, with reg of `size` bytes. */
static void device_node(struct context *c, char path[PATH_SIZE], const char *name, uint64_t base,
                        uint64_t size)
{
    const uint64_t reg[2] = {base, size};

    snprintf(path, PATH_SIZE, "/soc/%s@%llx", name, (unsigned long long)base);
    fdt_tree_node(c->tree, path);
    fdt_tree_wide(c->tree, path, "reg", reg, 2);
}

static void interrupt(struct context *c, const char *path, uint32_t source)
{
    fdt_tree_cell(c->tree, path, "interrupt-parent", c->plic);
    fdt_tree_cell(c->tree, path, "interrupts", source);
}

/* The CLINT, or the parts of an ACLINT. */
static void timers(struct context *c)
{
    static const char clint[] = "sifive,clint0\0riscv,clint0";
    static const uint32_t both[] = {RISCV_LINE_MSIP, RISCV_LINE_MTIP};
    static const struct {
        const char *name, *compatible;
        uint64_t base, size;
        uint32_t line;
    } parts[] = {
        {"mswi", "riscv,aclint-mswi", VIRT_CLINT, ACLINT_SWI_SIZE, RISCV_LINE_MSIP},
        {"sswi", "riscv,aclint-sswi", VIRT_SSWI, ACLINT_SWI_SIZE, RISCV_LINE_SSIP},
    };
    struct machine *machine = &c->virt->machine;
    char path[PATH_SIZE];
    /* mtime first, then mtimecmp. */
    const uint64_t mtimer[4] = {VIRT_CLINT + ACLINT_SWI_SIZE + 0x7ff8, 8,
                                VIRT_CLINT + ACLINT_SWI_SIZE, 0x7ff8};

    if (!c->virt->aclint) {
        device_node(c, path, "clint", VIRT_CLINT, VIRT_CLINT_SIZE);
        fdt_tree_bytes(c->tree, path, "compatible", clint, sizeof(clint));
        riscv_fdt_hart_lines(machine, c->tree, path, c->harts, both, 2);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        device_node(c, path, parts[i].name, parts[i].base, parts[i].size);
        fdt_tree_string(c->tree, path, "compatible", parts[i].compatible);
        fdt_tree_empty(c->tree, path, "interrupt-controller");
        fdt_tree_cell(c->tree, path, "#interrupt-cells", 0);
        riscv_fdt_hart_lines(machine, c->tree, path, c->harts, &parts[i].line, 1);
    }
    device_node(c, path, "mtimer", VIRT_CLINT + ACLINT_SWI_SIZE, ACLINT_MTIMER_SIZE);
    fdt_tree_wide(c->tree, path, "reg", mtimer, 4);
    fdt_tree_string(c->tree, path, "compatible", "riscv,aclint-mtimer");
    riscv_fdt_hart_lines(machine, c->tree, path, c->harts, &both[1], 1);
}

static void plic(struct context *c)
{
    static const char compatible[] = "sifive,plic-1.0.0\0riscv,plic0";
    static const uint32_t lines[] = {RISCV_LINE_MEIP, RISCV_LINE_SEIP};
    char path[PATH_SIZE];

    device_node(c, path, "interrupt-controller", VIRT_PLIC, VIRT_PLIC_SIZE);
    c->plic = fdt_tree_phandle(c->tree, path);
    fdt_tree_bytes(c->tree, path, "compatible", compatible, sizeof(compatible));
    fdt_tree_empty(c->tree, path, "interrupt-controller");
    fdt_tree_cell(c->tree, path, "#interrupt-cells", 1);
    fdt_tree_cell(c->tree, path, "#address-cells", 0);
    fdt_tree_cell(c->tree, path, "riscv,ndev", VIRT_SOURCES);
    riscv_fdt_hart_lines(&c->virt->machine, c->tree, path, c->harts, lines, 2);
}

static void virtio_slots(struct context *c)
{
    char path[PATH_SIZE];

    for (unsigned n = 0; n < VIRT_MMIO_SLOTS; n++) {
        device_node(c, path, "virtio_mmio", VIRT_MMIO + n * VIRT_MMIO_SIZE, VIRT_MMIO_SIZE);
        fdt_tree_string(c->tree, path, "compatible", "virtio,mmio");
        interrupt(c, path, VIRT_IRQ_MMIO + n);
    }
}

/* Slot s, pin p goes to wire (s + p) % 4; the mask keeps the low two bits of the slot. */
static void interrupt_map(struct context *c, const char *path)
{
    static const uint32_t mask[] = {3 << 11, 0, 0, 7};
    uint32_t map[4 * 4 * 6], *next = map;

    for (uint32_t slot = 0; slot < 4; slot++) {
        for (uint32_t pin = 0; pin < 4; pin++) {
            *next++ = slot << 11;
            *next++ = 0;
            *next++ = 0;
            *next++ = pin + 1;
            *next++ = c->plic;
            *next++ = VIRT_IRQ_PCI + (slot + pin) % 4;
        }
    }
    fdt_tree_cells(c->tree, path, "interrupt-map", map, sizeof(map) / sizeof(map[0]));
    fdt_tree_cells(c->tree, path, "interrupt-map-mask", mask, 4);
}

static void pci(struct context *c)
{
    uint64_t high = c->virt->pci64_base;
    const uint32_t bus_range[] = {0, VIRT_ECAM_SIZE / (1 << 20) - 1};
    const uint32_t ranges[] = {
        PCI_RANGE_IO,
        0,
        0,
        0,
        VIRT_PIO,
        0,
        VIRT_PIO_SIZE,
        PCI_RANGE_MEM32,
        0,
        VIRT_PCI,
        0,
        VIRT_PCI,
        0,
        VIRT_PCI_SIZE,
        PCI_RANGE_MEM64,
        (uint32_t)(high >> 32),
        (uint32_t)high,
        (uint32_t)(high >> 32),
        (uint32_t)high,
        (uint32_t)(VIRT_PCI64_SIZE >> 32),
        (uint32_t)VIRT_PCI64_SIZE,
    };
    char path[PATH_SIZE];

    device_node(c, path, "pci", VIRT_ECAM, VIRT_ECAM_SIZE);
    fdt_tree_string(c->tree, path, "compatible", "pci-host-ecam-generic");
    fdt_tree_string(c->tree, path, "device_type", "pci");
    fdt_tree_cell(c->tree, path, "#address-cells", 3);
    fdt_tree_cell(c->tree, path, "#interrupt-cells", 1);
    fdt_tree_cell(c->tree, path, "#size-cells", 2);
    fdt_tree_cell(c->tree, path, "linux,pci-domain", 0);
    fdt_tree_cells(c->tree, path, "bus-range", bus_range, 2);
    fdt_tree_empty(c->tree, path, "dma-coherent");
    fdt_tree_cells(c->tree, path, "ranges", ranges, sizeof(ranges) / sizeof(ranges[0]));
    interrupt_map(c, path);
}

/*
 * Which counters count which of SBI's events: cycles and instructions have their own counters, and
 * hpm3 to hpm18 count either by its number.
 */
static void pmu(struct context *c)
{
    static const uint32_t map[] = {1, 1, 0x7fff9, 2, 2, 0x7fffc};

    if (rv_has(&riscv_cpu(c->virt->machine.cpus[0])->ext, RV_EXT_sscofpmf)) {
        fdt_tree_node(c->tree, "/pmu");
        fdt_tree_string(c->tree, "/pmu", "compatible", "riscv,pmu");
        fdt_tree_cells(c->tree, "/pmu", "riscv,event-to-mhpmcounters", map,
                       sizeof(map) / sizeof(map[0]));
    }
}

/* The test finisher, and by it power-off and reset. */
static void reset_nodes(struct context *c)
{
    static const char compatible[] = "sifive,test1\0sifive,test0\0syscon";
    static const struct {
        const char *path, *compatible;
        uint32_t value;
    } nodes[] = {
        {"/reboot", "syscon-reboot", 0x7777},
        {"/poweroff", "syscon-poweroff", 0x5555},
    };
    char path[PATH_SIZE];
    uint32_t test;

    device_node(c, path, "test", VIRT_TEST, 0x1000);
    fdt_tree_bytes(c->tree, path, "compatible", compatible, sizeof(compatible));
    test = fdt_tree_phandle(c->tree, path);
    for (unsigned i = 0; i < 2; i++) {
        fdt_tree_node(c->tree, nodes[i].path);
        fdt_tree_string(c->tree, nodes[i].path, "compatible", nodes[i].compatible);
        fdt_tree_cell(c->tree, nodes[i].path, "regmap", test);
        fdt_tree_cell(c->tree, nodes[i].path, "offset", 0);
        fdt_tree_cell(c->tree, nodes[i].path, "value", nodes[i].value);
    }
}

static void simple_devices(struct context *c)
{
    const uint64_t fw_cfg[] = {VIRT_FW_CFG, 0x18};
    const uint64_t flash[] = {VIRT_FLASH, VIRT_FLASH_SIZE, VIRT_FLASH + VIRT_FLASH_SIZE,
                              VIRT_FLASH_SIZE};
    char path[PATH_SIZE];

    device_node(c, path, "serial", VIRT_UART, 0x100);
    fdt_tree_string(c->tree, path, "compatible", "ns16550a");
    fdt_tree_cell(c->tree, path, "clock-frequency", CLOCK_UART);
    interrupt(c, path, VIRT_IRQ_UART);
    fdt_tree_string(c->tree, "/chosen", "stdout-path", path);
    fdt_tree_node(c->tree, "/aliases");
    fdt_tree_string(c->tree, "/aliases", "serial0", path);

    device_node(c, path, "rtc", VIRT_RTC, 0x1000);
    fdt_tree_string(c->tree, path, "compatible", "google,goldfish-rtc");
    interrupt(c, path, VIRT_IRQ_RTC);

    fdt_tree_node(c->tree, "/flash@20000000");
    fdt_tree_string(c->tree, "/flash@20000000", "compatible", "cfi-flash");
    fdt_tree_wide(c->tree, "/flash@20000000", "reg", flash, 4);
    fdt_tree_cell(c->tree, "/flash@20000000", "bank-width", 4);

    fdt_tree_node(c->tree, "/fw-cfg@10100000");
    fdt_tree_string(c->tree, "/fw-cfg@10100000", "compatible", "qemu,fw-cfg-mmio");
    fdt_tree_wide(c->tree, "/fw-cfg@10100000", "reg", fw_cfg, 2);
    fdt_tree_empty(c->tree, "/fw-cfg@10100000", "dma-coherent");
}

int riscv_virt_fdt(struct machine *machine, struct fdt_tree *tree, char *error, size_t error_size)
{
    struct riscv_virt *virt = (struct riscv_virt *)machine;
    struct context c = {.virt = virt, .tree = tree};
    uint8_t seed[32];

    c.harts = calloc(virt->machine.smp.cpus, sizeof(*c.harts));
    if (!c.harts || getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        free(c.harts);
        snprintf(error, error_size, "device tree: no memory or no random numbers");
        return -ENOMEM;
    }
    fdt_tree_string(tree, "/", "model", "riscv-virtio,qemu");
    fdt_tree_string(tree, "/", "compatible", "riscv-virtio");
    fdt_tree_cell(tree, "/", "#size-cells", 2);
    fdt_tree_cell(tree, "/", "#address-cells", 2);
    fdt_tree_node(tree, "/soc");
    fdt_tree_empty(tree, "/soc", "ranges");
    fdt_tree_string(tree, "/soc", "compatible", "simple-bus");
    fdt_tree_cell(tree, "/soc", "#size-cells", 2);
    fdt_tree_cell(tree, "/soc", "#address-cells", 2);
    riscv_fdt_cpus(&virt->machine, tree, c.harts);
    riscv_fdt_memory(&virt->machine, tree, VIRT_RAM);
    fdt_tree_node(tree, "/chosen");
    fdt_tree_bytes(tree, "/chosen", "rng-seed", seed, sizeof(seed));

    timers(&c);
    plic(&c);
    virtio_slots(&c);
    pci(&c);
    reset_nodes(&c);
    simple_devices(&c);
    pmu(&c);
    free(c.harts);
    return 0;
}
