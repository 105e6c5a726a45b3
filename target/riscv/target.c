/*
 * The riscv64 target: what the vCPU contract (cpu/cpu.h) asks of a target, put together.
 *
 * Ranks of the globals: the order in which a back end pins them, integers and floating point
 * counted separately. Arguments come first, since calls pass through units; then what compilers
 * keep loop state in. gp and tp are read rarely and come last.
 */
#include <stdio.h>
#include <string.h>
#include "target/riscv/cpu.h"
#include "target/riscv/decode.h"
#include "target/riscv/helper.h"
#include "target/riscv/model.h"
#include "target/riscv/priv.h"
#include "target/riscv/trans.h"
#include "util/bits.h"
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* clang-format off */
#define X(n, name, rank) {name, offsetof(struct riscv_cpu, x) + 8 * (n), IR_I64, rank}
#define F(n, name, rank) {name, offsetof(struct riscv_cpu, f) + 8 * (n), IR_F64, rank}

static const struct ir_global globals[] = {
    X(1, "ra", 15),   X(2, "sp", 7),    X(3, "gp", 30),   X(4, "tp", 31),   X(5, "t0", 16),
    X(6, "t1", 13),   X(7, "t2", 17),   X(8, "s0", 8),    X(9, "s1", 9),    X(10, "a0", 1),
    X(11, "a1", 2),   X(12, "a2", 3),   X(13, "a3", 4),   X(14, "a4", 5),   X(15, "a5", 6),
    X(16, "a6", 10),  X(17, "a7", 11),  X(18, "s2", 12),  X(19, "s3", 18),  X(20, "s4", 19),
    X(21, "s5", 20),  X(22, "s6", 21),  X(23, "s7", 22),  X(24, "s8", 23),  X(25, "s9", 24),
    X(26, "s10", 25), X(27, "s11", 26), X(28, "t3", 14),  X(29, "t4", 27),  X(30, "t5", 28),
    X(31, "t6", 29),
    F(0, "ft0", 9),   F(1, "ft1", 10),  F(2, "ft2", 11),  F(3, "ft3", 12),  F(4, "ft4", 15),
    F(5, "ft5", 16),  F(6, "ft6", 17),  F(7, "ft7", 18),  F(8, "fs0", 13),  F(9, "fs1", 14),
    F(10, "fa0", 1),  F(11, "fa1", 2),  F(12, "fa2", 3),  F(13, "fa3", 4),  F(14, "fa4", 5),
    F(15, "fa5", 6),  F(16, "fa6", 7),  F(17, "fa7", 8),  F(18, "fs2", 19), F(19, "fs3", 20),
    F(20, "fs4", 21), F(21, "fs5", 22), F(22, "fs6", 23), F(23, "fs7", 24), F(24, "fs8", 25),
    F(25, "fs9", 26), F(26, "fs10", 27), F(27, "fs11", 28), F(28, "ft8", 29), F(29, "ft9", 30),
    F(30, "ft10", 31), F(31, "ft11", 32),
};
#undef X
#undef F
/* clang-format on */

_Static_assert(BITS_ARRAY_SIZE(globals) == RV_GLOBAL_COUNT, "globals");

static const struct ir_target ir = {
    .name = "riscv64",
    .globals = globals,
    .global_count = RV_GLOBAL_COUNT,
    .helpers = rv_helpers,
    .helper_count = RV_HELPER_COUNT,
    .pc_offset = offsetof(struct riscv_cpu, pc),
};

/* clang-format off */
#define X(n, name) {name, offsetof(struct riscv_cpu, x) + 8 * (n), 8}
#define F(n, name) {name, offsetof(struct riscv_cpu, f) + 8 * (n), 8}

static const struct cpu_register registers[] = {
    X(0, "zero"), X(1, "ra"),   X(2, "sp"),    X(3, "gp"),    X(4, "tp"),  X(5, "t0"),
    X(6, "t1"),   X(7, "t2"),   X(8, "s0"),    X(9, "s1"),    X(10, "a0"), X(11, "a1"),
    X(12, "a2"),  X(13, "a3"),  X(14, "a4"),   X(15, "a5"),   X(16, "a6"), X(17, "a7"),
    X(18, "s2"),  X(19, "s3"),  X(20, "s4"),   X(21, "s5"),   X(22, "s6"), X(23, "s7"),
    X(24, "s8"),  X(25, "s9"),  X(26, "s10"),  X(27, "s11"),  X(28, "t3"), X(29, "t4"),
    X(30, "t5"),  X(31, "t6"),  {"pc", offsetof(struct riscv_cpu, pc), 8},
    F(0, "ft0"),  F(1, "ft1"),  F(2, "ft2"),   F(3, "ft3"),   F(4, "ft4"), F(5, "ft5"),
    F(6, "ft6"),  F(7, "ft7"),  F(8, "fs0"),   F(9, "fs1"),   F(10, "fa0"), F(11, "fa1"),
    F(12, "fa2"), F(13, "fa3"), F(14, "fa4"),  F(15, "fa5"),  F(16, "fa6"), F(17, "fa7"),
    F(18, "fs2"), F(19, "fs3"), F(20, "fs4"),  F(21, "fs5"),  F(22, "fs6"), F(23, "fs7"),
    F(24, "fs8"), F(25, "fs9"), F(26, "fs10"), F(27, "fs11"), F(28, "ft8"), F(29, "ft9"),
    F(30, "ft10"), F(31, "ft11"),
    {"fflags", offsetof(struct riscv_cpu, fflags), 4},
    {"frm", offsetof(struct riscv_cpu, frm), 4},
    {NULL, 0, 0},
};
#undef X
#undef F

#define C(name) {#name, offsetof(struct riscv_cpu, sys.name), 8}

static const struct cpu_register system_registers[] = {
    {"priv", offsetof(struct riscv_cpu, sys.priv), 1},
    C(mstatus), C(misa), C(medeleg), C(mideleg), C(mie), C(mip), C(mtvec), C(mcounteren),
    C(mscratch), C(mepc), C(mcause), C(mtval), C(menvcfg), C(mseccfg),
    C(stvec), C(scounteren), C(sscratch), C(sepc), C(scause), C(stval), C(satp), C(senvcfg),
    C(stimecmp),
    {NULL, 0, 0},
};
#undef C
/* clang-format on */

static int set_model(struct cpu *cpu, const char *spec, char *error, size_t error_size)
{
    struct riscv_cpu *rv = riscv_cpu(cpu);
    int result = rv_model_parse(&rv->ext, spec, error, error_size);

    return result < 0 ? result : rv_model_parse_system(&rv->system_ext, spec, error, error_size);
}

static void reset(struct cpu *cpu)
{
    struct riscv_cpu *rv = riscv_cpu(cpu);
    char error[64];

    memset(rv->x, 0, sizeof(rv->x));
    memset(rv->f, 0, sizeof(rv->f));
    rv->pc = 0;
    rv->fflags = 0;
    rv->frm = 0;
    rv->reservation = 1;
    rv->reserved_value = 0;
    cpu->mode = 0;
    if (!rv_has(&rv->ext, RV_EXT_i)) {
        set_model(cpu, "", error, sizeof(error)); /* none chosen yet: the default */
    }
}

static unsigned disassemble(const struct cpu *cpu, uint64_t pc, const uint8_t *bytes,
                            unsigned length, char *text, size_t text_size)
{
    uint32_t bits = 0;
    unsigned need;

    memcpy(&bits, bytes, length < 4 ? length : 4);
    need = length < 2 ? 1 : rv_length(bits);
    if (need > length || length < 2) {
        snprintf(text, text_size, ".byte 0x%02x", bytes[0]);
        return 1;
    }
    rv_disassemble(bits, pc, text, text_size);
    return need;
}

/*
 * The host's floating-point environment. MXCSR's sticky flags are the guest's accrued flags while
 * generated code runs; the state's are OR-ed in whenever somebody looks. load_fpu sets the guest's
 * rounding mode with all exceptions masked and clears the host's flags; save_fpu moves them into
 * the state and puts the host's defaults back, so C code in between computes as it expects to.
 */
#if defined(__x86_64__)
enum { MXCSR_DEFAULT = 0x1f80 };

static void load_fpu(struct cpu *cpu)
{
    /* x86: 0 nearest, 1 down, 2 up, 3 towards zero */
    static const uint8_t rounding[4] = {0, 3, 1, 2};
    uint32_t frm = riscv_cpu(cpu)->frm;

    _mm_setcsr(MXCSR_DEFAULT | (unsigned)rounding[frm < 4 ? frm : 0] << 13);
}

static void save_fpu(struct cpu *cpu)
{
    unsigned csr = _mm_getcsr();

    /* MXCSR: IE 0, DE 1, ZE 2, OE 3, UE 4, PE 5. Guest: NX 0, UF 1, OF 2, DZ 3, NV 4. */
    riscv_cpu(cpu)->fflags |= (csr & 1) << 4 | (csr >> 2 & 1) << 3 | (csr >> 3 & 1) << 2 |
                              (csr >> 4 & 1) << 1 | (csr >> 5 & 1);
    _mm_setcsr(MXCSR_DEFAULT);
}
#else
#include <fenv.h>

static void load_fpu(struct cpu *cpu)
{
    static const int rounding[4] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    uint32_t frm = riscv_cpu(cpu)->frm;

    feclearexcept(FE_ALL_EXCEPT);
    fesetround(rounding[frm < 4 ? frm : 0]);
}

static void save_fpu(struct cpu *cpu)
{
    int flags = fetestexcept(FE_ALL_EXCEPT);

    riscv_cpu(cpu)->fflags |= (flags & FE_INVALID ? 16u : 0) | (flags & FE_DIVBYZERO ? 8u : 0) |
                              (flags & FE_OVERFLOW ? 4u : 0) | (flags & FE_UNDERFLOW ? 2u : 0) |
                              (flags & FE_INEXACT ? 1u : 0);
    feclearexcept(FE_ALL_EXCEPT);
    fesetround(FE_TONEAREST);
}
#endif

const struct cpu_target_ops riscv64_target_ops = {
    .name = "riscv64",
    .system = &riscv_system_ops,
    .state_size = sizeof(struct riscv_cpu),
    .pc_offset = offsetof(struct riscv_cpu, pc),
    .ir = &ir,
    .registers = registers,
    .system_registers = system_registers,
    .state = &riscv_state,
    .reset = reset,
    .set_model = set_model,
    .list_models = rv_model_list,
    .translate = rv_translate,
    .load_fpu = load_fpu,
    .save_fpu = save_fpu,
    .disassemble = disassemble,
};
