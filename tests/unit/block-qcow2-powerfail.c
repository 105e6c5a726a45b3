/*
 * Power failures: a workload runs on an image over a recording filter; then, for every point at
 * which the power could have failed, files are made as the disk could have been (what was flushed
 * is there; of what came after, each sector is or is not), and opened. Every flushed sector has to
 * be there, and every one that was written with FUA, no sector may hold what was never written to
 * it, and the check finds at worst leaks.
 *
 *     block-qcow2-powerfail [operations [trials [seed]]]      longer, by hand
 */
#include "tests/unit/block-qcow2.h"

#include "io/block/record.h"

#include <pthread.h>

#define SECTOR   512u
#define SECTORS  2048u
#define THREADS  3
#define STRIPE   3u /* sectors */
#define MAX_FILE (24u << 20)

struct config {
    const char *name, *create, *open;
    bool backing, snapshots;
};

static const struct config configs[] = {
    {"small clusters", "cluster_size=512", "discard=unmap", false, false},
    {"clusters of 4k", "cluster_size=4k", "discard=unmap", false, false},
    {"default clusters", NULL, NULL, false, false},
    {"version 2, backing", "compat=0.10,cluster_size=1k", "discard=unmap", true, false},
    {"backing", "cluster_size=8k", NULL, true, false},
    {"extended L2, backing", "extended_l2=on,cluster_size=16k", "discard=unmap", true, false},
    {"lazy counts", "lazy_refcounts=on,cluster_size=1k", "discard=unmap", false, false},
    {"tiny cache", "cluster_size=512", "l2-cache-size=512,l2-cache-entry-size=512", false, false},
    {"wide counts", "refcount_bits=64,cluster_size=512", "pass-discard-other=on", false, false},
    {"snapshots", "cluster_size=1k", "discard=unmap,pass-discard-other=on", false, true},
    {"snapshots, backing", "cluster_size=4k", NULL, true, true},
};

enum what { WRITE, ZERO, DISCARD, FLUSH };

/* What was done: by one thread, whose sectors are its own. */
struct operation {
    enum what what;
    bool fua;
    unsigned thread;
    uint32_t sector, count;
    size_t start, end;         /* of the record */
    unsigned covered[THREADS]; /* FLUSH: so many operations of each thread were done before */
};

struct log {
    struct operation *list;
    unsigned count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct log logs[THREADS]; /* operations of each thread, in its order */
static struct block_node *node, *record;
static unsigned failures;

static void fail(const char *what, unsigned long long a, unsigned long long b)
{
    if (failures++ < 6) {
        tap_note("%s (%llu, %llu)", what, a, b);
    }
}

/* ---- the workload ---- */

/* A sector's contents tell who wrote it and when. */
static void fill(uint8_t *sector, unsigned thread, unsigned operation, uint32_t number)
{
    uint32_t words[4] = {0x71636f77, thread, operation, number};

    for (size_t i = 0; i < SECTOR; i += sizeof(words)) {
        memcpy(sector + i, words, sizeof(words));
    }
}

static size_t recorded(void)
{
    return record_count(record);
}

static unsigned begin(unsigned thread, struct operation op)
{
    struct log *log = &logs[thread];
    unsigned index;

    pthread_mutex_lock(&lock);
    op.thread = thread;
    op.start = recorded();
    op.end = SIZE_MAX;
    for (unsigned t = 0; t < THREADS; t++) {
        unsigned done = logs[t].count;

        while (done && logs[t].list[done - 1].end == SIZE_MAX) {
            done--;
        }
        op.covered[t] = done;
    }
    log->list = realloc(log->list, (log->count + 1) * sizeof(op));
    index = log->count++;
    log->list[index] = op;
    pthread_mutex_unlock(&lock);
    return index;
}

static void finish(unsigned thread, unsigned index)
{
    pthread_mutex_lock(&lock);
    logs[thread].list[index].end = recorded();
    pthread_mutex_unlock(&lock);
}

struct worker {
    unsigned thread, operations;
    uint64_t random;
    struct loop *loop;
    bool done;
};

struct submission {
    struct block_request request;
    struct worker *worker;
};

static void submitted(struct block_request *request)
{
    ((struct submission *)request)->worker->done = true;
}

/* As a device does it: what needs no worker has none, and shares clusters that are being allocated
 * with the others. */
static int submit(struct worker *w, const struct operation *op, uint8_t *buffer)
{
    static const enum block_request_kind kinds[] = {BLOCK_WRITE, BLOCK_ZERO, BLOCK_DISCARD,
                                                    BLOCK_FLUSH};
    struct iovec iov = {buffer, op->count * SECTOR};
    struct submission s = {.worker = w,
                           .request = {.kind = kinds[op->what],
                                       .fua = op->fua,
                                       .unmap = true,
                                       .offset = op->sector * SECTOR,
                                       .size = op->count * SECTOR,
                                       .iov = &iov,
                                       .iov_count = 1,
                                       .done = submitted,
                                       .loop = w->loop}};

    w->done = false;
    block_submit(node, &s.request);
    while (!w->done) {
        loop_iterate(w->loop, true);
    }
    return s.request.result;
}

static int perform(const struct operation *op, const uint8_t *buffer)
{
    switch (op->what) {
    case FLUSH:
        return block_flush(node);
    case ZERO:
        return block_zero(node, op->sector * SECTOR, op->count * SECTOR, BLOCK_MAY_UNMAP);
    case DISCARD:
        return block_discard(node, op->sector * SECTOR, op->count * SECTOR);
    default:
        return block_pwrite(node, op->sector * SECTOR, buffer, op->count * SECTOR,
                            op->fua ? BLOCK_FUA : 0);
    }
}

static void one(struct worker *w)
{
    unsigned roll = qcow2_test_random(&w->random) % 16;
    uint32_t stripes = SECTORS / (STRIPE * THREADS);
    uint32_t stripe = qcow2_test_random(&w->random) % stripes * THREADS + w->thread;
    struct operation op = {.what = roll < 2    ? FLUSH
                                   : roll == 2 ? ZERO
                                   : roll == 3 ? DISCARD
                                               : WRITE,
                           .sector = stripe * STRIPE + qcow2_test_random(&w->random) % STRIPE,
                           .count = 1};
    uint8_t buffer[STRIPE * SECTOR];
    unsigned index;
    int err;

    op.count += qcow2_test_random(&w->random) % (STRIPE - op.sector % STRIPE);
    op.fua = op.what == WRITE && roll == 15;
    index = begin(w->thread, op);
    for (uint32_t i = 0; i < op.count; i++) {
        fill(buffer + i * SECTOR, w->thread, index, op.sector + i);
    }
    err = qcow2_test_random(&w->random) % 4 ? submit(w, &op, buffer) : perform(&op, buffer);
    if (err) {
        fail("request fails", (unsigned)-err, op.what);
    }
    finish(w->thread, index);
}

static void *work(void *opaque)
{
    struct worker *w = opaque;

    w->loop = loop_create();
    for (unsigned i = 0; i < w->operations; i++) {
        one(w);
    }
    block_loop_gone(w->loop);
    loop_destroy(w->loop);
    return NULL;
}

static void parallel(unsigned operations, uint64_t *random)
{
    struct worker workers[THREADS];
    pthread_t threads[THREADS];

    for (unsigned t = 0; t < THREADS; t++) {
        workers[t] = (struct worker){
            .thread = t, .operations = operations, .random = qcow2_test_random(random)};
        pthread_create(&threads[t], NULL, work, &workers[t]);
    }
    for (unsigned t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
    }
}

/* Large ranges, that free and use again whole clusters; all sectors of a range, by thread 0's log
 * alone, would mix owners: so each thread logs its own part of one request. */
static void large(uint64_t *random)
{
    uint32_t first = qcow2_test_random(random) % (SECTORS / 2);
    uint32_t count = 64 + qcow2_test_random(random) % (SECTORS / 4);
    enum what what = qcow2_test_random(random) % 2 ? DISCARD : ZERO;
    unsigned index[THREADS];
    int err;

    for (unsigned t = 0; t < THREADS; t++) {
        index[t] = begin(t, (struct operation){.what = what, .sector = first, .count = count});
    }
    err = what == DISCARD ? block_discard(node, first * SECTOR, count * SECTOR)
                          : block_zero(node, first * SECTOR, count * SECTOR, BLOCK_MAY_UNMAP);
    if (err) {
        fail("large request fails", (unsigned)-err, what);
    }
    for (unsigned t = 0; t < THREADS; t++) {
        finish(t, index[t]);
    }
}

static void snapshots(uint64_t *random)
{
    struct block_snapshot s = {.icount = UINT64_MAX}, *list = NULL;
    int count = node->driver->snapshot_list(node, &list), err;

    if (count < 3 && qcow2_test_random(random) % 3) {
        err = node->driver->snapshot_create(node, &s);
    } else if (count > 0) {
        err = node->driver->snapshot_delete(node,
                                            list[qcow2_test_random(random) % (unsigned)count].id,
                                            block_test_error, sizeof(block_test_error));
    } else {
        err = 0;
    }
    free(list);
    if (err) {
        fail("snapshot fails", (unsigned)-err, 0);
    }
}

/* ---- what a failure leaves ---- */

struct disk {
    uint8_t *bytes;
    uint64_t size;
};

static void put(struct disk *d, uint64_t offset, const uint8_t *data, uint64_t size)
{
    if (offset + size > MAX_FILE) {
        fail("the file grows too large", offset, size);
        return;
    }
    if (offset + size > d->size) {
        memset(d->bytes + d->size, 0, offset + size - d->size);
        d->size = offset + size;
    }
    if (data) {
        memcpy(d->bytes + offset, data, size);
    } else {
        memset(d->bytes + offset, 0, size);
    }
}

/* How the sectors after the last flush are lost. */
enum loss { LOSE_NONE, LOSE_HALF, LOSE_MOST, LOSE_FEW, LOSE_LATE, LOSS_KINDS };

static bool survives(enum loss loss, bool last_half, uint64_t *random)
{
    uint32_t roll = qcow2_test_random(random) % 16;

    switch (loss) {
    case LOSE_NONE:
        return true;
    case LOSE_HALF:
        return roll < 8;
    case LOSE_MOST:
        return roll < 1;
    case LOSE_FEW:
        return roll < 15;
    default:
        return last_half; /* the youngest are there, the older are not */
    }
}

static void apply(struct disk *d, const struct record_entry *e, enum loss loss, bool last_half,
                  uint64_t *random)
{
    if (e->resize) {
        if (survives(loss, last_half, random)) {
            put(d, e->size, NULL, 0);
            d->size = e->grow && d->size > e->size ? d->size : e->size;
        }
        return;
    }
    if (e->kind == BLOCK_FLUSH) {
        return;
    }
    /* A discard that came through may leave anything; the worst is neither old nor zero. */
    for (uint64_t at = 0; at < e->size;) {
        uint64_t n = SECTOR - (e->offset + at) % SECTOR;
        uint8_t junk[SECTOR];

        n = n < e->size - at ? n : e->size - at;
        if (survives(loss, last_half, random)) {
            memset(junk, 0xee, sizeof(junk));
            if (e->kind != BLOCK_DISCARD || e->offset + at < d->size) {
                put(d, e->offset + at,
                    e->kind == BLOCK_DISCARD ? junk
                    : e->data                ? e->data + at
                                             : NULL,
                    n);
            }
        }
        at += n;
    }
}

static bool has_sector(const struct operation *op, unsigned thread, uint32_t sector)
{
    return op->what != FLUSH && op->thread == thread && sector >= op->sector &&
           sector < op->sector + op->count;
}

/* May this sector have these contents after a failure at `cut`? */
static bool allowed(const uint8_t *data, const uint8_t *base, uint32_t sector, size_t cut,
                    const unsigned flushed[THREADS])
{
    unsigned thread = sector / STRIPE % THREADS;
    const struct log *log = &logs[thread];
    uint8_t want[SECTOR];
    int oldest = -1;

    for (unsigned i = 0; i < flushed[thread]; i++) {
        if (has_sector(&log->list[i], thread, sector)) {
            oldest = (int)i;
        }
    }
    for (unsigned i = flushed[thread]; i < log->count; i++) {
        const struct operation *op = &log->list[i];

        if (op->fua && op->end <= cut && has_sector(op, thread, sector)) {
            oldest = (int)i;
        }
    }
    if (oldest < 0 && memcmp(data, base, SECTOR) == 0) {
        return true;
    }
    for (unsigned i = oldest < 0 ? 0 : (unsigned)oldest; i < log->count; i++) {
        const struct operation *op = &log->list[i];

        if (op->start > cut) {
            break;
        }
        if (!has_sector(op, thread, sector)) {
            continue;
        }
        memset(want, 0, sizeof(want));
        if (op->what == DISCARD) {
            return true;
        }
        if (op->what == WRITE) {
            fill(want, thread, i, sector);
        }
        if (memcmp(data, want, SECTOR) == 0) {
            return true;
        }
    }
    return false;
}

/* What the last flush that was done before `cut` covers. */
static void find_flushed(size_t cut, unsigned flushed[THREADS])
{
    memset(flushed, 0, THREADS * sizeof(flushed[0]));
    for (unsigned t = 0; t < THREADS; t++) {
        for (unsigned i = 0; i < logs[t].count; i++) {
            const struct operation *op = &logs[t].list[i];

            for (unsigned o = 0; op->what == FLUSH && op->end <= cut && o < THREADS; o++) {
                flushed[o] = op->covered[o] > flushed[o] ? op->covered[o] : flushed[o];
            }
        }
    }
}

static void look(const char *path, const uint8_t *base, size_t cut)
{
    static uint8_t bytes[SECTORS * SECTOR];
    unsigned flushed[THREADS];
    struct block_node *after;
    struct block_check check;
    struct block_info info = {0};

    if (block_open_file(&after, path, "qcow2", "cache.no-flush=on", true, block_test_error,
                        sizeof(block_test_error))) {
        fail(block_test_error, cut, 0);
        return;
    }
    block_get_info(after, &info);
    free(info.backing_filename);
    free(info.backing_format);
    if (info.dirty) {
        /* Counts are repaired by who opens it for writing. */
        block_unref(after);
        if (block_open_file(&after, path, "qcow2", "cache.no-flush=on", false, block_test_error,
                            sizeof(block_test_error))) {
            fail(block_test_error, cut, 1);
            return;
        }
    }
    check = qcow2_test_check(after, 0, failures < 3 && false);
    if (check.corruptions || check.check_errors) {
        fail("corruptions after a failure at", cut, check.corruptions);
        qcow2_test_check(after, 0, failures < 3);
    }
    if (block_pread(after, 0, bytes, sizeof(bytes))) {
        fail("can't be read after a failure at", cut, 0);
    }
    find_flushed(cut, flushed);
    for (uint32_t s = 0; s < SECTORS; s++) {
        if (!allowed(bytes + s * SECTOR, base + s * SECTOR, s, cut, flushed)) {
            uint32_t words[4];

            memcpy(words, bytes + s * SECTOR, sizeof(words));
            fail("a sector has wrong contents: failure at, sector", cut, s);
            if (failures < 6) {
                tap_note("it has %#x %u %u %u", words[0], words[1], words[2], words[3]);
            }
            break;
        }
    }
    block_unref(after);
}

static void store(const char *path, const struct disk *d)
{
    int fd = open(path, O_RDWR | O_CREAT, 0644);

    if (fd < 0 || write(fd, d->bytes, d->size) != (ssize_t)d->size ||
        ftruncate(fd, (off_t)d->size) != 0) {
        fail("can't make a file", 0, 0);
    }
    close(fd);
}

/* Every point of the record, or so many of them, with several losses each. */
static unsigned cut_everywhere(struct disk *stable, const uint8_t *base, unsigned trials,
                               uint64_t *random)
{
    size_t count = recorded(), flushed = 0, step = count / trials + 1;
    struct disk trial = {.bytes = malloc(MAX_FILE)};
    static char path[300];
    unsigned made = 0;

    snprintf(path, sizeof(path), "%s", block_test_path("after"));
    for (size_t cut = 0; cut <= count && failures < 4; cut++) {
        if (cut && record_get(record, cut - 1)->kind == BLOCK_FLUSH &&
            !record_get(record, cut - 1)->resize) {
            for (size_t i = flushed; i < cut; i++) {
                apply(stable, record_get(record, i), LOSE_NONE, true, random);
            }
            flushed = cut;
        }
        if (cut % step && cut != count) {
            continue;
        }
        for (enum loss loss = LOSE_NONE; loss < LOSS_KINDS; loss++) {
            if (loss != LOSE_NONE && flushed == cut) {
                break;
            }
            trial.size = stable->size;
            memcpy(trial.bytes, stable->bytes, stable->size);
            for (size_t i = flushed; i < cut; i++) {
                apply(&trial, record_get(record, i), loss, i >= (flushed + cut) / 2, random);
            }
            store(path, &trial);
            look(path, base, cut);
            made++;
        }
    }
    free(trial.bytes);
    return made;
}

/* ---- one configuration ---- */

static void load(const char *path, struct disk *d)
{
    int fd = open(path, O_RDONLY);
    ssize_t n;

    d->bytes = calloc(1, MAX_FILE);
    n = read(fd, d->bytes, MAX_FILE);
    d->size = n < 0 ? 0 : (uint64_t)n;
    close(fd);
}

static void make_base(char *path, size_t size, uint8_t *base)
{
    struct block_node *b;

    snprintf(path, size, "%s", block_test_path("base"));
    qcow2_test_create(path, SECTORS / 2 * SECTOR, NULL, NULL);
    b = block_test_open(path, "qcow2", NULL);
    memset(base, 0xb5, SECTORS / 2 * SECTOR);
    if (block_pwrite(b, 0, base, SECTORS / 2 * SECTOR, 0)) {
        fail("base", 0, 0);
    }
    block_unref(b);
}

static void open_recorded(const struct config *config, const char *path)
{
    char options[200], name[500];

    snprintf(name, sizeof(name),
             "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"record\",\"file\":{\"driver\":"
             "\"file\",\"filename\":\"%s\",\"cache\":{\"no-flush\":true}}}}",
             path);
    snprintf(options, sizeof(options), "%s", config->open ? config->open : "");
    node = block_test_open(name, NULL, options[0] ? options : NULL);
    record = node->file->node;
}

static void test_config(const struct config *config, unsigned operations, unsigned trials,
                        uint64_t seed)
{
    static uint8_t base[SECTORS * SECTOR];
    static char path[300], base_path[300];
    struct disk stable;
    unsigned made;

    failures = 0;
    memset(base, 0, sizeof(base));
    snprintf(path, sizeof(path), "%s", block_test_path("image"));
    if (config->backing) {
        make_base(base_path, sizeof(base_path), base);
    }
    if (qcow2_test_create(path, SECTORS * SECTOR, config->create,
                          config->backing ? base_path : NULL)) {
        fail(block_test_error, 0, 0);
    }
    load(path, &stable);
    open_recorded(config, path);
    for (unsigned done = 0; done < operations && !failures; done += 20) {
        parallel(20, &seed);
        if (config->snapshots) {
            snapshots(&seed);
        }
        large(&seed);
    }
    made = failures ? 0 : cut_everywhere(&stable, base, trials, &seed);
    tap_ok(failures == 0, "%s: %u failures in %zu steps lose nothing that was flushed",
           config->name, made, recorded());
    tap_ok(record_submitted(record) > operations / 4,
           "%s: %zu requests went there without a worker", config->name, record_submitted(record));
    block_unref(node);
    free(stable.bytes);
    for (unsigned t = 0; t < THREADS; t++) {
        free(logs[t].list);
        logs[t] = (struct log){0};
    }
}

int main(int argc, char **argv)
{
    unsigned operations = argc > 1 ? (unsigned)atoi(argv[1]) : 80;
    unsigned trials = argc > 2 ? (unsigned)atoi(argv[2]) : 150;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;

    block_test_begin();
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        test_config(&configs[i], operations, trials, seed);
    }
    return block_test_end();
}
