/*
 * Kernels for x86 machines: headers whole and damaged, and what kernels of each protocol find in
 * memory.
 */
#include "hw/machine/loader-x86.h"
#include "hw/machine/x86-boot.h"
#include "hw/nvram/fw-cfg.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/hw-bench.h"

enum { MIB = 1 << 20, FILE_SIZE = 0x3000 };

static char error[512];
static struct machine machine;
static struct x86_memory memory;
static struct x86_boot boot;

/* A machine of so much memory, with nothing loaded. */
static void start(uint64_t below_4g, uint64_t above_4g)
{
    loader_free(&machine.blobs);
    machine = (struct machine){.kernel = "kernel"};
    memory = (struct x86_memory){.below_4g = below_4g, .above_4g = above_4g};
    boot = (struct x86_boot){.machine = &machine,
                             .memory = &memory,
                             .append = "a=1 b",
                             .rsdp = 0xf1230,
                             .tables = 0xd0000};
}

static struct loader_file file_of(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    memcpy(copy, bytes, size);
    return (struct loader_file){.what = "-kernel", .path = "test", .data = copy, .size = size};
}

static int load(const uint8_t *bytes, size_t size)
{
    struct loader_file file = file_of(bytes, size);
    int err;

    *error = '\0';
    err = x86_boot_file(&boot, &file, error, sizeof(error));
    loader_close(&file);
    return err;
}

/* What is loaded at an address: the bytes up to the end of the blob; NULL: nothing. */
static const uint8_t *at(uint64_t address)
{
    for (const struct loader_blob *b = machine.blobs.first; b; b = b->next) {
        if (address >= b->address && address - b->address < b->filled) {
            return b->data + (address - b->address);
        }
    }
    return NULL;
}

static uint64_t get(uint64_t address, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, at(address), size);
    return value;
}

static void put(uint8_t *bytes, unsigned offset, uint64_t value, unsigned size)
{
    memcpy(bytes + offset, &value, size);
}

static void refused(int err, const char *words, const char *what)
{
    if (!tap_ok(err == -EINVAL && strstr(error, words), "%s is refused", what)) {
        tap_note("%d: %s", err, error);
    }
}

/* A file of the host with these bytes, for -initrd. */
static const char *host_file(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(name, "w");

    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) {
        tap_ok(false, "%s is written", name);
    }
    return name;
}

/* ---- Linux ----------------------------------------------------------------------------------- */

static void make_linux(uint8_t *bytes)
{
    memset(bytes, 0, FILE_SIZE);
    bytes[LOADER_LINUX_SETUP_SECTS] = 3;
    put(bytes, LOADER_LINUX_BOOT_FLAG, 0xaa55, 2);
    put(bytes, LOADER_LINUX_JUMP, 0x66eb, 2);
    memcpy(bytes + LOADER_LINUX_MAGIC, (const char[]){'H', 'd', 'r', 'S'}, 4);
    put(bytes, LOADER_LINUX_VERSION, 0x20f, 2);
    bytes[LOADER_LINUX_LOADFLAGS] = LOADER_LINUX_LOADED_HIGH;
    put(bytes, LOADER_LINUX_INITRD_MAX, 0x7fffffff, 4);
    put(bytes, LOADER_LINUX_CMDLINE_SIZE, 2047, 4);
    put(bytes, LOADER_LINUX_PREF_ADDRESS, 16 * MIB, 8);
    put(bytes, LOADER_LINUX_INIT_SIZE, 4 * MIB, 4);
    memset(bytes + 0x800, 0xf4, FILE_SIZE - 0x800);
}

static void check_linux(void)
{
    static uint8_t bytes[FILE_SIZE];
    uint32_t params, initrd;

    make_linux(bytes);
    start(64 * MIB, 5 * (UINT64_C(1) << 30));
    machine.initrd = host_file("initrd", "initrd!", 7);
    tap_eq(load(bytes, sizeof(bytes)), 0, "a bzImage is loaded");
    tap_ok(boot.entry == X86_BOOT_LINUX && boot.eip == MIB, "it starts at its 32-bit entry");
    tap_ok(at(MIB) && !memcmp(at(MIB), bytes + 0x800, FILE_SIZE - 0x800),
           "what is behind the setup code goes to 1 MiB");
    params = boot.esi;
    tap_eq(get(params + 0x202, 4), 0x53726448, "boot_params has the header");
    tap_eq(get(params + 0x210, 1), 0xff, "type of loader");
    tap_str((const char *)at(get(params + 0x228, 4)), "a=1 b", "command line");
    initrd = (uint32_t)get(params + 0x218, 4);
    tap_ok(initrd == 64 * MIB - 4096 && get(params + 0x21c, 4) == 7 &&
               !memcmp(at(initrd), "initrd!", 7),
           "initrd in the last page below 4 GiB");
    tap_eq(get(params + 0x70, 8), 0xf1230, "root pointer of ACPI");
    tap_eq(get(params + 0x1e8, 1), 6, "entries of the memory map");
    tap_ok(get(params + 0x2d0, 8) == 0 && get(params + 0x2d8, 8) == 0x9fc00 &&
               get(params + 0x2d0 + 5 * 20, 8) == X86_4G &&
               get(params + 0x2d0 + 5 * 20 + 8, 8) == memory.above_4g &&
               get(params + 0x2d0 + 5 * 20 + 16, 4) == 1,
           "the first and the last of them");
    tap_ok(get(boot.gdt + 0x10, 8) == 0x00cf9b000000ffff &&
               get(boot.gdt + 0x18, 8) == 0x00cf93000000ffff,
           "descriptors 0x10 and 0x18");

    start(64 * MIB, 0);
    put(bytes, LOADER_LINUX_INITRD_MAX, 0x1ffffff, 4);
    machine.initrd = "initrd";
    tap_eq(load(bytes, sizeof(bytes)), 0, "a kernel that wants its initrd low");
    tap_eq(get(boot.esi + 0x218, 4), 32 * MIB - 4096, "gets it there");
    start(64 * MIB, 0);
    bytes[LOADER_LINUX_JUMP + 1] = 0xff;
    memset(bytes + 0x290, 0xee, 0x80);
    tap_ok(load(bytes, sizeof(bytes)) == 0 && get(boot.esi + 0x290, 8) == 0,
           "a header that is too long is cut");
    make_linux(bytes);
    start(19 * MIB, 0);
    tap_ok(load(bytes, sizeof(bytes)) == -EFBIG && strstr(error, "more than -m gives"),
           "a kernel that needs more memory than there is");
    start(64 * MIB, 0);
    put(bytes, LOADER_LINUX_CMDLINE_SIZE, 4, 4);
    tap_ok(load(bytes, sizeof(bytes)) == -EFBIG && strstr(error, "-append"),
           "a command line that is too long for the kernel");
}

static void check_bad_linux(void)
{
    static uint8_t bytes[FILE_SIZE];
    struct loader_linux image;
    struct loader_file file;
    unsigned bad = 0;

    start(64 * MIB, 0);
    make_linux(bytes);
    put(bytes, LOADER_LINUX_VERSION, 0x201, 2);
    refused(load(bytes, sizeof(bytes)), "protocol 2.01", "an old protocol");
    make_linux(bytes);
    bytes[LOADER_LINUX_LOADFLAGS] = 0;
    refused(load(bytes, sizeof(bytes)), "zImage", "a zImage");
    make_linux(bytes);
    refused(load(bytes, 0x800), "cut off", "a bzImage without kernel");
    bytes[LOADER_LINUX_SETUP_SECTS] = 0xff;
    refused(load(bytes, sizeof(bytes)), "cut off", "a bzImage with too much setup code");
    make_linux(bytes);
    for (size_t size = 1; size < 0x800; size += 7) {
        int err = load(bytes, size);

        bad += err != -EINVAL;
    }
    tap_eq(bad, 0, "a bzImage that ends in its setup code is refused");
    /* Fields that are younger than the protocol are not believed. */
    put(bytes, LOADER_LINUX_VERSION, 0x202, 2);
    file = file_of(bytes, sizeof(bytes));
    tap_ok(!loader_linux(&file, &image, error, sizeof(error)) && image.initrd_max == 0x37ffffff &&
               image.cmdline_max == 255 && image.runs_at == 0 && image.init_size == 0 &&
               image.xloadflags == 0,
           "what protocol 2.02 has not");
    loader_close(&file);
}

/* ---- PVH ------------------------------------------------------------------------------------- */

/* An ELF file of one class with a note and a segment of 16 bytes at 1 MiB. */
static size_t make_elf(uint8_t *bytes, bool wide, uint64_t entry, unsigned entry_size)
{
    const struct {
        Elf64_Nhdr head;
        char name[4];
        uint64_t entry;
    } note = {{4, entry_size, 18}, "Xen", entry};
    size_t headers = wide ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
    size_t row = wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

    memset(bytes, 0, FILE_SIZE);
    if (wide) {
        *(Elf64_Ehdr *)bytes = (Elf64_Ehdr){.e_type = ET_EXEC,
                                            .e_machine = EM_X86_64,
                                            .e_phoff = headers,
                                            .e_phentsize = (uint16_t)row,
                                            .e_phnum = 2,
                                            .e_entry = MIB};
        ((Elf64_Phdr *)(bytes + headers))[0] = (Elf64_Phdr){.p_type = PT_LOAD,
                                                            .p_offset = 0x1000,
                                                            .p_paddr = MIB,
                                                            .p_vaddr = MIB,
                                                            .p_filesz = 16,
                                                            .p_memsz = 0x2000};
        ((Elf64_Phdr *)(bytes + headers))[1] =
            (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = 0x800, .p_filesz = 16 + entry_size};
    } else {
        *(Elf32_Ehdr *)bytes = (Elf32_Ehdr){.e_type = ET_EXEC,
                                            .e_machine = EM_386,
                                            .e_phoff = (uint32_t)headers,
                                            .e_phentsize = (uint16_t)row,
                                            .e_phnum = 2,
                                            .e_entry = MIB};
        ((Elf32_Phdr *)(bytes + headers))[0] = (Elf32_Phdr){.p_type = PT_LOAD,
                                                            .p_offset = 0x1000,
                                                            .p_paddr = MIB,
                                                            .p_vaddr = MIB,
                                                            .p_filesz = 16,
                                                            .p_memsz = 0x2000};
        ((Elf32_Phdr *)(bytes + headers))[1] =
            (Elf32_Phdr){.p_type = PT_NOTE, .p_offset = 0x800, .p_filesz = 16 + entry_size};
    }
    memcpy(bytes, (const char[]){'\177', 'E', 'L', 'F'}, 4);
    bytes[EI_CLASS] = wide ? ELFCLASS64 : ELFCLASS32;
    bytes[EI_DATA] = ELFDATA2LSB;
    bytes[EI_VERSION] = 1;
    memcpy(bytes + 0x800, &note, 16 + entry_size);
    memset(bytes + 0x1000, 0x90, 16);
    return 0x1010;
}

static void check_pvh(bool wide)
{
    static uint8_t bytes[FILE_SIZE];
    size_t size = make_elf(bytes, wide, MIB + 4, wide ? 8 : 4);
    uint64_t info, map, module;

    start(64 * MIB, 0);
    machine.initrd = "initrd";
    tap_eq(load(bytes, size), 0, wide ? "64-bit ELF with PVH note" : "32-bit ELF with PVH note");
    tap_ok(boot.entry == X86_BOOT_FLAT32 && boot.eip == MIB + 4, "it starts where the note says");
    info = boot.ebx;
    tap_ok(get(info, 4) == 0x336ec578 && get(info + 4, 4) == 1 && get(info + 8, 4) == 0,
           "start info: magic, version, flags");
    tap_str((const char *)at(get(info + 24, 8)), "a=1 b", "command line");
    tap_eq(get(info + 32, 8), 0xf1230, "root pointer of ACPI");
    map = get(info + 40, 8);
    tap_ok(get(info + 48, 4) == 5 && get(map + 4 * 24, 8) == MIB &&
               get(map + 4 * 24 + 8, 8) == 63 * MIB && get(map + 4 * 24 + 16, 4) == 1 &&
               get(map + 2 * 24, 8) == 0xd0000 && get(map + 2 * 24 + 16, 4) == 4,
           "memory map, with ACPI's memory");
    module = get(info + 16, 8);
    tap_ok(get(info + 12, 4) == 1 && get(module, 8) == 64 * MIB - 4096 && get(module + 8, 8) == 7,
           "one module");
}

static void check_bad_elf(void)
{
    static uint8_t bytes[FILE_SIZE];
    size_t size = make_elf(bytes, true, UINT64_C(1) << 32, 8);
    unsigned bad = 0;

    start(64 * MIB, 0);
    refused(load(bytes, size), "not below 4 GiB", "a PVH entry above 4 GiB");
    size = make_elf(bytes, true, MIB, 2);
    refused(load(bytes, size), "2 bytes", "a PVH note of 2 bytes");
    size = make_elf(bytes, true, MIB, 8);
    put(bytes, 0x808, 17, 4);
    refused(load(bytes, size), "without PVH note", "an ELF file without PVH note");
    size = make_elf(bytes, true, MIB, 8);
    put(bytes, 0x800, 0xfffffff0, 4);
    refused(load(bytes, size), "without PVH note", "a note whose name never ends");
    size = make_elf(bytes, true, MIB, 8);
    put(bytes, 0x804, 0xffffffff, 4);
    refused(load(bytes, size), "without PVH note", "a note whose content never ends");
    size = make_elf(bytes, true, MIB, 8);
    ((Elf64_Ehdr *)bytes)->e_machine = 243;
    refused(load(bytes, size), "another architecture", "an ELF file for another architecture");
    make_elf(bytes, true, MIB, 8);
    for (size_t cut = 1; cut < size; cut += 13) {
        start(64 * MIB, 0);
        bad += load(bytes, cut) == 0;
    }
    tap_eq(bad, 0, "an ELF file that is cut off is refused");
    start(64 * MIB, 0);
    ((Elf64_Phdr *)(bytes + sizeof(Elf64_Ehdr)))[0].p_paddr = 0xf0000 - 0x1000;
    tap_ok(load(bytes, size) == -EEXIST, "a segment where the start info is");
    refused(load((const uint8_t *)"plain text, no kernel", 21), "expected a bzImage", "text");
}

/* ---- multiboot ------------------------------------------------------------------------------- */

static void make_multiboot(uint8_t *bytes, uint32_t flags)
{
    const uint32_t header[8] = {0x1badb002, flags, -(0x1badb002 + flags), MIB + 0x20,
                                MIB,        0,     MIB + 0x5000,          MIB + 0x100};

    memset(bytes, 0, FILE_SIZE);
    memcpy(bytes + 0x20, header, sizeof(header));
    memset(bytes + 0x100, 0x90, FILE_SIZE - 0x100);
}

static void check_multiboot(void)
{
    static uint8_t bytes[FILE_SIZE];
    uint64_t info, modules, map;

    host_file("first", "one", 3);
    host_file("second,x", "two2", 4);
    make_multiboot(bytes, 0x10003);
    start(64 * MIB, 0);
    machine.initrd = "first with words,second,,x";
    tap_eq(load(bytes, sizeof(bytes)), 0, "a multiboot kernel with addresses");
    tap_ok(boot.entry == X86_BOOT_FLAT32 && boot.eax == 0x2badb002 && boot.eip == MIB + 0x100,
           "magic number and entry");
    tap_ok(!memcmp(at(MIB), bytes, sizeof(bytes)), "all of the file is loaded");
    info = boot.ebx;
    tap_eq(get(info, 4), 1 | 4 | 8 | 64 | 512, "flags of the information");
    tap_ok(get(info + 4, 4) == 639 && get(info + 8, 4) == 63 * 1024, "lower and upper memory");
    tap_str((const char *)at(get(info + 16, 4)), "kernel a=1 b", "command line");
    modules = get(info + 24, 4);
    tap_eq(get(info + 20, 4), 2, "two modules");
    tap_ok(get(modules, 4) == MIB + 0x5000 && get(modules + 4, 4) == MIB + 0x5003 &&
               !memcmp(at(MIB + 0x5000), "one", 3),
           "the first, behind what the kernel clears");
    tap_str((const char *)at(get(modules + 8, 4)), "first with words", "its text");
    tap_ok(get(modules + 16, 4) == MIB + 0x6000 && !memcmp(at(MIB + 0x6000), "two2", 4),
           "the second, in a page of its own");
    tap_str((const char *)at(get(modules + 24, 4)), "second,x", "its text, with a comma");
    map = get(info + 48, 4);
    tap_ok(get(info + 44, 4) == 5 * 24 && get(map, 4) == 20 && get(map + 4, 8) == 0 &&
               get(map + 12, 8) == 0x9fc00 && get(map + 20, 4) == 1,
           "memory map");
    tap_str((const char *)at(get(info + 64, 4)), "tinamou", "the loader's name");
}

static void check_bad_multiboot(void)
{
    static const struct {
        unsigned field; /* of the header, in words */
        uint32_t value;
        const char *words, *what;
    } cases[] = {
        {3, MIB - 4, "not where that says", "a header before what is loaded"},
        {3, MIB + 0x2000, "not where that says", "a header behind where it is"},
        {5, MIB - 1, "ends before", "an end before the start"},
        {5, MIB + FILE_SIZE + 1, "ends before", "an end behind the file"},
        {4, 0xfffff000, "not where that says", "a load address at the end of memory"},
    };
    static uint8_t bytes[FILE_SIZE];

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start(64 * MIB, 0);
        make_multiboot(bytes, 0x10003);
        put(bytes, 0x20 + 4 * cases[i].field, cases[i].value, 4);
        refused(load(bytes, sizeof(bytes)), cases[i].words, cases[i].what);
    }
    make_multiboot(bytes, 0x10007);
    refused(load(bytes, sizeof(bytes)), "video mode", "a wish for a video mode");
    make_multiboot(bytes, 0x10103);
    refused(load(bytes, sizeof(bytes)), "not known", "a wish that is not known");
    make_multiboot(bytes, 0x10003);
    bytes[0x28]++;
    refused(load(bytes, sizeof(bytes)), "expected a bzImage", "a wrong checksum");
    make_multiboot(bytes, 0x10003);
    refused(load(bytes, 0x30), "cut off", "a header without its addresses");
    make_multiboot(bytes, 3);
    refused(load(bytes, sizeof(bytes)), "", "a header without addresses in what is no ELF file");
    make_multiboot(bytes, 0x10003);
    machine.initrd = "there-is-no-such-file";
    start(64 * MIB, 0);
    machine.initrd = "there-is-no-such-file";
    tap_ok(load(bytes, sizeof(bytes)) == -ENOENT && strstr(error, "there-is-no-such-file"),
           "a module that is not there");
}

/* ---- firmware -------------------------------------------------------------------------------- */

static char *no_firmware(const char *name)
{
    return NULL;
}

static uint64_t item(struct fw_cfg *fw, unsigned key, uint32_t *size)
{
    uint64_t value = 0;

    *size = fw->item[0][key].size;
    memcpy(&value, fw->item[0][key].data, *size < 8 ? *size : 8);
    return value;
}

static void check_fw_cfg(void)
{
    static uint8_t bytes[FILE_SIZE];
    struct fw_cfg *fw = bench_create(&fw_cfg_type, "");
    struct loader_file file;
    uint32_t size;
    uint8_t *setup;

    fw->memory = &bench_space;
    bench_realize(fw);
    make_linux(bytes);
    start(64 * MIB, 0);
    machine.fw_cfg = fw;
    machine.find_firmware = no_firmware;
    machine.initrd = "initrd";
    file = file_of(bytes, sizeof(bytes));
    tap_eq(x86_boot_fw_cfg(&boot, &file, error, sizeof(error)), 0, "firmware is told of a bzImage");
    loader_close(&file);
    tap_ok(boot.entry == X86_BOOT_RESET_VECTOR && !machine.blobs.first, "nothing is loaded");
    tap_ok(item(fw, FW_CFG_KERNEL_ADDR, &size) == MIB &&
               item(fw, FW_CFG_KERNEL_SIZE, &size) == FILE_SIZE - 0x800,
           "where the kernel goes, and its size");
    setup = fw->item[0][FW_CFG_SETUP_DATA].data;
    tap_ok(item(fw, FW_CFG_SETUP_SIZE, &size) == 0x800 && setup[0x210] == 0xb0 &&
               (setup[0x211] & 0x81) == 0x81 && setup[0x224] == 0 && setup[0x225] == 0xfe,
           "setup code, its loader and heap");
    tap_ok(item(fw, FW_CFG_INITRD_ADDR, &size) == 64 * MIB - 4096 &&
               item(fw, FW_CFG_INITRD_SIZE, &size) == 7,
           "where the initrd goes, and its size");
    tap_ok(item(fw, FW_CFG_CMDLINE_SIZE, &size) == 6 &&
               !strcmp((char *)fw->item[0][FW_CFG_CMDLINE_DATA].data, "a=1 b"),
           "command line");
    file = file_of((const uint8_t *)"text", 4);
    refused(x86_boot_fw_cfg(&boot, &file, error, sizeof(error)), "with -bios", "text for firmware");
    loader_close(&file);
    hw_device_destroy(&fw->device);
}

int main(void)
{
    const char *folder = getenv("TMPDIR");

    if (folder && chdir(folder)) {
        tap_ok(false, "TMPDIR");
    }
    bench_init();
    hw_lock_acquire();
    check_linux();
    check_bad_linux();
    check_pvh(false);
    check_pvh(true);
    check_bad_elf();
    check_multiboot();
    check_bad_multiboot();
    check_fw_cfg();
    loader_free(&machine.blobs);
    return tap_done();
}
