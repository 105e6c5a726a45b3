/*
 * The interrupt controllers of a PC in the kernel: two 8259s, an I/O APIC, the local APICs, and
 * beside them the 8254 timer; or, split, the local APICs alone.
 */
#include "accel/kvm/kvm.h"

#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const uint32_t kvm_arch_pins = KVM_IOAPIC_NUM_PINS;

/* As cpu/irq.h says. Interrupt 0 is on pin 2 of the I/O APIC, which is what ACPI tables and the MP
 * table of a PC say ("interrupt source override"). */
static int route_pins(void)
{
    int err = 0;

    for (uint32_t gsi = 0; gsi < KVM_IOAPIC_NUM_PINS && !err; gsi++) {
        if (gsi == 2) {
            continue; /* the cascade */
        }
        if (gsi < 16) {
            err = kvm_route_pin(gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
                                gsi % 8);
        }
        if (!err) {
            err = kvm_route_pin(gsi, KVM_IRQCHIP_IOAPIC, gsi ? gsi : 2);
        }
    }
    return err;
}

int kvm_arch_init_irqchip(char *error, size_t error_size)
{
    int err;

    if (kvm.irqchip_mode == KVM_IRQCHIP_SPLIT) {
        /* The pins' numbers are reserved: their level-triggered messages have their EOIs told. */
        struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {KVM_IOAPIC_NUM_PINS}};

        err = kvm_vm_ioctl(KVM_ENABLE_CAP, &cap);
    } else {
        err = kvm_vm_ioctl(KVM_CREATE_IRQCHIP, NULL);
        err = err < 0 ? err : route_pins();
    }
    if (err < 0) {
        snprintf(error, error_size,
                 "-accel kvm: kernel-irqchip=%s: %s: expected another value, or a newer kernel",
                 kvm.irqchip_mode == KVM_IRQCHIP_SPLIT ? "split" : "on", strerror(-err));
        return err;
    }
    return 0;
}

int kvm_arch_add_timer(void)
{
    /* The kernel answers port 0x61 too, whose gate and output belong to counter 2. */
    struct kvm_pit_config config = {.flags = KVM_PIT_SPEAKER_DUMMY};
    int err = kvm_check_extension(KVM_CAP_PIT2) && kvm_check_extension(KVM_CAP_PIT_STATE2)
                  ? kvm_vm_ioctl(KVM_CREATE_PIT2, &config)
                  : -ENOTSUP;

    return err < 0 ? err : 0;
}

/* ---- state ----------------------------------------------------------------------------------- */

/* The kernel's number and size of a part. */
static int find_chip(unsigned part, uint32_t size, struct kvm_irqchip *chip)
{
    static const struct {
        uint32_t id, size;
    } parts[] = {
        [CPU_IRQCHIP_PIC_MASTER] = {KVM_IRQCHIP_PIC_MASTER, sizeof(struct kvm_pic_state)},
        [CPU_IRQCHIP_PIC_SLAVE] = {KVM_IRQCHIP_PIC_SLAVE, sizeof(struct kvm_pic_state)},
        [CPU_IRQCHIP_IOAPIC] = {KVM_IRQCHIP_IOAPIC, sizeof(struct kvm_ioapic_state)},
    };

    if (part >= sizeof(parts) / sizeof(parts[0]) || size != parts[part].size) {
        return -EINVAL;
    }
    memset(chip, 0, sizeof(*chip));
    chip->chip_id = parts[part].id;
    return kvm.irqchip_mode == KVM_IRQCHIP_ON ? 0 : -ENOTSUP;
}

int kvm_arch_irqchip_save(unsigned part, void *state, uint32_t size)
{
    struct kvm_irqchip chip;
    int err;

    if (part == CPU_IRQCHIP_TIMER) {
        err = size == sizeof(struct kvm_pit_state2) ? kvm_vm_ioctl(KVM_GET_PIT2, state) : -EINVAL;
        return err < 0 ? err : 0;
    }
    err = find_chip(part, size, &chip);
    if (!err) {
        err = kvm_vm_ioctl(KVM_GET_IRQCHIP, &chip);
        memcpy(state, &chip.chip, size);
    }
    return err < 0 ? err : 0;
}

int kvm_arch_irqchip_load(unsigned part, const void *state, uint32_t size)
{
    struct kvm_irqchip chip;
    int err;

    if (part == CPU_IRQCHIP_TIMER) {
        err = size == sizeof(struct kvm_pit_state2) ? kvm_vm_ioctl(KVM_SET_PIT2, (void *)state)
                                                    : -EINVAL;
        return err < 0 ? err : 0;
    }
    err = find_chip(part, size, &chip);
    if (!err) {
        memcpy(&chip.chip, state, size);
        err = kvm_vm_ioctl(KVM_SET_IRQCHIP, &chip);
    }
    return err < 0 ? err : 0;
}
