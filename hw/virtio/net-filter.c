/* Filters of frames; see net-filter.h. */
#include "hw/virtio/net-filter.h"

#include <errno.h>
#include <string.h>

enum { CLASS_RX, CLASS_MAC, CLASS_VLAN };
enum { RX_PROMISC, RX_ALL_MULTI, RX_ALL_UNI, RX_NO_MULTI, RX_NO_UNI, RX_NO_BROADCAST };
enum { MAC_TABLE_SET };
enum { VLAN_ADD, VLAN_DEL };

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

void net_filter_reset(struct net_filter *filter)
{
    memset(filter, 0, sizeof(*filter));
    filter->promiscuous = true;
}

void net_filter_set_vlans(struct net_filter *filter, bool by_vlan)
{
    memset(filter->vlans, by_vlan ? 0 : 0xff, sizeof(filter->vlans));
}

static bool in_table(const struct net_filter *filter, unsigned from, unsigned to,
                     const uint8_t *mac)
{
    for (unsigned i = from; i < to; i++) {
        if (!memcmp(filter->macs + 6 * i, mac, 6)) {
            return true;
        }
    }
    return false;
}

bool net_filter_passes(const struct net_filter *filter, const uint8_t mac[6], const uint8_t *frame,
                       size_t size)
{
    if (filter->promiscuous) {
        return true;
    }
    if (size >= 16 && frame[12] == 0x81 && frame[13] == 0x00) {
        unsigned vlan = (frame[14] & 15U) << 8 | frame[15];

        if (!(filter->vlans[vlan / 64] >> vlan % 64 & 1)) {
            return false;
        }
    }
    if (!(frame[0] & 1)) {
        return !filter->no_uni &&
               (filter->all_uni || filter->uni_overflow || !memcmp(frame, mac, 6) ||
                in_table(filter, 0, filter->first_multi, frame));
    }
    if (!memcmp(frame, broadcast, 6)) {
        return !filter->no_broadcast;
    }
    return !filter->no_multi && (filter->all_multi || filter->multi_overflow ||
                                 in_table(filter, filter->first_multi, filter->count, frame));
}

static bool set_mode(struct net_filter *filter, uint8_t command, const uint8_t *data, size_t size)
{
    bool *const modes[] = {
        [RX_PROMISC] = &filter->promiscuous, [RX_ALL_MULTI] = &filter->all_multi,
        [RX_ALL_UNI] = &filter->all_uni,     [RX_NO_MULTI] = &filter->no_multi,
        [RX_NO_UNI] = &filter->no_uni,       [RX_NO_BROADCAST] = &filter->no_broadcast,
    };

    if (command >= sizeof(modes) / sizeof(modes[0]) || size != 1) {
        return false;
    }
    *modes[command] = data[0];
    return true;
}

/* One of the two tables: a count in four bytes, little-endian, and addresses. What is behind it, or
 * NULL. */
static const uint8_t *find_table(const uint8_t *at, const uint8_t *end, size_t *count)
{
    if (end - at < 4) {
        return NULL;
    }
    *count = at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
    at += 4;
    return *count <= (size_t)(end - at) / 6 ? at + 6 * *count : NULL;
}

static bool set_table(struct net_filter *filter, const uint8_t *data, size_t size)
{
    size_t uni = 0, multi = 0;
    const uint8_t *end = data + size, *second = find_table(data, end, &uni);

    if (!second || find_table(second, end, &multi) != end) {
        return false;
    }
    filter->uni_overflow = uni > NET_FILTER_MACS;
    uni = filter->uni_overflow ? 0 : uni;
    filter->multi_overflow = multi > NET_FILTER_MACS - uni;
    multi = filter->multi_overflow ? 0 : multi;
    memcpy(filter->macs, data + 4, 6 * uni);
    memcpy(filter->macs + 6 * uni, second + 4, 6 * multi);
    filter->first_multi = (uint32_t)uni;
    filter->count = (uint32_t)(uni + multi);
    return true;
}

static bool set_vlan(struct net_filter *filter, uint8_t command, const uint8_t *data, size_t size)
{
    if (size != 2 || command > VLAN_DEL || data[1] > 15) {
        return false;
    }
    unsigned vlan = data[0] | (unsigned)data[1] << 8;
    uint64_t bit = UINT64_C(1) << vlan % 64;

    if (command == VLAN_ADD) {
        filter->vlans[vlan / 64] |= bit;
    } else {
        filter->vlans[vlan / 64] &= ~bit;
    }
    return true;
}

bool net_filter_command(struct net_filter *filter, uint8_t class, uint8_t command,
                        const uint8_t *data, size_t size)
{
    switch (class) {
    case CLASS_RX:
        return set_mode(filter, command, data, size);
    case CLASS_MAC:
        return command == MAC_TABLE_SET && set_table(filter, data, size);
    case CLASS_VLAN:
        return set_vlan(filter, command, data, size);
    default:
        return false;
    }
}

static int post_load(void *object, uint32_t version)
{
    const struct net_filter *filter = object;

    return filter->count <= NET_FILTER_MACS && filter->first_multi <= filter->count ? 0 : -EINVAL;
}

static const struct state_field fields[] = {
    STATE(BOOL, "promiscuous", struct net_filter, promiscuous),
    STATE(BOOL, "all_multi", struct net_filter, all_multi),
    STATE(BOOL, "all_uni", struct net_filter, all_uni),
    STATE(BOOL, "no_multi", struct net_filter, no_multi),
    STATE(BOOL, "no_uni", struct net_filter, no_uni),
    STATE(BOOL, "no_broadcast", struct net_filter, no_broadcast),
    STATE(BOOL, "multi_overflow", struct net_filter, multi_overflow),
    STATE(BOOL, "uni_overflow", struct net_filter, uni_overflow),
    STATE(U32, "count", struct net_filter, count),
    STATE(U32, "first_multi", struct net_filter, first_multi),
    STATE_ARRAY(U8, "macs", struct net_filter, macs),
    STATE_ARRAY(U64, "vlans", struct net_filter, vlans),
    STATE_END,
};

const struct state_table net_filter_state = {
    .name = "net-filter", .version = 1, .min_version = 1, .fields = fields, .post_load = post_load};
