/* Device trees; the only file that knows libfdt. */
#include "hw/machine/fdt.h"

#include "hw/machine/loader.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int fdt_tree_create(struct fdt_tree *tree, char *error, size_t error_size)
{
    *tree = (struct fdt_tree){.blob = malloc(FDT_TREE_MAX)};
    if (!tree->blob) {
        snprintf(error, error_size, "device tree: out of memory");
        return -ENOMEM;
    }
    tree->err = fdt_create_empty_tree(tree->blob, FDT_TREE_MAX);
    return 0;
}

int fdt_tree_load(struct fdt_tree *tree, const char *path, char *error, size_t error_size)
{
    struct loader_file file;
    int err = loader_open(&file, "-dtb", path, FDT_TREE_MAX / 2, error, error_size);

    *tree = (struct fdt_tree){.blob = NULL};
    if (err) {
        return err;
    }
    /* Every offset and name in it, before anything else looks at it. */
    if (fdt_check_full(file.data, file.size)) {
        snprintf(error, error_size, "-dtb %s: is no device tree, or a damaged one", path);
        err = -EINVAL;
    } else {
        tree->blob = malloc(FDT_TREE_MAX);
        if (!tree->blob || fdt_open_into(file.data, tree->blob, FDT_TREE_MAX)) {
            snprintf(error, error_size, "-dtb %s: out of memory", path);
            fdt_tree_free(tree);
            err = -ENOMEM;
        }
    }
    loader_close(&file);
    return err;
}

void fdt_tree_free(struct fdt_tree *tree)
{
    free(tree->blob);
    tree->blob = NULL;
}

static void keep(struct fdt_tree *tree, int result)
{
    if (result < 0 && !tree->err) {
        tree->err = result;
    }
}

void fdt_tree_node(struct fdt_tree *tree, const char *path)
{
    const char *name = strrchr(path, '/');
    int parent = fdt_path_offset_namelen(tree->blob, path, name == path ? 1 : (int)(name - path));

    keep(tree, parent);
    if (parent >= 0) {
        keep(tree, fdt_add_subnode(tree->blob, parent, name + 1));
    }
}

void fdt_tree_need_node(struct fdt_tree *tree, const char *path)
{
    if (fdt_path_offset(tree->blob, path) == -FDT_ERR_NOTFOUND) {
        fdt_tree_node(tree, path);
    }
}

void fdt_tree_bytes(struct fdt_tree *tree, const char *path, const char *name, const void *bytes,
                    size_t size)
{
    int node = fdt_path_offset(tree->blob, path);

    keep(tree, node);
    if (node >= 0) {
        keep(tree, fdt_setprop(tree->blob, node, name, bytes, (int)size));
    }
}

void fdt_tree_empty(struct fdt_tree *tree, const char *path, const char *name)
{
    fdt_tree_bytes(tree, path, name, NULL, 0);
}

void fdt_tree_string(struct fdt_tree *tree, const char *path, const char *name, const char *text)
{
    fdt_tree_bytes(tree, path, name, text, strlen(text) + 1);
}

void fdt_tree_cell(struct fdt_tree *tree, const char *path, const char *name, uint32_t value)
{
    fdt_tree_cells(tree, path, name, &value, 1);
}

void fdt_tree_cells(struct fdt_tree *tree, const char *path, const char *name,
                    const uint32_t *cells, size_t count)
{
    fdt32_t *big = malloc(count * sizeof(*big));

    if (!big) {
        keep(tree, -FDT_ERR_NOSPACE);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        big[i] = cpu_to_fdt32(cells[i]);
    }
    fdt_tree_bytes(tree, path, name, big, count * sizeof(*big));
    free(big);
}

void fdt_tree_wide(struct fdt_tree *tree, const char *path, const char *name,
                   const uint64_t *numbers, size_t count)
{
    fdt64_t *big = malloc(count * sizeof(*big));

    if (!big) {
        keep(tree, -FDT_ERR_NOSPACE);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        big[i] = cpu_to_fdt64(numbers[i]);
    }
    fdt_tree_bytes(tree, path, name, big, count * sizeof(*big));
    free(big);
}

uint32_t fdt_tree_phandle(struct fdt_tree *tree, const char *path)
{
    tree->phandles++;
    fdt_tree_cell(tree, path, "phandle", tree->phandles);
    return tree->phandles;
}

bool fdt_tree_has(const struct fdt_tree *tree, const char *path, const char *name)
{
    int node = fdt_path_offset(tree->blob, path);

    return node >= 0 && fdt_getprop(tree->blob, node, name, NULL) != NULL;
}

int fdt_tree_finish(struct fdt_tree *tree, size_t *size, char *error, size_t error_size)
{
    if (!tree->err) {
        tree->err = fdt_pack(tree->blob);
    }
    if (tree->err) {
        snprintf(error, error_size, "device tree: %s", fdt_strerror(tree->err));
        return tree->err == -FDT_ERR_NOSPACE ? -ENOSPC : -EINVAL;
    }
    *size = fdt_totalsize(tree->blob);
    return 0;
}
