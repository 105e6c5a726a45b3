/*
 * Formats of other programs: images that qemu-img makes are read and written here, images made here
 * are read and checked there, and damaged ones do no harm.
 */
#include "tests/unit/block.h"

#include <sys/wait.h>

#define SIZE (5u << 20)

static uint8_t *disk; /* what the image should hold */
static char output[4096];

__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
    char command[2000];
    va_list ap;
    size_t n;
    FILE *f;

    va_start(ap, fmt);
    vsnprintf(command, sizeof(command) - 10, fmt, ap);
    va_end(ap);
    strcat(command, " 2>&1");
    f = popen(command, "r");
    n = fread(output, 1, sizeof(output) - 1, f);
    output[n] = 0;
    return WEXITSTATUS(pclose(f));
}

static void save(const char *path, const uint8_t *data, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

    if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
        exit(1);
    }
    for (size_t at = 0; at < size; at += 4096) {
        static const uint8_t zeros[4096];

        /* Sparse, as an image of a disk would be. */
        if (memcmp(data + at, zeros, 4096) != 0 && pwrite(fd, data + at, 4096, (off_t)at) != 4096) {
            exit(1);
        }
    }
    close(fd);
}

/* Data in a few places, and holes. */
static void fill_disk(void)
{
    memset(disk, 0, SIZE);
    block_test_pattern(disk, 100000, 1);
    block_test_pattern(disk + (1 << 20) + 4096, 4096, 2);
    block_test_pattern(disk + (3 << 20) - 5000, 10000, 3);
    block_test_pattern(disk + SIZE - 512, 512, 4);
}

/* Reads all of it, in pieces that cross clusters. */
static bool holds_disk(struct block_node *node)
{
    uint8_t *got = malloc(SIZE);
    bool good = block_size(node) >= SIZE;

    for (size_t at = 0; at < SIZE && good; at += 77777) {
        size_t n = SIZE - at < 77777 ? SIZE - at : 77777;

        good = block_pread(node, at, got + at, n) == 0;
    }
    good = good && memcmp(got, disk, SIZE) == 0;
    free(got);
    return good;
}

/* Does what status says fit to the contents, over the whole disk? */
static bool status_fits(struct block_node *node)
{
    uint64_t at = 0;

    while (at < SIZE) {
        struct block_status status;

        if (block_status(node, at, SIZE - at, &status) || !status.size) {
            return false;
        }
        for (uint64_t i = 0; (status.flags & BLOCK_STATUS_ZERO) && i < status.size; i++) {
            if (disk[at + i]) {
                return false;
            }
        }
        if ((status.flags & BLOCK_STATUS_OFFSET) && status.file && !(at % 4096)) {
            uint8_t byte;

            if (block_pread(status.file, status.host, &byte, 1) || byte != disk[at]) {
                return false;
            }
        }
        at += status.size;
    }
    return true;
}

static int random_writes(struct block_node *node, unsigned seed)
{
    uint8_t *data = malloc(200000);
    int err = 0;

    srandom(seed);
    for (unsigned i = 0; i < 40 && !err; i++) {
        size_t size = (size_t)random() % (i % 8 ? 3000 : 200000) + 1;
        size_t offset = (size_t)random() % (SIZE - size);

        if (i % 5 == 4) {
            memset(disk + offset, 0, size);
            err = block_zero(node, offset, size, 0);
        } else {
            block_test_pattern(data, size, seed + i);
            memcpy(disk + offset, data, size);
            err = block_pwrite(node, offset, data, size, 0);
        }
    }
    free(data);
    return err;
}

static void compare_with_qemu(const char *path, const char *format, const char *what)
{
    save(block_test_path("expected"), disk, SIZE);
    /* An image may be a little larger, for the sake of a geometry; then that is zeros. */
    tap_ok(run("qemu-img compare -f %s -F raw '%s' '%s'", format, path,
               block_test_path("expected")) == 0,
           "%s: qemu-img reads the same", what);
    if (strcmp(format, "vpc") != 0) {
        tap_ok(run("qemu-img check -f %s '%s'", format, path) == 0, "%s: and finds no error", what);
    }
}

static void theirs(const char *format, const char *options, bool writable)
{
    char path[300], what[200];
    struct block_node *node;

    snprintf(path, sizeof(path), "%s", block_test_path("theirs"));
    snprintf(what, sizeof(what), "%s %s", format, options);
    unlink(path);
    fill_disk();
    save(block_test_path("raw"), disk, SIZE);
    if (run("qemu-img convert -f raw -O %s %s '%s' '%s'", format, options, block_test_path("raw"),
            path) != 0) {
        tap_ok(false, "%s: qemu-img convert: %s", what, output);
        return;
    }
    if (block_open_file(&node, path, NULL, NULL, !writable, block_test_error,
                        sizeof(block_test_error))) {
        tap_ok(false, "%s: %s", what, block_test_error);
        return;
    }
    tap_str(node->driver->name, format, "the format is recognised");
    tap_ok(holds_disk(node), "%s: we read what it wrote", what);
    tap_ok(status_fits(node), "%s: status fits", what);
    if (writable) {
        tap_eq((unsigned)-random_writes(node, 7), 0, "we write");
        tap_ok(holds_disk(node), "%s: and read that", what);
    }
    block_unref(node);
    if (writable) {
        compare_with_qemu(path, format, what);
    }
}

/* Creates an image; 0 or -errno. */
static int create(const char *path, const char *format, const char *options, uint64_t size)
{
    const struct block_driver *driver = block_driver_find(format);
    struct block_create c = {.size = size};
    void *table = calloc(1, driver->create_options_size + 1);
    int err;

    unlink(path);
    close(open(path, O_CREAT | O_RDWR, 0644));
    c.file = block_test_open(path, "file", NULL);
    property_set_defaults(driver->create_options, table);
    err = property_set_list(driver->create_options, table, format, options, NULL, NULL,
                            block_test_error, sizeof(block_test_error));
    if (!err) {
        err = driver->create(&c, table, block_test_error, sizeof(block_test_error));
    }
    property_clear(driver->create_options, table);
    free(table);
    block_unref(c.file);
    return err;
}

static void ours(const char *format, const char *options)
{
    char path[300], what[200];
    struct block_node *node;

    snprintf(path, sizeof(path), "%s", block_test_path("ours"));
    snprintf(what, sizeof(what), "our %s %s", format, options);
    memset(disk, 0, SIZE);
    if (!tap_ok(create(path, format, options, SIZE) == 0, "%s: created", what)) {
        tap_note("%s", block_test_error);
        return;
    }
    node = block_test_open(path, format, NULL);
    tap_ok(block_size(node) >= SIZE && block_size(node) < SIZE + 100000, "%s: its size", what);
    tap_ok(holds_disk(node), "%s: zeros", what);
    tap_eq((unsigned)-random_writes(node, 9), 0, "written");
    block_unref(node);
    compare_with_qemu(path, format, what);
    node = block_test_open(path, format, NULL);
    tap_ok(holds_disk(node), "%s: opened again", what);
    block_unref(node);
    tap_ok(create(path, format, options, UINT64_MAX) < 0, "%s: a wild size is refused", what);
}

/* Every byte at the front changed: an error, or an image, but no harm. */
static void damaged(const char *format, const char *options, size_t from, size_t to)
{
    char path[300];
    unsigned opened = 0, refused = 0;
    int fd;

    snprintf(path, sizeof(path), "%s", block_test_path("damaged"));
    unlink(path);
    fill_disk();
    save(block_test_path("raw"), disk, SIZE);
    run("qemu-img convert -f raw -O %s %s '%s' '%s'", format, options, block_test_path("raw"),
        path);
    fd = open(path, O_RDWR);
    for (size_t i = from; i < to; i++) {
        uint8_t before, after, buffer[4096];
        struct block_node *node;

        if (pread(fd, &before, 1, (off_t)i) != 1) {
            break;
        }
        after = (uint8_t)(i % 2 ? ~before : before + 1);
        if (pwrite(fd, &after, 1, (off_t)i) != 1) {
            break;
        }
        if (block_open_file(&node, path, format, "backing=", true, block_test_error,
                            sizeof(block_test_error)) == 0) {
            struct block_status status;

            opened++;
            block_pread(node, 0, buffer, sizeof(buffer));
            block_pread(node, block_size(node) - 4096, buffer, sizeof(buffer));
            block_status(node, 0, block_size(node) < SIZE ? block_size(node) : SIZE, &status);
            block_unref(node);
        } else {
            refused++;
        }
        if (pwrite(fd, &before, 1, (off_t)i) != 1) {
            break;
        }
    }
    close(fd);
    tap_ok(refused > 5 && opened + refused == to - from,
           "%s: damaged headers: %u opened, %u refused", format, opened, refused);
}

/* Each request of the file below fails once, while an image is written: the error is reported, and
 * what was there before is there afterwards. */
static void faults(const char *format, const char *options)
{
    char path[300], all[700];
    unsigned failed = 0;
    bool good = true;

    snprintf(path, sizeof(path), "%s", block_test_path("faults"));
    for (unsigned n = 1; n < 60 && good; n++) {
        struct block_node *node;
        uint8_t data[4096], got[4096];
        int err = create(path, format, options, SIZE);

        memset(data, 1, sizeof(data));
        node = err ? NULL : block_test_open(path, format, NULL);
        good = node && block_pwrite(node, 8192, data, 4096, 0) == 0;
        if (node) {
            block_unref(node);
        }
        snprintf(all, sizeof(all),
                 "file.driver=blkdebug,file.fail-request=%u,file.image.driver=file,"
                 "file.image.filename=%s",
                 n, path);
        if (block_open_file(&node, NULL, format, all, false, block_test_error,
                            sizeof(block_test_error)) == 0) {
            memset(data, 2, sizeof(data));
            err = block_pwrite(node, 8192, data, 4096, 0);
            err = err ? err : block_pwrite(node, 4 << 20, data, 4096, 0);
            failed += err != 0;
            block_unref(node);
        } else {
            failed++;
        }
        node = block_test_open(path, format, NULL);
        good = good && block_pread(node, 8192, got, 4096) == 0 && (got[0] == 1 || got[0] == 2) &&
               block_pread(node, 4 << 20, got, 4096) == 0 && (got[0] == 0 || got[0] == 2);
        block_unref(node);
    }
    tap_ok(good, "%s: errors of the file leave an image", format);
    tap_ok(failed >= 4 && failed < 55, "%s: and are reported (%u times)", format, failed);
}

int main(void)
{
    block_test_begin();
    if (run("qemu-img --version") != 0) {
        tap_skip("images of other formats", "no qemu-img");
        return block_test_end();
    }
    disk = malloc(SIZE);
    theirs("vdi", "", true);
    theirs("vdi", "-o static=on", true);
    theirs("vpc", "-o force_size=on", true);
    theirs("vmdk", "", true);
    theirs("vmdk", "-o subformat=monolithicFlat", true);
    theirs("vmdk", "-o zeroed_grain=on", true);
    theirs("vmdk", "-o subformat=streamOptimized", false);
    theirs("vhdx", "", false);
    theirs("vhdx", "-o block_size=2M", false);
    theirs("parallels", "", false);
    ours("vdi", "");
    ours("vdi", "static=on");
    ours("vpc", "");
    ours("vpc", "force_size=on");
    ours("vpc", "subformat=fixed,force_size=on");
    ours("vmdk", "");
    ours("vmdk", "adapter_type=lsilogic,zeroed_grain=on");
    faults("vdi", "");
    faults("vpc", "force_size=on");
    faults("vmdk", "");
    damaged("vdi", "", 0x40, 0x1c8);
    damaged("vpc", "", 512, 1024);
    damaged("vmdk", "", 0, 600);
    damaged("vmdk", "-o subformat=streamOptimized", 0, 600);
    damaged("vhdx", "", 2 << 20, (2 << 20) + 300);
    damaged("parallels", "", 0, 128);
    free(disk);
    return block_test_end();
}
