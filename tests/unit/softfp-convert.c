/*
 * Conversions of the integer floating point against exact results: between formats, to and from
 * integers, to integral values; in all five rounding modes, exhaustively for 16-bit operands.
 */
#include "tests/unit/softfp-reference.h"

/* Conversions between formats. */

#define CONVERSION(TO, TO_F, FROM, FROM_F, U)                                        \
    static uint64_t convert_##TO##_##FROM(uint64_t a, enum rv_rm rm, uint8_t *flags) \
    {                                                                                \
        return rvfp_cvt_##TO##_##FROM((U)a, rm, flags);                              \
    }
#define CONVERSIONS(X)                \
    X(f16, F16, bf16, BF16, uint16_t) \
    X(f16, F16, f32, F32, uint32_t)   \
    X(f16, F16, f64, F64, uint64_t)   \
    X(bf16, BF16, f16, F16, uint16_t) \
    X(bf16, BF16, f32, F32, uint32_t) \
    X(bf16, BF16, f64, F64, uint64_t) \
    X(f32, F32, f16, F16, uint16_t)   \
    X(f32, F32, bf16, BF16, uint16_t) \
    X(f32, F32, f64, F64, uint64_t)   \
    X(f64, F64, f16, F16, uint16_t)   \
    X(f64, F64, bf16, BF16, uint16_t) \
    X(f64, F64, f32, F32, uint32_t)

CONVERSIONS(CONVERSION)

#define CONVERSION_ROW(TO, TO_F, FROM, FROM_F, U) {"cvt_" #TO, TO_F, FROM_F, convert_##TO##_##FROM},
static const struct {
    const char *name;
    int to, from;
    uint64_t (*run)(uint64_t a, enum rv_rm rm, uint8_t *flags);
} conversions[] = {CONVERSIONS(CONVERSION_ROW)};

static void test_conversion(unsigned index, uint64_t *state)
{
    int to = conversions[index].to, from = conversions[index].from;

    for (unsigned i = 0; i < unary_count(from); i++) {
        uint64_t v[3] = {unary_operand(from, i, state), 0, 0};
        enum kind kind = kind_of(from, v[0]);

        for (unsigned rm = RV_RM_RNE; rm <= RV_RM_RMM; rm++) {
            uint8_t flags = 0, expected_flags = 0;
            uint64_t result = conversions[index].run(v[0], rm, &flags);
            uint64_t expected;

            if (kind == QUIET || kind == SIGNALLING) {
                expected = nans[to];
                expected_flags = kind == SIGNALLING ? RVFP_NV : 0;
            } else if (kind == FINITE) {
                expected = round_to(to, value_of(from, v[0]), rm, &expected_flags);
            } else {
                expected = signed_bits(to, sign_of(from, v[0]), kind == ZERO ? 0 : infinity(to));
            }
            compare(conversions[index].name, formats[from].name, rm, v, result, flags, expected,
                    expected_flags);
        }
    }
    finish(conversions[index].name, formats[from].name);
}

/* Integers. */

static const struct {
    const char *name;
    i128 low, high;
    int bits;
} integers[] = {
    {"i32", INT32_MIN, INT32_MAX, 32},
    {"u32", 0, UINT32_MAX, 32},
    {"i64", INT64_MIN, INT64_MAX, 64},
    {"u64", 0, UINT64_MAX, 64},
};

#define INTEGER_FUNCTIONS(T, U)                                                             \
    static uint64_t to_integer_##T(int type, uint64_t a, enum rv_rm rm, uint8_t *flags)     \
    {                                                                                       \
        switch (type) {                                                                     \
        case 0:                                                                             \
            return rvfp_to_i32_##T((U)a, rm, flags);                                        \
        case 1:                                                                             \
            return rvfp_to_u32_##T((U)a, rm, flags);                                        \
        case 2:                                                                             \
            return rvfp_to_i64_##T((U)a, rm, flags);                                        \
        default:                                                                            \
            return rvfp_to_u64_##T((U)a, rm, flags);                                        \
        }                                                                                   \
    }                                                                                       \
    static uint64_t from_integer_##T(int type, uint64_t a, enum rv_rm rm, uint8_t *flags)   \
    {                                                                                       \
        switch (type) {                                                                     \
        case 0:                                                                             \
            return rvfp_from_i32_##T(a, rm, flags);                                         \
        case 1:                                                                             \
            return rvfp_from_u32_##T(a, rm, flags);                                         \
        case 2:                                                                             \
            return rvfp_from_i64_##T(a, rm, flags);                                         \
        default:                                                                            \
            return rvfp_from_u64_##T(a, rm, flags);                                         \
        }                                                                                   \
    }                                                                                       \
    static uint64_t integral_##T(int exact, uint64_t a, enum rv_rm rm, uint8_t *flags)      \
    {                                                                                       \
        return exact ? rvfp_roundnx_##T((U)a, rm, flags) : rvfp_round_##T((U)a, rm, flags); \
    }

INTEGER_FUNCTIONS(f16, uint16_t)
INTEGER_FUNCTIONS(f32, uint32_t)
INTEGER_FUNCTIONS(f64, uint64_t)

typedef uint64_t integer_function(int type, uint64_t a, enum rv_rm rm, uint8_t *flags);

static uint64_t expect_integer(int type, int format, uint64_t bits, unsigned rm, uint8_t *flags)
{
    enum kind kind = kind_of(format, bits);
    bool sign = sign_of(format, bits), inexact = false;
    i128 n;

    if (kind == QUIET || kind == SIGNALLING) {
        *flags = RVFP_NV;
        n = integers[type].high;
    } else if (kind == INFINITE) {
        *flags = RVFP_NV;
        n = sign ? integers[type].low : integers[type].high;
    } else if (kind == ZERO) {
        n = 0;
    } else {
        u128 significand;
        int exp;

        split(value_of(format, bits), &sign, &exp, &significand);
        n = exp > 100 ? (i128)1 << 100 : (i128)multiple_of(sign, exp, significand, 0, rm, &inexact);
        n = sign ? -n : n;
        *flags = inexact ? RVFP_NX : 0;
        if (n < integers[type].low || n > integers[type].high) {
            *flags = RVFP_NV;
            n = sign ? integers[type].low : integers[type].high;
        }
    }
    return integers[type].bits == 32 ? (uint64_t)(int32_t)n : (uint64_t)n;
}

static void test_to_integer(int format, int type, uint64_t *state)
{
    integer_function *run = BY_FORMAT(to_integer, format);
    char name[16];

    snprintf(name, sizeof(name), "to_%s", integers[type].name);
    for (unsigned i = 0; i < unary_count(format); i++) {
        uint64_t v[3] = {unary_operand(format, i, state), 0, 0};

        for (unsigned rm = RV_RM_RNE; rm <= RV_RM_RMM; rm++) {
            uint8_t flags = 0, expected_flags = 0;
            uint64_t expected = expect_integer(type, format, v[0], rm, &expected_flags);
            uint64_t result = run(type, v[0], rm, &flags);

            compare(name, formats[format].name, rm, v, result, flags, expected, expected_flags);
        }
    }
    finish(name, formats[format].name);
}

static void test_from_integer(int format, int type, uint64_t *state)
{
    integer_function *run = BY_FORMAT(from_integer, format);
    char name[16];

    snprintf(name, sizeof(name), "from_%s", integers[type].name);
    for (unsigned i = 0; i < OPERANDS; i++) {
        uint64_t v[3] = {0, 0, 0};
        f128 x;

        v[0] = operand_fraction(state, 63) << 1 | (operand_random(state) & 1);
        v[0] >>= operand_random(state) % 65 & 63;
        v[0] = operand_random(state) & 1 ? -v[0] : v[0];
        switch (type) {
        case 0:
            x = (int32_t)v[0];
            break;
        case 1:
            x = (uint32_t)v[0];
            break;
        case 2:
            x = (int64_t)v[0];
            break;
        default:
            x = v[0];
            break;
        }
        for (unsigned rm = RV_RM_RNE; rm <= RV_RM_RMM; rm++) {
            uint8_t flags = 0, expected_flags = 0;
            uint64_t expected = x == 0 ? 0 : round_to(format, x, rm, &expected_flags);
            uint64_t result = run(type, v[0], rm, &flags);

            compare(name, formats[format].name, rm, v, result, flags, expected, expected_flags);
        }
    }
    finish(name, formats[format].name);
}

static void test_integral(int format, int exact, uint64_t *state)
{
    integer_function *run = BY_FORMAT(integral, format);
    const char *name = exact ? "roundnx" : "round";

    for (unsigned i = 0; i < unary_count(format); i++) {
        uint64_t v[3] = {unary_operand(format, i, state), 0, 0};
        enum kind kind = kind_of(format, v[0]);

        for (unsigned rm = RV_RM_RNE; rm <= RV_RM_RMM; rm++) {
            uint8_t flags = 0, expected_flags = 0;
            uint64_t expected = v[0];
            uint64_t result = run(exact, v[0], rm, &flags);

            if (kind == QUIET || kind == SIGNALLING) {
                expected = nans[format];
                expected_flags = kind == SIGNALLING ? RVFP_NV : 0;
            } else if (kind == FINITE &&
                       exponent_of(format, v[0]) < exponent_of(format, infinity(format)) / 2 + 64) {
                bool sign, inexact;
                u128 significand, n;
                int exp;

                split(value_of(format, v[0]), &sign, &exp, &significand);
                n = multiple_of(sign, exp, significand, 0, rm, &inexact);
                expected = n ? round_to(format, sign ? -(f128)n : (f128)n, rm, &expected_flags)
                             : signed_bits(format, sign, 0);
                expected_flags = exact && inexact ? RVFP_NX : 0;
            }
            compare(name, formats[format].name, rm, v, result, flags, expected, expected_flags);
        }
    }
    finish(name, formats[format].name);
}

/* The bits of the truncated integer one doubling at a time. */
static void test_modular(uint64_t *state)
{
    for (unsigned i = 0; i < OPERANDS; i++) {
        uint64_t v[3] = {operand_make(state, &formats[F64], 0), 0, 0};
        enum kind kind = kind_of(F64, v[0]);
        uint8_t flags = 0, expected_flags = 0;
        uint64_t result = rvfp_tomod_i32_f64(v[0], &flags);
        uint32_t low = 0;

        expect_integer(0, F64, v[0], RV_RM_RTZ, &expected_flags);
        if (kind == FINITE && exponent_of(F64, v[0]) != 0) {
            uint64_t n = fraction_of(F64, v[0]) | UINT64_C(1) << 52;
            int exp = exponent_of(F64, v[0]) - 1023 - 52;

            for (; exp < 0 && n != 0; exp++) {
                n /= 2;
            }
            for (; exp > 0 && n != 0; exp--) {
                n = n * 2 % (UINT64_C(1) << 32);
            }
            low = (uint32_t)(sign_of(F64, v[0]) ? -n : n);
        }
        compare("tomod_i32", "f64", RV_RM_RTZ, v, result, flags, (uint64_t)(int32_t)low,
                expected_flags);
    }
    finish("tomod_i32", "f64");
}

int main(void)
{
    static const int arithmetic_formats[] = {F16, F32, F64};
    uint64_t state = UINT64_C(0xfedcba9876543211);

    for (unsigned i = 0; i < 3; i++) {
        int format = arithmetic_formats[i];

        for (int type = 0; type < 4; type++) {
            test_to_integer(format, type, &state);
            test_from_integer(format, type, &state);
        }
        test_integral(format, 0, &state);
        test_integral(format, 1, &state);
    }
    for (unsigned i = 0; i < sizeof(conversions) / sizeof(conversions[0]); i++) {
        test_conversion(i, &state);
    }
    test_modular(&state);
    return !all_passed;
}
