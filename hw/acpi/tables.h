/*
 * ACPI tables and how they are put together (ACPI 6.5, chapter 5). Tables are one blob in which
 * pointers are offsets; a script says where pointers and checksums are. Firmware finds both in
 * fw_cfg, places the blob, and does what the script says ("etc/table-loader", whose form is
 * QEMU's); without firmware, acpi_tables_place() does.
 *
 *     start = acpi_table_begin(&tables, "APIC", 5);
 *     aml_number(&tables.blob, 0xfee00000, 4);
 *     acpi_table_end(&tables, start);
 *     ... and at last acpi_tables_finish()
 */
#ifndef TINAMOU_HW_ACPI_TABLES_H
#define TINAMOU_HW_ACPI_TABLES_H

#include "hw/acpi/aml.h"

struct fw_cfg;

enum { ACPI_HEADER_SIZE = 36, ACPI_RSDP_SIZE = 36, ACPI_TABLES_MAX = 16, ACPI_COMMANDS_MAX = 64 };

struct acpi_command {
    enum { ACPI_POINTER, ACPI_CHECKSUM } kind;
    bool rsdp;              /* in the root pointer, else in the blob */
    uint32_t offset;        /* of the pointer or checksum */
    uint32_t size;          /* of the pointer, in bytes */
    uint32_t start, length; /* what the checksum is of */
};

struct acpi_tables {
    /* set before the first table: 6 and 8 characters, filled up with blanks if shorter */
    const char *oem_id, *oem_table_id;
    struct aml blob;
    uint8_t rsdp[ACPI_RSDP_SIZE];
    /* private */
    uint32_t root[ACPI_TABLES_MAX]; /* offsets of tables that the XSDT lists */
    unsigned roots;
    struct acpi_command command[ACPI_COMMANDS_MAX];
    unsigned commands;
};

/* Writes a header; returns the table's offset. */
uint32_t acpi_table_begin(struct acpi_tables *tables, const char *signature, uint8_t revision);
/* Fills in the length. */
void acpi_table_end(struct acpi_tables *tables, uint32_t start);
/* The XSDT will list it. */
void acpi_table_list(struct acpi_tables *tables, uint32_t start);
/* The number of `size` bytes at an offset of the blob becomes the address of what is at `target`.
 */
void acpi_table_point(struct acpi_tables *tables, uint32_t offset, unsigned size, uint32_t target);

/* Writes XSDT and root pointer. 0 or -ENOMEM. */
int acpi_tables_finish(struct acpi_tables *tables);

/* Does what the script says, for a blob that will be at that address, below 4 GiB. */
void acpi_tables_place(struct acpi_tables *tables, uint32_t address);

/* Adds what firmware takes: as fw_cfg_add_file(). */
int acpi_tables_add_files(const struct acpi_tables *tables, struct fw_cfg *fw);

#endif
