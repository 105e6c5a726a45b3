/*
 * Which registers are given to the kernel, and when: refused ones are left out and the others
 * stored, time goes on while a vCPU is looked at, and what came in between is not put back.
 */
#include "tests/unit/kvm-x86.h"

#include "util/log.h"

#include <time.h>

BENCH_GUEST(guest_spin, 64, "1: out %al, $0x80\n jmp 1b");
BENCH_GUEST(
    guest_tsc, 64,
    "1: rdtsc\n shl $32, %rdx\n or %rdx, %rax\n mov %rax, 0x20000\n out %al, $0x80\n jmp 1b");

static struct x86_cpu *vcpu(void)
{
    struct x86_cpu *cpu = bench_cpu("host");

    bench_long_mode(cpu, 0, true);
    BENCH_CODE(cpu, guest_spin);
    bench_run(cpu);
    bench_fetch(cpu);
    return cpu;
}

static int store(struct x86_cpu *cpu)
{
    struct kvm_cpu *k = kvm_cpu(&cpu->common);
    int err = kvm_arch_store(k);

    k->changed = k->fetched = false;
    return err;
}

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000}, NULL);
}

/* The kernel's value, past everything of ours. */
static uint64_t kernel_msr(struct x86_cpu *cpu, uint32_t number)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } get = {.head = {.nmsrs = 1}, .entry = {.index = number}};

    if (kvm_vcpu_ioctl(kvm_cpu(&cpu->common), KVM_GET_MSRS, &get) != 1) {
        tap_ok(false, "MSR %#x is read", number);
    }
    return get.entry.data;
}

static void refusals(void)
{
    struct x86_cpu *cpu = vcpu();

    /* IA32_LSTAR comes behind IA32_STAR and before IA32_KERNEL_GS_BASE */
    cpu->msr[X86_MSR_star] = 0x0013000800000000;
    cpu->msr[X86_MSR_lstar] = 0x1234567812345678; /* not an address that there can be */
    cpu->msr[X86_MSR_kernel_gs_base] = 0x7000;
    tap_eq(store(cpu), 0, "a register with a value that it cannot have");
    tap_ok(cpu->msr_absent[X86_MSR_lstar], "is refused");
    tap_eq(kernel_msr(cpu, 0xc0000082), 0, "and stays");
    tap_eq(kernel_msr(cpu, 0xc0000081), 0x0013000800000000, "those before it are stored");
    tap_eq(kernel_msr(cpu, 0xc0000102), 0x7000, "and those behind it");
    bench_fetch(cpu);
    cpu->msr[X86_MSR_kernel_gs_base] = 0x8000;
    tap_eq(store(cpu), 0, "the next time goes by without it");
    tap_eq(kernel_msr(cpu, 0xc0000102), 0x8000, "and others are stored");
}

static void absences(void)
{
    struct x86_cpu *cpu = bench_cpu("qemu64,-sep,check=off");

    tap_eq(store(cpu), 0, "a model without some registers");
    bench_fetch(cpu);
    tap_ok(cpu->msr_absent[X86_MSR_sysenter_cs] && !cpu->msr_absent[X86_MSR_star],
           "has them absent");
    tap_ok(cpu->msr_absent[X86_MSR_smbase] == !kvm_x86.msr_listed[X86_MSR_smbase],
           "as those that the kernel has not");
}

static void time_goes_on(void)
{
    struct x86_cpu *cpu = vcpu();
    uint64_t before = cpu->msr[X86_MSR_tsc], hz, after;
    int khz = kvm_vcpu_ioctl(kvm_cpu(&cpu->common), KVM_GET_TSC_KHZ, NULL);

    if (khz <= 0) {
        tap_skip("the time stamp counter",
                 "the kernel behind /dev/kvm does not tell its frequency");
        return;
    }
    hz = (uint64_t)khz * 1000;
    pause_ms(50);
    cpu->gpr[X86_RBX] = 1234;
    tap_eq(store(cpu), 0, "another register is changed after a while");
    after = kernel_msr(cpu, 0x10);
    tap_ok(after - before > hz / 25 && after - before < hz * 10, "the counter went on: %llu ms",
           (unsigned long long)((after - before) * 1000 / hz));
    bench_fetch(cpu);
    tap_eq(cpu->gpr[X86_RBX], 1234, "with the register changed");
    cpu->msr[X86_MSR_tsc] = hz * 1000;
    tap_eq(store(cpu), 0, "a counter that is set");
    after = kernel_msr(cpu, 0x10);
    if (after < hz * 1000 || after > hz * 1010) {
        tap_skip("the counter goes on from there", "the host's /dev/kvm cannot set it");
        return;
    }
    BENCH_CODE(cpu, guest_tsc);
    bench_run(cpu);
    after = bench_load(0x20000);
    tap_ok(after >= hz * 1000 && after < hz * 1020, "goes on from there for the guest");
}

/* An interrupt that another vCPU or a device sends while this one is looked at. */
static void interrupts_stay(void)
{
    struct x86_cpu *cpu = vcpu();
    struct kvm_msi msi = {.address_lo = 0xfee00000 | cpu->model.apic_id << 12, .data = 0x61};
    struct kvm_lapic_state lapic;
    const unsigned irr = 0x200 + 0x61 / 32 * 16;
    uint32_t bits;

    cpu->apic_page[0xf1] |= 1; /* enabled */
    tap_eq(store(cpu), 0, "a local APIC is enabled");
    bench_fetch(cpu);
    tap_ok(kvm_vm_ioctl(KVM_SIGNAL_MSI, &msi) > 0,
           "an interrupt comes after registers were fetched");
    tap_ok(kvm_vcpu_ioctl(kvm_cpu(&cpu->common), KVM_NMI, NULL) >= 0, "and an NMI");
    cpu->gpr[X86_RCX] = 99;
    tap_eq(store(cpu), 0, "registers are stored");
    kvm_vcpu_ioctl(kvm_cpu(&cpu->common), KVM_GET_LAPIC, &lapic);
    memcpy(&bits, lapic.regs + irr, 4);
    tap_ok(bits >> (0x61 % 32) & 1, "the interrupt is still pending");
    bench_fetch(cpu);
    tap_ok(cpu->events.nmi_pending && cpu->gpr[X86_RCX] == 99, "and the NMI");
    cpu->cr8 = 9;
    tap_eq(store(cpu), 0, "CR8 is changed");
    bench_fetch(cpu);
    tap_ok(cpu->cr8 == 9 && cpu->apic_page[0x80] == 0x90, "it is the APIC's TPR");
    memcpy(&bits, cpu->apic_page + irr, 4);
    tap_ok(bits >> (0x61 % 32) & 1, "and the rest of the APIC stays");
}

static void reset(void)
{
    struct x86_cpu *cpu = vcpu();

    cpu->msr[X86_MSR_kernel_gs_base] = 0x1000;
    cpu->events.nmi_pending = cpu->events.nmi_masked = true;
    cpu->apic_page[0xf1] |= 1;
    tap_eq(store(cpu), 0, "a state");
    x86_system_ops.reset(&cpu->common, X86_RESET_VECTOR); /* without fetching it */
    tap_ok(kvm_cpu(&cpu->common)->changed, "a reset says that registers changed");
    tap_eq(store(cpu), 0, "and is stored");
    bench_fetch(cpu);
    tap_ok(cpu->msr[X86_MSR_kernel_gs_base] == 0 && !cpu->events.nmi_pending &&
               !cpu->events.nmi_masked && !(cpu->apic_page[0xf1] & 1) && cpu->rip == 0xfff0 &&
               cpu->efer == 0 && x86_mode(cpu) == X86_MODE_REAL,
           "nothing of the state is left");
}

int main(void)
{
    if (!bench_open("", "what is stored")) {
        return tap_done();
    }
    refusals();
    absences();
    time_goes_on();
    interrupts_stay();
    reset();
    bench_close();
    return tap_done();
}
