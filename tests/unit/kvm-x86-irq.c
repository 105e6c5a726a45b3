/*
 * Interrupts that user space brings, without interrupt controllers in the kernel and with the local
 * APIC alone in it: when they are handed over, what halts and what wakes, INIT and SIPI, and the
 * registers that the machine's local APIC shares with the vCPU.
 */
#include "tests/unit/kvm-x86.h"

extern const uint8_t at_ready[], at_masked[], at_vector[], at_nmi[], at_ap[];
BENCH_GUEST(guest_irq, 64,
            ".globl at_ready, at_masked, at_vector, at_nmi, at_ap\n"
            "at_masked: out %al, $0x80\n nop\n out %al, $0x81\n sti\n nop\n out %al, $0x82\n"
            "cli\n hlt\n out %al, $0x83\n"
            "at_ready: sti\n hlt\n out %al, $0x84\n jmp at_ready\n"
            "at_vector: out %al, $0x85\n iretq\n"
            "at_nmi: out %al, $0x86\n iretq\n");
BENCH_GUEST(guest_cr8, 64,
            "mov $7, %eax\n mov %rax, %cr8\n out %al, $0x80\n"
            "mov %cr8, %rax\n out %al, $0x81\n");
BENCH_GUEST(guest_base, 64,
            "mov $0x1b, %ecx\n mov $0xfed00900, %eax\n xor %edx, %edx\n wrmsr\n"
            "out %al, $0x80\n");
extern const uint8_t at_gp[];
BENCH_GUEST(guest_x2apic, 64,
            "mov $0x802, %ecx\n rdmsr\n out %eax, $0x80\n"
            "mov $0x80b, %ecx\n mov $0x1234, %eax\n wrmsr\n out %al, $0x84\n"
            "mov $0x8ff, %ecx\n rdmsr\n out %al, $0x85\n"
            ".globl at_gp\n"
            "at_gp: out %al, $0x86\n");
BENCH_GUEST(guest_ap, 16, "mov %cs, %ax\n out %ax, $0x80\n hlt\n");

#define PC(label) BENCH_PC(guest_irq, label)

/* The machine's controllers. */
static struct {
    int vector; /* -1: none */
    unsigned taken, locked;
    uint8_t tpr;
    uint64_t base, msr_value;
    uint32_t msr;
    struct x86_cpu *cpu;
} chip;

static int acknowledge(void *opaque)
{
    int vector = chip.vector;

    tap_ok(chip.locked == 1, "the interrupt is taken under the machine lock");
    chip.taken++;
    chip.vector = -1;
    cpu_irq_set(&chip.cpu->wiring.lines, X86_LINE_INTR, false);
    return vector;
}

static uint8_t get_tpr(void *opaque)
{
    return chip.tpr;
}

static void set_tpr(void *opaque, uint8_t tpr)
{
    chip.tpr = tpr;
}

static uint64_t get_base(void *opaque)
{
    return chip.base;
}

static int set_base(void *opaque, uint64_t value)
{
    chip.base = value;
    return 0;
}

static int read_msr(void *opaque, uint32_t msr, uint64_t *value)
{
    *value = 0x4711;
    return msr == 0x802 ? 0 : -EINVAL;
}

static int write_msr(void *opaque, uint32_t msr, uint64_t value)
{
    chip.msr = msr;
    chip.msr_value = value;
    return 0;
}

static void lock(void)
{
    chip.locked++;
}

static void unlock(void)
{
    chip.locked--;
}

static void nothing(struct cpu *cpu)
{
}

static struct x86_cpu *vcpu(void)
{
    struct x86_cpu *cpu = bench_cpu("host");

    cpu->wiring.lines.wake = nothing; /* there is no thread */
    cpu->interrupts = (struct x86_interrupts){.acknowledge = acknowledge,
                                              .tpr = get_tpr,
                                              .set_tpr = set_tpr,
                                              .base = get_base,
                                              .set_base = set_base,
                                              .read_msr = read_msr,
                                              .write_msr = write_msr,
                                              .lock = lock,
                                              .unlock = unlock};
    memset(&chip, 0, sizeof(chip));
    chip.vector = -1;
    chip.base = 0xfee00900;
    chip.cpu = cpu;
    bench_long_mode(cpu, 0, true);
    bench_gate(2, PC(at_nmi), true);
    bench_gate(0x55, PC(at_vector), true);
    return cpu;
}

static void raise(struct x86_cpu *cpu, int vector)
{
    chip.vector = vector;
    cpu_irq_set(&cpu->wiring.lines, X86_LINE_INTR, true);
}

/* Runs to the access of a port, as a vCPU's thread does. */
static bool reaches(struct x86_cpu *cpu, unsigned port)
{
    enum kvm_outcome outcome = bench_run(cpu);

    while (outcome == KVM_HALTED && x86_system_ops.has_work(&cpu->common)) {
        outcome = bench_run(cpu);
    }
    if (outcome == KVM_GO_ON && bench.event < 0 && bench.access.port &&
        bench.access.address == port - 0x80) {
        return true;
    }
    tap_note("outcome %d, event %d, port %#llx", outcome, bench.event,
             (unsigned long long)bench.access.address + 0x80);
    return false;
}

static bool halts(struct x86_cpu *cpu)
{
    enum kvm_outcome outcome;

    do {
        outcome = bench_run(cpu);
    } while (outcome == KVM_HALTED && x86_system_ops.has_work(&cpu->common));
    return outcome == KVM_HALTED;
}

static void interrupts(bool apic_in_kernel)
{
    struct x86_cpu *cpu = vcpu();
    bool early;

    BENCH_CODE(cpu, guest_irq);
    if (apic_in_kernel) {
        /* as firmware does: LINT0 passes the interrupts of an 8259 on */
        memcpy(cpu->apic_page + 0x350, &(uint32_t){7u << 8}, 4);
        bench_changed(cpu);
    }
    tap_ok(reaches(cpu, 0x80), "a guest starts with interrupts off");
    raise(cpu, 0x55);
    tap_ok(reaches(cpu, 0x81) && !chip.taken, "and is left alone");
    /* at once, or, where ring 0 is emulated, when it is left for something else */
    early = reaches(cpu, 0x85);
    tap_ok((early || (bench.access.address == 2 && reaches(cpu, 0x85))) && chip.taken == 1,
           "until it switches them on");
    tap_ok(!early || reaches(cpu, 0x82), "and goes on afterwards");
    if (apic_in_kernel) {
        return; /* the kernel waits in hlt, which would need another thread */
    }
    tap_ok(halts(cpu), "it halts, with interrupts off");
    raise(cpu, 0x55);
    tap_ok(halts(cpu) && chip.taken == 1, "an interrupt does not wake it");
    cpu_irq_set(&cpu->wiring.lines, X86_LINE_NMI, true);
    tap_ok(x86_system_ops.has_work(&cpu->common), "an NMI does");
    tap_ok(reaches(cpu, 0x86), "and is delivered");
    tap_ok(reaches(cpu, 0x83), "it returns behind the halt");
    tap_ok(reaches(cpu, 0x85) && chip.taken == 2, "the interrupt is still there");
    chip.taken = 0;
    tap_ok(reaches(cpu, 0x84) && halts(cpu), "it halts, with interrupts on");
    raise(cpu, 0x55);
    tap_ok(x86_system_ops.has_work(&cpu->common), "an interrupt wakes it");
    tap_ok(reaches(cpu, 0x85) && chip.taken == 1, "and is delivered");
    tap_ok(reaches(cpu, 0x84), "it goes on behind the halt");
    cpu_irq_set(&cpu->wiring.lines, X86_LINE_INTR, true);
    chip.vector = -1;
    tap_ok(halts(cpu) && chip.taken == 2, "an interrupt that is gone again is none");
}

/* Registers that were stored since count, not those of the last exit. */
static void stored_flags(void)
{
    struct x86_cpu *cpu = vcpu();

    BENCH_CODE(cpu, guest_irq);
    cpu->rflags |= X86_FLAG_IF;
    tap_ok(reaches(cpu, 0x80), "a guest with interrupts on");
    bench_fetch(cpu);
    cpu->rflags &= ~(uint64_t)X86_FLAG_IF;
    bench_changed(cpu);
    raise(cpu, 0x55);
    tap_ok(reaches(cpu, 0x81) && !chip.taken, "gets none when a debugger has switched them off");
}

static void shared_registers(void)
{
    struct x86_cpu *cpu = vcpu();

    BENCH_CODE(cpu, guest_cr8);
    tap_ok(reaches(cpu, 0x80) && chip.tpr == 7, "CR8 that the guest writes is the machine's TPR");
    chip.tpr = 3;
    tap_ok(reaches(cpu, 0x81) && bench.access.value == 3, "TPR that the machine sets is its CR8");
    cpu = vcpu();
    BENCH_CODE(cpu, guest_base);
    tap_ok(reaches(cpu, 0x80) && chip.base == 0xfed00900,
           "the guest moves the machine's local APIC");
}

static void x2apic(void)
{
    struct x86_cpu *cpu = vcpu();

    if (!kvm_x86.msr_exits) {
        tap_skip("registers of an x2APIC", "the kernel behind /dev/kvm does not pass them on");
        return;
    }
    BENCH_CODE(cpu, guest_x2apic);
    bench_gate(13, BENCH_PC(guest_x2apic, at_gp), true);
    tap_ok(reaches(cpu, 0x80) && bench.access.value == 0x4711, "the machine answers x2APIC reads");
    tap_ok(reaches(cpu, 0x84) && chip.msr == 0x80b && chip.msr_value == 0x1234, "takes writes");
    tap_ok(reaches(cpu, 0x86), "and what it refuses is #GP");
}

static void starting(void)
{
    struct x86_cpu *cpu = vcpu();

    cpu->bootstrap = false;
    x86_system_ops.reset(&cpu->common, X86_RESET_VECTOR);
    bench_real_mode(cpu);
    BENCH_CODE(cpu, guest_ap);
    memcpy(bench_at(0x9000), guest_ap, BENCH_SIZE(guest_ap));
    tap_ok(halts(cpu), "an application processor waits");
    cpu_irq_set(&cpu->wiring.lines, X86_LINE_NMI, true);
    tap_ok(halts(cpu), "an NMI does not start it");
    cpu->sipi_vector = 9;
    cpu_irq_set(&cpu->wiring.lines, X86_LINE_SIPI, true);
    tap_ok(x86_system_ops.has_work(&cpu->common), "SIPI does");
    tap_ok(reaches(cpu, 0x80) && bench.access.value == 0x900, "at its vector");
    cpu_irq_set(&cpu->wiring.lines, X86_LINE_INIT, true);
    tap_ok(halts(cpu), "INIT makes it wait again");
    bench_fetch(cpu);
    tap_ok(cpu->activity == X86_WAIT_FOR_SIPI && cpu->rip == 0xfff0, "with its registers reset");
    cpu->sipi_vector = 9;
    cpu_irq_set(&cpu->wiring.lines, X86_LINE_INIT, true);
    cpu_irq_set(&cpu->wiring.lines, X86_LINE_SIPI, true);
    tap_ok(reaches(cpu, 0x80) && bench.access.value == 0x900, "both at once start it");
    cpu_irq_set(&cpu->wiring.lines, X86_LINE_SIPI, true);
    tap_ok(halts(cpu), "SIPI does not restart one that runs");
}

int main(void)
{
    if (!bench_open("kernel-irqchip=off", "interrupts without controllers in the kernel")) {
        return tap_done();
    }
    interrupts(false);
    stored_flags();
    shared_registers();
    x2apic();
    starting();
    bench_close();
    if (bench_open("kernel-irqchip=split", "interrupts with a local APIC in the kernel")) {
        interrupts(true);
        stored_flags();
        bench_close();
    }
    return tap_done();
}
