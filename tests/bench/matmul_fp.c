/* Floating-point matrix product: double multiply-add (fmadd on RISC-V) in an i-k-j order. */
#include "tests/bench/bench.h"

enum { N = 200 };
static double a[N][N], b[N][N], c[N][N];

static void __attribute__((noinline)) multiply(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            double sum = 0;

            for (int k = 0; k < N; k++) {
                sum += a[i][k] * b[k][j];
            }
            c[i][j] = sum;
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = 7, hash = 0;
    double total = 0;
    long rounds = bench_count(argc, argv, 550);

    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            a[i][j] = (double)(bench_random(&seed) >> 11) * 0x1p-53 - 0.25;
            b[i][j] = (double)(bench_random(&seed) >> 11) * 0x1p-53 - 0.25;
        }
    }
    for (long r = 0; r < rounds; r++) {
        multiply();
        total += c[r % N][(r * 7) % N];
        hash = bench_mix_double(hash, total);
        a[r % N][(r * 3) % N] = c[(r * 5) % N][r % N] * 0.03125;
    }
    bench_print_sum(total);
    bench_print_bits(hash);
    return 0;
}
