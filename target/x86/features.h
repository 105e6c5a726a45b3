/*
 * Feature bits by name: what features.def says, for model.c, cpuid.c and tests.
 */
#ifndef TINAMOU_TARGET_X86_FEATURES_H
#define TINAMOU_TARGET_X86_FEATURES_H

#include "target/x86/model.h"

#define X86_NO_SUBLEAF UINT32_MAX

enum x86_word_id {
#define X86_WORD(id, leaf, subleaf, reg) X86_WORD_##id,
#define X86_MSR_WORD(id, number, shift)  X86_WORD_##id,
#include "target/x86/features.def"
    X86_WORD_COUNT
};

enum x86_word_register { X86_WORD_eax, X86_WORD_ebx, X86_WORD_ecx, X86_WORD_edx, X86_WORD_msr };

struct x86_word {
    enum x86_word_register reg;
    uint32_t leaf, subleaf; /* X86_NO_SUBLEAF: has none. Of X86_WORD_msr: the register, the shift */
};

extern const struct x86_word x86_words[X86_WORD_COUNT];

struct x86_feature {
    const char *name;
    uint8_t word, bit;
};

/* In the order of features.def; several rows may have the same name. */
extern const struct x86_feature x86_feature_table[];
extern const unsigned x86_feature_count;

/* The name of a feature that this text names, '_' taken for '-' and aliases resolved; NULL when
 * there is none. */
const char *x86_feature_find(const char *text, size_t length);

/* Is this row the first of its name? */
bool x86_feature_is_first(unsigned row);

/* Switches all bits of a name of the table. */
void x86_feature_set(struct x86_features *set, const char *name, bool on);
/* Are all bits of that name set? False for a name that is not in the table. */
bool x86_feature_test(const struct x86_features *set, const char *name);

/* Takes out what lacks something that it needs, until nothing does. */
void x86_features_close(struct x86_features *set);
/* What the feature needs and the set lacks, or NULL. */
const char *x86_feature_lacks(const struct x86_features *set, const char *name);

static inline bool x86_word_test(const struct x86_features *set, unsigned word, unsigned bit)
{
    return set->word[word] >> bit & 1;
}

#endif
