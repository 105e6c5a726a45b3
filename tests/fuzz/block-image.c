/*
 * Images of every format, as hostile as they get: opened, read, written, checked. The first byte
 * says whether read-only, the rest is the file.
 */
#include "io/block/driver.h"
#include "io/block/secret.h"

#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_DISK (UINT64_C(1) << 62)

static int fd = -1;
static char path[64];

const char *__asan_default_options(void);

/* A table as large as a header says may not fit into memory: that is an error like any other. */
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char error[200];

    fd = memfd_create("image", MFD_CLOEXEC);
    assert(fd >= 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return secret_add("id=s,data=secret", error, sizeof(error));
}

/* The format that it looks like, as for a file that the user names. */
static const struct block_driver *probe(const uint8_t *head, size_t size)
{
    const struct block_driver *best = block_driver_find("raw");
    int best_score = 0;

    for (unsigned i = 0; block_drivers[i]; i++) {
        int score = block_drivers[i]->probe ? block_drivers[i]->probe(head, size, path) : 0;

        if (score > best_score) {
            best_score = score;
            best = block_drivers[i];
        }
    }
    return best;
}

static void use(struct block_node *node, struct fuzz_input *in)
{
    static uint8_t buffer[300000];
    uint64_t size = block_size(node);
    struct block_status status;
    struct block_info info;
    struct block_check check = {0};

    assert(size <= MAX_DISK);
    for (unsigned i = 0; i < 8 && size; i++) {
        uint64_t offset = fuzz_number(in, 8) % size;
        size_t n = (size_t)fuzz_number(in, 3) % sizeof(buffer);

        n = n < size - offset ? n : (size_t)(size - offset);
        switch (fuzz_number(in, 1) % 5) {
        case 0:
            block_pread(node, offset, buffer, n);
            break;
        case 1:
            block_pwrite(node, offset, buffer, n, 0);
            break;
        case 2:
            if (block_status(node, offset, n, &status) == 0) {
                assert(status.size <= n && (!n || status.size));
            }
            break;
        case 3:
            block_zero(node, offset, n, BLOCK_MAY_UNMAP);
            break;
        case 4:
            block_discard(node, offset, n);
            break;
        }
    }
    if (block_get_info(node, &info) == 0) {
        free(info.backing_filename);
        free(info.backing_format);
    }
    if (node->driver->check) {
        node->driver->check(node, 0, &check);
    }
    block_flush(node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {.data = data, .left = size};
    uint8_t how = (uint8_t)fuzz_number(&in, 1);
    const struct block_driver *driver = probe(in.data, in.left);
    struct block_node *node;
    char options[200], error[300] = "";
    int err;

    if (ftruncate(fd, 0) < 0 || pwrite(fd, in.data, in.left, 0) != (ssize_t)in.left) {
        return 0;
    }
    /* Backing and data files would be the host's. */
    snprintf(options, sizeof(options), "locking=off,discard=unmap%s%s",
             driver->may_back ? ",backing=" : "",
             strcmp(driver->name, "luks") == 0 ? ",key-secret=s" : "");
    err = block_open_file(&node, path, driver->name, options, how & 1, error, sizeof(error));
    assert(!err || *error);
    if (!err) {
        struct fuzz_input requests = {.data = data, .left = size};

        use(node, &requests);
        block_unref(node);
    }
    return 0;
}
