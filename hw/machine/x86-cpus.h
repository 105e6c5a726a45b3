/* The processors of x86 machines: which one boots, and their places in the topology. */
#ifndef TINAMOU_HW_MACHINE_X86_CPUS_H
#define TINAMOU_HW_MACHINE_X86_CPUS_H

#include "hw/machine/machine.h"

/*
 * The APIC id of vCPU `index`: its numbers within core, package and machine side by side, each in
 * as many bits as the largest needs (SDM volume 3, "Hierarchical Mapping of Shared Resources"), so
 * that ids have gaps where a level does not have 2^n members. For machine_type.cpu_id.
 */
uint32_t x86_cpus_apic_id(const struct machine *machine, unsigned index);

/* One more than the highest APIC id, of vCPUs that may be added later too. */
uint32_t x86_cpus_apic_id_limit(const struct machine *machine);

/* Tells vCPUs their topology; the first is the boot processor. In init, before anything else. */
void x86_cpus_init(struct machine *machine);

#endif
