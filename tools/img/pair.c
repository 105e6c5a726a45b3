/*
 * Two images next to each other.
 *
 * Where both are known to be zeros nothing is read; where one is, only the other one.
 */
#include "tools/img/pair.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/copy.h"

enum { BUFFER = 2 << 20 };

int img_pair_init(struct img_pair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        if (posix_memalign((void **)&pair->buffer[i], 4096, BUFFER)) {
            pair->buffer[i] = NULL;
            return -ENOMEM;
        }
    }
    return 0;
}

void img_pair_clear(struct img_pair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        free(pair->buffer[i]);
        if (pair->node[i]) {
            block_unref(pair->node[i]);
        }
    }
}

uint64_t img_pair_size(const struct img_pair *pair)
{
    uint64_t a = block_size(pair->node[0]), b = block_size(pair->node[1]);

    return a > b ? a : b;
}

/* Of one image; behind its end there are zeros. */
static int status_of(const struct img_pair *pair, unsigned i, uint64_t at, uint64_t *size,
                     unsigned *flags)
{
    struct block_node *node = pair->node[i];
    struct block_status status;
    int err;

    if (at >= block_size(node)) {
        *flags = BLOCK_STATUS_ZERO;
        return 0;
    }
    err = block_status_above(node, NULL, at, *size, &status);
    if (err) {
        img_fail("%s: error while reading metadata at byte %" PRIu64 ": %s", pair->name[i], at,
                 strerror(-err));
        return err;
    }
    *size = status.size;
    *flags = status.flags;
    return 0;
}

/* The first unit of which one is not what `same` says. */
static size_t until_change(const struct img_pair *pair, size_t size, size_t unit, bool *same)
{
    const uint8_t *a = pair->buffer[0], *b = pair->buffer[1];

    *same = memcmp(a, b, size < unit ? size : unit) == 0;
    for (size_t at = unit; at < size; at += unit) {
        if ((memcmp(a + at, b + at, size - at < unit ? size - at : unit) == 0) != *same) {
            return at;
        }
    }
    return size;
}

int img_pair_next(struct img_pair *pair, uint64_t at, uint64_t unit, struct img_pair_range *range)
{
    uint64_t size = img_pair_size(pair) - at;

    *range = (struct img_pair_range){0};
    for (unsigned i = 0; i < 2; i++) {
        int err = status_of(pair, i, at, &size, &range->flags[i]);

        if (err) {
            return err;
        }
    }
    if ((range->flags[0] & BLOCK_STATUS_ZERO) && (range->flags[1] & BLOCK_STATUS_ZERO)) {
        range->size = size;
        range->same = true;
        return 0;
    }
    size = size < BUFFER ? size : BUFFER;
    for (unsigned i = 0; i < 2; i++) {
        int err = 0;

        if (range->flags[i] & BLOCK_STATUS_ZERO) {
            memset(pair->buffer[i], 0, (size_t)size);
        } else {
            err = block_pread(pair->node[i], at, pair->buffer[i], (size_t)size);
        }
        if (err) {
            img_fail("Error while reading offset %" PRIu64 " of %s: %s", at, pair->name[i],
                     strerror(-err));
            return err;
        }
    }
    range->size = until_change(pair, (size_t)size, (size_t)unit, &range->same);
    return 0;
}
