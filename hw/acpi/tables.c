/*
 * ACPI tables. The files for firmware: "etc/acpi/rsdp" goes below 1 MiB, "etc/acpi/tables" wherever
 * there is room, and "etc/table-loader" is a list of commands of 128 bytes each: first where to
 * place the files, then pointers to be changed from offsets into addresses, then checksums to be
 * computed, in this order.
 */
#include "hw/acpi/tables.h"

#include "hw/nvram/fw-cfg.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TABLES_FILE "etc/acpi/tables"
#define RSDP_FILE   "etc/acpi/rsdp"
#define LOADER_FILE "etc/table-loader"

enum { TABLE_LENGTH = 4, TABLE_CHECKSUM = 9 };

/* Offsets in the root pointer (clause 5.2.5.3). */
enum {
    RSDP_CHECKSUM = 8,
    RSDP_OEM_ID = 9,
    RSDP_REVISION = 15,
    RSDP_OLD_SIZE = 20, /* what the first checksum is of */
    RSDP_LENGTH = 20,
    RSDP_XSDT = 24,
    RSDP_EXTENDED_CHECKSUM = 32,
};

static void put(uint8_t *bytes, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
}

/* Text of a fixed size, without a final NUL. */
static void fill(uint8_t *to, const char *text, size_t size)
{
    size_t length = strnlen(text, size);

    memset(to, ' ', size);
    memcpy(to, text, length);
}

static void add_command(struct acpi_tables *tables, struct acpi_command command)
{
    assert(tables->commands < ACPI_COMMANDS_MAX);
    tables->command[tables->commands++] = command;
}

/* ---- tables ---------------------------------------------------------------------------------- */

uint32_t acpi_table_begin(struct acpi_tables *tables, const char *signature, uint8_t revision)
{
    static const char creator[] = {'T', 'N', 'M', 'U'};
    uint32_t start = (uint32_t)tables->blob.size;
    uint8_t header[ACPI_HEADER_SIZE] = {0};

    assert(strlen(signature) == 4);
    memcpy(header, signature, 4);
    header[8] = revision;
    fill(header + 10, tables->oem_id, 6);
    fill(header + 16, tables->oem_table_id, 8);
    put(header + 24, 1, 4); /* OEM revision */
    memcpy(header + 28, creator, sizeof(creator));
    put(header + 32, 1, 4); /* of what has made it */
    aml_bytes(&tables->blob, header, sizeof(header));
    return start;
}

void acpi_table_end(struct acpi_tables *tables, uint32_t start)
{
    uint32_t length = (uint32_t)tables->blob.size - start;

    aml_patch(&tables->blob, start + TABLE_LENGTH, length, 4);
    add_command(tables, (struct acpi_command){.kind = ACPI_CHECKSUM,
                                              .offset = start + TABLE_CHECKSUM,
                                              .start = start,
                                              .length = length});
}

void acpi_table_list(struct acpi_tables *tables, uint32_t start)
{
    assert(tables->roots < ACPI_TABLES_MAX);
    tables->root[tables->roots++] = start;
}

void acpi_table_point(struct acpi_tables *tables, uint32_t offset, unsigned size, uint32_t target)
{
    aml_patch(&tables->blob, offset, target, size);
    add_command(tables,
                (struct acpi_command){.kind = ACPI_POINTER, .offset = offset, .size = size});
}

int acpi_tables_finish(struct acpi_tables *tables)
{
    static const char signature[] = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
    uint32_t xsdt = acpi_table_begin(tables, "XSDT", 1);
    uint8_t *rsdp = tables->rsdp;

    for (unsigned i = 0; i < tables->roots; i++) {
        aml_number(&tables->blob, 0, 8);
        acpi_table_point(tables, xsdt + ACPI_HEADER_SIZE + 8 * i, 8, tables->root[i]);
    }
    acpi_table_end(tables, xsdt);
    memset(rsdp, 0, ACPI_RSDP_SIZE);
    memcpy(rsdp, signature, sizeof(signature));
    fill(rsdp + RSDP_OEM_ID, tables->oem_id, 6);
    rsdp[RSDP_REVISION] = 2;
    put(rsdp + RSDP_LENGTH, ACPI_RSDP_SIZE, 4);
    put(rsdp + RSDP_XSDT, xsdt, 8);
    add_command(tables, (struct acpi_command){
                            .kind = ACPI_POINTER, .rsdp = true, .offset = RSDP_XSDT, .size = 8});
    add_command(tables, (struct acpi_command){.kind = ACPI_CHECKSUM,
                                              .rsdp = true,
                                              .offset = RSDP_CHECKSUM,
                                              .length = RSDP_OLD_SIZE});
    add_command(tables, (struct acpi_command){.kind = ACPI_CHECKSUM,
                                              .rsdp = true,
                                              .offset = RSDP_EXTENDED_CHECKSUM,
                                              .length = ACPI_RSDP_SIZE});
    return aml_failed(&tables->blob) ? -ENOMEM : 0;
}

/* ---- the script ------------------------------------------------------------------------------ */

static void relocate(uint8_t *bytes, unsigned size, uint32_t address)
{
    uint64_t value = 0;

    memcpy(&value, bytes, size);
    put(bytes, value + address, size);
}

void acpi_tables_place(struct acpi_tables *tables, uint32_t address)
{
    for (unsigned pass = ACPI_POINTER; pass <= ACPI_CHECKSUM; pass++) {
        for (unsigned i = 0; i < tables->commands; i++) {
            const struct acpi_command *c = &tables->command[i];
            uint8_t *base = c->rsdp ? tables->rsdp : tables->blob.data, sum = 0;

            if (c->kind != pass) {
                continue;
            }
            if (c->kind == ACPI_POINTER) {
                relocate(base + c->offset, c->size, address);
                continue;
            }
            for (uint32_t n = 0; n < c->length; n++) {
                sum = (uint8_t)(sum + base[c->start + n]);
            }
            base[c->offset] = (uint8_t)(base[c->offset] - sum);
        }
    }
}

enum { LOADER_ALLOCATE = 1, LOADER_ADD_POINTER = 2, LOADER_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_BELOW_1M = 2 };
enum { LOADER_NAME_SIZE = 56, LOADER_COMMAND_SIZE = 128 };

/* Of a command, behind its number. */
union loader_arguments {
    struct {
        char file[LOADER_NAME_SIZE];
        uint32_t alignment;
        uint8_t zone;
    } __attribute__((packed)) allocate;
    struct {
        char file[LOADER_NAME_SIZE], target[LOADER_NAME_SIZE];
        uint32_t offset;
        uint8_t size;
    } __attribute__((packed)) pointer;
    struct {
        char file[LOADER_NAME_SIZE];
        uint32_t offset, start, length;
    } __attribute__((packed)) checksum;
};

static void put_loader(struct aml *loader, uint32_t number, const union loader_arguments *arguments)
{
    uint8_t command[LOADER_COMMAND_SIZE] = {0};

    put(command, number, 4);
    memcpy(command + 4, arguments, sizeof(*arguments));
    aml_bytes(loader, command, sizeof(command));
}

static void put_allocate(struct aml *loader, const char *file, uint32_t alignment, uint8_t zone)
{
    union loader_arguments arguments = {.allocate = {.alignment = alignment, .zone = zone}};

    strcpy(arguments.allocate.file, file);
    put_loader(loader, LOADER_ALLOCATE, &arguments);
}

static void put_command(struct aml *loader, const struct acpi_command *c)
{
    const char *file = c->rsdp ? RSDP_FILE : TABLES_FILE;
    union loader_arguments arguments = {0};

    if (c->kind == ACPI_POINTER) {
        strcpy(arguments.pointer.file, file);
        strcpy(arguments.pointer.target, TABLES_FILE);
        arguments.pointer.offset = c->offset;
        arguments.pointer.size = (uint8_t)c->size;
        put_loader(loader, LOADER_ADD_POINTER, &arguments);
    } else {
        strcpy(arguments.checksum.file, file);
        arguments.checksum.offset = c->offset;
        arguments.checksum.start = c->start;
        arguments.checksum.length = c->length;
        put_loader(loader, LOADER_ADD_CHECKSUM, &arguments);
    }
}

int acpi_tables_add_files(const struct acpi_tables *tables, struct fw_cfg *fw)
{
    struct aml loader = {0};
    int err;

    put_allocate(&loader, RSDP_FILE, 16, ZONE_BELOW_1M);
    put_allocate(&loader, TABLES_FILE, 64, ZONE_HIGH);
    for (unsigned pass = ACPI_POINTER; pass <= ACPI_CHECKSUM; pass++) {
        for (unsigned i = 0; i < tables->commands; i++) {
            if (tables->command[i].kind == pass) {
                put_command(&loader, &tables->command[i]);
            }
        }
    }
    err = aml_failed(&loader) ? -ENOMEM : 0;
    if (!err) {
        err = fw_cfg_add_file(fw, TABLES_FILE, tables->blob.data, tables->blob.size);
    }
    if (!err) {
        err = fw_cfg_add_file(fw, RSDP_FILE, tables->rsdp, ACPI_RSDP_SIZE);
    }
    if (!err) {
        err = fw_cfg_add_file(fw, LOADER_FILE, loader.data, loader.size);
    }
    aml_free(&loader);
    return err;
}
