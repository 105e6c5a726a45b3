/* Building device trees: what was put in is found by libfdt; errors are kept to the end. */
#include "hw/machine/fdt.h"

#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/tap.h"

static char error[256];

static void test_build(void)
{
    static const uint32_t cells[] = {1, 2, 0xdeadbeef};
    static const uint64_t wide[] = {0x80000000, UINT64_C(1) << 40};
    struct fdt_tree tree;
    size_t size = 0;
    const void *value;
    int node, length;

    tap_ok(!fdt_tree_create(&tree, error, sizeof(error)), "a tree is made");
    fdt_tree_string(&tree, "/", "model", "test");
    fdt_tree_node(&tree, "/a");
    fdt_tree_node(&tree, "/b");
    fdt_tree_node(&tree, "/a/c@10");
    fdt_tree_need_node(&tree, "/a");
    fdt_tree_need_node(&tree, "/d");
    fdt_tree_cells(&tree, "/a/c@10", "cells", cells, 3);
    fdt_tree_wide(&tree, "/a/c@10", "reg", wide, 2);
    fdt_tree_empty(&tree, "/b", "flag");
    fdt_tree_bytes(&tree, "/b", "list", "x\0y", 4);
    tap_eq(fdt_tree_phandle(&tree, "/a"), 1, "the first phandle");
    tap_eq(fdt_tree_phandle(&tree, "/b"), 2, "the second phandle");
    tap_ok(fdt_tree_has(&tree, "/b", "flag") && !fdt_tree_has(&tree, "/b", "flags") &&
               !fdt_tree_has(&tree, "/e", "flag"),
           "properties are found");
    tap_ok(!fdt_tree_finish(&tree, &size, error, sizeof(error)) && size < 1000, "it is packed");

    tap_ok(!fdt_check_full(tree.blob, size), "libfdt finds it sound");
    node = fdt_path_offset(tree.blob, "/a/c@10");
    value = fdt_getprop(tree.blob, node, "cells", &length);
    tap_ok(value && length == 12 && fdt32_ld((const fdt32_t *)value + 2) == 0xdeadbeef,
           "cells are big-endian");
    value = fdt_getprop(tree.blob, node, "reg", &length);
    tap_ok(value && length == 16 && fdt64_ld((const fdt64_t *)value + 1) == UINT64_C(1) << 40,
           "so are numbers of two cells");
    tap_eq(fdt_node_offset_by_phandle(tree.blob, 2), fdt_path_offset(tree.blob, "/b"),
           "phandles lead to nodes");
    tap_ok(fdt_path_offset(tree.blob, "/b") < fdt_path_offset(tree.blob, "/a"),
           "a later node comes first");
    fdt_tree_free(&tree);
}

static void test_errors(void)
{
    struct fdt_tree tree;
    size_t size;

    (void)fdt_tree_create(&tree, error, sizeof(error));
    fdt_tree_node(&tree, "/missing/child");
    fdt_tree_cell(&tree, "/", "after", 1);
    tap_ok(fdt_tree_finish(&tree, &size, error, sizeof(error)) == -EINVAL &&
               strstr(error, "device tree"),
           "a parent has to be there");
    fdt_tree_free(&tree);

    (void)fdt_tree_create(&tree, error, sizeof(error));
    for (unsigned i = 0; i < 20; i++) {
        static const char bytes[100000];
        char name[32];

        snprintf(name, sizeof(name), "p%u", i);
        fdt_tree_bytes(&tree, "/", name, bytes, sizeof(bytes));
    }
    tap_ok(fdt_tree_finish(&tree, &size, error, sizeof(error)) == -ENOSPC, "a tree has an end");
    fdt_tree_free(&tree);
}

static void test_load(void)
{
    char path[4096];
    struct fdt_tree tree;
    size_t size;
    int fd;

    snprintf(path, sizeof(path), "%s/fdt-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    fd = mkstemp(path);
    (void)fdt_tree_create(&tree, error, sizeof(error));
    fdt_tree_node(&tree, "/a");
    (void)fdt_tree_finish(&tree, &size, error, sizeof(error));
    tap_ok(fd >= 0 && write(fd, tree.blob, size) == (ssize_t)size, "a file is written");
    fdt_tree_free(&tree);
    tap_ok(!fdt_tree_load(&tree, path, error, sizeof(error)), "and read back");
    fdt_tree_node(&tree, "/a/b");
    tap_ok(!fdt_tree_finish(&tree, &size, error, sizeof(error)) &&
               fdt_path_offset(tree.blob, "/a/b") > 0,
           "and grows");
    fdt_tree_free(&tree);
    for (off_t cut = 60; cut > 0; cut -= 7) {
        if (ftruncate(fd, cut) < 0 || fdt_tree_load(&tree, path, error, sizeof(error)) != -EINVAL) {
            tap_ok(false, "cut to %d bytes it is refused", (int)cut);
        }
    }
    tap_ok(fdt_tree_load(&tree, "/nonexistent", error, sizeof(error)) == -ENOENT &&
               strstr(error, "-dtb /nonexistent"),
           "a file has to be there");
    close(fd);
    unlink(path);
}

int main(void)
{
    test_build();
    test_errors();
    test_load();
    return tap_done();
}
