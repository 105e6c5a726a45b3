/* The header: what is written is parsed again, what is unknown is kept, what is wrong is refused.
 */
#include "io/block/qcow2/header.h"

#include "io/block/bytes.h"
#include "tests/unit/tap.h"

#include <errno.h>
#include <stdlib.h>

#define CLUSTER 4096u

static uint8_t bytes[CLUSTER];
static char error[300];

static struct qcow2_header sample(void)
{
    return (struct qcow2_header){
        .version = 3,
        .cluster_bits = 12,
        .size = 1u << 20,
        .l1_size = 1,
        .l1_offset = 3 * CLUSTER,
        .reftable_offset = CLUSTER,
        .reftable_clusters = 1,
        .refcount_order = 4,
        .backing = (char *)"base.qcow2",
        .backing_format = (char *)"qcow2",
    };
}

static int parse(struct qcow2_header *header)
{
    return qcow2_header_parse(header, bytes, CLUSTER, error, sizeof(error));
}

static void round_trip(void)
{
    struct qcow2_header h = sample(), back;
    uint8_t again[CLUSTER], data[] = {1, 2, 3}, tail[] = {0, 0, 0, 9, 0, 0, 0, 8};
    struct qcow2_unknown second = {.type = 0x12345678, .size = 3, .data = data};
    struct qcow2_unknown first = {.type = 0x11111111, .size = 0, .data = data, .next = &second};

    h.unknown = &first;
    h.tail = tail;
    h.tail_size = 8;
    tap_eq(qcow2_header_write(&h, NULL, bytes), 0, "a header is written");
    tap_eq(qcow2_header_bytes(bytes), CLUSTER, "its size is known from its beginning");
    tap_eq(parse(&back), 0, "and parsed");
    tap_str(back.backing, "base.qcow2", "backing name");
    tap_str(back.backing_format, "qcow2", "backing format");
    tap_ok(back.unknown && back.unknown->type == 0x11111111 && back.unknown->next &&
               back.unknown->next->size == 3 && back.unknown->next->data[2] == 3,
           "unknown extensions are kept, in their order");
    tap_ok(back.tail_size == 8 && back.tail[3] == 9, "unknown fields are kept");
    tap_ok(qcow2_header_write(&back, NULL, again) == 0 && memcmp(bytes, again, CLUSTER) == 0,
           "written again it is the same");
    qcow2_header_free(&back);
    h = sample();
    h.version = 2;
    tap_ok(qcow2_header_write(&h, NULL, bytes) == 0 && parse(&back) == 0 && back.version == 2 &&
               back.refcount_order == 4,
           "version 2");
    qcow2_header_free(&back);
    h = sample();
    h.cluster_bits = 9;
    h.backing = (char *)bytes;
    memset(bytes, 'x', CLUSTER);
    bytes[700] = 0;
    tap_eq(qcow2_header_write(&h, NULL, again), (unsigned long long)-ENOSPC,
           "a name that does not fit");
}

struct wrong {
    size_t at;
    unsigned size;
    uint64_t value;
    const char *what;
};

static const struct wrong wrongs[] = {
    {0, 4, 0x514649fa, "magic"},
    {4, 4, 1, "version 1"},
    {4, 4, 4, "version 4"},
    {8, 8, CLUSTER, "backing name behind the cluster"},
    {8, 8, 16, "backing name in the header"},
    {16, 4, 1024, "backing name too long"},
    {20, 4, 8, "clusters of 256 bytes"},
    {20, 4, 22, "clusters of 4 MiB"},
    {20, 4, 0xffffffff, "clusters of nothing"},
    {24, 8, UINT64_C(1) << 63, "negative size"},
    {24, 8, UINT64_C(1) << 40, "L1 table too small"},
    {32, 4, 3, "unknown encryption"},
    {32, 4, 2, "LUKS without a header"},
    {36, 4, 0x10000000, "L1 table too large"},
    {40, 8, 513, "L1 table not aligned"},
    {48, 8, 1, "reference count table not aligned"},
    {56, 4, 0x7fffffff, "reference count table too large"},
    {60, 4, 65537, "too many snapshots"},
    {60, 4, 1, "snapshots nowhere"},
    {72, 8, UINT64_C(1) << 40, "unknown incompatible feature"},
    {72, 8, 8, "compression feature without a type"},
    {72, 8, 16, "subclusters in small clusters"},
    {88, 8, 2, "raw data file without a data file"},
    {96, 4, 7, "counts of 128 bits"},
    {100, 4, 96, "header too short"},
    {100, 4, 108, "header not a multiple of 8"},
    {100, 4, CLUSTER + 8, "header too long"},
    {104, 1, 1, "zstd without its feature"},
    {116, 4, 0xfffffff0, "extension too large"},
};

static void refusals(void)
{
    struct qcow2_header h = sample(), back;

    h.cluster_bits = 12;
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        const struct wrong *w = &wrongs[i];
        int err;

        qcow2_header_write(&h, NULL, bytes);
        for (unsigned b = 0; b < w->size; b++) {
            bytes[w->at + b] = (uint8_t)(w->value >> 8 * (w->size - 1 - b));
        }
        error[0] = 0;
        err = parse(&back);
        tap_ok(err < 0 && error[0], "refused: %s", w->what);
        if (err == 0) {
            qcow2_header_free(&back);
        }
    }
    qcow2_header_write(&h, NULL, bytes);
    tap_ok(qcow2_header_parse(&back, bytes, 60, error, sizeof(error)) < 0, "refused: 60 bytes");
}

/* ---- from one header to the next ---- */

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is(const uint8_t *image, const struct qcow2_header *want)
{
    struct qcow2_header h;
    bool good;

    if (qcow2_header_parse(&h, image, CLUSTER, error, sizeof(error))) {
        return false;
    }
    good = same(h.backing, want->backing) && same(h.backing_format, want->backing_format) &&
           h.has_bitmaps == want->has_bitmaps && h.bitmap_dir_offset == want->bitmap_dir_offset &&
           h.luks_offset == want->luks_offset && h.size == want->size;
    qcow2_header_free(&h);
    return good;
}

/* While the first sector is the old one, whatever of the others is written, the header is. */
static bool sector_decides(const uint8_t *old_image, const struct qcow2_header *old,
                           const struct qcow2_header *new)
{
    uint8_t image[CLUSTER], mix[CLUSTER];

    if (qcow2_header_write(new, old_image, image) || !is(image, new)) {
        return false;
    }
    for (unsigned set = 0; set < 1u << (CLUSTER / 512 - 1); set++) {
        memcpy(mix, old_image, CLUSTER);
        for (unsigned s = 1; s < CLUSTER / 512; s++) {
            if (set >> (s - 1) & 1) {
                memcpy(mix + (size_t)s * 512, image + (size_t)s * 512, 512);
            }
        }
        if (!is(mix, old)) {
            return false;
        }
    }
    return true;
}

/* As other programs make them: the name follows the extensions, across the end of a sector. */
static void move_name(uint8_t *image, size_t to)
{
    size_t size = image[18] * 256u + image[19], from = image[14] * 256u + image[15];
    char name[1024];

    memcpy(name, image + from, size);
    memset(image + from, 0, size);
    memcpy(image + to, name, size);
    image[14] = (uint8_t)(to >> 8);
    image[15] = (uint8_t)to;
}

static void transitions(void)
{
    static char name[600], other[600];
    const unsigned lengths[] = {1, 8, 20, 40, 150, 511, 599};
    struct qcow2_header old, new;

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        bool good = true;

        memset(name, 'n', sizeof(name));
        memset(other, 'o', sizeof(other));
        name[lengths[i]] = other[lengths[i]] = 0;
        for (unsigned kind = 0; kind < 16; kind++) {
            old = sample();
            old.backing = name;
            if (kind & 1) {
                old.crypt = QCOW2_CRYPT_LUKS;
                old.luks_offset = 8 * CLUSTER;
                old.luks_size = 3 * CLUSTER;
            }
            new = old;
            new.has_bitmaps = kind & 2;
            new.autoclear = kind & 2 ? QCOW2_AUTOCLEAR_BITMAPS : 0;
            new.bitmap_count = 1;
            new.bitmap_dir_size = 32;
            new.bitmap_dir_offset = kind & 2 ? 6 * CLUSTER : 0;
            new.size /= 2;
            new.backing = kind & 4 ? other : name;
            good &= qcow2_header_write(&old, NULL, bytes) == 0;
            if (kind & 8) {
                move_name(bytes, 504);
            }
            good &= sector_decides(bytes, &old, &new);
            /* And back, from what that made. */
            uint8_t image[CLUSTER];

            good &= qcow2_header_write(&new, bytes, image) == 0;
            good &= sector_decides(image, &new, &old);
        }
        tap_ok(good, "a name of %u bytes: the first sector alone changes the header", lengths[i]);
    }
}

static void sizes(void)
{
    tap_eq(qcow2_header_l1_entries(0, 16, false), 0, "L1 entries of nothing");
    tap_eq(qcow2_header_l1_entries(1, 16, false), 1, "of a byte");
    tap_eq(qcow2_header_l1_entries(UINT64_C(512) << 20, 16, false), 1, "of what one covers");
    tap_eq(qcow2_header_l1_entries((UINT64_C(512) << 20) + 1, 16, false), 2, "of a byte more");
    tap_eq(qcow2_header_l1_entries(UINT64_C(512) << 20, 16, true), 2, "with extended entries");
    tap_eq(qcow2_header_l1_entries(INT64_MAX, 9, false), UINT64_C(1) << 48, "of the largest disk");
}

int main(void)
{
    round_trip();
    refusals();
    transitions();
    sizes();
    return tap_done();
}
