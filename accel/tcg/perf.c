/*
 * Generated code for perf: a map of names, and a dump of the code.
 *
 * -perfmap writes /tmp/perf-PID.map, which perf reads for samples in memory that no file backs: a
 * line `START SIZE NAME` (hexadecimal) for each unit. When the code buffer is emptied the map
 * starts anew, as addresses then mean something else; samples from before get names from after.
 *
 * -jitdump writes jit-PID.dump in the working folder, in perf's jitdump format: a header, then for
 * each unit a record with name and bytes. Records have times, so code that is replaced does no
 * harm. perf finds the file by a mapping that we make of its first page, executable and never used:
 * that is in the recording, and `perf inject -j` looks for it. Times are CLOCK_MONOTONIC's, for
 * `perf record -k mono`.
 *
 * A unit has the name of the guest function it belongs to, with its distance from the function's
 * start, or guest_0xADDRESS. A fork child has files of its own. Descriptors stay open, out of the
 * guest's way; the child's replace the parent's at the same numbers. A program that the guest
 * executes in its place has the same process id, so its files replace these.
 */
#include "accel/tcg/perf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "accel/tcg/internal.h"
#include "util/log.h"

enum {
    DUMP_MAGIC = 0x4a695444, /* "JiTD" */
    DUMP_VERSION = 1,
    DUMP_CODE_LOAD = 0,
    MARKER_SIZE = 4096,
    NAME_SIZE = 256,
};

struct dump_header {
    uint32_t magic, version, total_size, elf_machine, pad, pid;
    uint64_t time, flags;
};
_Static_assert(sizeof(struct dump_header) == 40, "as the specification has it");

struct dump_load {
    uint32_t id, total_size;
    uint64_t time;
    uint32_t pid, tid;
    uint64_t vma, address, size, index;
};
_Static_assert(sizeof(struct dump_load) == 56, "as the specification has it");

static struct {
    int map, dump; /* descriptors; -1: not open */
    char folder[4096];
    uint64_t index; /* of the next record */
    void *marker;
    uint32_t thunks;
} perf = {.map = -1, .dump = -1};

bool tcg_perf_enabled(void)
{
    return perf.map >= 0 || perf.dump >= 0;
}

static uint64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Gives up on a file that can't be written: a record cut short would spoil what follows. */
static void put(int *fd, struct iovec *parts, int count)
{
    size_t size = 0;

    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    if (writev(*fd, parts, count) != (ssize_t)size) {
        log_printf("the profile can't be written: %s\n", strerror(errno ? errno : ENOSPC));
        close(*fd);
        *fd = -1;
    }
}

static void add_code(uint32_t offset, uint32_t size, const char *name)
{
    uint64_t address = (uint64_t)(tcg_code_rx + offset);

    if (perf.map >= 0) {
        char line[NAME_SIZE + 64];
        int n =
            snprintf(line, sizeof(line), "%llx %x %s\n", (unsigned long long)address, size, name);
        struct iovec parts = {line, (size_t)n};

        put(&perf.map, &parts, 1);
    }
    if (perf.dump >= 0) {
        size_t name_size = strlen(name) + 1;
        struct dump_load load = {
            .id = DUMP_CODE_LOAD,
            .total_size = (uint32_t)(sizeof(load) + name_size + size),
            .time = now(),
            .pid = (uint32_t)getpid(),
            .tid = (uint32_t)syscall(SYS_gettid),
            .vma = address,
            .address = address,
            .size = size,
            .index = perf.index++,
        };
        struct iovec parts[] = {
            {&load, sizeof(load)}, {(char *)name, name_size}, {tcg_code_rx + offset, size}};

        put(&perf.dump, parts, 3);
    }
}

void tcg_perf_unit(const struct tcg_unit *unit)
{
    const char *symbol = NULL;
    uint64_t distance = 0;
    char name[NAME_SIZE];

    if (!tcg_perf_enabled()) {
        return;
    }
    if (tcg.config.symbol) {
        symbol = tcg.config.symbol(unit->pc, &distance);
    }
    if (!symbol) {
        snprintf(name, sizeof(name), "guest_0x%llx", (unsigned long long)unit->pc);
    } else if (distance == 0) {
        snprintf(name, sizeof(name), "%s", symbol);
    } else {
        /* the distance is kept where a name is too long */
        snprintf(name, sizeof(name), "%.*s+0x%llx", NAME_SIZE - 24, symbol,
                 (unsigned long long)distance);
    }
    for (char *c = name; *c; c++) {
        if ((unsigned char)*c < ' ') {
            *c = '?'; /* a symbol of the guest's may not make lines of its own */
        }
    }
    add_code(unit->code, unit->code_size, name);
}

void tcg_perf_thunks(uint32_t size)
{
    perf.thunks = size;
    if (tcg_perf_enabled()) {
        add_code(0, size, "tinamou_thunks");
    }
}

/* A new file that is ours alone; or -errno. /tmp is everybody's: whatever has the name goes. */
static int create(const char *path)
{
    int fd;

    unlink(path);
    /* O_APPEND: where the file was emptied, writing goes on at its start */
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_APPEND | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : fd;
}

static int open_map(char *path, size_t size)
{
    snprintf(path, size, "/tmp/perf-%d.map", getpid());
    return create(path);
}

static int open_dump(char *path, size_t size)
{
    struct dump_header header = {
        .magic = DUMP_MAGIC,
        .version = DUMP_VERSION,
        .total_size = sizeof(header),
        .elf_machine = EM_X86_64,
        .pid = (uint32_t)getpid(),
        .time = now(),
    };
    int fd;

    snprintf(path, size, "%s/jit-%d.dump", perf.folder, getpid());
    fd = create(path);
    if (fd < 0) {
        return fd;
    }
    if (perf.marker) {
        munmap(perf.marker, MARKER_SIZE);
    }
    perf.marker = NULL;
    if (write(fd, &header, sizeof(header)) == sizeof(header)) {
        void *marker = mmap(NULL, MARKER_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

        perf.marker = marker == MAP_FAILED ? NULL : marker;
    }
    if (!perf.marker) {
        int error = -errno;

        close(fd);
        return error;
    }
    return fd;
}

/* Opens one file, and moves the descriptor where the driver wants it. */
static int open_first(int *fd, int (*open_one)(char *, size_t), const char *option, char *error,
                      size_t error_size)
{
    char path[sizeof(perf.folder) + 32];
    int result = open_one(path, sizeof(path));

    if (result >= 0 && tcg.config.reserve_fd) {
        result = tcg.config.reserve_fd(result);
    }
    if (result < 0) {
        snprintf(error, error_size, "%s: '%s' can't be created: %s", option, path,
                 strerror(-result));
        return result;
    }
    *fd = result;
    return 0;
}

int tcg_perf_init(char *error, size_t error_size)
{
    int result = 0;

    if (tcg.config.perfmap) {
        result = open_first(&perf.map, open_map, "-perfmap", error, error_size);
    }
    if (result == 0 && tcg.config.jitdump) {
        if (!getcwd(perf.folder, sizeof(perf.folder))) {
            snprintf(perf.folder, sizeof(perf.folder), ".");
        }
        result = open_first(&perf.dump, open_dump, "-jitdump", error, error_size);
    }
    return result;
}

/* The child's file in the place of the parent's. */
static void open_again(int *fd, int (*open_one)(char *, size_t))
{
    char path[sizeof(perf.folder) + 32];
    int fresh;

    if (*fd < 0) {
        return;
    }
    fresh = open_one(path, sizeof(path));
    if (fresh < 0 || dup3(fresh, *fd, O_CLOEXEC) < 0) {
        log_printf("'%s' can't be created: %s\n", path, strerror(fresh < 0 ? -fresh : errno));
        close(*fd);
        *fd = -1;
    }
    if (fresh >= 0) {
        close(fresh);
    }
}

static void add_inherited(struct tcg_unit *unit)
{
    tcg_perf_unit(unit);
}

void tcg_perf_reset(void)
{
    if (perf.map >= 0 && ftruncate(perf.map, 0) == 0) {
        int dump = perf.dump;

        perf.dump = -1; /* has its records */
        add_code(0, perf.thunks, "tinamou_thunks");
        tcg_each_unit_locked(add_inherited);
        perf.dump = dump;
    }
}

void tcg_perf_fork_child(void)
{
    if (!tcg_perf_enabled()) {
        return;
    }
    open_again(&perf.map, open_map);
    open_again(&perf.dump, open_dump);
    tcg_perf_thunks(perf.thunks);
    tcg_each_unit_locked(add_inherited);
}
