/*
 * Comparisons, minimum, maximum, class and constants of the integer floating point against their
 * definitions.
 */
#include "tests/unit/softfp-reference.h"

enum relation { EQ, LT, LE, LTQ, LEQ, MIN, MAX, MINM, MAXM, RELATIONS };
static const char *const relation_names[] = {"eq",  "lt",  "le",   "ltq", "leq",
                                             "min", "max", "minm", "maxm"};

#define RELATION(T, U)                                                                           \
    static uint64_t relate_##T(enum relation r, uint64_t a, uint64_t b, uint8_t *flags)          \
    {                                                                                            \
        static uint64_t (*const tests[])(U, U, uint8_t *) = {                                    \
            rvfp_eq_##T, rvfp_lt_##T, rvfp_le_##T, rvfp_ltq_##T, rvfp_leq_##T};                  \
        static U (*const picks[])(U, U, uint8_t *) = {rvfp_min_##T, rvfp_max_##T, rvfp_minm_##T, \
                                                      rvfp_maxm_##T};                            \
                                                                                                 \
        return r < MIN ? tests[r]((U)a, (U)b, flags) : picks[r - MIN]((U)a, (U)b, flags);        \
    }                                                                                            \
    static uint64_t class_##T(uint64_t a)                                                        \
    {                                                                                            \
        return rvfp_class_##T((U)a);                                                             \
    }

RELATION(f16, uint16_t)
RELATION(f32, uint32_t)
RELATION(f64, uint64_t)

static uint64_t expect_relation(enum relation r, int format, uint64_t a, uint64_t b, uint8_t *flags)
{
    enum kind ka = kind_of(format, a), kb = kind_of(format, b);
    bool nan_a = ka == QUIET || ka == SIGNALLING, nan_b = kb == QUIET || kb == SIGNALLING;
    f128 x = ka == INFINITE ? power_of_two(2000) : value_of(format, a);
    f128 y = kb == INFINITE ? power_of_two(2000) : value_of(format, b);
    bool less;

    if (ka == INFINITE && sign_of(format, a)) {
        x = -x;
    }
    if (kb == INFINITE && sign_of(format, b)) {
        y = -y;
    }
    if (ka == SIGNALLING || kb == SIGNALLING || ((r == LT || r == LE) && (nan_a || nan_b))) {
        *flags = RVFP_NV;
    }
    if (r < MIN) {
        bool holds = r == EQ ? x == y : r == LT || r == LTQ ? x < y : x <= y;

        return !nan_a && !nan_b && holds;
    }
    if (nan_a || nan_b) {
        if ((nan_a && nan_b) || r == MINM || r == MAXM) {
            return nans[format];
        }
        return nan_a ? b : a;
    }
    less = x < y || (x == y && sign_of(format, a));
    return less == (r == MIN || r == MINM) ? a : b;
}

static void test_relation(int format, enum relation r, uint64_t *state)
{
    uint64_t (*run)(enum relation, uint64_t, uint64_t, uint8_t *) = BY_FORMAT(relate, format);
    const struct operand_format *f = &formats[format];

    for (unsigned i = 0; i < OPERANDS; i++) {
        uint64_t v[3] = {operand_make(state, f, 0), 0, 0};
        uint8_t flags = 0, expected_flags = 0;
        uint64_t expected, result;

        v[1] = operand_make(state, f, v[0]);
        expected = expect_relation(r, format, v[0], v[1], &expected_flags);
        result = run(r, v[0], v[1], &flags);
        compare(relation_names[r], f->name, 0, v, result, flags, expected, expected_flags);
    }
    finish(relation_names[r], f->name);
}

static void test_class(int format, uint64_t *state)
{
    uint64_t (*run)(uint64_t) = BY_FORMAT(class, format);

    for (unsigned i = 0; i < unary_count(format); i++) {
        uint64_t v[3] = {unary_operand(format, i, state), 0, 0};
        bool sign = sign_of(format, v[0]);
        int bit = 0;

        switch (kind_of(format, v[0])) {
        case ZERO:
            bit = sign ? 3 : 4;
            break;
        case FINITE:
            bit = exponent_of(format, v[0]) == 0 ? (sign ? 2 : 5) : (sign ? 1 : 6);
            break;
        case INFINITE:
            bit = sign ? 0 : 7;
            break;
        case SIGNALLING:
            bit = 8;
            break;
        case QUIET:
            bit = 9;
            break;
        }
        compare("class", formats[format].name, 0, v, run(v[0]), 0, UINT64_C(1) << bit, 0);
    }
    finish("class", formats[format].name);
}

static void test_fli(int format)
{
    static const double values[] = {-1,   0,     0x1p-16, 0x1p-15, 0x1p-8, 0x1p-7, 0.0625, 0.125,
                                    0.25, .3125, .375,    .4375,   0.5,    0.625,  0.75,   0.875,
                                    1,    1.25,  1.5,     1.75,    2,      2.5,    3,      4,
                                    8,    16,    128,     256,     0x1p15, 0x1p16};

    for (unsigned i = 0; i < 32; i++) {
        uint64_t v[3] = {i, 0, 0};
        uint8_t flags = 0;
        uint64_t result = format == F16   ? rvfp_fli_f16[i]
                          : format == F32 ? rvfp_fli_f32[i]
                                          : rvfp_fli_f64[i];
        uint64_t expected;

        if (i == 1) {
            expected = UINT64_C(1) << formats[format].frac_bits; /* least normal number */
        } else if (i == 30) {
            expected = infinity(format);
        } else if (i == 31) {
            expected = nans[format];
        } else {
            expected = round_to(format, values[i], RV_RM_RNE, &flags);
        }
        compare("fli", formats[format].name, 0, v, result, 0, expected, 0);
    }
    finish("fli", formats[format].name);
}

int main(void)
{
    static const int arithmetic_formats[] = {F16, F32, F64};
    uint64_t state = UINT64_C(0xfedcba9876543211);

    for (unsigned i = 0; i < 3; i++) {
        int format = arithmetic_formats[i];

        for (enum relation r = EQ; r < RELATIONS; r++) {
            test_relation(format, r, &state);
        }
        test_class(format, &state);
        test_fli(format);
    }
    return !all_passed;
}
