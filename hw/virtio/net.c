/*
 * The network device, clause 5.1: a card over a network back end, with one pair of queues and a
 * control queue.
 *
 * Frames go with their virtio-net header: the back end (or the software in front of it, see
 * io/net/net.h) does what it describes, so large segments are passed on whole in both directions.
 * The header has twelve bytes always, for all drivers are of virtio 1.
 *
 * Transmission takes chains in bursts, without notifications meanwhile. Reception fills as many
 * chains as a frame needs, and puts them back when there are too few; then it asks for a
 * notification, and the back end keeps its frames until that comes. While there are buffers enough
 * the driver does not notify.
 *
 * All on the main loop, under the machine lock.
 */
#include "hw/virtio/net.h"
#include "hw/virtio/net-filter.h"
#include "hw/virtio/virtio.h"
#include "io/net/net.h"
#include "util/bits.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define F_CSUM                0
#define F_GUEST_CSUM          1
#define F_CTRL_GUEST_OFFLOADS 2
#define F_MTU                 3
#define F_MAC                 5
#define F_GUEST_TSO4          7
#define F_GUEST_TSO6          8
#define F_GUEST_ECN           9
#define F_GUEST_UFO           10
#define F_HOST_TSO4           11
#define F_HOST_TSO6           12
#define F_HOST_ECN            13
#define F_HOST_UFO            14
#define F_MRG_RXBUF           15
#define F_STATUS              16
#define F_CTRL_VQ             17
#define F_CTRL_RX             18
#define F_CTRL_VLAN           19
#define F_CTRL_RX_EXTRA       20
#define F_CTRL_MAC_ADDR       23

#define GUEST_OFFLOADS                                                                         \
    (UINT64_C(1) << F_GUEST_CSUM | UINT64_C(1) << F_GUEST_TSO4 | UINT64_C(1) << F_GUEST_TSO6 | \
     UINT64_C(1) << F_GUEST_ECN | UINT64_C(1) << F_GUEST_UFO)

enum { QUEUE_RX, QUEUE_TX, QUEUE_CONTROL, QUEUES };

enum {
    HEADER = 12,
    NUM_BUFFERS = 10, /* offset in the header */
    CHAINS_MAX = 256, /* of one received frame */
    TX_BURST = 256,
    COMMAND_MAX = 16384, /* bytes of a control command: tables of a driver with many addresses */
    LINK_UP = 1,
};

enum { CLASS_RX, CLASS_MAC, CLASS_VLAN, CLASS_OFFLOADS = 5 };
enum { MAC_ADDR_SET = 1, OFFLOADS_SET = 0 };
enum { ACK_OK, ACK_ERROR };

struct net_config { /* clause 5.1.4; little-endian */
    uint8_t mac[6];
    uint16_t status, pairs, mtu;
};
_Static_assert(sizeof(struct net_config) == 12, "no padding");

struct virtio_net {
    struct virtio_device virtio; /* first */
    /* properties */
    char *netdev;
    uint8_t own_mac[6];
    uint16_t rx_queue_size, tx_queue_size, mtu;
    int32_t bootindex;
    bool multi_queue;
    bool offer[24]; /* features by their numbers */
    /* state */
    struct net_backend *net; /* NULL: no network is connected */
    struct loop_bh *more_bh;
    bool running;
    bool rx_waits; /* for a notification of new buffers */
    uint8_t mac[6];
    uint64_t guest_offloads; /* of GUEST_OFFLOADS, in use */
    struct net_filter filter;
    struct virtio_chain *chains[CHAINS_MAX]; /* of the frame that is being received */
};

/* ---- transmission ---------------------------------------------------------------------------- */

static void transmit(struct virtio_net *n, struct virtio_queue *queue)
{
    struct virtio_chain *chain;
    unsigned taken = 0;

    do {
        virtio_want_notify(queue, false);
        while (taken < TX_BURST && (chain = virtio_pop(queue))) {
            taken++;
            if (chain->out_size < HEADER) {
                virtio_chain_free(chain);
                virtio_broken(&n->virtio, "a frame without its header");
                return;
            }
            if (n->net) {
                net_send(n->net, chain->out, chain->out_count);
            }
            virtio_push(chain, 0);
        }
        virtio_flush(queue);
    } while (taken < TX_BURST && virtio_want_notify(queue, true));
    if (taken == TX_BURST) {
        loop_bh_schedule(n->more_bh); /* others get their turn */
    }
}

static void transmit_more(void *opaque)
{
    struct virtio_net *n = opaque;
    struct virtio_queue *queue = virtio_queue_at(&n->virtio, QUEUE_TX);

    if (virtio_queue_is_ready(queue)) {
        transmit(n, queue);
    }
}

/* ---- reception ------------------------------------------------------------------------------- */

/* Takes one more chain; without any, has the driver notify. */
static struct virtio_chain *pop_buffer(struct virtio_net *n, struct virtio_queue *queue)
{
    struct virtio_chain *chain = virtio_pop(queue);

    if (!chain && !n->rx_waits) {
        n->rx_waits = true;
        if (virtio_want_notify(queue, true)) {
            chain = virtio_pop(queue);
        }
    }
    if (chain && n->rx_waits) {
        n->rx_waits = false;
        virtio_want_notify(queue, false);
    }
    return chain;
}

/* Chains for `size` bytes: how many, 0 when there are not enough, or -1 for a frame that no buffer
 * of this driver takes. */
static int take_chains(struct virtio_net *n, struct virtio_queue *queue, size_t size)
{
    bool merge = virtio_has(&n->virtio, F_MRG_RXBUF);
    uint64_t room = 0;
    int count = 0;

    while (room < size) {
        struct virtio_chain *chain =
            count < CHAINS_MAX && (merge || !count) ? pop_buffer(n, queue) : NULL;

        if (!chain) {
            bool never = count == CHAINS_MAX || (!merge && count);

            while (count) {
                virtio_unpop(n->chains[--count]);
            }
            return never ? -1 : 0;
        }
        n->chains[count++] = chain;
        room += chain->in_size;
    }
    return count;
}

/* Copies the frame into its chains and gives them back. */
static void fill(struct virtio_net *n, int count, const struct iovec *iov, unsigned pieces,
                 size_t size)
{
    uint16_t buffers = htole16((uint16_t)count);
    size_t done = 0, at = 0; /* of the frame; of the piece */

    for (int i = 0; i < count; i++) {
        struct virtio_chain *chain = n->chains[i];
        size_t filled = 0, want = size - done < chain->in_size ? size - done : chain->in_size;

        while (filled < want) {
            size_t now = iov->iov_len - at < want - filled ? iov->iov_len - at : want - filled;

            filled += virtio_iov_write(chain->in, chain->in_count, filled,
                                       (const uint8_t *)iov->iov_base + at, now);
            at += now;
            if (at == iov->iov_len) {
                iov++;
                at = 0;
            }
        }
        if (!i) {
            virtio_iov_write(chain->in, chain->in_count, NUM_BUFFERS, &buffers, sizeof(buffers));
        }
        done += filled;
        virtio_push(chain, (uint32_t)filled);
    }
}

static bool receive(void *opaque, const struct iovec *iov, unsigned count)
{
    struct virtio_net *n = opaque;
    uint8_t start[HEADER + 18];
    size_t size = 0;

    if (!n->running) {
        return false;
    }
    struct virtio_queue *queue = virtio_queue_at(&n->virtio, QUEUE_RX);

    if (!virtio_queue_is_ready(queue)) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        size += iov[i].iov_len;
    }
    size_t known = virtio_iov_read(iov, count, 0, start, sizeof(start));

    if (known < HEADER + 14 ||
        !net_filter_passes(&n->filter, n->mac, start + HEADER, known - HEADER)) {
        return true;
    }
    int chains = take_chains(n, queue, size);

    if (chains > 0) {
        fill(n, chains, iov, count, size);
        virtio_flush(queue);
    }
    return chains != 0;
}

static void link_changed(void *opaque, bool up)
{
    virtio_config_changed(&((struct virtio_net *)opaque)->virtio);
}

static const struct net_handlers handlers = {.receive = receive, .link = link_changed};

/* ---- control --------------------------------------------------------------------------------- */

/* What the driver takes, as the back end has it. */
static void apply_offloads(struct virtio_net *n)
{
    uint64_t has = n->guest_offloads;

    if (n->net) {
        net_set_offloads(n->net, (has >> F_GUEST_CSUM & 1 ? NET_OFFLOAD_CSUM : 0U) |
                                     (has >> F_GUEST_TSO4 & 1 ? NET_OFFLOAD_TSO4 : 0U) |
                                     (has >> F_GUEST_TSO6 & 1 ? NET_OFFLOAD_TSO6 : 0U) |
                                     (has >> F_GUEST_UFO & 1 ? NET_OFFLOAD_UFO : 0U) |
                                     (has >> F_GUEST_ECN & 1 ? NET_OFFLOAD_ECN : 0U));
    }
}

static bool set_offloads(struct virtio_net *n, const uint8_t *data, size_t size)
{
    uint64_t wanted;

    if (size != sizeof(wanted)) {
        return false;
    }
    memcpy(&wanted, data, sizeof(wanted));
    wanted = le64toh(wanted);
    if (wanted & ~(n->virtio.accepted & GUEST_OFFLOADS)) {
        return false;
    }
    n->guest_offloads = wanted;
    apply_offloads(n);
    return true;
}

static bool command(struct virtio_net *n, uint8_t class, uint8_t command, const uint8_t *data,
                    size_t size)
{
    const struct virtio_device *v = &n->virtio;

    switch (class) {
    case CLASS_RX:
        return virtio_has(v, command < 2 ? F_CTRL_RX : F_CTRL_RX_EXTRA) &&
               net_filter_command(&n->filter, class, command, data, size);
    case CLASS_MAC:
        if (command == MAC_ADDR_SET) {
            if (!virtio_has(v, F_CTRL_MAC_ADDR) || size != 6) {
                return false;
            }
            memcpy(n->mac, data, 6);
            return true;
        }
        return virtio_has(v, F_CTRL_RX) &&
               net_filter_command(&n->filter, class, command, data, size);
    case CLASS_VLAN:
        return virtio_has(v, F_CTRL_VLAN) &&
               net_filter_command(&n->filter, class, command, data, size);
    case CLASS_OFFLOADS:
        return command == OFFLOADS_SET && virtio_has(v, F_CTRL_GUEST_OFFLOADS) &&
               set_offloads(n, data, size);
    default:
        return false;
    }
}

static void control(struct virtio_net *n, struct virtio_queue *queue)
{
    static uint8_t bytes[COMMAND_MAX]; /* the main loop's */
    struct virtio_chain *chain;

    for (unsigned taken = 0; taken < VIRTIO_QUEUE_MAX_SIZE && (chain = virtio_pop(queue));
         taken++) {
        if (chain->out_size < 2 || !chain->in_size) {
            virtio_chain_free(chain);
            virtio_broken(&n->virtio, "a control command without its ends");
            return;
        }
        size_t size = virtio_iov_read(chain->out, chain->out_count, 0, bytes, sizeof(bytes));
        bool ok =
            chain->out_size <= sizeof(bytes) && command(n, bytes[0], bytes[1], bytes + 2, size - 2);
        uint8_t ack = ok ? ACK_OK : ACK_ERROR;

        virtio_iov_write(chain->in, chain->in_count, 0, &ack, 1);
        virtio_push(chain, 1);
    }
    virtio_flush(queue);
}

static void handle(struct virtio_device *device, struct virtio_queue *queue)
{
    struct virtio_net *n = (struct virtio_net *)device;

    switch (virtio_queue_index(queue)) {
    case QUEUE_RX:
        if (n->net) {
            net_accept(n->net);
        }
        break;
    case QUEUE_TX:
        transmit(n, queue);
        break;
    default:
        control(n, queue);
        break;
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static void start(struct virtio_device *device)
{
    struct virtio_net *n = (struct virtio_net *)device;

    n->running = true;
    n->rx_waits = true;
    virtio_want_notify(virtio_queue_at(device, QUEUE_RX), true);
    if (n->net) {
        net_accept(n->net);
    }
}

/* Chains are never kept, so none is under way. */
static void stop(struct virtio_device *device)
{
    ((struct virtio_net *)device)->running = false;
}

static void reset(struct virtio_device *device)
{
    struct virtio_net *n = (struct virtio_net *)device;

    memcpy(n->mac, n->own_mac, 6);
    net_filter_reset(&n->filter);
    n->guest_offloads = 0;
    apply_offloads(n);
}

/* Offloads that depend on another, clause 5.1.3.1. */
static const struct {
    uint8_t feature, needs;
} needs[] = {
    {F_GUEST_TSO4, F_GUEST_CSUM},
    {F_GUEST_TSO6, F_GUEST_CSUM},
    {F_GUEST_UFO, F_GUEST_CSUM},
    {F_HOST_TSO4, F_CSUM},
    {F_HOST_TSO6, F_CSUM},
    {F_HOST_UFO, F_CSUM},
    {F_CTRL_RX, F_CTRL_VQ},
    {F_CTRL_VLAN, F_CTRL_VQ},
    {F_CTRL_MAC_ADDR, F_CTRL_VQ},
    {F_CTRL_RX_EXTRA, F_CTRL_VQ},
    {F_CTRL_GUEST_OFFLOADS, F_CTRL_VQ},
};

static uint64_t features(struct virtio_device *device)
{
    static const struct {
        uint32_t offload;
        uint8_t features[2];
    } rows[] = {
        {NET_OFFLOAD_CSUM, {F_CSUM, F_GUEST_CSUM}},
        {NET_OFFLOAD_TSO4, {F_HOST_TSO4, F_GUEST_TSO4}},
        {NET_OFFLOAD_TSO6, {F_HOST_TSO6, F_GUEST_TSO6}},
        {NET_OFFLOAD_ECN, {F_HOST_ECN, F_GUEST_ECN}},
        {NET_OFFLOAD_UFO, {F_HOST_UFO, F_GUEST_UFO}},
    };
    const struct virtio_net *n = (const struct virtio_net *)device;
    uint32_t has = n->net ? net_offloads(n->net) : 0;
    uint64_t bits = 1U << F_MAC | (n->mtu ? 1U << F_MTU : 0U);

    for (unsigned i = 0; i < BITS_ARRAY_SIZE(n->offer); i++) {
        bits |= (uint64_t)n->offer[i] << i;
    }
    for (unsigned i = 0; i < BITS_ARRAY_SIZE(rows); i++) {
        if (!(has & rows[i].offload)) {
            bits &= ~(UINT64_C(1) << rows[i].features[0] | UINT64_C(1) << rows[i].features[1]);
        }
    }
    for (unsigned i = 0; i < BITS_ARRAY_SIZE(needs); i++) {
        if (!(bits >> needs[i].needs & 1)) {
            bits &= ~(UINT64_C(1) << needs[i].feature);
        }
    }
    return bits;
}

static bool set_features(struct virtio_device *device, uint64_t accepted)
{
    struct virtio_net *n = (struct virtio_net *)device;

    for (unsigned i = 0; i < BITS_ARRAY_SIZE(needs); i++) {
        if (accepted >> needs[i].feature & 1 && !(accepted >> needs[i].needs & 1)) {
            return false;
        }
    }
    net_filter_set_vlans(&n->filter, accepted >> F_CTRL_VLAN & 1);
    n->guest_offloads = accepted & GUEST_OFFLOADS;
    apply_offloads(n);
    return true;
}

static void config_read(struct virtio_device *device, uint32_t offset, void *bytes, uint32_t size)
{
    const struct virtio_net *n = (const struct virtio_net *)device;
    bool up = n->net && net_link_is_up(n->net);
    struct net_config config = {
        .status = htole16(up ? LINK_UP : 0), .pairs = htole16(1), .mtu = htole16(n->mtu)};

    memcpy(config.mac, n->mac, 6);
    memcpy(bytes, (const uint8_t *)&config + offset, size);
}

static const struct virtio_device_ops ops = {
    .device_id = 1,
    .pci_class = 0x0200,
    .config_size = sizeof(struct net_config),
    .features = features,
    .set_features = set_features,
    .config_read = config_read,
    .start = start,
    .stop = stop,
    .reset = reset,
};

/* ---- the type -------------------------------------------------------------------------------- */

static int wrong(const struct hw_device *device, char *error, size_t error_size, int err,
                 const char *what, const char *value)
{
    char name[128];

    hw_device_name(device, name, sizeof(name));
    snprintf(error, error_size, "%s: %s%s", name, what, value);
    return err;
}

static int connect_network(struct virtio_net *n, char *error, size_t error_size)
{
    struct hw_device *device = &n->virtio.device;

    if (!n->netdev) {
        return 0;
    }
    n->net = net_find(n->netdev);
    if (!n->net) {
        return wrong(device, error, error_size, -ENODEV,
                     "there is no network back end with id=", n->netdev);
    }
    int err = net_attach(n->net, &handlers, n);

    if (err) {
        wrong(device, error, error_size, err, "another card uses the network back end ", n->netdev);
    } else {
        err = net_set_header(n->net, HEADER);
        if (err) {
            net_attach(n->net, NULL, n);
            wrong(device, error, error_size, err, "no virtio-net header on ", n->netdev);
        }
    }
    if (err) {
        n->net = NULL;
    }
    return err;
}

static void disconnect(struct virtio_net *n)
{
    if (n->net) {
        net_attach(n->net, NULL, n);
        n->net = NULL;
    }
    if (n->more_bh) {
        loop_bh_destroy(n->more_bh);
        n->more_bh = NULL;
    }
}

static int net_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct virtio_net *n = (struct virtio_net *)device;
    static const uint8_t none[6];

    if (n->multi_queue) {
        return wrong(device, error, error_size, -EINVAL, "mq=on is not supported", "");
    }
    if (!bits_is_pow2(n->rx_queue_size) || !bits_is_pow2(n->tx_queue_size)) {
        return wrong(device, error, error_size, -EINVAL,
                     "rx_queue_size, tx_queue_size: expected powers of two", "");
    }
    if (n->own_mac[0] & 1) {
        return wrong(device, error, error_size, -EINVAL, "mac: expected a unicast address", "");
    }
    if (!memcmp(n->own_mac, none, 6)) {
        net_new_mac(n->own_mac);
    }
    uint16_t size = n->rx_queue_size > n->tx_queue_size ? n->rx_queue_size : n->tx_queue_size;
    int err = connect_network(n, error, error_size);

    if (!err) {
        err = virtio_init(&n->virtio, &ops, QUEUES, size, handle, NULL, error, error_size);
    }
    if (!err) {
        n->more_bh = loop_bh_create(virtio_loop(&n->virtio), transmit_more, n);
        if (!n->more_bh) {
            virtio_exit(&n->virtio);
            err = wrong(device, error, error_size, -ENOMEM, "out of memory", "");
        }
    }
    if (err) {
        disconnect(n);
        return err;
    }
    reset(&n->virtio);
    return 0;
}

static void net_unrealize(struct hw_device *device)
{
    struct virtio_net *n = (struct virtio_net *)device;

    virtio_exit(&n->virtio);
    disconnect(n);
}

/* virtio_state's loading has set offloads by the features; the driver may have changed them. */
static int post_load(void *object, uint32_t version)
{
    struct virtio_net *n = object;

    if (n->guest_offloads & ~(n->virtio.accepted & GUEST_OFFLOADS)) {
        return -EINVAL;
    }
    apply_offloads(n);
    return 0;
}

static const struct state_field fields[] = {
    STATE(STRUCT, "virtio", struct virtio_net, virtio, .table = &virtio_state),
    STATE_ARRAY(U8, "mac", struct virtio_net, mac),
    STATE(U64, "guest_offloads", struct virtio_net, guest_offloads),
    STATE(STRUCT, "filter", struct virtio_net, filter, .table = &net_filter_state),
    STATE_END,
};

static const struct state_table state = {
    .name = "virtio-net", .version = 1, .min_version = 1, .fields = fields, .post_load = post_load};

#define OFFER(name_, feature_, help_) \
    PROPERTY(BOOL, name_, struct virtio_net, offer[F_##feature_], .number = 1, .help = help_)

static const struct property properties[] = {
    PROPERTY(STRING, "netdev", struct virtio_net, netdev, .help = "id of the network back end"),
    PROPERTY(MAC, "mac", struct virtio_net, own_mac,
             .help = "hardware address; without, one is made up"),
    PROPERTY(I32, "bootindex", struct virtio_net, bootindex, .number = -1, .low = -1,
             .high = INT32_MAX, .help = "place in the order of booting"),
    PROPERTY(U16, "rx_queue_size", struct virtio_net, rx_queue_size, .number = 256, .min = 64,
             .max = VIRTIO_QUEUE_MAX_SIZE, .help = "descriptors of a queue, a power of two"),
    PROPERTY(U16, "tx_queue_size", struct virtio_net, tx_queue_size, .number = 256, .min = 64,
             .max = VIRTIO_QUEUE_MAX_SIZE, .help = "descriptors of a queue, a power of two"),
    PROPERTY(U16, "host_mtu", struct virtio_net, mtu,
             .help = "MTU that the driver is told, 0: none"),
    PROPERTY(BOOL, "mq", struct virtio_net, multi_queue, .help = "not supported"),
    OFFER("csum", CSUM, "takes frames without checksums"),
    OFFER("guest_csum", GUEST_CSUM, "gives frames without checksums"),
    OFFER("guest_tso4", GUEST_TSO4, "gives large segments of TCP over IPv4"),
    OFFER("guest_tso6", GUEST_TSO6, "gives large segments of TCP over IPv6"),
    OFFER("guest_ecn", GUEST_ECN, "gives large segments with ECN"),
    OFFER("guest_ufo", GUEST_UFO, "gives large datagrams"),
    OFFER("host_tso4", HOST_TSO4, "takes large segments of TCP over IPv4"),
    OFFER("host_tso6", HOST_TSO6, "takes large segments of TCP over IPv6"),
    OFFER("host_ecn", HOST_ECN, "takes large segments with ECN"),
    OFFER("host_ufo", HOST_UFO, "takes large datagrams"),
    OFFER("mrg_rxbuf", MRG_RXBUF, "spreads frames over several buffers"),
    OFFER("status", STATUS, "tells whether the link is up"),
    OFFER("ctrl_vq", CTRL_VQ, "has a control queue"),
    OFFER("ctrl_rx", CTRL_RX, "filters frames"),
    OFFER("ctrl_vlan", CTRL_VLAN, "filters VLANs"),
    OFFER("ctrl_rx_extra", CTRL_RX_EXTRA, "filters kinds of addresses"),
    OFFER("ctrl_mac_addr", CTRL_MAC_ADDR, "the driver may set the address"),
    OFFER("ctrl_guest_offloads", CTRL_GUEST_OFFLOADS, "the driver may change offloads"),
    PROPERTY_END,
};

const struct hw_device_type virtio_net_type = {
    .name = "virtio-net-device",
    .bus = "virtio-bus",
    .help = "virtio network card",
    .size = sizeof(struct virtio_net),
    .properties = properties,
    .state = &state,
    .hotplug = true,
    .realize = net_realize,
    .unrealize = net_unrealize,
};
