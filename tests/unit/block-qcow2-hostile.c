/*
 * Hostile images: bytes of good images are changed, mostly in their metadata, and everything is
 * done with what comes out. Also single images with known tricks.
 *
 *     block-qcow2-hostile [rounds [seed]]      longer, by hand
 */
#include "tests/unit/block-qcow2-hostile.h"

#include <time.h>

static const char *const creates[] = {"cluster_size=512", "cluster_size=4k", "compat=0.10",
                                      "extended_l2=on,cluster_size=16k",
                                      "refcount_bits=1,cluster_size=1k"};

static uint8_t *original;
static size_t original_size;
static char path[300];

static void read_original(void)
{
    int fd = open(path, O_RDONLY);
    off_t size = lseek(fd, 0, SEEK_END);

    free(original);
    original = malloc((size_t)size);
    original_size = (size_t)size;
    if (pread(fd, original, original_size, 0) != (ssize_t)original_size) {
        tap_ok(false, "the image is read");
    }
    close(fd);
}

static void put_file(const uint8_t *bytes)
{
    int fd = open(path, O_RDWR | O_CREAT, 0644);

    if (pwrite(fd, bytes, original_size, 0) != (ssize_t)original_size ||
        ftruncate(fd, (off_t)original_size) != 0) {
        tap_ok(false, "the image is written");
    }
    close(fd);
}

/* A place where something is: not in the middle of guest data or of nothing. */
static size_t place(uint64_t *random)
{
    size_t at = 0;

    for (int i = 0; i < 30; i++) {
        at = qcow2_test_random(random) % original_size;
        if (qcow2_test_random(random) % 3 == 0) {
            at %= 160;
        }
        at &= ~(size_t)7;
        if (at + 8 <= original_size && original[at] != 0x17 &&
            memcmp(original + at, "\0\0\0\0\0\0\0", 8) != 0) {
            return at;
        }
    }
    return at + 8 <= original_size ? at : 0;
}

static void mutate(uint8_t *bytes, uint64_t *random)
{
    size_t at = place(random), other = place(random);
    unsigned n = qcow2_test_random(random) % 8;

    switch (qcow2_test_random(random) % 6) {
    case 0:
        bytes[at + n] = (uint8_t)qcow2_test_random(random);
        break;
    case 1:
        bytes[at + n] ^= (uint8_t)(1u << qcow2_test_random(random) % 8);
        break;
    case 2:
        memcpy(bytes + at, bytes + other, 8); /* points to what another one does */
        break;
    case 3:
        memset(bytes + at + n, 0xff, 8 - n);
        break;
    case 4:
        bytes[at + 6] = (uint8_t)(qcow2_test_random(random) % 16);
        break;
    default:
        memset(bytes + at, 0, 8);
    }
}

static void random_images(unsigned rounds, uint64_t seed)
{
    unsigned broken = 0;

    for (size_t c = 0; c < sizeof(creates) / sizeof(creates[0]); c++) {
        uint8_t *bytes;

        hostile_make(path, creates[c]);
        read_original();
        bytes = malloc(original_size);
        for (unsigned i = 0; i < rounds; i++) {
            uint64_t random = seed + i * 7919u + c * 104729u;
            unsigned changes = 1 + qcow2_test_random(&random) % 3;

            memcpy(bytes, original, original_size);
            for (unsigned j = 0; j < changes; j++) {
                mutate(bytes, &random);
            }
            put_file(bytes);
            if (!hostile_exercise(path, i % 2) && broken++ < 3) {
                tap_note("%s, round %u: repaired, and yet not consistent", creates[c], i);
            }
        }
        free(bytes);
    }
    tap_ok(broken == 0, "changed images do no harm, and repairs repair");
}

static void patch64(size_t at, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        original[at + (size_t)i] = (uint8_t)(value >> (56 - 8 * i));
    }
}

static uint64_t get64(size_t at)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++) {
        value = value << 8 | original[at + (size_t)i];
    }
    return value;
}

static bool opens(bool readonly)
{
    struct block_node *node = hostile_open(path, "cache.no-flush=on", readonly);

    if (node) {
        block_unref(node);
    }
    return node != NULL;
}

static void fresh(void)
{
    hostile_make(path, "cluster_size=4k");
    read_original();
}

/* Writes guest data where L2 entries were made to point at metadata; afterwards the node does not
 * write any more. */
static void overlap(uint64_t target, const char *what)
{
    uint64_t l2;
    struct block_node *node;
    int first, second;

    fresh();
    l2 = get64(get64(40)) & UINT64_C(0x00fffffffffffe00);
    patch64(l2 + 8 * 8, target | UINT64_C(1) << 63);
    put_file(original);
    node = hostile_open(path, "cache.no-flush=on", false);
    first = block_pwrite(node, 8 * 4096, "x", 1, 0);
    second = block_pwrite(node, 100 * 4096, "x", 1, 0);
    block_unref(node);
    tap_ok(first == -EIO && second == -EIO && !opens(false) && opens(true),
           "data does not go over %s; the image is marked corrupt", what);
}

static void tricks(void)
{
    int quiet = open("/dev/null", O_WRONLY), errors = dup(2);

    fresh();
    original[79] |= 2; /* corrupt bit */
    put_file(original);
    tap_ok(!opens(false) && opens(true), "a corrupt image is only read");
    fresh();
    original[72] = 0x80; /* an incompatible feature of the future */
    put_file(original);
    tap_ok(!opens(true) && strstr(block_test_error, "feature"), "unknown features are named");
    fresh();
    original[88] = 0x80; /* an autoclear feature of the future */
    put_file(original);
    if (opens(false)) {
        read_original();
        tap_ok(original[88] == 0, "unknown autoclear features are cleared");
    }
    fresh();
    patch64(24, UINT64_C(1) << 62);
    put_file(original);
    tap_ok(!opens(true), "an L1 table that is too small is refused");
    fresh();
    original[36] = 0x7f;
    put_file(original);
    tap_ok(!opens(true), "an L1 table that is too large is refused");
    dup2(quiet, 2);
    overlap(get64(40), "the L1 table");
    fresh();
    overlap(get64(48), "the reference count table");
    fresh();
    overlap(get64(get64(48)), "a reference count block");
    fresh();
    overlap(get64(64), "the snapshot table");
    fresh();
    overlap(get64(get64(40)) & UINT64_C(0x00fffffffffffe00), "an L2 table");
    dup2(errors, 2);
    close(quiet);
}

/* All entries of a large L1 table point to one L2 table: checking takes no time to speak of. */
static void many_references(void)
{
    struct block_node *node;
    struct block_check check;
    uint64_t l1, l2, entries;

    qcow2_test_create(path, UINT64_C(4) << 30, "cluster_size=512", NULL);
    node = block_test_open(path, "qcow2", "cache.no-flush=on");
    memset(hostile_buffer, 1, sizeof(hostile_buffer));
    (void)block_pwrite(node, 0, hostile_buffer, 32768, 0);
    block_unref(node);
    read_original();
    l1 = get64(40);
    l2 = get64(l1);
    entries = (UINT64_C(4) << 30) / 32768;
    for (uint64_t i = 0; i < entries; i++) {
        patch64(l1 + i * 8, l2);
    }
    put_file(original);
    node = hostile_open(path, "cache.no-flush=on", true);
    check = qcow2_test_check(node, 0, false);
    tap_eq(check.corruptions, entries - 1, "an L2 table is walked once for each L1 table");
    block_unref(node);
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 300;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    int quiet = open("/dev/null", O_WRONLY), errors = dup(2);

    block_test_begin();
    snprintf(path, sizeof(path), "%s", block_test_path("image"));
    tricks();
    many_references();
    dup2(quiet, 2);
    random_images(rounds, seed);
    dup2(errors, 2);
    free(original);
    return block_test_end();
}
