/*
 * CPU models: what texts choose, what is refused and with which words, what is cut, and CPUID's
 * answers for topologies, caches and states. The tables' own consistency comes first.
 */
#include "target/x86/features.h"
#include "target/x86/model.h"
#include "tests/unit/tap.h"
#include "util/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static char error[2048];
static struct x86_model model;

static bool set(const char *spec)
{
    error[0] = 0;
    return x86_model_set(&model, spec, error, sizeof(error)) == 0;
}

static void has(const char *spec, const char *feature, bool expected)
{
    bool ok = set(spec);

    tap_ok(ok && x86_model_has(&model, feature) == expected, "%s %s %s%s%s", spec,
           expected ? "has" : "lacks", feature, ok ? "" : ": ", error);
}

static void refused(const char *spec, const char *part)
{
    struct x86_model before = model;
    bool ok = set(spec);

    tap_ok(!ok && strstr(error, part) && !strchr(error, '\n'), "'%s' is refused: %s", spec, error);
    tap_ok(!memcmp(&before, &model, sizeof(model)), "and leaves the model alone");
}

static struct x86_leaf leaf(uint32_t number, uint32_t subleaf)
{
    return x86_model_cpuid(&model, number, subleaf);
}

/* ---- the tables ------------------------------------------------------------------------------ */

static const char *const names[] = {
#define X86_MODEL(name, vendor, family, number, stepping, level, xlevel, caches, brand, features) \
    name,
#include "target/x86/models.def"
};

static const struct {
    const char *other;
    unsigned number;
} versions[] = {
#define X86_MODEL(name, vendor, family, number, stepping, level, xlevel, caches, brand, features) \
    {name, 1},
#define X86_VERSION(version, other, number, stepping, level, xlevel, caches, brand, changes) \
    {other, version},
#include "target/x86/models.def"
};

static const char *const words[] = {
#define X86_MODEL(name, vendor, family, number, stepping, level, xlevel, caches, brand, features) \
    features,
#define X86_VERSION(version, other, number, stepping, level, xlevel, caches, brand, changes) \
    changes,
#include "target/x86/models.def"
};

static bool is_model(const char *name, size_t length)
{
    char text[64];

    snprintf(text, sizeof(text), "%.*s", (int)length, name);
    return set(text);
}

static void tables(void)
{
    unsigned unknown = 0, open = 0, count = 0;
    const char *name = NULL;

    for (unsigned n = 0; n < BITS_ARRAY_SIZE(words); n++) {
        for (const char *p = words[n]; *p; p += strspn(p, " ")) {
            size_t length = strcspn(p, " ");
            bool sign = *p == '+' || *p == '-';

            if (!x86_feature_find(p + sign, length - sign) && (sign || !is_model(p, length))) {
                unknown++;
                tap_note("%.*s", (int)length, p);
            }
            p += length;
        }
    }
    tap_eq(unknown, 0, "models name features and models that there are");
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(versions); n++) {
        char spec[128];

        name = versions[n].number == 1 ? versions[n].other : name;
        snprintf(spec, sizeof(spec), "%s-v%u,enforce", name, versions[n].number);
        count++;
        if (!set(spec)) {
            open++;
            tap_note("%s: %s", spec, error);
        }
    }
    tap_ok(open == 0 && count > 120, "%u models have all that their features need", count);
    open = 0;
    for (unsigned n = 0; n < x86_feature_count; n++) {
        const char *feature = x86_feature_table[n].name;
        open += x86_feature_find(feature, strlen(feature)) != feature;
        for (unsigned m = 0; m < n; m++) {
            open += x86_feature_table[m].word == x86_feature_table[n].word &&
                    x86_feature_table[m].bit == x86_feature_table[n].bit;
        }
    }
    tap_eq(open, 0, "features are found by name, and have bits of their own");
    tap_ok(set("max,enforce"), "max has whatever there is: %s", error);
    (void)names;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void texts(void)
{
    has("Haswell", "avx2", true);
    has("Haswell", "rtm", true);
    has("Haswell-noTSX", "rtm", false);
    has("Haswell-v2", "rtm", false);
    has("Haswell-v1", "rtm", true);
    has("Haswell-IBRS", "spec-ctrl", true);
    has("Skylake-Client,-avx2", "avx2", false);
    has("Skylake-Client,+avx512f", "avx512f", true);
    has("Skylake-Client,avx2=off,rdrand=off", "rdrand", false);
    has("Skylake-Client,sse4_1=off", "sse4.1", false);
    has("Skylake-Client,sse4_1=off", "sse4.2", false);
    has("Skylake-Client,sse4_1=off", "avx", true);
    has("Skylake-Client,+pcid,-pcid", "pcid", false);
    has("Skylake-Client,-xsave", "avx2", false);
    has("qemu64,+lzcnt", "abm", true);
    has("base", "fpu", false);
    has("base,+fpu", "fpu", true);
    has("base", "hypervisor", true);
    has("qemu64,-hypervisor", "hypervisor", false);
    has("x86-64-v1", "pni", false);
    has("x86-64-v2", "sse4.2", true);
    has("x86-64-v3", "bmi2", true);
    has("x86-64-v4", "avx512vl", true);
    has("x86-64-v4", "vaes", false);
    has("EPYC-Rome,kvmclock=on", "kvmclock", true);
    has("Cascadelake-Server-noTSX", "mds-no", true);
    tap_ok(set("Icelake-Server-v4") && model.model == 106, "a version has its own facts");
    tap_ok(set("Skylake-Client-v4") && strstr(model.brand, "no TSX"), "or those before it");
    tap_ok(set("qemu64,vendor=GenuineIntel,family=6,model=60,stepping=4,model-id=A B") &&
               x86_model_signature(&model) == 0x306c4 && !strcmp(model.brand, "A B"),
           "identity is set by properties");
    tap_ok(set("qemu64,family=0x19,model=17,stepping=1") && x86_model_signature(&model) == 0xa10f11,
           "families above 15 are extended");
    tap_ok(set("qemu64,tsc-frequency=2.5G") && model.tsc_hz == 2500000000, "frequencies with G");
    tap_ok(set("qemu64,tsc-frequency=2500000000") && model.tsc_hz == 2500000000, "and without");
    tap_ok(set("qemu64,phys-bits=46") && (leaf(0x80000008, 0).eax & 0xff) == 46, "address size");
    tap_ok(set("qemu64") && (leaf(0x80000008, 0).eax & 0xffff) == 0x3028, "which is 40 else");
    tap_ok(set("qemu64,level=4,xlevel=0x80000004") && model.level == 4 &&
               leaf(0x80000000, 0).eax == 0x80000004,
           "leaves end where they are told to");
    tap_ok(set("pentium,min-level=5") && model.level == 5, "or not before");
    tap_ok(set("pentium,+smep") && model.level == 7, "and a feature brings its leaf");
    tap_ok(set("Haswell,l3-cache=on,migratable=no,check"), "what changes nothing is taken");
    tap_ok(set("Haswell,,+avx2,"), "so are empty items");
}

static void refusals(void)
{
    set("qemu64");
    refused("Hasswell", "'Hasswell' is not a model");
    refused("", "'' is not a model");
    refused("Haswell-v9", "'Haswell-v9'");
    refused("Haswell,+avx3", "'avx3' is neither a feature nor a property");
    refused("Haswell,avx2=maybe", "'avx2=maybe': expected on or off");
    refused("Haswell,+avx2=on", "'+avx2=on': expected +avx2 or avx2=on");
    refused("Haswell,family=300", "'family=300': expected 0 to 270");
    refused("Haswell,family=", "'family=': expected 0 to 270");
    refused("Haswell,family=-1", "'family=-1'");
    refused("Haswell,family=99999999999999999999", "expected");
    refused("Haswell,vendor=Intel", "'vendor=Intel': expected 12 bytes");
    refused("Haswell,tsc-frequency=fast", "expected of the time stamp counter");
    refused("Haswell,phys-bits=99", "'phys-bits=99': expected");
    refused("Haswell,lmce=on", "cannot be had");
    refused("Haswell,hv-relaxed", "Hyper-V");
    refused("Haswell,vmx-ept=off", "cannot be switched singly");
    tap_ok(set("Haswell,vmx-ept=on"), "what the kernel decides may be said");
    refused("Haswell,+avx2,-xsave,-avx", "avx2 needs avx, which is switched off");
}

/* ---- what an accelerator has ----------------------------------------------------------------- */

static struct x86_supported supported;

static struct x86_leaf *add(uint32_t number, uint32_t subleaf, bool has_subleaf)
{
    struct x86_leaf *l = &supported.leaf[supported.count++];

    *l = (struct x86_leaf){.leaf = number, .subleaf = subleaf, .has_subleaf = has_subleaf};
    return l;
}

/* Like x86-64-v3, of AMD, with a small part of KVM's. */
static void support(void)
{
    struct x86_leaf leaves[X86_LEAVES_MAX];
    unsigned count;

    set("x86-64-v3,-movbe,+x2apic,+invtsc,+svm,+xsaves,+xsavec,phys-bits=44,vendor=AuthenticAMD,"
        "family=25,model=33,stepping=2,model-id=Host");
    count = x86_model_leaves(&model, leaves);
    supported = (struct x86_supported){
        .xcr0 = 7, .signature = "KVMKVMKVM\0\0", .tsc_hz = 3000000000, .apic_hz = 1000000000};
    for (unsigned n = 0; n < count; n++) {
        *add(leaves[n].leaf, leaves[n].subleaf, leaves[n].has_subleaf) = leaves[n];
    }
    add(0x40000001, 0, false)->eax = 1 | 8 | 1u << 24;
    supported.msr[0].number = 0x10a;
    supported.msr[0].value = 0xff;
    supported.msr_count = 1;
    x86_model_set_supported(&supported);
}

/* What a call writes to stderr. */
static const char *warnings_of(const char *spec)
{
    static char text[4096];
    char path[] = "/tmp/tinamou-model-XXXXXX";
    int file = mkstemp(path), saved = dup(2);
    ssize_t n;

    dup2(file, 2);
    set(spec);
    dup2(saved, 2);
    n = pread(file, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = 0;
    close(file);
    close(saved);
    unlink(path);
    return text;
}

static void cutting(void)
{
    const char *text;

    support();
    has("host", "avx2", true);
    has("host", "movbe", false);
    has("host", "invtsc", false);
    has("host,migratable=off", "invtsc", true);
    has("host,+invtsc", "invtsc", true);
    tap_ok(set("host") && !memcmp(model.vendor, "AuthenticAMD", 12) && model.family == 25 &&
               model.model == 33 && model.stepping == 2 && !strcmp(model.brand, "Host") &&
               (leaf(0x80000008, 0).eax & 0xff) == 44,
           "host has the host's identity");
    has("Haswell,check=off", "movbe", false);
    has("Haswell,check=off", "kvmclock", true);
    has("Haswell,check=off", "kvm-pv-eoi", false);
    has("Nehalem,check=off", "x2apic", true);
    has("EPYC,check=off", "svm", false);
    has("EPYC,check=off,+svm", "svm", true);
    tap_ok(!memcmp(model.vendor, "AuthenticAMD", 12), "named models have the host's vendor");
    tap_ok(set("Haswell,check=off,vendor=GenuineIntel") && model.vendor[0] == 'G',
           "unless they are told another");
    text = warnings_of("Haswell-noTSX");
    tap_ok(strstr(text, "cannot be had here: ") && strstr(text, "movbe") && strstr(text, "pcid") &&
               !strstr(text, "avx2") && strchr(text, '\n') == text + strlen(text) - 1,
           "what is missing is told in one line");
    text = warnings_of("Haswell-noTSX");
    tap_str(text, "", "once");
    text = warnings_of("x86-64-v3,-movbe");
    tap_str(text, "", "what was switched off is not missed");
    text = warnings_of("x86-64-v3,-movbe,+avx512f");
    tap_ok(strstr(text, ": avx512f\n"), "but what was switched on");
    text = warnings_of("pentium,+avx2");
    tap_ok(strstr(text, ": avx2 (needs avx)"), "and what needs something else");
    refused("x86-64-v3,enforce", "cannot be had here: movbe");
    tap_ok(set("x86-64-v3,enforce,-movbe"), "enforce is content with what there is: %s", error);
    supported.xcr0 = 3;
    has("host", "avx", false);
    has("host", "avx2", false);
    has("host", "xsave", true);
    supported.xcr0 = 7;
}

static void hypervisor_leaves(void)
{
    struct x86_leaf l;

    support();
    set("host");
    l = leaf(0x40000000, 0);
    tap_ok(l.eax == 0x40000001 && l.ebx == 0x4b4d564b && l.ecx == 0x564b4d56 && l.edx == 0x4d,
           "the accelerator's signature");
    tap_eq(leaf(0x40000001, 0).eax, 1 | 8 | 1u << 24, "and features");
    set("host,+invtsc");
    tap_eq(leaf(0x40000000, 0).eax, 0x40000010, "a counter that does not change");
    tap_ok(leaf(0x40000010, 0).eax == 3000000 && leaf(0x40000010, 0).ebx == 1000000,
           "has its frequency shown");
    set("host,tsc-frequency=1G");
    tap_eq(leaf(0x40000010, 0).eax, 1000000, "or that which was set");
    set("host,kvm=off");
    tap_eq(leaf(0x40000000, 0).eax, 0, "kvm=off hides all of it");
    tap_ok(leaf(1, 0).ecx >> 31, "but not that there is a hypervisor");
}

/* ---- leaves ---------------------------------------------------------------------------------- */

static void topology(void)
{
    struct x86_leaf l;

    x86_model_set_supported(NULL);
    model.threads = 2;
    model.cores = 3;
    model.dies = 2;
    model.sockets = 2;
    set("Skylake-Server,level=0x1f"); /* the topology stays */
    model.apic_id = 0x1d;             /* socket 1, die 1, core 2, thread 1 */
    tap_eq(leaf(1, 0).ebx >> 16, 0x1d0c, "leaf 1: id, twelve processors");
    tap_ok(leaf(1, 0).edx >> 28 & 1, "and a valid count");
    l = leaf(0xb, 0);
    tap_ok(l.eax == 1 && l.ebx == 2 && l.ecx == 0x100 && l.edx == 0x1d, "0xb: threads");
    l = leaf(0xb, 1);
    tap_ok(l.eax == 4 && l.ebx == 12 && l.ecx == 0x201 && l.edx == 0x1d, "0xb: cores");
    l = leaf(0xb, 2);
    tap_ok(l.eax == 0 && l.ebx == 0 && l.ecx == 2 && l.edx == 0x1d, "0xb: the end");
    tap_ok(leaf(0xb, 77).ecx == 77 && leaf(0xb, 77).edx == 0x1d, "0xb: far beyond it");
    l = leaf(0x1f, 1);
    tap_ok(l.eax == 3 && l.ebx == 6 && l.ecx == 0x201, "0x1f: cores of a die");
    l = leaf(0x1f, 2);
    tap_ok(l.eax == 4 && l.ebx == 12 && l.ecx == 0x502, "0x1f: dies");
    l = leaf(4, 3);
    tap_ok((l.eax >> 14 & 0xfff) == 7 && l.eax >> 26 == 7, "4: the third level is a die's");
    l = leaf(4, 0);
    tap_ok((l.eax >> 14 & 0xfff) == 1, "4: the first is a core's");
    set("EPYC-Turin");
    model.apic_id = 0x1d;
    l = leaf(0x8000001e, 0);
    tap_ok(l.eax == 0x1d && l.ebx == 0x106 && l.ecx == 0x103, "0x8000001e: ids");
    tap_eq(leaf(0x80000008, 0).ecx, 0x400b, "0x80000008: processors and bits of ids");
    tap_ok(leaf(0x80000001, 0).ecx & 2, "0x80000001: several of them");
    l = leaf(0x8000001d, 0);
    tap_ok(l.eax == 0x4121 && l.ebx == 0x02c0003f && l.ecx == 63, "0x8000001d: 48 KiB of data");
    l = leaf(0x8000001d, 3);
    tap_ok(l.eax == 0x1c163 && l.ebx == 0x03c0003f && l.ecx == 0x7fff, "0x8000001d: third level");
    tap_eq(leaf(0x8000001d, 4).eax, 0, "0x8000001d: the end");
    tap_eq(leaf(4, 0).eax, 0, "4 is not AMD's");
    tap_eq(leaf(0x80000005, 0).ecx, 0x300c0140, "0x80000005: data");
    tap_eq(leaf(0x80000006, 0).ecx, 0x04008140, "0x80000006: second level");
    tap_eq(leaf(0x80000006, 0).edx, 0x01008140, "0x80000006: third level");
    memset(&model, 0, sizeof(model));
}

static void states(void)
{
    struct x86_leaf l;

    set("SapphireRapids,+pku");
    tap_eq(x86_model_xcr0(&model), 0x602e7, "XCR0 has the states of features");
    l = leaf(0xd, 0);
    tap_ok(l.eax == 0x602e7 && l.edx == 0 && l.ebx == 576 && l.ecx == 11008, "0xd: sizes");
    l = leaf(0xd, 1);
    tap_ok((l.eax & 0x1e) == 0x1e && l.ecx == 0, "0xd.1: features");
    l = leaf(0xd, 18);
    tap_ok(l.eax == 8192 && l.ebx == 2816 && l.ecx == 6, "0xd.18: tiles");
    tap_eq(leaf(0xd, 3).eax, 0, "0xd.3: no bounds");
    tap_ok(leaf(0x1d, 1).eax == 0x04002000 && leaf(0x1e, 0).ebx == 0x4010, "tiles' shapes");
    set("SapphireRapids-v5,enforce");
    tap_eq(x86_model_xss(&model), 0x1800, "XSS has the supervisor's");
    l = leaf(0xd, 11);
    tap_ok(l.eax == 16 && l.ebx == 0 && l.ecx == 1, "0xd.11: shadow stacks");
    set("Skylake-Client,-xsave");
    tap_ok(x86_model_xcr0(&model) == 0 && leaf(0xd, 0).eax == 0 && leaf(0xd, 1).eax == 0,
           "without XSAVE there are none");
    support(); /* AVX elsewhere: a processor's own layout counts */
    for (unsigned n = 0; n < supported.count; n++) {
        if (supported.leaf[n].leaf == 0xd && supported.leaf[n].subleaf == 2) {
            supported.leaf[n].ebx = 640;
        }
    }
    set("host");
    tap_ok(leaf(0xd, 2).ebx == 640 && leaf(0xd, 0).ecx == 896, "the host's layout is passed on");
    x86_model_set_supported(NULL);
}

static void order(void)
{
    struct x86_leaf leaves[X86_LEAVES_MAX];
    unsigned count, wrong = 0;

    set("max");
    count = x86_model_leaves(&model, leaves);
    for (unsigned n = 1; n < count; n++) {
        wrong +=
            leaves[n].leaf < leaves[n - 1].leaf ||
            (leaves[n].leaf == leaves[n - 1].leaf && leaves[n].subleaf <= leaves[n - 1].subleaf);
    }
    tap_ok(wrong == 0 && count > 50 && count < X86_LEAVES_MAX, "%u leaves are in order", count);
}

static void out_of_range(void)
{
    struct x86_leaf l;

    set("Haswell,vendor=GenuineIntel");
    l = leaf(0x7fffffff, 0);
    tap_ok(l.eax == leaf(0xd, 0).eax && l.ecx == leaf(0xd, 0).ecx && l.eax == 7,
           "Intel: beyond the last leaf is the last");
    tap_eq(leaf(0x80000100, 0).eax, 7, "of any range");
    tap_eq(leaf(3, 0).eax, 0, "a leaf within that is not described is zeros");
    set("EPYC");
    l = leaf(0x7fffffff, 0);
    tap_ok(!(l.eax | l.ebx | l.ecx | l.edx), "AMD: beyond the last leaf are zeros");
    tap_ok(leaf(0x80000001, 0).edx & 1, "AMD: features are repeated");
    set("Haswell,vendor=GenuineIntel");
    tap_ok(!(leaf(0x80000001, 0).edx & 1), "Intel: they are not");
}

static void brands(void)
{
    char text[49] = "";

    set("EPYC-Milan,vendor=HygonGenuine");
    for (unsigned n = 0; n < 3; n++) {
        struct x86_leaf l = leaf(0x80000002 + n, 0);
        memcpy(text + 16 * n, &l.eax, 4);
        memcpy(text + 16 * n + 4, &l.ebx, 4);
        memcpy(text + 16 * n + 8, &l.ecx, 4);
        memcpy(text + 16 * n + 12, &l.edx, 4);
    }
    tap_str(text, "AMD EPYC-Milan Processor", "brand string");
    tap_ok(leaf(0, 0).ebx == 0x6f677948 && leaf(0, 0).edx == 0x6e65476e &&
               leaf(0, 0).ecx == 0x656e6975,
           "vendor");
    set("Cascadelake-Server-v2");
    tap_eq(x86_model_capabilities(&model, 0x10a), 0x2b, "registers of capabilities");
    tap_eq(x86_model_capabilities(&model, 0x10b), 0, "and what is none");
}

static unsigned lines, models, flags;

static void count_line(void *opaque, const char *text)
{
    lines++;
    models += strstr(text, "  Skylake-Server-v5 ") != NULL;
    flags += strstr(text, " avx512-vpopcntdq") != NULL;
}

int main(void)
{
    tables();
    texts();
    refusals();
    cutting();
    hypervisor_leaves();
    topology();
    states();
    order();
    out_of_range();
    brands();
    x86_model_list(count_line, NULL);
    tap_ok(lines > 150 && models == 1 && flags == 1, "the list has models and features");
    return tap_done();
}
