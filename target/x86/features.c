/*
 * Feature bits by name. Names are looked up often, by models at start and for every register that
 * is fetched, so they are sorted once, with the bits of each, and dependencies are kept as pairs of
 * these.
 */
#include "target/x86/features.h"
#include "util/bits.h"

#include <pthread.h>
#include <stdlib.h>
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

enum { BITS_MAX = 2, NAMES_MAX = BITS_ARRAY_SIZE(x86_feature_table) };

/* A name, and its bits; by name. */
static struct name {
    const char *name;
    unsigned row, count;
    struct {
        uint8_t word;
        uint32_t mask;
    } at[BITS_MAX];
} names[NAMES_MAX];
static unsigned name_count;

static struct {
    const struct name *name, *needed;
} resolved[BITS_ARRAY_SIZE(needs)];

static pthread_once_t once = PTHREAD_ONCE_INIT;

struct key {
    const char *text;
    size_t length;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->name, ((const struct name *)b)->name);
}

static int compare_key(const void *k, const void *n)
{
    const struct key *key = k;
    const char *name = ((const struct name *)n)->name;
    int order = strncmp(key->text, name, key->length);

    return order ? order : name[key->length] ? -1 : 0;
}

static const struct name *lookup(const char *text, size_t length)
{
    struct key key = {text, length};

    return bsearch(&key, names, name_count, sizeof(names[0]), compare_key);
}

static void prepare(void)
{
    for (unsigned n = 0; n < x86_feature_count; n++) {
        const struct x86_feature *f = &x86_feature_table[n];
        struct name *to = names;

        while (to < names + name_count && strcmp(to->name, f->name) != 0) {
            to++;
        }
        if (to == names + name_count) {
            *to = (struct name){.name = f->name, .row = n};
            name_count++;
        }
        if (to->count < BITS_MAX) {
            to->at[to->count].word = f->word;
            to->at[to->count++].mask = 1u << f->bit;
        }
    }
    qsort(names, name_count, sizeof(names[0]), compare_names);
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(needs); n++) {
        resolved[n].name = lookup(needs[n].name, strlen(needs[n].name));
        resolved[n].needed = lookup(needs[n].needed, strlen(needs[n].needed));
    }
}

static const struct name *find(const char *text, size_t length)
{
    pthread_once(&once, prepare);
    return lookup(text, length);
}

static bool test(const struct x86_features *set, const struct name *name)
{
    for (unsigned n = 0; n < name->count; n++) {
        if (!(set->word[name->at[n].word] & name->at[n].mask)) {
            return false;
        }
    }
    return true;
}

static void change(struct x86_features *set, const struct name *name, bool on)
{
    for (unsigned n = 0; n < name->count; n++) {
        uint32_t *word = &set->word[name->at[n].word];

        *word = on ? *word | name->at[n].mask : *word & ~name->at[n].mask;
    }
}

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
    const struct name *exact = find(text, length);

    if (exact) {
        return exact->name;
    }
    for (unsigned n = 0; n < name_count; n++) {
        if (is_name(text, length, names[n].name)) {
            return names[n].name;
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
    const char *name = x86_feature_table[row].name;

    return find(name, strlen(name))->row == row;
}

void x86_feature_set(struct x86_features *set, const char *name, bool on)
{
    const struct name *n = find(name, strlen(name));

    if (n) {
        change(set, n, on);
    }
}

bool x86_feature_test(const struct x86_features *set, const char *name)
{
    const struct name *n = find(name, strlen(name));

    return n && test(set, n);
}

const char *x86_feature_lacks(const struct x86_features *set, const char *name)
{
    const struct name *n = find(name, strlen(name));

    for (unsigned i = 0; i < BITS_ARRAY_SIZE(needs); i++) {
        if (resolved[i].name == n && !test(set, resolved[i].needed)) {
            return needs[i].needed;
        }
    }
    return NULL;
}

void x86_features_close(struct x86_features *set)
{
    pthread_once(&once, prepare);
    for (bool again = true; again;) {
        again = false;
        for (unsigned n = 0; n < BITS_ARRAY_SIZE(needs); n++) {
            if (test(set, resolved[n].name) && !test(set, resolved[n].needed)) {
                change(set, resolved[n].name, false);
                again = true;
            }
        }
    }
}
