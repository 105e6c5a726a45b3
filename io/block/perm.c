/*
 * Permissions: what the users of a node do, and what they bear from each other.
 *
 * Users are parents (edges) and claims. Two users agree when what one does is shared by the other.
 * The sum goes to the driver, which turns it into locks of the host: so processes agree by the same
 * rule. What a node does with its children follows from what is done with it:
 *
 *   - a filter's child: the same;
 *   - what holds a format's metadata: read; written and resized whenever the node can be written,
 *     since metadata changes without the guest; nobody else may write or resize;
 *   - backing: read, and nobody else may change it.
 */
#include "io/block/internal.h"

#include <errno.h>
#include <stdio.h>

static const char *perm_name(unsigned permission)
{
    switch (permission & -permission) {
    case BLOCK_PERM_READ:
        return "consistent read";
    case BLOCK_PERM_WRITE:
        return "write";
    case BLOCK_PERM_WRITE_UNCHANGED:
        return "write unchanged";
    default:
        return "resize";
    }
}

/* The sum of all users but `without` (NULL: of all). */
static void sum(const struct block_core *core, const void *without, unsigned *permissions,
                unsigned *shared)
{
    *permissions = 0;
    *shared = BLOCK_PERM_ALL;
    for (const struct block_edge *e = core->parents; e; e = e->next) {
        if (e != without) {
            *permissions |= e->child.permissions;
            *shared &= e->child.shared;
        }
    }
    for (const struct block_claim *c = core->claims; c; c = c->next) {
        if (c != without) {
            *permissions |= c->permissions;
            *shared &= c->shared;
        }
    }
    if (core->implicit && !core->parents && !core->claims) {
        *permissions = BLOCK_PERM_READ | (core->node.readonly ? 0 : BLOCK_PERM_WRITE);
        *shared = BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED;
    }
    if (core->generic.force_share) {
        *shared = BLOCK_PERM_ALL;
    }
    if (core->node.no_io) {
        *permissions = 0;
    }
    if (core->inactive) {
        *permissions = 0; /* another process has its turn */
        *shared = BLOCK_PERM_ALL;
    }
}

/* Does this user agree with all others? */
static int agree(const struct block_core *core, const void *user, unsigned permissions,
                 unsigned shared, char *error, size_t error_size)
{
    unsigned others, others_share;

    sum(core, user, &others, &others_share);
    unsigned refused = (permissions & ~others_share) | (others & ~shared);

    if (refused) {
        snprintf(error, error_size,
                 "block node '%s': another user of it %s '%s'; expected a node that is not in use",
                 core->name, permissions & ~others_share ? "does not share" : "has",
                 perm_name(refused));
        return -EBUSY;
    }
    return 0;
}

static void child_permissions(const struct block_core *core, struct block_child *child)
{
    bool writable = !core->node.readonly && !core->inactive;
    unsigned shared = core->shared;

    switch (child->role) {
    case BLOCK_ROLE_FILTERED:
        child->permissions = core->permissions | core->node.driver->child_permissions;
        child->shared = shared;
        break;
    case BLOCK_ROLE_FILE:
        child->permissions =
            BLOCK_PERM_READ | (writable ? BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE : 0);
        child->shared = BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED;
        break;
    case BLOCK_ROLE_DATA:
        child->permissions = core->permissions | (writable ? BLOCK_PERM_RESIZE : 0);
        child->shared = shared & ~BLOCK_PERM_RESIZE;
        break;
    case BLOCK_ROLE_BACKING:
        child->permissions = core->permissions & BLOCK_PERM_READ;
        child->shared = BLOCK_PERM_READ | BLOCK_PERM_WRITE_UNCHANGED;
        break;
    }
    if (core->node.no_io) {
        child->permissions = 0;
    }
    if (core->generic.force_share || core->inactive) {
        child->shared = BLOCK_PERM_ALL;
    }
}

int block_perm_update(struct block_node *node, char *error, size_t error_size)
{
    struct block_core *core = node->core;
    unsigned permissions, shared;
    int err;

    for (const struct block_edge *e = core->parents; e; e = e->next) {
        err = agree(core, e, e->child.permissions, e->child.shared, error, error_size);
        if (err) {
            return err;
        }
    }
    for (const struct block_claim *c = core->claims; c; c = c->next) {
        err = agree(core, c, c->permissions, c->shared, error, error_size);
        if (err) {
            return err;
        }
    }
    sum(core, NULL, &permissions, &shared);
    if (node->readonly && (permissions & (BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE))) {
        snprintf(error, error_size, "block node '%s' (%s) is read-only; expected one to write to",
                 core->name, node->filename);
        return -EACCES;
    }
    if (node->driver->set_permissions) {
        err = node->driver->set_permissions(node, permissions, shared, error, error_size);
        if (err) {
            return err;
        }
    }
    core->permissions = permissions;
    core->shared = shared;
    for (unsigned i = 0; i < BLOCK_MAX_CHILDREN; i++) {
        struct block_child *child = &core->edge[i].child;

        if (child->node) {
            struct block_child before = *child;

            child_permissions(core, child);
            err = block_perm_update(child->node, error, error_size);
            if (err) {
                *child = before;
                return err;
            }
        }
    }
    return 0;
}
