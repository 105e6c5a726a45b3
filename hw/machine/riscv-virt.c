/*
 * The RISC-V machine `virt`: harts, PLIC, CLINT or ACLINT, a serial port, a clock, flash, fw_cfg,
 * eight virtio-mmio slots and a PCI Express host bridge. It is nobody's hardware; guests find all
 * of it in the device tree (riscv-virt-fdt.c).
 *
 * The first flash bank, when there is an image for it, holds firmware that runs in S-mode behind
 * OpenSBI, or with -bios none in M-mode at once.
 */
#include "hw/machine/riscv-virt.h"

#include "hw/block/pflash-cfi01.h"
#include "hw/char/serial16550.h"
#include "hw/intc/aclint.h"
#include "hw/intc/plic.h"
#include "hw/misc/syscon-test.h"
#include "hw/nvram/fw-cfg.h"
#include "hw/pci/gpex.h"
#include "hw/rtc/goldfish-rtc.h"
#include "hw/virtio/mmio.h"
#include "target/riscv/cpu.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AIA_NONE };

static const char *const aia_names[] = {"none", "aplic", "aplic-imsic", NULL};
static const char *const acpi_names[] = {"auto", "on", "off", NULL};

static const struct property virt_properties[] = {
    PROPERTY(BOOL, "aclint", struct riscv_virt, aclint,
             .help = "ACLINT devices in place of the CLINT"),
    PROPERTY(ENUM, "aia", struct riscv_virt, aia, .names = aia_names,
             .help = "interrupt architecture; only none"),
    PROPERTY(ENUM, "acpi", struct riscv_virt, acpi, .names = acpi_names,
             .help = "ACPI tables; there are none"),
    PROPERTY(STRING, "pflash0", struct riscv_virt, pflash[0],
             .help = "node that the first flash bank shows"),
    PROPERTY(STRING, "pflash1", struct riscv_virt, pflash[1],
             .help = "node that the second flash bank shows"),
    PROPERTY_END,
};

static int no_memory(char *error, size_t error_size)
{
    snprintf(error, error_size, "out of memory");
    return -ENOMEM;
}

/* A device of one window and perhaps one line. */
static int place(struct riscv_virt *virt, struct hw_device *device, struct mem_region *mmio,
                 uint64_t base, char *error, size_t error_size)
{
    int err = machine_add_device(&virt->machine, device, error, error_size);

    return err ? err : mem_region_add(&virt->machine.root, base, mmio, 0);
}

/*
 * The supervisor's software interrupt is an edge that sets a bit in the hart's mip, where software
 * clears it (ACLINT, chapter 4): no line that could be looked at later.
 */
static void set_ssip(struct cpu *cpu, void *unused)
{
    riscv_cpu(cpu)->sys.mip |= UINT64_C(1) << RISCV_LINE_SSIP;
}

static void ssip_edge(void *opaque, unsigned n, bool level)
{
    struct cpu *cpu = opaque;

    if (level) {
        cpu->ops->system->system(cpu)->service->run_on(cpu, set_ssip, NULL);
    }
}

static int make_ssip_inputs(struct riscv_virt *virt, char *error, size_t error_size)
{
    virt->ssip = calloc(virt->machine.smp.cpus, sizeof(*virt->ssip));
    if (!virt->ssip) {
        return no_memory(error, error_size);
    }
    for (unsigned hart = 0; hart < virt->machine.smp.cpus; hart++) {
        virt->ssip[hart] =
            (struct hw_irq_input){.handler = ssip_edge, .opaque = virt->machine.cpus[hart]};
    }
    return 0;
}

/* Software interrupts of one mode. */
static int add_swi(struct riscv_virt *virt, uint64_t base, bool sswi, char *error,
                   size_t error_size)
{
    struct machine *machine = &virt->machine;
    struct aclint_swi *swi =
        (struct aclint_swi *)machine_new_device(machine, &aclint_swi_type, NULL, error, error_size);
    int err;

    if (!swi) {
        return -EINVAL;
    }
    swi->num_harts = machine->smp.cpus;
    swi->sswi = sswi;
    err = place(virt, &swi->device, &swi->mmio, base, error, error_size);
    for (unsigned hart = 0; hart < machine->smp.cpus && !err; hart++) {
        hw_irq_connect(&swi->out[hart], sswi ? &virt->ssip[hart]
                                             : machine_cpu_input(machine, hart, RISCV_LINE_MSIP));
    }
    return err;
}

static int add_timer(struct riscv_virt *virt, char *error, size_t error_size)
{
    struct machine *machine = &virt->machine;
    struct aclint_mtimer *mtimer = (struct aclint_mtimer *)machine_new_device(
        machine, &aclint_mtimer_type, NULL, error, error_size);
    int err;

    if (!mtimer) {
        return -EINVAL;
    }
    mtimer->num_harts = machine->smp.cpus;
    mtimer->timebase_freq = RISCV_TIMEBASE;
    mtimer->clock = machine->clock;
    err = place(virt, &mtimer->device, &mtimer->mmio, VIRT_CLINT + ACLINT_SWI_SIZE, error,
                error_size);
    for (unsigned hart = 0; hart < machine->smp.cpus && !err; hart++) {
        hw_irq_connect(&mtimer->out[hart], machine_cpu_input(machine, hart, RISCV_LINE_MTIP));
        riscv_set_timebase(machine->cpus[hart], &mtimer->timebase);
    }
    return err;
}

static int add_plic(struct riscv_virt *virt, char *error, size_t error_size)
{
    struct machine *machine = &virt->machine;
    struct plic *plic =
        (struct plic *)machine_new_device(machine, &plic_type, NULL, error, error_size);
    char *harts = malloc((size_t)machine->smp.cpus * 3 + 1);
    int err;

    if (!plic || !harts) {
        free(harts);
        return plic ? no_memory(error, error_size) : -EINVAL;
    }
    for (unsigned hart = 0; hart < machine->smp.cpus; hart++) {
        strcpy(harts + (size_t)hart * 3, hart + 1 < machine->smp.cpus ? "MS," : "MS");
    }
    err = hw_device_set(&plic->device, "hart-config", harts, error, error_size);
    free(harts);
    plic->num_sources = VIRT_SOURCES;
    plic->num_priorities = VIRT_PRIORITIES;
    plic->aperture_size = VIRT_PLIC_SIZE;
    if (!err) {
        err = place(virt, &plic->device, &plic->mmio, VIRT_PLIC, error, error_size);
    }
    for (unsigned hart = 0; hart < machine->smp.cpus && !err; hart++) {
        hw_irq_connect(&plic->out[plic_context_of(plic, hart, 'M')],
                       machine_cpu_input(machine, hart, RISCV_LINE_MEIP));
        hw_irq_connect(&plic->out[plic_context_of(plic, hart, 'S')],
                       machine_cpu_input(machine, hart, RISCV_LINE_SEIP));
    }
    virt->plic = plic;
    return err;
}

static int add_simple(struct riscv_virt *virt, char *error, size_t error_size)
{
    struct machine *machine = &virt->machine;
    struct serial16550 *uart;
    struct goldfish_rtc *rtc;
    struct syscon_test *test;
    int err;

    test = (struct syscon_test *)machine_new_device(machine, &syscon_test_type, NULL, error,
                                                    error_size);
    err = test ? place(virt, &test->device, &test->mmio, VIRT_TEST, error, error_size) : -EINVAL;
    if (err) {
        return err;
    }
    uart = (struct serial16550 *)machine_new_device(machine, &serial16550_type, NULL, error,
                                                    error_size);
    if (!uart) {
        return -EINVAL;
    }
    uart->chr = machine->serials[0];
    uart->clock = machine->clock;
    err = place(virt, &uart->device, &uart->mmio, VIRT_UART, error, error_size);
    if (err) {
        return err;
    }
    hw_irq_connect(&uart->out, &virt->plic->in[VIRT_IRQ_UART]);

    rtc = (struct goldfish_rtc *)machine_new_device(machine, &goldfish_rtc_type, NULL, error,
                                                    error_size);
    if (!rtc) {
        return -EINVAL;
    }
    rtc->clock = machine->clock;
    rtc->base_offset = machine->rtc_offset;
    err = place(virt, &rtc->device, &rtc->mmio, VIRT_RTC, error, error_size);
    if (!err) {
        hw_irq_connect(&rtc->out, &virt->plic->in[VIRT_IRQ_RTC]);
    }
    return err;
}

static int add_flash(struct riscv_virt *virt, unsigned bank, char *error, size_t error_size)
{
    static const char *const names[MACHINE_FLASHES] = {"virt.flash0", "virt.flash1"};
    struct machine *machine = &virt->machine;
    struct pflash_cfi01 *flash = (struct pflash_cfi01 *)machine_new_device(
        machine, &pflash_cfi01_type, NULL, error, error_size);
    int err;

    if (!flash) {
        return -EINVAL;
    }
    err = hw_device_set(&flash->device, "name", names[bank], error, error_size);
    if (err) {
        hw_device_destroy(&flash->device);
        return err;
    }
    flash->sector_length = 256 << 10;
    flash->num_blocks = VIRT_FLASH_SIZE / (256 << 10);
    flash->width = 4;
    flash->device_width = 2;
    flash->id[0] = 0x89;
    flash->id[1] = 0x18;
    flash->node = machine->flashes[bank];
    flash->loop = machine->loop;
    return place(virt, &flash->device, &flash->mmio, VIRT_FLASH + bank * VIRT_FLASH_SIZE, error,
                 error_size);
}

static int add_fw_cfg(struct riscv_virt *virt, char *error, size_t error_size)
{
    struct machine *machine = &virt->machine;
    struct fw_cfg *fw =
        (struct fw_cfg *)machine_new_device(machine, &fw_cfg_type, NULL, error, error_size);
    int err;

    if (!fw) {
        return -EINVAL;
    }
    fw->memory = &machine->memory;
    err = place(virt, &fw->device, &fw->mmio, VIRT_FW_CFG, error, error_size);
    if (err) {
        return err;
    }
    machine->fw_cfg = fw;
    err = fw_cfg_add_number(fw, FW_CFG_NB_CPUS, machine->smp.cpus, 2);
    return err ? no_memory(error, error_size) : 0;
}

/* Drivers probe the last slot first, and devices are plugged in that order. */
static int add_virtio_mmio(struct riscv_virt *virt, char *error, size_t error_size)
{
    static const char *const names[VIRT_MMIO_SLOTS] = {
        "virtio-mmio-bus.0", "virtio-mmio-bus.1", "virtio-mmio-bus.2", "virtio-mmio-bus.3",
        "virtio-mmio-bus.4", "virtio-mmio-bus.5", "virtio-mmio-bus.6", "virtio-mmio-bus.7",
    };
    struct machine *machine = &virt->machine;
    int err = 0;

    for (unsigned n = VIRT_MMIO_SLOTS; n-- > 0 && !err;) {
        struct virtio_mmio *slot = (struct virtio_mmio *)machine_new_device(
            machine, &virtio_mmio_type, NULL, error, error_size);

        if (!slot) {
            return -EINVAL;
        }
        slot->bus.space = &machine->memory;
        slot->bus.loop = machine->loop;
        slot->bus.bus.name = names[n];
        hw_irq_connect(&slot->irq, &virt->plic->in[VIRT_IRQ_MMIO + n]);
        err = place(virt, &slot->device, &slot->registers, VIRT_MMIO + n * VIRT_MMIO_SIZE, error,
                    error_size);
    }
    return err;
}

static int add_pci(struct riscv_virt *virt, char *error, size_t error_size)
{
    struct machine *machine = &virt->machine;
    struct gpex *host =
        (struct gpex *)machine_new_device(machine, &gpex_type, NULL, error, error_size);

    if (!host) {
        return -EINVAL;
    }
    host->config = (struct gpex_config){
        .system = &machine->root,
        .space = &machine->memory,
        .loop = machine->loop,
        .ecam_base = VIRT_ECAM,
        .ecam_size = VIRT_ECAM_SIZE,
        .mmio_base = VIRT_PCI,
        .mmio_size = VIRT_PCI_SIZE,
        .mmio64_base = virt->pci64_base,
        .mmio64_size = VIRT_PCI64_SIZE,
        .pio_base = VIRT_PIO,
        .pio_size = VIRT_PIO_SIZE,
    };
    for (unsigned pin = 0; pin < PCI_PINS; pin++) {
        hw_irq_connect(&host->irq[pin], &virt->plic->in[VIRT_IRQ_PCI + pin]);
    }
    return machine_add_device(machine, &host->device, error, error_size);
}

static int check_properties(const struct riscv_virt *virt, char *error, size_t error_size)
{
    if (virt->aia != AIA_NONE) {
        snprintf(error, error_size, "virt: aia=%s: expected none", aia_names[virt->aia]);
        return -EINVAL;
    }
    if (acpi_names[virt->acpi] == acpi_names[1]) {
        snprintf(error, error_size, "virt: acpi=on: this machine has a device tree only");
        return -EINVAL;
    }
    if (virt->machine.usb) {
        snprintf(error, error_size, "virt: usb=on: this machine has no USB controller of its own");
        return -EINVAL;
    }
    return 0;
}

static int virt_init(struct machine *machine, char *error, size_t error_size)
{
    struct riscv_virt *virt = (struct riscv_virt *)machine;
    uint64_t end = VIRT_RAM + machine->ram_size;
    int err = check_properties(virt, error, error_size);

    virt->pci64_base = (end + VIRT_PCI64_SIZE - 1) / VIRT_PCI64_SIZE * VIRT_PCI64_SIZE;
    virt->boot.ram_base = VIRT_RAM;
    if (!err && !machine_cpu_input(machine, 0, 0)) {
        err = no_memory(error, error_size);
    }
    if (!err) {
        err = machine_map_ram(machine, VIRT_RAM, error, error_size);
    }
    if (!err) {
        err = riscv_boot_add_rom(machine, &virt->boot, error, error_size);
    }
    if (!err) {
        err = add_swi(virt, VIRT_CLINT, false, error, error_size);
    }
    if (!err) {
        err = add_timer(virt, error, error_size);
    }
    if (!err && virt->aclint) {
        err = make_ssip_inputs(virt, error, error_size);
    }
    if (!err && virt->aclint) {
        err = add_swi(virt, VIRT_SSWI, true, error, error_size);
    }
    if (!err) {
        err = add_plic(virt, error, error_size);
    }
    if (!err) {
        err = add_simple(virt, error, error_size);
    }
    for (unsigned bank = 0; bank < MACHINE_FLASHES && !err; bank++) {
        err = add_flash(virt, bank, error, error_size);
    }
    if (!err) {
        err = add_fw_cfg(virt, error, error_size);
    }
    if (!err) {
        err = add_virtio_mmio(virt, error, error_size);
    }
    return err ? err : add_pci(virt, error, error_size);
}

/* What firmware in flash is told of -kernel, -initrd and -append: it loads them from fw_cfg. */
static int hand_over(struct machine *machine, char *error, size_t error_size)
{
    const struct {
        const char *what, *path;
        uint16_t size_key, data_key;
    } files[] = {
        {"-kernel", machine->kernel, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA},
        {"-initrd", machine->initrd, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA},
    };
    struct fw_cfg *fw = machine->fw_cfg;
    int err = 0;

    for (unsigned i = 0; i < 2 && !err; i++) {
        struct loader_file file;

        if (!files[i].path) {
            continue;
        }
        err = loader_open(&file, files[i].what, files[i].path, UINT32_MAX, error, error_size);
        if (err) {
            return err;
        }
        err = fw_cfg_add_number(fw, files[i].size_key, file.size, 4);
        if (!err) {
            err = fw_cfg_add_bytes(fw, files[i].data_key, file.data, file.size);
        }
        loader_close(&file);
    }
    if (!err && machine->append) {
        err = fw_cfg_add_number(fw, FW_CFG_CMDLINE_SIZE, strlen(machine->append) + 1, 4);
        if (!err) {
            err = fw_cfg_add_string(fw, FW_CFG_CMDLINE_DATA, machine->append);
        }
    }
    return err ? no_memory(error, error_size) : 0;
}

static int virt_boot(struct machine *machine, char *error, size_t error_size)
{
    struct riscv_virt *virt = (struct riscv_virt *)machine;
    bool none = machine->bios && strcmp(machine->bios, "none") == 0;
    struct riscv_boot *boot = &virt->boot;
    /* Only to show the device tree, no file needs to be there. */
    int err = machine->dumpdtb && !machine->kernel
                  ? 0
                  : riscv_boot_firmware(machine, boot, error, error_size);

    if (err) {
        return err;
    }
    if (machine->flashes[0]) {
        *(none ? &boot->firmware_entry : &boot->kernel_entry) = VIRT_FLASH;
        err = hand_over(machine, error, error_size);
    } else {
        err = riscv_boot_kernel(machine, boot, error, error_size);
    }
    if (none && boot->kernel_end) {
        boot->firmware_entry = boot->kernel_entry;
    }
    if (err) {
        return err;
    }
    return riscv_boot_finish(machine, boot, riscv_virt_fdt, error, error_size);
}

static void virt_reset(struct machine *machine)
{
    for (unsigned n = 0; n < machine->smp.cpus; n++) {
        machine->cpus[n]->ops->system->reset(machine->cpus[n], RISCV_MROM);
    }
}

const struct machine_type riscv_virt_type = {
    .name = "virt-1.0",
    .alias = "virt",
    .help = "RISC-V virtual board: PCI Express, virtio, PLIC and CLINT",
    .target = "riscv64",
    .size = sizeof(struct riscv_virt),
    .properties = virt_properties,
    .cpu_model = "",
    .ram_size = 128 << 20,
    .max_cpus = 512,
    .firmware = "opensbi-riscv64-generic-fw_dynamic.bin",
    .firmware_package = "opensbi",
    .drive_device = "virtio-blk-pci",
    .nic_device = "virtio-net-pci",
    .serials = 1,
    .flashes = 2,
    .init = virt_init,
    .boot = virt_boot,
    .reset = virt_reset,
};
