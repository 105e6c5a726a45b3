/*
 * Copying the contents of images into another one, by several threads.
 */
#ifndef TINAMOU_TOOLS_IMG_COPY_H
#define TINAMOU_TOOLS_IMG_COPY_H

#include "tools/img/img.h"

struct img_copy {
    /* Sources come one behind the other, each a whole number of sectors. */
    struct block_node *const *sources;
    unsigned source_count;
    struct block_node *target;
    unsigned workers;
    uint64_t start, total; /* copied is [start, total) of them all */
    uint64_t sparse;       /* runs of zeros from this size on are not written; 0: all are */
    uint64_t granule;      /* of the target: clusters are not cut into zeros and data */
    uint64_t zero_from;    /* the target reads as zeros from here on, if it was not written */
    uint64_t rate;         /* bytes per second; 0: no limit */
    bool compressed;       /* `granule` is a cluster; what is written is whole ones */
    bool in_order;         /* writes come in the order of offsets */
    bool top_only;         /* what the sources' top layers do not have, the target's backing has */
    bool salvage;          /* what can't be read is zeros */

    struct img_progress *progress;
    /* Called now and then, when everything below `done` has been written; may be NULL. Not 0: ends
     * the copy with that. The thread that called img_copy_run(). */
    int (*checkpoint)(void *opaque, uint64_t done);
    void *opaque;

    /* Results. */
    uint64_t done; /* everything below it is written */
};

/* 0, -EINTR when a signal came, or -errno with a line in error[]. */
int img_copy_run(struct img_copy *copy, char *error, size_t error_size);

/* Reads [at, at + size) of the sources; 0 or -errno. */
int img_copy_read(const struct img_copy *copy, uint64_t at, uint8_t *buffer, size_t size);

/* Is every byte zero? */
bool img_is_zero(const uint8_t *bytes, size_t size);

#endif
