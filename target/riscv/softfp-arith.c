/*
 * Addition, multiplication, fused multiply-add, division and square root.
 *
 * Each operation is written once over struct rvfp_format; the typed functions at the end bind it.
 * Sums go through a 128-bit form ("wide") that holds the product of two significands exactly, so
 * that the fused multiply-add and the plain addition share one routine.
 */
#include "target/riscv/softfp-internal.h"

/* sig * 2^(exp - 126), bit 126 the leading bit: bit 127 takes the carry of a sum. */
struct wide {
    bool sign;
    int exp;
    rvfp_u128 sig;
};

static struct wide widen(const struct rvfp_num *n)
{
    return (struct wide){n->sign, n->exp, (rvfp_u128)n->sig << 63};
}

/*
 * At least 22 low bits of the product are zero, as each significand has at most 53 bits: shifting
 * one out loses nothing.
 */
static struct wide multiply(const struct rvfp_num *a, const struct rvfp_num *b)
{
    struct wide w = {a->sign != b->sign, a->exp + b->exp, (rvfp_u128)a->sig * b->sig};

    if (w.sig >> 127) {
        w.sig >>= 1;
        w.exp++;
    }
    return w;
}

static uint64_t pack_wide(const struct rvfp_format *f, bool sign, int exp, rvfp_u128 sig,
                          enum rv_rm rm, uint8_t *flags)
{
    int shift = rvfp_clz128(sig);

    sig <<= shift;
    return rvfp_round_pack(f, sign, exp + 1 - shift, (uint64_t)(sig >> 64) | ((uint64_t)sig != 0),
                           rm, flags);
}

/* The sign of an exact zero sum of operands with these signs (IEEE 754-2008, 6.3). */
static uint64_t zero_sum(const struct rvfp_format *f, bool sign_a, bool sign_b, enum rv_rm rm)
{
    return rvfp_zero(f, sign_a == sign_b ? sign_a : rm == RV_RM_RDN);
}

/*
 * Jamming is safe in a subtraction too: bits are lost only when the exponents differ by more than
 * 21, and then at most one leading bit cancels.
 */
static uint64_t add_wide(const struct rvfp_format *f, struct wide a, struct wide b, enum rv_rm rm,
                         uint8_t *flags)
{
    if (a.exp < b.exp || (a.exp == b.exp && a.sig < b.sig)) {
        struct wide t = a;

        a = b;
        b = t;
    }
    b.sig = rvfp_shr128_jam(b.sig, (unsigned)(a.exp - b.exp));
    if (a.sign == b.sign) {
        return pack_wide(f, a.sign, a.exp, a.sig + b.sig, rm, flags);
    }
    if (a.sig == b.sig) {
        return zero_sum(f, a.sign, b.sign, rm);
    }
    return pack_wide(f, a.sign, a.exp, a.sig - b.sig, rm, flags);
}

static uint64_t nan_of(const struct rvfp_format *f, const struct rvfp_num *a,
                       const struct rvfp_num *b, uint8_t *flags)
{
    if (a->kind == RVFP_SNAN || b->kind == RVFP_SNAN) {
        *flags |= RVFP_NV;
    }
    return f->nan;
}

static uint64_t add(const struct rvfp_format *f, uint64_t abits, uint64_t bbits, enum rv_rm rm,
                    uint8_t *flags)
{
    struct rvfp_num a = rvfp_unpack(f, abits);
    struct rvfp_num b = rvfp_unpack(f, bbits);

    if (rvfp_is_nan(&a) || rvfp_is_nan(&b)) {
        return nan_of(f, &a, &b, flags);
    }
    if (a.kind == RVFP_INF) {
        return b.kind == RVFP_INF && a.sign != b.sign ? rvfp_invalid(f, flags) : abits;
    }
    if (b.kind == RVFP_INF) {
        return bbits;
    }
    if (a.kind == RVFP_ZERO) {
        return b.kind == RVFP_ZERO ? zero_sum(f, a.sign, b.sign, rm) : bbits;
    }
    if (b.kind == RVFP_ZERO) {
        return abits;
    }
    return add_wide(f, widen(&a), widen(&b), rm, flags);
}

static uint64_t mul(const struct rvfp_format *f, uint64_t abits, uint64_t bbits, enum rv_rm rm,
                    uint8_t *flags)
{
    struct rvfp_num a = rvfp_unpack(f, abits);
    struct rvfp_num b = rvfp_unpack(f, bbits);
    bool sign = a.sign != b.sign;
    struct wide w;

    if (rvfp_is_nan(&a) || rvfp_is_nan(&b)) {
        return nan_of(f, &a, &b, flags);
    }
    if (a.kind == RVFP_INF || b.kind == RVFP_INF) {
        if (a.kind == RVFP_ZERO || b.kind == RVFP_ZERO) {
            return rvfp_invalid(f, flags);
        }
        return rvfp_inf(f, sign);
    }
    if (a.kind == RVFP_ZERO || b.kind == RVFP_ZERO) {
        return rvfp_zero(f, sign);
    }
    w = multiply(&a, &b);
    return pack_wide(f, w.sign, w.exp, w.sig, rm, flags);
}

static uint64_t muladd(const struct rvfp_format *f, uint64_t abits, uint64_t bbits, uint64_t cbits,
                       enum rv_rm rm, uint8_t *flags)
{
    struct rvfp_num a = rvfp_unpack(f, abits);
    struct rvfp_num b = rvfp_unpack(f, bbits);
    struct rvfp_num c = rvfp_unpack(f, cbits);
    bool sign = a.sign != b.sign;
    struct wide w;

    /* Before the NaN of c: "must set the invalid operation flag ... even when the addend is a
     * quiet NaN" (F chapter). */
    if ((a.kind == RVFP_INF && b.kind == RVFP_ZERO) ||
        (a.kind == RVFP_ZERO && b.kind == RVFP_INF)) {
        return rvfp_invalid(f, flags);
    }
    if (rvfp_is_nan(&a) || rvfp_is_nan(&b) || rvfp_is_nan(&c)) {
        nan_of(f, &a, &b, flags);
        return nan_of(f, &c, &c, flags);
    }
    if (a.kind == RVFP_INF || b.kind == RVFP_INF) {
        return c.kind == RVFP_INF && c.sign != sign ? rvfp_invalid(f, flags) : rvfp_inf(f, sign);
    }
    if (c.kind == RVFP_INF) {
        return cbits;
    }
    if (a.kind == RVFP_ZERO || b.kind == RVFP_ZERO) {
        return c.kind == RVFP_ZERO ? zero_sum(f, sign, c.sign, rm) : cbits;
    }
    w = multiply(&a, &b);
    if (c.kind == RVFP_ZERO) {
        return pack_wide(f, w.sign, w.exp, w.sig, rm, flags);
    }
    return add_wide(f, w, widen(&c), rm, flags);
}

static uint64_t divide(const struct rvfp_format *f, uint64_t abits, uint64_t bbits, enum rv_rm rm,
                       uint8_t *flags)
{
    struct rvfp_num a = rvfp_unpack(f, abits);
    struct rvfp_num b = rvfp_unpack(f, bbits);
    bool sign = a.sign != b.sign;
    rvfp_u128 dividend;
    uint64_t quotient;
    int exp;

    if (rvfp_is_nan(&a) || rvfp_is_nan(&b)) {
        return nan_of(f, &a, &b, flags);
    }
    if (a.kind == RVFP_INF) {
        return b.kind == RVFP_INF ? rvfp_invalid(f, flags) : rvfp_inf(f, sign);
    }
    if (b.kind == RVFP_INF) {
        return rvfp_zero(f, sign);
    }
    if (b.kind == RVFP_ZERO) {
        if (a.kind == RVFP_ZERO) {
            return rvfp_invalid(f, flags);
        }
        *flags |= RVFP_DZ;
        return rvfp_inf(f, sign);
    }
    if (a.kind == RVFP_ZERO) {
        return rvfp_zero(f, sign);
    }
    /* Scale the dividend so that the quotient lies in [2^63, 2^64). */
    exp = a.exp - b.exp;
    dividend = (rvfp_u128)a.sig << 63;
    if (a.sig < b.sig) {
        dividend <<= 1;
        exp--;
    }
    quotient = (uint64_t)(dividend / b.sig);
    quotient |= (rvfp_u128)quotient * b.sig != dividend;
    return rvfp_round_pack(f, sign, exp, quotient, rm, flags);
}

static uint64_t square_root(const struct rvfp_format *f, uint64_t abits, enum rv_rm rm,
                            uint8_t *flags)
{
    struct rvfp_num a = rvfp_unpack(f, abits);
    rvfp_u128 rest;
    uint64_t root = 0;

    if (rvfp_is_nan(&a)) {
        return nan_of(f, &a, &a, flags);
    }
    if (a.kind == RVFP_ZERO) {
        return abits;
    }
    if (a.sign) {
        return rvfp_invalid(f, flags);
    }
    if (a.kind == RVFP_INF) {
        return abits;
    }
    /*
     * With an even exponent the radicand is in [2^126, 2^128) and its integer root in
     * [2^63, 2^64). One bit a step: (root + bit)^2 = root^2 + bit * (2 * root + bit), so `rest`,
     * the radicand less root^2, says whether the bit belongs to the root.
     */
    rest = (rvfp_u128)a.sig << (a.exp & 1 ? 64 : 63);
    for (int i = 63; i >= 0; i--) {
        rvfp_u128 step = ((rvfp_u128)root << 1 | (rvfp_u128)1 << i) << i;

        if (rest >= step) {
            rest -= step;
            root |= UINT64_C(1) << i;
        }
    }
    return rvfp_round_pack(f, false, (a.exp - (a.exp & 1)) / 2, root | (rest != 0), rm, flags);
}

#define BIND(T, U)                                                               \
    U rvfp_add_##T(U a, U b, enum rv_rm rm, uint8_t *flags)                      \
    {                                                                            \
        return (U)add(&rvfp_format_##T, a, b, rm, flags);                        \
    }                                                                            \
    U rvfp_sub_##T(U a, U b, enum rv_rm rm, uint8_t *flags)                      \
    {                                                                            \
        return (U)add(&rvfp_format_##T, a, b ^ rvfp_format_##T.sign, rm, flags); \
    }                                                                            \
    U rvfp_mul_##T(U a, U b, enum rv_rm rm, uint8_t *flags)                      \
    {                                                                            \
        return (U)mul(&rvfp_format_##T, a, b, rm, flags);                        \
    }                                                                            \
    U rvfp_div_##T(U a, U b, enum rv_rm rm, uint8_t *flags)                      \
    {                                                                            \
        return (U)divide(&rvfp_format_##T, a, b, rm, flags);                     \
    }                                                                            \
    U rvfp_sqrt_##T(U a, enum rv_rm rm, uint8_t *flags)                          \
    {                                                                            \
        return (U)square_root(&rvfp_format_##T, a, rm, flags);                   \
    }                                                                            \
    U rvfp_muladd_##T(U a, U b, U c, enum rv_rm rm, uint8_t *flags)              \
    {                                                                            \
        return (U)muladd(&rvfp_format_##T, a, b, c, rm, flags);                  \
    }

BIND(f16, uint16_t)
BIND(f32, uint32_t)
BIND(f64, uint64_t)
