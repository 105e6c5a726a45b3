/*
 * CPUID in the guest, in ring 0 and ring 3, against x86_model_cpuid(). The kernel may change leaves
 * that it is given, by what the processor does whatever CPUID says; what it then has itself
 * (KVM_GET_CPUID2) counts for these.
 */
#include "tests/unit/kvm-x86.h"

#include <cpuid.h>

/* Of each pair (leaf, subleaf) at 0x40000, until a leaf of all ones: four results behind it. */
BENCH_GUEST(guest_cpuid, 64,
            "mov $0x40000, %esi\n"
            "1: mov (%rsi), %eax\n cmp $-1, %eax\n je 2f\n mov 4(%rsi), %ecx\n cpuid\n"
            "mov %eax, 8(%rsi)\n mov %ebx, 12(%rsi)\n mov %ecx, 16(%rsi)\n mov %edx, 20(%rsi)\n"
            "add $24, %esi\n jmp 1b\n"
            "2: out %al, $0x80\n");

enum { TABLE_AT = 0x40000, ENTRY = 24, ENTRIES_MAX = 512 };

static unsigned put_questions(void)
{
    static const uint32_t ranges[][2] = {{0, 0x21},
                                         {0x40000000, 0x40000001},
                                         {0x40000010, 0x40000010},
                                         {0x80000000, 0x80000022},
                                         {0xc0000000, 0xc0000001},
                                         {0x7fffffff, 0x7fffffff}};
    unsigned count = 0;

    for (unsigned r = 0; r < sizeof(ranges) / sizeof(ranges[0]); r++) {
        for (uint32_t leaf = ranges[r][0]; leaf <= ranges[r][1]; leaf++) {
            unsigned subleaves = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd ||
                                         leaf == 0x14 || leaf == 0x8000001d
                                     ? 10
                                     : 1;

            for (uint32_t sub = 0; sub < subleaves; sub++) {
                uint32_t words[2] = {leaf, sub};
                memcpy(bench_at(TABLE_AT + count++ * ENTRY), words, 8);
            }
        }
    }
    memset(bench_at(TABLE_AT + count * ENTRY), 0xff, 4);
    return count;
}

static bool same(const struct x86_leaf *l, const uint32_t answer[4])
{
    return l->eax == answer[0] && l->ebx == answer[1] && l->ecx == answer[2] && l->edx == answer[3];
}

/* The kernel's own idea of a leaf. */
static struct x86_leaf kernel_leaf(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
    static struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entry[256];
    } list;
    struct x86_leaf l = {.leaf = leaf, .subleaf = subleaf};

    list.head.nent = 256;
    if (kvm_vcpu_ioctl(kvm_cpu(&cpu->common), KVM_GET_CPUID2, &list) < 0) {
        tap_ok(false, "KVM_GET_CPUID2");
    }
    for (unsigned n = 0; n < list.head.nent; n++) {
        const struct kvm_cpuid_entry2 *e = &list.entry[n];

        if (e->function == leaf &&
            (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf)) {
            l.eax = e->eax;
            l.ebx = e->ebx;
            l.ecx = e->ecx;
            l.edx = e->edx;
        }
    }
    return l;
}

/* The host's own answer, but for the number of whatever processor gave it. */
static bool is_native(const uint32_t entry[6])
{
    uint32_t eax, ebx, ecx, edx;

    __cpuid_count(entry[0], entry[1], eax, ebx, ecx, edx);
    return entry[2] == eax && (entry[3] & 0xffffff) == (ebx & 0xffffff) &&
           (entry[4] & ~(1u << 27)) == (ecx & ~(1u << 27));
}

static void compare(const char *model, unsigned ring, unsigned apic_id)
{
    struct x86_cpu *cpu = bench_cpu(model);
    unsigned count, right = 0, kernels = 0, natives = 0, wrong = 0;

    cpu->model.threads = 2;
    cpu->model.cores = 2;
    cpu->model.apic_id = apic_id;
    bench_long_mode(cpu, ring, true);
    BENCH_CODE(cpu, guest_cpuid);
    count = put_questions();
    bench_run(cpu);
    if (bench.event >= 0) {
        tap_ok(false, "%s: the guest asks", model);
        return;
    }
    for (unsigned n = 0; n < count; n++) {
        uint32_t entry[6];
        struct x86_leaf l;

        memcpy(entry, bench_at(TABLE_AT + n * ENTRY), ENTRY);
        l = x86_model_cpuid(&cpu->model, entry[0], entry[1]);
        if (same(&l, entry + 2)) {
            right++;
            continue;
        }
        l = kernel_leaf(cpu, entry[0], entry[1]);
        if (same(&l, entry + 2)) {
            kernels++;
            continue;
        }
        /* "the data for the highest basic information leaf is returned" */
        l = kernel_leaf(cpu, cpu->model.level, entry[1]);
        if (x86_model_cpuid(&cpu->model, entry[0], entry[1]).eax ==
                x86_model_cpuid(&cpu->model, cpu->model.level, entry[1]).eax &&
            same(&l, entry + 2)) {
            kernels++;
            continue;
        }
        if (ring == 3 && is_native(entry)) {
            natives++;
            continue;
        }
        tap_note("%#x.%u: %08x %08x %08x %08x", entry[0], entry[1], entry[2], entry[3], entry[4],
                 entry[5]);
        wrong++;
    }
    if (natives && !wrong) {
        tap_skip("CPUID in ring 3", "the host's /dev/kvm leaves it to the host CPU there");
        return;
    }
    tap_ok(wrong == 0 && right > count / 2,
           "%s, ring %u: of %u answers %u are the model's, %u the kernel's", model, ring, count,
           right, kernels);
}

int main(void)
{
    static const char *const models[] = {"host",
                                         "qemu64,check=off",
                                         "EPYC-Rome,check=off",
                                         "Skylake-Client,check=off,vendor=GenuineIntel",
                                         "pentium3,check=off",
                                         "host,kvm=off",
                                         "host,host-cache-info=on,+invtsc,check=off"};

    if (!bench_open("", "CPUID in the guest")) {
        return tap_done();
    }
    for (unsigned n = 0; n < sizeof(models) / sizeof(models[0]); n++) {
        compare(models[n], 0, bench.cpus);
    }
    compare("host", 3, bench.cpus);
    bench_close();
    return tap_done();
}
