/*
 * Which optimisations are on: a flag each, from options.def. Results never depend on them.
 */
#ifndef TINAMOU_JIT_OPT_OPTIONS_H
#define TINAMOU_JIT_OPT_OPTIONS_H

#include <stdbool.h>

struct jit_options {
#define JIT_OPTION(name, def, help) bool name;
#include "jit/opt/options.def"
#undef JIT_OPTION
};

struct jit_option_info {
    const char *name;
    const char *help;
    unsigned offset; /* of the flag in struct jit_options */
    bool initial;
};
/* All options; the last has no name. */
extern const struct jit_option_info jit_option_info[];

/* All at their defaults. */
void jit_options_init(struct jit_options *options);

/* Applies a list such as "no-cse,ras,none" in order (`none` and `all` switch every option). Returns
 * 0, or -EINVAL with the unknown word's start in *bad. */
int jit_options_parse(struct jit_options *options, const char *list, const char **bad);

#endif
