/*
 * check: consistency of an image's metadata, and repair.
 *
 * --explain says behind each kind of finding what it means for the data, and what repair does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "tools/img/img.h"

enum { STATUS_ERRORS = 2, STATUS_LEAKS = 3, STATUS_NO_CHECK = 63 };

struct values {
    struct img_source source;
    bool json, explain;
    const char *repair;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {'r', "repair", IMG_TEXT, AT(repair), "leaks|all", 0},
    {0, "output", IMG_OUTPUT, AT(json), "human|json", 0},
    {0, "explain", IMG_FLAG, AT(explain), NULL, 0},
    {'T', "source-cache", IMG_TEXT, AT(source.cache), "CACHE", 0},
    {'q', "quiet", IMG_FLAG, AT(source.quiet), NULL, 0},
    {'U', "force-share", IMG_FLAG, AT(source.share), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

/* Kinds of findings by what their lines contain; the first that matches counts. */
static const struct explanation {
    const char *has, *meaning, *repair;
} explanations[] = {
    {"Leaked cluster", "the file has space that nothing uses; no data is affected",
     "-r leaks or -r all gives it back to the image"},
    {"refcount=",
     "a cluster is used more often than it is counted: a write could give it to something else and "
     "destroy data",
     "-r all counts it right; data that was already overwritten stays so"},
    {"OFLAG_COPIED set", "a compressed cluster is marked as if it could be written in place",
     "-r all takes the mark away; data is not affected"},
    {"OFLAG_COPIED",
     "a table says wrongly whether a cluster belongs to it alone: writes could change a snapshot, "
     "or copy without need",
     "-r all sets the mark by the counts; data is not affected"},
    {"exceeding the end of the file",
     "a table points behind the end of the file, as in a file that was cut off; what was there is "
     "lost",
     "-r all makes that part of the disk read as zeros"},
    {"L2 entry corrupted",
     "an entry of a table makes no sense; the data that it led to can't be found",
     "-r all makes that part of the disk read as zeros"},
    {"l2_offset=",
     "a whole table can't be right, so what it leads to (often hundreds of megabytes) can't be "
     "found",
     "-r all makes that part of the disk read as zeros; copy what you need first"},
    {"refcount block",
     "a part of the counts lies outside of the file or on something else, so nothing says which "
     "clusters are free",
     "-r all counts everything anew"},
    {"Rebuilding", "the counts are being made anew from what is in use", "this is the repair"},
    {"snapshot", "a snapshot's table can't be right; the snapshot can't be used",
     "is not repaired; tinamou-img snapshot -d deletes it"},
    {"bitmap", "dirty bitmaps are not valid; backups that build on them have to be full ones",
     "is not repaired; the disk's data is not affected"},
};

static const struct explanation *explain(const char *line)
{
    for (size_t i = 0; i < sizeof(explanations) / sizeof(explanations[0]); i++) {
        if (strstr(line, explanations[i].has)) {
            return &explanations[i];
        }
    }
    return NULL;
}

struct report {
    bool explain, quiet;
    unsigned explained; /* bits of those that have been */
    json_t *findings;   /* or NULL */
};

static void report(void *opaque, const char *line)
{
    struct report *r = opaque;
    const struct explanation *e = r->explain ? explain(line) : NULL;
    unsigned bit = e ? 1u << (e - explanations) : 0;

    if (r->findings) {
        json_t *o = json_pack("{s:s}", "finding", line);

        if (e) {
            json_object_set_new(o, "meaning", json_string(e->meaning));
            json_object_set_new(o, "repair", json_string(e->repair));
        }
        json_array_append_new(r->findings, o);
        return;
    }
    fprintf(stderr, "%s\n", line);
    if (e && !(r->explained & bit)) {
        fprintf(stderr, "    This means: %s.\n    Repair: %s.\n", e->meaning, e->repair);
        r->explained |= bit;
    }
}

static void print_human(const struct block_check *c)
{
    if (!c->corruptions && !c->leaks && !c->check_errors) {
        printf("No errors were found on the image.\n");
    }
    if (c->corruptions) {
        printf("\n%" PRIu64 " errors were found on the image.\nData may be corrupted, or further "
               "writes to the image may corrupt it.\n",
               c->corruptions);
    }
    if (c->leaks) {
        printf("\n%" PRIu64 " leaked clusters were found on the image.\nThis means waste of disk "
               "space, but no harm to data.\n",
               c->leaks);
    }
    if (c->check_errors) {
        printf("\n%" PRIu64 " internal errors have occurred during the check.\n", c->check_errors);
    }
    if (c->total_clusters && c->allocated_clusters) {
        printf("%" PRIu64 "/%" PRIu64
               " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
               c->allocated_clusters, c->total_clusters,
               (double)c->allocated_clusters * 100 / (double)c->total_clusters,
               (double)c->fragmented_clusters * 100 / (double)c->allocated_clusters,
               (double)c->compressed_clusters * 100 / (double)c->allocated_clusters);
    }
    if (c->image_end_offset) {
        printf("Image end offset: %" PRIu64 "\n", c->image_end_offset);
    }
}

static void set_count(json_t *o, const char *name, uint64_t value, bool always)
{
    if (value || always) {
        json_object_set_new(o, name, json_integer((json_int_t)value));
    }
}

static void print_json(const struct block_check *c, const struct block_node *node, json_t *findings)
{
    json_t *o = json_object();

    set_count(o, "leaks", c->leaks, false);
    set_count(o, "image-end-offset", c->image_end_offset, false);
    set_count(o, "compressed-clusters", c->compressed_clusters, false);
    set_count(o, "corruptions-fixed", c->corruptions_fixed, false);
    set_count(o, "leaks-fixed", c->leaks_fixed, false);
    set_count(o, "total-clusters", c->total_clusters, false);
    set_count(o, "check-errors", c->check_errors, true);
    set_count(o, "corruptions", c->corruptions, false);
    set_count(o, "allocated-clusters", c->allocated_clusters, false);
    json_object_set_new(o, "filename", json_string(node->filename));
    json_object_set_new(o, "format", json_string(node->driver->name));
    set_count(o, "fragmented-clusters", c->fragmented_clusters, false);
    if (findings) {
        json_object_set(o, "findings", findings);
    }
    json_dumpf(o, stdout, JSON_INDENT(4));
    printf("\n");
    json_decref(o);
}

static int check_twice(struct block_node *node, unsigned fix, bool quiet, struct report *r,
                       struct block_check *c)
{
    *c = (struct block_check){.report = report, .opaque = r};
    int err = node->driver->check(node, fix, c);

    if (err || (!c->corruptions_fixed && !c->leaks_fixed)) {
        return err;
    }
    struct block_check again = {.report = report, .opaque = r};

    if (!quiet) {
        printf("The following inconsistencies were found and repaired:\n\n    %" PRIu64
               " leaked clusters\n    %" PRIu64
               " corruptions\n\nDouble checking the fixed image now...\n",
               c->leaks_fixed, c->corruptions_fixed);
        fflush(stdout);
    }
    err = node->driver->check(node, 0, &again);
    again.leaks_fixed = c->leaks_fixed;
    again.corruptions_fixed = c->corruptions_fixed;
    *c = again;
    return err;
}

static int check(const struct values *v, struct block_node *node, unsigned fix)
{
    struct report r = {.explain = v->explain, .quiet = v->source.quiet};
    struct block_check c;
    int err;

    if (!node->driver->check) {
        img_fail("This image format does not support checks");
        return STATUS_NO_CHECK;
    }
    if (v->json && v->explain) {
        r.findings = json_array();
    }
    err = check_twice(node, fix, v->json || v->source.quiet, &r, &c);
    if (!err && fix) {
        err = block_flush(node);
    }
    if (!err && v->json) {
        print_json(&c, node, r.findings);
    } else if (!err && !v->source.quiet) {
        print_human(&c);
    }
    json_decref(r.findings);
    if (err) {
        return img_fail("Check failed: %s", strerror(-err));
    }
    if (c.check_errors) {
        return img_fail("Check failed");
    }
    return c.corruptions ? STATUS_ERRORS : c.leaks ? STATUS_LEAKS : 0;
}

static int run(void *opaque, int count, char **operands)
{
    struct values *v = opaque;
    struct block_node *node;
    unsigned fix = 0;
    int status;

    if (v->repair) {
        if (strcmp(v->repair, "leaks") == 0) {
            fix = BLOCK_CHECK_LEAKS;
        } else if (strcmp(v->repair, "all") == 0) {
            fix = BLOCK_CHECK_LEAKS | BLOCK_CHECK_ERRORS;
        } else {
            return img_fail("-r expects 'leaks' or 'all', not '%s'", v->repair);
        }
    }
    if (img_open(&node, operands[0], &v->source,
                 IMG_REPAIR | IMG_NO_BACKING | (fix ? IMG_WRITE : 0))) {
        return 1;
    }
    status = check(v, node, fix);
    block_unref(node);
    return status;
}

const struct img_command img_check = {
    .name = "check",
    .operands = "FILE",
    .summary = "looks for damage, and repairs it; --explain says what findings mean",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
