/*
 * The kernel's interrupt controllers behind cpu/irq.h: routes of interrupt numbers (GSIs), messages
 * without a route, and event descriptors that raise interrupts.
 *
 * The kernel takes a table of all routes at a time, and waits for its readers when it does; so
 * changes are made in a table here and handed over by a commit. Numbers below kvm_arch_pins are the
 * controller's pins, which may have several routes each (a PC's interrupt 4 reaches an 8259 and the
 * I/O APIC); numbers above are given out, and have one.
 *
 * Split: the controllers beyond the CPU-local ones are models of the machine. Their pins cannot be
 * driven here, and an irqfd cannot wait for their end of interrupt; both are -ENOTSUP.
 */
#include "accel/kvm/kvm.h"

#include "util/lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GSI_WORD = 64 };

static struct {
    struct cpu_irqchip chip;
    struct lock lock;              /* of what follows */
    struct kvm_irq_routing *table; /* room for gsi_max entries beyond the pins' */
    uint32_t room;
    uint64_t *taken; /* a bit per number */
    uint32_t gsi_max;
    bool changed; /* since the last commit */
    void (*eoi)(void *opaque, uint8_t vector);
    void *eoi_opaque;
} irqs;

/* ---- the table ------------------------------------------------------------------------------- */

static struct kvm_irq_routing_entry *find(uint32_t gsi)
{
    for (uint32_t i = 0; i < irqs.table->nr; i++) {
        if (irqs.table->entries[i].gsi == gsi) {
            return &irqs.table->entries[i];
        }
    }
    return NULL;
}

static bool same(const struct kvm_irq_routing_entry *a, const struct kvm_irq_routing_entry *b)
{
    return a->type == b->type && memcmp(a->u.pad, b->u.pad, sizeof(a->u.pad)) == 0;
}

static int append(const struct kvm_irq_routing_entry *entry)
{
    if (irqs.table->nr == irqs.room) {
        return -ENOSPC;
    }
    irqs.table->entries[irqs.table->nr++] = *entry;
    irqs.changed = true;
    return 0;
}

static void remove_all(uint32_t gsi)
{
    struct kvm_irq_routing_entry *entry;

    while ((entry = find(gsi))) {
        *entry = irqs.table->entries[--irqs.table->nr];
        irqs.changed = true;
    }
}

static struct kvm_irq_routing_entry entry_of(uint32_t gsi, const struct cpu_irq_route *route)
{
    struct kvm_irq_routing_entry entry = {.gsi = gsi};

    if (route->kind == CPU_IRQ_ROUTE_PIN) {
        entry.type = KVM_IRQ_ROUTING_IRQCHIP;
        entry.u.irqchip.irqchip = route->chip;
        entry.u.irqchip.pin = route->pin;
    } else {
        entry.type = KVM_IRQ_ROUTING_MSI;
        entry.u.msi.address_lo = (uint32_t)route->msi.address;
        entry.u.msi.address_hi = (uint32_t)(route->msi.address >> 32);
        entry.u.msi.data = route->msi.data;
    }
    return entry;
}

int kvm_route_pin(uint32_t gsi, uint32_t chip, uint32_t pin)
{
    struct cpu_irq_route route = {.kind = CPU_IRQ_ROUTE_PIN, .chip = chip, .pin = pin};
    struct kvm_irq_routing_entry entry = entry_of(gsi, &route);

    return append(&entry);
}

static int commit_locked(void)
{
    int err = 0;

    if (irqs.changed) {
        err = kvm_vm_ioctl(KVM_SET_GSI_ROUTING, irqs.table);
        irqs.changed = err < 0;
    }
    return err < 0 ? err : 0;
}

/* ---- operations ------------------------------------------------------------------------------ */

static uint32_t gsi_count(struct cpu_irqchip *chip)
{
    return kvm_arch_pins;
}

static int set_line(struct cpu_irqchip *chip, uint32_t gsi, bool level)
{
    struct kvm_irq_level line = {.irq = gsi, .level = level};
    int err = kvm_vm_ioctl(KVM_IRQ_LINE, &line);

    return err < 0 ? err : 0;
}

static int no_line(struct cpu_irqchip *chip, uint32_t gsi, bool level)
{
    return -ENOTSUP;
}

static int send_msi(struct cpu_irqchip *chip, const struct cpu_msi *msi)
{
    struct kvm_msi args = {.address_lo = (uint32_t)msi->address,
                           .address_hi = (uint32_t)(msi->address >> 32),
                           .data = msi->data};
    int err = kvm_vm_ioctl(KVM_SIGNAL_MSI, &args);

    return err < 0 ? err : 0; /* positive: how many took it; 0: the guest has it masked */
}

static int route_add(struct cpu_irqchip *chip, const struct cpu_irq_route *route, uint32_t *gsi)
{
    int err = -ENOSPC;

    lock_acquire(&irqs.lock);
    for (uint32_t n = kvm_arch_pins; n < irqs.gsi_max; n++) {
        if (!(irqs.taken[n / GSI_WORD] >> n % GSI_WORD & 1)) {
            struct kvm_irq_routing_entry entry = entry_of(n, route);

            err = append(&entry);
            if (!err) {
                irqs.taken[n / GSI_WORD] |= UINT64_C(1) << n % GSI_WORD;
                *gsi = n;
            }
            break;
        }
    }
    lock_release(&irqs.lock);
    return err;
}

static int route_change(struct cpu_irqchip *chip, uint32_t gsi, const struct cpu_irq_route *route)
{
    struct kvm_irq_routing_entry entry = entry_of(gsi, route);
    int err = 0;

    if (gsi >= irqs.gsi_max) {
        return -EINVAL;
    }
    lock_acquire(&irqs.lock);
    if (gsi >= kvm_arch_pins && !(irqs.taken[gsi / GSI_WORD] >> gsi % GSI_WORD & 1)) {
        err = -ENOENT;
    } else {
        struct kvm_irq_routing_entry *old = find(gsi);

        /* Devices write their messages again and again without a change. */
        if (!old || !same(old, &entry)) {
            remove_all(gsi);
            err = append(&entry);
        }
    }
    lock_release(&irqs.lock);
    return err;
}

static void route_remove(struct cpu_irqchip *chip, uint32_t gsi)
{
    if (gsi < kvm_arch_pins || gsi >= irqs.gsi_max) {
        return;
    }
    lock_acquire(&irqs.lock);
    remove_all(gsi);
    irqs.taken[gsi / GSI_WORD] &= ~(UINT64_C(1) << gsi % GSI_WORD);
    lock_release(&irqs.lock);
}

static int route_commit(struct cpu_irqchip *chip)
{
    int err;

    lock_acquire(&irqs.lock);
    err = commit_locked();
    lock_release(&irqs.lock);
    return err;
}

static int irqfd(uint32_t gsi, int fd, int resample_fd, uint32_t flags)
{
    struct kvm_irqfd args = {.fd = (uint32_t)fd, .gsi = gsi, .flags = flags};
    int err;

    if (!kvm_check_extension(KVM_CAP_IRQFD)) {
        return -ENOTSUP;
    }
    if (resample_fd >= 0) {
        if (kvm.irqchip_mode != KVM_IRQCHIP_ON || !kvm_check_extension(KVM_CAP_IRQFD_RESAMPLE)) {
            return -ENOTSUP;
        }
        args.flags |= KVM_IRQFD_FLAG_RESAMPLE;
        args.resamplefd = (uint32_t)resample_fd;
    }
    err = kvm_vm_ioctl(KVM_IRQFD, &args);
    return err < 0 ? err : 0;
}

static int eventfd_attach(struct cpu_irqchip *chip, uint32_t gsi, int fd, int resample_fd)
{
    return irqfd(gsi, fd, resample_fd, 0);
}

static int eventfd_detach(struct cpu_irqchip *chip, uint32_t gsi, int fd)
{
    return irqfd(gsi, fd, -1, KVM_IRQFD_FLAG_DEASSIGN);
}

static int add_timer(struct cpu_irqchip *chip)
{
    return kvm.irqchip_mode == KVM_IRQCHIP_ON ? kvm_arch_add_timer() : -ENOTSUP;
}

static void set_eoi(struct cpu_irqchip *chip, void (*eoi)(void *opaque, uint8_t vector),
                    void *opaque)
{
    irqs.eoi_opaque = opaque;
    irqs.eoi = eoi;
}

static int save(struct cpu_irqchip *chip, unsigned part, void *state, uint32_t size)
{
    return kvm_arch_irqchip_save(part, state, size);
}

static int load(struct cpu_irqchip *chip, unsigned part, const void *state, uint32_t size)
{
    return kvm_arch_irqchip_load(part, state, size);
}

static const struct cpu_irqchip_ops full = {
    .name = "kvm",
    .gsi_count = gsi_count,
    .set_line = set_line,
    .send_msi = send_msi,
    .route_add = route_add,
    .route_change = route_change,
    .route_remove = route_remove,
    .route_commit = route_commit,
    .eventfd_attach = eventfd_attach,
    .eventfd_detach = eventfd_detach,
    .add_timer = add_timer,
    .set_eoi = set_eoi,
    .save = save,
    .load = load,
};

static const struct cpu_irqchip_ops split = {
    .name = "kvm-split",
    .split = true,
    .gsi_count = gsi_count,
    .set_line = no_line,
    .send_msi = send_msi,
    .route_add = route_add,
    .route_change = route_change,
    .route_remove = route_remove,
    .route_commit = route_commit,
    .eventfd_attach = eventfd_attach,
    .eventfd_detach = eventfd_detach,
    .add_timer = add_timer,
    .set_eoi = set_eoi,
    .save = save,
    .load = load,
};

void kvm_irqchip_eoi(uint8_t vector)
{
    if (irqs.eoi) {
        irqs.eoi(irqs.eoi_opaque, vector);
    }
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static int make_table(char *error, size_t error_size)
{
    int max = kvm_check_extension(KVM_CAP_IRQ_ROUTING);

    irqs.gsi_max = (uint32_t)max;
    irqs.room = irqs.gsi_max;
    free(irqs.table);
    free(irqs.taken);
    irqs.table = calloc(1, sizeof(*irqs.table) + irqs.room * sizeof(irqs.table->entries[0]));
    irqs.taken = calloc(irqs.gsi_max / GSI_WORD + 1, sizeof(*irqs.taken));
    irqs.changed = false;
    irqs.eoi = NULL;
    if (!irqs.table || !irqs.taken) {
        snprintf(error, error_size, "-accel kvm: no memory for interrupt routes");
        return -ENOMEM;
    }
    return 0;
}

int kvm_irqchip_create(char *error, size_t error_size)
{
    static const struct kvm_need needs[] = {
        {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
        {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
        {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
        {0, NULL},
    };
    int err;

    if (kvm.irqchip_mode == KVM_IRQCHIP_OFF) {
        return 0;
    }
    for (const struct kvm_need *need = needs; need->name; need++) {
        if (!kvm_check_extension(need->capability)) {
            snprintf(error, error_size,
                     "-accel kvm: the host's kernel lacks %s: expected kernel-irqchip=off",
                     need->name);
            return -ENOTSUP;
        }
    }
    err = make_table(error, error_size);
    err = err ? err : kvm_arch_init_irqchip(error, error_size);
    if (err) {
        return err;
    }
    err = commit_locked();
    if (err) {
        snprintf(error, error_size, "-accel kvm: KVM_SET_GSI_ROUTING: %s", strerror(-err));
        return err;
    }
    irqs.chip.ops = kvm.irqchip_mode == KVM_IRQCHIP_ON ? &full : &split;
    kvm.irqchip = &irqs.chip;
    return 0;
}
