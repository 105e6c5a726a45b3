/*
 * The ACPI tables of machine microvm, of each of its kinds: what the MADT has for many processors,
 * and what the disassembler of the ACPI reference implementation reads in all of them.
 */
#include "hw/acpi/ged.h"
#include "hw/acpi/tables.h"
#include "hw/machine/x86-microvm.h"
#include "hw/virtio/mmio.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/tap.h"

enum { SLOTS = MICROVM_SLOTS_MAX };

static struct hw_device some_device;

/* A machine as its construction leaves it: `used` of the slots have a device. */
static void make(struct microvm *vm, bool two, unsigned cpus, unsigned max_cpus, unsigned used)
{
    static struct virtio_mmio slots[SLOTS];

    *vm = (struct microvm){
        .machine = {.smp = {cpus, max_cpus, 1, 1, 1, max_cpus, 1}},
        .oem_id = (char *)(uintptr_t) "BOCHS ",
        .oem_table_id = (char *)(uintptr_t) "BXPC    ",
        .has_pic = true,
        .has_pit = true,
        .has_rtc = true,
        .has_serial = true,
        .has_acpi = true,
        .slots = two ? SLOTS : 8,
        .mmio_irq = two ? 24 : 16,
        .pcie_irq = two ? 16 : 12,
        .irq = {.ioapic2 = two},
    };
    for (unsigned n = 0; n < vm->slots; n++) {
        vm->slot[n] = &slots[n];
        slots[n].bus.bus.devices = n >= vm->slots - used ? &some_device : NULL;
    }
}

static uint32_t get32(const uint8_t *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, sizeof(value));
    return value;
}

/* The n-th table of the blob, or NULL. */
static const uint8_t *table_at(const struct acpi_tables *tables, unsigned n)
{
    for (size_t at = 0; at < tables->blob.size; at += get32(tables->blob.data + at + 4)) {
        if (n-- == 0) {
            return tables->blob.data + at;
        }
    }
    return NULL;
}

static const uint8_t *find(const struct acpi_tables *tables, const char *signature)
{
    const uint8_t *table;

    for (unsigned n = 0; (table = table_at(tables, n)); n++) {
        if (memcmp(table, signature, 4) == 0) {
            return table;
        }
    }
    return NULL;
}

/* ---- MADT ------------------------------------------------------------------------------------ */

struct madt {
    unsigned of_type[16], enabled;
    uint32_t last_xapic, first_x2apic, last_x2apic;
};

static void read_madt(const uint8_t *table, struct madt *madt)
{
    *madt = (struct madt){.first_x2apic = UINT32_MAX};
    for (uint32_t at = 44; at < get32(table + 4); at += table[at + 1]) {
        const uint8_t *e = table + at;

        madt->of_type[e[0] & 15]++;
        if (e[0] == 0) {
            madt->last_xapic = e[3];
            madt->enabled += e[4] & 1;
        } else if (e[0] == 9) {
            madt->last_x2apic = get32(e + 4);
            madt->enabled += e[8] & 1;
            if (madt->first_x2apic == UINT32_MAX) {
                madt->first_x2apic = madt->last_x2apic;
            }
        }
    }
}

static void check_madt(void)
{
    struct acpi_tables tables = {0};
    struct microvm vm;
    struct madt madt;

    make(&vm, true, 256, 288, 0);
    tap_eq(microvm_acpi_build(&vm, &tables), 0, "tables of 288 processors");
    read_madt(find(&tables, "APIC"), &madt);
    tap_ok(madt.of_type[0] == 255 && madt.last_xapic == 254, "255 of them by APIC ids");
    tap_ok(madt.of_type[9] == 33 && madt.first_x2apic == 255 && madt.last_x2apic == 287,
           "33 by x2APIC ids");
    tap_eq(madt.enabled, 256, "those that are there are enabled");
    tap_ok(madt.of_type[1] == 2 && madt.of_type[2] == 1 && madt.of_type[4] == 1 &&
               madt.of_type[10] == 1,
           "I/O APICs, the timer's pin, NMIs");
    aml_free(&tables.blob);

    /* Three cores take the numbers of four. */
    make(&vm, false, 6, 6, 0);
    vm.machine.smp = (struct machine_smp){
        .cpus = 6, .max_cpus = 6, .sockets = 2, .dies = 1, .clusters = 1, .cores = 3, .threads = 1};
    vm.has_pit = vm.has_pic = false;
    tables = (struct acpi_tables){0};
    tap_eq(microvm_acpi_build(&vm, &tables), 0, "tables of 2 times 3 processors");
    read_madt(find(&tables, "APIC"), &madt);
    tap_ok(madt.of_type[0] == 6 && madt.last_xapic == 6, "ids with a gap");
    tap_ok(madt.of_type[1] == 1 && madt.of_type[2] == 0 && find(&tables, "APIC")[40] == 0,
           "one I/O APIC, no timer, no 8259s");
    aml_free(&tables.blob);
}

/* ---- the disassembler ------------------------------------------------------------------------ */

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 1 << 20);

    if (file) {
        (void)!fread(text, 1, (1 << 20) - 1, file);
        fclose(file);
    }
    return text;
}

/* iasl -d of a table; malloc'ed. With `again`, its output is compiled too. */
static char *disassemble(const uint8_t *table, const char *kind, bool again)
{
    char name[128], command[512], *text;
    FILE *file;
    int status;

    snprintf(name, sizeof(name), "%s-%.4s", kind, (const char *)table);
    snprintf(command, sizeof(command), "%s.aml", name);
    file = fopen(command, "w");
    tap_ok(file && fwrite(table, 1, get32(table + 4), file) == get32(table + 4) && !fclose(file),
           "%s is written", command);
    snprintf(command, sizeof(command), "iasl -d %s.aml >%s.log 2>&1", name, name);
    status = system(command);
    snprintf(command, sizeof(command), "%s.log", name);
    text = read_file(command);
    if (!tap_ok(status == 0 && !strstr(text, "rror") && !strstr(text, "arning"),
                "%s: iasl disassembles it without complaint", name)) {
        tap_note("%s", text);
    }
    free(text);
    if (again) {
        snprintf(command, sizeof(command), "iasl -p %s-again %s.dsl >%s.log 2>&1", name, name,
                 name);
        tap_ok(system(command) == 0, "%s: and compiles that again", name);
    }
    snprintf(command, sizeof(command), "%s.dsl", name);
    return read_file(command);
}

static void has(const char *text, const char *what)
{
    tap_ok(strstr(text, what) != NULL, "it has: %s", what);
}

static void check_text(const char *kind, struct microvm *vm, const char *const *wanted,
                       const char *const *unwanted)
{
    struct acpi_tables tables = {0};
    const uint8_t *table;

    tap_eq(microvm_acpi_build(vm, &tables), 0, kind);
    acpi_tables_place(&tables, 0xd0000);
    for (unsigned n = 0; (table = table_at(&tables, n)); n++) {
        bool dsdt = memcmp(table, "DSDT", 4) == 0;
        char *text = disassemble(table, kind, dsdt);

        tap_ok(*text && !strstr(text, "Invalid") && !strstr(text, "Incorrect") &&
                   !strstr(text, "terminates in the middle"),
               "%s: nothing is wrong in %.4s", kind, (const char *)table);
        for (unsigned i = 0; dsdt && wanted[i]; i++) {
            has(text, wanted[i]);
        }
        for (unsigned i = 0; dsdt && unwanted[i]; i++) {
            tap_ok(!strstr(text, unwanted[i]), "it has not: %s", unwanted[i]);
        }
        free(text);
    }
    aml_free(&tables.blob);
}

static void check_all_text(void)
{
    static const char *const full[] = {"\"QEMU0002\"",
                                       "\"PNP0501\"",
                                       "\"PNP0B00\"",
                                       "\"ACPI0013\"",
                                       "\"PNP0C0C\"",
                                       "Device (VR23)",
                                       "Device (VR22)",
                                       "0x0000002F",
                                       "0xFEB02E00",
                                       "\"PNP0A08\"",
                                       "Name (_PRT, Package (0x80)",
                                       "0x0000000000000000, // Granularity",
                                       "OperationRegion (EREG, SystemMemory, 0xFEA00000, 0x04)",
                                       "Notify (PWRB, 0x80)",
                                       "33db4d5b-1ff7-401c-9657-7441c03dd766",
                                       "Name (\\_S5, Package (0x04)",
                                       NULL};
    static const char *const bare[] = {"\"QEMU0002\"", "Device (VR07)", "0x00000017", NULL};
    static const char *const not_full[] = {"Device (VR21)", NULL};
    static const char *const not_bare[] = {"PNP0501", "PNP0B00", "PNP0A08", "VR06", NULL};
    struct microvm vm;

    make(&vm, true, 2, 4, 2);
    vm.has_pcie = true;
    check_text("full", &vm, full, not_full);
    make(&vm, false, 1, 1, 1);
    vm.has_rtc = vm.has_serial = false;
    check_text("bare", &vm, bare, not_bare);
}

int main(void)
{
    const char *folder = getenv("TMPDIR");

    check_madt();
    if (system("command -v iasl >/dev/null") != 0) {
        puts("ok - tables are disassembled # SKIP no iasl (package acpica-tools)");
        return tap_done();
    }
    if (folder && chdir(folder)) {
        tap_ok(false, "TMPDIR");
    }
    check_all_text();
    return tap_done();
}
