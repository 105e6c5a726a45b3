/*
 * Known answers for the cryptography and bit-manipulation helpers: AES and SHA-2 are run as a guest
 * program would run them, from the instructions, on the examples of FIPS 197 and FIPS 180; the
 * rest is compared with the definitions in the RISC-V manual, bit by bit, on random operands.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "target/riscv/crypto.h"

#define OPERANDS 20000

static bool all_passed = true;

static void report(bool ok, const char *what)
{
    printf("%s - %s\n", ok ? "ok" : "not ok", what);
    all_passed &= ok;
}

static uint64_t random64(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* AES: FIPS 197, appendices B and C. */

struct aes_example {
    const char *name;
    unsigned key_bytes;
    uint8_t key[32], plain[16], cipher[16];
};

static const struct aes_example aes_examples[] = {
    {"AES-128, FIPS 197 appendix B",
     16,
     {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f,
      0x3c},
     {0x32, 0x43, 0xf6, 0xa8, 0x88, 0x5a, 0x30, 0x8d, 0x31, 0x31, 0x98, 0xa2, 0xe0, 0x37, 0x07,
      0x34},
     {0x39, 0x25, 0x84, 0x1d, 0x02, 0xdc, 0x09, 0xfb, 0xdc, 0x11, 0x85, 0x97, 0x19, 0x6a, 0x0b,
      0x32}},
    {"AES-128, FIPS 197 appendix C.1",
     16,
     {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e,
      0x0f},
     {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
      0xff},
     {0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30, 0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5,
      0x5a}},
    {"AES-192, FIPS 197 appendix C.2",
     24,
     {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
      0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17},
     {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
      0xff},
     {0xdd, 0xa9, 0x7c, 0xa4, 0x86, 0x4c, 0xdf, 0xe0, 0x6e, 0xaf, 0x70, 0xa0, 0xec, 0x0d, 0x71,
      0x91}},
    {"AES-256, FIPS 197 appendix C.3",
     32,
     {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
      0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15,
      0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f},
     {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
      0xff},
     {0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf, 0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49, 0x60,
      0x89}},
};

/* Fills 2 * (rounds + 1) double-words of round keys; returns the number of rounds. */
static unsigned aes_expand(const struct aes_example *e, uint64_t *keys)
{
    unsigned words = e->key_bytes / 8; /* of 64 bits */
    unsigned rounds = 2 * words + 6;
    unsigned total = 2 * (rounds + 1);

    memcpy(keys, e->key, e->key_bytes);
    for (unsigned i = words, round = 0; i < total; i += words, round++) {
        uint64_t t = rv_crypto_aes64ks1i(keys[i - 1], round);

        keys[i] = rv_crypto_aes64ks2(t, keys[i - words]);
        for (unsigned j = 1; j < words && i + j < total; j++) {
            t = keys[i + j - 1];
            if (words == 4 && j == 2) {
                t = rv_crypto_aes64ks1i(t, 10); /* FIPS 197, 5.2: SubWord alone, for 256 bits */
            }
            keys[i + j] = rv_crypto_aes64ks2(t, keys[i + j - words]);
        }
    }
    return rounds;
}

static void test_aes(const struct aes_example *e)
{
    uint64_t keys[30 + 4], s[2], t;
    unsigned rounds = aes_expand(e, keys);
    char what[96];

    memcpy(s, e->plain, sizeof(s));
    for (unsigned r = 0; r < rounds; r++) {
        uint64_t (*round)(uint64_t, uint64_t) =
            r + 1 < rounds ? rv_crypto_aes64esm : rv_crypto_aes64es;

        s[0] ^= keys[2 * r];
        s[1] ^= keys[2 * r + 1];
        t = round(s[0], s[1]);
        s[1] = round(s[1], s[0]);
        s[0] = t;
    }
    s[0] ^= keys[2 * rounds];
    s[1] ^= keys[2 * rounds + 1];
    snprintf(what, sizeof(what), "%s, encryption", e->name);
    report(memcmp(s, e->cipher, sizeof(s)) == 0, what);

    /* The equivalent inverse cipher (FIPS 197, 5.3.5): inner round keys go through aes64im. */
    memcpy(s, e->cipher, sizeof(s));
    for (unsigned i = 2; i < 2 * rounds; i++) {
        keys[i] = rv_crypto_aes64im(keys[i], 0);
    }
    for (unsigned r = rounds; r > 0; r--) {
        uint64_t (*round)(uint64_t, uint64_t) = r > 1 ? rv_crypto_aes64dsm : rv_crypto_aes64ds;

        s[0] ^= keys[2 * r];
        s[1] ^= keys[2 * r + 1];
        t = round(s[0], s[1]);
        s[1] = round(s[1], s[0]);
        s[0] = t;
    }
    s[0] ^= keys[0];
    s[1] ^= keys[1];
    snprintf(what, sizeof(what), "%s, decryption", e->name);
    report(memcmp(s, e->plain, sizeof(s)) == 0, what);
}

static unsigned gf_multiply(unsigned a, unsigned b)
{
    unsigned product = 0;

    for (; b; b >>= 1) {
        product ^= b & 1 ? a : 0;
        a = a << 1 ^ (a & 0x80 ? 0x11b : 0);
    }
    return product;
}

/* FIPS 197, 5.1.1: the inverse in GF(2^8), then an affine map. */
static void test_aes_boxes(void)
{
    bool forward = true, inverse = true;

    for (unsigned x = 0; x < 256; x++) {
        unsigned reciprocal = 0, image = 0;
        uint64_t all = x * UINT64_C(0x0101010101010101);

        for (unsigned y = 1; y < 256; y++) {
            reciprocal = gf_multiply(x, y) == 1 ? y : reciprocal;
        }
        for (unsigned i = 0; i < 8; i++) {
            unsigned bit = reciprocal >> i ^ reciprocal >> (i + 4) % 8 ^ reciprocal >> (i + 5) % 8 ^
                           reciprocal >> (i + 6) % 8 ^ reciprocal >> (i + 7) % 8 ^ 0x63u >> i;
            image |= (bit & 1) << i;
        }
        forward &= rv_crypto_aes64es(all, all) == image * UINT64_C(0x0101010101010101);
        all = image * UINT64_C(0x0101010101010101);
        inverse &= rv_crypto_aes64ds(all, all) == x * UINT64_C(0x0101010101010101);
    }
    report(forward, "aes64es substitutes every byte by the definition");
    report(inverse, "aes64ds substitutes every byte by the definition");
}

/*
 * SHA-2: FIPS 180-4. The round constants are the first bits of the fractions of the cube roots of
 * the first primes, the initial values those of the square roots; both are computed here.
 */

/* The first 64 bits of the fraction of the root of p of that degree. */
static uint64_t root_fraction(unsigned p, unsigned degree)
{
    unsigned whole = 1;
    uint64_t fraction = 0;

    while ((degree == 2 ? (whole + 1) * (whole + 1) : (whole + 1) * (whole + 1) * (whole + 1)) <=
           p) {
        whole++;
    }
    for (int bit = 63; bit >= 0; bit--) {
        /* candidate^degree <= p * 2^(64 * degree), in 32-bit digits with room for the cube */
        uint64_t trial = fraction | UINT64_C(1) << bit;
        uint32_t x[3] = {(uint32_t)trial, (uint32_t)(trial >> 32), whole};
        uint32_t power[12] = {1};
        uint32_t limit[12] = {0};
        bool fits = true;

        for (unsigned d = 0; d < degree; d++) {
            uint32_t next[12] = {0};

            for (unsigned i = 0; i < 9; i++) {
                uint64_t carry = 0;

                for (unsigned j = 0; j < 3; j++) {
                    carry += next[i + j] + (uint64_t)power[i] * x[j];
                    next[i + j] = (uint32_t)carry;
                    carry >>= 32;
                }
                for (unsigned j = i + 3; carry && j < 12; j++) {
                    carry += next[j];
                    next[j] = (uint32_t)carry;
                    carry >>= 32;
                }
            }
            memcpy(power, next, sizeof(power));
        }
        limit[2 * degree] = p;
        for (int i = 11; i >= 0; i--) {
            if (power[i] != limit[i]) {
                fits = power[i] < limit[i];
                break;
            }
        }
        fraction = fits ? trial : fraction;
    }
    return fraction;
}

static unsigned next_prime(unsigned p)
{
    unsigned divisor;

    do {
        p++;
        for (divisor = 2; p % divisor; divisor++) {
        }
    } while (divisor != p);
    return p;
}

/*
 * One padded block of either hash in 64-bit variables, `bits` the width of a word. Sums of
 * sign-extended words are right in their low 32 bits, which is all that SHA-256 uses.
 */
static void sha2_abc(unsigned bits, uint64_t *digest)
{
    bool narrow = bits == 32;
    unsigned rounds = narrow ? 64 : 80;
    uint64_t mask = narrow ? UINT32_MAX : UINT64_MAX;
    uint64_t schedule[80] = {0}, v[8], initial[8];
    uint64_t (*sig0)(uint64_t, uint64_t) = narrow ? rv_crypto_sha256sig0 : rv_crypto_sha512sig0;
    uint64_t (*sig1)(uint64_t, uint64_t) = narrow ? rv_crypto_sha256sig1 : rv_crypto_sha512sig1;
    uint64_t (*sum0)(uint64_t, uint64_t) = narrow ? rv_crypto_sha256sum0 : rv_crypto_sha512sum0;
    uint64_t (*sum1)(uint64_t, uint64_t) = narrow ? rv_crypto_sha256sum1 : rv_crypto_sha512sum1;
    unsigned prime = 1;

    schedule[0] = UINT64_C(0x61626380) << (bits - 32); /* "abc" and the padding's first bit */
    schedule[15] = 24;                                 /* the length in bits */
    for (unsigned i = 16; i < rounds; i++) {
        schedule[i] = sig1(schedule[i - 2], 0) + schedule[i - 7] + sig0(schedule[i - 15], 0) +
                      schedule[i - 16];
    }
    for (unsigned i = 0; i < 8; i++) {
        prime = next_prime(prime);
        initial[i] = root_fraction(prime, 2) >> (64 - bits);
    }
    memcpy(v, initial, sizeof(v));
    prime = 1;
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t t1, t2;

        prime = next_prime(prime);
        t1 = v[7] + sum1(v[4], 0) + ((v[4] & v[5]) ^ (~v[4] & v[6])) +
             (root_fraction(prime, 3) >> (64 - bits)) + schedule[i];
        t2 = sum0(v[0], 0) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++) {
        digest[i] = (initial[i] + v[i]) & mask;
    }
}

static void test_sha2(void)
{
    static const uint64_t sha256_abc[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223,
                                           0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};
    static const uint64_t sha512_abc[8] = {
        UINT64_C(0xddaf35a193617aba), UINT64_C(0xcc417349ae204131), UINT64_C(0x12e6fa4e89a97ea2),
        UINT64_C(0x0a9eeee64b55d39a), UINT64_C(0x2192992a274fc1a8), UINT64_C(0x36ba3c23a3feebbd),
        UINT64_C(0x454d4423643ce80e), UINT64_C(0x2a9ac94fa54ca49f)};
    uint64_t (*const narrow[])(uint64_t, uint64_t) = {rv_crypto_sha256sig0, rv_crypto_sha256sig1,
                                                      rv_crypto_sha256sum0, rv_crypto_sha256sum1};
    uint64_t digest[8], state = UINT64_C(0x9e3779b97f4a7c15);
    bool extended = true;

    sha2_abc(32, digest);
    report(memcmp(digest, sha256_abc, sizeof(digest)) == 0, "SHA-256 of abc");
    sha2_abc(64, digest);
    report(memcmp(digest, sha512_abc, sizeof(digest)) == 0, "SHA-512 of abc");

    for (unsigned i = 0; i < OPERANDS; i++) {
        uint64_t x = random64(&state);

        for (unsigned f = 0; f < 4; f++) {
            uint64_t r = narrow[f](x, 0);

            extended &= r == (uint64_t)(int32_t)r && r == narrow[f]((uint32_t)x, 0);
        }
    }
    report(extended, "sha256 functions ignore the high word and sign-extend");
}

/* Bit manipulation: one bit or byte at a time, as the manual defines each. */

static uint64_t bit(uint64_t x, unsigned i)
{
    return i < 64 ? x >> i & 1 : 0;
}

static uint64_t byte(uint64_t x, unsigned i)
{
    return x >> 8 * i & 0xff;
}

/* Bits from .. from + 63 of the carry-less product. */
static uint64_t define_clmul(uint64_t a, uint64_t b, unsigned from)
{
    uint64_t out = 0;

    for (unsigned k = from; k < from + 64; k++) {
        uint64_t sum = 0;

        for (unsigned i = 0; i <= k && i < 64; i++) {
            sum ^= bit(a, i) & bit(b, k - i);
        }
        out |= sum << (k - from);
    }
    return out;
}

static uint64_t define_clmul_low(uint64_t a, uint64_t b)
{
    return define_clmul(a, b, 0);
}

static uint64_t define_clmul_high(uint64_t a, uint64_t b)
{
    return define_clmul(a, b, 64);
}

static uint64_t define_clmul_reversed(uint64_t a, uint64_t b)
{
    return define_clmul(a, b, 63);
}

static uint64_t define_brev8(uint64_t a, uint64_t b)
{
    uint64_t out = 0;

    for (unsigned i = 0; i < 64; i++) {
        out |= bit(a, i) << (i / 8 * 8 + 7 - i % 8);
    }
    return out;
}

static uint64_t define_orc_b(uint64_t a, uint64_t b)
{
    uint64_t out = 0;

    for (unsigned i = 0; i < 8; i++) {
        out |= (uint64_t)(byte(a, i) ? 0xff : 0) << 8 * i;
    }
    return out;
}

static uint64_t define_xperm8(uint64_t a, uint64_t b)
{
    uint64_t out = 0;

    for (unsigned i = 0; i < 8; i++) {
        out |= (byte(b, i) < 8 ? byte(a, (unsigned)byte(b, i)) : 0) << 8 * i;
    }
    return out;
}

static uint64_t define_xperm4(uint64_t a, uint64_t b)
{
    uint64_t out = 0;

    for (unsigned i = 0; i < 16; i++) {
        for (unsigned j = 0; j < 4; j++) {
            out |= bit(a, 4 * (unsigned)(b >> 4 * i & 15) + j) << (4 * i + j);
        }
    }
    return out;
}

/* The low `bits` of a, then of b above them; the rest is zero or the sign. */
static uint64_t define_join(uint64_t a, uint64_t b, unsigned bits, bool extend)
{
    uint64_t out = 0;

    for (unsigned i = 0; i < 64; i++) {
        unsigned from = extend && i >= 2 * bits ? 2 * bits - 1 : i;

        out |= (from < bits ? bit(a, from) : from < 2 * bits ? bit(b, from - bits) : 0) << i;
    }
    return out;
}

static uint64_t define_pack(uint64_t a, uint64_t b)
{
    return define_join(a, b, 32, false);
}

static uint64_t define_packh(uint64_t a, uint64_t b)
{
    return define_join(a, b, 8, false);
}

static uint64_t define_packw(uint64_t a, uint64_t b)
{
    return define_join(a, b, 16, true);
}

static const struct {
    const char *name;
    uint64_t (*helper)(uint64_t, uint64_t);
    uint64_t (*definition)(uint64_t, uint64_t);
} instructions[] = {
    {"clmul", rv_crypto_clmul, define_clmul_low},
    {"clmulh", rv_crypto_clmulh, define_clmul_high},
    {"clmulr", rv_crypto_clmulr, define_clmul_reversed},
    {"brev8", rv_crypto_brev8, define_brev8},
    {"orc.b", rv_crypto_orc_b, define_orc_b},
    {"xperm4", rv_crypto_xperm4, define_xperm4},
    {"xperm8", rv_crypto_xperm8, define_xperm8},
    {"pack", rv_crypto_pack, define_pack},
    {"packh", rv_crypto_packh, define_packh},
    {"packw", rv_crypto_packw, define_packw},
};

static void test_instructions(void)
{
    uint64_t state = UINT64_C(0x2545f4914f6cdd1d);

    for (unsigned n = 0; n < sizeof(instructions) / sizeof(instructions[0]); n++) {
        unsigned failures = 0;
        char what[64];

        for (unsigned i = 0; i < OPERANDS / 10; i++) {
            uint64_t a = random64(&state), b = random64(&state);
            uint64_t result, expected;

            /* Operands with empty bytes, small indices, single bits, and all ones. */
            a &= i & 1 ? UINT64_MAX : random64(&state) & random64(&state) & random64(&state);
            b &= i & 2 ? UINT64_MAX : UINT64_C(0x0f0f0f0f0f0f0f0f);
            a = i % 32 == 5 ? UINT64_C(1) << (i / 32 % 64) : i % 32 == 6 ? UINT64_MAX : a;
            b = i % 32 == 7 ? UINT64_C(1) << (i / 32 % 64) : i % 64 == 6 ? UINT64_MAX : b;
            result = instructions[n].helper(a, b);
            expected = instructions[n].definition(a, b);
            if (result != expected && failures++ < 5) {
                printf("# %s %016" PRIx64 " %016" PRIx64 ": %016" PRIx64 ", expected %016" PRIx64
                       "\n",
                       instructions[n].name, a, b, result, expected);
            }
        }
        snprintf(what, sizeof(what), "%s follows its definition", instructions[n].name);
        report(failures == 0, what);
    }
}

int main(void)
{
    for (unsigned i = 0; i < sizeof(aes_examples) / sizeof(aes_examples[0]); i++) {
        test_aes(&aes_examples[i]);
    }
    test_aes_boxes();
    test_sha2();
    test_instructions();
    return !all_passed;
}
