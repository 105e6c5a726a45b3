/* Making images from what a person types: tools and blockdev-create. */
#ifndef TINAMOU_IO_BLOCK_CREATE_H
#define TINAMOU_IO_BLOCK_CREATE_H

#include "io/block/driver.h"

struct block_create_request {
    const char *filename;
    const char *format;         /* NULL: raw */
    const char *options;        /* "cluster_size=64k,compat=1.1", or NULL */
    uint64_t size;              /* virtual, in bytes */
    bool has_size;              /* else the backing file's */
    const char *backing;        /* file name as it will stand in the image, or NULL */
    const char *backing_format; /* or NULL: then the backing file may not be probed by others */
    bool unsafe_backing;        /* do not look at the backing file */
};

/*
 * Makes an image; what was in the file is gone. Options "size", "backing_file" and "backing_fmt"
 * are understood, and take the place of the request's. The size is in the request afterwards. 0 or
 * -errno with a line in error[]. A file that did not exist before is removed again when it fails.
 * Main loop's thread.
 */
int block_create_image(struct block_create_request *request, char *error, size_t error_size);

#endif
