/*
 * Guests of machine microvm. A guest is a file with a table `parts`; each part checks a subject and
 * prints a line a check. All of it is compared between monitors: nothing printed may depend on
 * time.
 *
 * The command line has `skip=A,B` (parts that this host cannot run), `only=A,B`, and `count=N`, how
 * often what is done many times is done.
 */
#ifndef TINAMOU_TESTS_KVM_COMMON_H
#define TINAMOU_TESTS_KVM_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A table of these, ended by a name that is null, is what a guest consists of. */
struct part {
    const char *name;
    void (*run)(void);
};
extern const struct part parts[];

/* What PVH hands over, of version 1. */
#define START_INFO_MAGIC 0x336ec578
extern const struct start_info {
    uint32_t magic, version, flags, modules;
    uint64_t module_list, command_line, rsdp, memory_map;
    uint32_t memory_map_entries, reserved;
} * start_info;

/* ---- output -------------------------------------------------------------------------------- */

/* The monitor ends, with 2 * status + 1. */
_Noreturn void end(unsigned status);

/* %s, %x, %% and %d, which is an unsigned number; %lx, %llx. A line goes out when it ends. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void flush(void);
/* Keeps lines back while the serial port is used for something else. */
void hold(bool on);

/* Counts one that prints for itself, with NO or NOT in the line where it is not good. */
void count_check(bool good);

/* Prints "what: yes" or "what: NO"; a NO makes the guest fail. */
void check(const char *what, bool good);

/* Prints "what: got", and what was expected where that is something else. */
void expect(const char *what, uint64_t got, uint64_t want);

extern const char *command_line;
extern uint32_t count;
/* The value of key=N in the command line, or otherwise `without`. */
uint64_t argument(const char *key, uint64_t without);

/* ---- instructions -------------------------------------------------------------------------- */

static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
static inline void outw(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}
static inline void outl(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
    uint8_t v;

    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint16_t inw(uint16_t port)
{
    uint16_t v;

    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint32_t inl(uint16_t port)
{
    uint32_t v;

    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint8_t read8(uintptr_t address)
{
    return *(volatile uint8_t *)address;
}
static inline uint16_t read16(uintptr_t address)
{
    return *(volatile uint16_t *)address;
}
static inline uint32_t read32(uintptr_t address)
{
    return *(volatile uint32_t *)address;
}
static inline uint64_t read64(uintptr_t address)
{
    return *(volatile uint64_t *)address;
}
static inline void write8(uintptr_t address, uint8_t v)
{
    *(volatile uint8_t *)address = v;
}
static inline void write16(uintptr_t address, uint16_t v)
{
    *(volatile uint16_t *)address = v;
}
static inline void write32(uintptr_t address, uint32_t v)
{
    *(volatile uint32_t *)address = v;
}
static inline void write64(uintptr_t address, uint64_t v)
{
    *(volatile uint64_t *)address = v;
}
static inline uint64_t rdtsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return (uint64_t)high << 32 | low;
}
static inline void sti(void)
{
    __asm__ volatile("sti" ::: "memory");
}
static inline void cli(void)
{
    __asm__ volatile("cli" ::: "memory");
}
static inline void pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

/*
 * Until the condition holds, or far longer than anything here takes; true when it does. Each turn
 * exits to the monitor: where ring 0 is emulated, an interrupt may have to wait for such an exit.
 */
#define WAIT_CYCLES (10ull << 30)
#define WAIT_FOR(condition)                                  \
    ({                                                       \
        uint64_t until_ = rdtsc() + WAIT_CYCLES;             \
        bool good_;                                          \
        while (!(good_ = (condition)) && rdtsc() < until_) { \
            (void)inb(0x80);                                 \
        }                                                    \
        good_;                                               \
    })

#endif
