/* Every driver, for the table. */
#ifndef TINAMOU_IO_BLOCK_DRIVERS_H
#define TINAMOU_IO_BLOCK_DRIVERS_H

#include "io/block/driver.h"

extern const struct block_driver block_file;
extern const struct block_driver block_host_device;
extern const struct block_driver block_luks;
extern const struct block_driver block_raw;

#endif
