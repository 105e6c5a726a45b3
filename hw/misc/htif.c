/*
 * HTIF: a word `tohost` is a command, device in bits 63 to 56, command in 55 to 48, payload below;
 * the host clears it when it has taken the command, and puts its answer, in the same form, into
 * `fromhost`, which the guest clears.
 *
 *     device 0  system    0: payload with bit 0 set: exit, status in the bits above; else the
 *                            address of eight 64-bit words, number and arguments of a system call,
 *                            the result goes into the first. write() to 1 and 2 is there.
 *     device 1  console   0: read a character: the answer comes when there is one, as 0x100 | byte
 *                         1: write the character in the payload
 *
 * The guest may write a word as two halves; the high half starts the command. A character that a
 * slow host does not take keeps tohost busy until it does. Only the answer to reads is waited for
 * by anybody, so the one to a write gives way when fromhost is in use.
 */
#include "hw/misc/htif.h"
#include "hw/core/runstate.h"
#include "io/chardev/chardev.h"
#include "mem/access.h"
#include "util/bits.h"
#include "util/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    DEVICE_SYSTEM = 0,
    DEVICE_CONSOLE = 1,
    CONSOLE_READ = 0,
    CONSOLE_WRITE = 1,
    CHARACTER = 0x100, /* set in answers of the console */
    CALL_WORDS = 8,
    CALL_WRITE = 64, /* RISC-V Linux's number of write() */
    WRITE_MAX = 65536,
};

static uint64_t answer(unsigned device, unsigned command, uint64_t payload)
{
    return (uint64_t)device << 56 | (uint64_t)command << 48 | payload;
}

/* write(fd, buffer, size): may take less than asked for. */
static int64_t call_write(struct htif *htif, uint64_t fd, uint64_t buffer, uint64_t size)
{
    uint8_t bytes[256];
    uint64_t done = 0;

    if (fd != 1 && fd != 2) {
        return -EBADF;
    }
    size = size < WRITE_MAX ? size : WRITE_MAX;
    while (done < size) {
        uint64_t n = size - done < sizeof(bytes) ? size - done : sizeof(bytes);
        size_t taken = n;

        if (mem_access_read(htif->memory, mem_gpa(buffer + done), bytes, n, MEM_ATTRS_NONE)) {
            return done ? (int64_t)done : -EFAULT;
        }
        if (htif->chr) {
            taken = chardev_write(htif->chr, bytes, n);
        }
        done += taken;
        if (taken < n) {
            break;
        }
    }
    return (int64_t)done;
}

static void system_call(struct htif *htif, uint64_t address)
{
    uint64_t words[CALL_WORDS];
    int64_t result = -ENOSYS;
    int err = -ENXIO;

    if (htif->memory) {
        err = mem_access_read(htif->memory, mem_gpa(address), words, sizeof(words), MEM_ATTRS_NONE);
    }
    if (!err) {
        if (words[0] == CALL_WRITE) {
            result = call_write(htif, words[1], words[2], words[3]);
        }
        words[0] = (uint64_t)result;
        err = mem_access_write(htif->memory, mem_gpa(address), words, 8, MEM_ATTRS_NONE);
    }
    if (err) {
        log_limited(LOG_GUEST_ERRORS, "htif: system call with arguments at %#llx: %s\n",
                    (unsigned long long)address, strerror(-err));
    }
    htif->from = answer(DEVICE_SYSTEM, 0, 1);
}

static size_t can_receive(void *opaque)
{
    const struct htif *htif = opaque;

    return htif->getchar_waiting && !htif->from;
}

static void receive(void *opaque, const uint8_t *bytes, size_t size)
{
    struct htif *htif = opaque;

    if (size && can_receive(htif)) {
        htif->getchar_waiting = false;
        htif->from = answer(DEVICE_CONSOLE, CONSOLE_READ, CHARACTER | bytes[0]);
    }
}

static void put_character(struct htif *htif)
{
    uint8_t byte = (uint8_t)htif->to;

    if (!htif->chr || chardev_write(htif->chr, &byte, 1)) {
        htif->to = 0;
        if (!htif->from) {
            htif->from = answer(DEVICE_CONSOLE, CONSOLE_WRITE, CHARACTER | byte);
        }
    }
}

static bool is_put_character(uint64_t word)
{
    return word >> 48 == (DEVICE_CONSOLE << 8 | CONSOLE_WRITE);
}

static void writable(void *opaque)
{
    struct htif *htif = opaque;

    if (is_put_character(htif->to)) {
        put_character(htif);
    }
}

static void command(struct htif *htif)
{
    uint64_t payload = bits_extract(htif->to, 0, 48);

    if (is_put_character(htif->to)) {
        put_character(htif);
        return;
    }
    switch (htif->to >> 48) {
    case DEVICE_SYSTEM << 8:
        if (payload & 1) {
            hw_runstate_request(HW_REQUEST_SHUTDOWN, HW_CAUSE_GUEST, (uint32_t)(payload >> 1));
        } else if (payload) {
            system_call(htif, payload);
        }
        break;
    case DEVICE_CONSOLE << 8 | CONSOLE_READ:
        htif->getchar_waiting = true;
        if (htif->chr) {
            chardev_accept(htif->chr);
        }
        break;
    default:
        log_limited(LOG_GUEST_ERRORS, "htif: command %#llx, which nobody knows\n",
                    (unsigned long long)htif->to);
    }
    htif->to = 0;
}

/* What a word becomes when `size` bytes are written at offset. */
static uint64_t merge(uint64_t word, uint64_t offset, unsigned size, uint64_t value)
{
    return bits_deposit(word, (unsigned)offset * 8, size * 8, value);
}

static int to_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                   struct mem_attrs attrs)
{
    *value = ((struct htif *)opaque)->to >> offset * 8;
    return 0;
}

static int to_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                    struct mem_attrs attrs)
{
    struct htif *htif = opaque;

    if (is_put_character(htif->to)) {
        return 0; /* the command before is still on its way */
    }
    htif->to = merge(htif->to, offset, size, value);
    if (offset + size == 8) {
        command(htif);
    }
    return 0;
}

static int from_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    *value = ((struct htif *)opaque)->from >> offset * 8;
    return 0;
}

static int from_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    struct htif *htif = opaque;

    htif->from = merge(htif->from, offset, size, value);
    if (htif->chr && can_receive(htif)) {
        chardev_accept(htif->chr);
    }
    return 0;
}

static const struct mem_ops to_ops = {
    .read = to_read, .write = to_write, .min_size = 4, .max_size = 8};
static const struct mem_ops from_ops = {
    .read = from_read, .write = from_write, .min_size = 4, .max_size = 8};

static const struct chardev_handlers handlers = {
    .can_receive = can_receive, .receive = receive, .writable = writable};

static int htif_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct htif *htif = (struct htif *)device;
    int err = htif->chr ? chardev_attach(htif->chr, &handlers, htif) : 0;

    if (err) {
        snprintf(error, error_size, "htif: chardev=%s: %s", chardev_id(htif->chr),
                 err == -EBUSY ? "another device uses it" : strerror(-err));
        return err;
    }
    mem_region_init_mmio(&htif->tohost, "htif-tohost", 8, &to_ops, htif, &device->owner);
    mem_region_init_mmio(&htif->fromhost, "htif-fromhost", 8, &from_ops, htif, &device->owner);
    return 0;
}

static void htif_unrealize(struct hw_device *device)
{
    struct htif *htif = (struct htif *)device;

    mem_region_retire(&htif->tohost, NULL, NULL);
    mem_region_retire(&htif->fromhost, NULL, NULL);
    if (htif->chr) {
        chardev_attach(htif->chr, NULL, htif);
    }
}

static void htif_reset_enter(struct hw_device *device, bool cold)
{
    struct htif *htif = (struct htif *)device;

    htif->to = htif->from = 0;
    htif->getchar_waiting = false;
}

static int htif_post_load(void *object, uint32_t version)
{
    struct htif *htif = object;

    writable(htif);
    if (htif->chr && can_receive(htif)) {
        chardev_accept(htif->chr);
    }
    return 0;
}

static const struct state_field htif_fields[] = {
    STATE(U64, "tohost", struct htif, to),
    STATE(U64, "fromhost", struct htif, from),
    STATE(BOOL, "getchar_waiting", struct htif, getchar_waiting),
    STATE_END,
};
static const struct state_table htif_state = {.name = "htif",
                                              .version = 1,
                                              .min_version = 1,
                                              .fields = htif_fields,
                                              .post_load = htif_post_load};

const struct hw_device_type htif_type = {
    .name = "riscv.htif",
    .help = "host-target interface",
    .size = sizeof(struct htif),
    .state = &htif_state,
    .internal = true,
    .realize = htif_realize,
    .unrealize = htif_unrealize,
    .reset_enter = htif_reset_enter,
};
