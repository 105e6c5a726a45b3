/*
 * `threads N SCALE`: N threads, each of which does the same work on its own. With as many CPUs, two
 * take the time of one. No kernel: its figure is the wall time of N = 1 against N = 2.
 */
#include <pthread.h>
#include "tests/bench/bench.h"

static long rounds;

static void *work(void *arg)
{
    uint64_t *state = arg, sum = 0;
    uint32_t table[1024];

    for (unsigned i = 0; i < 1024; i++) {
        table[i] = (uint32_t)bench_random(state);
    }
    for (long r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < 1024; i++) {
            sum += table[(i * 7 + (unsigned)sum) & 1023] ^ (sum >> 3);
        }
    }
    *state = sum;
    return NULL;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 1;
    pthread_t thread[16];
    uint64_t state[16], sum = 0;

    if (count < 1 || count > 16) {
        return 2;
    }
    rounds = bench_count(argc - 1, argv + 1, 400000);
    for (int i = 0; i < count; i++) {
        state[i] = 88172645463325252u + (uint64_t)i;
        pthread_create(&thread[i], NULL, work, &state[i]);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(thread[i], NULL);
        sum += state[i];
    }
    printf("bits %llx\n", (unsigned long long)sum);
    return 0;
}
