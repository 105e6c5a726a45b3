/*
 * Device trees under construction: libfdt with its errors kept until the end, so that building one
 * is a list of statements. Nodes are named by path; a node's parent has to be there.
 *
 * A new node goes before its older siblings (libfdt puts it there), and drivers probe in the order
 * of nodes: what shall be found first is added last.
 */
#ifndef TINAMOU_HW_MACHINE_FDT_H
#define TINAMOU_HW_MACHINE_FDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FDT_TREE_MAX (1 << 20) /* bytes of a tree */

struct fdt_tree {
    void *blob; /* FDT_TREE_MAX bytes while it grows */
    int err;    /* the first error, as libfdt has it; FDT_TREE_NO_MEMORY */
    uint32_t phandles;
};

#define FDT_TREE_NO_MEMORY (-3) /* as -FDT_ERR_NOSPACE */

/* An empty tree. -ENOMEM, or what loading said, with a line in error[]. */
int fdt_tree_create(struct fdt_tree *tree, char *error, size_t error_size);
/* From a file of -dtb. */
int fdt_tree_load(struct fdt_tree *tree, const char *path, char *error, size_t error_size);
void fdt_tree_free(struct fdt_tree *tree);

void fdt_tree_node(struct fdt_tree *tree, const char *path);
/* Adds it unless it is there. */
void fdt_tree_need_node(struct fdt_tree *tree, const char *path);
void fdt_tree_empty(struct fdt_tree *tree, const char *path, const char *name);
void fdt_tree_string(struct fdt_tree *tree, const char *path, const char *name, const char *text);
/* Strings with a NUL behind each; size counts them all. */
void fdt_tree_bytes(struct fdt_tree *tree, const char *path, const char *name, const void *bytes,
                    size_t size);
void fdt_tree_cell(struct fdt_tree *tree, const char *path, const char *name, uint32_t value);
void fdt_tree_cells(struct fdt_tree *tree, const char *path, const char *name,
                    const uint32_t *cells, size_t count);
/* Numbers of two cells each. */
void fdt_tree_wide(struct fdt_tree *tree, const char *path, const char *name,
                   const uint64_t *numbers, size_t count);

/* Gives a node a number by which others refer to it. */
uint32_t fdt_tree_phandle(struct fdt_tree *tree, const char *path);

/* Is there such a property? */
bool fdt_tree_has(const struct fdt_tree *tree, const char *path, const char *name);

/* Packs the tree; *size is what it has then. -EINVAL or -ENOSPC with a line in error[]. */
int fdt_tree_finish(struct fdt_tree *tree, size_t *size, char *error, size_t error_size);

#endif
