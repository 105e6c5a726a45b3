/* The processors of x86 machines. */
#include "hw/machine/x86-cpus.h"

#include "target/x86/cpu.h"

/* Bits for `count` different numbers. */
static unsigned width(unsigned count)
{
    unsigned bits = 0;

    while ((1u << bits) < count) {
        bits++;
    }
    return bits;
}

uint32_t x86_cpus_apic_id(const struct machine *machine, unsigned index)
{
    const struct machine_smp *smp = &machine->smp;
    const unsigned levels[] = {smp->threads, smp->cores, smp->dies};
    uint32_t id = 0;
    unsigned shift = 0;

    for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        id |= index % levels[i] << shift;
        index /= levels[i];
        shift += width(levels[i]);
    }
    return id | index << shift;
}

uint32_t x86_cpus_apic_id_limit(const struct machine *machine)
{
    return x86_cpus_apic_id(machine, machine->smp.max_cpus - 1) + 1;
}

void x86_cpus_init(struct machine *machine)
{
    const struct machine_smp *smp = &machine->smp;

    for (unsigned n = 0; n < smp->cpus; n++) {
        struct x86_cpu *cpu = x86_cpu(machine->cpus[n]);

        cpu->bootstrap = n == 0;
        cpu->model.apic_id = x86_cpus_apic_id(machine, n);
        cpu->model.threads = smp->threads;
        cpu->model.cores = smp->cores;
        cpu->model.dies = smp->dies;
        cpu->model.sockets = smp->sockets;
    }
}
