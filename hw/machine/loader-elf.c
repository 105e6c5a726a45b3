/*
 * ELF executables (System V ABI, gABI chapters 4 and 5), little-endian, 32 or 64 bits. Headers of
 * both classes are widened into one form as they are read; every offset is checked against the file
 * first.
 */
#include "hw/machine/loader.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SEGMENTS_MAX 1024

bool loader_is_elf(const struct loader_file *file)
{
    return file->size >= SELFMAG && memcmp(file->data, ELFMAG, SELFMAG) == 0;
}

static int fail(const struct loader_file *file, const char *why, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s %s: %s", file->what, file->path, why);
    return -EINVAL;
}

/* A piece of the file, or NULL. */
static const uint8_t *piece(const struct loader_file *file, uint64_t offset, uint64_t size)
{
    return offset <= file->size && size <= file->size - offset ? file->data + offset : NULL;
}

/* The ELF header in the form of 64 bits; false when there is none. */
static bool read_header(const struct loader_file *file, Elf64_Ehdr *header)
{
    const uint8_t *bytes = piece(file, 0, sizeof(Elf32_Ehdr));

    if (!bytes || !loader_is_elf(file) || bytes[EI_DATA] != ELFDATA2LSB) {
        return false;
    }
    if (bytes[EI_CLASS] == ELFCLASS64) {
        bytes = piece(file, 0, sizeof(*header));
        if (bytes) {
            memcpy(header, bytes, sizeof(*header));
        }
        return bytes != NULL;
    }
    if (bytes[EI_CLASS] == ELFCLASS32) {
        Elf32_Ehdr narrow;

        memcpy(&narrow, bytes, sizeof(narrow));
        memcpy(header->e_ident, narrow.e_ident, EI_NIDENT);
        header->e_type = narrow.e_type;
        header->e_machine = narrow.e_machine;
        header->e_entry = narrow.e_entry;
        header->e_phoff = narrow.e_phoff;
        header->e_shoff = narrow.e_shoff;
        header->e_phentsize = narrow.e_phentsize;
        header->e_phnum = narrow.e_phnum;
        header->e_shentsize = narrow.e_shentsize;
        header->e_shnum = narrow.e_shnum;
        return true;
    }
    return false;
}

static bool is_64(const Elf64_Ehdr *header)
{
    return header->e_ident[EI_CLASS] == ELFCLASS64;
}

/* The n-th program header; false when it is not in the file. */
static bool read_segment(const struct loader_file *file, const Elf64_Ehdr *header, unsigned n,
                         Elf64_Phdr *segment)
{
    uint64_t size = is_64(header) ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    const uint8_t *bytes;
    Elf32_Phdr narrow;

    if (header->e_phentsize != size || header->e_phoff > file->size) {
        return false;
    }
    bytes = piece(file, header->e_phoff + n * size, size);
    if (!bytes) {
        return false;
    }
    if (is_64(header)) {
        memcpy(segment, bytes, sizeof(*segment));
        return true;
    }
    memcpy(&narrow, bytes, sizeof(narrow));
    segment->p_type = narrow.p_type;
    segment->p_offset = narrow.p_offset;
    segment->p_paddr = narrow.p_paddr;
    segment->p_vaddr = narrow.p_vaddr;
    segment->p_filesz = narrow.p_filesz;
    segment->p_memsz = narrow.p_memsz;
    segment->p_align = narrow.p_align;
    return true;
}

bool loader_elf_class(const struct loader_file *file, uint16_t *machine, unsigned *bits)
{
    Elf64_Ehdr header;

    if (!read_header(file, &header)) {
        return false;
    }
    *machine = header.e_machine;
    *bits = is_64(&header) ? 64 : 32;
    return true;
}

static int check_header(const struct loader_file *file, const Elf64_Ehdr *header,
                        const struct loader_elf *elf, char *error, size_t error_size)
{
    unsigned bits = is_64(header) ? 64 : 32;

    if (header->e_machine != elf->machine) {
        snprintf(error, error_size, "%s %s: is for another architecture (ELF machine %u, not %u)",
                 file->what, file->path, header->e_machine, elf->machine);
        return -EINVAL;
    }
    if (elf->bits && bits != elf->bits) {
        snprintf(error, error_size, "%s %s: is an ELF file of %u bits, expected %u", file->what,
                 file->path, bits, elf->bits);
        return -EINVAL;
    }
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN) {
        return fail(file, "is an ELF file, but no executable", error, error_size);
    }
    if (header->e_phnum > SEGMENTS_MAX) {
        return fail(file, "has too many program headers", error, error_size);
    }
    return 0;
}

int loader_add_elf(struct loader_blobs *blobs, const struct loader_file *file,
                   struct loader_elf *elf, char *error, size_t error_size)
{
    Elf64_Ehdr header;
    unsigned loaded = 0;
    int err;

    if (!read_header(file, &header)) {
        return fail(file, "is no little-endian ELF file, or is cut off", error, error_size);
    }
    err = check_header(file, &header, elf, error, error_size);
    if (err) {
        return err;
    }
    elf->entry = header.e_entry;
    elf->low = UINT64_MAX;
    elf->high = 0;
    for (unsigned n = 0; n < header.e_phnum; n++) {
        char name[256];
        Elf64_Phdr segment;
        const uint8_t *bytes;

        if (!read_segment(file, &header, n, &segment)) {
            return fail(file, "its program headers are wrong or cut off", error, error_size);
        }
        if (segment.p_type != PT_LOAD || segment.p_memsz == 0) {
            continue;
        }
        bytes = piece(file, segment.p_offset, segment.p_filesz);
        if (!bytes || segment.p_filesz > segment.p_memsz ||
            segment.p_memsz - 1 > UINT64_MAX - segment.p_paddr) {
            snprintf(error, error_size, "%s %s: segment %u is wrong or cut off", file->what,
                     file->path, n);
            return -EINVAL;
        }
        snprintf(name, sizeof(name), "%s %s, segment %u", file->what, file->path, n);
        err = loader_add(blobs, name, segment.p_paddr, bytes, segment.p_filesz, segment.p_memsz,
                         error, error_size);
        if (err) {
            return err;
        }
        /* An entry by virtual address, in an image that is loaded elsewhere. */
        if (header.e_entry - segment.p_vaddr < segment.p_memsz) {
            elf->entry = header.e_entry - segment.p_vaddr + segment.p_paddr;
        }
        elf->low = segment.p_paddr < elf->low ? segment.p_paddr : elf->low;
        if (segment.p_paddr + segment.p_memsz > elf->high) {
            elf->high = segment.p_paddr + segment.p_memsz;
        }
        loaded++;
    }
    return loaded ? 0 : fail(file, "has nothing to load", error, error_size);
}

struct section {
    uint64_t offset, size;
    uint32_t type, link;
};

static bool read_section(const struct loader_file *file, const Elf64_Ehdr *header, unsigned n,
                         struct section *section)
{
    uint64_t size = is_64(header) ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
    const uint8_t *bytes;

    if (header->e_shentsize != size || n >= header->e_shnum || header->e_shoff > file->size) {
        return false;
    }
    bytes = piece(file, header->e_shoff + n * size, size);
    if (!bytes) {
        return false;
    }
    if (is_64(header)) {
        Elf64_Shdr wide;

        memcpy(&wide, bytes, sizeof(wide));
        *section = (struct section){wide.sh_offset, wide.sh_size, wide.sh_type, wide.sh_link};
    } else {
        Elf32_Shdr narrow;

        memcpy(&narrow, bytes, sizeof(narrow));
        *section =
            (struct section){narrow.sh_offset, narrow.sh_size, narrow.sh_type, narrow.sh_link};
    }
    return true;
}

/* The symbol at bytes: the offset of its name, and its value if it is defined here. */
static bool read_symbol(const Elf64_Ehdr *header, const uint8_t *bytes, uint32_t *name,
                        uint64_t *value)
{
    if (is_64(header)) {
        Elf64_Sym wide;

        memcpy(&wide, bytes, sizeof(wide));
        *name = wide.st_name;
        *value = wide.st_value;
        return wide.st_shndx != SHN_UNDEF;
    }
    Elf32_Sym narrow;

    memcpy(&narrow, bytes, sizeof(narrow));
    *name = narrow.st_name;
    *value = narrow.st_value;
    return narrow.st_shndx != SHN_UNDEF;
}

static bool find_in_table(const struct loader_file *file, const Elf64_Ehdr *header,
                          const struct section *table, const char *wanted, uint64_t *value)
{
    uint64_t size = is_64(header) ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
    const uint8_t *symbols = piece(file, table->offset, table->size), *names;
    size_t length = strlen(wanted) + 1;
    struct section strings;

    if (!symbols || !read_section(file, header, table->link, &strings)) {
        return false;
    }
    names = piece(file, strings.offset, strings.size);
    for (uint64_t at = 0; names && table->size - at >= size; at += size) {
        uint32_t name;
        uint64_t found;

        if (read_symbol(header, symbols + at, &name, &found) && name < strings.size &&
            strings.size - name >= length && memcmp(names + name, wanted, length) == 0) {
            *value = found;
            return true;
        }
    }
    return false;
}

bool loader_elf_symbol(const struct loader_file *file, const char *name, uint64_t *value)
{
    Elf64_Ehdr header;
    struct section section;

    if (!read_header(file, &header)) {
        return false;
    }
    for (unsigned n = 0; read_section(file, &header, n, &section); n++) {
        if (section.type == SHT_SYMTAB && find_in_table(file, &header, &section, name, value)) {
            return true;
        }
    }
    return false;
}

/* Names and contents of notes are padded to 4 bytes (gABI, chapter 5, "Note Section"); segments of
 * 64-bit files that are aligned to 8 have them padded to 8 by some linkers. */
static uint64_t pad_note(uint64_t size, const Elf64_Phdr *segment)
{
    uint64_t unit = segment->p_align == 8 ? 8 : 4;

    return (size + unit - 1) & ~(unit - 1);
}

static const uint8_t *find_note(const uint8_t *notes, const Elf64_Phdr *segment, const char *owner,
                                uint32_t type, uint32_t *size)
{
    uint64_t room = segment->p_filesz, at = 0;
    size_t length = strlen(owner) + 1;

    while (room - at >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        uint64_t name, content;

        memcpy(&note, notes + at, sizeof(note));
        name = pad_note(sizeof(note) + (uint64_t)note.n_namesz, segment);
        content = pad_note(note.n_descsz, segment);
        if (name > room - at || note.n_descsz > room - at - name) {
            return NULL;
        }
        if (note.n_type == type && note.n_namesz == length &&
            memcmp(notes + at + sizeof(note), owner, length) == 0) {
            *size = note.n_descsz;
            return notes + at + name;
        }
        if (content > room - at - name) {
            return NULL;
        }
        at += name + content;
    }
    return NULL;
}

const uint8_t *loader_elf_note(const struct loader_file *file, const char *owner, uint32_t type,
                               uint32_t *size)
{
    Elf64_Ehdr header;
    Elf64_Phdr segment;

    if (!read_header(file, &header)) {
        return NULL;
    }
    for (unsigned n = 0; n < header.e_phnum && read_segment(file, &header, n, &segment); n++) {
        const uint8_t *notes =
            segment.p_type == PT_NOTE ? piece(file, segment.p_offset, segment.p_filesz) : NULL;
        const uint8_t *found = notes ? find_note(notes, &segment, owner, type, size) : NULL;

        if (found) {
            return found;
        }
    }
    return NULL;
}
