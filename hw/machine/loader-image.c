/*
 * Kernel images: what they are wrapped in, and the header of RISC-V's own format.
 *
 * Unpacking streams into a buffer that doubles, up to a limit, so that a few hostile bytes cannot
 * ask for more memory than the guest has. Distributions wrap twice: an EFI program ("zimg") around
 * gzip or zstd.
 */
#include "hw/machine/loader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

#define WRAPPINGS_MAX 4

/* Offsets of the EFI self-extractor's header (Linux: drivers/firmware/efi/libstub/zboot-header.S).
 */
#define ZBOOT_MAGIC  4
#define ZBOOT_OFFSET 8
#define ZBOOT_SIZE   12
#define ZBOOT_METHOD 24
#define ZBOOT_HEADER 64

/* Offsets of the RISC-V header. */
#define IMAGE_TEXT_OFFSET 8
#define IMAGE_SIZE        16
#define IMAGE_FLAGS       24
#define IMAGE_MAGIC2      56
#define IMAGE_HEADER      64

static uint64_t get_le(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;

    while (size--) {
        value = value << 8 | bytes[size];
    }
    return value;
}

static int fail(const struct loader_file *file, const char *why, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s %s: %s", file->what, file->path, why);
    return -EINVAL;
}

struct buffer {
    uint8_t *data;
    uint64_t size, room, limit;
};

/* Makes room for more; false at the limit. */
static bool grow(struct buffer *buffer)
{
    uint64_t room = buffer->room ? buffer->room * 2 : 1 << 20;
    uint8_t *data;

    if (room > buffer->limit) {
        room = buffer->limit;
    }
    data = room > buffer->room ? realloc(buffer->data, room) : NULL;
    if (!data) {
        return false;
    }
    buffer->data = data;
    buffer->room = room;
    return true;
}

/* Both unpackers return NULL, or why not. Bytes behind the end of the stream are ignored. */
static const char *unpack_gzip(const uint8_t *from, uint64_t size, struct buffer *to)
{
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)from};
    uint64_t left = size;
    int result = Z_OK;
    const char *why = NULL;

    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) {
        return "out of memory";
    }
    while (result != Z_STREAM_END && !why) {
        unsigned before, in;

        if (to->size == to->room && !grow(to)) {
            why = "is too large when unpacked";
            break;
        }
        in = left > 1 << 30 ? 1 << 30 : (unsigned)left;
        z.avail_in = in;
        z.next_out = to->data + to->size;
        before = to->room - to->size > 1 << 30 ? 1 << 30 : (unsigned)(to->room - to->size);
        z.avail_out = before;
        result = inflate(&z, Z_NO_FLUSH);
        to->size += before - z.avail_out;
        left -= in - z.avail_in;
        if (result != Z_STREAM_END && (result != Z_OK || (left == 0 && z.avail_out != 0))) {
            why = "its gzip data is damaged or cut off";
        }
    }
    inflateEnd(&z);
    return why;
}

static const char *unpack_zstd(const uint8_t *from, uint64_t size, struct buffer *to)
{
    ZSTD_DStream *z = ZSTD_createDStream();
    ZSTD_inBuffer in = {from, size, 0};
    const char *why = z ? NULL : "out of memory";
    size_t result = 1;

    while (result != 0 && !why) {
        ZSTD_outBuffer out;

        if (to->size == to->room && !grow(to)) {
            why = "is too large when unpacked";
            break;
        }
        out = (ZSTD_outBuffer){to->data + to->size, to->room - to->size, 0};
        result = ZSTD_decompressStream(z, &out, &in);
        to->size += out.pos;
        if (ZSTD_isError(result) || (result != 0 && in.pos == in.size && out.pos < out.size)) {
            why = "its zstd data is damaged or cut off";
        }
    }
    ZSTD_freeDStream(z);
    return why;
}

typedef const char *unpack_fn(const uint8_t *from, uint64_t size, struct buffer *to);

static unpack_fn *find_unpacker(const uint8_t *data, uint64_t size)
{
    if (size >= 18 && data[0] == 0x1f && data[1] == 0x8b && data[2] == 8) {
        return unpack_gzip;
    }
    if (size >= 8 && get_le(data, 4) == 0xfd2fb528) {
        return unpack_zstd;
    }
    return NULL;
}

/* Replaces the file's content by what data[] holds packed. */
static int replace(struct loader_file *file, unpack_fn *unpack, const uint8_t *data, uint64_t size,
                   uint64_t limit, char *error, size_t error_size)
{
    struct buffer to = {.limit = limit};
    const char *why = unpack(data, size, &to);

    if (!why && to.size == 0) {
        why = "is empty when unpacked";
    }
    if (why) {
        free(to.data);
        return fail(file, why, error, error_size);
    }
    loader_close(file);
    file->data = to.data;
    file->size = to.size;
    file->mapped = false;
    return 0;
}

static bool is_zboot(const struct loader_file *file)
{
    return file->size >= ZBOOT_HEADER && memcmp(file->data, "MZ", 2) == 0 &&
           memcmp(file->data + ZBOOT_MAGIC, "zimg", 4) == 0;
}

int loader_unpack(struct loader_file *file, uint64_t limit, char *error, size_t error_size)
{
    for (unsigned i = 0; i < WRAPPINGS_MAX; i++) {
        const uint8_t *data = file->data;
        uint64_t size = file->size;
        unpack_fn *unpack;
        int err;

        if (is_zboot(file)) {
            uint64_t offset = get_le(data + ZBOOT_OFFSET, 4);

            size = get_le(data + ZBOOT_SIZE, 4);
            if (offset > file->size || size > file->size - offset) {
                return fail(file, "its compressed part is cut off", error, error_size);
            }
            data += offset;
            unpack = find_unpacker(data, size);
            if (!unpack) {
                snprintf(error, error_size,
                         "%s %s: is compressed by '%.16s', expected gzip or zstd", file->what,
                         file->path, (const char *)file->data + ZBOOT_METHOD);
                return -EINVAL;
            }
        } else {
            unpack = find_unpacker(data, size);
        }
        if (!unpack) {
            return 0;
        }
        err = replace(file, unpack, data, size, limit, error, error_size);
        if (err) {
            return err;
        }
    }
    return fail(file, "is packed too many times", error, error_size);
}

int loader_riscv_image(const struct loader_file *file, struct loader_riscv_image *image,
                       char *error, size_t error_size)
{
    const uint8_t *header = file->data;

    if (file->size < IMAGE_HEADER || memcmp(header + IMAGE_MAGIC2, "RSC\x05", 4) != 0) {
        return -ENOENT;
    }
    if (get_le(header + IMAGE_FLAGS, 8) & 1) {
        return fail(file, "is a big-endian kernel", error, error_size);
    }
    image->text_offset = get_le(header + IMAGE_TEXT_OFFSET, 8);
    image->image_size = get_le(header + IMAGE_SIZE, 8);
    /* Before Linux 5.x the size was left 0. */
    if (image->image_size == 0) {
        image->image_size = file->size;
    }
    if (image->image_size < file->size || image->image_size > UINT64_MAX / 4 ||
        image->text_offset > UINT32_MAX) {
        return fail(file, "its header gives a wrong size or offset", error, error_size);
    }
    return 0;
}
