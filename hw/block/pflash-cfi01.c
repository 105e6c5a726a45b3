/*
 * NOR flash with Intel's basic command set (Common Flash Interface, primary command set 0001).
 *
 * The content is a RAM block. While no command is under way, reads go straight to it; a write makes
 * the region go through here until a command brings the array back. `command` is what reads show:
 * the content, the status register, identification or the CFI table. Programming and erasing take
 * no time, so the chip is always ready.
 *
 * A bank of several chips side by side gives each its part of the data bus: status, identification
 * and CFI come once per chip, and commands are taken from the lowest byte for all of them. Sizes in
 * the CFI table are those of one chip.
 *
 * As in the chips, programming only clears bits, and erasing a block sets them. Lock commands are
 * taken, and no block is ever locked. A read-only bank answers programming and erasing with the
 * error bits.
 *
 * Without a node the chips are erased, and most guests never look: the content takes no memory
 * until something is programmed. Reads come here until then, and find ones.
 *
 * A node gets what has changed page by page behind the guest's back: changed pages are marked, and
 * one request at a time copies some out. A page that changes meanwhile is marked, and copied,
 * again. An error of the host is said once; the guest, which was told that all is well, is not.
 */
#include "hw/block/pflash-cfi01.h"
#include "mem/dirty.h"
#include "util/bits.h"
#include "util/error.h"
#include "util/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CMD_ARRAY_ZERO = 0x00, /* no command; takes reads back to the content as 0xff does */
    CMD_PROGRAM = 0x10,
    CMD_ERASE = 0x20,
    CMD_PROGRAM_2 = 0x40,
    CMD_CLEAR_STATUS = 0x50,
    CMD_LOCK = 0x60,
    CMD_STATUS = 0x70,
    CMD_ID = 0x90,
    CMD_CFI = 0x98,
    CMD_CONFIRM = 0xd0,
    CMD_BUFFER = 0xe8,
    CMD_AMD_RESET = 0xf0, /* not ours, but drivers that probe send it */
    CMD_ARRAY = 0xff,
    LOCK_SET = 0x01,
    LOCK_DOWN = 0x2f,

    STATUS_READY = 0x80,
    STATUS_ERASE_ERROR = 0x20,
    STATUS_PROGRAM_ERROR = 0x10,
    STATUS_SEQUENCE_ERROR = STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR,

    BUFFER_BITS = 11, /* of a chip's write buffer; a lone one of one byte's width has less */
    BUFFER_BITS_NARROW = 8,

    READ_MAX = 1 << 20, /* bytes of a request when the content is read */
};

/* ---- the node -------------------------------------------------------------------------------- */

static bool page_is_dirty(const struct pflash_writer *writer, uint64_t page)
{
    return page < writer->past && writer->dirty[page / 64] >> page % 64 & 1;
}

static void write_done(struct block_request *request);

/* Starts a request for the first pages that have changed, if none is under way. */
static void write_some(struct pflash_cfi01 *flash)
{
    struct pflash_writer *writer = &flash->writer;
    uint64_t offset, n = 0;

    if (writer->busy) {
        return;
    }
    while (writer->first < writer->past && !page_is_dirty(writer, writer->first)) {
        writer->first++;
    }
    offset = writer->first * MEM_PAGE_SIZE;
    while (n < PFLASH_WRITE_MAX && page_is_dirty(writer, writer->first)) {
        writer->dirty[writer->first / 64] &= ~(UINT64_C(1) << writer->first % 64);
        writer->first++;
        n += MEM_PAGE_SIZE;
    }
    n = n < flash->size - offset ? n : flash->size - offset;
    if (n) {
        memcpy(writer->bytes, flash->ram->host + offset, n);
        writer->iov = (struct iovec){writer->bytes, n};
        writer->request = (struct block_request){.kind = BLOCK_WRITE,
                                                 .offset = offset,
                                                 .size = n,
                                                 .iov = &writer->iov,
                                                 .iov_count = 1,
                                                 .done = write_done,
                                                 .loop = flash->loop};
        writer->busy = true;
        block_submit(flash->node, &writer->request);
    }
}

static void write_done(struct block_request *request)
{
    struct pflash_cfi01 *flash =
        (struct pflash_cfi01 *)((char *)request - offsetof(struct pflash_cfi01, writer.request));
    struct pflash_writer *writer = &flash->writer;

    writer->busy = false;
    if (request->result && !writer->failed) {
        writer->failed = true;
        error_warn("%s: cannot write to %s: %s", flash->name, block_name(flash->node),
                   strerror(-request->result));
    }
    write_some(flash);
}

/* The content of a range has changed. */
static void content_changed(struct pflash_cfi01 *flash, uint64_t offset, uint64_t size)
{
    struct pflash_writer *writer = &flash->writer;
    uint64_t first = offset / MEM_PAGE_SIZE, past = (offset + size - 1) / MEM_PAGE_SIZE + 1;

    mem_dirty_set(flash->ram, offset, size);
    if (!writer->dirty || flash->readonly) {
        return;
    }
    for (uint64_t page = first; page < past; page++) {
        writer->dirty[page / 64] |= UINT64_C(1) << page % 64;
    }
    writer->first = first < writer->first ? first : writer->first;
    writer->past = past > writer->past ? past : writer->past;
    write_some(flash);
}

/* ---- the chips ------------------------------------------------------------------------------- */

/* A value that each chip puts on its part of the bus, as an access of `size` bytes sees it. */
static uint64_t from_chips(const struct pflash_cfi01 *flash, uint32_t value, uint64_t offset,
                           unsigned size)
{
    unsigned chip_bits = flash->device_width * 8u;
    uint64_t bus = 0;

    value &= (uint32_t)bits_mask(chip_bits);
    for (unsigned shift = 0; shift < 64; shift += chip_bits) {
        bus |= (uint64_t)value << shift;
    }
    return bus >> offset % flash->width * 8 & bits_mask(size * 8);
}

/*
 * The chips' address that belongs to an offset: in units of their bus, or of what their bus could
 * be when it is wired narrower.
 */
static uint64_t chip_address(const struct pflash_cfi01 *flash, uint64_t offset)
{
    return offset / flash->width * flash->device_width / flash->max_device_width;
}

static uint32_t identification(const struct pflash_cfi01 *flash, uint64_t offset)
{
    uint64_t address = chip_address(flash, offset) & 0xff;

    return address < 2 ? flash->id[address] : 0;
}

static uint32_t cfi_query(const struct pflash_cfi01 *flash, uint64_t offset)
{
    uint64_t address = chip_address(flash, offset);

    return address < PFLASH_CFI_SIZE ? flash->cfi[address] : 0;
}

static void to_array(struct pflash_cfi01 *flash)
{
    flash->command = CMD_ARRAY_ZERO;
    flash->cycle = 0;
    flash->buffer_left = 0;
    mem_region_set_rom_mode(&flash->mmio, !flash->erased);
}

/* The command is over, and the status register shows how it went. */
static void finish(struct pflash_cfi01 *flash, uint8_t errors)
{
    flash->status |= STATUS_READY | errors;
    flash->command = CMD_STATUS;
    flash->cycle = 0;
    flash->buffer_left = 0;
}

static int flash_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                      struct mem_attrs attrs)
{
    struct pflash_cfi01 *flash = opaque;

    switch (flash->command) {
    case CMD_ARRAY_ZERO:
        *value = flash->erased ? bits_mask(size * 8) : 0;
        if (!flash->erased) {
            memcpy(value, flash->ram->host + offset, size);
        }
        break;
    case CMD_ID:
        *value = from_chips(flash, identification(flash, offset), offset, size);
        break;
    case CMD_CFI:
        *value = from_chips(flash, cfi_query(flash, offset), offset, size);
        break;
    default:
        *value = from_chips(flash, flash->status, offset, size);
    }
    return 0;
}

/* Bytes are programmed: bits go from 1 to 0. */
static void program(struct pflash_cfi01 *flash, uint64_t offset, const uint8_t *bytes,
                    uint64_t size)
{
    if (flash->erased) {
        memset(flash->ram->host, 0xff, flash->size);
        flash->erased = false;
    }
    for (uint64_t i = 0; i < size; i++) {
        flash->ram->host[offset + i] &= bytes[i];
    }
    content_changed(flash, offset, size);
}

static void erase(struct pflash_cfi01 *flash, uint64_t offset)
{
    uint64_t block = offset - offset % flash->sector_length;

    if (flash->erased) {
        return;
    }
    memset(flash->ram->host + block, 0xff, flash->sector_length);
    content_changed(flash, block, flash->sector_length);
}

/* The first write of a command, which says what it is. */
static void begin(struct pflash_cfi01 *flash, uint8_t command)
{
    mem_region_set_rom_mode(&flash->mmio, false);
    switch (command) {
    case CMD_BUFFER:
    case CMD_PROGRAM:
    case CMD_PROGRAM_2:
    case CMD_ERASE:
    case CMD_LOCK:
        flash->status |= STATUS_READY;
        flash->command = command;
        flash->cycle = 1;
        break;
    case CMD_STATUS:
    case CMD_ID:
    case CMD_CFI:
        flash->command = command;
        break;
    case CMD_CLEAR_STATUS:
        flash->status = STATUS_READY;
        to_array(flash);
        break;
    default:
        log_limited(LOG_GUEST_ERRORS, "%s: command %#x, which the chips do not have\n", flash->name,
                    command);
        /* fall through */
    case CMD_ARRAY_ZERO:
    case CMD_AMD_RESET:
    case CMD_ARRAY:
        to_array(flash);
    }
}

/* A buffered write: how many, the data, and the confirmation. */
static void buffer_cycle(struct pflash_cfi01 *flash, uint64_t offset, unsigned size, uint64_t value)
{
    uint8_t bytes[8];
    uint64_t at;

    if (flash->cycle == 1) {
        uint64_t last = value & bits_mask(flash->device_width * 8u);

        if (last >= flash->buffer_size) {
            finish(flash, STATUS_SEQUENCE_ERROR);
            return;
        }
        flash->buffer_left = (uint32_t)last + 1;
        flash->buffer_placed = false;
        memset(flash->buffer, 0xff, sizeof(flash->buffer));
        flash->cycle = 2;
    } else if (flash->cycle == 2) {
        if (!flash->buffer_placed) {
            flash->buffer_first = offset - offset % flash->buffer_size;
            flash->buffer_placed = true;
        }
        at = offset - flash->buffer_first;
        if (offset < flash->buffer_first || at + size > flash->buffer_size) {
            finish(flash, STATUS_PROGRAM_ERROR);
            return;
        }
        memcpy(bytes, &value, sizeof(bytes));
        memcpy(flash->buffer + at, bytes, size);
        if (--flash->buffer_left == 0) {
            flash->cycle = 3;
        }
    } else if ((uint8_t)value != CMD_CONFIRM) {
        finish(flash, STATUS_SEQUENCE_ERROR);
    } else if (flash->readonly) {
        finish(flash, STATUS_PROGRAM_ERROR);
    } else {
        program(flash, flash->buffer_first, flash->buffer, flash->buffer_size);
        finish(flash, 0);
    }
}

/* A later write of a command. */
static void go_on(struct pflash_cfi01 *flash, uint64_t offset, unsigned size, uint64_t value)
{
    uint8_t byte = (uint8_t)value;

    switch (flash->command) {
    case CMD_BUFFER:
        buffer_cycle(flash, offset, size, value);
        break;
    case CMD_PROGRAM:
    case CMD_PROGRAM_2:
        if (flash->readonly) {
            finish(flash, STATUS_PROGRAM_ERROR);
        } else {
            uint8_t bytes[8];

            memcpy(bytes, &value, sizeof(bytes));
            program(flash, offset, bytes, size);
            finish(flash, 0);
        }
        break;
    case CMD_ERASE:
        if (byte == CMD_ARRAY) {
            to_array(flash);
        } else if (byte != CMD_CONFIRM) {
            finish(flash, STATUS_SEQUENCE_ERROR);
        } else if (flash->readonly) {
            finish(flash, STATUS_ERASE_ERROR);
        } else {
            erase(flash, offset);
            finish(flash, 0);
        }
        break;
    default: /* CMD_LOCK */
        if (byte == CMD_ARRAY) {
            to_array(flash);
        } else {
            finish(flash, byte == CMD_CONFIRM || byte == LOCK_SET || byte == LOCK_DOWN
                              ? 0
                              : STATUS_SEQUENCE_ERROR);
        }
    }
}

static int flash_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                       struct mem_attrs attrs)
{
    struct pflash_cfi01 *flash = opaque;

    if (flash->cycle) {
        go_on(flash, offset, size, value);
    } else {
        begin(flash, (uint8_t)value);
    }
    return 0;
}

static const struct mem_ops flash_ops = {
    .read = flash_read, .write = flash_write, .min_size = 1, .max_size = 4, .split = true};

/* ---- life ------------------------------------------------------------------------------------ */

/* JEDEC JESD68 (CFI), and Intel's primary table behind it. */
static void fill_cfi(struct pflash_cfi01 *flash, unsigned chips)
{
    static const uint8_t query[] = {'Q', 'R', 'Y'};
    static const uint8_t primary[] = {'P', 'R', 'I', '1', '0'}; /* version 1.0 */
    uint8_t *cfi = flash->cfi;
    uint64_t chip_size = flash->size / chips, block = flash->sector_length / chips;

    memcpy(cfi + 0x10, query, sizeof(query));
    cfi[0x13] = 0x01; /* primary command set: Intel's */
    cfi[0x15] = 0x31; /* where its table is */
    cfi[0x1b] = 0x45; /* supply from 4.5 V */
    cfi[0x1c] = 0x55; /* to 5.5 V */
    cfi[0x1f] = 0x07; /* typical times, powers of two: a word 128 us */
    cfi[0x20] = 0x07; /* a buffer 128 us */
    cfi[0x21] = 0x0a; /* erasing 1 s */
    cfi[0x23] = 0x04; /* at most 16 times that */
    cfi[0x24] = 0x04;
    cfi[0x25] = 0x04;
    cfi[0x27] = (uint8_t)bits_ctz64(chip_size);
    cfi[0x28] = 0x02; /* eight and sixteen bits */
    cfi[0x2a] = flash->width == 1 ? BUFFER_BITS_NARROW : BUFFER_BITS;
    cfi[0x2c] = 0x01; /* one kind of blocks */
    cfi[0x2d] = (uint8_t)(flash->num_blocks - 1);
    cfi[0x2e] = (uint8_t)((flash->num_blocks - 1) >> 8);
    cfi[0x2f] = (uint8_t)(block >> 8);
    cfi[0x30] = (uint8_t)(block >> 16);
    memcpy(cfi + 0x31, primary, sizeof(primary));
    cfi[0x3f] = 0x01; /* a field of protection registers */
    flash->buffer_size = (1u << cfi[0x2a]) * chips;
}

/* Checks the geometry: 0, or -EINVAL with a line. */
static int check_geometry(struct pflash_cfi01 *flash, char *error, size_t error_size)
{
    uint64_t chips;

    flash->device_width = flash->device_width ? flash->device_width : flash->width;
    flash->max_device_width =
        flash->max_device_width ? flash->max_device_width : flash->device_width;
    if (!bits_is_pow2(flash->width) || !bits_is_pow2(flash->device_width) ||
        !bits_is_pow2(flash->max_device_width) || flash->device_width > flash->width ||
        flash->max_device_width < flash->device_width) {
        snprintf(error, error_size,
                 "%s: width=%u, device-width=%u, max-device-width=%u: expected 1, 2 or 4, a device "
                 "not wider than the bank",
                 flash->name, flash->width, flash->device_width, flash->max_device_width);
        return -EINVAL;
    }
    chips = flash->width / flash->device_width;
    flash->size = flash->num_blocks * flash->sector_length;
    fill_cfi(flash, (unsigned)chips);
    if (!bits_is_pow2(flash->size) || flash->sector_length % flash->buffer_size ||
        flash->sector_length % (256 * chips) || flash->sector_length / chips > 0xffff00) {
        snprintf(error, error_size,
                 "%s: num-blocks=%u, sector-length=%llu: expected a power of two in all, of blocks "
                 "of a multiple of %u bytes below 16M",
                 flash->name, (unsigned)flash->num_blocks, (unsigned long long)flash->sector_length,
                 (unsigned)flash->buffer_size);
        return -EINVAL;
    }
    return 0;
}

static void read_done(struct block_request *request)
{
}

/* Reads the whole node into the content. */
static int read_node(struct pflash_cfi01 *flash, char *error, size_t error_size)
{
    if (block_size(flash->node) != flash->size) {
        snprintf(error, error_size, "%s: %s has %llu bytes, the flash has %llu", flash->name,
                 block_name(flash->node), (unsigned long long)block_size(flash->node),
                 (unsigned long long)flash->size);
        return -EINVAL;
    }
    for (uint64_t at = 0; at < flash->size; at += READ_MAX) {
        struct iovec iov = {flash->ram->host + at, flash->size - at};
        struct block_request request = {.kind = BLOCK_READ,
                                        .offset = at,
                                        .iov = &iov,
                                        .iov_count = 1,
                                        .done = read_done,
                                        .loop = flash->loop,
                                        .result = -EIO};

        iov.iov_len = iov.iov_len < READ_MAX ? iov.iov_len : READ_MAX;
        request.size = iov.iov_len;
        block_submit(flash->node, &request);
        block_drain(flash->node);
        if (request.result) {
            snprintf(error, error_size, "%s: cannot read %s: %s", flash->name,
                     block_name(flash->node), strerror(-request.result));
            return request.result;
        }
    }
    return 0;
}

/* The node's content, or erased chips; and what is needed to write to the node. */
static int fill_content(struct pflash_cfi01 *flash, char *error, size_t error_size)
{
    int err;

    flash->erased = !flash->node;
    if (!flash->node) {
        return 0;
    }
    err = read_node(flash, error, error_size);
    if (err) {
        return err;
    }
    flash->readonly |= block_readonly(flash->node);
    flash->writer.dirty = calloc(flash->size / MEM_PAGE_SIZE / 64 + 1, sizeof(uint64_t));
    if (!flash->writer.dirty) {
        snprintf(error, error_size, "%s: no memory", flash->name);
        return -ENOMEM;
    }
    block_ref(flash->node);
    return 0;
}

static int flash_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct pflash_cfi01 *flash = (struct pflash_cfi01 *)device;
    struct mem_ram_config config = {.name = flash->name};
    int err = check_geometry(flash, error, error_size);

    if (err) {
        return err;
    }
    config.size = flash->size;
    err = mem_ram_create(&flash->ram, &config, error, error_size);
    if (err) {
        return err;
    }
    err = fill_content(flash, error, error_size);
    if (!err) {
        err = mem_region_init_rom_device(&flash->mmio, flash->name, flash->ram, 0, flash->size,
                                         &flash_ops, flash, &device->owner);
        if (err) {
            snprintf(error, error_size, "%s: %s", flash->name, strerror(-err));
        }
    }
    if (err) {
        mem_ram_unref(flash->ram);
        return err;
    }
    flash->status = STATUS_READY;
    return 0;
}

static void flash_unrealize(struct hw_device *device)
{
    struct pflash_cfi01 *flash = (struct pflash_cfi01 *)device;

    mem_region_retire(&flash->mmio, NULL, NULL);
    if (flash->node) {
        /* Each request that ends begins the next. */
        block_drain(flash->node);
        block_unref(flash->node);
    }
    free(flash->writer.dirty);
    mem_ram_unref(flash->ram);
}

static void flash_reset_hold(struct hw_device *device)
{
    struct pflash_cfi01 *flash = (struct pflash_cfi01 *)device;

    flash->status = STATUS_READY;
    to_array(flash);
}

/* The content comes as a RAM block; the node may have had another one. */
static int flash_post_load(void *object, uint32_t version)
{
    struct pflash_cfi01 *flash = object;
    bool data = flash->command == CMD_BUFFER && flash->cycle == 2;

    if (flash->cycle > 3 || flash->buffer_left > flash->buffer_size ||
        data != !!flash->buffer_left || flash->buffer_first > flash->size - flash->buffer_size ||
        flash->buffer_first % flash->buffer_size) {
        return -EINVAL;
    }
    mem_region_set_rom_mode(&flash->mmio, flash->command == CMD_ARRAY_ZERO && !flash->erased);
    content_changed(flash, 0, flash->size);
    return 0;
}

static const struct property flash_properties[] = {
    PROPERTY(STRING, "name", struct pflash_cfi01, name, .required = true,
             .help = "name of the memory"),
    PROPERTY(U32, "num-blocks", struct pflash_cfi01, num_blocks, .required = true, .min = 1,
             .max = 65536, .help = "how many blocks can be erased apart"),
    PROPERTY(U64, "sector-length", struct pflash_cfi01, sector_length, .required = true,
             .min = 4096, .max = 64 << 20, .help = "bytes of one"),
    PROPERTY(U8, "width", struct pflash_cfi01, width, .required = true, .min = 1, .max = 4,
             .help = "bytes of the data bus"),
    PROPERTY(U8, "device-width", struct pflash_cfi01, device_width, .max = 4,
             .help = "bytes of a chip's data bus"),
    PROPERTY(U8, "max-device-width", struct pflash_cfi01, max_device_width, .max = 4,
             .help = "bytes that a chip's data bus could have"),
    PROPERTY(BOOL, "readonly", struct pflash_cfi01, readonly, .help = "refuse all writing"),
    PROPERTY(U16, "id0", struct pflash_cfi01, id[0], .help = "manufacturer"),
    PROPERTY(U16, "id1", struct pflash_cfi01, id[1], .help = "device"),
    PROPERTY(U16, "id2", struct pflash_cfi01, id[2], .help = "not shown"),
    PROPERTY(U16, "id3", struct pflash_cfi01, id[3], .help = "not shown"),
    PROPERTY_END,
};
static const struct state_field flash_fields[] = {
    STATE(BOOL, "erased", struct pflash_cfi01, erased),
    STATE(U8, "command", struct pflash_cfi01, command),
    STATE(U8, "cycle", struct pflash_cfi01, cycle),
    STATE(U8, "status", struct pflash_cfi01, status),
    STATE(U32, "buffer_left", struct pflash_cfi01, buffer_left),
    STATE(U64, "buffer_first", struct pflash_cfi01, buffer_first),
    STATE(BOOL, "buffer_placed", struct pflash_cfi01, buffer_placed),
    STATE_ARRAY(U8, "buffer", struct pflash_cfi01, buffer),
    STATE_END,
};
static const struct state_table flash_state = {.name = "cfi.pflash01",
                                               .version = 1,
                                               .min_version = 1,
                                               .fields = flash_fields,
                                               .post_load = flash_post_load};

const struct hw_device_type pflash_cfi01_type = {
    .name = "cfi.pflash01",
    .help = "NOR flash with Intel's command set",
    .size = sizeof(struct pflash_cfi01),
    .properties = flash_properties,
    .state = &flash_state,
    .internal = true,
    .realize = flash_realize,
    .unrealize = flash_unrealize,
    .reset_hold = flash_reset_hold,
};
