/*
 * The vDSO: a shared library of one page that every program finds through AT_SYSINFO_EHDR.
 *
 * It is a constant of this file: an ELF image laid out as a struct, so that offsets come from the
 * compiler. A function that tells the time is
 *
 *         mv   t1, a0
 *         host.call N         custom-0: asks riscv_vdso_call(), legal in this page only
 *         li   t0, -ENOSYS
 *         beq  a0, t0, 1f
 *         ret
 *     1:  mv   a0, t1         make the system call of the same name
 *         li   a7, NUMBER
 *         ecall
 *         ret
 *
 * so the guest's clock is the host's vDSO away, without leaving generated code. There is no call
 * frame information for __vdso_rt_sigreturn: unwinders of RISC-V know the frame by its two
 * instructions. No section headers either; nothing that loads it looks at them.
 */
#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "linux-user/abi.h"
#include "linux-user/mm.h"
#include "linux-user/riscv/vdso.h"
#include "target/riscv/cpu.h"

enum host_call { CALL_CLOCK_GETTIME, CALL_GETTIMEOFDAY, CALL_CLOCK_GETRES, CALL_GETCPU };

/* System call numbers of the guest. */
enum {
    NR_CLOCK_GETTIME = 113,
    NR_CLOCK_GETRES = 114,
    NR_RT_SIGRETURN = 139,
    NR_GETCPU = 168,
    NR_GETTIMEOFDAY = 169,
    NR_FLUSH_ICACHE = 259,
};

#define LI_A7(number)   ((uint32_t)(number) << 20 | 0x893)
#define ECALL           0x00000073u
#define RET             0x00008067u
#define MV_T1_A0        0x00050313u
#define MV_A0_T1        0x00030513u
#define LI_T0_ENOSYS    0xfda00293u
#define BEQ_A0_T0_8     0x00550463u
#define HOST_CALL(call) ((uint32_t)(call) << 20 | 0x0b)

#define TIME_WORDS 9
#define TIME_FUNCTION(call, number)                                                                \
    {                                                                                              \
        MV_T1_A0, HOST_CALL(call), LI_T0_ENOSYS, BEQ_A0_T0_8, RET, MV_A0_T1, LI_A7(number), ECALL, \
            RET                                                                                    \
    }

struct strings {
    char none[1];
    char soname[sizeof("linux-vdso.so.1")];
    char version[sizeof("LINUX_4.15")];
    char rt_sigreturn[sizeof("__vdso_rt_sigreturn")];
    char gettimeofday[sizeof("__vdso_gettimeofday")];
    char clock_gettime[sizeof("__vdso_clock_gettime")];
    char clock_getres[sizeof("__vdso_clock_getres")];
    char getcpu[sizeof("__vdso_getcpu")];
    char flush_icache[sizeof("__vdso_flush_icache")];
};

struct text {
    uint32_t rt_sigreturn[2];
    uint32_t gettimeofday[TIME_WORDS];
    uint32_t clock_gettime[TIME_WORDS];
    uint32_t clock_getres[TIME_WORDS];
    uint32_t getcpu[TIME_WORDS];
    uint32_t flush_icache[3];
};

#define SYMBOLS  7 /* the null symbol included */
#define SEGMENTS 2
#define DYNAMICS 10

struct definition {
    Elf64_Verdef def;
    Elf64_Verdaux aux;
};

struct image {
    Elf64_Ehdr header;
    Elf64_Phdr segments[SEGMENTS];
    Elf64_Dyn dynamic[DYNAMICS];
    Elf64_Sym symbols[SYMBOLS];
    Elf64_Word hash[2 + 1 + SYMBOLS]; /* one bucket */
    Elf64_Half versions[SYMBOLS + 1]; /* padded */
    struct definition definitions[2];
    struct strings strings;
    struct text text __attribute__((aligned(16)));
};
_Static_assert(sizeof(struct image) <= MM_PAGE_SIZE, "the vDSO is one page");

#define AT(field) offsetof(struct image, field)

#define SYMBOL(function)                                                                        \
    {                                                                                           \
        .st_name = offsetof(struct strings, function),                                          \
        .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), .st_other = STV_DEFAULT, .st_shndx = 1, \
        .st_value = AT(text.function), .st_size = sizeof(((struct text *)NULL)->function)       \
    }

static const struct image image = {
    .header =
        {
            .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
            .e_type = ET_DYN,
            .e_machine = EM_RISCV,
            .e_version = EV_CURRENT,
            .e_phoff = AT(segments),
            .e_flags = EF_RISCV_RVC | EF_RISCV_FLOAT_ABI_DOUBLE,
            .e_ehsize = sizeof(Elf64_Ehdr),
            .e_phentsize = sizeof(Elf64_Phdr),
            .e_phnum = SEGMENTS,
        },
    .segments =
        {
            {.p_type = PT_LOAD,
             .p_flags = PF_R | PF_X,
             .p_filesz = sizeof(struct image),
             .p_memsz = sizeof(struct image),
             .p_align = MM_PAGE_SIZE},
            {.p_type = PT_DYNAMIC,
             .p_flags = PF_R,
             .p_offset = AT(dynamic),
             .p_vaddr = AT(dynamic),
             .p_paddr = AT(dynamic),
             .p_filesz = sizeof(((struct image *)NULL)->dynamic),
             .p_memsz = sizeof(((struct image *)NULL)->dynamic),
             .p_align = 8},
        },
    .dynamic =
        {
            {DT_SONAME, {offsetof(struct strings, soname)}},
            {DT_HASH, {AT(hash)}},
            {DT_STRTAB, {AT(strings)}},
            {DT_SYMTAB, {AT(symbols)}},
            {DT_STRSZ, {sizeof(struct strings)}},
            {DT_SYMENT, {sizeof(Elf64_Sym)}},
            {DT_VERSYM, {AT(versions)}},
            {DT_VERDEF, {AT(definitions)}},
            {DT_VERDEFNUM, {2}},
            {DT_NULL, {0}},
        },
    .symbols = {{0},
                SYMBOL(rt_sigreturn),
                SYMBOL(gettimeofday),
                SYMBOL(clock_gettime),
                SYMBOL(clock_getres),
                SYMBOL(getcpu),
                SYMBOL(flush_icache)},
    /* One bucket that begins with symbol 1; each links to the next, the last to 0. */
    .hash = {1, SYMBOLS, 1, 0, 2, 3, 4, 5, 6, 0},
    .versions = {0, 2, 2, 2, 2, 2, 2, 0},
    .definitions =
        {
            {{VER_DEF_CURRENT, VER_FLG_BASE, 1, 1, 0x0deebfa1, sizeof(Elf64_Verdef),
              sizeof(struct definition)},
             {offsetof(struct strings, soname), 0}},
            {{VER_DEF_CURRENT, 0, 2, 1, 0x0ae77f75, sizeof(Elf64_Verdef), 0},
             {offsetof(struct strings, version), 0}},
        },
    .strings = {"", "linux-vdso.so.1", "LINUX_4.15", "__vdso_rt_sigreturn", "__vdso_gettimeofday",
                "__vdso_clock_gettime", "__vdso_clock_getres", "__vdso_getcpu",
                "__vdso_flush_icache"},
    .text =
        {
            .rt_sigreturn = {LI_A7(NR_RT_SIGRETURN), ECALL},
            .gettimeofday = TIME_FUNCTION(CALL_GETTIMEOFDAY, NR_GETTIMEOFDAY),
            .clock_gettime = TIME_FUNCTION(CALL_CLOCK_GETTIME, NR_CLOCK_GETTIME),
            .clock_getres = TIME_FUNCTION(CALL_CLOCK_GETRES, NR_CLOCK_GETRES),
            .getcpu = TIME_FUNCTION(CALL_GETCPU, NR_GETCPU),
            .flush_icache = {LI_A7(NR_FLUSH_ICACHE), ECALL, RET},
        },
};

const void *riscv_vdso_image(size_t *size)
{
    *size = sizeof(image);
    return &image;
}

static int64_t result_of(int result)
{
    return result < 0 ? -errno : 0;
}

static int64_t store(uint64_t guest, const void *value, size_t size)
{
    return guest == 0 ? 0 : mem_guest_write(guest, value, size);
}

/* On the vCPU's thread, from generated code. Answers -ENOSYS where the system call knows better. */
static int64_t host_call(struct cpu *cpu, unsigned number, uint64_t a0, uint64_t a1, uint64_t a2)
{
    const int saved_errno = errno;
    struct timespec ts;
    struct timeval tv;
    unsigned where[2];
    int64_t result = -ENOSYS;

    switch (number) {
    case CALL_CLOCK_GETTIME:
        result = result_of(clock_gettime((clockid_t)a0, &ts));
        if (result == 0) {
            result = mem_guest_write(a1, &ts, sizeof(ts));
        }
        break;
    case CALL_GETTIMEOFDAY:
        if (a1 == 0) { /* without the time zone, which nobody asks for */
            result = result_of(gettimeofday(&tv, NULL));
            if (result == 0) {
                result = store(a0, &tv, sizeof(tv));
            }
        }
        break;
    case CALL_CLOCK_GETRES:
        result = result_of(clock_getres((clockid_t)a0, &ts));
        if (result == 0) {
            result = store(a1, &ts, sizeof(ts));
        }
        break;
    case CALL_GETCPU:
        result = result_of(getcpu(&where[0], &where[1]));
        if (result == 0) {
            result = store(a0, &where[0], sizeof(where[0]));
        }
        if (result == 0) {
            result = store(a1, &where[1], sizeof(where[1]));
        }
        break;
    default:
        break;
    }
    errno = saved_errno;
    return result;
}

int abi_vdso_map(struct cpu *cpu)
{
    int64_t at = mm_mmap_labelled(0, MM_PAGE_SIZE, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, MM_VDSO);
    int64_t result;

    if (at < 0) {
        return (int)at;
    }
    result = mem_guest_write((uint64_t)at, &image, sizeof(image));
    if (result == 0) {
        result = mm_mprotect((uint64_t)at, MM_PAGE_SIZE, PROT_READ | PROT_EXEC);
    }
    if (result < 0) {
        mm_munmap((uint64_t)at, MM_PAGE_SIZE);
        return (int)result;
    }
    user_process.vdso = (uint64_t)at;
    user_process.vdso_sigreturn = (uint64_t)at + AT(text.rt_sigreturn);
    riscv_vdso_call = host_call;
    abi_vdso_attach(cpu);
    return 0;
}

void abi_vdso_attach(struct cpu *cpu)
{
    riscv_cpu(cpu)->vdso_start = user_process.vdso;
    riscv_cpu(cpu)->vdso_end = user_process.vdso != 0 ? user_process.vdso + MM_PAGE_SIZE : 0;
}
