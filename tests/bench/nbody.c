/* Gravity among a star and four planets: square roots, divisions and multiply-adds in double. */
#include <math.h>

#include "tests/bench/bench.h"

enum { BODIES = 5 };
struct body {
    double x[3], v[3], mass;
};

/* Circular-looking orbits in units of our own (G = 1, the star has mass 40). */
static struct body bodies[BODIES] = {
    {{0, 0, 0}, {0, 0, 0}, 40},
    {{5.2, 0.1, -0.1}, {0.1, 2.7, 0.02}, 0.04},
    {{-9.5, 1.2, 0.3}, {-0.2, -2.0, 0.03}, 0.012},
    {{2.0, 19.1, -0.4}, {-1.4, 0.2, 0.01}, 0.002},
    {{4.0, -29.8, 0.6}, {1.1, 0.2, -0.02}, 0.002},
};

static void __attribute__((noinline)) advance(double dt)
{
    for (int i = 0; i < BODIES; i++) {
        struct body *a = &bodies[i];

        for (int j = i + 1; j < BODIES; j++) {
            struct body *b = &bodies[j];
            double d[3], square = 0, scale;

            for (int k = 0; k < 3; k++) {
                d[k] = a->x[k] - b->x[k];
                square += d[k] * d[k];
            }
            scale = dt / (square * sqrt(square));
            for (int k = 0; k < 3; k++) {
                a->v[k] -= d[k] * b->mass * scale;
                b->v[k] += d[k] * a->mass * scale;
            }
        }
    }
    for (int i = 0; i < BODIES; i++) {
        for (int k = 0; k < 3; k++) {
            bodies[i].x[k] += dt * bodies[i].v[k];
        }
    }
}

static double energy(void)
{
    double e = 0;

    for (int i = 0; i < BODIES; i++) {
        struct body *a = &bodies[i];

        for (int k = 0; k < 3; k++) {
            e += 0.5 * a->mass * a->v[k] * a->v[k];
        }
        for (int j = i + 1; j < BODIES; j++) {
            double square = 0;

            for (int k = 0; k < 3; k++) {
                square += (a->x[k] - bodies[j].x[k]) * (a->x[k] - bodies[j].x[k]);
            }
            e -= a->mass * bodies[j].mass / sqrt(square);
        }
    }
    return e;
}

int main(int argc, char **argv)
{
    uint64_t hash = 0;
    long steps = bench_count(argc, argv, 19000000);

    for (long i = 0; i < steps; i++) {
        advance(0.0005);
    }
    for (int i = 0; i < BODIES; i++) {
        for (int k = 0; k < 3; k++) {
            hash = bench_mix_double(hash, bodies[i].x[k]);
        }
    }
    bench_print_sum(energy());
    bench_print_bits(hash);
    return 0;
}
