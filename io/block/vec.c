/* Views of scattered bytes: every function walks the iovec from the view's first byte on. */
#include "io/block/vec.h"

#include <string.h>

struct block_vec block_vec_part(const struct block_vec *vec, size_t offset, size_t size)
{
    struct block_vec part = {.iov = vec->iov, .skip = vec->skip + offset, .size = size};

    while (size && part.skip >= part.iov->iov_len) {
        part.skip -= part.iov->iov_len;
        part.iov++;
    }
    return part;
}

void *block_vec_flat(const struct block_vec *vec)
{
    struct block_vec part = block_vec_part(vec, 0, vec->size);

    if (!part.size || part.iov->iov_len - part.skip < part.size) {
        return NULL;
    }
    return (uint8_t *)part.iov->iov_base + part.skip;
}

/* Cuts the first piece that lies in one element off the view. */
static uint8_t *next_piece(struct block_vec *vec, size_t *size)
{
    while (vec->skip >= vec->iov->iov_len) {
        vec->skip -= vec->iov->iov_len;
        vec->iov++;
    }
    uint8_t *at = (uint8_t *)vec->iov->iov_base + vec->skip;
    size_t left = vec->iov->iov_len - vec->skip;

    *size = left < vec->size ? left : vec->size;
    vec->skip += *size;
    vec->size -= *size;
    return at;
}

void block_vec_get(const struct block_vec *vec, size_t offset, void *to, size_t size)
{
    struct block_vec part = block_vec_part(vec, offset, size);
    uint8_t *at = to;

    while (part.size) {
        size_t n;
        const uint8_t *from = next_piece(&part, &n);

        memcpy(at, from, n);
        at += n;
    }
}

void block_vec_put(const struct block_vec *vec, size_t offset, const void *from, size_t size)
{
    struct block_vec part = block_vec_part(vec, offset, size);
    const uint8_t *at = from;

    while (part.size) {
        size_t n;
        uint8_t *to = next_piece(&part, &n);

        memcpy(to, at, n);
        at += n;
    }
}

void block_vec_fill(const struct block_vec *vec, size_t offset, uint8_t byte, size_t size)
{
    struct block_vec part = block_vec_part(vec, offset, size);

    while (part.size) {
        size_t n;
        uint8_t *to = next_piece(&part, &n);

        memset(to, byte, n);
    }
}

bool block_vec_is_zero(const struct block_vec *vec)
{
    struct block_vec part = *vec;

    while (part.size) {
        size_t n;
        const uint8_t *at = next_piece(&part, &n);

        /* Equal to itself one byte on, and the first is zero. */
        if (at[0] || memcmp(at, at + 1, n - 1) != 0) {
            return false;
        }
    }
    return true;
}

unsigned block_vec_export(const struct block_vec *vec, struct iovec *to, unsigned max,
                          size_t *bytes)
{
    struct block_vec part = *vec;
    unsigned count = 0;

    while (part.size && count < max) {
        size_t n;
        uint8_t *at = next_piece(&part, &n);

        to[count++] = (struct iovec){.iov_base = at, .iov_len = n};
    }
    if (bytes) {
        *bytes = vec->size - part.size;
    }
    return count;
}
