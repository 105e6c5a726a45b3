/* What the two halves of the vmdk driver share: the layout, and the text descriptor. */
#ifndef TINAMOU_IO_BLOCK_VMDK_H
#define TINAMOU_IO_BLOCK_VMDK_H

#include "io/block/driver.h"

#define VMDK_SECTOR         512
#define VMDK_HEADER_SIZE    512
#define VMDK_MAGIC          0x564d444bu /* "KDMV" */
#define VMDK_GRAIN          128         /* sectors of a grain, in images made here */
#define VMDK_TABLE          512         /* entries of a grain table */
#define VMDK_FLAG_NEWLINES  1u
#define VMDK_FLAG_REDUNDANT 2u
#define VMDK_FLAG_ZEROED    4u
#define VMDK_FLAG_DEFLATE   0x10000u
#define VMDK_FLAG_MARKERS   0x20000u
#define VMDK_DESCRIPTOR_MAX (1u << 20)

struct vmdk_descriptor {
    char *text;
    size_t size;      /* of the room that it has */
    uint64_t offset;  /* in the file */
    char type[64];    /* createType */
    char parent[512]; /* parentFileNameHint, or empty */
    /* The only extent. */
    uint64_t sectors; /* 0: there is no extent */
    char kind[16];    /* SPARSE, FLAT, ... */
    char extent[512]; /* its file */
    uint64_t start;   /* of FLAT: the sector where it begins */
    unsigned extents;
};

/* Reads `size` bytes and takes apart what is there, which is hostile. -EINVAL with a line. */
int vmdk_descriptor_read(struct block_node *node, struct vmdk_descriptor *d, uint64_t offset,
                         size_t size, char *error, size_t error_size);
void vmdk_descriptor_free(struct vmdk_descriptor *d);
/* A new content id, as each writer leaves one. */
int vmdk_descriptor_new_cid(struct block_node *node, const struct vmdk_descriptor *d);

struct vmdk_create_options {
    int adapter, subformat;
    bool zeroed_grain;
};
extern const struct property vmdk_create_properties[];
int vmdk_create(const struct block_create *create, const void *options, char *error,
                size_t error_size);

#endif
