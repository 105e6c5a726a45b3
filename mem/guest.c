/*
 * Guest-virtual accesses of user mode, for x86-64 hosts.
 *
 * Each access is inline assembly whose instructions that may fault are listed in the section
 * mem_fixups: pairs of 32-bit offsets (from the pair's own words, so that the table needs no
 * relocation) of a faulting instruction and of where to go on. mem_guest_fixup() looks the fault's
 * rip up there, puts signal number, si_code and si_addr into r11d, r10d and r9, which every routine
 * below declares as outputs, and moves rip. The table has a handful of rows; a linear search will
 * do.
 *
 * Rejected: sigsetjmp around memcpy (costs a save at each access, and loses MXCSR), and
 * process_vm_readv on ourselves (a system call at each access, and forbidden in some containers).
 */
#include "mem/guest.h"

#include <errno.h>
#include <string.h>

#if !defined(__x86_64__)
#error "mem/guest.c is for x86-64 hosts"
#endif

uint64_t mem_guest_base;

struct fixup {
    int32_t at;    /* from this word to the instruction that may fault */
    int32_t go_on; /* from this word to where the access has failed */
};

extern const struct fixup __start_mem_fixups[], __stop_mem_fixups[];

/* An instruction at label `at` that goes on at label `on` when it faults. */
#define FIXUP(at, on)                               \
    ".pushsection mem_fixups, \"a\", @progbits\n\t" \
    ".balign 4\n\t"                                 \
    ".long " at " - .\n\t"                          \
    ".long " on " - .\n\t"                          \
    ".popsection\n\t"

/* What a fault leaves behind; signal is 0 without one. */
struct fault {
    int signal, code;
    uint64_t address; /* the host's; 0 where it tells none */
};

static _Thread_local uint64_t fault_address;

bool mem_guest_fixup(int signal, const siginfo_t *info, ucontext_t *context)
{
    greg_t *regs = context->uc_mcontext.gregs;
    uint64_t rip = (uint64_t)regs[REG_RIP];

    for (const struct fixup *f = __start_mem_fixups; f < __stop_mem_fixups; f++) {
        if (rip == (uint64_t)&f->at + (uint64_t)(int64_t)f->at) {
            /* By way of rsp or rbp an address that is not canonical is a fault of the stack
             * segment, for which Linux sends SIGBUS; to the guest it is like any other. */
            regs[REG_R11] = signal == SIGBUS && info->si_code == SI_KERNEL ? SIGSEGV : signal;
            regs[REG_R10] = info->si_code;
            regs[REG_R9] = (greg_t)(uintptr_t)info->si_addr;
            regs[REG_RIP] = (greg_t)(uintptr_t)((const char *)&f->go_on + f->go_on);
            return true;
        }
    }
    return false;
}

#define FAULT_REGISTERS                                 \
    register uint32_t fault_signal_ __asm__("r11") = 0; \
    register uint32_t fault_code_ __asm__("r10") = 0;   \
    register uint64_t fault_address_ __asm__("r9") = 0
#define FAULT_OUTPUTS "+r"(fault_signal_), "+r"(fault_code_), "+r"(fault_address_)
#define FAULT_RESULT                                                                      \
    (struct fault)                                                                        \
    {                                                                                     \
        .signal = (int)fault_signal_, .code = (int)fault_code_, .address = fault_address_ \
    }

#define LOAD(suffix, type, constraint, operand)                           \
    static struct fault load_##suffix(const void *from, uint64_t *value)  \
    {                                                                     \
        type result = 0;                                                  \
        FAULT_REGISTERS;                                                  \
        __asm__ volatile("1: mov %[from], %" operand "[result]\n"         \
                         "2:\n\t" FIXUP("1b", "2b")                       \
                         : [result] "+" constraint(result), FAULT_OUTPUTS \
                         : [from] "m"(*(const type *)from)                \
                         : "memory");                                     \
        *value = result;                                                  \
        return FAULT_RESULT;                                              \
    }
LOAD(1, uint8_t, "q", "b")
LOAD(2, uint16_t, "r", "w")
LOAD(4, uint32_t, "r", "k")
LOAD(8, uint64_t, "r", "q")

#define STORE(suffix, type, constraint, operand)                 \
    static struct fault store_##suffix(void *to, uint64_t value) \
    {                                                            \
        type narrow = (type)value;                               \
        FAULT_REGISTERS;                                         \
        __asm__ volatile("1: mov %" operand "[value], %[to]\n"   \
                         "2:\n\t" FIXUP("1b", "2b")              \
                         : [to] "=m"(*(type *)to), FAULT_OUTPUTS \
                         : [value] constraint(narrow)            \
                         : "memory");                            \
        return FAULT_RESULT;                                     \
    }
STORE(1, uint8_t, "q", "b")
STORE(2, uint16_t, "r", "w")
STORE(4, uint32_t, "r", "k")
STORE(8, uint64_t, "r", "q")

#define CAS(suffix, type, constraint, operand)                                                     \
    static struct fault cas_##suffix(void *at, uint64_t expected, uint64_t desired, uint64_t *old) \
    {                                                                                              \
        type was = (type)expected, wanted = (type)desired;                                         \
        FAULT_REGISTERS;                                                                           \
        __asm__ volatile("1: lock cmpxchg %" operand "[wanted], %[at]\n"                           \
                         "2:\n\t" FIXUP("1b", "2b")                                                \
                         : [at] "+m"(*(type *)at), "+a"(was), FAULT_OUTPUTS                        \
                         : [wanted] constraint(wanted)                                             \
                         : "memory", "cc");                                                        \
        *old = was;                                                                                \
        return FAULT_RESULT;                                                                       \
    }
CAS(1, uint8_t, "q", "b")
CAS(2, uint16_t, "r", "w")
CAS(4, uint32_t, "r", "k")
CAS(8, uint64_t, "r", "q")

/* One side is the guest's; which one does not matter to the instruction. */
static int copy(void *to, const void *from, size_t size)
{
    FAULT_REGISTERS;

    __asm__ volatile("1: rep movsb\n"
                     "2:\n\t" FIXUP("1b", "2b")
                     : "+D"(to), "+S"(from), "+c"(size), FAULT_OUTPUTS
                     :
                     : "memory");
    return fault_signal_ == 0 && fault_code_ == 0 ? 0 : -EFAULT;
}

static int report(struct fault fault, uint64_t start, int *signal, int *code)
{
    if (fault.signal == 0) {
        return 0;
    }
    /* x86-64 does not tell an address that is not canonical. */
    fault_address = fault.address == 0 ? start : fault.address - mem_guest_base;
    if (signal != NULL) {
        *signal = fault.signal;
    }
    if (code != NULL) {
        *code = fault.code;
    }
    return -EFAULT;
}

int mem_guest_load(uint64_t guest_from, unsigned size, uint64_t *value, int *fault_signal,
                   int *fault_code)
{
    const void *from = mem_guest_host(guest_from);

    switch (size) {
    case 1:
        return report(load_1(from, value), guest_from, fault_signal, fault_code);
    case 2:
        return report(load_2(from, value), guest_from, fault_signal, fault_code);
    case 4:
        return report(load_4(from, value), guest_from, fault_signal, fault_code);
    case 8:
        return report(load_8(from, value), guest_from, fault_signal, fault_code);
    default:
        return -EINVAL;
    }
}

int mem_guest_store(uint64_t guest_to, unsigned size, uint64_t value, int *fault_signal,
                    int *fault_code)
{
    void *to = mem_guest_host(guest_to);

    switch (size) {
    case 1:
        return report(store_1(to, value), guest_to, fault_signal, fault_code);
    case 2:
        return report(store_2(to, value), guest_to, fault_signal, fault_code);
    case 4:
        return report(store_4(to, value), guest_to, fault_signal, fault_code);
    case 8:
        return report(store_8(to, value), guest_to, fault_signal, fault_code);
    default:
        return -EINVAL;
    }
}

int mem_guest_cas(uint64_t guest_at, unsigned size, uint64_t expected, uint64_t desired,
                  uint64_t *old, int *fault_signal, int *fault_code)
{
    void *at = mem_guest_host(guest_at);

    switch (size) {
    case 1:
        return report(cas_1(at, expected, desired, old), guest_at, fault_signal, fault_code);
    case 2:
        return report(cas_2(at, expected, desired, old), guest_at, fault_signal, fault_code);
    case 4:
        return report(cas_4(at, expected, desired, old), guest_at, fault_signal, fault_code);
    case 8:
        return report(cas_8(at, expected, desired, old), guest_at, fault_signal, fault_code);
    default:
        return -EINVAL;
    }
}

uint64_t mem_guest_fault_address(void)
{
    return fault_address;
}

int mem_guest_read(void *to, uint64_t guest_from, size_t size)
{
    const void *from = mem_guest_host(guest_from);
    uint64_t value;

    /* A word is the most frequent size, and rep movsb takes tens of cycles to start. */
    if (size == 8) {
        if (load_8(from, &value).signal != 0) {
            return -EFAULT;
        }
        memcpy(to, &value, 8);
        return 0;
    }
    return copy(to, from, size);
}

int mem_guest_write(uint64_t guest_to, const void *from, size_t size)
{
    void *to = mem_guest_host(guest_to);
    uint64_t value;

    if (size == 8) {
        memcpy(&value, from, 8);
        return store_8(to, value).signal == 0 ? 0 : -EFAULT;
    }
    return copy(to, from, size);
}

int64_t mem_guest_strlen(uint64_t guest_from, size_t max)
{
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    uint64_t at = guest_from & ~(uint64_t)7; /* aligned words never cross into another page */
    unsigned skip = guest_from & 7;
    uint64_t word;

    for (uint64_t length = 0;;) {
        if (load_8(mem_guest_host(at), &word).signal != 0) {
            return -EFAULT;
        }
        word |= skip == 0 ? 0 : (UINT64_C(1) << 8 * skip) - 1;
        uint64_t zero = (word - ones) & ~word & tops;
        if (zero != 0) {
            length += (unsigned)__builtin_ctzll(zero) / 8 - skip;
            return length > max ? -ENAMETOOLONG : (int64_t)length;
        }
        length += 8 - skip;
        if (length > max) {
            return -ENAMETOOLONG;
        }
        at += 8;
        skip = 0;
    }
}
