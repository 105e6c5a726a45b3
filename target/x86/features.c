/* Feature bits by name. */
#include "target/x86/features.h"
#include "util/bits.h"

#include <string.h>

const struct x86_word x86_words[X86_WORD_COUNT] = {
#define X86_WORD(id, leaf, subleaf, reg) [X86_WORD_##id] = {X86_WORD_##reg, leaf, subleaf},
#define X86_MSR_WORD(id, number, shift)  [X86_WORD_##id] = {X86_WORD_msr, number, shift},
#include "target/x86/features.def"
};

_Static_assert((int)X86_WORD_COUNT <= (int)X86_FEATURE_WORDS, "words");

const struct x86_feature x86_feature_table[] = {
#define X86_FEATURE(word, bit, name) {name, X86_WORD_##word, bit},
#include "target/x86/features.def"
};

const unsigned x86_feature_count = BITS_ARRAY_SIZE(x86_feature_table);

static const struct {
    const char *alias, *name;
} aliases[] = {
#define X86_ALIAS(alias, name) {alias, name},
#include "target/x86/features.def"
};

static const struct {
    const char *name, *needed;
} needs[] = {
#define X86_NEEDS(name, needed) {name, needed},
#include "target/x86/features.def"
};

/* Is the text this name, with '_' in place of any '-' or '.'? */
static bool is_name(const char *text, size_t length, const char *name)
{
    for (size_t n = 0; n < length; n++) {
        if (text[n] != name[n] && !(text[n] == '_' && (name[n] == '-' || name[n] == '.'))) {
            return false;
        }
    }
    return name[length] == 0;
}

const char *x86_feature_find(const char *text, size_t length)
{
    for (unsigned n = 0; n < x86_feature_count; n++) {
        if (is_name(text, length, x86_feature_table[n].name)) {
            return x86_feature_table[n].name;
        }
    }
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(aliases); n++) {
        if (is_name(text, length, aliases[n].alias)) {
            return aliases[n].name;
        }
    }
    return NULL;
}

bool x86_feature_is_first(unsigned row)
{
    for (unsigned n = 0; n < row; n++) {
        if (!strcmp(x86_feature_table[n].name, x86_feature_table[row].name)) {
            return false;
        }
    }
    return true;
}

void x86_feature_set(struct x86_features *set, const char *name, bool on)
{
    for (unsigned n = 0; n < x86_feature_count; n++) {
        const struct x86_feature *f = &x86_feature_table[n];
        if (!strcmp(f->name, name)) {
            set->word[f->word] = (set->word[f->word] & ~(1u << f->bit)) | (uint32_t)on << f->bit;
        }
    }
}

bool x86_feature_test(const struct x86_features *set, const char *name)
{
    bool found = false;

    for (unsigned n = 0; n < x86_feature_count; n++) {
        const struct x86_feature *f = &x86_feature_table[n];
        if (!strcmp(f->name, name)) {
            found = true;
            if (!x86_word_test(set, f->word, f->bit)) {
                return false;
            }
        }
    }
    return found;
}

const char *x86_feature_lacks(const struct x86_features *set, const char *name)
{
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(needs); n++) {
        if (!strcmp(needs[n].name, name) && !x86_feature_test(set, needs[n].needed)) {
            return needs[n].needed;
        }
    }
    return NULL;
}

void x86_features_close(struct x86_features *set)
{
    for (bool again = true; again;) {
        again = false;
        for (unsigned n = 0; n < BITS_ARRAY_SIZE(needs); n++) {
            if (x86_feature_test(set, needs[n].name) && !x86_feature_test(set, needs[n].needed)) {
                x86_feature_set(set, needs[n].name, false);
                again = true;
            }
        }
    }
}
