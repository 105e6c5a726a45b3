/*
 * The text descriptor of VMware images, and making images of one sparse file.
 *
 * A new image is: header, descriptor (20 sectors), the redundant directory with its tables, the
 * directory with its tables, and grains from a multiple of their size on.
 */
#include "io/block/bytes.h"
#include "io/block/crypto.h"
#include "io/block/vmdk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DESCRIPTOR_SECTORS 20
#define MAX_SIZE           (UINT64_C(1) << 46) /* 64 TiB */

/* ---- the descriptor ---- */

/* The value of KEY="value" or KEY=value; false: there is none, or too long a one. */
static bool find_value(const char *text, const char *key, char *to, size_t size)
{
    size_t length = strlen(key);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0) {
            const char *value = line + length;

            value += strspn(value, " \t");
            if (*value++ != '=') {
                continue;
            }
            value += strspn(value, " \t");
            bool quoted = *value == '"';

            value += quoted;
            size_t n = strcspn(value, quoted ? "\"\r\n" : "\r\n");

            if (n >= size) {
                return false;
            }
            memcpy(to, value, n);
            to[n] = 0;
            return true;
        }
    }
    return false;
}

static void find_extents(struct vmdk_descriptor *d)
{
    for (const char *line = d->text; line; line = strchr(line, '\n')) {
        char access[16], kind[16], file[512];
        uint64_t sectors, start = 0;
        int n;

        line += *line == '\n';
        n = sscanf(line, "%15s %" SCNu64 " %15s \"%511[^\"]\" %" SCNu64, access, &sectors, kind,
                   file, &start);
        if (n < 4 || (strcmp(access, "RW") != 0 && strcmp(access, "RDONLY") != 0)) {
            continue;
        }
        d->extents++;
        d->sectors = sectors;
        d->start = n == 5 ? start : 0;
        snprintf(d->kind, sizeof(d->kind), "%s", kind);
        snprintf(d->extent, sizeof(d->extent), "%s", file);
    }
}

int vmdk_descriptor_read(struct block_node *node, struct vmdk_descriptor *d, uint64_t offset,
                         size_t size, char *error, size_t error_size)
{
    char parent[32] = "";
    int err;

    *d = (struct vmdk_descriptor){.size = size, .offset = offset};
    if (size > VMDK_DESCRIPTOR_MAX) {
        snprintf(error, error_size, "vmdk: %s: the descriptor is too long", node->filename);
        return -EINVAL;
    }
    d->text = calloc(1, size + 1);
    if (!d->text) {
        return -ENOMEM;
    }
    err = block_pread(node->file->node, offset, d->text, size);
    if (err) {
        vmdk_descriptor_free(d);
        return err;
    }
    find_value(d->text, "createType", d->type, sizeof(d->type));
    if (find_value(d->text, "parentCID", parent, sizeof(parent)) &&
        strcasecmp(parent, "ffffffff") != 0) {
        find_value(d->text, "parentFileNameHint", d->parent, sizeof(d->parent));
    }
    find_extents(d);
    return 0;
}

void vmdk_descriptor_free(struct vmdk_descriptor *d)
{
    free(d->text);
    d->text = NULL;
}

int vmdk_descriptor_new_cid(struct block_node *node, const struct vmdk_descriptor *d)
{
    char *place = d->text ? strstr(d->text, "\nCID=") : NULL;
    char text[9];
    uint32_t cid;
    int err = crypto_random(&cid, sizeof(cid));

    if (err || !place || strcspn(place + 5, "\r\n") != 8) {
        return err; /* a descriptor with another layout stays as it is */
    }
    snprintf(text, sizeof(text), "%08" PRIx32, cid == UINT32_MAX ? 0 : cid);
    memcpy(place + 5, text, 8);
    return block_pwrite(node->file->node, d->offset + (uint64_t)(place + 5 - d->text), text, 8, 0);
}

/* ---- creation ---- */

static const char *const adapter_names[] = {"ide", "buslogic", "lsilogic", "legacyESX", NULL};
static const char *const subformat_names[] = {"monolithicSparse", NULL};

const struct property vmdk_create_properties[] = {
    PROPERTY(ENUM, "adapter_type", struct vmdk_create_options, adapter, .names = adapter_names,
             .help = "the controller that other programs show the disk on"),
    PROPERTY(ENUM, "subformat", struct vmdk_create_options, subformat, .names = subformat_names,
             .help = "layout of the image"),
    PROPERTY(BOOL, "zeroed_grain", struct vmdk_create_options, zeroed_grain,
             .help = "grains of zeros may be noted as such"),
    PROPERTY_END,
};

static int make_descriptor(char *text, size_t size, const struct block_create *create,
                           uint64_t sectors, const char *adapter)
{
    const char *name = strrchr(create->file->filename, '/');
    unsigned heads = strcmp(adapter, "ide") == 0 ? 16 : 255;
    uint32_t cid;
    int err = crypto_random(&cid, sizeof(cid));

    int n = snprintf(text, size,
                     "# Disk DescriptorFile\n"
                     "version=1\n"
                     "CID=%08" PRIx32 "\n"
                     "parentCID=ffffffff\n"
                     "createType=\"monolithicSparse\"\n"
                     "\n"
                     "# Extent description\n"
                     "RW %" PRIu64 " SPARSE \"%s\"\n"
                     "\n"
                     "# The Disk Data Base\n"
                     "#DDB\n"
                     "\n"
                     "ddb.virtualHWVersion = \"4\"\n"
                     "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
                     "ddb.geometry.heads = \"%u\"\n"
                     "ddb.geometry.sectors = \"63\"\n"
                     "ddb.adapterType = \"%s\"\n",
                     cid == UINT32_MAX ? 0 : cid, sectors, name ? name + 1 : create->file->filename,
                     sectors / (heads * 63), heads, adapter);

    return err ? err : n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static void make_header(uint8_t *h, uint64_t sectors, uint64_t redundant, uint64_t directory,
                        uint64_t data, bool zeroed)
{
    bytes_put_le32(h, VMDK_MAGIC);
    bytes_put_le32(h + 4, zeroed ? 2 : 1);
    bytes_put_le32(h + 8,
                   VMDK_FLAG_NEWLINES | VMDK_FLAG_REDUNDANT | (zeroed ? VMDK_FLAG_ZEROED : 0));
    bytes_put_le64(h + 12, sectors);
    bytes_put_le64(h + 20, VMDK_GRAIN);
    bytes_put_le64(h + 28, 1);
    bytes_put_le64(h + 36, DESCRIPTOR_SECTORS);
    bytes_put_le32(h + 44, VMDK_TABLE);
    bytes_put_le64(h + 48, redundant);
    bytes_put_le64(h + 56, directory);
    bytes_put_le64(h + 64, data);
    bytes_put_text(h + 73, "\n \r\n", 4); /* notices transfers as text */
}

int vmdk_create(const struct block_create *create, const void *options, char *error,
                size_t error_size)
{
    const struct vmdk_create_options *o = options;
    uint64_t sectors = round_up(create->size, VMDK_SECTOR) / VMDK_SECTOR;
    uint64_t tables = (sectors + VMDK_GRAIN * VMDK_TABLE - 1) / (VMDK_GRAIN * VMDK_TABLE);
    uint64_t directory_size = round_up(tables * 4, VMDK_SECTOR) / VMDK_SECTOR;
    uint64_t one = directory_size + tables * (VMDK_TABLE * 4 / VMDK_SECTOR);
    uint64_t redundant = 1 + DESCRIPTOR_SECTORS, directory = redundant + one;
    uint64_t data = round_up(directory + one, VMDK_GRAIN);
    uint8_t *image;
    int err;

    if (create->size > MAX_SIZE) {
        snprintf(error, error_size, "vmdk: size %" PRIu64 ": expected at most 64T", create->size);
        return -EFBIG;
    }
    if (create->backing_filename) {
        snprintf(error, error_size,
                 "vmdk: backing_file=%s: expected none; new images have no parent",
                 create->backing_filename);
        return -ENOTSUP;
    }
    image = calloc(1, (directory + directory_size) * VMDK_SECTOR);
    if (!image) {
        return -ENOMEM;
    }
    make_header(image, sectors, redundant, directory, data, o->zeroed_grain);
    err = make_descriptor((char *)image + VMDK_SECTOR, DESCRIPTOR_SECTORS * VMDK_SECTOR, create,
                          sectors, adapter_names[o->adapter]);
    for (uint64_t t = 0; t < tables; t++) {
        uint64_t table = t * (VMDK_TABLE * 4 / VMDK_SECTOR) + directory_size;

        bytes_put_le32(image + redundant * VMDK_SECTOR + t * 4, (uint32_t)(redundant + table));
        bytes_put_le32(image + directory * VMDK_SECTOR + t * 4, (uint32_t)(directory + table));
    }
    if (!err) {
        err = block_truncate(create->file, data * VMDK_SECTOR, true, BLOCK_PREALLOC_OFF, error,
                             error_size);
    }
    if (!err) {
        err = block_pwrite(create->file, 0, image, (directory + directory_size) * VMDK_SECTOR, 0);
    }
    free(image);
    return err;
}
