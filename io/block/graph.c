/*
 * Changes to graphs that are in use: sizes, replaced nodes, handing images to another process.
 */
#include "io/block/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- sizes ---- */

/* Tells the users of a node, and those of the filters over it, which have the same size. */
static void resized(struct block_node *node)
{
    for (struct block_claim *c = node->core->claims; c; c = c->next) {
        if (c->ops && c->ops->resized) {
            c->ops->resized(c->opaque);
        }
    }
    for (struct block_edge *e = node->core->parents; e; e = e->next) {
        if (e->child.role == BLOCK_ROLE_FILTERED && e->parent->driver->is_filter) {
            block_set_size(e->parent, block_size(node));
            resized(e->parent);
        }
    }
}

int block_resize(struct block_node *node, uint64_t size, char *error, size_t error_size)
{
    int err;

    block_drain(node);
    err = block_truncate(node, size, true, BLOCK_PREALLOC_OFF, error, error_size);
    if (!err) {
        resized(node);
    }
    return err;
}

/* ---- replacing ---- */

/* Moves the users of a node; they get references to the new one, and keep those to the old. */
static void move_users(struct block_node *from, struct block_node *to)
{
    while (from->core->parents) {
        struct block_edge *e = from->core->parents;

        from->core->parents = e->next;
        e->child.node = to;
        e->next = to->core->parents;
        to->core->parents = e;
        block_ref(to);
    }
    while (from->core->claims) {
        struct block_claim *c = from->core->claims;

        from->core->claims = c->next;
        c->node = to;
        c->next = to->core->claims;
        to->core->claims = c;
        block_ref(to);
    }
}

static unsigned count_users(const struct block_node *node)
{
    unsigned n = 0;

    for (const struct block_edge *e = node->core->parents; e; e = e->next) {
        n++;
    }
    for (const struct block_claim *c = node->core->claims; c; c = c->next) {
        n++;
    }
    return n;
}

/* Both are idle, and `to` is for `from`'s users alone. */
static int prepare(struct block_node *from, struct block_node *to, char *error, size_t error_size)
{
    if (count_users(to)) {
        snprintf(error, error_size, "block node '%s': is in use; it can't take another's place",
                 block_name(to));
        return -EBUSY;
    }
    block_drain(from);
    block_drain(to);
    return 0;
}

/* The users have moved: they are told, and their references to the old node go. */
static void finish_move(struct block_node *from, struct block_node *to, unsigned users)
{
    for (struct block_claim *c = to->core->claims; c; c = c->next) {
        if (c->ops && c->ops->replaced) {
            c->ops->replaced(c->opaque, to);
        }
    }
    for (unsigned i = 0; i < users; i++) {
        block_unref(from);
    }
}

/* The users come back; each has a reference to both nodes too many then. */
static void undo_move(struct block_node *from, struct block_node *to, unsigned users, bool held)
{
    char ignored[200];

    move_users(to, from);
    to->core->implicit = held;
    block_perm_update(to, ignored, sizeof(ignored));
    block_perm_update(from, ignored, sizeof(ignored));
    to->core->references -= users;
    from->core->references -= users;
}

int block_replace(struct block_node *from, struct block_node *to, char *error, size_t error_size)
{
    unsigned users = count_users(from);
    bool held = to->core->implicit;
    int err = prepare(from, to, error, error_size);

    if (err) {
        return err;
    }
    to->core->implicit = held && !users; /* who held it for its users gives it to them */
    move_users(from, to);
    err = block_perm_update(from, error, error_size);
    if (!err) {
        err = block_perm_update(to, error, error_size);
    }
    if (err) {
        undo_move(from, to, users, held);
        return err;
    }
    finish_move(from, to, users);
    return 0;
}

int block_append(struct block_node *base, struct block_node *overlay, char *error,
                 size_t error_size)
{
    static const struct block_child_rule rule = {.name = "backing", .role = BLOCK_ROLE_BACKING};
    unsigned users = count_users(base);
    bool held = overlay->core->implicit, base_held = base->core->implicit;
    int err;

    if (!overlay->driver->may_back || overlay->backing) {
        snprintf(error, error_size, "block node '%s': %s", block_name(overlay),
                 overlay->backing ? "has a backing file already"
                                  : "its format has no backing files");
        return -EINVAL;
    }
    err = prepare(base, overlay, error, error_size);
    if (err) {
        return err;
    }
    overlay->core->implicit = held && !users;
    base->core->implicit = false;
    move_users(base, overlay);
    err = block_node_attach(overlay, base, &rule, error, error_size);
    if (err) {
        base->core->implicit = base_held;
        undo_move(base, overlay, users, held);
        return err;
    }
    block_ref(base); /* the edge's */
    finish_move(base, overlay, users);
    return 0;
}

/* ---- another process's turn ---- */

static bool has_active_parent(const struct block_core *core)
{
    for (const struct block_edge *e = core->parents; e; e = e->next) {
        if (!e->parent->core->inactive) {
            return true;
        }
    }
    return false;
}

static bool has_inactive_child(const struct block_core *core)
{
    for (unsigned i = 0; i < BLOCK_MAX_CHILDREN; i++) {
        const struct block_node *child = core->edge[i].child.node;

        if (child && child->core->inactive) {
            return true;
        }
    }
    return false;
}

static int inactivate(struct block_core *core, char *error, size_t error_size)
{
    struct block_node *node = &core->node;
    int err = 0;

    block_drain(node);
    if (!node->readonly) {
        err = block_flush(node);
        if (!err && node->driver->inactivate) {
            err = node->driver->inactivate(node);
        }
    }
    if (err) {
        snprintf(error, error_size, "block node '%s' (%s): can't be handed over: %s", core->name,
                 node->filename, strerror(-err));
        return err;
    }
    core->inactive = true;
    return block_perm_update(node, error, error_size);
}

/* From the users' end down: caches of a format go into its file. */
int block_inactivate_all(char *error, size_t error_size)
{
    bool progress = true;

    while (progress) {
        progress = false;
        for (struct block_core *c = block_nodes(); c; c = c->next) {
            if (!c->inactive && !has_active_parent(c)) {
                int err = inactivate(c, error, error_size);

                if (err) {
                    char ignored[200];

                    block_activate_all(ignored, sizeof(ignored));
                    return err;
                }
                progress = true;
            }
        }
    }
    return 0;
}

static int activate(struct block_core *core, char *error, size_t error_size)
{
    struct block_node *node = &core->node;
    int err;

    core->inactive = false;
    err = block_perm_update(node, error, error_size);
    if (!err && node->driver->update_size) {
        err = node->driver->update_size(node);
        if (err) {
            snprintf(error, error_size, "block node '%s' (%s): can't be taken over: %s", core->name,
                     node->filename, strerror(-err));
        }
    }
    if (!err && node->driver->activate) {
        err = node->driver->activate(node, error, error_size);
    }
    if (err) {
        char ignored[200];

        core->inactive = true;
        block_perm_update(node, ignored, sizeof(ignored)); /* gives back what it got */
    }
    return err;
}

int block_activate_all(char *error, size_t error_size)
{
    bool progress = true;

    while (progress) {
        progress = false;
        for (struct block_core *c = block_nodes(); c; c = c->next) {
            if (c->inactive && !has_inactive_child(c)) {
                int err = activate(c, error, error_size);

                if (err) {
                    return err;
                }
                progress = true;
            }
        }
    }
    return 0;
}
