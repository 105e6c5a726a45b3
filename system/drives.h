/*
 * Disks by -drive, -blockdev, -hda and the like: block nodes, and which device gets them.
 *
 * The id of a -drive is the name of its node unless it has one of its own, so devices find both
 * kinds by block_find().
 */
#ifndef TINAMOU_SYSTEM_DRIVES_H
#define TINAMOU_SYSTEM_DRIVES_H

#include "system/options.h"

/* Opens them all, in order; flash images go to the machine. 0, or -errno with a line in error[]. */
int drives_open(const struct system_options *options, struct machine *machine, char *error,
                size_t error_size);

/* Makes devices for those that have an interface of the machine's choice. */
int drives_add_devices(struct machine *machine, char *error, size_t error_size);

/*
 * What -drive says of a disk that belongs to the device: "drive", "werror" and "rerror" are
 * added to the device's list as far as its type has them and it does not say them
 * itself.
 */
int drives_complete_device(struct keyval *list, const struct hw_device_type *type, char *error,
                           size_t error_size);

/* Lets go of the nodes: they are flushed and closed. Devices are gone. */
void drives_close(void);

#endif
