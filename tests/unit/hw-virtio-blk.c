/*
 * The virtio block device over a node of the test's own, which keeps a disk in memory, records what
 * it is asked, and answers when and as the test says.
 */
#include "hw/virtio/blk.h"
#include "io/block/block.h"
#include "io/loop/thread.h"
#include "tests/unit/virtio-slot.h"

#include <endian.h>

enum { IN, OUT, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK, IOERR, UNSUPP, NOTHING = 0xee };

#define DISK_SIZE (1 << 20)
#define STATUS    (BUFFERS + 0x80000)

/* ---- the node -------------------------------------------------------------------------------- */

struct block_node {
    uint8_t disk[DISK_SIZE];
    bool readonly, hold;
    int fail; /* results of the next `failures` requests */
    unsigned failures;
    unsigned count, pieces, fuas, claims;
    char log[256];
    struct block_request *held[64];
    unsigned held_count;
    pthread_t thread;
};

static struct block_node node;

struct block_node *block_find(const char *name)
{
    return strcmp(name, "d0") == 0 ? &node : NULL;
}

uint64_t block_size(const struct block_node *n)
{
    return DISK_SIZE;
}

bool block_readonly(const struct block_node *n)
{
    return n->readonly;
}

void block_get_limits(const struct block_node *n, struct block_limits *limits)
{
    *limits = (struct block_limits){.alignment = 512, .discard_granularity = 4096};
}

int block_claim(struct block_claim **claim, struct block_node *n, unsigned permissions,
                unsigned shared, char *error, size_t error_size)
{
    tap_eq(permissions, n->readonly ? 1 : 3, "the device claims what it does");
    n->claims++;
    *claim = (struct block_claim *)n;
    return 0;
}

void block_claim_release(struct block_claim *claim)
{
    ((struct block_node *)claim)->claims--;
}

static void answer(struct block_request *r)
{
    uint64_t at = r->offset;

    r->result = node.failures ? node.fail : 0;
    node.failures -= node.failures > 0;
    for (unsigned i = 0; i < r->iov_count && !r->result; i++) {
        if (r->kind == BLOCK_READ) {
            memcpy(r->iov[i].iov_base, node.disk + at, r->iov[i].iov_len);
        } else {
            memcpy(node.disk + at, r->iov[i].iov_base, r->iov[i].iov_len);
        }
        at += r->iov[i].iov_len;
    }
    if (r->kind == BLOCK_ZERO && !r->result) {
        memset(node.disk + r->offset, 0, r->size);
    }
    r->done(r);
}

static struct loop_bh *answers;

static void answer_all(void *opaque)
{
    while (node.held_count && !node.hold) {
        struct block_request *r = node.held[0];

        node.held_count--;
        for (unsigned i = 0; i < node.held_count; i++) {
            node.held[i] = node.held[i + 1];
        }
        answer(r);
    }
}

void block_submit(struct block_node *n, struct block_request *r)
{
    uint64_t size = 0;

    if (r->offset > DISK_SIZE || r->size > DISK_SIZE - r->offset || n->held_count == 64) {
        tap_ok(false, "a request within the disk");
        abort();
    }
    for (unsigned i = 0; i < r->iov_count; i++) {
        size += r->iov[i].iov_len;
    }
    if ((r->kind == BLOCK_READ || r->kind == BLOCK_WRITE) && size != r->size) {
        tap_ok(false, "the size is that of the pieces");
        abort();
    }
    n->thread = pthread_self();
    n->count++;
    n->pieces = r->iov_count;
    n->fuas += r->fua;
    snprintf(n->log + strlen(n->log), sizeof(n->log) - strlen(n->log), "%c%llu+%llu%s ",
             "rwfdz"[r->kind], (unsigned long long)r -> offset / 512,
             (unsigned long long)r -> size / 512, r -> kind == BLOCK_ZERO && r -> unmap ? "u" : "");
    n->held[n->held_count++] = r;
    loop_bh_schedule(answers);
}

static void forget(void)
{
    node.count = node.fuas = 0;
    node.log[0] = 0;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static void plug(const char *properties)
{
    char text[256];

    snprintf(text, sizeof(text), "drive=d0 %s", properties);
    if (slot_plug(&virtio_blk_type, text)) {
        tap_ok(false, "plugged: %s", text);
        tap_note("%s", slot.error);
        exit(tap_done());
    }
}

/* Request n (each has three descriptors): header, data, status; not notified. */
static void offer(unsigned queue, unsigned n, uint32_t type, uint64_t sector, uint64_t data,
                  uint32_t size)
{
    uint64_t header = STATUS + 0x1000 + 16 * n;
    uint32_t words[4] = {htole32(type), 0, htole32((uint32_t)sector),
                         htole32((uint32_t)(sector >> 32))};
    bool in = type == IN || type == GET_ID;
    struct piece pieces[3] = {{header, 16, false}, {data, size, in}, {STATUS + n, 1, true}};

    put_bytes(header, words, 16);
    wr(&slot.m, STATUS + n, 1, NOTHING);
    if (!size) {
        pieces[1] = pieces[2];
    }
    slot_offer(queue, 3 * n, pieces, size ? 3 : 2);
}

static unsigned status(unsigned n)
{
    return (unsigned)rd(&slot.m, STATUS + n, 1);
}

/* One request and its answer. */
static unsigned ask(uint32_t type, uint64_t sector, uint64_t data, uint32_t size)
{
    forget();
    offer(0, 0, type, sector, data, size);
    slot_notify(0);
    SLOT_WAIT(slot_back(0) || slot_is_broken());
    if (!slot_back(0) || slot_take(0, NULL) != 0) {
        return NOTHING;
    }
    return status(0);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void check_properties(void)
{
    static const struct {
        const char *properties, *message;
    } bad[] = {
        {"", "drive: has to be set"},
        {"drive=none", "drive=none: there is no such drive or node"},
        {"drive=d0 iothread=none", "iothread=none: there is no such object"},
        {"drive=d0 logical_block_size=1000", "expected powers of two"},
        {"drive=d0 logical_block_size=4096", "the second not smaller"},
        {"drive=d0 queue-size=100", "queue-size: expected a power of two"},
        {"drive=d0 min_io_size=100", "expected multiples"},
        {"drive=d0 werror=maybe", "werror=maybe"},
        {"drive=d0 num-queues=65", "num-queues=65"},
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        slot.error[0] = 0;
        int err = slot_plug(&virtio_blk_type, bad[i].properties);

        if (!tap_ok(err < 0 && (i == 0 || strstr(slot.error, bad[i].message)), "refused: '%s'",
                    bad[i].properties)) {
            tap_note("%d: %s", err, slot.error);
        }
    }
    tap_eq(node.claims, 0, "nothing is left of it");
}

static void check_config(void)
{
    plug("num-queues=4 physical_block_size=4096 min_io_size=4096 opt_io_size=65536");
    tap_eq(reg(8), 2, "device id");
    tap_eq(slot_features() & 0xffffffff & ~(F(28) | F(29)),
           F(2) | F(4) | F(6) | F(9) | F(10) | F(11) | F(12) | F(13) | F(14), "features");
    tap_eq(config(0, 4), DISK_SIZE / 512, "capacity");
    tap_eq(config(12, 4), 254, "seg_max");
    tap_eq(config(20, 4), 512, "blk_size");
    tap_eq(config(24, 1), 3, "physical block");
    tap_eq(config(26, 2), 8, "min_io_size");
    tap_eq(config(28, 4), 128, "opt_io_size");
    tap_eq(config(34, 2), 4, "num_queues");
    tap_eq(config(36, 4), 0x3fffff, "max_discard_sectors");
    tap_eq(config(44, 4), 8, "discard_sector_alignment is the node's");
    tap_eq(config(56, 1), 1, "write_zeroes_may_unmap");
    slot_unplug();
    node.readonly = true;
    plug("config-wce=off write-cache=off");
    tap_eq(slot_features() & 0xffffffff & ~(F(28) | F(29)), F(2) | F(4) | F(5) | F(6) | F(10),
           "features of a read-only disk without a cache");
    slot_drive(F_BASE | F(5), 1, 64);
    tap_eq(ask(OUT, 0, BUFFERS, 512), IOERR, "it is not written");
    tap_eq(ask(DISCARD, 0, BUFFERS, 16), UNSUPP, "nor discarded");
    tap_eq(node.count, 0, "nor asked");
    tap_eq(ask(IN, 0, BUFFERS, 512), OK, "but read");
    slot_unplug();
    node.readonly = false;
    tap_eq(node.claims, 0, "claims are given back");
}

static void check_requests(void)
{
    uint8_t bytes[4096], back[4096];
    uint32_t written;

    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    }
    plug("serial=a-serial-number-that-is-long");
    slot_drive(F_BASE | F(9) | F(11) | F(13) | F(14), 1, 64);
    put_bytes(BUFFERS, bytes, 4096);
    tap_eq(ask(OUT, 10, BUFFERS, 4096), OK, "a write");
    tap_ok(!memcmp(node.disk + 5120, bytes, 4096) && !node.fuas, "is done, into the cache");
    tap_str(node.log, "w10+8 ", "as one request");
    forget();
    offer(0, 0, IN, 11, BUFFERS + 0x4000, 1024);
    slot_notify(0);
    SLOT_WAIT(slot_back(0));
    tap_eq(slot_take(0, &written), 0, "a read");
    tap_eq(written, 1025, "says what it wrote");
    get_bytes(BUFFERS + 0x4000, back, 1024);
    tap_ok(!memcmp(back, bytes + 512, 1024) && status(0) == OK, "and is right");
    tap_eq(ask(FLUSH, 0, 0, 0), OK, "a flush");
    tap_str(node.log, "f0+0 ", "is one");
    tap_eq(ask(GET_ID, 0, BUFFERS, 20), OK, "the id");
    get_bytes(BUFFERS, back, 20);
    tap_ok(!memcmp(back, "a-serial-number-that", 20), "is the serial number's beginning");
    memset(back, 0xaa, 32);
    put_bytes(BUFFERS, back, 32);
    tap_eq(ask(GET_ID, 0, BUFFERS, 8), OK, "a short buffer for it");
    get_bytes(BUFFERS, back, 32);
    tap_ok(!memcmp(back, "a-serial\xaa\xaa", 10), "gets as much");

    static const struct {
        uint32_t type;
        uint64_t sector;
        uint32_t size;
        unsigned want;
        const char *what;
    } asks[] = {
        {IN, DISK_SIZE / 512 - 1, 512, OK, "the last sector"},
        {IN, DISK_SIZE / 512, 512, IOERR, "a sector behind the last"},
        {IN, DISK_SIZE / 512 - 1, 1024, IOERR, "sectors over the end"},
        {IN, UINT64_MAX, 512, IOERR, "a sector number that overflows"},
        {OUT, UINT64_C(1) << 55, 512, IOERR, "a byte offset that overflows"},
        {IN, UINT64_C(1) << 63, 1024, IOERR, "both"},
        {IN, 0, 511, IOERR, "part of a sector"},
        {OUT, 0, 513, IOERR, "a sector and a byte"},
        {OUT, 0, 0, OK, "nothing"},
        {OUT, DISK_SIZE / 512, 0, OK, "nothing at the end"},
        {5, 0, 512, UNSUPP, "an unknown type"},
        {0xffffffff, 0, 0, UNSUPP, "another one"},
    };

    for (unsigned i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        if (!tap_ok(ask(asks[i].type, asks[i].sector, BUFFERS, asks[i].size) == asks[i].want, "%s",
                    asks[i].what)) {
            tap_note("status %u", status(0));
        }
        tap_eq(node.count, asks[i].want == OK && asks[i].size, "reaches the node or not");
    }

    /* Segments of discards and zeros. */
    static const struct {
        uint32_t type;
        uint64_t sector;
        uint32_t sectors, flags, size;
        unsigned want;
        const char *log;
    } segments[] = {
        {DISCARD, 8, 16, 0, 16, OK, "d8+16 "},
        {DISCARD, 8, 16, 1, 16, UNSUPP, ""},
        {ZEROES, 8, 16, 0, 16, OK, "z8+16 "},
        {ZEROES, 8, 16, 1, 16, OK, "z8+16u "},
        {ZEROES, 8, 16, 3, 16, UNSUPP, ""},
        {ZEROES, 8, 0, 0, 16, OK, ""},
        {ZEROES, 8, 16, 0, 15, IOERR, ""},
        {ZEROES, 8, 16, 0, 32, UNSUPP, ""},
        {DISCARD, DISK_SIZE / 512, 1, 0, 16, IOERR, ""},
        {DISCARD, UINT64_MAX, 2, 0, 16, IOERR, ""},
        {DISCARD, 0, 0xffffffff, 0, 16, IOERR, ""},
    };

    for (unsigned i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
        wr(&slot.m, BUFFERS, 8, segments[i].sector);
        wr(&slot.m, BUFFERS + 8, 4, segments[i].sectors);
        wr(&slot.m, BUFFERS + 12, 4, segments[i].flags);
        tap_eq(ask(segments[i].type, 0, BUFFERS, segments[i].size), segments[i].want,
               "a segment's status");
        tap_str(node.log, segments[i].log, "and what the node gets");
    }
    slot_unplug();
}

/* Header, data and status in any pieces. */
static void check_framing(void)
{
    uint8_t bytes[1024], back[1024];
    uint64_t at = BUFFERS;
    struct piece many[40];
    unsigned n = 0;

    plug("");
    slot_drive(F_BASE | F(9), 1, 64);
    for (unsigned i = 0; i < 1024; i++) {
        bytes[i] = (uint8_t)(i * 3);
    }
    wr(&slot.m, at, 4, OUT);
    wr(&slot.m, at + 8, 8, 2);
    put_bytes(at + 16, bytes, 1024);
    for (unsigned i = 0; i < 5; i++) { /* 5 * 3 bytes, and the header's last with data */
        many[n++] = (struct piece){at + 3 * i, 3, false};
    }
    many[n++] = (struct piece){at + 15, 101, false};
    many[n++] = (struct piece){at + 116, 924, false};
    many[n++] = (struct piece){STATUS, 1, true};
    forget();
    slot_offer(0, 0, many, n);
    slot_notify(0);
    SLOT_WAIT(slot_back(0));
    slot_take(0, NULL);
    tap_ok(status(0) == OK && !memcmp(node.disk + 1024, bytes, 1024), "a header in pieces");

    /* Status behind the data in one piece. */
    wr(&slot.m, at, 4, IN);
    struct piece joined[2] = {{at, 16, false}, {STATUS, 1025, true}};

    slot_offer(0, 0, joined, 2);
    slot_notify(0);
    SLOT_WAIT(slot_back(0));
    slot_take(0, NULL);
    get_bytes(STATUS, back, 1024);
    tap_ok(!memcmp(back, bytes, 1024) && status(1024) == OK, "data and status in one piece");
    tap_ok(!slot_is_broken(), "are no fault");

    struct piece bad[2] = {{at, 16, false}, {0}};

    slot_offer(0, 0, bad, 1);
    slot_notify(0);
    SLOT_WAIT(slot_is_broken());
    tap_ok(slot_is_broken(), "no status breaks the device");
    slot_drive(F_BASE | F(9), 1, 64);
    bad[0].size = 15;
    bad[1] = (struct piece){STATUS, 1, true};
    slot_offer(0, 0, bad, 2);
    slot_notify(0);
    SLOT_WAIT(slot_is_broken());
    tap_ok(slot_is_broken(), "so does a short header");
    slot_drive(F_BASE | F(9), 1, 64);
    tap_eq(ask(IN, 0, BUFFERS, 512), OK, "a reset mends it");
    slot_unplug();
}

static void check_cache(void)
{
    plug("");
    slot_drive(F_BASE, 1, 64);
    tap_eq(ask(OUT, 0, BUFFERS, 512), OK, "a driver without flushes");
    tap_eq(node.fuas, 1, "has durable writes");
    slot_drive(F_BASE | F(9), 1, 64);
    ask(OUT, 0, BUFFERS, 512);
    tap_eq(node.fuas, 0, "with flushes it has not");
    slot_drive(F_BASE | F(9) | F(11), 1, 64);
    tap_eq(config(32, 1), 1, "the cache is on");
    wr(&slot.m, SLOT + 0x100 + 32, 1, 0);
    tap_eq(config(32, 1), 0, "the driver turns it off");
    ask(OUT, 0, BUFFERS, 512);
    tap_eq(node.fuas, 1, "and writes are durable");
    ask(IN, 0, BUFFERS, 512);
    tap_eq(node.fuas, 0, "reads are reads");
    slot_drive(F_BASE | F(9) | F(11), 1, 64);
    tap_eq(config(32, 1), 1, "a reset turns it on");
    slot_unplug();
    plug("write-cache=off");
    slot_drive(F_BASE | F(9) | F(11), 1, 64);
    tap_eq(config(32, 1), 0, "write-cache=off");
    ask(OUT, 0, BUFFERS, 512);
    tap_eq(node.fuas, 1, "is what it begins with");
    slot_unplug();
}

static void check_merging(void)
{
    plug("");
    slot_drive(F_BASE | F(9), 1, 64);
    forget();
    for (unsigned i = 0; i < 4; i++) {
        offer(0, i, OUT, 100 + 2 * i, BUFFERS + 1024 * i, 1024);
    }
    offer(0, 4, OUT, 50, BUFFERS, 512);
    offer(0, 5, IN, 51, BUFFERS + 0x8000, 512);
    offer(0, 6, IN, 52, BUFFERS + 0x9000, 512);
    offer(0, 7, FLUSH, 0, 0, 0);
    slot_notify(0);
    SLOT_WAIT(slot_back(0) == 8);
    tap_str(node.log, "w100+8 w50+1 f0+0 r51+2 ", "what follows each other is one");
    tap_eq(slot_back(0), 8, "each gets its answer");
    tap_ok(slot.edges <= 2, "with few interrupts");
    for (unsigned i = 0; i < 8; i++) {
        tap_eq(status(slot_take(0, NULL) / 3), OK, "each is done");
    }

    /* One that fails is tried in parts. */
    forget();
    node.fail = -EIO;
    node.failures = 2;
    for (unsigned i = 0; i < 3; i++) {
        offer(0, i, IN, 10 + i, BUFFERS + 512 * i, 512);
    }
    slot_notify(0);
    SLOT_WAIT(slot_back(0) == 3);
    tap_str(node.log, "r10+3 r10+1 r11+1 r12+1 ", "a merged one that fails is tried in parts");
    tap_ok(status(0) == IOERR && status(1) == OK && status(2) == OK, "only the bad one fails");
    slot_unplug();
    plug("request-merging=off");
    slot_drive(F_BASE | F(9), 1, 64);
    forget();
    offer(0, 0, IN, 10, BUFFERS, 512);
    offer(0, 1, IN, 11, BUFFERS, 512);
    slot_notify(0);
    SLOT_WAIT(slot_back(0) == 2);
    tap_str(node.log, "r10+1 r11+1 ", "request-merging=off");
    slot_unplug();
}

static void check_queues(void)
{
    plug("num-queues=3");
    slot_drive(F_BASE | F(9) | F(12), 3, 16);
    for (unsigned q = 0; q < 3; q++) {
        offer(q, q, IN, q, BUFFERS + 512 * q, 512);
    }
    slot_notify(2);
    SLOT_WAIT(slot_back(2));
    tap_ok(slot_back(2) == 1 && !slot_back(0) && !slot_back(1),
           "queues are notified by themselves");
    slot_notify(0);
    slot_notify(1);
    SLOT_WAIT(slot_back(0) && slot_back(1));
    tap_ok(slot_back(0) == 1 && slot_back(1) == 1, "and answer there");
    slot_unplug();
}

static void check_errors(void)
{
    enum hw_cause cause;
    uint32_t detail;

    plug("");
    slot_drive(F_BASE | F(9), 1, 64);
    node.fail = -EIO;
    node.failures = 1;
    tap_eq(ask(OUT, 0, BUFFERS, 512), IOERR, "a failed write");
    node.failures = 1;
    tap_eq(ask(FLUSH, 0, 0, 0), IOERR, "a failed flush");
    node.fail = -ENOTSUP;
    node.failures = 1;
    tap_eq(ask(IN, 0, BUFFERS, 512), UNSUPP, "what the node cannot do");
    slot_unplug();
    plug("werror=ignore rerror=stop");
    slot_drive(F_BASE | F(9), 1, 64);
    node.fail = -EIO;
    node.failures = 1;
    tap_eq(ask(OUT, 0, BUFFERS, 512), OK, "werror=ignore");
    node.failures = 2;
    offer(0, 0, IN, 3, BUFFERS, 512);
    offer(0, 1, IN, 9, BUFFERS + 512, 512);
    forget();
    slot_notify(0);
    slot_settle();
    tap_ok(!slot_back(0) && hw_runstate_take(HW_REQUEST_STOP, &cause, &detail) &&
               detail == HW_RUNSTATE_IO_ERROR,
           "rerror=stop asks to stop the VM");
    hw_runstate_set(HW_RUNSTATE_IO_ERROR);
    slot_settle();
    struct state_buffer buffer = {0};

    tap_eq(state_save(virtio_blk_type.state, slot.device, &buffer, slot.error, sizeof(slot.error)),
           -EBUSY, "it is not saved like that");
    state_buffer_free(&buffer);
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    SLOT_WAIT(slot_back(0) == 2);
    tap_str(node.log, "r3+1 r9+1 r3+1 r9+1 ", "they are made again when it goes on");
    tap_ok(status(0) == OK && status(1) == OK, "and are done");
    slot_take(0, NULL);
    slot_take(0, NULL);

    node.failures = 1;
    offer(0, 0, IN, 3, BUFFERS, 512);
    slot_notify(0);
    slot_settle();
    hw_runstate_take(HW_REQUEST_STOP, &cause, &detail);
    slot_drive(F_BASE | F(9), 1, 64);
    tap_eq(ask(IN, 0, BUFFERS, 512), OK, "a reset forgets them");
    slot_unplug();
}

static void let_go(void *opaque)
{
    node.hold = false;
    answer_all(NULL);
}

static void check_reset(void)
{
    struct loop_bh *bh = loop_bh_create(slot.m.loop, let_go, NULL);

    plug("");
    slot_drive(F_BASE | F(9), 1, 64);
    node.hold = true;
    offer(0, 0, OUT, 0, BUFFERS, 512);
    offer(0, 1, IN, 0, BUFFERS, 512);
    slot_notify(0);
    slot_settle();
    tap_eq(node.held_count, 2, "requests are under way");
    loop_bh_schedule(bh);
    set_reg(0x70, 0);
    SLOT_WAIT(!reg(0x70));
    tap_ok(!node.held_count && !slot_back(0), "a reset waits for them, and they are not shown");
    slot_drive(F_BASE | F(9), 1, 64);
    node.hold = true;
    offer(0, 0, OUT, 0, BUFFERS, 512);
    slot_notify(0);
    slot_settle();
    loop_bh_schedule(bh);
    hw_runstate_set(HW_RUNSTATE_PAUSED);
    tap_ok(!node.held_count && slot_back(0) == 1, "stopping the VM waits, too, and shows them");

    struct state_buffer buffer = {0};

    tap_eq(state_save(virtio_blk_type.state, slot.device, &buffer, slot.error, sizeof(slot.error)),
           0, "saved");
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    slot_take(0, NULL);
    tap_eq(ask(IN, 0, BUFFERS, 512), OK, "and it goes on");
    hw_runstate_set(HW_RUNSTATE_PAUSED);
    slot_settle();
    tap_eq(state_load(virtio_blk_type.state, slot.device, buffer.data, buffer.size, NULL,
                      slot.error, sizeof(slot.error)),
           0, "loaded");
    state_buffer_free(&buffer);
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    slot_settle();
    node.hold = true;
    offer(0, 0, OUT, 0, BUFFERS, 512);
    slot_notify(0);
    slot_settle();
    loop_bh_schedule(bh);
    slot_unplug();
    tap_eq(node.held_count, 0, "unplugging waits");
    loop_bh_destroy(bh);
    node.hold = false;
}

/* A ring that is filled while it is served. */
static void check_many(void)
{
    plug("queue-size=1024");
    slot_drive(F_BASE | F(9), 1, 1024);
    node.hold = true;
    for (unsigned i = 0; i < 300; i++) {
        offer(0, i, 99, 0, BUFFERS, 512);
    }
    slot_notify(0);
    SLOT_WAIT(slot_back(0) == 300);
    tap_eq(slot_back(0), 300, "more than a burst");
    node.hold = false;
    slot_unplug();
}

static struct loop *io_loop;

/* The loop has no thread any more. */
static void forget_answers(struct loop *loop)
{
    tap_ok(loop == io_loop, "whoever keeps something for the loop is told");
    loop_bh_destroy(answers);
}

static void check_iothread(void)
{
    struct loop_thread *thread;
    struct loop_bh *main_answers = answers;

    tap_eq(loop_thread_create(&thread, "io0", slot.error, sizeof(slot.error)), 0, "an I/O thread");
    answers = loop_bh_create(loop_thread_loop(thread), answer_all, NULL);
    plug("iothread=io0");
    tap_eq(loop_thread_destroy(thread, NULL), -EBUSY, "is in use");
    slot_drive(F_BASE | F(9), 1, 64);
    memset(node.disk, 0x5a, 512);
    tap_eq(ask(IN, 0, BUFFERS, 512), OK, "reads");
    tap_ok(rd(&slot.m, BUFFERS + 511, 1) == 0x5a && !pthread_equal(node.thread, pthread_self()),
           "by that thread");
    for (int i = 0; i < 50; i++) {
        offer(0, 0, OUT, 0, BUFFERS, 512);
        offer(0, 1, IN, 8, BUFFERS + 512, 512);
        slot_notify(0);
        if (i % 2) {
            slot_drive(F_BASE | F(9), 1, 64);
        } else {
            SLOT_WAIT(slot_back(0) == 2);
            slot_take(0, NULL);
            slot_take(0, NULL);
        }
    }
    tap_eq(ask(IN, 0, BUFFERS, 512), OK, "also after many resets");
    slot_unplug();
    io_loop = loop_thread_loop(thread);
    tap_eq(loop_thread_destroy(thread, forget_answers), 0, "it ends when nobody uses it");
    tap_ok(!loop_thread_find("io0"), "and is gone");
    answers = main_answers;
}

int main(void)
{
    slot_begin();
    answers = loop_bh_create(slot.m.loop, answer_all, NULL);
    check_properties();
    check_config();
    check_requests();
    check_framing();
    check_cache();
    check_merging();
    check_queues();
    check_errors();
    check_reset();
    check_many();
    check_iothread();
    loop_bh_destroy(answers);
    slot_end();
    return tap_done();
}
