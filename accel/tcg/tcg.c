/*
 * The translator as accelerator: set-up, the run loop, and the ways out of generated code that need
 * C.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "accel/tcg/internal.h"
#include "accel/tcg/perf.h"
#include "jit/x86_64/features.h"
#include "mem/guest.h"
#include "util/disas.h"
#include "util/log.h"

enum {
    DEFAULT_CODE_SIZE = 128 * 1024 * 1024,
    SHADOW_STACK_SIZE = 256 * 1024, /* of host stack, for guest calls in flight */
};
_Static_assert(SHADOW_STACK_SIZE + 128 * 1024 <= TCG_STACK_SIZE,
               "C needs stack below the shadow stack");

struct tcg tcg;

bool tcg_take_kick(struct cpu *cpu)
{
    struct tcg_cpu *self = cpu->accel;

    /* first, so that a kick from now on is not lost; one in between costs a fruitless exit at most
     */
    atomic_store(&cpu->stack_limit, cpu->normal_stack_limit);
    atomic_store(&cpu->jump_cache, self->jumps);
    return atomic_exchange(&cpu->kicked, false);
}

void tcg_forget_jumps(struct tcg_cpu *self)
{
    memset(self->jumps, 0, tcg_jump_count() * sizeof(*self->jumps));
    self->jumps[0].pc = CPU_JUMP_EMPTY_FIRST;
}

void tcg_drop_at(struct cpu *cpu, uint64_t pc)
{
    struct tcg_unit *unit;

    lock_acquire(&tcg.lock);
    unit = tcg_find_locked(&(struct tcg_where){.pc = pc}, cpu->mode);
    if (unit) {
        tcg_drop_locked(unit);
    }
    lock_release(&tcg.lock);
}

static unsigned log_registers(const struct cpu *cpu, const struct cpu_register *r, unsigned column)
{
    for (; r->name; r++) {
        uint64_t value = 0;

        memcpy(&value, (const char *)cpu + r->offset, r->size < 8 ? r->size : 8);
        log_printf("%-5s %016llx%s", r->name, (unsigned long long)value, ++column % 4 ? " " : "\n");
    }
    return column;
}

void tcg_log_exec(const struct cpu *cpu, uint64_t pc)
{
    unsigned column;

    if (log_enabled(LOG_EXEC)) {
        log_printf("exec %#llx\n", (unsigned long long)pc);
    }
    if (!log_enabled(LOG_CPU)) {
        return;
    }
    column = log_registers(cpu, cpu->ops->registers, 0);
    if (tcg.system) {
        column = log_registers(cpu, cpu->ops->system_registers, column);
    }
    if (column % 4) {
        log_text("\n", 1);
    }
}

/* NULL: a breakpoint is there, or the cache is full. */
static struct tcg_unit *unit_for(struct cpu *cpu, const struct tcg_where *where)
{
    struct tcg_unit *unit;

    if (tcg_breaks_at_locked(where->pc)) {
        return NULL;
    }
    unit = tcg_find_locked(where, cpu->mode);

    return unit ? unit : tcg_translate_locked(cpu, where);
}

static const void *leave_for(struct cpu *cpu, unsigned reason)
{
    cpu->exit_reason = reason;
    return NULL;
}

/*
 * Called by generated code, on its stack, with the pc in the state. Code that is cold is run here,
 * so that what it was called by or returns to keeps its place on the shadow stack.
 */
static const void *hook_lookup(void *state, uint64_t pc)
{
    struct cpu *cpu = state;
    struct tcg_cpu *self = cpu->accel;
    struct tcg_where where;
    struct cpu_jump *jump;
    const void *code = NULL;
    struct tcg_unit *unit;

    for (;; pc = tcg_pc(cpu)) {
        unsigned reason;

        if (atomic_load(&cpu->kicked) || atomic_load(&tcg.stop) || log_enabled(LOG_NOCHAIN)) {
            return leave_for(cpu, TCG_EXIT_LOOKUP);
        }
        if (!tcg_is_cold(cpu, pc)) {
            break;
        }
        if (tcg.system) {
            return leave_for(cpu, TCG_EXIT_LOOKUP); /* where interrupts are taken */
        }
        reason = tcg_run_cold(cpu, &(struct tcg_where){.pc = pc});
        if (reason != CPU_EXIT_NONE) {
            return leave_for(cpu, reason);
        }
    }
    where = (struct tcg_where){.pc = pc};
    if (tcg.system && !tcg.system->locate(cpu, pc, &where)) {
        return leave_for(cpu, TCG_EXIT_LOOKUP);
    }
    jump = &self->jumps[tcg_jump_index(pc)];
    lock_acquire(&tcg.lock);
    tcg.stats.lookups_missed++;
    unit = unit_for(cpu, &where);
    if (unit) {
        code = tcg_code_rx + unit->code;
        /* code before pc: only this thread reads both, but another may have made the pair stale in
         * between */
        jump->code = code;
        __atomic_store_n(&jump->pc, pc, __ATOMIC_RELEASE);
    }
    lock_release(&tcg.lock);
    return code ? code : leave_for(cpu, TCG_EXIT_LOOKUP);
}

static const void *hook_link(void *state, uint32_t number)
{
    struct cpu *cpu = state;
    struct tcg_where where;
    const void *code = NULL;
    struct tcg_unit *unit;
    bool cold;

    lock_acquire(&tcg.lock);
    where = (struct tcg_where){.pc = tcg_link(number)->pc};
    tcg_set_pc(cpu, where.pc);
    if (tcg.system) {
        /* links do not leave the page; it is still the same one for this vCPU, which comes from
         * there */
        lock_release(&tcg.lock);
        if (!tcg.system->locate(cpu, where.pc, &where)) {
            return leave_for(cpu, TCG_EXIT_LOOKUP);
        }
        lock_acquire(&tcg.lock);
    }
    cold = tcg_is_cold(cpu, where.pc);
    unit =
        cold || atomic_load(&tcg.stop) || log_enabled(LOG_NOCHAIN) ? NULL : unit_for(cpu, &where);
    if (unit) {
        if (tcg.options.link) {
            tcg_link_locked(number, unit);
        }
        code = tcg_code_rx + unit->code;
    }
    lock_release(&tcg.lock);
    if (cold) {
        return hook_lookup(state, where.pc);
    }
    return code ? code : leave_for(cpu, TCG_EXIT_LOOKUP);
}

/* The vCPU may look at units and run their code, until in_code is false again. */
void tcg_begin_code(struct tcg_cpu *self)
{
    for (;;) {
        atomic_store(&self->in_code, true);
        if (!atomic_load(&tcg.stop)) {
            return;
        }
        atomic_store(&self->in_code, false);
        while (atomic_load(&tcg.stop)) {
            sched_yield();
        }
    }
}

/*
 * A system call, made here so that the guest's returns behind it still find their way on the shadow
 * stack. Like in the run loop the vCPU counts as outside of generated code while the call takes,
 * and it may take for ever; if code was given back meanwhile, the way on is that by the run loop.
 */
static const void *hook_call(void *state)
{
    struct cpu *cpu = state;
    struct tcg_cpu *self = cpu->accel;
    uint64_t depth = cpu->normal_stack_limit + SHADOW_STACK_SIZE / 2, pc, mode = cpu->mode;
    uint32_t epoch = atomic_load(&tcg.epoch);
    struct cpu_jump *jump;
    bool go_on;

    if ((uint64_t)__builtin_frame_address(0) < depth || log_enabled(LOG_NOCHAIN)) {
        return NULL;
    }
    tcg_count_exit(self, TCG_STAY_SYSCALL);
    atomic_store_explicit(&self->in_code, false, memory_order_release);
    cpu->ops->save_fpu(cpu);
    go_on = tcg.config.syscall(cpu);
    cpu->ops->load_fpu(cpu);
    tcg_begin_code(self);
    cpu->exit_reason = CPU_EXIT_NONE;
    if (!go_on) {
        return leave_for(cpu, CPU_EXIT_KICK);
    }
    if (atomic_load(&cpu->kicked) || atomic_load(&tcg.epoch) != epoch || cpu->mode != mode) {
        return leave_for(cpu, TCG_EXIT_LOOKUP);
    }
    pc = tcg_pc(cpu);
    jump = &self->jumps[tcg_jump_index(pc)];
    return __atomic_load_n(&jump->pc, __ATOMIC_ACQUIRE) == pc ? jump->code : hook_lookup(state, pc);
}

static void fill_layout(struct jit_layout *layout, const struct tcg_config *config)
{
    *layout = (struct jit_layout){
        .memory = tcg.system           ? JIT_MEM_TLB
                  : config->guest_base ? JIT_MEM_SEGMENT
                                       : JIT_MEM_IDENTITY,
        .paged = tcg.system != NULL,
        .tlb_table = offsetof(struct cpu, tlb_table),
        .tlb_mask = offsetof(struct cpu, tlb_mask),
        .stack_limit = offsetof(struct cpu, stack_limit),
        .jump_cache = offsetof(struct cpu, jump_cache),
        .jump_cache_bits = tcg_jump_bits(),
        .exit_reason = offsetof(struct cpu, exit_reason),
        .host_sp = offsetof(struct cpu, host_sp),
        .spill = offsetof(struct cpu, spill),
        .spill_slots = CPU_SPILL_SLOTS - 1,
        .call_reason = config->syscall && tcg.options.syscall ? CPU_EXIT_SYSCALL : 0,
    };
}

int tcg_init(const struct tcg_config *config, char *error, size_t error_size)
{
    const char *bad;
    int result;

    tcg.config = *config;
    jit_options_init(&tcg.options);
    if (config->options && jit_options_parse(&tcg.options, config->options, &bad) < 0) {
        snprintf(error, error_size, "unknown optimisation '%.*s'", (int)strcspn(bad, ","), bad);
        return -EINVAL;
    }
    tcg.interp = config->backend == TCG_BACKEND_INTERP;
    fill_layout(&tcg.layout, config);
    tcg_cache_init();
    ir_unit_init(&tcg.unit);
    jit_code_init(&tcg.code);
    cpu_no_jumps[0].pc = CPU_JUMP_EMPTY_FIRST;
    if (!tcg.interp) {
        result = tcg_buffer_init(config->code_size ? config->code_size : DEFAULT_CODE_SIZE,
                                 config->perfmap);
        if (result < 0) {
            log_printf("no executable memory (%s): using the interpreter\n", strerror(-result));
            tcg.interp = true;
        }
    }
    if (!tcg.interp) {
        jit_x86_features_baseline(!tcg.options.hostext);
        tcg.compiler = jit_x86_new(&tcg.layout, &tcg.options);
        if (!tcg.compiler) {
            snprintf(error, error_size, "out of memory");
            return -ENOMEM;
        }
        result = tcg_perf_init(error, error_size);
        if (result < 0) {
            return result;
        }
    }
    tcg.ready = true;
    return 0;
}

/* The thunks, when the first vCPU tells which target it is. */
static void set_target(const struct cpu_target_ops *ops)
{
    struct jit_x86_hooks hooks = {
        .lookup = hook_lookup,
        .link = hook_link,
        .slow = tcg.system ? tcg.system->slow : NULL,
        .call = tcg.layout.call_reason ? hook_call : NULL,
        .pc_offset = ops->pc_offset,
        .reason_poll = TCG_EXIT_POLL,
    };

    if (tcg.ops) {
        return;
    }
    tcg.ops = ops;
    if (tcg.interp) {
        return;
    }
    jit_x86_thunks(ops->ir, &tcg.layout, &hooks, &tcg.code, tcg.thunk);
    uint32_t at = tcg_buffer_alloc(tcg.code.size);
    memcpy(tcg_code_rw + at, tcg.code.bytes, tcg.code.size);
    for (unsigned i = 0; i < JIT_THUNK_COUNT; i++) {
        tcg.thunk[i] += at;
    }
    tcg.thunk_end = tcg_buffer_used();
    tcg_perf_thunks(tcg.thunk_end);
    tcg_buffer_divide();
}

static struct cpu *new_cpu(size_t state_size)
{
    struct cpu *cpu = aligned_alloc(64, (state_size + 63) & ~(size_t)63);
    struct tcg_cpu *self = calloc(1, sizeof(*self));
    /* zero pages until used; most threads touch little of it */
    struct cpu_jump *jumps = mmap(NULL, tcg_jump_count() * sizeof(*jumps), PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (!cpu || !self || jumps == MAP_FAILED) {
        free(cpu);
        free(self);
        if (jumps != MAP_FAILED) {
            munmap(jumps, tcg_jump_count() * sizeof(*jumps));
        }
        return NULL;
    }
    memset(cpu, 0, state_size);
    jumps[0].pc = CPU_JUMP_EMPTY_FIRST;
    self->cpu = cpu;
    self->jumps = jumps;
    cpu->accel = self;
    return cpu;
}

static void add_cpu(struct cpu *cpu)
{
    struct tcg_cpu *self = cpu->accel;

    lock_acquire(&tcg.lock);
    self->next = tcg.cpus;
    tcg.cpus = self;
    lock_release(&tcg.lock);
}

struct cpu *tcg_cpu_create(const struct cpu_target_ops *ops)
{
    struct cpu *cpu = new_cpu(ops->state_size);

    if (!cpu) {
        return NULL;
    }
    lock_acquire(&tcg.lock);
    set_target(ops);
    lock_release(&tcg.lock);
    cpu->ops = ops;
    ops->reset(cpu);
    add_cpu(cpu);
    return cpu;
}

static struct cpu *cpu_copy(const struct cpu *from)
{
    struct cpu *cpu = new_cpu(from->ops->state_size);
    void *accel;

    if (!cpu) {
        return NULL;
    }
    accel = cpu->accel;
    memcpy(cpu, from, from->ops->state_size);
    cpu->accel = accel;
    cpu->owner = NULL;
    atomic_store(&cpu->kicked, false);
    cpu->normal_stack_limit = 0;
    add_cpu(cpu);
    return cpu;
}

void tcg_cpu_destroy(struct cpu *cpu)
{
    struct tcg_cpu *self = cpu->accel, **p;

    lock_acquire(&tcg.lock);
    for (p = &tcg.cpus; *p != self; p = &(*p)->next) {
        ;
    }
    *p = self->next;
    tcg_keep_exits_locked(self);
    lock_release(&tcg.lock);
    munmap(self->jumps, tcg_jump_count() * sizeof(*self->jumps));
    tcg_cold_free(self);
    free(self);
    free(cpu);
}

/* Some vCPU that is in generated code, or looks at units. */
static struct tcg_cpu *somebody_inside_locked(const struct tcg_cpu *self)
{
    for (struct tcg_cpu *other = tcg.cpus; other; other = other->next) {
        if (other != self && atomic_load(&other->in_code)) {
            return other;
        }
    }
    return NULL;
}

void tcg_reset_cache(struct tcg_cpu *self)
{
    struct tcg_cpu *other;

    lock_acquire(&tcg.lock);
    if (!tcg.full || atomic_load(&tcg.stop)) {
        /* another vCPU has done it, or is at it: tcg_begin_code() waits for that */
        lock_release(&tcg.lock);
        return;
    }
    atomic_store(&tcg.stop, true);
    while ((other = somebody_inside_locked(self))) {
        cpu_kick(other->cpu);
        /* whoever waits for the lock in a hook must get it to see that he is to leave; vCPUs come
         * and go meanwhile */
        lock_release(&tcg.lock);
        sched_yield();
        lock_acquire(&tcg.lock);
    }
    tcg_reclaim_locked();
    tcg_perf_reset();
    atomic_store(&tcg.stop, false);
    lock_release(&tcg.lock);
}

bool tcg_leave(struct cpu *cpu, unsigned reason, enum cpu_exit *result)
{
    /* an exit check fires for a kick, which is counted where it is taken, or for depth */
    if (reason != TCG_EXIT_POLL || !atomic_load(&cpu->kicked)) {
        tcg_count_exit(cpu->accel, reason);
    }
    *result = (enum cpu_exit)reason;
    switch (reason) {
    case CPU_EXIT_NONE:
    case TCG_EXIT_LOOKUP:
    case TCG_EXIT_POLL:
        return false;
    case CPU_EXIT_FENCE_CODE:
        tcg_flush_changed(0, UINT64_MAX);
        return false;
    case CPU_EXIT_MODE:
        tcg_forget_jumps(cpu->accel);
        return false;
    case CPU_EXIT_FETCH_FAULT:
        tcg_drop_at(cpu, tcg_pc(cpu)); /* the page may be mapped next time */
        return true;
    default:
        return true;
    }
}

uint64_t tcg_stack_limit(const void *frame)
{
    return (uint64_t)(uintptr_t)frame - SHADOW_STACK_SIZE;
}

/* Whether the way of generated code is barred: by a kick, or by what is left of one that had been
 * taken back before it was complete. */
static bool is_barred(const struct cpu *cpu)
{
    const struct tcg_cpu *self = cpu->accel;

    return atomic_load_explicit(&cpu->kicked, memory_order_relaxed) ||
           atomic_load_explicit(&cpu->stack_limit, memory_order_relaxed) !=
               cpu->normal_stack_limit ||
           atomic_load_explicit(&cpu->jump_cache, memory_order_relaxed) != self->jumps;
}

static enum cpu_exit run_host(struct cpu *cpu)
{
    struct tcg_cpu *self = cpu->accel;
    void (*enter)(void *, const void *) =
        (void (*)(void *, const void *))(tcg_code_rx + tcg.thunk[JIT_THUNK_ENTER]);
    enum cpu_exit result;

    cpu->normal_stack_limit = tcg_stack_limit(__builtin_frame_address(0));
    for (;;) {
        struct tcg_where where = {.pc = tcg_pc(cpu)};
        uint64_t pc = where.pc;
        struct tcg_unit *unit;

        /* also when it was another vCPU that wants the cache emptied: nobody can tell */
        if (is_barred(cpu) && tcg_take_kick(cpu)) {
            tcg_count_exit(self, CPU_EXIT_KICK);
            return CPU_EXIT_KICK;
        }
        if (tcg_is_cold(cpu, pc)) {
            unsigned reason = tcg_run_cold(cpu, &where);

            if (reason != CPU_EXIT_NONE && tcg_leave(cpu, reason, &result)) {
                return result;
            }
            continue;
        }
        tcg_begin_code(self);
        lock_acquire(&tcg.lock);
        unit = unit_for(cpu, &where);
        lock_release(&tcg.lock);
        if (!unit) {
            atomic_store(&self->in_code, false);
            tcg_reset_cache(self);
            continue;
        }
        tcg_log_exec(cpu, pc);
        cpu->exit_reason = CPU_EXIT_NONE;
        enter(cpu, tcg_code_rx + unit->code);
        atomic_store_explicit(&self->in_code, false, memory_order_release);
        if (tcg_leave(cpu, cpu->exit_reason, &result)) {
            return result;
        }
    }
}

static enum cpu_exit cpu_run(struct cpu *cpu)
{
    enum cpu_exit result;

    cpu->ops->load_fpu(cpu);
    result = tcg.interp ? tcg_run_interp(cpu) : run_host(cpu);
    cpu->ops->save_fpu(cpu);
    return result;
}

const struct accel_ops accel_tcg = {
    .name = "tcg",
    .cpu_create = tcg_cpu_create,
    .cpu_copy = cpu_copy,
    .cpu_destroy = tcg_cpu_destroy,
    .cpu_run = cpu_run,
};

void tcg_fork_prepare(void)
{
    lock_acquire(&tcg.lock);
    if (!tcg.interp) {
        tcg_buffer_fork_prepare();
    }
}

void tcg_fork_parent(void)
{
    if (!tcg.interp) {
        tcg_buffer_fork_parent();
    }
    lock_release(&tcg.lock);
}

void tcg_fork_child(struct cpu *self)
{
    struct tcg_cpu *cpu, *next;

    disas_after_fork();
    for (cpu = tcg.cpus; cpu; cpu = next) {
        next = cpu->next;
        if (cpu->cpu == self) {
            continue;
        }
        /* the thread does not exist here; its memory does */
        munmap(cpu->jumps, tcg_jump_count() * sizeof(*cpu->jumps));
        tcg_cold_free(cpu);
        free(cpu->cpu);
        free(cpu);
    }
    tcg.cpus = self->accel;
    tcg.cpus->next = NULL;
    atomic_store(&tcg.stop, false);
    atomic_fetch_add(&tcg.epoch, 1);
    if (!tcg.interp) {
        int error = tcg_buffer_fork_child();

        if (error < 0) {
            fprintf(stderr, "tinamou: no executable memory after fork: %s\n", strerror(-error));
            _exit(1);
        }
    }
    tcg_stats_fork_child(tcg.cpus);
    tcg_perf_fork_child();
    lock_init(&tcg.lock);
}
