/* Files and blobs: wrapped kernels, ELF and Linux images whole and damaged, overlap, reset. */
#include "hw/machine/loader.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "mem/access.h"
#include "tests/unit/tap.h"

#define LIMIT (1 << 24)

static char error[512];

/* A file of these bytes, as if loader_open() had read it. */
static struct loader_file file_of(const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    memcpy(copy, bytes, size);
    return (struct loader_file){.what = "-kernel", .path = "test", .data = copy, .size = size};
}

/* ---- unpacking ---- */

static size_t gzip(const uint8_t *from, size_t size, uint8_t *to, size_t room)
{
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)from, .avail_in = (unsigned)size};

    (void)deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    z.next_out = to;
    z.avail_out = (unsigned)room;
    (void)deflate(&z, Z_FINISH);
    (void)deflateEnd(&z);
    return room - z.avail_out;
}

static void unpacks(const char *what, const uint8_t *packed, size_t size, const uint8_t *want,
                    size_t want_size)
{
    struct loader_file file = file_of(packed, size);
    int err = loader_unpack(&file, LIMIT, error, sizeof(error));

    tap_ok(!err && file.size == want_size && memcmp(file.data, want, want_size) == 0, "%s", what);
    loader_close(&file);
}

static int refuses(const uint8_t *packed, size_t size, uint64_t limit)
{
    struct loader_file file = file_of(packed, size);
    int err = loader_unpack(&file, limit, error, sizeof(error));

    loader_close(&file);
    return err;
}

static void test_unpack(void)
{
    static uint8_t plain[3 << 20], packed[4 << 20], twice[4 << 20];
    size_t size, outer;
    unsigned bad = 0;

    for (size_t i = 0; i < sizeof(plain); i++) {
        plain[i] = (uint8_t)(i * i >> 7);
    }
    unpacks("what is not packed stays", plain, 1000, plain, 1000);
    size = gzip(plain, sizeof(plain), packed, sizeof(packed));
    unpacks("gzip", packed, size, plain, sizeof(plain));
    outer = gzip(packed, size, twice, sizeof(twice));
    unpacks("gzip twice", twice, outer, plain, sizeof(plain));
    tap_ok(refuses(packed, size, 1 << 20) == -EINVAL && strstr(error, "too large"),
           "there is a limit for gzip");
    for (size_t cut = 18; cut < size; cut += size / 50 + 1) {
        bad += refuses(packed, cut, LIMIT) != -EINVAL;
    }
    tap_eq(bad, 0, "gzip that is cut off is refused");
    packed[size / 2] ^= 0x55;
    tap_ok(refuses(packed, size, LIMIT) == -EINVAL, "damaged gzip is refused");

    size = ZSTD_compress(packed, sizeof(packed), plain, sizeof(plain), 1);
    unpacks("zstd", packed, size, plain, sizeof(plain));
    tap_ok(refuses(packed, size, 1 << 20) == -EINVAL && strstr(error, "too large"),
           "there is a limit for zstd");
    bad = 0;
    for (size_t cut = 8; cut < size; cut += size / 50 + 1) {
        bad += refuses(packed, cut, LIMIT) != -EINVAL;
    }
    tap_eq(bad, 0, "zstd that is cut off is refused");

    memset(twice, 0, 64);
    twice[0] = 'M';
    twice[1] = 'Z';
    memcpy(twice + 4, (const char[]){'z', 'i', 'm', 'g'}, 4);
    memcpy(twice + 8, &(uint32_t){64}, 4);
    memcpy(twice + 12, &(uint32_t){(uint32_t)size}, 4);
    strcpy((char *)twice + 24, "zstd");
    memcpy(twice + 64, packed, size);
    unpacks("a self-extracting image", twice, 64 + size + 100, plain, sizeof(plain));
    memcpy(twice + 8, &(uint32_t){0xffffffff}, 4);
    tap_ok(refuses(twice, 64 + size, LIMIT) == -EINVAL, "its offset is checked");
    memcpy(twice + 8, &(uint32_t){60}, 4);
    tap_ok(refuses(twice, 64 + size, LIMIT) == -EINVAL && strstr(error, "zstd"),
           "its content is checked");
}

/* ---- ELF ---- */

struct image {
    Elf64_Ehdr header;
    Elf64_Phdr segments[2];
    Elf64_Shdr sections[3];
    Elf64_Sym symbols[3];
    char names[32];
    uint8_t code[64];
};

static void make_image(struct image *image)
{
    memset(image, 0, sizeof(*image));
    memcpy(image->header.e_ident, ELFMAG, SELFMAG);
    image->header.e_ident[EI_CLASS] = ELFCLASS64;
    image->header.e_ident[EI_DATA] = ELFDATA2LSB;
    image->header.e_type = ET_EXEC;
    image->header.e_machine = LOADER_EM_RISCV;
    image->header.e_entry = 0xffffffff80000010;
    image->header.e_phoff = offsetof(struct image, segments);
    image->header.e_phentsize = sizeof(Elf64_Phdr);
    image->header.e_phnum = 2;
    image->header.e_shoff = offsetof(struct image, sections);
    image->header.e_shentsize = sizeof(Elf64_Shdr);
    image->header.e_shnum = 3;
    for (unsigned i = 0; i < 2; i++) {
        image->segments[i] = (Elf64_Phdr){.p_type = PT_LOAD,
                                          .p_offset = offsetof(struct image, code),
                                          .p_vaddr = 0xffffffff80000000 + i * 0x1000,
                                          .p_paddr = 0x2000 + i * 0x1000,
                                          .p_filesz = 64,
                                          .p_memsz = i ? 0x800 : 64};
    }
    image->sections[1] = (Elf64_Shdr){.sh_type = SHT_SYMTAB,
                                      .sh_offset = offsetof(struct image, symbols),
                                      .sh_size = sizeof(image->symbols),
                                      .sh_link = 2};
    image->sections[2] = (Elf64_Shdr){.sh_type = SHT_STRTAB,
                                      .sh_offset = offsetof(struct image, names),
                                      .sh_size = sizeof(image->names)};
    memcpy(image->names, "\0tohost\0fromhost\0lost", 21);
    image->symbols[1] = (Elf64_Sym){.st_name = 1, .st_shndx = 1, .st_value = 0x2000};
    image->symbols[2] = (Elf64_Sym){.st_name = 17, .st_value = 0x9999};
    memset(image->code, 0x13, sizeof(image->code));
}

static int load(const struct image *image, struct loader_blobs *blobs, struct loader_elf *elf)
{
    struct loader_file file = file_of(image, sizeof(*image));
    int err = loader_add_elf(blobs, &file, elf, error, sizeof(error));

    loader_close(&file);
    return err;
}

static void test_elf(void)
{
    struct loader_elf elf = {.machine = LOADER_EM_RISCV, .bits = 64};
    struct loader_blobs blobs = {NULL};
    struct loader_file file;
    struct image image;
    uint64_t value = 0;

    make_image(&image);
    tap_ok(!load(&image, &blobs, &elf), "an executable is loaded");
    tap_ok(elf.entry == 0x2010 && elf.low == 0x2000 && elf.high == 0x3800,
           "its entry is where its segment is");
    tap_ok(blobs.first->address == 0x2000 && blobs.first->next->size == 0x800 &&
               blobs.first->next->filled == 64 && !blobs.first->next->next,
           "its segments are blobs");
    tap_ok(load(&image, &blobs, &elf) == -EEXIST && strstr(error, "overlaps"),
           "a second one overlaps it");
    loader_free(&blobs);

    file = file_of(&image, sizeof(image));
    tap_ok(loader_is_elf(&file) && loader_elf_symbol(&file, "tohost", &value) && value == 0x2000,
           "a symbol is found");
    tap_ok(!loader_elf_symbol(&file, "lost", &value) && !loader_elf_symbol(&file, "nope", &value),
           "one that is not defined is not");
    loader_close(&file);
    image.sections[1].sh_size = UINT64_MAX;
    file = file_of(&image, sizeof(image));
    tap_ok(!loader_elf_symbol(&file, "tohost", &value), "a symbol table is checked");
    loader_close(&file);
    make_image(&image);
    image.symbols[1].st_name = 0xffffff00;
    image.sections[2].sh_size = 5;
    file = file_of(&image, sizeof(image));
    tap_ok(!loader_elf_symbol(&file, "tohost", &value), "names are checked");
    loader_close(&file);

    elf.bits = 32;
    make_image(&image);
    tap_ok(load(&image, &blobs, &elf) == -EINVAL, "the class is checked");
    loader_free(&blobs);
}

/* Every byte of the headers with other values, and every length: no crash, and no blob that is not
 * backed by the file. */
static void test_hostile_elf(void)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    unsigned bad = 0;

    for (size_t at = 0; at < offsetof(struct image, code); at++) {
        for (unsigned v = 0; v < sizeof(values); v++) {
            struct loader_elf elf = {.machine = LOADER_EM_RISCV};
            struct loader_blobs blobs = {NULL};
            struct loader_file file;
            struct image image;
            uint64_t value;
            int err;

            make_image(&image);
            ((uint8_t *)&image)[at] = values[v];
            *error = 0;
            err = load(&image, &blobs, &elf);
            bad += (err != 0) != (*error != 0);
            for (const struct loader_blob *b = blobs.first; b; b = b->next) {
                bad += b->filled > sizeof(image) || b->filled > b->size;
            }
            file = file_of(&image, sizeof(image));
            (void)loader_elf_symbol(&file, "fromhost", &value);
            loader_close(&file);
            loader_free(&blobs);
        }
    }
    for (size_t size = 0; size < sizeof(struct image); size++) {
        struct loader_elf elf = {.machine = LOADER_EM_RISCV};
        struct loader_blobs blobs = {NULL};
        struct loader_file file;
        struct image image;
        uint64_t value;

        make_image(&image);
        file = file_of(&image, size);
        bad += loader_add_elf(&blobs, &file, &elf, error, sizeof(error)) != -EINVAL;
        (void)loader_elf_symbol(&file, "tohost", &value);
        loader_close(&file);
        loader_free(&blobs);
    }
    tap_eq(bad, 0, "hostile executables");
}

static void test_elf32(void)
{
    struct {
        Elf32_Ehdr header;
        Elf32_Phdr segment;
        uint8_t code[8];
    } image = {.header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB},
                          .e_type = ET_EXEC,
                          .e_machine = LOADER_EM_RISCV,
                          .e_entry = 0x1004,
                          .e_phoff = sizeof(Elf32_Ehdr),
                          .e_phentsize = sizeof(Elf32_Phdr),
                          .e_phnum = 1},
               .segment = {.p_type = PT_LOAD,
                           .p_offset = sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr),
                           .p_vaddr = 0x1000,
                           .p_paddr = 0x1000,
                           .p_filesz = 8,
                           .p_memsz = 8}};
    struct loader_elf elf = {.machine = LOADER_EM_RISCV};
    struct loader_file file = file_of(&image, sizeof(image));
    struct loader_blobs blobs = {NULL};

    tap_ok(!loader_add_elf(&blobs, &file, &elf, error, sizeof(error)) && elf.entry == 0x1004 &&
               blobs.first->address == 0x1000,
           "an executable of 32 bits");
    loader_close(&file);
    loader_free(&blobs);
}

/* ---- Linux images ---- */

static int read_image(uint64_t size, uint64_t offset, uint64_t flags, size_t length,
                      struct loader_riscv_image *image)
{
    uint8_t bytes[128] = {0};
    struct loader_file file;
    int err;

    memcpy(bytes + 8, &offset, 8);
    memcpy(bytes + 16, &size, 8);
    memcpy(bytes + 24, &flags, 8);
    strcpy((char *)bytes + 56, "RSC\x05");
    file = file_of(bytes, length);
    err = loader_riscv_image(&file, image, error, sizeof(error));
    loader_close(&file);
    return err;
}

static void test_linux(void)
{
    struct loader_riscv_image image;

    tap_ok(!read_image(4096, 0x200000, 0, 128, &image) && image.image_size == 4096 &&
               image.text_offset == 0x200000,
           "a Linux image");
    tap_ok(!read_image(0, 0x200000, 0, 128, &image) && image.image_size == 128,
           "an old one without a size");
    tap_ok(read_image(100, 0, 0, 128, &image) == -EINVAL, "smaller than its file");
    tap_ok(read_image(UINT64_MAX, 0, 0, 128, &image) == -EINVAL, "much too large");
    tap_ok(read_image(4096, UINT64_MAX, 0, 128, &image) == -EINVAL, "far away");
    tap_ok(read_image(4096, 0, 1, 128, &image) == -EINVAL, "big-endian");
    tap_ok(read_image(4096, 0, 0, 63, &image) == -ENOENT, "too short for a header");
}

/* ---- blobs ---- */

static void test_blobs(void)
{
    struct mem_region root = {0}, ram = {0}, rom = {0}, device = {0};
    static const struct mem_ops ops = {.min_size = 1};
    struct loader_blobs blobs = {NULL};
    struct mem_space space = {0};
    struct mem_ram *block;
    uint8_t bytes[0x3000], back[0x3000];
    unsigned bad = 0;

    (void)mem_ram_create(&block, &(struct mem_ram_config){.name = "ram", .size = 0x10000}, error,
                         sizeof(error));
    mem_region_init_container(&root, "system", MEM_SIZE_ALL);
    (void)mem_region_init_ram(&ram, "ram", block, 0, 0x8000, false);
    (void)mem_region_init_ram(&rom, "rom", block, 0x8000, 0x8000, true);
    mem_region_init_mmio(&device, "device", 16, &ops, NULL, NULL);
    (void)mem_region_add(&root, 0x1000, &ram, 0);
    (void)mem_region_add(&root, 0x9000, &rom, 0);
    mem_space_init(&space, "memory", &root);

    memset(bytes, 0xa5, sizeof(bytes));
    tap_ok(!loader_add(&blobs, "b", 0x7000, bytes, 0x2800, 0x3000, error, sizeof(error)) &&
               !loader_add(&blobs, "a", 0x2000, bytes, 16, 16, error, sizeof(error)),
           "blobs are added");
    tap_ok(!loader_check(&blobs, &space, error, sizeof(error)), "they lie in memory");
    memset(mem_ram_host(block, 0, 0x10000), 0xff, 0x10000);
    loader_write(&blobs, &space);
    tap_ok(!mem_access_read(&space, mem_gpa(0x7000), back, 0x3000, MEM_ATTRS_NONE) &&
               memcmp(back, bytes, 0x2800) == 0,
           "they are written, over the border of RAM and ROM");
    for (unsigned i = 0x2800; i < 0x3000; i++) {
        bad += back[i] != 0;
    }
    tap_eq(bad, 0, "zeros follow");

    tap_ok(loader_add(&blobs, "c", 0x200f, bytes, 1, 1, error, sizeof(error)) == -EEXIST &&
               loader_add(&blobs, "c", 0x1fff, bytes, 2, 2, error, sizeof(error)) == -EEXIST &&
               loader_add(&blobs, "c", 0, bytes, 1, UINT64_MAX, error, sizeof(error)) == -EEXIST,
           "overlap is refused");
    tap_ok(!loader_add(&blobs, "c", 0x2010, bytes, 1, 1, error, sizeof(error)) &&
               !loader_add(&blobs, "c", 0x1ff0, bytes, 16, 16, error, sizeof(error)),
           "neighbours are not");
    tap_ok(loader_add(&blobs, "c", UINT64_MAX, bytes, 2, 2, error, sizeof(error)) == -EINVAL &&
               loader_add(&blobs, "c", 0x100, bytes, 0, 0, error, sizeof(error)) == -EINVAL,
           "neither is there anything behind the address space, nor in nothing");

    (void)mem_region_add(&root, 0x7800, &device, 1);
    tap_ok(loader_check(&blobs, &space, error, sizeof(error)) == -ENXIO &&
               strstr(error, "no memory at 0x7800"),
           "registers are no memory");
    memset(mem_ram_host(block, 0, 0x10000), 0xff, 0x10000);
    loader_write(&blobs, &space);
    tap_ok(!mem_access_read(&space, mem_gpa(0x7810), back, 16, MEM_ATTRS_NONE) &&
               memcmp(back, bytes, 16) == 0 && *(uint8_t *)mem_ram_host(block, 0x6800, 1) == 0xff,
           "they are left out, and what is behind them is written");
    (void)mem_region_remove(&device);
    (void)loader_add(&blobs, "d", 0x20000, bytes, 1, 1, error, sizeof(error));
    tap_ok(loader_check(&blobs, &space, error, sizeof(error)) == -ENXIO &&
               strstr(error, "d (0x20000 to 0x20000)"),
           "there has to be memory");

    loader_free(&blobs);
    mem_space_destroy(&space);
    mem_region_retire(&ram, NULL, NULL);
    mem_region_retire(&rom, NULL, NULL);
    epoch_wait(&mem_epoch);
    mem_ram_unref(block);
}

int main(void)
{
    test_unpack();
    test_elf();
    test_hostile_elf();
    test_elf32();
    test_linux();
    test_blobs();
    return tap_done();
}
