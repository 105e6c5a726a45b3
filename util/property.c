/*
 * Properties from and to text. Parsing is strict: no blanks, no sign where there is none, nothing
 * left over; what a number may be is checked before it is stored.
 */
#include "util/property.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 4096 /* longest value in a list */

static void *field(const struct property *p, const void *object)
{
    return (char *)object + p->offset;
}

__attribute__((format(printf, 4, 5))) static int fail(int err, char *error, size_t size,
                                                      const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(error, size, fmt, ap);
    va_end(ap);
    return err;
}

const struct property *property_find(const struct property *table, const char *name)
{
    for (const struct property *p = table; p && p->name; p++) {
        if (strcmp(p->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

static unsigned width(enum property_type type)
{
    switch (type) {
    case PROPERTY_U8:
        return 8;
    case PROPERTY_U16:
        return 16;
    case PROPERTY_U32:
    case PROPERTY_I32:
        return 32;
    default:
        return 64;
    }
}

static bool is_signed(const struct property *p)
{
    return p->type == PROPERTY_I32 || p->type == PROPERTY_I64;
}

static uint64_t max_of(const struct property *p)
{
    return p->max ? p->max : UINT64_MAX >> (64 - width(p->type));
}

static int64_t low_of(const struct property *p)
{
    return p->low || p->high ? p->low : INT64_MIN >> (64 - width(p->type));
}

static int64_t high_of(const struct property *p)
{
    return p->low || p->high ? p->high : INT64_MAX >> (64 - width(p->type));
}

/* Bytes with the greatest suffix that divides them. */
static void print_size(uint64_t size, char *text, size_t text_size)
{
    static const char suffix[] = "\0KMGTPE";
    unsigned n = 0;

    while (size && size % 1024 == 0 && n < 6) {
        size /= 1024;
        n++;
    }
    snprintf(text, text_size, "%llu%.1s", (unsigned long long)size, suffix + n);
}

void property_expects(const struct property *p, char *text, size_t text_size)
{
    char low[32], high[32];
    size_t n = 0;

    switch (p->type) {
    case PROPERTY_NONE:
        snprintf(text, text_size, "nothing");
        break;
    case PROPERTY_BOOL:
        snprintf(text, text_size, "on or off");
        break;
    case PROPERTY_U8:
    case PROPERTY_U16:
    case PROPERTY_U32:
    case PROPERTY_U64:
        snprintf(text, text_size, "a number from %llu to %llu", (unsigned long long)p->min,
                 (unsigned long long)max_of(p));
        break;
    case PROPERTY_I32:
    case PROPERTY_I64:
        snprintf(text, text_size, "a number from %lld to %lld", (long long)low_of(p),
                 (long long)high_of(p));
        break;
    case PROPERTY_SIZE:
        print_size(p->min, low, sizeof(low));
        print_size(max_of(p), high, sizeof(high));
        snprintf(text, text_size, "a size in bytes, or with a suffix as in 512M, from %s to %s",
                 low, high);
        break;
    case PROPERTY_STRING:
        snprintf(text, text_size, "text");
        break;
    case PROPERTY_ENUM:
        n += (size_t)snprintf(text, text_size, "one of");
        for (unsigned i = 0; p->names[i] && n < text_size; i++) {
            n += (size_t)snprintf(text + n, text_size - n, "%s %s", i ? "," : "", p->names[i]);
        }
        break;
    case PROPERTY_MAC:
        snprintf(text, text_size, "an address as in 52:54:00:12:34:56");
        break;
    }
}

/* ---- parsing: each returns false for what is no value of the type ---------------------------- */

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : 16;
}

/* Digits up to the first that is none; false without digits or above 2^64 - 1. */
static bool parse_digits(const char **text, uint64_t *value)
{
    const char *s = *text;
    unsigned base = 10;
    uint64_t v = 0;

    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        base = 16;
        s += 2;
    }
    const char *first = s;

    for (; (unsigned)digit(*s) < base; s++) {
        if (__builtin_mul_overflow(v, base, &v) ||
            __builtin_add_overflow(v, (uint64_t)digit(*s), &v)) {
            return false;
        }
    }
    *text = s;
    *value = v;
    return s != first;
}

static bool parse_unsigned(const char *text, uint64_t *value)
{
    return parse_digits(&text, value) && !*text;
}

static bool parse_signed(const char *text, int64_t *value)
{
    bool negative = *text == '-';
    uint64_t v;

    if (!parse_unsigned(text + negative, &v) || v > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *value = (int64_t)(negative ? -v : v);
    return true;
}

static bool parse_size(const char *text, uint64_t *value)
{
    static const char suffixes[] = "BKMGTPE";
    uint64_t whole, fraction = 0, scale = 1;

    if (!parse_digits(&text, &whole)) {
        return false;
    }
    if (*text == '.') {
        for (text++; (unsigned)digit(*text) < 10; text++) {
            if (scale >= UINT64_C(1000000000000000000)) {
                return false;
            }
            fraction = fraction * 10 + (uint64_t)digit(*text);
            scale *= 10;
        }
        if (scale == 1) {
            return false;
        }
    }
    unsigned shift = 0;

    if (*text) {
        char upper = (char)(*text >= 'a' ? *text - 'a' + 'A' : *text);
        const char *at = strchr(suffixes, upper);

        if (!at || text[1]) {
            return false;
        }
        shift = 10 * (unsigned)(at - suffixes);
    }
    unsigned __int128 v =
        ((unsigned __int128)whole << shift) + ((unsigned __int128)fraction << shift) / scale;

    *value = (uint64_t)v;
    return v <= UINT64_MAX && (scale == 1 || shift); /* no half bytes */
}

static bool parse_bool(const char *text, bool *value)
{
    static const char *const names[] = {"off", "on", "no", "yes", "false", "true"};

    for (unsigned i = 0; i < 6; i++) {
        if (strcmp(text, names[i]) == 0) {
            *value = i & 1;
            return true;
        }
    }
    return false;
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
    for (unsigned i = 0; i < 6; i++, text += 3) {
        int high = digit(text[0]), low = high < 16 ? digit(text[1]) : 16;

        if (high > 15 || low > 15 || text[2] != (i < 5 ? ':' : '\0')) {
            return false;
        }
        mac[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void store_number(const struct property *p, void *at, uint64_t value)
{
    /* The host is little-endian: the low bytes come first. */
    memcpy(at, &value, width(p->type) / 8);
}

/* 0, -EINVAL, -ERANGE or -ENOMEM; stores only on success. */
static int set_value(const struct property *p, void *object, const char *text)
{
    void *at = field(p, object);
    uint64_t number = 0;
    int64_t with_sign = 0;
    bool flag = false;
    uint8_t mac[6];
    char *copy;

    switch (p->type) {
    case PROPERTY_NONE:
        return -EINVAL;
    case PROPERTY_BOOL:
        if (!parse_bool(text, &flag)) {
            return -EINVAL;
        }
        *(bool *)at = flag;
        return 0;
    case PROPERTY_U8:
    case PROPERTY_U16:
    case PROPERTY_U32:
    case PROPERTY_U64:
    case PROPERTY_SIZE:
        if (!(p->type == PROPERTY_SIZE ? parse_size : parse_unsigned)(text, &number)) {
            return -EINVAL;
        }
        if (number < p->min || number > max_of(p)) {
            return -ERANGE;
        }
        store_number(p, at, number);
        return 0;
    case PROPERTY_I32:
    case PROPERTY_I64:
        if (!parse_signed(text, &with_sign)) {
            return -EINVAL;
        }
        if (with_sign < low_of(p) || with_sign > high_of(p)) {
            return -ERANGE;
        }
        store_number(p, at, (uint64_t)with_sign);
        return 0;
    case PROPERTY_STRING:
        copy = strdup(text);
        if (!copy) {
            return -ENOMEM;
        }
        free(*(char **)at);
        *(char **)at = copy;
        return 0;
    case PROPERTY_ENUM:
        for (int i = 0; p->names[i]; i++) {
            if (strcmp(p->names[i], text) == 0) {
                *(int *)at = i;
                return 0;
            }
        }
        return -EINVAL;
    case PROPERTY_MAC:
        if (!parse_mac(text, mac)) {
            return -EINVAL;
        }
        memcpy(at, mac, sizeof(mac));
        return 0;
    }
    return -EINVAL;
}

int property_set_defaults(const struct property *table, void *object)
{
    for (const struct property *p = table; p && p->name; p++) {
        void *at = field(p, object);

        switch (p->type) {
        case PROPERTY_BOOL:
            *(bool *)at = p->number != 0;
            break;
        case PROPERTY_ENUM:
            *(int *)at = (int)p->number;
            break;
        case PROPERTY_STRING:
            *(char **)at = NULL;
            if (p->text && set_value(p, object, p->text)) {
                return -ENOMEM;
            }
            break;
        case PROPERTY_MAC:
            memset(at, 0, 6);
            if (p->text) {
                (void)set_value(p, object, p->text);
            }
            break;
        default:
            store_number(p, at, (uint64_t)p->number);
            break;
        }
    }
    return 0;
}

void property_clear(const struct property *table, void *object)
{
    for (const struct property *p = table; p && p->name; p++) {
        if (p->type == PROPERTY_STRING) {
            char **at = field(p, object);

            free(*at);
            *at = NULL;
        }
    }
}

static int unknown(const struct property *table, const char *who, const char *name, char *error,
                   size_t size)
{
    int n = snprintf(error, size, "%s: no property '%s'", who, name);
    const char *between = "; there are ";

    for (const struct property *p = table; p && p->name && n >= 0 && (size_t)n < size; p++) {
        n += snprintf(error + n, size - (size_t)n, "%s%s", between, p->name);
        between = ", ";
    }
    return -ENOENT;
}

int property_set(const struct property *table, void *object, const char *who, const char *name,
                 const char *value, char *error, size_t error_size)
{
    const struct property *p = property_find(table, name);
    char expects[512];

    if (!p) {
        return unknown(table, who, name, error, error_size);
    }
    int err = set_value(p, object, value);

    if (err == -ENOMEM) {
        return fail(err, error, error_size, "%s: %s: no memory", who, name);
    }
    if (err) {
        property_expects(p, expects, sizeof(expects));
        return fail(err, error, error_size, "%s: %s=%s: expected %s", who, name, value, expects);
    }
    return 0;
}

/* Takes "name[=value]" off the list; false when it is too long or has no name. */
static bool next_item(const char **list, char *name, char *value, bool *bare)
{
    const char *s = *list;
    size_t n = 0;

    for (; *s && *s != '=' && *s != ','; s++) {
        if (n == VALUE_MAX - 1) {
            return false;
        }
        name[n++] = *s;
    }
    name[n] = 0;
    if (!n) {
        return false;
    }
    strcpy(value, "on");
    *bare = *s != '=';
    if (!*bare) {
        n = 0;
        for (s++; *s && (*s != ',' || s[1] == ','); s++) {
            s += *s == ','; /* of two, one stays */
            if (n == VALUE_MAX - 1) {
                return false;
            }
            value[n++] = *s;
        }
        value[n] = 0;
    }
    *list = *s == ',' ? s + 1 : s;
    return true;
}

/* "nowait", where "wait" is a switch. */
static bool is_negated_bool(const struct property *table, const char *name)
{
    const struct property *p = !strncmp(name, "no", 2) ? property_find(table, name + 2) : NULL;

    return p && p->type == PROPERTY_BOOL;
}

int property_set_list(const struct property *table, void *object, const char *who, const char *list,
                      bool (*skip)(void *opaque, const char *name, const char *value), void *opaque,
                      char *error, size_t error_size)
{
    char name[VALUE_MAX], value[VALUE_MAX];
    bool bare;

    while (*list) {
        const char *item = list;

        if (!next_item(&list, name, value, &bare)) {
            return fail(-EINVAL, error, error_size, "%s: '%.60s': expected NAME=VALUE", who, item);
        }
        if (skip && skip(opaque, name, value)) {
            continue;
        }
        bool off = bare && !property_find(table, name) && is_negated_bool(table, name);
        int err = property_set(table, object, who, off ? name + 2 : name, off ? "off" : value,
                               error, error_size);

        if (err) {
            return err;
        }
    }
    return 0;
}

int property_get(const struct property *table, const void *object, const char *name, char *text,
                 size_t text_size)
{
    const struct property *p = property_find(table, name);
    uint64_t number = 0;
    int n = 0;

    if (!p) {
        return -ENOENT;
    }
    const void *at = field(p, object);
    const uint8_t *mac = at;

    switch (p->type) {
    case PROPERTY_NONE:
        return -ENOENT;
    case PROPERTY_BOOL:
        n = snprintf(text, text_size, "%s", *(const bool *)at ? "on" : "off");
        break;
    case PROPERTY_STRING:
        n = snprintf(text, text_size, "%s", *(char *const *)at ? *(char *const *)at : "");
        break;
    case PROPERTY_ENUM:
        n = snprintf(text, text_size, "%s", p->names[*(const int *)at]);
        break;
    case PROPERTY_MAC:
        n = snprintf(text, text_size, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
                     mac[3], mac[4], mac[5]);
        break;
    default:
        memcpy(&number, at, width(p->type) / 8);
        if (is_signed(p)) {
            unsigned shift = 64 - width(p->type);

            n = snprintf(text, text_size, "%lld", (long long)((int64_t)(number << shift) >> shift));
        } else if (p->type == PROPERTY_SIZE) {
            print_size(number, text, text_size);
            n = (int)strlen(text);
        } else {
            n = snprintf(text, text_size, "%llu", (unsigned long long)number);
        }
        break;
    }
    return n >= 0 && (size_t)n < text_size ? 0 : -ENOSPC;
}
