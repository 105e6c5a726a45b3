/*
 * The options of -accel kvm. Those that QEMU has mean what they mean there; halt-poll-ns,
 * coalesced-mmio and cpu-affinity are ours.
 *
 * cpu-affinity=SET[:SET...] says on which host CPUs vCPU threads run: vCPU n on set n, and from the
 * first again when there are fewer sets than vCPUs. A set is ranges joined by "+", "0-3+8".
 */
#include "accel/kvm/kvm.h"

#include "util/bits.h"
#include "util/property.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHO "-accel kvm"

static const char *const irqchip_names[] = {"off", "split", "on", NULL}; /* enum kvm_irqchip_mode */

static const struct property properties[] = {
    PROPERTY(STRING, "device", struct kvm_options, device, .text = "/dev/kvm",
             .help = "the device file of KVM"),
    PROPERTY(ENUM, "kernel-irqchip", struct kvm_options, irqchip, .number = -1,
             .names = irqchip_names, .help = "where interrupt controllers are"),
    PROPERTY(U32, "dirty-ring-size", struct kvm_options, dirty_ring,
             .help = "entries of a vCPU's ring of written pages; 0 for bitmaps"),
    PROPERTY(SIZE, "kvm-shadow-mem", struct kvm_options, shadow_mem,
             .help = "memory for shadow page tables"),
    PROPERTY(I64, "halt-poll-ns", struct kvm_options, halt_poll_ns, .number = -1, .low = 0,
             .high = UINT32_MAX, .help = "how long a vCPU that halts is polled for, in ns"),
    PROPERTY(BOOL, "coalesced-mmio", struct kvm_options, coalesced_mmio, .number = true,
             .help = "writes that a device need not see at once are told to it together"),
    PROPERTY(STRING, "cpu-affinity", struct kvm_options, cpu_affinity,
             .help = "host CPUs of vCPU threads: a set for each, as in 0:1:2-3+6"),
    PROPERTY_END,
};

/* ---- cpu-affinity ---------------------------------------------------------------------------- */

/* A decimal number below CPU_SETSIZE at *text, which is moved behind it; or -1. */
static int parse_cpu(const char **text)
{
    int value = 0;

    if (**text < '0' || **text > '9') {
        return -1;
    }
    while (**text >= '0' && **text <= '9') {
        value = value * 10 + *(*text)++ - '0';
        if (value >= CPU_SETSIZE) {
            return -1;
        }
    }
    return value;
}

/* "0-3+8" up to ':' or the end. */
static bool parse_set(const char **text, cpu_set_t *set)
{
    CPU_ZERO(set);
    do {
        int first = parse_cpu(text), last = first;

        if (**text == '-') {
            (*text)++;
            last = parse_cpu(text);
        }
        if (first < 0 || last < first) {
            return false;
        }
        for (int cpu = first; cpu <= last; cpu++) {
            CPU_SET(cpu, set);
        }
    } while (**text == '+' && (*text)++);
    return **text == ':' || !**text;
}

static int parse_affinity(struct kvm_options *o, char *error, size_t error_size)
{
    const char *text = o->cpu_affinity;
    unsigned sets = 1;
    cpu_set_t allowed;

    if (!text) {
        return 0;
    }
    for (const char *at = text; *at; at++) {
        sets += *at == ':';
    }
    o->affinity = calloc(sets, sizeof(*o->affinity));
    if (!o->affinity) {
        snprintf(error, error_size, WHO ": cpu-affinity: out of memory");
        return -ENOMEM;
    }
    o->affinity_sets = sets;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0) {
        memset(&allowed, 0xff, sizeof(allowed)); /* more CPUs than a set has: the kernel will say */
    }
    for (unsigned n = 0; n < sets; n++) {
        cpu_set_t usable;

        if (!parse_set(&text, &o->affinity[n])) {
            snprintf(error, error_size,
                     WHO ": cpu-affinity=%s: expected sets of host CPUs as in 0-3+8, joined by :",
                     o->cpu_affinity);
            return -EINVAL;
        }
        CPU_AND(&usable, &o->affinity[n], &allowed);
        if (!CPU_EQUAL(&usable, &o->affinity[n])) {
            snprintf(error, error_size,
                     WHO ": cpu-affinity=%s: the set of vCPU %u has host CPUs that are not there, "
                         "or not for this process",
                     o->cpu_affinity, n);
            return -EINVAL;
        }
        text += *text == ':';
    }
    return 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

int kvm_options_parse(const char *text, char *error, size_t error_size)
{
    struct kvm_options *o = &kvm.options;
    int err = property_set_defaults(properties, o);

    if (err) {
        snprintf(error, error_size, WHO ": out of memory");
        return err;
    }
    err = property_set_list(properties, o, WHO, text ? text : "", NULL, NULL, error, error_size);
    if (!err && o->dirty_ring && (!bits_is_pow2(o->dirty_ring) || o->dirty_ring < 1024)) {
        snprintf(error, error_size,
                 WHO ": dirty-ring-size=%u: expected 0 or a power of two from 1024 up",
                 o->dirty_ring);
        return -EINVAL;
    }
    return err ? err : parse_affinity(o, error, error_size);
}

void kvm_options_free(void)
{
    property_clear(properties, &kvm.options);
    free(kvm.options.affinity);
    kvm.options = (struct kvm_options){0};
}
