/*
 * The virtio network device over a back end of the test's own: frames in both directions in
 * buffers of all shapes, features and offloads, the control queue and filters, hostile commands.
 */
#include "hw/virtio/net-filter.h"
#include "hw/virtio/net.h"
#include "io/net/net.h"
#include "tests/unit/virtio-slot.h"

#include <endian.h>

enum { RX, TX, CONTROL };
#define FRAME_MAX 70000

/* ---- the back end ---------------------------------------------------------------------------- */

struct net_backend {
    const struct net_handlers *handlers;
    void *card;
    uint32_t has, set;
    unsigned header, sent, accepted;
    bool down, no_header;
    uint8_t frame[FRAME_MAX]; /* the latest that was sent */
    size_t size;
};

static struct net_backend backend;

/* Bytes that are no text, though they may be written as such. */
static void put(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
}

struct net_backend *net_find(const char *id)
{
    return strcmp(id, "n0") == 0 ? &backend : NULL;
}

int net_attach(struct net_backend *net, const struct net_handlers *handlers, void *opaque)
{
    if (handlers && net->handlers) {
        return -EBUSY;
    }
    net->handlers = handlers;
    net->card = opaque;
    return 0;
}

void net_accept(struct net_backend *net)
{
    net->accepted++;
}

void net_send(struct net_backend *net, const struct iovec *iov, unsigned count)
{
    net->size = virtio_iov_read(iov, count, 0, net->frame, sizeof(net->frame));
    net->sent++;
}

uint32_t net_offloads(const struct net_backend *net)
{
    return net->has;
}

void net_set_offloads(struct net_backend *net, uint32_t wanted)
{
    net->set = wanted;
}

int net_set_header(struct net_backend *net, unsigned size)
{
    net->header = size;
    return net->no_header ? -ENOTSUP : 0;
}

bool net_link_is_up(const struct net_backend *net)
{
    return !net->down;
}

void net_new_mac(uint8_t mac[6])
{
    put(mac, "\x52\x54\0\x12\x34\x56", 6);
}

/* A frame for the card, with its header, in two pieces. */
static bool give(const void *frame, size_t size, size_t first)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)frame, first},
                           {(uint8_t *)(uintptr_t)frame + first, size - first}};

    return backend.handlers->receive(backend.card, iov, 2);
}

/* ---- the driver ------------------------------------------------------------------------------ */

static void plug(const char *properties)
{
    char text[256];

    backend.has = 31;
    snprintf(text, sizeof(text), "netdev=n0 %s", properties);
    if (slot_plug(&virtio_net_type, text)) {
        tap_ok(false, "plugged: %s", text);
        tap_note("%s", slot.error);
        exit(tap_done());
    }
}

static void make_frame(uint8_t *frame, size_t size, const char *to)
{
    memset(frame, 0, 12);
    for (size_t i = 12; i < size; i++) {
        frame[i] = (uint8_t)(i * 11 + i / 199);
    }
    memcpy(frame + 12, to, 6);
    frame[24] = 8; /* IPv4 */
    frame[25] = 0;
}

static const char ours[] = "\x52\x54\0\x12\x34\x56", others[] = "\x52\x54\0\x12\x34\x99",
                  group[] = "\x33\x33\0\0\0\1", everybody[] = "\xff\xff\xff\xff\xff\xff";

/* Receive buffers n to n + count - 1, each of `size` bytes. */
static void offer_buffers(unsigned n, unsigned count, uint32_t size)
{
    for (unsigned i = n; i < n + count; i++) {
        struct piece piece = {BUFFERS + i * 0x1000, size, true};

        slot_offer(RX, i, &piece, 1);
    }
}

/* A control command; the acknowledgment, or 0xee. */
static unsigned control(uint8_t class, uint8_t command, const void *data, uint32_t size)
{
    uint64_t at = BUFFERS + 0xe0000;
    uint8_t head[2] = {class, command};
    struct piece pieces[3] = {{at, 2, false}, {at + 2, size, false}, {at - 1, 1, true}};

    put_bytes(at, head, 2);
    put_bytes(at + 2, data, size);
    wr(&slot.m, at - 1, 1, 0xee);
    if (!size) {
        pieces[1] = pieces[2];
    }
    slot_offer(CONTROL, 0, pieces, size ? 3 : 2);
    slot_notify(CONTROL);
    SLOT_WAIT(slot_back(CONTROL) || slot_is_broken());
    if (slot_back(CONTROL)) {
        slot_take(CONTROL, NULL);
    }
    return (unsigned)rd(&slot.m, at - 1, 1);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void check_properties(void)
{
    static const struct {
        const char *properties, *message;
    } bad[] = {
        {"netdev=none", "no network back end with id=none"},
        {"netdev=n0 mq=on", "mq=on is not supported"},
        {"netdev=n0 rx_queue_size=100", "expected powers of two"},
        {"netdev=n0 mac=01:00:00:00:00:00", "expected a unicast address"},
        {"netdev=n0 mac=x", "mac=x"},
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int err = slot_plug(&virtio_net_type, bad[i].properties);

        if (!tap_ok(err < 0 && strstr(slot.error, bad[i].message), "refused: '%s'",
                    bad[i].properties)) {
            tap_note("%d: %s", err, slot.error);
        }
    }
    tap_ok(!backend.handlers, "nothing is left of it");
    backend.no_header = true;
    tap_eq(slot_plug(&virtio_net_type, "netdev=n0"), -ENOTSUP, "a back end without headers");
    backend.no_header = false;
    plug("");
    struct virtio_device *first = (struct virtio_device *)slot.device;

    tap_ok(first && backend.header == 12, "a header of twelve bytes");
    slot_unplug();
    tap_ok(!backend.handlers, "unplugging detaches");
    tap_eq(slot_plug(&virtio_net_type, ""), 0, "without a network");
    tap_eq(config(6, 2), 0, "the link is down");
    slot_drive(F_BASE | F(16), 3, 64);
    struct piece piece = {BUFFERS, 100, false};

    slot_offer(TX, 0, &piece, 1);
    slot_notify(TX);
    SLOT_WAIT(slot_back(TX));
    tap_eq(slot_back(TX), 1, "frames go nowhere");
    slot_unplug();
}

static void check_config(void)
{
    uint64_t all = F(0) | F(1) | F(2) | F(3) | F(5) | F(7) | F(8) | F(9) | F(10) | F(11) | F(12) |
                   F(13) | F(14) | F(15) | F(16) | F(17) | F(18) | F(19) | F(20) | F(23);

    plug("mac=52:54:00:aa:bb:cc host_mtu=1400");
    tap_eq(reg(8), 1, "device id");
    tap_eq(slot_features() & 0xfffffff, all, "features");
    tap_ok(config(0, 1) == 0x52 && config(5, 1) == 0xcc && config(3, 1) == 0xaa, "mac");
    tap_eq(config(6, 2), 1, "the link is up");
    tap_eq(config(10, 2), 1400, "mtu");
    tap_ok(!slot_negotiate(F_BASE | F(11)), "large segments without checksums are not agreed to");
    slot_unplug();
    backend.has = 0;
    tap_eq(slot_plug(&virtio_net_type, "netdev=n0 ctrl_vq=off status=off"), 0, "another");
    tap_eq(slot_features() & 0xfffffff, F(5) | F(15), "what a poor back end leaves of them");
    slot_unplug();

    plug("");
    slot_drive(F_BASE | F(16), 3, 64);
    backend.down = true;
    backend.handlers->link(backend.card, false);
    tap_ok(config(6, 2) == 0 && reg(0x60) & 2, "the link goes down, with an interrupt");
    backend.down = false;
    slot_unplug();
}

static void check_transmit(void)
{
    static uint8_t frame[FRAME_MAX], many[12 + 3000];
    struct piece pieces[3];

    plug("");
    slot_drive(F_BASE | F(0) | F(11) | F(17), 3, 64);
    make_frame(frame, 200, others);
    frame[0] = 1;
    frame[1] = 1;
    put_bytes(BUFFERS, frame, 200);
    pieces[0] = (struct piece){BUFFERS, 5, false};
    pieces[1] = (struct piece){BUFFERS + 5, 100, false};
    pieces[2] = (struct piece){BUFFERS + 105, 95, false};
    backend.sent = 0;
    slot_offer(TX, 0, pieces, 3);
    slot_notify(TX);
    SLOT_WAIT(slot_back(TX));
    tap_ok(backend.sent == 1 && backend.size == 200 && !memcmp(backend.frame, frame, 200),
           "a frame in pieces, header and all");
    uint32_t written = 1;

    slot_take(TX, &written);
    tap_eq(written, 0, "nothing is written to its buffers");

    backend.sent = 0;
    make_frame(many, sizeof(many), others);
    put_bytes(BUFFERS + 0x1000, many, sizeof(many));
    pieces[0] = (struct piece){BUFFERS + 0x1000, sizeof(many), false};
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 60; i++) {
            slot_offer(TX, i, pieces, 1);
        }
        slot_notify(TX);
        SLOT_WAIT(slot_back(TX) == 60);
        slot.seen[TX] += 60;
    }
    tap_ok(backend.sent == 600 && backend.size == sizeof(many), "frames one after the other");
    slot_unplug();
    plug("tx_queue_size=1024");
    slot_drive(F_BASE, 2, 1024);
    backend.sent = 0;
    for (unsigned i = 0; i < 600; i++) {
        slot_offer(TX, i, pieces, 1);
    }
    slot_notify(TX);
    SLOT_WAIT(slot_back(TX) == 600);
    tap_eq(backend.sent, 600, "more than a burst at once");
    pieces[0].size = 11;
    slot_offer(TX, 0, pieces, 1);
    slot_notify(TX);
    SLOT_WAIT(slot_is_broken());
    tap_ok(slot_is_broken(), "a frame without its header breaks the device");
    slot_unplug();
}

/* The chains of one frame, in order, put together; how many there were. */
static unsigned collect(uint8_t *to, size_t *size)
{
    unsigned chains = slot_back(RX);

    *size = 0;
    for (unsigned i = 0; i < chains; i++) {
        uint32_t written;
        unsigned head = slot_take(RX, &written);

        get_bytes(BUFFERS + head * 0x1000, to + *size, written);
        *size += written;
    }
    return chains;
}

static void check_receive(void)
{
    static uint8_t frame[FRAME_MAX], got[FRAME_MAX];
    size_t size;

    plug("");
    make_frame(frame, 3000, ours);
    tap_ok(!give(frame, 200, 12), "no driver: the back end keeps frames");
    backend.accepted = 0;
    slot_drive(F_BASE | F(15) | F(29), 3, 64);
    tap_ok(backend.accepted > 0, "until there is one");
    tap_ok(!give(frame, 200, 12), "no buffers: kept, too");
    backend.accepted = 0;
    offer_buffers(0, 2, 1500);
    slot_notify(RX);
    slot_settle();
    tap_eq(backend.accepted, 1, "new buffers are told");
    tap_ok(give(frame, 200, 12), "a frame is taken");
    tap_eq(collect(got, &size), 1, "in one chain");
    tap_ok(size == 200 && got[10] == 1 && got[11] == 0 && !memcmp(got + 12, frame + 12, 188),
           "with num_buffers 1");
    tap_ok(!give(frame, 1600, 700), "one that needs more than there is, is not");
    tap_eq(slot_back(RX), 0, "and takes nothing away");
    offer_buffers(2, 1, 1500);
    tap_ok(give(frame, 3000, 13), "with one more buffer it is");
    tap_eq(collect(got, &size), 2, "in two chains");
    tap_ok(size == 3000 && got[10] == 2 && !memcmp(got + 12, frame + 12, 2988),
           "with num_buffers 2");
    tap_ok(give(frame, 20, 12), "a runt is thrown away");
    slot_settle();
    tap_eq(slot_back(RX), 0, "quietly");

    /* While there are buffers the driver need not notify. */
    offer_buffers(3, 20, 1500);
    slot_notify(RX);
    slot_settle();
    give(frame, 100, 12);
    uint16_t event = ring_avail_event(&slot.rings[RX]);

    offer_buffers(23, 4, 1500);
    give(frame, 100, 12);
    tap_eq(ring_avail_event(&slot.rings[RX]), event, "no notifications while there are buffers");
    slot_unplug();

    /* Without merging a frame has one chain or none. */
    plug("mrg_rxbuf=off");
    slot_drive(F_BASE, 3, 64);
    offer_buffers(0, 2, 1526);
    make_frame(frame, 3000, ours);
    tap_ok(give(frame, 1600, 12), "a frame that no buffer takes is thrown away");
    tap_eq(slot_back(RX), 0, "and takes nothing");
    tap_ok(give(frame, 1526, 12), "the largest that one takes");
    tap_eq(collect(got, &size), 1, "arrives");
    tap_ok(size == 1526 && got[10] == 1, "with num_buffers 1");

    struct piece split[3] = {
        {BUFFERS, 6, true}, {BUFFERS + 6, 9, true}, {BUFFERS + 15, 2000, true}};

    slot_drive(F_BASE, 3, 64);
    slot_offer(RX, 0, split, 3);
    tap_ok(give(frame, 1000, 500), "a buffer in pieces");
    tap_eq(collect(got, &size), 1, "is filled");
    tap_ok(size == 1000 && got[10] == 1 && !got[11] && !memcmp(got + 12, frame + 12, 988),
           "also across them");
    hw_runstate_set(HW_RUNSTATE_PAUSED);
    tap_ok(!give(frame, 100, 12), "a VM that is stopped takes nothing");
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    slot_unplug();
}

static void check_filter(void)
{
    static const struct {
        uint8_t class, command;
        const char *data;
        uint32_t size;
        unsigned want;
        const char *what;
    } bad[] = {
        {0, 0, "\1", 0, 1, "a mode without a value"},
        {0, 0, "\1\1", 2, 1, "a mode with two"},
        {0, 6, "\1", 1, 1, "an unknown mode"},
        {1, 0, "\0\0\0\0", 4, 1, "one table of two"},
        {1, 0, "\2\0\0\0\1\1\1\1\1\1\0\0\0\0", 14, 1, "a table that is too short"},
        {1, 0, "\0\0\0\0\xff\xff\xff\xff", 8, 1, "a count that overflows"},
        {1, 0, "\0\0\0\0\0\0\0\0x", 9, 1, "a byte behind the tables"},
        {1, 1, "\1\2\3\4\5", 5, 1, "an address that is too short"},
        {1, 2, "", 0, 1, "an unknown command"},
        {2, 0, "\5", 1, 1, "half a VLAN"},
        {2, 0, "\0\x10", 2, 1, "VLAN 4096"},
        {2, 2, "\5\0", 2, 1, "an unknown command"},
        {4, 0, "\1\0", 2, 1, "several queues"},
        {5, 0, "\1", 1, 1, "short offloads"},
        {5, 0, "\0\0\0\0\0\1\0\0", 8, 1, "offloads that were not agreed on"},
        {77, 0, "", 0, 1, "an unknown class"},
    };
    struct net_filter f;
    uint8_t mac[6], frame[100];
    uint64_t features = F_BASE | F(1) | F(2) | F(7) | F(15) | F(17) | F(18) | F(19) | F(20) | F(23);

    plug("");
    slot_drive(features, 3, 64);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        tap_eq(control(bad[i].class, bad[i].command, bad[i].data, bad[i].size), bad[i].want,
               bad[i].what);
    }

    /* What commands make of the filter, by itself. */
    put(mac, ours, 6);
#define PASSES(to) (make_frame(frame, 100, to), net_filter_passes(&f, mac, frame + 12, 88))
#define COMMAND(class, command, data) \
    net_filter_command(&f, class, command, (const uint8_t *)(data), sizeof(data) - 1)
    net_filter_reset(&f);
    net_filter_set_vlans(&f, true);
    tap_ok(PASSES(others) && PASSES(group), "at first everything passes");
    tap_ok(COMMAND(0, 0, "\0"), "promiscuous: off");
    tap_ok(PASSES(ours) && PASSES(everybody) && !PASSES(others) && !PASSES(group),
           "ours and all's");
    tap_ok(COMMAND(1, 0, "\1\0\0\0\x52\x54\0\x12\x34\x99\1\0\0\0\x33\x33\0\0\0\1"), "tables");
    tap_ok(PASSES(others) && PASSES(group) && !PASSES("\x33\x33\0\0\0\2"), "what they have");
    tap_ok(COMMAND(0, 3, "\1") && !PASSES(group) && COMMAND(0, 3, "\0"), "no multicast");
    tap_ok(COMMAND(0, 4, "\1") && !PASSES(ours) && COMMAND(0, 4, "\0"), "no unicast");
    tap_ok(COMMAND(0, 5, "\1") && !PASSES(everybody) && COMMAND(0, 5, "\0"), "no broadcast");
    tap_ok(COMMAND(0, 1, "\1") && PASSES("\x33\x33\0\0\0\2"), "all multicast");
    tap_ok(COMMAND(0, 2, "\1") && PASSES("\x02\0\0\0\0\0"), "all unicast");
    make_frame(frame, 100, ours);
    put(frame + 24, "\x81\0\x20\5", 4);
    tap_ok(!net_filter_passes(&f, mac, frame + 12, 88), "a VLAN that is not ours");
    tap_ok(COMMAND(2, 0, "\5\0") && net_filter_passes(&f, mac, frame + 12, 88), "one that is");
    tap_ok(COMMAND(2, 1, "\5\0") && !net_filter_passes(&f, mac, frame + 12, 88), "and was");

    static uint8_t tables[8 + 6 * 200];

    memset(&f, 0, sizeof(f));
    tables[0] = 100;
    tables[4 + 600] = 100;
    tap_ok(net_filter_command(&f, 1, 0, tables, sizeof(tables)) && f.uni_overflow &&
               f.multi_overflow && PASSES(others) && PASSES(group),
           "more addresses than there is room: all pass");

    /* By the device. */
    uint8_t got[200];
    size_t size;

    offer_buffers(0, 20, 1500);
    tap_eq(control(0, 0, "\0", 1), 0, "promiscuous: off");
    make_frame(frame, 100, others);
    tap_ok(give(frame, 100, 12) && !collect(got, &size), "another's frame does not arrive");
    tap_eq(control(1, 1, others, 6), 0, "a new address");
    tap_eq(config(5, 1), 0x99, "shows");
    tap_ok(give(frame, 100, 12) && collect(got, &size), "and frames to it arrive");
    tap_eq(backend.set, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4, "offloads that were agreed on");
    tap_eq(control(5, 0, "\2\0\0\0\0\0\0\0", 8), 0, "are changed");
    tap_eq(backend.set, NET_OFFLOAD_CSUM, "by the driver");

    struct state_buffer buffer = {0};

    hw_runstate_set(HW_RUNSTATE_PAUSED);
    tap_eq(state_save(virtio_net_type.state, slot.device, &buffer, slot.error, sizeof(slot.error)),
           0, "saved");
    slot_unplug();
    plug("");
    tap_eq(state_load(virtio_net_type.state, slot.device, buffer.data, buffer.size, NULL,
                      slot.error, sizeof(slot.error)),
           0, "loaded");
    state_buffer_free(&buffer);
    tap_ok(config(5, 1) == 0x99 && backend.set == NET_OFFLOAD_CSUM, "with address and offloads");
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    slot_settle();
    make_frame(frame, 100, ours);
    tap_ok(give(frame, 100, 12) && !collect(got, &size), "and filters");
    slot_negotiate(F_BASE);
    tap_ok(config(5, 1) == 0x56 && backend.set == 0, "a reset undoes it");

    slot_drive(features, 3, 64);
    struct piece piece = {BUFFERS, 2, false};

    slot_offer(CONTROL, 0, &piece, 1);
    slot_notify(CONTROL);
    SLOT_WAIT(slot_is_broken());
    tap_ok(slot_is_broken(), "a command without an acknowledgment breaks the device");
    slot_drive(F_BASE | F(17), 3, 64);
    tap_eq(control(0, 0, "\0", 1), 1, "a class that was not agreed on");
    slot_unplug();
}

int main(void)
{
    slot_begin();
    check_properties();
    check_config();
    check_transmit();
    check_receive();
    check_filter();
    slot_end();
    return tap_done();
}
