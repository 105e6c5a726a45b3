/* Graphs that change while they are in use: sizes, replaced nodes, handing over; drive options. */
#include "io/block/throttle.h"
#include "tests/unit/block.h"

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

int main(void)
{
    block_test_begin();
    resizing();
    replacing();
    handing_over();
    drive_options();
    return block_test_end();
}
