/*
 * The filter "record": notes every change to what is below it, in order and with its data, so that
 * a test can make what a power failure would have left at any moment.
 */
#ifndef TINAMOU_IO_BLOCK_RECORD_H
#define TINAMOU_IO_BLOCK_RECORD_H

#include "io/block/driver.h"

struct record_entry {
    enum block_request_kind kind; /* WRITE, FLUSH, DISCARD or ZERO */
    bool fua, resize;             /* resize: `size` is the new size, kind is meaningless ... */
    bool grow;                    /* ... or it is longer already */
    uint64_t offset, size;
    uint8_t *data; /* of WRITE */
};

/* The node is of the driver "record". How many entries there are; how many requests have come
 * without a worker. */
size_t record_count(const struct block_node *node);
size_t record_submitted(const struct block_node *node);
/* One of the entries. Nothing is under way. */
const struct record_entry *record_get(const struct block_node *node, size_t index);

/*
 * Applies the first `count` entries to a file that is as it was before the recording. What was
 * written before the last flush among them is applied wholly; of what came after it (which has no
 * FUA), each sector of 512 bytes reaches the file or not, as `seed` has it. 0 or -errno.
 */
int record_replay(const struct block_node *node, size_t count, uint32_t seed, const char *path);

#endif
