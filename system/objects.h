/* -object: memory back ends, sources of random numbers, secrets, threads for I/O. */
#ifndef TINAMOU_SYSTEM_OBJECTS_H
#define TINAMOU_SYSTEM_OBJECTS_H

#include "system/options.h"

/* Makes them all, in order. 0, or -errno with a line in error[]. */
int objects_create(const struct system_options *options, char *error, size_t error_size);

/* The memory of an object; no reference. NULL: there is no memory object of that id. */
struct mem_ram *objects_memory(const char *id);

/* At the end of the process, when devices are gone. */
void objects_destroy(void);

#endif
