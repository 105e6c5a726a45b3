/*
 * Formats, unpacking, rounding and packing. Everything that differs between f16, bf16, f32 and f64
 * is in the four rows below, so that rounding, overflow and underflow exist once.
 */
#include "target/riscv/softfp-internal.h"

#define FORMAT(EXP_BITS, FRAC_BITS)                                                           \
    {                                                                                         \
        .frac_bits = (FRAC_BITS), .emax = (1 << ((EXP_BITS)-1)) - 1,                          \
        .emin = 2 - (1 << ((EXP_BITS)-1)), .sign = UINT64_C(1) << ((EXP_BITS) + (FRAC_BITS)), \
        .inf = ((UINT64_C(1) << (EXP_BITS)) - 1) << (FRAC_BITS),                              \
        .nan = ((UINT64_C(1) << ((EXP_BITS) + 1)) - 1) << ((FRAC_BITS)-1),                    \
    }

const struct rvfp_format rvfp_format_f16 = FORMAT(5, 10);
const struct rvfp_format rvfp_format_bf16 = FORMAT(8, 7);
const struct rvfp_format rvfp_format_f32 = FORMAT(8, 23);
const struct rvfp_format rvfp_format_f64 = FORMAT(11, 52);

struct rvfp_num rvfp_unpack(const struct rvfp_format *f, uint64_t bits)
{
    struct rvfp_num n = {.sign = (bits & f->sign) != 0};
    uint64_t magnitude = bits & ~f->sign;
    uint64_t frac = magnitude & ((UINT64_C(1) << f->frac_bits) - 1);
    int biased = (int)(magnitude >> f->frac_bits);

    if (magnitude >= f->inf) {
        if (magnitude == f->inf) {
            n.kind = RVFP_INF;
        } else {
            n.kind = frac >> (f->frac_bits - 1) ? RVFP_QNAN : RVFP_SNAN;
        }
    } else if (magnitude == 0) {
        n.kind = RVFP_ZERO;
    } else if (biased == 0) {
        int shift = __builtin_clzll(frac);

        n.kind = RVFP_FINITE;
        n.sig = frac << shift;
        n.exp = f->emin + (63 - f->frac_bits) - shift;
    } else {
        n.kind = RVFP_FINITE;
        n.sig = (frac | UINT64_C(1) << f->frac_bits) << (63 - f->frac_bits);
        n.exp = biased - f->emax;
    }
    return n;
}

static uint64_t overflow(const struct rvfp_format *f, bool sign, enum rv_rm rm, uint8_t *flags)
{
    *flags |= RVFP_OF | RVFP_NX;
    /* The largest finite number is odd, and what lies beyond it is cut off as more than half. */
    return rvfp_inf(f, sign) - !rvfp_round_up(rm, sign, true, UINT64_MAX);
}

uint64_t rvfp_round_pack(const struct rvfp_format *f, bool sign, int exp, uint64_t sig,
                         enum rv_rm rm, uint8_t *flags)
{
    int drop = 63 - f->frac_bits;
    bool tiny = false;
    uint64_t kept, cut;

    if (exp > f->emax) {
        return overflow(f, sign, rm, flags);
    }
    if (exp < f->emin) {
        /*
         * "After rounding" asks whether the result would be below the normal range if the exponent
         * were unbounded: not so only when the binade below it rounds up out of itself.
         */
        bool all_ones = sig >> drop == UINT64_MAX >> drop;

        tiny = exp < f->emin - 1 || !all_ones || !rvfp_round_up(rm, sign, true, sig << (64 - drop));
        sig = rvfp_shr64_jam(sig, (unsigned)(f->emin - exp));
        exp = f->emin;
    }
    kept = sig >> drop;
    cut = sig << (64 - drop);
    kept += rvfp_round_up(rm, sign, kept & 1, cut);

    /*
     * `kept` holds the leading bit of a normal number, which adds the one that turns exp - emin
     * into the biased exponent; of a subnormal it does not, and the exponent stays 0. A carry out
     * of the fraction increments the exponent by itself in both cases.
     */
    kept += (uint64_t)(exp - f->emin) << f->frac_bits;
    if (kept >= f->inf) {
        return overflow(f, sign, rm, flags);
    }
    if (cut) {
        *flags |= tiny ? RVFP_UF | RVFP_NX : RVFP_NX;
    }
    return rvfp_zero(f, sign) | kept;
}
