/* What the guest is started with: registers, and the start info of PVH. */
#include "tests/kvm/guest.h"

struct module {
    uint64_t address, size, command_line, reserved;
};
struct range {
    uint64_t address, size;
    uint32_t type, reserved;
};

extern const uint32_t entry_cr0, entry_cr4, entry_flags;

static void registers(void)
{
    expect("CR0", entry_cr0 & ~0x10u, 1);
    expect("CR4", entry_cr4, 0);
    expect("VM, IF and TF", entry_flags & 0x20300, 0);
}

static void info(void)
{
    expect("magic", start_info->magic, START_INFO_MAGIC);
    expect("version", start_info->version, 1);
    expect("flags", start_info->flags, 0);
    say("command line: '%s'\n", command_line);
    expect("modules", start_info->modules, argument("modules", 0));
}

static void modules(void)
{
    const struct module *module = (const struct module *)start_info->module_list;

    for (unsigned i = 0; i < start_info->modules; i++, module++) {
        const uint8_t *bytes = (const uint8_t *)module->address;
        uint32_t sum = 0;

        for (uint64_t n = 0; n < module->size; n++) {
            sum = sum * 31 + bytes[n];
        }
        say("module of %lx bytes, sum %x\n", module->size, sum);
        check("in pages of its own", !(module->address & 0xfff));
    }
}

/* Ranges of RAM, and that they are: their first and last words hold what is written there. */
static void memory(void)
{
    const struct range *range = (const struct range *)start_info->memory_map;
    uint64_t total = 0, end_of_last = 0;
    bool apart = true;

    for (unsigned i = 0; i < start_info->memory_map_entries; i++, range++) {
        if (range->type != 1) {
            continue;
        }
        apart &= range->address >= end_of_last;
        end_of_last = range->address + range->size;
        total += range->size;
        say("RAM from %lx to %lx\n", range->address, end_of_last);
        for (unsigned last = 0; last < 2 && range->address >= 0x100000; last++) {
            uint64_t at = last ? end_of_last - 8 : range->address;
            uint64_t old;

            if (at >= 5ull << 30) {
                continue;
            }
            old = read64(at);
            write64(at, 0x0123456789abcdef);
            check(last ? "last word" : "first word", read64(at) == 0x0123456789abcdef);
            write64(at, old);
        }
    }
    check("in order, apart", apart);
    say("%ld MiB and less than one\n", (total + 0xfffff) >> 20);
}

const struct part parts[] = {
    {"registers", registers}, {"info", info}, {"modules", modules},
    {"memory", memory},       {NULL, NULL},
};
