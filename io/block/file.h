/* What the drivers of regular files and of host devices share. */
#ifndef TINAMOU_IO_BLOCK_FILE_H
#define TINAMOU_IO_BLOCK_FILE_H

#include "io/block/driver.h"

enum file_aio { FILE_AIO_URING, FILE_AIO_NATIVE, FILE_AIO_THREADS };
enum file_locking { FILE_LOCKING_AUTO, FILE_LOCKING_ON, FILE_LOCKING_OFF };

struct file_options {
    char *filename;
    int aio, locking;
};

struct file_locks {
    int fd;
    bool off;          /* not wanted, or not possible here */
    bool required;     /* locking=on */
    unsigned held;     /* permissions whose bytes are locked */
    unsigned unshared; /* likewise, of what is not shared */
};

struct file_state {
    int fd;
    bool device;
    struct file_locks locks;
    /* What the host turned out not to have; only ever set. */
    bool no_zero_range, no_punch, no_allocate;
    /* A failed flush: nobody knows which pages the host has dropped since (only of its page
     * cache), so no later flush may claim success. */
    int flush_error;
};

extern const struct property file_properties[];

/* Opens the descriptor as the node's flags say. */
int file_open_fd(struct block_node *node, char *error, size_t error_size);
/* Sets alignments for O_DIRECT; `sector` is the device's, 0: to be found out. */
void file_set_alignment(struct block_node *node, uint32_t sector);
void file_close(struct block_node *node);
int file_read(struct block_node *node, uint64_t offset, const struct block_vec *vec);
int file_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
               unsigned flags);
int file_flush(struct block_node *node);
/* fallocate() with what it says when it can't: -ENOTSUP. */
int file_allocate(int fd, int mode, uint64_t offset, uint64_t size);
int file_set_permissions(struct block_node *node, unsigned permissions, unsigned shared,
                         char *error, size_t error_size);
bool file_submit(struct block_node *node, struct block_async *async);

/* file-lock.c: makes the locks be those of these permissions. -EAGAIN with a line in error[] when
 * another process disagrees; then nothing has changed. */
int file_lock_update(struct file_locks *locks, const char *filename, unsigned permissions,
                     unsigned shared, char *error, size_t error_size);

#endif
