/*
 * The core shared by the softfp-*.c files: formats as data, one unpacked form, one rounding
 * decision and one routine that rounds and packs.
 *
 * An unpacked finite number is sign, exponent and a 64-bit significand with its leading bit at bit
 * 63; the value is significand * 2^(exp - 63). Operations build such a significand from a wider
 * exact result by jamming: bits shifted out are OR-ed into bit 0. That is enough for correct
 * rounding, because the widest format keeps 53 bits and so leaves ten between the rounding position
 * and the jammed bit.
 */
#ifndef TINAMOU_TARGET_RISCV_SOFTFP_INTERNAL_H
#define TINAMOU_TARGET_RISCV_SOFTFP_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "target/riscv/softfp.h"

typedef unsigned __int128 rvfp_u128;

/* emax is also the exponent bias, and emin is 1 - emax, in every IEEE binary format. */
struct rvfp_format {
    int frac_bits; /* stored fraction bits; the precision is one more */
    int emax;      /* exponent of the largest finite binade */
    int emin;      /* exponent of the smallest normal binade */
    uint64_t sign; /* the sign bit */
    uint64_t inf;  /* +infinity; larger magnitudes are NaNs */
    uint64_t nan;  /* canonical NaN */
};

extern const struct rvfp_format rvfp_format_f16;
extern const struct rvfp_format rvfp_format_bf16;
extern const struct rvfp_format rvfp_format_f32;
extern const struct rvfp_format rvfp_format_f64;

/* In this order, so that NaNs are the kinds from RVFP_QNAN on. */
enum rvfp_kind {
    RVFP_ZERO,
    RVFP_FINITE,
    RVFP_INF,
    RVFP_QNAN,
    RVFP_SNAN,
};

struct rvfp_num {
    enum rvfp_kind kind;
    bool sign;
    int exp;      /* RVFP_FINITE only */
    uint64_t sig; /* RVFP_FINITE only; bit 63 set */
};

/* Splits `bits`; subnormals come out normalised. Bits above the format's width must be zero. */
struct rvfp_num rvfp_unpack(const struct rvfp_format *f, uint64_t bits);

/*
 * Rounds sig * 2^(exp - 63), bit 63 of sig set, to the format, with OF, UF and NX as they arise.
 * Bit 0 of sig may be a jammed bit.
 */
uint64_t rvfp_round_pack(const struct rvfp_format *f, bool sign, int exp, uint64_t sig,
                         enum rv_rm rm, uint8_t *flags);

/*
 * Whether to add one unit in the last place to a magnitude; `odd` is its last bit, and `frac` what
 * is cut off, as a fraction of 2^64.
 */
static inline bool rvfp_round_up(enum rv_rm rm, bool sign, bool odd, uint64_t frac)
{
    const uint64_t half = UINT64_C(1) << 63;

    switch (rm) {
    case RV_RM_RNE:
        return frac > half || (frac == half && odd);
    case RV_RM_RDN:
        return sign && frac;
    case RV_RM_RUP:
        return !sign && frac;
    case RV_RM_RMM:
        return frac >= half;
    case RV_RM_RTZ:
    default:
        return false;
    }
}

static inline bool rvfp_is_nan(const struct rvfp_num *n)
{
    return n->kind >= RVFP_QNAN;
}

static inline uint64_t rvfp_zero(const struct rvfp_format *f, bool sign)
{
    return sign ? f->sign : 0;
}

static inline uint64_t rvfp_inf(const struct rvfp_format *f, bool sign)
{
    return rvfp_zero(f, sign) | f->inf;
}

static inline uint64_t rvfp_invalid(const struct rvfp_format *f, uint8_t *flags)
{
    *flags |= RVFP_NV;
    return f->nan;
}

/* Shift right by n >= 0, any n, jamming. */
static inline uint64_t rvfp_shr64_jam(uint64_t x, unsigned n)
{
    if (n == 0) {
        return x;
    }
    if (n > 63) {
        return x != 0;
    }
    return x >> n | ((x << (64 - n)) != 0);
}

static inline rvfp_u128 rvfp_shr128_jam(rvfp_u128 x, unsigned n)
{
    if (n == 0) {
        return x;
    }
    if (n > 127) {
        return x != 0;
    }
    return x >> n | ((x << (128 - n)) != 0);
}

/* Leading zeros of x, which must not be zero. */
static inline int rvfp_clz128(rvfp_u128 x)
{
    uint64_t hi = (uint64_t)(x >> 64);

    return hi ? __builtin_clzll(hi) : 64 + __builtin_clzll((uint64_t)x);
}

#endif
