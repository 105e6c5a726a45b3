/*
 * The ACPI tables of `microvm`: hardware-reduced, so that there are no fixed registers; what there
 * is, the DSDT names. Only virtio-mmio slots with a device are named, so devices that are plugged
 * later would not be seen, which is why the machine does not take any.
 */
#include "hw/acpi/ged.h"
#include "hw/machine/x86-acpi.h"
#include "hw/machine/x86-microvm.h"
#include "hw/nvram/fw-cfg.h"
#include "hw/pci/pci.h"
#include "hw/rtc/mc146818.h"
#include "hw/virtio/mmio.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { COM1_PORT = 0x3f8, COM1_IRQ = 4, RTC_IRQ = 8, PRESENT = 0xf, PRESENT_HIDDEN = 0xb };

static void add_fw_cfg(struct aml *aml)
{
    aml_begin_device(aml, "FWCF");
    aml_name(aml, "_HID"), aml_string(aml, "QEMU0002");
    aml_name(aml, "_STA"), aml_integer(aml, PRESENT_HIDDEN);
    aml_name(aml, "_CRS"), aml_begin_resources(aml);
    aml_io(aml, MICROVM_FW_CFG, 1, MICROVM_FW_CFG_SIZE);
    aml_end(aml);
    aml_end(aml);
}

/* A device of a PC, with ports and an ISA interrupt. */
static void add_isa(struct aml *aml, const char *name, const char *id, uint16_t port, uint8_t size,
                    unsigned irq)
{
    aml_begin_device(aml, name);
    aml_name(aml, "_HID"), aml_eisa_id(aml, id);
    aml_name(aml, "_UID"), aml_integer(aml, 1);
    aml_name(aml, "_STA"), aml_integer(aml, PRESENT);
    aml_name(aml, "_CRS"), aml_begin_resources(aml);
    aml_io(aml, port, 1, size);
    aml_irq(aml, irq);
    aml_end(aml);
    aml_end(aml);
}

/* The generic event device and the power button that it speaks for: clause 5.6.9. */
static void add_events(struct aml *aml)
{
    aml_begin_device(aml, "GED");
    aml_name(aml, "_HID"), aml_string(aml, "ACPI0013");
    aml_name(aml, "_UID"), aml_string(aml, "GED");
    aml_name(aml, "_CRS"), aml_begin_resources(aml);
    aml_interrupt(aml, MICROVM_IRQ_GED, true, false);
    aml_end(aml);
    aml_memory_region(aml, "EREG", MICROVM_GED, GED_SELECTOR_SIZE);
    aml_begin_field(aml, "EREG");
    aml_field(aml, "ESEL", 32);
    aml_end(aml);
    aml_begin_method(aml, "_EVT", 1, true);
    aml_op(aml, AML_STORE), aml_path(aml, "ESEL"), aml_op(aml, AML_LOCAL(0));
    aml_begin_if(aml);
    aml_op(aml, AML_AND), aml_op(aml, AML_LOCAL(0)), aml_integer(aml, GED_EVENT_POWER);
    aml_op(aml, AML_ZERO);
    aml_op(aml, AML_NOTIFY), aml_path(aml, "PWRB"), aml_integer(aml, 0x80);
    aml_end(aml);
    aml_end(aml);
    aml_end(aml);

    aml_begin_device(aml, "PWRB");
    aml_name(aml, "_HID"), aml_eisa_id(aml, "PNP0C0C");
    aml_name(aml, "_UID"), aml_integer(aml, 0);
    aml_end(aml);
}

static void add_slots(const struct microvm *vm, struct aml *aml)
{
    for (unsigned n = vm->slots; n-- > 0;) {
        char name[16];

        if (!vm->slot[n]->bus.bus.devices) {
            continue;
        }
        snprintf(name, sizeof(name), "VR%02u", n);
        aml_begin_device(aml, name);
        aml_name(aml, "_HID"), aml_string(aml, "LNRO0005");
        aml_name(aml, "_UID"), aml_integer(aml, n);
        aml_name(aml, "_CCA"), aml_integer(aml, 1);
        aml_name(aml, "_CRS"), aml_begin_resources(aml);
        aml_memory32(aml, (uint32_t)(MICROVM_MMIO + n * MICROVM_MMIO_SIZE), MICROVM_MMIO_SIZE);
        aml_interrupt(aml, vm->mmio_irq + n, false, false);
        aml_end(aml);
        aml_end(aml);
    }
}

/* ---- PCI Express ----------------------------------------------------------------------------- */

/* Interrupt links (PNP0C0F) with one possible setting each. */
static void add_links(const struct microvm *vm, struct aml *aml)
{
    static const char *const settings[] = {"_PRS", "_CRS"};

    for (unsigned n = 0; n < PCI_PINS; n++) {
        char name[8];

        snprintf(name, sizeof(name), "L%03u", n);
        aml_begin_device(aml, name);
        aml_name(aml, "_HID"), aml_eisa_id(aml, "PNP0C0F");
        aml_name(aml, "_UID"), aml_integer(aml, n);
        for (unsigned i = 0; i < 2; i++) {
            aml_name(aml, settings[i]), aml_begin_resources(aml);
            aml_interrupt(aml, vm->pcie_irq + n, false, true);
            aml_end(aml);
        }
        aml_begin_method(aml, "_SRS", 1, false);
        aml_end(aml);
        aml_end(aml);
    }
}

/* Pin p of slot s has link (s + p) % 4, as the host bridge has it wired. */
static void add_routing(struct aml *aml)
{
    aml_name(aml, "_PRT");
    aml_begin_package(aml, 32 * PCI_PINS);
    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; pin < PCI_PINS; pin++) {
            char name[8];

            snprintf(name, sizeof(name), "L%03u", (slot + pin) % PCI_PINS);
            aml_begin_package(aml, 4);
            aml_integer(aml, slot << 16 | 0xffff);
            aml_integer(aml, pin);
            aml_path(aml, name);
            aml_integer(aml, 0);
            aml_end(aml);
        }
    }
    aml_end(aml);
}

/*
 * What the operating system may control (PCI Firmware Specification 3.0, clause 4.5): hot plug by
 * the slot's own means, power events, errors, the capability structure. Not the standard hot-plug
 * controller, of which there is none.
 */
static void add_osc(struct aml *aml)
{
    enum { UNKNOWN_UUID = 4, UNKNOWN_REVISION = 8, MASKED = 16, CONTROLS = 0x1d };

    aml_begin_method(aml, "_OSC", 4, false);
    aml_op(aml, AML_CREATE_DWORD_FIELD), aml_op(aml, AML_ARG(3)), aml_integer(aml, 0);
    aml_path(aml, "CDW1");
    aml_begin_if(aml);
    aml_op(aml, AML_LEQUAL), aml_op(aml, AML_ARG(0));
    aml_uuid(aml, "33db4d5b-1ff7-401c-9657-7441c03dd766");
    aml_op(aml, AML_CREATE_DWORD_FIELD), aml_op(aml, AML_ARG(3)), aml_integer(aml, 8);
    aml_path(aml, "CDW3");
    aml_op(aml, AML_AND), aml_path(aml, "CDW3"), aml_integer(aml, CONTROLS);
    aml_op(aml, AML_LOCAL(0));
    aml_begin_if(aml);
    aml_op(aml, AML_LNOT), aml_op(aml, AML_LEQUAL), aml_op(aml, AML_ARG(1)), aml_integer(aml, 1);
    aml_op(aml, AML_OR), aml_path(aml, "CDW1"), aml_integer(aml, UNKNOWN_REVISION);
    aml_path(aml, "CDW1");
    aml_end(aml);
    aml_begin_if(aml);
    aml_op(aml, AML_LNOT), aml_op(aml, AML_LEQUAL), aml_path(aml, "CDW3");
    aml_op(aml, AML_LOCAL(0));
    aml_op(aml, AML_OR), aml_path(aml, "CDW1"), aml_integer(aml, MASKED), aml_path(aml, "CDW1");
    aml_end(aml);
    aml_op(aml, AML_STORE), aml_op(aml, AML_LOCAL(0)), aml_path(aml, "CDW3");
    aml_end(aml);
    aml_begin_else(aml);
    aml_op(aml, AML_OR), aml_path(aml, "CDW1"), aml_integer(aml, UNKNOWN_UUID);
    aml_path(aml, "CDW1");
    aml_end(aml);
    aml_op(aml, AML_RETURN), aml_op(aml, AML_ARG(3));
    aml_end(aml);
}

static void add_pcie(const struct microvm *vm, struct aml *aml)
{
    add_links(vm, aml);
    aml_begin_device(aml, "PCI0");
    aml_name(aml, "_HID"), aml_eisa_id(aml, "PNP0A08");
    aml_name(aml, "_CID"), aml_eisa_id(aml, "PNP0A03");
    aml_name(aml, "_SEG"), aml_integer(aml, 0);
    aml_name(aml, "_BBN"), aml_integer(aml, 0);
    aml_name(aml, "_UID"), aml_integer(aml, 0);
    aml_name(aml, "_CCA"), aml_integer(aml, 1);
    add_routing(aml);
    aml_name(aml, "_CBA"), aml_integer(aml, MICROVM_ECAM);
    aml_name(aml, "_CRS"), aml_begin_resources(aml);
    aml_bus_numbers(aml, 0, 0xff);
    aml_window32(aml, MICROVM_PCI, MICROVM_PCI_SIZE);
    aml_window64(aml, MICROVM_PCI64, MICROVM_PCI64_SIZE);
    aml_end(aml);
    add_osc(aml);
    aml_end(aml);

    /* The configuration space belongs to nobody else: MCFG alone does not say so. */
    aml_begin_device(aml, "RES0");
    aml_name(aml, "_HID"), aml_eisa_id(aml, "PNP0C02");
    aml_name(aml, "_UID"), aml_integer(aml, 0);
    aml_name(aml, "_CRS"), aml_begin_resources(aml);
    aml_memory32(aml, MICROVM_ECAM, MICROVM_ECAM_SIZE);
    aml_end(aml);
    aml_end(aml);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static uint32_t add_dsdt(const struct microvm *vm, struct acpi_tables *tables)
{
    uint32_t start = acpi_table_begin(tables, "DSDT", 2);
    struct aml *aml = &tables->blob;

    aml_begin_scope(aml, "\\_SB");
    add_fw_cfg(aml);
    if (vm->has_serial) {
        add_isa(aml, "COM1", "PNP0501", COM1_PORT, 8, COM1_IRQ);
    }
    if (vm->has_rtc) {
        add_isa(aml, "RTC", "PNP0B00", MC146818_PORT, 2, RTC_IRQ);
    }
    add_events(aml);
    add_slots(vm, aml);
    if (vm->has_pcie) {
        add_pcie(vm, aml);
    }
    aml_end(aml);
    aml_name(aml, "\\_S5");
    aml_begin_package(aml, 4);
    aml_integer(aml, GED_SLEEP_TYPE_S5);
    for (unsigned i = 1; i < 4; i++) {
        aml_integer(aml, 0);
    }
    aml_end(aml);
    acpi_table_end(tables, start);
    return start;
}

int microvm_acpi_build(const struct microvm *vm, struct acpi_tables *tables)
{
    tables->oem_id = vm->oem_id;
    tables->oem_table_id = vm->oem_table_id;
    x86_acpi_fadt_reduced(tables, &(struct x86_acpi_fadt){.dsdt = add_dsdt(vm, tables),
                                                          .registers = MICROVM_GED_REGS,
                                                          .rtc = vm->has_rtc});
    x86_acpi_madt(tables, &(struct x86_acpi_madt){.machine = &vm->machine,
                                                  .pic = vm->has_pic,
                                                  .timer = vm->has_pit,
                                                  .ioapics = vm->irq.ioapic2 ? 2 : 1});
    if (vm->has_pcie) {
        x86_acpi_mcfg(tables, MICROVM_ECAM, 0xff);
    }
    return acpi_tables_finish(tables);
}
