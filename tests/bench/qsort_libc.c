/* The C library's qsort with a callback: an indirect call per comparison. */
#include "tests/bench/bench.h"

enum { COUNT = 100000 };
struct record {
    uint32_t key;
    uint32_t payload;
};
static struct record records[COUNT];

/* Ties are broken by the payload, because qsort is not stable on every C library. */
static int compare(const void *a, const void *b)
{
    const struct record *x = a, *y = b;

    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return (x->payload > y->payload) - (x->payload < y->payload);
}

int main(int argc, char **argv)
{
    uint64_t seed = 11, hash = 0;
    long rounds = bench_count(argc, argv, 115);

    for (long r = 0; r < rounds; r++) {
        for (long i = 0; i < COUNT; i++) {
            records[i].key = (uint32_t)bench_random(&seed) % 50000;
            records[i].payload = (uint32_t)i;
        }
        qsort(records, COUNT, sizeof(records[0]), compare);
        for (long i = 0; i < COUNT; i += 997) {
            hash = bench_mix(hash, (uint64_t)records[i].key << 32 | records[i].payload);
        }
    }
    bench_print_bits(hash);
    return 0;
}
