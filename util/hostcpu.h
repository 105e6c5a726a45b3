/*
 * What the x86-64 host's CPU can do and its kernel lets programs use, as libc found out at start.
 *
 * Asking the CPU again would cost a microsecond for each CPUID where a hypervisor traps it. Names
 * are those of libc's x86_cpu_*: HOST_CPU_HAS(AVX2).
 */
#ifndef TINAMOU_UTIL_HOSTCPU_H
#define TINAMOU_UTIL_HOSTCPU_H

#include <stdbool.h>
#include <sys/platform/x86.h>

/* Any thread, cheap. libc's own x86_cpu_active() does the same, but shifts into a sign bit. */
static inline bool host_cpu_has(unsigned feature)
{
    const struct cpuid_feature *leaf = __x86_get_cpuid_feature_leaf(feature / 128);

    return leaf->active_array[feature % 128 / 32] >> (feature % 32) & 1;
}

#define HOST_CPU_HAS(name) host_cpu_has(x86_cpu_##name)

#endif
