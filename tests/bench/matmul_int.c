/* Integer matrix product: multiply-add with strided loads, three nested loops. */
#include "tests/bench/bench.h"

enum { N = 200 };
static int32_t a[N][N], b[N][N], c[N][N];

static void __attribute__((noinline)) multiply(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            int32_t sum = 0;

            for (int k = 0; k < N; k++) {
                sum = (int32_t)((uint32_t)sum + (uint32_t)a[i][k] * (uint32_t)b[k][j]);
            }
            c[i][j] = sum;
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = 7, hash = 0;
    long rounds = bench_count(argc, argv, 780);

    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            a[i][j] = (int32_t)bench_random(&seed);
            b[i][j] = (int32_t)bench_random(&seed);
        }
    }
    for (long r = 0; r < rounds; r++) {
        multiply();
        hash = bench_mix(hash, (uint32_t)c[r % N][(r * 7) % N]);
        a[r % N][(r * 3) % N] ^= c[(r * 5) % N][r % N];
    }
    bench_print_bits(hash);
    return 0;
}
