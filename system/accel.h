/* Which accelerator runs the machine: those that the program has, in the order of the options. */
#ifndef TINAMOU_SYSTEM_ACCEL_H
#define TINAMOU_SYSTEM_ACCEL_H

#include "accel/accel.h"
#include "system/options.h"

/*
 * Starts the first accelerator of -accel ("kvm:tcg", or several -accel) that can be had, without
 * the option the target's first: what stands before it in the list is told on stderr. `config` is
 * complete but for its options. 0; or -errno with the line of the last that failed in error[].
 */
int accel_start(const struct system_options *options, struct accel_system_config *config,
                const struct accel_system_ops **accel, char *error, size_t error_size);

/* -accel help. */
void accel_print_help(const struct system_target *target);

#endif
