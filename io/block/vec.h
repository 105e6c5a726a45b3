/*
 * A view of bytes that are scattered over an iovec: what reads and writes carry.
 *
 * It owns nothing and allocates nothing; parts of it are cut without touching the iovec. The
 * functions trust that the ranges they are given lie inside of the view: callers have checked.
 */
#ifndef TINAMOU_IO_BLOCK_VEC_H
#define TINAMOU_IO_BLOCK_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* `size` bytes, beginning at byte `skip` of iov[0], which has more than that unless size is 0. */
struct block_vec {
    const struct iovec *iov;
    size_t skip, size;
};

/* The view of one buffer; *iov is filled, and lives as long as the view. */
static inline struct block_vec block_vec_of(struct iovec *iov, const void *buffer, size_t size)
{
    *iov = (struct iovec){.iov_base = (void *)buffer, .iov_len = size};
    return (struct block_vec){.iov = iov, .skip = 0, .size = size};
}

/* The bytes [offset, offset + size) of a view. */
struct block_vec block_vec_part(const struct block_vec *vec, size_t offset, size_t size);

/* The address of the bytes when they lie in one piece, else NULL. */
void *block_vec_flat(const struct block_vec *vec);

/* Copies the view's bytes from `offset` on to or from a buffer. */
void block_vec_get(const struct block_vec *vec, size_t offset, void *to, size_t size);
void block_vec_put(const struct block_vec *vec, size_t offset, const void *from, size_t size);
/* Stores `size` times the byte. */
void block_vec_fill(const struct block_vec *vec, size_t offset, uint8_t byte, size_t size);
/* Is every byte zero? */
bool block_vec_is_zero(const struct block_vec *vec);

/*
 * The same bytes as an iovec of at most `max` elements for system calls; returns how many were
 * used, and in *bytes (may be NULL) how much of the view they cover.
 */
unsigned block_vec_export(const struct block_vec *vec, struct iovec *to, unsigned max,
                          size_t *bytes);

#endif
