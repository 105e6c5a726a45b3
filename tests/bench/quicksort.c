/* Quicksort of 64-bit integers: unpredictable branches, recursion, loads and stores by index. */
#include "tests/bench/bench.h"

enum { COUNT = 200000 };
static int64_t values[COUNT];

static void quicksort(int64_t *v, long lo, long hi)
{
    while (lo < hi) {
        int64_t pivot = v[lo + (hi - lo) / 2];
        long i = lo, j = hi;

        while (i <= j) {
            while (v[i] < pivot) {
                i++;
            }
            while (v[j] > pivot) {
                j--;
            }
            if (i <= j) {
                int64_t t = v[i];

                v[i++] = v[j];
                v[j--] = t;
            }
        }
        /* Recurse into the smaller half, so that the depth stays logarithmic. */
        if (j - lo < hi - i) {
            quicksort(v, lo, j);
            lo = i;
        } else {
            quicksort(v, i, hi);
            hi = j;
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = 88172645463325252u, hash = 0;
    long rounds = bench_count(argc, argv, 70);

    for (long r = 0; r < rounds; r++) {
        for (long i = 0; i < COUNT; i++) {
            values[i] = (int64_t)bench_random(&seed);
        }
        quicksort(values, 0, COUNT - 1);
        for (long i = 1; i < COUNT; i++) {
            if (values[i - 1] > values[i]) {
                hash++;
            }
        }
        hash = bench_mix(hash, (uint64_t)values[r % COUNT]);
    }
    bench_print_bits(hash);
    return 0;
}
