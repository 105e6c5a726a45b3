/*
 * CPUID's answers for a model (SDM volume 2, CPUID; AMD APM volume 3, appendix E; for 0x400000xx
 * the kernel's Documentation/virt/kvm/x86/cpuid.rst).
 *
 * A leaf is the words of features.def that lie in it, and beyond these what its row in leaves[]
 * puts there. So features need no code here.
 */
#include "target/x86/cpuid.h"
#include "target/x86/features.h"
#include "util/bits.h"

#include <string.h>

enum { SUBLEAVES_MAX = 64 };

static bool is_amd(const struct x86_model *m)
{
    return !memcmp(m->vendor, "AuthenticAMD", 12) || !memcmp(m->vendor, "HygonGenuine", 12);
}

static bool has(const struct x86_model *m, const char *feature)
{
    return x86_model_has(m, feature);
}

/* ---- topology -------------------------------------------------------------------------------- */

static unsigned bits_for(uint32_t count)
{
    return count > 1 ? 32 - (unsigned)__builtin_clz(count - 1) : 0;
}

struct x86_topology x86_model_topology(const struct x86_model *m)
{
    struct x86_topology t = {
        .threads = m->threads ? m->threads : 1,
        .cores = m->cores ? m->cores : 1,
        .dies = m->dies ? m->dies : 1,
    };

    t.core_shift = bits_for(t.threads);
    t.die_shift = t.core_shift + bits_for(t.cores);
    t.package_shift = t.die_shift + bits_for(t.dies);
    t.per_package = t.threads * t.cores * t.dies;
    return t;
}

/* ---- states of XSAVE ------------------------------------------------------------------------- */

/* Size, offset in the standard format, and flags of leaf 0xd, where no accelerator says: Intel's.
 */
static const struct state {
    uint32_t size, offset, flags; /* flags: 1 supervisor, 2 aligned to 64 bytes, 4 XFD */
    const char *feature;          /* that it is for */
} states[] = {
    [2] = {256, 576, 0, "avx"},       [3] = {64, 960, 0, "mpx"},
    [4] = {64, 1024, 0, "mpx"},       [5] = {64, 1088, 0, "avx512f"},
    [6] = {512, 1152, 0, "avx512f"},  [7] = {1024, 1664, 0, "avx512f"},
    [9] = {8, 2688, 0, "pku"},        [11] = {16, 0, 1, "cet-ss"},
    [12] = {24, 0, 1, "cet-ss"},      [15] = {808, 0, 1, "arch-lbr"},
    [17] = {64, 2752, 2, "amx-tile"}, [18] = {8192, 2816, 6, "amx-tile"},
    [19] = {128, 960, 0, "apxf"},
};

static const struct x86_leaf *supported_leaf(uint32_t leaf, uint32_t subleaf)
{
    const struct x86_supported *s = x86_model_supported();

    for (unsigned n = 0; s && n < s->count; n++) {
        const struct x86_leaf *l = &s->leaf[n];
        if (l->leaf == leaf && (!l->has_subleaf || l->subleaf == subleaf)) {
            return l;
        }
    }
    return NULL;
}

static struct state state_of(unsigned n)
{
    const struct x86_leaf *l = supported_leaf(0xd, n);
    struct state s = states[n];

    if (l && l->eax) {
        s.size = l->eax;
        s.offset = l->ebx;
        s.flags = l->ecx;
    }
    return s;
}

static bool wants_state(const struct x86_model *m, unsigned n)
{
    return states[n].feature &&
           (has(m, states[n].feature) || ((n == 11 || n == 12) && has(m, "cet-ibt")));
}

uint64_t x86_model_xcr0(const struct x86_model *m)
{
    const struct x86_supported *s = x86_model_supported();
    uint64_t bits = 3;

    if (!has(m, "xsave")) {
        return 0;
    }
    for (unsigned n = 2; n < BITS_ARRAY_SIZE(states); n++) {
        bits |= (uint64_t)(wants_state(m, n) && !(states[n].flags & 1)) << n;
    }
    return s ? bits & s->xcr0 : bits;
}

uint64_t x86_model_xss(const struct x86_model *m)
{
    const struct x86_supported *s = x86_model_supported();
    uint64_t bits = 0;

    for (unsigned n = 2; n < BITS_ARRAY_SIZE(states) && has(m, "xsaves"); n++) {
        bits |= (uint64_t)(wants_state(m, n) && states[n].flags & 1) << n;
    }
    return s ? bits & s->xss : bits;
}

/* Bytes of an area for these states, in either format. */
static uint32_t area_size(uint64_t mask, bool compacted)
{
    uint32_t end = 576;

    for (unsigned n = 2; n < BITS_ARRAY_SIZE(states); n++) {
        struct state s;

        if (!(mask >> n & 1)) {
            continue;
        }
        s = state_of(n);
        if (!compacted) {
            end = s.offset + s.size > end ? s.offset + s.size : end;
        } else {
            end = (s.flags & 2 ? (end + 63) & ~63u : end) + s.size;
        }
    }
    return end;
}

/* ---- leaves ---------------------------------------------------------------------------------- */

/* Adds to a leaf, which has its words of features already; false: no such subleaf. */
typedef bool fill_fn(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l);

static void put_text(struct x86_leaf *l, const char text[static 16])
{
    memcpy(&l->eax, text, 4);
    memcpy(&l->ebx, text + 4, 4);
    memcpy(&l->ecx, text + 8, 4);
    memcpy(&l->edx, text + 12, 4);
}

static void put_vendor(const struct x86_model *m, struct x86_leaf *l)
{
    memcpy(&l->ebx, m->vendor, 4);
    memcpy(&l->edx, m->vendor + 4, 4);
    memcpy(&l->ecx, m->vendor + 8, 4);
}

/* What the accelerator says of the leaf, whole; nothing where it says nothing. */
static bool pass_on(struct x86_leaf *l)
{
    const struct x86_leaf *from = supported_leaf(l->leaf, l->subleaf);

    if (from) {
        l->eax = from->eax;
        l->ebx = from->ebx;
        l->ecx = from->ecx;
        l->edx = from->edx;
    }
    return from || l->subleaf == 0;
}

static bool fill_0(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    l->eax = m->level;
    put_vendor(m, l);
    return true;
}

static bool fill_1(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    l->eax = x86_model_signature(m);
    l->ebx = m->apic_id << 24 | (has(m, "clflush") ? 8u << 8 : 0);
    if (t->per_package > 1) {
        l->ebx |= (t->per_package < 255 ? t->per_package : 255) << 16;
        l->edx |= 1u << 28; /* HTT: the count is valid */
    }
    return true;
}

static bool fill_5(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    return has(m, "monitor") ? pass_on(l) : true;
}

static bool fill_7(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    const struct x86_features *f = &m->feature;
    uint32_t last =
        f->word[X86_WORD_7_2_edx]                                                             ? 2
        : f->word[X86_WORD_7_1_eax] || f->word[X86_WORD_7_1_ecx] || f->word[X86_WORD_7_1_edx] ? 1
                                                                                              : 0;

    if (l->subleaf == 0) {
        l->eax = last;
    }
    return l->subleaf <= last;
}

static bool fill_a(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    return m->pmu ? pass_on(l) : true;
}

/* Leaves 0xb and 0x1f: a subleaf per level of the topology. */
static bool fill_topology(const struct x86_model *m, const struct x86_topology *t,
                          struct x86_leaf *l)
{
    static const uint8_t types[] = {1, 2, 5}; /* thread, core, die */
    unsigned levels = l->leaf == 0x1f ? 3 : 2;

    l->edx = m->apic_id;
    l->ecx = l->subleaf & 0xff;
    if (l->subleaf < levels) {
        l->ecx |= (uint32_t)types[l->subleaf] << 8;
        l->eax = l->subleaf == 0            ? t->core_shift
                 : l->subleaf == levels - 1 ? t->package_shift
                                            : t->die_shift;
        l->ebx = l->subleaf == 0            ? t->threads
                 : l->subleaf == levels - 1 ? t->per_package
                                            : t->threads * t->cores;
    }
    return l->subleaf <= levels;
}

static bool fill_d(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    uint64_t xcr0 = x86_model_xcr0(m), xss = x86_model_xss(m);
    struct state s;

    if (!xcr0) {
        return l->subleaf == 0;
    }
    switch (l->subleaf) {
    case 0:
        l->eax = (uint32_t)xcr0;
        l->ebx = area_size(1, false);
        l->ecx = area_size(xcr0, false);
        l->edx = (uint32_t)(xcr0 >> 32);
        return true;
    case 1:
        if (has(m, "xsavec")) {
            l->ebx = area_size(1, true);
        }
        l->ecx = (uint32_t)xss;
        l->edx = (uint32_t)(xss >> 32);
        return true;
    default:
        if (l->subleaf >= BITS_ARRAY_SIZE(states) || !((xcr0 | xss) >> l->subleaf & 1)) {
            return false;
        }
        s = state_of(l->subleaf);
        l->eax = s.size;
        l->ebx = s.offset;
        l->ecx = s.flags;
        return true;
    }
}

static bool fill_12(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    return has(m, "sgx") ? pass_on(l) : l->subleaf == 0;
}

static bool fill_14(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    return has(m, "intel-pt") ? pass_on(l) : l->subleaf == 0;
}

static bool fill_19(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    return has(m, "kl") ? pass_on(l) : true;
}

static bool fill_1c(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    return has(m, "arch-lbr") ? pass_on(l) : true;
}

/* Tiles: one palette, of eight tiles of 16 rows of 64 bytes. */
static bool fill_1d(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    if (!has(m, "amx-tile")) {
        return l->subleaf == 0;
    }
    if (l->subleaf == 0) {
        l->eax = 1;
    } else {
        l->eax = 8192 | 1024u << 16;
        l->ebx = 64 | 8u << 16;
        l->ecx = 16;
    }
    return l->subleaf <= 1;
}

static bool fill_1e(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    if (has(m, "amx-tile") && l->subleaf == 0) {
        l->eax = m->feature.word[X86_WORD_1e_1_eax] ? 1 : 0;
        l->ebx = 16 | 64u << 8; /* rows and bytes of a multiplication */
    }
    return l->subleaf == 0 || (l->subleaf == 1 && m->feature.word[X86_WORD_1e_1_eax]);
}

static bool fill_24(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    const struct x86_leaf *from = supported_leaf(0x24, 0);
    bool more = m->feature.word[X86_WORD_24_1_ecx];

    if (has(m, "avx10") && l->subleaf == 0) {
        l->eax = more;
        l->ebx |= from && from->ebx & 0xff ? from->ebx & 0xff : 1; /* the version */
    }
    return l->subleaf == 0 || (l->subleaf == 1 && more);
}

/* Does the guest learn the frequency of its time stamp counter? Only of one that stays. */
static bool shows_frequency(const struct x86_model *m)
{
    const struct x86_supported *s = x86_model_supported();

    return s && s->apic_hz && (m->tsc_hz || (s->tsc_hz && has(m, "invtsc")));
}

static bool shows_hypervisor(const struct x86_model *m)
{
    const struct x86_supported *s = x86_model_supported();

    return s && s->signature && m->kvm;
}

static bool fill_hypervisor(const struct x86_model *m, const struct x86_topology *t,
                            struct x86_leaf *l)
{
    const struct x86_supported *s = x86_model_supported();

    switch (l->leaf & 0xff) {
    case 0:
        l->eax = shows_frequency(m) ? 0x40000010 : 0x40000001;
        memcpy(&l->ebx, s->signature, 4);
        memcpy(&l->ecx, s->signature + 4, 4);
        memcpy(&l->edx, s->signature + 8, 4);
        return true;
    case 0x10:
        l->eax = (uint32_t)((m->tsc_hz ? m->tsc_hz : s->tsc_hz) / 1000);
        l->ebx = (uint32_t)(s->apic_hz / 1000);
        return shows_frequency(m);
    default:
        return true;
    }
}

static bool fill_x0(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    l->eax = m->xlevel;
    if (is_amd(m)) {
        put_vendor(m, l);
    }
    return true;
}

static bool fill_x1(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    const uint32_t same = 0x0183f3ff; /* bits that AMD's processors repeat from leaf 1 */

    l->eax = x86_model_signature(m);
    if (is_amd(m)) {
        l->edx = (l->edx & ~same) | (m->feature.word[X86_WORD_1_edx] & same);
        l->ecx |= t->per_package > 1 ? 2 : 0; /* CmpLegacy: the count of leaf 1 is of cores */
    }
    return true;
}

static bool fill_brand(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    put_text(l, m->brand + (size_t)16 * (l->leaf - 0x80000002));
    return true;
}

static bool fill_x8(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    if (has(m, "lm")) {
        l->eax = m->physical_bits | (has(m, "la57") ? 57u : 48u) << 8;
    } else {
        l->eax = m->physical_bits | 32u << 8;
    }
    if (is_amd(m) && t->per_package > 1) {
        l->ecx = (t->per_package < 256 ? t->per_package - 1 : 255) | t->package_shift << 12;
    }
    return true;
}

static bool fill_xa(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    if (has(m, "svm")) {
        l->eax = 1;  /* revision */
        l->ebx = 16; /* address space identifiers */
    }
    return true;
}

static bool fill_x1d(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    return has(m, "topoext") ? x86_cache_leaf(m, t, l) : l->subleaf == 0;
}

static bool fill_x1e(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    if (has(m, "topoext")) {
        l->eax = m->apic_id;
        l->ebx =
            (m->apic_id >> t->core_shift & bits_mask(t->package_shift - t->core_shift) & 0xff) |
            (t->threads - 1) << 8;
        l->ecx = (t->dies - 1) << 8 | (m->apic_id >> t->die_shift & 0xff);
    }
    return true;
}

static bool fill_x22(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    const struct x86_leaf *from = supported_leaf(l->leaf, 0);

    if (from && m->pmu && has(m, "perfmon-v2")) {
        l->ebx = from->ebx & 15; /* counters of a core */
    }
    return true;
}

static bool fill_c0(const struct x86_model *m, const struct x86_topology *t, struct x86_leaf *l)
{
    l->eax = m->xlevel2;
    return true;
}

/* Leaves that may be more than their features, by number. */
static const struct {
    uint32_t leaf;
    fill_fn *fill;
    bool subleaves;
} leaves[] = {
    {0, fill_0, false},
    {1, fill_1, false},
    {2, x86_cache_leaf, false},
    {4, x86_cache_leaf, true},
    {5, fill_5, false},
    {6, NULL, false},
    {7, fill_7, true},
    {0xa, fill_a, false},
    {0xb, fill_topology, true},
    {0xd, fill_d, true},
    {0x12, fill_12, true},
    {0x14, fill_14, true},
    {0x19, fill_19, false},
    {0x1c, fill_1c, false},
    {0x1d, fill_1d, true},
    {0x1e, fill_1e, true},
    {0x1f, fill_topology, true},
    {0x24, fill_24, true},
    {0x29, NULL, false},
    {0x40000000, fill_hypervisor, false},
    {0x40000001, fill_hypervisor, false},
    {0x40000010, fill_hypervisor, false},
    {0x80000000, fill_x0, false},
    {0x80000001, fill_x1, false},
    {0x80000002, fill_brand, false},
    {0x80000003, fill_brand, false},
    {0x80000004, fill_brand, false},
    {0x80000005, x86_cache_leaf, false},
    {0x80000006, x86_cache_leaf, false},
    {0x80000007, NULL, false},
    {0x80000008, fill_x8, false},
    {0x8000000a, fill_xa, false},
    {0x8000001d, fill_x1d, true},
    {0x8000001e, fill_x1e, false},
    {0x80000021, NULL, false},
    {0x80000022, fill_x22, false},
    {0xc0000000, fill_c0, false},
    {0xc0000001, NULL, false},
};

static void put_words(const struct x86_model *m, struct x86_leaf *l)
{
    uint32_t *const registers[] = {&l->eax, &l->ebx, &l->ecx, &l->edx};

    for (unsigned n = 0; n < X86_WORD_COUNT; n++) {
        const struct x86_word *w = &x86_words[n];
        if (w->reg != X86_WORD_msr && w->leaf == l->leaf &&
            (w->subleaf == X86_NO_SUBLEAF || w->subleaf == l->subleaf)) {
            *registers[w->reg] |= m->feature.word[n];
        }
    }
}

/* Does the model show the leaf at all? */
static bool is_shown(const struct x86_model *m, uint32_t leaf)
{
    switch (leaf >> 28) {
    case 0:
        /* 0x1f is for dies; where a package has one, processors do without it */
        return leaf <= m->level && (leaf != 0x1f || m->dies > 1);
    case 4:
        return shows_hypervisor(m);
    case 8:
        return leaf <= m->xlevel;
    default:
        return m->xlevel2 && leaf <= m->xlevel2;
    }
}

unsigned x86_model_leaves(const struct x86_model *m, struct x86_leaf *out)
{
    struct x86_topology topology = x86_model_topology(m);
    unsigned count = 0;

    for (unsigned n = 0; n < BITS_ARRAY_SIZE(leaves); n++) {
        for (uint32_t sub = 0; sub < (leaves[n].subleaves ? SUBLEAVES_MAX : 1); sub++) {
            struct x86_leaf l = {
                .leaf = leaves[n].leaf, .subleaf = sub, .has_subleaf = leaves[n].subleaves};

            if (!is_shown(m, l.leaf)) {
                break;
            }
            put_words(m, &l);
            if ((!leaves[n].fill || leaves[n].fill(m, &topology, &l)) && count < X86_LEAVES_MAX) {
                out[count++] = l;
            }
        }
    }
    return count;
}

/* The highest leaf of the range that the number is in. */
static uint32_t range_end(const struct x86_model *m, uint32_t leaf)
{
    switch (leaf >> 28) {
    case 0:
        return m->level;
    case 4:
        return shows_hypervisor(m) ? (shows_frequency(m) ? 0x40000010 : 0x40000001) : 0;
    case 8:
        return m->xlevel;
    case 12:
        return m->xlevel2;
    default:
        return 0;
    }
}

/*
 * "If a value entered for CPUID.EAX is higher than the maximum input value for basic or extended
 * function for that processor then the data for the highest basic information leaf is returned."
 * AMD's processors return zeros.
 */
struct x86_leaf x86_model_cpuid(const struct x86_model *m, uint32_t leaf, uint32_t subleaf)
{
    struct x86_leaf all[X86_LEAVES_MAX], answer = {.leaf = leaf, .subleaf = subleaf};
    unsigned count = x86_model_leaves(m, all);
    uint32_t number = leaf;

    if (leaf > range_end(m, leaf)) {
        if (is_amd(m)) {
            return answer;
        }
        number = m->level;
    }
    for (unsigned n = 0; n < count; n++) {
        const struct x86_leaf *l = &all[n];
        if (l->leaf == number && (!l->has_subleaf || l->subleaf == subleaf)) {
            answer = *l;
            answer.leaf = leaf;
            answer.subleaf = subleaf;
            return answer;
        }
    }
    /* "... sub-leaf index n, invalid: EAX and EBX 0, ECX[7:0] the input, EDX the x2APIC ID" */
    if ((number == 0xb || number == 0x1f) && is_shown(m, number)) {
        answer.ecx = subleaf & 0xff;
        answer.edx = m->apic_id;
    }
    return answer;
}
