#include <cpuid.h>
#include <stdint.h>
#include "jit/x86_64/features.h"

static struct jit_x86_features features;
static bool probed;

/* XCR0: which register sets the kernel saves. */
static uint64_t xgetbv0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static void probe(struct jit_x86_features *f)
{
    unsigned eax, ebx, ecx, edx;
    uint64_t xcr0 = 0;

    *f = (struct jit_x86_features){0};
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) {
        f->popcnt = ecx & bit_POPCNT;
        f->sse41 = ecx & bit_SSE4_1;
        if (ecx & bit_OSXSAVE) {
            xcr0 = xgetbv0();
        }
        f->avx = (ecx & bit_AVX) && (xcr0 & 6) == 6;
        f->fma = f->avx && (ecx & bit_FMA);
    }
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
        f->bmi1 = ebx & bit_BMI;
        f->bmi2 = ebx & bit_BMI2;
        f->avx2 = f->avx && (ebx & bit_AVX2);
        f->avx512 = f->avx2 && (xcr0 & 0xe6) == 0xe6 && (ebx & bit_AVX512F) &&
                    (ebx & bit_AVX512DQ) && (ebx & bit_AVX512VL) && (ebx & bit_AVX512BW);
    }
    if (__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx)) {
        f->lzcnt = ecx & bit_LZCNT;
    }
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
