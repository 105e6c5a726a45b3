/* Facts as JSON: one function for each of QEMU's types. */
#include "io/block/query.h"
#include "io/block/internal.h"
#include "io/block/throttle.h"

#include <jansson.h>
#include <stdlib.h>

struct block_node *block_next(const struct block_node *node)
{
    struct block_core *core = node ? node->core->next : block_nodes();

    return core ? &core->node : NULL;
}

const char *block_driver_name(const struct block_node *node)
{
    return node->driver->name;
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* Names in images need not be UTF-8. */
static json_t *text(const char *value)
{
    json_t *string = json_string(value);

    return string ? string : json_string("?");
}

/* ---- images ---- */

static json_t *query_snapshots(struct block_node *node)
{
    struct block_snapshot *list = NULL;
    json_t *array = json_array();
    int count = node->driver->snapshot_list ? node->driver->snapshot_list(node, &list) : 0;

    for (int i = 0; i < count; i++) {
        json_t *s = json_object();

        json_object_set_new(s, "id", text(list[i].id));
        json_object_set_new(s, "name", text(list[i].name));
        json_object_set_new(s, "vm-state-size", number(list[i].vm_state_size));
        json_object_set_new(s, "date-sec", json_integer(list[i].date_sec));
        json_object_set_new(s, "date-nsec", number(list[i].date_nsec));
        json_object_set_new(s, "vm-clock-sec", number(list[i].vm_clock_nsec / 1000000000));
        json_object_set_new(s, "vm-clock-nsec", number(list[i].vm_clock_nsec % 1000000000));
        if (list[i].icount != UINT64_MAX) {
            json_object_set_new(s, "icount", number(list[i].icount));
        }
        json_array_append_new(array, s);
    }
    free(list);
    return array;
}

static void add_info(struct block_node *node, json_t *image)
{
    struct block_info info;

    if (block_get_info(node, &info)) {
        return;
    }
    if (info.allocated != UINT64_MAX) {
        json_object_set_new(image, "actual-size", number(info.allocated));
    }
    if (info.cluster_size) {
        json_object_set_new(image, "cluster-size", number(info.cluster_size));
    }
    if (info.encrypted) {
        json_object_set_new(image, "encrypted", json_true());
    }
    if (info.compressed) {
        json_object_set_new(image, "compressed", json_true());
    }
    json_object_set_new(image, "dirty-flag", json_boolean(info.dirty));
    if (info.backing_filename) {
        json_object_set_new(image, "backing-filename", text(info.backing_filename));
        if (node->backing) {
            json_object_set_new(image, "full-backing-filename",
                                text(node->backing->node->filename));
        }
    }
    if (info.backing_format) {
        json_object_set_new(image, "backing-filename-format", text(info.backing_format));
    }
    free(info.backing_filename);
    free(info.backing_format);
}

json_t *block_query_image(struct block_node *node, bool chain)
{
    json_t *image = json_object(), *snapshots, *specific;

    json_object_set_new(image, "filename", text(node->filename));
    json_object_set_new(image, "format", json_string(node->driver->name));
    json_object_set_new(image, "virtual-size", number(block_size(node)));
    add_info(node, image);
    snapshots = query_snapshots(node);
    if (json_array_size(snapshots)) {
        json_object_set(image, "snapshots", snapshots);
    }
    json_decref(snapshots);
    specific = node->driver->info_specific ? node->driver->info_specific(node) : NULL;
    if (specific) {
        json_object_set_new(image, "format-specific", specific);
    }
    if (chain && node->backing) {
        json_object_set_new(image, "backing-image", block_query_image(node->backing->node, true));
    }
    return image;
}

/* ---- nodes ---- */

static void add_limits(struct block_node *node, json_t *object)
{
    static const char *const names[][2] = {{"bps", "bps-total"},     {"bps_rd", "bps-read"},
                                           {"bps_wr", "bps-write"},  {"iops", "iops-total"},
                                           {"iops_rd", "iops-read"}, {"iops_wr", "iops-write"}};
    struct throttle_group *group = block_get_throttle(node);

    for (unsigned i = 0; i < 6; i++) {
        json_object_set_new(object, names[i][0],
                            number(group ? throttle_group_average(group, names[i][1]) : 0));
    }
    if (group) {
        json_object_set_new(object, "group", text(throttle_group_name(group)));
    }
}

json_t *block_query_node(struct block_node *node)
{
    static const char *const detect[] = {"off", "on", "unmap"};
    const struct block_generic *g = &node->core->generic;
    json_t *object = json_object();
    unsigned depth = 0;

    for (const struct block_node *n = node; n->backing; n = n->backing->node) {
        depth++;
    }
    json_object_set_new(object, "node-name", json_string(block_name(node)));
    json_object_set_new(object, "file", text(node->filename));
    json_object_set_new(object, "drv", json_string(node->driver->name));
    json_object_set_new(object, "ro", json_boolean(node->readonly));
    json_object_set_new(object, "detect_zeroes", json_string(detect[g->detect_zeroes]));
    json_object_set_new(object, "backing_file_depth", number(depth));
    if (node->backing) {
        json_object_set_new(object, "backing_file", text(node->backing->node->filename));
    }
    json_object_set_new(object, "write_threshold", json_integer(0));
    json_object_set_new(object, "cache",
                        json_pack("{s:b, s:b, s:b}", "writeback", g->writeback, "direct", g->direct,
                                  "no-flush", g->no_flush));
    add_limits(node, object);
    json_object_set_new(object, "image", block_query_image(node, true));
    return object;
}

/* ---- statistics ---- */

static void add_kind(json_t *stats, const char *prefix, const struct block_kind_stats *kind)
{
    const struct {
        const char *before, *after;
        uint64_t value;
    } values[] = {{"", "_operations", kind->operations},
                  {"", "_total_time_ns", kind->time},
                  {"failed_", "_operations", kind->failed},
                  {"invalid_", "_operations", kind->invalid}};
    char name[64];

    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "%s%s%s", values[i].before, prefix, values[i].after);
        json_object_set_new(stats, name, number(values[i].value));
    }
}

static void add_bytes(json_t *stats, const char *prefix, const struct block_kind_stats *kind)
{
    char name[64];

    snprintf(name, sizeof(name), "%s_bytes", prefix);
    json_object_set_new(stats, name, number(kind->bytes));
    snprintf(name, sizeof(name), "%s_merged", prefix);
    json_object_set_new(stats, name, json_integer(0)); /* requests are not merged */
}

static void add_histogram(json_t *stats, struct block_node *node, enum block_request_kind kind,
                          const char *name)
{
    struct block_histogram h;
    json_t *boundaries, *bins;

    if (!block_get_histogram(node, kind, &h)) {
        return;
    }
    boundaries = json_array();
    bins = json_array();
    for (unsigned i = 0; i <= h.boundaries; i++) {
        if (i < h.boundaries) {
            json_array_append_new(boundaries, number(h.boundary[i]));
        }
        json_array_append_new(bins, number(h.bin[i]));
    }
    json_object_set_new(stats, name,
                        json_pack("{s:o, s:o}", "boundaries", boundaries, "bins", bins));
}

static json_t *device_stats(struct block_node *node)
{
    struct block_kind_stats writes;
    struct block_stats s;
    json_t *stats = json_object();

    block_get_stats(node, &s);
    /* Zeros are written, whatever way. */
    writes = s.kind[BLOCK_WRITE];
    writes.operations += s.kind[BLOCK_ZERO].operations;
    writes.bytes += s.kind[BLOCK_ZERO].bytes;
    writes.failed += s.kind[BLOCK_ZERO].failed;
    writes.invalid += s.kind[BLOCK_ZERO].invalid;
    writes.time += s.kind[BLOCK_ZERO].time;
    add_kind(stats, "rd", &s.kind[BLOCK_READ]);
    add_kind(stats, "wr", &writes);
    add_kind(stats, "flush", &s.kind[BLOCK_FLUSH]);
    add_kind(stats, "unmap", &s.kind[BLOCK_DISCARD]);
    add_bytes(stats, "rd", &s.kind[BLOCK_READ]);
    add_bytes(stats, "wr", &writes);
    add_bytes(stats, "unmap", &s.kind[BLOCK_DISCARD]);
    json_object_set_new(stats, "wr_highest_offset", number(s.highest));
    if (s.idle >= 0) {
        json_object_set_new(stats, "idle_time_ns", json_integer(s.idle));
    }
    json_object_set_new(stats, "account_invalid", json_true());
    json_object_set_new(stats, "account_failed", json_true());
    json_object_set_new(stats, "timed_stats", json_array());
    add_histogram(stats, node, BLOCK_READ, "rd_latency_histogram");
    add_histogram(stats, node, BLOCK_WRITE, "wr_latency_histogram");
    add_histogram(stats, node, BLOCK_FLUSH, "flush_latency_histogram");
    return stats;
}

json_t *block_query_stats(struct block_node *node)
{
    json_t *object = json_object();

    json_object_set_new(object, "node-name", json_string(block_name(node)));
    json_object_set_new(object, "stats", device_stats(node));
    if (node->file) {
        json_object_set_new(object, "parent", block_query_stats(node->file->node));
    }
    if (node->backing) {
        json_object_set_new(object, "backing", block_query_stats(node->backing->node));
    }
    return object;
}
