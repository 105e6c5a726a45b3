/*
 * CPU models and the dependencies between extensions.
 *
 * A model is a list of extensions; the profiles are those mandated for user mode. Switches are
 * resolved together, so their order does not matter: what is asked for stays, and everything else
 * gives way.
 */
#include "target/riscv/model.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *help;
} extensions[] = {
#define RV_EXT(id, name, help) {name, help},
#include "target/riscv/extensions.def"
#undef RV_EXT
};

/* clang-format off */
/* An extension and what it cannot be without. A collection (zkn) needs its members. */
static const struct {
    uint8_t ext, needs;
} needs[] = {
#define NEEDS(a, b) {RV_EXT_##a, RV_EXT_##b},
    NEEDS(f, zicsr) NEEDS(d, f) NEEDS(zicntr, zicsr) NEEDS(zihpm, zicsr)
    NEEDS(zfa, f) NEEDS(zfhmin, f) NEEDS(zfh, zfhmin) NEEDS(zfbfmin, f)
    NEEDS(zcb, c) NEEDS(zcmop, c) NEEDS(zcmop, zimop)
    NEEDS(zacas, a) NEEDS(zabha, a) NEEDS(zawrs, a) NEEDS(za64rs, a)
    NEEDS(ziccrse, a) NEEDS(ziccamoa, a)
    NEEDS(zkn, zbkb) NEEDS(zkn, zbkc) NEEDS(zkn, zbkx) NEEDS(zkn, zknd) NEEDS(zkn, zkne)
    NEEDS(zkn, zknh)
    NEEDS(s, u) NEEDS(s, zicsr) NEEDS(sv39, s) NEEDS(sv48, sv39) NEEDS(sv57, sv48)
    NEEDS(smepmp, pmp) NEEDS(sstc, s) NEEDS(sstc, zicntr) NEEDS(sscofpmf, s)
    NEEDS(sscofpmf, zihpm) NEEDS(svade, s) NEEDS(svadu, s) NEEDS(svinval, s)
    NEEDS(svnapot, sv39) NEEDS(svpbmt, sv39)
#undef NEEDS
};

#define GC                                                                                         \
    X(i) X(m) X(a) X(f) X(d) X(c) X(zicsr) X(zifencei)
#define RVA22                                                                                      \
    GC X(zicntr) X(zihpm) X(ziccif) X(ziccrse) X(ziccamoa) X(zicclsm) X(za64rs) X(zihintpause)     \
    X(zba) X(zbb) X(zbs) X(zic64b) X(zicbom) X(zicbop) X(zicboz) X(zfhmin) X(zkt)
#define RVA23                                                                                      \
    RVA22 X(zihintntl) X(zicond) X(zimop) X(zcmop) X(zcb) X(zfa) X(zawrs)

/* clang-format on */

/* Privileged extensions of models, for full-system emulation. */
#define SYSTEM     X(zicntr) X(zihpm) X(s) X(u) X(sv39) X(sv48) X(sv57) X(pmp) X(sstc) X(svadu)
#define SYSTEM_ALL SYSTEM X(sscofpmf) X(svinval) X(svnapot) X(svpbmt)
#define RVA22S     X(s) X(u) X(sv39) X(pmp) X(svade) X(svpbmt) X(svinval)
#define RVA23S     RVA22S X(svnapot) X(sstc) X(sscofpmf)

static const uint8_t ext_i[] = {RV_EXT_i};
static const uint8_t ext_gc[] = {
#define X(id) RV_EXT_##id,
    GC};
static const uint8_t ext_rva22[] = {RVA22};
static const uint8_t ext_rva23[] = {RVA23};
static const uint8_t ext_all[] = {
#define RV_EXT(id, name, help) RV_EXT_##id,
#include "target/riscv/extensions.def"
#undef RV_EXT
};
static const uint8_t system_plain[] = {SYSTEM};
static const uint8_t system_all[] = {SYSTEM_ALL};
static const uint8_t system_max[] = {SYSTEM_ALL X(smepmp)};
static const uint8_t system_rva22[] = {RVA22S};
static const uint8_t system_rva23[] = {RVA23S};
#undef X

static const struct model {
    const char *name;
    const uint8_t *ext;
    unsigned count;
    const uint8_t *system; /* what system emulation adds */
    unsigned system_count;
    const char *help;
} models[] = {
/* clang-format off */
#define MODEL(name, list, system, help) {name, list, sizeof(list), system, sizeof(system), help},
    MODEL("rv64", ext_all, system_all, "everything below (the default)")
    MODEL("rv64gc", ext_gc, system_plain, "i m a f d c zicsr zifencei")
    MODEL("rva22u64", ext_rva22, system_plain, "the RVA22U64 profile")
    MODEL("rva22s64", ext_rva22, system_rva22, "the RVA22S64 profile")
    MODEL("rva23u64", ext_rva23, system_plain, "the RVA23U64 profile, without its vector extensions")
    MODEL("rva23s64", ext_rva23, system_rva23,
          "the RVA23S64 profile, without its vector and hypervisor extensions")
    MODEL("max", ext_all, system_max, "everything below")
    {"rv64i", ext_i, sizeof(ext_i), NULL, 0, "the base instructions alone, and machine mode"},
#undef MODEL
    /* clang-format on */
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const char *rv_ext_name(enum rv_ext ext)
{
    return extensions[ext].name;
}

/* Adds what members of the set need. */
static void close_up(struct rv_ext_set *set)
{
    for (bool again = true; again;) {
        again = false;
        for (unsigned n = 0; n < COUNT(needs); n++) {
            if (rv_has(set, (enum rv_ext)needs[n].ext) &&
                !rv_has(set, (enum rv_ext)needs[n].needs)) {
                rv_ext_add(set, (enum rv_ext)needs[n].needs);
                again = true;
            }
        }
    }
}

/* Adds what needs members of the set. */
static void close_down(struct rv_ext_set *set)
{
    for (bool again = true; again;) {
        again = false;
        for (unsigned n = 0; n < COUNT(needs); n++) {
            if (rv_has(set, (enum rv_ext)needs[n].needs) &&
                !rv_has(set, (enum rv_ext)needs[n].ext)) {
                rv_ext_add(set, (enum rv_ext)needs[n].ext);
                again = true;
            }
        }
    }
}

/* "WHAT 'text': known are a, b, c" */
static void unknown(char *error, size_t size, const char *what, const char *text, size_t length,
                    bool of_models)
{
    unsigned count = of_models ? COUNT(models) : RV_EXT_COUNT;
    size_t used =
        (size_t)snprintf(error, size, "unknown %s '%.*s': known are", what, (int)length, text);

    for (unsigned n = 0; n < count && used < size; n++) {
        used += (size_t)snprintf(error + used, size - used, "%s %s", n ? "," : "",
                                 of_models ? models[n].name : extensions[n].name);
    }
}

static int find_ext(const char *text, size_t length)
{
    for (int n = 0; n < RV_EXT_COUNT; n++) {
        if (strlen(extensions[n].name) == length && !memcmp(extensions[n].name, text, length)) {
            return n;
        }
    }
    return -1;
}

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && !memcmp(text, word, length);
}

/*
 * Properties that QEMU's vCPUs have and of which there is one value here: command lines that name
 * it are taken, others are told so.
 */
static const struct {
    const char *name, *value;
} fixed[] = {
    {"mmu", "on"},
    {"h", "off"},
    {"v", "off"},
    {"g", "on"},
    {"zmmul", "on"},
    {"zaamo", "on"},
    {"zalrsc", "on"},
    {"zca", "on"},
    {"zcd", "on"},
    {"smaia", "off"},
    {"ssaia", "off"},
    {"smstateen", "off"},
    {"debug", "off"},
    {"cbom_blocksize", "64"},
    {"cbop_blocksize", "64"},
    {"cboz_blocksize", "64"},
    {"pmu-mask", "0x7fff8"},
    {"pmu-num", "16"},
    {"priv_spec", "v1.12.0"},
    {"priv_spec", "v1.13.0"},
};

/* 1 if the text says what is fixed, 0 if it is about something else, -EINVAL if it wants another
 * value. */
static int parse_fixed(const char *text, size_t length, char *error, size_t error_size)
{
    const char *equals = memchr(text, '=', length);
    size_t name = equals ? (size_t)(equals - text) : length;
    const char *value = equals ? equals + 1 : text + length;
    size_t rest = (size_t)(text + length - value);
    int known = -1;

    for (unsigned n = 0; n < COUNT(fixed); n++) {
        if (!is_word(text, name, fixed[n].name)) {
            continue;
        }
        known = (int)n;
        if (is_word(value, rest, fixed[n].value) ||
            (!strcmp(fixed[n].value, "on") && is_word(value, rest, "true")) ||
            (!strcmp(fixed[n].value, "off") && is_word(value, rest, "false"))) {
            return 1;
        }
    }
    if (known < 0) {
        return 0;
    }
    snprintf(error, error_size, "'%.*s': %s=%s is all there is", (int)length, text,
             fixed[known].name, fixed[known].value);
    return -EINVAL;
}

/* Reads one "EXT=on" into on or off. */
static int parse_switch(const char *text, size_t length, struct rv_ext_set *on,
                        struct rv_ext_set *off, char *error, size_t error_size)
{
    const char *equals = memchr(text, '=', length);
    size_t name = equals ? (size_t)(equals - text) : length;
    size_t rest = equals ? length - name - 1 : 0;
    int ext = find_ext(text, name);

    if (ext < 0) {
        int known = parse_fixed(text, length, error, error_size);
        if (known) {
            return known < 0 ? known : 0;
        }
        unknown(error, error_size, "extension", text, name, false);
        return -EINVAL;
    }
    if (equals && (is_word(equals + 1, rest, "on") || is_word(equals + 1, rest, "true"))) {
        rv_ext_add(on, (enum rv_ext)ext);
        rv_ext_remove(off, (enum rv_ext)ext);
        return 0;
    }
    if (equals && (is_word(equals + 1, rest, "off") || is_word(equals + 1, rest, "false"))) {
        rv_ext_add(off, (enum rv_ext)ext);
        rv_ext_remove(on, (enum rv_ext)ext);
        return 0;
    }
    snprintf(error, error_size, "'%.*s': expected %s=on or %s=off", (int)length, text,
             extensions[ext].name, extensions[ext].name);
    return -EINVAL;
}

static const struct model *find_model(const char *text, size_t length)
{
    for (unsigned n = 0; n < COUNT(models); n++) {
        if (is_word(text, length, models[n].name)) {
            return &models[n];
        }
    }
    return length == 0 ? &models[0] : NULL;
}

/*
 * A switch of a page-table format names the largest one, as QEMU has it: sv39=on takes sv48 and
 * sv57 away, unless they are asked for too.
 */
static void limit_paging(struct rv_ext_set *result, const struct rv_ext_set *on)
{
    static const uint8_t formats[] = {RV_EXT_sv57, RV_EXT_sv48, RV_EXT_sv39};
    bool asked = false;

    for (unsigned n = 0; n < COUNT(formats); n++) {
        asked |= rv_has(on, (enum rv_ext)formats[n]);
    }
    for (unsigned n = 0; asked && !rv_has(on, (enum rv_ext)formats[n]); n++) {
        rv_ext_remove(result, (enum rv_ext)formats[n]);
    }
}

static int parse(struct rv_ext_set *set, const char *spec, bool system, char *error,
                 size_t error_size)
{
    struct rv_ext_set on = {{0}}, off = {{0}}, result = {{0}}, asked;
    size_t length = strcspn(spec, ",");
    const struct model *model = find_model(spec, length);
    const char *p = spec + length;

    if (!model) {
        unknown(error, error_size, "CPU model", spec, length, true);
        return -EINVAL;
    }
    for (unsigned n = 0; n < model->count && model->ext[n] < RV_EXT_FIRST_SYSTEM; n++) {
        rv_ext_add(&result, (enum rv_ext)model->ext[n]);
    }
    for (unsigned n = 0; system && n < model->system_count; n++) {
        rv_ext_add(&result, (enum rv_ext)model->system[n]);
    }
    while (*p == ',') {
        int r;
        p++;
        length = strcspn(p, ",");
        r = parse_switch(p, length, &on, &off, error, error_size);
        if (r < 0) {
            return r;
        }
        p += length;
    }
    if (system) {
        rv_ext_add(&result, RV_EXT_sm1p12);
        rv_ext_remove(&off, RV_EXT_sm1p12);
    }
    if (rv_has(&off, RV_EXT_i)) {
        snprintf(error, error_size, "i=off: the base instructions are always on");
        return -EINVAL;
    }
    for (unsigned ext = 0; ext < RV_EXT_COUNT; ext++) {
        struct rv_ext_set closure = {{0}};
        if (!rv_has(&on, (enum rv_ext)ext)) {
            continue;
        }
        rv_ext_add(&closure, (enum rv_ext)ext);
        close_up(&closure);
        for (unsigned other = 0; other < RV_EXT_COUNT; other++) {
            if (rv_has(&closure, (enum rv_ext)other) && rv_has(&off, (enum rv_ext)other)) {
                snprintf(error, error_size, "%s=on needs %s, which is switched off",
                         extensions[ext].name, extensions[other].name);
                return -EINVAL;
            }
        }
    }
    asked = on;
    close_up(&on);
    close_down(&off);
    for (unsigned n = 0; n < COUNT(result.bits); n++) {
        result.bits[n] = (result.bits[n] & ~off.bits[n]) | on.bits[n];
    }
    limit_paging(&result, &asked);
    *set = result;
    return 0;
}

int rv_model_parse(struct rv_ext_set *set, const char *spec, char *error, size_t error_size)
{
    return parse(set, spec, false, error, error_size);
}

int rv_model_parse_system(struct rv_ext_set *set, const char *spec, char *error, size_t error_size)
{
    return parse(set, spec, true, error, error_size);
}

void rv_model_list(void (*line)(void *opaque, const char *text), void *opaque)
{
    char text[128];

    line(opaque, "Models:");
    for (unsigned n = 0; n < COUNT(models); n++) {
        snprintf(text, sizeof(text), "  %-12s %s", models[n].name, models[n].help);
        line(opaque, text);
    }
    line(opaque, "Extensions, each switched with ,NAME=on or ,NAME=off behind the model:");
    for (unsigned n = 0; n < RV_EXT_COUNT; n++) {
        snprintf(text, sizeof(text), "  %-12s %s", extensions[n].name, extensions[n].help);
        line(opaque, text);
    }
}

/* ---- names for the device tree --------------------------------------------------------------- */

/* Not named there: privileges, what mmu-type says, and what is no extension of the manual's. */
static bool is_named(enum rv_ext ext)
{
    switch (ext) {
    case RV_EXT_sm1p12:
    case RV_EXT_s:
    case RV_EXT_u:
    case RV_EXT_sv39:
    case RV_EXT_sv48:
    case RV_EXT_sv57:
    case RV_EXT_pmp:
        return false;
    default:
        return true;
    }
}

/*
 * "... single-letter extensions [in canonical order] ... [then] Z extensions ... ordered first by
 * category [their second letter, in that order], then alphabetically ... [then] supervisor-level
 * extensions ... alphabetically"
 */
static int order(const char *name)
{
    static const char letters[] = "imafdqlcbkjtpvnh";
    bool single = name[1] == 0;
    const char *at = strchr(letters, single ? name[0] : name[1]);
    int category = at ? (int)(at - letters) : (int)sizeof(letters);

    if (single) {
        return category;
    }
    return name[0] == 'z' ? 100 + category : 200;
}

/* The named extensions of the set, sorted; returns how many. */
static unsigned sorted(const struct rv_ext_set *set, const char *names[RV_EXT_COUNT])
{
    unsigned count = 0;

    for (unsigned ext = 0; ext < RV_EXT_COUNT; ext++) {
        const char *name = extensions[ext].name;
        unsigned at = count;
        if (!rv_has(set, (enum rv_ext)ext) || !is_named((enum rv_ext)ext)) {
            continue;
        }
        while (at && (order(name) < order(names[at - 1]) ||
                      (order(name) == order(names[at - 1]) && strcmp(name, names[at - 1]) < 0))) {
            names[at] = names[at - 1];
            at--;
        }
        names[at] = name;
        count++;
    }
    return count;
}

size_t rv_model_isa(const struct rv_ext_set *set, char *text, size_t size)
{
    const char *names[RV_EXT_COUNT];
    unsigned count = sorted(set, names);
    size_t used = (size_t)snprintf(text, size, "rv64");

    for (unsigned n = 0; n < count; n++) {
        size_t at = used < size ? used : size;
        used += (size_t)snprintf(text + at, size - at, "%s%s", names[n][1] ? "_" : "", names[n]);
    }
    return used + 1;
}

size_t rv_model_isa_list(const struct rv_ext_set *set, char *list, size_t size)
{
    const char *names[RV_EXT_COUNT];
    unsigned count = sorted(set, names);
    size_t used = 0;

    for (unsigned n = 0; n < count; n++) {
        size_t length = strlen(names[n]) + 1;
        if (length <= size && used <= size - length) {
            memcpy(list + used, names[n], length);
        }
        used += length;
    }
    return used;
}

const char *rv_model_mmu_type(const struct rv_ext_set *set)
{
    return rv_has(set, RV_EXT_sv57)   ? "riscv,sv57"
           : rv_has(set, RV_EXT_sv48) ? "riscv,sv48"
           : rv_has(set, RV_EXT_sv39) ? "riscv,sv39"
                                      : "riscv,none";
}
