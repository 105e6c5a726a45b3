/*
 * A vCPU's registers and memory as a guest may leave them: page walks, loading of segments, dumps
 * and disassembly must end, read nothing but RAM, and agree with each other.
 *
 * Input: a flag byte for the model, registers, then memory, which repeats over 64 KiB of RAM.
 */
#include "mem/space.h"
#include "target/x86/arch.h"
#include "target/x86/cpu.h"
#include "target/x86/mmu.h"
#include "target/x86/segment.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>

enum { RAM = 0x10000 };

static struct x86_cpu *cpu;
static struct mem_space space;
static struct mem_region root, ram_region;
static struct mem_ram *ram;

static void wake(struct cpu *c)
{
}

static struct cpu_service_ops service = {.wake = wake};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char error[256];

    mem_region_init_container(&root, "root", MEM_SIZE_ALL);
    mem_space_init(&space, "memory", &root);
    if (mem_ram_create(&ram, &(struct mem_ram_config){.name = "ram", .size = RAM}, error,
                       sizeof(error)) ||
        mem_region_init_ram(&ram_region, "ram", ram, 0, RAM, false)) {
        abort();
    }
    mem_region_add(&root, 0, &ram_region, 0);
    cpu = aligned_alloc(64, (sizeof(*cpu) + 63) & ~(size_t)63);
    if (!cpu) {
        abort();
    }
    memset(cpu, 0, sizeof(*cpu));
    cpu->common.ops = &x86_64_target_ops;
    if (x86_64_target_ops.set_model(&cpu->common, "max", error, sizeof(error))) {
        abort();
    }
    return 0;
}

static void line(void *opaque, const char *text)
{
    assert(strlen(text) < 256 && !strchr(text, '\n'));
    ++*(unsigned *)opaque;
}

static void fill(struct fuzz_input *in)
{
    static const uint64_t paging[] = {0, X86_CR0_PE, X86_CR0_PE | X86_CR0_PG};
    unsigned kind = (unsigned)fuzz_number(in, 1);

    cpu->cr0 = paging[kind % 3];
    cpu->cr4 = (kind & 4 ? X86_CR4_PAE : 0) | (kind & 8 ? X86_CR4_PSE : 0) |
               (kind & 16 ? X86_CR4_LA57 : 0);
    cpu->efer = (kind & 32 ? X86_EFER_LME | X86_EFER_LMA : 0) | (kind & 64 ? X86_EFER_NXE : 0);
    cpu->has_pdptrs = kind & 128;
    cpu->cr3 = fuzz_number(in, 8);
    cpu->rip = fuzz_number(in, 8);
    cpu->rflags = fuzz_number(in, 4);
    for (unsigned n = 0; n < X86_SEGMENTS; n++) {
        cpu->segment[n].base = fuzz_number(in, 8);
        cpu->segment[n].limit = (uint32_t)fuzz_number(in, 4);
        cpu->segment[n].attributes = (uint16_t)fuzz_number(in, 2);
    }
    cpu->gdt.base = fuzz_number(in, 8);
    cpu->gdt.limit = (uint16_t)fuzz_number(in, 2);
    cpu->activity = (enum x86_activity)(fuzz_number(in, 1) % 5);
    for (unsigned n = 0; n < 4; n++) {
        cpu->pdptr[n] = fuzz_number(in, 8);
    }
    for (size_t n = 0; n < RAM; n++) {
        ram->host[n] = in->left ? in->data[n % in->left] : 0;
    }
}

static void walk(uint64_t address)
{
    struct x86_walk w;
    struct cpu_translation t;
    int err = x86_walk(cpu, address, &w);

    assert(x86_debug_address(&cpu->common, address, &t) == err);
    if (!err) {
        uint64_t mask = w.page_size - 1;

        assert(w.page_size >= 4096 && !(w.page_size & mask));
        assert((w.gpa & mask) == (address & mask));
        assert(t.gpa == w.gpa && t.page_size == w.page_size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    struct cpu_system wiring = {.service = &service, .memory = &space};
    char error[64], bytes[64];
    uint64_t addresses[4];
    unsigned lines = 0;

    x86_64_target_ops.reset(&cpu->common);
    x86_system_ops.attach(&cpu->common, &wiring, error, sizeof(error));
    for (unsigned n = 0; n < 4; n++) {
        addresses[n] = fuzz_number(&in, 8);
    }
    fill(&in);
    for (unsigned n = 0; n < 4; n++) {
        walk(addresses[n]);
        x86_load_segment(cpu, n * 2 + (addresses[n] >> 63), (uint16_t)addresses[n]);
        x86_read_linear_some(cpu, addresses[n], bytes, sizeof(bytes));
    }
    assert(x86_mode(cpu) < X86_MODE_COUNT && x86_privilege(cpu) < 4);
    x86_dump(cpu, line, &lines);
    assert(lines > 15 && lines < 40);
    return 0;
}
