/*
 * Errors of the host, as a guest meets them: a script of requests, many at once, snapshots, sizes
 * and bitmaps runs over a filter that lets the n-th request fail, for every n, in several ways. A
 * model knows for each sector what it may hold now, and what it may hold if nothing more can be
 * written. Afterwards the image is opened without faults and has to agree; the check finds at worst
 * leaks, which can be repaired; and the whole disk can be written.
 *
 * block-qcow2-errors has other formats of images and the blocking calls; here are the edge, the
 * error's way to the guest, retries, and answers that are lost.
 *
 *     block-host-errors [configuration [way [request]]]      one of them, by hand
 */
#include "tests/unit/block-qcow2.h"

#include "io/block/blkdebug.h"
#include "io/block/secret.h"

#define SECTOR  512u
#define SECTORS 1024u
#define MORE    64u /* sectors that growing adds */
#define ALL     (SECTORS + MORE)
#define UNDER   63u /* what the backing file is filled with */

struct config {
    const char *name, *create, *open;
    bool raw, backing, data, snapshots, bitmaps;
    unsigned step; /* from one request that fails to the next one; 0: 1 */
};

static const struct config configs[] = {
    {"default", NULL, NULL, .snapshots = true, .bitmaps = true},
    {"backing", "cluster_size=4k", NULL, .backing = true, .snapshots = true, .bitmaps = true},
    {"extended L2, backing", "extended_l2=on,cluster_size=16k", NULL, .backing = true,
     .snapshots = true},
    {"lazy counts", "lazy_refcounts=on,cluster_size=2k", NULL, .snapshots = true},
    {"preallocated", "preallocation=metadata,cluster_size=2k", NULL, .snapshots = true},
    {"tiny cache", "cluster_size=512", ",\"l2-cache-size\":512,\"l2-cache-entry-size\":512",
     .snapshots = true, .bitmaps = true},
    {"encrypted", "encrypt.format=luks,encrypt.key-secret=s0,encrypt.iter-time=1,cluster_size=4k",
     ",\"encrypt.key-secret\":\"s0\"", .snapshots = true, .step = 17 /* keys take long */},
    {"data file", "data_file=IMAGE.data,cluster_size=4k", NULL, .data = true, .bitmaps = true},
    {"raw", NULL, NULL, .raw = true},
};

/* How requests fail. */
struct way {
    const char *name, *settings;
    int error;
    bool rest;  /* all from the n-th on, not just that */
    bool heals; /* when the guest has seen an error, which then tries again */
};

static const struct way ways[] = {
    {"one", "\"fail-request\"", EIO, false, false},
    {"one, which is done", "\"fail-late\":true,\"fail-request\"", EIO, false, false},
    {"all from one on", "\"fail-from\"", EIO, true, false},
    {"all, which are done", "\"fail-late\":true,\"fail-from\"", EIO, true, false},
    {"no space", "\"fail-errno\":28,\"fail-from\"", ENOSPC, true, false},
    {"no space, then there is", "\"fail-errno\":28,\"fail-from\"", ENOSPC, true, true},
};

/* ---- the script ---- */

enum what {
    WRITE, /* these three are begun, and waited for by JOIN */
    ZERO,
    DISCARD,
    JOIN,
    FLUSH,
    SAVE,   /* a snapshot */
    APPLY,  /* goes back to it */
    REMOVE, /* deletes it */
    MARK,   /* stores a bitmap that is filled with `fill` */
    UNMARK,
    SIZE, /* to `first` sectors */
};

struct step {
    enum what what;
    uint32_t first, count;
    uint8_t fill; /* 1 to 62, no value twice */
};

static const struct step script[] = {
    {WRITE, 3, 5, 1},
    {WRITE, 100, 200, 2},
    {WRITE, 700, 1, 3},
    {WRITE, 511, 2, 4},
    {.what = JOIN},
    {.what = FLUSH},
    {WRITE, 120, 8, 5},
    {ZERO, 128, 64, 0},
    {DISCARD, 256, 40, 0},
    {WRITE, 900, 100, 6},
    {WRITE, 300, 3, 7},
    {.what = JOIN},
    {.what = MARK, .fill = 0x11},
    {.what = SAVE},
    {WRITE, 121, 2, 8},
    {WRITE, 701, 30, 9},
    {ZERO, 3, 2, 0},
    {DISCARD, 768, 128, 0},
    {.what = JOIN},
    {WRITE, 800, 8, 10},
    {WRITE, 122, 1, 11},
    {WRITE, 512, 128, 12},
    {.what = JOIN},
    {.what = FLUSH},
    {.what = MARK, .fill = 0x3c},
    {.what = SIZE, .first = ALL},
    {WRITE, SECTORS - 1, 3, 13},
    {WRITE, ALL - 9, 9, 14},
    {.what = JOIN},
    {.what = FLUSH},
    {.what = SIZE, .first = SECTORS},
    {WRITE, SECTORS - 2, 2, 15},
    {.what = JOIN},
    {.what = APPLY},
    {WRITE, 123, 3, 16},
    {WRITE, 702, 1, 17},
    {.what = JOIN},
    {.what = REMOVE},
    {.what = UNMARK},
    {WRITE, 640, 60, 18},
    {WRITE, 0, 2, 19},
    {ZERO, 900, 50, 0},
    {.what = JOIN},
};

#define STEPS (sizeof(script) / sizeof(script[0]))

/* ---- the model ---- */

/* Sets of fillings, as masks. */
struct model {
    uint64_t now[ALL];  /* as it is, or would be after an orderly end */
    uint64_t lost[ALL]; /* if nothing more is written: also older ones, back to the last flush */
    uint64_t saved[ALL];
    unsigned sizes; /* that may be there: 1 SECTORS, 2 ALL */
    bool may_be_saved, is_saved;
    unsigned bitmaps; /* fillings that may be there: 1 none, 2 0x11, 4 0x3c */
};

static struct model model;
static struct block_node *node, *filter;
static const struct way *way;
static unsigned failures, unfinished;
static bool seen; /* an error */

static void fail(const char *what, unsigned long long a, unsigned long long b)
{
    if (failures++ < 6) {
        tap_note("%s (%llu, %llu)", what, a, b);
    }
}

static void model_change(const struct step *s, bool certain)
{
    for (uint32_t i = s->first; i < s->first + s->count; i++) {
        uint64_t to = UINT64_C(1) << (s->what == WRITE ? s->fill : 0);

        model.now[i] = certain && s->what != DISCARD ? to : model.now[i] | to;
        model.lost[i] |= to;
    }
}

static void model_flushed(void)
{
    memcpy(model.lost, model.now, sizeof(model.lost));
}

/* ---- doing it ---- */

struct request {
    struct block_request request;
    const struct step *step;
    struct iovec iov;
    struct request *next;
    unsigned *left;
    uint8_t data[];
};

static void failed_with(int err, const struct step *s)
{
    if (err != -way->error) {
        fail("an error becomes another one", (unsigned long long)-err,
             (unsigned long long)(s - script));
    }
    seen = true;
}

static void request_done(struct block_request *request)
{
    --*((struct request *)request)->left;
}

static struct request *request_make(const struct step *s, unsigned *left)
{
    struct request *r = malloc(sizeof(*r) + s->count * SECTOR);

    r->step = s;
    r->left = left;
    r->next = NULL;
    memset(r->data, s->fill, s->count * SECTOR);
    return r;
}

static void request_start(struct request *r)
{
    static const enum block_request_kind kinds[] = {
        [WRITE] = BLOCK_WRITE, [ZERO] = BLOCK_ZERO, [DISCARD] = BLOCK_DISCARD};
    const struct step *s = r->step;

    r->iov = (struct iovec){r->data, s->count * SECTOR};
    r->request = (struct block_request){.kind = kinds[s->what],
                                        .offset = s->first * SECTOR,
                                        .size = s->count * SECTOR,
                                        .unmap = true,
                                        .iov = &r->iov,
                                        .iov_count = 1,
                                        .done = request_done,
                                        .loop = block_test_loop};
    ++*r->left;
    block_submit(node, &r->request);
}

/* Waits for the list; those that have failed stay in it if they shall be tried again. */
static struct request *join(struct request *list, unsigned *left)
{
    struct request *again = NULL;

    while (*left) {
        loop_iterate(block_test_loop, true);
    }
    while (list) {
        struct request *next = list->next;
        int err = list->request.result;

        model_change(list->step, err == 0);
        if (err) {
            failed_with(err, list->step);
        }
        if (err && way->heals) {
            list->next = again;
            again = list;
        } else {
            free(list);
        }
        list = next;
    }
    return again;
}

static int flush(void)
{
    int err = block_test_run(node, (struct block_request){.kind = BLOCK_FLUSH});

    if (!err) {
        model_flushed();
    }
    return err;
}

static int save(void)
{
    struct block_snapshot s = {.icount = UINT64_MAX, .name = "s"};
    int err = node->driver->snapshot_create(node, &s);

    memcpy(model.saved, model.now, sizeof(model.saved));
    model.may_be_saved = true;
    model.is_saved = err == 0;
    if (!err) {
        model_flushed();
    }
    return err;
}

static int apply(void)
{
    int err = node->driver->snapshot_goto(node, "s");

    if (err == -ENOENT && !model.is_saved) {
        return 0;
    }
    for (uint32_t i = 0; i < ALL; i++) {
        model.now[i] = err ? model.now[i] | model.saved[i] : model.saved[i];
        model.lost[i] = err ? model.lost[i] | model.now[i] : model.now[i];
    }
    return err;
}

static int unsave(void)
{
    int err = node->driver->snapshot_delete(node, "s", block_test_error, sizeof(block_test_error));

    if (err == -ENOENT && !model.is_saved) {
        return 0; /* but it may be on the medium */
    }
    model.is_saved = false;
    model.may_be_saved = err != 0;
    return err;
}

static int mark(uint8_t fill)
{
    struct block_bitmap_info info = {.name = "b", .granularity = SECTOR, .bytes = SECTORS / 8};
    unsigned which = fill == 0x11 ? 2 : 4;
    uint8_t bits[SECTORS / 8];
    int err;

    memset(bits, fill, sizeof(bits));
    err = node->driver->bitmap_store(node, &info, bits, block_test_error, sizeof(block_test_error));
    model.bitmaps = err ? model.bitmaps | which : which;
    return err;
}

static int unmark(void)
{
    int err = node->driver->bitmap_remove(node, "b", block_test_error, sizeof(block_test_error));

    if (err == -ENOENT && (model.bitmaps & 1)) {
        return 0;
    }
    model.bitmaps = err ? model.bitmaps | 1 : 1;
    return err;
}

static int resize(uint32_t sectors)
{
    int err = block_truncate(node, sectors * SECTOR, true, BLOCK_PREALLOC_OFF, block_test_error,
                             sizeof(block_test_error));

    model.sizes = (err ? model.sizes : 0) | (sectors == ALL ? 2 : 1);
    for (uint32_t i = SECTORS; i < ALL && sectors == SECTORS; i++) {
        model.now[i] = 1 | (err ? model.now[i] : 0);
        model.lost[i] = 1 | (err ? model.lost[i] : 0);
    }
    return err;
}

static int blocking_step(const struct config *config, const struct step *s)
{
    switch (s->what) {
    case FLUSH:
        return flush();
    case SAVE:
        return config->snapshots ? save() : 0;
    case APPLY:
        return config->snapshots ? apply() : 0;
    case REMOVE:
        return config->snapshots ? unsave() : 0;
    case MARK:
        return config->bitmaps ? mark(s->fill) : 0;
    case UNMARK:
        return config->bitmaps ? unmark() : 0;
    default:
        /* Bitmaps have the size of the disk. */
        return config->bitmaps ? 0 : resize(s->first);
    }
}

static void heal(void)
{
    blkdebug_heal(filter);
    seen = false;
}

static void run_script(const struct config *config)
{
    struct request *list = NULL;
    unsigned left = 0;

    for (size_t i = 0; i < STEPS; i++) {
        const struct step *s = &script[i];

        if (s->what < JOIN) {
            if (s->first + s->count <= block_size(node) / SECTOR) {
                struct request *r = request_make(s, &left);

                r->next = list;
                list = r;
                request_start(r);
            }
            continue;
        }
        if (s->what == JOIN) {
            list = join(list, &left);
            if (list) {
                heal();
                for (struct request *r = list; r; r = r->next) {
                    request_start(r);
                }
                list = join(list, &left);
                unfinished += list != NULL;
            }
            continue;
        }
        int err = blocking_step(config, s);

        if (err) {
            failed_with(err, s);
        }
        if (err && way->heals) {
            heal();
            unfinished += blocking_step(config, s) != 0;
        }
    }
}

/* ---- looking ---- */

static int read_all(struct block_node *n, uint8_t *bytes)
{
    return block_pread(n, 0, bytes, ALL * SECTOR);
}

static void compare(const char *what, const uint8_t *bytes, const uint64_t *sets, uint32_t sectors,
                    uint64_t request)
{
    for (uint32_t s = 0; s < sectors; s++) {
        const uint8_t *at = bytes + s * SECTOR;

        if (at[0] > 63 || !(sets[s] >> at[0] & 1) || memcmp(at, at + 1, SECTOR - 1) != 0) {
            fail(what, request, s);
            tap_note("it has %#x, expected one of %#llx", at[0], (unsigned long long)sets[s]);
            return;
        }
    }
}

static int open_plainly(const struct config *config, const char *path, bool readonly,
                        struct block_node **n)
{
    char name[600];

    snprintf(name, sizeof(name),
             "json:{\"driver\":\"%s\",\"discard\":\"unmap\",\"read-only\":%s,\"cache\":"
             "{\"no-flush\":true},\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}%s}",
             config->raw ? "raw" : "qcow2", readonly ? "true" : "false", path,
             config->open ? config->open : "");
    return block_open_file(n, name, NULL, NULL, readonly, block_test_error,
                           sizeof(block_test_error));
}

static void look_at_snapshot(const struct config *config, const char *path, uint64_t request)
{
    static uint8_t bytes[ALL * SECTOR];
    struct block_snapshot *list = NULL;
    struct block_node *n;
    int count;

    if (open_plainly(config, path, true, &n)) {
        fail(block_test_error, request, 0);
        return;
    }
    count = n->driver->snapshot_list(n, &list);
    if (count < (int)model.is_saved || count > (int)model.may_be_saved) {
        fail("another number of snapshots after request", request, (unsigned long long)count);
    }
    if (count == 1) {
        if (n->driver->snapshot_load(n, "s", block_test_error, sizeof(block_test_error)) ||
            read_all(n, bytes)) {
            fail("a snapshot can't be read after request", request, 0);
        } else {
            compare("wrong contents of the snapshot after request, sector", bytes, model.saved,
                    SECTORS, request);
        }
    }
    free(list);
    block_unref(n);
}

static void look_at_bitmap(struct block_node *n, uint64_t request)
{
    struct block_bitmap_info *list = NULL, info;
    int count = n->driver->bitmap_list(n, &list);
    unsigned found = 1;
    uint8_t *bits = NULL;

    if (count > 0) {
        if (n->driver->bitmap_load(n, "b", &info, &bits)) {
            fail("a bitmap can't be read after request", request, 0);
            found = model.bitmaps;
        } else {
            found = bits[0] == 0x11 ? 2 : bits[0] == 0x3c ? 4 : 0;
            found = memcmp(bits, bits + 1, SECTORS / 8 - 1) ? 0 : found;
        }
    }
    if (!(found & model.bitmaps)) {
        fail("another bitmap after request", request, found);
    }
    free(bits);
    free(list);
}

static void check_image(struct block_node *n, unsigned fix, const char *what, uint64_t request)
{
    struct block_check check =
        n->driver->check ? qcow2_test_check(n, fix, false) : (struct block_check){0};

    if (check.corruptions || check.check_errors) {
        fail(what, request, check.corruptions);
        qcow2_test_check(n, 0, failures < 4);
    }
}

/* What is there, and whether the image can be used on. */
static void look(const struct config *config, const char *path, bool lost, uint64_t request)
{
    static uint8_t bytes[ALL * SECTOR];
    const uint64_t *sets = lost ? model.lost : model.now;
    struct block_node *n;
    uint32_t size;

    if (config->snapshots) {
        look_at_snapshot(config, path, request);
    }
    if (open_plainly(config, path, false, &n)) {
        fail(block_test_error, request, 0);
        return;
    }
    size = (uint32_t)(block_size(n) / SECTOR);
    if (!(model.sizes & (size == SECTORS ? 1 : size == ALL ? 2 : 0))) {
        fail("another size after request", request, size);
    }
    if (!n->driver->check && size > SECTORS) {
        size = SECTORS; /* a raw image grows with what is written */
    }
    check_image(n, 0, "corruptions after request", request);
    if (config->bitmaps) {
        look_at_bitmap(n, request);
    }
    if (read_all(n, bytes)) {
        fail("can't be read after request", request, 0);
    }
    compare("wrong contents after request, sector", bytes, sets, size, request);
    check_image(n, BLOCK_CHECK_LEAKS, "corruptions after repairing, request", request);
    memset(bytes, 62, sizeof(bytes));
    if (block_pwrite(n, 0, bytes, size * SECTOR, 0) || block_flush(n) || read_all(n, bytes) ||
        bytes[0] != 62 || memcmp(bytes, bytes + 1, size * SECTOR - 1) != 0) {
        fail("can't be used any more after request", request, 0);
    }
    if (!failures && n->driver->check && !qcow2_test_clean(n)) {
        fail("unclean when used after request", request, 0);
    }
    block_unref(n);
}

/* ---- one run ---- */

static bool make(const struct config *config, const char *path, const char *under)
{
    char options[400], *image, *at = options;

    if (config->raw) {
        return truncate(path, 0) == 0 ? truncate(path, SECTORS * SECTOR) == 0
                                      : !!block_test_file("image", SECTORS * SECTOR);
    }
    snprintf(options, sizeof(options), "%s", config->create ? config->create : "");
    image = strstr(options, "IMAGE.data");
    if (image) {
        snprintf(options, sizeof(options), "data_file=%s.data%s", path,
                 strstr(config->create, ",cluster"));
    }
    return qcow2_test_create(path, SECTORS * SECTOR, *at ? at : NULL,
                             config->backing ? under : NULL) == 0;
}

static int open_faulty(const struct config *config, const char *path, uint64_t request)
{
    char name[1200], faulty[500];

    snprintf(
        faulty, sizeof(faulty),
        "{\"driver\":\"blkdebug\",%s:%llu,\"image\":{\"driver\":\"file\",\"filename\":\"%s%s\","
        "\"cache\":{\"no-flush\":true}}}",
        way->settings, (unsigned long long)request, path, config->data ? ".data" : "");
    if (config->data) {
        snprintf(name, sizeof(name),
                 "json:{\"driver\":\"qcow2\",\"discard\":\"unmap\",\"data-file\":%s,\"file\":{"
                 "\"driver\":\"file\",\"filename\":\"%s\",\"cache\":{\"no-flush\":true}}}",
                 faulty, path);
    } else {
        snprintf(name, sizeof(name), "json:{\"driver\":\"%s\",\"discard\":\"unmap\",\"file\":%s%s}",
                 config->raw ? "raw" : "qcow2", faulty, config->open ? config->open : "");
    }
    return block_open_file(&node, name, NULL, NULL, false, block_test_error,
                           sizeof(block_test_error));
}

static void model_begin(const struct config *config)
{
    memset(&model, 0, sizeof(model));
    for (uint32_t i = 0; i < ALL; i++) {
        model.now[i] = UINT64_C(1) << (config->backing && i < SECTORS ? UNDER : 0);
    }
    model_flushed();
    model.sizes = 1;
    model.bitmaps = 1;
    unfinished = 0;
    seen = false;
}

/* The request-th request fails; false when there are not so many, or something was found. */
static bool once(const struct config *config, const char *path, const char *under, uint64_t request)
{
    uint64_t count;

    model_begin(config);
    if (!make(config, path, under)) {
        fail(block_test_error, request, 0);
        return false;
    }
    if (open_faulty(config, path, request)) {
        if (request > 60) {
            fail(block_test_error, request, 0); /* opening does not need so many */
        }
        look(config, path, true, request);
        return failures == 0;
    }
    filter = config->data ? node->data->node : node->file->node;
    run_script(config);
    if (!way->rest || way->heals) {
        /* That may be the one which fails, but then the next one does not. */
        if (flush() != 0) {
            blkdebug_heal(filter);
            unfinished += flush() != 0;
        }
    }
    if (unfinished) {
        fail("fails again when tried again; request", request, unfinished);
    }
    count = blkdebug_requests(filter);
    block_unref(node);
    look(config, path, way->rest && !way->heals, request);
    return failures == 0 && count >= request;
}

static const char *make_backing(void)
{
    static uint8_t bytes[SECTORS * SECTOR];
    static char path[300];
    struct block_node *n;

    snprintf(path, sizeof(path), "%s", block_test_path("under"));
    qcow2_test_create(path, SECTORS * SECTOR, NULL, NULL);
    n = block_test_open(path, "qcow2", NULL);
    memset(bytes, UNDER, sizeof(bytes));
    if (block_pwrite(n, 0, bytes, sizeof(bytes), 0)) {
        fail("the backing file can't be made", 0, 0);
    }
    block_unref(n);
    return path;
}

int main(int argc, char **argv)
{
    int quiet = open("/dev/null", O_WRONLY), errors = dup(2);
    const char *under;
    char path[300];

    block_test_begin();
    secret_add("id=s0,data=hunter2", block_test_error, sizeof(block_test_error));
    snprintf(path, sizeof(path), "%s", block_test_path("image"));
    under = make_backing();
    for (size_t c = 0; c < sizeof(configs) / sizeof(configs[0]); c++) {
        for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
            uint64_t request = configs[c].step ? 1 + 2 * w : 1;

            if (argc > 3) {
                request = strtoull(argv[3], NULL, 10);
            }

            if ((argc > 1 && strcmp(argv[1], configs[c].name) != 0) ||
                (argc > 2 && strcmp(argv[2], ways[w].name) != 0)) {
                continue;
            }
            failures = 0;
            way = &ways[w];
            dup2(argc > 3 ? errors : quiet, 2); /* warnings about closing are right */
            while (once(&configs[c], path, under, request)) {
                request += configs[c].step ? configs[c].step : 1;
            }
            dup2(errors, 2);
            tap_ok(failures == 0 && request > 12, "%s: %s: %s of %llu requests may fail",
                   configs[c].name, way->name, configs[c].step ? "some" : "each",
                   (unsigned long long)request);
        }
    }
    secret_remove("s0");
    return block_test_end();
}
