/*
 * What network hardware does with frames, in software: checksums, and cutting large TCP segments
 * and datagrams to what fits. The work is described by a virtio-net header (virtio 1.2, 5.1.6).
 *
 * Frames are a guest's, so nothing in them or in the header is believed.
 */
#ifndef TINAMOU_IO_NET_OFFLOAD_H
#define TINAMOU_IO_NET_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define NET_HEADER_NEEDS_CSUM 1
#define NET_HEADER_DATA_VALID 2

#define NET_GSO_NONE  0
#define NET_GSO_TCPV4 1
#define NET_GSO_UDP   3
#define NET_GSO_TCPV6 4
#define NET_GSO_ECN   0x80

/* Little-endian, as on the frame; the last field only with a header of 12 bytes. */
struct net_header {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset;
    uint16_t num_buffers;
};

/* Takes one frame of those that were made; the pieces are valid during the call. */
typedef void net_emit_fn(void *opaque, const struct iovec *iov, unsigned count);

/* The ones' complement sum of bytes, not folded beyond 32 bits and not inverted. */
uint32_t net_checksum_add(uint32_t sum, const void *bytes, size_t size);
/* Folded and inverted, in the order of the bytes in memory. */
uint16_t net_checksum_end(uint32_t sum);

/* Completes the checksum that NEEDS_CSUM leaves; -EINVAL when it lies outside of the frame. */
int net_offload_checksum(uint8_t *frame, size_t size, const struct net_header *header);

/*
 * Cuts a large TCP segment to header->gso_size of data each, with checksums, or a UDP datagram to
 * IPv4 fragments; a frame with neither goes out as it is, its checksum completed if that is asked.
 * -EINVAL: header and frame do not agree, and nothing was made.
 */
int net_offload_send(uint8_t *frame, size_t size, const struct net_header *header,
                     net_emit_fn *emit, void *opaque);

/*
 * Cuts a frame above `mtu` bytes of IP: TCP over IPv4 or IPv6 to segments of `mss` bytes,
 * everything else over IPv4 to fragments. -EINVAL when it can't be cut.
 */
int net_offload_fit(uint8_t *frame, size_t size, unsigned mtu, unsigned mss, net_emit_fn *emit,
                    void *opaque);

/* Where the headers of a frame are. */
struct net_layout {
    size_t l3, l4, data; /* offsets; data is behind the TCP header */
    size_t end;          /* of the IP packet, without Ethernet padding */
    bool ipv6;
};
/* Is it a TCP segment, not a fragment, whose headers are all there? */
bool net_parse_tcp(const uint8_t *frame, size_t size, struct net_layout *layout);
/* The sum of the pseudo header for a TCP length. */
uint32_t net_pseudo_sum(const uint8_t *frame, const struct net_layout *layout, uint8_t protocol,
                        size_t length);

#endif
