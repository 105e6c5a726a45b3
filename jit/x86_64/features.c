#include "jit/x86_64/features.h"
#include "util/hostcpu.h"

static struct jit_x86_features features;
static bool probed;

static void probe(struct jit_x86_features *f)
{
    *f = (struct jit_x86_features){
        .popcnt = HOST_CPU_HAS(POPCNT),
        .lzcnt = HOST_CPU_HAS(LZCNT),
        .bmi1 = HOST_CPU_HAS(BMI1),
        .bmi2 = HOST_CPU_HAS(BMI2),
        .sse41 = HOST_CPU_HAS(SSE4_1),
        .avx = HOST_CPU_HAS(AVX),
        .avx2 = HOST_CPU_HAS(AVX2),
        .fma = HOST_CPU_HAS(FMA),
        .avx512 = HOST_CPU_HAS(AVX512F) && HOST_CPU_HAS(AVX512DQ) && HOST_CPU_HAS(AVX512VL) &&
                  HOST_CPU_HAS(AVX512BW),
    };
}

const struct jit_x86_features *jit_x86_features(void)
{
    if (!probed) {
        probe(&features);
        probed = true;
    }
    return &features;
}

void jit_x86_features_baseline(bool baseline)
{
    if (baseline) {
        features = (struct jit_x86_features){0};
    } else {
        probe(&features);
    }
    probed = true;
}

void jit_x86_features_pretend(const struct jit_x86_features *pretended)
{
    features = *pretended;
    probed = true;
}
