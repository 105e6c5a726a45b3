/*
 * M-mode firmware of the virt machine under a program of tests/insn: as much of Linux as one needs.
 *
 * The program is the very one that user mode runs: its system calls come here as ecalls, and traps
 * go to its signal handler with the frame that Linux would make. The program runs in M mode without
 * paging, or in S or U mode under Sv39 with pages of 4 KiB. Its records are compared here with
 * those of user mode; only what differs is written to the UART, whole, and at the end one more with
 * ~0 for the signal, which says how many runs there were.
 */
#include "tests/insn/firmware.h"
#include "tests/insn/guest.h"

enum { SYS_WRITE = 64, SYS_EXIT = 93, SYS_RT_SIGACTION = 134, LINUX_ENOSYS = 38 };
enum { SIG_ILL = 4, SIG_TRAP = 5, SIG_BUS = 7, SIG_SEGV = 11 };
enum { A0 = 10, A1, A2, A7 = 17 };

/* On the alternate stack, in one page; and struct sigcontext within struct ucontext. */
enum { SIGINFO = 4096, UCONTEXT = SIGINFO + 256, SIGCONTEXT = UCONTEXT + 176 };
enum { FRAME_WORDS = 65 }; /* pc and x, f, fcsr */

enum { PTE_V = 1, PTE_U = 16, PTE_AD = 0xc0, TABLES = 64 };

#define UART       ((volatile uint8_t *)0x10000000)
#define POWER      ((volatile uint32_t *)0x100000)
#define CSRW(n, v) __asm__ volatile("csrw " #n ", %0" : : "r"((uint64_t)(v)) : "memory")

extern uint64_t frame[];
void firmware_start(void);
void firmware_trap(uint64_t *f, uint64_t cause, uint64_t tval);

static const struct firmware_parameters *const parameters = (void *)(uintptr_t)FIRMWARE_PARAMETERS;
static uint64_t tables[TABLES][512] __attribute__((aligned(4096)));
static unsigned table_count = 1; /* the first is the root */
static uint64_t handler, runs;

static uint64_t physical(uint64_t address)
{
    return (address + parameters->offset) ^ (parameters->privilege == 3 ? 0 : 4096);
}

static uint64_t *at(uint64_t address)
{
    return (uint64_t *)physical(address);
}

static uint64_t *next_table(uint64_t *entry)
{
    if (*entry == 0) {
        *entry = (uint64_t)tables[table_count++] >> 12 << 10 | PTE_V;
    }
    return (uint64_t *)(*entry >> 10 << 12);
}

static void map(uint64_t address, uint64_t flags)
{
    uint64_t *table = next_table(&tables[0][address >> 30 & 511]);

    table = next_table(&table[address >> 21 & 511]);
    table[address >> 12 & 511] = physical(address) >> 12 << 10 | flags | PTE_AD | PTE_V;
}

void firmware_start(void)
{
    const struct firmware_parameters *p = parameters;

    CSRW(mstatus, p->privilege << 11 | 3 << 13 | 3 << 9); /* MPP; FS and VS dirty */
    CSRW(medeleg, 0);
    CSRW(pmpaddr0, ~UINT64_C(0));
    CSRW(pmpcfg0, 0x1f);
    CSRW(0x30a, 0xc0); /* menvcfg and senvcfg: CBCFE and CBZE, as Linux has for programs */
    CSRW(0x10a, 0xc0);
    if (p->privilege != 3) {
        for (unsigned n = 0; n < FIRMWARE_SEGMENTS; n++) {
            for (uint64_t at = 0; at < p->segments[n].size; at += 4096) {
                map(p->segments[n].address + at,
                    p->segments[n].flags | (p->privilege == 0 ? PTE_U : 0));
            }
        }
        CSRW(satp, UINT64_C(8) << 60 | (uint64_t)tables[0] >> 12);
        __asm__ volatile("sfence.vma" : : : "memory");
    }
    frame[0] = p->entry;
}

static void print_record(void)
{
    for (unsigned n = 0; n < GUEST_RECORD_SIZE; n++) {
        uint64_t address = parameters->state + (uint64_t)(int64_t)GUEST_RECORD + n;
        while ((UART[5] & 0x20) == 0) {
        }
        UART[0] = *(uint8_t *)physical(address);
    }
}

static void compare_record(void)
{
    const uint64_t *want =
        (uint64_t *)(uintptr_t)FIRMWARE_EXPECTED + runs++ * GUEST_RECORD_SIZE / 8;

    for (int n = 0; n < GUEST_RECORD_SIZE; n += 8) {
        if (*at(parameters->state + (uint64_t)(int64_t)(GUEST_RECORD + n)) != want[n / 8]) {
            print_record();
            return;
        }
    }
}

static void finish(void)
{
    *at(parameters->state + (uint64_t)(int64_t)GUEST_SIGNAL) = ~UINT64_C(0);
    *at(parameters->state + (uint64_t)(int64_t)GUEST_RUN) = runs;
    print_record();
    *POWER = 0x5555;
    for (;;) {
    }
}

static void system_call(uint64_t *f)
{
    switch (f[A7]) {
    case SYS_WRITE:
        compare_record();
        f[A0] = GUEST_RECORD_SIZE;
        break;
    case SYS_EXIT:
        finish();
        break;
    case SYS_RT_SIGACTION:
        handler = *at(f[A1]);
        f[A0] = 0;
        break;
    default:
        f[A0] = (uint64_t)-LINUX_ENOSYS;
        break;
    }
    f[0] += 4;
}

/* What Linux makes of the cause. All unknown ones end up in the record as signal 0. */
static uint64_t signal_of(uint64_t cause)
{
    static const uint8_t signals[16] = {SIG_BUS,  SIG_SEGV, SIG_ILL, SIG_TRAP, SIG_BUS, SIG_SEGV,
                                        SIG_BUS,  SIG_SEGV, 0,       0,        0,       0,
                                        SIG_SEGV, SIG_SEGV, 0,       SIG_SEGV};

    return cause < sizeof(signals) ? signals[cause] : 0;
}

void firmware_trap(uint64_t *f, uint64_t cause, uint64_t tval)
{
    uint64_t stack = parameters->state, number = signal_of(cause);

    if (cause == 8 || cause == 9 || cause == 11) {
        system_call(f);
        return;
    }
    *at(stack + SIGINFO + 8) = 1; /* si_code: all of them have 1 here */
    *at(stack + SIGINFO + 16) = number == SIG_ILL || number == SIG_TRAP ? f[0] : tval;
    for (unsigned n = 0; n < FRAME_WORDS; n++) {
        *at(stack + SIGCONTEXT + 8 * n) = f[n];
    }
    f[A0] = number;
    f[A1] = stack + SIGINFO;
    f[A2] = stack + UCONTEXT;
    f[0] = handler;
}
