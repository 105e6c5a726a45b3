/*
 * x86 VMs and vCPUs: what the kernel is to be told before they run.
 *
 * What guests may be shown by CPUID is the kernel's list (KVM_GET_SUPPORTED_CPUID), corrected where
 * it depends on what user space sets up: the kernel cannot know whether there will be a local APIC
 * in it. Facts that no kernel virtualises, the brand string and the caches, come from the host's
 * own CPUID instruction. The list is made when the first vCPU is there, which is before the first
 * model is chosen; the model's leaves go to the kernel before the vCPU's first registers.
 */
#include "accel/kvm/x86.h"

#include "util/bits.h"
#include "util/error.h"
#include "util/log.h"

#include <asm/kvm_para.h>
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct kvm_x86 kvm_x86;

const struct kvm_need kvm_arch_needs[] = {
    {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
    {KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_USER_NMI, "KVM_CAP_USER_NMI"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
    {0, NULL},
};

/* ---- the VM ---------------------------------------------------------------------------------- */

static int enable(unsigned capability, uint64_t argument)
{
    struct kvm_enable_cap cap = {.cap = capability, .args = {argument}};

    return kvm_vm_ioctl(KVM_ENABLE_CAP, &cap);
}

/* Enables what may be absent; false: it is. */
static bool try_enable(unsigned capability, uint64_t argument)
{
    return kvm_check_extension(capability) && enable(capability, argument) >= 0;
}

/* Pages that processors without unrestricted guests need for real mode. */
static int set_pages(void)
{
    uint64_t identity = X86_ACCEL_PAGES;
    int err = kvm_vm_ioctl(KVM_SET_IDENTITY_MAP_ADDR, &identity);

    return err < 0 ? err
                   : kvm_vm_ioctl(KVM_SET_TSS_ADDR, KVM_NUMBER(X86_ACCEL_PAGES + MEM_PAGE_SIZE));
}

/*
 * The state of AMX tiles is so large that a process must ask before its guests may have it. "No"
 * only means that the kernel does not list it then.
 */
static void ask_for_tiles(void)
{
    enum { ARCH_REQ_XCOMP_GUEST_PERM = 0x1025, XTILEDATA = 18 };

    (void)syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_GUEST_PERM, XTILEDATA);
}

int kvm_arch_init_vm(char *error, size_t error_size)
{
    int size, err = set_pages();

    kvm_x86 = (struct kvm_x86){0};
    if (err < 0) {
        snprintf(error, error_size, "-accel kvm: KVM_SET_TSS_ADDR: %s", strerror(-err));
        return err;
    }
    size = kvm_check_extension(KVM_CAP_MAX_VCPU_ID);
    if (size && kvm.max_cpus > (unsigned)size) {
        snprintf(error, error_size, "-smp %u: APIC ids of KVM on this host end at %d", kvm.max_cpus,
                 size - 1);
        return -ERANGE;
    }
    ask_for_tiles();
    kvm_x86.sregs2 = kvm_check_extension(KVM_CAP_SREGS2);
    kvm_x86.xcrs = kvm_check_extension(KVM_CAP_XCRS);
    kvm_x86.smm = kvm_check_extension(KVM_CAP_X86_SMM);
    kvm_x86.payload = try_enable(KVM_CAP_EXCEPTION_PAYLOAD, 1);
    kvm_x86.triple_fault = try_enable(KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1);
    size = kvm_check_extension(KVM_CAP_XSAVE2);
    kvm_x86.xsave_size =
        size > (int)sizeof(struct kvm_xsave) ? (size_t)size : sizeof(struct kvm_xsave);
    if (kvm_x86.xsave_size > X86_XSAVE_SIZE) {
        snprintf(error, error_size,
                 "-accel kvm: the host's processor has %zu bytes of extended state, %d are known",
                 kvm_x86.xsave_size, X86_XSAVE_SIZE);
        return -E2BIG;
    }
    if (kvm_x86_apic_in_kernel()) {
        /* APIC ids above 255, and no broadcast by 255 */
        try_enable(KVM_CAP_X2APIC_API,
                   KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
    }
    /* Registers of an x2APIC that the machine models are none of the kernel's; and whoever looks
     * for a guest's errors wants to see accesses to others that are not there. */
    if (!kvm_x86_apic_in_kernel() || log_enabled(LOG_GUEST_ERRORS)) {
        kvm_x86.msr_exits = try_enable(KVM_CAP_X86_USER_SPACE_MSR,
                                       KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN);
    }
    kvm_x86.mce_banks = (unsigned)kvm_check_extension(KVM_CAP_MCE);
    err = kvm_x86_init_msrs();
    if (err < 0) {
        snprintf(error, error_size, "-accel kvm: KVM_GET_MSR_INDEX_LIST: %s", strerror(-err));
    }
    return err;
}

/* ---- what CPUID may show --------------------------------------------------------------------- */

static struct x86_supported supported;

static struct x86_leaf *leaf_of(uint32_t leaf, uint32_t subleaf)
{
    for (unsigned n = 0; n < supported.count; n++) {
        struct x86_leaf *l = &supported.leaf[n];
        if (l->leaf == leaf && (!l->has_subleaf || l->subleaf == subleaf)) {
            return l;
        }
    }
    return NULL;
}

static struct x86_leaf *add_leaf(uint32_t leaf, uint32_t subleaf, bool has_subleaf)
{
    struct x86_leaf *l = leaf_of(leaf, subleaf);

    if (!l && supported.count < X86_LEAVES_MAX) {
        l = &supported.leaf[supported.count++];
        *l = (struct x86_leaf){.leaf = leaf, .subleaf = subleaf, .has_subleaf = has_subleaf};
    }
    return l;
}

/* Lists that are as long as the kernel says: E2BIG until they fit. */
static struct kvm_cpuid2 *get_list(void)
{
    for (unsigned room = 64; room <= 1024; room *= 2) {
        struct kvm_cpuid2 *list = calloc(1, sizeof(*list) + room * sizeof(struct kvm_cpuid_entry2));
        int err;

        if (!list) {
            return NULL;
        }
        list->nent = room;
        err = kvm_dev_ioctl(KVM_GET_SUPPORTED_CPUID, list);
        if (err >= 0) {
            return list;
        }
        free(list);
        if (err != -E2BIG) {
            return NULL;
        }
    }
    return NULL;
}

/* Only leaves with something in them are kept. */
static int take_list(void)
{
    struct kvm_cpuid2 *list = get_list();

    if (!list) {
        return -EIO;
    }
    for (uint32_t n = 0; n < list->nent; n++) {
        const struct kvm_cpuid_entry2 *e = &list->entries[n];
        struct x86_leaf *l;

        if (!(e->eax | e->ebx | e->ecx | e->edx)) {
            continue;
        }
        l = add_leaf(e->function, e->index, e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
        if (l) {
            l->eax = e->eax;
            l->ebx = e->ebx;
            l->ecx = e->ecx;
            l->edx = e->edx;
        }
    }
    free(list);
    return 0;
}

/* Facts of the host that the kernel leaves out. */
static void take_native(uint32_t leaf, uint32_t subleaf, bool has_subleaf)
{
    uint32_t eax, ebx, ecx, edx;
    struct x86_leaf *l;

    if (leaf_of(leaf, subleaf) || !__get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx) ||
        !(eax | ebx | ecx | edx)) {
        return;
    }
    l = add_leaf(leaf, subleaf, has_subleaf);
    if (l) {
        l->eax = eax;
        l->ebx = ebx;
        l->ecx = ecx;
        l->edx = edx;
    }
}

static void change_bits(uint32_t *word, uint32_t mask, bool on)
{
    *word = on ? *word | mask : *word & ~mask;
}

static void take_capabilities(void)
{
    static const uint32_t numbers[X86_CAPABILITY_MSRS] = {0x10a, 0xcf, 0x345};
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } get;

    for (unsigned n = 0; n < X86_CAPABILITY_MSRS && numbers[n]; n++) {
        memset(&get, 0, sizeof(get));
        get.head.nmsrs = 1;
        get.entry.index = numbers[n];
        if (kvm_dev_ioctl(KVM_GET_MSRS, &get) == 1) {
            supported.msr[supported.msr_count].number = numbers[n];
            supported.msr[supported.msr_count++].value = get.entry.data;
        }
    }
}

/* Which bits depend on what user space does. */
static void correct(void)
{
    struct x86_leaf *l = leaf_of(1, 0);
    bool apic = kvm_x86_apic_in_kernel();

    if (l) {
        change_bits(&l->ecx, 1u << 31, true); /* it is a guest */
        change_bits(&l->ecx, 1u << 24, apic && kvm_check_extension(KVM_CAP_TSC_DEADLINE_TIMER));
        change_bits(&l->ecx, 1u << 21, apic || kvm_x86.msr_exits); /* x2APIC */
    }
    l = add_leaf(6, 0, false);
    if (l) {
        change_bits(&l->eax, 1u << 2, true); /* the APIC's timer does not stop */
    }
    l = leaf_of(7, 0);
    if (l) {
        bool listed = false;

        for (unsigned n = 0; n < supported.msr_count; n++) {
            listed |= supported.msr[n].number == 0x10a;
        }
        change_bits(&l->edx, listed ? 0 : 1u << 29, false); /* IA32_ARCH_CAPABILITIES */
    }
    l = leaf_of(KVM_CPUID_FEATURES, 0);
    if (l) {
        if (!apic) {
            change_bits(&l->eax,
                        1u << KVM_FEATURE_PV_EOI | 1u << KVM_FEATURE_PV_UNHALT |
                            1u << KVM_FEATURE_PV_SEND_IPI | 1u << KVM_FEATURE_ASYNC_PF_INT,
                        false);
        }
        change_bits(&l->edx, 1u << KVM_HINTS_REALTIME, true);
        supported.signature = "KVMKVMKVM\0\0";
    }
}

static int init_supported(struct kvm_cpu *cpu)
{
    const struct x86_leaf *l;
    int khz, err;

    if (kvm_x86.supported) {
        return 0;
    }
    supported = (struct x86_supported){0};
    err = take_list();
    if (err) {
        return err;
    }
    for (uint32_t leaf = 0x80000002; leaf <= 0x80000006; leaf++) {
        take_native(leaf, 0, false);
    }
    take_native(2, 0, false);
    for (uint32_t subleaf = 0; subleaf < 5; subleaf++) {
        take_native(4, subleaf, true);
    }
    take_capabilities();
    correct();
    l = leaf_of(0xd, 0);
    supported.xcr0 = l ? l->eax | (uint64_t)l->edx << 32 : 0;
    l = leaf_of(0xd, 1);
    supported.xss = l ? l->ecx | (uint64_t)l->edx << 32 : 0;
    khz = kvm_check_extension(KVM_CAP_GET_TSC_KHZ) ? kvm_vcpu_ioctl(cpu, KVM_GET_TSC_KHZ, NULL) : 0;
    supported.tsc_hz = khz > 0 ? (uint64_t)khz * 1000 : 0;
    supported.apic_hz = kvm_x86_apic_in_kernel() ? 1000000000 : 0;
    x86_model_set_supported(&supported);
    kvm_x86.supported = true;
    return 0;
}

/* ---- vCPUs ----------------------------------------------------------------------------------- */

int kvm_arch_init_cpu(struct kvm_cpu *cpu)
{
    struct kvm_x86_cpu *x86 = calloc(1, sizeof(*x86));
    int err;

    if (!x86) {
        return -ENOMEM;
    }
    cpu->arch = x86;
    x86->msrs = calloc(1, sizeof(struct kvm_msrs) + X86_MSR_COUNT * sizeof(struct kvm_msr_entry));
    x86->known.xsave = aligned_alloc(64, (kvm_x86.xsave_size + 63) & ~(size_t)63);
    x86->wanted.xsave = aligned_alloc(64, (kvm_x86.xsave_size + 63) & ~(size_t)63);
    err = x86->msrs && x86->known.xsave && x86->wanted.xsave ? init_supported(cpu) : -ENOMEM;
    err = err ? err : kvm_x86_init_debug(cpu);
    if (err) {
        kvm_arch_exit_cpu(cpu);
    }
    return err;
}

void kvm_arch_exit_cpu(struct kvm_cpu *cpu)
{
    struct kvm_x86_cpu *x86 = kvm_x86_cpu(cpu);

    if (x86) {
        kvm_x86_free_debug(cpu);
        free(x86->known.xsave);
        free(x86->wanted.xsave);
        free(x86->msrs);
        free(x86);
        cpu->arch = NULL;
    }
}

static int set_cpuid(struct kvm_cpu *cpu)
{
    struct x86_leaf leaves[X86_LEAVES_MAX];
    unsigned count = x86_model_leaves(&x86_cpu(cpu->cpu)->model, leaves);
    struct kvm_cpuid2 *list = calloc(1, sizeof(*list) + count * sizeof(struct kvm_cpuid_entry2));
    int err;

    if (!list) {
        return -ENOMEM;
    }
    list->nent = count;
    for (unsigned n = 0; n < count; n++) {
        const struct x86_leaf *l = &leaves[n];

        list->entries[n] = (struct kvm_cpuid_entry2){
            .function = l->leaf,
            .index = l->subleaf,
            .flags = l->has_subleaf ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
            .eax = l->eax,
            .ebx = l->ebx,
            .ecx = l->ecx,
            .edx = l->edx,
        };
    }
    err = kvm_vcpu_ioctl(cpu, KVM_SET_CPUID2, list);
    free(list);
    return err;
}

static void set_tsc_frequency(struct kvm_cpu *cpu)
{
    uint64_t khz = x86_cpu(cpu->cpu)->model.tsc_hz / 1000;

    if (khz && khz != supported.tsc_hz / 1000 &&
        kvm_vcpu_ioctl(cpu, KVM_SET_TSC_KHZ, KVM_NUMBER(khz)) < 0 && cpu->cpu->index == 0) {
        error_warn("-cpu tsc-frequency=%llu: the host's processor cannot scale: the counter runs "
                   "with %llu Hz",
                   (unsigned long long)khz * 1000, (unsigned long long)supported.tsc_hz);
    }
}

/* Banks of machine checks, as many as are kept (msrs.def). */
static void set_up_mce(struct kvm_cpu *cpu)
{
    const unsigned kept = (X86_MSR_mc9_misc - X86_MSR_mc0_ctl + 1) / 4;
    uint64_t ctl_present = UINT64_C(1) << 8, capability;

    if (!x86_model_has(&x86_cpu(cpu->cpu)->model, "mca")) {
        return;
    }
    capability = (kvm_x86.mce_banks < kept ? kvm_x86.mce_banks : kept) | ctl_present;
    if (kvm_x86.mce_banks && kvm_vcpu_ioctl(cpu, KVM_X86_SETUP_MCE, &capability) < 0 &&
        cpu->cpu->index == 0) {
        error_warn("-accel kvm: machine checks cannot be set up");
    }
}

int kvm_x86_set_up(struct kvm_cpu *cpu)
{
    struct kvm_x86_cpu *x86 = kvm_x86_cpu(cpu);
    int err;

    if (x86->set_up) {
        return 0;
    }
    err = set_cpuid(cpu);
    if (err < 0) {
        return err;
    }
    set_tsc_frequency(cpu);
    set_up_mce(cpu);
    x86->set_up = true;
    return 0;
}
