/*
 * Bare-metal guests of the virt machine: they print what they find, a line each, and power off. All
 * of it is compared between engines and with QEMU; nothing printed may depend on time.
 */
#ifndef TINAMOU_TESTS_SYSTEM_GUEST_H
#define TINAMOU_TESTS_SYSTEM_GUEST_H

#include <stdbool.h>
#include <stdint.h>

enum { U = 0, S = 1, M = 3 };

/* What the trap that ended run_at() has left; a0 and t2 as they were in the guest. */
extern volatile struct {
    uint64_t cause, epc, tval, status, a0, t2;
} trap;

/*
 * Runs at pc with this a0 and privilege until a trap comes to M; returns its mcause. The stack is
 * the caller's: a piece that uses it must do so at addresses that it can use.
 */
uint64_t run_at(uint64_t pc, uint64_t a0, unsigned privilege);

#define PIECE(name) extern char name[]
PIECE(m_trap);
PIECE(m_vector);
PIECE(s_trap);
PIECE(do_ecall);
PIECE(do_ebreak);
PIECE(do_load8);
PIECE(do_load1);
PIECE(do_store8);
PIECE(do_lr);
PIECE(do_sc);
PIECE(do_amo);
PIECE(do_jump);
PIECE(do_wfi);
PIECE(do_sret);
PIECE(do_mret);
PIECE(do_sfence);
PIECE(do_time);
PIECE(do_satp);
PIECE(do_fadd);
PIECE(do_fsd);
PIECE(do_csr_none);
PIECE(do_readonly);
PIECE(do_zero);
PIECE(do_clean);
PIECE(do_fence_i);
PIECE(do_custom);
PIECE(do_spin);
#undef PIECE

#define RUN(piece, a0, privilege) run_at((uint64_t)(piece), (uint64_t)(a0), privilege)

#define STRING_(x) #x
#define STRING(x)  STRING_(x)
#define csr_read(csr)                                                   \
    ({                                                                  \
        uint64_t v_;                                                    \
        __asm__ volatile("csrr %0, " STRING(csr) : "=r"(v_)::"memory"); \
        v_;                                                             \
    })
#define csr_write(csr, v) \
    __asm__ volatile("csrw " STRING(csr) ", %0" ::"r"((uint64_t)(v)) : "memory")
#define csr_set(csr, v) __asm__ volatile("csrs " STRING(csr) ", %0" ::"r"((uint64_t)(v)) : "memory")
#define csr_clear(csr, v) \
    __asm__ volatile("csrc " STRING(csr) ", %0" ::"r"((uint64_t)(v)) : "memory")

static inline void put(const char *text)
{
    while (*text) {
        *(volatile uint8_t *)0x10000000 = (uint8_t)*text++;
    }
}

static inline void put_hex(uint64_t value)
{
    char text[20];
    int n = 18;

    text[19] = 0;
    text[18] = ' ';
    do {
        text[--n] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value);
    put(text + n);
}

/* "what: a b c d" */
static inline void line4(const char *what, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    put(what);
    put(": ");
    put_hex(a);
    put_hex(b);
    put_hex(c);
    put_hex(d);
    put("\n");
}

static inline void line1(const char *what, uint64_t a)
{
    put(what);
    put(": ");
    put_hex(a);
    put("\n");
}

/* The trap, as a line: cause, epc relative to a piece, tval, privilege it came from. */
static inline void show(const char *what, const char *piece)
{
    line4(what, trap.cause, trap.epc - (uint64_t)piece, trap.tval, trap.status >> 11 & 3);
}

/* All physical memory for S and U. */
static inline void open_memory(void)
{
    csr_write(pmpaddr0, -1);
    csr_write(pmpcfg0, 0x1f);
}

#endif
