/*
 * Expansion ROMs (PCI 3.0, clause 6.2.5.2): a file that software finds at the address that it gives
 * to the expansion ROM base address register, while that register's bit 0 and memory space are on.
 *
 * The file is read when the device is made. What is behind its end, up to the next power of two, is
 * zeros. Bits 10 to 1 of the register are reserved, so there is no ROM of less than 2 KiB.
 */
#include "hw/pci/internal.h"
#include "util/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROM_SIZE_MIN 2048
#define ROM_SIZE_MAX (UINT64_C(16) << 20) /* clause 6.2.5.2 */

static char *(*finder)(const char *name);

void pci_set_rom_finder(char *(*find)(const char *name))
{
    finder = find;
}

struct reason {
    const struct pci_function *function;
    char *error;
    size_t error_size;
};

__attribute__((format(printf, 3, 4))) static int fail(const struct reason *r, int err,
                                                      const char *format, ...)
{
    char name[128], why[128];
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    hw_device_name(&r->function->device, name, sizeof(name));
    snprintf(r->error, r->error_size, "%s: romfile=%s: %s", name, r->function->romfile, why);
    return -err;
}

static int open_file(const struct reason *r, uint64_t *size)
{
    const char *name = r->function->romfile;
    char *found = finder ? finder(name) : NULL;
    int fd = open(found ? found : name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    int err = errno;

    free(found);
    if (fd < 0) {
        return fail(r, err, "%s", strerror(err));
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 1 ||
        (uint64_t)st.st_size > ROM_SIZE_MAX) {
        close(fd);
        return fail(r, EINVAL, "expected a file of 1 byte to 16 MiB");
    }
    *size = (uint64_t)st.st_size;
    return fd;
}

static int read_file(const struct reason *r, int fd, uint8_t *to, uint64_t size)
{
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pread(fd, to + at, size - at, (off_t)at);

        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return fail(r, EIO, "%s", n ? strerror(errno) : "it has become shorter");
        }
        at += n > 0 ? (uint64_t)n : 0;
    }
    return 0;
}

/* RAM of whole pages, of which the register shows `shown` bytes. */
static int make_ram(struct pci_function *function, uint64_t shown, char *error, size_t error_size)
{
    uint64_t whole = bits_align_up(shown, MEM_PAGE_SIZE);
    char name[128];
    struct mem_ram_config config = {.name = name, .size = whole};
    int err;

    snprintf(name, sizeof(name), "%s/%02x.%x.rom", function->bus->bus.name,
             PCI_SLOT(function->devfn), PCI_FN(function->devfn));
    err = mem_ram_create(&function->rom, &config, error, error_size);
    if (err) {
        function->rom = NULL;
        return err;
    }
    (void)mem_region_init_ram(&function->rom_memory, "pci-rom", function->rom, 0, whole, true);
    mem_region_init_alias(&function->rom_window, "pci-rom-window", &function->rom_memory, 0, shown);
    return 0;
}

int pci_add_rom(struct pci_function *function, char *error, size_t error_size)
{
    struct reason r = {function, error, error_size};
    uint64_t size = 0, shown;
    int fd, err;

    if (!function->romfile || !*function->romfile || !function->rombar) {
        return 0;
    }
    fd = open_file(&r, &size);
    if (fd < 0) {
        return fd;
    }
    shown = bits_pow2_ceil(size < ROM_SIZE_MIN ? ROM_SIZE_MIN : size);
    err = make_ram(function, shown, error, error_size);
    err = err ? err : read_file(&r, fd, function->rom->host, size);
    close(fd);
    if (err) {
        pci_rom_free(function);
        return err;
    }
    pci_add_bar(function, PCI_ROM_BAR, PCI_BAR_ROM, &function->rom_window, shown);
    return 0;
}

void pci_rom_free(struct pci_function *function)
{
    if (function->rom) {
        mem_region_retire(&function->rom_window, NULL, NULL);
        mem_region_retire(&function->rom_memory, NULL, NULL);
        mem_ram_unref(function->rom);
        function->rom = NULL;
        function->bars[PCI_ROM_BAR] = (struct pci_bar){0};
    }
}
