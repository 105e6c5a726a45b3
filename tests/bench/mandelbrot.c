/* The Mandelbrot set: a loop-carried chain of double multiplications, additions and a compare. */
#include "tests/bench/bench.h"

static int __attribute__((noinline)) escape(double cx, double cy, int limit)
{
    double x = 0, y = 0;
    int n = 0;

    while (n < limit) {
        double xx = x * x, yy = y * y;

        if (xx + yy > 4) {
            break;
        }
        y = 2 * x * y + cy;
        x = xx - yy + cx;
        n++;
    }
    return n;
}

int main(int argc, char **argv)
{
    enum { SIZE = 256 };
    uint64_t hash = 0;
    double total = 0;
    long rounds = bench_count(argc, argv, 180);

    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < SIZE; i++) {
            for (int j = 0; j < SIZE; j++) {
                int n = escape(-2.2 + 3.0 * j / SIZE + (double)(r % 64) * 1e-4,
                               -1.5 + 3.0 * i / SIZE, 200);

                total += n;
                hash = bench_mix(hash, (uint64_t)n);
            }
        }
    }
    bench_print_sum(total);
    bench_print_bits(hash);
    return 0;
}
