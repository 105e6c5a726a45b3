/*
 * Copying, by several threads.
 *
 * Workers take pieces (struct piece) from one place, next_piece(), which goes through the sources
 * by block_status_above(): holes are not even read. A piece is at most CHUNK bytes of data and ends
 * at a multiple of CHUNK, so that neighbours do not share a cluster of the target. Where the order
 * of writes decides how the target is laid out, workers wait for their turn before they write;
 * reading, decompressing and looking for zeros still happens at the same time.
 *
 * Everything below the smallest offset that a worker is busy with is written: that is what
 * checkpoints are told, and where an interrupted copy goes on.
 */
#include "tools/img/copy.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "util/error.h"

enum {
    CHUNK = 2 << 20,
    SECTOR = 512,
    CHECKPOINT_MS = 1000,
    TICK_MS = 50,
};
#define ZERO_PIECE (UINT64_C(1) << 30) /* zeros are written in pieces of this size */

enum kind { IS_DATA, IS_ZERO, IS_BELOW };

struct piece {
    uint64_t at, size, turn;
    enum kind kind;
};

struct worker {
    struct run *run;
    pthread_t thread;
    uint64_t busy_from; /* UINT64_MAX: idle; under run->lock */
    uint8_t *buffer;
};

struct run {
    struct img_copy *copy;
    pthread_mutex_t lock;
    pthread_cond_t turned;  /* `turn` has become another */
    pthread_cond_t changed; /* a worker has ended */
    uint64_t at;            /* where the next piece begins */
    uint64_t known_until;   /* what it is there is known up to here */
    enum kind known;
    uint64_t next_turn, turn;
    uint64_t bytes; /* taken, for the rate */
    uint64_t began;
    uint64_t moved; /* bytes that are behind us, for the progress */
    unsigned running;
    int err;
    char error[512];
    bool stop;
    struct worker *workers;
};

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

typedef uint64_t lanes __attribute__((vector_size(32), may_alias, aligned(1)));

bool img_is_zero(const uint8_t *bytes, size_t size)
{
    lanes any = {0};

    for (; size >= 4 * sizeof(lanes); bytes += 4 * sizeof(lanes), size -= 4 * sizeof(lanes)) {
        const lanes *at = (const lanes *)bytes;

        any = at[0] | at[1] | at[2] | at[3];
        if (any[0] | any[1] | any[2] | any[3]) {
            return false;
        }
    }
    for (; size; bytes++, size--) {
        if (*bytes) {
            return false;
        }
    }
    return true;
}

/* ---- sources ---- */

/* The source that has offset `at` of them all, and where it begins; NULL: behind the last. */
static struct block_node *source_at(const struct img_copy *c, uint64_t at, uint64_t *begin)
{
    *begin = 0;
    for (unsigned i = 0; i < c->source_count; i++) {
        uint64_t size = block_size(c->sources[i]);

        if (at - *begin < size) {
            return c->sources[i];
        }
        *begin += size;
    }
    return NULL;
}

int img_copy_read(const struct img_copy *c, uint64_t at, uint8_t *buffer, size_t size)
{
    while (size) {
        uint64_t begin;
        struct block_node *source = source_at(c, at, &begin);
        uint64_t left = source ? begin + block_size(source) - at : size;
        size_t n = left < size ? (size_t)left : size;
        int err = source ? block_pread(source, at - begin, buffer, n) : 0;

        if (err) {
            return err;
        }
        if (!source) {
            memset(buffer, 0, n);
        }
        at += n;
        buffer += n;
        size -= n;
    }
    return 0;
}

/* Sector by sector, with zeros for those that can't be read. */
static void read_salvaging(const struct img_copy *c, uint64_t at, uint8_t *buffer, size_t size)
{
    for (size_t done = 0; done < size; done += SECTOR) {
        size_t n = size - done < SECTOR ? size - done : SECTOR;
        int err = img_copy_read(c, at + done, buffer + done, n);

        if (err) {
            error_warn("error while reading offset %" PRIu64 ": %s", at + done, strerror(-err));
            memset(buffer + done, 0, n);
        }
    }
}

/* What a worker says when it can't go on; the first one counts. */
static void fail(struct run *r, int err, const char *doing, uint64_t at)
{
    pthread_mutex_lock(&r->lock);
    if (!r->err) {
        r->err = err;
        snprintf(r->error, sizeof(r->error), "error while %s at byte %" PRIu64 ": %s", doing, at,
                 strerror(-err));
    }
    r->stop = true;
    pthread_cond_broadcast(&r->turned);
    pthread_mutex_unlock(&r->lock);
}

/* ---- pieces; the lock is held ---- */

static int look(struct run *r)
{
    const struct img_copy *c = r->copy;
    struct block_status status;
    const struct block_node *base = NULL;
    uint64_t begin;
    struct block_node *source = source_at(c, r->at, &begin);
    int err;

    if (!source) {
        r->known = IS_ZERO;
        r->known_until = c->total;
        return 0;
    }
    if (c->top_only && source->backing) {
        base = source->backing->node;
    }
    err = block_status_above(source, base, r->at - begin, block_size(source) - (r->at - begin),
                             &status);
    if (err && c->salvage) {
        status = (struct block_status){.size = SECTOR, .flags = BLOCK_STATUS_DATA};
        err = 0;
    }
    if (err) {
        return err;
    }
    r->known_until = r->at + status.size;
    if (status.flags & BLOCK_STATUS_ZERO) {
        r->known = IS_ZERO;
    } else if (status.flags & (BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED)) {
        r->known = IS_DATA;
    } else {
        r->known = IS_BELOW;
    }
    return status.size ? 0 : -EIO;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Cuts what is known from r->at on into a piece. */
static void cut(const struct run *r, struct piece *p)
{
    const struct img_copy *c = r->copy;
    uint64_t end = least(r->known_until, c->total), chunk = r->at - r->at % CHUNK + CHUNK;

    *p = (struct piece){.at = r->at, .kind = r->known};
    if (p->kind == IS_ZERO && !c->sparse) {
        p->kind = IS_DATA;
    }
    /* a cluster that is partly zeros is data, where only whole ones can be written */
    if (c->compressed && end < c->total && end % c->granule) {
        if (p->kind != IS_DATA && end - r->at >= c->granule) {
            end -= end % c->granule;
        } else {
            p->kind = IS_DATA;
            end += c->granule - end % c->granule;
            end = least(end, c->total);
        }
    }
    p->size = p->kind == IS_DATA ? least(end, chunk) - r->at : end - r->at;
    if (p->kind == IS_ZERO && p->at < c->zero_from) {
        p->size = least(p->size, least(ZERO_PIECE, c->zero_from - p->at));
    }
}

/* Is there nothing to be written for it? */
static bool needs_nothing(const struct img_copy *c, const struct piece *p)
{
    return p->kind == IS_BELOW || (p->kind == IS_ZERO && p->at >= c->zero_from);
}

/* Waits until the rate allows to go on. The lock is given up meanwhile. */
static void keep_rate(struct run *r)
{
    while (r->copy->rate && !r->stop) {
        uint64_t allowed = (now_ms() - r->began) * r->copy->rate / 1000;
        struct timespec pause = {.tv_nsec = 5000000};

        if (r->bytes <= allowed) {
            return;
        }
        pthread_mutex_unlock(&r->lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&r->lock);
    }
}

/* The next thing to do; false: there is none. */
static bool next_piece(struct worker *w, struct piece *p)
{
    struct run *r = w->run;
    const struct img_copy *c = r->copy;
    bool found = false;
    int err = 0;

    pthread_mutex_lock(&r->lock);
    w->busy_from = UINT64_MAX;
    keep_rate(r);
    while (!found && !r->stop && r->at < c->total) {
        if (r->at >= r->known_until) {
            err = look(r);
            if (err) {
                break;
            }
        }
        cut(r, p);
        r->at += p->size;
        if (needs_nothing(c, p)) {
            r->moved += p->size;
        } else {
            w->busy_from = p->at;
            p->turn = r->next_turn++;
            r->bytes += p->size;
            found = true;
        }
    }
    pthread_mutex_unlock(&r->lock);
    if (err) {
        fail(r, err, "reading metadata", r->at);
    }
    return found;
}

/* ---- writing ---- */

static int put_zeros(const struct img_copy *c, uint64_t at, uint64_t size)
{
    return at >= c->zero_from ? 0 : block_zero(c->target, at, size, BLOCK_MAY_UNMAP);
}

/* Writes a piece of data, without its long runs of zeros. */
static int put_data(const struct img_copy *c, const struct piece *p, const uint8_t *buffer)
{
    unsigned flags = c->compressed ? BLOCK_COMPRESSED : 0;
    uint64_t unit = c->granule > c->sparse ? c->granule : c->sparse;
    uint64_t end = p->at + p->size, from = p->at;
    bool zeros = false;
    int err = 0;

    if (!c->sparse && !c->compressed) {
        return block_pwrite(c->target, p->at, buffer, (size_t)p->size, 0);
    }
    if (!c->sparse) {
        return block_pwrite(c->target, p->at, buffer, (size_t)p->size, flags);
    }
    for (uint64_t at = p->at; at <= end && !err;) {
        uint64_t next = least(at - at % unit + unit, end);
        bool zero = at < end && img_is_zero(buffer + (at - p->at), (size_t)(next - at));

        if (at > from && (zero != zeros || at == end)) {
            err = zeros ? put_zeros(c, from, at - from)
                        : block_pwrite(c->target, from, buffer + (from - p->at),
                                       (size_t)(at - from), flags);
            from = at;
        }
        zeros = zero;
        if (at == end) {
            break;
        }
        at = next;
    }
    return err;
}

/* False: the copy has ended meanwhile. */
static bool wait_turn(struct run *r, uint64_t turn)
{
    bool mine;

    pthread_mutex_lock(&r->lock);
    while (r->turn != turn && !r->err) {
        pthread_cond_wait(&r->turned, &r->lock);
    }
    mine = r->turn == turn;
    pthread_mutex_unlock(&r->lock);
    return mine;
}

static void pass_turn(struct run *r, const struct piece *p)
{
    pthread_mutex_lock(&r->lock);
    r->turn++;
    r->moved += p->size;
    if (r->copy->in_order) {
        pthread_cond_broadcast(&r->turned);
    }
    pthread_mutex_unlock(&r->lock);
}

static bool do_piece(struct worker *w, const struct piece *p)
{
    struct run *r = w->run;
    struct img_copy *c = r->copy;
    int err = p->kind == IS_DATA ? img_copy_read(c, p->at, w->buffer, (size_t)p->size) : 0;

    if (err && c->salvage) {
        read_salvaging(c, p->at, w->buffer, (size_t)p->size);
    } else if (err) {
        fail(r, err, "reading", p->at);
        return false;
    }
    if (c->in_order && !wait_turn(r, p->turn)) {
        return false;
    }
    err = p->kind == IS_DATA ? put_data(c, p, w->buffer) : put_zeros(c, p->at, p->size);
    if (err) {
        fail(r, err, "writing", p->at);
        return false;
    }
    pass_turn(r, p);
    return true;
}

static void *work(void *opaque)
{
    struct worker *w = opaque;
    struct piece p;

    while (next_piece(w, &p) && do_piece(w, &p)) {
    }
    pthread_mutex_lock(&w->run->lock);
    w->run->running--;
    pthread_cond_signal(&w->run->changed);
    pthread_mutex_unlock(&w->run->lock);
    return NULL;
}

/* ---- the whole ---- */

/* Everything below it is written. The lock is held. */
static uint64_t all_done_below(const struct run *r)
{
    uint64_t done = r->at;

    for (unsigned i = 0; i < r->copy->workers; i++) {
        done = least(done, r->workers[i].busy_from);
    }
    return done;
}

/* Watches the workers until they are done. The lock is held. */
static void watch(struct run *r)
{
    uint64_t checked = 0;

    while (r->running) {
        struct timespec until;
        uint64_t done, moved = r->copy->start + r->moved;

        if (img_interrupted()) {
            r->stop = true;
        }
        done = all_done_below(r);
        pthread_mutex_unlock(&r->lock);
        if (r->copy->progress) {
            img_progress_at(r->copy->progress, moved);
        }
        if (r->copy->checkpoint && now_ms() - checked >= CHECKPOINT_MS) {
            int err = r->copy->checkpoint(r->copy->opaque, done);

            if (err) {
                fail(r, err, "keeping the journal", done);
            }
            checked = now_ms();
        }
        pthread_mutex_lock(&r->lock);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TICK_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (r->running) {
            pthread_cond_timedwait(&r->changed, &r->lock, &until);
        }
    }
    r->copy->done = all_done_below(r);
}

static unsigned start_workers(struct run *r)
{
    unsigned started = 0;

    for (; started < r->copy->workers; started++) {
        struct worker *w = &r->workers[started];

        w->run = r;
        w->busy_from = UINT64_MAX;
        if (posix_memalign((void **)&w->buffer, 4096, CHUNK)) {
            break;
        }
        r->running++;
        if (pthread_create(&w->thread, NULL, work, w)) {
            r->running--;
            free(w->buffer);
            break;
        }
    }
    return started;
}

int img_copy_run(struct img_copy *copy, char *error, size_t error_size)
{
    struct run r = {.copy = copy, .at = copy->start, .known_until = copy->start, .began = now_ms()};
    unsigned started;

    r.workers = calloc(copy->workers, sizeof(*r.workers));
    if (!r.workers) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    for (unsigned i = 0; i < copy->workers; i++) {
        r.workers[i].busy_from = UINT64_MAX;
    }
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.turned, NULL);
    pthread_cond_init(&r.changed, NULL);
    pthread_mutex_lock(&r.lock);
    started = start_workers(&r);
    if (started) {
        watch(&r);
    } else {
        r.err = -ENOMEM;
        snprintf(r.error, sizeof(r.error), "no thread could be started");
    }
    pthread_mutex_unlock(&r.lock);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(r.workers[i].thread, NULL);
        free(r.workers[i].buffer);
    }
    pthread_mutex_destroy(&r.lock);
    pthread_cond_destroy(&r.turned);
    pthread_cond_destroy(&r.changed);
    free(r.workers);
    if (r.err) {
        snprintf(error, error_size, "%s", r.error);
        return r.err;
    }
    return copy->done < copy->total ? -EINTR : 0;
}
