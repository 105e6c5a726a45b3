/*
 * How CPUID's answers are put together: shared by model.c, cpuid.c and cpuid-cache.c.
 */
#ifndef TINAMOU_TARGET_X86_CPUID_H
#define TINAMOU_TARGET_X86_CPUID_H

#include "target/x86/model.h"

/* Descriptions of caches that models have. */
enum x86_cache_kind {
#define X86_CACHES(id, l1d, l1i, l2, l3) X86_CACHE_##id,
#include "target/x86/caches.def"
    X86_CACHE_COUNT
};

/* Who else is in the package: processors that share a core, a die, the package, rounded up to the
 * powers of two that APIC ids are made of; and the bits of an id below each. */
struct x86_topology {
    uint32_t threads, cores, dies; /* each per the next bigger one, at least 1 */
    uint32_t core_shift, die_shift, package_shift;
    uint32_t per_package; /* logical processors */
};

struct x86_topology x86_model_topology(const struct x86_model *model);

/* What was set with x86_model_set_supported(); NULL: nothing. */
const struct x86_supported *x86_model_supported(void);

/* Leaves that describe caches: 2, 4, 0x80000005, 0x80000006, 0x8000001d. False: no such subleaf. */
bool x86_cache_leaf(const struct x86_model *model, const struct x86_topology *topology,
                    struct x86_leaf *leaf);

#endif
