/*
 * Counts for -d stats: ours, and those that the kernel keeps of the VM and of its vCPUs (its
 * documentation virt/kvm/api.rst, KVM_GET_STATS_FD), which describes itself: a header, a descriptor
 * with a name for each statistic, and 64-bit values. Those of vCPUs are added up, peaks excepted;
 * what is 0 is left out. Histograms show the count of each bucket that has one, with the value from
 * which on it counts.
 */
#include "accel/kvm/kvm.h"

#include "util/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- ours ------------------------------------------------------------------------------------ */

static void print_own(void)
{
    struct kvm_counters sum = {0};
    uint64_t exits[KVM_EXITS] = {0};

    for (const struct kvm_cpu *k = kvm.first; k; k = k->next) {
#define X(name, help) sum.name += kvm_counted(&k->count.name);
        KVM_COUNTERS(X)
#undef X
        for (unsigned n = 0; n < KVM_EXITS; n++) {
            exits[n] += kvm_counted(&k->exits[n]);
        }
    }
    for (uint32_t n = 0; n < KVM_EXITS; n++) {
        char name[32];

        if (exits[n]) {
            snprintf(name, sizeof(name), "exit %s", kvm_exit_name(n) ? kvm_exit_name(n) : "other");
            log_printf("%-24s %llu  exits to user space\n", name, (unsigned long long)exits[n]);
        }
    }
#define X(name, help) log_printf("%-24s %llu  %s\n", #name, (unsigned long long)sum.name, help);
    KVM_COUNTERS(X)
#undef X
    log_printf("%-24s %llu  coalesced writes delivered\n", "coalesced",
               (unsigned long long)kvm_counted(&kvm.coalesced_count));
}

/* ---- the kernel's ---------------------------------------------------------------------------- */

/* What one kind of descriptor shows: the same set for all vCPUs. */
struct set {
    struct kvm_stats_header header;
    uint8_t *descriptors; /* num_desc of `stride` bytes */
    size_t stride;
    uint64_t *values; /* sums, one after the other */
    size_t count;
};

static const struct kvm_stats_desc *descriptor(const struct set *set, uint32_t n)
{
    return (const void *)(set->descriptors + n * set->stride);
}

static bool read_all(int fd, void *to, size_t size, uint64_t offset)
{
    return pread(fd, to, size, (off_t)offset) == (ssize_t)size;
}

/* Reads header and descriptors; false when there are none to be had. */
static bool open_set(struct set *set, int fd)
{
    struct kvm_stats_header *h = &set->header;

    if (!read_all(fd, h, sizeof(*h), 0) || !h->num_desc || h->num_desc > 4096 || !h->name_size ||
        h->name_size > 1024) {
        return false;
    }
    set->stride = sizeof(struct kvm_stats_desc) + h->name_size;
    set->descriptors = malloc(h->num_desc * set->stride);
    if (!set->descriptors ||
        !read_all(fd, set->descriptors, h->num_desc * set->stride, h->desc_offset)) {
        return false;
    }
    for (uint32_t n = 0; n < h->num_desc; n++) {
        set->count += descriptor(set, n)->size;
        set->descriptors[n * set->stride + set->stride - 1] = 0; /* ends the name in any case */
    }
    set->values = calloc(set->count, sizeof(*set->values));
    return set->values;
}

static void close_set(struct set *set)
{
    free(set->descriptors);
    free(set->values);
    *set = (struct set){0};
}

static void add_value(uint64_t *sum, uint64_t value, const struct kvm_stats_desc *d)
{
    if ((d->flags & KVM_STATS_TYPE_MASK) != KVM_STATS_TYPE_PEAK) {
        *sum += value;
    } else if (value > *sum) {
        *sum = value;
    }
}

/* Adds what a descriptor has. */
static void read_values(struct set *set, int fd)
{
    size_t at = 0;

    for (uint32_t n = 0; n < set->header.num_desc; n++) {
        const struct kvm_stats_desc *d = descriptor(set, n);

        for (uint16_t i = 0; i < d->size; i++, at++) {
            uint64_t value;

            if (read_all(fd, &value, sizeof(value),
                         set->header.data_offset + (uint64_t)d->offset + i * sizeof(value))) {
                add_value(&set->values[at], value, d);
            }
        }
    }
}

/* "ns", "KiB" and so on. */
static void unit_of(const struct kvm_stats_desc *d, char *unit, size_t size)
{
    static const char *const names[] = {"", "bytes", "s", "cycles", "(boolean)"};
    static const char *const small[] = {"", "m", "u", "n"};
    uint32_t n = (d->flags & KVM_STATS_UNIT_MASK) >> KVM_STATS_UNIT_SHIFT;
    const char *name = n < sizeof(names) / sizeof(names[0]) ? names[n] : "?";
    bool binary = (d->flags & KVM_STATS_BASE_MASK) == KVM_STATS_BASE_POW2;

    if (!binary && d->exponent <= 0 && d->exponent >= -9 && d->exponent % 3 == 0) {
        snprintf(unit, size, "%s%s", small[-d->exponent / 3], name);
    } else if (d->exponent) {
        snprintf(unit, size, "x %d^%d %s", binary ? 2 : 10, d->exponent, name);
    } else {
        snprintf(unit, size, "%s", name);
    }
}

/* Where the n-th bucket begins. */
static uint64_t bucket(const struct kvm_stats_desc *d, unsigned n)
{
    bool linear = (d->flags & KVM_STATS_TYPE_MASK) == KVM_STATS_TYPE_LINEAR_HIST;

    return linear ? (uint64_t)n * d->bucket_size : n ? UINT64_C(1) << (n - 1) : 0;
}

static void print_set(const struct set *set, const char *whose)
{
    const uint64_t *value = set->values;

    for (uint32_t n = 0; n < set->header.num_desc; value += descriptor(set, n++)->size) {
        const struct kvm_stats_desc *d = descriptor(set, n);
        uint32_t type = d->flags & KVM_STATS_TYPE_MASK;
        bool histogram = type == KVM_STATS_TYPE_LINEAR_HIST || type == KVM_STATS_TYPE_LOG_HIST;
        char unit[48];

        unit_of(d, unit, sizeof(unit));
        for (unsigned i = 0; i < d->size; i++) {
            if (value[i] && histogram) {
                log_printf("%s %s from %llu %s: %llu\n", whose, d->name,
                           (unsigned long long)bucket(d, i), unit, (unsigned long long)value[i]);
            } else if (value[i]) {
                log_printf("%s %-24s %llu%s%s\n", whose, d->name, (unsigned long long)value[i],
                           *unit ? " " : "", unit);
            }
        }
    }
}

static void add_descriptor(struct set *set, int fd)
{
    if (fd < 0) {
        return;
    }
    if (set->values || open_set(set, fd)) {
        read_values(set, fd);
    }
    close(fd);
}

static void print_kernel(void)
{
    struct set set = {0};

    if (!kvm_check_extension(KVM_CAP_BINARY_STATS_FD)) {
        return;
    }
    add_descriptor(&set, kvm_vm_ioctl(KVM_GET_STATS_FD, NULL));
    if (set.values) {
        print_set(&set, "kernel VM");
    }
    close_set(&set);
    for (struct kvm_cpu *k = kvm.first; k; k = k->next) {
        add_descriptor(&set, kvm_vcpu_ioctl(k, KVM_GET_STATS_FD, NULL));
    }
    if (set.values) {
        print_set(&set, "kernel vCPU");
    }
    close_set(&set);
}

void kvm_stats_print(void)
{
    print_own();
    print_kernel();
}
