/*
 * Options as lists of names and values: "virtio-blk-pci,drive=hd0,bootindex=1", or the same as a
 * JSON object. A comma in a value is doubled. A bare word in front is the value of a name that the
 * option implies; bare words elsewhere mean "on" ("nowait" and "noNAME" are not understood).
 *
 * Whoever reads an option takes the values that it knows; what is left over nobody knew.
 */
#ifndef TINAMOU_SYSTEM_KEYVAL_H
#define TINAMOU_SYSTEM_KEYVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_t; /* jansson's */

struct keyval_pair {
    char *name, *value;
    bool bare; /* came without "=" */
    bool taken;
};

struct keyval {
    const char *option; /* for messages: "-device", kept by the caller */
    struct keyval_pair *pairs;
    unsigned count;
};

/*
 * Parses; `implied` (may be NULL) is the name of a bare word in front. Text that begins with "{" is
 * JSON: nested names are joined by dots. 0, or -EINVAL or -ENOMEM with a line in error[]. Names may
 * repeat: the last one counts.
 */
int keyval_parse(struct keyval *list, const char *option, const char *text, const char *implied,
                 char *error, size_t error_size);
void keyval_free(struct keyval *list);

/* Appends a copy. 0 or -ENOMEM. */
int keyval_add(struct keyval *list, const char *name, const char *value);

/* The value of a name, which counts as known now; NULL when it is not there. */
const char *keyval_take(struct keyval *list, const char *name);
/* The same without taking it. */
const char *keyval_get(const struct keyval *list, const char *name);

/*
 * Takes a value of a kind: 1 when it was there, 0 when not, -EINVAL with a line in error[] when it
 * is wrong. A size without suffix is multiplied by `unit`.
 */
int keyval_take_bool(struct keyval *list, const char *name, bool *value, char *error,
                     size_t error_size);
int keyval_take_number(struct keyval *list, const char *name, uint64_t *value, char *error,
                       size_t error_size);
int keyval_take_size(struct keyval *list, const char *name, uint64_t unit, uint64_t *value,
                     char *error, size_t error_size);
/* The index of the value in names[], which ends with NULL. */
int keyval_take_enum(struct keyval *list, const char *name, const char *const *names, int *value,
                     char *error, size_t error_size);

/* -EINVAL and a line naming the first that nobody took. */
int keyval_finish(const struct keyval *list, char *error, size_t error_size);

/*
 * What has not been taken, as a flat JSON object: names keep their dots, values are strings. NULL
 * with a line in error[].
 */
struct json_t *keyval_to_json(const struct keyval *list, char *error, size_t error_size);

/* What has not been taken, as text that can be parsed again: malloc'ed; NULL: out of memory. */
char *keyval_to_text(const struct keyval *list);

/* A number with one of the suffixes B K M G T P E, or times `unit` without one. 0 or -EINVAL. */
int keyval_parse_size(const char *text, uint64_t unit, uint64_t *value);

#endif
