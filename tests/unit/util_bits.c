/* util/bits.h against slow and obvious definitions, at every position and width. */
#include "util/bits.h"

#include "tests/unit/tap.h"

static uint64_t slow_extract(uint64_t x, unsigned pos, unsigned len)
{
    uint64_t r = 0;

    for (unsigned i = 0; i < len && pos + i < 64; i++) {
        r |= ((x >> (pos + i)) & 1) << i;
    }
    return r;
}

static const uint64_t samples[] = {
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fffffff,
    0x80000000,
    0xffffffff,
    0x100000000,
    0x0123456789abcdef,
    0x7fffffffffffffff,
    0x8000000000000000,
    0xfedcba9876543210,
    0xffffffffffffffff,
};

static bool check_fields(uint64_t x)
{
    for (unsigned pos = 0; pos < 64; pos++) {
        for (unsigned len = 0; pos + len <= 64; len++) {
            uint64_t want = slow_extract(x, pos, len);

            if (bits_extract(x, pos, len) != want) {
                return false;
            }
            if (slow_extract(bits_deposit(~x, pos, len, x), pos, len) != slow_extract(x, 0, len)) {
                return false;
            }
            if (bits_deposit(x, pos, len, want) != x) {
                return false;
            }
            if (len > 0) {
                bool negative = (want >> (len - 1)) & 1;
                uint64_t extended = want;

                for (unsigned i = len; i < 64; i++) {
                    extended |= (uint64_t)negative << i;
                }
                if ((uint64_t)bits_sextract(x, pos, len) != extended) {
                    return false;
                }
            }
        }
    }
    return true;
}

static bool check_rotations(uint64_t x)
{
    for (unsigned n = 0; n < 130; n++) {
        uint64_t r = 0;
        uint32_t r32 = 0;

        for (unsigned i = 0; i < 64; i++) {
            r |= ((x >> i) & 1) << ((i + n) % 64);
        }
        for (unsigned i = 0; i < 32; i++) {
            r32 |= ((uint32_t)(x >> i) & 1) << ((i + n) % 32);
        }
        if (bits_rol64(x, n) != r || bits_ror64(r, n) != x) {
            return false;
        }
        if (bits_rol32((uint32_t)x, n) != r32 || bits_ror32(r32, n) != (uint32_t)x) {
            return false;
        }
    }
    return true;
}

static bool check_counts(uint64_t x)
{
    unsigned ones = 0, lead = 0, trail = 0;

    for (unsigned i = 0; i < 64; i++) {
        ones += (x >> i) & 1;
    }
    while (lead < 64 && !((x >> (63 - lead)) & 1)) {
        lead++;
    }
    while (trail < 64 && !((x >> trail) & 1)) {
        trail++;
    }
    return bits_popcount(x) == ones && bits_clz64(x) == lead && bits_ctz64(x) == trail &&
           bits_is_pow2(x) == (ones == 1);
}

int main(void)
{
    bool fields = true, rotations = true, counts = true;

    for (unsigned i = 0; i < BITS_ARRAY_SIZE(samples); i++) {
        fields = fields && check_fields(samples[i]);
        rotations = rotations && check_rotations(samples[i]);
        counts = counts && check_counts(samples[i]);
    }
    tap_ok(fields, "extract, sextract and deposit at every position and length");
    tap_ok(rotations, "rotations by 0 to 129");
    tap_ok(counts, "popcount, clz, ctz, is_pow2");
    tap_eq(bits_clz32(0), 32, "clz32 of 0");
    tap_eq(bits_ctz32(0), 32, "ctz32 of 0");
    tap_eq(bits_clz32(1), 31, "clz32 of 1");
    tap_eq(bits_ctz32(0x80000000), 31, "ctz32 of the sign bit");
    tap_ok(bits_fits_signed(-2048, 12) && bits_fits_signed(2047, 12), "12-bit signed range");
    tap_ok(!bits_fits_signed(-2049, 12) && !bits_fits_signed(2048, 12), "and not beyond");
    tap_ok(bits_fits_unsigned(4095, 12) && !bits_fits_unsigned(4096, 12), "12-bit unsigned range");
    tap_eq(bits_pow2_ceil(0), 1, "pow2_ceil of 0");
    tap_eq(bits_pow2_ceil(4096), 4096, "pow2_ceil of a power");
    tap_eq(bits_pow2_ceil(4097), 8192, "pow2_ceil between powers");
    tap_eq(bits_pow2_ceil(UINT64_MAX), 0, "pow2_ceil beyond the last power");
    tap_eq(bits_align_up(4097, 4096), 8192, "align_up");
    tap_eq(bits_align_down(8191, 4096), 4096, "align_down");
    tap_eq(bits_bswap32(0x01020304), 0x04030201, "bswap32");
    return tap_done();
}
