/*
 * Machines: what is soldered onto a board, and how it starts.
 *
 * A machine type is a descriptor with properties, like a device's. A struct machine is made by
 * system/, which fills in what the command line says (memory, vCPUs, files, host ends), and calls
 * the type in this order, under the machine lock:
 *
 *     init    vCPUs exist and are wired to memory and clock: makes the board's devices and buses
 *     (system/ plugs what -device asks for)
 *     boot    everything is there: loads firmware, kernel and device tree as blobs (loader.h)
 *     reset   at start and at each reset, after devices and blobs: says where vCPUs start
 *
 * Types have versions, named NAME-MAJOR.MINOR, so that a saved machine can be loaded by a later
 * release; the newest has the bare name as alias. A version that differs by defaults only has a
 * list of those in `defaults`.
 *
 * Nothing here knows what runs vCPUs.
 */
#ifndef TINAMOU_HW_MACHINE_MACHINE_H
#define TINAMOU_HW_MACHINE_MACHINE_H

#include "cpu/system.h"
#include "hw/core/device.h"
#include "hw/core/irq.h"
#include "hw/machine/loader.h"
#include "mem/space.h"

struct block_node;
struct chardev;
struct fw_cfg;
struct loop;
struct machine;

/* A default of a device's property, by machine version or by -global. */
struct machine_default {
    const char *type, *property, *value;
};

struct machine_type {
    const char *name, *alias;               /* "virt-1.0", "virt" */
    const char *help;                       /* one line */
    const char *target;                     /* of struct cpu_target_ops: "riscv64" */
    size_t size;                            /* of the struct that begins with struct machine */
    const struct property *properties;      /* offsets into that struct */
    const struct machine_default *defaults; /* ends with a NULL type; may be NULL */
    const char *cpu_model;
    uint64_t ram_size;
    unsigned max_cpus;
    bool has_dies;                /* -smp dies= may be more than 1 */
    const char *firmware;         /* base name of what is loaded without -bios; NULL: nothing */
    const char *firmware_package; /* that Debian has it in, for messages */
    const char *drive_device;     /* what -drive if=virtio makes; NULL: it has no bus for it */
    const char *nic_device;       /* what -nic makes without model=; NULL: none */
    unsigned serials;             /* how many -serial it takes */
    unsigned flashes;             /* how many -drive if=pflash it takes */
    int (*init)(struct machine *machine, char *error, size_t error_size);
    int (*boot)(struct machine *machine, char *error, size_t error_size);
    void (*reset)(struct machine *machine);
    /* The power button is pressed; NULL: there is none. */
    void (*powerdown)(struct machine *machine);
    /* By which number processors know vCPU `index` (APIC id); NULL: by its index. Of machine, smp
     * is set. */
    uint32_t (*cpu_id)(const struct machine *machine, unsigned index);
};

/* What init and boot return when there is nothing more to do, and the process ends well. */
#define MACHINE_DONE 1

#define MACHINE_SERIALS 4
#define MACHINE_FLASHES 2
/* Input lines per vCPU that devices can be wired to. */
#define MACHINE_CPU_INPUTS 16

struct machine_smp {
    unsigned cpus, max_cpus;
    unsigned sockets, dies, clusters, cores, threads;
};

struct machine {
    const struct machine_type *type;
    /* set by system/ before init */
    struct machine_smp smp;
    uint64_t ram_size;
    struct mem_ram *ram_block; /* ram_size bytes */
    struct cpu **cpus;         /* smp.cpus of them */
    struct cpu_clock_source *clock;
    struct cpu_irqchip
        *irqchip;      /* what the accelerator has of the interrupt controllers, or NULL */
    struct loop *loop; /* the main loop */
    struct cpu *(*current_cpu)(void); /* the vCPU whose thread calls, or NULL */
    int64_t rtc_offset;               /* ns that a real-time clock is ahead of the host's */
    const char *bios;                 /* as -bios has it; NULL: default */
    const char *kernel, *initrd, *append, *dtb;
    struct chardev *serials[MACHINE_SERIALS];
    struct block_node *flashes[MACHINE_FLASHES];
    const struct machine_default *globals; /* of -global; ends with a NULL type; may be NULL */
    /* Finds a firmware file by base name or path: malloc'ed path, or NULL. */
    char *(*find_firmware)(const char *name);
    /* properties of all types */
    char *dumpdtb, *memory_backend, *kernel_irqchip;
    bool dump_guest_core, usb;
    /* made here */
    struct mem_region root; /* the memory that vCPUs see */
    struct mem_space memory;
    struct mem_region io_root; /* 64 KiB of I/O ports; empty where the processor has none */
    struct mem_space io;
    struct mem_region ram;
    struct hw_bus bus; /* devices that the board wires, and below them all others */
    struct fw_cfg *fw_cfg;
    struct loader_blobs blobs;
    struct hw_irq_input *cpu_inputs;
};

/* Of this folder, for machine_add_types(). */
extern const struct machine_type riscv_virt_type, riscv_spike_type, x86_microvm_type;

/* Types, a NULL-terminated static array; before machine_find_type(). */
void machine_add_types(const struct machine_type *const *types);
/* By name or alias; NULL if there is none. */
const struct machine_type *machine_find_type(const char *name);
/* The n-th, or NULL. */
const struct machine_type *machine_type_at(unsigned n);

/* A machine with its properties' defaults and an empty memory; NULL when out of memory. */
struct machine *machine_create(const struct machine_type *type);

/* At the end of the process: ends all devices, last made first, so that the host's ends of them may
 * go. vCPUs have ended; memory stays, for the accelerator listens to it. */
void machine_remove_devices(struct machine *machine);

/* Sets a property of the type, or one that all machines have. Errors as property_set(). */
int machine_set_property(struct machine *machine, const char *name, const char *value, char *error,
                         size_t error_size);

/* What all machines have, for help. */
extern const struct property machine_properties[];

/*
 * A device with the defaults of the machine's version and those of -global: as hw_device_create()
 * and hw_device_set(). NULL with a line in error[].
 */
struct hw_device *machine_new_device(struct machine *machine, const struct hw_device_type *type,
                                     const char *id, char *error, size_t error_size);

/*
 * Realizes a device of the board on the machine's own bus; on error destroys it. It may be NULL,
 * and then error[] is left as it is (of machine_new_device()) and -EINVAL returned.
 */
int machine_add_device(struct machine *machine, struct hw_device *device, char *error,
                       size_t error_size);

/* The first realized bus of that type with room (name NULL), or the bus of that name; or NULL. */
struct hw_bus *machine_find_bus(struct machine *machine, const char *type, const char *name);

/* Line `line` (below MACHINE_CPU_INPUTS) of vCPU `cpu` as a wire's end. */
struct hw_irq_input *machine_cpu_input(struct machine *machine, unsigned cpu, unsigned line);

/* Maps [base, base + ram_size) to ram_block. 0, or -errno with a line in error[]. */
int machine_map_ram(struct machine *machine, uint64_t base, char *error, size_t error_size);

/* Devices, blobs, vCPUs, in this order. vCPUs are stopped; under the machine lock. */
void machine_reset(struct machine *machine, bool cold);

#endif
