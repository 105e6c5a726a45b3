/*
 * Minimum, maximum, comparisons and classification. None of them rounds; numbers compare as the
 * integers sign * magnitude, which leaves -0 equal to +0.
 */
#include "target/riscv/softfp-internal.h"

static bool is_nan(const struct rvfp_format *f, uint64_t bits)
{
    return (bits & ~f->sign) > f->inf;
}

/* The bit that tells a quiet NaN is the highest of the fraction. */
static bool is_snan(const struct rvfp_format *f, uint64_t bits)
{
    return is_nan(f, bits) && !(bits >> (f->frac_bits - 1) & 1);
}

static int64_t order(const struct rvfp_format *f, uint64_t bits)
{
    int64_t magnitude = (int64_t)(bits & ~f->sign);

    return bits & f->sign ? -magnitude : magnitude;
}

static void flag_nans(const struct rvfp_format *f, uint64_t a, uint64_t b, bool quiet,
                      uint8_t *flags)
{
    if (is_snan(f, a) || is_snan(f, b) || (!quiet && (is_nan(f, a) || is_nan(f, b)))) {
        *flags |= RVFP_NV;
    }
}

static uint64_t pick(const struct rvfp_format *f, uint64_t a, uint64_t b, bool max, bool keep_nan,
                     uint8_t *flags)
{
    bool nan_a = is_nan(f, a), nan_b = is_nan(f, b);
    bool a_less;

    flag_nans(f, a, b, true, flags);
    if ((nan_a && nan_b) || (keep_nan && (nan_a || nan_b))) {
        return f->nan;
    }
    if (nan_a || nan_b) {
        return nan_a ? b : a;
    }
    /* Equal operands differ at most in being -0 and +0; -0 counts as the lesser. */
    a_less = order(f, a) != order(f, b) ? order(f, a) < order(f, b) : (a & f->sign) != 0;
    return a_less != max ? a : b;
}

static uint64_t equal(const struct rvfp_format *f, uint64_t a, uint64_t b, uint8_t *flags)
{
    flag_nans(f, a, b, true, flags);
    return !is_nan(f, a) && !is_nan(f, b) && order(f, a) == order(f, b);
}

static uint64_t less(const struct rvfp_format *f, uint64_t a, uint64_t b, bool or_equal, bool quiet,
                     uint8_t *flags)
{
    flag_nans(f, a, b, quiet, flags);
    if (is_nan(f, a) || is_nan(f, b)) {
        return 0;
    }
    return or_equal ? order(f, a) <= order(f, b) : order(f, a) < order(f, b);
}

static uint64_t classify(const struct rvfp_format *f, uint64_t bits)
{
    uint64_t magnitude = bits & ~f->sign;
    int bit; /* of the positive number; the negative ones mirror it around 3.5 */

    if (is_nan(f, bits)) {
        return is_snan(f, bits) ? 1 << 8 : 1 << 9;
    }
    if (magnitude == 0) {
        bit = 4;
    } else if (magnitude == f->inf) {
        bit = 7;
    } else {
        bit = magnitude >> f->frac_bits ? 6 : 5;
    }
    return UINT64_C(1) << (bits & f->sign ? 7 - bit : bit);
}

#define BIND(T, U)                                                   \
    U rvfp_min_##T(U a, U b, uint8_t *flags)                         \
    {                                                                \
        return (U)pick(&rvfp_format_##T, a, b, false, false, flags); \
    }                                                                \
    U rvfp_max_##T(U a, U b, uint8_t *flags)                         \
    {                                                                \
        return (U)pick(&rvfp_format_##T, a, b, true, false, flags);  \
    }                                                                \
    U rvfp_minm_##T(U a, U b, uint8_t *flags)                        \
    {                                                                \
        return (U)pick(&rvfp_format_##T, a, b, false, true, flags);  \
    }                                                                \
    U rvfp_maxm_##T(U a, U b, uint8_t *flags)                        \
    {                                                                \
        return (U)pick(&rvfp_format_##T, a, b, true, true, flags);   \
    }                                                                \
    uint64_t rvfp_eq_##T(U a, U b, uint8_t *flags)                   \
    {                                                                \
        return equal(&rvfp_format_##T, a, b, flags);                 \
    }                                                                \
    uint64_t rvfp_lt_##T(U a, U b, uint8_t *flags)                   \
    {                                                                \
        return less(&rvfp_format_##T, a, b, false, false, flags);    \
    }                                                                \
    uint64_t rvfp_le_##T(U a, U b, uint8_t *flags)                   \
    {                                                                \
        return less(&rvfp_format_##T, a, b, true, false, flags);     \
    }                                                                \
    uint64_t rvfp_ltq_##T(U a, U b, uint8_t *flags)                  \
    {                                                                \
        return less(&rvfp_format_##T, a, b, false, true, flags);     \
    }                                                                \
    uint64_t rvfp_leq_##T(U a, U b, uint8_t *flags)                  \
    {                                                                \
        return less(&rvfp_format_##T, a, b, true, true, flags);      \
    }                                                                \
    uint64_t rvfp_class_##T(U a)                                     \
    {                                                                \
        return classify(&rvfp_format_##T, a);                        \
    }

BIND(f16, uint16_t)
BIND(f32, uint32_t)
BIND(f64, uint64_t)
