/* Tables, with and without firmware to put them in place; the generic event device. */
#include "hw/acpi/ged.h"
#include "hw/acpi/tables.h"
#include "hw/core/runstate.h"
#include "hw/nvram/fw-cfg.h"

#include "tests/unit/hw-bench.h"

enum { PLACE = 0xd0000, SELECTOR = 0x1000, REGISTERS = 0x2000 };

static uint64_t get(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, bytes, size);
    return value;
}

static uint8_t sum_of(const uint8_t *bytes, size_t size)
{
    uint8_t sum = 0;

    while (size-- > 0) {
        sum = (uint8_t)(sum + bytes[size]);
    }
    return sum;
}

/* Two tables, of which the second is listed and points to the first. */
static void build(struct acpi_tables *tables)
{
    uint32_t first, second;

    *tables = (struct acpi_tables){.oem_id = "OEM", .oem_table_id = "TABLEID8"};
    first = acpi_table_begin(tables, "DSDT", 2);
    aml_name(&tables->blob, "X"), aml_integer(&tables->blob, 1);
    acpi_table_end(tables, first);
    second = acpi_table_begin(tables, "FACP", 6);
    aml_number(&tables->blob, 0, 4);
    acpi_table_point(tables, second + ACPI_HEADER_SIZE, 4, first);
    acpi_table_end(tables, second);
    acpi_table_list(tables, second);
    tap_eq(acpi_tables_finish(tables), 0, "tables are written");
}

/* What an operating system finds that goes from the root pointer on. `at`: where the blob is. */
static void follow(const uint8_t *rsdp, const uint8_t *blob, uint64_t at, const char *how)
{
    const uint8_t *xsdt = blob + (get(rsdp + 24, 8) - at), *facp, *dsdt;

    tap_ok(!memcmp(rsdp, "RSD PTR ", 8) && !memcmp(rsdp + 9, "OEM   ", 6), "%s: root pointer", how);
    tap_ok(sum_of(rsdp, 20) == 0 && sum_of(rsdp, 36) == 0 && rsdp[15] == 2,
           "%s: its checksums and revision", how);
    tap_ok(!memcmp(xsdt, "XSDT", 4) && get(xsdt + 4, 4) == 44 && sum_of(xsdt, 44) == 0, "%s: XSDT",
           how);
    facp = blob + (get(xsdt + 36, 8) - at);
    tap_ok(!memcmp(facp, "FACP", 4) && facp[8] == 6 && sum_of(facp, get(facp + 4, 4)) == 0 &&
               !memcmp(facp + 10, "OEM   TABLEID8", 14),
           "%s: the table that it lists", how);
    dsdt = blob + (get(facp + 36, 4) - at);
    tap_ok(!memcmp(dsdt, "DSDT", 4) && get(dsdt + 4, 4) == 42 && sum_of(dsdt, 42) == 0,
           "%s: the table that this points to", how);
}

static void check_placed(void)
{
    struct acpi_tables tables;

    build(&tables);
    acpi_tables_place(&tables, PLACE);
    follow(tables.rsdp, tables.blob.data, PLACE, "placed");
    aml_free(&tables.blob);
}

/* ---- as firmware does it --------------------------------------------------------------------- */

static struct fw_cfg_item *find_file(struct fw_cfg *fw, const char *name)
{
    for (uint32_t i = 0; i < fw->files; i++) {
        if (strcmp(fw->file[i].name, name) == 0) {
            return &fw->item[0][FW_CFG_FILE_FIRST + i];
        }
    }
    return NULL;
}

/* Executes "etc/table-loader", with the tables at 0x7ff0000 and the root pointer at 0xf0000. */
static void load(struct fw_cfg *fw, const char *how)
{
    struct fw_cfg_item *loader = find_file(fw, "etc/table-loader");
    unsigned allocated = 0, wrong = 0;

    for (uint32_t at = 0; at < loader->size; at += 128) {
        const uint8_t *c = loader->data + at;
        struct fw_cfg_item *file = find_file(fw, (const char *)c + 4);
        uint64_t value;

        switch (get(c, 4)) {
        case 1:
            allocated++;
            wrong += !file || (get(c + 60, 4) & (get(c + 60, 4) - 1)) || c[64] < 1 || c[64] > 2;
            break;
        case 2:
            wrong += allocated != 2 || strcmp((const char *)c + 60, "etc/acpi/tables") != 0;
            value = get(file->data + get(c + 116, 4), c[120]) + 0x7ff0000;
            memcpy(file->data + get(c + 116, 4), &value, c[120]);
            break;
        case 3:
            file->data[get(c + 60, 4)] =
                (uint8_t)(file->data[get(c + 60, 4)] -
                          sum_of(file->data + get(c + 64, 4), get(c + 68, 4)));
            break;
        default:
            wrong++;
        }
    }
    tap_ok(loader->size && loader->size % 128 == 0 && allocated == 2 && !wrong, "%s: commands",
           how);
}

static void check_loaded(void)
{
    struct fw_cfg *fw = bench_create(&fw_cfg_type, "");
    struct acpi_tables tables;

    fw->memory = &bench_space;
    bench_realize(fw);
    build(&tables);
    tap_eq(acpi_tables_add_files(&tables, fw), 0, "files are added");
    aml_free(&tables.blob);
    load(fw, "loaded");
    follow(find_file(fw, "etc/acpi/rsdp")->data, find_file(fw, "etc/acpi/tables")->data, 0x7ff0000,
           "loaded");
    hw_device_destroy(&fw->device);
}

/* ---- events ---------------------------------------------------------------------------------- */

static bool took(enum hw_request request)
{
    enum hw_cause cause;
    uint32_t detail;

    return hw_runstate_take(request, &cause, &detail) && cause == HW_CAUSE_GUEST;
}

static unsigned edges;

static void count_edge(void *opaque, unsigned n, bool level)
{
    edges += level;
}

static void check_ged(void)
{
    struct hw_irq_input in = {.handler = count_edge};
    struct ged *ged = bench_create(&ged_type, ""), *other = bench_create(&ged_type, "");

    bench_realize(ged);
    bench_realize(other);
    bench_put(SELECTOR, &ged->selector);
    bench_put(REGISTERS, &ged->registers);
    hw_irq_connect(&ged->out, &in);
    tap_eq(bench_read(SELECTOR, 4), 0, "no event");
    ged_raise(ged, GED_EVENT_POWER);
    tap_ok(edges == 1 && !ged->out.level, "an event is an edge");
    tap_eq(bench_read(SELECTOR, 4), GED_EVENT_POWER, "which one");
    tap_eq(bench_read(SELECTOR, 4), 0, "it is told once");
    bench_write(SELECTOR, 4, 0xffffffff);
    tap_eq(bench_read(SELECTOR, 4), 0, "the selector is not written");
    ged_raise(ged, GED_EVENT_POWER);
    tap_eq(bench_move(ged_type.state, ged, other), 0, "state is saved and loaded");
    tap_eq(other->events, GED_EVENT_POWER, "with what has not been told");
    hw_reset_device(&ged->device, false);
    tap_eq(bench_read(SELECTOR, 4), 0, "reset forgets");

    bench_write(REGISTERS + GED_SLEEP_CONTROL, 1, 0x34);
    tap_ok(took(HW_REQUEST_SHUTDOWN), "S5: power off");
    bench_write(REGISTERS + GED_SLEEP_CONTROL, 1, 0x14);
    bench_write(REGISTERS + GED_SLEEP_CONTROL, 1, 0x2c);
    bench_write(REGISTERS + GED_SLEEP_STATUS, 1, 0x34);
    bench_write(REGISTERS + GED_RESET, 1, 0x34);
    tap_ok(!took(HW_REQUEST_SHUTDOWN) && !took(HW_REQUEST_RESET),
           "not without SLP_EN, of another type, elsewhere");
    bench_write(REGISTERS + GED_RESET, 1, 0x42);
    tap_ok(took(HW_REQUEST_RESET), "reset register");
    tap_eq(bench_read(REGISTERS + GED_SLEEP_STATUS, 1), 0, "status reads as 0");
    mem_region_remove(&ged->selector);
    mem_region_remove(&ged->registers);
    hw_device_destroy(&ged->device);
    hw_device_destroy(&other->device);
}

int main(void)
{
    bench_init();
    hw_lock_acquire();
    check_placed();
    check_loaded();
    check_ged();
    return tap_done();
}
