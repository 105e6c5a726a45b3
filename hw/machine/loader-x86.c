/*
 * Headers of kernels for x86 machines. Fields that are younger than the protocol of an image are
 * not looked at: there is code in their place.
 */
#include "hw/machine/loader-x86.h"

#include "util/bits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define MULTIBOOT_MAGIC          0x1badb002
#define MULTIBOOT_SEARCHED       8192
#define MULTIBOOT_REQUIRED       0xffff /* flags that a loader has to understand */

enum { SECTOR = 512 };

static int fail(const struct loader_file *file, const char *why, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s %s: %s", file->what, file->path, why);
    return -EINVAL;
}

static uint64_t get_le(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;

    while (size-- > 0) {
        value = value << 8 | bytes[size];
    }
    return value;
}

/* ---- Linux ----------------------------------------------------------------------------------- */

int loader_linux(const struct loader_file *file, struct loader_linux *image, char *error,
                 size_t error_size)
{
    const uint8_t *bytes = file->data;
    unsigned sectors;

    if (file->size < LOADER_LINUX_LOADFLAGS ||
        get_le(bytes + LOADER_LINUX_BOOT_FLAG, 2) != 0xaa55 ||
        memcmp(bytes + LOADER_LINUX_MAGIC, "HdrS", 4) != 0) {
        return -ENOENT;
    }
    *image = (struct loader_linux){.protocol = (uint16_t)get_le(bytes + LOADER_LINUX_VERSION, 2)};
    if (image->protocol < 0x202) {
        snprintf(error, error_size, "%s %s: has boot protocol %u.%02u, expected 2.02 or newer",
                 file->what, file->path, (unsigned)image->protocol >> 8,
                 (unsigned)image->protocol & 0xff);
        return -EINVAL;
    }
    /* The byte at 0x201 is the displacement of a short jump over the header. */
    image->header_end = LOADER_LINUX_MAGIC + bytes[LOADER_LINUX_JUMP + 1];
    sectors = bytes[LOADER_LINUX_SETUP_SECTS];
    image->setup_size = ((sectors ? sectors : 4) + 1) * SECTOR;
    if (image->setup_size >= file->size) {
        return fail(file, "is cut off: there is nothing behind its setup code", error, error_size);
    }
    /* Two sectors are there at least, so all fields are. */
    image->loadflags = bytes[LOADER_LINUX_LOADFLAGS];
    if (!(image->loadflags & LOADER_LINUX_LOADED_HIGH)) {
        return fail(file, "is a zImage, which is loaded low; expected a bzImage", error,
                    error_size);
    }
    image->code32_start = (uint32_t)get_le(bytes + LOADER_LINUX_CODE32_START, 4);
    image->initrd_max = image->protocol >= 0x203
                            ? (uint32_t)get_le(bytes + LOADER_LINUX_INITRD_MAX, 4)
                            : 0x37ffffff;
    image->cmdline_max =
        image->protocol >= 0x206 ? (uint32_t)get_le(bytes + LOADER_LINUX_CMDLINE_SIZE, 4) : 255;
    if (image->protocol >= 0x20a) {
        image->runs_at = get_le(bytes + LOADER_LINUX_PREF_ADDRESS, 8);
        image->init_size = get_le(bytes + LOADER_LINUX_INIT_SIZE, 4);
    }
    if (image->protocol >= 0x20c) {
        image->xloadflags = (uint16_t)get_le(bytes + LOADER_LINUX_XLOADFLAGS, 2);
    }
    return 0;
}

/* ---- PVH ------------------------------------------------------------------------------------- */

int loader_pvh_entry(const struct loader_file *file, uint32_t *entry, char *error,
                     size_t error_size)
{
    uint32_t size;
    const uint8_t *note = loader_elf_note(file, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, &size);
    uint64_t value;

    if (!note) {
        return -ENOENT;
    }
    if (size != 4 && size != 8) {
        snprintf(error, error_size, "%s %s: its PVH note has %u bytes, expected 4 or 8", file->what,
                 file->path, size);
        return -EINVAL;
    }
    value = get_le(note, size);
    if (value > UINT32_MAX) {
        snprintf(error, error_size, "%s %s: its PVH entry 0x%" PRIx64 " is not below 4 GiB",
                 file->what, file->path, value);
        return -EINVAL;
    }
    *entry = (uint32_t)value;
    return 0;
}

/* ---- multiboot ------------------------------------------------------------------------------- */

/* The offset of the header, or UINT64_MAX. */
static uint64_t find_multiboot(const struct loader_file *file)
{
    for (uint64_t at = 0; at + 12 <= file->size && at + 12 <= MULTIBOOT_SEARCHED; at += 4) {
        const uint8_t *header = file->data + at;

        if (get_le(header, 4) == MULTIBOOT_MAGIC &&
            (uint32_t)(get_le(header, 4) + get_le(header + 4, 4) + get_le(header + 8, 4)) == 0) {
            return at;
        }
    }
    return UINT64_MAX;
}

/* The address fields: clause 3.1.3. */
static int read_addresses(const struct loader_file *file, uint64_t at,
                          struct loader_multiboot *image, char *error, size_t error_size)
{
    const uint8_t *fields = file->data + at + 12;
    uint32_t header, load_end;

    if (file->size - at < 32) {
        return fail(file, "its multiboot header is cut off", error, error_size);
    }
    header = (uint32_t)get_le(fields, 4);
    image->load_address = (uint32_t)get_le(fields + 4, 4);
    load_end = (uint32_t)get_le(fields + 8, 4);
    image->memory_end = (uint32_t)get_le(fields + 12, 4);
    image->entry = (uint32_t)get_le(fields + 16, 4);
    if (header < image->load_address || header - image->load_address > at) {
        return fail(file, "its multiboot header is not where that says", error, error_size);
    }
    image->file_offset = at - (header - image->load_address);
    image->loaded = file->size - image->file_offset;
    if (load_end) {
        if (load_end < image->load_address || load_end - image->load_address > image->loaded) {
            return fail(file, "ends before what its multiboot header wants loaded", error,
                        error_size);
        }
        image->loaded = load_end - image->load_address;
    }
    if (image->loaded == 0 || image->loaded > UINT32_MAX - image->load_address) {
        return fail(file, "its multiboot header wants nothing loaded, or beyond 4 GiB", error,
                    error_size);
    }
    if (image->memory_end < image->load_address + image->loaded) {
        image->memory_end = (uint32_t)(image->load_address + image->loaded);
    }
    image->has_addresses = true;
    return 0;
}

int loader_multiboot(const struct loader_file *file, struct loader_multiboot *image, char *error,
                     size_t error_size)
{
    const uint32_t known = LOADER_MULTIBOOT_PAGE_ALIGN | LOADER_MULTIBOOT_MEMORY_INFO;
    uint64_t at = find_multiboot(file);

    if (at == UINT64_MAX) {
        return -ENOENT;
    }
    *image = (struct loader_multiboot){.flags = (uint32_t)get_le(file->data + at + 4, 4)};
    if (image->flags & LOADER_MULTIBOOT_VIDEO) {
        return fail(file, "its multiboot header wants a video mode, which there is not", error,
                    error_size);
    }
    if (image->flags & MULTIBOOT_REQUIRED & ~known) {
        snprintf(error, error_size,
                 "%s %s: its multiboot header wants what is not known (flags 0x%x)", file->what,
                 file->path, image->flags);
        return -EINVAL;
    }
    return image->flags & LOADER_MULTIBOOT_ADDRESSES
               ? read_addresses(file, at, image, error, error_size)
               : 0;
}
