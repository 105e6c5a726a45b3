/*
 * What a block driver is, and what it may call.
 *
 * A driver is straight-line blocking code. Its operations are called on worker threads (from a
 * device's requests) or on the caller's thread (tools), several at once for one node; the driver
 * takes its own locks (io/block/range-lock.h for ranges). Only open, close, create, change_backing
 * and set_permissions are never at the same time as others of the node.
 *
 * What the core has done before an operation is called: offset + size does not overflow
 * INT64_MAX; a node that is read-only is not written; reads and writes comply with the node's
 * `alignment` (unaligned ones have been widened, with overlapping requests excluded); detect-zeroes
 * and discard=ignore are settled. It has not compared with the node's size: requests of devices
 * are inside of it, those of a parent format may be behind it. Then a read gives zeros (the core
 * does that for drivers with a size), and a write grows the node if `growable`, else is -ENOSPC.
 *
 *     read(node, offset, vec)
 *         struct block_vec part = block_vec_part(vec, done, n);
 *         err = block_read(node->file->node, host_offset, &part);
 *
 * A driver calls the blocking functions below on its children. It never submits (block_submit), and
 * never waits for another worker's job.
 */
#ifndef TINAMOU_IO_BLOCK_DRIVER_H
#define TINAMOU_IO_BLOCK_DRIVER_H

#include "io/block/block.h"
#include "io/block/vec.h"
#include "util/property.h"

struct block_node;
struct block_core; /* what the core keeps with a node */

/* ---- the graph ------------------------------------------------------------------------------- */

enum block_role {
    BLOCK_ROLE_FILE,     /* holds a format's metadata and, if nothing else does, its data */
    BLOCK_ROLE_DATA,     /* holds data only (qcow2's data-file) */
    BLOCK_ROLE_BACKING,  /* is read where the node itself has nothing; never written */
    BLOCK_ROLE_FILTERED, /* is what the node shows, possibly delayed, checked or counted */
};

/* An edge of the graph. */
struct block_child {
    struct block_node *node;
    const char *name; /* "file", "backing", "data-file" */
    enum block_role role;
    unsigned permissions, shared; /* what the parent does, and what it bears from others */
};

struct block_node {
    const struct block_driver *driver;
    void *options; /* as the driver's table of properties fills them; options_size bytes */
    void *state;   /* the driver's own; state_size bytes, zeroed before open() */

    struct block_child *file;    /* of role FILE or FILTERED, or NULL */
    struct block_child *data;    /* "data-file", or NULL: then data is in `file` */
    struct block_child *backing; /* or NULL */

    const char *filename; /* for messages and relative names; never NULL */
    bool readonly;        /* open() may set it if auto_readonly */
    bool auto_readonly;   /* rather read-only than not at all */
    bool discard_unmap;   /* discard=unmap: pass discards on */
    bool direct;          /* cache.direct: around the host's page cache */
    bool no_flush;        /* cache.no-flush: file drivers ignore flushes */
    bool no_io;           /* opened for looking only: no lock, no repair, no secret needed */

    /* Set by open(), the size also by writes that grow and by truncate(). */
    uint64_t size;      /* read and written atomically (block_set_size()) */
    uint32_t alignment; /* of offset and size of reads and writes; a power of two; 0 means 1 */
    uint32_t memory_alignment;    /* of buffers; a power of two; 0 means 1 */
    uint32_t discard_granularity; /* a hint; 0: none */
    uint64_t max_transfer;        /* 0: none; the core splits */
    unsigned write_flags;         /* BLOCK_FUA: write() and zero() do it; else the core flushes */
    bool growable;                /* writes behind the end are possible */

    struct block_core *core;
};

/* ---- flags of requests ----------------------------------------------------------------------- */

#define BLOCK_FUA         1u  /* on the medium before it returns */
#define BLOCK_MAY_UNMAP   2u  /* zero(): the range may become a hole */
#define BLOCK_NO_FALLBACK 4u  /* zero(): -ENOTSUP rather than writing buffers of zeros */
#define BLOCK_COMPRESSED  8u  /* write(): store compressed; a whole cluster, or the last one */
#define BLOCK_UNCHANGED   16u /* write(): what is read does not change (copy on read) */

enum block_preallocation {
    BLOCK_PREALLOC_OFF,
    BLOCK_PREALLOC_METADATA,
    BLOCK_PREALLOC_FALLOC,
    BLOCK_PREALLOC_FULL,
};
extern const char *const block_preallocation_names[]; /* for PROPERTY_ENUM */

/* ---- results --------------------------------------------------------------------------------- */

/* What a range is. */
#define BLOCK_STATUS_DATA       1u  /* has to be read */
#define BLOCK_STATUS_ZERO       2u  /* reads as zero */
#define BLOCK_STATUS_ALLOCATED  4u  /* the contents are determined by this layer */
#define BLOCK_STATUS_OFFSET     8u  /* the data is as it is at `host` of `file` */
#define BLOCK_STATUS_RECURSE    16u /* `file` may know better (preallocated metadata) */
#define BLOCK_STATUS_COMPRESSED 32u
#define BLOCK_STATUS_EOF        64u /* the range ends where the node ends */

struct block_status {
    uint64_t size; /* of the range from the asked offset on; not 0 unless behind the end */
    unsigned flags;
    uint64_t host;           /* if BLOCK_STATUS_OFFSET */
    struct block_node *file; /* where host is; no reference */
    unsigned depth;          /* block_status_above(): 0 this node, 1 its backing, ... */
};

struct block_info {
    uint32_t cluster_size; /* 0: none */
    uint64_t allocated;    /* bytes on the host's disk; UINT64_MAX: not known */
    bool dirty;            /* not closed properly */
    bool corrupt;
    bool encrypted;
    bool compressed;
    uint64_t vm_state_offset; /* 0: no place for a machine's state */
    char *backing_filename;   /* as in the image, malloc()ed, or NULL */
    char *backing_format;     /* likewise */
};

#define BLOCK_CHECK_LEAKS  1u /* repair leaks */
#define BLOCK_CHECK_ERRORS 2u /* repair everything */

struct block_check {
    uint64_t corruptions, leaks, check_errors;
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t image_end_offset;
    uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
    /* Called with one line for each finding; may be NULL. */
    void (*report)(void *opaque, const char *line);
    void *opaque;
};

struct block_snapshot {
    char id[128], name[256];
    uint64_t vm_state_size;
    int64_t date_sec;
    uint32_t date_nsec;
    uint64_t vm_clock_nsec;
    uint64_t icount; /* UINT64_MAX: unknown */
    uint64_t disk_size;
};

struct block_bitmap_info {
    char name[1024];
    uint32_t granularity;
    bool autoload;  /* QEMU's "auto": tracks writes */
    bool in_use;    /* inconsistent: not stored properly */
    uint64_t bytes; /* of `bits`: one bit per granule, least significant first */
};

struct block_measure {
    uint64_t required, fully_allocated;
    uint64_t bitmaps;
    bool has_bitmaps;
};

/* ---- creation -------------------------------------------------------------------------------- */

/* What every creation has. The driver's own options (cluster_size, ...) are its table's object. */
struct block_create {
    const char *filename; /* of protocols */
    uint64_t size;        /* virtual size in bytes */
    /* Formats: the open, empty, writable, growable node that will hold the image. */
    struct block_node *file;
    struct block_node *data; /* qcow2's data file, opened by the caller, or NULL */
    const char *backing_filename, *backing_format; /* or NULL; the caller has looked at them */
};

/* ---- the driver ------------------------------------------------------------------------------ */

/* Which children a driver has; ends with a NULL name. */
struct block_child_rule {
    const char *name;
    enum block_role role;
    bool required;
};

/* Where a request goes that needs no code of this driver (forward()). */
struct block_forward {
    size_t size; /* comes in as the request's; less: only so much of it, from its front */
    struct block_node *node; /* the child, in which it is the same request ... */
    uint64_t offset;         /* ... there */
    bool zeros;              /* no child: it reads as zeros, and is done */
    void *cookie;            /* of the driver, for forward_done() */
    /* A write that needs the bytes around it: together they go to `offset`. They are read there,
     * with as many as are written between them; without `from` they are zeros. */
    size_t before, after;
    struct block_node *from;
    uint64_t from_offset;
};

struct block_async; /* io/block/async.h: a request on its way through the host's engine */

/*
 * Operations that are NULL do not exist: the core falls back where there is a way (no flush: flush
 * the children; no zero: write zeros; no discard: nothing happens; no status: all data; no probe:
 * never probed) and says -ENOTSUP where there is none.
 */
struct block_driver {
    const char *name;
    bool is_format; /* has a "file" child that holds an image */
    bool is_filter; /* shows its "file" child; status and info go through */
    bool may_back;  /* can have a backing file */
    /* Of a filter: what it does with its child by itself, whatever is done with it. */
    unsigned child_permissions;
    const char *protocol; /* "nbd": file names "nbd:REST" are its own, "filename" being REST */

    const struct property *options; /* of opening; NULL: none */
    size_t options_size, state_size;
    const struct block_child_rule *children; /* NULL: none */
    /* An option without a property, flattened ("inject-error.0.event"); value may be NULL (null).
     * Before open(). -ENOENT: not mine either. NULL: there are none. */
    int (*option)(struct block_node *node, const char *name, const char *value, char *error,
                  size_t error_size);
    /* Frees what option() has allocated in node->options; called also when open() failed. */
    void (*options_free)(struct block_node *node);
    const struct property *create_options; /* NULL: can't be created, unless create */
    size_t create_options_size;
    /* Frees nothing of `options`; the caller does. Any thread. */
    int (*create)(const struct block_create *create, const void *options, char *error,
                  size_t error_size);

    /* 0 (not mine) to 100 (certain) from the first `size` bytes, which are hostile. */
    int (*probe)(const uint8_t *head, size_t size, const char *filename);

    /*
     * Children are open, options are filled. Sets node->size and the limits. -errno with one line
     * in error[]; then close() is not called, and the driver has freed what it had. A format that
     * finds a backing file name in the image says so by block_set_backing(): the core opens it
     * after open(). One that finds a data file by block_set_data_file().
     */
    int (*open)(struct block_node *node, char *error, size_t error_size);
    /* Everything is flushed; frees what open() made. Can't fail any more. */
    void (*close)(struct block_node *node);
    /* Before close(), and when the image is handed to another process (migration): nothing stays
     * in caches, the image is marked clean. After it only activate() or close() are called. */
    int (*inactivate)(struct block_node *node);
    /* Another process may have changed everything: reads all metadata again. */
    int (*activate)(struct block_node *node, char *error, size_t error_size);
    /* The sum over all parents has become this: takes and gives back locks of the host. On error
     * nothing has changed. */
    int (*set_permissions)(struct block_node *node, unsigned permissions, unsigned shared,
                           char *error, size_t error_size);

    int (*read)(struct block_node *node, uint64_t offset, const struct block_vec *vec);
    int (*write)(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                 unsigned flags);
    /* -ENOTSUP: the core writes zeros (unless NO_FALLBACK). Any offset and size. */
    int (*zero)(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags);
    /* Any offset and size; the driver does what lies on whole units of its own. */
    int (*discard)(struct block_node *node, uint64_t offset, uint64_t size);
    /* All writes that returned before it was called are on the medium; caches of metadata are
     * written first, the children flushed (block_flush()) in an order that survives a crash. */
    int (*flush)(struct block_node *node);
    /* What [offset, offset + size) is, as far as it is all the same; of this layer only. */
    int (*status)(struct block_node *node, uint64_t offset, uint64_t size,
                  struct block_status *status);
    /* New virtual size. `exact` false: may become larger (host devices). New bytes read as zero. */
    int (*truncate)(struct block_node *node, uint64_t size, bool exact,
                    enum block_preallocation preallocation, char *error, size_t error_size);
    /* The node ends at `size` or farther, and where it ended before there is room on the host,
     * which reads as zeros. Shortens nothing that is written meanwhile. -ENOTSUP: that is of no use
     * here. */
    int (*reserve)(struct block_node *node, uint64_t size);
    /* The size may have changed behind our back (host devices): asks the host. */
    int (*update_size)(struct block_node *node);

    /*
     * The way around the workers. True: the request, or its first part, is what *forward says, and
     * stays so until forward_done() (NULL: nothing to be told). Called on loops' threads: it does
     * not block, takes no lock that is held over I/O, and says false when it would have to
     * (metadata not in memory). A write may be behind the end of a node that can grow.
     * forward_done() gets the result; -ECANCELED: nothing was written, -ENOTSUP: perhaps something,
     * and a worker does all of it again.
     */
    bool (*forward)(struct block_node *node, enum block_request_kind kind, uint64_t offset,
                    uint64_t size, struct block_forward *forward);
    void (*forward_done)(struct block_node *node, void *cookie, enum block_request_kind kind,
                         int result);
    /* The bottom of such a way: starts it, without blocking; false: not possible (the worker's
     * operation is called then). On the thread of the request's loop. */
    bool (*submit)(struct block_node *node, struct block_async *async);

    int (*info)(struct block_node *node, struct block_info *info);
    /* What query-block has as "format-specific" and `img info` prints; a new reference, or NULL. */
    struct json_t *(*info_specific)(struct block_node *node);
    /* Nobody writes meanwhile. Findings are counted; -errno when it couldn't go on. */
    int (*check)(struct block_node *node, unsigned fix, struct block_check *check);
    /* Changes options of an image that exists: "compat=1.1,lazy_refcounts=on". */
    int (*amend)(struct block_node *node, const char *options, bool force,
                 void (*progress)(void *opaque, uint64_t done, uint64_t total), void *opaque,
                 char *error, size_t error_size);
    /* For help: what amend() knows besides the creation options that are marked `runtime`, and
     * what stands before their names (NULL: nothing). */
    const struct property *amend_options;
    const char *amend_prefix;
    /* Room for an image of `size` bytes with these creation options; `from` (may be NULL) is what
     * would be copied. */
    int (*measure)(uint64_t size, struct block_node *from, const void *options,
                   struct block_measure *measure, char *error, size_t error_size);

    /* Writes backing name and format (NULL: none) into the image. */
    int (*change_backing)(struct block_node *node, const char *filename, const char *format);
    /* Everything of this layer is unallocated afterwards. */
    int (*make_empty)(struct block_node *node);

    /* Internal snapshots. `which` is an id or a name, ids first. */
    int (*snapshot_create)(struct block_node *node, struct block_snapshot *snapshot);
    int (*snapshot_goto)(struct block_node *node, const char *which);
    int (*snapshot_delete)(struct block_node *node, const char *which, char *error,
                           size_t error_size);
    /* A malloc()ed array in *list; returns how many, or -errno. */
    int (*snapshot_list)(struct block_node *node, struct block_snapshot **list);
    /* The node shows this snapshot, read-only, until it is closed. */
    int (*snapshot_load)(struct block_node *node, const char *which, char *error,
                         size_t error_size);
    /* A machine's state next to the disk's contents. */
    int (*vmstate_read)(struct block_node *node, uint64_t offset, const struct block_vec *vec);
    int (*vmstate_write)(struct block_node *node, uint64_t offset, const struct block_vec *vec);

    /* Persistent dirty bitmaps. */
    int (*bitmap_list)(struct block_node *node, struct block_bitmap_info **list);
    /* malloc()ed in *bits, of info->bytes. Marks it in use unless the node is read-only. */
    int (*bitmap_load)(struct block_node *node, const char *name, struct block_bitmap_info *info,
                       uint8_t **bits);
    int (*bitmap_store)(struct block_node *node, const struct block_bitmap_info *info,
                        const uint8_t *bits, char *error, size_t error_size);
    int (*bitmap_remove)(struct block_node *node, const char *name, char *error, size_t error_size);
};

/* All drivers, in the order of probing; ends with NULL. */
extern const struct block_driver *const block_drivers[];
const struct block_driver *block_driver_find(const char *name);

/* ---- for open() ------------------------------------------------------------------------------ */

/* The image names a backing file (relative to the image's folder) and its format (NULL: not said:
 * the core refuses to probe). Copies. -ENOMEM. */
int block_set_backing(struct block_node *node, const char *filename, const char *format);
/* The image names a data file of raw format; opened at once unless the user gave one: then
 * node->data is there. */
int block_set_data_file(struct block_node *node, const char *filename, char *error,
                        size_t error_size);
/* ---- blocking requests ----------------------------------------------------------------------- */

/*
 * All any alignment, any thread that may block. 0 or -errno. Behind the end of a node reads give
 * zeros; writes grow it, or are -ENOSPC.
 */
int block_read(struct block_node *node, uint64_t offset, const struct block_vec *vec);
int block_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                unsigned flags);
int block_pread(struct block_node *node, uint64_t offset, void *buffer, size_t size);
int block_pwrite(struct block_node *node, uint64_t offset, const void *buffer, size_t size,
                 unsigned flags);
int block_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags);
int block_discard(struct block_node *node, uint64_t offset, uint64_t size);
int block_flush(struct block_node *node);
int block_truncate(struct block_node *node, uint64_t size, bool exact,
                   enum block_preallocation preallocation, char *error, size_t error_size);
/* As driver->reserve(). */
int block_reserve(struct block_node *node, uint64_t size);

/* Of the node; filters are looked through, and what a driver does not say is 0 or unknown. The
 * caller frees the names. */
int block_get_info(struct block_node *node, struct block_info *info);

/* Of this layer; filters are looked through. */
int block_status(struct block_node *node, uint64_t offset, uint64_t size,
                 struct block_status *status);
/* Of the chain from node down to, but without, base (NULL: all): what a guest would read, and
 * which layer it comes from. */
int block_status_above(struct block_node *node, const struct block_node *base, uint64_t offset,
                       uint64_t size, struct block_status *status);
/* What is under `node`: reads its backing, zeros behind the backing's end or without one. */
int block_read_backing(struct block_node *node, uint64_t offset, const struct block_vec *vec);

/* By open(), truncate() and writes that grow. Any thread. */
void block_set_size(struct block_node *node, uint64_t size);

#endif
