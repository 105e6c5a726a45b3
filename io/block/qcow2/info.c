/*
 * What query-block and `img info` show of a qcow2 image ("format-specific").
 */
#include "io/block/qcow2/qcow2.h"

#include <stdlib.h>

#include <jansson.h>

static json_t *bitmap_info(const struct block_bitmap_info *info)
{
    json_t *flags = json_array();

    if (info->in_use) {
        json_array_append_new(flags, json_string("in-use"));
    }
    if (info->autoload) {
        json_array_append_new(flags, json_string("auto"));
    }
    return json_pack("{s:o, s:s, s:I}", "flags", flags, "name", info->name, "granularity",
                     (json_int_t)info->granularity);
}

static void add_bitmaps(struct block_node *node, json_t *data)
{
    struct block_bitmap_info *list = NULL;
    int count = qcow2_bitmap_list(node, &list);
    json_t *bitmaps = json_array();

    for (int i = 0; i < count; i++) {
        json_array_append_new(bitmaps, bitmap_info(&list[i]));
    }
    if (count > 0) {
        json_object_set(data, "bitmaps", bitmaps);
    }
    json_decref(bitmaps);
    free(list);
}

static void add_version_3(struct qcow2 *q, json_t *data)
{
    const struct qcow2_header *h = &q->header;

    json_object_set_new(data, "lazy-refcounts",
                        json_boolean(h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS));
    json_object_set_new(data, "corrupt", json_boolean(h->incompatible & QCOW2_INCOMPAT_CORRUPT));
    json_object_set_new(data, "extended-l2", json_boolean(q->subs > 1));
    if (q->external) {
        if (h->data_file) {
            json_object_set_new(data, "data-file", json_string(h->data_file));
        }
        json_object_set_new(data, "data-file-raw", json_boolean(q->data_raw));
    }
    add_bitmaps(q->node, data);
}

struct json_t *qcow2_info_specific(struct block_node *node)
{
    struct qcow2 *q = node->state;
    const struct qcow2_header *h = &q->header;
    json_t *data = json_pack("{s:s, s:I, s:s}", "compat", h->version < 3 ? "0.10" : "1.1",
                             "refcount-bits", (json_int_t)1 << h->refcount_order,
                             "compression-type", qcow2_compression_names[h->compression]);

    if (h->version >= 3) {
        add_version_3(q, data);
    }
    if (h->crypt) {
        json_object_set_new(data, "encrypt", qcow2_crypto_describe(q));
    }
    return json_pack("{s:s, s:o}", "type", "qcow2", "data", data);
}
