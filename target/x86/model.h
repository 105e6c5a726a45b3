/*
 * CPU models: what CPUID says (SDM volume 2, CPUID; AMD APM volume 3, appendix E), by name of a
 * model and features that are switched on and off ("Skylake-Client,+avx2,-pdpe1gb,vmx=off").
 *
 * A model is a set of feature bits with vendor, family, cache and topology facts; features.def and
 * models.def have the tables. What of it a guest gets is cut to what the accelerator supports
 * (x86_supported), and then to what has all that it needs. What is missing of the model or of what
 * was asked for is told once, in one line by name, and with `enforce` is an error.
 */
#ifndef TINAMOU_TARGET_X86_MODEL_H
#define TINAMOU_TARGET_X86_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One answer of CPUID. */
struct x86_leaf {
    uint32_t leaf, subleaf;
    bool has_subleaf; /* the answer depends on ECX */
    uint32_t eax, ebx, ecx, edx;
};

#define X86_LEAVES_MAX 128

/* Words of feature bits: each is one register of one leaf, or half a register of capabilities;
 * features.def lists words and bits. */
enum { X86_FEATURE_WORDS = 40 };

struct x86_features {
    uint32_t word[X86_FEATURE_WORDS];
};

enum { X86_CAPABILITY_MSRS = 4 };

/* What an accelerator can give: its leaves with all the features that it could show. Leaves of
 * facts that nobody can virtualise (brand string, caches) are the host's. */
struct x86_supported {
    struct x86_leaf leaf[X86_LEAVES_MAX];
    unsigned count;
    struct {
        uint32_t number;
        uint64_t value;
    } msr[X86_CAPABILITY_MSRS]; /* that list capabilities: IA32_ARCH_CAPABILITIES, ... */
    unsigned msr_count;
    uint64_t xcr0; /* states that XSAVE may have */
    uint64_t xss;  /* and of these the supervisor's, by IA32_XSS */
    const char
        *signature; /* 12 bytes for leaf 0x40000000, "KVMKVMKVM"; NULL: no hypervisor leaves */
    uint64_t tsc_hz, apic_hz; /* 0: not known */
};

struct x86_model {
    const char *name;
    struct x86_features feature; /* what the guest is shown */
    uint32_t family, model, stepping;
    char vendor[13], brand[49];
    uint32_t level, xlevel, xlevel2; /* highest leaves */
    unsigned physical_bits;          /* of addresses */
    bool host_cache;                 /* pass the host's cache leaves on */
    bool kvm;                        /* show the accelerator's signature (kvm=off hides it) */
    bool pmu;                        /* performance counters (leaf 0xa) */
    uint8_t cache;                   /* which of the tables of cpuid-cache.c */
    uint64_t tsc_hz;                 /* tsc-frequency=; 0: the host's */
    /* Topology, set by the machine before the leaves are asked for; 0 counts as 1. */
    uint32_t apic_id;
    uint32_t threads, cores, dies, sockets; /* each per the next bigger one */
};

/* Set by the accelerator before the first model is chosen; lives as long as the process. NULL:
 * models are not cut (tests). */
void x86_model_set_supported(const struct x86_supported *supported);

/*
 * Chooses the model, by "NAME[,+x|-x|x=on|off|PROPERTY=VALUE]...". NAME: host, max, base, qemu64,
 * kvm64, x86-64-v1 to x86-64-v4, or a named processor (with -vN versions, and the names of such
 * versions). Returns 0, or -EINVAL with one line in error[]; then the model is as before. What
 * cannot be had is told in one warning line, once for the same text, unless check=off. The topology
 * stays.
 */
int x86_model_set(struct x86_model *model, const char *spec, char *error, size_t error_size);

/* For -cpu help: models, then the names of features and properties. */
void x86_model_list(void (*line)(void *opaque, const char *text), void *opaque);

/* Whether a feature of features.def is shown to the guest; the name as -cpu has it ("avx2"). */
bool x86_model_has(const struct x86_model *model, const char *feature);

/* The guest's 64 bits of a register that lists capabilities (IA32_ARCH_CAPABILITIES, ...); 0 for
 * any other. */
uint64_t x86_model_capabilities(const struct x86_model *model, uint32_t msr);

/* EAX of leaf 1: family, model, stepping. */
uint32_t x86_model_signature(const struct x86_model *model);

/* States that XSAVE has for the guest: XCR0's bits, and IA32_XSS's. */
uint64_t x86_model_xcr0(const struct x86_model *model);
uint64_t x86_model_xss(const struct x86_model *model);

/*
 * All answers of CPUID of this model and place in the topology, in order of leaf and subleaf, for
 * the accelerator; how many, at most X86_LEAVES_MAX. Bits that follow the registers are as they are
 * after a reset (OSXSAVE, OSPKE: 0; size of XSAVE's area: with XCR0 1).
 */
unsigned x86_model_leaves(const struct x86_model *model, struct x86_leaf *leaves);

/* What the instruction answers, for monitors and for accelerators that execute it themselves, with
 * the rules for leaves out of range. */
struct x86_leaf x86_model_cpuid(const struct x86_model *model, uint32_t leaf, uint32_t subleaf);

#endif
