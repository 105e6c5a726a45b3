/* What the edge has to know of the filter "throttle". */
#ifndef TINAMOU_IO_BLOCK_THROTTLE_FILTER_H
#define TINAMOU_IO_BLOCK_THROTTLE_FILTER_H

#include "io/block/throttle.h"

/* The group of such a filter; NULL for any other node. */
struct throttle_group *throttle_filter_group(const struct block_node *node);

#endif
