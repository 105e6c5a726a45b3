/*
 * When a guest that is debugged stops, and goes on.
 *
 * What has stopped is kept until somebody asks (debug_stop) or the vCPU runs. A breakpoint that was
 * asked about is passed when the vCPU goes on at the same pc: for one instruction, which is
 * stepped, it is taken away from this vCPU's registers, or out of memory, where others may miss it
 * for that time. So are breakpoints at the pc of a single step. (RFLAGS.RF would do for registers,
 * but kernels that emulate ring 0 do not look at it here.)
 */
#include "accel/kvm/x86.h"

#include "target/x86/mmu.h"
#include "target/x86/segment.h"

#include <string.h>

enum { DR7_EXECUTE = 0 };

/* DR6 (SDM volume 3, 18.2.3) */
enum { DR6_STEP = 1 << 14 };

static struct kvm_x86_debug *debug_of(struct kvm_cpu *k)
{
    return &kvm_x86_cpu(k)->debug;
}

/* ---- passing --------------------------------------------------------------------------------- */

static bool pc_is(struct kvm_cpu *k, uint64_t address)
{
    return kvm_registers_fetch(k->cpu) == 0 && x86_linear_pc(x86_cpu(k->cpu)) == address;
}

static bool has_breakpoint(const struct kvm_x86_debug *d, uint64_t address,
                           struct kvm_x86_breakpoint *found)
{
    for (unsigned n = 0; n < d->count; n++) {
        if (d->breakpoint[n].address == address) {
            *found = d->breakpoint[n];
            return true;
        }
    }
    return false;
}

static void begin_pass(struct kvm_cpu *k, uint64_t address)
{
    struct kvm_x86_debug *d = debug_of(k);
    struct kvm_x86_breakpoint b;

    if (!has_breakpoint(d, address, &b)) {
        return;
    }
    d->passing = true;
    d->pass = address;
    d->lifted = b.reg < 0;
    if (d->lifted) {
        d->lifted_at = b.gpa;
        kvm_x86_lift_patch(b.gpa, true);
    }
    (void)kvm_x86_update_debug(k);
}

void kvm_x86_end_pass(struct kvm_cpu *k)
{
    struct kvm_x86_debug *d = debug_of(k);

    if (!d->passing) {
        return;
    }
    d->passing = false;
    if (d->lifted) {
        d->lifted = false;
        kvm_x86_lift_patch(d->lifted_at, false);
    }
    (void)kvm_x86_update_debug(k);
}

bool kvm_x86_debug_before_run(struct kvm_cpu *k)
{
    struct kvm_x86_debug *d = debug_of(k);

    if (d->stop.kind == CPU_STOP_STEP || d->stop.kind == CPU_STOP_WATCHPOINT) {
        /* Nobody has asked: once more. A breakpoint is hit again by itself. */
        kvm_tell(k, ACCEL_EVENT_DEBUG);
        return false;
    }
    d->stop.kind = CPU_STOP_NONE;
    if (d->passing) {
        /* An exception, or an exit in the middle: over when the instruction is. */
        if (!k->answered && !pc_is(k, d->pass)) {
            kvm_x86_end_pass(k);
        }
    } else if ((d->noticed && pc_is(k, d->pass)) || (d->stepping && d->count && !k->answered)) {
        if (kvm_registers_fetch(k->cpu) == 0) {
            begin_pass(k, x86_linear_pc(x86_cpu(k->cpu)));
        }
    }
    d->noticed = false;
    return true;
}

/* ---- exits ----------------------------------------------------------------------------------- */

/* Gives the guest its own exception. */
static enum kvm_outcome pass_on(struct kvm_cpu *k, const struct kvm_debug_exit_arch *debug)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    struct x86_events *e = &cpu->events;

    if (kvm_registers_fetch(k->cpu) < 0) {
        return KVM_UNHANDLED;
    }
    e->exception = (uint8_t)debug->exception;
    e->exception_has_error = false;
    if (debug->exception == DB_VECTOR && kvm_x86.payload) {
        e->exception_pending = true;
        e->exception_has_payload = true;
        e->exception_payload = debug->dr6;
    } else {
        e->exception_injected = true;
        if (debug->exception == DB_VECTOR) {
            cpu->dr[6] = debug->dr6;
        }
    }
    kvm_registers_changed(k->cpu);
    return KVM_GO_ON;
}

static bool is_int3_of_ours(struct kvm_cpu *k, uint64_t pc)
{
    struct x86_walk w;

    return kvm_registers_fetch(k->cpu) == 0 && x86_walk(x86_cpu(k->cpu), pc, &w) == 0 &&
           kvm_x86_has_patch(mem_gpa(w.gpa));
}

/* Ours (KVM_UNHANDLED: run.c tells the machine), or the guest's. */
static enum kvm_outcome stop(struct kvm_cpu *k, enum cpu_stop_kind kind, uint64_t address,
                             unsigned access)
{
    debug_of(k)->stop = (struct cpu_stop){.kind = kind, .address = address, .access = access};
    return KVM_UNHANDLED;
}

enum kvm_outcome kvm_x86_handle_debug(struct kvm_cpu *k)
{
    const struct kvm_debug_exit_arch *debug = &k->run->debug.arch;
    const struct kvm_x86_debug *d = debug_of(k);
    bool passed = d->passing;

    kvm_x86_end_pass(k);
    if (debug->exception == BP_VECTOR) {
        return is_int3_of_ours(k, debug->pc) ? stop(k, CPU_STOP_BREAKPOINT, debug->pc, 0)
                                             : pass_on(k, debug);
    }
    for (unsigned n = 0; n < KVM_X86_DEBUG_REGISTERS; n++) {
        if (debug->dr6 >> n & 1 && d->reg[n].size) {
            return stop(k,
                        d->reg[n].type == DR7_EXECUTE ? CPU_STOP_BREAKPOINT : CPU_STOP_WATCHPOINT,
                        d->reg[n].address, d->reg[n].access);
        }
    }
    if (debug->dr6 & DR6_STEP && d->stepping) {
        return stop(k, CPU_STOP_STEP, debug->pc, 0);
    }
    return debug->dr6 & DR6_STEP && passed ? KVM_GO_ON : pass_on(k, debug);
}

bool kvm_arch_debug_stop(struct kvm_cpu *k, struct cpu_stop *why)
{
    struct kvm_x86_debug *d = debug_of(k);

    *why = d->stop;
    if (d->stop.kind == CPU_STOP_BREAKPOINT) {
        d->noticed = true;
        d->pass = d->stop.address;
    }
    d->stop.kind = CPU_STOP_NONE;
    return why->kind != CPU_STOP_NONE;
}
