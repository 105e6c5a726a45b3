/* Extensions as programs ask for them; see the header. */
#include "linux-user/riscv/isa.h"

#include <stdio.h>

void riscv_isa_string(const struct rv_ext_set *set, char *text, size_t size)
{
    static const char *const names[] = {
#define RV_EXT(id, name, help) name,
#include "target/riscv/extensions.def"
#undef RV_EXT
    };
    size_t used = (size_t)snprintf(text, size, "rv64");

    /* Single letters first, in the order of the table, which is the canonical one. */
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < RV_EXT_COUNT; i++) {
            const bool letter = names[i][1] == 0;
            if (rv_has(set, (enum rv_ext)i) && letter == (pass == 0) && used < size) {
                used +=
                    (size_t)snprintf(text + used, size - used, "%s%s", letter ? "" : "_", names[i]);
            }
        }
    }
}
