/*
 * Segments and modes (SDM volume 3, 2.2, 3.3 to 3.5): what the registers say about how code runs
 * and where it is, for debuggers, dumps and whoever loads descriptors.
 */
#ifndef TINAMOU_TARGET_X86_SEGMENT_H
#define TINAMOU_TARGET_X86_SEGMENT_H

#include "target/x86/cpu.h"

enum x86_operating_mode {
    X86_MODE_REAL,
    X86_MODE_V86,
    X86_MODE_PROTECTED_16, /* by the size of CS */
    X86_MODE_PROTECTED_32,
    X86_MODE_COMPATIBILITY_16, /* under IA32_EFER.LMA */
    X86_MODE_COMPATIBILITY_32,
    X86_MODE_64,
    X86_MODE_COUNT
};

enum x86_operating_mode x86_mode(const struct x86_cpu *cpu);
const char *x86_mode_name(enum x86_operating_mode mode); /* "real mode" */
/* Width of addresses that code forms: 16, 32 or 64 bits. */
unsigned x86_mode_bits(enum x86_operating_mode mode);

/* Current privilege level, 0 to 3. */
unsigned x86_privilege(const struct x86_cpu *cpu);

/*
 * The linear address of an offset in a segment register, wrapped as the mode wraps it: base and
 * offset are added modulo 2^32 outside of 64-bit mode; in 64-bit mode the bases of ES, CS, SS and
 * DS count as 0. Limits and rights are not looked at.
 */
uint64_t x86_linear(const struct x86_cpu *cpu, unsigned segment, uint64_t offset);

/* That of the next instruction: rip in CS. */
uint64_t x86_linear_pc(const struct x86_cpu *cpu);

/* Eight bytes of a descriptor table as what a segment register holds after it was loaded. `high`:
 * the next eight, for the 16-byte descriptors of 64-bit mode (system segments), else 0. */
struct x86_segment x86_descriptor(uint16_t selector, uint64_t low, uint64_t high);

/* The inverse: the eight bytes from which a load gives this segment. */
uint64_t x86_descriptor_bytes(const struct x86_segment *segment);

/*
 * Loads what a selector names, as a debugger that changes a segment register wants it: in real and
 * virtual 8086 mode from the selector alone, else from GDT or LDT in memory. Rights are not
 * checked. Null selectors give an unusable segment. 0; -EINVAL: beyond the table's limit, or the
 * LDT is not usable; -EFAULT: the table cannot be read.
 */
int x86_load_segment(struct x86_cpu *cpu, unsigned segment, uint16_t selector);

#endif
