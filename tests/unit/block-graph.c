/* Graphs that change while they are in use: sizes, replaced nodes, handing over; drive options. */
#include "io/block/query.h"
#include "io/block/throttle.h"
#include "tests/unit/block.h"

#include <jansson.h>

static unsigned resizes;
static struct block_node *current;

static void on_resized(void *opaque)
{
    resizes++;
}

static void on_replaced(void *opaque, struct block_node *node)
{
    current = node;
}

static const struct block_claim_ops ops = {.resized = on_resized, .replaced = on_replaced};

static struct block_claim *claim(struct block_node *node, unsigned permissions, unsigned shared)
{
    struct block_claim *c = NULL;

    if (block_claim(&c, node, permissions, shared, block_test_error, sizeof(block_test_error))) {
        tap_ok(false, "claim: %s", block_test_error);
        exit(1);
    }
    return c;
}

static void resizing(void)
{
    const char *path = block_test_file("resize", 65536);
    struct block_node *node = block_test_open(path, "raw", NULL);
    struct block_claim *c = claim(node, BLOCK_PERM_READ | BLOCK_PERM_WRITE, BLOCK_PERM_READ);

    block_claim_set_ops(c, &ops, NULL);
    tap_eq((unsigned)-block_resize(node, 128 * 1024, block_test_error, sizeof(block_test_error)), 0,
           "resize");
    tap_eq(resizes, 1, "users are told");
    tap_eq(block_size(node), 128 * 1024, "the new size");
    block_claim_release(c);
    block_unref(node);

    node = block_test_open(NULL, "raw", "file.driver=null-co,file.size=1M");
    tap_eq((unsigned)-block_resize(node, 1 << 21, block_test_error, sizeof(block_test_error)),
           ENOTSUP, "what can't be resized");
    tap_eq(resizes, 1, "and nobody is told");
    block_unref(node);
}

static void replacing(void)
{
    struct block_node *a = block_test_open(block_test_file("a", 4096), "raw", "node-name=a");
    struct block_node *b = block_test_open(block_test_file("b", 8192), "raw", "node-name=b");
    struct block_node *c =
        block_test_open(block_test_file("c", 8192), "raw", "node-name=c,read-only=on");
    struct block_claim *user = claim(a, BLOCK_PERM_READ | BLOCK_PERM_WRITE, BLOCK_PERM_READ);
    struct block_node *filter = block_test_open(
        "json:{\"driver\":\"copy-on-read\",\"node-name\":\"cor\",\"file\":\"b\"}", NULL, NULL);

    block_claim_set_ops(user, &ops, NULL);
    tap_eq((unsigned)-block_replace(a, b, block_test_error, sizeof(block_test_error)), EBUSY,
           "a node that is in use takes nobody's place");
    block_unref(filter);
    tap_eq((unsigned)-block_replace(a, c, block_test_error, sizeof(block_test_error)), EACCES,
           "one that can't be written does not take a writer's place");
    tap_ok(block_claim_node(user) == a, "then nothing has changed");

    struct block_node *again;

    tap_ok(block_open_file(&again, block_test_path("a"), "raw", NULL, false, block_test_error,
                           sizeof(block_test_error)) == -EAGAIN,
           "nor have the locks");
    tap_eq((unsigned)-block_replace(a, b, block_test_error, sizeof(block_test_error)), 0,
           "replacing");
    tap_ok(block_claim_node(user) == b && current == b, "users are told");
    block_unref(b);
    tap_ok(block_find("b") == b, "and keep the new node alive");
    again = block_test_open(block_test_path("a"), "raw", NULL);
    tap_ok(true, "the old one is free");
    block_unref(again);
    tap_ok(block_open_file(&again, block_test_path("b"), "raw", NULL, false, block_test_error,
                           sizeof(block_test_error)) == -EAGAIN,
           "the new one is locked");
    block_claim_release(user);
    tap_ok(!block_find("b"), "until it is released");
    block_unref(a);
    block_unref(c);
}

static void handing_over(void)
{
    const char *path = block_test_file("hand", 65536);
    struct block_node *node = block_test_open(path, "raw", NULL), *other;
    struct block_claim *c = claim(node, BLOCK_PERM_READ | BLOCK_PERM_WRITE, BLOCK_PERM_READ);
    uint8_t buffer[512] = {42};

    tap_eq((unsigned)-block_inactivate_all(block_test_error, sizeof(block_test_error)), 0,
           "handing over");
    tap_eq((unsigned)-block_pwrite(node, 0, buffer, 512, 0), EPERM, "then nothing is written");
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 0, buffer, 512), EPERM, "by devices either");
    other = block_test_open(path, "raw", NULL);
    tap_eq((unsigned)-block_pwrite(other, 0, buffer, 512, 0), 0, "but by somebody else");
    tap_eq((unsigned)-block_truncate(other, 128 * 1024, true, BLOCK_PREALLOC_OFF, block_test_error,
                                     sizeof(block_test_error)),
           0, "who changes the size as well");
    tap_eq((unsigned)-block_activate_all(block_test_error, sizeof(block_test_error)), EAGAIN,
           "taking over waits for that one");
    block_unref(other);
    tap_eq((unsigned)-block_activate_all(block_test_error, sizeof(block_test_error)), 0,
           "taking over");
    tap_eq(block_size(node), 128 * 1024, "with the new size");
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 512, buffer, 512), 0, "and writing");
    tap_ok(block_open_file(&other, path, "raw", NULL, false, block_test_error,
                           sizeof(block_test_error)) == -EAGAIN,
           "under locks");
    block_claim_release(c);
    block_unref(node);
}

/* A disk that another process hands over while it is opened here. */
static void incoming(void)
{
    const char *path = block_test_file("incoming", 65536);
    struct block_node *source = block_test_open(path, "raw", NULL), *node;
    uint8_t buffer[512] = {7}, got[512];

    block_set_incoming(true);
    node = block_test_open(path, "raw", NULL);
    block_set_incoming(false);
    tap_ok(true, "an incoming disk is opened while another one writes it");
    tap_eq((unsigned)-block_pwrite(node, 0, buffer, 512, 0), EPERM, "but not written");
    tap_eq((unsigned)-block_pwrite(source, 0, buffer, 512, 0), 0, "the source writes");
    tap_eq((unsigned)-block_activate_all(block_test_error, sizeof(block_test_error)), EAGAIN,
           "taking over too early");
    block_unref(source);
    tap_eq((unsigned)-block_activate_all(block_test_error, sizeof(block_test_error)), 0,
           "taking over");
    tap_ok(block_pread(node, 0, got, 512) == 0 && got[0] == 7, "sees what was written");
    tap_eq((unsigned)-block_pwrite(node, 0, buffer, 512, 0), 0, "and writes");
    block_unref(node);
}

static void number_is(const json_t *object, const char *name, json_int_t want)
{
    tap_eq(json_integer_value(json_object_get(object, name)), want, name);
}

static void queries(void)
{
    struct block_node *node =
        block_test_open(block_test_file("query", 65536), "raw", "node-name=q,iops=7,cache=none");
    uint8_t buffer[512] = {0};
    json_t *json;

    block_test_io(node, BLOCK_WRITE, 512, buffer, 512);
    block_test_run(node, (struct block_request){.kind = BLOCK_ZERO, .size = 512});
    block_test_io(node, BLOCK_READ, 1 << 20, buffer, 512);
    json = block_query_stats(node);
    const json_t *stats = json_object_get(json, "stats");

    tap_str(json_string_value(json_object_get(json, "node-name")), "q", "statistics of a node");
    number_is(stats, "wr_operations", 2);
    number_is(stats, "wr_bytes", 1024);
    number_is(stats, "wr_highest_offset", 1024);
    number_is(stats, "invalid_rd_operations", 1);
    tap_ok(json_object_get(json, "parent"), "and of the one below");
    json_decref(json);

    json = block_query_node(node);
    number_is(json, "iops", 7);
    number_is(json, "bps", 0);
    number_is(json, "backing_file_depth", 0);
    number_is(json_object_get(json, "image"), "virtual-size", 65536);
    tap_str(json_string_value(json_object_get(json, "drv")), "raw", "its driver");
    tap_ok(json_is_true(json_object_get(json_object_get(json, "cache"), "direct")), "its cache");
    json_decref(json);
    unsigned count = 0;

    for (struct block_node *n = block_next(NULL); n; n = block_next(n)) {
        count++;
    }
    tap_eq(count, 2, "all nodes");
    block_unref(node);
}

static void drive_options(void)
{
    struct block_node *node = block_test_open(NULL, "null-co",
                                              "size=1M,iops=100,bps_rd_max=2M,bps_rd=1M,"
                                              "bps_rd_max_length=3,iops_size=4k,node-name=disk");
    struct throttle_group *group = block_get_throttle(node);
    char text[300] = "";

    tap_ok(group && throttle_group_describe(group, text, sizeof(text)) == 0, "limits");
    tap_str(text,
            "bps-read=1048576,bps-read-max=2097152,bps-read-max-length=3,iops-total=100,"
            "iops-size=4096",
            "by their older names");
    struct block_node *second =
        block_test_open(NULL, "null-co", "size=1M,throttling.group=disk,throttling.iops-write=7");

    tap_ok(block_get_throttle(second) == group, "and groups");
    throttle_group_describe(group, text, sizeof(text));
    tap_str(text, "iops-write=7", "whose limits are the last ones");
    block_unref(second);
    block_unref(node);
    tap_ok(block_open_file(&node, NULL, "null-co", "iops=1,iops_rd=1", false, block_test_error,
                           sizeof(block_test_error)) == -EINVAL,
           "limits that contradict each other: %s", block_test_error);
    tap_ok(block_open_file(&node, NULL, "null-co", "copy-on-read=maybe", false, block_test_error,
                           sizeof(block_test_error)) == -EINVAL,
           "%s", block_test_error);

    node = block_test_open(block_test_file("cor", 4096), "raw", "copy-on-read=on,node-name=top");
    tap_str(node->driver->name, "copy-on-read", "a filter on top");
    tap_ok(block_find("top") == node, "has the name");
    block_unref(node);
}

/* ---- with a format that has backing files ---- */

static int create(const char *path, uint64_t size, const char *backing, const char *format)
{
    const struct block_driver *driver = block_driver_find("qcow2");
    struct block_create c = {.size = size, .backing_filename = backing, .backing_format = format};
    void *table = calloc(1, driver->create_options_size + 1);
    int err;

    c.file = block_test_open(block_test_file(path, 0), "file", NULL);
    property_set_defaults(driver->create_options, table);
    err = driver->create(&c, table, block_test_error, sizeof(block_test_error));
    property_clear(driver->create_options, table);
    free(table);
    block_unref(c.file);
    return err;
}

static bool reads(struct block_node *node, uint64_t offset, uint8_t byte)
{
    uint8_t buffer[512];

    if (block_pread(node, offset, buffer, sizeof(buffer))) {
        return false;
    }
    for (unsigned i = 0; i < sizeof(buffer); i++) {
        if (buffer[i] != byte) {
            return false;
        }
    }
    return true;
}

static void fill(struct block_node *node, uint64_t offset, uint8_t byte, size_t size)
{
    uint8_t *buffer = malloc(size);

    memset(buffer, byte, size);
    tap_eq((unsigned)-block_pwrite(node, offset, buffer, size, 0), 0, "writing");
    free(buffer);
}

static void backing(void)
{
    struct block_node *node = block_test_open(block_test_file("base", 1 << 20), "raw", NULL);
    struct block_status status;

    fill(node, 0, 1, 512 * 1024);
    block_unref(node);
    tap_eq((unsigned)-create("top", 2 << 20, "base", "raw"), 0, "an overlay");
    node = block_test_open(block_test_path("top"), NULL, NULL);
    tap_ok(node->backing && strcmp(node->backing->node->driver->name, "raw") == 0,
           "its backing file is found next to it");
    tap_ok(reads(node, 4096, 1) && reads(node, 768 * 1024, 0), "and read");
    tap_ok(reads(node, (1 << 20) - 256, 0), "with zeros behind its end");
    json_t *json = block_query_image(node, true);

    tap_str(json_string_value(json_object_get(json, "backing-filename")), "base",
            "the backing file's name");
    tap_str(json_string_value(json_object_get(json, "backing-filename-format")), "raw",
            "its format");
    number_is(json_object_get(json, "backing-image"), "virtual-size", 1 << 20);
    number_is(json, "cluster-size", 65536);
    json_decref(json);
    tap_ok(block_status_above(node, NULL, 0, 4096, &status) == 0 && status.depth == 1 &&
               (status.flags & BLOCK_STATUS_DATA),
           "what is below is said to be below");
    tap_ok(block_status_above(node, NULL, 3 << 19, 4096, &status) == 0 &&
               (status.flags & BLOCK_STATUS_ZERO),
           "and what is behind it to be zeros");
    struct block_node *other;

    tap_ok(block_open_file(&other, block_test_path("base"), "raw", NULL, false, block_test_error,
                           sizeof(block_test_error)) == -EAGAIN,
           "nobody writes to a backing file");
    block_unref(node);

    node = block_test_open(block_test_path("top"), NULL, "copy-on-read=on,node-name=cor");
    tap_ok(reads(node, 4096, 1), "copy on read reads");
    tap_ok(block_status(node->file->node, 0, 4096, &status) == 0 &&
               (status.flags & BLOCK_STATUS_ALLOCATED),
           "and copies");
    tap_ok(block_status(node->file->node, 256 * 1024, 4096, &status) == 0 &&
               !(status.flags & BLOCK_STATUS_ALLOCATED),
           "not more than was read");
    block_unref(node);

    tap_eq((unsigned)-create("untold", 1 << 20, "base", NULL), 0, "without a format");
    tap_ok(block_open_file(&node, block_test_path("untold"), "qcow2", NULL, false, block_test_error,
                           sizeof(block_test_error)) == -EINVAL &&
               strstr(block_test_error, "does not say its format"),
           "a backing file is not opened: %s", block_test_error);
    char options[600];

    snprintf(options, sizeof(options), "backing.driver=raw,backing.file.filename=%s",
             block_test_path("base"));
    node = block_test_open(block_test_path("untold"), "qcow2", options);
    tap_ok(reads(node, 0, 1), "unless the user says what it is");
    block_unref(node);
    node = block_test_open(block_test_path("untold"), "qcow2", "backing=");
    tap_ok(!node->backing && reads(node, 0, 0), "or that there is none");
    block_unref(node);
}

static void snapshot(void)
{
    struct block_node *node = block_test_open(block_test_file("kept", 1 << 20), "raw", NULL);

    fill(node, 0, 3, 4096);
    block_unref(node);
    node = block_test_open(block_test_path("kept"), "raw", "snapshot=on,node-name=snap");
    tap_ok(block_find("snap") == node && !block_readonly(node), "a snapshot is on top");
    fill(node, 1024, 4, 512);
    tap_ok(reads(node, 1024, 4) && reads(node, 0, 3), "what is written is there");
    block_unref(node);
    node = block_test_open(block_test_path("kept"), "raw", NULL);
    tap_ok(reads(node, 1024, 3), "and gone with it");
    block_unref(node);
}

/* A guest writes the header of an image that names a file of the host into its raw disk. */
static void probed(void)
{
    struct block_node *node;
    uint8_t head[512];

    tap_eq((unsigned)-create("image", 1 << 20, NULL, NULL), 0, "an image");
    node = block_test_open(block_test_path("image"), "raw", NULL);
    block_pread(node, 0, head, sizeof(head));
    block_unref(node);
    node = block_test_open(block_test_file("victim", 1 << 20), NULL, NULL);
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 0, head, 512), EPERM,
           "a probed raw disk does not become another format");
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 0, head, 2), 0, "not by a part either ...");
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 2, head + 2, 510), EPERM,
           "... and the rest");
    block_unref(node);
    node = block_test_open(block_test_path("victim"), "raw", NULL);
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 0, head, 512), 0,
           "one that is said to be raw may");
    block_unref(node);
}

/* A new overlay takes the place of a disk that is in use. */
static void live_snapshot(void)
{
    struct block_node *node = block_test_open(block_test_file("disk", 1 << 20), "raw",
                                              "node-name=disk0"),
                      *overlay;
    struct block_claim *c = claim(node, BLOCK_PERM_READ | BLOCK_PERM_WRITE, BLOCK_PERM_READ);
    char options[400];

    fill(node, 0, 5, 512);
    tap_eq((unsigned)-create("over", 1 << 20, NULL, NULL), 0, "an overlay");
    snprintf(options, sizeof(options), "backing=disk0,node-name=over0");
    tap_ok(block_open_file(&overlay, block_test_path("over"), "qcow2", options, false,
                           block_test_error, sizeof(block_test_error)) == -EBUSY,
           "a backing file has no other writer: %s", block_test_error);
    tap_eq((unsigned)-block_append(node, node, block_test_error, sizeof(block_test_error)), EINVAL,
           "raw disks have no backing files");
    overlay = block_test_open(block_test_path("over"), "qcow2", NULL);
    block_claim_set_ops(c, &ops, NULL);
    tap_eq((unsigned)-block_append(node, overlay, block_test_error, sizeof(block_test_error)), 0,
           "a snapshot of a disk in use");
    tap_ok(current == overlay && block_claim_node(c) == overlay, "its user has the overlay now");
    tap_ok(reads(overlay, 0, 5), "and sees what was there");
    fill(overlay, 0, 6, 512);
    tap_ok(reads(overlay, 0, 6) && reads(node, 0, 5), "what is written stays above");
    tap_eq((unsigned)-block_append(node, overlay, block_test_error, sizeof(block_test_error)),
           EINVAL, "there is one backing file only");
    block_unref(overlay);
    block_unref(node);
    tap_ok(block_find("disk0"), "the overlay keeps its backing file");
    block_claim_release(c);
    tap_ok(!block_find("disk0"), "until it is closed");
}

int main(void)
{
    block_test_begin();
    if (block_driver_find("qcow2")) {
        backing();
        snapshot();
        probed();
        live_snapshot();
    }
    resizing();
    replacing();
    handing_over();
    incoming();
    queries();
    drive_options();
    return block_test_end();
}
