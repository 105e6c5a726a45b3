/*
 * CPU models: what CPUID says (SDM volume 2, CPUID; AMD APM volume 3, appendix E), by name of a
 * model and features that are switched on and off ("Skylake-Client,+avx2,-pdpe1gb,vmx=off").
 *
 * A model is a set of feature bits with vendor, family, cache and topology facts; features.def and
 * models.def have the tables. What of it a guest gets is cut to what the accelerator supports
 * (x86_supported); a feature that was asked for and cannot be had is told once, by name, and with
 * `enforce` is an error.
 */
#ifndef TINAMOU_TARGET_X86_MODEL_H
#define TINAMOU_TARGET_X86_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct x86_cpu;

/* One answer of CPUID. */
struct x86_leaf {
    uint32_t leaf, subleaf;
    bool has_subleaf; /* the answer depends on ECX */
    uint32_t eax, ebx, ecx, edx;
};

#define X86_LEAVES_MAX 128

/* What an accelerator can give: its leaves with all the features that it could show. */
struct x86_supported {
    struct x86_leaf leaf[X86_LEAVES_MAX];
    unsigned count;
    uint64_t xcr0;             /* states that XSAVE may have */
    bool tsc_deadline, x2apic; /* though the leaves do not say so, since they depend on set-up */
    const char
        *signature; /* 12 bytes for leaf 0x40000000, "KVMKVMKVM"; NULL: no hypervisor leaves */
    uint32_t hypervisor_features; /* EAX of leaf 0x40000001 */
};

/* Words of feature bits: each is one register of one leaf; features.def lists words and bits. */
enum { X86_FEATURE_WORDS = 32 };

struct x86_model {
    const char *name;
    uint32_t feature[X86_FEATURE_WORDS]; /* what the guest is shown */
    uint32_t asked[X86_FEATURE_WORDS];   /* switched on by name, so worth a message if absent */
    uint32_t family, model, stepping;
    char vendor[13], brand[49];
    uint32_t level, xlevel, xlevel2; /* highest leaves; 0: as needed */
    unsigned physical_bits;          /* of addresses; 0: the host's, or 40 */
    bool enforce, check;             /* -cpu ...,enforce / check=off */
    bool host_cache;                 /* pass the host's cache leaves on */
    bool kvm;                        /* show the accelerator's signature (kvm=off hides it) */
    bool hypervisor;                 /* the bit that says it is a guest */
    uint64_t tsc_hz;                 /* tsc-frequency=; 0: the host's */
    /* Topology, set by the machine before the leaves are asked for. */
    uint32_t apic_id, threads, cores, dies, sockets; /* each per the next bigger one */
    uint32_t cpus;                                   /* logical processors in a package */
};

/* Set by the accelerator before the first model is chosen; lives as long as the process. NULL:
 * models are not cut (tests). */
void x86_model_set_supported(const struct x86_supported *supported);

/*
 * Chooses the model, by "NAME[,+x|-x|x=on|off|PROPERTY=VALUE]...". NAME: host, max, base, qemu64,
 * kvm64, x86-64-v1 to x86-64-v4, or a named processor (with -vN versions, and Debian libvirt's
 * names). Returns 0, or -EINVAL with one line in error[]; features that cannot be had are reported
 * by one warning line each to log/stderr unless check=off.
 */
int x86_model_set(struct x86_model *model, const char *spec, char *error, size_t error_size);

/* For -cpu help: models, then the names of features. */
void x86_model_list(void (*line)(void *opaque, const char *text), void *opaque);

/* Whether a feature of features.def is shown to the guest; the name as -cpu has it ("avx2"). */
bool x86_model_has(const struct x86_model *model, const char *feature);

/*
 * All answers of CPUID of this model and place in the topology, in order of leaf and subleaf, for
 * the accelerator; how many, at most X86_LEAVES_MAX.
 */
unsigned x86_model_leaves(const struct x86_model *model, struct x86_leaf *leaves);

/* What the instruction answers, for monitors and for accelerators that execute it themselves, with
 * the rules for leaves out of range. Dynamic bits (OSXSAVE, APIC, xcr0 sizes) are the caller's. */
struct x86_leaf x86_model_cpuid(const struct x86_model *model, uint32_t leaf, uint32_t subleaf);

#endif
