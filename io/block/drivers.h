/* Every driver, for the table. */
#ifndef TINAMOU_IO_BLOCK_DRIVERS_H
#define TINAMOU_IO_BLOCK_DRIVERS_H

#include "io/block/driver.h"

extern const struct block_driver block_blkdebug;
extern const struct block_driver block_copy_on_read;
extern const struct block_driver block_file;
extern const struct block_driver block_host_device;
extern const struct block_driver block_luks;
extern const struct block_driver block_null_aio;
extern const struct block_driver block_null_co;
extern const struct block_driver block_parallels;
extern const struct block_driver block_qcow2;
extern const struct block_driver block_raw;
extern const struct block_driver block_record;
extern const struct block_driver block_throttle;
extern const struct block_driver block_vdi;
extern const struct block_driver block_vhdx;
extern const struct block_driver block_vmdk;
extern const struct block_driver block_vpc;

#endif
