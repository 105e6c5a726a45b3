/*
 * Conversions: between formats, to and from integers, to integral values.
 */
#include "target/riscv/softfp-internal.h"

static uint64_t convert(const struct rvfp_format *to, const struct rvfp_format *from, uint64_t bits,
                        enum rv_rm rm, uint8_t *flags)
{
    struct rvfp_num n = rvfp_unpack(from, bits);

    switch (n.kind) {
    case RVFP_ZERO:
        return rvfp_zero(to, n.sign);
    case RVFP_INF:
        return rvfp_inf(to, n.sign);
    case RVFP_FINITE:
        return rvfp_round_pack(to, n.sign, n.exp, n.sig, rm, flags);
    case RVFP_SNAN:
        *flags |= RVFP_NV;
        break;
    case RVFP_QNAN:
        break;
    }
    return to->nan;
}

/*
 * The magnitude of a finite number with exp <= 63, rounded to an integer. It cannot overflow: with
 * at most 53 significant bits there is no fraction to round up when exp is above 52.
 */
static uint64_t integral(const struct rvfp_num *n, enum rv_rm rm, bool *inexact)
{
    rvfp_u128 fixed = rvfp_shr128_jam((rvfp_u128)n->sig << 64, (unsigned)(63 - n->exp));
    uint64_t whole = (uint64_t)(fixed >> 64);
    uint64_t frac = (uint64_t)fixed;

    *inexact = frac != 0;
    return whole + rvfp_round_up(rm, n->sign, whole & 1, frac);
}

/* `max_neg` is the magnitude of the lowest integer, `max_pos` the highest. */
static uint64_t to_integer(const struct rvfp_format *f, uint64_t bits, enum rv_rm rm,
                           uint64_t max_neg, uint64_t max_pos, uint8_t *flags)
{
    struct rvfp_num n = rvfp_unpack(f, bits);
    bool inexact = false;
    uint64_t magnitude, limit;

    if (n.kind == RVFP_ZERO) {
        return 0;
    }
    limit = n.sign && !rvfp_is_nan(&n) ? max_neg : max_pos;
    if (n.kind == RVFP_FINITE && n.exp <= 63) {
        magnitude = integral(&n, rm, &inexact);
        if (magnitude <= limit) {
            *flags |= inexact ? RVFP_NX : 0;
            return n.sign ? -magnitude : magnitude;
        }
    }
    *flags |= RVFP_NV;
    return limit == max_pos ? max_pos : -max_neg;
}

static uint64_t sign_extend32(uint64_t x)
{
    return (uint64_t)(int64_t)(int32_t)(uint32_t)x;
}

static uint64_t from_integer(const struct rvfp_format *f, bool sign, uint64_t magnitude,
                             enum rv_rm rm, uint8_t *flags)
{
    int shift;

    if (magnitude == 0) {
        return 0;
    }
    shift = __builtin_clzll(magnitude);
    return rvfp_round_pack(f, sign, 63 - shift, magnitude << shift, rm, flags);
}

static uint64_t from_signed(const struct rvfp_format *f, uint64_t x, enum rv_rm rm, uint8_t *flags)
{
    bool sign = x >> 63;

    return from_integer(f, sign, sign ? -x : x, rm, flags);
}

static uint64_t round_integral(const struct rvfp_format *f, uint64_t bits, enum rv_rm rm,
                               bool flag_inexact, uint8_t *flags)
{
    struct rvfp_num n = rvfp_unpack(f, bits);
    bool inexact;
    uint64_t magnitude;

    if (rvfp_is_nan(&n)) {
        *flags |= n.kind == RVFP_SNAN ? RVFP_NV : 0;
        return f->nan;
    }
    if (n.kind != RVFP_FINITE || n.exp >= f->frac_bits) {
        return bits;
    }
    magnitude = integral(&n, rm, &inexact);
    if (inexact && flag_inexact) {
        *flags |= RVFP_NX;
    }
    /* The integer is at most 2^frac_bits, hence exact; only its sign, if it is 0, needs care. */
    return rvfp_zero(f, n.sign) | from_integer(f, false, magnitude, rm, flags);
}

uint64_t rvfp_tomod_i32_f64(uint64_t a, uint8_t *flags)
{
    struct rvfp_num n = rvfp_unpack(&rvfp_format_f64, a);
    uint64_t low = 0;

    /* Saturates, and so flags, exactly as FCVT.W.D; only the value differs. */
    to_integer(&rvfp_format_f64, a, RV_RM_RTZ, UINT64_C(1) << 31, INT32_MAX, flags);
    /* From 2^84 on the last of 53 bits weighs 2^32 or more. */
    if (n.kind == RVFP_FINITE && n.exp >= 0 && n.exp < 84) {
        low = n.exp <= 63 ? n.sig >> (63 - n.exp) : n.sig << (n.exp - 63);
    }
    return sign_extend32(n.sign ? -low : low);
}

#define BIND(T, U)                                                                       \
    uint64_t rvfp_to_i32_##T(U a, enum rv_rm rm, uint8_t *flags)                         \
    {                                                                                    \
        return to_integer(&rvfp_format_##T, a, rm, UINT64_C(1) << 31, INT32_MAX, flags); \
    }                                                                                    \
    uint64_t rvfp_to_u32_##T(U a, enum rv_rm rm, uint8_t *flags)                         \
    {                                                                                    \
        return sign_extend32(to_integer(&rvfp_format_##T, a, rm, 0, UINT32_MAX, flags)); \
    }                                                                                    \
    uint64_t rvfp_to_i64_##T(U a, enum rv_rm rm, uint8_t *flags)                         \
    {                                                                                    \
        return to_integer(&rvfp_format_##T, a, rm, UINT64_C(1) << 63, INT64_MAX, flags); \
    }                                                                                    \
    uint64_t rvfp_to_u64_##T(U a, enum rv_rm rm, uint8_t *flags)                         \
    {                                                                                    \
        return to_integer(&rvfp_format_##T, a, rm, 0, UINT64_MAX, flags);                \
    }                                                                                    \
    U rvfp_from_i32_##T(uint64_t rs1, enum rv_rm rm, uint8_t *flags)                     \
    {                                                                                    \
        return (U)from_signed(&rvfp_format_##T, sign_extend32(rs1), rm, flags);          \
    }                                                                                    \
    U rvfp_from_u32_##T(uint64_t rs1, enum rv_rm rm, uint8_t *flags)                     \
    {                                                                                    \
        return (U)from_integer(&rvfp_format_##T, false, (uint32_t)rs1, rm, flags);       \
    }                                                                                    \
    U rvfp_from_i64_##T(uint64_t rs1, enum rv_rm rm, uint8_t *flags)                     \
    {                                                                                    \
        return (U)from_signed(&rvfp_format_##T, rs1, rm, flags);                         \
    }                                                                                    \
    U rvfp_from_u64_##T(uint64_t rs1, enum rv_rm rm, uint8_t *flags)                     \
    {                                                                                    \
        return (U)from_integer(&rvfp_format_##T, false, rs1, rm, flags);                 \
    }                                                                                    \
    U rvfp_round_##T(U a, enum rv_rm rm, uint8_t *flags)                                 \
    {                                                                                    \
        return (U)round_integral(&rvfp_format_##T, a, rm, false, flags);                 \
    }                                                                                    \
    U rvfp_roundnx_##T(U a, enum rv_rm rm, uint8_t *flags)                               \
    {                                                                                    \
        return (U)round_integral(&rvfp_format_##T, a, rm, true, flags);                  \
    }

BIND(f16, uint16_t)
BIND(f32, uint32_t)
BIND(f64, uint64_t)

#define BIND_CVT(TO, TO_U, FROM, FROM_U)                                            \
    TO_U rvfp_cvt_##TO##_##FROM(FROM_U a, enum rv_rm rm, uint8_t *flags)            \
    {                                                                               \
        return (TO_U)convert(&rvfp_format_##TO, &rvfp_format_##FROM, a, rm, flags); \
    }

BIND_CVT(f16, uint16_t, bf16, uint16_t)
BIND_CVT(f16, uint16_t, f32, uint32_t)
BIND_CVT(f16, uint16_t, f64, uint64_t)
BIND_CVT(bf16, uint16_t, f16, uint16_t)
BIND_CVT(bf16, uint16_t, f32, uint32_t)
BIND_CVT(bf16, uint16_t, f64, uint64_t)
BIND_CVT(f32, uint32_t, f16, uint16_t)
BIND_CVT(f32, uint32_t, bf16, uint16_t)
BIND_CVT(f32, uint32_t, f64, uint64_t)
BIND_CVT(f64, uint64_t, f16, uint16_t)
BIND_CVT(f64, uint64_t, bf16, uint16_t)
BIND_CVT(f64, uint64_t, f32, uint32_t)
