/* What the files of io/block's core share; drivers do not include it. */
#ifndef TINAMOU_IO_BLOCK_INTERNAL_H
#define TINAMOU_IO_BLOCK_INTERNAL_H

#include "io/block/driver.h"
#include "io/block/options.h"
#include "io/block/range-lock.h"
#include "io/block/stats.h"

#include <pthread.h>

#define BLOCK_PROBE_SIZE   2048 /* bytes at the front that probe() sees */
#define BLOCK_MAX_CHILDREN 4
#define BLOCK_MAX_NAME     31  /* characters of a node-name */
#define BLOCK_MAX_CHAIN    200 /* layers of backing files: more is a loop or an attack */

enum block_detect_zeroes { BLOCK_DETECT_OFF, BLOCK_DETECT_ON, BLOCK_DETECT_UNMAP };

/* Options that every node has. */
struct block_generic {
    char *node_name;
    bool readonly, auto_readonly, force_share, direct, no_flush, writeback;
    int discard;       /* 0 ignore, 1 unmap */
    int detect_zeroes; /* enum block_detect_zeroes */
};

struct block_edge {
    struct block_child child;
    struct block_node *parent;
    struct block_edge *next; /* of the same child node */
};

struct block_claim {
    struct block_node *node;
    unsigned permissions, shared;
    const struct block_claim_ops *ops; /* or NULL */
    void *opaque;
    struct block_claim *next;
};

struct block_core {
    struct block_node node; /* the part that drivers see */
    char name[BLOCK_MAX_NAME + 1];
    char *filename;
    unsigned references; /* main loop's thread */
    struct block_generic generic;
    struct block_core *next; /* of all nodes */
    bool opened;             /* open() has succeeded */
    bool inactive;           /* inactivate() has been called */
    bool no_backing, repair; /* how it was opened (BLOCK_OPEN_*); children likewise */
    bool probed_raw; /* nobody said that it is raw: the head may not become another format */
    bool implicit;   /* held as by a disk, until a claim or a parent comes */

    struct block_edge edge[BLOCK_MAX_CHILDREN]; /* to the children; child.node NULL: free */
    struct block_edge *parents;
    struct block_claim *claims;
    unsigned permissions, shared; /* what set_permissions() was told last */

    /* What the image says; from open(). */
    char *backing_filename, *backing_format;

    struct range_locks writes; /* when alignment > 1: a widened write excludes what it touches */
    unsigned long written;     /* counts changes; atomic */
    unsigned long flushed;     /* the `written` that is on the medium; atomic */

    struct throttle_group *throttle; /* of the edge, or NULL */

    pthread_mutex_t lock; /* of what follows */
    struct block_core_stats stats;
    struct block_request_state *under_way;
    pthread_cond_t idle; /* under_way has become NULL */
};

static inline struct block_core *block_core_of(const struct block_node *node)
{
    return node->core;
}

/* ---- node.c ---- */

/* All nodes, linked by `next`. */
struct block_core *block_nodes(void);
/* A node of this driver with one reference, not open. NULL: out of memory. */
struct block_node *block_node_new(const struct block_driver *driver);
/* Gives it the wished name, or "#blockN" (NULL). -EINVAL, -EEXIST. */
int block_node_set_name(struct block_node *node, const char *name, char *error, size_t error_size);
/* Adds a child; takes over the reference. 0 or -errno (permissions), then the reference stays the
 * caller's. */
int block_node_attach(struct block_node *parent, struct block_node *node,
                      const struct block_child_rule *rule, char *error, size_t error_size);
void block_node_detach(struct block_node *parent, struct block_edge *edge);

/* ---- perm.c ---- */

/* Computes what all users of a node do and bear, tells the driver, and goes on with the children.
 */
int block_perm_update(struct block_node *node, char *error, size_t error_size);

/* ---- open.c ---- */

/* The format that the first bytes look like, among all; raw when like none. */
const struct block_driver *block_probe(const uint8_t *head, size_t size, const char *filename);

/* Opens a graph, which nobody holds yet; takes what it knows out of the options. */
int block_open_options(struct block_node **node, struct block_options *options, bool may_probe,
                       char *error, size_t error_size);
/* The same, probing, with BLOCK_OPEN_*. */
int block_open_flags(struct block_node **node, struct block_options *options, unsigned flags,
                     char *error, size_t error_size);
/* Opens a node of this driver over a node that is open, whose reference is taken over. */
int block_open_over(struct block_node **node, const struct block_driver *driver,
                    struct block_options *options, struct block_node *file, char *error,
                    size_t error_size);
/* Holds a node as by a disk, until a claim or a parent comes. */
int block_hold(struct block_node *node, char *error, size_t error_size);
/* Does this driver get its image through a child of the name "file"? */
bool block_has_file_child(const struct block_driver *driver);

/* ---- io.c ---- */

/* A write has made the node end at `end`, or farther. */
void block_grown_to(struct block_node *node, uint64_t end);
/* Is a write into the first bytes of a raw image that was probed harmless? 0 or -EPERM. */
int block_check_probed(struct block_node *node, uint64_t offset, const struct block_vec *vec);

#endif
