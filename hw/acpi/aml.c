/*
 * Writing AML. A length (PkgLength, clause 20.2.4) takes one to four bytes, by its own value: it
 * is inserted when what it counts is there, and all that follows moves.
 */
#include "hw/acpi/aml.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_METHOD = 0x14,
    OP_DUAL_NAME = 0x2e,
    OP_MULTI_NAME = 0x2f,
    OP_EXTENDED = 0x5b,
    OP_IF = 0xa0,
    OP_ELSE = 0xa1,
    /* behind OP_EXTENDED */
    OP_REGION = 0x80,
    OP_FIELD = 0x81,
    OP_DEVICE = 0x82,
};

enum { SYSTEM_MEMORY = 0, DWORD_ACCESS = 3, WRITE_AS_ZEROS = 2 << 5, END_TAG = 0x79 };

void aml_free(struct aml *aml)
{
    free(aml->data);
    *aml = (struct aml){0};
}

bool aml_failed(const struct aml *aml)
{
    return aml->failed;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Makes room for `size` bytes at an offset; false when there is no memory. */
static bool insert(struct aml *aml, size_t at, size_t size)
{
    if (aml->failed) {
        return false;
    }
    if (aml->room - aml->size < size) {
        size_t room = (aml->size + size) * 2;
        uint8_t *data = realloc(aml->data, room);

        if (!data) {
            aml->failed = true;
            return false;
        }
        aml->data = data;
        aml->room = room;
    }
    memmove(aml->data + at + size, aml->data + at, aml->size - at);
    aml->size += size;
    return true;
}

void aml_bytes(struct aml *aml, const void *bytes, size_t size)
{
    size_t at = aml->size;

    if (size && insert(aml, at, size)) {
        memcpy(aml->data + at, bytes, size);
    }
}

void aml_number(struct aml *aml, uint64_t value, unsigned size)
{
    size_t at = aml->size;

    if (insert(aml, at, size)) {
        aml_patch(aml, at, value, size);
    }
}

void aml_patch(struct aml *aml, size_t offset, uint64_t value, unsigned size)
{
    if (aml->failed) {
        return;
    }
    assert(offset + size <= aml->size);
    for (unsigned i = 0; i < size; i++) {
        aml->data[offset + i] = (uint8_t)(value >> (8 * i));
    }
}

/* ---- terms ----------------------------------------------------------------------------------- */

void aml_op(struct aml *aml, enum aml_op op)
{
    aml_number(aml, op, 1);
}

void aml_integer(struct aml *aml, uint64_t value)
{
    if (value <= 1) {
        aml_number(aml, value, 1);
    } else if (value <= UINT8_MAX) {
        aml_number(aml, OP_BYTE, 1);
        aml_number(aml, value, 1);
    } else if (value <= UINT16_MAX) {
        aml_number(aml, OP_WORD, 1);
        aml_number(aml, value, 2);
    } else if (value <= UINT32_MAX) {
        aml_number(aml, OP_DWORD, 1);
        aml_number(aml, value, 4);
    } else {
        aml_number(aml, OP_QWORD, 1);
        aml_number(aml, value, 8);
    }
}

void aml_string(struct aml *aml, const char *text)
{
    aml_number(aml, OP_STRING, 1);
    aml_bytes(aml, text, strlen(text) + 1);
}

/* One name, which ends at a dot or at the end; returns what follows it. */
static const char *put_name(struct aml *aml, const char *name)
{
    char segment[4] = {'_', '_', '_', '_'};
    size_t length = strcspn(name, ".");

    assert(length >= 1 && length <= sizeof(segment) && !isdigit((unsigned char)name[0]));
    for (size_t i = 0; i < length; i++) {
        assert(isupper((unsigned char)name[i]) || isdigit((unsigned char)name[i]) ||
               name[i] == '_');
        segment[i] = name[i];
    }
    aml_bytes(aml, segment, sizeof(segment));
    name += length;
    return *name == '.' ? name + 1 : name;
}

void aml_path(struct aml *aml, const char *path)
{
    unsigned count = 1;

    while (*path == '\\' || *path == '^') {
        aml_number(aml, (uint8_t)*path++, 1);
    }
    if (!*path) {
        aml_number(aml, 0, 1); /* NullName: the root itself, or the parent */
        return;
    }
    for (const char *dot = path; (dot = strchr(dot, '.')); dot++) {
        count++;
    }
    if (count == 2) {
        aml_number(aml, OP_DUAL_NAME, 1);
    } else if (count > 2) {
        aml_number(aml, OP_MULTI_NAME, 1);
        aml_number(aml, count, 1);
    }
    while (*path) {
        path = put_name(aml, path);
    }
}

static unsigned digit(char c)
{
    assert(isxdigit((unsigned char)c));
    return isdigit((unsigned char)c) ? (unsigned)(c - '0')
                                     : (unsigned)(toupper((unsigned char)c) - 'A' + 10);
}

void aml_eisa_id(struct aml *aml, const char *id)
{
    uint32_t value = 0;

    assert(strlen(id) == 7);
    for (unsigned i = 0; i < 3; i++) {
        assert(isupper((unsigned char)id[i]));
        value = value << 5 | (uint32_t)(id[i] - '@');
    }
    for (unsigned i = 3; i < 7; i++) {
        value = value << 4 | digit(id[i]);
    }
    /* The compressed form is stored big-endian (EISA; ACPI 6.5, clause 19.6.37). */
    aml_number(aml, OP_DWORD, 1);
    aml_number(aml, __builtin_bswap32(value), 4);
}

void aml_buffer(struct aml *aml, const void *bytes, size_t size)
{
    aml_number(aml, OP_BUFFER, 1);
    assert(aml->depth < AML_DEPTH);
    aml->open[aml->depth].resources = false;
    aml->open[aml->depth++].at = aml->size;
    aml_integer(aml, size);
    aml_bytes(aml, bytes, size);
    aml_end(aml);
}

void aml_uuid(struct aml *aml, const char *uuid)
{
    /* The first three groups are little-endian numbers (clause 19.6.142). */
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    uint8_t bytes[16];
    unsigned n = 0;

    assert(strlen(uuid) == 36);
    for (const char *at = uuid; *at; at += 2) {
        at += *at == '-';
        bytes[order[n++]] = (uint8_t)(digit(at[0]) << 4 | digit(at[1]));
    }
    assert(n == 16);
    aml_buffer(aml, bytes, sizeof(bytes));
}

void aml_name(struct aml *aml, const char *name)
{
    aml_number(aml, OP_NAME, 1);
    aml_path(aml, name);
}

void aml_memory_region(struct aml *aml, const char *name, uint64_t address, uint64_t size)
{
    aml_number(aml, OP_EXTENDED, 1);
    aml_number(aml, OP_REGION, 1);
    aml_path(aml, name);
    aml_number(aml, SYSTEM_MEMORY, 1);
    aml_integer(aml, address);
    aml_integer(aml, size);
}

/* ---- what has a length ----------------------------------------------------------------------- */

static void open_length(struct aml *aml, bool resources)
{
    assert(aml->depth < AML_DEPTH);
    aml->open[aml->depth].at = aml->size;
    aml->open[aml->depth++].resources = resources;
}

static void begin(struct aml *aml, unsigned op)
{
    aml_number(aml, op, 1);
    open_length(aml, false);
}

static void begin_extended(struct aml *aml, unsigned op)
{
    aml_number(aml, OP_EXTENDED, 1);
    begin(aml, op);
}

/* The bytes of a length that counts itself and `size` bytes; how many. */
static unsigned encode_length(uint8_t bytes[4], size_t size, bool counts_itself)
{
    unsigned count = 1;
    size_t limit = 1 << 6, length;

    while (length = size + (counts_itself ? count : 0), length >= limit) {
        limit = (size_t)1 << (4 + 8 * count);
        count++;
        assert(count <= 4);
    }
    /* With one byte it has six bits, else the first has four, and how many follow. */
    bytes[0] = (uint8_t)(count == 1 ? length : (count - 1) << 6 | (length & 0xf));
    for (unsigned i = 1; i < count; i++) {
        bytes[i] = (uint8_t)(length >> (4 + 8 * (i - 1)));
    }
    return count;
}

void aml_begin_scope(struct aml *aml, const char *path)
{
    begin(aml, OP_SCOPE);
    aml_path(aml, path);
}

void aml_begin_device(struct aml *aml, const char *name)
{
    begin_extended(aml, OP_DEVICE);
    aml_path(aml, name);
}

void aml_begin_method(struct aml *aml, const char *name, unsigned arguments, bool serialized)
{
    assert(arguments <= 7);
    begin(aml, OP_METHOD);
    aml_path(aml, name);
    aml_number(aml, arguments | (serialized ? 8 : 0), 1);
}

void aml_begin_if(struct aml *aml)
{
    begin(aml, OP_IF);
}

void aml_begin_else(struct aml *aml)
{
    begin(aml, OP_ELSE);
}

void aml_begin_package(struct aml *aml, unsigned elements)
{
    assert(elements <= UINT8_MAX);
    begin(aml, OP_PACKAGE);
    aml_number(aml, elements, 1);
}

void aml_begin_field(struct aml *aml, const char *region)
{
    begin_extended(aml, OP_FIELD);
    aml_path(aml, region);
    aml_number(aml, DWORD_ACCESS | WRITE_AS_ZEROS, 1);
}

void aml_field(struct aml *aml, const char *name, unsigned bits)
{
    uint8_t length[4];

    (void)put_name(aml, name);
    aml_bytes(aml, length, encode_length(length, bits, false));
}

void aml_begin_resources(struct aml *aml)
{
    aml_number(aml, OP_BUFFER, 1);
    open_length(aml, true);
}

void aml_end(struct aml *aml)
{
    struct aml head = {0};
    uint8_t length[4];
    size_t at;
    unsigned count;

    assert(aml->depth > 0);
    aml->depth--;
    at = aml->open[aml->depth].at;
    if (aml->open[aml->depth].resources) {
        aml_number(aml, END_TAG, 2); /* the checksum 0 counts as correct */
        aml_integer(&head, aml->size - at);
        aml->failed |= head.failed;
    }
    count = encode_length(length, aml->size - at + head.size, true);
    if (insert(aml, at, count + head.size)) {
        memcpy(aml->data + at, length, count);
        if (head.size) {
            memcpy(aml->data + at + count, head.data, head.size);
        }
    }
    aml_free(&head);
}

/* ---- resource descriptors -------------------------------------------------------------------- */

enum {
    RESOURCE_IRQ = 0x22, /* small items: type and length in a byte */
    RESOURCE_IO = 0x47,
    RESOURCE_MEMORY32 = 0x86, /* large items */
    RESOURCE_WINDOW32 = 0x87,
    RESOURCE_WINDOW16 = 0x88,
    RESOURCE_INTERRUPT = 0x89,
    RESOURCE_WINDOW64 = 0x8a,
    /* of windows */
    WINDOW_MEMORY = 0,
    WINDOW_BUS = 2,
    WINDOW_FIXED = 0xc, /* minimum and maximum; the bridge's to pass on; all is decoded */
    WINDOW_WRITABLE = 1,
};

void aml_io(struct aml *aml, uint16_t port, uint8_t alignment, uint8_t size)
{
    aml_number(aml, RESOURCE_IO, 1);
    aml_number(aml, 1, 1); /* decodes 16 bits */
    aml_number(aml, port, 2);
    aml_number(aml, port, 2);
    aml_number(aml, alignment, 1);
    aml_number(aml, size, 1);
}

void aml_irq(struct aml *aml, unsigned irq)
{
    assert(irq < 16);
    aml_number(aml, RESOURCE_IRQ, 1);
    aml_number(aml, 1u << irq, 2);
}

void aml_interrupt(struct aml *aml, uint32_t gsi, bool edge, bool shared)
{
    aml_number(aml, RESOURCE_INTERRUPT, 1);
    aml_number(aml, 6, 2);
    aml_number(aml, 1 | (edge ? 2 : 0) | (shared ? 8 : 0), 1); /* consumer; active high */
    aml_number(aml, 1, 1);
    aml_number(aml, gsi, 4);
}

void aml_memory32(struct aml *aml, uint32_t address, uint32_t size)
{
    aml_number(aml, RESOURCE_MEMORY32, 1);
    aml_number(aml, 9, 2);
    aml_number(aml, 1, 1); /* may be written */
    aml_number(aml, address, 4);
    aml_number(aml, size, 4);
}

/* An address space descriptor whose numbers have `bytes` bytes. */
static void window(struct aml *aml, unsigned tag, unsigned bytes, unsigned type, unsigned flags,
                   uint64_t first, uint64_t size)
{
    aml_number(aml, tag, 1);
    aml_number(aml, 3 + 5 * bytes, 2);
    aml_number(aml, type, 1);
    aml_number(aml, WINDOW_FIXED, 1);
    aml_number(aml, flags, 1);
    aml_number(aml, 0, bytes); /* granularity */
    aml_number(aml, first, bytes);
    aml_number(aml, first + size - 1, bytes);
    aml_number(aml, 0, bytes); /* translation */
    aml_number(aml, size, bytes);
}

void aml_bus_numbers(struct aml *aml, uint16_t first, uint16_t last)
{
    window(aml, RESOURCE_WINDOW16, 2, WINDOW_BUS, 0, first, (uint64_t)last - first + 1);
}

void aml_window32(struct aml *aml, uint32_t address, uint32_t size)
{
    window(aml, RESOURCE_WINDOW32, 4, WINDOW_MEMORY, WINDOW_WRITABLE, address, size);
}

void aml_window64(struct aml *aml, uint64_t address, uint64_t size)
{
    window(aml, RESOURCE_WINDOW64, 8, WINDOW_MEMORY, WINDOW_WRITABLE, address, size);
}
