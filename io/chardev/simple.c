/*
 * Kinds without another end: null, which takes everything, and ringbuf, which keeps the last bytes
 * for whoever asks (ringbuf-read of a monitor).
 */
#include "io/chardev/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct property null_properties[] = {CHARDEV_PROPERTIES, PROPERTY_END};

static int null_open(struct chardev *chr, char *error, size_t error_size)
{
    chr->open = true;
    return 0;
}

static size_t null_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    return size;
}

const struct chardev_class chardev_null = {
    .name = "null",
    .size = sizeof(struct chardev),
    .properties = null_properties,
    .open = null_open,
    .write = null_write,
};

/* ---- ringbuf --------------------------------------------------------------------------------- */

struct ringbuf {
    struct chardev chr;
    uint64_t size;
    uint8_t *bytes;
    uint64_t produced, consumed; /* totals; at most `size` apart */
};

static const struct property ringbuf_properties[] = {
    PROPERTY(SIZE, "size", struct ringbuf, size, .number = 65536, .min = 1, .max = 1u << 30,
             .help = "bytes that are kept, a power of two"),
    CHARDEV_PROPERTIES,
    PROPERTY_END,
};

static int ringbuf_open(struct chardev *chr, char *error, size_t error_size)
{
    struct ringbuf *ring = (struct ringbuf *)chr;

    if (ring->size & (ring->size - 1)) {
        snprintf(error, error_size, "size=%llu: expected a power of two",
                 (unsigned long long)ring->size);
        return -EINVAL;
    }
    ring->bytes = malloc(ring->size);
    if (!ring->bytes) {
        snprintf(error, error_size, "size=%llu: no memory", (unsigned long long)ring->size);
        return -ENOMEM;
    }
    chr->open = true;
    return 0;
}

static size_t ringbuf_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    struct ringbuf *ring = (struct ringbuf *)chr;

    for (size_t i = 0; i < size; i++) {
        ring->bytes[ring->produced++ & (ring->size - 1)] = bytes[i];
    }
    if (ring->produced - ring->consumed > ring->size) {
        ring->consumed = ring->produced - ring->size;
    }
    return size;
}

static void ringbuf_close(struct chardev *chr)
{
    free(((struct ringbuf *)chr)->bytes);
}

const struct chardev_class chardev_ringbuf = {
    .name = "ringbuf",
    .size = sizeof(struct ringbuf),
    .properties = ringbuf_properties,
    .open = ringbuf_open,
    .write = ringbuf_write,
    .close = ringbuf_close,
};

ssize_t chardev_ringbuf_read(struct chardev *chr, uint8_t *bytes, size_t size)
{
    struct ringbuf *ring = (struct ringbuf *)chr;
    size_t n = 0;

    if (chr->class != &chardev_ringbuf) {
        return -EINVAL;
    }
    for (; n < size && ring->consumed != ring->produced; n++) {
        bytes[n] = ring->bytes[ring->consumed++ & (ring->size - 1)];
    }
    return (ssize_t)n;
}

ssize_t chardev_ringbuf_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    size_t room = chardev_room(chr);

    if (chr->class != &chardev_ringbuf) {
        return -EINVAL;
    }
    size = size < room ? size : room;
    if (size) {
        chardev_deliver(chr, bytes, size);
    }
    return (ssize_t)size;
}
