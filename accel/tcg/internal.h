/*
 * What the files of accel/tcg share: the code cache and its units.
 *
 * Everything here but the counters is guarded by tcg.lock, with two exceptions: generated code
 * reads jump caches and follows patched jumps without it, and tcg_unit_at() may be called from a
 * signal handler.
 *
 * Code, units and links lie in regions. One is filled, then the next; when none is empty, the
 * oldest is given back as a whole, which tcg_reclaim_locked() does when no vCPU is in generated
 * code. So a unit that was invalidated stays runnable; nothing leads to it any more but who is in
 * it already.
 */
#ifndef TINAMOU_ACCEL_TCG_INTERNAL_H
#define TINAMOU_ACCEL_TCG_INTERNAL_H

#include <setjmp.h>
#include "accel/tcg/tcg.h"
#include "jit/ir/build.h"
#include "jit/jit.h"
#include "jit/x86_64/x86_64.h"
#include "util/arena.h"
#include "util/lock.h"

struct interp_memory;
struct mem_ram;

/* exit_reason values of our own, behind those of enum cpu_exit. */
enum {
    TCG_EXIT_LOOKUP = CPU_EXIT_COUNT, /* find the unit of the pc in the state */
    TCG_EXIT_POLL,                    /* an exit check has fired */
    TCG_STAY_SYSCALL,                 /* counted like them: a system call in hook_call() */
    TCG_EXIT_COUNT
};

enum { TCG_NO_LINK = UINT32_MAX, TCG_LINK_BITS = 28, TCG_PAGE_BITS = 12 };

/* A direct jump between units; tcg_link() finds it by its id. */
struct tcg_link {
    struct tcg_unit *from, *to; /* to: NULL while it leads to its stub */
    uint64_t pc;                /* guest target */
    uint32_t at;                /* offset of the displacement in the code buffer */
    uint32_t stub;              /* offset of the stub */
    uint32_t next, prev;        /* links that lead to the same unit */
};

/*
 * Where the code at a guest pc is. In user mode, that is all. In system mode a unit belongs to the
 * host page(s) its code is in, and does not leave its page; but a single instruction that crosses
 * into the next makes a unit of two pages.
 */
struct tcg_where {
    uint64_t pc;
    const uint8_t *host[2]; /* the pages of pc and, if the unit crosses, the one behind; or NULL */
    struct mem_ram *ram[2]; /* that they belong to */
};

struct tcg_unit {
    uint64_t pc, end; /* guest code [pc, end) */
    uint64_t mode;
    uint32_t code; /* offset in the code buffer */
    uint32_t code_size;
    uint32_t first_link, link_count;
    uint32_t incoming; /* list of links that lead here */
    bool dead;
    struct tcg_unit *hash_next;
    uint64_t page[2]; /* numbers: guest pages of pc and end - 1; host pages in system mode, where
                         the second is 0 if there is none */
    struct tcg_unit *page_next[2];
    const uint8_t *guest_bytes; /* copy of the guest code */
    const uint8_t *side;
    uint32_t side_size;
    struct ir_unit *ir; /* interpreter only */
};

/* Per vCPU; cpu->accel. */
struct tcg_cpu {
    struct cpu *cpu;
    struct tcg_cpu *next;
    struct cpu_jump *jumps; /* tcg_jump_count() entries */
    struct tcg_cold *cold;  /* cold.c */
    jmp_buf escape;         /* interp.c: from a fault in a helper */
    bool interpreting;      /* system mode: a helper's fault leaves by `escape` */
    bool escaped;
    uint64_t escape_address;        /* of that fault, the guest's */
    struct tcg_system_cpu *system;  /* system.h */
    _Atomic bool in_code;           /* runs generated code, or may look at units */
    uint64_t exits[TCG_EXIT_COUNT]; /* written by its own thread */
};

#define TCG_COUNTERS(X)                                                       \
    X(units, "units translated")                                              \
    X(guest_insns, "guest instructions translated")                           \
    X(cold_units, "units interpreted at their first run")                     \
    X(cold_insns, "guest instructions in them")                               \
    X(guest_bytes, "bytes of guest code translated")                          \
    X(ir_ops, "IR ops built")                                                 \
    X(host_bytes, "bytes of host code, cold code included")                   \
    X(host_main_bytes, "bytes of host code on main lines")                    \
    X(side_bytes, "bytes of side tables")                                     \
    X(translate_ns, "nanoseconds spent translating")                          \
    X(links_patched, "direct jumps linked")                                   \
    X(lookups_missed, "indirect jumps not found in the jump cache")           \
    X(units_invalidated, "units dropped")                                     \
    X(units_reclaimed, "units given back with their part of the code buffer") \
    X(cache_resets, "times a part of the code buffer was given back")

/* Ways out of generated code to the run loop, by exit_reason. */
#define TCG_EXITS(X)                                                   \
    X(CPU_EXIT_NONE, exits_next, "exits: on to the next unit")         \
    X(CPU_EXIT_KICK, exits_kick, "exits: kicked (signals, others)")    \
    X(CPU_EXIT_SYSCALL, exits_syscall, "exits: system calls")          \
    X(CPU_EXIT_BREAKPOINT, exits_breakpoint, "exits: breakpoints")     \
    X(CPU_EXIT_ILLEGAL, exits_illegal, "exits: illegal instructions")  \
    X(CPU_EXIT_FETCH_FAULT, exits_fetch, "exits: code not executable") \
    X(CPU_EXIT_MISALIGNED, exits_misaligned, "exits: misaligned")      \
    X(CPU_EXIT_MEM_FAULT, exits_fault, "exits: memory faults")         \
    X(CPU_EXIT_FENCE_CODE, exits_fence, "exits: fence.i")              \
    X(CPU_EXIT_MODE, exits_mode, "exits: the mode word has changed")   \
    X(CPU_EXIT_HALT, exits_halt, "exits: waiting for an interrupt")    \
    X(CPU_EXIT_PAUSE, exits_pause, "exits: spinning")                  \
    X(CPU_EXIT_AGAIN, exits_again, "exits: again, in another mode")    \
    X(TCG_EXIT_LOOKUP, exits_lookup, "exits: no unit to go on with")   \
    X(TCG_EXIT_POLL, exits_depth, "exits: shadow stack full")          \
    X(TCG_STAY_SYSCALL, syscalls_inside, "system calls made without an exit")

struct tcg_stats {
#define X(name, help) uint64_t name;
    TCG_COUNTERS(X)
#undef X
};

/* How system mode differs; all NULL in user mode. Set by system.c. */
struct tcg_system_hooks {
    /* Finds the page of pc's code; false if the fetch faults. No lock. */
    bool (*locate)(struct cpu *cpu, uint64_t pc, struct tcg_where *where);
    /* From now on writes to the page are told of: before its bytes are read. Lock held. */
    void (*protect)(struct cpu *cpu, const struct tcg_where *where);
    /* A unit was made. Lock held. */
    void (*translated)(struct tcg_unit *unit);
    /* Entries for pc in all vCPUs' jump caches are no good any more. Lock held. */
    void (*forget_jumps)(uint64_t pc);
    /* All entries of all jump caches. Lock held, nobody in generated code. */
    void (*forget_all_jumps)(void);
    bool (*slow)(void *state, struct jit_host_regs *regs, const uint8_t *site);
    /* Guest memory for the interpreter. */
    const struct interp_memory *memory;
};

/* breaks.c: an address at which somebody has a breakpoint, or had when units were made. */
struct tcg_break {
    uint64_t pc;
    uint32_t users;
    bool heeded; /* by the units that there are */
};

enum { TCG_REGIONS = 8 };

struct tcg_region {
    struct arena arena;     /* units, side tables, guest bytes */
    struct tcg_link *links; /* link n has the id region << TCG_LINK_BITS | n */
    uint32_t link_count, link_cap;
    struct tcg_unit **by_code; /* in the order of their code; never moves (cache.c) */
    _Atomic uint32_t unit_count;
};

struct tcg {
    bool ready;
    const struct tcg_system_hooks *system;
    struct tcg_config config;
    struct jit_options options;
    struct jit_layout layout;
    const struct cpu_target_ops *ops;
    bool interp;

    struct lock lock;
    struct tcg_region region[TCG_REGIONS];
    unsigned current;        /* the region that is being filled */
    struct tcg_unit **hash;  /* by pc and mode: 1 << hash_bits lists, about one for each unit */
    struct tcg_unit **pages; /* by page: 1 << (hash_bits - PAGE_LISTS) lists (cache.c) */
    unsigned hash_bits;
    uint32_t live_units; /* in the tables */
    struct tcg_cpu *cpus;
    _Atomic uint32_t epoch; /* counts when code that was left may not be gone back to */
    _Atomic bool stop;      /* everybody must leave generated code: a reset is under way */
    bool full;              /* no region has room: the oldest is to be given back */
    struct {
        struct tcg_break *at; /* in ascending order */
        unsigned count, room;
        _Atomic unsigned heeded; /* how many of them are; others may ask whether any is */
    } breaks;

    struct ir_builder builder;
    struct ir_unit unit; /* being translated */
    struct x86_compiler *compiler;
    struct jit_code code;

    uint32_t thunk[JIT_THUNK_COUNT];
    uint32_t thunk_end;
    struct tcg_stats stats;
    uint64_t exits[TCG_EXIT_COUNT]; /* of the vCPUs that are gone */
};

extern struct tcg tcg;

/*
 * Entries of a jump cache. In user mode indirect jumps and returns that miss look there; in system
 * mode also all jumps that leave their page, so that a compiler's needs thousands of entries.
 */
enum { TCG_JUMP_BITS_USER = 12, TCG_JUMP_BITS_SYSTEM = 14 };
_Static_assert(1u << TCG_JUMP_BITS_SYSTEM <= CPU_JUMP_CACHE_MAX, "cpu_no_jumps stands for each");

static inline unsigned tcg_jump_bits(void)
{
    return tcg.system ? TCG_JUMP_BITS_SYSTEM : TCG_JUMP_BITS_USER;
}

static inline unsigned tcg_jump_count(void)
{
    return 1u << tcg_jump_bits();
}

static inline unsigned tcg_jump_index(uint64_t pc)
{
    return (pc >> 1) & (tcg_jump_count() - 1);
}

/* buffer.c: the code buffer, mapped twice. Offsets are from its start. */
extern uint8_t *tcg_code_rx, *tcg_code_rw;
/* 0 or -errno. anonymous: as perf needs it to look for names. */
int tcg_buffer_init(size_t size, bool anonymous);
/* Code starts with a cache line: where it would start in the middle of one, the host's branch
 * predictor is at times half as good. */
enum { TCG_CODE_ALIGN = 64 };
uint32_t tcg_buffer_alloc(uint32_t size); /* aligned; UINT32_MAX when full */
uint32_t tcg_buffer_used(void);           /* before there are regions */
/* What is not used yet becomes regions, the first of which is current. */
void tcg_buffer_divide(void);
bool tcg_buffer_has_room(uint32_t size); /* in the current region */
unsigned tcg_buffer_next(void);          /* the region behind the current one */
bool tcg_buffer_is_empty(unsigned region);
void tcg_buffer_select(unsigned region); /* empties it and makes it the current one */
unsigned tcg_buffer_region(uint32_t offset);
size_t tcg_buffer_size(void);
void tcg_buffer_fork_prepare(void);
void tcg_buffer_fork_parent(void);
int tcg_buffer_fork_child(void); /* 0 or -errno */
static inline bool tcg_in_buffer(uint64_t host)
{
    return host - (uint64_t)tcg_code_rx < tcg_buffer_size();
}

/* cache.c; all with the lock held unless said otherwise. */
void tcg_cache_init(void);
struct tcg_unit *tcg_find_locked(const struct tcg_where *where, uint64_t mode);
/* System mode: units with code in that host page. */
void tcg_drop_page_locked(const uint8_t *page);
/* System mode: units with code in these host bytes, which are within a page. */
void tcg_drop_bytes_locked(const uint8_t *bytes, unsigned size);
/* Has the unit's code changed since it was translated? */
bool tcg_is_changed(const struct tcg_unit *unit);
void tcg_insert_locked(struct tcg_unit *unit);
void tcg_link_locked(uint32_t link, struct tcg_unit *to);
void tcg_drop_locked(struct tcg_unit *unit);
/* Goes on to the next region and empties it. Nobody may be in generated code. */
void tcg_reclaim_locked(void);
/* Makes room for a unit with code of that size: goes on to the next region if that is empty, else
 * returns false with tcg.full set. */
bool tcg_make_room_locked(uint32_t size);
static inline struct tcg_link *tcg_link(uint32_t number)
{
    return &tcg.region[number >> TCG_LINK_BITS].links[number & ((1u << TCG_LINK_BITS) - 1)];
}
/* The unit whose code contains that offset, or NULL. No lock; async-signal-safe. */
struct tcg_unit *tcg_unit_at(uint32_t offset);
void tcg_each_unit_locked(void (*fn)(struct tcg_unit *unit)); /* dropped ones too */
void tcg_remember_code(
    struct tcg_unit *unit); /* for tcg_unit_at(); units come in ascending order */

/* breaks.c */
/* One more user of a breakpoint: 0 or -ENOMEM; one less. Units heed it after tcg_breaks_apply(). */
int tcg_breaks_add(uint64_t pc);
void tcg_breaks_remove(uint64_t pc);
/* Drops the units that are not as they should be by now. */
void tcg_breaks_apply(void);
bool tcg_breaks_search_locked(uint64_t pc);
bool tcg_breaks_end_before(void *opaque, uint64_t pc);
static inline bool tcg_breaks_any(void)
{
    return atomic_load_explicit(&tcg.breaks.heeded, memory_order_relaxed) != 0;
}
/* Whether no unit may begin at pc. With the lock. */
static inline bool tcg_breaks_at_locked(uint64_t pc)
{
    return tcg_breaks_any() && tcg_breaks_search_locked(pc);
}

/* translate.c: translates, inserts; NULL if the code buffer is full (tcg.full). Lock held. */
struct tcg_unit *tcg_translate_locked(struct cpu *cpu, const struct tcg_where *where);
/* Builds the optimised IR of the unit at pc into tcg.unit, and logs it. */
void tcg_build_locked(struct cpu *cpu, struct cpu_translate *request);
/* cpu_translate.fetch; opaque is a struct tcg_where. */
unsigned tcg_fetch(void *opaque, uint64_t pc, void *bytes, unsigned length);
void tcg_log_ir(const struct ir_unit *unit, const char *title);

/* stats.c */
static inline void tcg_count_exit(struct tcg_cpu *self, uint32_t reason)
{
    if (reason < TCG_EXIT_COUNT) {
        /* others only read it */
        __atomic_store_n(&self->exits[reason], self->exits[reason] + 1, __ATOMIC_RELAXED);
    }
}
void tcg_keep_exits_locked(const struct tcg_cpu *gone);
void tcg_stats_fork_child(struct tcg_cpu *self); /* counts anew */

/* interp.c: the run loop of the interpreter. */
enum cpu_exit tcg_run_interp(struct cpu *cpu);
/* Runs one unit. The reason for tcg_leave(), or CPU_EXIT_NONE: on at the pc. */
unsigned tcg_interpret(struct cpu *cpu, const struct ir_unit *unit);
/* In the signal handler: a helper that the interpreter has called faulted at this guest address.
 * Changes the context so that the thread leaves the helper, and the guest gets the fault. */
void tcg_interp_escape(struct cpu *cpu, int signal, int code, uint64_t address,
                       ucontext_t *context);

/* cold.c: code that runs for the first time. */
bool tcg_is_cold(const struct cpu *cpu, uint64_t pc);
/* Interprets from where->pc, which is the state's, to the next branch, and makes it warmer; may do
 * just the latter. As tcg_interpret(). */
unsigned tcg_run_cold(struct cpu *cpu, struct tcg_where *where);
/* Interprets the one instruction there, whatever it is. System mode, after tcg_cold_create(). */
unsigned tcg_run_one(struct cpu *cpu, struct tcg_where *where);
/* What the two need, else made when code runs cold; false when out of memory. */
bool tcg_cold_create(struct tcg_cpu *self);
void tcg_cold_free(struct tcg_cpu *self);

/* tcg.c */
/* For the system emulator's vCPUs: as cpu_create() of accel.h; and the end of one. */
struct cpu *tcg_cpu_create(const struct cpu_target_ops *ops);
void tcg_cpu_destroy(struct cpu *cpu);
/* Around the time in which a vCPU runs generated code or may look at units. */
void tcg_begin_code(struct tcg_cpu *self);
static inline void tcg_end_code(struct tcg_cpu *self)
{
    atomic_store_explicit(&self->in_code, false, memory_order_release);
}
/* If the cache is full: waits until no other vCPU is in generated code, and gives the oldest
 * region back. */
void tcg_reset_cache(struct tcg_cpu *self);
/* What a vCPU's stack limit is when it runs on the caller's stack. */
uint64_t tcg_stack_limit(const void *frame);
/* What the reason for which a unit was left asks of us. True if the driver must be told. */
bool tcg_leave(struct cpu *cpu, unsigned reason, enum cpu_exit *result);
static inline uint64_t tcg_pc(const struct cpu *cpu)
{
    return *(const uint64_t *)((const char *)cpu + cpu->ops->pc_offset);
}
static inline void tcg_set_pc(struct cpu *cpu, uint64_t pc)
{
    *(uint64_t *)((char *)cpu + cpu->ops->pc_offset) = pc;
}
/* Takes back a kick: generated code runs on. True if there was one. */
bool tcg_take_kick(struct cpu *cpu);
void tcg_log_exec(const struct cpu *cpu, uint64_t pc); /* -d exec, -d cpu */
void tcg_forget_jumps(struct tcg_cpu *self); /* empties the jump cache; its own thread only */
void tcg_drop_at(struct cpu *cpu,
                 uint64_t pc); /* the unit there, if any, is not to be found again */

#endif
