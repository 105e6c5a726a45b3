/*
 * Options of a graph as a flat list: "driver" = "qcow2", "file.filename" = "a.img". What QMP has as
 * nested objects and -drive as dotted names becomes the same list; a node takes out what it knows,
 * and hands what begins with a child's name to the child.
 */
#ifndef TINAMOU_IO_BLOCK_OPTIONS_H
#define TINAMOU_IO_BLOCK_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

struct json_t;

struct block_option {
    char *name;
    char *value; /* NULL: JSON's null */
};

struct block_options {
    struct block_option *list;
    unsigned count;
};

/* Zeroed structures are empty lists. */
void block_options_clear(struct block_options *options);

/* Adds one, or replaces it. Copies. 0 or -ENOMEM. */
int block_options_set(struct block_options *options, const char *name, const char *value);
/* Adds all of a JSON object; numbers and booleans become text. -EINVAL for what is no object. */
int block_options_from_json(struct block_options *options, const struct json_t *json, char *error,
                            size_t error_size);
/* The same of JSON as text. */
int block_options_from_json_text(struct block_options *options, const char *text, char *error,
                                 size_t error_size);
/* Adds all of "a=b,c.d=e,f": a bare name means on, ",," in a value is a comma. */
int block_options_from_text(struct block_options *options, const char *text, char *error,
                            size_t error_size);

/* Is it there? *value (may be NULL) stays the list's. */
bool block_options_get(const struct block_options *options, const char *name, const char **value);
/* Is there one that begins with this? */
bool block_options_has_prefix(const struct block_options *options, const char *prefix);
void block_options_remove(struct block_options *options, const char *name);
/* Moves those that begin with `prefix` to another list, without the prefix. 0 or -ENOMEM. */
int block_options_split(struct block_options *options, const char *prefix,
                        struct block_options *to);

#endif
