/*
 * libc has asked the CPU already, and the kernel for its registers. Asking again would cost a
 * microsecond for each CPUID where a hypervisor traps it.
 */
#include <sys/platform/x86.h>
#include "jit/x86_64/features.h"

static struct jit_x86_features features;
static bool probed;

static void probe(struct jit_x86_features *f)
{
    *f = (struct jit_x86_features){
        .popcnt = CPU_FEATURE_ACTIVE(POPCNT),
        .lzcnt = CPU_FEATURE_ACTIVE(LZCNT),
        .bmi1 = CPU_FEATURE_ACTIVE(BMI1),
        .bmi2 = CPU_FEATURE_ACTIVE(BMI2),
        .sse41 = CPU_FEATURE_ACTIVE(SSE4_1),
        .avx = CPU_FEATURE_ACTIVE(AVX),
        .avx2 = CPU_FEATURE_ACTIVE(AVX2),
        .fma = CPU_FEATURE_ACTIVE(FMA),
        .avx512 = CPU_FEATURE_ACTIVE(AVX512F) && CPU_FEATURE_ACTIVE(AVX512DQ) &&
                  CPU_FEATURE_ACTIVE(AVX512VL) && CPU_FEATURE_ACTIVE(AVX512BW),
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
