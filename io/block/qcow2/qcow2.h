/*
 * The qcow2 driver: what its files share. docs of the format: "QCOW2 image format".
 *
 * Locks. `alloc_lock` makes steps of allocation atomic against each other (reference counts, L1
 * and L2 tables coming and going); it may be held over input and output. `lock` protects all that
 * is in memory; it is never held over input or output. Order: alloc_lock, sync slot, lock. What
 * says "may drop the lock" gives it back meanwhile, and tells by *dropped.
 *
 * Claims. A request claims the guest clusters that it is about: shared (reads, writes in place) or
 * exclusive (all that changes the mapping). A claim is held over input and output, one by each
 * request; so what an L2 entry says stays true as long as somebody relies on it, and a host cluster
 * is not freed under a request.
 *
 * Order on the medium. Changes of metadata happen in memory and are written by qcow2_sync() in
 * groups: reference count blocks; [flush; reference count table]; flush; L2; [flush; L1]; flush.
 * The first flush covers the data as well, which was written before its L2 entry changed in memory.
 * So a count on the medium is never lower than the references that are there, and an entry never
 * points to what is not written. References that have gone are queued (`frees`), and only after the
 * last flush their counts go down and their clusters can be used again. Whatever the moment of a
 * power failure, the image has at worst clusters that are counted and not referenced.
 *
 * Both caches hold parts of tables in the format of the file (big-endian).
 */
#ifndef TINAMOU_IO_BLOCK_QCOW2_QCOW2_H
#define TINAMOU_IO_BLOCK_QCOW2_QCOW2_H

#include "io/block/driver.h"
#include "io/block/bytes.h"
#include "io/block/qcow2/header.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define QCOW2_COPIED      (UINT64_C(1) << 63)
#define QCOW2_COMPRESSED  (UINT64_C(1) << 62)
#define QCOW2_ZERO        UINT64_C(1)
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define QCOW2_L1_RESERVED UINT64_C(0x7f000000000001ff)
#define QCOW2_L2_RESERVED UINT64_C(0x3f000000000001fe)
#define QCOW2_SUBCLUSTERS 32u
#define QCOW2_MAX_PIECE   (8u << 20) /* bytes that one step of a request allocates */
#define QCOW2_FREES_MAX   8192u      /* queued before a sync is forced */

/* ---- options (open.c) ------------------------------------------------------------------------ */

struct qcow2_options {
    int lazy_refcounts; /* index in qcow2_auto_names; auto: as the image says */
    bool pass_discard_snapshot, pass_discard_other, discard_no_unref;
    int pass_discard_request;            /* index in qcow2_auto_names */
    int overlap_check;                   /* index in qcow2_overlap_names */
    uint16_t overlap_set, overlap_clear; /* single kinds chosen by options of their own */
    uint64_t cache_size, l2_cache_size, l2_cache_entry_size, refcount_cache_size;
    uint64_t cache_clean_interval;
    char *encrypt_format, *key_secret;
    char *snapshot; /* id or name of the internal snapshot that is shown, read-only */
    bool repair;    /* opened for check(): as it is, corrupt images for writing too */
};

struct qcow2_create_options {
    int compat; /* index in qcow2_compat_names */
    uint64_t cluster_size;
    bool lazy_refcounts, data_file_raw, extended_l2;
    uint64_t refcount_bits;
    int compression, preallocation;
    int encrypt_format; /* index in qcow2_encrypt_names; 0: none */
    bool encryption;    /* the old name of AES */
    char *key_secret;
    int cipher_alg, cipher_mode, ivgen_alg, ivgen_hash_alg, hash_alg; /* as in crypto.h */
    uint64_t iter_time;
    char *data_file; /* the name to store */
};

/* ---- caches of metadata (cache.c) ------------------------------------------------------------ */

struct qcow2;
struct qcow2_slot;

struct qcow2_cache {
    struct qcow2 *q;
    size_t slot_size; /* bytes; offsets are multiples of it */
    unsigned limit, count, loading;
    struct qcow2_slot **hash;
    unsigned hash_mask;
    struct qcow2_slot *newest, *oldest; /* clean ones */
    struct qcow2_slot *dirty;
    unsigned dirty_count;
    uint32_t age; /* of cache-clean-interval */
};

int qcow2_cache_init(struct qcow2_cache *cache, struct qcow2 *q, size_t slot_size, uint64_t bytes,
                     unsigned least);
void qcow2_cache_destroy(struct qcow2_cache *cache);
/* lock held; may drop it. *data is valid until the lock is released or dropped. 0 or -errno. */
int qcow2_cache_get(struct qcow2_cache *cache, uint64_t offset, uint8_t **data, bool *dropped);
/* lock held, and kept: the contents if they are there, else NULL. */
uint8_t *qcow2_cache_peek(struct qcow2_cache *cache, uint64_t offset);
/* lock held: what is there stays until it is unpinned, any number of times; who would forget it
 * waits. Not while loading. */
struct qcow2_slot *qcow2_cache_pin(struct qcow2_cache *cache, uint64_t offset);
void qcow2_cache_unpin(struct qcow2_cache *cache, struct qcow2_slot *slot);
/* The same as get, for what has never been on the medium: zeros, and dirty. */
int qcow2_cache_new(struct qcow2_cache *cache, uint64_t offset, uint8_t **data);
/* lock held: what get has just returned has been changed. */
void qcow2_cache_mark(struct qcow2_cache *cache, uint64_t offset);
/* lock held: forgets [offset, offset + size), changes included. May drop the lock. */
void qcow2_cache_forget(struct qcow2_cache *cache, uint64_t offset, uint64_t size);
/* lock held: now and then, when cache-clean-interval has gone by, forgets all that is clean and was
 * not used since the last time. Called with requests, so an idle node keeps what it has. */
void qcow2_caches_age(struct qcow2 *q);

/* For sync.c, which writes them. */
struct qcow2_slot {
    uint64_t offset;
    uint8_t *data;
    struct qcow2_slot *chain;       /* of the hash */
    struct qcow2_slot *next, *prev; /* of the clean or the dirty list */
    bool dirty, writing, loading;
    unsigned pins; /* in no list while pinned, unless dirty */
    uint32_t age;
};
/* lock held: all dirty slots become `writing`, in *slots (malloc()ed), ascending; the count. */
int qcow2_cache_take_dirty(struct qcow2_cache *cache, struct qcow2_slot ***slots, unsigned *count);
/* lock held: they are written; or not, and dirty again. Frees slots. */
void qcow2_cache_written(struct qcow2_cache *cache, struct qcow2_slot **slots, unsigned count,
                         bool ok);

/* A table that is wholly in memory: L1, reference count table. In host order. */
struct qcow2_table {
    uint64_t *entries;
    uint32_t count;
    uint64_t offset;                 /* in the image */
    uint32_t dirty_first, dirty_end; /* entries; first == end: none */
};

/* ---- the state of a node --------------------------------------------------------------------- */

/* Metadata that a write may hit by mistake; the names are those of overlap-check.* */
#define QCOW2_OL_HEADER      1u
#define QCOW2_OL_ACTIVE_L1   2u
#define QCOW2_OL_ACTIVE_L2   4u
#define QCOW2_OL_REFBLOCK    8u
#define QCOW2_OL_REFTABLE    16u
#define QCOW2_OL_SNAPSHOTS   32u
#define QCOW2_OL_INACTIVE_L1 64u
#define QCOW2_OL_INACTIVE_L2 128u
#define QCOW2_OL_BITMAPS     256u

struct qcow2_owners { /* overlap.c: host cluster to what it holds */
    uint64_t *keys;   /* cluster + 1; 0: empty */
    uint16_t *kinds;
    size_t size, used;
};

struct qcow2_claim {
    uint64_t first, last; /* guest clusters */
    bool exclusive;
    struct qcow2_claim *next, *prev;
};

/* An allocation: guest clusters of one kind, that get host clusters in a row. */
struct qcow2_run {
    uint64_t offset, size; /* what the guest writes; inside of one L2 table */
    uint64_t first, last;  /* guest clusters */
    uint64_t host;         /* of the first one */
    bool reuse;            /* the host clusters are theirs already */
    bool fresh;
    uint64_t lo, hi; /* what is written: from lo in the first cluster up to hi in the last */
};

struct qcow2_pass;  /* forward.c: a request on its way around the workers */
struct qcow2_place; /* forward.c: new clusters that such requests write to */

enum qcow2_free_kind {
    QCOW2_FREE_REQUEST,  /* pass-discard-request */
    QCOW2_FREE_SNAPSHOT, /* pass-discard-snapshot */
    QCOW2_FREE_OTHER,    /* pass-discard-other */
    QCOW2_FREE_NEVER,
};

struct qcow2_free {
    uint64_t cluster, count; /* host clusters; each loses one reference */
    enum qcow2_free_kind kind;
};

struct qcow2_free_list {
    struct qcow2_free *items;
    size_t count, room;
    uint64_t clusters; /* sum of the items' counts */
};

struct qcow2_snapshot {
    uint64_t l1_offset;
    uint32_t l1_size;
    char *id, *name;
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec, vm_state_size, disk_size, icount;
    uint32_t extra_size; /* of what is unknown, behind the fields known here */
    uint8_t *extra;
};

struct qcow2_crypto; /* encrypt.c */

struct qcow2 {
    struct block_node *node;
    struct block_node *file; /* metadata */
    struct block_node *data; /* guest data: the data file, or `file` */
    struct qcow2_header header;

    unsigned cluster_bits;
    uint64_t cluster_size;
    unsigned entry_size; /* of L2: 8 or 16 */
    unsigned l2_bits;    /* log2 of entries in an L2 table */
    unsigned slice_bits; /* log2 of entries in a slice */
    size_t slice_size;   /* bytes */
    unsigned subs;       /* subclusters in a cluster: 1 or 32 */
    unsigned sub_bits;   /* log2 of a subcluster's size */
    unsigned block_bits; /* log2 of entries in a reference count block */
    uint64_t refcount_max;
    bool external; /* there is a data file */
    bool data_raw;
    bool lazy;             /* reference counts are lazy */
    bool writable;         /* the node is, and nothing speaks against it */
    bool active;           /* between activate and inactivate */
    _Atomic bool broken;   /* found corrupt while running: no more writes */
    _Atomic int unsettled; /* -errno with which a change failed half-way (settle.c), or 0 */
    _Atomic bool settling; /* somebody is at it; quiesced */
    const struct qcow2_options *options;
    struct qcow2_options *own_options; /* of a node made by create(), without options */

    pthread_mutex_t alloc_lock;
    uint64_t hint;          /* alloc_lock: below this host cluster nothing is free */
    uint64_t packed_offset; /* alloc_lock: where the next compressed cluster goes; 0: anywhere */
    struct qcow2_free_list ready; /* lock: from here counts may go down */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned waiters;
    struct qcow2_claim *claims;
    struct qcow2_pass *spare_passes;
    struct qcow2_place *places, *spare_places;
    bool quiesced;
    struct qcow2_table l1, reftable;
    int64_t aged; /* CLOCK_MONOTONIC seconds of the last qcow2_cache_age() */
    unsigned lookups;
    struct qcow2_cache l2_cache, block_cache;
    struct qcow2_free_list frees;
    struct qcow2_owners owners;
    unsigned overlap_mask;
    uint64_t zero_from; /* host offset from which on the image file is a hole */
    bool reserving;     /* the file is being made longer ... */
    bool reserved;      /* ... has been ... */
    bool no_reserve;    /* ... or can't be */
    bool data_dirty;    /* what L2 and L1 entries point to was written since the last flush */

    /* the sync slot */
    bool sync_busy;
    uint64_t sync_started, sync_done;
    int sync_results[4];

    struct qcow2_snapshot *snapshots; /* quiesced, or main loop */
    unsigned snapshot_count;
    uint64_t snapshots_size; /* bytes of the table */

    pthread_mutex_t header_lock; /* innermost; held over writing the header */
    uint8_t *header_image;       /* the header cluster as it is on the medium */
    bool header_unknown;         /* or as it was: nobody knows what a failed write has done */

    struct qcow2_crypto *crypto;
};

static inline uint64_t qcow2_cluster_of(const struct qcow2 *q, uint64_t offset)
{
    return offset >> q->cluster_bits;
}

static inline uint64_t qcow2_within(const struct qcow2 *q, uint64_t offset)
{
    return offset & (q->cluster_size - 1);
}

/* Clusters that hold `bytes`. */
static inline uint64_t qcow2_clusters(const struct qcow2 *q, uint64_t bytes)
{
    return (bytes >> q->cluster_bits) + (qcow2_within(q, bytes) != 0);
}

static inline uint64_t qcow2_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t qcow2_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* ---- open.c, driver.c ------------------------------------------------------------------------ */

extern const struct block_driver block_qcow2;
extern const struct property qcow2_create_properties[];
extern const char *const qcow2_auto_names[];
extern const char *const qcow2_overlap_names[];
extern const char *const qcow2_compat_names[]; /* from index QCOW2_COMPAT_V3 on: version 3 */
extern const char *const qcow2_compression_names[];
#define QCOW2_COMPAT_V3 2

int qcow2_open(struct block_node *node, char *error, size_t error_size);
void qcow2_close(struct block_node *node);
int qcow2_inactivate(struct block_node *node);
int qcow2_activate(struct block_node *node, char *error, size_t error_size);
int qcow2_info(struct block_node *node, struct block_info *info);
struct json_t *qcow2_info_specific(struct block_node *node);
/* A state over `file` (and `data`) that belongs to no node: for creation and measuring. */
struct qcow2 *qcow2_new(struct block_node *file, struct block_node *data, char *error,
                        size_t error_size);
/* Writes all, and marks clean; frees. */
int qcow2_delete(struct qcow2 *q);

/* ---- sync.c: ordered writing ----------------------------------------------------------------- */

/*
 * Writes all dirty metadata in order and flushes; then what was queued in `frees` is ready. `lock`
 * is not held. Callers at the same time share a round.
 */
int qcow2_sync(struct qcow2 *q);
/* The same, until nothing is dirty and nothing waits to be freed. alloc_lock is not held. */
int qcow2_sync_all(struct qcow2 *q);
/* The sync slot: nobody else writes tables meanwhile. lock not held. */
void qcow2_sync_begin(struct qcow2 *q);
void qcow2_sync_end(struct qcow2 *q);
/* With the slot: writes reference count blocks and their table, in order, without a last flush. */
int qcow2_sync_counts(struct qcow2 *q);
/* Flushes the data file and the image. */
int qcow2_barrier(struct qcow2 *q);
int qcow2_flush(struct block_node *node);
/* Entries [first, end) of a table have changed. lock held. */
void qcow2_table_mark(struct qcow2_table *table, uint32_t first, uint32_t end);

/* ---- settle.c: the header, and what failed half-way ------------------------------------------ */

/* Writes the header cluster as q->header says. On error the node is unsettled, and the caller puts
 * back what was in q->header. */
int qcow2_write_header(struct qcow2 *q);
/* The same with a flush. */
int qcow2_store_header(struct qcow2 *q);
/* A change failed half-way with -errno `err`, which is returned. */
int qcow2_unsettle(struct qcow2 *q, int err);
/* Before anything is changed: makes right what failed half-way, or fails itself. Nothing is claimed
 * by the caller. */
int qcow2_settle(struct qcow2 *q);
/* The same while no requests run. */
int qcow2_settle_quiesced(struct qcow2 *q);
/* 0, or why nothing may be written now. */
static inline int qcow2_refusal(const struct qcow2 *q)
{
    return q->broken ? -EIO : q->settling ? 0 : q->unsettled;
}
/* Before the first change of an image that is lazy, and around what takes several steps: the dirty
 * bit goes to the medium. Nothing in version 2. lock not held. */
int qcow2_set_dirty(struct qcow2 *q);
int qcow2_clear_dirty(struct qcow2 *q);

/* Metadata in the image file. `kind`: what is going to be there (QCOW2_OL_*); -EIO, and the image
 * is marked corrupt, when the range holds something else. */
int qcow2_pread(struct qcow2 *q, uint64_t offset, void *buffer, size_t size);
int qcow2_pwrite(struct qcow2 *q, unsigned kind, uint64_t offset, const void *buffer, size_t size);

/* ---- overlap.c ------------------------------------------------------------------------------- */

/* lock held. Clusters of [offset, offset + size) hold (no more) metadata of this kind. */
int qcow2_owners_add(struct qcow2 *q, uint64_t offset, uint64_t size, unsigned kind);
void qcow2_owners_remove(struct qcow2 *q, uint64_t offset, uint64_t size, unsigned kind);
void qcow2_owners_free(struct qcow2_owners *owners);
/* All metadata that is known without reading: by open() and whoever changes everything. */
int qcow2_owners_rebuild(struct qcow2 *q);
/* lock held: what in [offset, offset + size) is metadata of other kinds than `kind`; 0: nothing. */
unsigned qcow2_overlaps(const struct qcow2 *q, uint64_t offset, uint64_t size, unsigned kind);
/* Reports once, sets the corrupt bit, stops writing. lock not held. Returns -EIO. */
int qcow2_corrupt(struct qcow2 *q, const char *what, uint64_t offset);
/* The message for an overlap; returns -EIO. lock not held. */
int qcow2_overlap_found(struct qcow2 *q, uint64_t offset, unsigned kinds);

/* ---- refcount.c ------------------------------------------------------------------------------ */

uint64_t qcow2_count_get(const uint8_t *block, uint64_t index, unsigned order);
void qcow2_count_set(uint8_t *block, uint64_t index, unsigned order, uint64_t count);
/* alloc_lock held. */
int qcow2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *count);
/* alloc_lock held: adds +1 or -1 to [cluster, cluster + n). -EINVAL: a count does not fit; then
 * those before it have been changed. -EUCLEAN: would be negative, or nothing counts the cluster. */
int qcow2_refcount_add(struct qcow2 *q, uint64_t cluster, uint64_t n, int delta);
/* The same in one block that is in memory, whose slot the caller marks; lock held. */
int qcow2_block_add(struct qcow2 *q, uint8_t *block, uint64_t cluster, uint64_t n, int delta);
/* Allocates up to `want`, at least one, consecutive clusters. *fresh: the file has only a hole
 * there. alloc_lock not held. */
int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *offset, uint64_t *got, bool *fresh);
/* The same for just `want` of them, if it needs nothing but what is in memory: else -EAGAIN, and
 * likewise when they have to be fresh and would not be. lock held, and kept. */
int qcow2_alloc_now(struct qcow2 *q, uint64_t want, bool fresh_only, uint64_t *offset, bool *fresh);
/* Takes back what alloc_now() has just given, and nobody has written to. lock held. */
void qcow2_alloc_undo(struct qcow2 *q, uint64_t offset, uint64_t count, bool fresh);
/* The file is at least that long, and longer, for what is allocated next: a host writes faster
 * where it need not make room. lock held, and dropped meanwhile; nothing if somebody else does it.
 */
void qcow2_reserve(struct qcow2 *q, uint64_t end);
/* Is it time for that? lock held. */
bool qcow2_reserve_due(const struct qcow2 *q, uint64_t end);
/* Gives back what was reserved. No request is under way. */
void qcow2_reserve_end(struct qcow2 *q);
/* All of them, consecutive. alloc_lock held. */
int qcow2_alloc_exact(struct qcow2 *q, uint64_t n, uint64_t *offset);
/* Like alloc_exact for bytes, without the lock held. */
int qcow2_alloc_bytes(struct qcow2 *q, uint64_t bytes, uint64_t *offset);
/* Room for compressed data of `size` bytes, which may share clusters. */
int qcow2_alloc_packed(struct qcow2 *q, size_t size, uint64_t *offset);
/* What was just allocated was not used: counts go down at once. alloc_lock not held. */
void qcow2_unalloc(struct qcow2 *q, uint64_t offset, uint64_t size);
/* lock held: references to [offset, offset + size) have gone from memory. */
void qcow2_free_later(struct qcow2 *q, uint64_t offset, uint64_t size, enum qcow2_free_kind kind);
/* The same for what an L2 entry points to. lock held. */
void qcow2_free_entry(struct qcow2 *q, uint64_t entry, enum qcow2_free_kind kind);
/* Is it time to flush, so that what was freed can be used again? lock not held. */
bool qcow2_many_frees(struct qcow2 *q);
/* Takes down the counts of what is ready. alloc_lock held. */
int qcow2_release_ready(struct qcow2 *q);
int qcow2_free_list_add(struct qcow2_free_list *list, uint64_t cluster, uint64_t count,
                        enum qcow2_free_kind kind);
/* The first cluster behind which none is counted. alloc_lock held. */
int qcow2_end_of_used(struct qcow2 *q, uint64_t *cluster);

/* ---- claims (claim.c) ------------------------------------------------------------------------ */

/* lock held, and dropped while it waits: true if it waited (then nothing is claimed: look again).
 */
bool qcow2_claim_wait(struct qcow2 *q, uint64_t first, uint64_t last, bool exclusive);
/* lock held: the first cluster in [first, last] that a claim of this kind would have to wait for;
 * last + 1 if none. */
uint64_t qcow2_claim_limit(const struct qcow2 *q, uint64_t first, uint64_t last, bool exclusive);
void qcow2_claim_add(struct qcow2 *q, struct qcow2_claim *claim, uint64_t first, uint64_t last,
                     bool exclusive);
void qcow2_claim_remove(struct qcow2 *q, struct qcow2_claim *claim);
/* Waits, dropping the lock. */
void qcow2_wait(struct qcow2 *q);
void qcow2_wake(struct qcow2 *q);
/* No requests run between the two, whose claims wait. No lock held. */
void qcow2_quiesce(struct qcow2 *q);
void qcow2_resume(struct qcow2 *q);

/* ---- cluster.c: what is where ---------------------------------------------------------------- */

/* An L2 entry taken apart. Masks have a bit for each subcluster (bit 0 only, if there are none). */
struct qcow2_entry {
    uint64_t raw, bitmap;
    uint64_t host; /* of the cluster, if has_host */
    bool has_host, copied, compressed;
    uint32_t data, zero;
};

/* -EIO: the entry is not valid. */
int qcow2_entry_decode(const struct qcow2 *q, uint64_t raw, uint64_t bitmap, uint64_t cluster,
                       struct qcow2_entry *entry);
/* From host, copied, data and zero; not for compressed ones. */
void qcow2_entry_encode(const struct qcow2 *q, struct qcow2_entry *entry);
/* Where compressed data is. */
uint64_t qcow2_compressed_offset(const struct qcow2 *q, uint64_t raw);
uint64_t qcow2_compressed_size(const struct qcow2 *q, uint64_t raw);
uint64_t qcow2_compressed_entry(const struct qcow2 *q, uint64_t offset, uint64_t size);

/* The entry of a guest cluster. lock held; may drop it. No L2 table: an unallocated one. */
int qcow2_entry_get(struct qcow2 *q, uint64_t cluster, struct qcow2_entry *entry, bool *dropped);
/* Stores one; its L2 table is private (qcow2_l2_prepare()). lock held; may drop it. */
int qcow2_entry_set(struct qcow2 *q, uint64_t cluster, const struct qcow2_entry *entry);
/* The L2 table of this guest cluster exists and is not shared. No lock held. */
int qcow2_l2_prepare(struct qcow2 *q, uint64_t cluster);
/* The L1 table has at least so many entries. alloc_lock held. */
int qcow2_l1_grow(struct qcow2 *q, uint64_t entries);

enum qcow2_what {
    QCOW2_IS_UNALLOCATED,
    QCOW2_IS_ZERO,
    QCOW2_IS_DATA,
    QCOW2_IS_COMPRESSED,
};

struct qcow2_extent {
    enum qcow2_what what;
    bool copied;       /* DATA: may be written in place */
    uint64_t host;     /* DATA */
    uint64_t raw;      /* COMPRESSED: the entry */
    uint64_t size;     /* bytes from the asked offset on that are the same; COMPRESSED: to the
                          cluster's end */
    bool preallocated; /* ZERO or UNALLOCATED with a host cluster */
};

/* lock held; may drop it, then look again at what depends on claims. */
int qcow2_extent_get(struct qcow2 *q, uint64_t offset, uint64_t size, struct qcow2_extent *extent,
                     bool *dropped);
/* The same without I/O: -EAGAIN when it would be needed. lock held, and kept. */
int qcow2_extent_peek(struct qcow2 *q, uint64_t offset, uint64_t size, struct qcow2_extent *extent);

/* lock held: where in the image the entry of this guest cluster is, and its table's slice; NULL:
 * not in memory. *is_private: the table may be changed. */
uint8_t *qcow2_slice_peek(struct qcow2 *q, uint64_t cluster, uint64_t *offset, bool *is_private);
/* The entry in that slice, and one's own into it. */
int qcow2_slice_get(const struct qcow2 *q, const uint8_t *slice, uint64_t cluster,
                    struct qcow2_entry *entry);
void qcow2_slice_put(const struct qcow2 *q, uint8_t *slice, uint64_t cluster,
                     const struct qcow2_entry *entry);

/* ---- io.c, forward.c, zero.c, compressed.c --------------------------------------------------- */

int qcow2_read(struct block_node *node, uint64_t offset, const struct block_vec *vec);
int qcow2_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                unsigned flags);
int qcow2_status(struct block_node *node, uint64_t offset, uint64_t size,
                 struct block_status *status);
/* How much of first and last cluster has to be written, by their entries. */
void qcow2_run_bounds(const struct qcow2 *q, struct qcow2_run *run, const struct qcow2_entry *first,
                      const struct qcow2_entry *last);
/* The entry of a cluster after the run was written. */
void qcow2_run_entry(const struct qcow2 *q, const struct qcow2_run *run, uint64_t cluster,
                     const struct qcow2_entry *old, struct qcow2_entry *entry);
/* At any guest offset, also that of a machine's state. */
int qcow2_read_at(struct qcow2 *q, uint64_t offset, const struct block_vec *vec);
int qcow2_write_at(struct qcow2 *q, uint64_t offset, const struct block_vec *vec);
/* What an extent holds. No lock held; the cluster is claimed. */
int qcow2_read_extent(struct qcow2 *q, uint64_t offset, const struct qcow2_extent *extent,
                      const struct block_vec *vec);
/* Allocates [offset, offset + size), on whole clusters, where nothing was: they read as zeros. */
int qcow2_preallocate(struct qcow2 *q, uint64_t offset, uint64_t size,
                      enum block_preallocation mode);

bool qcow2_forward(struct block_node *node, enum block_request_kind kind, uint64_t offset,
                   uint64_t size, struct block_forward *forward);
void qcow2_forward_done(struct block_node *node, void *cookie, enum block_request_kind kind,
                        int result);
/* Frees what it keeps; nothing is under way. */
void qcow2_forward_free(struct qcow2 *q);

int qcow2_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags);
int qcow2_discard(struct block_node *node, uint64_t offset, uint64_t size);
/* Nothing shines through and nothing is there: what a longer disk had before it was cut. */
int qcow2_drop_range(struct qcow2 *q, uint64_t offset, uint64_t size);
int qcow2_make_empty(struct block_node *node);

int qcow2_read_compressed(struct qcow2 *q, uint64_t raw, uint8_t *cluster);
int qcow2_write_compressed(struct qcow2 *q, uint64_t offset, const struct block_vec *vec);

/* ---- snapshot.c ------------------------------------------------------------------------------ */

int qcow2_snapshots_load(struct qcow2 *q, char *error, size_t error_size);
void qcow2_snapshots_free(struct qcow2 *q);
/* Writes the table to a new place and the header; frees the old one. Quiesced. */
int qcow2_snapshots_store(struct qcow2 *q);
int qcow2_snapshot_find(const struct qcow2 *q, const char *which);
int qcow2_snapshot_create(struct block_node *node, struct block_snapshot *snapshot);
int qcow2_snapshot_goto(struct block_node *node, const char *which);
int qcow2_snapshot_delete(struct block_node *node, const char *which, char *error,
                          size_t error_size);
int qcow2_snapshot_list(struct block_node *node, struct block_snapshot **list);
int qcow2_snapshot_load(struct block_node *node, const char *which, char *error, size_t error_size);
int qcow2_vmstate_read(struct block_node *node, uint64_t offset, const struct block_vec *vec);
int qcow2_vmstate_write(struct block_node *node, uint64_t offset, const struct block_vec *vec);
uint64_t qcow2_vmstate_offset(const struct qcow2 *q);
/* Reads an L1 table of the image into host order; malloc()ed. */
int qcow2_l1_read(struct qcow2 *q, uint64_t offset, uint32_t count, uint64_t **entries);
/* Counts of all that an L1 table reaches go up or down by one (0: not at all); `copied`: flags of
 * the (active) table and its L2 tables are made right. Quiesced, synced. */
int qcow2_tree_update(struct qcow2 *q, uint64_t *l1, uint32_t count, int delta, bool copied);

/* ---- bitmap.c -------------------------------------------------------------------------------- */

int qcow2_bitmap_list(struct block_node *node, struct block_bitmap_info **list);
int qcow2_bitmap_load(struct block_node *node, const char *name, struct block_bitmap_info *info,
                      uint8_t **bits);
int qcow2_bitmap_store(struct block_node *node, const struct block_bitmap_info *info,
                       const uint8_t *bits, char *error, size_t error_size);
int qcow2_bitmap_remove(struct block_node *node, const char *name, char *error, size_t error_size);
/* Calls fn for each area of the image that bitmaps occupy. 0, fn's error, or -EINVAL. */
int qcow2_bitmaps_walk(struct qcow2 *q,
                       int (*fn)(void *opaque, uint64_t offset, uint64_t size, bool table),
                       void *opaque);

/* ---- check.c, repair.c ----------------------------------------------------------------------- */

struct qcow2_counts; /* reference counts as they should be, sparse */

struct qcow2_counts *qcow2_counts_create(uint64_t clusters);
void qcow2_counts_free(struct qcow2_counts *counts);
uint64_t qcow2_counts_get(const struct qcow2_counts *counts, uint64_t cluster);
/* -ENOMEM, or -ERANGE behind the end. */
int qcow2_counts_add(struct qcow2_counts *counts, uint64_t cluster, uint64_t n);
uint64_t qcow2_counts_size(const struct qcow2_counts *counts);
int qcow2_counts_resize(struct qcow2_counts *counts, uint64_t clusters);
/* The first cluster in [from, end) that has a count other than zero; end if none. */
uint64_t qcow2_counts_next(const struct qcow2_counts *counts, uint64_t from, uint64_t end);

int qcow2_check(struct block_node *node, unsigned fix, struct block_check *check);
int qcow2_check_image(struct qcow2 *q, unsigned fix, struct block_check *check);
/* Counts references and has qcow2_rebuild() write them. Quiesced, synced. */
int qcow2_recount(struct qcow2 *q, unsigned order);
/* Writes all reference counts anew, with entries of 1 << order bits. `counts` has everything but
 * the present table and blocks. Quiesced, synced. -ERANGE: a count does not fit. */
int qcow2_rebuild(struct qcow2 *q, struct qcow2_counts *counts, unsigned order);
__attribute__((format(printf, 2, 3))) void qcow2_finding(struct block_check *check,
                                                         const char *format, ...);

/* ---- create.c, resize.c, amend.c ------------------------------------------------------------- */

int qcow2_create(const struct block_create *create, const void *options, char *error,
                 size_t error_size);
int qcow2_measure(uint64_t size, struct block_node *from, const void *options,
                  struct block_measure *measure, char *error, size_t error_size);
/* Bytes of an image of `size` bytes with all clusters allocated. */
uint64_t qcow2_full_size(uint64_t size, unsigned cluster_bits, unsigned refcount_order,
                         bool extended);
int qcow2_truncate(struct block_node *node, uint64_t size, bool exact,
                   enum block_preallocation preallocation, char *error, size_t error_size);
int qcow2_resize(struct qcow2 *q, uint64_t size, enum block_preallocation preallocation,
                 char *error, size_t error_size);
int qcow2_change_backing(struct block_node *node, const char *filename, const char *format);
int qcow2_amend(struct block_node *node, const char *options, bool force,
                void (*progress)(void *opaque, uint64_t done, uint64_t total), void *opaque,
                char *error, size_t error_size);

/* ---- encrypt.c ------------------------------------------------------------------------------- */

/* Makes the encryption header of a new image. */
int qcow2_crypto_create(struct qcow2 *q, const struct qcow2_create_options *options, char *error,
                        size_t error_size);
/* Bytes that it takes. */
int qcow2_crypto_measure(const struct qcow2_create_options *options, uint64_t *bytes, char *error,
                         size_t error_size);
/* Unlocks. Without a key an image opened for looking only has no crypto. */
int qcow2_crypto_open(struct qcow2 *q, char *error, size_t error_size);
void qcow2_crypto_close(struct qcow2 *q);
/* "encrypt" of what is shown; a new reference. */
struct json_t *qcow2_crypto_describe(const struct qcow2 *q);
struct luks_amend;
/* Passwords are added or erased. 0 or -errno with a line in error[]. */
int qcow2_crypto_amend(struct qcow2 *q, const struct luks_amend *amend, bool force, char *error,
                       size_t error_size);
/* In place; multiples of 512 bytes. -EIO if there is no key. */
int qcow2_encrypt(struct qcow2 *q, uint64_t guest, uint64_t host, uint8_t *data, size_t size);
int qcow2_decrypt(struct qcow2 *q, uint64_t guest, uint64_t host, uint8_t *data, size_t size);

#endif
