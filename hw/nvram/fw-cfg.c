/*
 * fw_cfg, as QEMU's specification "QEMU Firmware Configuration (fw_cfg) Device" has it.
 *
 * A guest selects an item by its key, and reads it from the start: byte by byte through the data
 * register, or by DMA. Behind the end of an item, and in one that does not exist, there are zeros.
 * Everything a register holds is big-endian with memory-mapped registers, where a wide access to
 * the data register has the item's bytes in their order. On I/O ports the selector is
 * little-endian.
 *
 * Files are items from FW_CFG_FILE_FIRST on, sorted by name; item FW_CFG_FILE_DIR lists them. As
 * in QEMU, adding a file moves those behind it, so files are added before the guest runs.
 *
 * A DMA descriptor is the guest's: it may be anywhere, name any key, any address and up to 4 GiB.
 * The transfer ends at the first byte that fails, with the error bit in the descriptor; it is
 * bounded by the guest's own memory.
 */
#include "hw/nvram/fw-cfg.h"
#include "mem/access.h"
#include "util/error.h"
#include "util/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MMIO_DATA = 0,
    MMIO_SELECT = 8,
    MMIO_DMA = 16,
    MMIO_SIZE = 24,
    IO_SIZE = 12,
    IO_DMA = 4,

    KEY_WRITE = 0x4000, /* of a legacy interface; ignored */
    KEY_NUMBER = 0x3fff,

    DMA_ERROR = 0x01,
    DMA_READ = 0x02,
    DMA_SKIP = 0x04,
    DMA_SELECT = 0x08,
    DMA_WRITE = 0x10,

    ID_TRADITIONAL = 1,
    ID_DMA = 2,

    CHUNK = 4096,
    DIRECTORY_ENTRY = 64,
};

#define DMA_SIGNATURE UINT64_C(0x51454d5520434647) /* "QEMU CFG" */

static struct fw_cfg_item *item_of(struct fw_cfg *fw, uint16_t key)
{
    unsigned number = key & KEY_NUMBER;

    return number < FW_CFG_ITEMS ? &fw->item[key >> 15][number] : NULL;
}

/* ---- items ----------------------------------------------------------------------------------- */

static void item_free(struct fw_cfg_item *item)
{
    if (item->owned) {
        free(item->data);
    }
    *item = (struct fw_cfg_item){0};
}

/* Makes an item of a copy of the bytes. */
static int item_set(struct fw_cfg_item *item, const void *data, size_t size)
{
    uint8_t *copy;

    if (size > UINT32_MAX) {
        return -EFBIG;
    }
    copy = malloc(size ? size : 1);
    if (!copy) {
        return -ENOMEM;
    }
    if (size) {
        memcpy(copy, data, size);
    }
    item_free(item);
    *item =
        (struct fw_cfg_item){.data = copy, .size = (uint32_t)size, .exists = true, .owned = true};
    return 0;
}

int fw_cfg_add_bytes(struct fw_cfg *fw, uint16_t key, const void *data, size_t size)
{
    struct fw_cfg_item *item = item_of(fw, key);

    if (!item) {
        return -ENOSPC;
    }
    return item->exists ? -EEXIST : item_set(item, data, size);
}

int fw_cfg_add_number(struct fw_cfg *fw, uint16_t key, uint64_t value, unsigned size)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(value >> 8 * i);
    }
    return fw_cfg_add_bytes(fw, key, bytes, size);
}

int fw_cfg_add_string(struct fw_cfg *fw, uint16_t key, const char *text)
{
    return fw_cfg_add_bytes(fw, key, text, strlen(text) + 1);
}

static void put_big_endian(uint8_t *to, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        to[i] = (uint8_t)(value >> 8 * (size - 1 - i));
    }
}

/* The directory: a count, then size, key, two bytes of nothing, and the name of each file. */
static int update_directory(struct fw_cfg *fw)
{
    size_t size = 4 + (size_t)fw->files * DIRECTORY_ENTRY;
    uint8_t *bytes = calloc(1, size);
    int err;

    if (!bytes) {
        return -ENOMEM;
    }
    put_big_endian(bytes, fw->files, 4);
    for (unsigned i = 0; i < fw->files; i++) {
        uint8_t *entry = bytes + 4 + (size_t)i * DIRECTORY_ENTRY;

        put_big_endian(entry, fw->item[0][FW_CFG_FILE_FIRST + i].size, 4);
        put_big_endian(entry + 4, FW_CFG_FILE_FIRST + i, 2);
        memcpy(entry + 8, fw->file[i].name, sizeof(fw->file[i].name));
    }
    err = item_set(&fw->item[0][FW_CFG_FILE_DIR], bytes, size);
    free(bytes);
    return err;
}

static void remove_file(struct fw_cfg *fw, unsigned at)
{
    struct fw_cfg_item *items = &fw->item[0][FW_CFG_FILE_FIRST];

    fw->files--;
    memmove(&fw->file[at], &fw->file[at + 1], (fw->files - at) * sizeof(fw->file[0]));
    memmove(&items[at], &items[at + 1], (fw->files - at) * sizeof(items[0]));
    items[fw->files] = (struct fw_cfg_item){0};
}

/* Takes the item over, in the place where its name belongs; on error it is the caller's. */
static int insert_file(struct fw_cfg *fw, const char *name, const struct fw_cfg_item *item)
{
    struct fw_cfg_item *items = &fw->item[0][FW_CFG_FILE_FIRST];
    unsigned at = 0;
    int err;

    if (strlen(name) > FW_CFG_NAME_MAX) {
        return -ENAMETOOLONG;
    }
    if (fw->files == FW_CFG_FILES_MAX) {
        return -ENOSPC;
    }
    while (at < fw->files && strcmp(fw->file[at].name, name) < 0) {
        at++;
    }
    if (at < fw->files && strcmp(fw->file[at].name, name) == 0) {
        return -EEXIST;
    }
    memmove(&fw->file[at + 1], &fw->file[at], (fw->files - at) * sizeof(fw->file[0]));
    memmove(&items[at + 1], &items[at], (fw->files - at) * sizeof(items[0]));
    fw->files++;
    fw->file[at] = (struct fw_cfg_file){0};
    strcpy(fw->file[at].name, name);
    items[at] = *item;
    err = update_directory(fw);
    if (err) {
        remove_file(fw, at);
    }
    return err;
}

int fw_cfg_add_file(struct fw_cfg *fw, const char *name, const void *data, size_t size)
{
    struct fw_cfg_item item = {0};
    int err = item_set(&item, data, size);

    if (!err) {
        err = insert_file(fw, name, &item);
        if (err) {
            item_free(&item);
        }
    }
    return err;
}

int fw_cfg_add_live_file(struct fw_cfg *fw, const char *name, void *data, size_t size,
                         bool writable, const struct fw_cfg_item_ops *ops, void *opaque)
{
    struct fw_cfg_item item = {.data = data,
                               .size = (uint32_t)size,
                               .exists = true,
                               .writable = writable,
                               .ops = ops,
                               .opaque = opaque};

    return size > UINT32_MAX ? -EFBIG : insert_file(fw, name, &item);
}

/* ---- -fw_cfg --------------------------------------------------------------------------------- */

struct option {
    char *name, *file, *string;
};

static const struct property option_properties[] = {
    PROPERTY(STRING, "name", struct option, name, .help = "name of the file in the guest"),
    PROPERTY(STRING, "file", struct option, file, .help = "file of the host with the content"),
    PROPERTY(STRING, "string", struct option, string, .help = "the content"),
    PROPERTY_END,
};

/* Reads a whole file, also one that has no size (a pipe). */
static int read_file(const char *path, uint8_t **data, size_t *size)
{
    FILE *file = fopen(path, "rb");
    size_t room = 0, got;
    int err = 0;

    *data = NULL;
    *size = 0;
    if (!file) {
        return -errno;
    }
    do {
        if (*size == room) {
            uint8_t *more = room > UINT32_MAX ? NULL : realloc(*data, room ? room * 2 : 65536);

            if (!more) {
                err = room > UINT32_MAX ? -EFBIG : -ENOMEM;
                break;
            }
            *data = more;
            room = room ? room * 2 : 65536;
        }
        errno = 0;
        got = fread(*data + *size, 1, room - *size, file);
        *size += got;
    } while (got);
    if (!err && ferror(file)) {
        err = errno ? -errno : -EIO;
    }
    fclose(file);
    return err;
}

static const char *reason(int err)
{
    switch (err) {
    case -EEXIST:
        return "there is a file of that name already";
    case -ENAMETOOLONG:
        return "expected a name of at most 55 bytes";
    case -ENOSPC:
        return "there are too many files";
    case -EFBIG:
        return "expected less than 4 GiB";
    default:
        return strerror(-err);
    }
}

static int add_parsed(struct fw_cfg *fw, const struct option *option, char *error,
                      size_t error_size)
{
    uint8_t *data = NULL;
    size_t size = 0;
    int err;

    if (!option->name || !*option->name) {
        snprintf(error, error_size, "-fw_cfg: name: expected the name of a file, opt/...");
        return -EINVAL;
    }
    if (!option->file == !option->string) {
        snprintf(error, error_size,
                 "-fw_cfg: name=%s: expected one of file= and string=", option->name);
        return -EINVAL;
    }
    if (option->file) {
        err = read_file(option->file, &data, &size);
        if (err) {
            free(data);
            snprintf(error, error_size, "-fw_cfg: file=%s: %s", option->file, reason(err));
            return err;
        }
        err = fw_cfg_add_file(fw, option->name, data, size);
        free(data);
    } else {
        err = fw_cfg_add_file(fw, option->name, option->string, strlen(option->string));
    }
    if (err) {
        snprintf(error, error_size, "-fw_cfg: name=%s: %s", option->name, reason(err));
    } else if (strncmp(option->name, "opt/", 4) != 0) {
        error_warn("-fw_cfg: name=%s: names that do not begin with opt/ may be firmware's own",
                   option->name);
    }
    return err;
}

int fw_cfg_add_option(struct fw_cfg *fw, const char *option, char *error, size_t error_size)
{
    struct option parsed = {0};
    bool bare = option[strcspn(option, ",=")] != '=';
    size_t room = strlen(option) + sizeof("name=");
    char *list = malloc(room);
    int err;

    if (!list) {
        return -ENOMEM;
    }
    snprintf(list, room, "%s%s", bare ? "name=" : "", option);
    err = property_set_list(option_properties, &parsed, "-fw_cfg", list, NULL, NULL, error,
                            error_size);
    if (!err) {
        err = add_parsed(fw, &parsed, error, error_size);
    }
    property_clear(option_properties, &parsed);
    free(list);
    return err;
}

/* ---- what the guest does --------------------------------------------------------------------- */

static struct fw_cfg_item *selected_item(struct fw_cfg *fw)
{
    struct fw_cfg_item *item = item_of(fw, fw->selected);

    return item && item->exists ? item : NULL;
}

static void select_item(struct fw_cfg *fw, uint16_t key)
{
    const struct fw_cfg_item *item;

    fw->selected = key & (uint16_t)~KEY_WRITE;
    fw->offset = 0;
    item = selected_item(fw);
    if (item && item->ops && item->ops->select) {
        item->ops->select(item->opaque);
    }
}

/* The next `size` bytes, the first one highest. */
static uint64_t read_data(struct fw_cfg *fw, unsigned size)
{
    const struct fw_cfg_item *item = selected_item(fw);
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = item && fw->offset < item->size ? item->data[fw->offset++] : 0;

        value = value << 8 | byte;
    }
    return value;
}

/* Zeros for what lies behind an item's end. */
static int clear_memory(struct fw_cfg *fw, uint64_t address, uint64_t size)
{
    static const uint8_t zeros[CHUNK];

    while (size) {
        uint64_t n = size < sizeof(zeros) ? size : sizeof(zeros);
        int err = mem_access_write(fw->memory, mem_gpa(address), zeros, n, MEM_ATTRS_NONE);

        if (err) {
            return err;
        }
        address += n;
        size -= n;
    }
    return 0;
}

/* The guest writes n bytes at the offset: all or, where memory cannot be read, none. */
static int write_item(struct fw_cfg *fw, const struct fw_cfg_item *item, uint64_t address,
                      uint32_t n)
{
    uint8_t *bytes;
    int err;

    if (!item->writable) {
        return -EACCES;
    }
    bytes = malloc(n);
    if (!bytes) {
        return -ENOMEM;
    }
    err = mem_access_read(fw->memory, mem_gpa(address), bytes, n, MEM_ATTRS_NONE);
    if (!err) {
        memcpy(item->data + fw->offset, bytes, n);
        if (item->ops && item->ops->written) {
            item->ops->written(item->opaque, fw->offset, n);
        }
    }
    free(bytes);
    return err;
}

/* Carries a descriptor out; 0 or -errno. */
static int transfer(struct fw_cfg *fw, uint32_t control, uint32_t length, uint64_t address)
{
    const struct fw_cfg_item *item;
    uint32_t n;
    int err = 0;

    if (control & DMA_SELECT) {
        select_item(fw, (uint16_t)(control >> 16));
    }
    if (!(control & (DMA_READ | DMA_WRITE | DMA_SKIP)) || !length) {
        return 0;
    }
    item = selected_item(fw);
    n = item && fw->offset < item->size ? item->size - fw->offset : 0;
    n = n < length ? n : length;
    if (control & DMA_READ) {
        if (n) {
            err = mem_access_write(fw->memory, mem_gpa(address), item->data + fw->offset, n,
                                   MEM_ATTRS_NONE);
        }
        if (!err) {
            err = clear_memory(fw, address + n, length - n);
        }
    } else if (control & DMA_WRITE) {
        err = n && n == length ? write_item(fw, item, address, n) : -EINVAL;
    }
    fw->offset += n;
    return err;
}

static uint64_t get_big_endian(const uint8_t *from, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

/* The address register is complete: reads the descriptor there, and answers in its control word. */
static void start_dma(struct fw_cfg *fw)
{
    uint64_t address = fw->dma_address;
    uint8_t descriptor[16], answer[4] = {0};
    int err = mem_access_read(fw->memory, mem_gpa(address), descriptor, sizeof(descriptor),
                              MEM_ATTRS_NONE);

    fw->dma_address = 0;
    if (!err) {
        err = transfer(fw, (uint32_t)get_big_endian(descriptor, 4),
                       (uint32_t)get_big_endian(descriptor + 4, 4),
                       get_big_endian(descriptor + 8, 8));
    }
    if (err) {
        log_limited(LOG_GUEST_ERRORS, "fw_cfg: DMA by the descriptor at %#llx: %s\n",
                    (unsigned long long)address, strerror(-err));
    }
    put_big_endian(answer, err ? DMA_ERROR : 0, 4);
    (void)mem_access_write(fw->memory, mem_gpa(address), answer, sizeof(answer), MEM_ATTRS_NONE);
}

/* The address register, 8 bytes or its halves, of which the low one starts the transfer. */
static void write_dma(struct fw_cfg *fw, uint64_t offset, unsigned size, uint64_t value)
{
    if (size == 8) {
        fw->dma_address = value;
        start_dma(fw);
    } else if (size == 4 && offset == 0) {
        fw->dma_address = value << 32;
    } else if (size == 4 && offset == 4) {
        fw->dma_address |= value;
        start_dma(fw);
    }
}

static uint64_t read_dma(uint64_t offset, unsigned size)
{
    return DMA_SIGNATURE >> (8 - offset - size) * 8;
}

static int mmio_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    struct fw_cfg *fw = opaque;

    *value = 0;
    if (offset < MMIO_SELECT && !attrs.debug) {
        *value = read_data(fw, size);
    } else if (offset >= MMIO_DMA && fw->dma_enabled) {
        *value = read_dma(offset - MMIO_DMA, size);
    }
    return 0;
}

static int mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    struct fw_cfg *fw = opaque;

    if (offset == MMIO_SELECT && size == 2) {
        select_item(fw, (uint16_t)value);
    } else if (offset >= MMIO_DMA && fw->dma_enabled) {
        write_dma(fw, offset - MMIO_DMA, size, value);
    }
    return 0;
}

static const struct mem_ops mmio_ops = {
    .read = mmio_read, .write = mmio_write, .endian = MEM_BIG, .min_size = 1, .max_size = 8};

/* Port 0x510 takes keys, port 0x511 gives data. */
static int io_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                   struct mem_attrs attrs)
{
    *value = size == 1 && !attrs.debug ? read_data(opaque, 1) : 0;
    return 0;
}

static int io_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                    struct mem_attrs attrs)
{
    if (size == 2) {
        select_item(opaque, (uint16_t)value);
    }
    return 0;
}

static const struct mem_ops io_ops = {
    .read = io_read, .write = io_write, .min_size = 1, .max_size = 2};

static int io_dma_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                       struct mem_attrs attrs)
{
    *value = ((struct fw_cfg *)opaque)->dma_enabled ? read_dma(offset, size) : 0;
    return 0;
}

static int io_dma_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    if (((struct fw_cfg *)opaque)->dma_enabled) {
        write_dma(opaque, offset, size, value);
    }
    return 0;
}

static const struct mem_ops io_dma_ops = {
    .read = io_dma_read, .write = io_dma_write, .endian = MEM_BIG, .min_size = 1, .max_size = 8};

/* ---- life ------------------------------------------------------------------------------------ */

static void free_items(struct fw_cfg *fw)
{
    for (unsigned i = 0; i < FW_CFG_ITEMS; i++) {
        item_free(&fw->item[0][i]);
        item_free(&fw->item[1][i]);
    }
    fw->files = 0;
}

static int fw_cfg_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct fw_cfg *fw = (struct fw_cfg *)device;
    int err = fw_cfg_add_bytes(fw, FW_CFG_SIGNATURE, "QEMU", 4);

    if (!err) {
        err = fw_cfg_add_number(fw, FW_CFG_ID, ID_TRADITIONAL | (fw->dma_enabled ? ID_DMA : 0), 4);
    }
    if (!err) {
        err = update_directory(fw);
    }
    if (err) {
        free_items(fw);
        snprintf(error, error_size, "fw_cfg: %s", strerror(-err));
        return err;
    }
    mem_region_init_mmio(&fw->mmio, "fw_cfg", MMIO_SIZE, &mmio_ops, fw, &device->owner);
    mem_region_init_container(&fw->io, "fw_cfg-io", IO_SIZE);
    mem_region_init_mmio(&fw->io_select, "fw_cfg-port", 2, &io_ops, fw, &device->owner);
    mem_region_init_mmio(&fw->io_dma, "fw_cfg-dma", 8, &io_dma_ops, fw, &device->owner);
    err = mem_region_add(&fw->io, 0, &fw->io_select, 0);
    return err ? err : mem_region_add(&fw->io, IO_DMA, &fw->io_dma, 0);
}

static void fw_cfg_unrealize(struct hw_device *device)
{
    struct fw_cfg *fw = (struct fw_cfg *)device;

    mem_region_retire(&fw->mmio, NULL, NULL);
    mem_region_retire(&fw->io_select, NULL, NULL);
    mem_region_retire(&fw->io_dma, NULL, NULL);
    mem_region_retire(&fw->io, NULL, NULL);
    free_items(fw);
}

static void fw_cfg_reset_enter(struct hw_device *device, bool cold)
{
    struct fw_cfg *fw = (struct fw_cfg *)device;

    fw->selected = FW_CFG_SIGNATURE;
    fw->offset = 0;
    fw->dma_address = 0;
}

static const struct property fw_cfg_properties[] = {
    PROPERTY(BOOL, "dma_enabled", struct fw_cfg, dma_enabled, .number = true,
             .help = "the guest may have items written into its memory"),
    PROPERTY_END,
};
static const struct state_field fw_cfg_fields[] = {
    STATE(U16, "selected", struct fw_cfg, selected),
    STATE(U32, "offset", struct fw_cfg, offset),
    STATE(U64, "dma_address", struct fw_cfg, dma_address),
    STATE_END,
};
static const struct state_table fw_cfg_state = {
    .name = "fw_cfg", .version = 1, .min_version = 1, .fields = fw_cfg_fields};

const struct hw_device_type fw_cfg_type = {
    .name = "fw_cfg",
    .help = "configuration for firmware",
    .size = sizeof(struct fw_cfg),
    .properties = fw_cfg_properties,
    .state = &fw_cfg_state,
    .internal = true,
    .realize = fw_cfg_realize,
    .unrealize = fw_cfg_unrealize,
    .reset_enter = fw_cfg_reset_enter,
};
