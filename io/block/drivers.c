/* The table of drivers; a build without some library has fewer. */
#include "io/block/drivers.h"

const char *const block_preallocation_names[] = {"off", "metadata", "falloc", "full", NULL};

const struct block_driver *const block_drivers[] = {
    &block_file, &block_host_device, &block_raw, &block_luks, NULL,
};
