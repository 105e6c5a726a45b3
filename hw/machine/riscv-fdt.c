/*
 * What a device tree says of harts: the bindings riscv/cpus.yaml, riscv/extensions.yaml and
 * interrupt-controller/riscv,cpu-intc.yaml of Linux. Extensions are named twice: in the string
 * riscv,isa, for older kernels, and in the list riscv,isa-extensions.
 */
#include "hw/machine/riscv-boot.h"

#include "target/riscv/cpu.h"
#include "target/riscv/model.h"

#include <stdio.h>
#include <stdlib.h>

#define LIST_MAX       2048
#define PATH_MAX_BYTES 64

static void describe_isa(const struct riscv_cpu *cpu, struct fdt_tree *tree, const char *path)
{
    char text[LIST_MAX];
    size_t size = rv_model_isa_list(&cpu->ext, text, sizeof(text));

    fdt_tree_bytes(tree, path, "riscv,isa-extensions", text,
                   size < sizeof(text) ? size : sizeof(text));
    fdt_tree_string(tree, path, "riscv,isa-base", "rv64i");
    (void)rv_model_isa(&cpu->ext, text, sizeof(text));
    fdt_tree_string(tree, path, "riscv,isa", text);
}

static void describe_hart(struct machine *machine, struct fdt_tree *tree, unsigned hart,
                          uint32_t *phandle, uint32_t *controller)
{
    const struct riscv_cpu *cpu = riscv_cpu(machine->cpus[hart]);
    const struct {
        enum rv_ext ext;
        const char *property;
    } blocks[] = {
        {RV_EXT_zicbom, "riscv,cbom-block-size"},
        {RV_EXT_zicbop, "riscv,cbop-block-size"},
        {RV_EXT_zicboz, "riscv,cboz-block-size"},
    };
    char path[PATH_MAX_BYTES];

    snprintf(path, sizeof(path), "/cpus/cpu@%x", hart);
    fdt_tree_node(tree, path);
    fdt_tree_string(tree, path, "mmu-type", rv_model_mmu_type(&cpu->ext));
    describe_isa(cpu, tree, path);
    for (unsigned i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        if (rv_has(&cpu->ext, blocks[i].ext)) {
            fdt_tree_cell(tree, path, blocks[i].property, 64);
        }
    }
    fdt_tree_string(tree, path, "compatible", "riscv");
    fdt_tree_string(tree, path, "status", "okay");
    fdt_tree_cell(tree, path, "reg", hart);
    fdt_tree_string(tree, path, "device_type", "cpu");
    *phandle = fdt_tree_phandle(tree, path);

    snprintf(path, sizeof(path), "/cpus/cpu@%x/interrupt-controller", hart);
    fdt_tree_node(tree, path);
    *controller = fdt_tree_phandle(tree, path);
    fdt_tree_string(tree, path, "compatible", "riscv,cpu-intc");
    fdt_tree_empty(tree, path, "interrupt-controller");
    fdt_tree_cell(tree, path, "#interrupt-cells", 1);
}

void riscv_fdt_cpus(struct machine *machine, struct fdt_tree *tree, uint32_t *phandles)
{
    char path[PATH_MAX_BYTES];

    fdt_tree_node(tree, "/cpus");
    fdt_tree_cell(tree, "/cpus", "timebase-frequency", RISCV_TIMEBASE);
    fdt_tree_cell(tree, "/cpus", "#size-cells", 0);
    fdt_tree_cell(tree, "/cpus", "#address-cells", 1);
    fdt_tree_node(tree, "/cpus/cpu-map");
    fdt_tree_node(tree, "/cpus/cpu-map/cluster0");
    /* Hart 0 last, so that it is first in the tree. */
    for (unsigned hart = machine->smp.cpus; hart-- > 0;) {
        uint32_t phandle;

        describe_hart(machine, tree, hart, &phandle, &phandles[hart]);
        snprintf(path, sizeof(path), "/cpus/cpu-map/cluster0/core%u", hart);
        fdt_tree_node(tree, path);
        fdt_tree_cell(tree, path, "cpu", phandle);
    }
}

void riscv_fdt_memory(struct machine *machine, struct fdt_tree *tree, uint64_t base)
{
    const uint64_t reg[2] = {base, machine->ram_size};
    char path[PATH_MAX_BYTES];

    snprintf(path, sizeof(path), "/memory@%llx", (unsigned long long)base);
    fdt_tree_node(tree, path);
    fdt_tree_wide(tree, path, "reg", reg, 2);
    fdt_tree_string(tree, path, "device_type", "memory");
}

void riscv_fdt_hart_lines(struct machine *machine, struct fdt_tree *tree, const char *path,
                          const uint32_t *phandles, const uint32_t *lines, unsigned count)
{
    size_t cells = (size_t)machine->smp.cpus * count * 2;
    uint32_t *list = malloc(cells * sizeof(*list)), *next = list;

    if (!list) {
        tree->err = tree->err ? tree->err : FDT_TREE_NO_MEMORY;
        return;
    }
    for (unsigned hart = 0; hart < machine->smp.cpus; hart++) {
        for (unsigned i = 0; i < count; i++) {
            *next++ = phandles[hart];
            *next++ = lines[i];
        }
    }
    fdt_tree_cells(tree, path, "interrupts-extended", list, cells);
    free(list);
}
