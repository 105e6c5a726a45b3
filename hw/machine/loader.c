/*
 * Files and blobs. Blobs are a list by address, so that an overlap is between neighbours. A file
 * that is loaded whole stays mapped from the host's file (privately), and lets go of its pages once
 * they are written, so that an initrd costs no memory twice.
 */
#include "hw/machine/loader.h"

#include "mem/access.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int loader_open(struct loader_file *file, const char *what, const char *path, uint64_t limit,
                char *error, size_t error_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *why = NULL;
    struct stat st;
    void *data;
    int err;

    *file = (struct loader_file){.what = what, .path = path};
    if (fd < 0 || fstat(fd, &st) < 0) {
        err = -errno;
        snprintf(error, error_size, "%s %s: %s", what, path, strerror(-err));
        if (fd >= 0) {
            close(fd);
        }
        return err;
    }
    if (!S_ISREG(st.st_mode)) {
        why = S_ISDIR(st.st_mode) ? "is a folder" : "is not a file";
    } else if (st.st_size == 0) {
        why = "is empty";
    } else if ((uint64_t)st.st_size > limit) {
        snprintf(error, error_size, "%s %s: has %jd bytes, more than the %" PRIu64 " there are",
                 what, path, (intmax_t)st.st_size, limit);
        close(fd);
        return -EFBIG;
    }
    if (why) {
        snprintf(error, error_size, "%s %s: %s", what, path, why);
        close(fd);
        return -EINVAL;
    }
    data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    err = data == MAP_FAILED ? -errno : 0;
    close(fd);
    if (err) {
        snprintf(error, error_size, "%s %s: cannot be mapped: %s", what, path, strerror(-err));
        return err;
    }
    file->data = data;
    file->size = (uint64_t)st.st_size;
    file->mapped = true;
    return 0;
}

static void release(uint8_t *data, uint64_t size, bool mapped)
{
    if (mapped) {
        munmap(data, size);
    } else {
        free(data);
    }
}

void loader_close(struct loader_file *file)
{
    if (file->data) {
        release(file->data, file->size, file->mapped);
    }
    file->data = NULL;
}

static void blob_free(struct loader_blob *blob)
{
    if (blob->data) {
        release(blob->data, blob->filled, blob->mapped);
    }
    free(blob->name);
    free(blob);
}

/* Takes over the blob. */
static int insert(struct loader_blobs *blobs, struct loader_blob *blob, char *error,
                  size_t error_size)
{
    struct loader_blob **link = &blobs->first;
    const struct loader_blob *before = NULL, *other = NULL;

    if (blob->size == 0 || blob->size - 1 > UINT64_MAX - blob->address) {
        snprintf(error, error_size,
                 "%s: 0x%" PRIx64 " bytes at 0x%" PRIx64 " do not fit into the address space",
                 blob->name, blob->size, blob->address);
        blob_free(blob);
        return -EINVAL;
    }
    while (*link && (*link)->address < blob->address) {
        before = *link;
        link = &(*link)->next;
    }
    if (before && before->size > blob->address - before->address) {
        other = before;
    } else if (*link && blob->size > (*link)->address - blob->address) {
        other = *link;
    }
    if (other) {
        snprintf(error, error_size,
                 "%s (0x%" PRIx64 " to 0x%" PRIx64 ") overlaps %s (0x%" PRIx64 " to 0x%" PRIx64 ")",
                 blob->name, blob->address, blob->address + (blob->size - 1), other->name,
                 other->address, other->address + (other->size - 1));
        blob_free(blob);
        return -EEXIST;
    }
    blob->next = *link;
    *link = blob;
    return 0;
}

int loader_add(struct loader_blobs *blobs, const char *name, uint64_t address, const void *data,
               uint64_t filled, uint64_t size, char *error, size_t error_size)
{
    struct loader_blob *blob = calloc(1, sizeof(*blob));
    uint8_t *copy = malloc(filled ? filled : 1);
    char *name_copy = strdup(name);

    if (!blob || !copy || !name_copy) {
        free(blob);
        free(copy);
        free(name_copy);
        snprintf(error, error_size, "%s: out of memory", name);
        return -ENOMEM;
    }
    memcpy(copy, data, filled);
    *blob = (struct loader_blob){
        .name = name_copy, .address = address, .size = size, .filled = filled, .data = copy};
    return insert(blobs, blob, error, error_size);
}

int loader_add_file(struct loader_blobs *blobs, struct loader_file *file, uint64_t address,
                    char *error, size_t error_size)
{
    struct loader_blob *blob = calloc(1, sizeof(*blob));
    char *name = NULL;

    if (!blob || asprintf(&name, "%s %s", file->what, file->path) < 0) {
        free(blob);
        snprintf(error, error_size, "%s %s: out of memory", file->what, file->path);
        return -ENOMEM;
    }
    *blob = (struct loader_blob){.name = name,
                                 .address = address,
                                 .size = file->size,
                                 .filled = file->size,
                                 .data = file->data,
                                 .mapped = file->mapped};
    file->data = NULL;
    return insert(blobs, blob, error, error_size);
}

/* How many of `size` bytes from an address on are alike, at least 1: RAM or ROM, or something else.
 */
static uint64_t alike(struct mem_space *memory, uint64_t address, uint64_t size, bool *is_ram)
{
    const struct mem_view *view = mem_space_enter(memory);
    const struct mem_section *section = mem_view_find(view, mem_gpa(address));
    uint64_t more = section ? section->last - address : 0;

    *is_ram = section && section->ram;
    mem_space_leave();
    return more < size - 1 ? more + 1 : size;
}

int loader_check(const struct loader_blobs *blobs, struct mem_space *memory, char *error,
                 size_t error_size)
{
    for (const struct loader_blob *b = blobs->first; b; b = b->next) {
        bool is_ram = true;

        for (uint64_t done = 0; done < b->size;) {
            uint64_t n = alike(memory, b->address + done, b->size - done, &is_ram);

            if (!is_ram) {
                snprintf(error, error_size,
                         "%s (0x%" PRIx64 " to 0x%" PRIx64 "): there is no memory at 0x%" PRIx64,
                         b->name, b->address, b->address + (b->size - 1), b->address + done);
                return -ENXIO;
            }
            done += n;
        }
    }
    return 0;
}

static void write_blob(const struct loader_blob *blob, struct mem_space *memory)
{
    static const uint8_t zeros[65536];
    uint64_t n;

    for (uint64_t done = 0; done < blob->size; done += n) {
        const uint8_t *from = zeros;
        bool is_ram;

        n = alike(memory, blob->address + done, blob->size - done, &is_ram);
        if (done < blob->filled) {
            n = n < blob->filled - done ? n : blob->filled - done;
            from = blob->data + done;
        } else {
            n = n < sizeof(zeros) ? n : sizeof(zeros);
        }
        if (is_ram) {
            (void)mem_access_write_rom(memory, mem_gpa(blob->address + done), from, n);
        }
    }
    if (blob->mapped) {
        (void)madvise(blob->data, blob->filled, MADV_DONTNEED);
    }
}

void loader_write(const struct loader_blobs *blobs, struct mem_space *memory)
{
    for (const struct loader_blob *b = blobs->first; b; b = b->next) {
        write_blob(b, memory);
    }
}

void loader_free(struct loader_blobs *blobs)
{
    while (blobs->first) {
        struct loader_blob *next = blobs->first->next;

        blob_free(blobs->first);
        blobs->first = next;
    }
}
