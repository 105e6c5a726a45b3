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
#include "target/x86/model.h"
#include "target/x86/features.h"
#include "target/x86/cpuid.h"
#include "util/bits.h"
#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct x86_supported *supported;

/* ---- the tables ------------------------------------------------------------------------------ */

static const struct row {
    const char *name;   /* of a version: NULL, the row belongs to the model before it */
    const char *vendor; /* of a model */
    const char *other;  /* another name, of a version */
    uint32_t number;    /* of the version */
    uint32_t family, model, stepping, level, xlevel;
    uint8_t cache;
    const char *brand;
    const char *features;
} rows[] = {
#define X86_MODEL(name, vendor, family, model, stepping, level, xlevel, caches, brand, features) \
    {name,  vendor,  NULL, 1, family, model, stepping, level, xlevel, X86_CACHE_##caches,        \
     brand, features},
#define X86_VERSION(number, other, model, stepping, level, xlevel, caches, brand, changes) \
    {NULL,  NULL,   other, number, 0, model, stepping, level, xlevel, X86_CACHE_##caches,  \
     brand, changes},
#include "target/x86/models.def"
};

/* The models that are not a row. */
static const struct {
    const char *name, *help;
} special[] = {
    {"host", "all that the host's processor can show to guests"},
    {"max", "the same"},
    {"base", "nothing but what is switched on by name"},
};

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && !memcmp(text, word, length);
}

/* "NAME-vN", or a name of its own. */
static int find_row(const char *text, size_t length)
{
    const struct row *model = NULL;

    for (unsigned n = 0; n < BITS_ARRAY_SIZE(rows); n++) {
        const struct row *r = &rows[n];
        char name[64];

        model = r->name ? r : model;
        snprintf(name, sizeof(name), "%s-v%u", model->name, r->number);
        if ((r->name && is_word(text, length, r->name)) || is_word(text, length, name) ||
            (r->other && is_word(text, length, r->other))) {
            return (int)n;
        }
    }
    return -1;
}

static unsigned model_of(unsigned row)
{
    while (!rows[row].name) {
        row--;
    }
    return row;
}

/* Adds the features of a row to the set, and those of what it builds on first. The tables are
 * tested: names in them exist, and refer to rows before them. */
static void add_features(struct x86_features *set, unsigned row)
{
    const char *p = rows[row].features;

    if (!rows[row].name) {
        add_features(set, row - 1);
    }
    while (*p) {
        size_t length = strcspn(p, " ");
        bool off = *p == '-', sign = off || *p == '+';
        const char *name = x86_feature_find(p + sign, length - sign);

        if (name) {
            x86_feature_set(set, name, !off);
        } else {
            add_features(set, (unsigned)find_row(p, length));
        }
        p += length;
        p += strspn(p, " ");
    }
}

static const char *brand_of(unsigned row)
{
    while (!rows[row].brand) {
        row--;
    }
    return rows[row].brand;
}

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

/* ---- properties ------------------------------------------------------------------------------ */

struct parse {
    struct x86_model model;
    struct x86_features wanted, on, off; /* on, off: switched by name */
    bool whole;                          /* host or max */
    bool vendor_set, brand_set, level_set, xlevel_set;
    bool enforce, check, migratable, host_physical_bits;
    uint64_t physical_bits, physical_limit, min_level, min_xlevel;
    char *error;
    size_t error_size;
};

static int parse_bool(const char *value, size_t length, bool *result)
{
    if (is_word(value, length, "on") || is_word(value, length, "yes") ||
        is_word(value, length, "true") || is_word(value, length, "y")) {
        *result = true;
    } else if (is_word(value, length, "off") || is_word(value, length, "no") ||
               is_word(value, length, "false") || is_word(value, length, "n")) {
        *result = false;
    } else {
        return -EINVAL;
    }
    return 0;
}

/* A number, with a metric suffix where `metric` (frequencies). */
static int parse_number(const char *value, size_t length, bool metric, uint64_t *result)
{
    static const char suffixes[] = "KMGT";
    char text[32], *end;
    double fraction;

    if (length == 0 || length >= sizeof(text) || !strchr("0123456789", value[0])) {
        return -EINVAL;
    }
    memcpy(text, value, length);
    text[length] = 0;
    errno = 0;
    *result = strtoull(text, &end, 0);
    if (!*end) {
        return errno ? -EINVAL : 0;
    }
    if (!metric) {
        return -EINVAL;
    }
    fraction = strtod(text, &end);
    for (const char *s = suffixes; *s; s++) {
        fraction *= 1000;
        if ((*end == *s || *end == *s + ('a' - 'A')) && !end[1] && fraction < 1e18) {
            *result = (uint64_t)(fraction + 0.5);
            return 0;
        }
    }
    return -EINVAL;
}

/* TO_NUMBER: uint32_t; TO_LONG and TO_FREQUENCY: uint64_t. */
enum kind { TO_BOOL, TO_NUMBER, TO_LONG, TO_FREQUENCY, TO_TEXT, IGNORED, UNAVAILABLE };

/* clang-format off */
#define P(field) offsetof(struct parse, field)

/* What is no feature. IGNORED is about how another emulator does what is done here anyway. */
static const struct property {
    const char *name;
    enum kind kind;
    size_t offset;
    uint64_t min, max; /* of numbers; of texts max: bytes */
    size_t set;        /* offset of the bool that says it was given; 0: none */
    const char *help;
} properties[] = {
    {"vendor", TO_TEXT, P(model.vendor), 12, 12, P(vendor_set), "12 bytes"},
    {"family", TO_NUMBER, P(model.family), 0, 270, 0, "0 to 270"},
    {"model", TO_NUMBER, P(model.model), 0, 255, 0, "0 to 255"},
    {"stepping", TO_NUMBER, P(model.stepping), 0, 15, 0, "0 to 15"},
    {"model-id", TO_TEXT, P(model.brand), 0, 48, P(brand_set), "the brand string, up to 48 bytes"},
    {"level", TO_NUMBER, P(model.level), 0, UINT32_MAX, P(level_set), "the highest leaf of CPUID"},
    {"xlevel", TO_NUMBER, P(model.xlevel), 0, UINT32_MAX, P(xlevel_set),
     "the highest extended leaf"},
    {"xlevel2", TO_NUMBER, P(model.xlevel2), 0, UINT32_MAX, 0, "the highest leaf of Centaur's"},
    {"min-level", TO_LONG, P(min_level), 0, UINT32_MAX, 0, "level is at least this"},
    {"min-xlevel", TO_LONG, P(min_xlevel), 0, UINT32_MAX, 0, "xlevel is at least this"},
    {"tsc-frequency", TO_FREQUENCY, P(model.tsc_hz), 1, UINT64_C(1000000000000), 0,
     "of the time stamp counter, in Hz"},
    {"phys-bits", TO_LONG, P(physical_bits), 32, 52, 0, "of physical addresses, 32 to 52"},
    {"host-phys-bits", TO_BOOL, P(host_physical_bits), 0, 0, 0, "as many as the host has"},
    {"host-phys-bits-limit", TO_LONG, P(physical_limit), 0, 52, 0, "and not more than this"},
    {"host-cache-info", TO_BOOL, P(model.host_cache), 0, 0, 0, "show the host's caches"},
    {"kvm", TO_BOOL, P(model.kvm), 0, 0, 0, "show KVM's leaves"},
    {"pmu", TO_BOOL, P(model.pmu), 0, 0, 0, "performance counters"},
    {"check", TO_BOOL, P(check), 0, 0, 0, "warn of what cannot be had"},
    {"enforce", TO_BOOL, P(enforce), 0, 0, 0, "take what cannot be had for an error"},
    {"migratable", TO_BOOL, P(migratable), 0, 0, 0,
     "host, max: leave out what cannot move to another host"},
    {"l3-cache", IGNORED, 0, 0, 0, 0, NULL},
    {"legacy-cache", IGNORED, 0, 0, 0, 0, NULL},
    {"full-cpuid-auto-level", IGNORED, 0, 0, 0, 0, NULL},
    {"cpuid-0xb", IGNORED, 0, 0, 0, 0, NULL},
    {"fill-mtrr-mask", IGNORED, 0, 0, 0, 0, NULL},
    {"tcg-cpuid", IGNORED, 0, 0, 0, 0, NULL},
    {"vmware-cpuid-freq", IGNORED, 0, 0, 0, 0, NULL},
    {"kvm-no-smi-migration", IGNORED, 0, 0, 0, 0, NULL},
    {"lmce", UNAVAILABLE, 0, 0, 0, 0, NULL},
    {"guest-phys-bits", IGNORED, 0, 0, 0, 0, NULL},
};
#undef P
/* clang-format on */

static int set_number(struct parse *p, const struct property *prop, uint64_t number)
{
    void *at = (char *)p + prop->offset;

    if (number < prop->min || number > prop->max) {
        return -EINVAL;
    }
    if (prop->kind == TO_NUMBER) {
        *(uint32_t *)at = (uint32_t)number;
    } else {
        *(uint64_t *)at = number;
    }
    return 0;
}

static int set_text(struct parse *p, const struct property *prop, const char *value, size_t length)
{
    char *at = (char *)p + prop->offset;

    if (length < prop->min || length > prop->max) {
        return -EINVAL;
    }
    memset(at, 0, prop->max + 1);
    memcpy(at, value, length);
    return 0;
}

static int set_property(struct parse *p, const struct property *prop, const char *text,
                        size_t length, const char *value, size_t rest)
{
    uint64_t number;
    bool flag;
    int err = 0;

    switch (prop->kind) {
    case TO_BOOL:
        err = parse_bool(value, rest, (bool *)((char *)p + prop->offset));
        break;
    case TO_NUMBER:
    case TO_LONG:
    case TO_FREQUENCY:
        err = parse_number(value, rest, prop->kind == TO_FREQUENCY, &number);
        err = err ? err : set_number(p, prop, number);
        break;
    case TO_TEXT:
        err = set_text(p, prop, value, rest);
        break;
    case UNAVAILABLE:
        err = parse_bool(value, rest, &flag);
        if (!err && flag) {
            snprintf(p->error, p->error_size, "'%.*s': cannot be had", (int)length, text);
            return -ENOTSUP;
        }
        break;
    case IGNORED:
        break;
    }
    if (err) {
        snprintf(p->error, p->error_size, "'%.*s': expected %s", (int)length, text,
                 prop->kind == TO_BOOL || prop->kind == UNAVAILABLE ? "on or off" : prop->help);
        return -EINVAL;
    }
    if (prop->set) {
        *(bool *)((char *)p + prop->set) = true;
    }
    return 0;
}

static void switch_feature(struct parse *p, const char *name, bool on)
{
    x86_feature_set(&p->wanted, name, on);
    x86_feature_set(&p->on, name, on);
    x86_feature_set(&p->off, name, !on);
}

static bool is_property(const char *text, size_t length, const char *name)
{
    for (size_t n = 0; n < length; n++) {
        if (text[n] != name[n] && !(text[n] == '_' && name[n] == '-')) {
            return false;
        }
    }
    return name[length] == 0;
}

/* One of "+x", "-x", "x", "x=value". */
static int parse_item(struct parse *p, const char *text, size_t length)
{
    bool sign = length && (*text == '+' || *text == '-');
    const char *name = text + sign, *equals = memchr(text, '=', length);
    size_t rest, name_length = equals ? (size_t)(equals - name) : length - sign;
    const char *value = equals ? equals + 1 : *text == '-' ? "off" : "on";
    const char *feature = x86_feature_find(name, name_length);
    bool on;

    rest = equals ? (size_t)(text + length - value) : strlen(value);
    if (sign && equals) {
        snprintf(p->error, p->error_size, "'%.*s': expected %.*s or %.*s", (int)length, text,
                 (int)(equals - text), text, (int)(length - 1), name);
        return -EINVAL;
    }
    if (feature) {
        if (parse_bool(value, rest, &on) < 0) {
            snprintf(p->error, p->error_size, "'%.*s': expected on or off", (int)length, text);
            return -EINVAL;
        }
        switch_feature(p, feature, on);
        return 0;
    }
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(properties); n++) {
        if (is_property(name, name_length, properties[n].name)) {
            return set_property(p, &properties[n], text, length, value, rest);
        }
    }
    snprintf(p->error, p->error_size,
             "'%.*s' is neither a feature nor a property of processors (-cpu help)",
             (int)name_length, name);
    return -EINVAL;
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

static void choose_row(struct parse *p, unsigned row)
{
    const struct row *model = &rows[model_of(row)], *r = &rows[row];

    p->model.name = model->name;
    p->model.family = model->family;
    p->model.model = r->model;
    p->model.stepping = r->stepping;
    p->model.cache = r->cache;
    p->min_level = r->level;
    p->min_xlevel = r->xlevel;
    memcpy(p->model.vendor, model->vendor, 12);
    strcpy(p->model.brand, brand_of(row));
    add_features(&p->wanted, row);
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

static void choose_whole(struct parse *p, const char *name)
{
    const struct x86_leaf *l = supported_leaf(0, 0);

    choose_row(p, (unsigned)find_row("x86-64-v1", 9));
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
    p->min_level = l ? l->eax : p->min_level;
    l = supported_leaf(0x80000000, 0);
    p->min_xlevel = l ? l->eax : p->min_xlevel;
}

static int choose(struct parse *p, const char *text, size_t length)
{
    int row = find_row(text, length);

    if (row >= 0) {
        choose_row(p, (unsigned)row);
        return 0;
    }
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(special); n++) {
        if (!is_word(text, length, special[n].name)) {
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
static void raise_levels(struct parse *p)
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

static void choose_address_size(struct parse *p)
{
    const struct x86_leaf *l = supported_leaf(0x80000008, 0);
    bool lm = x86_model_has(&p->model, "lm");
    uint64_t bits = lm ? 40 : x86_model_has(&p->model, "pse36") ? 36 : 32;

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

static void cut(struct parse *p)
{
    struct x86_features *set = &p->model.feature, all = supported_features();

    *set = p->wanted;
    for (unsigned n = 0; n < X86_FEATURE_WORDS; n++) {
        set->word[n] &= all.word[n];
    }
    drop_stateless(set);
    x86_features_close(set);
}

/* Is this the first row of its name? */
static bool is_first(unsigned row)
{
    for (unsigned n = 0; n < row; n++) {
        if (!strcmp(x86_feature_table[n].name, x86_feature_table[row].name)) {
            return false;
        }
    }
    return true;
}

/* The names of what is in `more` and not in `less`, into text. */
static unsigned name_difference(const struct x86_features *more, const struct x86_features *less,
                                char *text, size_t size)
{
    unsigned count = 0;
    size_t used = 0;

    text[0] = 0;
    for (unsigned n = 0; n < x86_feature_count; n++) {
        const struct x86_feature *f = &x86_feature_table[n];
        if (!is_first(n) || !x86_feature_test(more, f->name) || x86_feature_test(less, f->name)) {
            continue;
        }
        if (used < size) {
            used += (size_t)snprintf(text + used, size - used, "%s%s", count ? ", " : "", f->name);
        }
        count++;
    }
    return count;
}

/* A switch that contradicts another: "+avx2,-avx". */
static int check_switches(struct parse *p)
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

static int tell_missing(struct parse *p, const char *spec)
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

static int finish(struct parse *p, const char *spec)
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
        struct x86_features asked = p->on;

        x86_features_close(&p->wanted);
        for (unsigned n = 0; n < X86_FEATURE_WORDS; n++) {
            p->wanted.word[n] |= asked.word[n];
        }
        drop_stateless(&p->wanted);
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
    struct parse p = {.check = true, .migratable = true, .error = error, .error_size = error_size};
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
        err = length ? parse_item(&p, at, length) : 0;
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

/* Lines of names, several on each. */
static void list_names(void (*line)(void *opaque, const char *text), void *opaque)
{
    char text[96] = " ";
    size_t used = 1;

    for (unsigned n = 0; n < x86_feature_count; n++) {
        const char *name = x86_feature_table[n].name;

        if (!is_first(n)) {
            continue;
        }
        if (used + strlen(name) + 2 > sizeof(text)) {
            line(opaque, text);
            used = 1;
        }
        used += (size_t)snprintf(text + used, sizeof(text) - used, " %s", name);
    }
    line(opaque, text);
}

void x86_model_list(void (*line)(void *opaque, const char *text), void *opaque)
{
    const char *name = NULL;
    char text[128];

    line(opaque, "Models:");
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(special); n++) {
        snprintf(text, sizeof(text), "  %-26s %s", special[n].name, special[n].help);
        line(opaque, text);
    }
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(rows); n++) {
        const struct row *r = &rows[n];
        char full[64];

        name = r->name ? r->name : name;
        snprintf(full, sizeof(full), "%s-v%u", name, r->number);
        snprintf(text, sizeof(text), "  %-26s %s%s%s", r->name ? r->name : full, brand_of(n),
                 r->other ? ", also " : "", r->other ? r->other : "");
        line(opaque, text);
    }
    line(opaque, "Features, switched with ,+NAME ,-NAME ,NAME=on or ,NAME=off behind the model:");
    list_names(line, opaque);
    line(opaque, "Properties, set with ,NAME=VALUE:");
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(properties); n++) {
        if (properties[n].help) {
            snprintf(text, sizeof(text), "  %-26s %s", properties[n].name, properties[n].help);
            line(opaque, text);
        }
    }
}
