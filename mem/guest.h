/*
 * Guest-virtual memory of user-mode emulation: guest address + base = host address, and the host's
 * MMU is the judge. Every access here may fail with -EFAULT instead of killing us: a SIGSEGV or
 * SIGBUS raised inside one of these functions is recognised by mem_guest_fixup() and becomes that
 * error.
 */
#ifndef TINAMOU_MEM_GUEST_H
#define TINAMOU_MEM_GUEST_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

/* A guest-virtual address. */
struct mem_gva {
    uint64_t value;
};

/* Host address of guest address 0. Set once at start. */
extern uint64_t mem_guest_base;

static inline void *mem_guest_host(uint64_t guest_address)
{
    return (void *)(guest_address + mem_guest_base);
}

static inline uint64_t mem_guest_address(const void *host)
{
    return (uint64_t)host - mem_guest_base;
}

/* Copies between guest memory and ours. 0, or -EFAULT when any byte can't be accessed (a prefix may
 * have been copied). */
int mem_guest_read(void *to, uint64_t guest_from, size_t size);
int mem_guest_write(uint64_t guest_to, const void *from, size_t size);

/* Single accesses of 1, 2, 4 or 8 bytes, each one host access (atomic where aligned). 0 or -EFAULT.
 * *fault_signal and *fault_code (may be NULL) get the host's signal (SIGSEGV, SIGBUS) and si_code.
 */
int mem_guest_load(uint64_t guest_from, unsigned size, uint64_t *value, int *fault_signal,
                   int *fault_code);
int mem_guest_store(uint64_t guest_to, unsigned size, uint64_t value, int *fault_signal,
                    int *fault_code);

/* Atomic exchange operations for the interpreter; the function gets the old value and returns the
 * new. 0 or -EFAULT. */
int mem_guest_cas(uint64_t guest_at, unsigned size, uint64_t expected, uint64_t desired,
                  uint64_t *old, int *fault_signal, int *fault_code);

/* After one of the three has failed on this thread: the guest address of the first byte that could
 * not be accessed, which for an access over the end of a page may be the next page's first. */
uint64_t mem_guest_fault_address(void);

/* Length of a NUL-terminated string at guest_from, or -EFAULT, or -ENAMETOOLONG if it is longer
 * than max. */
int64_t mem_guest_strlen(uint64_t guest_from, size_t max);

/* From a host signal handler: if the fault hit one of the accesses above, makes it return its error
 * and returns true. */
bool mem_guest_fixup(int signal, const siginfo_t *info, ucontext_t *context);

#endif
