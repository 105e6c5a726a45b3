/* The table of CPU models. */
#include "target/x86/cpuid.h"
#include "target/x86/model-parts.h"
#include "util/bits.h"

#include <stdio.h>

static const struct x86_model_row rows[] = {
#define X86_MODEL(name, vendor, family, model, stepping, level, xlevel, caches, brand, features) \
    {name,  vendor,  NULL, 1, family, model, stepping, level, xlevel, X86_CACHE_##caches,        \
     brand, features},
#define X86_VERSION(number, other, model, stepping, level, xlevel, caches, brand, changes) \
    {NULL,  NULL,   other, number, 0, model, stepping, level, xlevel, X86_CACHE_##caches,  \
     brand, changes},
#include "target/x86/models.def"
};

const struct x86_model_row *x86_row_find(const char *text, size_t length)
{
    const struct x86_model_row *model = rows;

    for (const struct x86_model_row *r = rows; r < rows + BITS_ARRAY_SIZE(rows); r++) {
        char name[64];

        model = r->name ? r : model;
        snprintf(name, sizeof(name), "%s-v%u", model->name, r->number);
        if ((r->name && x86_is_word(text, length, r->name)) || x86_is_word(text, length, name) ||
            (r->other && x86_is_word(text, length, r->other))) {
            return r;
        }
    }
    return NULL;
}

const struct x86_model_row *x86_row_model(const struct x86_model_row *row)
{
    while (!row->name) {
        row--;
    }
    return row;
}

const char *x86_row_brand(const struct x86_model_row *row)
{
    while (!row->brand) {
        row--;
    }
    return row->brand;
}

/* The table is tested: names in it exist, and rows refer to rows before them. */
void x86_row_add_features(const struct x86_model_row *row, struct x86_features *set)
{
    const char *p = row->features;

    if (!row->name) {
        x86_row_add_features(row - 1, set);
    }
    while (*p) {
        size_t length = strcspn(p, " ");
        bool off = *p == '-', sign = off || *p == '+';
        const char *name = x86_feature_find(p + sign, length - sign);

        if (name) {
            x86_feature_set(set, name, !off);
        } else {
            x86_row_add_features(x86_row_find(p, length), set);
        }
        p += length;
        p += strspn(p, " ");
    }
}

void x86_row_list(void (*line)(void *opaque, const char *text), void *opaque)
{
    char text[160], full[64];

    for (const struct x86_model_row *r = rows; r < rows + BITS_ARRAY_SIZE(rows); r++) {
        snprintf(full, sizeof(full), "%s-v%u", x86_row_model(r)->name, r->number);
        snprintf(text, sizeof(text), "  %-26s %s%s%s", r->name ? r->name : full,
                 *x86_row_brand(r) ? x86_row_brand(r) : "(without a brand string)",
                 r->other ? ", also " : "", r->other ? r->other : "");
        line(opaque, text);
    }
}
