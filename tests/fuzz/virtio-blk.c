/*
 * The virtio block device under a hostile guest, over a node that touches every byte of a request
 * and answers when and as the input says. An input is operations of one byte each and operands:
 *
 *     0   a request: type, sector (8 bytes), pieces (see pieces())
 *     1   fill RAM: offset (3 bytes), length (1 byte), bytes
 *     2   notify a queue
 *     3   run the loop
 *     4   answer the oldest request: its result
 *     5   answer all
 *     6   stop the VM, or let it go on
 *     7   write to the configuration space: offset, value
 *     8   set the device up: features, log2 of the rings' size
 *     9   reset
 */
#include "hw/virtio/blk.h"
#include "io/block/block.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/virtio-slot.h"
#include "util/bits.h"

#include <assert.h>

enum { QUEUES = 2, HELD = 256, DISK = 1 << 20 };

struct block_node {
    struct block_request *held[HELD];
    unsigned count;
    bool drain; /* answers at once */
};

static struct block_node node;
static struct loop_bh *answers;
static unsigned heads; /* descriptors that were used since the rings were made */

struct block_node *block_find(const char *name)
{
    return &node;
}

uint64_t block_size(const struct block_node *n)
{
    return DISK;
}

bool block_readonly(const struct block_node *n)
{
    return false;
}

void block_get_limits(const struct block_node *n, struct block_limits *limits)
{
    *limits = (struct block_limits){.alignment = 512};
}

int block_claim(struct block_claim **claim, struct block_node *n, unsigned permissions,
                unsigned shared, char *error, size_t error_size)
{
    *claim = (struct block_claim *)n;
    return 0;
}

void block_claim_release(struct block_claim *claim)
{
}

static volatile uint8_t sink; /* what is read goes here */

static void answer(unsigned result)
{
    static const int results[] = {0, 0, 0, -EIO, -ENOSPC, -ENOTSUP};
    struct block_request *r = node.held[0];

    node.count--;
    for (unsigned i = 0; i < node.count; i++) {
        node.held[i] = node.held[i + 1];
    }
    for (unsigned i = 0; i < r->iov_count; i++) {
        uint8_t *bytes = r->iov[i].iov_base;

        if (r->kind == BLOCK_READ) {
            memset(bytes, 0x5a, r->iov[i].iov_len);
        } else {
            for (size_t n = 0; n < r->iov[i].iov_len; n++) {
                sink = (uint8_t)(sink + bytes[n]);
            }
        }
    }
    r->result = results[result % BITS_ARRAY_SIZE(results)];
    r->done(r);
}

static void answer_all(void *opaque)
{
    while (node.count) {
        answer(0);
    }
}

void block_submit(struct block_node *n, struct block_request *r)
{
    uint64_t size = 0;

    assert(r->offset <= DISK && r->size <= DISK - r->offset);
    for (unsigned i = 0; i < r->iov_count; i++) {
        size += r->iov[i].iov_len;
    }
    assert((r->kind != BLOCK_READ && r->kind != BLOCK_WRITE) || (size == r->size && size));
    assert(n->count < HELD);
    n->held[n->count++] = r;
    if (n->drain || n->count > HELD / 2) {
        loop_bh_schedule(answers);
    }
}

/* Waiting inside of the device, for which somebody has to answer. */
static void run_state(bool run)
{
    node.drain = true;
    loop_bh_schedule(answers);
    hw_runstate_set(run ? HW_RUNSTATE_RUNNING : HW_RUNSTATE_PAUSED);
    node.drain = false;
}

static void set_up(uint64_t bits, unsigned size)
{
    node.drain = true;
    loop_bh_schedule(answers);
    slot_drive(F_BASE | (bits & 1) << 9 | (bits >> 1 & 1) << 11 | (bits >> 2 & 1) << 13 |
                   (bits >> 3 & 1) << 14 | (bits >> 4 & 1) << 12 | (bits >> 5 & 1) << 29,
               QUEUES, size);
    node.drain = false;
    heads = 0;
}

/* A chain: how many pieces, and of each where (3 bytes), how long (2 bytes), and whether to be
 * written. The first is the header, if the input has not made it something else. */
static void pieces(struct fuzz_input *in, unsigned queue, uint64_t header)
{
    struct piece list[8] = {{header, 16, false}};
    unsigned count = 1 + (unsigned)fuzz_number(in, 1) % 7;
    const struct ring *r = &slot.rings[queue];

    for (unsigned i = 1; i < count; i++) {
        list[i].gpa = RAM_BASE + fuzz_number(in, 3) % RAM_SIZE;
        list[i].size = (uint32_t)fuzz_number(in, 2);
        list[i].write = fuzz_number(in, 1) & 1;
    }
    if (heads + count > r->size) {
        heads = 0;
    }
    slot_offer(queue, heads, list, count < r->size ? count : r->size);
    heads += count;
}

static void request(struct fuzz_input *in)
{
    static const uint8_t types[] = {0, 1, 4, 8, 11, 13, 0, 1};
    unsigned type = (unsigned)fuzz_number(in, 1);
    unsigned queue = type >> 3 & 1;
    uint64_t header = BUFFERS + 16 * (heads % 64), sector = fuzz_number(in, 8);

    wr(&slot.m, header, 4, type & 0x10 ? type : types[type & 7]);
    wr(&slot.m, header + 8, 8, type & 0x20 ? sector : sector % (DISK / 512 + 4));
    pieces(in, queue, header);
}

static void operation(struct fuzz_input *in)
{
    uint8_t bytes[256];
    uint64_t at, n;

    switch (fuzz_number(in, 1) % 10) {
    case 0:
        request(in);
        break;
    case 1:
        at = fuzz_number(in, 3) % RAM_SIZE;
        n = fuzz_number(in, 1);
        fuzz_bytes(in, bytes, n);
        put_bytes(RAM_BASE + at, bytes, n);
        break;
    case 2:
        slot_notify(fuzz_number(in, 1) & 1);
        slot_settle();
        break;
    case 3:
        slot_settle();
        break;
    case 4:
        n = fuzz_number(in, 1);
        if (node.count) {
            answer((unsigned)n);
        }
        break;
    case 5:
        loop_bh_schedule(answers);
        slot_settle();
        break;
    case 6:
        run_state(hw_runstate_get() != HW_RUNSTATE_RUNNING);
        break;
    case 7:
        at = fuzz_number(in, 1) % 64;
        wr(&slot.m, SLOT + 0x100 + at, 1, fuzz_number(in, 1));
        break;
    case 8:
        at = fuzz_number(in, 1);
        set_up(at, 1u << fuzz_number(in, 1) % 8);
        break;
    default:
        node.drain = true;
        loop_bh_schedule(answers);
        set_reg(0x70, 0);
        slot_settle();
        assert(!node.count && !reg(0x70));
        node.drain = false;
        break;
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    slot_begin();
    answers = loop_bh_create(slot.m.loop, answer_all, NULL);
    return slot_plug(&virtio_blk_type, "drive=d num-queues=2 queue-size=128 rerror=stop");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    enum hw_cause cause;
    uint32_t detail;

    memset(slot.m.ram->host, 0, RAM_SIZE);
    set_up(15, 128);
    while (in.left) {
        operation(&in);
    }
    run_state(true);
    node.drain = true;
    loop_bh_schedule(answers);
    set_reg(0x70, 0);
    slot_settle();
    node.drain = false;
    assert(!node.count && !reg(0x70));
    hw_runstate_take(HW_REQUEST_STOP, &cause, &detail);
    return 0;
}
