/*
 * The table of the qcow2 driver: options of opening, probing, and which function is what.
 */
#include "io/block/qcow2/qcow2.h"

#include "io/block/luks-header.h"
#include "util/bits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *const qcow2_auto_names[] = {"auto", "on", "off", NULL};

#define OPTION(type, name, field, ...) \
    PROPERTY(type, name, struct qcow2_options, field, __VA_ARGS__)

static const struct property properties[] = {
    OPTION(ENUM, "lazy-refcounts", lazy_refcounts, .names = qcow2_auto_names,
           .help = "postpone refcount updates; as the image says by default"),
    OPTION(ENUM, "pass-discard-request", pass_discard_request, .names = qcow2_auto_names,
           .help = "pass guest discard requests to the layer below"),
    OPTION(BOOL, "pass-discard-snapshot", pass_discard_snapshot, .number = 1,
           .help = "generate discard requests when snapshot related space is freed"),
    OPTION(BOOL, "pass-discard-other", pass_discard_other,
           .help = "generate discard requests when other clusters are freed"),
    OPTION(BOOL, "discard-no-unref", discard_no_unref,
           .help = "do not unreference discarded clusters"),
    OPTION(ENUM, "overlap-check", overlap_check, .names = qcow2_overlap_names, .number = 2,
           .help = "which metadata is guarded against being overwritten"),
    OPTION(SIZE, "cache-size", cache_size, .help = "maximum combined metadata cache size"),
    OPTION(SIZE, "l2-cache-size", l2_cache_size, .help = "maximum L2 table cache size"),
    OPTION(SIZE, "l2-cache-entry-size", l2_cache_entry_size,
           .help = "size of each entry in the L2 cache"),
    OPTION(SIZE, "refcount-cache-size", refcount_cache_size,
           .help = "maximum refcount block cache size"),
    OPTION(U64, "cache-clean-interval", cache_clean_interval, .number = 600,
           .help = "clean unused cache entries after this time (in seconds)"),
    OPTION(STRING, "encrypt.format", encrypt_format, .help = "encryption format: aes or luks"),
    OPTION(STRING, "encrypt.key-secret", key_secret,
           .help = "id of the secret that provides the key or passphrase"),
    OPTION(STRING, "internal-snapshot", snapshot,
           .help = "id or name of the snapshot to show, read-only"),
    OPTION(BOOL, "repair", repair, .help = "opened for being checked: as it is, even if corrupt"),
    PROPERTY_END,
};

/* overlap-check as an object: a template, and kinds of their own. */
static int option(struct block_node *node, const char *name, const char *value, char *error,
                  size_t error_size)
{
    static const char *const kinds[] = {"main-header",    "active-l1",      "active-l2",
                                        "refcount-block", "refcount-table", "snapshot-table",
                                        "inactive-l1",    "inactive-l2",    "bitmap-directory"};
    struct qcow2_options *options = node->options;
    bool on;

    if (strncmp(name, "overlap-check.", 14) != 0 || !value) {
        return -ENOENT;
    }
    name += 14;
    if (strcmp(name, "template") == 0) {
        return property_set(properties, options, "qcow2", "overlap-check", value, error,
                            error_size);
    }
    on = strcmp(value, "on") == 0;
    for (unsigned i = 0; i < BITS_ARRAY_SIZE(kinds); i++) {
        if (strcmp(name, kinds[i]) == 0) {
            if (!on && strcmp(value, "off") != 0) {
                snprintf(error, error_size, "qcow2: overlap-check.%s=%s: expected on or off", name,
                         value);
                return -EINVAL;
            }
            options->overlap_set |= (uint16_t)((on ? 1u : 0u) << i);
            options->overlap_clear |= (uint16_t)((on ? 0u : 1u) << i);
            return 0;
        }
    }
    return -ENOENT;
}

static int probe(const uint8_t *head, size_t size, const char *filename)
{
    (void)filename;
    return size >= 8 && bytes_be32(head) == QCOW2_MAGIC && bytes_be32(head + 4) >= 2 ? 100 : 0;
}

static const struct block_child_rule children[] = {
    {.name = "file", .role = BLOCK_ROLE_FILE, .required = true},
    {.name = "data-file", .role = BLOCK_ROLE_DATA},
    {.name = "backing", .role = BLOCK_ROLE_BACKING},
    {.name = NULL},
};

const struct block_driver block_qcow2 = {
    .name = "qcow2",
    .is_format = true,
    .may_back = true,
    .options = properties,
    .options_size = sizeof(struct qcow2_options),
    .state_size = sizeof(struct qcow2),
    .children = children,
    .option = option,
    .create_options = qcow2_create_properties,
    .create_options_size = sizeof(struct qcow2_create_options),
    .create = qcow2_create,
    .probe = probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .inactivate = qcow2_inactivate,
    .activate = qcow2_activate,
    .read = qcow2_read,
    .write = qcow2_write,
    .zero = qcow2_zero,
    .discard = qcow2_discard,
    .flush = qcow2_flush,
    .status = qcow2_status,
    .truncate = qcow2_truncate,
    .forward = qcow2_forward,
    .forward_done = qcow2_forward_done,
    .info = qcow2_info,
    .info_specific = qcow2_info_specific,
    .check = qcow2_check,
    .amend = qcow2_amend,
    .amend_options = luks_amend_properties,
    .amend_prefix = "encrypt.",
    .measure = qcow2_measure,
    .change_backing = qcow2_change_backing,
    .make_empty = qcow2_make_empty,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_goto = qcow2_snapshot_goto,
    .snapshot_delete = qcow2_snapshot_delete,
    .snapshot_list = qcow2_snapshot_list,
    .snapshot_load = qcow2_snapshot_load,
    .vmstate_read = qcow2_vmstate_read,
    .vmstate_write = qcow2_vmstate_write,
    .bitmap_list = qcow2_bitmap_list,
    .bitmap_load = qcow2_bitmap_load,
    .bitmap_store = qcow2_bitmap_store,
    .bitmap_remove = qcow2_bitmap_remove,
};
