/*
 * Writing AML, the byte code of ACPI's definition blocks (ACPI 6.5, chapter 20), and the resource
 * descriptors in it (chapter 6.4).
 *
 * AML is prefix notation, so it is written front to back, operands after their operator:
 *
 *     aml_begin_scope(&aml, "\\_SB");
 *     aml_begin_device(&aml, "COM1");
 *     aml_name(&aml, "_HID"), aml_eisa_id(&aml, "PNP0501");
 *     aml_begin_method(&aml, "_EVT", 1, true);
 *     aml_op(&aml, AML_STORE), aml_path(&aml, "ESEL"), aml_op(&aml, AML_LOCAL(0));
 *     aml_end(&aml);
 *     aml_end(&aml);
 *     aml_end(&aml);
 *
 * What has a length is opened by a function named aml_begin_... and closed by aml_end(), which
 * inserts the length. A name is up to four characters, and is filled up with "_"; a path is names
 * with dots between, and may begin with "\\" or with "^".
 *
 * Running out of memory is kept, and told by aml_failed(): what is written then is of no use. Wrong
 * names, wrong nesting and values that do not fit are mistakes of the program.
 */
#ifndef TINAMOU_HW_ACPI_AML_H
#define TINAMOU_HW_ACPI_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AML_DEPTH = 16 };

/* Zeroed: empty. */
struct aml {
    uint8_t *data; /* malloc'ed */
    size_t size;
    /* private */
    size_t room;
    bool failed;
    unsigned depth;
    struct {
        size_t at;      /* where the length goes */
        bool resources; /* a resource template, which has a second one inside */
    } open[AML_DEPTH];
};

void aml_free(struct aml *aml);
bool aml_failed(const struct aml *aml);

/* ---- bytes ---- */

void aml_bytes(struct aml *aml, const void *bytes, size_t size);
/* The lowest `size` bytes of a number, little-endian. */
void aml_number(struct aml *aml, uint64_t value, unsigned size);
/* A number in what is written already. */
void aml_patch(struct aml *aml, size_t offset, uint64_t value, unsigned size);

/* ---- terms ---- */

/* Operators and operands of one byte, and those of two, whose first is 0x5b. */
enum aml_op {
    AML_ZERO = 0x00,
    AML_ONE = 0x01,
    AML_ONES = 0xff,
    AML_STORE = 0x70,              /* source, target */
    AML_ADD = 0x72,                /* operand, operand, target */
    AML_AND = 0x7b,                /* operand, operand, target */
    AML_OR = 0x7d,                 /* operand, operand, target */
    AML_NOTIFY = 0x86,             /* object, value */
    AML_CREATE_DWORD_FIELD = 0x8a, /* buffer, index, name */
    AML_LNOT = 0x92,
    AML_LEQUAL = 0x93, /* operand, operand */
    AML_RETURN = 0xa4, /* value */
};
#define AML_LOCAL(n) ((enum aml_op)(0x60 + (n))) /* 0 to 7 */
#define AML_ARG(n)   ((enum aml_op)(0x68 + (n))) /* 0 to 6 */

void aml_op(struct aml *aml, enum aml_op op);
/* Where an operator's result is not stored: AML_ZERO in place of a target. */
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
void aml_path(struct aml *aml, const char *path);
/* "PNP0501": three letters and four hexadecimal digits. */
void aml_eisa_id(struct aml *aml, const char *id);
/* "33db4d5b-1ff7-401c-9657-7441c03dd766", as a buffer. */
void aml_uuid(struct aml *aml, const char *uuid);
void aml_buffer(struct aml *aml, const void *bytes, size_t size);

/* A named object; its value follows. */
void aml_name(struct aml *aml, const char *name);
/* An operation region in system memory. */
void aml_memory_region(struct aml *aml, const char *name, uint64_t address, uint64_t size);

/* ---- what has a length ---- */

void aml_begin_scope(struct aml *aml, const char *path);
void aml_begin_device(struct aml *aml, const char *name);
void aml_begin_method(struct aml *aml, const char *name, unsigned arguments, bool serialized);
/* The condition follows, then what is done. */
void aml_begin_if(struct aml *aml);
/* Right after the end of an if. */
void aml_begin_else(struct aml *aml);
void aml_begin_package(struct aml *aml, unsigned elements);
/* The units of a region, accessed by 32 bits; bits that are not written become 0. */
void aml_begin_field(struct aml *aml, const char *region);
void aml_field(struct aml *aml, const char *name, unsigned bits);
/* A resource template: the descriptors below. */
void aml_begin_resources(struct aml *aml);
void aml_end(struct aml *aml);

/* ---- resource descriptors ---- */

/* Ports, decoded by 16 bits, at a fixed place. */
void aml_io(struct aml *aml, uint16_t port, uint8_t alignment, uint8_t size);
/* An ISA interrupt: an edge, active high, not shared. */
void aml_irq(struct aml *aml, unsigned irq);
void aml_interrupt(struct aml *aml, uint32_t gsi, bool edge, bool shared);
void aml_memory32(struct aml *aml, uint32_t address, uint32_t size);
/* What a bridge passes on. */
void aml_bus_numbers(struct aml *aml, uint16_t first, uint16_t last);
void aml_window32(struct aml *aml, uint32_t address, uint32_t size);
void aml_window64(struct aml *aml, uint64_t address, uint64_t size);

#endif
