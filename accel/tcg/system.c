/*
 * The translator as accelerator of machines: vCPUs on threads of their own, traps and interrupts
 * taken in the run loop, code found by the page it is in (system-code.c).
 */
#include "accel/tcg/system.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "accel/accel.h"
#include "accel/vcpu.h"
#include "jit/opt/options.h"
#include "mem/dirty.h"
#include "mem/space.h"
#include "util/log.h"

static struct {
    struct mem_space *memory;
    struct mem_listener listener;
    void (*event)(enum accel_event event, struct cpu *cpu);
} sys;

void tcg_system_event(enum accel_event event, struct cpu *cpu)
{
    sys.event(event, cpu);
}

/* ---- the run loop ---------------------------------------------------------------------------- */

/* What comes after a turn. */
enum outcome {
    GO_ON,
    HALTED,  /* waits for an interrupt */
    STOPPED, /* until a debugger lets it go on */
};

static enum outcome raise_fault(struct cpu *cpu)
{
    struct tcg_system_cpu *s = tcg_system_cpu(cpu);

    if (s->fault.watched) {
        tcg_debug_hit(cpu);
        return STOPPED;
    }
    s->count_traps++;
    cpu->ops->system->raise_memory(cpu, s->fault.address, s->fault.access, s->fault.bus);
    return GO_ON;
}

/* Does what a unit was left for. */
static enum outcome handle(struct cpu *cpu, enum cpu_exit reason)
{
    struct tcg_system_cpu *s = tcg_system_cpu(cpu);

    switch (reason) {
    case CPU_EXIT_HALT:
        return cpu->ops->system->has_work(cpu) ? GO_ON : HALTED;
    case CPU_EXIT_PAUSE:
        /* whoever it waits for may be waiting for this host CPU */
        sched_yield();
        break;
    case CPU_EXIT_FENCE_CODE:
        tcg_code_fence(cpu);
        break;
    case CPU_EXIT_MEM_FAULT:
        return raise_fault(cpu);
    case CPU_EXIT_SYSCALL:
    case CPU_EXIT_BREAKPOINT:
    case CPU_EXIT_ILLEGAL:
    case CPU_EXIT_FETCH_FAULT:
    case CPU_EXIT_MISALIGNED:
        s->count_traps++;
        cpu->ops->system->raise_exit(cpu, reason);
        break;
    default:
        break; /* look around and go on */
    }
    return GO_ON;
}

static void enter(struct cpu *cpu, const void *code)
{
    void (*thunk)(void *, const void *) =
        (void (*)(void *, const void *))(tcg_code_rx + tcg.thunk[JIT_THUNK_ENTER]);

    cpu->exit_reason = CPU_EXIT_NONE;
    thunk(cpu, code);
}

/* Why there is no code for a pc. */
enum missing { CACHE_FULL, FETCH_FAULTS, BREAKPOINT_THERE };

/* The code for pc, that is not in the jump cache; or NULL, and why. */
static const void *find_code(struct cpu *cpu, uint64_t pc, struct cpu_jump *jump, enum missing *why)
{
    const void *code = NULL;
    struct tcg_where where;
    struct tcg_unit *unit = NULL;

    *why = FETCH_FAULTS;
    if (!tcg_tlb_locate(cpu, pc, &where)) {
        return NULL;
    }
    *why = CACHE_FULL;
    lock_acquire(&tcg.lock);
    if (tcg_breaks_at_locked(pc)) {
        *why = BREAKPOINT_THERE;
    } else {
        unit = tcg_find_locked(&where, cpu->mode);
        unit = unit ? unit : tcg_translate_locked(cpu, &where);
    }
    if (unit) {
        code = tcg.interp ? (const void *)unit : tcg_code_rx + unit->code;
        jump->code = code;
        __atomic_store_n(&jump->pc, pc, __ATOMIC_RELEASE);
    }
    lock_release(&tcg.lock);
    return code;
}

static enum cpu_exit run_cold(struct cpu *cpu, uint64_t pc)
{
    struct tcg_where where;

    return tcg_tlb_locate(cpu, pc, &where) ? (enum cpu_exit)tcg_run_cold(cpu, &where)
                                           : CPU_EXIT_MEM_FAULT;
}

/* One instruction. */
static enum cpu_exit run_one(struct cpu *cpu, uint64_t pc)
{
    struct tcg_where where;

    return tcg_tlb_locate(cpu, pc, &where) ? (enum cpu_exit)tcg_run_one(cpu, &where)
                                           : CPU_EXIT_MEM_FAULT;
}

/* Runs from pc to the next exit; which one. CPU_EXIT_NONE: go on with what pc is now. */
static enum cpu_exit run_from(struct cpu *cpu, uint64_t pc)
{
    struct tcg_cpu *self = cpu->accel;
    struct cpu_jump *jump = &self->jumps[tcg_jump_index(pc)];
    bool known = __atomic_load_n(&jump->pc, __ATOMIC_ACQUIRE) == pc;
    enum cpu_exit reason = CPU_EXIT_NONE;
    enum missing why = CACHE_FULL;
    const void *code;

    if (!known && !tcg.interp && tcg_is_cold(cpu, pc)) {
        return run_cold(cpu, pc);
    }
    tcg_begin_code(self);
    /* once more: the cache may have been emptied */
    known = __atomic_load_n(&jump->pc, __ATOMIC_ACQUIRE) == pc;
    code = known && !log_enabled(LOG_NOCHAIN) ? jump->code : find_code(cpu, pc, jump, &why);
    if (code) {
        tcg_log_exec(cpu, pc);
        if (tcg.interp) {
            reason = (enum cpu_exit)tcg_interpret(cpu, ((const struct tcg_unit *)code)->ir);
        } else {
            enter(cpu, code);
            reason = (enum cpu_exit)cpu->exit_reason;
        }
    }
    atomic_store_explicit(&self->system->left, self->system->left + 1, memory_order_release);
    tcg_end_code(self);
    if (code) {
        return reason;
    }
    switch (why) {
    case FETCH_FAULTS:
        return CPU_EXIT_MEM_FAULT;
    case BREAKPOINT_THERE:
        return run_one(cpu, pc); /* another vCPU's */
    case CACHE_FULL:
        tcg_reset_cache(self);
        break;
    }
    return CPU_EXIT_NONE;
}

static enum outcome turn(struct cpu *cpu)
{
    struct tcg_system_cpu *s = tcg_system_cpu(cpu);
    bool one = s->debug.active && tcg_debug_begin(cpu);
    enum outcome outcome;
    enum cpu_exit reason;

    if (!one && cpu->ops->system->take_interrupt(cpu)) {
        s->count_interrupts++;
    }
    if (s->debug.active && !one && tcg_debug_break(cpu)) {
        return STOPPED;
    }
    tcg_tlb_select(cpu);
    reason = one ? run_one(cpu, tcg_pc(cpu)) : run_from(cpu, tcg_pc(cpu));
    if (reason != (enum cpu_exit)TCG_EXIT_POLL || !atomic_load(&cpu->kicked)) {
        tcg_count_exit(cpu->accel, reason);
    }
    outcome = handle(cpu, reason);
    if (one && reason != CPU_EXIT_AGAIN && outcome != STOPPED && tcg_debug_end(cpu)) {
        return STOPPED;
    }
    return outcome;
}

/* vcpu_ops.run */
static bool run(struct cpu *cpu)
{
    struct tcg_system_cpu *s = tcg_system_cpu(cpu);
    enum outcome outcome = GO_ON;

    cpu->normal_stack_limit = tcg_stack_limit(__builtin_frame_address(0));
    /* Of whoever has asked for something since the thread looked: it has to look again. */
    if (tcg_take_kick(cpu)) {
        return false;
    }
    cpu->ops->load_fpu(cpu);
    if (atomic_exchange(&s->flush_all, false)) {
        tcg_tlb_flush_everything(cpu);
    }
    if (atomic_exchange(&s->debug.changed, false)) {
        tcg_debug_notice(cpu);
    }
    while (outcome == GO_ON && !atomic_load_explicit(&cpu->kicked, memory_order_relaxed)) {
        outcome = turn(cpu);
    }
    cpu->ops->save_fpu(cpu);
    return outcome == HALTED;
}

static int thread_init(struct cpu *cpu)
{
    return 0;
}

static void thread_exit(struct cpu *cpu)
{
}

static const struct vcpu_ops vcpu_ops = {
    .thread_init = thread_init, .thread_exit = thread_exit, .run = run, .kick = cpu_kick};

/* ---- memory changes -------------------------------------------------------------------------- */

/* All vCPUs forget all translations; the caller's own at once. */
static void flush_all_cpus(void)
{
    struct cpu *own = vcpu_current();

    atomic_fetch_add(&tcg_tlb_generation, 1);
    lock_acquire(&tcg.lock);
    for (struct tcg_cpu *cpu = tcg.cpus; cpu; cpu = cpu->next) {
        atomic_store(&cpu->system->flush_all, true);
        cpu_kick(cpu->cpu);
    }
    lock_release(&tcg.lock);
    if (own) {
        tcg_tlb_flush_everything(own);
    }
}

static void section_changed(struct mem_listener *listener, const struct mem_section *section)
{
    if (section->ram) {
        flush_all_cpus();
    }
}

static void log_changed(struct mem_listener *listener, const struct mem_section *section,
                        uint32_t before)
{
    section_changed(listener, section);
}

/* ---- services -------------------------------------------------------------------------------- */

static void flush_work(struct cpu *cpu, void *arg)
{
    tcg_tlb_flush(cpu, arg);
    free(arg);
}

static void tlb_flush_all(struct cpu *cpu, const struct cpu_flush *what)
{
    for (unsigned i = 0; i < vcpu_count(); i++) {
        struct cpu *other = vcpu_at(i);
        struct cpu_flush *copy;

        if (other == cpu) {
            tcg_tlb_flush(cpu, what);
            continue;
        }
        copy = malloc(sizeof(*copy));
        if (!copy) {
            abort(); /* a flush that is not done would be worse */
        }
        *copy = *what;
        vcpu_run_on(other, flush_work, copy);
    }
}

static void mode_changed(struct cpu *cpu)
{
    /* the run loop looks at the mode word and the keys whenever a unit was left */
}

static void code_changed(struct mem_gpa gpa, uint64_t size)
{
    uint64_t at = gpa.value & ~(MEM_PAGE_SIZE - 1), end = gpa.value + size;
    const struct mem_view *view = mem_space_enter(sys.memory);

    for (; at < end; at += MEM_PAGE_SIZE) {
        const struct mem_section *section = mem_view_find(view, mem_gpa(at));

        if (section && section->ram) {
            tcg_code_written(NULL, section->ram, section->ram_offset + (at - section->first.value),
                             MEM_PAGE_SIZE);
        }
    }
    mem_space_leave();
}

static int registers_are_here(struct cpu *cpu)
{
    return 0; /* the state is where they live */
}

static const struct cpu_service_ops service = {
    .wake = vcpu_wake,
    .wait = vcpu_wait,
    .run_on = vcpu_run_on,
    .run_on_wait = vcpu_run_on_wait,
    .exclusive = vcpu_exclusive,
    .tlb_flush = tcg_tlb_flush,
    .tlb_flush_all = tlb_flush_all,
    .mode_changed = mode_changed,
    .data_space_changed = tcg_tlb_select,
    .code_changed = code_changed,
    .code_fence = tcg_code_fence,
    .registers_fetch = registers_are_here,
    .registers_changed = registers_are_here,
    .breakpoint = tcg_debug_breakpoint,
    .watchpoint = tcg_debug_watchpoint,
    .single_step = tcg_debug_single_step,
    .debug_stop = tcg_debug_stop,
};

/* ---- set-up ---------------------------------------------------------------------------------- */

/* "name=value,...": the options of -accel tcg. */
static int parse_option(struct tcg_config *config, char **opt_list, const char *text, size_t length,
                        char *error, size_t error_size)
{
    const char *value = memchr(text, '=', length);
    size_t name = value ? (size_t)(value - text) : length, size;
    char *end;

    value = value ? value + 1 : "";
    size = length - name - (name < length);
#define IS(what)    (name == sizeof(what) - 1 && memcmp(text, what, name) == 0)
#define VALUE(what) (size == sizeof(what) - 1 && memcmp(value, what, size) == 0)
    if (IS("tb-size")) {
        unsigned long mib = strtoul(value, &end, 10);

        if (end == value + size && size && mib >= 1 && mib <= 2047) {
            config->code_size = mib << 20;
            return 0;
        }
        snprintf(error, error_size, "-accel tcg,tb-size=%.*s: expected 1 to 2047 (MiB)", (int)size,
                 value);
        return -EINVAL;
    }
    if (IS("one-insn-per-tb") && (VALUE("on") || VALUE("off"))) {
        config->one_insn = VALUE("on");
        return 0;
    }
    if (IS("thread") && (VALUE("multi") || VALUE("single"))) {
        return 0; /* vCPUs always run in parallel */
    }
    if (IS("split-wx") && (VALUE("on") || VALUE("off"))) {
        return 0; /* code is never writable and executable through one mapping */
    }
    if (IS("jit") && (VALUE("host") || VALUE("interp"))) {
        config->backend = VALUE("interp") ? TCG_BACKEND_INTERP : TCG_BACKEND_HOST;
        return 0;
    }
    if (IS("opt")) {
        /* one a time: the list's comma is ours */
        size_t old = *opt_list ? strlen(*opt_list) : 0;
        char *list = realloc(*opt_list, old + size + 2);

        if (!list) {
            return -ENOMEM;
        }
        snprintf(list + old, size + 2, "%s%.*s", old ? "," : "", (int)size, value);
        *opt_list = list;
        return 0;
    }
#undef IS
#undef VALUE
    snprintf(error, error_size,
             "-accel tcg,%.*s: expected tb-size=MIB, thread=multi|single, one-insn-per-tb=on|off, "
             "split-wx=on|off, jit=host|interp or opt=[no-]NAME",
             (int)length, text);
    return -EINVAL;
}

static int init(const struct accel_system_config *config, char *error, size_t error_size)
{
    struct tcg_config tcg_config = {.backend = TCG_BACKEND_HOST};
    char *opt_list = NULL;
    int result = 0;

    for (const char *text = config->options; text && *text && result == 0;) {
        size_t length = strcspn(text, ",");

        result = parse_option(&tcg_config, &opt_list, text, length, error, error_size);
        text += length + (text[length] == ',');
    }
    if (result == 0) {
        tcg_config.options = opt_list;
        tcg.system = &tcg_code_hooks;
        result = tcg_init(&tcg_config, error, error_size);
        free(opt_list);
        tcg.config.options = NULL;
    }
    if (result < 0) {
        return result;
    }
    cpu_memory = &tcg_cpu_memory;
    sys.memory = config->memory;
    sys.event = config->event;
    mem_dirty_set_code_hook(tcg_code_written, NULL);
    sys.listener = (struct mem_listener){
        .priority = 10, .add = section_changed, .remove = section_changed, .log = log_changed};
    mem_space_add_listener(config->memory, &sys.listener);
    return 0;
}

static struct cpu *create(const struct cpu_target_ops *ops, unsigned index, uint32_t id)
{
    struct cpu *cpu = tcg_cpu_create(ops);
    struct tcg_cpu *self;
    struct tcg_system_cpu *s;

    if (!cpu || index >= TCG_MAX_CPUS) {
        return NULL;
    }
    self = cpu->accel;
    s = calloc(1, sizeof(*s));
    if (!s || !tcg_cold_create(self) || !vcpu_create(cpu, index, &vcpu_ops)) {
        free(s);
        tcg_cpu_destroy(cpu);
        return NULL;
    }
    tcg_tlb_init(s);
    s->first_jumps = self->jumps;
    self->system = s;
    return cpu;
}

static void destroy(struct cpu *cpu)
{
    struct tcg_cpu *self = cpu->accel;
    struct tcg_system_cpu *s = self->system;

    self->jumps = s->first_jumps;
    tcg_cpu_destroy(cpu);
    tcg_debug_free(s);
    tcg_tlb_free(s);
    free(s);
}

static struct cpu_irqchip *no_irqchip(void)
{
    return NULL;
}

static void print_stats(void)
{
    uint64_t sum[8] = {0};
    unsigned n;

    tcg_print_stats("at the end");
    lock_acquire(&tcg.lock);
    for (struct tcg_cpu *cpu = tcg.cpus; cpu; cpu = cpu->next) {
        n = 0;
#define X(name, help) sum[n++] += cpu->system->count_##name;
        TCG_SYSTEM_COUNTERS(X)
#undef X
    }
    lock_release(&tcg.lock);
    n = 0;
#define X(name, help) log_printf("%-24s %llu  %s\n", #name, (unsigned long long)sum[n++], help);
    TCG_SYSTEM_COUNTERS(X)
#undef X
}

const struct accel_system_ops accel_system_tcg = {
    .name = "tcg",
    .help = "translation of guest code",
    .init = init,
    .cpu_create = create,
    .cpu_destroy = destroy,
    .service = &service,
    .irqchip = no_irqchip,
    .print_stats = print_stats,
};
