/*
 * Which frames a network card gets: what the driver says on the control queue, clauses 5.1.6.5.1 to
 * 5.1.6.5.3. Until a driver says something, all.
 */
#ifndef TINAMOU_HW_VIRTIO_NET_FILTER_H
#define TINAMOU_HW_VIRTIO_NET_FILTER_H

#include "util/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NET_FILTER_MACS = 64 };

struct net_filter {
    bool promiscuous, all_multi, all_uni, no_multi, no_uni, no_broadcast;
    bool multi_overflow, uni_overflow; /* the driver has more addresses than there is room */
    uint32_t count, first_multi;       /* of macs[]; unicast first */
    uint8_t macs[NET_FILTER_MACS * 6];
    uint64_t vlans[4096 / 64];
};

extern const struct state_table net_filter_state;

/* After power-on; without `by_vlan` all VLANs pass. */
void net_filter_reset(struct net_filter *filter);
void net_filter_set_vlans(struct net_filter *filter, bool by_vlan);

/* Is the frame for this card? At least the 14 bytes of the header are there, `size` in all. */
bool net_filter_passes(const struct net_filter *filter, const uint8_t mac[6], const uint8_t *frame,
                       size_t size);

/*
 * Commands of the classes RX (0), MAC (1, but for ADDR_SET) and VLAN (2), with what follows class
 * and command. False: there is no such command, or it is not well-formed.
 */
bool net_filter_command(struct net_filter *filter, uint8_t class, uint8_t command,
                        const uint8_t *data, size_t size);

#endif
