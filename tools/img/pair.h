/* Two images next to each other: where they are the same. */
#ifndef TINAMOU_TOOLS_IMG_PAIR_H
#define TINAMOU_TOOLS_IMG_PAIR_H

#include "tools/img/img.h"

struct img_pair {
    struct block_node *node[2];
    uint8_t *buffer[2];
    const char *name[2];
};

/* What a range of both is. */
struct img_pair_range {
    uint64_t size;
    bool same;
    unsigned flags[2]; /* BLOCK_STATUS_* */
};

/* 0 or -ENOMEM. */
int img_pair_init(struct img_pair *pair);
/* Closes what is open. */
void img_pair_clear(struct img_pair *pair);
/* The size of the larger one; the smaller one reads as zeros behind its end. */
uint64_t img_pair_size(const struct img_pair *pair);

/* What begins at `at`, in sectors of 512 bytes; `unit` is the smallest size of what is not the
 * same. 0 or -errno, and a message was printed. */
int img_pair_next(struct img_pair *pair, uint64_t at, uint64_t unit, struct img_pair_range *range);

#endif
