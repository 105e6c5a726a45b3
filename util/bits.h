/*
 * Bit helpers on unsigned integers. All are pure and defined for every input unless stated; a
 * position or width outside its stated range is the caller's error.
 */
#ifndef TINAMOU_UTIL_BITS_H
#define TINAMOU_UTIL_BITS_H

#include <stdbool.h>
#include <stdint.h>

#define BITS_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The lowest n bits set; n in 0..64. */
static inline uint64_t bits_mask(unsigned n)
{
    return n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
}

/* len bits of x from bit pos up, zero-extended; pos in 0..63, len in 0..64. */
static inline uint64_t bits_extract(uint64_t x, unsigned pos, unsigned len)
{
    return (x >> pos) & bits_mask(len);
}

/* The lowest n bits of x as a signed number; n in 1..64. */
static inline int64_t bits_sext(uint64_t x, unsigned n)
{
    return (int64_t)(x << (64 - n)) >> (64 - n);
}

/* len bits of x from bit pos up as a signed number; len in 1..64, pos + len <= 64. */
static inline int64_t bits_sextract(uint64_t x, unsigned pos, unsigned len)
{
    return bits_sext(x >> pos, len);
}

/* x with len bits from bit pos up replaced by the lowest bits of field; pos in 0..63. */
static inline uint64_t bits_deposit(uint64_t x, unsigned pos, unsigned len, uint64_t field)
{
    uint64_t mask = bits_mask(len) << pos;
    return (x & ~mask) | ((field << pos) & mask);
}

static inline bool bits_test(uint64_t x, unsigned pos)
{
    return (x >> pos) & 1;
}

/* Does x survive being cut to n bits and sign-extended again? n in 1..64. */
static inline bool bits_fits_signed(int64_t x, unsigned n)
{
    return bits_sext((uint64_t)x, n) == x;
}

/* Does x survive being cut to n bits and zero-extended again? n in 0..64. */
static inline bool bits_fits_unsigned(uint64_t x, unsigned n)
{
    return (x & ~bits_mask(n)) == 0;
}

/* Rotations take the count modulo the width, as RISC-V and x86 do. */
static inline uint32_t bits_rol32(uint32_t x, unsigned n)
{
    return x << (n & 31) | x >> (-n & 31);
}

static inline uint32_t bits_ror32(uint32_t x, unsigned n)
{
    return x >> (n & 31) | x << (-n & 31);
}

static inline uint64_t bits_rol64(uint64_t x, unsigned n)
{
    return x << (n & 63) | x >> (-n & 63);
}

static inline uint64_t bits_ror64(uint64_t x, unsigned n)
{
    return x >> (n & 63) | x << (-n & 63);
}

static inline unsigned bits_popcount(uint64_t x)
{
    return (unsigned)__builtin_popcountll(x);
}

/* Leading and trailing zeros; the width for 0. */
static inline unsigned bits_clz32(uint32_t x)
{
    return x ? (unsigned)__builtin_clz(x) : 32;
}

static inline unsigned bits_clz64(uint64_t x)
{
    return x ? (unsigned)__builtin_clzll(x) : 64;
}

static inline unsigned bits_ctz32(uint32_t x)
{
    return x ? (unsigned)__builtin_ctz(x) : 32;
}

static inline unsigned bits_ctz64(uint64_t x)
{
    return x ? (unsigned)__builtin_ctzll(x) : 64;
}

static inline uint16_t bits_bswap16(uint16_t x)
{
    return __builtin_bswap16(x);
}

static inline uint32_t bits_bswap32(uint32_t x)
{
    return __builtin_bswap32(x);
}

static inline uint64_t bits_bswap64(uint64_t x)
{
    return __builtin_bswap64(x);
}

static inline bool bits_is_pow2(uint64_t x)
{
    return x && !(x & (x - 1));
}

/* The least power of two that is >= x; 1 for 0, and 0 above 2^63. */
static inline uint64_t bits_pow2_ceil(uint64_t x)
{
    if (x <= 1) {
        return 1;
    }
    return x > UINT64_C(1) << 63 ? 0 : UINT64_C(1) << (64 - bits_clz64(x - 1));
}

/* x down or up to a multiple of align, a power of two; going up wraps above 2^64 - align. */
static inline uint64_t bits_align_down(uint64_t x, uint64_t align)
{
    return x & ~(align - 1);
}

static inline uint64_t bits_align_up(uint64_t x, uint64_t align)
{
    return (x + align - 1) & ~(align - 1);
}

#endif
