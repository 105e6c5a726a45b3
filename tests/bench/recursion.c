/* Fibonacci, Ackermann and Takeuchi: calls and returns with next to nothing in between. */
#include "tests/bench/bench.h"

/* noipa: gcc otherwise unrolls the recursion into itself, which leaves few calls to measure. */
static long __attribute__((noipa)) fib(long n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static long __attribute__((noipa)) ackermann(long m, long n)
{
    if (m == 0) {
        return n + 1;
    }
    if (n == 0) {
        return ackermann(m - 1, 1);
    }
    return ackermann(m - 1, ackermann(m, n - 1));
}

static long __attribute__((noipa)) tak(long x, long y, long z)
{
    return y >= x ? z : tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y));
}

int main(int argc, char **argv)
{
    uint64_t hash = 0;
    long rounds = bench_count(argc, argv, 550);

    for (long r = 0; r < rounds; r++) {
        hash = bench_mix(hash, (uint64_t)fib(27 + r % 2));
        hash = bench_mix(hash, (uint64_t)ackermann(2, 600 + r % 8));
        hash = bench_mix(hash, (uint64_t)tak(18, 12, 6 - r % 2));
    }
    bench_print_bits(hash);
    return 0;
}
