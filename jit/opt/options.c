/* The table of optimisations and its parser. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include "jit/opt/options.h"

const struct jit_option_info jit_option_info[] = {
#define JIT_OPTION(opt_name, def, text)                \
    {.name = #opt_name,                                \
     .help = text,                                     \
     .offset = offsetof(struct jit_options, opt_name), \
     .initial = def},
#include "jit/opt/options.def"
#undef JIT_OPTION
    {.name = NULL},
};

static bool *flag_of(struct jit_options *options, const struct jit_option_info *info)
{
    return (bool *)((char *)options + info->offset);
}

void jit_options_init(struct jit_options *options)
{
    for (const struct jit_option_info *info = jit_option_info; info->name; info++) {
        *flag_of(options, info) = info->initial;
    }
}

/* Applies one word; false if it is unknown. */
static bool apply(struct jit_options *options, const char *word, size_t length)
{
    bool value = true, found = false;
    bool every = length == 3 && memcmp(word, "all", 3) == 0;

    if (length == 4 && memcmp(word, "none", 4) == 0) {
        every = true;
        value = false;
    } else if (length > 3 && memcmp(word, "no-", 3) == 0) {
        word += 3;
        length -= 3;
        value = false;
    }
    for (const struct jit_option_info *info = jit_option_info; info->name; info++) {
        if (every || (strlen(info->name) == length && memcmp(info->name, word, length) == 0)) {
            *flag_of(options, info) = value;
            found = true;
        }
    }
    return found;
}

int jit_options_parse(struct jit_options *options, const char *list, const char **bad)
{
    struct jit_options parsed = *options;

    while (*list) {
        size_t length = strcspn(list, ",");

        if (!apply(&parsed, list, length)) {
            *bad = list;
            return -EINVAL;
        }
        list += length;
        if (*list == ',') {
            list++;
        }
    }
    *options = parsed;
    return 0;
}
