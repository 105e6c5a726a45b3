/*
 * Integer floating point against the host's unit: results and flags of every operation that SSE2
 * has (FMA3 and F16C too, where the CPU has them), under the four rounding modes of MXCSR. The
 * host's NaNs are made canonical first; everything else must be equal bit for bit.
 *
 * Ties to maximum magnitude, half precision and the unsigned conversions, which the host lacks, are
 * tested in softfp-exact.c and softfp-convert.c. The host instructions are written as assembly, so
 * that no compiler moves one across a change of MXCSR.
 */
#include <cpuid.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <xmmintrin.h>

#include "target/riscv/softfp.h"
#include "tests/unit/softfp-operands.h"

#define OPERANDS 25000

static const struct operand_format formats[] = {
    {"f16", 5, 10},
    {"f32", 8, 23},
    {"f64", 11, 52},
};
enum { F16, F32, F64, INTEGER };

/* MXCSR: all exceptions masked, flags clear, rounding control in bits 14:13. */
#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_INVALID 0x01u
static const struct {
    enum rv_rm rm;
    const char *name;
    unsigned mxcsr;
} modes[] = {
    {RV_RM_RNE, "RNE", MXCSR_DEFAULT},
    {RV_RM_RDN, "RDN", MXCSR_DEFAULT | 1 << 13},
    {RV_RM_RUP, "RUP", MXCSR_DEFAULT | 2 << 13},
    {RV_RM_RTZ, "RTZ", MXCSR_DEFAULT | 3 << 13},
};

struct test {
    const char *name;
    int from, to; /* operand and result formats */
    int operands;
    uint64_t (*soft)(uint64_t a, uint64_t b, uint64_t c, enum rv_rm rm, uint8_t *flags);
    uint64_t (*host)(uint64_t a, uint64_t b, uint64_t c);
    const char *feature; /* of the host CPU, beyond the baseline */
};

static uint8_t flags_of(unsigned mxcsr)
{
    return (uint8_t)((mxcsr & 0x01 ? RVFP_NV : 0) | (mxcsr & 0x04 ? RVFP_DZ : 0) |
                     (mxcsr & 0x08 ? RVFP_OF : 0) | (mxcsr & 0x10 ? RVFP_UF : 0) |
                     (mxcsr & 0x20 ? RVFP_NX : 0));
}

static bool is_nan(int format, uint64_t bits)
{
    const struct operand_format *f = &formats[format];
    uint64_t magnitude_mask = (UINT64_C(1) << (f->exp_bits + f->frac_bits)) - 1;
    uint64_t frac_mask = (UINT64_C(1) << f->frac_bits) - 1;

    return (bits & magnitude_mask) > (magnitude_mask & ~frac_mask);
}

static bool is_quiet(int format, uint64_t bits)
{
    return bits >> (formats[format].frac_bits - 1) & 1;
}

static uint64_t canonical(int format, uint64_t bits)
{
    static const uint64_t nans[] = {
        [F16] = RVFP_NAN_F16, [F32] = RVFP_NAN_F32, [F64] = RVFP_NAN_F64};

    return format != INTEGER && is_nan(format, bits) ? nans[format] : bits;
}

#define TO_HOST(C, U, VAR, BITS)                   \
    C VAR;                                         \
    do {                                           \
        U bits_of_##VAR = (U)(BITS);               \
        memcpy(&VAR, &bits_of_##VAR, sizeof(VAR)); \
    } while (0)

#define FROM_HOST(U, VAR)                           \
    do {                                            \
        U bits_of_result;                           \
        memcpy(&bits_of_result, &VAR, sizeof(VAR)); \
        return bits_of_result;                      \
    } while (0)

#define HOST_BINARY(OP, T, C, U, INSN)                                                      \
    static uint64_t host_##OP##_##T(uint64_t a, uint64_t b, uint64_t unused)                \
    {                                                                                       \
        TO_HOST(C, U, x, a);                                                                \
        TO_HOST(C, U, y, b);                                                                \
        __asm__ volatile(INSN " %1, %0" : "+x"(x) : "x"(y));                                \
        FROM_HOST(U, x);                                                                    \
    }                                                                                       \
    static uint64_t soft_##OP##_##T(uint64_t a, uint64_t b, uint64_t unused, enum rv_rm rm, \
                                    uint8_t *flags)                                         \
    {                                                                                       \
        return rvfp_##OP##_##T((U)a, (U)b, rm, flags);                                      \
    }

/* a * b + c with a in the destination: the form 213. */
#define HOST_MULADD(T, C, U, INSN)                                                     \
    static uint64_t host_muladd_##T(uint64_t a, uint64_t b, uint64_t c)                \
    {                                                                                  \
        TO_HOST(C, U, x, a);                                                           \
        TO_HOST(C, U, y, b);                                                           \
        TO_HOST(C, U, z, c);                                                           \
        __asm__ volatile(INSN " %2, %1, %0" : "+x"(x) : "x"(y), "x"(z));               \
        FROM_HOST(U, x);                                                               \
    }                                                                                  \
    static uint64_t soft_muladd_##T(uint64_t a, uint64_t b, uint64_t c, enum rv_rm rm, \
                                    uint8_t *flags)                                    \
    {                                                                                  \
        return rvfp_muladd_##T((U)a, (U)b, (U)c, rm, flags);                           \
    }

#define HOST_UNARY(OP, FROM_C, FROM_U, TO_C, TO_U, INSN)                                         \
    static uint64_t host_##OP(uint64_t a, uint64_t b, uint64_t c)                                \
    {                                                                                            \
        TO_C result;                                                                             \
        TO_HOST(FROM_C, FROM_U, x, a);                                                           \
        __asm__ volatile(INSN " %1, %0" : "=x"(result) : "x"(x));                                \
        FROM_HOST(TO_U, result);                                                                 \
    }                                                                                            \
    static uint64_t soft_##OP(uint64_t a, uint64_t b, uint64_t c, enum rv_rm rm, uint8_t *flags) \
    {                                                                                            \
        return rvfp_##OP((FROM_U)a, rm, flags);                                                  \
    }

/* x86 compares into EFLAGS: "seta" after comparing y with x is x < y, "setae" is x <= y. */
#define HOST_COMPARE(OP, T, C, U, INSN, SET)                                                   \
    static uint64_t host_##OP##_##T(uint64_t a, uint64_t b, uint64_t unused)                   \
    {                                                                                          \
        uint8_t result;                                                                        \
        TO_HOST(C, U, x, a);                                                                   \
        TO_HOST(C, U, y, b);                                                                   \
        __asm__ volatile(INSN " %1, %2\n\t" SET " %0" : "=r"(result) : "x"(x), "x"(y) : "cc"); \
        return result;                                                                         \
    }                                                                                          \
    static uint64_t soft_##OP##_##T(uint64_t a, uint64_t b, uint64_t unused, enum rv_rm rm,    \
                                    uint8_t *flags)                                            \
    {                                                                                          \
        return rvfp_##OP##_##T((U)a, (U)b, flags);                                             \
    }

#define HOST_EQUAL(T, C, U, INSN)                                                       \
    static uint64_t host_eq_##T(uint64_t a, uint64_t b, uint64_t unused)                \
    {                                                                                   \
        uint8_t equal, ordered;                                                         \
        TO_HOST(C, U, x, a);                                                            \
        TO_HOST(C, U, y, b);                                                            \
        __asm__ volatile(INSN " %2, %3\n\tsete %0\n\tsetnp %1"                          \
                         : "=&r"(equal), "=&r"(ordered)                                 \
                         : "x"(x), "x"(y)                                               \
                         : "cc");                                                       \
        return equal & ordered;                                                         \
    }                                                                                   \
    static uint64_t soft_eq_##T(uint64_t a, uint64_t b, uint64_t unused, enum rv_rm rm, \
                                uint8_t *flags)                                         \
    {                                                                                   \
        return rvfp_eq_##T((U)a, (U)b, flags);                                          \
    }

/* Where the host reports "integer indefinite", RISC-V saturates. */
#define HOST_TO_INTEGER(OP, FORMAT, C, U, INSN, MODIFIER, LOW, HIGH)                             \
    static uint64_t host_##OP(uint64_t a, uint64_t b, uint64_t c)                                \
    {                                                                                            \
        int64_t r = 0;                                                                           \
        TO_HOST(C, U, x, a);                                                                     \
        __asm__ volatile(INSN " %1, %" MODIFIER "0" : "=r"(r) : "x"(x));                         \
        r = (LOW) == INT32_MIN ? (int32_t)r : r;                                                 \
        if (r < (LOW) || r > (HIGH) || (_mm_getcsr() & MXCSR_INVALID)) {                         \
            bool negative = (U)a >> (sizeof(U) * 8 - 1);                                         \
            _mm_setcsr(MXCSR_DEFAULT | MXCSR_INVALID);                                           \
            r = negative && !is_nan(FORMAT, a) ? (LOW) : (HIGH);                                 \
        }                                                                                        \
        return (HIGH) == UINT32_MAX ? (uint64_t)(int32_t)r : (uint64_t)r;                        \
    }                                                                                            \
    static uint64_t soft_##OP(uint64_t a, uint64_t b, uint64_t c, enum rv_rm rm, uint8_t *flags) \
    {                                                                                            \
        return rvfp_##OP((U)a, rm, flags);                                                       \
    }

#define HOST_FROM_INTEGER(OP, I, C, U, INSN)                                                     \
    static uint64_t host_##OP(uint64_t a, uint64_t b, uint64_t c)                                \
    {                                                                                            \
        C result;                                                                                \
        __asm__ volatile(INSN " %1, %0" : "=x"(result) : "r"((I)a));                             \
        FROM_HOST(U, result);                                                                    \
    }                                                                                            \
    static uint64_t soft_##OP(uint64_t a, uint64_t b, uint64_t c, enum rv_rm rm, uint8_t *flags) \
    {                                                                                            \
        return rvfp_##OP(a, rm, flags);                                                          \
    }

#define HOST_FORMAT(T, FORMAT, C, U, S)                                                  \
    HOST_BINARY(add, T, C, U, "adds" S)                                                  \
    HOST_BINARY(sub, T, C, U, "subs" S)                                                  \
    HOST_BINARY(mul, T, C, U, "muls" S)                                                  \
    HOST_BINARY(div, T, C, U, "divs" S)                                                  \
    HOST_UNARY(sqrt_##T, C, U, C, U, "sqrts" S)                                          \
    HOST_MULADD(T, C, U, "vfmadd213s" S)                                                 \
    HOST_EQUAL(T, C, U, "ucomis" S)                                                      \
    HOST_COMPARE(lt, T, C, U, "comis" S, "seta")                                         \
    HOST_COMPARE(le, T, C, U, "comis" S, "setae")                                        \
    HOST_COMPARE(ltq, T, C, U, "ucomis" S, "seta")                                       \
    HOST_COMPARE(leq, T, C, U, "ucomis" S, "setae")                                      \
    HOST_TO_INTEGER(to_i32_##T, FORMAT, C, U, "cvts" S "2si", "k", INT32_MIN, INT32_MAX) \
    HOST_TO_INTEGER(to_u32_##T, FORMAT, C, U, "cvts" S "2si", "q", 0, UINT32_MAX)        \
    HOST_TO_INTEGER(to_i64_##T, FORMAT, C, U, "cvts" S "2si", "q", INT64_MIN, INT64_MAX) \
    HOST_FROM_INTEGER(from_i32_##T, int32_t, C, U, "cvtsi2s" S "l")                      \
    HOST_FROM_INTEGER(from_u32_##T, uint64_t, C, U, "cvtsi2s" S "q")                     \
    HOST_FROM_INTEGER(from_i64_##T, int64_t, C, U, "cvtsi2s" S "q")

HOST_FORMAT(f32, F32, float, uint32_t, "s")
HOST_FORMAT(f64, F64, double, uint64_t, "d")
HOST_UNARY(cvt_f64_f32, float, uint32_t, double, uint64_t, "cvtss2sd")
HOST_UNARY(cvt_f32_f64, double, uint64_t, float, uint32_t, "cvtsd2ss")
/* A half travels in the low word of an SSE register. */
HOST_UNARY(cvt_f32_f16, float, uint32_t, float, uint32_t, "vcvtph2ps")
HOST_UNARY(cvt_f16_f32, float, uint32_t, float, uint32_t, "vcvtps2ph $4,")

#define TESTS(T, F)                                                                  \
    {"add_" #T, F, F, 2, soft_add_##T, host_add_##T, NULL},                          \
        {"sub_" #T, F, F, 2, soft_sub_##T, host_sub_##T, NULL},                      \
        {"mul_" #T, F, F, 2, soft_mul_##T, host_mul_##T, NULL},                      \
        {"div_" #T, F, F, 2, soft_div_##T, host_div_##T, NULL},                      \
        {"sqrt_" #T, F, F, 1, soft_sqrt_##T, host_sqrt_##T, NULL},                   \
        {"muladd_" #T, F, F, 3, soft_muladd_##T, host_muladd_##T, "fma"},            \
        {"eq_" #T, F, INTEGER, 2, soft_eq_##T, host_eq_##T, NULL},                   \
        {"lt_" #T, F, INTEGER, 2, soft_lt_##T, host_lt_##T, NULL},                   \
        {"le_" #T, F, INTEGER, 2, soft_le_##T, host_le_##T, NULL},                   \
        {"ltq_" #T, F, INTEGER, 2, soft_ltq_##T, host_ltq_##T, NULL},                \
        {"leq_" #T, F, INTEGER, 2, soft_leq_##T, host_leq_##T, NULL},                \
        {"to_i32_" #T, F, INTEGER, 1, soft_to_i32_##T, host_to_i32_##T, NULL},       \
        {"to_u32_" #T, F, INTEGER, 1, soft_to_u32_##T, host_to_u32_##T, NULL},       \
        {"to_i64_" #T, F, INTEGER, 1, soft_to_i64_##T, host_to_i64_##T, NULL},       \
        {"from_i32_" #T, INTEGER, F, 1, soft_from_i32_##T, host_from_i32_##T, NULL}, \
        {"from_u32_" #T, INTEGER, F, 1, soft_from_u32_##T, host_from_u32_##T, NULL}, \
    {                                                                                \
        "from_i64_" #T, INTEGER, F, 1, soft_from_i64_##T, host_from_i64_##T, NULL    \
    }

static const struct test tests[] = {
    TESTS(f32, F32),
    TESTS(f64, F64),
    {"cvt_f64_f32", F32, F64, 1, soft_cvt_f64_f32, host_cvt_f64_f32, NULL},
    {"cvt_f32_f64", F64, F32, 1, soft_cvt_f32_f64, host_cvt_f32_f64, NULL},
    {"cvt_f32_f16", F16, F32, 1, soft_cvt_f32_f16, host_cvt_f32_f16, "f16c"},
    {"cvt_f16_f32", F32, F16, 1, soft_cvt_f16_f32, host_cvt_f16_f32, "f16c"},
};

static bool host_has(const char *feature)
{
    unsigned eax, ebx, ecx, edx;

    if (feature == NULL) {
        return true;
    }
    if (strcmp(feature, "fma") == 0) {
        return __builtin_cpu_supports("fma");
    }
    /* Not every compiler's builtin knows the name f16c; the system's support is that of AVX. */
    return __builtin_cpu_supports("avx") && __get_cpuid(1, &eax, &ebx, &ecx, &edx) &&
           (ecx & bit_F16C);
}

static uint64_t make_operand(uint64_t *state, const struct test *t, uint64_t near)
{
    uint64_t r;

    if (t->from != INTEGER) {
        return operand_make(state, &formats[t->from], near);
    }
    r = operand_fraction(state, 63) << 1 | (operand_random(state) & 1);
    r >>= operand_random(state) % 64;
    r = operand_random(state) & 1 ? -r : r;
    /* The instruction takes the low word; the host's 64-bit form is given it zero-extended. */
    return strncmp(t->name, "from_u32", 8) == 0 ? (uint32_t)r : r;
}

/*
 * The host leaves open, and x86 denies, the invalid flag of infinity times zero plus a quiet NaN;
 * RISC-V requires it. Products are recognised here by the host's own multiplication.
 */
static uint8_t riscv_flags(const struct test *t, uint64_t a, uint64_t b, uint64_t c, uint8_t flags)
{
    uint64_t product;

    if (t->operands != 3 || !is_nan(t->from, c) || is_nan(t->from, a) || is_nan(t->from, b)) {
        return flags;
    }
    product = t->from == F32 ? host_mul_f32(a, b, 0) : host_mul_f64(a, b, 0);
    return is_nan(t->from, product) || !is_quiet(t->from, c) ? RVFP_NV : flags;
}

static bool run(const struct test *t, uint64_t *state)
{
    unsigned failures = 0;

    for (unsigned i = 0; i < OPERANDS; i++) {
        uint64_t a = make_operand(state, t, 0);
        uint64_t b = t->operands > 1 ? make_operand(state, t, a) : 0;
        uint64_t c = 0;

        if (t->operands == 3) {
            uint64_t product = t->from == F32 ? host_mul_f32(a, b, 0) : host_mul_f64(a, b, 0);

            c = make_operand(state, t, operand_random(state) & 1 ? product : a);
        }
        for (unsigned m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
            uint8_t flags = 0, expected_flags;
            uint64_t result, expected;

            _mm_setcsr(modes[m].mxcsr);
            expected = t->host(a, b, c);
            expected_flags = flags_of(_mm_getcsr());
            _mm_setcsr(MXCSR_DEFAULT);
            expected = canonical(t->to, expected);
            expected_flags = riscv_flags(t, a, b, c, expected_flags);

            result = t->soft(a, b, c, modes[m].rm, &flags);
            if ((result != expected || flags != expected_flags) && failures++ < 5) {
                printf("# %s %s %" PRIx64 " %" PRIx64 " %" PRIx64 ": %" PRIx64 " flags %02x, "
                       "the host says %" PRIx64 " flags %02x\n",
                       t->name, modes[m].name, a, b, c, result, flags, expected, expected_flags);
            }
        }
    }
    return failures == 0;
}

int main(void)
{
    uint64_t state = UINT64_C(0x123456789abcdef1);
    bool passed = true;

    for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        const struct test *t = &tests[i];
        bool ok;

        if (!host_has(t->feature)) {
            printf("ok - softfp %s # SKIP host CPU lacks %s\n", t->name, t->feature);
            continue;
        }
        ok = run(t, &state);
        printf("%s - softfp %s equals the host\n", ok ? "ok" : "not ok", t->name);
        passed &= ok;
    }
    return !passed;
}
