/* linux-user/riscv/vdso: a dynamic linker finds its functions by name, version and hash. */
#include "linux-user/riscv/vdso.h"

#include "tests/unit/tap.h"

#include <elf.h>
#include <stdint.h>
#include <stdlib.h>

static const unsigned char *base;
static size_t size;

static uint32_t elf_hash(const char *name)
{
    uint32_t h = 0;

    for (; *name != 0; name++) {
        uint32_t high;
        h = (h << 4) + (unsigned char)*name;
        high = h & 0xf0000000;
        h = (h ^ high >> 24) & ~high;
    }
    return h;
}

static uint64_t dynamic(const Elf64_Dyn *d, int64_t tag)
{
    for (; d->d_tag != DT_NULL; d++) {
        if (d->d_tag == tag) {
            return d->d_un.d_val;
        }
    }
    return 0;
}

int main(void)
{
    static const char *const names[] = {"__vdso_rt_sigreturn",  "__vdso_gettimeofday",
                                        "__vdso_clock_gettime", "__vdso_clock_getres",
                                        "__vdso_getcpu",        "__vdso_flush_icache"};
    const Elf64_Ehdr *h;
    const Elf64_Phdr *p;
    const Elf64_Dyn *d = NULL;

    base = riscv_vdso_image(&size);
    h = (const void *)base;
    p = (const void *)(base + h->e_phoff);
    for (unsigned i = 0; i < h->e_phnum; i++) {
        if (p[i].p_type == PT_DYNAMIC) {
            d = (const void *)(base + p[i].p_vaddr);
        }
    }
    tap_ok(d != NULL, "it has a dynamic section");
    if (d == NULL) {
        return tap_done();
    }
    const Elf64_Sym *symbols = (const void *)(base + dynamic(d, DT_SYMTAB));
    const Elf64_Half *versions = (const void *)(base + dynamic(d, DT_VERSYM));
    const uint32_t *hash = (const void *)(base + dynamic(d, DT_HASH));
    const char *strings = (const char *)(base + dynamic(d, DT_STRTAB));
    const Elf64_Verdef *version = (const void *)(base + dynamic(d, DT_VERDEF));
    const Elf64_Verdaux *aux;

    tap_ok(strcmp(strings + dynamic(d, DT_SONAME), "linux-vdso.so.1") == 0, "its name");
    tap_eq(version->vd_hash, elf_hash("linux-vdso.so.1"), "the hash of the base version");
    version = (const void *)((const char *)version + version->vd_next);
    aux = (const void *)((const char *)version + version->vd_aux);
    tap_ok(strcmp(strings + aux->vda_name, "LINUX_4.15") == 0, "its version");
    tap_eq(version->vd_hash, elf_hash("LINUX_4.15"), "the hash of the version");
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint32_t index = hash[2 + elf_hash(names[i]) % hash[0]];
        while (index != 0 && strcmp(strings + symbols[index].st_name, names[i]) != 0) {
            index = hash[2 + hash[0] + index];
        }
        tap_ok(index != 0 && versions[index] == version->vd_ndx &&
                   symbols[index].st_value + symbols[index].st_size <= size &&
                   symbols[index].st_value % 4 == 0,
               "%s is found", names[i]);
        if (i == 0) {
            const uint32_t *code = (const void *)(base + symbols[index].st_value);
            tap_ok(code[0] == 0x08b00893 && code[1] == 0x00000073,
                   "and is the two instructions that unwinders look for");
        }
    }
    return tap_done();
}
