/*
 * System mode's inside: address spaces of a vCPU, each with a TLB or a jump cache, and memory
 * accesses that generated code does not do by itself.
 *
 * A vCPU keeps the translations of its latest address spaces (struct cpu_space_key), so that going
 * from user to kernel and from process to process forgets nothing. Its thread alone fills and
 * flushes them. Others may only take back the leave to store (tcg_tlb_protect()), under the vCPU's
 * lock, and ask for a flush by a flag and a kick.
 */
#ifndef TINAMOU_ACCEL_TCG_SYSTEM_H
#define TINAMOU_ACCEL_TCG_SYSTEM_H

#include "accel/accel.h"
#include "accel/tcg/internal.h"
#include "cpu/system.h"

enum {
    TCG_SPACES = 16,   /* of each kind */
    TCG_TLB_MIN = 256, /* entries */
    TCG_TLB_MAX = 8192,
    TCG_LARGE = 8,
    TCG_LOCATED = 4096,   /* bits of a filter */
    TCG_CODE_PAGES = 256, /* entries of a code space's own little TLB */
    TCG_MAX_CPUS = 512,
};

/*
 * Where pages larger than MEM_PAGE_SIZE lie that entries come from: a flush of any address there is
 * a flush of all. As ranges (address & mask) == base, each power of two large; mask 0: unused. When
 * there are more than fit, the nearest become one.
 */
struct tcg_large {
    struct {
        uint64_t base, mask;
    } range[TCG_LARGE];
};

/* Translations for data accesses under one key. */
struct tcg_space {
    struct cpu_space_key key;
    uint64_t used; /* stamp; 0: free */
    struct jit_tlb_entry *tlb;
    uint64_t mask;
    bool filled;    /* has entries */
    uint64_t fills; /* since the table has its size, or was flushed */
    struct tcg_large large;
};

struct tcg_code_page {
    uint64_t page; /* guest page address, 1 in an empty entry */
    uint8_t *host;
    struct mem_ram *ram;
};

/* Translations for fetches under one key, and code under that and one mode word. */
struct tcg_code_space {
    struct cpu_space_key key;
    uint64_t mode;
    uint64_t used;
    bool filled;
    struct cpu_jump *jumps;
    struct tcg_large large;
    uint64_t located[TCG_LOCATED / 64]; /* by a hash: pages that jumps may lead to */
    struct tcg_code_page pages[TCG_CODE_PAGES];
};

/* Why the access that failed last has failed; kept until the run loop raises it. */
struct tcg_fault {
    bool watched; /* not at all: a watchpoint was hit, debug.hit says which */
    uint64_t address;
    enum cpu_access access;
    enum cpu_bus_error bus;
};

struct tcg_watch {
    uint64_t address, size;
    unsigned access; /* CPU_WATCH_* */
};

/* What debuggers want of a vCPU, and why it has stopped. */
struct tcg_debug {
    struct lock lock;
    uint64_t *breakpoint; /* in ascending order, one n times if inserted n times */
    unsigned breakpoints, breakpoint_room;
    struct tcg_watch *watch;
    _Atomic unsigned watches; /* others than its thread change it; 0: nobody needs to look */
    unsigned watch_room;
    bool step;
    struct cpu_stop stop, hit;
    uint64_t stop_pc;
    bool told;            /* somebody has asked for `stop` */
    bool unwatched;       /* the instruction that a watchpoint has stopped is being executed */
    _Atomic bool changed; /* the vCPU has not taken notice yet */
    bool active;          /* its thread's: turns begin and end in debug.c */
};

#define TCG_SYSTEM_COUNTERS(X)                                    \
    X(slow, "memory accesses that went the slow way")             \
    X(fills, "TLB entries filled")                                \
    X(device, "accesses to device registers")                     \
    X(flushes, "TLB flushes")                                     \
    X(switches, "changes to an address space that was not known") \
    X(traps, "exceptions")                                        \
    X(interrupts, "interrupts taken")

struct tcg_system_cpu {
    struct lock lock; /* of the tables of `data`, for tcg_tlb_protect() */
    struct tcg_space data[TCG_SPACES], *data_now;
    struct tcg_code_space code[TCG_SPACES], *code_now;
    uint64_t stamp;
    struct tcg_fault fault;
    struct tcg_debug debug;
    _Atomic bool flush_all; /* somebody has asked for it */
    _Atomic uint64_t left;  /* how often generated code was left */
    struct cpu_jump *first_jumps;
#define X(name, help) uint64_t count_##name;
    TCG_SYSTEM_COUNTERS(X)
#undef X
};

static inline struct tcg_system_cpu *tcg_system_cpu(const struct cpu *cpu)
{
    return ((struct tcg_cpu *)cpu->accel)->system;
}

/* tlb.c */
void tcg_tlb_init(struct tcg_system_cpu *s);
void tcg_tlb_free(struct tcg_system_cpu *s);
/* Makes the spaces of the vCPU's present state the current ones. By its thread. */
void tcg_tlb_select(struct cpu *cpu);
void tcg_tlb_flush(struct cpu *cpu, const struct cpu_flush *what);
void tcg_tlb_flush_everything(struct cpu *cpu);
/* Finds the page of code at pc, for struct tcg_where; false with a fault. */
bool tcg_tlb_locate(struct cpu *cpu, uint64_t pc, struct tcg_where *where);
/* No vCPU stores to this host page any more without being seen to. */
void tcg_tlb_protect(const uint8_t *page);
/* Enters a page for data accesses, as translated at generation `generation`. */
void tcg_tlb_fill(struct cpu *cpu, uint64_t address, const struct cpu_translation *t, uint8_t *host,
                  struct mem_ram *ram, bool readonly, uint64_t generation);
/* Guest memory has changed its place: what is being filled right now is void. */
extern _Atomic uint64_t tcg_tlb_generation;

/* system-code.c */
extern const struct tcg_system_hooks tcg_code_hooks;
/* Whole pages of code were written: the dirty log's hook (mem_dirty_set_code_hook()). */
void tcg_code_written(void *opaque, struct mem_ram *ram, uint64_t offset, uint64_t size);
/* fence.i */
void tcg_code_fence(struct cpu *cpu);
/* Bytes within a page that has code were stored. True: what was translated of them is dropped, the
 * rest of the page stays code. False: better have none there. */
bool tcg_store_beside_code(const uint8_t *host, unsigned size);

/* system.c: tells the machine. */
void tcg_system_event(enum accel_event event, struct cpu *cpu);

/* debug.c: of struct cpu_service_ops. */
int tcg_debug_breakpoint(struct cpu *cpu, uint64_t address, bool insert);
int tcg_debug_watchpoint(struct cpu *cpu, uint64_t address, uint64_t size, unsigned access,
                         bool insert);
int tcg_debug_single_step(struct cpu *cpu, bool on);
bool tcg_debug_stop(struct cpu *cpu, struct cpu_stop *why);

/* debug.c: for the run loop, on the vCPU's thread. */
/* Something has changed. */
void tcg_debug_notice(struct cpu *cpu);
/* Before a turn of an active vCPU. True: it is to execute one instruction, without interrupts. */
bool tcg_debug_begin(struct cpu *cpu);
/* Else: true if there is a breakpoint at the pc. The vCPU has stopped then. */
bool tcg_debug_break(struct cpu *cpu);
/* The one instruction was executed. True: the vCPU has stopped behind it. */
bool tcg_debug_end(struct cpu *cpu);
/* Stops for the watchpoint that was hit. */
void tcg_debug_hit(struct cpu *cpu);
void tcg_debug_free(struct tcg_system_cpu *s);

/* Which CPU_PROT_* a page may not have in the TLB, so that its watchpoints are seen. */
unsigned tcg_debug_search_barred(struct tcg_system_cpu *s, uint64_t page);
static inline unsigned tcg_debug_barred(struct tcg_system_cpu *s, uint64_t page)
{
    return atomic_load_explicit(&s->debug.watches, memory_order_relaxed)
               ? tcg_debug_search_barred(s, page)
               : 0;
}

/* Whether an access that would not fault hits a watchpoint: then s->fault says so. */
bool tcg_debug_search_hit(struct tcg_system_cpu *s, uint64_t address, unsigned size,
                          unsigned access);
static inline bool tcg_debug_watched(struct tcg_system_cpu *s, uint64_t address, unsigned size,
                                     unsigned access)
{
    return atomic_load_explicit(&s->debug.watches, memory_order_relaxed) &&
           tcg_debug_search_hit(s, address, size, access);
}

/* memory.c */
/* One access in the current data space. */
struct tcg_access {
    enum jit_access_kind kind;
    uint8_t size; /* 1, 2, 4, 8 */
    uint8_t amo;  /* enum ir_amo */
    uint64_t address;
    uint64_t value;    /* to be stored, or operand */
    uint64_t expected; /* CAS */
    uint64_t result;   /* what memory held, zero-extended */
};
/* False: the fault is in the vCPU. By its thread. */
bool tcg_access(struct cpu *cpu, struct tcg_access *access);
extern const struct interp_memory tcg_system_memory;
extern const struct cpu_memory_ops tcg_cpu_memory;
bool tcg_slow(void *state, struct jit_host_regs *regs, const uint8_t *site);

#endif
