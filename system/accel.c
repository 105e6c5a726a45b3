/* The accelerators that are linked in; the first is the default. */
#include "system/accel.h"

#include <stdio.h>
#include <string.h>

static const struct accel_system_ops *const accels[] = {&accel_system_tcg};

#define ACCELS (sizeof(accels) / sizeof(accels[0]))

const struct accel_system_ops *accel_find(const char *name)
{
    if (!name) {
        return accels[0];
    }
    while (*name) {
        size_t length = strcspn(name, ":");

        for (unsigned i = 0; i < ACCELS; i++) {
            if (strlen(accels[i]->name) == length && !strncmp(accels[i]->name, name, length)) {
                return accels[i];
            }
        }
        name += length + (name[length] == ':');
    }
    return NULL;
}

void accel_print_help(void)
{
    puts("Accelerators:");
    for (unsigned i = 0; i < ACCELS; i++) {
        printf("%-8s %s\n", accels[i]->name, accels[i]->help);
    }
}
