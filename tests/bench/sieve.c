/* The sieve of Eratosthenes: byte stores with a stride, a loop of two instructions. */
#include "tests/bench/bench.h"

enum { LIMIT = 1 << 20 };
static uint8_t composite[LIMIT];

static uint64_t sieve(void)
{
    uint64_t sum = 0;

    memset(composite, 0, sizeof(composite));
    for (uint32_t i = 2; i < LIMIT; i++) {
        if (composite[i]) {
            continue;
        }
        sum += i;
        for (uint64_t k = (uint64_t)i * i; k < LIMIT; k += i) {
            composite[k] = 1;
        }
    }
    return sum;
}

int main(int argc, char **argv)
{
    uint64_t hash = 0;
    long rounds = bench_count(argc, argv, 540);

    for (long i = 0; i < rounds; i++) {
        hash = bench_mix(hash, sieve() + (uint64_t)i);
    }
    bench_print_bits(hash);
    return 0;
}
