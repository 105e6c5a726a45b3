/* Optimisation lists: defaults, words in order, and what is refused. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "jit/opt/options.h"

static unsigned failed;

static void result(bool good, const char *what)
{
    printf("%sok - %s\n", good ? "" : "not ", what);
    failed += !good;
}

/* How many options are on. */
static unsigned count_on(const struct jit_options *options)
{
    unsigned n = 0;

    for (const struct jit_option_info *info = jit_option_info; info->name; info++) {
        n += *((const bool *)options + info->offset);
    }
    return n;
}

static unsigned count_all(void)
{
    unsigned n = 0;

    while (jit_option_info[n].name) {
        n++;
    }
    return n;
}

int main(void)
{
    struct jit_options options;
    const char *bad = NULL;
    const char *list;
    bool good = true;

    memset(&options, 0, sizeof(options));
    jit_options_init(&options);
    for (const struct jit_option_info *info = jit_option_info; info->name; info++) {
        good &= *((const bool *)&options + info->offset) == info->initial;
    }
    result(good && options.fold && options.cse, "defaults");
    result(count_all() == sizeof(struct jit_options), "every flag has a row");

    result(jit_options_parse(&options, "none", &bad) == 0 && count_on(&options) == 0, "none");
    result(jit_options_parse(&options, "all", &bad) == 0 && count_on(&options) == count_all(),
           "all");
    result(jit_options_parse(&options, "no-cse", &bad) == 0 && !options.cse &&
               count_on(&options) == count_all() - 1,
           "one off");
    result(jit_options_parse(&options, "no-cse,ras,none,dce", &bad) == 0 && options.dce &&
               count_on(&options) == 1,
           "words apply in order");
    result(jit_options_parse(&options, "", &bad) == 0 && count_on(&options) == 1,
           "an empty list changes nothing");

    list = "fold,no-csi,cse";
    result(jit_options_parse(&options, list, &bad) == -EINVAL && bad == list + 5,
           "an unknown word is refused, and named");
    result(count_on(&options) == 1 && options.dce, "a refused list changes nothing");
    list = "fol";
    result(jit_options_parse(&options, list, &bad) == -EINVAL && bad == list,
           "a beginning of a name is no name");
    list = "folder";
    result(jit_options_parse(&options, list, &bad) == -EINVAL && bad == list,
           "nor is what begins with one");
    list = "fold,,cse";
    result(jit_options_parse(&options, list, &bad) == -EINVAL && bad == list + 5,
           "an empty word is refused");
    list = "no-none";
    result(jit_options_parse(&options, list, &bad) == -EINVAL && bad == list, "no-none");
    return failed != 0;
}
