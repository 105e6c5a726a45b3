/* Modes, linear addresses, and loading of segments from tables. */
#include "tests/unit/x86-bench.h"

enum { GDT = 0x1000, LDT = 0x2000 };

static void set_mode(enum x86_operating_mode mode)
{
    uint16_t *cs = &cpu->segment[X86_CS].attributes;

    bench_create("max", 0);
    *cs = X86_SEGMENT_P | X86_SEGMENT_S | 11;
    cpu->cr0 = mode == X86_MODE_REAL ? 0 : X86_CR0_PE;
    cpu->rflags = mode == X86_MODE_V86 ? X86_FLAG_VM : 0;
    cpu->efer = mode >= X86_MODE_COMPATIBILITY_16 ? X86_EFER_LME | X86_EFER_LMA : 0;
    if (mode == X86_MODE_PROTECTED_32 || mode == X86_MODE_COMPATIBILITY_32) {
        *cs |= X86_SEGMENT_DB;
    } else if (mode == X86_MODE_64) {
        *cs |= X86_SEGMENT_L;
    }
}

static void modes(void)
{
    static const uint8_t bits[] = {16, 16, 16, 32, 16, 32, 64};

    for (unsigned n = 0; n < X86_MODE_COUNT; n++) {
        enum x86_operating_mode mode = (enum x86_operating_mode)n;

        set_mode(mode);
        tap_ok(x86_mode(cpu) == mode, "%s is told", x86_mode_name(mode));
        tap_ok(x86_mode_bits(mode) == bits[n], "%s forms addresses of %u bits", x86_mode_name(mode),
               bits[n]);
        cpu->segment[X86_SS].attributes = X86_SEGMENT_P | 2 << X86_SEGMENT_DPL_SHIFT;
        tap_ok(x86_privilege(cpu) == (mode == X86_MODE_REAL  ? 0u
                                      : mode == X86_MODE_V86 ? 3u
                                                             : 2u),
               "%s: privilege", x86_mode_name(mode));
    }
}

static void linear(void)
{
    set_mode(X86_MODE_PROTECTED_32);
    for (unsigned n = 0; n < 6; n++) {
        cpu->segment[n].base = 0xfffff000 + n;
    }
    tap_eq(x86_linear(cpu, X86_DS, 0x2000), 0x1000 + X86_DS, "32-bit addresses wrap");
    cpu->rip = 0x10;
    tap_eq(x86_linear_pc(cpu), 0xfffff010 + X86_CS, "rip is an offset in CS");
    set_mode(X86_MODE_64);
    for (unsigned n = 0; n < 6; n++) {
        cpu->segment[n].base = UINT64_C(0x100000000) * (n + 1);
    }
    tap_eq(x86_linear(cpu, X86_DS, 0x2000), 0x2000, "64-bit mode has no base of DS");
    tap_eq(x86_linear(cpu, X86_CS, 0x2000), 0x2000, "nor of CS");
    tap_eq(x86_linear(cpu, X86_FS, 0x2000), UINT64_C(0x500002000), "but of FS");
    tap_eq(x86_linear(cpu, X86_GS, UINT64_MAX), UINT64_C(0x5ffffffff), "and of GS");
    set_mode(X86_MODE_REAL);
    tap_eq(x86_linear_pc(cpu), 0xfffffff0, "the reset vector");
}

static void descriptors(void)
{
    /* base 0x12345678, limit 0xabcde pages, code, 32-bit, DPL 3 */
    const uint64_t code = UINT64_C(0x12cafb345678bcde);
    struct x86_segment s = x86_descriptor(0x1b, code, 0);

    tap_eq(s.base, 0x12345678, "base of a descriptor");
    tap_eq(s.limit, 0xabcdefff, "its limit, in bytes");
    tap_eq(s.attributes, 0xc0fb, "its attributes");
    tap_eq(s.selector, 0x1b, "and selector");
    tap_eq(x86_descriptor_bytes(&s), code, "and the bytes again");
    s = x86_descriptor(8, code & ~(UINT64_C(1) << 55), 0x9abcdef0);
    tap_eq(s.base, UINT64_C(0x9abcdef012345678), "a base of 64 bits");
    tap_eq(s.limit, 0xabcde, "a limit without granularity");
}

static void loading(void)
{
    struct x86_segment data = {.base = 0x11223344, .limit = 0xfffff, .attributes = 0x40f3};
    struct x86_segment task = {.base = 0x55667788, .limit = 0x67, .attributes = 0x8b};

    set_mode(X86_MODE_PROTECTED_32);
    cpu->gdt = (struct x86_table){GDT, 0x2f};
    cpu->segment[X86_LDTR] =
        (struct x86_segment){.base = LDT, .limit = 0xf, .attributes = X86_SEGMENT_P | 2};
    memset(bench_at(GDT), 0, 0x2000);
    bench_store(GDT + 0x18, x86_descriptor_bytes(&data), 8);
    bench_store(LDT + 8, x86_descriptor_bytes(&data), 8);
    bench_store(GDT + 0x20, x86_descriptor_bytes(&task), 8);
    bench_store(GDT + 0x28, 0xffff8000, 8);

    tap_eq(x86_load_segment(cpu, X86_DS, 0x1b), 0, "a segment of the GDT");
    tap_ok(cpu->segment[X86_DS].selector == 0x1b && cpu->segment[X86_DS].base == data.base &&
               cpu->segment[X86_DS].limit == data.limit &&
               cpu->segment[X86_DS].attributes == data.attributes,
           "has all parts");
    tap_eq(x86_load_segment(cpu, X86_ES, 0x0f), 0, "one of the LDT");
    tap_ok(cpu->segment[X86_ES].base == data.base, "too");
    tap_eq(x86_load_segment(cpu, X86_FS, 0x17), -EINVAL, "beyond the LDT's limit");
    tap_eq(x86_load_segment(cpu, X86_FS, 0x30), -EINVAL, "beyond the GDT's limit");
    cpu->gdt.limit = 0x2e;
    tap_eq(x86_load_segment(cpu, X86_FS, 0x28), -EINVAL, "of which all bytes count");
    cpu->gdt.limit = 0x2f;
    tap_eq(x86_load_segment(cpu, X86_FS, 3), 0, "a null selector");
    tap_ok(cpu->segment[X86_FS].selector == 3 && !(cpu->segment[X86_FS].attributes & X86_SEGMENT_P),
           "is an unusable segment");
    tap_eq(x86_load_segment(cpu, X86_TR, 0x20), 0, "a task register of eight bytes");
    tap_eq(cpu->segment[X86_TR].base, task.base, "has 32 bits of base");
    tap_eq(x86_load_segment(cpu, X86_TR, 0x0c), -EINVAL, "which is not looked for in the LDT");
    cpu->segment[X86_LDTR].attributes = 0;
    tap_eq(x86_load_segment(cpu, X86_ES, 0x0f), -EINVAL, "nor is there one that is not present");
    cpu->efer = X86_EFER_LME | X86_EFER_LMA;
    tap_eq(x86_load_segment(cpu, X86_TR, 0x20), 0, "a task register of sixteen");
    tap_eq(cpu->segment[X86_TR].base, UINT64_C(0xffff800055667788), "has 64");
    cpu->gdt.base = 0xd0000000;
    tap_eq(x86_load_segment(cpu, X86_DS, 0x1b), -EFAULT, "a table in a device's registers");

    set_mode(X86_MODE_REAL);
    cpu->segment[X86_DS].limit = UINT32_MAX;
    tap_eq(x86_load_segment(cpu, X86_DS, 0x1234), 0, "real mode");
    tap_ok(cpu->segment[X86_DS].base == 0x12340 && cpu->segment[X86_DS].limit == UINT32_MAX,
           "changes the base alone");
    set_mode(X86_MODE_V86);
    tap_eq(x86_load_segment(cpu, X86_DS, 0x1234), 0, "virtual 8086 mode");
    tap_ok(cpu->segment[X86_DS].limit == 0xffff && cpu->segment[X86_DS].attributes == 0xf3,
           "has segments of its own kind");
}

int main(void)
{
    bench_create("max", 0);
    modes();
    linear();
    descriptors();
    loading();
    return tap_done();
}
