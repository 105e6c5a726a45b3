/* The C library's string functions: strlen, memcpy, memcmp, strchr, strcmp, strstr, memset. */
#include "tests/bench/bench.h"

enum { SIZE = 4096 };
static char text[SIZE + 1], copy[SIZE + 1];

int main(int argc, char **argv)
{
    uint64_t seed = 3, hash = 0;
    long rounds = bench_count(argc, argv, 4500000);

    for (int i = 0; i < SIZE; i++) {
        text[i] = (char)('a' + bench_random(&seed) % 25);
    }
    text[SIZE] = 0;
    for (long r = 0; r < rounds; r++) {
        size_t start = (size_t)(r * 37) % 512;
        char *p;

        memset(copy, 'z', 256);
        memcpy(copy + start % 64, text + start, SIZE - start - 64);
        text[SIZE - 100 - r % 900] = 'z';
        hash += strlen(text + start);
        p = strchr(text + start, 'z');
        hash = bench_mix(hash, (uint64_t)(p - text));
        hash += (uint64_t)(memcmp(text + start, copy + start % 64, SIZE / 2) > 0);
        strcpy(copy, text + start);
        hash += (uint64_t)(strcmp(copy, text + start) == 0);
        p = strstr(text + SIZE - 600, "zq");
        hash = bench_mix(hash, p ? (uint64_t)(p - text) : 0);
        text[SIZE - 100 - r % 900] = 'b';
    }
    bench_print_bits(hash);
    return 0;
}
