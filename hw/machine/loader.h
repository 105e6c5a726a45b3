/*
 * Loading what a machine starts from: files as bytes, and blobs, the pieces of memory that they
 * become. Blobs are kept, and written again at each reset, as if they came from ROM each time.
 *
 * A file is hostile: nothing in it is believed without a check, and it is never larger than its
 * limit, unpacked or not. Errors are -errno and one line in error[], "WHAT FILE: why", where WHAT
 * names the option it comes from.
 */
#ifndef TINAMOU_HW_MACHINE_LOADER_H
#define TINAMOU_HW_MACHINE_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem_space;

/* ---- files ---- */

struct loader_file {
    const char *what, *path; /* for messages: "-kernel", as given */
    uint8_t *data;
    uint64_t size;
    bool mapped; /* data comes from mmap, else from malloc */
};

/* Maps a file, which has to be regular, not empty, and at most `limit` bytes. */
int loader_open(struct loader_file *file, const char *what, const char *path, uint64_t limit,
                char *error, size_t error_size);
void loader_close(struct loader_file *file);

/*
 * Takes off what a kernel is wrapped in, as often as needed: gzip, zstd, and the self-extracting
 * EFI image of Linux ("zimg"). What it does not know stays as it is.
 */
int loader_unpack(struct loader_file *file, uint64_t limit, char *error, size_t error_size);

/* ---- blobs ---- */

struct loader_blob {
    struct loader_blob *next; /* by address */
    char *name;
    uint64_t address;
    uint64_t size;   /* in memory */
    uint64_t filled; /* of data; the rest is zeros */
    uint8_t *data;
    bool mapped;
};

/* Zeroed: empty. */
struct loader_blobs {
    struct loader_blob *first;
};

/*
 * Adds a copy of data[0, filled), followed by zeros up to `size`. -EEXIST when it overlaps another,
 * naming both; -EINVAL when it does not fit into the address space.
 */
int loader_add(struct loader_blobs *blobs, const char *name, uint64_t address, const void *data,
               uint64_t filled, uint64_t size, char *error, size_t error_size);

/* Adds a file whole; the file's bytes move to the blob. */
int loader_add_file(struct loader_blobs *blobs, struct loader_file *file, uint64_t address,
                    char *error, size_t error_size);

/* -ENXIO when a blob is not wholly in memory, which is RAM or ROM. */
int loader_check(const struct loader_blobs *blobs, struct mem_space *memory, char *error,
                 size_t error_size);

/* Writes all of what lies in memory; registers that were put above it get nothing. vCPUs are
 * stopped. */
void loader_write(const struct loader_blobs *blobs, struct mem_space *memory);

void loader_free(struct loader_blobs *blobs);

/* ---- formats ---- */

bool loader_is_elf(const struct loader_file *file);

#define LOADER_EM_386    3
#define LOADER_EM_X86_64 62
#define LOADER_EM_RISCV  243

struct loader_elf {
    uint16_t machine; /* wanted: e_machine */
    unsigned bits;    /* wanted: 32, 64, or 0 for either */
    /* found: */
    uint64_t entry;
    uint64_t low, high; /* first byte, and behind the last */
};

/* Adds the loadable segments of an executable at their physical addresses. */
int loader_add_elf(struct loader_blobs *blobs, const struct loader_file *file,
                   struct loader_elf *elf, char *error, size_t error_size);

/* The value of a symbol; false when there is none of that name (or no symbol table). */
bool loader_elf_symbol(const struct loader_file *file, const char *name, uint64_t *value);

/* e_machine of an ELF file, and its class, 32 or 64; false when it is none, or not little-endian.
 */
bool loader_elf_class(const struct loader_file *file, uint16_t *machine, unsigned *bits);

/*
 * The content of the first ELF note of that owner and type: a pointer into the file and its size;
 * NULL when there is none, or what leads there is wrong or cut off.
 */
const uint8_t *loader_elf_note(const struct loader_file *file, const char *owner, uint32_t type,
                               uint32_t *size);

/* The header of a RISC-V Linux image (Documentation/arch/riscv/boot-image-header.rst). */
struct loader_riscv_image {
    uint64_t text_offset; /* from a 2 MiB boundary (64 bits) */
    uint64_t image_size;  /* in memory, at least the file's */
};

/* 0; -ENOENT when it is no such image; -EINVAL when its header is wrong. */
int loader_riscv_image(const struct loader_file *file, struct loader_riscv_image *image,
                       char *error, size_t error_size);

#endif
