/*
 * ELF headers: read and checked before anything is mapped.
 *
 * The kernel maps what it is given and lets the program die of it. We refuse what can't work with a
 * line that says why: segments outside the file (truncated), overlapping or out of order, wrapping
 * around, misaligned against the file.
 */
#include "linux-user/elf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "linux-user/mm.h"

/* -ENOEXEC with a message. */
__attribute__((format(printf, 3, 4))) static int refuse(char *error, size_t size, const char *fmt,
                                                        ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(error, size, fmt, ap);
    va_end(ap);
    return -ENOEXEC;
}

static const char *machine_name(uint16_t machine)
{
    switch (machine) {
    case EM_386:
        return "i386";
    case EM_X86_64:
        return "x86-64";
    case EM_ARM:
        return "ARM";
    case EM_AARCH64:
        return "AArch64";
    case EM_PPC64:
        return "PowerPC 64";
    case EM_S390:
        return "S/390";
    case EM_MIPS:
        return "MIPS";
    case EM_RISCV:
        return "RISC-V";
    case 258:
        return "LoongArch";
    default:
        return "unknown";
    }
}

static int check_header(const Elf64_Ehdr *h, uint16_t machine, uint64_t file_size, char *error,
                        size_t size)
{
    const unsigned char *ident = h->e_ident;

    if (memcmp(ident, ELFMAG, SELFMAG) != 0) {
        return refuse(error, size, "not an ELF file");
    }
    if (ident[EI_CLASS] != ELFCLASS64) {
        return refuse(error, size, "%s ELF file, expected 64-bit",
                      ident[EI_CLASS] == ELFCLASS32 ? "32-bit" : "ill-formed");
    }
    if (ident[EI_DATA] != ELFDATA2LSB) {
        return refuse(error, size, "not a little-endian ELF file");
    }
    if (h->e_machine != machine) {
        return refuse(error, size, "for machine %s (%u), expected %s (%u)",
                      machine_name(h->e_machine), h->e_machine, machine_name(machine), machine);
    }
    if (ident[EI_VERSION] != EV_CURRENT || h->e_version != EV_CURRENT) {
        return refuse(error, size, "unknown ELF version %u", (unsigned)h->e_version);
    }
    if (h->e_type != ET_EXEC && h->e_type != ET_DYN) {
        return refuse(error, size, "ELF type %u, expected an executable", h->e_type);
    }
    if (h->e_phentsize != sizeof(Elf64_Phdr)) {
        return refuse(error, size, "program headers of %u bytes, expected %zu", h->e_phentsize,
                      sizeof(Elf64_Phdr));
    }
    if (h->e_phnum == 0 || h->e_phnum > ELF_MAX_SEGMENTS) {
        return refuse(error, size, "%u program headers, expected 1 to %d", h->e_phnum,
                      ELF_MAX_SEGMENTS);
    }
    if (h->e_phoff > file_size || h->e_phnum * sizeof(Elf64_Phdr) > file_size - h->e_phoff) {
        return refuse(error, size, "truncated: program headers are outside the file");
    }
    return 0;
}

/* One PT_LOAD; `end` is where the one before ended. */
static int check_load(const Elf64_Phdr *p, unsigned index, uint64_t end, uint64_t file_size,
                      char *error, size_t size)
{
    if (p->p_filesz > p->p_memsz) {
        return refuse(error, size, "segment %u is larger in the file than in memory", index);
    }
    if (p->p_offset > file_size || p->p_filesz > file_size - p->p_offset) {
        return refuse(error, size, "truncated: segment %u is outside the file", index);
    }
    if (p->p_vaddr >= MM_TASK_SIZE || p->p_memsz > MM_TASK_SIZE - p->p_vaddr) {
        return refuse(error, size, "segment %u does not fit the address space", index);
    }
    if ((p->p_vaddr ^ p->p_offset) & (MM_PAGE_SIZE - 1)) {
        return refuse(error, size, "segment %u is misaligned against the file", index);
    }
    if (p->p_align > 1 && (p->p_align & (p->p_align - 1) || p->p_align > MM_TASK_SIZE / 4)) {
        return refuse(error, size, "segment %u has alignment 0x%llx", index,
                      (unsigned long long)p->p_align);
    }
    if (p->p_vaddr < end) {
        return refuse(error, size, "segment %u overlaps another", index);
    }
    return 0;
}

static int read_interpreter(int fd, const Elf64_Phdr *p, uint64_t file_size, struct elf_file *file,
                            char *error, size_t size)
{
    if (p->p_filesz < 2 || p->p_filesz > sizeof(file->interpreter)) {
        return refuse(error, size, "interpreter's name of %llu bytes",
                      (unsigned long long)p->p_filesz);
    }
    if (p->p_offset > file_size || p->p_filesz > file_size - p->p_offset) {
        return refuse(error, size, "truncated: interpreter's name is outside the file");
    }
    if (pread(fd, file->interpreter, p->p_filesz, (off_t)p->p_offset) != (ssize_t)p->p_filesz) {
        return refuse(error, size, "interpreter's name can't be read");
    }
    if (file->interpreter[p->p_filesz - 1] != 0 || file->interpreter[0] == 0) {
        file->interpreter[0] = 0;
        return refuse(error, size, "interpreter's name is not a string");
    }
    return 0;
}

/* PT_LOADs by address, as they should be; Linux takes them in any order. Others stay in place. */
static void sort_loads(struct elf_file *file)
{
    for (unsigned i = 0; i < file->segment_count; i++) {
        for (unsigned j = i + 1; j < file->segment_count; j++) {
            Elf64_Phdr *a = &file->segments[i], *b = &file->segments[j];
            if (a->p_type == PT_LOAD && b->p_type == PT_LOAD && b->p_vaddr < a->p_vaddr) {
                const Elf64_Phdr swap = *a;
                *a = *b;
                *b = swap;
            }
        }
    }
}

int elf_check(int fd, uint16_t machine, struct elf_file *file, char *error, size_t size)
{
    Elf64_Ehdr *h = &file->header;
    uint64_t end = 0, file_size;
    struct stat st;
    ssize_t n;
    int result;

    memset(file, 0, offsetof(struct elf_file, segments));
    file->segment_count = 0;
    file->low = UINT64_MAX;
    file->high = file->phdr = 0;
    file->align = MM_PAGE_SIZE;
    file->interpreter[0] = 0;
    file->executable_stack = true; /* without PT_GNU_STACK, as the kernel's default for old files */

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        snprintf(error, size, "%s", S_ISDIR(st.st_mode) ? "is a directory" : "not a regular file");
        return -EACCES;
    }
    file_size = (uint64_t)st.st_size;
    n = pread(fd, h, sizeof(*h), 0);
    if (n < 0) {
        result = -errno;
        snprintf(error, size, "%s", strerror(errno));
        return result;
    }
    if ((size_t)n < SELFMAG || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0) {
        return refuse(error, size, "not an ELF file");
    }
    if ((size_t)n < sizeof(*h)) {
        return refuse(error, size, "truncated: %zd bytes are no ELF header", n);
    }
    result = check_header(h, machine, file_size, error, size);
    if (result < 0) {
        return result;
    }
    n = (ssize_t)(h->e_phnum * sizeof(Elf64_Phdr));
    if (pread(fd, file->segments, (size_t)n, (off_t)h->e_phoff) != n) {
        return refuse(error, size, "program headers can't be read");
    }
    file->segment_count = h->e_phnum;
    sort_loads(file);
    for (unsigned i = 0; i < file->segment_count; i++) {
        const Elf64_Phdr *p = &file->segments[i];

        if (p->p_type == PT_INTERP && file->interpreter[0] == 0) {
            result = read_interpreter(fd, p, file_size, file, error, size);
            if (result < 0) {
                return result;
            }
        }
        if (p->p_type == PT_GNU_STACK) {
            file->executable_stack = (p->p_flags & PF_X) != 0;
        }
        if (p->p_type != PT_LOAD || p->p_memsz == 0) {
            continue;
        }
        result = check_load(p, i, end, file_size, error, size);
        if (result < 0) {
            return result;
        }
        end = p->p_vaddr + p->p_memsz;
        if (file->low == UINT64_MAX) {
            file->low = p->p_vaddr & MM_PAGE_MASK;
        }
        file->align = p->p_align > file->align ? p->p_align : file->align;
        if (h->e_phoff >= p->p_offset && h->e_phoff - p->p_offset < p->p_filesz) {
            file->phdr = h->e_phoff - p->p_offset + p->p_vaddr;
        }
    }
    if (file->low == UINT64_MAX) {
        return refuse(error, size, "nothing to load");
    }
    file->high = (end + MM_PAGE_SIZE - 1) & MM_PAGE_MASK;
    return 0;
}
