/* Packed clusters: what is packed is unpacked again, by a decoder with a window of 4 KiB too. */
#include "io/block/qcow2/pack.h"

#include "tests/unit/tap.h"

#include <errno.h>

#include <zlib.h>

#define MOST (2u << 20)

static uint8_t plain[MOST], packed[MOST], back[MOST];

static uint32_t next(void)
{
    static uint64_t seed = 1;

    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed * UINT64_C(0x2545f4914f6cdd1d)) >> 40);
}

enum kind { ZEROS, WORDS, APART, NOISE, KINDS };

static const char *const names[] = {"zeros", "words", "repeats 5000 bytes apart", "noise"};

static void fill(enum kind kind, size_t size)
{
    static const char *const words[] = {"tinamou ", "qcow2 ", "cluster ", "\n", "0x", "entry "};

    memset(plain, 0, size);
    for (size_t i = 0; kind != ZEROS && i < size;) {
        if (kind == WORDS) {
            for (const char *word = words[next() % 6]; *word && i < size; word++) {
                plain[i++] = (uint8_t)*word;
            }
        } else {
            plain[i] = kind == APART && i >= 5000 ? plain[i - 5000] : (uint8_t)next();
            i++;
        }
    }
}

/* In small pieces, so that only the window remembers what was before. */
static bool narrow_unpacks(size_t in_size, size_t size)
{
    z_stream stream = {.next_in = packed, .avail_in = (uInt)in_size, .next_out = back};
    int result = inflateInit2(&stream, -12);

    while (result == Z_OK && stream.total_out < size) {
        size_t left = size - stream.total_out;

        stream.avail_out = left < 100 ? (uInt)left : 100;
        result = inflate(&stream, Z_NO_FLUSH);
    }
    inflateEnd(&stream);
    return (result == Z_OK || result == Z_STREAM_END) && memcmp(back, plain, size) == 0;
}

static void round_trip(uint32_t compression, enum kind kind, size_t size)
{
    const char *type = compression == QCOW2_ZSTD ? "zstd" : "zlib";
    size_t n = MOST;

    fill(kind, size);
    tap_ok(qcow2_pack(compression, plain, size, packed, &n) == 0, "%s: %s, %zu bytes", type,
           names[kind], size);
    if (kind == NOISE) {
        tap_eq(n, 0, "  do not get smaller");
        return;
    }
    if (compression == QCOW2_ZLIB && kind == APART) {
        /* Some bytes are more frequent than others, and that is all. */
        tap_ok(n > size / 100 * 99, "  hardly get smaller (%zu)", n);
    } else {
        tap_ok(n && n < size / 2, "  get smaller (%zu)", n);
    }
    memset(back, 0xee, size);
    tap_ok(qcow2_unpack(compression, packed, n, back, size) == 0 && memcmp(back, plain, size) == 0,
           "  come back");
    tap_eq(qcow2_unpack(compression, packed, n / 2, back, size), -EIO, "  not from half of it");
    tap_eq(qcow2_unpack(compression, packed, n, back, size + 1), -EIO, "  and not more of them");
    if (compression == QCOW2_ZLIB) {
        tap_ok(narrow_unpacks(n, size), "  come back through a window of 4 KiB");
    }
}

int main(void)
{
    static const size_t sizes[] = {512, 4096, 65536, MOST};

    for (uint32_t compression = QCOW2_ZLIB; compression <= QCOW2_ZSTD; compression++) {
        for (enum kind kind = ZEROS; kind < KINDS; kind++) {
            for (size_t i = 0; i < 4; i++) {
                /* Nothing repeats within less than 5000 bytes. */
                if (kind != APART || sizes[i] > 8192) {
                    round_trip(compression, kind, sizes[i]);
                }
            }
        }
    }
    return tap_done();
}
