/* An open-addressing hash table: multiplications, cache misses, data-dependent loops. */
#include "tests/bench/bench.h"

enum { SLOTS = 1 << 17 };
struct slot {
    uint64_t key; /* 0: empty */
    uint64_t count;
};
static struct slot table[SLOTS];

static struct slot *find(uint64_t key)
{
    size_t i = (key * 0x9e3779b97f4a7c15u) >> 47;

    while (table[i].key && table[i].key != key) {
        i = (i + 1) & (SLOTS - 1);
    }
    return &table[i];
}

int main(int argc, char **argv)
{
    uint64_t seed = 42, hash = 0;
    long rounds = bench_count(argc, argv, 500);

    for (long r = 0; r < rounds; r++) {
        memset(table, 0, sizeof(table));
        for (long i = 0; i < 500000; i++) {
            uint64_t key = bench_random(&seed) % 70000 + 1;
            struct slot *s = find(key);

            s->key = key;
            s->count += (uint64_t)i;
        }
        for (uint64_t key = 1; key < 1000; key++) {
            hash = bench_mix(hash, find(key)->count);
        }
    }
    bench_print_bits(hash);
    return 0;
}
