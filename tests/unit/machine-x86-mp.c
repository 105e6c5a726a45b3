/*
 * The MultiProcessor Specification's tables, read as a kernel reads them: found by their pointer,
 * sums right, entries walked by their sizes.
 */
#include "hw/machine/x86-irq.h"
#include "hw/machine/x86-mp.h"
#include "target/x86/cpu.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/tap.h"

enum { ENTRIES = 44 };

static char error[512];
static struct machine machine;
static struct x86_memory memory;
static struct x86_boot boot;
static struct x86_cpu processor;

/* What is at an address, up to the end of the blob; NULL: nothing. */
static const uint8_t *at(uint64_t address)
{
    for (const struct loader_blob *b = machine.blobs.first; b; b = b->next) {
        if (address >= b->address && address - b->address < b->filled) {
            return b->data + (address - b->address);
        }
    }
    return NULL;
}

static uint32_t get(const uint8_t *bytes, unsigned size)
{
    uint32_t value = 0;

    memcpy(&value, bytes, size);
    return value;
}

static uint8_t sum(const uint8_t *bytes, size_t size)
{
    uint8_t total = 0;

    for (size_t i = 0; i < size; i++) {
        total = (uint8_t)(total + bytes[i]);
    }
    return total;
}

/* The table of a machine with so many cores in a package. */
static const uint8_t *make(unsigned cpus, unsigned cores, const struct x86_mp *what)
{
    static struct cpu *cpu[1] = {(struct cpu *)&processor};
    const uint8_t *pointer;

    loader_free(&machine.blobs);
    machine = (struct machine){
        .kernel = "kernel",
        .cpus = cpu,
        .smp = {cpus, cpus, (cpus + cores - 1) / cores, 1, 1, cores, 1},
    };
    memory = (struct x86_memory){.below_4g = 64 << 20};
    boot = (struct x86_boot){.machine = &machine, .memory = &memory};
    tap_eq(x86_model_set(&processor.model, "qemu64,check=off", error, sizeof(error)), 0, "a model");
    if (!tap_ok(!x86_mp_add(&boot, what, error, sizeof(error)), "tables of %u processors", cpus)) {
        tap_note("%s", error);
        exit(tap_done());
    }
    pointer = at(0x9fc00);
    tap_ok(pointer && !memcmp(pointer, "_MP_", 4) && pointer[8] == 1 && pointer[9] == 4 &&
               !sum(pointer, 16) && !get(pointer + 11, 4),
           "the floating pointer");
    return at(get(pointer + 4, 4));
}

struct seen {
    unsigned count, of_type[5], boot, last_id;
    unsigned pin[16]; /* of ISA interrupts; 0: none */
    unsigned extint, nmi;
};

static void walk(const uint8_t *table, struct seen *seen)
{
    static const uint8_t sizes[] = {20, 8, 8, 8, 8};
    const uint8_t *end = table + get(table + 4, 2), *e = table + ENTRIES;

    *seen = (struct seen){0};
    for (; e < end && e[0] < sizeof(sizes); e += sizes[e[0]]) {
        seen->count++;
        seen->of_type[e[0]]++;
        switch (e[0]) {
        case 0:
            seen->boot += e[3] == 3;
            seen->last_id = e[1];
            tap_ok(e[2] == 0x14 && e[3] & 1, "processor %u", e[1]);
            break;
        case 1:
            tap_ok(e[1] == 0 && !memcmp(e + 2, "ISA   ", 6), "the ISA bus");
            break;
        case 2:
            tap_ok(e[3] == 1 && get(e + 4, 4) == (e[1] ? 0xfec10000 : 0xfec00000), "an I/O APIC");
            break;
        case 3:
            seen->pin[e[5] & 15] = e[7];
            tap_ok(!e[1] && !get(e + 2, 2) && !e[4] && !e[6] && e[5] < 16, "interrupt %u", e[5]);
            break;
        default:
            seen->extint += e[1] == 3 && e[6] == 0xff && e[7] == 0;
            seen->nmi += e[1] == 1 && e[6] == 0xff && e[7] == 1;
            break;
        }
    }
    tap_ok(e == end, "entries end where the table does");
    tap_eq(get(table + 34, 2), seen->count, "and are counted");
    tap_eq(sum(table, get(table + 4, 2)), 0, "its sum");
}

static void check_usual(void)
{
    const uint8_t *table =
        make(2, 2, &(struct x86_mp){.oem_id = "BOCHS ", .pic = true, .timer = true, .ioapics = 2});
    struct seen seen;
    bool good = true;

    tap_ok(table && !memcmp(table, "PCMP", 4) && table[6] == 4, "a table of version 1.4");
    tap_ok(!memcmp(table + 8, "BOCHS   ", 8) && !memcmp(table + 16, "MICROVM     ", 12), "names");
    tap_eq(get(table + 36, 4), 0xfee00000, "the local APICs");
    walk(table, &seen);
    tap_ok(seen.of_type[0] == 2 && seen.boot == 1 && seen.last_id == 1, "two processors");
    tap_ok(seen.of_type[1] == 1 && seen.of_type[2] == 2, "a bus, two I/O APICs");
    for (unsigned irq = 1; irq < 16; irq++) {
        good &= seen.pin[irq] == (irq == 2 ? 0 : irq);
    }
    tap_ok(good && seen.pin[0] == 2 && seen.of_type[3] == 15, "interrupts, 0 on pin 2");
    tap_ok(seen.extint == 1 && seen.nmi == 1, "the 8259s and NMI");
    tap_eq(table[ENTRIES + 9] & 2, 2, "the processor has an APIC");
}

static void check_bare(void)
{
    struct seen seen;

    walk(make(1, 1, &(struct x86_mp){.oem_id = "ABCDEFGHIJ", .ioapics = 1}), &seen);
    tap_ok(seen.of_type[0] == 1 && seen.of_type[2] == 1, "one of each");
    tap_ok(seen.of_type[3] == 14 && seen.pin[0] == 0, "no timer");
    tap_ok(seen.extint == 0 && seen.nmi == 1, "no 8259s");
}

static void check_many(void)
{
    struct seen seen;

    walk(make(288, 288, &(struct x86_mp){.oem_id = "", .ioapics = 2}), &seen);
    tap_ok(seen.of_type[0] == 255 && seen.last_id == 254, "those that 8 bits can name");
    walk(make(6, 3, &(struct x86_mp){.oem_id = "", .ioapics = 2}), &seen);
    tap_ok(seen.of_type[0] == 6 && seen.last_id == 6, "three cores take the numbers of four");
}

int main(void)
{
    check_usual();
    check_bare();
    check_many();
    loader_free(&machine.blobs);
    return tap_done();
}
