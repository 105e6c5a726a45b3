/*
 * Construction of the machine `microvm`. What is there follows from properties of three values;
 * "auto" means: 8259s and 8254 yes; RTC where processors have no clock of the host's (kvmclock);
 * ACPI yes, and with it a second I/O APIC and so 24 virtio-mmio slots in place of 8; PCI Express
 * no.
 */
#include "hw/machine/x86-microvm.h"

#include "hw/acpi/ged.h"
#include "hw/acpi/tables.h"
#include "hw/char/isa-serial.h"
#include "hw/isa/isa.h"
#include "hw/machine/x86-cpus.h"
#include "hw/machine/x86-mp.h"
#include "hw/nvram/fw-cfg.h"
#include "hw/pci/gpex.h"
#include "hw/rtc/mc146818.h"
#include "hw/timer/i8254.h"
#include "hw/virtio/mmio.h"
#include "target/x86/cpu.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IRQ_PIT = 0, IRQ_RTC = 8, SLOTS_MIN = 8 };

static const char *const choices[] = {"auto", "on", "off", NULL}; /* enum microvm_choice */

#define CHOICE(name_, field_, help_) \
    PROPERTY(ENUM, name_, struct microvm, field_, .names = choices, .help = help_)

static const struct property properties[] = {
    CHOICE("pit", pit, "8254 timer"),
    CHOICE("pic", pic, "8259 interrupt controllers"),
    CHOICE("rtc", rtc, "MC146818 real-time clock"),
    CHOICE("pcie", pcie, "PCI Express host bridge"),
    CHOICE("ioapic2", ioapic2, "second I/O APIC, and 24 virtio-mmio slots in place of 8"),
    CHOICE("acpi", acpi, "ACPI tables, and the generic event device"),
    PROPERTY(BOOL, "isa-serial", struct microvm, isa_serial, .number = 1,
             .help = "serial port COM1"),
    PROPERTY(BOOL, "x-option-roms", struct microvm, option_roms, .number = 1,
             .help = "option ROMs for firmware; there are none"),
    PROPERTY(BOOL, "auto-kernel-cmdline", struct microvm, auto_kernel_cmdline, .number = 1,
             .help = "without ACPI, name the virtio-mmio devices on the kernel command line"),
    PROPERTY(STRING, "x-oem-id", struct microvm, oem_id, .text = "BOCHS ",
             .help = "OEM id of ACPI tables, up to 6 characters"),
    PROPERTY(STRING, "x-oem-table-id", struct microvm, oem_table_id, .text = "BXPC    ",
             .help = "OEM table id of ACPI tables, up to 8 characters"),
    PROPERTY_END,
};

static int no_memory(char *error, size_t error_size)
{
    snprintf(error, error_size, "out of memory");
    return -ENOMEM;
}

/* ---- what is there --------------------------------------------------------------------------- */

static bool choose(int choice, bool automatic)
{
    return choice == MICROVM_AUTO ? automatic : choice == MICROVM_ON;
}

static int check(const struct microvm *vm, char *error, size_t error_size)
{
    const struct machine *machine = &vm->machine;
    const char *why = NULL;

    if (machine->smp.clusters > 1) {
        why = "-smp clusters=: expected 1";
    } else if (machine->usb) {
        why = "usb=on: this machine has no USB controller of its own";
    } else if (machine->dumpdtb || machine->dtb) {
        why = "dtb: this machine has no device tree";
    } else if (strlen(vm->oem_id) > 6) {
        why = "x-oem-id: expected up to 6 characters";
    } else if (strlen(vm->oem_table_id) > 8) {
        why = "x-oem-table-id: expected up to 8 characters";
    }
    if (why) {
        snprintf(error, error_size, "microvm: %s", why);
    }
    return why ? -EINVAL : 0;
}

static void decide(struct microvm *vm)
{
    const struct x86_model *model = &x86_cpu(vm->machine.cpus[0])->model;
    bool two;

    vm->has_pit = choose(vm->pit, true);
    vm->has_pic = choose(vm->pic, true);
    vm->has_rtc = choose(vm->rtc, !model->kvm || !x86_model_has(model, "kvmclock"));
    vm->has_pcie = choose(vm->pcie, false);
    vm->has_acpi = choose(vm->acpi, true);
    vm->has_serial = vm->isa_serial && vm->machine.serials[0];
    two = choose(vm->ioapic2, vm->has_acpi);
    vm->slots = two ? MICROVM_SLOTS_MAX : SLOTS_MIN;
    vm->mmio_irq = two ? IOAPIC_PINS : vm->has_acpi ? 16 : 5;
    vm->pcie_irq = two ? 16 : 12;
    vm->irq.pic = vm->has_pic;
    vm->irq.ioapic2 = two;
}

/* ---- parts ----------------------------------------------------------------------------------- */

/* A new device of the machine, not realized; NULL with a line in error[]. */
static void *new_device(struct microvm *vm, const struct hw_device_type *type, char *error,
                        size_t error_size)
{
    return machine_new_device(&vm->machine, type, NULL, error, error_size);
}

static int realize(struct microvm *vm, struct hw_device *device, char *error, size_t error_size)
{
    return machine_add_device(&vm->machine, device, error, error_size);
}

/* Interrupts below 16 may be shared with ISA devices. */
static int connect(struct microvm *vm, struct hw_irq *out, unsigned gsi, char *error,
                   size_t error_size)
{
    int err = 0;

    if (gsi < ISA_IRQS) {
        err = isa_connect(vm->isa, gsi, out);
    } else if (gsi < X86_GSIS) {
        hw_irq_connect(out, &vm->irq.gsi[gsi]);
    }
    if (err) {
        snprintf(error, error_size, "interrupt %u: too many devices share it", gsi);
    }
    return err;
}

static int add_isa(struct microvm *vm, char *error, size_t error_size)
{
    struct isa_bridge *bridge = new_device(vm, &isa_bridge_type, error, error_size);

    if (!bridge) {
        return -EINVAL;
    }
    vm->isa = &bridge->bus;
    vm->isa->io = &vm->machine.io_root;
    vm->isa->clock = vm->machine.clock;
    for (unsigned n = 0; n < ISA_IRQS; n++) {
        vm->isa->irqs[n] = &vm->irq.gsi[n];
    }
    return realize(vm, &bridge->device, error, error_size);
}

static int add_pit(struct microvm *vm, char *error, size_t error_size)
{
    struct cpu_irqchip *chip = vm->machine.irqchip;
    struct i8254 *pit;
    int err = chip ? chip->ops->add_timer(chip) : -ENOTSUP;

    if (err != -ENOTSUP) {
        if (err) {
            snprintf(error, error_size, "microvm: pit=on: %s", strerror(-err));
        }
        return err;
    }
    pit = new_device(vm, &i8254_type, error, error_size);
    if (!pit) {
        return -EINVAL;
    }
    pit->clock = vm->machine.clock;
    err = realize(vm, &pit->device, error, error_size);
    if (!err) {
        err = mem_region_add(&vm->machine.io_root, I8254_PORT, &pit->io, 0);
    }
    if (!err) {
        err = mem_region_add(&vm->machine.io_root, I8254_PORT_61, &pit->port61, 0);
    }
    return err ? err : connect(vm, &pit->out, IRQ_PIT, error, error_size);
}

static int add_rtc(struct microvm *vm, char *error, size_t error_size)
{
    struct mc146818 *rtc = new_device(vm, &mc146818_type, error, error_size);
    int err;

    if (!rtc) {
        return -EINVAL;
    }
    rtc->clock = vm->machine.clock;
    rtc->base_offset = vm->machine.rtc_offset;
    err = realize(vm, &rtc->device, error, error_size);
    if (!err) {
        err = mem_region_add(&vm->machine.io_root, MC146818_PORT, &rtc->io, 0);
    }
    return err ? err : connect(vm, &rtc->out, IRQ_RTC, error, error_size);
}

static int add_serial(struct microvm *vm, char *error, size_t error_size)
{
    struct isa_serial *serial = new_device(vm, &isa_serial_type, error, error_size);
    int err;

    if (!serial) {
        return -EINVAL;
    }
    serial->index = 0;
    serial->uart.chr = vm->machine.serials[0];
    err = hw_device_realize(&serial->uart.device, &vm->isa->bus, false, error, error_size);
    if (err) {
        hw_device_destroy(&serial->uart.device);
    }
    return err;
}

static int add_fw_cfg(struct microvm *vm, char *error, size_t error_size)
{
    struct fw_cfg *fw = new_device(vm, &fw_cfg_type, error, error_size);
    int err;

    if (!fw) {
        return -EINVAL;
    }
    fw->memory = &vm->machine.memory;
    err = realize(vm, &fw->device, error, error_size);
    if (err) {
        return err;
    }
    vm->machine.fw_cfg = fw;
    return mem_region_add(&vm->machine.io_root, MICROVM_FW_CFG, &fw->io, 0);
}

static int add_ged(struct microvm *vm, char *error, size_t error_size)
{
    struct ged *ged = new_device(vm, &ged_type, error, error_size);
    int err;

    if (!ged) {
        return -EINVAL;
    }
    err = realize(vm, &ged->device, error, error_size);
    if (err) {
        return err;
    }
    vm->ged = ged;
    err = mem_region_add(&vm->machine.root, MICROVM_GED, &ged->selector, 0);
    if (!err) {
        err = mem_region_add(&vm->machine.root, MICROVM_GED_REGS, &ged->registers, 0);
    }
    return err ? err : connect(vm, &ged->out, MICROVM_IRQ_GED, error, error_size);
}

/* The last slot is the first that devices are plugged into, as on the RISC-V machines. */
static int add_slots(struct microvm *vm, char *error, size_t error_size)
{
    static char names[MICROVM_SLOTS_MAX][32];
    int err = 0;

    for (unsigned n = vm->slots; n-- > 0 && !err;) {
        struct virtio_mmio *slot = new_device(vm, &virtio_mmio_type, error, error_size);

        if (!slot) {
            return -EINVAL;
        }
        snprintf(names[n], sizeof(names[n]), "virtio-mmio-bus.%u", n);
        slot->bus.space = &vm->machine.memory;
        slot->bus.loop = vm->machine.loop;
        slot->bus.bus.name = names[n];
        err = realize(vm, &slot->device, error, error_size);
        if (err) {
            return err;
        }
        vm->slot[n] = slot;
        err = mem_region_add(&vm->machine.root, MICROVM_MMIO + n * MICROVM_MMIO_SIZE,
                             &slot->registers, 0);
        if (!err) {
            err = connect(vm, &slot->irq, vm->mmio_irq + n, error, error_size);
        }
    }
    return err;
}

static int add_pcie(struct microvm *vm, char *error, size_t error_size)
{
    struct gpex *host = new_device(vm, &gpex_type, error, error_size);
    int err;

    if (!host) {
        return -EINVAL;
    }
    host->config = (struct gpex_config){
        .system = &vm->machine.root,
        .space = &vm->machine.memory,
        .loop = vm->machine.loop,
        .ecam_base = MICROVM_ECAM,
        .ecam_size = MICROVM_ECAM_SIZE,
        .mmio_base = MICROVM_PCI,
        .mmio_size = MICROVM_PCI_SIZE,
        .mmio64_base = MICROVM_PCI64,
        .mmio64_size = MICROVM_PCI64_SIZE,
    };
    err = realize(vm, &host->device, error, error_size);
    for (unsigned pin = 0; pin < PCI_PINS && !err; pin++) {
        err = connect(vm, &host->irq[pin], vm->pcie_irq + pin, error, error_size);
    }
    return err;
}

/* In the order in which they are made. */
static const struct {
    size_t has; /* offset of a bool in struct microvm; 0: always */
    int (*add)(struct microvm *vm, char *error, size_t error_size);
} parts[] = {
    {0, add_isa},
    {offsetof(struct microvm, has_pit), add_pit},
    {offsetof(struct microvm, has_rtc), add_rtc},
    {offsetof(struct microvm, has_serial), add_serial},
    {0, add_fw_cfg},
    {offsetof(struct microvm, has_acpi), add_ged},
    {0, add_slots},
    {offsetof(struct microvm, has_pcie), add_pcie},
};

static int microvm_init(struct machine *machine, char *error, size_t error_size)
{
    struct microvm *vm = (struct microvm *)machine;
    int err = check(vm, error, error_size);

    if (!err) {
        err = x86_memory_init(&vm->memory, machine, MICROVM_LOW_RAM, error, error_size);
    }
    if (err) {
        return err;
    }
    x86_cpus_init(machine);
    decide(vm);
    if (!machine_cpu_input(machine, 0, 0)) {
        return no_memory(error, error_size);
    }
    err = x86_irq_init(&vm->irq, machine, error, error_size);
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]) && !err; i++) {
        if (parts[i].has == 0 || *(const bool *)((const char *)vm + parts[i].has)) {
            err = parts[i].add(vm, error, error_size);
        }
    }
    return err;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* -append; and without ACPI the virtio-mmio devices that there are, for Linux. */
static int make_append(struct microvm *vm, char *error, size_t error_size)
{
    struct machine *machine = &vm->machine;
    FILE *text;
    size_t size;

    text = open_memstream(&vm->append, &size);
    if (!text) {
        return no_memory(error, error_size);
    }
    fputs(machine->append ? machine->append : "", text);
    for (unsigned n = vm->slots; n-- > 0 && !vm->has_acpi && vm->auto_kernel_cmdline;) {
        if (vm->slot[n]->bus.bus.devices) {
            fprintf(text, " virtio_mmio.device=%" PRIu64 "@0x%" PRIx64 ":%u", MICROVM_MMIO_SIZE,
                    MICROVM_MMIO + n * MICROVM_MMIO_SIZE, vm->mmio_irq + n);
        }
    }
    if (fclose(text)) {
        return no_memory(error, error_size);
    }
    vm->boot.append = vm->append;
    return 0;
}

/* What firmware is told of the machine, and guests can see too. */
static int tell_firmware(struct microvm *vm, char *error, size_t error_size)
{
    struct fw_cfg *fw = vm->machine.fw_cfg;
    struct x86_e820 ram[X86_E820_MAX];
    unsigned count = x86_memory_ram(&vm->memory, ram);

    if (fw_cfg_add_number(fw, FW_CFG_NB_CPUS, vm->machine.smp.cpus, 2) ||
        fw_cfg_add_number(fw, FW_CFG_MAX_CPUS, vm->machine.smp.max_cpus, 2) ||
        fw_cfg_add_number(fw, FW_CFG_RAM_SIZE, vm->machine.ram_size, 8) ||
        fw_cfg_add_number(fw, FW_CFG_IRQ0_OVERRIDE, 1, 4) ||
        fw_cfg_add_file(fw, "etc/e820", ram, count * sizeof(ram[0]))) {
        return no_memory(error, error_size);
    }
    return 0;
}

/* ACPI tables, in memory for a kernel that is started without firmware, and for firmware. */
static int add_tables(struct microvm *vm, char *error, size_t error_size)
{
    struct acpi_tables tables = {0};
    int err = microvm_acpi_build(vm, &tables);
    uint32_t rsdp;

    if (!err) {
        err = acpi_tables_add_files(&tables, vm->machine.fw_cfg);
    }
    if (err) {
        snprintf(error, error_size, "ACPI tables: %s", strerror(-err));
    } else if (!vm->memory.bios_size) {
        acpi_tables_place(&tables, (uint32_t)vm->boot.tables);
        err = loader_add(&vm->machine.blobs, "ACPI tables", vm->boot.tables, tables.blob.data,
                         tables.blob.size, tables.blob.size, error, error_size);
        if (!err) {
            err = x86_boot_place(&vm->boot, "ACPI's root pointer", tables.rsdp, ACPI_RSDP_SIZE,
                                 &rsdp, error, error_size);
            vm->boot.rsdp = rsdp;
        }
    }
    aml_free(&tables.blob);
    return err;
}

static int add_mp_tables(struct microvm *vm, char *error, size_t error_size)
{
    return x86_mp_add(&vm->boot,
                      &(struct x86_mp){.oem_id = vm->oem_id,
                                       .pic = vm->has_pic,
                                       .timer = vm->has_pit,
                                       .ioapics = vm->irq.ioapic2 ? 2 : 1},
                      error, error_size);
}

static int microvm_boot(struct machine *machine, char *error, size_t error_size)
{
    struct microvm *vm = (struct microvm *)machine;
    bool direct = !machine->bios || !strcmp(machine->bios, "none");
    int err = make_append(vm, error, error_size);

    vm->boot.machine = machine;
    vm->boot.memory = &vm->memory;
    vm->boot.tables = X86_FIRMWARE - 0x20000;
    if (!err && direct && !machine->kernel) {
        snprintf(error, error_size, "microvm: -kernel or -bios has to be given");
        err = -EINVAL;
    }
    if (!err && !direct) {
        err = x86_memory_add_bios(&vm->memory, machine, error, error_size);
    }
    if (!err) {
        err = tell_firmware(vm, error, error_size);
    }
    if (!err && vm->has_acpi) {
        err = add_tables(vm, error, error_size);
    }
    if (!err && direct) {
        err = add_mp_tables(vm, error, error_size);
    }
    if (!err && machine->kernel) {
        err = x86_boot_kernel(&vm->boot, error, error_size);
    }
    return err ? err : loader_check(&machine->blobs, &machine->memory, error, error_size);
}

static void microvm_reset(struct machine *machine)
{
    struct microvm *vm = (struct microvm *)machine;

    x86_irq_reset(&vm->irq);
    x86_boot_reset(&vm->boot);
}

static void microvm_powerdown(struct machine *machine)
{
    struct microvm *vm = (struct microvm *)machine;

    if (vm->ged) {
        ged_raise(vm->ged, GED_EVENT_POWER);
    }
}

const struct machine_type x86_microvm_type = {
    .name = "microvm-1.0",
    .alias = "microvm",
    .help = "x86 machine with virtio-mmio, without legacy devices that are not wanted",
    .target = "x86_64",
    .size = sizeof(struct microvm),
    .properties = properties,
    .cpu_model = "qemu64",
    .ram_size = 128 << 20,
    .max_cpus = 288,
    .drive_device = "virtio-blk-device",
    .nic_device = "virtio-net-device",
    .serials = 1,
    .init = microvm_init,
    .boot = microvm_boot,
    .reset = microvm_reset,
    .powerdown = microvm_powerdown,
    .cpu_id = x86_cpus_apic_id,
};
