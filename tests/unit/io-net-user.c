/*
 * io/net's user network, against a guest of the test's own: ARP, DHCP and just enough TCP to take
 * a connection from the host and to make one to it, with and without large segments.
 */
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, BULK = 300000 };

static const uint8_t our_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
static const uint8_t our_ip[4] = {10, 0, 2, 15}, router_ip[4] = {10, 0, 2, 2};

static struct loop *loop;
static struct net_backend *net;
static char error[512];

/* ---- the guest's card and its TCP ------------------------------------------------------------ */

static struct guest {
    bool full;
    unsigned header, frames, arps, offers, large, big_gso, wrong_sums, fragments;
    uint8_t router_mac[6], offered[4];
    uint8_t last[70000];
    size_t last_size;
    /* one connection */
    unsigned pending; /* flags of a segment that is due */
    bool arp_pending;
    uint8_t arp[42];
    unsigned state; /* 0 closed, 1 SYN sent, 2 established, 3 they are done */
    uint16_t port, peer_port;
    uint8_t peer_ip[4];
    uint32_t seq, ack, acked;
    size_t got;
    uint8_t data[BULK];
} guest;

/* Bytes that are no text, though they may be written as such. */
static void put(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
}

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

static void send_frame(const struct net_header *header, uint8_t *frame, size_t size)
{
    static const struct net_header none;
    struct iovec iov[2] = {{(void *)(uintptr_t)(header ? header : &none), guest.header},
                           {frame, size}};

    net_send(net, guest.header ? iov : iov + 1, guest.header ? 2 : 1);
}

static void put_sum(uint8_t *at, uint32_t sum)
{
    uint16_t folded = net_checksum_end(sum);

    memcpy(at, &folded, 2);
}

/* An IPv4 frame to the router; returns where its payload goes. */
static uint8_t *begin_ip(uint8_t *f, uint8_t protocol, const uint8_t *from, const uint8_t *to,
                         size_t payload)
{
    memset(f, 0, 34);
    put(f, to[0] == 255 ? (const uint8_t *)"\xff\xff\xff\xff\xff\xff" : guest.router_mac, 6);
    memcpy(f + 6, our_mac, 6);
    put16(f + 12, 0x0800);
    f[14] = 0x45;
    put16(f + 16, (unsigned)(20 + payload));
    f[22] = 64;
    f[23] = protocol;
    memcpy(f + 26, from, 4);
    memcpy(f + 30, to, 4);
    put_sum(f + 24, net_checksum_add(0, f + 14, 20));
    return f + 34;
}

static uint32_t pseudo(const uint8_t *f, uint8_t protocol, size_t size)
{
    uint8_t rest[4] = {0, protocol, (uint8_t)(size >> 8), (uint8_t)size};

    return net_checksum_add(net_checksum_add(0, f + 26, 8), rest, 4);
}

/* A segment; with `offload` its checksum is left to the card, and so is cutting it. */
static void send_tcp(unsigned flags, const uint8_t *data, size_t size, bool offload)
{
    static uint8_t f[70000];
    size_t options = flags & SYN ? 4 : 0, length = 20 + options + size;
    uint8_t *tcp = begin_ip(f, 6, our_ip, guest.peer_ip, length);
    struct net_header header = {0};

    memset(tcp, 0, 20);
    put16(tcp, guest.port);
    put16(tcp + 2, guest.peer_port);
    put32(tcp + 4, guest.seq);
    put32(tcp + 8, guest.ack);
    tcp[12] = (uint8_t)((20 + options) / 4 << 4);
    tcp[13] = (uint8_t)flags;
    put16(tcp + 14, 65535);
    if (options) {
        put(tcp + 20, "\2\4\x05\xb4", 4); /* MSS 1460 */
    }
    if (size) {
        memcpy(tcp + 20 + options, data, size);
    }
    if (offload) {
        header.flags = NET_HEADER_NEEDS_CSUM;
        header.csum_start = htole16(34);
        header.csum_offset = htole16(16);
        header.gso_type = size > 1460 ? NET_GSO_TCPV4 : NET_GSO_NONE;
        header.gso_size = htole16(1460);
        uint16_t open = (uint16_t)~net_checksum_end(pseudo(f, 6, length));

        memcpy(tcp + 16, &open, 2);
    } else {
        put_sum(tcp + 16, net_checksum_add(pseudo(f, 6, length), tcp, length));
    }
    guest.seq += (uint32_t)size + (flags & (SYN | FIN) ? 1 : 0);
    send_frame(&header, f, 34 + length);
}

/* Acknowledgments go out between the loop's rounds, as a guest's do. */
static void answer(unsigned flags)
{
    guest.pending |= flags;
}

static void send_pending(void)
{
    unsigned flags = guest.pending;

    if (flags) {
        guest.pending = 0;
        send_tcp(flags, NULL, 0, false);
    }
    if (guest.arp_pending) {
        guest.arp_pending = false;
        send_frame(NULL, guest.arp, 42);
    }
}

static bool iterate(void)
{
    bool any = loop_iterate(loop, false);

    send_pending();
    return any;
}

static void take_tcp(const uint8_t *f, size_t size, bool open_sum)
{
    size_t length = get16(f + 16) - 20U, header = 4U * (f[46] >> 4), data = length - header;
    const uint8_t *tcp = f + 34;
    unsigned flags = tcp[13];

    if (!open_sum && net_checksum_end(net_checksum_add(pseudo(f, 6, length), tcp, length))) {
        guest.wrong_sums++;
    }
    if (flags & RST) {
        guest.state = 0;
        return;
    }
    if (flags & ACK) {
        guest.acked = get32(tcp + 8);
    }
    if (flags & SYN) {
        bool opened_here = flags & ACK;

        memcpy(guest.peer_ip, f + 26, 4);
        guest.peer_port = (uint16_t)get16(tcp);
        guest.port = (uint16_t)get16(tcp + 2);
        guest.ack = get32(tcp + 4) + 1;
        guest.state = 2;
        answer(opened_here ? ACK : SYN | ACK);
        return;
    }
    if (guest.state < 2 || get32(tcp + 4) != guest.ack) {
        return;
    }
    if (guest.got + data > sizeof(guest.data)) {
        data = sizeof(guest.data) - guest.got;
    }
    memcpy(guest.data + guest.got, tcp + header, data);
    guest.got += data;
    guest.ack += (uint32_t)data + (flags & FIN);
    if (flags & FIN) {
        guest.state = 3;
    }
    if (data || flags & FIN) {
        answer(ACK);
    }
}

static void take_arp(const uint8_t *f)
{
    uint8_t *reply = guest.arp;

    guest.arps++;
    if (get16(f + 20) == 2 && !memcmp(f + 28, router_ip, 4)) {
        memcpy(guest.router_mac, f + 22, 6);
    }
    if (get16(f + 20) == 1 && !memcmp(f + 38, our_ip, 4)) {
        memcpy(reply, f, 42);
        memcpy(reply, f + 6, 6);
        memcpy(reply + 6, our_mac, 6);
        put16(reply + 20, 2);
        memcpy(reply + 22, our_mac, 6);
        memcpy(reply + 28, our_ip, 4);
        memcpy(reply + 32, f + 22, 10);
        guest.arp_pending = true;
    }
}

static bool receive(void *opaque, const struct iovec *iov, unsigned count)
{
    struct net_header header = {0};
    const uint8_t *f = guest.last + guest.header;
    size_t size = 0;

    if (guest.full) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        memcpy(guest.last + size, iov[i].iov_base, iov[i].iov_len);
        size += iov[i].iov_len;
    }
    guest.frames++;
    memcpy(&header, guest.last, guest.header);
    size -= guest.header;
    guest.last_size = size;
    guest.large += size > 1514;
    guest.big_gso += header.gso_type == NET_GSO_TCPV4 && le16toh(header.gso_size) == 1460 &&
                     header.flags == NET_HEADER_NEEDS_CSUM;
    if (get16(f + 12) == 0x0806) {
        take_arp(f);
    } else if (get16(f + 12) == 0x0800 && f[23] == 6) {
        take_tcp(f, size, header.flags & NET_HEADER_NEEDS_CSUM);
    } else if (get16(f + 12) == 0x0800 && f[23] == 17 && get16(f + 36) == 68) {
        guest.offers++;
        memcpy(guest.offered, f + 42 + 16, 4);
    } else if (get16(f + 12) == 0x0800 && f[23] == 17) {
        guest.fragments += get16(f + 20) & 0x3fff ? 1 : 0;
    }
    return true;
}

static const struct net_handlers handlers = {.receive = receive};

/* ---- helpers of the test --------------------------------------------------------------------- */

/* Runs the loop until something is true, for twenty seconds at most. */
#define WAIT(condition)                                                 \
    for (int rounds_ = 0; rounds_ < 20000 && !(condition); rounds_++) { \
        if (!iterate()) {                                               \
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);    \
        }                                                               \
    }

static void refused(const char *options, const char *message)
{
    struct net_backend *made;
    int err = net_create(&made, loop, options, error, sizeof(error));

    if (!tap_ok(err < 0 && !made && strstr(error, message), "refused: %s", options)) {
        tap_note("%d: %s", err, error);
    }
}

static int host_socket(int type, unsigned *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || (type == SOCK_STREAM && listen(fd, 1))) {
        tap_note("bind: %s", strerror(errno));
    }
    getsockname(fd, (struct sockaddr *)&at, &size);
    *port = ntohs(at.sin_port);
    return fd;
}

static int host_connect(unsigned port, bool wait)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    fcntl(fd, F_SETFL, wait ? 0 : O_NONBLOCK);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

static void restart(const char *options, unsigned header)
{
    memset(&guest, 0, sizeof(guest));
    guest.header = header;
    if (net_create(&net, loop, options, error, sizeof(error))) {
        tap_ok(false, "%s", options);
        tap_note("%s", error);
        exit(tap_done());
    }
    net_attach(net, &handlers, NULL);
    if (header) {
        net_set_header(net, header);
        net_set_offloads(net, net_offloads(net));
    }
    uint8_t arp[42] = {0};

    memset(arp, 0xff, 6);
    memcpy(arp + 6, our_mac, 6);
    put(arp + 12, "\x08\x06\0\1\x08\0\6\4\0\1", 10);
    memcpy(arp + 22, our_mac, 6);
    memcpy(arp + 28, our_ip, 4);
    memcpy(arp + 38, router_ip, 4);
    send_frame(NULL, arp, sizeof(arp));
    WAIT(guest.arps);
    tap_ok(guest.router_mac[0] == 0x52, "%s: the router answers ARP", options);
}

static void fill(uint8_t *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        p[i] = (uint8_t)(i * 13 + i / 253);
    }
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void check_options(void)
{
    refused("user,id=n,net=10.0.2", "net=10.0.2: expected ADDRESS");
    refused("user,id=n,net=10.0.2.0/33", "net=10.0.2.0/33: expected");
    refused("user,id=n,host=10.0.3.1", "host=10.0.3.1: expected an address of the network");
    refused("user,id=n,dns=10.0.2.2", "dns=10.0.2.2: expected another address");
    refused("user,id=n,dhcpstart=x", "dhcpstart=x: expected");
    refused("user,id=n,ipv4=off,ipv6=off", "expected one of IPv4 and IPv6");
    refused("user,id=n,ipv6-net=fec0::/200", "ipv6-net=");
    refused("user,id=n,ipv6-dns=1.2.3.4", "ipv6-dns=1.2.3.4: expected an IPv6 address");
    refused("user,id=n,smb=/tmp", "smb= is not supported");
    refused("user,id=n,hostfwd=tcp", "hostfwd=tcp: expected [tcp|udp]");
    refused("user,id=n,hostfwd=tcp::1-:0", "hostfwd=tcp::1-:0: expected");
    refused("user,id=n,hostfwd=sctp::1-:2", "hostfwd=sctp::1-:2: expected");
    refused("user,id=n,hostfwd=tcp:1.2.3:1-:2", "expected");
    refused("user,id=n,guestfwd=tcp:10.0.2.100:80", "guestfwd=");
    refused("user,id=n,guestfwd=udp:10.0.2.100:80-cmd:cat", "guestfwd=");
    refused("user,id=n,guestfwd=tcp:10.0.9.100:80-cmd:cat", "in the guest's network");
    refused("user,id=n,guestfwd=tcp:10.0.2.100:80-frob", "chardev 'frob'");
}

static void check_dhcp(void)
{
    static uint8_t f[400];
    static const uint8_t nobody[4], all[4] = {255, 255, 255, 255};
    uint8_t *udp;

    restart("user,id=n,dnssearch=a.example,dnssearch=b.example", 0);
    udp = begin_ip(f, 17, nobody, all, 8 + 244 + 4);
    put16(udp, 68);
    put16(udp + 2, 67);
    put16(udp + 4, 8 + 244 + 4);
    udp[8] = 1;
    udp[9] = 1;
    udp[10] = 6;
    memcpy(udp + 8 + 28, our_mac, 6);
    put(udp + 8 + 236, "\x63\x82\x53\x63\x35\1\1\xff", 8); /* DISCOVER */
    send_frame(NULL, f, 34 + 8 + 244 + 4);
    WAIT(guest.offers);
    tap_ok(guest.offers && !memcmp(guest.offered, our_ip, 4), "DHCP offers 10.0.2.15");
    tap_ok(guest.last_size >= 60, "frames have the least size of Ethernet");
    net_destroy_all();
}

/* A connection from the host to the guest, with much data in both directions. */
static void check_hostfwd(unsigned header)
{
    static uint8_t data[BULK], back[BULK];
    char options[128];
    unsigned port;
    int probe = host_socket(SOCK_STREAM, &port);

    close(probe);
    snprintf(options, sizeof(options), "user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:%u-:22", port);
    restart(options, header);
    int fd = host_connect(port, false);

    WAIT(guest.state == 2);
    tap_ok(guest.state == 2 && guest.port == 22, "the guest is connected to, at its port");
    fill(data, sizeof(data));
    size_t sent = 0;

    for (int i = 0; i < 100000 && guest.got < sizeof(data); i++) {
        ssize_t n = sent < sizeof(data) ? write(fd, data + sent, sizeof(data) - sent) : 0;

        sent += n > 0 ? (size_t)n : 0;
        if (!iterate()) {
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        }
    }
    tap_ok(guest.got == sizeof(data) && !memcmp(guest.data, data, sizeof(data)),
           "all the data comes");
    tap_note("%u frames, %u of them large", guest.frames, guest.large);
    tap_eq(guest.wrong_sums, 0, "with right checksums");
    if (header) {
        tap_ok(guest.large > 0 && guest.big_gso == guest.large && guest.frames < 60,
               "in large segments, marked as such");
    } else {
        tap_eq(guest.large, 0, "in segments that fit");
    }

    /* The way back, in the largest pieces that there are. */
    size_t done = 0, read_back = 0, piece = header ? 32000 : 1460;
    uint32_t first = guest.seq;

    for (int i = 0; i < 100000 && read_back < 200000; i++) {
        uint32_t flight = guest.seq - guest.acked;

        if (done < 200000 && flight + piece < 65000) {
            size_t now = 200000 - done < piece ? 200000 - done : piece;

            send_tcp(ACK | PSH, data + done, now, header != 0);
            done += now;
        }
        ssize_t n = read(fd, back + read_back, sizeof(back) - read_back);

        read_back += n > 0 ? (size_t)n : 0;
        if (!iterate()) {
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        }
    }
    tap_ok(read_back == 200000 && !memcmp(back, data, read_back) && guest.seq - first == 200000,
           "and goes back");
    close(fd);
    WAIT(guest.state == 3 || guest.state == 0);
    tap_ok(guest.state != 2, "the end is seen");

    tap_ok(net_hostfwd(net, strchr(options, ':') - 3, false, error, sizeof(error)) != 0,
           "a forwarding is removed by its host's end only");
    snprintf(options, sizeof(options), "tcp:127.0.0.1:%u", port);
    tap_eq(net_hostfwd(net, options, false, error, sizeof(error)), 0, options);
    tap_eq(host_connect(port, true), -1, "and is gone then");
    tap_eq(net_hostfwd(net, options, false, error, sizeof(error)), -ENOENT, "once");
    snprintf(options, sizeof(options), "tcp:127.0.0.1:%u-:23", port);
    tap_eq(net_hostfwd(net, options, true, error, sizeof(error)), 0, "another takes its place");
    guest.state = 0;
    guest.got = 0;
    guest.full = true;
    fd = host_connect(port, false);
    tap_ok(fd >= 0, "somebody connects");
    for (int i = 0; i < 50; i++) {
        iterate();
    }
    guest.full = false;
    net_accept(net);
    WAIT(guest.state == 2 && guest.port == 23);
    tap_eq(guest.port, 23, "a card that was full gets the frames later");
    close(fd);
    net_destroy_all();
}

/* A connection from the guest to the host. */
static void check_out(unsigned header)
{
    unsigned port;
    int listener = host_socket(SOCK_STREAM, &port), fd = -1;
    char text[16] = {0};

    restart("user,id=n", header);
    memcpy(guest.peer_ip, router_ip, 4);
    guest.port = 4000;
    guest.peer_port = (uint16_t)port;
    guest.state = 1;
    send_tcp(SYN, NULL, 0, false);
    WAIT(fd >= 0 || (fd = accept(listener, NULL, NULL)) >= 0);
    WAIT(guest.state == 2);
    tap_ok(fd >= 0 && guest.state == 2, "the guest connects to the host");
    send_tcp(ACK | PSH, (const uint8_t *)"hello", 5, header != 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    WAIT(recv(fd, text, sizeof(text), MSG_PEEK) == 5);
    tap_ok(read(fd, text, sizeof(text)) == 5 && !strcmp(text, "hello"), "sends");
    tap_eq(write(fd, "answer", 6), 6, "is sent");
    WAIT(guest.got == 6);
    tap_ok(guest.got == 6 && !memcmp(guest.data, "answer", 6), "and gets");
    close(fd);
    close(listener);
    net_destroy_all();
}

/* A large datagram of the host's. */
static void check_udp(void)
{
    static uint8_t f[200], big[9000];
    struct sockaddr_in from;
    socklen_t from_size = sizeof(from);
    unsigned port;
    int fd = host_socket(SOCK_DGRAM, &port);

    restart("user,id=n", 12);
    uint8_t *udp = begin_ip(f, 17, our_ip, router_ip, 12);

    put16(udp, 5000);
    put16(udp + 2, port);
    put16(udp + 4, 12);
    put(udp + 8, "ping", 4);
    put_sum(udp + 6, net_checksum_add(pseudo(f, 17, 12), udp, 12));
    send_frame(NULL, f, 34 + 12);
    uint8_t got[16];
    ssize_t n = -1;

    WAIT((n = recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&from, &from_size)) >= 0);
    tap_eq(n, 4, "a datagram goes out");
    sendto(fd, big, 4000, 0, (struct sockaddr *)&from, from_size);
    WAIT(guest.fragments == 3);
    tap_ok(guest.fragments == 3 && !guest.large, "a large answer comes in fragments");
    close(fd);
    net_destroy_all();
}

/* A port of the guest's network that is a command, and one that is a character device. */
static void check_guestfwd(void)
{
    static const uint8_t address[4] = {10, 0, 2, 100};

    restart("user,id=n,restrict=on,guestfwd=tcp:10.0.2.100:7-cmd:cat", 0);
    memcpy(guest.peer_ip, address, 4);
    guest.port = 4001;
    guest.peer_port = 7;
    guest.state = 1;
    send_tcp(SYN, NULL, 0, false);
    WAIT(guest.state == 2);
    send_tcp(ACK | PSH, (const uint8_t *)"echo", 4, false);
    WAIT(guest.got == 4);
    tap_ok(guest.got == 4 && !memcmp(guest.data, "echo", 4), "a command answers");
    net_destroy_all();

    int ends[2];
    char options[128], text[16] = {0};

    tap_eq(pipe(ends), 0, "a pipe");
    snprintf(options, sizeof(options), "user,id=n,guestfwd=tcp:10.0.2.100:9-file:/proc/self/fd/%d",
             ends[1]);
    restart(options, 0);
    memcpy(guest.peer_ip, address, 4);
    guest.port = 4002;
    guest.peer_port = 9;
    guest.state = 1;
    send_tcp(SYN, NULL, 0, false);
    WAIT(guest.state == 2);
    send_tcp(ACK | PSH, (const uint8_t *)"to a file", 9, false);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    ssize_t n = -1;

    WAIT((n = read(ends[0], text, sizeof(text))) > 0);
    tap_ok(n == 9 && !strcmp(text, "to a file"), "a character device gets");
    net_destroy_all();
    close(ends[0]);
    close(ends[1]);
}

/* What a guest may send: sanitizers watch. */
static void check_hostile(void)
{
    static uint8_t f[3000];
    struct net_stats stats;

    restart("user,id=n,restrict=on", 12);
    srand(1);
    for (int i = 0; i < 20000; i++) {
        size_t size = 14 + (size_t)rand() % 200;
        struct net_header header = {.flags = (uint8_t)(rand() & 1),
                                    .gso_type = (uint8_t)(rand() % 6),
                                    .gso_size = (uint16_t)rand(),
                                    .csum_start = (uint16_t)(rand() % 100),
                                    .csum_offset = (uint16_t)(rand() % 30)};
        uint8_t *payload = begin_ip(f, rand() & 1 ? 6 : 17, our_ip, router_ip, 166);

        for (int n = 0; n < 166; n++) {
            payload[n] = (uint8_t)rand();
        }
        payload[12] = (uint8_t)(rand() % 16 << 4);
        payload[13] |= SYN;
        for (int n = rand() % 3; n; n--) {
            f[12 + rand() % 30] = (uint8_t)rand();
        }
        send_frame(&header, f, size);
        if (i % 100 == 0) {
            iterate();
        }
    }
    net_get_stats(net, &stats);
    tap_ok(stats.sent > 1000 && stats.send_dropped > 1000, "mangled frames are sent or dropped");
    net_destroy_all();
}

int main(void)
{
    loop = loop_create();
    if (!tap_ok(loop != NULL, "a loop")) {
        return tap_done();
    }
    loop_clock_run(true);
    check_options();
    check_dhcp();
    check_hostfwd(0);
    check_hostfwd(12);
    check_out(0);
    check_out(10);
    check_udp();
    check_guestfwd();
    check_hostile();
    while (loop_iterate(loop, false)) {
    }
    loop_destroy(loop);
    return tap_done();
}
