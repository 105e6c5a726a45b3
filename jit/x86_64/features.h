/*
 * What the host CPU can do beyond baseline x86-64, asked once of util/hostcpu.h. Generated code
 * uses a feature only where its flag is set.
 */
#ifndef TINAMOU_JIT_X86_64_FEATURES_H
#define TINAMOU_JIT_X86_64_FEATURES_H

#include <stdbool.h>

struct jit_x86_features {
    bool popcnt, lzcnt, bmi1, bmi2, sse41, avx, avx2, fma, avx512;
};

/* The host's. The first call probes; later ones are cheap. Any thread. */
const struct jit_x86_features *jit_x86_features(void);

/* Do as on a host without any of them (true), or go back to what is probed: for the switch
 * `hostext` and for tests. Before the compiler is made. */
void jit_x86_features_baseline(bool baseline);

/* For tests that look at code without running it: a host with exactly these. */
void jit_x86_features_pretend(const struct jit_x86_features *pretended);

#endif
