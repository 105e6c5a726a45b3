/*
 * Images of the qcow2 format: opening, reading, checking, repairing, writing.
 *
 * An input is a list of changes to one of a few small good images: most of an image that is made of
 * nothing but an input would never get behind its header.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/block-qcow2-hostile.h"

#include <assert.h>

#define BASES 3

static uint8_t *base[BASES];
static size_t base_size[BASES];
static char path[300];

static void load_base(unsigned i, const char *create)
{
    int fd;

    hostile_make(path, create);
    fd = open(path, O_RDONLY);
    base_size[i] = (size_t)lseek(fd, 0, SEEK_END);
    base[i] = malloc(base_size[i]);
    assert(pread(fd, base[i], base_size[i], 0) == (ssize_t)base_size[i]);
    close(fd);
}

static void remove_folder(void)
{
    unlink(path);
    rmdir(block_test_folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int quiet = open("/dev/null", O_WRONLY);
    int errors = dup(2);

    (void)argc;
    (void)argv;
    block_test_begin();
    atexit(remove_folder);
    snprintf(path, sizeof(path), "%s", block_test_path("image"));
    dup2(quiet, 2);
    load_base(0, "cluster_size=512");
    load_base(1, "compat=0.10,cluster_size=1k");
    load_base(2, "extended_l2=on,cluster_size=16k");
    dup2(errors, 2);
    close(quiet);
    close(errors);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    unsigned which = (unsigned)fuzz_number(&in, 1);
    const unsigned i = which % BASES;
    uint8_t *bytes = malloc(base_size[i]);
    int fd = open(path, O_RDWR | O_CREAT, 0600);

    memcpy(bytes, base[i], base_size[i]);
    while (in.left) {
        size_t at = (size_t)(fuzz_number(&in, 3) % base_size[i]);
        size_t n = 1 + (size_t)(fuzz_number(&in, 1) % 8);

        n = n < base_size[i] - at ? n : base_size[i] - at;
        fuzz_bytes(&in, bytes + at, n);
    }
    assert(pwrite(fd, bytes, base_size[i], 0) == (ssize_t)base_size[i]);
    assert(ftruncate(fd, (off_t)base_size[i]) == 0);
    close(fd);
    free(bytes);
    assert(hostile_exercise(path, which & 128));
    return 0;
}
