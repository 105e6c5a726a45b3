/* From options to a machine that is ready to go: vCPUs, memory, settings. */
#ifndef TINAMOU_SYSTEM_SETUP_H
#define TINAMOU_SYSTEM_SETUP_H

#include "accel/accel.h"
#include "system/options.h"

/* -smp. 0, or -EINVAL with a line in error[]. */
int setup_smp(const char *text, unsigned max, struct machine_smp *smp, char *error,
              size_t error_size);

/* -rtc: what is added to the host's clock, in nanoseconds. */
int setup_rtc(const char *text, int64_t *offset, char *error, size_t error_size);

/* -uuid, of which the form is right, as 16 bytes; NULL: zeros. */
void setup_uuid(const char *text, uint8_t uuid[16]);

/* -global, as a list that machines take: ends with a NULL type. */
int setup_globals(const struct option_list *options, struct machine_default **list, char *error,
                  size_t error_size);

/* The machine's RAM: of an object, of -mem-path, or its own. */
int setup_memory(const struct system_options *options, struct machine *machine, char *error,
                 size_t error_size);

/* Starts the accelerator, *accel, and makes vCPUs with model and wiring, into machine->cpus. */
int setup_cpus(const struct system_options *options, struct machine *machine,
               const struct accel_system_ops **accel, char *error, size_t error_size);

#endif
