/*
 * Operands for the floating-point tests: random, with a strong bias to where implementations go
 * wrong. A second operand is often built from the first, so that sums cancel, alignment is small,
 * and quotients come close to one.
 */
#ifndef TINAMOU_TESTS_UNIT_SOFTFP_OPERANDS_H
#define TINAMOU_TESTS_UNIT_SOFTFP_OPERANDS_H

#include <stdint.h>

struct operand_format {
    const char *name;
    int exp_bits;
    int frac_bits;
};

/* xorshift64*; a fixed seed makes every run the same. */
static inline uint64_t operand_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* A fraction with few ones, few zeros, a run, or no pattern: ties and carries come from these. */
static inline uint64_t operand_fraction(uint64_t *state, int bits)
{
    uint64_t mask = (UINT64_C(1) << bits) - 1;
    uint64_t r = operand_random(state);
    uint64_t sparse = 0;

    for (int i = (int)(r >> 8 & 3); i > 0; i--) {
        sparse |= UINT64_C(1) << (operand_random(state) % (unsigned)bits);
    }
    switch (r & 7) {
    case 0:
    case 1:
        return sparse;
    case 2:
    case 3:
        return mask ^ sparse;
    case 4:
        return mask & ~(mask >> ((r >> 16) % (unsigned)bits)); /* ones at the top */
    case 5:
        return mask >> ((r >> 16) % (unsigned)bits); /* ones at the bottom */
    default:
        return r >> 10 & mask;
    }
}

/* `near` is another operand to stay close to now and then, 0 if there is none. */
static inline uint64_t operand_make(uint64_t *state, const struct operand_format *f, uint64_t near)
{
    uint64_t r = operand_random(state);
    uint64_t max_exp = (UINT64_C(1) << f->exp_bits) - 1;
    uint64_t sign = (r >> 63) << (f->exp_bits + f->frac_bits);
    uint64_t magnitude_mask = (UINT64_C(1) << (f->exp_bits + f->frac_bits)) - 1;
    uint64_t inf = max_exp << f->frac_bits;
    uint64_t spread = r >> 16 & 3;
    uint64_t exp;

    switch (r & 15) {
    case 0: /* the ends of the line: zero, least and greatest numbers, infinity, NaNs */
        switch (r >> 8 & 7) {
        case 0:
            return sign;
        case 1:
            return sign | (1 + spread);
        case 2:
            return sign | ((UINT64_C(1) << f->frac_bits) - 2 + spread);
        case 3:
            return sign | (inf - 1 - spread);
        case 4:
            return sign | inf;
        case 5:
            return sign | inf | UINT64_C(1) << (f->frac_bits - 1) | spread;
        case 6:
            return sign | inf | (1 + spread);
        default:
            return sign | ((max_exp >> 1) << f->frac_bits);
        }
    case 1: /* anything */
        return sign | (operand_random(state) & magnitude_mask);
    case 2: /* subnormal */
        exp = 0;
        break;
    case 3: /* barely normal */
        exp = 1 + spread;
        break;
    case 4: /* huge */
        exp = max_exp - 1 - spread;
        break;
    case 5: /* products and quotients in or near the subnormal range */
        exp = max_exp / 4 + (r >> 16) % 32 % (max_exp / 4);
        break;
    case 6: /* products near overflow */
        exp = max_exp / 4 * 3 + spread;
        break;
    case 7: /* a few units in the last place from the other */
        return (near ^ sign ^ spread) & (magnitude_mask << 1 | 1);
    case 8:
    case 9:
    case 10: /* within the reach of alignment */
        exp = (near >> f->frac_bits & max_exp) + (r >> 16) % (2 * (unsigned)f->frac_bits + 8);
        exp -= (unsigned)f->frac_bits + 4;
        exp = exp >= max_exp ? max_exp / 2 : exp;
        break;
    case 11: /* around the integers' ranges */
        exp = max_exp / 2 + (r >> 16) % 66;
        exp = exp >= max_exp ? max_exp - 1 : exp;
        break;
    default: /* around one */
        exp = max_exp / 2 - 2 + (r >> 16) % 5;
        break;
    }
    return sign | exp << f->frac_bits | operand_fraction(state, f->frac_bits);
}

#endif
