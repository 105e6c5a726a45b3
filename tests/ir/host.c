/*
 * The host code generator as a test engine: compiles one unit, runs it under thunks of its own, and
 * says how it left.
 *
 * The thunks' hooks never find another unit, so control comes back at once. Which exit op it was is
 * told from the guest pc and from the way out (a link or a lookup).
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "jit/side.h"
#include "jit/x86_64/x86_64.h"
#include "tests/ir/host.h"
#include "util/disas.h"

enum { CODE_SIZE = 1 << 20, REASON_AWAY = 1000, REASON_POLL, SPILL_SLOTS = 64 };

/* What test_state.engine holds. */
struct engine_state {
    uint64_t stack_limit;
    void *jumps;
    void *host_sp;
    uint32_t exit_reason;
    uint64_t spill[SPILL_SLOTS] __attribute__((aligned(32)));
};
_Static_assert(sizeof(struct engine_state) <= sizeof(((struct test_state *)0)->engine), "fits");

#define AT(field) (offsetof(struct test_state, engine) + offsetof(struct engine_state, field))

static const struct jit_layout layout = {
    .stack_limit = AT(stack_limit),
    .jump_cache = AT(jumps),
    .jump_cache_bits = 4,
    .exit_reason = AT(exit_reason),
    .host_sp = AT(host_sp),
    .spill = AT(spill),
    .spill_slots = SPILL_SLOTS - 1,
};

static struct jit_options options;
static struct x86_compiler *compiler;
static struct jit_code code;
static uint8_t *buffer;
static uint32_t thunk[JIT_THUNK_COUNT], thunks_size;
static struct {
    uint64_t pc, key;
} no_jumps[16];

static struct {
    bool lookup;
    uint64_t pc;
} away;

static struct {
    struct test_state *state;
    uint64_t pc;
    bool hit;
    int signal, code;
    uint64_t address;
} fault;

static const void *go_away(struct test_state *state, bool lookup, uint64_t pc)
{
    ((struct engine_state *)state->engine)->exit_reason = REASON_AWAY;
    away.lookup = lookup;
    away.pc = pc;
    return NULL;
}

static const void *hook_lookup(void *state, uint64_t pc)
{
    return go_away(state, true, pc);
}

static const void *hook_link(void *state, uint32_t link)
{
    return go_away(state, false, code.links[link].pc);
}

static void on_fault(int signal, siginfo_t *info, void *opaque)
{
    static const int greg[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                 REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                 REG_R12, REG_R13, REG_R14, REG_R15};
    ucontext_t *context = opaque;
    uint64_t rip = (uint64_t)context->uc_mcontext.gregs[REG_RIP],
             unit = (uint64_t)buffer + thunks_size, pc;
    struct jit_host_regs regs;

    for (unsigned i = 0; i < 16; i++) {
        regs.gpr[i] = (uint64_t)context->uc_mcontext.gregs[greg[i]];
        memcpy(&regs.vector[i], &context->uc_mcontext.fpregs->_xmm[i], 8);
    }
    if (rip - unit >= code.size ||
        !jit_recover(&test_target, &layout, code.side, code.side_size, fault.pc,
                     (uint32_t)(rip - unit), &regs, fault.state, &pc)) {
        static const char text[] = "# a host fault outside of what may fault\n";
        (void)!write(1, text, sizeof(text) - 1);
        _exit(1);
    }
    fault.state->pc = pc;
    fault.hit = true;
    fault.signal = signal;
    fault.code = info->si_code;
    fault.address = (uint64_t)info->si_addr;
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)(uint64_t)(buffer + thunk[JIT_THUNK_FAULT]);
}

static bool set_up(void)
{
    struct jit_x86_hooks hooks = {
        .lookup = hook_lookup,
        .link = hook_link,
        .pc_offset = offsetof(struct test_state, pc),
        .reason_poll = REASON_POLL,
    };
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};

    if (compiler) {
        return true;
    }
    jit_options_init(&options);
    compiler = jit_x86_new(&layout, &options);
    for (uintptr_t hint = (uintptr_t)set_up & ~0xffffffull;; hint += 0x1000000) {
        buffer = mmap((void *)hint, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (buffer != MAP_FAILED) {
            break;
        }
    }
    jit_code_init(&code);
    jit_x86_thunks(&test_target, &layout, &hooks, &code, thunk);
    memcpy(buffer, code.bytes, code.size);
    thunks_size = (code.size + 63) & ~63u;
    no_jumps[0].pc = 2; /* no jump finds it: its place is another */
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    return compiler != NULL;
}

static void install(void)
{
    for (uint32_t i = 0; i < code.reloc_count; i++) {
        const struct jit_reloc *reloc = &code.relocs[i];
        const uint8_t *to = reloc->kind == JIT_RELOC_HELPER ? test_target.helpers[reloc->index].fn
                            : reloc->kind == JIT_RELOC_THUNK
                                ? buffer + thunk[reloc->index]
                                : jit_x86_runtime((enum jit_runtime)reloc->index);
        uint32_t value = (uint32_t)(to - (buffer + thunks_size + reloc->offset + 4));

        if (reloc->kind == JIT_RELOC_LINK_ID) {
            value = reloc->index;
        }
        memcpy(code.bytes + reloc->offset, &value, 4);
    }
    memcpy(buffer + thunks_size, code.bytes, code.size);
}

/* The exit op that leaves for away.pc in that way. */
static void find_exit(const struct ir_unit *unit, struct interp_exit *exit)
{
    exit->pc = away.pc;
    for (uint32_t b = 0; b < unit->block_count; b++) {
        const struct ir_ins *ins = &unit->ins[unit->blocks[b].last];
        bool matches = false;

        switch (ins->op) {
        case IR_exit_jump:
            matches = !away.lookup && (uint64_t)ins->imm == away.pc;
            break;
        case IR_exit_br:
            matches = !away.lookup &&
                      ((uint64_t)ins->imm == away.pc || (uint64_t)unit->ins[ins->c].imm == away.pc);
            break;
        case IR_exit_call:
            matches = away.lookup == (ins->a != IR_NONE) &&
                      (away.lookup || (uint64_t)ins->imm == away.pc);
            exit->return_pc = (uint64_t)unit->ins[ins->c].imm;
            break;
        case IR_exit_lookup:
        case IR_exit_ret:
            matches = away.lookup;
            break;
        default:
            break;
        }
        if (matches) {
            exit->op = (enum ir_opcode)ins->op;
            return;
        }
    }
    printf("# left for %#llx, which no exit of the unit says\n", (unsigned long long)away.pc);
}

static int run(const struct ir_unit *unit, struct test_state *state, struct interp_exit *exit)
{
    struct engine_state *engine = (struct engine_state *)state->engine;
    void (*enter)(void *, const void *);

    if (!set_up()) {
        return -ENOMEM;
    }
    if (!jit_x86_compile(compiler, unit, &code)) {
        return -ENOSPC;
    }
    install();
    if (getenv("TEST_DUMP")) {
        disas_log(DISAS_X86_64, buffer + thunks_size, code.size, 0);
    }
    memset(engine, 0, sizeof(*engine));
    engine->jumps = no_jumps;
    fault.state = state;
    fault.pc = unit->pc;
    fault.hit = false;
    enter = (void (*)(void *, const void *))(buffer + thunk[JIT_THUNK_ENTER]);
    enter(state, buffer + thunks_size);
    if (fault.hit) {
        exit->pc = state->pc;
        exit->fault_signal = fault.signal;
        exit->fault_code = fault.code;
        exit->fault_address = fault.address;
    } else if (engine->exit_reason == REASON_AWAY) {
        find_exit(unit, exit);
        state->pc = exit->pc;
    } else {
        exit->op = IR_exit_loop;
        exit->reason = engine->exit_reason;
        exit->pc = state->pc;
    }
    memset(engine, 0, sizeof(*engine));
    return fault.hit ? -EFAULT : 0;
}

int test_run_host(const struct ir_unit *unit, struct test_state *state, struct interp_exit *exit)
{
    return run(unit, state, exit);
}

int test_run_baseline(const struct ir_unit *unit, struct test_state *state,
                      struct interp_exit *exit)
{
    int result;

    jit_x86_features_baseline(true);
    result = run(unit, state, exit);
    jit_x86_features_baseline(false);
    return result;
}
