/*
 * The RISC-V machine `spike`, named after the simulator whose host-target interface it has: harts,
 * CLINT, RAM, and two words in memory by which a program exits and writes characters. For
 * bare-metal programs and test suites.
 *
 * Where the two words are is said by the symbols tohost and fromhost of the program that runs
 * first; otherwise they have a place of their own, which the device tree names.
 *
 *     0x00001000  boot ROM        0x02000000  CLINT
 *     0x01000000  fromhost, tohost, unless the program has them      0x80000000  RAM
 */
#include "hw/machine/riscv-boot.h"

#include "hw/intc/aclint.h"
#include "hw/misc/htif.h"
#include "target/riscv/cpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPIKE_HTIF       0x1000000
#define SPIKE_CLINT      0x2000000
#define SPIKE_CLINT_SIZE 0x10000
#define SPIKE_RAM        UINT64_C(0x80000000)

struct riscv_spike {
    struct machine machine; /* first */
    struct riscv_boot boot;
    uint64_t tohost, fromhost;
    bool own_htif; /* not the program's */
};

static int add_clint(struct machine *machine, char *error, size_t error_size)
{
    struct aclint_swi *swi =
        (struct aclint_swi *)machine_new_device(machine, &aclint_swi_type, NULL, error, error_size);
    struct aclint_mtimer *mtimer;
    int err;

    if (!swi) {
        return -EINVAL;
    }
    swi->num_harts = machine->smp.cpus;
    err = machine_add_device(machine, &swi->device, error, error_size);
    if (err) {
        return err;
    }
    mtimer = (struct aclint_mtimer *)machine_new_device(machine, &aclint_mtimer_type, NULL, error,
                                                        error_size);
    if (!mtimer) {
        return -EINVAL;
    }
    mtimer->num_harts = machine->smp.cpus;
    mtimer->timebase_freq = RISCV_TIMEBASE;
    mtimer->clock = machine->clock;
    err = machine_add_device(machine, &mtimer->device, error, error_size);
    if (err) {
        return err;
    }
    for (unsigned hart = 0; hart < machine->smp.cpus; hart++) {
        hw_irq_connect(&swi->out[hart], machine_cpu_input(machine, hart, RISCV_LINE_MSIP));
        hw_irq_connect(&mtimer->out[hart], machine_cpu_input(machine, hart, RISCV_LINE_MTIP));
        riscv_set_timebase(machine->cpus[hart], &mtimer->timebase);
    }
    err = mem_region_add(&machine->root, SPIKE_CLINT, &swi->mmio, 0);
    return err ? err
               : mem_region_add(&machine->root, SPIKE_CLINT + ACLINT_SWI_SIZE, &mtimer->mmio, 0);
}

static int spike_init(struct machine *machine, char *error, size_t error_size)
{
    struct riscv_spike *spike = (struct riscv_spike *)machine;
    int err;

    spike->boot.ram_base = SPIKE_RAM;
    if (!machine_cpu_input(machine, 0, 0)) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    err = machine_map_ram(machine, SPIKE_RAM, error, error_size);
    if (!err) {
        err = riscv_boot_add_rom(machine, &spike->boot, error, error_size);
    }
    return err ? err : add_clint(machine, error, error_size);
}

/* The symbols of a program; true if it has both. What cannot be read is reported by its loading. */
static bool find_symbols(struct riscv_spike *spike, const char *what, const char *path)
{
    struct loader_file file;
    char ignored[256];
    bool found;

    if (!path || loader_open(&file, what, path, UINT32_MAX, ignored, sizeof(ignored))) {
        return false;
    }
    found = loader_elf_symbol(&file, "tohost", &spike->tohost) &&
            loader_elf_symbol(&file, "fromhost", &spike->fromhost);
    loader_close(&file);
    return found;
}

static void place_htif(struct riscv_spike *spike)
{
    struct machine *machine = &spike->machine;
    bool bios = machine->bios && strcmp(machine->bios, "none") != 0 &&
                strcmp(machine->bios, "default") != 0;
    char *path = bios ? machine->find_firmware(machine->bios) : NULL;

    spike->own_htif =
        !find_symbols(spike, "-bios", path) && !find_symbols(spike, "-kernel", machine->kernel);
    free(path);
    if (spike->own_htif) {
        spike->fromhost = SPIKE_HTIF;
        spike->tohost = SPIKE_HTIF + 8;
    }
}

static int add_htif(struct riscv_spike *spike, char *error, size_t error_size)
{
    struct machine *machine = &spike->machine;
    struct htif *htif;
    int err;

    if (spike->tohost % 8 || spike->fromhost % 8) {
        snprintf(error, error_size, "-%s: tohost and fromhost: expected multiples of 8",
                 machine->kernel ? "kernel" : "bios");
        return -EINVAL;
    }
    htif = (struct htif *)machine_new_device(machine, &htif_type, NULL, error, error_size);
    if (!htif) {
        return -EINVAL;
    }
    htif->chr = machine->serials[0];
    htif->memory = &machine->memory;
    err = machine_add_device(machine, &htif->device, error, error_size);
    if (!err) {
        err = mem_region_add(&machine->root, spike->tohost, &htif->tohost, 1);
    }
    return err ? err : mem_region_add(&machine->root, spike->fromhost, &htif->fromhost, 1);
}

static int build_fdt(struct machine *machine, struct fdt_tree *tree, char *error, size_t error_size)
{
    const struct riscv_spike *spike = (const struct riscv_spike *)machine;
    static const char clint[] = "sifive,clint0\0riscv,clint0";
    static const uint32_t lines[] = {RISCV_LINE_MSIP, RISCV_LINE_MTIP};
    static const char node[] = "/soc/clint@2000000";
    const uint64_t htif_reg[2] = {SPIKE_HTIF, 16};
    const uint64_t clint_reg[2] = {SPIKE_CLINT, SPIKE_CLINT_SIZE};
    uint32_t *harts = calloc(machine->smp.cpus, sizeof(*harts));

    if (!harts) {
        snprintf(error, error_size, "device tree: out of memory");
        return -ENOMEM;
    }
    fdt_tree_string(tree, "/", "model", "ucbbar,spike-bare,qemu");
    fdt_tree_string(tree, "/", "compatible", "ucbbar,spike-bare-dev");
    fdt_tree_cell(tree, "/", "#size-cells", 2);
    fdt_tree_cell(tree, "/", "#address-cells", 2);
    fdt_tree_node(tree, "/htif");
    fdt_tree_string(tree, "/htif", "compatible", "ucb,htif0");
    if (spike->own_htif) {
        fdt_tree_wide(tree, "/htif", "reg", htif_reg, 2);
    }
    fdt_tree_node(tree, "/soc");
    fdt_tree_empty(tree, "/soc", "ranges");
    fdt_tree_string(tree, "/soc", "compatible", "simple-bus");
    fdt_tree_cell(tree, "/soc", "#size-cells", 2);
    fdt_tree_cell(tree, "/soc", "#address-cells", 2);
    riscv_fdt_cpus(machine, tree, harts);
    riscv_fdt_memory(machine, tree, SPIKE_RAM);
    fdt_tree_node(tree, node);
    fdt_tree_bytes(tree, node, "compatible", clint, sizeof(clint));
    fdt_tree_wide(tree, node, "reg", clint_reg, 2);
    riscv_fdt_hart_lines(machine, tree, node, harts, lines, 2);
    fdt_tree_node(tree, "/chosen");
    fdt_tree_string(tree, "/chosen", "stdout-path", "/htif");
    free(harts);
    return 0;
}

/* The program has to be in memory before its two words are laid over it. */
static int spike_boot(struct machine *machine, char *error, size_t error_size)
{
    struct riscv_spike *spike = (struct riscv_spike *)machine;
    struct riscv_boot *boot = &spike->boot;
    int err = machine->dumpdtb && !machine->kernel
                  ? 0
                  : riscv_boot_firmware(machine, boot, error, error_size);

    if (!err) {
        err = riscv_boot_kernel(machine, boot, error, error_size);
    }
    if (err) {
        return err;
    }
    if (machine->bios && strcmp(machine->bios, "none") == 0 && boot->kernel_end) {
        boot->firmware_entry = boot->kernel_entry;
    }
    place_htif(spike);
    err = riscv_boot_finish(machine, boot, build_fdt, error, error_size);
    return err ? err : add_htif(spike, error, error_size);
}

static void spike_reset(struct machine *machine)
{
    for (unsigned n = 0; n < machine->smp.cpus; n++) {
        machine->cpus[n]->ops->system->reset(machine->cpus[n], RISCV_MROM);
    }
}

const struct machine_type riscv_spike_type = {
    .name = "spike-1.0",
    .alias = "spike",
    .help = "RISC-V simulator's board: HTIF and CLINT, for bare-metal programs",
    .target = "riscv64",
    .size = sizeof(struct riscv_spike),
    .cpu_model = "",
    .ram_size = 128 << 20,
    .max_cpus = 512,
    .firmware = "opensbi-riscv64-generic-fw_dynamic.bin",
    .firmware_package = "opensbi",
    .serials = 1,
    .init = spike_init,
    .boot = spike_boot,
    .reset = spike_reset,
};
