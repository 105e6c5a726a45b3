/* Networks and the cards on them: -netdev, -nic, -net. */
#ifndef TINAMOU_SYSTEM_NICS_H
#define TINAMOU_SYSTEM_NICS_H

#include "system/options.h"

struct loop;

/* Makes the networks. 0, or -errno with a line in error[]. */
int nics_open(const struct system_options *options, struct loop *loop, char *error,
              size_t error_size);

/* Makes the cards of -nic and of -net nic. */
int nics_add_devices(const struct system_options *options, struct machine *machine, char *error,
                     size_t error_size);

#endif
