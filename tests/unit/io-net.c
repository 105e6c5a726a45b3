/* io/net: options, offloads in software, sockets between two back ends, hubs, queues, taps. */
#include "io/loop/loop.h"
#include "io/net/net.h"
#include "io/net/offload.h"

#include "tests/unit/tap.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct loop *loop;
static char error[512];

/* A card that keeps what it gets. */
struct card {
    bool full;
    unsigned frames;
    size_t size, total;
    uint8_t frame[70000]; /* the latest */
    char links[16];
};

static bool receive(void *opaque, const struct iovec *iov, unsigned count)
{
    struct card *card = opaque;

    if (card->full) {
        return false;
    }
    card->size = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(card->frame + card->size, iov[i].iov_base, iov[i].iov_len);
        card->size += iov[i].iov_len;
    }
    card->total += card->size;
    card->frames++;
    return true;
}

static void link_changed(void *opaque, bool up)
{
    strcat(((struct card *)opaque)->links, up ? "u" : "d");
}

static const struct net_handlers handlers = {.receive = receive, .link = link_changed};

static void drain(void)
{
    while (loop_iterate(loop, false)) {
    }
}

/* Runs the loop until something is true, for ten seconds at most. */
#define WAIT(condition)                                                 \
    for (int rounds_ = 0; rounds_ < 10000 && !(condition); rounds_++) { \
        if (!loop_iterate(loop, false)) {                               \
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);    \
        }                                                               \
    }

static struct net_backend *make(const char *options)
{
    struct net_backend *net = NULL;
    int err = net_create(&net, loop, options, error, sizeof(error));

    if (!tap_ok(!err && net, "%s", options)) {
        tap_note("%d: %s", err, error);
        exit(tap_done());
    }
    return net;
}

static void refused(const char *options, int want, const char *message)
{
    struct net_backend *net;
    int err = net_create(&net, loop, options, error, sizeof(error));

    if (!tap_ok(err == want && !net && strstr(error, message), "refused: %s", options)) {
        tap_note("%d: %s", err, error);
    }
}

static void send_bytes(struct net_backend *net, const void *bytes, size_t size)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, size};

    net_send(net, &iov, 1);
}

static void fill(uint8_t *frame, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        frame[i] = (uint8_t)(i * 7 + i / 251);
    }
}

/* ---- options --------------------------------------------------------------------------------- */

static void check_options(void)
{
    refused("frob,id=a", -EINVAL, "netdev 'frob': expected user");
    refused("hubport", -EINVAL, "id=");
    refused("hubport,id=1", -EINVAL, "id=1: expected a letter");
    refused("hubport,id=a,frob=1", -ENOENT, "frob");
    refused("hubport,id=a,netdev=none", -ENODEV, "there is no such back end");
    refused("socket,id=a", -EINVAL, "expected one of listen=");
    refused("socket,id=a,listen=:1,connect=x:1", -EINVAL, "expected one of listen=");
    refused("socket,id=a,listen=1", -EINVAL, "listen=1: expected HOST:PORT");
    refused("socket,id=a,udp=127.0.0.1:1", -EINVAL, "localaddr= is missing");
    refused("socket,id=a,mcast=127.0.0.1:1", -EINVAL, "multicast address");
    refused("socket,id=a,fd=999", -EINVAL, "fd=999: expected the number of an open socket");
    refused("socket,id=a,connect=127.0.0.1:1", -ECONNREFUSED, "Connection refused");
    refused("stream,id=a", -EINVAL, "addr.type=none: expected inet");
    refused("stream,id=a,addr.type=frob", -EINVAL, "addr.type=frob: expected");
    refused("stream,id=a,server,reconnect=1", -EINVAL, "reconnect");
    refused("dgram,id=a,local.type=inet", -EINVAL, "remote.type=none");
    refused("tap,id=a,vhost=on", -EINVAL, "vhost=on is not supported");
    refused("tap,id=a,queues=2", -ERANGE, "queues=2");
    refused("tap,id=a,fd=0", -EINVAL, "fd=0: expected the number of an open tap");

    struct net_backend *net = make("hubport,id=a,hubid=3");

    tap_ok(net_find("a") == net && net_at(0) == net && !net_at(1) && !strcmp(net_id(net), "a") &&
               !strcmp(net_kind(net), "hubport"),
           "it is in the list");
    refused("hubport,id=a", -EEXIST, "there is one with this id already");
    tap_ok(net_hostfwd(net, "tcp::1-:1", true, error, sizeof(error)) == -EINVAL &&
               strstr(error, "of kind user"),
           "it forwards no ports");
    tap_eq(net_set_header(net, 11), -EINVAL, "a header of 11 bytes");
    net_destroy_all();
    tap_ok(!net_at(0), "and none is left");
}

/* ---- offloads -------------------------------------------------------------------------------- */

struct made {
    unsigned count;
    size_t sizes[64];
    uint8_t frames[64][2048];
};

static void keep(void *opaque, const struct iovec *iov, unsigned count)
{
    struct made *made = opaque;
    uint8_t *to = made->frames[made->count];
    size_t size = 0;

    for (unsigned i = 0; i < count && size + iov[i].iov_len <= 2048; i++) {
        memcpy(to + size, iov[i].iov_base, iov[i].iov_len);
        size += iov[i].iov_len;
    }
    made->sizes[made->count++] = size;
}

/* By the book: RFC 1071 with 16-bit words. */
static unsigned plain_sum(unsigned long sum, const uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i += 2) {
        sum += (unsigned)p[i] << 8 | (i + 1 < size ? p[i + 1] : 0);
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (unsigned)sum;
}

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* Bytes that are no text, though they may be written as such. */
static void put(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
}

/* IPv4 or IPv6 with TCP or UDP; `vlan` puts a tag in front. Returns the size. */
static size_t build(uint8_t *f, bool ipv6, bool vlan, uint8_t protocol, size_t data)
{
    size_t l3 = vlan ? 18 : 14, l4 = l3 + (ipv6 ? 40 : 20), header = protocol == 6 ? 32 : 8;

    memset(f, 0, l4 + header);
    put(f, "\x52\x54\0\x12\x34\x56\x52\x54\0\x12\x34\x57", 12);
    if (vlan) {
        put(f + 12, "\x81\0\0\5", 4);
    }
    put(f + l3 - 2, ipv6 ? "\x86\xdd" : "\x08\0", 2);
    if (ipv6) {
        f[l3] = 0x60;
        f[l3 + 4] = (uint8_t)((header + data) >> 8);
        f[l3 + 5] = (uint8_t)(header + data);
        f[l3 + 6] = protocol;
        f[l3 + 7] = 64;
        fill(f + l3 + 8, 32);
    } else {
        f[l3] = 0x45;
        f[l3 + 2] = (uint8_t)((20 + header + data) >> 8);
        f[l3 + 3] = (uint8_t)(20 + header + data);
        f[l3 + 5] = 0xfe; /* so that the id carries */
        f[l3 + 8] = 64;
        f[l3 + 9] = protocol;
        fill(f + l3 + 12, 8);
    }
    f[l4 + 1] = 80;
    if (protocol == 6) {
        put(f + l4 + 4, "\xff\xff\xff\xf0", 4);
        f[l4 + 12] = 8 << 4;
        f[l4 + 13] = 0x99; /* CWR, ACK, PSH, FIN */
    } else {
        f[l4 + 4] = (uint8_t)((8 + data) >> 8);
        f[l4 + 5] = (uint8_t)(8 + data);
    }
    fill(f + l4 + header, data);
    return l4 + header + data;
}

static bool tcp_sum_is_right(const uint8_t *f, size_t size, size_t l3, bool ipv6)
{
    size_t l4 = l3 + (ipv6 ? 40 : 20);
    unsigned sum = plain_sum(0, ipv6 ? f + l3 + 8 : f + l3 + 12, ipv6 ? 32 : 8);

    sum = plain_sum(sum + 6 + (size - l4), f + l4, size - l4);
    return sum == 0xffff && (ipv6 || plain_sum(0, f + l3, 20) == 0xffff);
}

static void check_tso(bool ipv6, bool vlan)
{
    static uint8_t frame[70000], data[70000];
    static struct made made;
    size_t l3 = vlan ? 18 : 14, l4 = l3 + (ipv6 ? 40 : 20), got = 0;
    size_t size = build(frame, ipv6, vlan, 6, 5000);
    struct net_header header = {.flags = 1, .gso_type = ipv6 ? 4 : 1};
    bool sums = true, flags = true, seqs = true;

    header.gso_size = htole16(1448);
    header.csum_start = htole16((uint16_t)l4);
    header.csum_offset = htole16(16);
    made.count = 0;
    tap_ok(!net_offload_send(frame, size, &header, keep, &made) && made.count == 4,
           "TSO, %s%s: 5000 bytes become four segments", ipv6 ? "IPv6" : "IPv4",
           vlan ? " with a tag" : "");
    for (unsigned i = 0; i < made.count; i++) {
        const uint8_t *f = made.frames[i];
        size_t part = made.sizes[i] - l4 - 32;
        unsigned length = get16(f + l3 + (ipv6 ? 4 : 2));
        uint32_t seq;

        memcpy(&seq, f + l4 + 4, 4);
        sums &= tcp_sum_is_right(f, made.sizes[i], l3, ipv6) &&
                length == part + 32 + (ipv6 ? 0 : 20) && (ipv6 || get16(f + l3 + 4) == 0xfe + i);
        flags &= f[l4 + 13] == (i == 3 ? 0x19 : i ? 0x10 : 0x90);
        seqs &= ntohl(seq) == 0xfffffff0 + (uint32_t)got;
        memcpy(data + got, f + l4 + 32, part);
        got += part;
    }
    tap_ok(sums, "lengths, ids and checksums");
    tap_ok(flags, "CWR in the first, FIN and PSH in the last");
    tap_ok(seqs && got == 5000 && !memcmp(data, frame + l4 + 32, got), "and all the data in turn");
}

static void check_offloads(void)
{
    static uint8_t frame[70000], copy[70000];
    static struct made made;
    struct net_header header = {.flags = 1};
    size_t size;
    unsigned wrong = 0;

    fill(frame, 4096);
    for (size_t n = 0; n < 300; n++) {
        unsigned sum = (~plain_sum(0, frame + n, n)) & 0xffff;

        wrong += ntohs(net_checksum_end(net_checksum_add(0, frame + n, n))) != sum;
    }
    tap_eq(wrong, 0, "checksums of every length, at odd addresses");
    memset(frame, 0xff, sizeof(frame));
    tap_eq(net_checksum_end(net_checksum_add(0xffffffff, frame, 65535)),
           htons((uint16_t)~plain_sum(0xffffffff, frame, 65535)), "and of the largest");

    for (int i = 0; i < 4; i++) {
        check_tso(i & 1, i & 2);
    }

    /* A checksum that is left open. */
    size = build(frame, false, false, 6, 100);
    unsigned pseudo = plain_sum(6 + 132, frame + 14 + 12, 8);

    frame[34 + 16] = (uint8_t)(pseudo >> 8);
    frame[34 + 17] = (uint8_t)pseudo;
    frame[24] = frame[25] = 0;
    unsigned ip = ~plain_sum(0, frame + 14, 20);

    frame[24] = (uint8_t)(ip >> 8);
    frame[25] = (uint8_t)ip;
    header.csum_start = htole16(34);
    header.csum_offset = htole16(16);
    made.count = 0;
    tap_ok(!net_offload_send(frame, size, &header, keep, &made) && made.count == 1 &&
               tcp_sum_is_right(made.frames[0], size, 14, false),
           "a checksum is completed");

    /* Fragments of a datagram. */
    size = build(frame, false, false, 17, 4000);
    memcpy(copy, frame, size);
    header = (struct net_header){0};
    made.count = 0;
    tap_ok(!net_offload_fit(frame, size, 1500, 1460, keep, &made) && made.count == 3,
           "a datagram becomes three fragments");
    size_t got = 0;
    bool right = true;

    for (unsigned i = 0; i < made.count; i++) {
        const uint8_t *f = made.frames[i];
        unsigned at = get16(f + 20);

        right &= (at & 0x1fff) * 8 == got && (at >> 13) == (i < 2) && made.sizes[i] <= 1514 &&
                 get16(f + 16) == made.sizes[i] - 14 && plain_sum(0, f + 14, 20) == 0xffff &&
                 !memcmp(f + 34, copy + 34 + got, made.sizes[i] - 34);
        got += made.sizes[i] - 34;
    }
    tap_ok(right && got == 4008, "with offsets and all the data");
    tap_eq(net_offload_fit(frame, size, 24, 1460, keep, &made), -EINVAL, "no room for anything");

    /* What a guest may get wrong. */
    static const struct {
        struct net_header header;
        const char *what;
    } bad[] = {
        {{.flags = 1, .csum_start = 65535}, "a checksum behind the frame"},
        {{.flags = 1, .csum_start = 30, .csum_offset = 65535}, "an offset behind the frame"},
        {{.gso_type = 1}, "segments of nothing"},
        {{.gso_type = 4, .gso_size = 100}, "segments of a datagram"},
        {{.gso_type = 5, .gso_size = 100}, "an unknown kind"},
        {{.gso_type = 3, .gso_size = 7}, "tiny fragments"},
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        made.count = 0;
        tap_ok(net_offload_send(frame, size, &bad[i].header, keep, &made) == -EINVAL && !made.count,
               "refused: %s", bad[i].what);
    }
    /* Any frame, cut anywhere: sanitizers watch. */
    unsigned refusals = 0, kinds[] = {0, 1, 3, 4, 0x81};

    srand(1);
    for (int i = 0; i < 20000; i++) {
        size = build(frame, rand() & 1, rand() & 1, rand() & 1 ? 6 : 17, (size_t)rand() % 900);
        for (int n = rand() % 4; n; n--) {
            frame[12 + rand() % 60] = (uint8_t)rand();
        }
        size = 14 + (size_t)rand() % (size - 13);
        header = (struct net_header){.flags = (uint8_t)(rand() & 1),
                                     .gso_type = (uint8_t)kinds[rand() % 5],
                                     .gso_size = (uint16_t)(16 + rand() % 1400),
                                     .csum_start = (uint16_t)(rand() % 100),
                                     .csum_offset = (uint16_t)(rand() % 20)};
        uint8_t *exact = malloc(size);

        memcpy(exact, frame, size);
        made.count = 0;
        refusals += net_offload_send(exact, size, &header, keep, &made) != 0;
        free(exact);
    }
    tap_ok(refusals > 100 && refusals < 20000, "mangled frames are refused or sent");
}

/* ---- two back ends --------------------------------------------------------------------------- */

/* Frames in both directions, of all sizes. */
static void exchange(struct net_backend *one, struct net_backend *two)
{
    static struct card a, b;
    static uint8_t frame[70000];
    struct net_stats stats;

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    net_attach(one, &handlers, &a);
    net_attach(two, &handlers, &b);
    tap_eq(net_attach(two, &handlers, &a), -EBUSY, "one card each");
    WAIT(net_link_is_up(one) && net_link_is_up(two));
    fill(frame, sizeof(frame));
    send_bytes(one, frame, 60);
    WAIT(b.frames == 1);
    tap_ok(b.size == 60 && !memcmp(b.frame, frame, 60) && !a.frames, "a frame arrives");
    send_bytes(two, frame, 20);
    WAIT(a.frames == 1);
    tap_ok(a.size == 60 && !memcmp(a.frame, frame, 20) && !a.frame[20] && !a.frame[59],
           "a short one is padded");
    send_bytes(two, frame, 13);
    send_bytes(two, frame, 69633);
    net_get_stats(two, &stats);
    tap_ok(stats.sent == 1 && stats.send_dropped == 2, "what is no frame is dropped and counted");
    struct iovec pieces[2] = {{frame, 1000}, {frame + 1000, 514}};

    net_send(one, pieces, 2);
    WAIT(b.frames == 2);
    tap_ok(b.size == 1514 && !memcmp(b.frame, frame, 1514), "pieces are one frame");

    /* A card that has no room for a while. */
    b.full = true;
    for (int i = 0; i < 50; i++) {
        frame[20] = (uint8_t)i;
        send_bytes(one, frame, 1000);
        drain();
    }
    tap_eq(b.frames, 2, "nothing is handed over");
    b.full = false;
    net_accept(two);
    WAIT(b.frames == 52);
    tap_ok(b.frames == 52 && b.frame[20] == 49, "until there is, and in order");
    net_attach(one, NULL, NULL);
    net_attach(two, NULL, NULL);
}

static void check_fd(int type)
{
    int ends[2];
    char options[64];

    tap_eq(socketpair(AF_UNIX, type, 0, ends), 0, "a pair of sockets");
    snprintf(options, sizeof(options), "socket,id=one,fd=%d", ends[0]);
    struct net_backend *one = make(options);

    snprintf(options, sizeof(options), "socket,id=two,fd=%d", ends[1]);
    exchange(one, make(options));
    net_destroy_all();
}

static unsigned free_port(int type)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, type, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&at, sizeof(at))) {
        tap_note("bind: %s", strerror(errno));
    }
    getsockname(fd, (struct sockaddr *)&at, &size);
    close(fd);
    return ntohs(at.sin_port);
}

static void check_tcp(void)
{
    static struct card card;
    static uint8_t frame[70000];
    unsigned port = free_port(SOCK_STREAM);
    char options[256];

    snprintf(options, sizeof(options), "socket,id=one,listen=127.0.0.1:%u", port);
    struct net_backend *one = make(options);

    tap_ok(!net_link_is_up(one), "nobody is there");
    snprintf(options, sizeof(options), "socket,id=two,connect=127.0.0.1:%u", port);
    exchange(one, make(options));
    net_attach(one, &handlers, &card);
    net_destroy(net_find("two"));
    WAIT(!net_link_is_up(one));
    tap_str(card.links, "d", "the peer goes");
    snprintf(options, sizeof(options),
             "stream,id=two,addr.type=inet,addr.host=127.0.0.1,addr.port=%u,reconnect-ms=5", port);
    struct net_backend *two = make(options);

    WAIT(net_link_is_up(one) && net_link_is_up(two));
    tap_str(card.links, "du", "another comes");

    /* A peer that does not read: what does not fit is dropped, and the rest stays in step. */
    struct net_stats stats;

    for (int i = 0; i < 2000; i++) {
        send_bytes(two, frame, 60000);
    }
    net_get_stats(two, &stats);
    tap_ok(stats.send_dropped > 0 && stats.sent > 5, "a slow peer loses frames");
    WAIT(card.frames == stats.sent);
    tap_ok(card.frames == stats.sent && card.total == stats.sent * 60000, "whole ones");
    net_set_link(one, false);
    tap_str(card.links, "dud", "the user cuts the link");
    send_bytes(two, frame, 100);
    send_bytes(one, frame, 100);
    drain();
    tap_eq(card.frames, stats.sent, "nothing goes through");
    net_set_link(one, true);

    /* Two clients of which one speaks something else. */
    net_destroy(two);
    WAIT(!net_link_is_up(one));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    tap_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0, "a stranger");
    WAIT(net_link_is_up(one));
    tap_eq(write(fd, "GET / HTTP/1.0\r\n", 16), 16, "says something else");
    WAIT(!net_link_is_up(one));
    tap_ok(!net_link_is_up(one), "and is hung up");
    close(fd);
    net_destroy_all();
}

static void check_udp(void)
{
    unsigned a = free_port(SOCK_DGRAM), b = free_port(SOCK_DGRAM);
    char options[256];

    snprintf(options, sizeof(options), "socket,id=one,udp=127.0.0.1:%u,localaddr=127.0.0.1:%u", a,
             b);
    struct net_backend *one = make(options);

    snprintf(options, sizeof(options),
             "dgram,id=two,local.type=inet,local.host=127.0.0.1,local.port=%u,remote.type=inet,"
             "remote.host=127.0.0.1,remote.port=%u",
             a, b);
    exchange(one, make(options));
    net_destroy_all();
}

static void check_multicast(void)
{
    static struct card a, b;
    static uint8_t frame[100];
    struct net_backend *one, *two;
    char options[128];

    snprintf(options, sizeof(options), "socket,id=one,mcast=239.192.3.4:%u,localaddr=127.0.0.1",
             free_port(SOCK_DGRAM));
    if (net_create(&one, loop, options, error, sizeof(error))) {
        tap_skip("multicast", error);
        return;
    }
    put(strstr(options, "one"), "two", 3);
    two = make(options);
    net_attach(one, &handlers, &a);
    net_attach(two, &handlers, &b);
    fill(frame, sizeof(frame));
    send_bytes(one, frame, sizeof(frame));
    WAIT(b.frames == 1);
    if (b.frames) {
        tap_ok(b.size == 100 && !memcmp(b.frame, frame, 100), "multicast: a frame arrives");
    } else {
        tap_skip("multicast", "this host does not carry it");
    }
    net_destroy_all();
}

static void check_hub(void)
{
    static struct card a, b, c;
    static uint8_t frame[100], large[5054];
    struct net_backend *one = make("hubport,id=one,hubid=1"), *two = make("hubport,id=two,hubid=1"),
                       *other = make("hubport,id=other,hubid=2");
    struct net_stats stats;

    net_attach(one, &handlers, &a);
    net_attach(two, &handlers, &b);
    net_attach(other, &handlers, &c);
    send_bytes(one, frame, sizeof(frame));
    WAIT(b.frames);
    tap_ok(b.frames == 1 && !a.frames && !c.frames, "a hub has its own ports only");
    int ends[2];
    char options[64];

    tap_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0, "a pair of sockets");
    snprintf(options, sizeof(options), "socket,id=s,fd=%d", ends[0]);
    make(options);
    make("hubport,id=three,hubid=1,netdev=s");
    refused("hubport,id=four,hubid=1,netdev=s", -EBUSY, "netdev=s: it is in use");
    send_bytes(one, frame, sizeof(frame));
    WAIT(b.frames == 2);
    tap_eq(recv(ends[1], large, sizeof(large), MSG_DONTWAIT), 100, "a back end as a port");
    tap_eq(send(ends[1], frame, 64, 0), 64, "gives");
    WAIT(a.frames == 1 && b.frames == 3);
    tap_ok(a.size == 64 && b.size == 64, "to everybody");

    /* A card that never takes: the queue has limits. */
    b.full = true;
    for (int i = 0; i < 3000; i++) {
        send_bytes(one, frame, sizeof(frame));
    }
    drain();
    net_get_stats(two, &stats);
    tap_eq(stats.receive_dropped, 3000 - 1024, "a queue has its limit");
    b.full = false;
    b.frames = 0;
    net_accept(two);
    drain();
    tap_eq(b.frames, 1024, "and keeps what it has");

    /* A card with a header: the hub's frames are plain. */
    tap_ok(!net_set_header(one, 12) && !net_set_header(two, 10), "headers");
    tap_eq(net_offloads(one),
           NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN,
           "all can be done in software");
    struct net_header header = {.flags = 1, .gso_type = 1, .gso_size = htole16(1000)};
    size_t size = build(large, false, false, 6, 4988);
    struct iovec pieces[2] = {{&header, 12}, {large, size}};

    b.frames = 0;
    net_send(one, pieces, 2);
    WAIT(b.frames == 5);
    tap_ok(b.frames == 5 && b.size == 10 + 66 + 988 && !b.frame[0] && !b.frame[1] &&
               tcp_sum_is_right(b.frame + 10, b.size - 10, 14, false),
           "a large segment is cut for it");
    header = (struct net_header){0};
    pieces[1].iov_len = 70;
    net_send(one, pieces, 2);
    WAIT(b.frames == 6);
    tap_ok(b.size == 80 && !memcmp(b.frame + 10, large, 70), "a plain one goes as it is");
    pieces[1].iov_len = 13;
    net_send(one, pieces, 2);
    net_get_stats(one, &stats);
    tap_eq(stats.send_dropped, 1, "too short a one is dropped");
    net_destroy_all();
    close(ends[1]);
}

/* ---- tap ------------------------------------------------------------------------------------- */

static void check_tap(void)
{
    static struct card card;
    struct net_backend *net;
    static uint8_t frame[100];
    char options[128];

    snprintf(options, sizeof(options), "tap,id=t,ifname=tnm%d,script=no,downscript=no",
             getpid() % 100000);
    int err = net_create(&net, loop, options, error, sizeof(error));

    if (err == -EPERM || err == -EACCES || err == -ENOENT || err == -ENODEV) {
        tap_skip("tap", error);
        return;
    }
    if (!tap_ok(!err, "%s", options)) {
        tap_note("%s", error);
        return;
    }
    net_attach(net, &handlers, &card);
    tap_ok(!net_set_header(net, 12), "a header");
    net_set_offloads(net, net_offloads(net));
    tap_ok(!net_set_header(net, 0), "and none");
    send_bytes(net, frame, sizeof(frame)); /* the interface is down: EIO */
    drain();
    struct net_stats stats;

    net_get_stats(net, &stats);
    tap_eq(stats.sent + stats.send_dropped, 1, "a frame is sent or counted");
    refused("tap,id=u,ifname=tinamou-name-too-long", -EINVAL, "expected at most 15 bytes");
    refused("tap,id=u,script=/nonexistent", -ENOENT, "script=/nonexistent");
    refused("tap,id=u,script=/bin/false", -EIO, "script=/bin/false: it failed");
    net_destroy_all();
}

int main(void)
{
    loop = loop_create();
    if (!tap_ok(loop != NULL, "a loop")) {
        return tap_done();
    }
    check_options();
    check_offloads();
    check_fd(SOCK_STREAM);
    check_fd(SOCK_DGRAM);
    check_tcp();
    check_udp();
    check_multicast();
    check_hub();
    check_tap();
    drain();
    loop_destroy(loop);
    return tap_done();
}
