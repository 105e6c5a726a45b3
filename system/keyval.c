/* Lists of names and values; see the header. */
#include "system/keyval.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16

int keyval_parse_size(const char *text, uint64_t unit, uint64_t *value)
{
    static const char suffixes[] = "BKMGTPE";
    const char *suffix;
    long double number;
    char *end;

    if (!isdigit((unsigned char)*text)) {
        return -EINVAL;
    }
    errno = 0;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        number = (long double)strtoull(text, &end, 16);
    } else {
        number = strtold(text, &end);
    }
    if (*end) {
        suffix = strchr(suffixes, toupper((unsigned char)*end));
        if (!suffix || end[1] != 0) {
            return -EINVAL;
        }
        unit = UINT64_C(1) << (10 * (suffix - suffixes));
    }
    number *= (long double)unit;
    if (errno || !(number < 0x1p64L)) {
        return -EINVAL;
    }
    *value = (uint64_t)number;
    return 0;
}

static int out_of_memory(const char *option, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s: out of memory", option);
    return -ENOMEM;
}

/* Takes over name and value. */
static int add(struct keyval *list, char *name, char *value, bool bare, char *error,
               size_t error_size)
{
    struct keyval_pair *pairs =
        name && value ? realloc(list->pairs, (list->count + 1) * sizeof(*pairs)) : NULL;

    if (!pairs) {
        free(name);
        free(value);
        return out_of_memory(list->option, error, error_size);
    }
    list->pairs = pairs;
    pairs[list->count++] = (struct keyval_pair){.name = name, .value = value, .bare = bare};
    return 0;
}

int keyval_add(struct keyval *list, const char *name, const char *value)
{
    char ignored[64];

    return add(list, strdup(name), strdup(value), false, ignored, sizeof(ignored));
}

/* Up to the next single comma; doubled ones become one. */
static char *take_text(const char **text)
{
    const char *at = *text;
    char *copy = malloc(strlen(at) + 1), *to = copy;

    while (copy && *at && (*at != ',' || at[1] == ',')) {
        at += *at == ',';
        *to++ = *at++;
    }
    if (copy) {
        *to = 0;
    }
    *text = at;
    return copy;
}

static int parse_list(struct keyval *list, const char *text, const char *implied, char *error,
                      size_t error_size)
{
    const char *start = text;

    while (*text) {
        size_t length = strcspn(text, "=,");
        bool first = text == start;
        int err;

        if (text[length] == '=') {
            char *name = strndup(text, length);

            if (length == 0) {
                free(name);
                snprintf(error, error_size, "%s %s: a name is missing before '='", list->option,
                         start);
                return -EINVAL;
            }
            text += length + 1;
            err = add(list, name, take_text(&text), false, error, error_size);
        } else if (first && implied) {
            err = add(list, strdup(implied), take_text(&text), true, error, error_size);
        } else {
            err = add(list, take_text(&text), strdup("on"), true, error, error_size);
        }
        if (err) {
            return err;
        }
        text += *text == ',';
    }
    return 0;
}

static int flatten(struct keyval *list, const char *prefix, json_t *value, unsigned depth,
                   char *error, size_t error_size);

static int flatten_member(struct keyval *list, const char *prefix, const char *name, json_t *value,
                          unsigned depth, char *error, size_t error_size)
{
    char *path;
    int err;

    if (asprintf(&path, "%s%s%s", prefix, *prefix ? "." : "", name) < 0) {
        return out_of_memory(list->option, error, error_size);
    }
    err = flatten(list, path, value, depth + 1, error, error_size);
    free(path);
    return err;
}

static int flatten(struct keyval *list, const char *prefix, json_t *value, unsigned depth,
                   char *error, size_t error_size)
{
    int err = 0;
    char *text = NULL;

    if (depth > DEPTH_MAX) {
        snprintf(error, error_size, "%s: is nested too deeply", list->option);
        return -EINVAL;
    }
    if (json_is_object(value)) {
        const char *name;
        json_t *member;

        json_object_foreach(value, name, member)
        {
            err = err ? err : flatten_member(list, prefix, name, member, depth, error, error_size);
        }
        return err;
    }
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value) && !err; i++) {
            char name[24];

            snprintf(name, sizeof(name), "%zu", i);
            err = flatten_member(list, prefix, name, json_array_get(value, i), depth, error,
                                 error_size);
        }
        return err;
    }
    if (json_is_string(value)) {
        text = strdup(json_string_value(value));
    } else if (json_is_boolean(value)) {
        text = strdup(json_is_true(value) ? "on" : "off");
    } else if (json_is_integer(value)) {
        (void)!asprintf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else {
        snprintf(error, error_size, "%s: %s: expected text, a number or true or false",
                 list->option, prefix);
        return -EINVAL;
    }
    return add(list, strdup(prefix), text, false, error, error_size);
}

int keyval_parse(struct keyval *list, const char *option, const char *text, const char *implied,
                 char *error, size_t error_size)
{
    int err;

    *list = (struct keyval){.option = option};
    if (*text == '{') {
        json_error_t wrong;
        json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &wrong);

        if (!object) {
            snprintf(error, error_size, "%s: column %d of the JSON text: %s", option, wrong.column,
                     wrong.text);
            return -EINVAL;
        }
        err = flatten(list, "", object, 0, error, error_size);
        json_decref(object);
    } else {
        err = parse_list(list, text, implied, error, error_size);
    }
    if (err) {
        keyval_free(list);
    }
    return err;
}

void keyval_free(struct keyval *list)
{
    for (unsigned i = 0; i < list->count; i++) {
        free(list->pairs[i].name);
        free(list->pairs[i].value);
    }
    free(list->pairs);
    list->pairs = NULL;
    list->count = 0;
}

const char *keyval_get(const struct keyval *list, const char *name)
{
    const char *value = NULL;

    for (unsigned i = 0; i < list->count; i++) {
        if (strcmp(list->pairs[i].name, name) == 0) {
            value = list->pairs[i].value;
        }
    }
    return value;
}

const char *keyval_take(struct keyval *list, const char *name)
{
    for (unsigned i = 0; i < list->count; i++) {
        if (strcmp(list->pairs[i].name, name) == 0) {
            list->pairs[i].taken = true;
        }
    }
    return keyval_get(list, name);
}

static int expected(const struct keyval *list, const char *name, const char *value,
                    const char *what, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s: %s=%s: expected %s", list->option, name, value, what);
    return -EINVAL;
}

int keyval_take_bool(struct keyval *list, const char *name, bool *value, char *error,
                     size_t error_size)
{
    static const char *const on[] = {"on", "yes", "true", "y"};
    static const char *const off[] = {"off", "no", "false", "n"};
    const char *text = keyval_take(list, name);

    for (unsigned i = 0; text && i < sizeof(on) / sizeof(on[0]); i++) {
        if (strcmp(text, on[i]) == 0 || strcmp(text, off[i]) == 0) {
            *value = strcmp(text, on[i]) == 0;
            return 1;
        }
    }
    return text ? expected(list, name, text, "on or off", error, error_size) : 0;
}

int keyval_take_number(struct keyval *list, const char *name, uint64_t *value, char *error,
                       size_t error_size)
{
    const char *text = keyval_take(list, name);
    uint64_t number;
    char *end;

    if (!text) {
        return 0;
    }
    errno = 0;
    number = strtoull(text, &end, 0);
    if (!isdigit((unsigned char)*text) || *end || errno) {
        return expected(list, name, text, "a number", error, error_size);
    }
    *value = number;
    return 1;
}

int keyval_take_size(struct keyval *list, const char *name, uint64_t unit, uint64_t *value,
                     char *error, size_t error_size)
{
    const char *text = keyval_take(list, name);

    if (!text) {
        return 0;
    }
    if (keyval_parse_size(text, unit, value)) {
        return expected(list, name, text, "a size, with one of the suffixes B K M G T P E", error,
                        error_size);
    }
    return 1;
}

int keyval_take_enum(struct keyval *list, const char *name, const char *const *names, int *value,
                     char *error, size_t error_size)
{
    const char *text = keyval_take(list, name);
    char what[256] = "";
    size_t used = 0;

    if (!text) {
        return 0;
    }
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *value = i;
            return 1;
        }
        if (used < sizeof(what)) {
            used += (size_t)snprintf(what + used, sizeof(what) - used, "%s%s",
                                     i == 0 ? "" : (names[i + 1] ? ", " : " or "), names[i]);
        }
    }
    return expected(list, name, text, what, error, error_size);
}

int keyval_finish(const struct keyval *list, char *error, size_t error_size)
{
    for (unsigned i = 0; i < list->count; i++) {
        if (!list->pairs[i].taken) {
            snprintf(error, error_size, "%s: %s%s%s: there is no such setting", list->option,
                     list->pairs[i].name, list->pairs[i].bare ? "" : "=",
                     list->pairs[i].bare ? "" : list->pairs[i].value);
            return -EINVAL;
        }
    }
    return 0;
}

struct json_t *keyval_to_json(const struct keyval *list, char *error, size_t error_size)
{
    json_t *object = json_object();

    for (unsigned i = 0; object && i < list->count; i++) {
        const struct keyval_pair *pair = &list->pairs[i];

        if (!pair->taken && json_object_set_new(object, pair->name, json_string(pair->value))) {
            snprintf(error, error_size, "%s: %s=%s: is no valid UTF-8", list->option, pair->name,
                     pair->value);
            json_decref(object);
            return NULL;
        }
    }
    if (!object) {
        (void)out_of_memory(list->option, error, error_size);
    }
    return object;
}

char *keyval_to_text(const struct keyval *list)
{
    size_t size = 1;
    char *text, *to;

    for (unsigned i = 0; i < list->count; i++) {
        size += strlen(list->pairs[i].name) + 2 * strlen(list->pairs[i].value) + 2;
    }
    text = to = calloc(1, size);
    for (unsigned i = 0; text && i < list->count; i++) {
        const struct keyval_pair *pair = &list->pairs[i];

        if (pair->taken) {
            continue;
        }
        to += sprintf(to, "%s%s=", to == text ? "" : ",", pair->name);
        for (const char *from = pair->value; *from; from++) {
            *to++ = *from;
            if (*from == ',') {
                *to++ = ',';
            }
        }
    }
    if (text) {
        *to = 0;
    }
    return text;
}
