/* Segments and modes, from the registers. */
#include "target/x86/segment.h"
#include "target/x86/arch.h"
#include "target/x86/mmu.h"

#include <errno.h>

enum x86_operating_mode x86_mode(const struct x86_cpu *cpu)
{
    uint16_t attributes = cpu->segment[X86_CS].attributes;
    bool wide = attributes & X86_SEGMENT_DB;

    if (!(cpu->cr0 & X86_CR0_PE)) {
        return X86_MODE_REAL;
    }
    if (cpu->efer & X86_EFER_LMA) {
        return attributes & X86_SEGMENT_L ? X86_MODE_64
               : wide                     ? X86_MODE_COMPATIBILITY_32
                                          : X86_MODE_COMPATIBILITY_16;
    }
    if (cpu->rflags & X86_FLAG_VM) {
        return X86_MODE_V86;
    }
    return wide ? X86_MODE_PROTECTED_32 : X86_MODE_PROTECTED_16;
}

static const struct {
    const char *name;
    uint8_t bits;
} modes[X86_MODE_COUNT] = {
    [X86_MODE_REAL] = {"real mode", 16},
    [X86_MODE_V86] = {"virtual 8086 mode", 16},
    [X86_MODE_PROTECTED_16] = {"16-bit protected mode", 16},
    [X86_MODE_PROTECTED_32] = {"protected mode", 32},
    [X86_MODE_COMPATIBILITY_16] = {"16-bit compatibility mode", 16},
    [X86_MODE_COMPATIBILITY_32] = {"compatibility mode", 32},
    [X86_MODE_64] = {"64-bit mode", 64},
};

const char *x86_mode_name(enum x86_operating_mode mode)
{
    return modes[mode].name;
}

unsigned x86_mode_bits(enum x86_operating_mode mode)
{
    return modes[mode].bits;
}

/* "The DPL of the SS register ... is always equal to the CPL"; in real mode nothing checks it. */
unsigned x86_privilege(const struct x86_cpu *cpu)
{
    switch (x86_mode(cpu)) {
    case X86_MODE_REAL:
        return 0;
    case X86_MODE_V86:
        return 3;
    default:
        return cpu->segment[X86_SS].attributes >> X86_SEGMENT_DPL_SHIFT & 3;
    }
}

uint64_t x86_linear(const struct x86_cpu *cpu, unsigned segment, uint64_t offset)
{
    if (x86_mode(cpu) != X86_MODE_64) {
        return (uint32_t)(cpu->segment[segment].base + offset);
    }
    return segment <= X86_DS ? offset : cpu->segment[segment].base + offset;
}

uint64_t x86_linear_pc(const struct x86_cpu *cpu)
{
    return x86_linear(cpu, X86_CS, cpu->rip);
}

struct x86_segment x86_descriptor(uint16_t selector, uint64_t low, uint64_t high)
{
    struct x86_segment s = {.selector = selector, .attributes = low >> 40 & 0xf0ff};

    s.limit = (uint32_t)((low & 0xffff) | (low >> 32 & 0xf0000));
    if (s.attributes & X86_SEGMENT_G) {
        s.limit = s.limit << 12 | 0xfff;
    }
    s.base = (low >> 16 & 0xffffff) | (low >> 32 & 0xff000000) | high << 32;
    return s;
}

uint64_t x86_descriptor_bytes(const struct x86_segment *s)
{
    uint32_t limit = s->attributes & X86_SEGMENT_G ? s->limit >> 12 : s->limit;

    return (limit & 0xffff) | (uint64_t)(limit >> 16 & 15) << 48 | (s->base & 0xffffff) << 16 |
           (s->base >> 24 & 0xff) << 56 | (uint64_t)(s->attributes & 0xf0ff) << 40;
}

/* In real mode a load changes selector and base only; limit and attributes stay what they were. */
static void load_real(struct x86_segment *s, uint16_t selector, bool v86)
{
    s->selector = selector;
    s->base = (uint64_t)selector << 4;
    if (v86) {
        s->limit = 0xffff;
        s->attributes = X86_TYPE_ACCESSED | X86_TYPE_WRITABLE | X86_SEGMENT_S | X86_SEGMENT_P |
                        3 << X86_SEGMENT_DPL_SHIFT;
    }
}

int x86_load_segment(struct x86_cpu *cpu, unsigned segment, uint16_t selector)
{
    enum x86_operating_mode mode = x86_mode(cpu);
    const struct x86_segment *ldt = &cpu->segment[X86_LDTR];
    uint64_t base = cpu->gdt.base, words[2] = {0, 0};
    uint32_t limit = cpu->gdt.limit, index = selector & 0xfff8u;
    bool system = segment == X86_LDTR || segment == X86_TR;
    unsigned size = system && cpu->efer & X86_EFER_LMA ? 16 : 8;

    if (!system && (mode == X86_MODE_REAL || mode == X86_MODE_V86)) {
        load_real(&cpu->segment[segment], selector, mode == X86_MODE_V86);
        return 0;
    }
    if (!(selector & 0xfffc)) {
        cpu->segment[segment] = (struct x86_segment){.selector = selector};
        return 0;
    }
    if (selector & 4) {
        if (system || !(ldt->attributes & X86_SEGMENT_P)) {
            return -EINVAL;
        }
        base = ldt->base;
        limit = ldt->limit;
    }
    if (index + size - 1 > limit) {
        return -EINVAL;
    }
    if (x86_read_linear(cpu, base + index, words, size) < 0) {
        return -EFAULT;
    }
    cpu->segment[segment] = x86_descriptor(selector, words[0], words[1] & UINT32_MAX);
    return 0;
}
