/*
 * Breakpoints, watchpoints and single steps of machines' vCPUs.
 *
 * What a debugger has asked for is under a lock of the vCPU's, since that may run. It takes notice
 * at the beginning of run(): breakpoints then reach the translations (breaks.c), and the vCPU knows
 * whether a debugger is at it (`active`), in which case the run loop asks here before and after
 * each turn. Nothing of this costs the others anything, generated code least of all.
 *
 * Breakpoints stop the run loop, which every way to such an address leads to.
 *
 * Watchpoints keep their pages out of the TLB, for the kinds of access that they are for, so that
 * memory.c sees each access and asks here when it knows that the access will not fault. A hit is
 * then treated as a fault is: the state becomes that before the instruction. Atomic accesses go by
 * the leave to store, and loads may share the probe of a store; so a page that is watched for loads
 * has neither.
 *
 * Steps, and the instruction at which a vCPU has stopped, are interpreted one by one, with
 * interrupts masked: that leaves nothing behind in the code cache.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "accel/tcg/system.h"
#include "accel/vcpu.h"

#define ACCESSES (CPU_WATCH_READ | CPU_WATCH_WRITE)

/* After a change. */
static void take_notice(struct cpu *cpu)
{
    atomic_store(&tcg_system_cpu(cpu)->debug.changed, true);
    cpu_kick(cpu);
}

/* Room for one more element; false when out of memory. */
static bool reserve(void **array, unsigned count, unsigned *room, size_t size)
{
    unsigned more = *room ? 2 * *room : 16;
    void *grown;

    if (count < *room) {
        return true;
    }
    grown = realloc(*array, more * size);
    if (grown) {
        *array = grown;
        *room = more;
    }
    return grown != NULL;
}

/* ---- breakpoints ----------------------------------------------------------------------------- */

static unsigned breakpoint_index(const struct tcg_debug *d, uint64_t address)
{
    unsigned low = 0, high = d->breakpoints;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;

        if (d->breakpoint[mid] < address) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static bool has_breakpoint(const struct tcg_debug *d, uint64_t address)
{
    unsigned i = breakpoint_index(d, address);

    return i < d->breakpoints && d->breakpoint[i] == address;
}

static int add_breakpoint(struct tcg_debug *d, uint64_t address)
{
    unsigned i = breakpoint_index(d, address);

    if (!reserve((void **)&d->breakpoint, d->breakpoints, &d->breakpoint_room,
                 sizeof(*d->breakpoint)) ||
        tcg_breaks_add(address) < 0) {
        return -ENOMEM;
    }
    memmove(d->breakpoint + i + 1, d->breakpoint + i,
            (d->breakpoints - i) * sizeof(*d->breakpoint));
    d->breakpoint[i] = address;
    d->breakpoints++;
    return 0;
}

static int remove_breakpoint(struct tcg_debug *d, uint64_t address)
{
    unsigned i = breakpoint_index(d, address);

    if (!has_breakpoint(d, address)) {
        return -ENOENT;
    }
    tcg_breaks_remove(address);
    d->breakpoints--;
    memmove(d->breakpoint + i, d->breakpoint + i + 1,
            (d->breakpoints - i) * sizeof(*d->breakpoint));
    return 0;
}

int tcg_debug_breakpoint(struct cpu *cpu, uint64_t address, bool insert)
{
    struct tcg_debug *d = &tcg_system_cpu(cpu)->debug;
    int result;

    lock_acquire(&d->lock);
    result = insert ? add_breakpoint(d, address) : remove_breakpoint(d, address);
    lock_release(&d->lock);
    if (result == 0) {
        take_notice(cpu);
    }
    return result;
}

/* ---- watchpoints ----------------------------------------------------------------------------- */

static int add_watchpoint(struct tcg_debug *d, const struct tcg_watch *watch)
{
    unsigned count = atomic_load(&d->watches);

    if (!reserve((void **)&d->watch, count, &d->watch_room, sizeof(*d->watch))) {
        return -ENOMEM;
    }
    d->watch[count] = *watch;
    atomic_store(&d->watches, count + 1);
    return 0;
}

static int remove_watchpoint(struct tcg_debug *d, const struct tcg_watch *watch)
{
    unsigned count = atomic_load(&d->watches);

    for (unsigned i = 0; i < count; i++) {
        const struct tcg_watch *w = &d->watch[i];

        if (w->address == watch->address && w->size == watch->size && w->access == watch->access) {
            atomic_store(&d->watches, --count);
            memmove(d->watch + i, d->watch + i + 1, (count - i) * sizeof(*d->watch));
            return 0;
        }
    }
    return -ENOENT;
}

int tcg_debug_watchpoint(struct cpu *cpu, uint64_t address, uint64_t size, unsigned access,
                         bool insert)
{
    struct tcg_watch watch = {.address = address, .size = size, .access = access};
    struct tcg_system_cpu *s = tcg_system_cpu(cpu);
    int result;

    if (size == 0 || address + (size - 1) < address || !access || access & ~(unsigned)ACCESSES) {
        return -EINVAL;
    }
    lock_acquire(&s->debug.lock);
    result = insert ? add_watchpoint(&s->debug, &watch) : remove_watchpoint(&s->debug, &watch);
    lock_release(&s->debug.lock);
    if (result == 0 && insert) {
        atomic_store(&s->flush_all, true);
        cpu_kick(cpu);
    }
    return result;
}

/* Whether two ranges, each within the address space or around its end, have a byte in common. */
static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return b - a < a_size || a - b < b_size;
}

unsigned tcg_debug_search_barred(struct tcg_system_cpu *s, uint64_t page)
{
    struct tcg_debug *d = &s->debug;
    unsigned barred = 0;

    lock_acquire(&d->lock);
    for (unsigned i = 0; i < atomic_load(&d->watches); i++) {
        const struct tcg_watch *w = &d->watch[i];

        if (overlap(w->address, w->size, page, MEM_PAGE_SIZE)) {
            barred |= CPU_PROT_WRITE | (w->access & CPU_WATCH_READ ? CPU_PROT_READ : 0);
        }
    }
    lock_release(&d->lock);
    return barred;
}

bool tcg_debug_search_hit(struct tcg_system_cpu *s, uint64_t address, unsigned size,
                          unsigned access)
{
    struct tcg_debug *d = &s->debug;
    bool hit = false;

    lock_acquire(&d->lock);
    for (unsigned i = 0; i < atomic_load(&d->watches) && !hit && !d->unwatched; i++) {
        const struct tcg_watch *w = &d->watch[i];

        if (w->access & access && overlap(w->address, w->size, address, size)) {
            s->fault = (struct tcg_fault){.watched = true};
            d->hit = (struct cpu_stop){
                .kind = CPU_STOP_WATCHPOINT, .address = w->address, .access = w->access};
            hit = true;
        }
    }
    lock_release(&d->lock);
    return hit;
}

/* ---- stops ----------------------------------------------------------------------------------- */

static void stop(struct cpu *cpu, struct cpu_stop why)
{
    struct tcg_debug *d = &tcg_system_cpu(cpu)->debug;

    lock_acquire(&d->lock);
    d->stop = why;
    d->stop_pc = tcg_pc(cpu);
    d->told = false;
    d->active = true;
    lock_release(&d->lock);
    vcpu_stand(cpu);
    tcg_system_event(ACCEL_EVENT_DEBUG, cpu);
}

bool tcg_debug_stop(struct cpu *cpu, struct cpu_stop *why)
{
    struct tcg_debug *d = &tcg_system_cpu(cpu)->debug;
    bool stopped;

    lock_acquire(&d->lock);
    stopped = d->stop.kind != CPU_STOP_NONE;
    if (stopped) {
        *why = d->stop;
        d->told = true;
    }
    lock_release(&d->lock);
    return stopped;
}

int tcg_debug_single_step(struct cpu *cpu, bool on)
{
    struct tcg_debug *d = &tcg_system_cpu(cpu)->debug;

    lock_acquire(&d->lock);
    d->step = on;
    lock_release(&d->lock);
    take_notice(cpu);
    if (on) {
        vcpu_unhalt(cpu); /* a wait for an interrupt may end for no reason at all */
    }
    return 0;
}

/* ---- the vCPU's turns ------------------------------------------------------------------------ */

void tcg_debug_notice(struct cpu *cpu)
{
    struct tcg_debug *d = &tcg_system_cpu(cpu)->debug;

    tcg_breaks_apply();
    lock_acquire(&d->lock);
    d->active = d->step || d->breakpoints || d->stop.kind != CPU_STOP_NONE;
    lock_release(&d->lock);
}

bool tcg_debug_begin(struct cpu *cpu)
{
    struct tcg_debug *d = &tcg_system_cpu(cpu)->debug;
    bool one;

    lock_acquire(&d->lock);
    if (!d->told || d->stop_pc != tcg_pc(cpu)) {
        d->stop.kind = CPU_STOP_NONE;
    }
    d->unwatched = d->stop.kind == CPU_STOP_WATCHPOINT;
    one = d->step || d->stop.kind != CPU_STOP_NONE;
    d->active = one || d->breakpoints;
    lock_release(&d->lock);
    return one;
}

bool tcg_debug_break(struct cpu *cpu)
{
    struct tcg_debug *d = &tcg_system_cpu(cpu)->debug;
    uint64_t pc = tcg_pc(cpu);
    bool here;

    lock_acquire(&d->lock);
    here = has_breakpoint(d, pc);
    lock_release(&d->lock);
    if (here) {
        stop(cpu, (struct cpu_stop){.kind = CPU_STOP_BREAKPOINT, .address = pc});
    }
    return here;
}

void tcg_debug_hit(struct cpu *cpu)
{
    stop(cpu, tcg_system_cpu(cpu)->debug.hit);
}

bool tcg_debug_end(struct cpu *cpu)
{
    struct tcg_debug *d = &tcg_system_cpu(cpu)->debug;
    bool step;

    lock_acquire(&d->lock);
    step = d->step;
    d->stop.kind = CPU_STOP_NONE;
    d->unwatched = false;
    d->active = step || d->breakpoints;
    lock_release(&d->lock);
    if (step) {
        stop(cpu, (struct cpu_stop){.kind = CPU_STOP_STEP, .address = tcg_pc(cpu)});
    }
    return step;
}

void tcg_debug_free(struct tcg_system_cpu *s)
{
    struct tcg_debug *d = &s->debug;

    for (unsigned i = 0; i < d->breakpoints; i++) {
        tcg_breaks_remove(d->breakpoint[i]);
    }
    free(d->breakpoint);
    free(d->watch);
}
