/*
 * Around KVM_RUN: interrupts that user space brings, what kvm_run mirrors, and x86's exits.
 *
 * With a local APIC in the kernel only edges come here (NMI, SMI, and INIT as a reset line); split,
 * also the interrupts of an 8259. Without one everything does: the vCPU waits here when it has
 * halted or has not been started, and TPR, the base of the APIC and its x2APIC registers are the
 * machine's, which is asked under its lock.
 *
 * An interrupt is handed over when the guest can take it (ready_for_interrupt_injection), which
 * kvm_run says after each exit; it says nothing about registers that were stored since. Then, and
 * whenever one waits, the kernel is asked to leave as soon as the guest can take one.
 */
#include "accel/kvm/x86.h"

#include "target/x86/arch.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>

#define LINE(name) (UINT64_C(1) << X86_LINE_##name)

static void lock(const struct x86_interrupts *i)
{
    if (i->lock) {
        i->lock();
    }
}

static void unlock(const struct x86_interrupts *i)
{
    if (i->unlock) {
        i->unlock();
    }
}

/* ---- before -----------------------------------------------------------------------------------
 */

/* INIT and SIPI change registers, so they need the whole state. */
static void change_state(struct kvm_cpu *k, void (*change)(struct x86_cpu *cpu))
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);

    if (kvm_registers_fetch(k->cpu) == 0) {
        change(cpu);
        kvm_registers_changed(k->cpu);
    }
}

static void init(struct x86_cpu *cpu)
{
    x86_init(cpu);
}

static void start(struct x86_cpu *cpu)
{
    x86_sipi(cpu, (uint8_t)atomic_load(&cpu->sipi_vector));
}

static void take_edges(struct kvm_cpu *k, uint64_t edges)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    bool waits;

    if (edges & LINE(INIT)) {
        change_state(k, init);
    }
    waits = cpu->activity == X86_WAIT_FOR_SIPI || cpu->activity == X86_INIT_RECEIVED;
    if (edges & LINE(SIPI) && waits && !kvm_x86_apic_in_kernel()) {
        change_state(k, start);
        waits = cpu->activity != X86_RUNNABLE;
    }
    if (edges & LINE(NMI) && !waits) {
        (void)kvm_vcpu_ioctl(k, KVM_NMI, NULL);
    }
    if (edges & LINE(SMI) && !waits) {
        if (!kvm_x86.smm || kvm_vcpu_ioctl(k, KVM_SMI, NULL) < 0) {
            log_limited(LOG_UNIMP, "KVM: the host has no system management mode: SMI is dropped\n");
        }
    }
    if (edges & (LINE(NMI) | LINE(SMI)) && cpu->activity == X86_HALTED) {
        cpu->activity = X86_RUNNABLE;
    }
}

/* The machine's TPR and base, as instructions find them. */
static void load_mirrors(struct kvm_cpu *k)
{
    const struct x86_interrupts *i = &x86_cpu(k->cpu)->interrupts;

    lock(i);
    if (i->tpr) {
        k->run->cr8 = i->tpr(i->opaque);
    }
    if (i->base) {
        k->run->apic_base = i->base(i->opaque);
    }
    unlock(i);
}

static void inject(struct kvm_cpu *k)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    const struct x86_interrupts *i = &cpu->interrupts;
    struct kvm_run *run = k->run;

    if (cpu_irq_levels(&cpu->wiring.lines) & LINE(INTR) && i->acknowledge &&
        kvm_x86_cpu(k)->is_mirrored && run->ready_for_interrupt_injection && run->if_flag) {
        struct kvm_interrupt interrupt;
        int vector;

        lock(i);
        vector = i->acknowledge(i->opaque);
        unlock(i);
        if (vector >= 0) {
            interrupt.irq = (uint32_t)vector;
            if (kvm_vcpu_ioctl(k, KVM_INTERRUPT, &interrupt) < 0) {
                log_limited(LOG_INT, "KVM: interrupt %#x is refused\n", (unsigned)vector);
            }
            run->ready_for_interrupt_injection = 0;
        }
    }
    run->request_interrupt_window = !!(cpu_irq_levels(&cpu->wiring.lines) & LINE(INTR));
}

static bool is_waiting(struct kvm_cpu *k)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);

    if (cpu->activity == X86_HALTED && cpu->rflags & X86_FLAG_IF &&
        cpu_irq_levels(&cpu->wiring.lines) & LINE(INTR)) {
        cpu->activity = X86_RUNNABLE;
    }
    return cpu->activity != X86_RUNNABLE;
}

bool kvm_arch_before_run(struct kvm_cpu *k)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    uint64_t up = cpu_irq_levels(&cpu->wiring.lines);

    if (__builtin_expect(kvm_x86_is_debugged(k), false) && !kvm_x86_debug_before_run(k)) {
        __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST); /* to stand */
        return true;
    }
    if (__builtin_expect(up & ~LINE(INTR), 0)) {
        if (k->answered) {
            /* finish that first; the lines are looked at again */
            __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
            return true;
        }
        take_edges(k, x86_take_edges(cpu));
        if (k->changed && kvm_arch_store(k) == 0) {
            k->changed = false;
        }
    }
    if (!kvm_x86_apic_in_kernel()) {
        if (is_waiting(k)) {
            return false;
        }
        load_mirrors(k);
    }
    if (kvm.irqchip_mode != KVM_IRQCHIP_ON) {
        inject(k);
    }
    kvm_x86_cpu(k)->is_known = false;
    return true;
}

/* ---- after ------------------------------------------------------------------------------------
 */

static void store_mirrors(struct kvm_cpu *k)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    const struct x86_interrupts *i = &cpu->interrupts;

    lock(i);
    if (i->tpr && i->set_tpr && i->tpr(i->opaque) != k->run->cr8) {
        i->set_tpr(i->opaque, (uint8_t)k->run->cr8);
    }
    if (i->base && i->set_base && i->base(i->opaque) != k->run->apic_base &&
        i->set_base(i->opaque, k->run->apic_base) < 0) {
        log_limited(LOG_GUEST_ERRORS, "IA32_APIC_BASE: %#llx is refused\n",
                    (unsigned long long)k->run->apic_base);
    }
    unlock(i);
}

void kvm_arch_after_run(struct kvm_cpu *k)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);

    kvm_x86_cpu(k)->is_mirrored = true;
    cpu->rflags =
        k->run->if_flag ? cpu->rflags | X86_FLAG_IF : cpu->rflags & ~(uint64_t)X86_FLAG_IF;
    if (!kvm_x86_apic_in_kernel()) {
        if (k->run->exit_reason == KVM_EXIT_HLT) {
            cpu->activity = X86_HALTED;
        }
        store_mirrors(k);
    }
}

/* ---- exits ------------------------------------------------------------------------------------
 */

/* Registers of an x2APIC are the machine's; all others that come here do not exist. */
static enum kvm_outcome access_msr(struct kvm_cpu *k, bool write)
{
    const struct x86_interrupts *i = &x86_cpu(k->cpu)->interrupts;
    uint32_t number = k->run->msr.index;
    uint64_t value = k->run->msr.data;
    int err = -EINVAL;

    if (number >= 0x800 && number <= 0x8ff && !kvm_x86_apic_in_kernel()) {
        lock(i);
        if (write && i->write_msr) {
            err = i->write_msr(i->opaque, number, value);
        } else if (!write && i->read_msr) {
            err = i->read_msr(i->opaque, number, &value);
            k->run->msr.data = value;
        }
        unlock(i);
    } else {
        log_limited(LOG_GUEST_ERRORS, "MSR %#x is %s (%#llx): #GP\n", number,
                    write ? "written" : "read", (unsigned long long)value);
    }
    k->run->msr.error = err < 0;
    k->answered = true;
    return KVM_GO_ON;
}

static enum kvm_outcome hypercall(struct kvm_cpu *k)
{
    const uint64_t not_there = (uint64_t)-1000; /* -KVM_ENOSYS */

    k->run->hypercall.ret = not_there;
    k->answered = true;
    return KVM_GO_ON;
}

enum kvm_outcome kvm_arch_handle_exit(struct kvm_cpu *k)
{
    switch (k->run->exit_reason) {
    case KVM_EXIT_X86_RDMSR:
        return access_msr(k, false);
    case KVM_EXIT_X86_WRMSR:
        return access_msr(k, true);
    case KVM_EXIT_DEBUG:
        return kvm_x86_handle_debug(k);
    case KVM_EXIT_HYPERCALL:
        return hypercall(k);
    case KVM_EXIT_TPR_ACCESS:   /* a hint for patching guests, which is not made use of */
    case KVM_EXIT_X86_BUS_LOCK: /* counted by whoever asked for it */
        return KVM_GO_ON;
    case KVM_EXIT_NOTIFY:
        return k->run->notify.flags & KVM_NOTIFY_CONTEXT_INVALID ? KVM_UNHANDLED : KVM_GO_ON;
    default:
        return KVM_UNHANDLED;
    }
}
