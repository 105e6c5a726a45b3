/*
 * Choosing among the accelerators that are linked in. A list is tried from the front, since only
 * starting one shows whether the host has what it needs.
 */
#include "system/accel.h"

#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct accel_system_ops *find(const struct system_target *target, const char *name,
                                           size_t length)
{
    for (unsigned i = 0; target->accels[i]; i++) {
        const char *has = target->accels[i]->name;

        if (strlen(has) == length && strncmp(has, name, length) == 0) {
            return target->accels[i];
        }
    }
    return NULL;
}

static int start(const struct system_target *target, struct accel_system_config *config,
                 const char *name, size_t length, const struct accel_system_ops **accel,
                 char *error, size_t error_size)
{
    *accel = find(target, name, length);
    if (!*accel) {
        snprintf(error, error_size,
                 "-accel %.*s: cannot be had for %s guests here: expected %s (-accel help)",
                 (int)length, name, target->name, target->accels[0]->name);
        return -ENOENT;
    }
    return (*accel)->init(config, error, error_size);
}

int accel_start(const struct system_options *options, struct accel_system_config *config,
                const struct accel_system_ops **accel, char *error, size_t error_size)
{
    const struct system_target *target = options->target;
    int err = -ENOENT;

    if (options->accels.count == 0) {
        const char *name = target->accels[0]->name;

        return start(target, config, name, strlen(name), accel, error, error_size);
    }
    for (unsigned i = 0; i < options->accels.count && err; i++) {
        const char *name = options->accels.text[i];
        const char *end = name + strcspn(name, ","), *next;

        config->options = *end ? end + 1 : NULL;
        for (; name < end && err; name = next) {
            size_t length = strcspn(name, ":,");

            next = name + length + (name[length] == ':');
            err = start(target, config, name, length, accel, error, error_size);
            if (err && (next < end || i + 1 < options->accels.count)) {
                error_report("%s", error);
            }
        }
    }
    return err;
}

void accel_print_help(const struct system_target *target)
{
    puts("Accelerators:");
    for (unsigned i = 0; target->accels[i]; i++) {
        printf("%-8s %s\n", target->accels[i]->name, target->accels[i]->help);
    }
}
