/*
 * Names of guest functions; see the header.
 *
 * Which file lies at an address is read from the host's /proc/self/maps, so nothing has to be noted
 * when the guest maps its libraries, and runs without a profile pay nothing. A mapping once found
 * is remembered until the translator says that code there has gone; the symbols of a file are kept
 * for good, sorted by address. Symbols are found by their place in the file: load addresses do not
 * matter.
 *
 * Files are hostile: what they say is checked against their size. Their tables are copied, because
 * a mapped file that somebody truncates would fault.
 */
#include "linux-user/symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mem/guest.h"

enum {
    MAX_IMAGES = 512,
    MAX_MAPPINGS = 1024,
    MAX_SECTIONS = 65536,
    MAX_SEGMENTS = 256,
    PATH_SIZE = 4096,
};

struct symbol {
    uint64_t start, end; /* addresses as linked */
    const char *name;
};

struct image {
    dev_t device;
    ino_t inode;
    Elf64_Phdr *segments;
    unsigned segment_count;
    struct symbol *symbols; /* by start */
    size_t count;
};

struct mapping {
    uint64_t start, end; /* host addresses */
    uint64_t offset;     /* in the file */
    struct image *image; /* NULL: nothing with symbols */
};

static struct image images[MAX_IMAGES];
static unsigned image_count;
static struct mapping mappings[MAX_MAPPINGS];
static unsigned mapping_count;

/* ---- files ----------------------------------------------------------------------------------- */

static void *allocate(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

/* A copy of [offset, offset + size) of the file with a NUL behind it, or NULL. */
static void *copy_of(int fd, uint64_t file_size, uint64_t offset, uint64_t size)
{
    char *p;

    if (size == 0 || size > file_size || offset > file_size - size) {
        return NULL;
    }
    p = allocate(size + 1);
    for (uint64_t done = 0; p && done < size;) {
        ssize_t n = pread(fd, p + done, size - done, (off_t)(offset + done));

        if (n <= 0) {
            munmap(p, size + 1);
            return NULL;
        }
        done += (uint64_t)n;
    }
    return p;
}

static int by_start(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;

    if (x->start != y->start) {
        return x->start < y->start ? -1 : 1;
    }
    /* of aliases, the longer one first, then by name, so that runs agree */
    if (x->end != y->end) {
        return x->end > y->end ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static bool is_function(const Elf64_Sym *s, uint64_t names_size)
{
    unsigned type = ELF64_ST_TYPE(s->st_info);

    return (type == STT_FUNC || type == STT_GNU_IFUNC) && s->st_shndx != SHN_UNDEF &&
           s->st_name != 0 && s->st_name < names_size;
}

/* Takes the functions of a symbol table; `table` and `names` are copies that stay. */
static void take_symbols(struct image *image, const Elf64_Sym *table, size_t count,
                         const char *names, uint64_t names_size)
{
    uint64_t next = 0; /* the start of a later symbol */
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        n += is_function(&table[i], names_size);
    }
    image->symbols = n ? allocate(n * sizeof(*image->symbols)) : NULL;
    if (!image->symbols) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (is_function(&table[i], names_size)) {
            image->symbols[image->count++] = (struct symbol){
                table[i].st_value, table[i].st_value + table[i].st_size, names + table[i].st_name};
        }
    }
    qsort(image->symbols, image->count, sizeof(*image->symbols), by_start);
    /* hand-written functions without a size end where the next one starts */
    for (size_t i = image->count; i-- > 0;) {
        struct symbol *s = &image->symbols[i];

        if (i + 1 < image->count && s[1].start != s->start) {
            next = s[1].start;
        }
        if (s->end <= s->start) {
            s->end = next;
        }
    }
}

static void read_image(struct image *image, int fd, uint64_t size)
{
    const Elf64_Shdr *chosen = NULL;
    Elf64_Shdr *sections;
    Elf64_Ehdr header;

    if (pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > MAX_SEGMENTS ||
        header.e_shentsize != sizeof(Elf64_Shdr)) {
        return;
    }
    image->segments =
        copy_of(fd, size, header.e_phoff, (uint64_t)header.e_phnum * sizeof(Elf64_Phdr));
    image->segment_count = image->segments ? header.e_phnum : 0;
    sections = copy_of(fd, size, header.e_shoff, (uint64_t)header.e_shnum * sizeof(Elf64_Shdr));
    if (!sections) {
        return;
    }
    for (unsigned i = 0; i < header.e_shnum; i++) {
        const Elf64_Shdr *s = &sections[i];

        /* the full table where the file is not stripped of it */
        if ((s->sh_type == SHT_SYMTAB || (s->sh_type == SHT_DYNSYM && !chosen)) &&
            s->sh_entsize == sizeof(Elf64_Sym) && s->sh_link < header.e_shnum) {
            chosen = s;
        }
    }
    if (chosen) {
        const Elf64_Shdr *strings = &sections[chosen->sh_link];
        Elf64_Sym *table = copy_of(fd, size, chosen->sh_offset, chosen->sh_size);
        char *names = copy_of(fd, size, strings->sh_offset, strings->sh_size);

        if (table && names) {
            take_symbols(image, table, chosen->sh_size / sizeof(*table), names, strings->sh_size);
        }
        if (table) {
            munmap(table, chosen->sh_size + 1);
        }
    }
    munmap(sections, (size_t)header.e_shnum * sizeof(Elf64_Shdr) + 1);
}

static struct image *image_of(const char *path)
{
    struct image *image = NULL;
    struct stat st;
    /* a mapped device may not like to be opened */
    int fd = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &st) == 0) {
        for (unsigned i = 0; i < image_count && !image; i++) {
            if (images[i].device == st.st_dev && images[i].inode == st.st_ino) {
                image = &images[i];
            }
        }
        if (!image && image_count < MAX_IMAGES) {
            image = &images[image_count++];
            image->device = st.st_dev;
            image->inode = st.st_ino;
            read_image(image, fd, (uint64_t)st.st_size);
        }
    }
    close(fd);
    return image && image->count ? image : NULL;
}

/* ---- mappings -------------------------------------------------------------------------------- */

/* START-END PERMS OFFSET DEVICE INODE PATH; true if the address is in it. */
static bool parse_line(char *line, uint64_t host, struct mapping *m)
{
    unsigned long long start, end, offset;
    int path = 0;

    if (sscanf(line, "%llx-%llx %*s %llx %*s %*s %n", &start, &end, &offset, &path) < 3 ||
        host < start || host >= end) {
        return false;
    }
    *m = (struct mapping){start, end, offset, NULL};
    if (path && line[path] == '/') {
        m->image = image_of(line + path);
    }
    return true;
}

/* Reads the host's list until the mapping of the address is found. */
static bool read_mapping(uint64_t host, struct mapping *m)
{
    static char buffer[2 * PATH_SIZE];
    size_t have = 0;
    bool found = false;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && !found) {
        char *line = buffer, *newline;
        ssize_t n = read(fd, buffer + have, sizeof(buffer) - 1 - have);

        if (n <= 0) {
            break;
        }
        have += (size_t)n;
        buffer[have] = 0;
        while (!found && (newline = strchr(line, '\n')) != NULL) {
            *newline = 0;
            found = parse_line(line, host, m);
            line = newline + 1;
        }
        have -= (size_t)(line - buffer);
        memmove(buffer, line, have);
        if (have == sizeof(buffer) - 1) {
            break; /* no path is that long */
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return found;
}

static const struct mapping *find_mapping(uint64_t host)
{
    struct mapping m;

    for (unsigned i = 0; i < mapping_count; i++) {
        if (host >= mappings[i].start && host < mappings[i].end) {
            return &mappings[i];
        }
    }
    if (!read_mapping(host, &m)) {
        return NULL;
    }
    if (mapping_count == MAX_MAPPINGS) {
        mapping_count = 0;
    }
    mappings[mapping_count] = m;
    return &mappings[mapping_count++];
}

void symbols_forget(uint64_t start, uint64_t end)
{
    start += mem_guest_base;
    end += mem_guest_base;
    for (unsigned i = 0; i < mapping_count;) {
        if (mappings[i].start < end && mappings[i].end > start) {
            mappings[i] = mappings[--mapping_count];
        } else {
            i++;
        }
    }
}

/* ---- lookup ---------------------------------------------------------------------------------- */

static const struct symbol *symbol_at(const struct image *image, uint64_t address)
{
    size_t low = 0, high = image->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (image->symbols[middle].start <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    /* the last one that starts at or before the address; its first alias */
    if (low == 0) {
        return NULL;
    }
    low--;
    while (low > 0 && image->symbols[low - 1].start == image->symbols[low].start) {
        low--;
    }
    return address < image->symbols[low].end ? &image->symbols[low] : NULL;
}

const char *symbols_find(uint64_t pc, uint64_t *offset)
{
    const struct mapping *m = find_mapping(pc + mem_guest_base);
    uint64_t in_file;

    if (!m || !m->image) {
        return NULL;
    }
    in_file = pc + mem_guest_base - m->start + m->offset;
    for (unsigned i = 0; i < m->image->segment_count; i++) {
        const Elf64_Phdr *p = &m->image->segments[i];

        if (p->p_type == PT_LOAD && in_file >= p->p_offset && in_file - p->p_offset < p->p_filesz) {
            uint64_t address = in_file - p->p_offset + p->p_vaddr;
            const struct symbol *s;

            /* pages that two segments share are mapped by both: it is the executable one */
            if (!(p->p_flags & PF_X)) {
                continue;
            }
            s = symbol_at(m->image, address);
            if (s) {
                *offset = address - s->start;
                return s->name;
            }
        }
    }
    return NULL;
}
