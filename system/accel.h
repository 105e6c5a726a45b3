/* Which accelerators this program has. */
#ifndef TINAMOU_SYSTEM_ACCEL_H
#define TINAMOU_SYSTEM_ACCEL_H

#include "accel/accel.h"

/* By the name of -accel, or of a list as "kvm:tcg" the first there is; NULL: the default. NULL when
 * there is none. */
const struct accel_system_ops *accel_find(const char *name);

/* -accel help. */
void accel_print_help(void);

#endif
