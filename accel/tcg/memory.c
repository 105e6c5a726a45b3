/*
 * Guest memory in system mode, the slow way: translate, find what is there, do the access, and
 * enter the page into the TLB if the next access may go the quick way.
 *
 * Generated code, the interpreter and targets' helpers come here with a struct tcg_access each. RAM
 * is accessed with one host access where the address is aligned; what is misaligned within a page
 * is copied, and what crosses a page is done byte by byte after both pages have been found good, so
 * that a fault leaves memory as it was. Device registers are read and written under whatever locks
 * mem/ takes; an atomic access to them is a bus error.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "accel/tcg/system.h"
#include "accel/vcpu.h"
#include "jit/interp/interp.h"
#include "mem/access.h"
#include "mem/dirty.h"
#include "util/log.h"

static void fail(struct cpu *cpu, uint64_t address, enum cpu_access access, enum cpu_bus_error bus)
{
    tcg_system_cpu(cpu)->fault =
        (struct tcg_fault){.address = address, .access = access, .bus = bus};
}

static enum cpu_access access_of(const struct tcg_access *a)
{
    return a->kind == JIT_ACCESS_LOAD ? CPU_ACCESS_LOAD : CPU_ACCESS_STORE;
}

/* ---- RAM ------------------------------------------------------------------------------------- */

#define ATOMIC_OF(type) ((type *)host)
#define PLAIN(type)                                                              \
    do {                                                                         \
        if (a->kind == JIT_ACCESS_LOAD) {                                        \
            a->result = __atomic_load_n(ATOMIC_OF(type), __ATOMIC_RELAXED);      \
        } else {                                                                 \
            __atomic_store_n(ATOMIC_OF(type), (type)a->value, __ATOMIC_RELAXED); \
        }                                                                        \
    } while (0)

static void plain(struct tcg_access *a, uint8_t *host)
{
    if ((uintptr_t)host & (a->size - 1u)) {
        if (a->kind == JIT_ACCESS_LOAD) {
            a->result = 0;
            memcpy(&a->result, host, a->size);
        } else {
            memcpy(host, &a->value, a->size);
        }
        return;
    }
    switch (a->size) {
    case 1:
        PLAIN(uint8_t);
        break;
    case 2:
        PLAIN(uint16_t);
        break;
    case 4:
        PLAIN(uint32_t);
        break;
    default:
        PLAIN(uint64_t);
        break;
    }
}

static int64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned shift = 64 - 8 * size;

    return (int64_t)(value << shift) >> shift;
}

static uint64_t zero_extend(uint64_t value, unsigned size)
{
    unsigned shift = 64 - 8 * size;

    return value << shift >> shift;
}

/* What memory gets for what it holds. */
static uint64_t combine(const struct tcg_access *a, uint64_t old)
{
    uint64_t value = a->value;
    bool less = sign_extend(old, a->size) < sign_extend(value, a->size);
    bool below = zero_extend(old, a->size) < zero_extend(value, a->size);

    switch ((enum ir_amo)a->amo) {
    case IR_AMO_SWAP:
        return value;
    case IR_AMO_ADD:
        return old + value;
    case IR_AMO_AND:
        return old & value;
    case IR_AMO_OR:
        return old | value;
    case IR_AMO_XOR:
        return old ^ value;
    case IR_AMO_MIN:
        return less ? old : value;
    case IR_AMO_MAX:
        return less ? value : old;
    case IR_AMO_MINU:
        return below ? old : value;
    default:
        return below ? value : old;
    }
}

static bool exchange(uint8_t *host, unsigned size, uint64_t *expected, uint64_t desired)
{
#define EXCHANGE(type)                                                                       \
    do {                                                                                     \
        type old = (type)*expected;                                                          \
        bool done = __atomic_compare_exchange_n(ATOMIC_OF(type), &old, (type)desired, false, \
                                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);         \
        *expected = old;                                                                     \
        return done;                                                                         \
    } while (0)
    switch (size) {
    case 1:
        EXCHANGE(uint8_t);
    case 2:
        EXCHANGE(uint16_t);
    case 4:
        EXCHANGE(uint32_t);
    default:
        EXCHANGE(uint64_t);
    }
}

static void atomic(struct tcg_access *a, uint8_t *host)
{
    uint64_t old = a->expected;

    if (a->kind == JIT_ACCESS_CAS) {
        exchange(host, a->size, &old, a->value);
        a->result = old;
        return;
    }
    old = 0;
    memcpy(&old, host, a->size);
    while (!exchange(host, a->size, &old, combine(a, old))) {
        ;
    }
    a->result = old;
}

/* ---- devices --------------------------------------------------------------------------------- */

/* Device models are C that may compute with floating point: under the host's own settings. */
static bool device(struct cpu *cpu, struct tcg_access *a, struct mem_space *memory, uint64_t gpa)
{
    unsigned csr = __builtin_ia32_stmxcsr();
    int error;

    tcg_system_cpu(cpu)->count_device++;
    if (a->kind != JIT_ACCESS_LOAD && a->kind != JIT_ACCESS_STORE) {
        fail(cpu, a->address, CPU_ACCESS_STORE, CPU_BUS_ERROR_ATOMIC);
        return false;
    }
    __builtin_ia32_ldmxcsr(0x1f80);
    error = a->kind == JIT_ACCESS_LOAD
                ? mem_access_load(memory, mem_gpa(gpa), a->size, &a->result, MEM_ATTRS_NONE)
                : mem_access_store(memory, mem_gpa(gpa), a->size, a->value, MEM_ATTRS_NONE);
    __builtin_ia32_ldmxcsr(csr);
    if (vcpu_has_woken()) {
        sched_yield(); /* most guests wait for what the other one does now */
    }
    if (error < 0) {
        fail(cpu, a->address, access_of(a), CPU_BUS_ERROR_ABSENT);
        return false;
    }
    return true;
}

/* ---- one access ------------------------------------------------------------------------------ */

static bool translate(struct cpu *cpu, uint64_t address, unsigned size, enum cpu_access access,
                      struct cpu_translation *t)
{
    fail(cpu, address, access, CPU_BUS_ERROR_NONE);
    return cpu->ops->system->translate_address(cpu, address, size, access, t) == 0;
}

/* After the access was translated. */
static bool is_watched(struct cpu *cpu, const struct tcg_access *a)
{
    static const uint8_t access[] = {
        [JIT_ACCESS_LOAD] = CPU_WATCH_READ,
        [JIT_ACCESS_STORE] = CPU_WATCH_WRITE,
        [JIT_ACCESS_AMO] = CPU_WATCH_READ | CPU_WATCH_WRITE,
        [JIT_ACCESS_CAS] = CPU_WATCH_READ | CPU_WATCH_WRITE,
    };

    return tcg_debug_watched(tcg_system_cpu(cpu), a->address, a->size, access[a->kind]);
}

/* Bytes were stored. Where there is code in the page, but not in them, that may stay. */
static void mark_stored(struct mem_ram *ram, const uint8_t *host, unsigned size)
{
    uint64_t offset = (uint64_t)(host - ram->host);

    atomic_thread_fence(memory_order_seq_cst); /* the bytes before the bit is looked at */
    if (!mem_dirty_test(ram, MEM_DIRTY_CODE, offset, size) && tcg_store_beside_code(host, size)) {
        mem_dirty_set_but_code(ram, offset, size);
    } else {
        mem_dirty_set(ram, offset, size);
    }
}

/* Within a page. */
static bool access_page(struct cpu *cpu, struct tcg_access *a)
{
    struct mem_space *memory = cpu->ops->system->system(cpu)->memory;
    uint64_t generation = atomic_load(&tcg_tlb_generation);
    const struct mem_section *section;
    struct cpu_translation t;
    bool store = a->kind != JIT_ACCESS_LOAD;
    uint8_t *host;

    if (!translate(cpu, a->address, a->size, access_of(a), &t) || is_watched(cpu, a)) {
        return false;
    }
    section = mem_view_find(mem_space_enter(memory), mem_gpa(t.gpa));
    if (!section || !section->ram || section->last - t.gpa < a->size - 1u ||
        (store && (section->readonly || section->device))) {
        mem_space_leave();
        return device(cpu, a, memory, t.gpa);
    }
    host = section->host + (t.gpa - section->first.value);
    if (a->kind == JIT_ACCESS_LOAD || a->kind == JIT_ACCESS_STORE) {
        plain(a, host);
    } else {
        atomic(a, host);
    }
    if (store) {
        mark_stored(section->ram, host, a->size);
    }
    /* the page as a whole must be there */
    uint64_t page = t.gpa & ~(MEM_PAGE_SIZE - 1);
    if (section->first.value <= page && section->last - page >= MEM_PAGE_SIZE - 1) {
        tcg_tlb_fill(cpu, a->address, &t, host, section->ram, section->readonly || section->device,
                     generation);
    }
    mem_space_leave();
    return true;
}

static bool access_bytes(struct cpu *cpu, struct tcg_access *a)
{
    uint64_t next = (a->address | (MEM_PAGE_SIZE - 1)) + 1, result = 0;
    struct cpu_translation t;

    if (a->kind != JIT_ACCESS_LOAD && a->kind != JIT_ACCESS_STORE) {
        fail(cpu, a->address, CPU_ACCESS_STORE, CPU_BUS_ERROR_ATOMIC);
        return false;
    }
    if (!translate(cpu, a->address, 1, access_of(a), &t) ||
        !translate(cpu, next, 1, access_of(a), &t) || is_watched(cpu, a)) {
        return false;
    }
    for (unsigned i = 0; i < a->size; i++) {
        struct tcg_access byte = {
            .kind = a->kind, .size = 1, .address = a->address + i, .value = a->value >> 8 * i};

        byte.value &= 0xff;
        if (!access_page(cpu, &byte)) {
            return false;
        }
        result |= byte.result << 8 * i;
    }
    a->result = result;
    return true;
}

/*
 * The host address of an access within a page that the TLB has, aligned or not; NULL if it has not.
 * What it has is the same for generated code: a page may be stored to without a mark.
 */
static uint8_t *quick(const struct cpu *cpu, uint64_t address, unsigned size, bool store)
{
    const struct jit_tlb_entry *entry =
        (const struct jit_tlb_entry *)((const char *)cpu->tlb_table +
                                       jit_tlb_offset(address, cpu->tlb_mask));
    uint64_t tag = store ? __atomic_load_n(&entry->store_tag, __ATOMIC_RELAXED)
                         : __atomic_load_n(&entry->load_tag, __ATOMIC_RELAXED);

    if ((address & -MEM_PAGE_SIZE) != tag ||
        (address & (MEM_PAGE_SIZE - 1)) + size > MEM_PAGE_SIZE) {
        return NULL;
    }
    return (uint8_t *)(uintptr_t)(address + entry->addend);
}

static bool misaligned(const struct tcg_access *a)
{
    return a->address & (a->size - 1u);
}

/*
 * Generated code comes here with addresses that the TLB has, too: misaligned ones, and those of a
 * group whose first and last are not in one page.
 */
bool tcg_access(struct cpu *cpu, struct tcg_access *a)
{
    bool is_atomic = a->kind != JIT_ACCESS_LOAD && a->kind != JIT_ACCESS_STORE;
    uint8_t *host = is_atomic && misaligned(a)
                        ? NULL
                        : quick(cpu, a->address, a->size, a->kind != JIT_ACCESS_LOAD);

    tcg_system_cpu(cpu)->count_slow++;
    if (host) {
        if (is_atomic) {
            atomic(a, host);
        } else {
            plain(a, host);
        }
        return true;
    }
    return (a->address & (MEM_PAGE_SIZE - 1)) + a->size > MEM_PAGE_SIZE ? access_bytes(cpu, a)
                                                                        : access_page(cpu, a);
}

/* ---- from generated code --------------------------------------------------------------------- */

static uint64_t host_reg(const struct jit_host_regs *regs, unsigned reg)
{
    return reg < 16 ? regs->gpr[reg] : regs->vector[reg - 16];
}

static void recover(struct cpu *cpu, const struct jit_host_regs *regs, const uint8_t *site,
                    uint32_t mark)
{
    const struct tcg_unit *unit = tcg_unit_at((uint32_t)(site - tcg_code_rx));
    uint64_t pc;

    if (!unit || !jit_recover(cpu->ops->ir, &tcg.layout, unit->side, unit->side_size, unit->pc,
                              mark, regs, cpu, &pc)) {
        log_printf("no mark for the access at offset %u\n", mark);
        abort();
    }
    tcg_set_pc(cpu, pc);
    cpu->exit_reason = CPU_EXIT_MEM_FAULT;
}

bool tcg_slow(void *state, struct jit_host_regs *regs, const uint8_t *site)
{
    struct cpu *cpu = state;
    struct jit_access what;
    struct tcg_access a;
    uint64_t address, result;

    memcpy(&what, site, sizeof(what));
    address = (uint64_t)(int64_t)what.disp;
    if (what.base != JIT_NO_REG) {
        address += regs->gpr[what.base];
    }
    if (what.index != JIT_NO_REG) {
        address += regs->gpr[what.index] << what.scale;
    }
    a = (struct tcg_access){
        .kind = (enum jit_access_kind)what.kind,
        .size = (uint8_t)(1u << (what.mem & 7)),
        .amo = what.amo,
        .address = address,
        .value =
            what.value == JIT_NO_REG ? (uint64_t)(int64_t)what.imm : host_reg(regs, what.value),
        .expected = regs->gpr[0],
    };
    a.value = zero_extend(a.value, a.size);
    if (!tcg_access(cpu, &a)) {
        recover(cpu, regs, site, what.mark);
        return false;
    }
    if (what.clear != JIT_NO_REG) {
        regs->gpr[what.clear] = 0;
    }
    if (what.dest == JIT_NO_REG) {
        return true;
    }
    result = a.result;
    if (a.kind != JIT_ACCESS_LOAD || (what.mem & IR_MS)) {
        result = (uint64_t)sign_extend(result, a.size);
    }
    if (what.dest >= 16) {
        regs->vector[what.dest - 16] = result;
    } else {
        regs->gpr[what.dest] = what.wide ? result : (uint32_t)result;
    }
    return true;
}

/* ---- from the interpreter -------------------------------------------------------------------- */

static int interpret(struct cpu *cpu, struct tcg_access *a)
{
    return tcg_access(cpu, a) ? 0 : -EFAULT;
}

static int load(void *opaque, uint64_t address, unsigned size, uint64_t *value, int *fault_signal,
                int *fault_code)
{
    struct tcg_access a = {.kind = JIT_ACCESS_LOAD, .size = (uint8_t)size, .address = address};
    int error = interpret(opaque, &a);

    *value = a.result;
    return error;
}

static int store(void *opaque, uint64_t address, unsigned size, uint64_t value, int *fault_signal,
                 int *fault_code)
{
    struct tcg_access a = {.kind = JIT_ACCESS_STORE,
                           .size = (uint8_t)size,
                           .address = address,
                           .value = zero_extend(value, size)};

    return interpret(opaque, &a);
}

static int cas(void *opaque, uint64_t address, unsigned size, uint64_t expected, uint64_t desired,
               uint64_t *old, int *fault_signal, int *fault_code)
{
    struct tcg_access a = {.kind = JIT_ACCESS_CAS,
                           .size = (uint8_t)size,
                           .address = address,
                           .value = zero_extend(desired, size),
                           .expected = expected};
    int error = interpret(opaque, &a);

    *old = a.result;
    return error;
}

const struct interp_memory tcg_system_memory = {.load = load, .store = store, .cas = cas};

/* ---- from targets' helpers ------------------------------------------------------------------- */

/* The guest's state is complete while a helper runs that accesses memory. */
static _Noreturn void leave_helper(struct cpu *cpu)
{
    struct tcg_cpu *self = cpu->accel;

    cpu->exit_reason = CPU_EXIT_MEM_FAULT;
    if (self->interpreting) {
        longjmp(self->escape, 1);
    }
    __asm__ volatile("mov %0, %%rbp\n\t"
                     "jmp *%1"
                     :
                     : "r"((char *)cpu + jit_x86_bias(cpu->ops->ir)),
                       "r"(tcg_code_rx + tcg.thunk[JIT_THUNK_FAULT])
                     : "memory");
    __builtin_unreachable();
}

static uint64_t helper_load(struct cpu *cpu, uint64_t address, unsigned size)
{
    struct tcg_access a = {.kind = JIT_ACCESS_LOAD, .size = (uint8_t)size, .address = address};

    if (interpret(cpu, &a) < 0) {
        leave_helper(cpu);
    }
    return a.result;
}

static void helper_store(struct cpu *cpu, uint64_t address, unsigned size, uint64_t value)
{
    struct tcg_access a = {.kind = JIT_ACCESS_STORE,
                           .size = (uint8_t)size,
                           .address = address,
                           .value = zero_extend(value, size)};

    if (interpret(cpu, &a) < 0) {
        leave_helper(cpu);
    }
}

static void *helper_host(struct cpu *cpu, uint64_t address, unsigned size, enum cpu_access access)
{
    struct mem_space *memory = cpu->ops->system->system(cpu)->memory;
    bool is_store = access == CPU_ACCESS_STORE;
    const struct mem_section *section;
    struct cpu_translation t;
    uint8_t *host = NULL;

    if (!translate(cpu, address, size, access, &t) ||
        tcg_debug_watched(tcg_system_cpu(cpu), address, size,
                          CPU_WATCH_READ | (is_store ? CPU_WATCH_WRITE : 0u))) {
        leave_helper(cpu);
    }
    section = mem_view_find(mem_space_enter(memory), mem_gpa(t.gpa));
    if (section && section->ram && section->last - t.gpa >= size - 1u &&
        !(is_store && (section->readonly || section->device))) {
        host = section->host + (t.gpa - section->first.value);
        if (is_store) {
            mem_dirty_set(section->ram, (uint64_t)(host - section->ram->host), size);
        }
    }
    mem_space_leave();
    if (!host) {
        fail(cpu, address, access, CPU_BUS_ERROR_ATOMIC);
        leave_helper(cpu);
    }
    return host;
}

const struct cpu_memory_ops tcg_cpu_memory = {
    .load = helper_load, .store = helper_store, .host = helper_host};
