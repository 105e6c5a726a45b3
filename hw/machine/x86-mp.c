/*
 * MultiProcessor Specification 1.4. The floating pointer lies where the extended BIOS data area
 * begins, which is the first place of the three that clause 4 names; the configuration table is
 * with what else is told to kernels, since it may be longer than that area.
 *
 * Only processors whose APIC id has 8 bits can be in it. Interrupts are those of the ISA bus: what
 * is on the pins from 16 up is for ACPI to say.
 */
#include "hw/machine/x86-mp.h"

#include "hw/acpi/aml.h"
#include "hw/isa/isa.h"
#include "hw/machine/x86-cpus.h"
#include "hw/machine/x86-irq.h"
#include "target/x86/cpu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    REVISION = 4, /* 1.4 */
    POINTER_SIZE = 16,
    POINTER_SUM = 10,
    /* offsets in the table */
    TABLE_SIZE = 4,
    TABLE_SUM = 7,
    TABLE_COUNT = 34,
    HEADER_SIZE = 44,
    /* entries */
    PROCESSOR = 0,
    BUS = 1,
    IOAPIC = 2,
    INTERRUPT = 3,
    LOCAL_INTERRUPT = 4,
    /* kinds of interrupts */
    VECTORED = 0,
    NMI = 1,
    EXTINT = 3,
    ENABLED = 1,
    BOOT_PROCESSOR = 2,
    ISA_BUS = 0,
    ALL = 0xff,
    APIC_VERSION = 0x14,
    IOAPIC_VERSION = 0x11,
};

static void add_text(struct aml *blob, const char *text, unsigned size)
{
    char filled[16];

    snprintf(filled, sizeof(filled), "%-*.*s", (int)size, (int)size, text);
    aml_bytes(blob, filled, size);
}

static void patch_sum(uint8_t *bytes, size_t size, size_t at)
{
    uint8_t sum = 0;

    bytes[at] = 0;
    for (size_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + bytes[i]);
    }
    bytes[at] = (uint8_t)-sum;
}

static void add_header(struct aml *blob, const struct x86_mp *what)
{
    add_text(blob, "PCMP", 4);
    aml_number(blob, 0, 2);
    aml_number(blob, REVISION, 1);
    aml_number(blob, 0, 1);
    add_text(blob, what->oem_id, 8);
    add_text(blob, "MICROVM", 12);
    aml_number(blob, 0, 4); /* no table of the OEM's */
    aml_number(blob, 0, 2);
    aml_number(blob, 0, 2);
    aml_number(blob, APIC_BASE, 4);
    aml_number(blob, 0, 4); /* no extended table */
}

static unsigned add_processors(struct aml *blob, const struct machine *machine)
{
    const struct x86_model *model = &x86_cpu(machine->cpus[0])->model;
    struct x86_leaf leaf = x86_model_cpuid(model, 1, 0);
    unsigned count = 0;

    for (unsigned n = 0; n < machine->smp.cpus; n++) {
        uint32_t id = x86_cpus_apic_id(machine, n);

        if (id < ALL) {
            aml_number(blob, PROCESSOR, 1);
            aml_number(blob, id, 1);
            aml_number(blob, APIC_VERSION, 1);
            aml_number(blob, n ? ENABLED : ENABLED | BOOT_PROCESSOR, 1);
            aml_number(blob, leaf.eax, 4);
            aml_number(blob, leaf.edx, 4);
            aml_number(blob, 0, 8);
            count++;
        }
    }
    return count;
}

static void add_ioapic(struct aml *blob, unsigned n)
{
    aml_number(blob, IOAPIC, 1);
    aml_number(blob, n, 1);
    aml_number(blob, IOAPIC_VERSION, 1);
    aml_number(blob, ENABLED, 1);
    aml_number(blob, n ? X86_IOAPIC2_BASE : IOAPIC_BASE, 4);
}

/* Polarity and trigger are as usual on the bus. */
static void add_interrupt(struct aml *blob, unsigned entry, unsigned kind, unsigned irq,
                          unsigned to, unsigned pin)
{
    aml_number(blob, entry, 1);
    aml_number(blob, kind, 1);
    aml_number(blob, 0, 2);
    aml_number(blob, ISA_BUS, 1);
    aml_number(blob, irq, 1);
    aml_number(blob, to, 1);
    aml_number(blob, pin, 1);
}

static unsigned add_interrupts(struct aml *blob, const struct x86_mp *what)
{
    unsigned count = 0;

    for (unsigned irq = 0; irq < ISA_IRQS; irq++) {
        /* 2 is the cascade of the 8259s, and its pin is the timer's. */
        if (irq != 2 && (irq || what->timer)) {
            add_interrupt(blob, INTERRUPT, VECTORED, irq, 0, irq ? irq : 2);
            count++;
        }
    }
    if (what->pic) {
        add_interrupt(blob, LOCAL_INTERRUPT, EXTINT, 0, ALL, 0);
        count++;
    }
    add_interrupt(blob, LOCAL_INTERRUPT, NMI, 0, ALL, 1);
    return count + 1;
}

static void build(struct aml *blob, const struct machine *machine, const struct x86_mp *what)
{
    unsigned count;

    add_header(blob, what);
    count = add_processors(blob, machine);
    aml_number(blob, BUS, 1);
    aml_number(blob, ISA_BUS, 1);
    add_text(blob, "ISA", 6);
    for (unsigned n = 0; n < what->ioapics; n++) {
        add_ioapic(blob, n);
    }
    count += 1 + what->ioapics + add_interrupts(blob, what);
    if (!aml_failed(blob)) {
        aml_patch(blob, TABLE_SIZE, blob->size, 2);
        aml_patch(blob, TABLE_COUNT, count, 2);
        patch_sum(blob->data, blob->size, TABLE_SUM);
    }
}

static int add_pointer(struct x86_boot *boot, uint32_t table, char *error, size_t error_size)
{
    uint8_t pointer[POINTER_SIZE] = {'_', 'M', 'P', '_', [8] = 1, [9] = REVISION};

    memcpy(pointer + 4, &table, 4);
    patch_sum(pointer, sizeof(pointer), POINTER_SUM);
    return loader_add(&boot->machine->blobs, "MP tables' pointer", X86_EBDA, pointer,
                      sizeof(pointer), sizeof(pointer), error, error_size);
}

int x86_mp_add(struct x86_boot *boot, const struct x86_mp *what, char *error, size_t error_size)
{
    struct aml blob = {0};
    uint32_t address = 0;
    int err = -ENOMEM;

    build(&blob, boot->machine, what);
    if (aml_failed(&blob)) {
        snprintf(error, error_size, "MP tables: out of memory");
    } else {
        err = x86_boot_place(boot, "MP tables", blob.data, blob.size, &address, error, error_size);
    }
    aml_free(&blob);
    return err ? err : add_pointer(boot, address, error, error_size);
}
