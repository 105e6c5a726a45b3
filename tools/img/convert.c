/*
 * convert: copies images into a new one, or one that is there (-n).
 *
 * This file puts together what copy.c copies: sources, the target and what it is known to have
 * already. The target of a conversion that did not come to its end is left as it is, and how far it
 * came is told and written down (journal.c).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/block/create.h"
#include "tools/img/journal.h"
#include "util/error.h"

enum { MAX_WORKERS = 16, DEFAULT_WORKERS = 8, SECTOR = 512 };
#define MAX_GRANULE (UINT64_C(2) << 20) /* one piece of copy.c */

struct values {
    struct img_source source;
    const char *target_format, *target_cache, *backing, *backing_format;
    const char *sparse, *rate, *workers, *snapshot;
    char *options;
    bool compressed, progress, no_create, out_of_order, offload, salvage, target_is_zero;
    bool target_image_opts, bitmaps, skip_broken, resume;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {'O', "target-format", IMG_TEXT, AT(target_format), "FORMAT", 0},
    {'o', "options", IMG_LIST, AT(options), "OPTIONS", 0},
    {'B', "backing", IMG_TEXT, AT(backing), "FILE", 0},
    {'F', "backing-format", IMG_TEXT, AT(backing_format), "FORMAT", 0},
    {'c', "compress", IMG_FLAG, AT(compressed), NULL, 0},
    {'l', "snapshot", IMG_TEXT, AT(snapshot), "SNAPSHOT", 0},
    {'S', "sparse-size", IMG_TEXT, AT(sparse), "SIZE", 0},
    {'n', NULL, IMG_FLAG, AT(no_create), NULL, 0},
    {'m', "parallel", IMG_TEXT, AT(workers), "COUNT", 0},
    {'W', "oob", IMG_FLAG, AT(out_of_order), NULL, 0},
    {'C', "copy-range-offloading", IMG_FLAG, AT(offload), NULL, 0},
    {'r', "rate-limit", IMG_TEXT, AT(rate), "RATE", 0},
    {'t', "cache", IMG_TEXT, AT(target_cache), "CACHE", 0},
    {'T', "source-cache", IMG_TEXT, AT(source.cache), "CACHE", 0},
    {'p', "progress", IMG_FLAG, AT(progress), NULL, 0},
    {'q', "quiet", IMG_FLAG, AT(source.quiet), NULL, 0},
    {'U', "force-share", IMG_FLAG, AT(source.share), NULL, 0},
    {0, "resume", IMG_FLAG, AT(resume), NULL, 0},
    {0, "bitmaps", IMG_FLAG, AT(bitmaps), NULL, 0},
    {0, "skip-broken-bitmaps", IMG_FLAG, AT(skip_broken), NULL, 0},
    {0, "salvage", IMG_FLAG, AT(salvage), NULL, 0},
    {0, "target-is-zero", IMG_FLAG, AT(target_is_zero), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "target-image-opts", IMG_FLAG, AT(target_image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

/* What one conversion works with. */
struct job {
    const struct values *v;
    const char *target_name;
    struct block_node **sources;
    struct img_copy copy;
    struct img_progress progress;
    struct img_journal journal;
    char *settings;
    bool keeps_journal; /* the target is a file that a journal can stand next to */
    bool resumed;
};

/* ---- options ---- */

static int parse_numbers(const struct values *v, struct img_copy *c)
{
    uint64_t number;
    char *end;

    c->sparse = 4096;
    c->workers = DEFAULT_WORKERS;
    if (v->sparse) {
        if (img_parse_size(v->sparse, &number) || number % SECTOR || number > MAX_GRANULE) {
            return img_fail("-S %s: Invalid buffer size for sparse output specified: expected 0 or "
                            "a multiple of 512 up to 2M",
                            v->sparse);
        }
        c->sparse = number;
    }
    if (v->rate && (img_parse_size(v->rate, &c->rate) || !c->rate)) {
        return img_fail("-r %s: expected bytes per second", v->rate);
    }
    if (v->workers) {
        c->workers = (unsigned)strtoul(v->workers, &end, 10);
        if (*end || c->workers < 1 || c->workers > MAX_WORKERS) {
            return img_fail("Invalid number of coroutines. Allowed number of coroutines is between "
                            "1 and %d",
                            MAX_WORKERS);
        }
    }
    return 0;
}

static int check_options(const struct values *v, int sources)
{
    if (v->compressed && v->sparse && strcmp(v->sparse, "0") == 0) {
        return img_fail("-c and -S 0 can't be used together");
    }
    if (v->offload && v->sparse) {
        return img_fail("Cannot enable copy offloading when -S is used");
    }
    if (v->offload && v->compressed) {
        return img_fail("Cannot enable copy offloading when -c is used");
    }
    if (v->target_image_opts && !v->no_create) {
        return img_fail("--target-image-opts requires use of -n flag");
    }
    if (v->target_is_zero && !v->no_create) {
        return img_fail("--target-is-zero requires use of -n flag");
    }
    if (v->target_is_zero && v->backing) {
        return img_fail("--target-is-zero is not allowed when -B is used");
    }
    if (v->skip_broken && !v->bitmaps) {
        return img_fail("Use of --skip-broken-bitmaps requires --bitmaps");
    }
    if (v->backing && sources > 1) {
        return img_fail("Having a backing file for the target makes no sense when concatenating "
                        "multiple input images");
    }
    if (v->backing && !v->backing_format && !v->no_create) {
        return img_fail("Use of backing file requires explicit backing format (-F)");
    }
    if (v->snapshot && sources > 1) {
        return img_fail("No support for concatenating multiple snapshot");
    }
    if (v->bitmaps && sources > 1) {
        return img_fail("Copying bitmaps only possible with single source");
    }
    return 0;
}

/* ---- sources ---- */

/* "NAME", or snapshot.id=ID,snapshot.name=NAME; what is asked for, malloc()ed. */
static char *snapshot_name(const char *text)
{
    const char *at = strstr(text, "snapshot.id=");

    if (at != text && strncmp(text, "snapshot.name=", 14) != 0) {
        return strdup(text);
    }
    at = at ? at + 12 : text + 14;
    return strndup(at, strcspn(at, ","));
}

static int load_snapshot(struct block_node *node, const char *text)
{
    char error[512] = "the format has no snapshots", *name = snapshot_name(text);
    int err = -ENOTSUP;

    if (name && node->driver->snapshot_load) {
        error[0] = '\0';
        err = node->driver->snapshot_load(node, name, error, sizeof(error));
    }
    if (err) {
        img_fail("Failed to load snapshot '%s': %s", text, error[0] ? error : strerror(-err));
    }
    free(name);
    return err;
}

static int open_sources(struct job *j, int count, char **names)
{
    j->sources = calloc((size_t)count, sizeof(void *));
    if (!j->sources) {
        return img_fail("out of memory");
    }
    j->copy.sources = j->sources;
    for (int i = 0; i < count; i++) {
        if (img_open(&j->sources[i], names[i], &j->v->source, 0)) {
            return 1;
        }
        j->copy.source_count++;
        if (j->v->snapshot && load_snapshot(j->sources[i], j->v->snapshot)) {
            return 1;
        }
        j->copy.total += block_size(j->sources[i]);
    }
    if (j->v->bitmaps && !j->sources[0]->driver->bitmap_list) {
        return img_fail("Format driver '%s' does not support bitmaps", j->sources[0]->driver->name);
    }
    return 0;
}

/* ---- the target ---- */

static const char *target_format(const struct values *v)
{
    return v->target_format ? v->target_format : "raw";
}

static bool is_plain_file(const char *name)
{
    struct stat st;

    return stat(name, &st) < 0 ? !strchr(name, ':') : S_ISREG(st.st_mode);
}

static int create_target(struct job *j)
{
    const struct values *v = j->v;
    struct block_create_request r = {.filename = j->target_name,
                                     .format = target_format(v),
                                     .options = v->options,
                                     .size = j->copy.total,
                                     .has_size = true,
                                     .backing = v->backing,
                                     .backing_format = v->backing_format};
    char error[1024];

    if (block_create_image(&r, error, sizeof(error))) {
        return img_fail("%s: error while converting %s: %s", j->target_name, target_format(v),
                        error);
    }
    /* what is new reads as zeros, unless it is a device or shows what is under it */
    j->copy.zero_from =
        is_plain_file(j->target_name) || strcmp(r.format, "raw") != 0 ? 0 : UINT64_MAX;
    return 0;
}

static char *target_options(const struct values *v)
{
    const char *secret = v->options ? strstr(v->options, "key-secret=") : NULL;
    char *text = NULL;

    /* what is encrypted with a secret is opened with it */
    if (!secret || v->no_create) {
        return NULL;
    }
    if (asprintf(&text, "%s%.*s", strcmp(target_format(v), "qcow2") == 0 ? "encrypt." : "",
                 (int)strcspn(secret, ","), secret) < 0) {
        text = NULL;
    }
    return text;
}

static int open_target(struct job *j)
{
    const struct values *v = j->v;
    struct img_source source = {
        .format = v->target_image_opts ? NULL : target_format(v),
        .cache = v->target_cache ? v->target_cache
                 : v->resume     ? "writeback"
                                 : "unsafe",
        .image_opts = v->target_image_opts,
        .quiet = v->source.quiet,
    };
    char *text = target_options(v);
    int err = img_open_with(&j->copy.target, j->target_name, &source, text, IMG_WRITE);

    free(text);
    return err;
}

static int prepare_target(struct job *j)
{
    const struct values *v = j->v;
    struct img_copy *c = &j->copy;
    struct block_node *t = c->target;
    struct block_info info = {0};

    if (block_size(t) < c->total) {
        return img_fail("output file is smaller than input file");
    }
    if (v->compressed && strcmp(t->driver->name, "qcow2") != 0) {
        return img_fail("Compression not supported for this file format");
    }
    if (v->bitmaps && !t->driver->bitmap_store) {
        return img_fail("Format driver '%s' does not support bitmaps", t->driver->name);
    }
    if (block_get_info(t, &info) == 0) {
        free(info.backing_filename);
        free(info.backing_format);
    }
    c->granule = info.cluster_size ? info.cluster_size : SECTOR;
    if (c->granule > MAX_GRANULE || (c->granule & (c->granule - 1))) {
        c->granule = SECTOR;
    }
    c->compressed = v->compressed;
    c->top_only = v->backing && t->backing;
    if (j->resumed) {
        /* is as the journal says */
    } else if (v->no_create) {
        c->zero_from = v->target_is_zero ? 0 : UINT64_MAX;
    } else if (t->backing && c->zero_from == 0) {
        c->zero_from = block_size(t->backing->node);
    }
    /* only a format that allocates as it is written is laid out by the order of writes */
    c->in_order = !v->out_of_order && !v->compressed && strcmp(t->driver->name, "raw") != 0;
    c->salvage = v->salvage;
    return 0;
}

/* ---- bitmaps ---- */

static int copy_bitmap(struct job *j, const struct block_bitmap_info *b)
{
    const struct block_node *source = j->sources[0], *target = j->copy.target;
    struct block_bitmap_info info;
    char error[512] = "";
    uint8_t *bits = NULL;
    int err;

    if (b->in_use) {
        if (j->v->skip_broken) {
            error_warn("Skipping inconsistent bitmap '%s'", b->name);
            return 0;
        }
        return img_fail("Cannot copy inconsistent bitmap '%s'", b->name);
    }
    err = source->driver->bitmap_load(j->sources[0], b->name, &info, &bits);
    if (!err) {
        err = target->driver->bitmap_store(j->copy.target, &info, bits, error, sizeof(error));
    }
    free(bits);
    return err ? img_fail("Failed to copy bitmap '%s': %s", b->name,
                          error[0] ? error : strerror(-err))
               : 0;
}

static int copy_bitmaps(struct job *j)
{
    struct block_bitmap_info *list = NULL;
    int count = j->sources[0]->driver->bitmap_list(j->sources[0], &list), status = 0;

    if (count < 0) {
        return img_fail("Could not list bitmaps: %s", strerror(-count));
    }
    for (int i = 0; i < count && !status; i++) {
        status = copy_bitmap(j, &list[i]);
    }
    free(list);
    return status;
}

/* ---- interruption ---- */

static int checkpoint(void *opaque, uint64_t done)
{
    struct job *j = opaque;
    int err = block_flush(j->copy.target);

    return err ? err : img_journal_write(&j->journal, &j->copy, done);
}

/* Ends in order what a signal or an error has interrupted, and says how far it came. Status 1. */
static int stopped(struct job *j, const char *why)
{
    char done[32], total[32];
    int err = block_flush(j->copy.target);
    bool goes_on;

    if (!err && j->keeps_journal) {
        err = img_journal_write(&j->journal, &j->copy, j->copy.done);
    }
    /* With --resume there may be one of some seconds ago. */
    goes_on = j->keeps_journal && (!err || img_journal_exists(&j->journal));
    img_size_text(j->copy.done, done);
    img_size_text(j->copy.total, total);
    return img_fail("%s: '%s' is incomplete, it has the first %s of %s%s", why, j->target_name,
                    done, total,
                    !goes_on ? ""
                    : err    ? "; the same command with --resume goes on from where it was shortly "
                               "before"
                             : "; the same command with --resume goes on from there");
}

/* A target that was not closed may have lost space; that is given back first. */
static int check_target(struct job *j)
{
    struct block_node *t = j->copy.target;
    struct block_check check = {0};
    int err = t->driver->check ? t->driver->check(t, BLOCK_CHECK_LEAKS, &check) : 0;

    if (err || check.corruptions || check.check_errors) {
        return img_fail("'%s' is damaged, the conversion can't go on; without --resume it begins "
                        "anew",
                        j->target_name);
    }
    return 0;
}

static int resume(struct job *j)
{
    char error[1024];

    if (check_target(j)) {
        return 1;
    }
    if (img_journal_verify(&j->journal, &j->copy, error, sizeof(error))) {
        return img_fail("%s", error);
    }
    if (!j->v->source.quiet) {
        char done[32], total[32];

        img_size_text(j->copy.start, done);
        printf("Going on behind the first %s of %s\n", done, img_size_text(j->copy.total, total));
        fflush(stdout);
    }
    return 0;
}

/* ---- the command ---- */

static int make_journal(struct job *j)
{
    const struct values *v = j->v;

    if (asprintf(&j->settings,
                 "format=%s compressed=%d sparse=%s backing=%s options=%s snapshot=%s",
                 target_format(v), v->compressed, v->sparse ? v->sparse : "",
                 v->backing ? v->backing : "", v->options ? v->options : "",
                 v->snapshot ? v->snapshot : "") < 0) {
        j->settings = NULL;
        return img_fail("out of memory");
    }
    if (img_journal_init(&j->journal, j->target_name, j->settings)) {
        return img_fail("out of memory");
    }
    j->keeps_journal = !v->target_image_opts && is_plain_file(j->target_name);
    if (v->resume && !j->keeps_journal) {
        return img_fail("--resume: '%s': expected the target to be a file", j->target_name);
    }
    j->resumed = v->resume && img_journal_exists(&j->journal);
    if (v->resume && !j->resumed && !v->no_create) {
        struct stat st;

        if (stat(j->target_name, &st) == 0) {
            return img_fail("--resume: '%s' is there, but nothing says how far it is; without "
                            "--resume it is overwritten",
                            j->target_name);
        }
    }
    return 0;
}

static int copy(struct job *j)
{
    struct img_copy *c = &j->copy;
    char error[512];
    int err;

    if (j->v->resume) {
        c->checkpoint = checkpoint;
        c->opaque = j;
    }
    c->progress = &j->progress;
    img_catch_interrupts();
    img_progress_begin(&j->progress, j->v->progress, j->v->source.quiet, c->total);
    err = img_copy_run(c, error, sizeof(error));
    img_progress_end(&j->progress, !err);
    if (err == -EINTR) {
        (void)stopped(j, "interrupted");
        return 128 + img_interrupted();
    }
    if (err) {
        return stopped(j, error);
    }
    err = j->v->bitmaps ? copy_bitmaps(j) : 0;
    if (!err) {
        err = block_flush(c->target);
        err = err ? img_fail("%s: %s", j->target_name, strerror(-err)) : 0;
    }
    if (!err && j->keeps_journal) {
        img_journal_remove(&j->journal);
    }
    return err;
}

static int convert(struct job *j, int count, char **names)
{
    const struct values *v = j->v;
    char error[1024];

    if (check_options(v, count) || parse_numbers(v, &j->copy) || open_sources(j, count, names) ||
        make_journal(j)) {
        return 1;
    }
    if (v->no_create && v->options) {
        error_warn("-o has no effect when skipping image creation");
    }
    if (j->resumed && img_journal_read(&j->journal, &j->copy, error, sizeof(error))) {
        return img_fail("%s", error);
    }
    if (!j->resumed) {
        img_journal_remove(&j->journal); /* of an older conversion to the same file */
    }
    if (!j->resumed && !v->no_create && create_target(j)) {
        return 1;
    }
    if (open_target(j) || prepare_target(j) || (j->resumed && resume(j))) {
        return 1;
    }
    return copy(j);
}

static int run(void *opaque, int count, char **operands)
{
    const struct values *v = opaque;
    struct job j = {.v = v};
    int status;

    if (img_asks_for_help(v->options)) {
        return img_options_help(target_format(v));
    }
    if (count < 2) {
        return img_fail("Must specify image file name");
    }
    j.target_name = operands[count - 1];
    status = convert(&j, count - 1, operands);
    for (unsigned i = 0; i < j.copy.source_count; i++) {
        block_unref(j.sources[i]);
    }
    if (j.copy.target) {
        block_unref(j.copy.target);
    }
    free(j.sources);
    free(j.settings);
    img_journal_clear(&j.journal);
    return status;
}

const struct img_command img_convert = {
    .name = "convert",
    .operands = "FILE... TARGET",
    .summary = "copies images into another one, of any format; --resume goes on after an "
               "interruption",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 0,
    .max_operands = -1,
    .run = run,
};
