/*
 * Interrupts of x86 machines.
 *
 * A split controller is told the message of every pin that may be level-triggered as the route of
 * the interrupt of that number, for it reports the end of those interrupts only. Pins beyond its
 * numbers, and the second I/O APIC beside one that is whole in the kernel, get no such report;
 * there a level that falls counts as its end. That loses nothing with devices whose line falls when
 * the driver acknowledges it, which is what is wired there.
 */
#include "hw/machine/x86-irq.h"

#include "hw/core/lock.h"
#include "target/x86/cpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int no_memory(char *error, size_t error_size)
{
    snprintf(error, error_size, "out of memory");
    return -ENOMEM;
}

static struct cpu_irqchip *split_chip(const struct x86_irq *irq)
{
    struct cpu_irqchip *chip = irq->machine->irqchip;

    return chip && chip->ops->split ? chip : NULL;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Does the accelerator report the end of the interrupts of that number? */
static bool reports_end(const struct x86_irq *irq, unsigned gsi)
{
    struct cpu_irqchip *chip = irq->machine->irqchip;

    return !chip || (chip->ops->split && gsi < chip->ops->gsi_count(chip));
}

static void drive_ioapic(struct x86_irq *irq, unsigned gsi, bool level)
{
    struct x86_ioapic *side = &irq->ioapics[gsi / IOAPIC_PINS];
    unsigned pin = gsi == 0 ? 2 : gsi % IOAPIC_PINS;
    struct ioapic *ioapic = side->ioapic;
    struct cpu_msi msi;

    if (!ioapic || gsi == 2) {
        return;
    }
    ioapic->in[pin].handler(ioapic->in[pin].opaque, ioapic->in[pin].n, level);
    if (!level && !reports_end(irq, side->first + pin)) {
        ioapic_message(ioapic, pin, &msi);
        ioapic_eoi(ioapic, (uint8_t)msi.data);
    }
}

static void drive_gsi(void *opaque, unsigned n, bool level)
{
    struct x86_irq *irq = opaque;
    struct cpu_irqchip *chip = irq->machine->irqchip;

    if (chip && !chip->ops->split && n < IOAPIC_PINS) {
        (void)chip->ops->set_line(chip, n, level);
        return;
    }
    if (irq->i8259 && n < I8259_INPUTS) {
        irq->i8259->in[n].handler(irq->i8259->in[n].opaque, irq->i8259->in[n].n, level);
    }
    drive_ioapic(irq, n, level);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void send(struct x86_irq *irq, const struct cpu_msi *msi)
{
    struct cpu_irqchip *chip = irq->machine->irqchip;

    if (chip) {
        (void)chip->ops->send_msi(chip, msi);
    } else {
        apic_bus_send_msi(&irq->bus, msi);
    }
}

static void ioapic_send(void *opaque, const struct cpu_msi *msi)
{
    send(((struct x86_ioapic *)opaque)->irq, msi);
}

static void route_changed(void *opaque, unsigned pin, const struct cpu_msi *msi, bool masked,
                          bool level)
{
    struct x86_ioapic *side = opaque;
    struct cpu_irqchip *chip = split_chip(side->irq);
    struct cpu_irq_route route = {.kind = CPU_IRQ_ROUTE_MSI, .msi = *msi};

    /* What is masked is not sent. */
    if (chip && !masked && side->first + pin < chip->ops->gsi_count(chip) &&
        !chip->ops->route_change(chip, side->first + pin, &route)) {
        (void)chip->ops->route_commit(chip);
    }
}

static void take_eoi(void *opaque, uint8_t vector)
{
    struct x86_irq *irq = opaque;

    for (unsigned i = 0; i < 2; i++) {
        if (irq->ioapics[i].ioapic) {
            ioapic_eoi(irq->ioapics[i].ioapic, vector);
        }
    }
}

/* Of the accelerator, on a vCPU's thread without locks. */
static void take_eoi_unlocked(void *opaque, uint8_t vector)
{
    hw_lock_acquire();
    take_eoi(opaque, vector);
    hw_lock_release();
}

/* Devices' messages, where local APICs are not in user space. */
static int msi_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                    struct mem_attrs attrs)
{
    *value = UINT64_MAX;
    return 0;
}

static int msi_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                     struct mem_attrs attrs)
{
    struct cpu_msi msi = {.address = APIC_BASE + offset, .data = (uint32_t)value};

    if (size == 4) {
        send(opaque, &msi);
    }
    return 0;
}

static const struct mem_ops msi_ops = {.read = msi_read, .write = msi_write};

/* ---- vCPUs ----------------------------------------------------------------------------------- */

static int acknowledge_8259(void *opaque)
{
    return i8259_acknowledge(((struct x86_irq *)opaque)->i8259);
}

static void set_intr(void *opaque, bool level)
{
    struct x86_cpu *cpu = opaque;

    cpu_irq_set(&cpu->wiring.lines, X86_LINE_INTR, level);
}

static void raise_line(void *opaque, unsigned line)
{
    struct x86_cpu *cpu = opaque;

    cpu_irq_set(&cpu->wiring.lines, line, true);
}

static void raise_nmi(void *opaque)
{
    raise_line(opaque, X86_LINE_NMI);
}

static void raise_smi(void *opaque)
{
    raise_line(opaque, X86_LINE_SMI);
}

static struct apic *apic_of(struct x86_cpu *cpu)
{
    return cpu->interrupts.opaque;
}

static void raise_init(void *opaque)
{
    apic_reset_by_init(apic_of(opaque));
    raise_line(opaque, X86_LINE_INIT);
}

static void raise_sipi(void *opaque, uint8_t vector)
{
    struct x86_cpu *cpu = opaque;

    atomic_store(&cpu->sipi_vector, vector);
    raise_line(cpu, X86_LINE_SIPI);
}

static const struct apic_cpu_ops apic_cpu_ops = {
    .interrupt = set_intr,
    .nmi = raise_nmi,
    .smi = raise_smi,
    .init = raise_init,
    .sipi = raise_sipi,
};

static int cpu_acknowledge(void *opaque)
{
    return apic_acknowledge(opaque);
}

static uint8_t cpu_tpr(void *opaque)
{
    return apic_tpr(opaque);
}

static void cpu_set_tpr(void *opaque, uint8_t tpr)
{
    apic_set_tpr(opaque, tpr);
}

static uint64_t cpu_base(void *opaque)
{
    return apic_base(opaque);
}

static int cpu_set_base(void *opaque, uint64_t value)
{
    return apic_set_base(opaque, value);
}

static int cpu_read_msr(void *opaque, uint32_t msr, uint64_t *value)
{
    return apic_msr_read(opaque, msr, value);
}

static int cpu_write_msr(void *opaque, uint32_t msr, uint64_t value)
{
    return apic_msr_write(opaque, msr, value);
}

static struct apic *current_apic(void *opaque)
{
    struct x86_irq *irq = opaque;
    struct cpu *cpu = irq->machine->current_cpu ? irq->machine->current_cpu() : NULL;

    return cpu ? apic_of(x86_cpu(cpu)) : NULL;
}

static int add_apic(struct x86_irq *irq, unsigned n, char *error, size_t error_size)
{
    struct machine *machine = irq->machine;
    struct x86_cpu *cpu = x86_cpu(machine->cpus[n]);
    struct apic *apic =
        (struct apic *)machine_new_device(machine, &apic_type, NULL, error, error_size);
    int err;

    if (!apic) {
        return -EINVAL;
    }
    apic->id = cpu->model.apic_id;
    apic->x2apic = x86_model_has(&cpu->model, "x2apic");
    apic->bus = &irq->bus;
    apic->clock = machine->clock;
    apic->ops = &apic_cpu_ops;
    apic->opaque = cpu;
    apic->bsp = cpu->bootstrap;
    cpu->interrupts = (struct x86_interrupts){
        .acknowledge = cpu_acknowledge,
        .tpr = cpu_tpr,
        .set_tpr = cpu_set_tpr,
        .base = cpu_base,
        .set_base = cpu_set_base,
        .read_msr = cpu_read_msr,
        .write_msr = cpu_write_msr,
        .lock = hw_lock_acquire,
        .unlock = hw_lock_release,
        .opaque = apic,
    };
    irq->apics[n] = apic;
    err = machine_add_device(machine, &apic->device, error, error_size);
    return err;
}

/* ---- construction ---------------------------------------------------------------------------- */

static int add_local(struct x86_irq *irq, char *error, size_t error_size)
{
    struct machine *machine = irq->machine;
    int err = 0;

    if (machine->irqchip) {
        mem_region_init_mmio(&irq->msi, "msi", APIC_SIZE, &msi_ops, irq, NULL);
        return mem_region_add(&machine->root, APIC_BASE, &irq->msi, 1);
    }
    irq->apics = calloc(machine->smp.cpus, sizeof(*irq->apics));
    if (!irq->apics) {
        return no_memory(error, error_size);
    }
    apic_bus_init(&irq->bus);
    irq->bus.opaque = irq;
    irq->bus.current = current_apic;
    irq->bus.eoi = take_eoi;
    irq->bus.acknowledge = irq->pic ? acknowledge_8259 : NULL;
    err = mem_region_add(&machine->root, APIC_BASE, &irq->bus.mmio, 1);
    for (unsigned n = 0; n < machine->smp.cpus && !err; n++) {
        err = add_apic(irq, n, error, error_size);
    }
    return err;
}

static int add_ioapic(struct x86_irq *irq, unsigned n, char *error, size_t error_size)
{
    struct machine *machine = irq->machine;
    struct ioapic *ioapic =
        (struct ioapic *)machine_new_device(machine, &ioapic_type, NULL, error, error_size);
    int err;

    if (!ioapic) {
        return -EINVAL;
    }
    irq->ioapics[n] = (struct x86_ioapic){.irq = irq, .first = n * IOAPIC_PINS, .ioapic = ioapic};
    ioapic->opaque = &irq->ioapics[n];
    ioapic->send = ioapic_send;
    ioapic->route_changed = route_changed;
    err = machine_add_device(machine, &ioapic->device, error, error_size);
    return err ? err
               : mem_region_add(&machine->root, n ? X86_IOAPIC2_BASE : IOAPIC_BASE, &ioapic->mmio,
                                0);
}

/* The 8259s' output reaches LINT0 of every local APIC; software opens it on one of them. With local
 * APICs of the accelerator's it is told through the boot processor, which is where it is taken. */
static void drive_intr(void *opaque, unsigned n, bool level)
{
    struct x86_irq *irq = opaque;

    if (!irq->apics) {
        set_intr(irq->machine->cpus[0], level);
        return;
    }
    for (unsigned i = 0; i < irq->machine->smp.cpus; i++) {
        struct hw_irq_input *lint0 = &irq->apics[i]->lint0;

        lint0->handler(lint0->opaque, lint0->n, level);
    }
}

static int add_i8259(struct x86_irq *irq, char *error, size_t error_size)
{
    struct machine *machine = irq->machine;
    struct i8259 *i8259 =
        (struct i8259 *)machine_new_device(machine, &i8259_type, NULL, error, error_size);
    struct x86_cpu *bsp = x86_cpu(machine->cpus[0]);
    int err = i8259 ? machine_add_device(machine, &i8259->device, error, error_size) : -EINVAL;

    if (!err) {
        err = mem_region_add(&machine->io_root, I8259_MASTER_PORT, &i8259->master_io, 0);
    }
    if (!err) {
        err = mem_region_add(&machine->io_root, I8259_SLAVE_PORT, &i8259->slave_io, 0);
    }
    if (!err) {
        err = mem_region_add(&machine->io_root, I8259_ELCR_PORT, &i8259->elcr_io, 0);
    }
    if (err) {
        return err;
    }
    irq->i8259 = i8259;
    irq->intr = (struct hw_irq_input){.handler = drive_intr, .opaque = irq};
    hw_irq_connect(&i8259->out, &irq->intr);
    if (!irq->apics) {
        bsp->interrupts = (struct x86_interrupts){.acknowledge = acknowledge_8259,
                                                  .lock = hw_lock_acquire,
                                                  .unlock = hw_lock_release,
                                                  .opaque = irq};
    }
    return 0;
}

int x86_irq_init(struct x86_irq *irq, struct machine *machine, char *error, size_t error_size)
{
    struct cpu_irqchip *chip = machine->irqchip;
    bool full = chip && !chip->ops->split;
    int err;

    irq->machine = machine;
    for (unsigned n = 0; n < X86_GSIS; n++) {
        irq->gsi[n] = (struct hw_irq_input){.handler = drive_gsi, .opaque = irq, .n = n};
    }
    err = add_local(irq, error, error_size);
    if (!err && irq->pic && !full) {
        err = add_i8259(irq, error, error_size);
    }
    if (!err && !full) {
        err = add_ioapic(irq, 0, error, error_size);
    }
    if (!err && irq->ioapic2) {
        err = add_ioapic(irq, 1, error, error_size);
    }
    if (!err && chip) {
        chip->ops->set_eoi(chip, take_eoi_unlocked, irq);
    }
    return err;
}

void x86_irq_reset(struct x86_irq *irq)
{
    static const struct {
        enum cpu_irqchip_part part;
        uint32_t size;
    } parts[X86_IRQ_PARTS] = {
        {CPU_IRQCHIP_PIC_MASTER, 16},
        {CPU_IRQCHIP_PIC_SLAVE, 16},
        {CPU_IRQCHIP_IOAPIC, 216},
        {CPU_IRQCHIP_TIMER, 112},
    };
    struct cpu_irqchip *chip = irq->machine->irqchip;

    for (unsigned i = 0; i < X86_IRQ_PARTS && chip && !chip->ops->split; i++) {
        struct x86_irq_part *part = &irq->part[i];

        if (part->saved) {
            (void)chip->ops->load(chip, parts[i].part, part->state, parts[i].size);
        } else {
            part->saved = !chip->ops->save(chip, parts[i].part, part->state, parts[i].size);
        }
    }
}
