/* tinamou-system-riscv64: which machines and devices this program has. */
#include "hw/block/pflash-cfi01.h"
#include "hw/char/serial16550.h"
#include "hw/intc/aclint.h"
#include "hw/intc/plic.h"
#include "hw/machine/machine.h"
#include "hw/misc/htif.h"
#include "hw/misc/syscon-test.h"
#include "hw/nvram/fw-cfg.h"
#include "hw/pci/gpex.h"
#include "hw/pci/root-port.h"
#include "hw/rtc/goldfish-rtc.h"
#include "hw/virtio/blk.h"
#include "hw/virtio/console.h"
#include "hw/virtio/mmio.h"
#include "hw/virtio/net.h"
#include "hw/virtio/pci.h"
#include "hw/virtio/rng.h"
#include "system/system.h"
#include "target/riscv/cpu.h"

static const struct accel_system_ops *const accels[] = {&accel_system_tcg, NULL};

static const struct machine_type *const machines[] = {&riscv_virt_type, &riscv_spike_type, NULL};

static const struct hw_device_type *const board_types[] = {
    &plic_type,         &aclint_swi_type,  &aclint_mtimer_type, &serial16550_type,
    &goldfish_rtc_type, &syscon_test_type, &htif_type,          &fw_cfg_type,
    &pflash_cfi01_type, &virtio_mmio_type, &gpex_type,          NULL,
};

static const struct hw_device_type *const plug_types[] = {
    &pcie_root_port_type, &virtio_blk_type,  &virtio_net_type,     &virtio_rng_type,
    &virtio_serial_type,  &virtconsole_type, &virtserialport_type, NULL,
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
        .name = "riscv64",
        .ops = &riscv64_target_ops,
        .accels = accels,
        .machines = machines,
        .devices = devices,
    };

    return system_main(&target, argc, argv);
}
