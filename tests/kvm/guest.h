/* Guests in long mode: traps, memory, instructions. common.h says what a guest is. */
#ifndef TINAMOU_TESTS_KVM_GUEST_H
#define TINAMOU_TESTS_KVM_GUEST_H

#include "tests/kvm/common.h"
#include "tests/kvm/selectors.h"

struct frame {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
    uint64_t cr2; /* in `trap` only */
};

/* What ended the last run_at(). */
extern volatile struct frame trap;

/* Called with interrupts off, and returned from by IRETQ. Null: the vector ends run_at(). */
extern void (*volatile handlers[256])(struct frame *frame);

enum {
    RING0 = 0,
    RING3 = 3,
    HOW_IF = 1 << HOW_IF_BIT,
    HOW_IOPL = 1 << HOW_IOPL_BIT, /* in ring 3 */
    HOW_TF = 1 << HOW_TF_BIT,
    HOW_AC = 1 << HOW_AC_BIT,
    HOW_32 = 1 << HOW_32_BIT, /* compatibility mode */
    HOW_16 = 1 << HOW_16_BIT, /* of 16 bits, for code under 64 KiB; in ring 0 */
};

/*
 * Runs code with the argument in rdi, on a stack of its own, until a vector without handler comes;
 * returns that vector. Only on the first processor, and not within itself.
 */
uint64_t run_at(const void *code, uint64_t argument, unsigned how);
#define RUN(code, argument, how) run_at((const void *)(code), (uint64_t)(argument), how)

/*
 * PIECE(name, "instructions") makes a piece of code, for run_at(), that ends by UD2: where it gets
 * that far, DONE(name) is true afterwards. C functions for run_at() call leave() at their end.
 */
#define PIECE(name, text)                                                          \
    extern const char name[], name##_end[];                                        \
    __asm__(".pushsection .text\n.balign 16\n" #name ": " text "\n" #name "_end: " \
            "ud2\n.popsection")
#define DONE(name) (trap.vector == 6 && trap.rip == (uint64_t)name##_end)
_Noreturn void leave(void);

extern uint64_t pml4[512], pdpt[512], pd[5 * 512], gdt[], idt[512];
extern uint8_t tss[104];
extern const char trampoline[], trampoline_end[], stubs[];
extern char run_stack_end[], trap_stack_end[];
extern volatile uint32_t cpus; /* how many have arrived */
extern void (*volatile other_main)(unsigned cpu);
extern const struct {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed)) gdt_pointer, idt_pointer;

/* ---- output -------------------------------------------------------------------------------- */

/*
 * The last run_at() of a piece, as a line: done, or vector, error code, rip relative to the piece,
 * and ring; and what was expected where that is something else.
 */
#define SAY_TRAP(what, piece)                   say_trap(what, piece, piece##_end)
#define EXPECT_DONE(what, piece)                expect_trap(what, piece, piece##_end, -1, 0)
#define EXPECT_TRAP(what, piece, vector, error) expect_trap(what, piece, piece##_end, vector, error)
void say_trap(const char *what, const void *piece, const void *piece_end);
void expect_trap(const char *what, const void *piece, const void *piece_end, int vector,
                 uint64_t error);

/* ---- memory -------------------------------------------------------------------------------- */

/* Zeroed pages from 8 MiB up; never given back. */
void *pages(unsigned n);
void fill(void *to, uint8_t byte, size_t n);
void copy(void *to, const void *from, size_t n);
/*
 * 4 KiB pages for the 2 MiB around the address, mapped as before; returns the address's entry.
 * What changes it must call invlpg().
 */
uint64_t *split(uint64_t address);

/* ---- ports in ring 3 ----------------------------------------------------------------------- */

/*
 * Another task state segment. open_ports() makes one whose bitmap, at byte 104, opens all ports to
 * ring 3, and loads it; set_tss(tss, 103) is what there was.
 */
void set_tss(const void *at, unsigned limit);
uint8_t *open_ports(void);

/* ---- instructions -------------------------------------------------------------------------- */

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t out[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(sub));
}
static inline uint64_t read_cr0(void)
{
    uint64_t v;

    __asm__ volatile("mov %%cr0, %0" : "=r"(v));
    return v;
}
static inline void write_cr0(uint64_t v)
{
    __asm__ volatile("mov %0, %%cr0" ::"r"(v) : "memory");
}
static inline uint64_t read_cr3(void)
{
    uint64_t v;

    __asm__ volatile("mov %%cr3, %0" : "=r"(v));
    return v;
}
static inline void write_cr3(uint64_t v)
{
    __asm__ volatile("mov %0, %%cr3" ::"r"(v) : "memory");
}
static inline uint64_t read_cr4(void)
{
    uint64_t v;

    __asm__ volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}
static inline void write_cr4(uint64_t v)
{
    __asm__ volatile("mov %0, %%cr4" ::"r"(v) : "memory");
}
static inline void invlpg(uint64_t address)
{
    __asm__ volatile("invlpg (%0)" ::"r"(address) : "memory");
}

#endif
