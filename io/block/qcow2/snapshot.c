/*
 * Internal snapshots ("Snapshots"), and where a machine's state is.
 *
 * All that changes snapshots runs alone (qcow2_quiesce()), on an image whose metadata is on the
 * medium, and in an order in which a reference is counted before it exists and until it is gone.
 * Between the steps counts and the "copied" flags do not fit each other, which nothing but the
 * dirty bit can tell a reader; so it is set meanwhile (version 3).
 */
#include "io/block/qcow2/qcow2.h"
#include "util/bits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ENTRY_SIZE  40u /* before extra data, id and name */
#define KNOWN_EXTRA 24u

/* ---- the table ------------------------------------------------------------------------------- */

static void free_snapshot(struct qcow2_snapshot *s)
{
    free(s->id);
    free(s->name);
    free(s->extra);
}

void qcow2_snapshots_free(struct qcow2 *q)
{
    for (unsigned i = 0; i < q->snapshot_count; i++) {
        free_snapshot(&q->snapshots[i]);
    }
    free(q->snapshots);
    q->snapshots = NULL;
    q->snapshot_count = 0;
    q->snapshots_size = 0;
}

/* One entry at `offset`; *size is what it takes. */
static int load_one(struct qcow2 *q, uint64_t offset, struct qcow2_snapshot *s, uint64_t *size)
{
    uint8_t head[ENTRY_SIZE], extra[QCOW2_MAX_SNAPSHOT_EXTRA] = {0};
    uint32_t extra_size, id_size, name_size;
    int err = qcow2_pread(q, offset, head, sizeof(head));

    if (err != 0) {
        return err;
    }
    id_size = bytes_be16(head + 12);
    name_size = bytes_be16(head + 14);
    extra_size = bytes_be32(head + 36);
    *s = (struct qcow2_snapshot){
        .l1_offset = bytes_be64(head),
        .l1_size = bytes_be32(head + 8),
        .date_sec = bytes_be32(head + 16),
        .date_nsec = bytes_be32(head + 20),
        .vm_clock_nsec = bytes_be64(head + 24),
        .vm_state_size = bytes_be32(head + 32),
        .disk_size = q->header.size,
        .icount = UINT64_MAX,
    };
    if (extra_size > QCOW2_MAX_SNAPSHOT_EXTRA || qcow2_within(q, s->l1_offset) ||
        s->l1_offset >> 56 || (uint64_t)s->l1_size * 8 > QCOW2_MAX_L1_BYTES) {
        return -EINVAL;
    }
    *size = (ENTRY_SIZE + extra_size + id_size + name_size + 7u) & ~7u;
    err = qcow2_pread(q, offset + ENTRY_SIZE, extra, extra_size);
    s->id = calloc(1, id_size + 1);
    s->name = calloc(1, name_size + 1);
    if (err == 0 && (!s->id || !s->name)) {
        err = -ENOMEM;
    }
    if (err == 0) {
        err = qcow2_pread(q, offset + ENTRY_SIZE + extra_size, s->id, id_size);
    }
    if (err == 0) {
        err = qcow2_pread(q, offset + ENTRY_SIZE + extra_size + id_size, s->name, name_size);
    }
    if (extra_size >= 8) {
        s->vm_state_size = bytes_be64(extra);
    }
    if (extra_size >= 16) {
        s->disk_size = bytes_be64(extra + 8);
    }
    if (extra_size >= 24) {
        s->icount = bytes_be64(extra + 16);
    }
    if (err == 0 && extra_size > KNOWN_EXTRA) {
        s->extra_size = extra_size - KNOWN_EXTRA;
        s->extra = malloc(s->extra_size);
        if (s->extra) {
            memcpy(s->extra, extra + KNOWN_EXTRA, s->extra_size);
        } else {
            err = -ENOMEM;
        }
    }
    if (err == 0 && s->disk_size > INT64_MAX) {
        err = -EINVAL;
    }
    if (err != 0) {
        free_snapshot(s);
    }
    return err;
}

int qcow2_snapshots_load(struct qcow2 *q, char *error, size_t error_size)
{
    uint32_t count = q->header.snapshot_count;
    uint64_t at = 0, size;
    int err = 0;

    if (count == 0) {
        return 0;
    }
    q->snapshots = calloc(count, sizeof(*q->snapshots));
    if (!q->snapshots) {
        err = -ENOMEM;
    }
    for (uint32_t i = 0; err == 0 && i < count; i++) {
        err = load_one(q, q->header.snapshots_offset + at, &q->snapshots[i], &size);
        if (err == 0) {
            q->snapshot_count++;
            at += size;
            err = at > QCOW2_MAX_SNAPSHOTS_BYTES ? -EFBIG : 0;
        }
    }
    q->snapshots_size = at;
    if (err != 0) {
        snprintf(error, error_size, "qcow2: %s: snapshot table is invalid", q->node->filename);
    }
    return err;
}

static uint64_t entry_bytes(const struct qcow2_snapshot *s)
{
    return (ENTRY_SIZE + KNOWN_EXTRA + s->extra_size + strlen(s->id) + strlen(s->name) + 7) &
           ~UINT64_C(7);
}

static void put_entry(const struct qcow2_snapshot *s, uint8_t *to)
{
    size_t id = strlen(s->id), name = strlen(s->name);

    bytes_put_be64(to, s->l1_offset);
    bytes_put_be32(to + 8, s->l1_size);
    bytes_put_be16(to + 12, (uint16_t)id);
    bytes_put_be16(to + 14, (uint16_t)name);
    bytes_put_be32(to + 16, s->date_sec);
    bytes_put_be32(to + 20, s->date_nsec);
    bytes_put_be64(to + 24, s->vm_clock_nsec);
    bytes_put_be32(to + 32, s->vm_state_size > UINT32_MAX ? 0 : (uint32_t)s->vm_state_size);
    bytes_put_be32(to + 36, KNOWN_EXTRA + s->extra_size);
    bytes_put_be64(to + 40, s->vm_state_size);
    bytes_put_be64(to + 48, s->disk_size);
    bytes_put_be64(to + 56, s->icount);
    to += ENTRY_SIZE + KNOWN_EXTRA;
    if (s->extra_size) {
        memcpy(to, s->extra, s->extra_size);
    }
    memcpy(to + s->extra_size, s->id, id);
    memcpy(to + s->extra_size + id, s->name, name);
}

int qcow2_snapshots_store(struct qcow2 *q)
{
    uint64_t old_offset = q->header.snapshots_offset, old_size = q->snapshots_size;
    uint32_t old_count = q->header.snapshot_count;
    uint64_t size = 0, at = 0, offset = 0;
    uint8_t *table;
    int err = 0;

    for (unsigned i = 0; i < q->snapshot_count; i++) {
        size += entry_bytes(&q->snapshots[i]);
    }
    if (size > QCOW2_MAX_SNAPSHOTS_BYTES) {
        return -EFBIG;
    }
    table = calloc(1, size + 1);
    if (!table) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < q->snapshot_count; i++) {
        put_entry(&q->snapshots[i], table + at);
        at += entry_bytes(&q->snapshots[i]);
    }
    if (size) {
        err = qcow2_alloc_bytes(q, size, &offset);
        if (err == 0) {
            err = qcow2_pwrite(q, 0, offset, table, size);
        }
    }
    free(table);
    if (err == 0) {
        err = qcow2_sync(q);
    }
    if (err == 0) {
        q->header.snapshots_offset = offset;
        q->header.snapshot_count = q->snapshot_count;
        err = qcow2_store_header(q);
    }
    if (err != 0) {
        q->header.snapshots_offset = old_offset;
        q->header.snapshot_count = old_count;
        if (offset) {
            qcow2_unalloc(q, offset, size);
        }
        return err;
    }
    q->snapshots_size = size;
    pthread_mutex_lock(&q->lock);
    if (old_size) {
        qcow2_free_later(q, old_offset, old_size, QCOW2_FREE_SNAPSHOT);
    }
    pthread_mutex_unlock(&q->lock);
    return 0;
}

/* ---- trees of tables ------------------------------------------------------------------------- */

/* References of one entry, up or down. alloc_lock held. */
static int update_entry(struct qcow2 *q, uint64_t raw, int delta)
{
    uint64_t offset = raw & QCOW2_OFFSET_MASK, size = q->cluster_size, first;

    if (raw & QCOW2_COMPRESSED) {
        offset = qcow2_compressed_offset(q, raw);
        size = qcow2_compressed_size(q, raw);
    } else if (offset == 0 || q->external) {
        return 0;
    }
    first = qcow2_cluster_of(q, offset);
    if (delta > 0) {
        return qcow2_refcount_add(q, first, qcow2_clusters(q, offset + size) - first, 1);
    }
    return qcow2_free_list_add(&q->ready, first, qcow2_clusters(q, offset + size) - first,
                               QCOW2_FREE_SNAPSHOT);
}

/* The flag that an entry of the active tree has to have. */
static int right_flag(struct qcow2 *q, uint64_t raw, uint64_t *wanted)
{
    uint64_t count = 1;
    int err = 0;

    *wanted = raw & ~QCOW2_COPIED;
    if ((raw & QCOW2_COMPRESSED) || (!q->external && !(raw & QCOW2_OFFSET_MASK))) {
        return 0;
    }
    if (!q->external) {
        err = qcow2_refcount(q, qcow2_cluster_of(q, raw & QCOW2_OFFSET_MASK), &count);
    } else if (!(raw & QCOW2_COPIED)) {
        count = 0;
    }
    *wanted |= count == 1 ? QCOW2_COPIED : 0;
    return err;
}

/* Works on a copy, as reference counts are looked up meanwhile. */
static int update_slice(struct qcow2 *q, uint64_t offset, uint8_t *slice, int delta, bool copied)
{
    bool dropped = false, changed = false;
    uint8_t *data;
    int err;

    pthread_mutex_lock(&q->lock);
    err = qcow2_cache_get(&q->l2_cache, offset, &data, &dropped);
    if (err == 0) {
        memcpy(slice, data, q->slice_size);
    }
    pthread_mutex_unlock(&q->lock);
    for (size_t at = 0; err == 0 && at < q->slice_size; at += q->entry_size) {
        uint64_t raw = bytes_be64(slice + at), wanted = raw;

        if (raw == 0) {
            continue;
        }
        err = delta ? update_entry(q, raw, delta) : 0;
        if (err == 0 && copied) {
            err = right_flag(q, raw, &wanted);
        }
        if (wanted != raw) {
            bytes_put_be64(slice + at, wanted);
            changed = true;
        }
    }
    if (err == 0 && changed) {
        pthread_mutex_lock(&q->lock);
        err = qcow2_cache_get(&q->l2_cache, offset, &data, &dropped);
        if (err == 0) {
            memcpy(data, slice, q->slice_size);
            qcow2_cache_mark(&q->l2_cache, offset);
        }
        pthread_mutex_unlock(&q->lock);
    }
    return err;
}

/* alloc_lock held. */
static int update_table(struct qcow2 *q, uint64_t table, uint8_t *slice, int delta, bool copied)
{
    int err = 0;

    for (uint64_t at = 0; err == 0 && at < q->cluster_size; at += q->slice_size) {
        err = update_slice(q, table + at, slice, delta, copied);
        if (err == 0 && q->ready.count > QCOW2_FREES_MAX) {
            err = qcow2_release_ready(q);
        }
    }
    return err;
}

static int update_l1_entry(struct qcow2 *q, uint64_t *entry, uint8_t *slice, int delta, bool copied)
{
    uint64_t offset = *entry & QCOW2_OFFSET_MASK, count;
    int err;

    if (offset == 0) {
        return 0;
    }
    if (qcow2_within(q, offset)) {
        return -EIO;
    }
    err = update_table(q, offset, slice, delta, copied);
    if (err == 0 && delta > 0) {
        err = qcow2_refcount_add(q, qcow2_cluster_of(q, offset), 1, 1);
    } else if (err == 0 && delta < 0) {
        err = qcow2_free_list_add(&q->ready, qcow2_cluster_of(q, offset), 1, QCOW2_FREE_SNAPSHOT);
    }
    if (err == 0 && copied) {
        err = qcow2_refcount(q, qcow2_cluster_of(q, offset), &count);
        if (err == 0) {
            pthread_mutex_lock(&q->lock); /* a flush may be looking */
            *entry = offset | (count == 1 ? QCOW2_COPIED : 0);
            pthread_mutex_unlock(&q->lock);
        }
    }
    return err;
}

int qcow2_tree_update(struct qcow2 *q, uint64_t *l1, uint32_t count, int delta, bool copied)
{
    uint8_t *slice = malloc(q->slice_size);
    int err = slice ? 0 : -ENOMEM;

    pthread_mutex_lock(&q->alloc_lock);
    for (uint32_t i = 0; err == 0 && i < count; i++) {
        uint64_t before = l1[i];

        err = update_l1_entry(q, &l1[i], slice, delta, copied);
        if (l1[i] != before && l1 == q->l1.entries) {
            pthread_mutex_lock(&q->lock);
            qcow2_table_mark(&q->l1, i, i + 1);
            pthread_mutex_unlock(&q->lock);
        }
    }
    if (err == 0) {
        err = qcow2_release_ready(q);
    }
    pthread_mutex_unlock(&q->alloc_lock);
    free(slice);
    return err;
}

/* ---- operations ------------------------------------------------------------------------------ */

/* What every operation begins with. */
static int begin(struct qcow2 *q)
{
    int err;

    if (!q->writable || q->broken) {
        return q->broken ? -EIO : -EPERM;
    }
    if (q->external) {
        return -ENOTSUP;
    }
    qcow2_quiesce(q);
    err = qcow2_settle_quiesced(q);
    if (err == 0) {
        err = qcow2_sync_all(q);
    }
    if (err == 0) {
        err = qcow2_set_dirty(q);
    }
    if (err != 0) {
        qcow2_resume(q);
    }
    return err;
}

/*
 * And ends with. `err`: of what was before the header; `behind`: of what followed it, when the
 * operation is done. After an error counts may be too high and flags wrong: they are made right,
 * now or when the host can.
 */
static int end(struct qcow2 *q, int err, int behind)
{
    if (err == 0 && behind == 0) {
        behind = qcow2_sync_all(q);
    }
    if (err == 0 && behind == 0) {
        behind = qcow2_owners_rebuild(q);
    }
    if (err == 0 && behind == 0 && !q->lazy) {
        behind = qcow2_clear_dirty(q);
    }
    if (err != 0 || behind != 0) {
        qcow2_unsettle(q, err != 0 ? err : behind);
        (void)qcow2_settle_quiesced(q);
    }
    qcow2_resume(q);
    return err;
}

int qcow2_snapshot_find(const struct qcow2 *q, const char *which)
{
    for (unsigned i = 0; i < q->snapshot_count; i++) {
        if (strcmp(q->snapshots[i].id, which) == 0) {
            return (int)i;
        }
    }
    for (unsigned i = 0; i < q->snapshot_count; i++) {
        if (strcmp(q->snapshots[i].name, which) == 0) {
            return (int)i;
        }
    }
    return -ENOENT;
}

/* A number higher than all. */
static void new_id(const struct qcow2 *q, char *id, size_t size)
{
    unsigned long highest = 0;

    for (unsigned i = 0; i < q->snapshot_count; i++) {
        unsigned long n = strtoul(q->snapshots[i].id, NULL, 10);

        highest = n > highest && n < UINT32_MAX ? n : highest;
    }
    snprintf(id, size, "%lu", highest + 1);
}

/* Writes a copy of an L1 table to new clusters. */
static int write_l1(struct qcow2 *q, const uint64_t *l1, uint32_t count, uint64_t *offset)
{
    uint64_t bytes = qcow2_clusters(q, qcow2_max((uint64_t)count * 8, 1)) << q->cluster_bits;
    uint8_t *table = calloc(1, bytes);
    int err = table ? qcow2_alloc_bytes(q, bytes, offset) : -ENOMEM;

    if (err == 0) {
        for (uint32_t i = 0; i < count; i++) {
            bytes_put_be64(table + (size_t)i * 8, l1[i]);
        }
        err = qcow2_pwrite(q, 0, *offset, table, bytes);
        if (err != 0) {
            qcow2_unalloc(q, *offset, bytes);
        }
    }
    free(table);
    return err;
}

static int add_snapshot(struct qcow2 *q, const struct block_snapshot *from, uint64_t l1_offset)
{
    struct qcow2_snapshot *list =
        realloc(q->snapshots, (q->snapshot_count + 1) * sizeof(*q->snapshots));
    struct qcow2_snapshot *s;
    int err;

    if (!list) {
        return -ENOMEM;
    }
    q->snapshots = list;
    s = &list[q->snapshot_count];
    *s = (struct qcow2_snapshot){
        .l1_offset = l1_offset,
        .l1_size = q->l1.count,
        .id = strdup(from->id),
        .name = strdup(from->name),
        .date_sec = (uint32_t)from->date_sec,
        .date_nsec = from->date_nsec,
        .vm_clock_nsec = from->vm_clock_nsec,
        .vm_state_size = from->vm_state_size,
        .disk_size = q->header.size,
        .icount = from->icount,
    };
    err = s->id && s->name ? 0 : -ENOMEM;
    q->snapshot_count++;
    if (err == 0) {
        err = qcow2_snapshots_store(q);
    }
    if (err != 0) {
        q->snapshot_count--;
        free_snapshot(s);
    }
    return err;
}

int qcow2_snapshot_create(struct block_node *node, struct block_snapshot *snapshot)
{
    struct qcow2 *q = node->state;
    uint64_t l1_offset = 0;
    int err;

    if (q->snapshot_count >= QCOW2_MAX_SNAPSHOTS) {
        return -EFBIG;
    }
    if (snapshot->id[0] && qcow2_snapshot_find(q, snapshot->id) >= 0) {
        return -EEXIST;
    }
    err = begin(q);
    if (err != 0) {
        return err;
    }
    if (!snapshot->id[0]) {
        new_id(q, snapshot->id, sizeof(snapshot->id));
    }
    snapshot->disk_size = q->header.size;
    err = qcow2_tree_update(q, q->l1.entries, q->l1.count, 1, true);
    if (err == 0) {
        err = qcow2_sync_all(q);
    }
    if (err == 0) {
        err = write_l1(q, q->l1.entries, q->l1.count, &l1_offset);
    }
    if (err == 0) {
        err = add_snapshot(q, snapshot, l1_offset);
    }
    err = end(q, err, 0);
    if (err == 0 && snapshot->vm_state_size) {
        /* The state is the snapshot's; the disk itself is done with it. */
        err = qcow2_drop_range(q, qcow2_vmstate_offset(q), snapshot->vm_state_size);
    }
    return err;
}

/* Makes a table that is written and counted the active one. */
static int switch_l1(struct qcow2 *q, uint64_t *entries, uint32_t count, uint64_t offset,
                     uint64_t size)
{
    struct qcow2_header old = q->header;
    int err;

    q->header.l1_offset = offset;
    q->header.l1_size = count;
    q->header.size = size;
    err = qcow2_store_header(q);
    if (err != 0) {
        q->header.l1_offset = old.l1_offset;
        q->header.l1_size = old.l1_size;
        q->header.size = old.size;
        return err;
    }
    pthread_mutex_lock(&q->lock);
    q->l1 = (struct qcow2_table){.entries = entries, .count = count, .offset = offset};
    pthread_mutex_unlock(&q->lock);
    return 0;
}

int qcow2_snapshot_goto(struct block_node *node, const char *which)
{
    struct qcow2 *q = node->state;
    uint64_t *entries = NULL, *more, offset = 0;
    struct qcow2_table old;
    const struct qcow2_snapshot *s;
    uint32_t count;
    int index = qcow2_snapshot_find(q, which), err;

    if (index < 0) {
        return index;
    }
    err = begin(q);
    if (err != 0) {
        return err;
    }
    s = &q->snapshots[index];
    old = q->l1;
    count = (uint32_t)qcow2_max(
        s->l1_size, qcow2_header_l1_entries(s->disk_size, q->cluster_bits, q->subs > 1));
    err = (uint64_t)count * 8 > QCOW2_MAX_L1_BYTES
              ? -EFBIG
              : qcow2_l1_read(q, s->l1_offset, s->l1_size, &entries);
    if (err == 0) {
        more = realloc(entries, (size_t)count * 8 + 8);
        err = more ? 0 : -ENOMEM;
        entries = more ? more : entries;
    }
    if (err == 0) {
        memset(entries + s->l1_size, 0, (size_t)(count - s->l1_size) * 8);
        err = qcow2_tree_update(q, entries, count, 1, false);
    }
    for (uint32_t i = 0; err == 0 && i < count; i++) {
        entries[i] &= ~QCOW2_COPIED;
    }
    if (err == 0) {
        err = write_l1(q, entries, count, &offset);
    }
    if (err == 0) {
        err = qcow2_sync_all(q);
    }
    if (err == 0) {
        err = switch_l1(q, entries, count, offset, s->disk_size);
    }
    if (err != 0) {
        free(entries);
        return end(q, err, 0);
    }
    block_set_size(node, s->disk_size);
    err = qcow2_tree_update(q, old.entries, old.count, -1, false);
    pthread_mutex_lock(&q->lock);
    if (err == 0 && old.count) {
        qcow2_free_later(q, old.offset, (uint64_t)old.count * 8, QCOW2_FREE_SNAPSHOT);
    }
    pthread_mutex_unlock(&q->lock);
    free(old.entries);
    if (err == 0) {
        err = qcow2_tree_update(q, q->l1.entries, q->l1.count, 0, true);
    }
    return end(q, 0, err);
}

/* What a snapshot that is gone had referred to. */
static int drop_tree(struct qcow2 *q, const struct qcow2_snapshot *gone, uint64_t *l1)
{
    int err = qcow2_tree_update(q, l1, gone->l1_size, -1, false);

    if (err == 0 && gone->l1_size) {
        pthread_mutex_lock(&q->lock);
        qcow2_free_later(q, gone->l1_offset, (uint64_t)gone->l1_size * 8, QCOW2_FREE_SNAPSHOT);
        pthread_mutex_unlock(&q->lock);
    }
    return err == 0 ? qcow2_tree_update(q, q->l1.entries, q->l1.count, 0, true) : err;
}

int qcow2_snapshot_delete(struct block_node *node, const char *which, char *error,
                          size_t error_size)
{
    struct qcow2 *q = node->state;
    int index = qcow2_snapshot_find(q, which), err, after = 0;
    struct qcow2_snapshot gone;
    uint64_t *l1 = NULL;
    size_t behind;

    if (index < 0) {
        snprintf(error, error_size, "qcow2: snapshot '%s': expected the id or name of one", which);
        return index;
    }
    err = begin(q);
    if (err != 0) {
        snprintf(error, error_size, "qcow2: can't delete a snapshot: %s", strerror(-err));
        return err;
    }
    gone = q->snapshots[index];
    behind = (q->snapshot_count - (size_t)index - 1) * sizeof(gone);
    err = qcow2_l1_read(q, gone.l1_offset, gone.l1_size, &l1);
    if (err == 0) {
        memmove(&q->snapshots[index], &q->snapshots[index + 1], behind);
        q->snapshot_count--;
        err = qcow2_snapshots_store(q);
        if (err != 0) {
            memmove(&q->snapshots[index + 1], &q->snapshots[index], behind);
            q->snapshots[index] = gone;
            q->snapshot_count++;
        }
    }
    if (err == 0) {
        after = drop_tree(q, &gone, l1);
        free_snapshot(&gone);
    }
    free(l1);
    err = end(q, err, after);
    if (err != 0) {
        snprintf(error, error_size, "qcow2: can't delete a snapshot: %s", strerror(-err));
    }
    return err;
}

int qcow2_snapshot_list(struct block_node *node, struct block_snapshot **list)
{
    struct qcow2 *q = node->state;

    *list = calloc(q->snapshot_count + 1, sizeof(**list));
    if (!*list) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < q->snapshot_count; i++) {
        const struct qcow2_snapshot *s = &q->snapshots[i];
        struct block_snapshot *to = &(*list)[i];

        snprintf(to->id, sizeof(to->id), "%s", s->id);
        snprintf(to->name, sizeof(to->name), "%s", s->name);
        to->vm_state_size = s->vm_state_size;
        to->date_sec = s->date_sec;
        to->date_nsec = s->date_nsec;
        to->vm_clock_nsec = s->vm_clock_nsec;
        to->icount = s->icount;
        to->disk_size = s->disk_size;
    }
    return (int)q->snapshot_count;
}

int qcow2_snapshot_load(struct block_node *node, const char *which, char *error, size_t error_size)
{
    struct qcow2 *q = node->state;
    int index = qcow2_snapshot_find(q, which), err;
    uint64_t *l1;

    if (index < 0 || q->writable) {
        snprintf(error, error_size,
                 index < 0 ? "qcow2: snapshot '%s': expected the id or name of one"
                           : "qcow2: snapshot '%s': expected a read-only node",
                 which);
        return index < 0 ? index : -EROFS;
    }
    err = qcow2_l1_read(q, q->snapshots[index].l1_offset, q->snapshots[index].l1_size, &l1);
    if (err == 0 &&
        q->snapshots[index].l1_size <
            qcow2_header_l1_entries(q->snapshots[index].disk_size, q->cluster_bits, q->subs > 1)) {
        free(l1);
        err = -EINVAL;
    }
    if (err != 0) {
        snprintf(error, error_size, "qcow2: snapshot '%s': its L1 table can't be read", which);
        return err;
    }
    pthread_mutex_lock(&q->lock);
    free(q->l1.entries);
    q->l1 = (struct qcow2_table){.entries = l1,
                                 .count = q->snapshots[index].l1_size,
                                 .offset = q->snapshots[index].l1_offset};
    q->header.size = q->snapshots[index].disk_size;
    pthread_mutex_unlock(&q->lock);
    block_set_size(node, q->header.size);
    return 0;
}

/* ---- a machine's state ----------------------------------------------------------------------- */

uint64_t qcow2_vmstate_offset(const struct qcow2 *q)
{
    return qcow2_header_l1_entries(q->header.size, q->cluster_bits, q->subs > 1)
           << (q->l2_bits + q->cluster_bits);
}

int qcow2_vmstate_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    struct qcow2 *q = node->state;

    if (offset > INT64_MAX / 2 || vec->size > INT64_MAX / 2) {
        return -EFBIG;
    }
    return qcow2_read_at(q, qcow2_vmstate_offset(q) + offset, vec);
}

int qcow2_vmstate_write(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    struct qcow2 *q = node->state;
    int err;

    if (!q->writable) {
        return -EPERM;
    }
    if (q->external) {
        return -ENOTSUP;
    }
    if (offset > INT64_MAX / 2 || vec->size > INT64_MAX / 2) {
        return -EFBIG;
    }
    err = qcow2_settle(q);
    return err == 0 ? qcow2_write_at(q, qcow2_vmstate_offset(q) + offset, vec) : err;
}
