/*
 * Properties: settings of an object as a table, from which come the command line, device_add, help,
 * introspection and `info qtree`.
 *
 *     struct uart {
 *         uint32_t clock;
 *         bool loopback;
 *     };
 *     static const struct property uart_properties[] = {
 *         PROPERTY(U32, "clock", struct uart, clock, .number = 1843200, .min = 1,
 *                  .help = "input clock in Hz"),
 *         PROPERTY(BOOL, "loopback", struct uart, loopback, .help = "output comes back"),
 *         PROPERTY_END,
 *     };
 *
 * Errors are one line in error[], "WHO: NAME=VALUE: expected ...", where `who` names the object.
 * The functions keep no state: what serialises access to the object serialises them.
 */
#ifndef TINAMOU_UTIL_PROPERTY_H
#define TINAMOU_UTIL_PROPERTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum property_type {
    PROPERTY_NONE, /* ends a table */
    PROPERTY_BOOL, /* bool: on, off, yes, no, true, false */
    PROPERTY_U8,   /* uintN_t: decimal, or hexadecimal with 0x */
    PROPERTY_U16,
    PROPERTY_U32,
    PROPERTY_U64,
    PROPERTY_I32,
    PROPERTY_I64,
    PROPERTY_SIZE, /* uint64_t bytes: a number with one of the suffixes B K M G T P E, also 1.5G */
    PROPERTY_STRING, /* char *, owned by the object; NULL when never set and without a default */
    PROPERTY_ENUM,   /* int: index of a name in names[] */
    PROPERTY_MAC,    /* uint8_t[6]: 52:54:00:12:34:56 */
};

struct property {
    const char *name;
    enum property_type type;
    uint32_t offset;  /* in the object */
    const char *help; /* one line, without a full stop */
    /* the default */
    int64_t number;   /* of numbers, BOOL and ENUM; U64 above INT64_MAX by its bit pattern */
    const char *text; /* of STRING and MAC; NULL: none, or zeros */
    /* what is allowed */
    uint64_t min, max;        /* of unsigned numbers and sizes; max 0: the type's */
    int64_t low, high;        /* of signed ones; both 0: the type's */
    const char *const *names; /* of ENUM, ends with NULL */
    bool required;            /* has to be set before the object is realized: not 0, not empty */
    bool runtime;             /* may be set after it */
};

#define PROPERTY(type_, name_, struct_, field_, ...)                                              \
    {                                                                                             \
        .type = PROPERTY_##type_, .name = (name_), .offset = (uint32_t)offsetof(struct_, field_), \
        __VA_ARGS__                                                                               \
    }
#define PROPERTY_END \
    {                \
        .name = NULL \
    }

/* The property of that name, or NULL. table may be NULL: an empty one. */
const struct property *property_find(const struct property *table, const char *name);

/* Gives every property its default; strings are taken as unset before. 0 or -ENOMEM. */
int property_set_defaults(const struct property *table, void *object);

/* Frees what properties own and makes strings unset. */
void property_clear(const struct property *table, void *object);

/*
 * Sets one from text. 0, -ENOENT (no such property; the message lists those there are), -EINVAL or
 * -ERANGE (the message says what is expected), -ENOMEM. On error the object is unchanged.
 */
int property_set(const struct property *table, void *object, const char *who, const char *name,
                 const char *value, char *error, size_t error_size);

/*
 * Sets from a list as in "clock=1M,loopback": a bare name means on, and a bare "noNAME" off where
 * there is only NAME, a BOOL; ",," in a value is a comma. Stops at the first error, as
 * property_set(). `skip` (may be NULL) returns true for names that are not the table's business,
 * such as "id"; it gets their values.
 */
int property_set_list(const struct property *table, void *object, const char *who, const char *list,
                      bool (*skip)(void *opaque, const char *name, const char *value), void *opaque,
                      char *error, size_t error_size);

/* The value as text that property_set() takes; unset strings are "". 0, -ENOENT, or -ENOSPC. */
int property_get(const struct property *table, const void *object, const char *name, char *text,
                 size_t text_size);

/* What the property takes, as in the messages: "a number from 1 to 64". */
void property_expects(const struct property *property, char *text, size_t text_size);

#endif
