/*
 * Compression types ("Compression type" of the header).
 *
 * zlib means raw deflate streams (RFC 1951) with distances of at most 4 KiB. They are written by
 * ISA-L, which is some seven times as fast as zlib at its usual level, for streams a fifteenth
 * longer; and read by zlib, because what is in an image may be hostile and its code is C that the
 * sanitizers see into.
 */
#include "io/block/qcow2/pack.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include <isa-l/igzip_lib.h>
#include <zlib.h>
#include <zstd.h>

#define WINDOW_BITS      12
#define READ_WINDOW_BITS (-15) /* raw; others' distances may be longer */

/* What packing and unpacking need besides the clusters is a megabyte or so, which each thread
 * keeps: to get it anew for each cluster took 5 to 15 per cent of the time. */
struct tables {
    ZSTD_CCtx *zstd_pack;
    ZSTD_DCtx *zstd_unpack;
    uint8_t *deflate;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key;

static void free_tables(void *opaque)
{
    struct tables *t = opaque;

    ZSTD_freeCCtx(t->zstd_pack);
    ZSTD_freeDCtx(t->zstd_unpack);
    free(t->deflate);
    free(t);
}

static void make_key(void)
{
    have_key = pthread_key_create(&key, free_tables) == 0;
}

/* NULL: out of memory. */
static struct tables *my_tables(void)
{
    struct tables *t;

    pthread_once(&once, make_key);
    if (!have_key) {
        return NULL;
    }
    t = pthread_getspecific(key);
    if (!t) {
        t = calloc(1, sizeof(*t));
        if (t && pthread_setspecific(key, t) != 0) {
            free(t);
            t = NULL;
        }
    }
    return t;
}

static int unpack_zlib(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
    z_stream stream = {0};
    int result;

    stream.next_in = (uint8_t *)in;
    stream.avail_in = (uInt)in_size;
    stream.next_out = out;
    stream.avail_out = (uInt)out_size;
    if (inflateInit2(&stream, READ_WINDOW_BITS) != Z_OK) {
        return -ENOMEM;
    }
    result = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return (result == Z_STREAM_END || result == Z_BUF_ERROR) && stream.avail_out == 0 ? 0 : -EIO;
}

static int unpack_zstd(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
    ZSTD_inBuffer input = {in, in_size, 0};
    ZSTD_outBuffer output = {out, out_size, 0};
    struct tables *t = my_tables();
    size_t result = 0;

    if (t && !t->zstd_unpack) {
        t->zstd_unpack = ZSTD_createDCtx();
    }
    if (!t || !t->zstd_unpack) {
        return -ENOMEM;
    }
    ZSTD_DCtx_reset(t->zstd_unpack, ZSTD_reset_session_only);
    while (output.pos < out_size) {
        size_t before_in = input.pos, before_out = output.pos;

        result = ZSTD_decompressStream(t->zstd_unpack, &output, &input);
        if (ZSTD_isError(result) || (input.pos == before_in && output.pos == before_out)) {
            break;
        }
    }
    return output.pos == out_size && !ZSTD_isError(result) ? 0 : -EIO;
}

static int pack_zlib(const uint8_t *in, size_t size, uint8_t *out, size_t *packed)
{
    struct tables *t = my_tables();
    struct isal_zstream stream;

    if (t && !t->deflate) {
        t->deflate = malloc(ISAL_DEF_LVL3_DEFAULT);
    }
    if (!t || !t->deflate) {
        return -ENOMEM;
    }
    isal_deflate_init(&stream);
    stream.level = ISAL_DEF_MAX_LEVEL;
    stream.level_buf_size = ISAL_DEF_LVL3_DEFAULT;
    stream.level_buf = t->deflate;
    stream.hist_bits = WINDOW_BITS;
    stream.end_of_stream = 1;
    stream.next_in = (uint8_t *)in;
    stream.avail_in = (uint32_t)size;
    stream.next_out = out;
    stream.avail_out = (uint32_t)size - 1;
    /* Without room it stops, and is not at its end. */
    *packed = isal_deflate(&stream) == COMP_OK && stream.internal_state.state == ZSTATE_END
                  ? stream.total_out
                  : 0;
    return 0;
}

static int pack_zstd(const uint8_t *in, size_t size, uint8_t *out, size_t *packed)
{
    struct tables *t = my_tables();
    size_t result;

    if (t && !t->zstd_pack) {
        t->zstd_pack = ZSTD_createCCtx();
    }
    if (!t || !t->zstd_pack) {
        return -ENOMEM;
    }
    result = ZSTD_compressCCtx(t->zstd_pack, out, size - 1, in, size, ZSTD_CLEVEL_DEFAULT);
    *packed = ZSTD_isError(result) ? 0 : result;
    return 0;
}

int qcow2_pack(uint32_t compression, const uint8_t *in, size_t size, uint8_t *out, size_t *packed)
{
    return compression == QCOW2_ZSTD ? pack_zstd(in, size, out, packed)
                                     : pack_zlib(in, size, out, packed);
}

int qcow2_unpack(uint32_t compression, const uint8_t *in, size_t in_size, uint8_t *out,
                 size_t out_size)
{
    return compression == QCOW2_ZSTD ? unpack_zstd(in, in_size, out, out_size)
                                     : unpack_zlib(in, in_size, out, out_size);
}
