/*
 * The x86-64 target: what the vCPU contract (cpu/cpu.h) asks of a target, put together. There is no
 * translation yet: vCPUs are run by accelerators that need none.
 *
 * Registers are listed in the order in which gdb numbers those of its target description
 * (org.gnu.gdb.i386.core, .sse, .linux or .segments, .avx). Where gdb has a register wider than the
 * state, its upper bits are zero.
 */
#include "target/x86/arch.h"
#include "target/x86/cpu.h"
#include "target/x86/segment.h"
#include "util/bits.h"
#include "util/disas.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
#define O(field)            offsetof(struct x86_cpu, field)
#define G(n, name)          {name, O(gpr) + 8 * (n), 8}
#define S(n, name)          {name, O(segment) + (n) * sizeof(struct x86_segment) + \
                                   offsetof(struct x86_segment, selector), 2}
#define X(name, at, size)   {name, O(xsave) + (at), size}
#define ST(n, name)         X(name, X86_XSAVE_ST + 16 * (n), 10)
#define XMM(n, name)        X(name, X86_XSAVE_XMM + 16 * (n), 16)
#define YMMH(n, name)       X(name, X86_XSAVE_AVX + 16 * (n), 16)
#define C(name)             {#name, O(name), 8}

static const struct cpu_register registers[] = {
    G(X86_RAX, "rax"), G(X86_RBX, "rbx"), G(X86_RCX, "rcx"), G(X86_RDX, "rdx"),
    G(X86_RSI, "rsi"), G(X86_RDI, "rdi"), G(X86_RBP, "rbp"), G(X86_RSP, "rsp"),
    G(8, "r8"), G(9, "r9"), G(10, "r10"), G(11, "r11"),
    G(12, "r12"), G(13, "r13"), G(14, "r14"), G(15, "r15"),
    {"rip", O(rip), 8}, {"eflags", O(rflags), 4},
    S(X86_CS, "cs"), S(X86_SS, "ss"), S(X86_DS, "ds"), S(X86_ES, "es"), S(X86_FS, "fs"),
    S(X86_GS, "gs"),
    ST(0, "st0"), ST(1, "st1"), ST(2, "st2"), ST(3, "st3"), ST(4, "st4"), ST(5, "st5"),
    ST(6, "st6"), ST(7, "st7"),
    X("fctrl", X86_XSAVE_FCW, 2), X("fstat", X86_XSAVE_FSW, 2), X("ftag", X86_XSAVE_FTW, 1),
    X("fiseg", X86_XSAVE_FIP + 4, 2), X("fioff", X86_XSAVE_FIP, 4),
    X("foseg", X86_XSAVE_FDP + 4, 2), X("fooff", X86_XSAVE_FDP, 4), X("fop", X86_XSAVE_FOP, 2),
    XMM(0, "xmm0"), XMM(1, "xmm1"), XMM(2, "xmm2"), XMM(3, "xmm3"), XMM(4, "xmm4"),
    XMM(5, "xmm5"), XMM(6, "xmm6"), XMM(7, "xmm7"), XMM(8, "xmm8"), XMM(9, "xmm9"),
    XMM(10, "xmm10"), XMM(11, "xmm11"), XMM(12, "xmm12"), XMM(13, "xmm13"), XMM(14, "xmm14"),
    XMM(15, "xmm15"), X("mxcsr", X86_XSAVE_MXCSR, 4),
    {NULL, 0, 0},
};

static const struct cpu_register system_registers[] = {
    {"fs_base", O(segment[X86_FS].base), 8}, {"gs_base", O(segment[X86_GS].base), 8},
    {"k_gs_base", O(msr[X86_MSR_kernel_gs_base]), 8},
    C(cr0), C(cr2), C(cr3), C(cr4), C(cr8), C(efer),
    YMMH(0, "ymm0h"), YMMH(1, "ymm1h"), YMMH(2, "ymm2h"), YMMH(3, "ymm3h"), YMMH(4, "ymm4h"),
    YMMH(5, "ymm5h"), YMMH(6, "ymm6h"), YMMH(7, "ymm7h"), YMMH(8, "ymm8h"), YMMH(9, "ymm9h"),
    YMMH(10, "ymm10h"), YMMH(11, "ymm11h"), YMMH(12, "ymm12h"), YMMH(13, "ymm13h"),
    YMMH(14, "ymm14h"), YMMH(15, "ymm15h"),
    {NULL, 0, 0},
};
/* clang-format on */

/* ---- model-specific registers ---------------------------------------------------------------- */

static const struct {
    uint32_t number;
    const char *name, *feature;
} msrs[X86_MSR_COUNT] = {
#define X86_MSR(id, number, name, reset, feature) {number, name, feature},
#include "target/x86/msrs.def"
#undef X86_MSR
};

uint32_t x86_msr_number(enum x86_msr msr)
{
    return msrs[msr].number;
}

const char *x86_msr_name(enum x86_msr msr)
{
    return msrs[msr].name;
}

enum x86_msr x86_msr_find(uint32_t number)
{
    unsigned n = 0;

    while (n < X86_MSR_COUNT && msrs[n].number != number) {
        n++;
    }
    return (enum x86_msr)n;
}

bool x86_msr_present(const struct x86_cpu *cpu, enum x86_msr msr)
{
    const char *feature = msrs[msr].feature;

    if (!feature) {
        return true;
    }
    return !strcmp(feature, "pmu") ? cpu->model.pmu : x86_model_has(&cpu->model, feature);
}

/* ---- the vCPU contract ----------------------------------------------------------------------- */

static int set_model(struct cpu *cpu, const char *spec, char *error, size_t error_size)
{
    struct x86_cpu *x86 = x86_cpu(cpu);
    int err = x86_model_set(&x86->model, spec, error, error_size);

    if (!err) {
        x86_power_up(x86); /* registers depend on it: the signature, capabilities */
    }
    return err;
}

static void reset(struct cpu *cpu)
{
    struct x86_cpu *x86 = x86_cpu(cpu);
    char error[128];

    if (!x86->model.name) {
        x86_model_set(&x86->model, "base", error, sizeof(error)); /* none chosen yet */
    }
    x86_power_up(x86);
}

static unsigned disassemble(const struct cpu *cpu, uint64_t pc, const uint8_t *bytes,
                            unsigned length, char *text, size_t text_size)
{
    static const enum disas_arch archs[] = {
        [X86_MODE_REAL] = DISAS_X86_16,
        [X86_MODE_V86] = DISAS_X86_16,
        [X86_MODE_PROTECTED_16] = DISAS_X86_16,
        [X86_MODE_PROTECTED_32] = DISAS_X86_32,
        [X86_MODE_COMPATIBILITY_16] = DISAS_X86_16,
        [X86_MODE_COMPATIBILITY_32] = DISAS_X86_32,
        [X86_MODE_64] = DISAS_X86_64,
    };
    const struct x86_cpu *x86 = (const struct x86_cpu *)cpu;
    size_t used = disas_one(archs[x86_mode(x86)], bytes, length, pc, text, text_size);

    return used ? (unsigned)used : 1;
}

const struct cpu_target_ops x86_64_target_ops = {
    .name = "x86_64",
    .system = &x86_system_ops,
    .state_size = sizeof(struct x86_cpu),
    .pc_offset = offsetof(struct x86_cpu, rip),
    .registers = registers,
    .system_registers = system_registers,
    .reset = reset,
    .set_model = set_model,
    .list_models = x86_model_list,
    .disassemble = disassemble,
};
