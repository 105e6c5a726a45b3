/* CRC-32 by table and Adler-32 over a buffer: byte loads, table look-ups, short dependency chains.
 */
#include "tests/bench/bench.h"

static uint32_t crc_table[256];

static void crc_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;

        for (int k = 0; k < 8; k++) {
            c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        }
        crc_table[i] = c;
    }
}

static uint32_t crc32(uint32_t crc, const uint8_t *p, size_t n)
{
    crc = ~crc;
    while (n--) {
        crc = crc_table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
    }
    return ~crc;
}

static uint32_t adler32(const uint8_t *p, size_t n)
{
    uint32_t a = 1, b = 0;

    while (n) {
        size_t chunk = n < 5552 ? n : 5552;

        n -= chunk;
        while (chunk--) {
            a += *p++;
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    return b << 16 | a;
}

int main(int argc, char **argv)
{
    enum { SIZE = 1 << 18 };
    static uint8_t buffer[SIZE];
    uint64_t seed = 1, hash = 0;
    long rounds = bench_count(argc, argv, 1650);

    crc_init();
    for (size_t i = 0; i < SIZE; i++) {
        buffer[i] = (uint8_t)bench_random(&seed);
    }
    for (long i = 0; i < rounds; i++) {
        uint32_t crc = crc32((uint32_t)i, buffer, SIZE);

        hash = bench_mix(hash, (uint64_t)crc << 32 | adler32(buffer, SIZE));
        buffer[i % SIZE] ^= (uint8_t)crc;
    }
    bench_print_bits(hash);
    return 0;
}
