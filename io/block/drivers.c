/* The table of drivers; a build without some library has fewer. */
#include "io/block/drivers.h"

const char *const block_error_policy_names[] = {"report", "ignore", "stop", "enospc", NULL};
const char *const block_preallocation_names[] = {"off", "metadata", "falloc", "full", NULL};

/* One row each: clang-format would fill lines. */
/* clang-format off */
const struct block_driver *const block_drivers[] = {
    &block_file,
    &block_host_device,
    &block_qcow2,
    &block_raw,
    &block_luks,
    &block_vmdk,
    &block_vpc,
    &block_vdi,
    &block_vhdx,
    &block_parallels,
    &block_throttle,
    &block_copy_on_read,
    &block_null_co,
    &block_null_aio,
    &block_blkdebug,
    &block_record,
    NULL,
};
/* clang-format on */
