/*
 * Local APICs against the kernel's: random messages of devices to processors whose APICs have
 * random ids and modes, sent to both; afterwards requests and trigger modes are the same. The
 * processors do not run. Interrupts of lowest priority are left out: who gets one is for an
 * implementation to say.
 */
#include "tests/unit/apic-bench.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { API_VERSION = 12, LEAVES = 256 };

static int vm, vcpu[CPUS];
static uint32_t seed = 1;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(seed ^ seed >> 15) * n >> 32);
}

/* x2APIC mode is only for processors that have it. */
static bool set_cpuid(int kvm)
{
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + LEAVES * sizeof(cpuid->entries[0]));
    bool ok;

    cpuid->nent = LEAVES;
    ok = ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) == 0;
    for (unsigned i = 0; ok && i < cpuid->nent; i++) {
        if (cpuid->entries[i].function == 1) {
            cpuid->entries[i].ecx |= 1u << 21;
        }
    }
    for (unsigned n = 0; ok && n < CPUS; n++) {
        ok = ioctl(vcpu[n], KVM_SET_CPUID2, cpuid) == 0;
    }
    free(cpuid);
    return ok;
}

/* What keeps this from being done here; NULL: nothing. */
static const char *start(void)
{
    struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
    struct kvm_enable_cap ids = {.cap = KVM_CAP_X2APIC_API, .args = {KVM_X2APIC_API_USE_32BIT_IDS}};
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (kvm < 0 || ioctl(kvm, KVM_GET_API_VERSION, 0) != API_VERSION) {
        return "no usable /dev/kvm";
    }
    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0 || ioctl(vm, KVM_ENABLE_CAP, &split) || ioctl(vm, KVM_ENABLE_CAP, &ids)) {
        return "KVM has no local APICs in the kernel alone";
    }
    for (unsigned n = 0; n < CPUS; n++) {
        vcpu[n] = ioctl(vm, KVM_CREATE_VCPU, n);
        if (vcpu[n] < 0) {
            return "KVM makes no vCPU";
        }
    }
    return set_cpuid(kvm) ? NULL : "KVM takes no CPUID";
}

/* The same state to both. */
static bool set_up(unsigned n, uint64_t mode, bool flat)
{
    struct kvm_lapic_state page;
    struct kvm_sregs sregs;
    struct apic *apic = cpu[n].apic;
    uint64_t base = APIC_BASE | mode | (n ? 0 : APIC_BASE_BSP);

    if (ioctl(vcpu[n], KVM_GET_SREGS, &sregs)) {
        return false;
    }
    sregs.apic_base = base;
    hw_reset_device(&apic->device, true);
    apic_set_base(apic, base);
    current = apic;
    if (mode == APIC_BASE_ENABLE) {
        set(SVR, random_below(8) ? 0x1ff : 0xff);
        set(LDR, (random_below(4) ? UINT32_C(1) << random_below(8) : random_below(256)) << 24);
        set(DFR, flat ? UINT32_MAX : 0);
    } else {
        apic_msr_write(apic, 0x80f, random_below(8) ? 0x1ff : 0xff);
    }
    apic_get_page(apic, (uint8_t *)page.regs);
    return !ioctl(vcpu[n], KVM_SET_SREGS, &sregs) && !ioctl(vcpu[n], KVM_SET_LAPIC, &page);
}

static void send(uint64_t address, uint32_t data)
{
    struct kvm_msi msi = {.address_lo = (uint32_t)address, .data = data};

    ioctl(vm, KVM_SIGNAL_MSI, &msi);
    apic_bus_send_msi(&bus, &(struct cpu_msi){.address = address, .data = data});
}

static bool same(unsigned n)
{
    struct kvm_lapic_state page;
    uint8_t ours[APIC_PAGE_SIZE];

    if (ioctl(vcpu[n], KVM_GET_LAPIC, &page)) {
        return false;
    }
    apic_get_page(cpu[n].apic, ours);
    for (unsigned reg = 0; reg < APIC_PAGE_SIZE; reg += 16) {
        bool counted = reg == ID || reg == TPR || reg == LDR || (reg >= SVR && reg < ESR);

        if (counted && memcmp(ours + reg, page.regs + reg, 4) != 0) {
            tap_note("processor %u, register %#x: %02x%02x%02x%02x, KVM has %02x%02x%02x%02x", n,
                     reg, ours[reg + 3], ours[reg + 2], ours[reg + 1], ours[reg],
                     (uint8_t)page.regs[reg + 3], (uint8_t)page.regs[reg + 2],
                     (uint8_t)page.regs[reg + 1], (uint8_t)page.regs[reg]);
            return false;
        }
    }
    return true;
}

static void check_messages(const char *what, uint64_t mode, bool flat)
{
    unsigned good = 0;

    for (unsigned round = 0; round < 100; round++) {
        bool ok = true;

        for (unsigned n = 0; n < CPUS; n++) {
            ok = ok && set_up(n, mode, flat);
        }
        for (unsigned i = 0; i < 20; i++) {
            uint32_t to = random_below(3)   ? random_below(8)
                          : random_below(3) ? random_below(256)
                                            : 255;
            uint32_t level = random_below(3) ? 0 : 0xc000;

            send(APIC_BASE | to << 12 | random_below(2) << 2, (16 + random_below(240)) | level);
        }
        for (unsigned n = 0; n < CPUS; n++) {
            ok = ok && same(n);
        }
        good += ok;
    }
    tap_eq(good, 100, what);
}

int main(void)
{
    const char *missing = start();

    if (missing) {
        tap_skip("local APICs as KVM has them", missing);
        return tap_done();
    }
    apic_bench_start();
    check_messages("flat logical ids", APIC_BASE_ENABLE, true);
    check_messages("clusters", APIC_BASE_ENABLE, false);
    check_messages("x2APIC mode", APIC_BASE_ENABLE | APIC_BASE_X2APIC, true);
    return apic_bench_end();
}
