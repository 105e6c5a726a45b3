/*
 * CPU models: what a text as -cpu has it chooses.
 *
 * A model is found and its features are put together from models.def; then the properties of the
 * text change it, in their order; then it is cut: to what the accelerator has, to the states that
 * XSAVE can have, and to what has all that it needs. `wanted` is the set before the cut: what it
 * has more than the result is missing.
 *
 * What an accelerator adds to every named processor, and what it takes from it, are the few names
 * of accelerated[]: they are about how a guest runs best, not about the processor.
 */
#include "target/x86/cpuid.h"
#include "target/x86/model-parts.h"
#include "util/bits.h"
#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct x86_supported *supported;

/* ---- what the accelerator has ---------------------------------------------------------------- */

static const struct x86_leaf *supported_leaf(uint32_t leaf, uint32_t subleaf)
{
    for (unsigned n = 0; supported && n < supported->count; n++) {
        const struct x86_leaf *l = &supported->leaf[n];
        if (l->leaf == leaf && (!l->has_subleaf || l->subleaf == subleaf)) {
            return l;
        }
    }
    return NULL;
}

static uint32_t supported_word(unsigned word)
{
    const struct x86_word *w = &x86_words[word];
    const struct x86_leaf *l;

    if (w->reg == X86_WORD_msr) {
        for (unsigned n = 0; n < supported->msr_count; n++) {
            if (supported->msr[n].number == w->leaf) {
                return (uint32_t)(supported->msr[n].value >> w->subleaf);
            }
        }
        return 0;
    }
    l = supported_leaf(w->leaf, w->subleaf == X86_NO_SUBLEAF ? 0 : w->subleaf);
    if (!l) {
        return 0;
    }
    return w->reg == X86_WORD_eax   ? l->eax
           : w->reg == X86_WORD_ebx ? l->ebx
           : w->reg == X86_WORD_ecx ? l->ecx
                                    : l->edx;
}

static struct x86_features supported_features(void)
{
    struct x86_features set;

    for (unsigned n = 0; n < X86_FEATURE_WORDS; n++) {
        set.word[n] = n >= X86_WORD_COUNT ? 0 : supported ? supported_word(n) : UINT32_MAX;
    }
    return set;
}

/* Bits that have a name. Others are never shown: nobody could say what they need. */
static void keep_named(struct x86_features *set)
{
    struct x86_features named = {{0}};

    for (unsigned n = 0; n < x86_feature_count; n++) {
        named.word[x86_feature_table[n].word] |= 1u << x86_feature_table[n].bit;
    }
    for (unsigned n = 0; n < X86_FEATURE_WORDS; n++) {
        set->word[n] &= named.word[n];
    }
}

void x86_model_set_supported(const struct x86_supported *what)
{
    supported = what;
}

const struct x86_supported *x86_model_supported(void)
{
    return supported;
}

/* ---- putting together ------------------------------------------------------------------------ */

/* A paravirtualised clock and the like, for all but the empty model. */
static const struct {
    const char *name;
    bool on;
} accelerated[] = {
    {"kvmclock", true},       {"kvm-nopiodelay", true}, {"kvm-asyncpf", true},
    {"kvm-steal-time", true}, {"kvm-pv-eoi", true},     {"kvmclock-stable-bit", true},
    {"x2apic", true},         {"acpi", false},          {"monitor", false},
    {"svm", false},
};

/* Not shown by host and max unless asked for: other hosts may lack them, or they say how the host
 * is run. */
static const char *const unmigratable[] = {"invtsc"};
static const char *const explicit_only[] = {"kvm-hint-dedicated", "kvm-mmu", "monitor"};

static void choose_row(struct x86_model_parse *p, const struct x86_model_row *row)
{
    const struct x86_model_row *model = x86_row_model(row);

    p->model.name = model->name;
    p->model.family = model->family;
    p->model.model = row->model;
    p->model.stepping = row->stepping;
    p->model.cache = row->cache;
    p->min_level = row->level;
    p->min_xlevel = row->xlevel;
    memcpy(p->model.vendor, model->vendor, 12);
    strcpy(p->model.brand, x86_row_brand(row));
    x86_row_add_features(row, &p->wanted);
    if (supported && supported->signature) {
        struct x86_features all = supported_features();

        for (unsigned n = 0; n < BITS_ARRAY_SIZE(accelerated); n++) {
            x86_feature_set(&p->wanted, accelerated[n].name,
                            accelerated[n].on && x86_feature_test(&all, accelerated[n].name));
        }
    }
}

/* Vendor and signature of the host, where it is known. */
static void take_identity(struct x86_model *model)
{
    const struct x86_leaf *l = supported_leaf(0, 0);

    if (l) {
        memcpy(model->vendor, &l->ebx, 4);
        memcpy(model->vendor + 4, &l->edx, 4);
        memcpy(model->vendor + 8, &l->ecx, 4);
    }
    l = supported_leaf(1, 0);
    if (l) {
        model->stepping = l->eax & 15;
        model->model = (l->eax >> 4 & 15) | (l->eax >> 12 & 0xf0);
        model->family = (l->eax >> 8 & 15) + ((l->eax >> 8 & 15) == 15 ? l->eax >> 20 & 0xff : 0);
    }
    for (unsigned n = 0; n < 3; n++) {
        l = supported_leaf(0x80000002 + n, 0);
        if (l) {
            const uint32_t words[4] = {l->eax, l->ebx, l->ecx, l->edx};
            memcpy(model->brand + (size_t)16 * n, words, 16);
        }
    }
}

static void choose_whole(struct x86_model_parse *p, const char *name)
{
    const struct x86_leaf *l = supported_leaf(0, 0);

    choose_row(p, x86_row_find("x86-64-v1", 9));
    p->model.name = name;
    p->whole = true;
    p->model.pmu = true;
    p->host_physical_bits = true;
    p->wanted = supported_features();
    keep_named(&p->wanted);
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(explicit_only); n++) {
        x86_feature_set(&p->wanted, explicit_only[n], false);
    }
    take_identity(&p->model);
    p->model.cache = p->model.vendor[0] == 'G' ? X86_CACHE_INTEL : X86_CACHE_AMD;
    p->min_level = l ? l->eax : p->min_level;
    l = supported_leaf(0x80000000, 0);
    p->min_xlevel = l ? l->eax : p->min_xlevel;
}

/* The models that are not a row. */
static const struct {
    const char *name, *help;
} special[] = {
    {"host", "all that the host's processor can show to guests"},
    {"max", "the same"},
    {"base", "nothing but what is switched on by name"},
};

static int choose(struct x86_model_parse *p, const char *text, size_t length)
{
    const struct x86_model_row *row = x86_row_find(text, length);

    if (row) {
        choose_row(p, row);
        return 0;
    }
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(special); n++) {
        if (!x86_is_word(text, length, special[n].name)) {
            continue;
        }
        if (strcmp(special[n].name, "base") != 0) {
            choose_whole(p, special[n].name);
            return 0;
        }
        p->model.name = special[n].name;
        memcpy(p->model.vendor, "GenuineIntel", 12);
        p->model.cache = X86_CACHE_INTEL;
        return 0;
    }
    snprintf(p->error, p->error_size, "'%.*s' is not a model (-cpu help lists them)", (int)length,
             text);
    return -EINVAL;
}

/* The highest leaves that some feature needs. */
static void raise_levels(struct x86_model_parse *p)
{
    struct x86_model *m = &p->model;
    uint32_t level = (uint32_t)p->min_level, xlevel = (uint32_t)p->min_xlevel;

    for (unsigned n = 0; n < X86_WORD_COUNT; n++) {
        const struct x86_word *w = &x86_words[n];
        if (w->reg == X86_WORD_msr || !m->feature.word[n]) {
            continue;
        }
        if (w->leaf < 0x40000000) {
            level = w->leaf > level ? w->leaf : level;
        } else if (w->leaf >= 0x80000000 && w->leaf < 0xc0000000) {
            xlevel = w->leaf > xlevel ? w->leaf : xlevel;
        } else if (w->leaf >= 0xc0000000 && w->leaf > m->xlevel2) {
            m->xlevel2 = w->leaf;
        }
    }
    if (x86_model_has(m, "xsave") && level < 0xd) {
        level = 0xd;
    }
    if (x86_model_has(m, "intel-pt") && level < 0x14) {
        level = 0x14;
    }
    if (x86_model_has(m, "arch-lbr") && level < 0x1c) {
        level = 0x1c;
    }
    if (x86_model_has(m, "amx-tile") && level < 0x1e) {
        level = 0x1e;
    }
    if (x86_model_has(m, "avx10") && level < 0x24) {
        level = 0x24;
    }
    if (x86_model_has(m, "lm") && xlevel < 0x80000008) {
        xlevel = 0x80000008;
    }
    if (x86_model_has(m, "topoext") && xlevel < 0x8000001e) {
        xlevel = 0x8000001e;
    }
    m->level = p->level_set ? m->level : level;
    m->xlevel = p->xlevel_set ? m->xlevel : xlevel;
}

static void choose_address_size(struct x86_model_parse *p)
{
    const struct x86_leaf *l = supported_leaf(0x80000008, 0);
    bool lm = x86_model_has(&p->model, "lm");
    uint64_t bits = lm ? 40 : x86_model_has(&p->model, "pae") ? 36 : 32;

    if (p->physical_bits) {
        bits = p->physical_bits;
    } else if (p->host_physical_bits && l && lm) {
        /* bits 16 to 23: those that the guest's own paging may use, where they are fewer */
        bits = l->eax >> 16 & 0xff ? l->eax >> 16 & 0xff : l->eax & 0xff;
        bits = p->physical_limit && bits > p->physical_limit ? p->physical_limit : bits;
    }
    p->model.physical_bits = (unsigned)bits;
}

/* Which features live in which states of XSAVE (SDM volume 1, 13.1); only the host's kernel knows
 * whether it has the state. */
static void drop_stateless(struct x86_features *set)
{
    static const struct {
        const char *name;
        uint8_t state;
    } states[] = {{"avx", 2}, {"mpx", 3},       {"avx512f", 5},
                  {"pku", 9}, {"amx-tile", 18}, {"apxf", 19}};

    for (unsigned n = 0; supported && n < BITS_ARRAY_SIZE(states); n++) {
        if (!(supported->xcr0 >> states[n].state & 1)) {
            x86_feature_set(set, states[n].name, false);
        }
    }
}

static void cut(struct x86_model_parse *p)
{
    struct x86_features *set = &p->model.feature, all = supported_features();

    *set = p->wanted;
    for (unsigned n = 0; n < X86_FEATURE_WORDS; n++) {
        set->word[n] &= all.word[n];
    }
    drop_stateless(set);
    x86_features_close(set);
}

/* The names of what is in `more` and not in `less`, into text; with what they need, where the model
 * itself lacks that. */
static unsigned name_difference(const struct x86_features *more, const struct x86_features *less,
                                char *text, size_t size)
{
    unsigned count = 0;
    size_t used = 0;

    text[0] = 0;
    for (unsigned n = 0; n < x86_feature_count; n++) {
        const struct x86_feature *f = &x86_feature_table[n];
        const char *lacks;

        if (!x86_feature_is_first(n) || !x86_feature_test(more, f->name) ||
            x86_feature_test(less, f->name)) {
            continue;
        }
        lacks = x86_feature_lacks(more, f->name);
        if (used < size) {
            used +=
                (size_t)snprintf(text + used, size - used, "%s%s%s%s%s", count ? ", " : "", f->name,
                                 lacks ? " (needs " : "", lacks ? lacks : "", lacks ? ")" : "");
        }
        count++;
    }
    return count;
}

/* A switch that contradicts another: "+avx2,-avx". */
static int check_switches(struct x86_model_parse *p)
{
    for (unsigned n = 0; n < x86_feature_count; n++) {
        const char *name = x86_feature_table[n].name;
        const char *lacks =
            x86_feature_test(&p->on, name) ? x86_feature_lacks(&p->wanted, name) : NULL;
        if (lacks && x86_feature_test(&p->off, lacks)) {
            snprintf(p->error, p->error_size, "%s needs %s, which is switched off", name, lacks);
            return -EINVAL;
        }
    }
    return 0;
}

static int tell_missing(struct x86_model_parse *p, const char *spec)
{
    static char told[8][96]; /* each vCPU asks for the same; by the one thread that sets up */
    static unsigned tellings;
    struct x86_features visible = p->wanted;
    char names[1024];

    /* Of a named model, what lacks something that was switched off goes without a word. */
    for (bool again = true; again;) {
        again = false;
        for (unsigned n = 0; n < x86_feature_count; n++) {
            const char *name = x86_feature_table[n].name;
            const char *lacks =
                x86_feature_test(&visible, name) ? x86_feature_lacks(&visible, name) : NULL;
            if (lacks && x86_feature_test(&p->off, lacks)) {
                x86_feature_set(&visible, name, false);
                x86_feature_set(&p->off, name, true);
                again = true;
            }
        }
    }
    if (!(p->check || p->enforce) ||
        !name_difference(&visible, &p->model.feature, names, sizeof(names))) {
        return 0;
    }
    if (p->enforce) {
        snprintf(p->error, p->error_size, "cannot be had here: %s", names);
        return -EINVAL;
    }
    for (unsigned n = 0; n < tellings && n < BITS_ARRAY_SIZE(told); n++) {
        if (!strncmp(told[n], spec, sizeof(told[n]) - 1)) {
            return 0;
        }
    }
    snprintf(told[tellings++ % BITS_ARRAY_SIZE(told)], sizeof(told[0]), "%s", spec);
    error_warn("-cpu %s: cannot be had here: %s", spec, names);
    return 0;
}

static int finish(struct x86_model_parse *p, const char *spec)
{
    int err;

    if (p->whole && p->migratable) {
        for (unsigned n = 0; n < BITS_ARRAY_SIZE(unmigratable); n++) {
            if (!x86_feature_test(&p->on, unmigratable[n])) {
                x86_feature_set(&p->wanted, unmigratable[n], false);
            }
        }
    }
    if (p->whole) {
        drop_stateless(&p->wanted);
        x86_features_close(&p->wanted);
        for (unsigned n = 0; n < X86_FEATURE_WORDS; n++) {
            p->wanted.word[n] |= p->on.word[n];
        }
    }
    err = check_switches(p);
    if (err) {
        return err;
    }
    cut(p);
    err = tell_missing(p, spec);
    if (err) {
        return err;
    }
    raise_levels(p);
    choose_address_size(p);
    return 0;
}

int x86_model_set(struct x86_model *model, const char *spec, char *error, size_t error_size)
{
    struct x86_model_parse p = {
        .check = true, .migratable = true, .error = error, .error_size = error_size};
    const char *at = spec;
    size_t length = strcspn(at, ",");
    struct x86_model host = {0};
    bool identity = supported != NULL;
    int err;

    p.model.kvm = true;
    err = choose(&p, at, length);
    if (!err) {
        x86_feature_set(&p.wanted, "hypervisor", true);
    }
    for (at += length; !err && *at == ','; at += length) {
        at++;
        length = strcspn(at, ",");
        err = length ? x86_parse_item(&p, at, length) : 0;
    }
    if (!err) {
        err = finish(&p, spec);
    }
    if (err) {
        return -EINVAL;
    }
    /* Which of syscall and sysenter works in compatibility mode depends on the vendor, so guests
     * are shown the one that runs them. */
    if (identity && !p.vendor_set) {
        take_identity(&host);
        memcpy(p.model.vendor, host.vendor, sizeof(host.vendor));
    }
    p.model.apic_id = model->apic_id;
    p.model.threads = model->threads;
    p.model.cores = model->cores;
    p.model.dies = model->dies;
    p.model.sockets = model->sockets;
    *model = p.model;
    return 0;
}

/* ---- questions ------------------------------------------------------------------------------- */

bool x86_model_has(const struct x86_model *model, const char *feature)
{
    return x86_feature_test(&model->feature, feature);
}

uint64_t x86_model_capabilities(const struct x86_model *model, uint32_t msr)
{
    uint64_t value = 0;

    for (unsigned n = 0; n < X86_WORD_COUNT; n++) {
        if (x86_words[n].reg == X86_WORD_msr && x86_words[n].leaf == msr) {
            value |= (uint64_t)model->feature.word[n] << x86_words[n].subleaf;
        }
    }
    return value;
}

uint32_t x86_model_signature(const struct x86_model *model)
{
    uint32_t family = model->family < 15 ? model->family : 15;

    return model->stepping | (model->model & 15) << 4 | family << 8 | (model->model >> 4) << 16 |
           (model->family - family) << 20;
}

void x86_model_list(void (*line)(void *opaque, const char *text), void *opaque)
{
    char text[128];

    line(opaque, "Models:");
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(special); n++) {
        snprintf(text, sizeof(text), "  %-26s %s", special[n].name, special[n].help);
        line(opaque, text);
    }
    x86_row_list(line, opaque);
    x86_parse_list(line, opaque);
}
