/*
 * Between the two parts of the block device: its object, and what is done with requests.
 */
#ifndef TINAMOU_HW_VIRTIO_BLK_INTERNAL_H
#define TINAMOU_HW_VIRTIO_BLK_INTERNAL_H

#include "hw/virtio/virtio.h"
#include "io/block/block.h"

#include <stdatomic.h>

#define F_SEG_MAX      2
#define F_GEOMETRY     4
#define F_RO           5
#define F_BLK_SIZE     6
#define F_FLUSH        9
#define F_TOPOLOGY     10
#define F_CONFIG_WCE   11
#define F_MQ           12
#define F_DISCARD      13
#define F_WRITE_ZEROES 14

enum {
    BLK_SECTOR = 512,           /* the unit of the protocol, whatever the logical block size */
    BLK_MAX_SECTORS = 0x3fffff, /* of a discard */
};

/* What a failed request does: werror=, rerror=. */
enum { POLICY_AUTO, POLICY_REPORT, POLICY_IGNORE, POLICY_STOP, POLICY_ENOSPC };

struct blk_request;

struct virtio_blk {
    struct virtio_device virtio; /* first */
    /* properties */
    char *drive, *serial, *iothread;
    uint16_t num_queues, queue_size;
    uint32_t logical_block_size, physical_block_size, min_io_size, opt_io_size;
    uint32_t discard_granularity, max_discard_sectors, max_write_zeroes_sectors;
    int write_cache, werror, rerror; /* SWITCH_*, POLICY_* */
    bool discard, write_zeroes, config_wce, share_rw, merging;
    int32_t bootindex;
    /* resources */
    struct block_node *node;
    struct block_claim *claim;
    struct loop_thread *thread;
    struct loop_bh *flush_bh, *more_bh; /* while started */
    /* state; of the device's loop but for write_through */
    _Atomic bool write_through; /* each write is durable when it is done */
    unsigned under_way;
    uint64_t unflushed;         /* queues with answers that are not shown yet */
    uint64_t unserved;          /* queues whose burst was too long */
    struct blk_request *failed; /* that stopped the VM */
    struct blk_request *spare;
    /* reads or writes in a row, which become one */
    struct blk_request *row, **row_end;
    unsigned row_count, row_pieces;
    uint64_t row_size;
};

/* The handler of queues. */
void blk_handle(struct virtio_device *device, struct virtio_queue *queue);
/* Functions of bottom halves: shows answers that wait, and serves queues whose burst was long. */
void blk_show_answers(void *opaque);
void blk_serve_more(void *opaque);
/* Makes those that stopped the VM again, or forgets them. */
void blk_retry_failed(struct virtio_blk *blk);
void blk_drop_failed(struct virtio_blk *blk);
/* Frees the objects that are kept for requests. */
void blk_free_spare(struct virtio_blk *blk);

#endif
