/*
 * Checksums and segmentation; see offload.h.
 *
 * Segments are made of a copy of the headers, mended for each one, and a piece of the frame's data,
 * which is not copied. Sums are computed over 32-bit words into 64 bits, which the compiler turns
 * into vectors; ones' complement sums do not care for the width of the words (RFC 1071).
 */
#include "io/net/offload.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

enum {
    ETHERNET_HEADER = 14,
    TYPE_IPV4 = 0x0800,
    TYPE_IPV6 = 0x86dd,
    TYPE_VLAN = 0x8100,
    TYPE_QINQ = 0x88a8,
    IPV4_HEADER = 20,
    IPV6_HEADER = 40,
    TCP_HEADER = 20,
    IP_MORE = 0x2000,   /* more fragments */
    IP_OFFSET = 0x1fff, /* in eight bytes */
    HEADERS_MAX = 14 + 2 * 4 + 60 + 60,
    TCP_FIN = 0x01,
    TCP_PSH = 0x08,
    TCP_CWR = 0x80,
};

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, unsigned value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value & 0xffff);
}

/* ---- checksums ------------------------------------------------------------------------------- */

uint32_t net_checksum_add(uint32_t sum, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint64_t total = sum;
    size_t words = size / 4;

    /* At most 2^14 words of a frame: no overflow of 64 bits. */
    for (size_t i = 0; i < words; i++) {
        uint32_t word;

        memcpy(&word, p + 4 * i, 4);
        total += word;
    }
    p += 4 * words;
    if (size & 2) {
        uint16_t half;

        memcpy(&half, p, 2);
        total += half;
        p += 2;
    }
    if (size & 1) {
        uint8_t last[2] = {*p, 0};
        uint16_t half;

        memcpy(&half, last, 2);
        total += half;
    }
    total = (total & 0xffffffff) + (total >> 32);
    return (uint32_t)((total & 0xffffffff) + (total >> 32));
}

uint16_t net_checksum_end(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void store_sum(uint8_t *at, uint16_t sum)
{
    memcpy(at, &sum, 2);
}

int net_offload_checksum(uint8_t *frame, size_t size, const struct net_header *header)
{
    size_t start = le16toh(header->csum_start);
    size_t at = start + le16toh(header->csum_offset);

    if (start > size || at + 2 > size) {
        return -EINVAL;
    }
    /* What is in the field already (the pseudo header's sum) counts. */
    uint16_t sum = net_checksum_end(net_checksum_add(0, frame + start, size - start));

    /* Zero means "no checksum" to UDP; all ones is the same number. */
    store_sum(frame + at, sum ? sum : 0xffff);
    return 0;
}

uint32_t net_pseudo_sum(const uint8_t *frame, const struct net_layout *layout, uint8_t protocol,
                        size_t length)
{
    const uint8_t *ip = frame + layout->l3;
    uint32_t sum = layout->ipv6 ? net_checksum_add(0, ip + 8, 32) : net_checksum_add(0, ip + 12, 8);
    uint8_t rest[8] = {0};

    put32(rest, (uint32_t)length);
    rest[7] = protocol;
    return net_checksum_add(sum, rest, sizeof(rest));
}

/* ---- headers --------------------------------------------------------------------------------- */

/* Where IP begins, and whether it is version 6; 0 when it is not IP. */
static size_t find_ip(const uint8_t *frame, size_t size, bool *ipv6)
{
    size_t at = ETHERNET_HEADER;

    for (unsigned tags = 0; at <= size && tags < 3; tags++, at += 4) {
        unsigned type = get16(frame + at - 2);

        if (type == TYPE_IPV4 || type == TYPE_IPV6) {
            *ipv6 = type == TYPE_IPV6;
            return at + (*ipv6 ? IPV6_HEADER : IPV4_HEADER) <= size ? at : 0;
        }
        if ((type != TYPE_VLAN && type != TYPE_QINQ) || at + 4 > size) {
            return 0;
        }
    }
    return 0;
}

/* Fills l3, l4, end, ipv6, and the protocol. IPv6 extension headers are not gone through. */
static bool parse_ip(const uint8_t *frame, size_t size, struct net_layout *layout,
                     uint8_t *protocol)
{
    size_t l3 = find_ip(frame, size, &layout->ipv6);
    const uint8_t *ip = frame + l3;
    size_t length, header;

    if (!l3) {
        return false;
    }
    if (layout->ipv6) {
        header = IPV6_HEADER;
        length = IPV6_HEADER + get16(ip + 4);
        *protocol = ip[6];
    } else {
        header = 4U * (ip[0] & 15);
        length = get16(ip + 2);
        *protocol = ip[9];
    }
    if (ip[0] >> 4 != (layout->ipv6 ? 6 : 4) || header < IPV4_HEADER || length < header ||
        length > size - l3) {
        return false;
    }
    layout->l3 = l3;
    layout->l4 = l3 + header;
    layout->end = l3 + length;
    return true;
}

bool net_parse_tcp(const uint8_t *frame, size_t size, struct net_layout *layout)
{
    uint8_t protocol;

    if (!parse_ip(frame, size, layout, &protocol) || protocol != IPPROTO_TCP ||
        layout->l4 + TCP_HEADER > layout->end ||
        (!layout->ipv6 && get16(frame + layout->l3 + 6) & (IP_MORE | IP_OFFSET))) {
        return false;
    }
    size_t header = 4U * (frame[layout->l4 + 12] >> 4);

    layout->data = layout->l4 + header;
    return header >= TCP_HEADER && layout->data <= layout->end && layout->data <= HEADERS_MAX;
}

static void mend_ipv4(uint8_t *ip, size_t length, unsigned id, unsigned fragment)
{
    size_t header = 4U * (ip[0] & 15);

    put16(ip + 2, (unsigned)length);
    put16(ip + 4, id);
    put16(ip + 6, fragment);
    put16(ip + 10, 0);
    store_sum(ip + 10, net_checksum_end(net_checksum_add(0, ip, header)));
}

/* ---- cutting --------------------------------------------------------------------------------- */

/* TCP: RFC 793 for what changes from segment to segment; CWR goes with the first (RFC 3168). */
static int cut_tcp(uint8_t *frame, size_t size, size_t mss, net_emit_fn *emit, void *opaque)
{
    struct net_layout layout;
    uint8_t headers[HEADERS_MAX];

    if (!mss || !net_parse_tcp(frame, size, &layout)) {
        return -EINVAL;
    }
    size_t data = layout.end - layout.data, tcp_header = layout.data - layout.l4, done = 0;
    const uint8_t *tcp = frame + layout.l4;
    uint32_t seq = get32(tcp + 4);
    unsigned id = get16(frame + layout.l3 + 4), flags = tcp[13], n = 0;

    do {
        size_t now = data - done < mss ? data - done : mss;
        bool last = done + now == data;
        uint8_t *ip = headers + layout.l3, *to = headers + layout.l4;
        struct iovec iov[2] = {{headers, layout.data}, {frame + layout.data + done, now}};

        memcpy(headers, frame, layout.data);
        if (layout.ipv6) {
            put16(ip + 4, (unsigned)(tcp_header + now));
        } else {
            mend_ipv4(ip, layout.data - layout.l3 + now, (id + n) & 0xffff, get16(ip + 6));
        }
        put32(to + 4, seq + (uint32_t)done);
        to[13] = (uint8_t)(flags & ~(unsigned)((last ? 0 : TCP_FIN | TCP_PSH) | (n ? TCP_CWR : 0)));
        put16(to + 16, 0);
        uint32_t sum = net_pseudo_sum(headers, &layout, IPPROTO_TCP, tcp_header + now);

        sum = net_checksum_add(sum, to, tcp_header);
        store_sum(to + 16, net_checksum_end(net_checksum_add(sum, iov[1].iov_base, now)));
        emit(opaque, iov, now ? 2 : 1);
        done += now;
        n++;
    } while (done < data);
    return 0;
}

/* IPv4 fragments (RFC 791) with at most `mtu` bytes of IP. Options are left to the first. */
static int cut_ipv4(uint8_t *frame, size_t size, size_t mtu, net_emit_fn *emit, void *opaque)
{
    struct net_layout layout;
    uint8_t headers[HEADERS_MAX], protocol;

    if (!parse_ip(frame, size, &layout, &protocol) || layout.ipv6) {
        return -EINVAL;
    }
    unsigned old = get16(frame + layout.l3 + 6), id = get16(frame + layout.l3 + 4);
    size_t header = layout.l4 - layout.l3, data = layout.end - layout.l4, done = 0;
    size_t most = mtu > header ? (mtu - header) & ~(size_t)7 : 0;

    if (!most || (size_t)(old & IP_OFFSET) * 8 + data > 65535) {
        return -EINVAL;
    }
    do {
        size_t now = data - done < most ? data - done : most;
        bool more = done + now < data || old & IP_MORE;
        struct iovec iov[2] = {{headers, layout.l4}, {frame + layout.l4 + done, now}};

        memcpy(headers, frame, layout.l4);
        mend_ipv4(headers + layout.l3, header + now, id,
                  (more ? IP_MORE : 0) | ((old & IP_OFFSET) + (unsigned)(done / 8)));
        emit(opaque, iov, now ? 2 : 1);
        done += now;
    } while (done < data);
    return 0;
}

int net_offload_send(uint8_t *frame, size_t size, const struct net_header *header,
                     net_emit_fn *emit, void *opaque)
{
    unsigned type = header->gso_type & ~(unsigned)NET_GSO_ECN;
    struct net_layout layout;
    int err = 0;

    if (type == NET_GSO_TCPV4 || type == NET_GSO_TCPV6) {
        /* Its checksums are made anew for each segment. */
        return cut_tcp(frame, size, le16toh(header->gso_size), emit, opaque);
    }
    if (header->flags & NET_HEADER_NEEDS_CSUM) {
        err = net_offload_checksum(frame, size, header);
    }
    if (err || (type != NET_GSO_NONE && type != NET_GSO_UDP)) {
        return -EINVAL;
    }
    if (type == NET_GSO_UDP) {
        uint8_t protocol;
        size_t mtu = le16toh(header->gso_size);

        /* gso_size is what of the datagram goes into each fragment. */
        if (!parse_ip(frame, size, &layout, &protocol) || mtu < 8) {
            return -EINVAL;
        }
        return cut_ipv4(frame, size, mtu + (layout.l4 - layout.l3), emit, opaque);
    }
    struct iovec whole = {frame, size};

    emit(opaque, &whole, 1);
    return 0;
}

int net_offload_fit(uint8_t *frame, size_t size, unsigned mtu, unsigned mss, net_emit_fn *emit,
                    void *opaque)
{
    struct net_layout layout;

    return net_parse_tcp(frame, size, &layout) ? cut_tcp(frame, size, mss, emit, opaque)
                                               : cut_ipv4(frame, size, mtu, emit, opaque);
}
