/*
 * Model-specific registers, between the kernel and struct x86_cpu.
 *
 * Which registers the kernel has is its list (KVM_GET_MSR_INDEX_LIST), and a few that it has but
 * does not list. Which of these a vCPU has, its model says. One ioctl takes many registers in
 * order, and ends before the first that the kernel refuses; that one is reported once, and left
 * alone from then on, and the rest is tried again.
 *
 * The time stamp counter goes on while it is looked at. It is written only when somebody has put
 * another value into the state than was fetched: at reset, and when a state is loaded. The kernel
 * keeps the counters of vCPUs together by noticing that they are set to about the same.
 */
#include "accel/kvm/x86.h"

#include "util/error.h"
#include "util/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Those that are not in the list of every kernel: memory types, banks of machine checks. */
static bool is_unlisted(uint32_t number)
{
    return (number >= 0x200 && number <= 0x20f) || number == 0x250 || number == 0x258 ||
           number == 0x259 || (number >= 0x268 && number <= 0x26f) || number == 0x2ff ||
           (number >= 0x400 && number < 0x400 + 4 * kvm_x86.mce_banks);
}

static struct kvm_msr_list *get_list(void)
{
    for (uint32_t room = 256; room <= 4096; room *= 2) {
        struct kvm_msr_list *list = calloc(1, sizeof(*list) + room * sizeof(uint32_t));
        int err;

        if (!list) {
            return NULL;
        }
        list->nmsrs = room;
        err = kvm_dev_ioctl(KVM_GET_MSR_INDEX_LIST, list);
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

int kvm_x86_init_msrs(void)
{
    struct kvm_msr_list *list = get_list();

    if (!list) {
        return -EIO;
    }
    for (unsigned n = 0; n < X86_MSR_COUNT; n++) {
        kvm_x86.msr_listed[n] = is_unlisted(x86_msr_number((enum x86_msr)n));
    }
    for (uint32_t n = 0; n < list->nmsrs; n++) {
        enum x86_msr msr = x86_msr_find(list->indices[n]);

        if (msr != X86_MSR_COUNT) {
            kvm_x86.msr_listed[msr] = true;
        }
    }
    free(list);
    return 0;
}

static void refuse(struct kvm_cpu *k, enum x86_msr msr, const char *what, uint64_t value)
{
    static _Atomic bool told[X86_MSR_COUNT]; /* by whatever vCPU; twice at worst */

    x86_cpu(k->cpu)->msr_absent[msr] = true;
    if (!told[msr]) {
        told[msr] = true;
        log_items_printf(LOG_UNIMP, "KVM: %s of MSR %#x (%s), %#llx, is refused\n", what,
                         x86_msr_number(msr), x86_msr_name(msr), (unsigned long long)value);
    }
}

static bool has(struct kvm_cpu *k, enum x86_msr msr)
{
    return kvm_x86.msr_listed[msr] && x86_msr_present(x86_cpu(k->cpu), msr);
}

int kvm_x86_fetch_msrs(struct kvm_cpu *k)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    struct kvm_x86_cpu *x86 = kvm_x86_cpu(k);
    struct kvm_msrs *msrs = x86->msrs;
    uint16_t which[X86_MSR_COUNT];
    unsigned count = 0, done = 0;

    for (unsigned n = 0; n < X86_MSR_COUNT; n++) {
        cpu->msr_absent[n] = cpu->msr_absent[n] || !has(k, (enum x86_msr)n);
        if (!cpu->msr_absent[n]) {
            which[count++] = (uint16_t)n;
        }
    }
    while (done < count) {
        int got;

        msrs->nmsrs = count - done;
        for (unsigned n = done; n < count; n++) {
            msrs->entries[n - done] =
                (struct kvm_msr_entry){.index = x86_msr_number((enum x86_msr)which[n])};
        }
        got = kvm_vcpu_ioctl(k, KVM_GET_MSRS, msrs);
        if (got < 0) {
            return got;
        }
        for (unsigned n = 0; n < (unsigned)got; n++, done++) {
            cpu->msr[which[done]] = x86->known.msr[which[done]] = msrs->entries[n].data;
        }
        if (done < count) {
            refuse(k, (enum x86_msr)which[done++], "reading", 0);
        }
    }
    return 0;
}

static bool wants(struct kvm_cpu *k, unsigned msr, bool timer)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    struct kvm_x86_cpu *x86 = kvm_x86_cpu(k);

    return (msr == X86_MSR_tsc_deadline) == timer && !cpu->msr_absent[msr] &&
           has(k, (enum x86_msr)msr) && (!x86->is_known || cpu->msr[msr] != x86->known.msr[msr]);
}

int kvm_x86_store_msrs(struct kvm_cpu *k, bool timer)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    struct kvm_msrs *msrs = kvm_x86_cpu(k)->msrs;
    uint16_t which[X86_MSR_COUNT];
    unsigned count = 0, done = 0;

    for (unsigned n = 0; n < X86_MSR_COUNT; n++) {
        if (wants(k, n, timer)) {
            which[count++] = (uint16_t)n;
        }
    }
    while (done < count) {
        int got;

        msrs->nmsrs = count - done;
        for (unsigned n = done; n < count; n++) {
            msrs->entries[n - done] = (struct kvm_msr_entry){
                .index = x86_msr_number((enum x86_msr)which[n]), .data = cpu->msr[which[n]]};
        }
        got = kvm_vcpu_ioctl(k, KVM_SET_MSRS, msrs);
        if (got < 0) {
            return got;
        }
        done += (unsigned)got;
        if (done < count) {
            refuse(k, (enum x86_msr)which[done], "writing", cpu->msr[which[done]]);
            done++;
        }
    }
    return 0;
}
