/*
 * Numbers of a qcow2 image, which are big-endian and of any alignment.
 */
#ifndef TINAMOU_IO_BLOCK_QCOW2_ENDIAN_H
#define TINAMOU_IO_BLOCK_QCOW2_ENDIAN_H

#include <stdint.h>
#include <string.h>

static inline uint16_t qcow2_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t qcow2_be32(const uint8_t *p)
{
    uint32_t x;

    memcpy(&x, p, sizeof(x));
    return __builtin_bswap32(x);
}

static inline uint64_t qcow2_be64(const uint8_t *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof(x));
    return __builtin_bswap64(x);
}

static inline void qcow2_put16(uint8_t *p, uint16_t x)
{
    p[0] = (uint8_t)(x >> 8);
    p[1] = (uint8_t)x;
}

static inline void qcow2_put32(uint8_t *p, uint32_t x)
{
    x = __builtin_bswap32(x);
    memcpy(p, &x, sizeof(x));
}

static inline void qcow2_put64(uint8_t *p, uint64_t x)
{
    x = __builtin_bswap64(x);
    memcpy(p, &x, sizeof(x));
}

#endif
