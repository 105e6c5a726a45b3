/*
 * Why the guest was left, and what to do about it.
 *
 * Ports and registers of devices. Where nothing answers, bytes read as ones and writes have no
 * effect, as on a PC; accesses of which nobody answers any byte are counted. The same comes of what
 * a device refuses. Writes to ROM have no effect either. Accesses here may be to RAM too: to parts
 * of pages, which no memory slot can have, and to a slot that is being replaced.
 *
 * When the kernel gives up on the guest, the state is fetched, shown, and left for whoever can go
 * on with it; the vCPU stands.
 */
#include "accel/kvm/kvm.h"

#include "mem/access.h"
#include "util/error.h"
#include "util/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- accesses -------------------------------------------------------------------------------- */

static void answer_port(struct kvm_cpu *k, uint16_t port, unsigned size, void *data, bool out)
{
    uint64_t value = 0;
    int err;

    if (out) {
        memcpy(&value, data, size);
        err = mem_access_store_parts(kvm.io, mem_gpa(port), size, value, MEM_ATTRS_NONE);
    } else {
        err = mem_access_load_parts(kvm.io, mem_gpa(port), size, &value, MEM_ATTRS_NONE);
        memcpy(data, &value, size);
    }
    kvm_count(&k->count.port);
    if (err) {
        kvm_count(&k->count.absent_port);
        log_limited(LOG_UNIMP, "port %#x: %s of %u: %s\n", port, out ? "write" : "read", size,
                    strerror(-err));
    }
}

static enum kvm_outcome io(struct kvm_cpu *k)
{
    struct kvm_run *run = k->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;

    kvm_coalesced_drain(k);
    /* A string instruction: so many of the same port, one after the other in memory. */
    for (uint32_t n = 0; n < run->io.count; n++, data += run->io.size) {
        answer_port(k, run->io.port, run->io.size, data, run->io.direction == KVM_EXIT_IO_OUT);
    }
    k->answered = true;
    return KVM_GO_ON;
}

static enum kvm_outcome mmio(struct kvm_cpu *k)
{
    struct kvm_run *run = k->run;
    struct mem_gpa gpa = mem_gpa(run->mmio.phys_addr);
    unsigned size = run->mmio.len < 8 ? run->mmio.len : 8;
    uint64_t value = 0;
    int err;

    kvm_coalesced_drain(k);
    if (run->mmio.is_write) {
        memcpy(&value, run->mmio.data, size);
        err = mem_access_store_parts(kvm.memory, gpa, size, value, MEM_ATTRS_NONE);
    } else {
        err = mem_access_load_parts(kvm.memory, gpa, size, &value, MEM_ATTRS_NONE);
        memcpy(run->mmio.data, &value, sizeof(run->mmio.data));
    }
    kvm_count(&k->count.mmio);
    if (err == -EACCES) {
        kvm_count(&k->count.refused);
    } else if (err) {
        kvm_count(&k->count.absent);
        log_limited(LOG_UNIMP, "memory %#llx: %s of %u: %s\n", (unsigned long long)gpa.value,
                    run->mmio.is_write ? "write" : "read", size, strerror(-err));
    }
    k->answered = true;
    return KVM_GO_ON;
}

/* ---- events of the machine ------------------------------------------------------------------- */

enum kvm_outcome kvm_tell(struct kvm_cpu *k, enum accel_event event)
{
    vcpu_stand(k->cpu);
    kvm.event(event, k->cpu);
    return KVM_LEAVE;
}

static enum kvm_outcome halt(struct kvm_cpu *k)
{
    return KVM_HALTED;
}

static enum kvm_outcome shut_down(struct kvm_cpu *k)
{
    log_items_printf(LOG_CPU_RESET, "CPU %u: shutdown (triple fault)\n", k->cpu->index);
    return kvm_tell(k, ACCEL_EVENT_RESET);
}

static enum kvm_outcome debug(struct kvm_cpu *k)
{
    /* The architecture may know it for the guest's own. */
    enum kvm_outcome outcome = kvm_arch_handle_exit(k);

    return outcome == KVM_UNHANDLED ? kvm_tell(k, ACCEL_EVENT_DEBUG) : outcome;
}

static enum kvm_outcome system_event(struct kvm_cpu *k)
{
    char text[64];

    switch (k->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        return kvm_tell(k, ACCEL_EVENT_POWER_OFF);
    case KVM_SYSTEM_EVENT_RESET:
        return kvm_tell(k, ACCEL_EVENT_RESET);
    case KVM_SYSTEM_EVENT_CRASH:
        return kvm_tell(k, ACCEL_EVENT_CRASH);
    default:
        snprintf(text, sizeof(text), "KVM_EXIT_SYSTEM_EVENT of type %u", k->run->system_event.type);
        kvm_internal_error(k, text);
        return KVM_LEAVE;
    }
}

/* ---- what goes on by itself ------------------------------------------------------------------ */

static enum kvm_outcome go_on(struct kvm_cpu *k)
{
    return KVM_GO_ON;
}

static enum kvm_outcome interrupted(struct kvm_cpu *k)
{
    kvm_count(&k->count.interrupted);
    return KVM_LEAVE;
}

static enum kvm_outcome ioapic_eoi(struct kvm_cpu *k)
{
    kvm_irqchip_eoi(k->run->eoi.vector);
    return KVM_GO_ON;
}

static enum kvm_outcome ring_full(struct kvm_cpu *k)
{
    if (kvm_dirty_ring_full(k)) {
        return KVM_GO_ON;
    }
    kvm_internal_error(k, "the ring of written pages is full, but has none: the host's kernel has "
                          "lost some: try without dirty-ring-size");
    return KVM_LEAVE;
}

/* ---- what does not --------------------------------------------------------------------------- */

static void print_line(void *opaque, const char *text)
{
    error_report("%s", text);
}

void kvm_internal_error(struct kvm_cpu *k, const char *what)
{
    int err;

    error_report("vCPU %u cannot go on: %s", k->cpu->index, what);
    err = kvm_registers_fetch(k->cpu);
    if (err) {
        error_report("its registers cannot be had: %s", strerror(-err));
    } else {
        kvm_arch_dump(k, print_line, NULL);
    }
    kvm_tell(k, ACCEL_EVENT_INTERNAL_ERROR);
}

static enum kvm_outcome fail_entry(struct kvm_cpu *k)
{
    char text[200];

    snprintf(text, sizeof(text),
             "the processor refuses its state (KVM_EXIT_FAIL_ENTRY, hardware's reason %#llx, host "
             "CPU %u): the host's kernel log has more",
             (unsigned long long)k->run->fail_entry.hardware_entry_failure_reason,
             k->run->fail_entry.cpu);
    kvm_internal_error(k, text);
    return KVM_LEAVE;
}

static enum kvm_outcome internal_error(struct kvm_cpu *k)
{
    static const struct {
        const char *name, *advice;
    } suberrors[] = {
        [0] = {"unknown", "the host's kernel log may have more"},
        [KVM_INTERNAL_ERROR_EMULATION] =
            {"emulation failure",
             "KVM does not emulate the instruction below, which it has to do for accesses to "
             "devices, and for much more on hosts without full hardware virtualization: try a host "
             "that is not itself a virtual machine, or a -cpu without the instruction's feature"},
        [KVM_INTERNAL_ERROR_SIMUL_EX] = {"simultaneous exceptions",
                                         "the guest's stack or descriptor tables may be lost"},
        [KVM_INTERNAL_ERROR_DELIVERY_EV] =
            {"exit while an event was delivered",
             "the guest's descriptor tables or stack may lie where no memory is"},
        [KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = {"unexpected exit of the processor",
                                                       "try a newer kernel on the host"},
    };
    struct kvm_run *run = k->run;
    uint32_t suberror = run->internal.suberror, known = sizeof(suberrors) / sizeof(suberrors[0]);
    uint32_t words = run->internal.ndata < 16 ? run->internal.ndata : 16;
    char text[800];
    int n = snprintf(text, sizeof(text), "KVM_EXIT_INTERNAL_ERROR %u, %s: %s", suberror,
                     suberrors[suberror < known ? suberror : 0].name,
                     suberrors[suberror < known ? suberror : 0].advice);

    for (uint32_t i = 0; i < words && n < (int)sizeof(text); i++) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%#llx",
                      i ? " " : "; data: ", (unsigned long long)run->internal.data[i]);
    }
    kvm_internal_error(k, text);
    return KVM_LEAVE;
}

static enum kvm_outcome unknown(struct kvm_cpu *k)
{
    char text[120];

    snprintf(text, sizeof(text),
             "the processor has left the guest for a reason that KVM does not know (%#llx)",
             (unsigned long long)k->run->hw.hardware_exit_reason);
    kvm_internal_error(k, text);
    return KVM_LEAVE;
}

static enum kvm_outcome memory_fault(struct kvm_cpu *k)
{
    /* struct kvm_run's memory_fault, which the headers may not have yet: flags, gpa, size */
    uint64_t fields[3];
    char text[160];

    memcpy(fields, &k->run->hw, sizeof(fields));
    snprintf(text, sizeof(text),
             "the host cannot reach guest memory at %#llx, %llu bytes (KVM_EXIT_MEMORY_FAULT)",
             (unsigned long long)fields[1], (unsigned long long)fields[2]);
    kvm_internal_error(k, text);
    return KVM_LEAVE;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum kvm_outcome (*handle)(struct kvm_cpu *k); /* NULL: the architecture's */
} exits[KVM_EXITS] = {
    [KVM_EXIT_UNKNOWN] = {"UNKNOWN", unknown},
    [KVM_EXIT_EXCEPTION] = {"EXCEPTION", NULL},
    [KVM_EXIT_IO] = {"IO", io},
    [KVM_EXIT_HYPERCALL] = {"HYPERCALL", NULL},
    [KVM_EXIT_DEBUG] = {"DEBUG", debug},
    [KVM_EXIT_HLT] = {"HLT", halt},
    [KVM_EXIT_MMIO] = {"MMIO", mmio},
    [KVM_EXIT_IRQ_WINDOW_OPEN] = {"IRQ_WINDOW_OPEN", go_on}, /* kvm_arch_before_run() injects */
    [KVM_EXIT_SHUTDOWN] = {"SHUTDOWN", shut_down},
    [KVM_EXIT_FAIL_ENTRY] = {"FAIL_ENTRY", fail_entry},
    [KVM_EXIT_INTR] = {"INTR", interrupted},
    [KVM_EXIT_SET_TPR] = {"SET_TPR", go_on}, /* kvm_arch_after_run() reads it */
    [KVM_EXIT_TPR_ACCESS] = {"TPR_ACCESS", NULL},
    [KVM_EXIT_NMI] = {"NMI", NULL},
    [KVM_EXIT_INTERNAL_ERROR] = {"INTERNAL_ERROR", internal_error},
    [KVM_EXIT_SYSTEM_EVENT] = {"SYSTEM_EVENT", system_event},
    [KVM_EXIT_IOAPIC_EOI] = {"IOAPIC_EOI", ioapic_eoi},
    [KVM_EXIT_HYPERV] = {"HYPERV", NULL},
    [KVM_EXIT_X86_RDMSR] = {"X86_RDMSR", NULL},
    [KVM_EXIT_X86_WRMSR] = {"X86_WRMSR", NULL},
    [KVM_EXIT_DIRTY_RING_FULL] = {"DIRTY_RING_FULL", ring_full},
    [KVM_EXIT_AP_RESET_HOLD] = {"AP_RESET_HOLD", NULL},
    [KVM_EXIT_X86_BUS_LOCK] = {"X86_BUS_LOCK", NULL},
    [KVM_EXIT_XEN] = {"XEN", NULL},
    [KVM_EXIT_NOTIFY] = {"NOTIFY", NULL},
    [KVM_EXIT_MEMORY_FAULT] = {"MEMORY_FAULT", memory_fault},
};

const char *kvm_exit_name(uint32_t reason)
{
    return reason < KVM_EXITS ? exits[reason].name : NULL;
}

enum kvm_outcome kvm_handle_exit(struct kvm_cpu *k)
{
    uint32_t reason = k->run->exit_reason;
    enum kvm_outcome outcome = KVM_UNHANDLED;
    char text[80];

    kvm_count(&k->exits[reason < KVM_EXITS ? reason : KVM_EXITS - 1]);
    if (reason < KVM_EXITS && exits[reason].handle) {
        outcome = exits[reason].handle(k);
    } else {
        outcome = kvm_arch_handle_exit(k);
    }
    if (outcome == KVM_UNHANDLED) {
        snprintf(text, sizeof(text), "an exit that nothing here knows: %u%s%s", reason,
                 kvm_exit_name(reason) ? " KVM_EXIT_" : "",
                 kvm_exit_name(reason) ? kvm_exit_name(reason) : "");
        kvm_internal_error(k, text);
        outcome = KVM_LEAVE;
    }
    return outcome;
}
