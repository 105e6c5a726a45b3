/*
 * Limits on bytes and operations a second, shared by the disks of a group.
 *
 * Each limit is a bucket that requests fill and time drains at the limit's rate; a request waits
 * while a bucket is fuller than it may be. Without a burst rate a bucket holds a tenth of a
 * second's worth; with one (max), what the burst rate gives in `length` seconds, and for lengths
 * above a second a second bucket holds bursts down to the burst rate.
 */
#ifndef TINAMOU_IO_BLOCK_THROTTLE_H
#define TINAMOU_IO_BLOCK_THROTTLE_H

#include "io/block/block.h"

struct throttle_group;

/*
 * Finds or makes the group of that name. "iops-total=100,bps-read-max=1M,..." sets limits: (iops or
 * bps)-(total, read or write), with -max and -max-length, and iops-size; what is not named is 0:
 * unlimited. NULL options: a group that is there, as it is (-ENOENT). -EINVAL with a line in
 * error[]. Takes a reference. Main loop's thread.
 */
int throttle_group_get(struct throttle_group **group, const char *name, const char *options,
                       char *error, size_t error_size);
void throttle_group_put(struct throttle_group *group);

/* The limits as such a list, without zeros. -ENOSPC. */
int throttle_group_describe(struct throttle_group *group, char *text, size_t size);

const char *throttle_group_name(const struct throttle_group *group);
/* One of the six averages, by its name ("iops-read"); 0: unlimited, or no such name. */
uint64_t throttle_group_average(struct throttle_group *group, const char *name);

/* Makes the node's requests go by a group's limits (NULL: by none); a reference is taken. Nothing
 * is under way. Main loop's thread. */
void block_set_throttle(struct block_node *node, struct throttle_group *group);
struct throttle_group *block_get_throttle(const struct block_node *node);

/* ---- for io/block ---- */

/* A request that waits; embedded. */
struct throttle_wait {
    struct throttle_group *group;
    struct throttle_wait *next;
    void (*admitted)(struct throttle_wait *wait); /* on the thread of `loop` */
    struct loop *loop;
    bool write, unlimited, queued;
    uint64_t size;
    struct loop_timer timer;
};

/* True: the request may go now. False: it waits, and admitted() will be called. On the loop's
 * thread, with group, admitted, loop, write and size filled in. */
bool throttle_admit(struct throttle_wait *wait);
/* It need not wait any longer: admitted() will be called soon. Any thread. */
void throttle_hurry(struct throttle_wait *wait);
/* Blocks until a request of this size may go. A worker. */
void throttle_block(struct throttle_group *group, bool write, uint64_t size);

#endif
