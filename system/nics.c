/*
 * Networks. -nic is a network and a card in one; -net says the two separately, and the n-th card is
 * on the n-th network. Both become a network as of -netdev and a device as of -device.
 */
#include "system/nics.h"

#include "io/net/net.h"
#include "system/devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A card to be made. */
struct card {
    char *netdev; /* NULL: on no network */
    char *model, *mac;
};

static struct card *cards;
static unsigned card_count;

static int out_of_memory(char *error, size_t error_size)
{
    snprintf(error, error_size, "-nic: out of memory");
    return -ENOMEM;
}

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

static int add_card(struct keyval *list, const char *netdev, char *error, size_t error_size)
{
    struct card *grown = realloc(cards, (card_count + 1) * sizeof(*grown));
    const char *mac = keyval_take(list, "mac"), *addr = keyval_take(list, "macaddr");

    if (!grown) {
        return out_of_memory(error, error_size);
    }
    cards = grown;
    cards[card_count++] = (struct card){.netdev = copy(netdev),
                                        .model = copy(keyval_take(list, "model")),
                                        .mac = copy(mac ? mac : addr)};
    return 0;
}

/* Makes a network of what is left in a list, with the type in front as -netdev has it. */
static int add_network(struct keyval *list, const char *type, const char *id, struct loop *loop,
                       char *error, size_t error_size)
{
    struct net_backend *net;
    char *rest, *text = NULL;
    int err;

    (void)keyval_take(list, "id");
    rest = keyval_to_text(list);
    if (!rest || asprintf(&text, "%s,id=%s%s%s", type, id, *rest ? "," : "", rest) < 0) {
        free(rest);
        return out_of_memory(error, error_size);
    }
    free(rest);
    err = net_create(&net, loop, text, error, error_size);
    free(text);
    return err;
}

/* "user,id=n0,model=virtio-net-pci,mac=..." */
static int open_nic(const char *text, unsigned n, struct loop *loop, char *error, size_t error_size)
{
    struct keyval list;
    const char *type;
    char own_id[24];
    int err = keyval_parse(&list, "-nic", text, "type", error, error_size);

    if (err) {
        return err;
    }
    type = keyval_take(&list, "type");
    snprintf(own_id, sizeof(own_id), "nic.%u", n);
    if (!type) {
        snprintf(error, error_size, "-nic %s: type=: has to be given", text);
        err = -EINVAL;
    } else if (strcmp(type, "none") != 0) {
        const char *id = keyval_get(&list, "id");

        id = id ? id : own_id;
        err = add_card(&list, id, error, error_size);
        if (!err) {
            err = add_network(&list, type, id, loop, error, error_size);
        }
    }
    keyval_free(&list);
    return err;
}

/* -net: `networks` counts those that -net has made so far. */
static int open_legacy(const char *text, unsigned *networks, struct loop *loop, char *error,
                       size_t error_size)
{
    struct keyval list;
    const char *type;
    int err = keyval_parse(&list, "-net", text, "type", error, error_size);

    if (err) {
        return err;
    }
    type = keyval_take(&list, "type");
    if (!type) {
        snprintf(error, error_size, "-net %s: type=: has to be given", text);
        err = -EINVAL;
    } else if (strcmp(type, "nic") == 0) {
        const char *netdev = keyval_take(&list, "netdev");

        err = add_card(&list, netdev, error, error_size);
        (void)keyval_take(&list, "name");
        if (!err) {
            err = keyval_finish(&list, error, error_size);
        }
    } else if (strcmp(type, "none") != 0) {
        char id[24];

        snprintf(id, sizeof(id), "net.%u", (*networks)++);
        (void)keyval_take(&list, "name");
        err = add_network(&list, type, id, loop, error, error_size);
    }
    keyval_free(&list);
    return err;
}

int nics_open(const struct system_options *options, struct loop *loop, char *error,
              size_t error_size)
{
    unsigned networks = 0, next = 0;
    int err = 0;

    for (unsigned i = 0; i < options->netdevs.count && !err; i++) {
        struct net_backend *net;

        err = net_create(&net, loop, options->netdevs.text[i], error, error_size);
    }
    for (unsigned i = 0; i < options->legacy_net.count && !err; i++) {
        err = open_legacy(options->legacy_net.text[i], &networks, loop, error, error_size);
    }
    for (unsigned i = 0; i < card_count && next < networks; i++) {
        if (!cards[i].netdev && asprintf(&cards[i].netdev, "net.%u", next++) < 0) {
            return out_of_memory(error, error_size);
        }
    }
    for (unsigned i = 0; i < options->nics.count && !err; i++) {
        err = open_nic(options->nics.text[i], i, loop, error, error_size);
    }
    return err;
}

static int add_setting(struct keyval *list, const char *name, const char *value)
{
    return value ? keyval_add(list, name, value) : 0;
}

int nics_add_devices(const struct system_options *options, struct machine *machine, char *error,
                     size_t error_size)
{
    int err = 0;

    for (unsigned i = 0; i < card_count && !err; i++) {
        const char *model = cards[i].model ? cards[i].model : machine->type->nic_device;
        struct keyval list = {.option = "-nic"};

        if (!model) {
            snprintf(error, error_size, "-nic: the machine %s has nowhere to plug a card",
                     machine->type->name);
            return -EINVAL;
        }
        if (add_setting(&list, "driver", strcmp(model, "virtio") == 0 ? "virtio-net-pci" : model) ||
            add_setting(&list, "netdev", cards[i].netdev) ||
            add_setting(&list, "mac", cards[i].mac)) {
            err = out_of_memory(error, error_size);
        } else {
            err = devices_add(machine, &list, error, error_size);
        }
        keyval_free(&list);
    }
    for (unsigned i = 0; i < card_count; i++) {
        free(cards[i].netdev);
        free(cards[i].model);
        free(cards[i].mac);
    }
    free(cards);
    cards = NULL;
    card_count = 0;
    return err;
}
