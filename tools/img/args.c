/*
 * Options of a command by its table: -f raw, -fraw, -pq, --output=json, --output json, and "--".
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/block/secret.h"
#include "tools/img/img.h"
#include "util/error.h"

int img_fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_vreport(fmt, ap);
    va_end(ap);
    return 1;
}

static int append(char **list, const char *between, const char *value)
{
    char *joined;

    if (asprintf(&joined, "%s%s%s", *list ? *list : "", *list ? between : "", value) < 0) {
        return img_fail("out of memory");
    }
    free(*list);
    *list = joined;
    return 0;
}

static int append_action(char **list, int code, const char *value)
{
    char *action;
    int status;

    if (asprintf(&action, "%c%s", code, value ? value : "") < 0) {
        return img_fail("out of memory");
    }
    status = append(list, "\n", action);
    free(action);
    return status;
}

/* --object secret,id=...; other kinds are of no use here. */
static int make_object(const char *text)
{
    char error[512];

    if (strncmp(text, "secret,", 7) != 0) {
        return img_fail("--object %s: expected secret,id=ID,...", text);
    }
    return secret_add(text + 7, error, sizeof(error)) < 0 ? img_fail("%s", error) : 0;
}

static int apply(const struct img_option *option, void *values, const char *shown,
                 const char *value)
{
    void *at = (char *)values + option->offset;

    switch (option->kind) {
    case IMG_FLAG:
        *(bool *)at = true;
        return 0;
    case IMG_TEXT:
        *(const char **)at = value;
        return 0;
    case IMG_LIST:
        return append(at, ",", value);
    case IMG_ACTIONS:
        return append_action(at, option->code, value);
    case IMG_OBJECT:
        return make_object(value);
    case IMG_OUTPUT:
        if (strcmp(value, "human") != 0 && strcmp(value, "json") != 0) {
            return img_fail("%s: --output must be used with human or json as argument.", shown);
        }
        *(bool *)at = value[0] == 'j';
        return 0;
    default:
        if (*(int *)at) {
            return img_fail("%s: only one of these can be asked for", shown);
        }
        *(int *)at = option->code;
        if (value) {
            ((const char **)at)[1] = value;
        }
        return 0;
    }
}

static const struct img_option *by_letter(const struct img_option *o, char letter)
{
    for (; o->letter || o->name; o++) {
        if (o->letter && o->letter == letter) {
            return o;
        }
    }
    return NULL;
}

static const struct img_option *by_name(const struct img_option *o, const char *name, size_t size)
{
    for (; o->letter || o->name; o++) {
        if (o->name && strlen(o->name) == size && memcmp(o->name, name, size) == 0) {
            return o;
        }
    }
    return NULL;
}

/* "--name", "--name=value" or "--name" "value". How many arguments it took, or -1. */
static int long_option(const struct img_command *c, void *values, int left, char **argv)
{
    const char *name = argv[0] + 2, *equals = strchr(name, '=');
    const struct img_option *o =
        by_name(c->options, name, equals ? (size_t)(equals - name) : strlen(name));
    const char *value = equals ? equals + 1 : NULL;

    if (strcmp(name, "help") == 0) {
        img_command_usage(c);
        exit(0);
    }
    if (!o || (!o->value && value)) {
        img_fail("%s: unrecognized option '%s'", c->name, argv[0]);
        return -1;
    }
    if (o->value && !value) {
        if (left < 2) {
            img_fail("%s: option '%s' requires an argument", c->name, argv[0]);
            return -1;
        }
        return apply(o, values, argv[0], argv[1]) ? -1 : 2;
    }
    return apply(o, values, argv[0], value) ? -1 : 1;
}

/* "-pq", "-fraw", "-f" "raw". */
static int short_options(const struct img_command *c, void *values, int left, char **argv)
{
    for (const char *p = argv[0] + 1; *p; p++) {
        const struct img_option *o = by_letter(c->options, *p);
        char shown[3] = {'-', *p, '\0'};

        if (*p == 'h') {
            img_command_usage(c);
            exit(0);
        }
        if (!o) {
            img_fail("%s: invalid option -- '%c'", c->name, *p);
            return -1;
        }
        if (!o->value) {
            if (apply(o, values, shown, NULL)) {
                return -1;
            }
            continue;
        }
        if (p[1]) {
            return apply(o, values, shown, p + 1) ? -1 : 1;
        }
        if (left < 2) {
            img_fail("%s: option requires an argument -- '%c'", c->name, *p);
            return -1;
        }
        return apply(o, values, shown, argv[1]) ? -1 : 2;
    }
    return 1;
}

static void free_lists(const struct img_option *o, void *values)
{
    for (; o->letter || o->name; o++) {
        if (o->kind == IMG_LIST || o->kind == IMG_ACTIONS) {
            free(*(char **)((char *)values + o->offset));
            *(char **)((char *)values + o->offset) = NULL;
        }
    }
}

static int parse(const struct img_command *c, void *values, int argc, char **argv, char **operands,
                 int *count)
{
    bool more = true;

    *count = 0;
    for (int i = 0; i < argc;) {
        int took = 1;

        if (more && strcmp(argv[i], "--") == 0) {
            more = false;
        } else if (more && argv[i][0] == '-' && argv[i][1] == '-') {
            took = long_option(c, values, argc - i, argv + i);
        } else if (more && argv[i][0] == '-' && argv[i][1] &&
                   !(argv[i][1] >= '0' && argv[i][1] <= '9')) {
            took = short_options(c, values, argc - i, argv + i);
        } else {
            operands[(*count)++] = argv[i];
        }
        if (took < 0) {
            return 1;
        }
        i += took;
    }
    if (*count < c->min_operands || (c->max_operands >= 0 && *count > c->max_operands)) {
        return img_fail("%s: expected %s", c->name, c->operands);
    }
    return 0;
}

int img_command_run(const struct img_command *command, int argc, char **argv)
{
    void *values = calloc(1, command->values_size + 1);
    char **operands = calloc((size_t)argc + 1, sizeof(*operands));
    int count, status;

    if (!values || !operands) {
        status = img_fail("out of memory");
    } else {
        status = parse(command, values, argc, argv, operands, &count);
        if (!status) {
            status = command->run(values, count, operands);
        }
        free_lists(command->options, values);
    }
    free(values);
    free(operands);
    return status;
}

void img_command_usage(const struct img_command *command)
{
    printf("  %s", command->name);
    for (const struct img_option *o = command->options; o->letter || o->name; o++) {
        if (o->letter) {
            printf(" [-%c%s%s]", o->letter, o->value ? " " : "", o->value ? o->value : "");
        } else {
            printf(" [--%s%s%s]", o->name, o->value ? "=" : "", o->value ? o->value : "");
        }
    }
    printf(" %s\n      %s\n", command->operands, command->summary);
}
