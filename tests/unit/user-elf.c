/*
 * linux-user/elf: what is an executable and what is not. Each case starts from a file that is right
 * and spoils one thing.
 */
#include "linux-user/elf.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

/* Program text, data with bss, an interpreter's name. */
struct image {
    Elf64_Ehdr header;
    Elf64_Phdr segments[4];
    char interpreter[32];
    char padding[2 * PAGE - sizeof(Elf64_Ehdr) - 4 * sizeof(Elf64_Phdr) - 32];
};

static const struct image good = {
    .header =
        {
            .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
            .e_type = ET_DYN,
            .e_machine = EM_RISCV,
            .e_version = EV_CURRENT,
            .e_entry = 0x100,
            .e_phoff = offsetof(struct image, segments),
            .e_ehsize = sizeof(Elf64_Ehdr),
            .e_phentsize = sizeof(Elf64_Phdr),
            .e_phnum = 4,
        },
    .segments =
        {
            {.p_type = PT_INTERP,
             .p_offset = offsetof(struct image, interpreter),
             .p_filesz = sizeof("/lib/ld.so"),
             .p_memsz = sizeof("/lib/ld.so")},
            {.p_type = PT_LOAD,
             .p_flags = PF_R | PF_X,
             .p_filesz = PAGE,
             .p_memsz = PAGE,
             .p_align = PAGE},
            {.p_type = PT_LOAD,
             .p_flags = PF_R | PF_W,
             .p_offset = PAGE,
             .p_vaddr = 3 * PAGE,
             .p_filesz = 100,
             .p_memsz = 5 * PAGE,
             .p_align = PAGE},
            {.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W},
        },
    .interpreter = "/lib/ld.so",
};

static struct image image;
static struct elf_file file;
static char error[ELF_ERROR_SIZE];

static int check(size_t size)
{
    int fd = memfd_create("image", 0), result;

    if (write(fd, &image, size) != (ssize_t)size) {
        exit(1);
    }
    error[0] = 0;
    result = elf_check(fd, EM_RISCV, &file, error, sizeof(error));
    close(fd);
    return result;
}

/* The spoiled file is refused, with a line that contains the text. */
static void refused(const char *what, const char *text)
{
    int result = check(sizeof(image));

    if (!tap_ok(result == -ENOEXEC && strstr(error, text) != NULL && strchr(error, '\n') == NULL,
                "%s", what)) {
        tap_note("result %d, message '%s'", result, error);
    }
    image = good;
}

#define SPOIL(field, value, what, text) \
    do {                                \
        image.field = (value);          \
        refused(what, text);            \
    } while (0)

static void spoiled_headers(void)
{
    SPOIL(header.e_ident[1], 'X', "no magic number", "not an ELF");
    SPOIL(header.e_ident[EI_CLASS], ELFCLASS32, "32-bit", "32-bit");
    SPOIL(header.e_ident[EI_DATA], ELFDATA2MSB, "big-endian", "little-endian");
    SPOIL(header.e_ident[EI_VERSION], 9, "unknown version", "version");
    SPOIL(header.e_machine, EM_X86_64, "another machine", "x86-64");
    SPOIL(header.e_type, ET_REL, "an object file", "type 1");
    SPOIL(header.e_phentsize, 32, "program headers of another size", "32 bytes");
    SPOIL(header.e_phnum, 0, "no program headers", "0 program headers");
    SPOIL(header.e_phnum, 0xffff, "65535 program headers", "program headers");
    SPOIL(header.e_phoff, sizeof(image) - 100, "program headers across the end", "truncated");
    SPOIL(header.e_phoff, UINT64_MAX - 8, "program headers that wrap around", "truncated");
}

static void spoiled_segments(void)
{
    SPOIL(segments[2].p_vaddr, 0, "overlapping segments", "overlaps");
    image.segments[1].p_vaddr = 16 * PAGE;
    tap_ok(check(sizeof(image)) == 0 && file.low == 3 * PAGE && file.high == 17 * PAGE,
           "segments in any order");
    image = good;
    SPOIL(segments[2].p_memsz, 50, "larger in the file than in memory", "larger");
    SPOIL(segments[2].p_memsz, UINT64_MAX - PAGE, "memory size that wraps around", "address space");
    SPOIL(segments[2].p_memsz, UINT64_C(1) << 47, "a huge memory size", "address space");
    SPOIL(segments[2].p_vaddr, UINT64_C(0xffff800000003000), "a kernel address", "address space");
    SPOIL(segments[2].p_offset, 8 * PAGE, "a segment behind the file's end", "truncated");
    SPOIL(segments[2].p_offset, UINT64_MAX & ~(uint64_t)(PAGE - 1), "an offset that wraps around",
          "truncated");
    SPOIL(segments[2].p_offset, PAGE + 8, "an offset at odds with the address", "misaligned");
    SPOIL(segments[2].p_align, 3 * PAGE, "an alignment that is no power of two", "alignment");
    SPOIL(segments[2].p_align, UINT64_C(1) << 60, "a huge alignment", "alignment");
    image.segments[1].p_type = image.segments[2].p_type = PT_NULL;
    refused("nothing to load", "nothing to load");
    image.segments[1].p_memsz = image.segments[1].p_filesz = 0;
    image.segments[2].p_memsz = image.segments[2].p_filesz = 0;
    refused("empty segments only", "nothing to load");
}

static void spoiled_interpreters(void)
{
    SPOIL(segments[0].p_filesz, 0, "an interpreter without a name", "interpreter");
    SPOIL(segments[0].p_filesz, 5000, "an interpreter's name of 5000 bytes", "interpreter");
    SPOIL(segments[0].p_filesz, 4, "a name without an end", "not a string");
    SPOIL(segments[0].p_offset, sizeof(image), "a name outside the file", "truncated");
    SPOIL(interpreter[0], 0, "an empty name", "not a string");
}

int main(void)
{
    int pipes[2];

    image = good;
    if (!tap_eq(check(sizeof(image)), 0, "the file that is right")) {
        tap_note("%s", error);
    }
    tap_ok(file.low == 0 && file.high == 8 * PAGE && file.align == PAGE, "its span");
    tap_ok(strcmp(file.interpreter, "/lib/ld.so") == 0, "its interpreter");
    tap_eq(file.phdr, offsetof(struct image, segments), "its program headers' address");
    tap_ok(!file.executable_stack, "its stack is not executable");
    image.segments[3].p_flags |= PF_X;
    tap_ok(check(sizeof(image)) == 0 && file.executable_stack, "or is, if it asks");
    image = good;
    spoiled_headers();
    spoiled_segments();
    spoiled_interpreters();

    tap_eq(check(0), -ENOEXEC, "an empty file");
    tap_eq(check(3), -ENOEXEC, "three bytes");
    tap_eq(check(40), -ENOEXEC, "half a header");
    tap_ok(check(100) == -ENOEXEC && strstr(error, "truncated") != NULL, "a header alone");
    tap_ok(check(sizeof(image) - PAGE) == -ENOEXEC && strstr(error, "truncated") != NULL,
           "half a file");
    if (pipe(pipes) == 0) {
        tap_eq(elf_check(pipes[0], EM_RISCV, &file, error, sizeof(error)), -EACCES, "a pipe");
    }

    /* Random damage is survived: whatever is accepted stays inside the file and the space. */
    bool sane = true;
    srand(7);
    for (int i = 0; i < 2000; i++) {
        for (int n = 1 + rand() % 3; n > 0; n--) {
            ((unsigned char *)&image)[(size_t)rand() % offsetof(struct image, padding)] =
                (unsigned char)rand();
        }
        if (check(sizeof(image)) == 0) {
            for (unsigned s = 0; s < file.segment_count; s++) {
                const Elf64_Phdr *p = &file.segments[s];
                sane &= p->p_type != PT_LOAD || p->p_memsz == 0 ||
                        (p->p_offset + p->p_filesz <= sizeof(image) && p->p_vaddr >= file.low &&
                         p->p_vaddr + p->p_memsz <= file.high && file.high < UINT64_C(1) << 47);
            }
        } else {
            sane &= error[0] != 0;
        }
        image = good;
    }
    tap_ok(sane, "2000 damaged files are refused or harmless");
    return tap_done();
}
