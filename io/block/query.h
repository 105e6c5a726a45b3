/*
 * What QMP and tinamou-img show of nodes, as JSON with QEMU's names. Main loop's thread; all return
 * new references, NULL when out of memory.
 */
#ifndef TINAMOU_IO_BLOCK_QUERY_H
#define TINAMOU_IO_BLOCK_QUERY_H

#include <stdbool.h>

struct block_node;
struct json_t;

/* The node after this one in the order of age, the youngest first; NULL: the first, or no more. */
struct block_node *block_next(const struct block_node *node);

/* The name of its driver: "qcow2", "file", ... */
const char *block_driver_name(const struct block_node *node);

/* ImageInfo; `chain`: with "backing-image" for each layer below. */
struct json_t *block_query_image(struct block_node *node, bool chain);
/* BlockDeviceInfo, as in query-named-block-nodes. */
struct json_t *block_query_node(struct block_node *node);
/* BlockStats without its device: node-name, stats, parent and backing. */
struct json_t *block_query_stats(struct block_node *node);

#endif
