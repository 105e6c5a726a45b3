/* The optimisation switches as the drivers of the translator list them. */
#include <stdio.h>

#include "accel/tcg/tcg.h"
#include "jit/opt/options.h"

void tcg_list_options(void (*line)(void *opaque, const char *text), void *opaque)
{
    char text[160];

    for (const struct jit_option_info *o = jit_option_info; o->name != NULL; o++) {
        snprintf(text, sizeof(text), "%-10s %s%s", o->name, o->help, o->initial ? "" : " (off)");
        line(opaque, text);
    }
}
