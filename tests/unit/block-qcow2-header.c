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
    tap_eq(qcow2_header_write(&h, bytes), 0, "a header is written");
    tap_eq(qcow2_header_bytes(bytes), CLUSTER, "its size is known from its beginning");
    tap_eq(parse(&back), 0, "and parsed");
    tap_str(back.backing, "base.qcow2", "backing name");
    tap_str(back.backing_format, "qcow2", "backing format");
    tap_ok(back.unknown && back.unknown->type == 0x11111111 && back.unknown->next &&
               back.unknown->next->size == 3 && back.unknown->next->data[2] == 3,
           "unknown extensions are kept, in their order");
    tap_ok(back.tail_size == 8 && back.tail[3] == 9, "unknown fields are kept");
    tap_ok(qcow2_header_write(&back, again) == 0 && memcmp(bytes, again, CLUSTER) == 0,
           "written again it is the same");
    qcow2_header_free(&back);
    h = sample();
    h.version = 2;
    tap_ok(qcow2_header_write(&h, bytes) == 0 && parse(&back) == 0 && back.version == 2 &&
               back.refcount_order == 4,
           "version 2");
    qcow2_header_free(&back);
    h = sample();
    h.cluster_bits = 9;
    h.backing = (char *)bytes;
    memset(bytes, 'x', CLUSTER);
    bytes[700] = 0;
    tap_eq(qcow2_header_write(&h, again), (unsigned long long)-ENOSPC, "a name that does not fit");
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

        qcow2_header_write(&h, bytes);
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
    qcow2_header_write(&h, bytes);
    tap_ok(qcow2_header_parse(&back, bytes, 60, error, sizeof(error)) < 0, "refused: 60 bytes");
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
    sizes();
    return tap_done();
}
