/* What runs in ring 3 of a guest and natively, compiled alike: integers, branches, memory. */
#ifndef TINAMOU_TESTS_BENCH_GUEST_RING3_H
#define TINAMOU_TESTS_BENCH_GUEST_RING3_H

#include <stdint.h>

#define RING3_WORDS 4096

static uint64_t ring3_table[RING3_WORDS];

/* `rounds` rounds; the result depends on all of them. */
static inline uint64_t ring3_work(uint64_t rounds)
{
    uint64_t x = 88172645463325252u, sum = 0;

    for (uint64_t n = 0; n < rounds; n++) {
        uint64_t *word = &ring3_table[x % RING3_WORDS];

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        *word += x;
        sum += *word & 1 ? *word >> 3 : x * 5;
    }
    return sum;
}

#endif
