/* -device: making devices, and help about them. */
#ifndef TINAMOU_SYSTEM_DEVICES_H
#define TINAMOU_SYSTEM_DEVICES_H

#include "hw/machine/machine.h"
#include "system/keyval.h"

/* -device help; TYPE,help; -M TYPE,help. */
void devices_print_types(void);
void devices_print_type_help(const char *type);
void devices_print_machine_help(const char *type);

/* Has the type such a property, itself or by what is inside of it? */
bool devices_has_property(const struct hw_device_type *type, const char *name);

/*
 * Makes and plugs what a list says: driver, id, bus, and properties. 0, or -errno with a line in
 * error[].
 */
int devices_add(struct machine *machine, struct keyval *list, char *error, size_t error_size);

#endif
