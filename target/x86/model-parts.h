/*
 * The parts that choosing a CPU model consists of: the tables (model-table.c), the properties and
 * switches of a text (model-parse.c), and what comes of both (model.c).
 */
#ifndef TINAMOU_TARGET_X86_MODEL_PARTS_H
#define TINAMOU_TARGET_X86_MODEL_PARTS_H

#include "target/x86/features.h"

#include <string.h>

/* ---- model-table.c ---- */

/* A row of models.def. */
struct x86_model_row {
    const char *name;   /* of a version: NULL, the row belongs to the model before it */
    const char *vendor; /* of a model */
    const char *other;  /* another name, of a version */
    uint32_t number;    /* of the version */
    uint32_t family, model, stepping, level, xlevel;
    uint8_t cache;
    const char *brand;
    const char *features;
};

/* The row that a text names, "NAME", "NAME-vN" or a name of its own; NULL when there is none. */
const struct x86_model_row *x86_row_find(const char *text, size_t length);
/* The row of the model that a version belongs to. */
const struct x86_model_row *x86_row_model(const struct x86_model_row *row);
const char *x86_row_brand(const struct x86_model_row *row);
/* Adds the features of a row, and takes out those that it lacks of what it builds on. */
void x86_row_add_features(const struct x86_model_row *row, struct x86_features *set);
/* A line each. */
void x86_row_list(void (*line)(void *opaque, const char *text), void *opaque);

/* ---- model-parse.c ---- */

struct x86_model_parse {
    struct x86_model model;
    struct x86_features wanted, on, off; /* on, off: switched by name */
    bool whole;                          /* host or max */
    bool vendor_set, level_set, xlevel_set;
    bool enforce, check, migratable, host_physical_bits;
    uint64_t physical_bits, physical_limit, min_level, min_xlevel;
    char *error;
    size_t error_size;
};

/* One of "+x", "-x", "x", "x=value". 0, or -EINVAL with a line in parse->error. */
int x86_parse_item(struct x86_model_parse *parse, const char *text, size_t length);
/* Names of features, then properties. */
void x86_parse_list(void (*line)(void *opaque, const char *text), void *opaque);

static inline bool x86_is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && !memcmp(text, word, length);
}

#endif
