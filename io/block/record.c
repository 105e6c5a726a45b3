/*
 * Entries are noted when they have been done below, under a lock that a flush holds from before it
 * begins: so an entry in front of a flush's was done when the flush began, and is covered by it.
 * Writes that run while a flush does may be covered or not; they stand behind it, the worse case.
 */
#include "io/block/record.h"
#include "io/block/async.h"
#include "io/block/drivers.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512

struct record {
    pthread_mutex_t lock;
    struct record_entry *entry;
    size_t count, room;
    size_t submitted; /* requests that came without a worker */
};

static const struct block_child_rule record_children[] = {
    {.name = "file", .role = BLOCK_ROLE_FILTERED, .required = true},
    {0},
};

static int record_open(struct block_node *node, char *error, size_t error_size)
{
    const struct block_node *file = node->file->node;
    struct record *r = node->state;

    pthread_mutex_init(&r->lock, NULL);
    block_set_size(node, block_size(file));
    node->write_flags = BLOCK_FUA;
    node->growable = file->growable;
    node->discard_granularity = file->discard_granularity;
    return 0;
}

static void record_close(struct block_node *node)
{
    struct record *r = node->state;

    for (size_t i = 0; i < r->count; i++) {
        free(r->entry[i].data);
    }
    free(r->entry);
    pthread_mutex_destroy(&r->lock);
}

/* Takes over entry.data, also on error. */
static int note_locked(struct record *r, struct record_entry entry)
{
    if (r->count == r->room) {
        size_t room = r->room ? r->room * 2 : 64;
        struct record_entry *more = realloc(r->entry, room * sizeof(*more));

        if (!more) {
            free(entry.data);
            return -ENOMEM;
        }
        r->entry = more;
        r->room = room;
    }
    r->entry[r->count++] = entry;
    return 0;
}

static int note(struct record *r, struct record_entry entry)
{
    pthread_mutex_lock(&r->lock);
    int err = note_locked(r, entry);

    pthread_mutex_unlock(&r->lock);
    return err;
}

static int record_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                        unsigned flags)
{
    uint8_t *data = malloc(vec->size);
    int err;

    if (!data) {
        return -ENOMEM;
    }
    block_vec_get(vec, 0, data, vec->size);
    err = block_pwrite(node->file->node, offset, data, vec->size, flags);
    if (err) {
        free(data);
        return err;
    }
    return note(node->state, (struct record_entry){.kind = BLOCK_WRITE,
                                                   .fua = flags & BLOCK_FUA,
                                                   .offset = offset,
                                                   .size = vec->size,
                                                   .data = data});
}

static int record_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    int err = block_zero(node->file->node, offset, size, flags);

    return err ? err
               : note(node->state, (struct record_entry){.kind = BLOCK_ZERO,
                                                         .fua = flags & BLOCK_FUA,
                                                         .offset = offset,
                                                         .size = size});
}

static int record_discard(struct block_node *node, uint64_t offset, uint64_t size)
{
    int err = block_discard(node->file->node, offset, size);

    return err ? err
               : note(node->state,
                      (struct record_entry){.kind = BLOCK_DISCARD, .offset = offset, .size = size});
}

static int record_flush(struct block_node *node)
{
    struct record *r = node->state;

    pthread_mutex_lock(&r->lock);
    int err = block_flush(node->file->node);

    if (!err) {
        err = note_locked(r, (struct record_entry){.kind = BLOCK_FLUSH});
    }
    pthread_mutex_unlock(&r->lock);
    return err;
}

static int record_truncate(struct block_node *node, uint64_t size, bool exact,
                           enum block_preallocation preallocation, char *error, size_t error_size)
{
    int err = block_truncate(node->file->node, size, exact, preallocation, error, error_size);

    if (!err) {
        block_set_size(node, size);
        err = note(node->state, (struct record_entry){.resize = true, .size = size});
    }
    return err;
}

static bool record_submit(struct block_node *node, struct block_async *async)
{
    struct record *r = node->state;

    pthread_mutex_lock(&r->lock);
    r->submitted++;
    pthread_mutex_unlock(&r->lock);
    return block_async_soon(node, async);
}

static int record_reserve(struct block_node *node, uint64_t size)
{
    int err = block_reserve(node->file->node, size);

    return err ? err
               : note(node->state,
                      (struct record_entry){.resize = true, .grow = true, .size = size});
}

/* ---- for tests ---- */

size_t record_count(const struct block_node *node)
{
    struct record *r = node->state;
    size_t count;

    pthread_mutex_lock(&r->lock);
    count = r->count;
    pthread_mutex_unlock(&r->lock);
    return count;
}

size_t record_submitted(const struct block_node *node)
{
    struct record *r = node->state;
    size_t count;

    pthread_mutex_lock(&r->lock);
    count = r->submitted;
    pthread_mutex_unlock(&r->lock);
    return count;
}

const struct record_entry *record_get(const struct block_node *node, size_t index)
{
    return &((const struct record *)node->state)->entry[index];
}

static bool chance(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 31;
}

static int write_all(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
    return pwrite(fd, data, size, (off_t)offset) == (ssize_t)size ? 0 : -EIO;
}

static int apply(int fd, const struct record_entry *e, bool certain, uint32_t *seed)
{
    static const uint8_t zeros[SECTOR];

    if (e->grow) {
        struct stat st;

        return fstat(fd, &st) < 0                                                 ? -errno
               : st.st_size < (off_t)e->size && ftruncate(fd, (off_t)e->size) < 0 ? -errno
                                                                                  : 0;
    }
    if (e->resize) {
        return ftruncate(fd, (off_t)e->size) < 0 ? -errno : 0;
    }
    if (e->kind == BLOCK_FLUSH || e->kind == BLOCK_DISCARD) {
        return 0; /* that what is discarded stays is one of the possibilities */
    }
    for (uint64_t at = 0; at < e->size;) {
        /* Devices lose sectors, not parts of them. */
        uint64_t n = SECTOR - (e->offset + at) % SECTOR;

        n = n < e->size - at ? n : e->size - at;
        if (certain || chance(seed)) {
            int err = write_all(fd, e->data ? e->data + at : zeros, (size_t)n, e->offset + at);

            if (err) {
                return err;
            }
        }
        at += n;
    }
    return 0;
}

int record_replay(const struct block_node *node, size_t count, uint32_t seed, const char *path)
{
    const struct record *r = node->state;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    size_t certain = count;
    int err = fd < 0 ? -errno : 0;

    while (certain && (r->entry[certain - 1].resize || r->entry[certain - 1].kind != BLOCK_FLUSH)) {
        certain--;
    }
    for (size_t i = 0; i < count && !err; i++) {
        err = apply(fd, &r->entry[i], i < certain || r->entry[i].fua, &seed);
    }
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

static int record_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    return block_read(node->file->node, offset, vec);
}

const struct block_driver block_record = {
    .name = "record",
    .is_filter = true,
    .state_size = sizeof(struct record),
    .children = record_children,
    .open = record_open,
    .close = record_close,
    .read = record_read,
    .write = record_write,
    .zero = record_zero,
    .discard = record_discard,
    .flush = record_flush,
    .submit = record_submit,
    .truncate = record_truncate,
    .reserve = record_reserve,
};
