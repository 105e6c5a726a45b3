/*
 * The virtio network device under a hostile guest, with a hub behind it, so that all offloads are
 * done in software, and a second port that takes what comes. An input is operations of one byte
 * each and operands:
 *
 *     0   a frame to be sent: header (10 bytes), how much of a frame (2 bytes), bytes of its start
 *     1   the same with the descriptors of the input: see pieces()
 *     2   buffers to be filled: how many, how long
 *     3   a frame from the network: length (2 bytes), bytes of its start
 *     4   a control command: class, command, length, bytes
 *     5   notify a queue, and run the loop
 *     6   stop the VM, or let it go on
 *     7   set the device up: features (2 bytes), log2 of the rings' size
 *     8   fill RAM: offset (3 bytes), length (1 byte), bytes
 */
#include "hw/virtio/net.h"
#include "io/net/net.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/virtio-slot.h"

#include <assert.h>

enum { RX, TX, CONTROL, QUEUES };

static struct net_backend *outside;
static unsigned heads[QUEUES];

static volatile uint8_t sink; /* what is read goes here */

/* The other port: touches every byte. */
static bool receive(void *opaque, const struct iovec *iov, unsigned count)
{
    size_t size = 0;

    for (unsigned i = 0; i < count; i++) {
        for (size_t n = 0; n < iov[i].iov_len; n++) {
            sink = (uint8_t)(sink + ((const uint8_t *)iov[i].iov_base)[n]);
        }
        size += iov[i].iov_len;
    }
    assert(size >= 60);
    return true;
}

static const struct net_handlers handlers = {.receive = receive};

/* Bytes that are no text, though they may be written as such. */
static void put(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
}

static void set_up(uint64_t bits, unsigned size)
{
    static const uint8_t features[] = {0, 1, 2, 7, 8, 11, 12, 15, 16, 17, 18, 19, 20, 23, 29};
    uint64_t accepted = F_BASE;

    for (unsigned i = 0; i < sizeof(features); i++) {
        accepted |= (bits >> i & 1) << features[i];
    }
    if (!slot_negotiate(accepted)) {
        return;
    }
    for (unsigned n = 0; n < QUEUES; n++) {
        slot_set_queue(n, size);
        heads[n] = 0;
    }
    set_reg(0x70, 15);
    slot_settle();
}

static void offer(unsigned queue, const struct piece *pieces, unsigned count)
{
    const struct ring *r = &slot.rings[queue];

    if (heads[queue] + count > r->size) {
        heads[queue] = 0;
    }
    slot_offer(queue, heads[queue], pieces, count < r->size ? count : r->size);
    heads[queue] += count;
}

/* How many pieces, and of each where (3 bytes), how long (2 bytes), and whether to be written. */
static void pieces(struct fuzz_input *in, unsigned queue)
{
    struct piece list[8];
    unsigned count = 1 + (unsigned)fuzz_number(in, 1) % 8;

    for (unsigned i = 0; i < count; i++) {
        list[i].gpa = RAM_BASE + fuzz_number(in, 3) % RAM_SIZE;
        list[i].size = (uint32_t)fuzz_number(in, 2);
        list[i].write = fuzz_number(in, 1) & 1;
    }
    offer(queue, list, count);
}

/* A frame whose lengths mostly agree, since a fuzzer does not find that by itself. */
static void send_frame(struct fuzz_input *in)
{
    uint8_t bytes[12 + 64] = {0};
    uint64_t at = BUFFERS + 0x1000 * (heads[TX] % 16);
    uint32_t size = 14 + (uint32_t)fuzz_number(in, 2) % 9000;

    fuzz_bytes(in, bytes, 10);
    bytes[1] = (uint8_t)(bytes[1] % 6);
    fuzz_bytes(in, bytes + 12, 54);
    if (bytes[12] & 1) { /* IPv4, TCP */
        put(bytes + 24, "\x08\0\x45\0", 4);
        bytes[28] = (uint8_t)((size - 14) >> 8);
        bytes[29] = (uint8_t)(size - 14);
        bytes[35] = bytes[12] & 2 ? 17 : 6;
    } else if (bytes[12] & 4) {
        put(bytes + 24, "\x86\xdd\x60", 3);
        bytes[30] = (uint8_t)((size - 54) >> 8);
        bytes[31] = (uint8_t)(size - 54);
        bytes[32] = 6;
    }
    put_bytes(at, bytes, sizeof(bytes));
    struct piece list[2] = {{at, 12 + 30, false}, {at + 42, size - 30, false}};

    if (size > 30) {
        offer(TX, list, 2);
    }
}

static void receive_frame(struct fuzz_input *in)
{
    static uint8_t frame[70000];
    struct iovec iov = {frame, fuzz_number(in, 2)};

    fuzz_bytes(in, frame, 32);
    net_send(outside, &iov, 1);
}

static void command(struct fuzz_input *in)
{
    uint8_t bytes[258];
    uint64_t at = BUFFERS + 0xe0000, n;
    struct piece list[2] = {{at, 2, false}, {at + 0x1000, 1, true}};

    fuzz_bytes(in, bytes, 2);
    n = fuzz_number(in, 1);
    fuzz_bytes(in, bytes + 2, n);
    put_bytes(at, bytes, 2 + n);
    list[0].size += (uint32_t)n;
    offer(CONTROL, list, 2);
    slot_notify(CONTROL);
    slot_settle();
}

static void operation(struct fuzz_input *in)
{
    uint8_t bytes[256];
    uint64_t at, n;

    switch (fuzz_number(in, 1) % 9) {
    case 0:
        send_frame(in);
        break;
    case 1:
        pieces(in, (unsigned)fuzz_number(in, 1) % QUEUES);
        break;
    case 2:
        n = fuzz_number(in, 1) % 32;
        at = fuzz_number(in, 2);
        for (unsigned i = 0; i < n; i++) {
            struct piece piece = {BUFFERS + 0x10000 * (i % 8), (uint32_t)at, true};

            offer(RX, &piece, 1);
        }
        break;
    case 3:
        receive_frame(in);
        break;
    case 4:
        command(in);
        break;
    case 5:
        slot_notify((unsigned)fuzz_number(in, 1) % QUEUES);
        slot_settle();
        break;
    case 6:
        hw_runstate_set(hw_runstate_get() == HW_RUNSTATE_RUNNING ? HW_RUNSTATE_PAUSED
                                                                 : HW_RUNSTATE_RUNNING);
        break;
    case 7:
        at = fuzz_number(in, 2);
        set_up(at, 1u << fuzz_number(in, 1) % 8);
        break;
    default:
        at = fuzz_number(in, 3) % RAM_SIZE;
        n = fuzz_number(in, 1);
        fuzz_bytes(in, bytes, n);
        put_bytes(RAM_BASE + at, bytes, n);
        break;
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct net_backend *card;
    char error[256];

    slot_begin();
    if (net_create(&card, slot.m.loop, "hubport,id=n0,hubid=0", error, sizeof(error)) ||
        net_create(&outside, slot.m.loop, "hubport,id=n1,hubid=0", error, sizeof(error)) ||
        net_attach(outside, &handlers, NULL)) {
        abort();
    }
    return slot_plug(&virtio_net_type, "netdev=n0");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    memset(slot.m.ram->host, 0, RAM_SIZE);
    set_up(0x7fff, 128);
    while (in.left) {
        operation(&in);
    }
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    set_reg(0x70, 0);
    slot_settle();
    assert(!reg(0x70));
    /* Frames that wait for the card are not the next input's. */
    net_set_link(net_find("n0"), false);
    net_accept(net_find("n0"));
    slot_settle();
    net_set_link(net_find("n0"), true);
    return 0;
}
