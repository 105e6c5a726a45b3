/*
 * Integer floating-point arithmetic against exact results, in all five rounding modes and all
 * formats; softfp.c compares the same code with the host's unit where that can judge.
 */
#include <xmmintrin.h>

#include "tests/unit/softfp-reference.h"

#define MXCSR_DEFAULT  0x1f80u
#define MXCSR_TRUNCATE 0x7f80u
#define MXCSR_INEXACT  0x20u

enum op { ADD, SUB, MUL, DIV, MULADD, SQRT, OPS };
static const char *const op_names[] = {"add", "sub", "mul", "div", "muladd", "sqrt"};
static const int op_operands[] = {2, 2, 2, 2, 3, 1};

/* An outcome before rounding: bits and flags, an exact zero sum, or a value. */
struct outcome {
    enum { BITS, ZERO_SUM, VALUE } kind;
    uint64_t bits;
    uint8_t flags;
    f128 value;
};

static f128 to_odd(enum op op, f128 x, f128 y)
{
    volatile f128 left = x, right = y, result;
    u128 bits;
    f128 r;

    _mm_setcsr(MXCSR_TRUNCATE);
    switch (op) {
    case ADD:
        result = left + right;
        break;
    case MUL:
        result = left * right;
        break;
    default:
        result = left / right;
        break;
    }
    r = result;
    if (_mm_getcsr() & MXCSR_INEXACT) {
        memcpy(&bits, &r, sizeof(bits));
        bits |= 1;
        memcpy(&r, &bits, sizeof(bits));
    }
    _mm_setcsr(MXCSR_DEFAULT);
    return r;
}

/* The root of a value with at most 24 bits; binary64 is then wide enough. */
static f128 root_to_odd(f128 x)
{
    double operand = (double)x, root;
    uint64_t bits;

    _mm_setcsr(MXCSR_TRUNCATE);
    __asm__ volatile("sqrtsd %1, %0" : "=x"(root) : "x"(operand));
    memcpy(&bits, &root, sizeof(bits));
    bits |= _mm_getcsr() & MXCSR_INEXACT ? 1 : 0;
    _mm_setcsr(MXCSR_DEFAULT);
    memcpy(&root, &bits, sizeof(bits));
    return root;
}

/*
 * With infinities, NaNs and division by zero only the kinds and signs matter: finite numbers are
 * replaced by one, and the host's binary64 answers.
 */
static double stand_in(int format, uint64_t bits)
{
    static const uint64_t patterns[] = {
        [ZERO] = 0,
        [FINITE] = UINT64_C(0x3ff0000000000000),
        [INFINITE] = UINT64_C(0x7ff0000000000000),
        [QUIET] = UINT64_C(0x7ff8000000000000),
        [SIGNALLING] = UINT64_C(0x7ff0000000000001),
    };
    uint64_t pattern = patterns[kind_of(format, bits)] | (uint64_t)sign_of(format, bits) << 63;
    double x;

    memcpy(&x, &pattern, sizeof(x));
    return x;
}

static struct outcome special(enum op op, int format, const uint64_t *v)
{
    struct outcome out = {.kind = BITS};
    double x = stand_in(format, v[0]), y = stand_in(format, v[1]), z = stand_in(format, v[2]);
    unsigned mxcsr;
    uint64_t bits;

    _mm_setcsr(MXCSR_DEFAULT);
    switch (op) {
    case ADD:
        __asm__ volatile("addsd %1, %0" : "+x"(x) : "x"(y));
        break;
    case SUB:
        __asm__ volatile("subsd %1, %0" : "+x"(x) : "x"(y));
        break;
    case MUL:
        __asm__ volatile("mulsd %1, %0" : "+x"(x) : "x"(y));
        break;
    case DIV:
        __asm__ volatile("divsd %1, %0" : "+x"(x) : "x"(y));
        break;
    case MULADD:
        __asm__ volatile("mulsd %1, %0\n\taddsd %2, %0" : "+x"(x) : "x"(y), "x"(z));
        break;
    default:
        __asm__ volatile("sqrtsd %0, %0" : "+x"(x));
        break;
    }
    mxcsr = _mm_getcsr();
    _mm_setcsr(MXCSR_DEFAULT);
    out.flags = (uint8_t)((mxcsr & 0x01 ? RVFP_NV : 0) | (mxcsr & 0x04 ? RVFP_DZ : 0));
    memcpy(&bits, &x, sizeof(bits));
    switch (kind_of(F64, bits)) {
    case ZERO:
        out.bits = signed_bits(format, sign_of(F64, bits), 0);
        break;
    case INFINITE:
        out.bits = signed_bits(format, sign_of(F64, bits), infinity(format));
        break;
    default:
        out.bits = nans[format];
        break;
    }
    return out;
}

static struct outcome evaluate(enum op op, int format, const uint64_t *v)
{
    struct outcome out = {.kind = VALUE};
    bool sign = sign_of(format, v[0]) != sign_of(format, v[1]);
    f128 x, y, z;

    for (int i = 0; i < op_operands[op]; i++) {
        if (kind_of(format, v[i]) >= INFINITE) {
            return special(op, format, v);
        }
    }
    if ((op == DIV && kind_of(format, v[1]) == ZERO) ||
        (op == SQRT && (kind_of(format, v[0]) == ZERO || sign_of(format, v[0])))) {
        return special(op, format, v);
    }
    x = value_of(format, v[0]);
    y = value_of(format, v[1]);
    z = value_of(format, v[2]);
    switch (op) {
    case SUB:
        out.value = to_odd(ADD, x, -y);
        break;
    case MULADD:
        out.value = to_odd(ADD, to_odd(MUL, x, y), z);
        break;
    case SQRT:
        out.value = root_to_odd(x);
        break;
    default:
        out.value = to_odd(op, x, y);
        break;
    }
    if (out.value == 0) {
        bool left = op == MULADD ? sign : sign_of(format, v[0]);
        bool right = op == MULADD ? sign_of(format, v[2]) : sign_of(format, v[1]) != (op == SUB);

        if ((op == MUL || op == DIV) || left == right) {
            out.kind = BITS;
            out.bits = signed_bits(format, op == MUL || op == DIV ? sign : left, 0);
        } else {
            out.kind = ZERO_SUM;
        }
    }
    return out;
}

static uint64_t round_outcome(const struct outcome *out, int format, unsigned rm, uint8_t *flags)
{
    *flags = out->flags;
    switch (out->kind) {
    case BITS:
        return out->bits;
    case ZERO_SUM:
        return signed_bits(format, rm == RV_RM_RDN, 0);
    default:
        return round_to(format, out->value, rm, flags);
    }
}

#define ARITHMETIC(T, U)                                                                  \
    static uint64_t run_##T(enum op op, const uint64_t *v, enum rv_rm rm, uint8_t *flags) \
    {                                                                                     \
        U a = (U)v[0], b = (U)v[1], c = (U)v[2];                                          \
                                                                                          \
        switch (op) {                                                                     \
        case ADD:                                                                         \
            return rvfp_add_##T(a, b, rm, flags);                                         \
        case SUB:                                                                         \
            return rvfp_sub_##T(a, b, rm, flags);                                         \
        case MUL:                                                                         \
            return rvfp_mul_##T(a, b, rm, flags);                                         \
        case DIV:                                                                         \
            return rvfp_div_##T(a, b, rm, flags);                                         \
        case MULADD:                                                                      \
            return rvfp_muladd_##T(a, b, c, rm, flags);                                   \
        default:                                                                          \
            return rvfp_sqrt_##T(a, rm, flags);                                           \
        }                                                                                 \
    }

ARITHMETIC(f16, uint16_t)
ARITHMETIC(f32, uint32_t)
ARITHMETIC(f64, uint64_t)

static void test_arithmetic(int format, enum op op, uint64_t *state)
{
    uint64_t (*run)(enum op, const uint64_t *, enum rv_rm, uint8_t *) = BY_FORMAT(run, format);
    const struct operand_format *f = &formats[format];

    for (unsigned i = 0; i < OPERANDS; i++) {
        uint64_t a = operand_make(state, f, 0);
        uint64_t b = operand_make(state, f, a);
        uint64_t near = a;
        uint64_t v[3];
        uint8_t flags = 0;
        struct outcome out;

        if (op == MULADD && operand_random(state) & 1) {
            v[0] = a, v[1] = b, v[2] = 0;
            near = run(MUL, v, RV_RM_RNE, &flags); /* for sums that cancel */
        }
        v[0] = a, v[1] = b, v[2] = operand_make(state, f, near);
        out = evaluate(op, format, v);
        for (unsigned rm = RV_RM_RNE; rm <= RV_RM_RMM; rm++) {
            uint8_t expected_flags;
            uint64_t expected = round_outcome(&out, format, rm, &expected_flags);
            uint64_t result;

            flags = 0;
            result = run(op, v, rm, &flags);
            compare(op_names[op], f->name, rm, v, result, flags, expected, expected_flags);
        }
    }
    finish(op_names[op], f->name);
}

/* A square root is never halfway between two numbers, so the two modes to nearest agree. */
static void test_sqrt_f64(uint64_t *state)
{
    for (unsigned i = 0; i < OPERANDS; i++) {
        uint64_t v[3] = {operand_make(state, &formats[F64], 0), 0, 0};
        uint8_t flags = 0, expected_flags = 0;
        uint64_t expected = rvfp_sqrt_f64(v[0], RV_RM_RNE, &expected_flags);
        uint64_t result = rvfp_sqrt_f64(v[0], RV_RM_RMM, &flags);

        compare("sqrt", "f64", RV_RM_RMM, v, result, flags, expected, expected_flags);
    }
    finish("sqrt", "f64");
}

int main(void)
{
    static const int arithmetic_formats[] = {F16, F32, F64};
    uint64_t state = UINT64_C(0xfedcba9876543211);

    for (unsigned i = 0; i < 3; i++) {
        for (enum op op = ADD; op < OPS; op++) {
            if (op == SQRT && arithmetic_formats[i] == F64) {
                test_sqrt_f64(&state);
            } else {
                test_arithmetic(arithmetic_formats[i], op, &state);
            }
        }
    }
    return !all_passed;
}
