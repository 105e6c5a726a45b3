/* ACPI tables of x86 machines. Clauses are those of ACPI 6.5. */
#include "hw/machine/x86-acpi.h"

#include "hw/acpi/ged.h"
#include "hw/machine/x86-cpus.h"
#include "hw/machine/x86-irq.h"

/* ---- MADT, clause 5.2.12 --------------------------------------------------------------------- */

enum {
    MADT_LAPIC = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_LAPIC_NMI = 4,
    MADT_X2APIC = 9,
    MADT_X2APIC_NMI = 10,
    XAPIC_IDS = 255, /* ids from there on need x2APIC's structures */
    ALL_PROCESSORS = 0xff,
    NMI_LINT = 1,
    PCAT_COMPAT = 1,
    ENABLED = 1,
};

static void add_processor(struct aml *blob, unsigned index, uint32_t id, bool enabled)
{
    if (id < XAPIC_IDS) {
        aml_number(blob, MADT_LAPIC, 1);
        aml_number(blob, 8, 1);
        aml_number(blob, index, 1);
        aml_number(blob, id, 1);
        aml_number(blob, enabled ? ENABLED : 0, 4);
    } else {
        aml_number(blob, MADT_X2APIC, 1);
        aml_number(blob, 16, 1);
        aml_number(blob, 0, 2);
        aml_number(blob, id, 4);
        aml_number(blob, enabled ? ENABLED : 0, 4);
        aml_number(blob, index, 4);
    }
}

static void add_ioapic(struct aml *blob, unsigned n)
{
    aml_number(blob, MADT_IOAPIC, 1);
    aml_number(blob, 12, 1);
    aml_number(blob, n, 1);
    aml_number(blob, 0, 1);
    aml_number(blob, n ? X86_IOAPIC2_BASE : IOAPIC_BASE, 4);
    aml_number(blob, n * IOAPIC_PINS, 4);
}

static void add_timer_override(struct aml *blob)
{
    aml_number(blob, MADT_OVERRIDE, 1);
    aml_number(blob, 10, 1);
    aml_number(blob, 0, 1); /* ISA */
    aml_number(blob, 0, 1);
    aml_number(blob, 2, 4);
    aml_number(blob, 0, 2); /* an edge, active high */
}

static void add_nmi(struct aml *blob, bool x2apic)
{
    aml_number(blob, MADT_LAPIC_NMI, 1);
    aml_number(blob, 6, 1);
    aml_number(blob, ALL_PROCESSORS, 1);
    aml_number(blob, 0, 2);
    aml_number(blob, NMI_LINT, 1);
    if (x2apic) {
        aml_number(blob, MADT_X2APIC_NMI, 1);
        aml_number(blob, 12, 1);
        aml_number(blob, 0, 2);
        aml_number(blob, UINT32_MAX, 4);
        aml_number(blob, NMI_LINT, 1);
        aml_number(blob, 0, 3);
    }
}

void x86_acpi_madt(struct acpi_tables *tables, const struct x86_acpi_madt *what)
{
    const struct machine *machine = what->machine;
    uint32_t start = acpi_table_begin(tables, "APIC", 3);
    struct aml *blob = &tables->blob;
    bool x2apic = false;

    aml_number(blob, APIC_BASE, 4);
    aml_number(blob, what->pic ? PCAT_COMPAT : 0, 4);
    for (unsigned n = 0; n < machine->smp.max_cpus; n++) {
        uint32_t id = x86_cpus_apic_id(machine, n);

        add_processor(blob, n, id, n < machine->smp.cpus);
        x2apic |= id >= XAPIC_IDS;
    }
    for (unsigned n = 0; n < what->ioapics; n++) {
        add_ioapic(blob, n);
    }
    if (what->timer) {
        add_timer_override(blob);
    }
    add_nmi(blob, x2apic);
    acpi_table_end(tables, start);
    acpi_table_list(tables, start);
}

/* ---- MCFG: PCI Firmware Specification 3.0, clause 4.1.2 ---------------------------------------
 */

void x86_acpi_mcfg(struct acpi_tables *tables, uint64_t ecam, uint8_t last_bus)
{
    uint32_t start = acpi_table_begin(tables, "MCFG", 1);
    struct aml *blob = &tables->blob;

    aml_number(blob, 0, 8);
    aml_number(blob, ecam, 8);
    aml_number(blob, 0, 2); /* segment */
    aml_number(blob, 0, 1);
    aml_number(blob, last_bus, 1);
    aml_number(blob, 0, 4);
    acpi_table_end(tables, start);
    acpi_table_list(tables, start);
}

/* ---- FADT, clause 5.2.9 ---------------------------------------------------------------------- */

enum {
    FADT_SIZE = 276,
    /* offsets */
    FADT_DSDT = 40,
    FADT_BOOT_FLAGS = 109,
    FADT_FLAGS = 112,
    FADT_RESET = 116, /* the register, and then the value */
    FADT_RESET_VALUE = 128,
    FADT_MINOR = 131,
    FADT_X_DSDT = 140,
    FADT_SLEEP_CONTROL = 244,
    FADT_SLEEP_STATUS = 256,
    /* boot flags */
    BOOT_NO_VGA = 1 << 2,
    BOOT_NO_CMOS_RTC = 1 << 5,
    /* flags */
    FLAG_WBINVD = 1 << 0,
    FLAG_C1 = 1 << 2,
    FLAG_NO_POWER_BUTTON = 1 << 4, /* of fixed hardware; a device may be one */
    FLAG_NO_SLEEP_BUTTON = 1 << 5,
    FLAG_RESET = 1 << 10,
    FLAG_HARDWARE_REDUCED = 1 << 20,
};

static void patch_register(struct acpi_tables *tables, uint32_t offset, uint64_t address)
{
    aml_patch(&tables->blob, offset, 0x01000800, 4); /* memory, 8 bits wide, accessed as bytes */
    aml_patch(&tables->blob, offset + 4, address, 8);
}

void x86_acpi_fadt_reduced(struct acpi_tables *tables, const struct x86_acpi_fadt *what)
{
    static const uint8_t zeros[FADT_SIZE - ACPI_HEADER_SIZE];
    uint32_t start = acpi_table_begin(tables, "FACP", 6);
    struct aml *blob = &tables->blob;

    aml_bytes(blob, zeros, sizeof(zeros));
    acpi_table_point(tables, start + FADT_DSDT, 4, what->dsdt);
    acpi_table_point(tables, start + FADT_X_DSDT, 8, what->dsdt);
    aml_patch(blob, start + FADT_BOOT_FLAGS, BOOT_NO_VGA | (what->rtc ? 0 : BOOT_NO_CMOS_RTC), 2);
    aml_patch(blob, start + FADT_FLAGS,
              FLAG_WBINVD | FLAG_C1 | FLAG_NO_POWER_BUTTON | FLAG_NO_SLEEP_BUTTON | FLAG_RESET |
                  FLAG_HARDWARE_REDUCED,
              4);
    patch_register(tables, start + FADT_RESET, what->registers + GED_RESET);
    aml_patch(blob, start + FADT_RESET_VALUE, GED_RESET_VALUE, 1);
    aml_patch(blob, start + FADT_MINOR, 5, 1);
    patch_register(tables, start + FADT_SLEEP_CONTROL, what->registers + GED_SLEEP_CONTROL);
    patch_register(tables, start + FADT_SLEEP_STATUS, what->registers + GED_SLEEP_STATUS);
    acpi_table_end(tables, start);
    acpi_table_list(tables, start);
}
