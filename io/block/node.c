/*
 * Nodes: their life, names, edges and users.
 *
 * A node is made by block_node_new(), gets its children, is opened, and lives until the last
 * reference is given back; an edge holds a reference to its child. The list of all nodes, the
 * references and the edges belong to the main loop's thread. Requests hold no references: who
 * submits them does, until they are done.
 */
#include "io/block/internal.h"
#include "io/block/throttle.h"

#include <errno.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct block_core *all_nodes;
static unsigned long auto_names;

struct block_node *block_node_new(const struct block_driver *driver)
{
    struct block_core *core = calloc(1, sizeof(*core));

    if (!core) {
        return NULL;
    }
    core->node.core = core;
    core->node.driver = driver;
    core->node.filename = "";
    core->node.options = calloc(1, driver->options_size + 1);
    core->node.state = calloc(1, driver->state_size + 1);
    if (!core->node.options || !core->node.state ||
        (driver->options && property_set_defaults(driver->options, core->node.options))) {
        free(core->node.options);
        free(core->node.state);
        free(core);
        return NULL;
    }
    core->references = 1;
    core->shared = BLOCK_PERM_ALL;
    range_locks_init(&core->writes);
    pthread_mutex_init(&core->lock, NULL);
    pthread_cond_init(&core->idle, NULL);
    core->next = all_nodes;
    all_nodes = core;
    return &core->node;
}

int block_node_set_name(struct block_node *node, const char *name, char *error, size_t error_size)
{
    if (!name) {
        snprintf(node->core->name, sizeof(node->core->name), "#block%lu", auto_names++);
        return 0;
    }
    bool good = isalpha((unsigned char)name[0]) && strlen(name) <= BLOCK_MAX_NAME;

    for (const char *c = name; *c; c++) {
        good &= isalnum((unsigned char)*c) || strchr("-._", *c);
    }
    if (!good) {
        snprintf(error, error_size,
                 "node-name=%.40s: expected a letter, then letters, digits, '-', '.' or '_', at "
                 "most %d in all",
                 name, BLOCK_MAX_NAME);
        return -EINVAL;
    }
    if (block_find(name)) {
        snprintf(error, error_size, "node-name=%s: there is such a node already", name);
        return -EEXIST;
    }
    memcpy(node->core->name, name, strlen(name) + 1);
    return 0;
}

struct block_core *block_nodes(void)
{
    return all_nodes;
}

struct block_node *block_find(const char *node_name)
{
    for (struct block_core *c = all_nodes; c; c = c->next) {
        if (strcmp(c->name, node_name) == 0) {
            return &c->node;
        }
    }
    return NULL;
}

struct block_node *block_ref(struct block_node *node)
{
    node->core->references++;
    return node;
}

static void close_node(struct block_core *core)
{
    struct block_node *node = &core->node;

    if (core->opened) {
        if (!node->readonly && !core->inactive) {
            block_flush(node);
            if (node->driver->inactivate) {
                node->driver->inactivate(node);
            }
        }
        if (node->driver->close) {
            node->driver->close(node);
        }
    }
    for (unsigned i = 0; i < BLOCK_MAX_CHILDREN; i++) {
        struct block_node *child = core->edge[i].child.node;

        if (child) {
            block_node_detach(node, &core->edge[i]);
            block_unref(child);
        }
    }
    if (node->driver->options_free) {
        node->driver->options_free(node);
    }
    if (node->driver->options) {
        property_clear(node->driver->options, node->options);
    }
    struct block_core **at = &all_nodes;

    while (*at != core) {
        at = &(*at)->next;
    }
    *at = core->next;
    block_set_throttle(node, NULL);
    block_stats_free(&core->stats);
    range_locks_destroy(&core->writes);
    pthread_cond_destroy(&core->idle);
    pthread_mutex_destroy(&core->lock);
    free(core->generic.node_name);
    free(core->backing_filename);
    free(core->backing_format);
    free(core->filename);
    free(node->options);
    free(node->state);
    free(core);
}

void block_unref(struct block_node *node)
{
    if (node && --node->core->references == 0) {
        close_node(node->core);
    }
}

/* ---- edges ---- */

/* The pointer by which drivers see this child. */
static struct block_child **place_of(struct block_node *parent, const struct block_child *child)
{
    switch (child->role) {
    case BLOCK_ROLE_FILE:
    case BLOCK_ROLE_FILTERED:
        return &parent->file;
    case BLOCK_ROLE_DATA:
        return &parent->data;
    case BLOCK_ROLE_BACKING:
        return &parent->backing;
    }
    return NULL;
}

static struct block_edge *free_edge(struct block_core *core)
{
    unsigned i = 0;

    while (core->edge[i].child.node) {
        i++; /* there are more places than roles */
    }
    return &core->edge[i];
}

static void unlink_edge(struct block_edge *edge)
{
    struct block_edge **at = &edge->child.node->core->parents;

    while (*at != edge) {
        at = &(*at)->next;
    }
    *at = edge->next;
    *place_of(edge->parent, &edge->child) = NULL;
    edge->child.node = NULL;
}

/* Tells drivers that the users are those they had been, after a change that was refused or that
 * gave something back: both can't fail. */
static void undo(struct block_node *node)
{
    char error[200];

    block_perm_update(node, error, sizeof(error));
}

int block_node_attach(struct block_node *parent, struct block_node *node,
                      const struct block_child_rule *rule, char *error, size_t error_size)
{
    struct block_edge *edge = free_edge(parent->core);
    bool implicit = node->core->implicit;

    edge->child = (struct block_child){.node = node, .name = rule->name, .role = rule->role};
    edge->child.shared = BLOCK_PERM_ALL;
    edge->parent = parent;
    edge->next = node->core->parents;
    node->core->parents = edge;
    node->core->implicit = false;
    *place_of(parent, &edge->child) = &edge->child;
    int err = block_perm_update(parent, error, error_size);

    if (err) {
        unlink_edge(edge);
        node->core->implicit = implicit;
        undo(parent);
        undo(node);
    }
    return err;
}

void block_node_detach(struct block_node *parent, struct block_edge *edge)
{
    struct block_node *node = edge->child.node;

    unlink_edge(edge);
    undo(node);
}

/* ---- claims ---- */

int block_claim(struct block_claim **claim, struct block_node *node, unsigned permissions,
                unsigned shared, char *error, size_t error_size)
{
    struct block_claim *c = calloc(1, sizeof(*c));
    bool implicit = node->core->implicit;

    if (!c) {
        snprintf(error, error_size, "block node '%s': out of memory", block_name(node));
        return -ENOMEM;
    }
    *c = (struct block_claim){
        .node = node, .permissions = permissions, .shared = shared, .next = node->core->claims};
    node->core->claims = c;
    node->core->implicit = false;
    int err = block_perm_update(node, error, error_size);

    if (err) {
        node->core->claims = c->next;
        node->core->implicit = implicit;
        free(c);
        undo(node);
        return err;
    }
    block_ref(node);
    *claim = c;
    return 0;
}

void block_claim_release(struct block_claim *claim)
{
    struct block_node *node = claim->node;
    struct block_claim **at = &node->core->claims;

    while (*at != claim) {
        at = &(*at)->next;
    }
    *at = claim->next;
    free(claim);
    undo(node);
    block_unref(node);
}

struct block_node *block_claim_node(const struct block_claim *claim)
{
    return claim->node;
}

void block_claim_set_ops(struct block_claim *claim, const struct block_claim_ops *ops, void *opaque)
{
    claim->ops = ops;
    claim->opaque = opaque;
}

/* ---- facts ---- */

const char *block_name(const struct block_node *node)
{
    return node->core->name;
}

uint64_t block_size(const struct block_node *node)
{
    return __atomic_load_n(&node->size, __ATOMIC_ACQUIRE);
}

void block_set_size(struct block_node *node, uint64_t size)
{
    __atomic_store_n(&node->size, size, __ATOMIC_RELEASE);
}

bool block_readonly(const struct block_node *node)
{
    return node->readonly;
}

void block_get_limits(const struct block_node *node, struct block_limits *limits)
{
    *limits = (struct block_limits){
        .alignment = node->alignment ? node->alignment : 1,
        .discard_granularity = node->discard_unmap ? node->discard_granularity : 0,
        .max_transfer = 0, /* larger ones are split */
    };
}

int block_set_backing(struct block_node *node, const char *filename, const char *format)
{
    struct block_core *core = node->core;

    free(core->backing_filename);
    free(core->backing_format);
    core->backing_filename = filename ? strdup(filename) : NULL;
    core->backing_format = format ? strdup(format) : NULL;
    return (filename && !core->backing_filename) || (format && !core->backing_format) ? -ENOMEM : 0;
}
