/* The filter "blkdebug", as tests see it. */
#ifndef TINAMOU_IO_BLOCK_BLKDEBUG_H
#define TINAMOU_IO_BLOCK_BLKDEBUG_H

#include "io/block/driver.h"

/* How many requests have come to a node of this driver, failed ones included. */
uint64_t blkdebug_requests(const struct block_node *node);

/* From now on fail-request and fail-from mean nothing: there is room again. Any thread. */
void blkdebug_heal(struct block_node *node);

#endif
