/* Flat option lists; a few dozen entries at most, so they are searched from the front. */
#include "io/block/options.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 32 /* of JSON: nobody nests deeper, and the walk is recursive */

static void free_option(struct block_option *option)
{
    free(option->name);
    free(option->value);
}

void block_options_clear(struct block_options *options)
{
    for (unsigned i = 0; i < options->count; i++) {
        free_option(&options->list[i]);
    }
    free(options->list);
    *options = (struct block_options){0};
}

static struct block_option *find(const struct block_options *options, const char *name)
{
    for (unsigned i = 0; i < options->count; i++) {
        if (strcmp(options->list[i].name, name) == 0) {
            return &options->list[i];
        }
    }
    return NULL;
}

int block_options_set(struct block_options *options, const char *name, const char *value)
{
    struct block_option new = {.name = strdup(name), .value = value ? strdup(value) : NULL};

    if (!new.name || (value && !new.value)) {
        free_option(&new);
        return -ENOMEM;
    }
    struct block_option *old = find(options, name);

    if (old) {
        free_option(old);
        *old = new;
        return 0;
    }
    struct block_option *list =
        realloc(options->list, (options->count + 1) * sizeof(options->list[0]));

    if (!list) {
        free_option(&new);
        return -ENOMEM;
    }
    list[options->count] = new;
    options->list = list;
    options->count++;
    return 0;
}

static int add_json(struct block_options *options, const char *prefix, const json_t *json,
                    unsigned depth);

static int add_json_member(struct block_options *options, const char *prefix, const char *name,
                           const json_t *json, unsigned depth)
{
    char *full = NULL;

    if (asprintf(&full, "%s%s%s", prefix, *prefix ? "." : "", name) < 0) {
        return -ENOMEM;
    }
    int err = add_json(options, full, json, depth);

    free(full);
    return err;
}

static int add_json(struct block_options *options, const char *prefix, const json_t *json,
                    unsigned depth)
{
    char number[64];
    const char *key;
    json_t *member;
    size_t i;
    int err = 0;

    switch (json_typeof(json)) {
    case JSON_OBJECT:
        if (depth == MAX_DEPTH) {
            return -E2BIG;
        }
        json_object_foreach((json_t *)json, key, member)
        {
            err = add_json_member(options, prefix, key, member, depth + 1);
            if (err) {
                return err;
            }
        }
        return 0;
    case JSON_ARRAY:
        if (depth == MAX_DEPTH) {
            return -E2BIG;
        }
        json_array_foreach(json, i, member)
        {
            snprintf(number, sizeof(number), "%zu", i);
            err = add_json_member(options, prefix, number, member, depth + 1);
            if (err) {
                return err;
            }
        }
        return 0;
    case JSON_STRING:
        return block_options_set(options, prefix, json_string_value(json));
    case JSON_INTEGER:
        snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        return block_options_set(options, prefix, number);
    case JSON_REAL:
        snprintf(number, sizeof(number), "%.17g", json_real_value(json));
        return block_options_set(options, prefix, number);
    case JSON_TRUE:
        return block_options_set(options, prefix, "on");
    case JSON_FALSE:
        return block_options_set(options, prefix, "off");
    case JSON_NULL:
        return block_options_set(options, prefix, NULL);
    }
    return -EINVAL;
}

int block_options_from_json(struct block_options *options, const struct json_t *json, char *error,
                            size_t error_size)
{
    if (!json_is_object(json)) {
        snprintf(error, error_size, "block options: expected a JSON object");
        return -EINVAL;
    }
    int err = add_json(options, "", json, 0);

    if (err) {
        snprintf(error, error_size, "block options: %s",
                 err == -E2BIG ? "nested too deeply" : strerror(-err));
    }
    return err;
}

int block_options_from_json_text(struct block_options *options, const char *text, char *error,
                                 size_t error_size)
{
    json_error_t where;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &where);

    if (!json) {
        snprintf(error, error_size, "json:%.60s%s: %s at character %d", text,
                 strlen(text) > 60 ? "..." : "", where.text, where.position);
        return -EINVAL;
    }
    int err = block_options_from_json(options, json, error, error_size);

    json_decref(json);
    return err;
}

/* Copies to the next single comma, which is skipped; ",," is a comma. */
static const char *copy_item(const char *at, char *to)
{
    while (*at && (*at != ',' || at[1] == ',')) {
        at += *at == ',';
        *to++ = *at++;
    }
    *to = 0;
    return *at ? at + 1 : at;
}

int block_options_from_text(struct block_options *options, const char *text, char *error,
                            size_t error_size)
{
    char *item = malloc(strlen(text) + 1);
    int err = item ? 0 : -ENOMEM;

    while (!err && *text) {
        text = copy_item(text, item);
        char *value = strchr(item, '=');

        if (value) {
            *value++ = 0;
        }
        if (!*item) {
            snprintf(error, error_size, "block options: '%s%s': expected NAME=VALUE",
                     value ? "=" : ",", value ? value : "");
            err = -EINVAL;
        } else {
            err = block_options_set(options, item, value ? value : "on");
        }
    }
    if (err == -ENOMEM) {
        snprintf(error, error_size, "block options: out of memory");
    }
    free(item);
    return err;
}

bool block_options_get(const struct block_options *options, const char *name, const char **value)
{
    const struct block_option *o = find(options, name);

    if (o && value) {
        *value = o->value;
    }
    return o;
}

bool block_options_has_prefix(const struct block_options *options, const char *prefix)
{
    for (unsigned i = 0; i < options->count; i++) {
        if (strncmp(options->list[i].name, prefix, strlen(prefix)) == 0) {
            return true;
        }
    }
    return false;
}

static void remove_at(struct block_options *options, unsigned i)
{
    free_option(&options->list[i]);
    options->count--;
    memmove(&options->list[i], &options->list[i + 1],
            (options->count - i) * sizeof(options->list[0]));
}

void block_options_remove(struct block_options *options, const char *name)
{
    struct block_option *o = find(options, name);

    if (o) {
        remove_at(options, (unsigned)(o - options->list));
    }
}

int block_options_split(struct block_options *options, const char *prefix, struct block_options *to)
{
    size_t length = strlen(prefix);

    for (unsigned i = 0; i < options->count;) {
        const struct block_option *o = &options->list[i];

        if (strncmp(o->name, prefix, length) != 0) {
            i++;
            continue;
        }
        if (block_options_set(to, o->name + length, o->value)) {
            return -ENOMEM;
        }
        remove_at(options, i);
    }
    return 0;
}
