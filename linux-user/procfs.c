/*
 * Files of /proc as the guest should see them; see the header.
 *
 * self/maps is the host's, cut down to the guest's regions and with their protection: names,
 * offsets, devices and inodes stay right without our keeping them. cmdline and environ are read
 * from the guest's memory, as the kernel does, so that programs that rename themselves show it.
 */
#include "linux-user/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "linux-user/abi.h"
#include "linux-user/mm.h"

enum file {
    FILE_NONE,
    FILE_MAPS,
    FILE_EXE,
    FILE_CMDLINE,
    FILE_AUXV,
    FILE_STAT,
    FILE_ENVIRON,
    FILE_CPUINFO
};

static const struct {
    const char *name;
    enum file file;
} files[] = {
    {"maps", FILE_MAPS}, {"exe", FILE_EXE},   {"cmdline", FILE_CMDLINE},
    {"auxv", FILE_AUXV}, {"stat", FILE_STAT}, {"environ", FILE_ENVIRON},
};

/* Skips a decimal number; NULL if there is none. */
static const char *number(const char *at, long *value)
{
    char *end;

    if (*at < '0' || *at > '9') {
        return NULL;
    }
    *value = strtol(at, &end, 10);
    return end;
}

/* Skips `text` and the slashes behind it; NULL if at does not begin with that component. */
static const char *component(const char *at, const char *text)
{
    const size_t length = strlen(text);

    if (at == NULL || strncmp(at, text, length) != 0 || (at[length] != '/' && at[length] != 0)) {
        return NULL;
    }
    at += length;
    while (*at == '/') {
        at++;
    }
    return at;
}

static enum file classify(const char *path)
{
    const char *at = path, *next;
    long id;

    if (*at != '/') {
        return FILE_NONE;
    }
    while (*at == '/') {
        at++;
    }
    at = component(at, "proc");
    if (at == NULL) {
        return FILE_NONE;
    }
    if (strcmp(at, "cpuinfo") == 0) {
        return FILE_CPUINFO;
    }
    if ((next = component(at, "self")) == NULL && (next = component(at, "thread-self")) == NULL) {
        next = number(at, &id);
        if (next == NULL || id != getpid() || *next != '/') {
            return FILE_NONE;
        }
        while (*next == '/') {
            next++;
        }
    }
    at = next;
    if ((next = component(at, "task")) != NULL) {
        /* A thread of ours shares all of these but stat. */
        next = number(next, &id);
        if (next == NULL || *next != '/') {
            return FILE_NONE;
        }
        while (*next == '/') {
            next++;
        }
        at = strcmp(next, "stat") == 0 && id != getpid() ? "" : next;
    }
    for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (strcmp(at, files[i].name) == 0) {
            return files[i].file;
        }
    }
    return FILE_NONE;
}

/* The same for a path that may be relative to a descriptor or to the working folder. */
static enum file classify_at(int dirfd, const char *path)
{
    char joined[2 * PATH_MAX], link[64];
    const char *last = strrchr(path, '/');
    bool candidate = false;
    ssize_t n;

    if (path[0] == '/') {
        return classify(path);
    }
    last = last != NULL ? last + 1 : path;
    for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        candidate |= strcmp(last, files[i].name) == 0;
    }
    if (!candidate && strcmp(last, "cpuinfo") != 0) {
        return FILE_NONE;
    }
    if (dirfd == AT_FDCWD) {
        snprintf(link, sizeof(link), "/proc/self/cwd");
    } else {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
    }
    n = readlink(link, joined, PATH_MAX);
    if (n < 5 || n == PATH_MAX || memcmp(joined, "/proc", 5) != 0) {
        return FILE_NONE;
    }
    if (snprintf(joined + n, sizeof(joined) - (size_t)n, "/%s", path) >=
        (int)(sizeof(joined) - (size_t)n)) {
        return FILE_NONE;
    }
    return classify(joined);
}

bool procfs_is_exe(const char *path)
{
    return user_process.exe_path != NULL && classify(path) == FILE_EXE;
}

static int write_all(int fd, const void *data, size_t size)
{
    while (size != 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0) {
            return -errno;
        }
        data = (const char *)data + n;
        size -= (size_t)n;
    }
    return 0;
}

/* Text of one of the host's files, in pages of its own: malloc's locks mean nothing in a child that
 * a guest thread has forked. */
struct text {
    char *bytes;
    size_t used, capacity;
};

static void text_free(struct text *text)
{
    if (text->bytes != NULL) {
        munmap(text->bytes, text->capacity);
    }
}

static int text_grow(struct text *text)
{
    const size_t capacity = text->capacity == 0 ? 64 << 10 : 2 * text->capacity;
    void *bytes =
        text->bytes == NULL
            ? mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            : mremap(text->bytes, text->capacity, capacity, MREMAP_MAYMOVE);

    if (bytes == MAP_FAILED) {
        return -ENOMEM;
    }
    text->bytes = bytes;
    text->capacity = capacity;
    return 0;
}

/* Reads a whole file and ends it with a NUL. 0 or -errno; text_free() in any case. */
static int text_read(struct text *text, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), result = fd < 0 ? -errno : 0;
    ssize_t n = 1;

    while (result == 0 && n > 0) {
        if (text->capacity - text->used < 8192) {
            result = text_grow(text);
        }
        if (result == 0) {
            n = read(fd, text->bytes + text->used, text->capacity - text->used - 1);
            result = n < 0 ? -errno : 0;
            text->used += n > 0 ? (size_t)n : 0;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    if (result == 0) {
        text->bytes[text->used] = 0;
    }
    return result;
}

/* One line of the host's maps, intersected with the guest's regions. */
static int print_mapping(int fd, const struct regions *regions, const char *line)
{
    static const char *const labels[MM_LABELS] = {NULL, "[stack]", "[heap]", "[vdso]"};
    uint64_t host_start, host_end, offset, inode;
    unsigned major, minor;
    char flags[8];
    int name_at = 0;

    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %x:%x %" SCNu64 " %n", &host_start,
               &host_end, flags, &offset, &major, &minor, &inode, &name_at) < 7) {
        return 0;
    }
    if (host_end <= mem_guest_base) {
        return 0;
    }
    host_start = host_start < mem_guest_base ? mem_guest_base : host_start;
    const uint64_t start = host_start - mem_guest_base, end = host_end - mem_guest_base;
    for (size_t i = regions_find(regions, start);
         i < regions->count && regions->items[i].start < end; i++) {
        const struct mm_region *r = &regions->items[i];
        const uint64_t from = r->start > start ? r->start : start;
        const uint64_t to = r->end < end ? r->end : end;
        const char *name = inode != 0 || line[name_at] == '/' ? line + name_at : "";
        char head[128];
        int column;

        name = labels[r->label] != NULL ? labels[r->label] : name;
        column =
            snprintf(head, sizeof(head),
                     "%08" PRIx64 "-%08" PRIx64 " %c%c%c%c %08" PRIx64 " %02x:%02x %" PRIu64, from,
                     to, r->prot & PROT_READ ? 'r' : '-', r->prot & PROT_WRITE ? 'w' : '-',
                     r->prot & PROT_EXEC ? 'x' : '-', r->shared ? 's' : 'p',
                     inode != 0 ? offset + (from - start) : 0, major, minor, inode);
        if (dprintf(fd, "%s%*s%s\n", head,
                    *name == 0    ? 1
                    : column < 72 ? 73 - column
                                  : 1,
                    " ", name) < 0) {
            return -errno;
        }
    }
    return 0;
}

static int write_maps(int fd)
{
    struct text text = {0};
    struct regions regions;
    int result = mm_snapshot(&regions);
    char *line, *rest;

    if (result == 0) {
        result = text_read(&text, "/proc/self/maps");
    }
    if (result == 0) {
        for (line = strtok_r(text.bytes, "\n", &rest); line != NULL && result == 0;
             line = strtok_r(NULL, "\n", &rest)) {
            result = print_mapping(fd, &regions, line);
        }
    }
    text_free(&text);
    regions_free(&regions);
    return result;
}

/* The host's stat with addresses of the guest in fields 26 to 28 and 45 to 51 (proc(5)). */
static int write_stat(int fd)
{
    struct text text = {0};
    int field = 3, result = text_read(&text, "/proc/self/stat");
    char *at = result == 0 ? strrchr(text.bytes, ')') : NULL; /* the name may contain anything */
    char *rest;

    if (at == NULL) {
        text_free(&text);
        return result < 0 ? result : -EIO;
    }
    result = write_all(fd, text.bytes, (size_t)(at + 1 - text.bytes));
    for (at = strtok_r(at + 1, " \n", &rest); at != NULL && result == 0;
         at = strtok_r(NULL, " \n", &rest), field++) {
        uint64_t value;
        switch (field) {
        case 28:
            value = user_process.stack_top;
            break;
        case 48:
            value = user_process.arg_start;
            break;
        case 49:
            value = user_process.arg_end;
            break;
        case 50:
            value = user_process.env_start;
            break;
        case 51:
            value = user_process.env_end;
            break;
        case 26: /* code, data, break: of the emulator, so of no use */
        case 27:
        case 45:
        case 46:
        case 47:
            value = 0;
            break;
        default:
            result = dprintf(fd, " %s", at) < 0 ? -errno : 0;
            continue;
        }
        result = dprintf(fd, " %" PRIu64, value) < 0 ? -errno : 0;
    }
    text_free(&text);
    return result == 0 ? write_all(fd, "\n", 1) : result;
}

static int write_guest(int fd, uint64_t start, uint64_t end)
{
    char chunk[4096];
    int result = 0;

    while (start < end && result == 0) {
        const size_t n = end - start < sizeof(chunk) ? end - start : sizeof(chunk);
        result = mem_guest_read(chunk, start, n);
        if (result == 0) {
            result = write_all(fd, chunk, n);
        }
        start += n;
    }
    return result;
}

static int write_content(int fd, enum file file, const struct user_thread *t)
{
    switch (file) {
    case FILE_MAPS:
        return write_maps(fd);
    case FILE_CMDLINE:
        return write_guest(fd, user_process.arg_start, user_process.arg_end);
    case FILE_ENVIRON:
        return write_guest(fd, user_process.env_start, user_process.env_end);
    case FILE_AUXV:
        return write_all(fd, user_process.auxv, user_process.auxv_size);
    case FILE_STAT:
        return write_stat(fd);
    case FILE_CPUINFO: {
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        return abi_cpuinfo(fd, t->cpu, cpus > 0 ? (unsigned)cpus : 1);
    }
    default:
        return -ENOENT;
    }
}

int64_t procfs_open(struct user_thread *t, int dirfd, const char *path, int flags)
{
    const enum file file = classify_at(dirfd, path);
    int fd, result;

    if (file == FILE_NONE || flags & O_PATH) {
        return PROCFS_NOT_OURS;
    }
    if (file == FILE_EXE) {
        if (flags & O_NOFOLLOW) {
            return -ELOOP;
        }
        fd = open(user_process.exe_path, flags & ~(O_CREAT | O_EXCL | O_TRUNC));
        return fd < 0 ? -errno : fd;
    }
    if ((flags & O_ACCMODE) != O_RDONLY) {
        return -EACCES;
    }
    if (flags & O_DIRECTORY) {
        return -ENOTDIR;
    }
    fd = memfd_create("proc", flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
    if (fd < 0) {
        return -errno;
    }
    result = write_content(fd, file, t);
    if (result < 0 || lseek(fd, 0, SEEK_SET) != 0) {
        close(fd);
        return result < 0 ? result : -EIO;
    }
    return fd;
}

int64_t procfs_readlink(struct user_thread *t, int dirfd, const char *path, char *buffer,
                        size_t size)
{
    size_t length;

    if (classify_at(dirfd, path) != FILE_EXE) {
        return PROCFS_NOT_OURS;
    }
    if (size == 0) {
        return -EINVAL;
    }
    length = strlen(user_process.exe_path);
    length = length < size ? length : size;
    memcpy(buffer, user_process.exe_path, length);
    return (int64_t)length;
}
