/* AML byte by byte, as ACPI 6.5, chapter 20 has it; lengths at the borders of their encodings. */
#include "hw/acpi/aml.h"

#include <stdlib.h>

#include "tests/unit/tap.h"

/* Compares what was written with bytes in hexadecimal, and starts anew. */
static void wrote(struct aml *aml, const char *want, const char *what)
{
    char *got = calloc(2, aml->size + 1);

    for (size_t i = 0; i < aml->size; i++) {
        snprintf(got + 2 * i, 3, "%02x", aml->data[i]);
    }
    tap_str(got, want, what);
    free(got);
    aml_free(aml);
}

static void check_integers(void)
{
    struct aml aml = {0};

    aml_integer(&aml, 0);
    aml_integer(&aml, 1);
    aml_integer(&aml, 2);
    aml_integer(&aml, 0xff);
    wrote(&aml, "00010a020aff", "0, 1, bytes");
    aml_integer(&aml, 0x100);
    aml_integer(&aml, 0xffff);
    aml_integer(&aml, 0x10000);
    wrote(&aml, "0b00010bffff0c00000100", "words, a double word");
    aml_integer(&aml, 0xffffffff);
    aml_integer(&aml, UINT64_C(0x123456789abcdef0));
    wrote(&aml, "0cffffffff0ef0debc9a78563412", "double word, quad word");
}

static void check_names(void)
{
    struct aml aml = {0};

    aml_path(&aml, "A");
    aml_path(&aml, "_SB");
    aml_path(&aml, "PCI0");
    wrote(&aml, "415f5f5f5f53425f50434930", "a name has four characters");
    aml_path(&aml, "\\");
    aml_path(&aml, "^^X1");
    wrote(&aml, "5c005e5e58315f5f", "root, parents");
    aml_path(&aml, "\\_SB.PCI0");
    wrote(&aml, "5c2e5f53425f50434930", "two names");
    aml_path(&aml, "_SB.PCI0.ISA");
    wrote(&aml, "2f035f53425f504349304953415f", "three names");
    aml_string(&aml, "ACPI0013");
    wrote(&aml, "0d414350493030313300", "a string");
    aml_eisa_id(&aml, "PNP0501");
    wrote(&aml, "0c41d00501", "an EISA id");
    aml_eisa_id(&aml, "PNP0C0F");
    wrote(&aml, "0c41d00c0f", "an EISA id with letters among its digits");
    aml_uuid(&aml, "33db4d5b-1ff7-401c-9657-7441c03dd766");
    wrote(&aml, "11130a105b4ddb33f71f1c4096577441c03dd766", "a UUID");
}

static void check_objects(void)
{
    struct aml aml = {0};

    aml_begin_scope(&aml, "\\_SB");
    aml_begin_device(&aml, "D");
    aml_name(&aml, "_UID"), aml_integer(&aml, 7);
    aml_end(&aml);
    aml_end(&aml);
    wrote(&aml, "10145c5f53425f5b820c445f5f5f085f5549440a07", "scope, device, name");
    aml_begin_method(&aml, "_EVT", 1, true);
    aml_op(&aml, AML_RETURN), aml_op(&aml, AML_ARG(0));
    aml_end(&aml);
    wrote(&aml, "14085f45565409a468", "a serialized method");
    aml_begin_if(&aml);
    aml_op(&aml, AML_LEQUAL), aml_op(&aml, AML_LOCAL(2)), aml_op(&aml, AML_ONES);
    aml_end(&aml);
    aml_begin_else(&aml);
    aml_end(&aml);
    wrote(&aml, "a0049362ffa101", "if and else");
    aml_begin_package(&aml, 2);
    aml_integer(&aml, 5);
    aml_integer(&aml, 0);
    aml_end(&aml);
    wrote(&aml, "1205020a0500", "a package");
    aml_memory_region(&aml, "EREG", 0xfea00000, 4);
    wrote(&aml, "5b8045524547000c0000a0fe0a04", "an operation region");
    aml_begin_field(&aml, "EREG");
    aml_field(&aml, "ESEL", 32);
    aml_field(&aml, "WIDE", 64);
    aml_end(&aml);
    wrote(&aml,
          "5b81114552454743"
          "4553454c20"
          "574944454004",
          "fields, whose sizes are bits");
    aml_buffer(&aml, "\1\2", 2);
    wrote(&aml, "11050a020102", "a buffer");
}

static void check_resources(void)
{
    struct aml aml = {0};

    aml_begin_resources(&aml);
    aml_end(&aml);
    wrote(&aml, "11050a027900", "an empty resource template");
    aml_begin_resources(&aml);
    aml_io(&aml, 0x3f8, 1, 8);
    aml_irq(&aml, 4);
    aml_end(&aml);
    wrote(&aml,
          "11100a0d4701f803f803010822100079"
          "00",
          "ports and an ISA interrupt");
    aml_interrupt(&aml, 9, true, false);
    aml_interrupt(&aml, 47, false, true);
    wrote(&aml,
          "8906000301090000008906000901"
          "2f000000",
          "interrupts: an edge, and a level that is shared");
    aml_memory32(&aml, 0xfeb00000, 0x200);
    wrote(&aml, "860900010000b0fe00020000", "fixed memory");
    aml_bus_numbers(&aml, 0, 255);
    wrote(&aml,
          "880d00020c00"
          "00000000ff0000000001",
          "bus numbers");
    aml_window32(&aml, 0xc0000000, 0x20000000);
    wrote(&aml,
          "871700000c01"
          "00000000000000c0ffffffdf0000000000000020",
          "a window of memory");
    aml_window64(&aml, UINT64_C(0xc000000000), UINT64_C(0x4000000000));
    wrote(&aml,
          "8a2b00000c01"
          "000000000000000000000000c0000000ffffffffff000000"
          "00000000000000000000000040000000",
          "a window above 4 GiB");
}

/* A scope of `size` bytes, its name's included: what its length is, and in how many bytes. */
static void check_length(size_t size, unsigned bytes)
{
    struct aml aml = {0};
    size_t length;
    unsigned more;

    aml_begin_scope(&aml, "X");
    for (size_t i = 4; i < size; i++) {
        aml_number(&aml, 0xa3, 1);
    }
    aml_end(&aml);
    more = aml.data[1] >> 6;
    length = more ? aml.data[1] & 0xf : aml.data[1] & 0x3f;
    for (unsigned i = 0; i < more; i++) {
        length |= (size_t)aml.data[2 + i] << (4 + 8 * i);
    }
    tap_ok(more + 1 == bytes && length == size + bytes && aml.size == 1 + length &&
               !memcmp(aml.data + 1 + bytes, "X___", 4),
           "a length that counts %zu bytes takes %u", size, bytes);
    aml_free(&aml);
}

int main(void)
{
    check_integers();
    check_names();
    check_objects();
    check_resources();
    check_length(4, 1);
    check_length(62, 1);
    check_length(63, 2);
    check_length(4093, 2);
    check_length(4094, 3);
    check_length((1 << 20) - 4, 3);
    check_length((1 << 20) - 3, 4);
    return tap_done();
}
