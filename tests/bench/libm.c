/* The C library's mathematics: sin, cos, exp, log, pow, atan2, cbrt, and float variants. */
#include <math.h>

#include "tests/bench/bench.h"

int main(int argc, char **argv)
{
    uint64_t hash = 0;
    double total = 0;
    long steps = bench_count(argc, argv, 16500000);

    for (long i = 0; i < steps; i++) {
        double x = 0.001 + (double)(i % 100003) * 1.7e-4;
        double value = sin(x) * cos(x * 1.5) + exp(-x) + log(x) + pow(x, 0.37);

        value += atan2(x, 3.0) + cbrt(x) + floor(x) + fmod(x, 0.7);
        value += sinf((float)x) + expf((float)-x) + sqrtf((float)x);
        total += value;
        if (i % 64 == 0) {
            hash = bench_mix_double(hash, value);
        }
    }
    bench_print_sum(total);
    bench_print_bits(hash);
    return 0;
}
