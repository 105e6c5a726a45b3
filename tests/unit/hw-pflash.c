/* NOR flash: what drivers ask, programming, erasing, buffered writes, mistakes, and the node. */
#include "hw/block/pflash-cfi01.h"

#include "tests/unit/hw-bench.h"

#include <errno.h>

enum { FLASH = 0x20000000, SECTOR = 0x40000, BLOCKS = 4, SIZE = SECTOR * BLOCKS };

/* ---- a node of the test's own ---- */

struct block_node {
    uint8_t bytes[SIZE];
    bool readonly;
    int error;
    unsigned references, writes;
    struct block_request *waiting;
};

const char *block_name(const struct block_node *node)
{
    return "node0";
}

uint64_t block_size(const struct block_node *node)
{
    return SIZE;
}

bool block_readonly(const struct block_node *node)
{
    return node->readonly;
}

struct block_node *block_ref(struct block_node *node)
{
    node->references++;
    return node;
}

void block_unref(struct block_node *node)
{
    node->references--;
}

void block_submit(struct block_node *node, struct block_request *request)
{
    if (node->waiting) {
        tap_ok(false, "one request at a time");
    }
    node->waiting = request;
}

/* Carries out one request; false when there is none. */
static bool node_step(struct block_node *node)
{
    struct block_request *request = node->waiting;
    uint64_t n;

    if (!request) {
        return false;
    }
    node->waiting = NULL;
    n = request->iov->iov_len;
    request->result = node->error;
    if (n != request->size || request->iov_count != 1 || request->offset + n > SIZE) {
        request->result = -EINVAL;
    }
    if (!request->result && request->kind == BLOCK_WRITE) {
        node->writes++;
        memcpy(node->bytes + request->offset, request->iov->iov_base, n);
    } else if (!request->result) {
        memcpy(request->iov->iov_base, node->bytes + request->offset, n);
    }
    request->done(request);
    return true;
}

void block_drain(struct block_node *node)
{
    while (node_step(node)) {
    }
}

static struct block_node node;

#define PROPERTIES \
    "name=flash0,num-blocks=4,sector-length=262144,width=4,device-width=2,id0=0x89,id1=0x18"

static uint32_t get(uint64_t offset)
{
    return (uint32_t)bench_read(FLASH + offset, 4);
}

static void set(uint64_t offset, uint32_t value)
{
    bench_write(FLASH + offset, 4, value);
}

/* A command goes to both chips. */
static void command(uint64_t offset, uint8_t value)
{
    set(offset, value | (uint32_t)value << 16);
}

static void check_queries(void)
{
    static const char qry[] = "QRY";

    tap_eq(get(0), 0x03020100, "the node's content");
    command(0x55 * 4, 0x98);
    for (unsigned i = 0; i < 3; i++) {
        tap_eq(get((0x10 + i) * 4), (unsigned)qry[i] * 0x10001, "QRY, from each chip");
    }
    tap_eq(get(0x13 * 4), 0x00010001, "Intel's commands");
    tap_eq(get(0x27 * 4), 0x00130013, "a chip has 512 KiB");
    tap_eq(get(0x2a * 4), 0x000b000b, "its buffer 2 KiB");
    tap_eq(get(0x2d * 4), 0x00030003, "four blocks");
    tap_eq(get(0x2f * 4) | get(0x30 * 4) << 8, 0x02000200, "of 128 KiB");
    tap_eq(get(0x31 * 4) & 0xff, 'P', "Intel's table");
    tap_eq(get(0x52 * 4), 0, "the end of the table");
    tap_eq(get(SIZE - 4), 0, "behind it is nothing");
    tap_eq(bench_read(FLASH + 0x10 * 4, 2), 'Q', "a chip alone");
    tap_eq(bench_read(FLASH + 0x10 * 4 + 2, 1), 'Q', "and the other");
    tap_eq(bench_read(FLASH + 0x10 * 4, 8), 0x0052005200510051, "two words at once");
    command(0, 0xff);
    tap_eq(get(0), 0x03020100, "the content again");
    command(0, 0x90);
    tap_ok(get(0) == 0x00890089 && get(4) == 0x00180018 && !get(8), "manufacturer and device");
    command(0, 0xf0);
    tap_eq(get(4), 0x07060504, "AMD's reset leads back too");
    command(0, 0x70);
    tap_eq(get(0x1000), 0x00800080, "status: ready");
    command(0, 0x13);
    tap_eq(get(4), 0x07060504, "what is no command leads back");
}

static void check_program(struct pflash_cfi01 *flash)
{
    command(SECTOR, 0x20);
    tap_eq(get(SECTOR), 0x00800080, "status while erasing is set up");
    command(SECTOR + 0x100, 0xd0);
    tap_eq(get(SECTOR), 0x00800080, "erased");
    command(0, 0xff);
    tap_ok(get(SECTOR) == 0xffffffff && get(2 * SECTOR - 4) == 0xffffffff, "all ones");
    tap_eq(get(SECTOR - 4), 0xfffefdfc, "the block before");
    tap_eq(get(2 * SECTOR), 0x03020100, "and the block behind are as they were");
    set(SECTOR + 8, 0x00400040);
    set(SECTOR + 8, 0x12345678);
    tap_eq(get(0), 0x00800080, "programmed");
    command(0, 0x10);
    bench_write(FLASH + SECTOR + 8, 1, 0x0f);
    command(0, 0xff);
    tap_eq(get(SECTOR + 8), 0x12345608, "programming clears bits only");
    command(SECTOR, 0xe8);
    tap_eq(get(SECTOR), 0x00800080, "the buffer is free");
    command(SECTOR, 3);
    for (unsigned i = 0; i < 4; i++) {
        set(SECTOR + 0x1010 + 4 * i, 0x11111111 * i);
    }
    command(SECTOR, 0xd0);
    tap_eq(get(SECTOR), 0x00800080, "a buffer is written");
    command(0, 0xff);
    tap_ok(!get(SECTOR + 0x1010) && get(SECTOR + 0x101c) == 0x33333333, "with its data");
    tap_eq(get(SECTOR + 0x1020), 0xffffffff, "and no more");
    command(SECTOR, 0xe8);
    command(SECTOR, 0);
    command(SECTOR, 0x70);
    command(SECTOR, 0xd0);
    command(0, 0xff);
    tap_eq(get(SECTOR), 0x00700070, "data may look like a command");
    command(0, 0x60);
    command(0, 0xd0);
    tap_eq(get(0), 0x00800080, "unlocking is taken");
    command(0, 0x60);
    command(0, 0x01);
    command(0, 0x20);
    command(0, 0xd0);
    tap_eq(get(0), 0x00800080, "locking does not lock");
    command(0, 0xff);
    while (node_step(&node)) {
    }
    tap_ok(!memcmp(node.bytes, flash->ram->host, SIZE), "the node has it all");
}

static void check_mistakes(struct pflash_cfi01 *flash)
{
    command(0, 0x20);
    command(0, 0x70);
    tap_eq(get(0), 0x00b000b0, "erasing without confirmation: sequence error");
    command(0, 0x50);
    command(0, 0x70);
    tap_eq(get(0), 0x00800080, "status is cleared");
    command(0, 0x20);
    command(0, 0xff);
    tap_eq(get(2 * SECTOR), 0x03020100, "erasing can be called off");
    command(0, 0x60);
    command(0, 0x70);
    tap_eq(get(0), 0x00b000b0, "no such lock command");
    command(0, 0x50);
    command(0, 0xe8);
    set(0, 0xffffffff);
    tap_eq(get(0), 0x00b000b0, "too many words");
    command(0, 0x50);
    command(0, 0xe8);
    command(0, 1);
    set(2 * SECTOR, 0);
    set(2 * SECTOR + 0x1000, 0);
    tap_eq(get(0), 0x00900090, "data outside of the buffer: program error");
    command(0, 0x50);
    command(0, 0xe8);
    command(0, 1);
    set(2 * SECTOR + 4, 0);
    set(2 * SECTOR, 0);
    command(0, 0xff);
    tap_eq(get(0), 0x00b000b0, "a buffer that is not confirmed");
    command(0, 0x50);
    tap_eq(get(2 * SECTOR), 0x03020100, "was not written");
    command(SIZE - 4, 0xe8);
    set(SIZE - 4, 0x07ff07ff);
    for (unsigned i = 0; i < 2048; i++) {
        bench_write(FLASH + SIZE - 0x1000 + 2 * i, 2, 0x5a5a);
    }
    command(SIZE - 4, 0xd0);
    command(0, 0xff);
    tap_ok(get(SIZE - 4) == 0x5a5a5858 && get(SIZE - 0x1000) == 0x02020000,
           "the last buffer is filled");
    node.error = -EIO;
    command(0, 0x40);
    set(0, 0);
    block_drain(&node);
    node.error = 0;
    tap_ok(flash->writer.failed && !flash->writer.busy, "an error of the host is remembered");
}

static void check_order(struct pflash_cfi01 *flash)
{
    unsigned before = node.writes;

    for (unsigned i = 0; i < 100; i++) {
        command(0x2000, 0x40);
        set(0x2000 + 4 * i, 0x1000 + i);
    }
    tap_eq(node.writes, before, "the guest does not wait for the node");
    node_step(&node);
    tap_ok(flash->writer.busy, "what changed meanwhile");
    block_drain(&node);
    tap_eq(node.writes, before + 2, "is written once more, together");
    tap_ok(!memcmp(node.bytes + 0x2000, flash->ram->host + 0x2000, 400), "as it is at the end");
    command(0, 0xff);
}

static void check_life(struct pflash_cfi01 *flash)
{
    struct pflash_cfi01 *other = bench_create(&pflash_cfi01_type, PROPERTIES);
    char error[256];

    property_set(pflash_cfi01_type.properties, other, "", "name", "flash1", error, sizeof(error));
    bench_realize(other);
    bench_put(FLASH + 0x10000000, &other->mmio);
    tap_eq(bench_read(FLASH + 0x10000000, 8), UINT64_MAX, "without a node it is erased");
    tap_eq(bench_read(FLASH + 0x10000001, 1), 0xff, "for a byte too");
    bench_write(FLASH + 0x10000000, 4, 0x00200020);
    bench_write(FLASH + 0x10000000, 4, 0x00d000d0);
    bench_write(FLASH + 0x10000000, 4, 0x00ff00ff);
    tap_ok(other->ram->host[0] == 0, "and takes no memory, erased again or not");
    bench_write(FLASH + 0x10000000, 4, 0x00400040);
    bench_write(FLASH + 0x10000004, 4, 0x12345678);
    bench_write(FLASH + 0x10000000, 4, 0x00ff00ff);
    tap_eq(bench_read(FLASH + 0x10000000, 8), 0x12345678ffffffff, "until it is programmed");
    tap_eq(bench_read(FLASH + 0x10000000 + SIZE - 4, 4), 0xffffffff, "which leaves the rest");
    command(0, 0xe8);
    command(0, 1);
    set(0x3000, 0);
    tap_eq(bench_move(pflash_cfi01_type.state, flash, other), 0, "state moves");
    bench_write(FLASH + 0x10003004, 4, 0x77777777);
    bench_write(FLASH + 0x10000000, 4, 0x00d000d0);
    bench_write(FLASH + 0x10000000, 4, 0x00ff00ff);
    tap_eq(bench_read(FLASH + 0x10003000, 8), 0x7777777700000000, "a buffered write goes on");
    flash->buffer_first = SIZE;
    tap_eq(-bench_move(pflash_cfi01_type.state, flash, other), EINVAL, "a wild buffer is refused");
    hw_reset_device(&flash->device, false);
    tap_eq(get(4), 0xffffffff, "reset shows the content");
    mem_region_remove(&flash->mmio);
    mem_region_remove(&other->mmio);
    hw_device_destroy(&flash->device);
    hw_device_destroy(&other->device);
    tap_eq(node.references, 0, "the node is let go");
}

static void check_readonly(void)
{
    struct pflash_cfi01 *flash = bench_create(&pflash_cfi01_type, PROPERTIES);

    node.readonly = true;
    flash->node = &node;
    bench_realize(flash);
    bench_put(FLASH, &flash->mmio);
    command(0, 0x20);
    command(0, 0xd0);
    tap_eq(get(0), 0x00a000a0, "a read-only bank does not erase");
    command(0, 0x50);
    command(4, 0x40);
    set(4, 0);
    tap_eq(get(0), 0x00900090, "nor program");
    command(0, 0x50);
    command(0, 0xe8);
    command(0, 0);
    set(4, 0);
    command(0, 0xd0);
    tap_eq(get(0), 0x00900090, "nor write a buffer");
    command(0, 0xff);
    tap_ok(get(4) && !node.waiting, "nothing happened");
    mem_region_remove(&flash->mmio);
    hw_device_destroy(&flash->device);
    node.readonly = false;
}

static void check_properties(void)
{
    static const char *const bad[] = {
        "name=f,num-blocks=4,sector-length=262144,width=3",
        "name=f,num-blocks=4,sector-length=262144,width=2,device-width=4",
        "name=f,num-blocks=3,sector-length=262144,width=4",
        "name=f,num-blocks=4,sector-length=5000,width=4",
        "name=f,num-blocks=1,sector-length=67108864,width=1",
        "name=f,num-blocks=8,sector-length=262144,width=4",
    };
    char error[256];

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pflash_cfi01 *flash = bench_create(&pflash_cfi01_type, bad[i]);

        flash->node = &node;
        tap_ok(hw_device_realize(&flash->device, NULL, false, error, sizeof(error)) == -EINVAL,
               "%s is refused", bad[i]);
        tap_note("%s", error);
        hw_device_destroy(&flash->device);
    }
    tap_str(error, "f: node0 has 1048576 bytes, the flash has 2097152", "sizes are told");
}

int main(void)
{
    struct pflash_cfi01 *flash;

    bench_init();
    hw_lock_acquire();
    for (unsigned i = 0; i < SIZE; i++) {
        node.bytes[i] = (uint8_t)i;
    }
    flash = bench_create(&pflash_cfi01_type, PROPERTIES);
    flash->node = &node;
    bench_realize(flash);
    bench_put(FLASH, &flash->mmio);
    check_queries();
    check_program(flash);
    check_mistakes(flash);
    check_order(flash);
    check_life(flash);
    check_readonly();
    check_properties();
    hw_lock_release();
    return tap_done();
}
