/*
 * What every benchmark kernel shares.
 *
 * A kernel is one C file with a main(): it does a fixed amount of work, about one second of native
 * time at scale 1, and prints what it computed, so that a wrong answer is seen and no compiler may
 * drop the work.  The first argument scales the amount (`kernel 0.1`), for engines that are slow.
 *
 * Two kinds of lines may be printed:
 *   bits HEX   exact; equal on every engine that runs the same program.  A kernel without floating
 *              point prints the same bits natively too.
 *   sum VALUE  a floating-point figure; a native build may differ from the guest's in the last
 *              places, because RISC-V compilers contract a*b+c and x86-64's baseline has no FMA.
 */
#ifndef TINAMOU_TESTS_BENCH_BENCH_H
#define TINAMOU_TESTS_BENCH_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `full` repetitions times the scale in argv[1] (1 when absent), never less than one. */
static inline long bench_count(int argc, char **argv, long full)
{
    double scale = argc > 1 ? atof(argv[1]) : 1.0;
    long count = (long)(full * scale);

    return count < 1 ? 1 : count;
}

/* The next number of a 64-bit xorshift generator; *state must not be zero. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* Folds `value` into the running hash `hash`. */
static inline uint64_t bench_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static inline uint64_t bench_mix_double(uint64_t hash, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bench_mix(hash, bits);
}

static inline void bench_print_bits(uint64_t hash)
{
    printf("bits %016llx\n", (unsigned long long)hash);
}

static inline void bench_print_sum(double sum)
{
    printf("sum %.12g\n", sum);
}

#endif
