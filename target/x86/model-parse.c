/*
 * Properties of CPU models and switches of features, as they stand behind the name of a model.
 */
#include "target/x86/model-parts.h"
#include "util/bits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int parse_bool(const char *value, size_t length, bool *result)
{
    if (x86_is_word(value, length, "on") || x86_is_word(value, length, "yes") ||
        x86_is_word(value, length, "true") || x86_is_word(value, length, "y")) {
        *result = true;
    } else if (x86_is_word(value, length, "off") || x86_is_word(value, length, "no") ||
               x86_is_word(value, length, "false") || x86_is_word(value, length, "n")) {
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
#define P(field) offsetof(struct x86_model_parse, field)

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
    {"model-id", TO_TEXT, P(model.brand), 0, 48, 0, "the brand string, up to 48 bytes"},
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
    {"guest-phys-bits", IGNORED, 0, 0, 0, 0, NULL},
    {"lmce", UNAVAILABLE, 0, 0, 0, 0, NULL},
};
#undef P
/* clang-format on */

static int set_number(struct x86_model_parse *p, const struct property *prop, uint64_t number)
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

static int set_text(struct x86_model_parse *p, const struct property *prop, const char *value,
                    size_t length)
{
    char *at = (char *)p + prop->offset;

    if (length < prop->min || length > prop->max) {
        return -EINVAL;
    }
    memset(at, 0, prop->max + 1);
    memcpy(at, value, length);
    return 0;
}

static int set_property(struct x86_model_parse *p, const struct property *prop, const char *text,
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

static void switch_feature(struct x86_model_parse *p, const char *name, bool on)
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

/*
 * Families of properties that are known by their first letters. Hyper-V's enlightenments there are
 * none; what nested VMX has is the kernel's, which may be said but not changed.
 */
static int parse_family(struct x86_model_parse *p, const char *name, size_t length,
                        const char *value, size_t rest)
{
    bool on = false;

    if (length > 4 && !memcmp(name, "vmx", 3) && (name[3] == '-' || name[3] == '_') &&
        parse_bool(value, rest, &on) == 0) {
        if (on) {
            return 0;
        }
        snprintf(p->error, p->error_size, "'%.*s': features of VMX cannot be switched singly",
                 (int)length, name);
        return -EINVAL;
    }
    if (length > 3 && !memcmp(name, "hv", 2) && (name[2] == '-' || name[2] == '_')) {
        snprintf(p->error, p->error_size, "'%.*s': Hyper-V's enlightenments cannot be had",
                 (int)length, name);
        return -EINVAL;
    }
    snprintf(p->error, p->error_size,
             "'%.*s' is neither a feature nor a property of processors (-cpu help)", (int)length,
             name);
    return -EINVAL;
}

int x86_parse_item(struct x86_model_parse *p, const char *text, size_t length)
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
    return parse_family(p, name, name_length, value, rest);
}

/* Lines of names, several on each. */
static void list_names(void (*line)(void *opaque, const char *text), void *opaque)
{
    char text[96] = " ";
    size_t used = 1;

    for (unsigned n = 0; n < x86_feature_count; n++) {
        const char *name = x86_feature_table[n].name;

        if (!x86_feature_is_first(n)) {
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

void x86_parse_list(void (*line)(void *opaque, const char *text), void *opaque)
{
    char text[128];

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
