/* Numbers in the headers of images, at any alignment. */
#ifndef TINAMOU_IO_BLOCK_BYTES_H
#define TINAMOU_IO_BLOCK_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t bytes_le16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t bytes_le32(const uint8_t *at)
{
    return bytes_le16(at) | (uint32_t)bytes_le16(at + 2) << 16;
}

static inline uint64_t bytes_le64(const uint8_t *at)
{
    return bytes_le32(at) | (uint64_t)bytes_le32(at + 4) << 32;
}

static inline uint16_t bytes_be16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t bytes_be32(const uint8_t *at)
{
    return __builtin_bswap32(bytes_le32(at));
}

static inline uint64_t bytes_be64(const uint8_t *at)
{
    return __builtin_bswap64(bytes_le64(at));
}

static inline void bytes_put_le16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void bytes_put_le32(uint8_t *at, uint32_t value)
{
    bytes_put_le16(at, (uint16_t)value);
    bytes_put_le16(at + 2, (uint16_t)(value >> 16));
}

static inline void bytes_put_le64(uint8_t *at, uint64_t value)
{
    bytes_put_le32(at, (uint32_t)value);
    bytes_put_le32(at + 4, (uint32_t)(value >> 32));
}

static inline void bytes_put_be16(uint8_t *at, uint16_t value)
{
    bytes_put_le16(at, __builtin_bswap16(value));
}

static inline void bytes_put_be32(uint8_t *at, uint32_t value)
{
    bytes_put_le32(at, __builtin_bswap32(value));
}

static inline void bytes_put_be64(uint8_t *at, uint64_t value)
{
    bytes_put_le64(at, __builtin_bswap64(value));
}

/* Text in a field of so many bytes: without an end when it fills it, and what follows it is left.
 */
static inline void bytes_put_text(uint8_t *at, const char *text, size_t size)
{
    for (size_t i = 0; i < size && text[i]; i++) {
        at[i] = (uint8_t)text[i];
    }
}

#endif
