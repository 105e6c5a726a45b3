/* Guests in 32-bit protected mode: traps, and a few instructions. common.h says what a guest is. */
#ifndef TINAMOU_TESTS_KVM_GUEST32_H
#define TINAMOU_TESTS_KVM_GUEST32_H

#include "tests/kvm/common.h"
#include "tests/kvm/selectors32.h"

struct frame {
    uint32_t gs, fs, es, ds, edi, esi, ebp, esp_of_pusha, ebx, edx, ecx, eax;
    uint32_t vector, error, eip, cs, eflags;
    uint32_t esp, ss;                        /* if another ring was left, or virtual-8086 mode */
    uint32_t v86_es, v86_ds, v86_fs, v86_gs; /* of that mode */
    uint32_t cr2;                            /* in `trap` only */
};

extern volatile struct frame trap;
extern void (*volatile handlers[256])(struct frame *frame);

enum { RING0 = 0, RING1 = 1, RING3 = 3 };

/*
 * Runs code, with the argument in edi, until a vector without handler comes; returns that vector.
 * The ring is the one of cs. RUN() chooses segments by the ring. The second gets there by IRET,
 * whatever the ring.
 */
uint32_t run_at(const void *code, uint32_t argument, uint32_t flags, uint32_t cs, uint32_t ss);
uint32_t run_at_iret(const void *code, uint32_t argument, uint32_t flags, uint32_t cs, uint32_t ss);
#define RUN(code, argument, ring)                         \
    run_at((const void *)(code), (uint32_t)(argument), 2, \
           (ring) == RING3   ? SEL_CODE_USER              \
           : (ring) == RING1 ? SEL_CODE_RING1             \
                             : SEL_CODE,                  \
           (ring) == RING3   ? SEL_DATA_USER              \
           : (ring) == RING1 ? SEL_DATA_RING1             \
                             : SEL_DATA)

/* As in guest.h. */
#define PIECE(name, text)                                                          \
    extern const char name[], name##_end[];                                        \
    __asm__(".pushsection .text\n.balign 16\n" #name ": " text "\n" #name "_end: " \
            "ud2\n.popsection")
#define EXPECT_DONE(what, piece)                expect_trap(what, piece, piece##_end, -1, 0)
#define EXPECT_TRAP(what, piece, vector, error) expect_trap(what, piece, piece##_end, vector, error)
void expect_trap(const char *what, const void *piece, const void *piece_end, int vector,
                 uint32_t error);

extern uint64_t gdt[], idt[256];
extern uint32_t tss[26];
extern const char stubs[], trap_common[];
extern char run_stack_end[], trap_stack_end[], stack_end[];

static inline uint32_t read_cr0(void)
{
    uint32_t v;

    __asm__ volatile("mov %%cr0, %0" : "=r"(v));
    return v;
}
static inline void write_cr0(uint32_t v)
{
    __asm__ volatile("mov %0, %%cr0" ::"r"(v) : "memory");
}
static inline void write_cr3(uint32_t v)
{
    __asm__ volatile("mov %0, %%cr3" ::"r"(v) : "memory");
}
static inline uint32_t read_cr4(void)
{
    uint32_t v;

    __asm__ volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}
static inline void write_cr4(uint32_t v)
{
    __asm__ volatile("mov %0, %%cr4" ::"r"(v) : "memory");
}

#endif
