/* tinamou-system-x86_64: which machines and devices this program has. */
#include "hw/acpi/ged.h"
#include "hw/char/isa-serial.h"
#include "hw/char/serial16550.h"
#include "hw/intc/apic.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/isa/isa.h"
#include "hw/machine/machine.h"
#include "hw/misc/isa-debug-exit.h"
#include "hw/nvram/fw-cfg.h"
#include "hw/pci/gpex.h"
#include "hw/pci/root-port.h"
#include "hw/rtc/mc146818.h"
#include "hw/timer/i8254.h"
#include "hw/virtio/blk.h"
#include "hw/virtio/console.h"
#include "hw/virtio/mmio.h"
#include "hw/virtio/net.h"
#include "hw/virtio/pci.h"
#include "hw/virtio/rng.h"
#include "system/system.h"
#include "target/x86/cpu.h"

static const struct accel_system_ops *const accels[] = {&accel_system_kvm, NULL};

static const struct machine_type *const machines[] = {&x86_microvm_type, NULL};

static const struct hw_device_type *const board_types[] = {
    &apic_type,   &ioapic_type, &i8259_type, &i8254_type,       &mc146818_type,    &isa_bridge_type,
    &fw_cfg_type, &ged_type,    &gpex_type,  &virtio_mmio_type, &serial16550_type, NULL,
};

static const struct hw_device_type *const plug_types[] = {
    &isa_serial_type,     &isa_debug_exit_type,
    &pcie_root_port_type, &virtio_blk_type,
    &virtio_net_type,     &virtio_rng_type,
    &virtio_serial_type,  &virtconsole_type,
    &virtserialport_type, NULL,
};

static const struct hw_device_type *const *const devices[] = {
    board_types,
    plug_types,
    virtio_pci_types,
    NULL,
};

int main(int argc, char **argv)
{
    static const struct system_target target = {
        .name = "x86_64",
        .ops = &x86_64_target_ops,
        .accels = accels,
        .machines = machines,
        .devices = devices,
    };

    return system_main(&target, argc, argv);
}
