/*
 * The reference of the floating-point tests: what bits mean as exact values, and the rounding of an
 * exact value to a format in all five modes. It works on binary128, compares remainders with half
 * a quantum, and shares nothing with the code under test.
 *
 * A result that binary128 cannot hold is passed rounded to odd: towards zero, then the last bit set
 * if anything was lost. With 113 bits, which is more than twice 53 plus two, rounding that a second
 * time gives the correctly rounded result in every mode.
 */
#ifndef TINAMOU_TESTS_UNIT_SOFTFP_REFERENCE_H
#define TINAMOU_TESTS_UNIT_SOFTFP_REFERENCE_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "target/riscv/softfp.h"
#include "tests/unit/softfp-operands.h"

#define OPERANDS 25000

typedef __float128 f128;
typedef unsigned __int128 u128;
typedef __int128 i128;

enum { F16, BF16, F32, F64 };
static const struct operand_format formats[] = {
    {"f16", 5, 10},
    {"bf16", 8, 7},
    {"f32", 8, 23},
    {"f64", 11, 52},
};
static const uint64_t nans[] = {RVFP_NAN_F16, RVFP_NAN_BF16, RVFP_NAN_F32, RVFP_NAN_F64};
static const char *const mode_names[] = {"RNE", "RTZ", "RDN", "RUP", "RMM"};

static unsigned failures; /* of the test that is running */
static bool all_passed = true;

static inline void compare(const char *name, const char *type, unsigned rm,
                           const uint64_t *operands, uint64_t result, uint8_t flags,
                           uint64_t expected, uint8_t expected_flags)
{
    if ((result != expected || flags != expected_flags) && failures++ < 5) {
        printf("# %s_%s %s %" PRIx64 " %" PRIx64 " %" PRIx64 ": %" PRIx64 " flags %02x, "
               "expected %" PRIx64 " flags %02x\n",
               name, type, mode_names[rm], operands[0], operands[1], operands[2], result, flags,
               expected, expected_flags);
    }
}

static inline void finish(const char *name, const char *type)
{
    printf("%s - softfp %s_%s is exact\n", failures ? "not ok" : "ok", name, type);
    all_passed &= failures == 0;
    failures = 0;
}

/* What a format's bits mean. */

enum kind { ZERO, FINITE, INFINITE, QUIET, SIGNALLING };

static inline bool sign_of(int format, uint64_t bits)
{
    return bits >> (formats[format].exp_bits + formats[format].frac_bits) & 1;
}

static inline uint64_t signed_bits(int format, bool sign, uint64_t magnitude)
{
    return (uint64_t)sign << (formats[format].exp_bits + formats[format].frac_bits) | magnitude;
}

static inline uint64_t fraction_of(int format, uint64_t bits)
{
    return bits & ((UINT64_C(1) << formats[format].frac_bits) - 1);
}

static inline int exponent_of(int format, uint64_t bits)
{
    return (int)(bits >> formats[format].frac_bits & ((1u << formats[format].exp_bits) - 1));
}

static inline uint64_t infinity(int format)
{
    return ((UINT64_C(1) << formats[format].exp_bits) - 1) << formats[format].frac_bits;
}

static inline enum kind kind_of(int format, uint64_t bits)
{
    if (exponent_of(format, bits) == (1 << formats[format].exp_bits) - 1) {
        if (fraction_of(format, bits) == 0) {
            return INFINITE;
        }
        return bits >> (formats[format].frac_bits - 1) & 1 ? QUIET : SIGNALLING;
    }
    return exponent_of(format, bits) == 0 && fraction_of(format, bits) == 0 ? ZERO : FINITE;
}

static inline f128 power_of_two(int n)
{
    u128 bits = (u128)(unsigned)(n + 16383) << 112;
    f128 x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

static inline f128 value_of(int format, uint64_t bits)
{
    int bias = (1 << (formats[format].exp_bits - 1)) - 1;
    int biased = exponent_of(format, bits);
    uint64_t significand = fraction_of(format, bits);
    f128 x;

    if (biased) {
        significand |= UINT64_C(1) << formats[format].frac_bits;
    } else {
        biased = 1;
    }
    x = (f128)significand * power_of_two(biased - bias - formats[format].frac_bits);
    return sign_of(format, bits) ? -x : x;
}

/* The reference's rounding. */

static inline void split(f128 x, bool *sign, int *exp, u128 *significand)
{
    u128 bits;

    memcpy(&bits, &x, sizeof(bits));
    *sign = bits >> 127;
    *exp = (int)(bits >> 112 & 0x7fff) - 16383;
    *significand = (bits & (((u128)1 << 112) - 1)) | (u128)1 << 112;
}

/* |x|, which is significand * 2^(exp - 112), as a multiple of 2^quantum. */
static inline u128 multiple_of(bool sign, int exp, u128 significand, int quantum, unsigned rm,
                               bool *inexact)
{
    int shift = quantum - (exp - 112);
    u128 whole, rest, unit;

    if (shift <= 0) {
        *inexact = false;
        return significand << -shift;
    }
    if (shift > 116) {
        shift = 116; /* still less than a quarter of the quantum */
    }
    unit = (u128)1 << shift;
    whole = significand / unit;
    rest = significand % unit;
    *inexact = rest != 0;
    if ((rm == RV_RM_RNE && (2 * rest > unit || (2 * rest == unit && whole % 2 == 1))) ||
        (rm == RV_RM_RMM && 2 * rest >= unit) || (rm == RV_RM_RDN && sign && rest != 0) ||
        (rm == RV_RM_RUP && !sign && rest != 0)) {
        whole++;
    }
    return whole;
}

static inline uint64_t round_to(int format, f128 x, unsigned rm, uint8_t *flags)
{
    int precision = formats[format].frac_bits + 1;
    int max_exp = (1 << (formats[format].exp_bits - 1)) - 1;
    int min_exp = 1 - max_exp;
    u128 hidden = (u128)1 << (precision - 1);
    u128 significand, n;
    int exp, top;
    bool sign, inexact, unbounded_inexact, tiny;

    split(x, &sign, &exp, &significand);

    /* Tiny: below the normal range when rounded with an unbounded exponent. */
    n = multiple_of(sign, exp, significand, exp - precision + 1, rm, &unbounded_inexact);
    tiny = (n == 2 * hidden ? exp + 1 : exp) < min_exp;

    top = exp < min_exp ? min_exp : exp;
    n = multiple_of(sign, exp, significand, top - precision + 1, rm, &inexact);
    if (n == 2 * hidden) {
        n = hidden;
        top++;
    }
    if (top > max_exp) {
        bool to_infinity = rm == RV_RM_RNE || rm == RV_RM_RMM || (rm == RV_RM_RUP && !sign) ||
                           (rm == RV_RM_RDN && sign);

        *flags |= RVFP_OF | RVFP_NX;
        return signed_bits(format, sign, infinity(format) - (to_infinity ? 0 : 1));
    }
    *flags |= inexact ? RVFP_NX : 0;
    *flags |= inexact && tiny ? RVFP_UF : 0;
    if (n < hidden) {
        return signed_bits(format, sign, (uint64_t)n);
    }
    return signed_bits(format, sign,
                       (uint64_t)(top - min_exp + 1) << (precision - 1) | (uint64_t)(n - hidden));
}

/* The function of a format that has all operations. */
#define BY_FORMAT(NAME, FORMAT) \
    ((FORMAT) == F16 ? NAME##_f16 : (FORMAT) == F32 ? NAME##_f32 : NAME##_f64)

/* 16-bit operands are tried exhaustively, wider ones at random. */
static inline unsigned unary_count(int format)
{
    return format == F16 || format == BF16 ? 1u << 16 : OPERANDS;
}

static inline uint64_t unary_operand(int format, unsigned i, uint64_t *state)
{
    return unary_count(format) == 1u << 16 ? i : operand_make(state, &formats[format], 0);
}

#endif
