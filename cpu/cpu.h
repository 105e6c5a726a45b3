/*
 * The vCPU contract: what a target (target/riscv, target/x86), an accelerator (accel/tcg,
 * accel/kvm) and those who drive a vCPU (linux-user, machines) agree on.
 *
 * struct cpu is the common state; a target's state starts with it. Generated code reaches both from
 * one host register. The fields under "hot" are read or written by generated code and by the thunks
 * around it.
 *
 * A vCPU belongs to the thread that runs it. Others may call cpu_kick() and nothing else.
 */
#ifndef TINAMOU_CPU_CPU_H
#define TINAMOU_CPU_CPU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu;
struct ir_builder;
struct ir_target;

/* Why the accelerator returned to whoever runs the vCPU. The pc in the state is that of the
 * instruction itself for faults and traps that have not retired, of the next one otherwise. */
enum cpu_exit {
    CPU_EXIT_NONE,        /* internal to accelerators: look the pc up and go on */
    CPU_EXIT_KICK,        /* cpu_kick() was called; pc: next instruction */
    CPU_EXIT_SYSCALL,     /* environment call; pc: of the ecall itself */
    CPU_EXIT_BREAKPOINT,  /* breakpoint instruction; pc: of the instruction itself */
    CPU_EXIT_ILLEGAL,     /* undefined or disabled instruction; pc: of it; exit_arg: its bits, 0 if
                             unknown */
    CPU_EXIT_FETCH_FAULT, /* the instruction can't be fetched; exit_arg: the address that faults;
                             pc: of it */
    CPU_EXIT_MISALIGNED,  /* misaligned address where none is allowed; exit_arg: it; pc: of the
                             instruction */
    CPU_EXIT_MEM_FAULT,  /* host memory fault on a guest access; exit_arg: guest address; pc: of the
                          * instruction;  exit_signal, exit_code: as the host kernel reported them */
    CPU_EXIT_FENCE_CODE, /* instruction stream synchronised (fence.i); pc: next instruction */
    CPU_EXIT_MODE,       /* the mode word has changed, or which address spaces are used, or which
                            interrupts are enabled; pc: next instruction */
    CPU_EXIT_HALT,       /* wait for an interrupt; pc: next instruction */
    CPU_EXIT_PAUSE,      /* system emulation: the guest spins; pc: next instruction */
    CPU_EXIT_AGAIN,      /* the mode word has changed, and the instruction is to be executed under
                            the new one: nothing else has happened; pc: of it */
    CPU_EXIT_COUNT
};

#define CPU_SPILL_SLOTS 64

/* An entry of the jump cache: guest pc to host code. An empty entry has the pc of another one, so
 * that no jump can find it, be it to an odd address: all zero, but for the first, where that is
 * CPU_JUMP_EMPTY_FIRST. */
struct cpu_jump {
    uint64_t pc;
    const void *code;
};
#define CPU_JUMP_CACHE_MAX   (1u << 14) /* entries */
#define CPU_JUMP_EMPTY_FIRST 2

/* The pc of the empty entry at an index. */
static inline uint64_t cpu_jump_empty(unsigned index)
{
    return index ? 0 : CPU_JUMP_EMPTY_FIRST;
}

struct cpu {
    /* hot */
    _Atomic uint64_t
        stack_limit; /* generated code leaves when rsp is below; a kick raises it to the maximum */
    struct cpu_jump
        *_Atomic jump_cache;     /* of the current mode; cpu_no_jumps while a kick is pending */
    void *host_sp;               /* of the accelerator's frame */
    uint64_t exit_arg;           /* see enum cpu_exit */
    uint32_t exit_reason;        /* enum cpu_exit, or one private to the accelerator */
    uint64_t normal_stack_limit; /* what stack_limit is when no kick is pending */
    void *tlb_table;             /* system emulation: of the data space in use */
    uint64_t tlb_mask;           /* see jit/jit.h */
    uint64_t spill[CPU_SPILL_SLOTS] __attribute__((aligned(32)));

    /* cold */
    const struct cpu_target_ops *ops;
    void *accel;   /* the accelerator's own data of this vCPU */
    void *owner;   /* of whoever drives it: a thread of linux-user, a hart of a machine */
    uint64_t mode; /* target's mode word: what translations depend on beside the pc */
    int32_t exit_signal, exit_code; /* see CPU_EXIT_MEM_FAULT */
    uint32_t index;
    _Atomic bool kicked;
};

/* What a front end is asked to translate. */
struct cpu_translate {
    uint64_t pc;
    uint64_t mode;
    const struct cpu *cpu; /* for its model (features); its registers mean nothing here */
    unsigned max_insns;    /* 1 with -one-insn-per-tb */
    bool long_units;       /* go on past not-taken branches */
    /* Copies `length` bytes of guest code at pc; returns how many could be read (from the start),
     * which are fewer only if the rest can't be fetched. */
    unsigned (*fetch)(void *opaque, uint64_t pc, void *bytes, unsigned length);
    /* NULL, or: a unit ends before an instruction, other than its first, for which this is true. */
    bool (*ends_before)(void *opaque, uint64_t pc);
    void *opaque;
    /* set by the front end: */
    uint64_t end;   /* first guest address behind what was read */
    unsigned insns; /* guest instructions translated */
};

/* One register as gdb, monitors and `-d cpu` see it. */
struct cpu_register {
    const char *name;
    uint32_t offset; /* in the vCPU state */
    uint8_t size;    /* in bytes */
};

struct cpu_system_ops;

struct cpu_target_ops {
    const char *name;                    /* "riscv64" */
    const struct cpu_system_ops *system; /* cpu/system.h; NULL: user mode only */
    size_t state_size;                   /* of the target's state, struct cpu included */
    uint32_t pc_offset;
    const struct ir_target *ir;                  /* globals and helpers */
    const struct cpu_register *registers;        /* for gdb and -d cpu; the last has no name */
    const struct cpu_register *system_registers; /* those of full-system emulation beside them */
    /* Initial state of a freshly created, zeroed vCPU. */
    void (*reset)(struct cpu *cpu);
    /* Chooses the model, e.g. "rv64gc,zba=on". Returns 0 or -EINVAL with a one-line message in
     * error[]. */
    int (*set_model)(struct cpu *cpu, const char *spec, char *error, size_t error_size);
    /* Prints the known models and features (for `-cpu help`), a line each. */
    void (*list_models)(void (*line)(void *opaque, const char *text), void *opaque);
    /* Writes one unit. Never fails: what can't be fetched or decoded becomes an exit. */
    void (*translate)(struct ir_builder *b, struct cpu_translate *request);
    /* Brings state that lives in the host's registers into the vCPU state, and back: called by the
     * accelerator on its own thread when generated code was left and before it is entered
     * (floating-point environment). */
    void (*load_fpu)(struct cpu *cpu);
    void (*save_fpu)(struct cpu *cpu);
    /* Disassembles the instruction at bytes[0..length) to text; returns its length in bytes, at
     * least 1. */
    unsigned (*disassemble)(const struct cpu *cpu, uint64_t pc, const uint8_t *bytes,
                            unsigned length, char *text, size_t text_size);
};

/* A jump cache of any size without entries. */
extern struct cpu_jump cpu_no_jumps[CPU_JUMP_CACHE_MAX];

/* Makes generated code of the vCPU leave for its run loop soon: back edges and calls see the stack
 * limit, indirect jumps find nothing. Any thread, async-signal-safe. */
static inline void cpu_kick(struct cpu *cpu)
{
    atomic_store_explicit(&cpu->kicked, true, memory_order_seq_cst);
    atomic_store_explicit(&cpu->stack_limit, UINT64_MAX, memory_order_seq_cst);
    atomic_store_explicit(&cpu->jump_cache, cpu_no_jumps, memory_order_seq_cst);
}

#endif
