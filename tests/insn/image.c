/* What registers and scratch area hold when a block starts: values where arithmetic goes wrong. */
#include <string.h>

#include "tests/insn/block.h"

static uint64_t integer(struct rv_random *r)
{
    static const uint64_t corners[] = {
        0,
        1,
        2,
        7,
        8,
        31,
        32,
        63,
        64,
        127,
        128,
        255,
        256,
        0x7fff,
        0x8000,
        0xffff,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x100000000,
        0x7fffffffffffffff,
        0x8000000000000000,
        0xffffffff80000000,
        0xffffffff7fffffff,
        UINT64_MAX,
        UINT64_MAX - 1,
        0x5555555555555555,
        0x0123456789abcdef,
        0xff00ff00ff00ff00,
    };
    uint64_t v = rv_random_next(r), kind = rv_random_next(r) >> 8;

    switch (kind % 10) {
    case 0:
    case 1:
    case 2:
        return corners[v % (sizeof(corners) / sizeof(corners[0]))];
    case 3:
        return UINT64_C(1) << (v & 63);
    case 4:
        return ~(UINT64_C(1) << (v & 63));
    case 5:
        return (uint64_t)((int64_t)(v & 127) - 64);
    case 6:
        return (uint64_t)(int64_t)(int32_t)v;
    case 7:
        return v >> (v & 63);
    case 8:
        return (uint64_t)((int64_t)v >> (v & 63));
    default:
        return v;
    }
}

/* Sign, exponent near a corner of its range or around 1.0, and a fraction that ties when rounded.
 */
static uint64_t floating(struct rv_random *r, unsigned exponent_bits, unsigned fraction_bits)
{
    uint64_t v = rv_random_next(r), kind = rv_random_next(r) >> 8;
    uint64_t max = (UINT64_C(1) << exponent_bits) - 1, bias = max >> 1, exponent, fraction;
    uint64_t ones = (UINT64_C(1) << fraction_bits) - 1;

    switch (kind % 12) {
    case 0:
        exponent = 0;
        break;
    case 1:
        exponent = max;
        break;
    case 2:
        exponent = max - 1 - (v & 1);
        break;
    case 3:
        exponent = 1 + (v & 3);
        break;
    case 4:
        exponent = (v & 7) < 4 ? fraction_bits + 1 + (v & 3) : max - 8 + (v & 3);
        break;
    case 5:
    case 6:
        exponent = bias + (v & 63) - 1; /* integers and beyond */
        break;
    case 7:
        exponent = v & max;
        break;
    default:
        exponent = bias - 2 + (v & 3);
        break;
    }
    exponent = exponent > max ? max : exponent;
    switch (kind / 12 % 8) {
    case 0:
    case 1:
        fraction = 0;
        break;
    case 2:
        fraction = ones;
        break;
    case 3:
        fraction = 1;
        break;
    case 4:
        fraction = UINT64_C(1) << (v >> 8) % fraction_bits;
        break;
    case 5:
        fraction = ones << (v >> 8) % fraction_bits & ones;
        break;
    default:
        fraction = v >> 12 & ones;
        break;
    }
    return ((v >> 3 & 1) << exponent_bits | exponent) << fraction_bits | fraction;
}

static uint64_t boxed(struct rv_random *r)
{
    switch (rv_random_next(r) >> 8 & 15) {
    case 0:
        return rv_random_next(r);
    case 1:
        /* Not quite boxed. */
        return floating(r, 8, 23) | UINT64_C(0x7fffffff) << 32;
    case 2:
    case 3:
    case 4:
        return floating(r, 5, 10) | UINT64_C(0xffffffffffff) << 16;
    case 5:
        return floating(r, 8, 7) | UINT64_C(0xffffffffffff) << 16;
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
        return floating(r, 8, 23) | UINT64_C(0xffffffff) << 32;
    default:
        return floating(r, 11, 52);
    }
}

void block_make_image(struct guest_image *image, struct rv_random *r)
{
    uint64_t v = rv_random_next(r);

    memset(image, 0, sizeof(*image));
    for (unsigned n = 0; n < 32; n++) {
        image->x[n] = integer(r);
        image->f[n] = boxed(r);
    }
    /* One in 32 starts with a reserved rounding mode. */
    image->fcsr = (v >> 8 & 31 ? (v & 0xff) % 5 : 5 + (v & 0xff) % 3) << 5;
    image->fcsr |= v >> 16 & 1 ? 0 : v >> 24 & 31;
    for (unsigned n = 0; n < GUEST_SCRATCH / 8; n++) {
        v = rv_random_next(r);
        image->scratch[n] = v & 3 ? integer(r) : boxed(r);
    }
}

void block_make_flat_image(struct guest_image *image)
{
    memset(image, 0, sizeof(*image));
    for (unsigned n = 0; n < 32; n++) {
        image->x[n] = 8;
        image->f[n] = UINT64_C(0xffffffff3f800000) + n;
    }
}
