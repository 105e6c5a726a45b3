/*
 * RAM blocks on memfd or a file.
 *
 * Even private anonymous guest memory is a memfd: a second mapping of it can always be made (for
 * vhost-user processes, live update, debugging tools), and KVM does not care. A memfd is sealed
 * against shrinking, since a truncated mapping turns every access into SIGBUS.
 */
#include "mem/ram.h"
#include "mem/dirty.h"
#include "util/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct ram_open {
    const struct mem_ram_config *config;
    char *error;
    size_t error_size;
};

__attribute__((format(printf, 3, 4))) static int fail(const struct ram_open *o, int err,
                                                      const char *fmt, ...)
{
    char what[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    snprintf(o->error, o->error_size, "memory '%s': %s: %s", o->config->name, what, strerror(err));
    return -err;
}

/* Size of the host's default huge page, 0 if it has none. */
static uint64_t huge_page_size(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    unsigned long long kib = 0;
    char line[128];

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "Hugepagesize: %llu kB", &kib) == 1) {
            break;
        }
    }
    if (f) {
        fclose(f);
    }
    return kib << 10;
}

/* Opens the backing: returns a descriptor or -errno, and its page size. */
static int open_backing(const struct ram_open *o, uint64_t *page_size)
{
    const struct mem_ram_config *c = o->config;
    int fd;

    *page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    if (!c->path) {
        unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

        if (c->huge && c->shared) {
            flags |= MFD_HUGETLB;
            *page_size = huge_page_size();
            if (!*page_size) {
                return fail(o, ENOTSUP, "huge pages");
            }
        }
        fd = memfd_create(c->name, flags);
        return fd >= 0 ? fd : fail(o, errno, "memfd_create");
    }
    struct stat st;
    bool folder = stat(c->path, &st) == 0 && S_ISDIR(st.st_mode);
    int flags = (c->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC;

    /* A private mapping reads the file only; it may be one we must not write. */
    if (!c->shared && !folder) {
        flags = O_RDONLY | O_CLOEXEC;
    }
    if (folder) {
        fd = open(c->path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    } else {
        fd = open(c->path, flags | (c->shared && !c->readonly ? O_CREAT : 0), 0600);
    }
    if (fd < 0) {
        return fail(o, errno, "cannot open '%s'", c->path);
    }
    struct statfs fs;

    if (fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC) {
        *page_size = (uint64_t)fs.f_bsize;
    }
    return fd;
}

/* Makes the backing long enough. */
static int size_backing(const struct ram_open *o, int fd, uint64_t size)
{
    const struct mem_ram_config *c = o->config;
    unsigned long long end = c->offset + size, asked = c->offset + c->size;
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return fail(o, errno, "fstat");
    }
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size < end) {
        int flags = fcntl(fd, F_GETFL);

        if ((flags & O_ACCMODE) == O_RDONLY) {
            /* The rest of the last page reads as zero. */
            if ((uint64_t)st.st_size >= asked) {
                return 0;
            }
            return fail(o, EINVAL, "'%s' has %llu bytes, %llu are needed", c->path,
                        (unsigned long long)st.st_size, asked);
        }
        if (ftruncate(fd, (off_t)end) < 0) {
            return fail(o, errno, "cannot make the backing %llu bytes long", end);
        }
    }
    if (!c->path) {
        (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    }
    return 0;
}

static int preallocate(const struct ram_open *o, const struct mem_ram *ram, int fd)
{
    const struct mem_ram_config *c = o->config;
    bool writable = !c->readonly;

    /* fallocate first: where the host has not enough it says so, and populating would not. */
    if (c->shared && writable && fallocate(fd, 0, (off_t)c->offset, (off_t)ram->size) < 0 &&
        errno != EOPNOTSUPP) {
        return fail(o, errno, "cannot allocate %llu bytes", (unsigned long long)ram->size);
    }
    if (madvise(ram->host, ram->size, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) < 0) {
        if (errno != EINVAL) {
            return fail(o, errno, "cannot allocate %llu bytes", (unsigned long long)ram->size);
        }
        /* A kernel before 5.14. */
        for (uint64_t at = 0; at < ram->size; at += MEM_PAGE_SIZE) {
            if (writable) {
                __atomic_fetch_or(ram->host + at, 0, __ATOMIC_RELAXED);
            } else {
                (void)__atomic_load_n(ram->host + at, __ATOMIC_RELAXED);
            }
        }
    }
    return 0;
}

static void ram_free(struct mem_ram *ram)
{
    if (ram->host) {
        munmap(ram->host, ram->size);
    }
    if (ram->fd >= 0) {
        close(ram->fd);
    }
    for (unsigned i = 0; i < MEM_DIRTY_CLIENTS; i++) {
        free((void *)ram->dirty[i]);
    }
    free((char *)ram->name);
    free(ram);
}

/* A memfd may be larger than all there is, and then its user is killed some time later. */
static uint64_t host_memory(void)
{
    struct sysinfo info;

    return sysinfo(&info) < 0 ? UINT64_MAX
                              : ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
}

int mem_ram_create(struct mem_ram **out, const struct mem_ram_config *config, char *error,
                   size_t error_size)
{
    struct ram_open o = {config, error, error_size};
    uint64_t page_size = 0;
    int err;

    *out = NULL;
    if (!config->size || config->size > INT64_MAX || config->offset > INT64_MAX - config->size) {
        return fail(&o, EINVAL, "size %llu at offset %llu", (unsigned long long)config->size,
                    (unsigned long long)config->offset);
    }
    if (!config->path && config->size > host_memory()) {
        return fail(&o, ENOMEM, "%llu MiB are more than the host's memory and swap, %llu MiB",
                    (unsigned long long)(config->size >> 20),
                    (unsigned long long)(host_memory() >> 20));
    }
    struct mem_ram *ram = calloc(1, sizeof(*ram));
    char *name = strdup(config->name);

    if (!ram || !name) {
        free(ram);
        free(name);
        return fail(&o, ENOMEM, "no memory");
    }
    ram->fd = -1;
    ram->name = name;
    ram->readonly = config->readonly;
    ram->fd_offset = config->offset;
    atomic_init(&ram->references, 1);

    int fd = open_backing(&o, &page_size);

    if (fd < 0) {
        ram_free(ram);
        return fd;
    }
    ram->page_size = page_size;
    uint64_t size = bits_align_up(config->size, page_size);

    if (config->offset & (page_size - 1)) {
        err = fail(&o, EINVAL, "offset %llu is no multiple of the page size %llu",
                   (unsigned long long)config->offset, (unsigned long long)page_size);
        goto bad;
    }
    err = size_backing(&o, fd, size);
    if (err) {
        goto bad;
    }
    bool private_file = config->path && !config->shared;
    int prot = PROT_READ | (config->readonly ? 0 : PROT_WRITE);
    void *host =
        mmap(NULL, size, prot, private_file ? MAP_PRIVATE : MAP_SHARED, fd, (off_t)config->offset);

    if (host == MAP_FAILED) {
        err = fail(&o, errno, "cannot map %llu bytes", (unsigned long long)size);
        goto bad;
    }
    ram->host = host;
    ram->size = size;
    ram->pages = (size + MEM_PAGE_SIZE - 1) >> MEM_PAGE_BITS;
    if (config->huge) {
        (void)madvise(host, size, MADV_HUGEPAGE); /* a wish; the host may not have them */
    }
    if (!config->dump) {
        (void)madvise(host, size, MADV_DONTDUMP);
    }
    /* A guest's memory in a forked helper process would double it for nothing. */
    (void)madvise(host, size, MADV_DONTFORK);
    err = mem_dirty_attach(ram);
    if (err) {
        err = fail(&o, -err, "dirty bitmaps");
        goto bad;
    }
    if (config->prealloc) {
        err = preallocate(&o, ram, fd);
        if (err) {
            goto bad;
        }
    }
    if (private_file) {
        close(fd);
    } else {
        ram->fd = fd;
    }
    *out = ram;
    return 0;

bad:
    close(fd);
    ram_free(ram);
    return err;
}

struct mem_ram *mem_ram_ref(struct mem_ram *ram)
{
    atomic_fetch_add_explicit(&ram->references, 1, memory_order_relaxed);
    return ram;
}

void mem_ram_unref(struct mem_ram *ram)
{
    if (ram && atomic_fetch_sub_explicit(&ram->references, 1, memory_order_acq_rel) == 1) {
        ram_free(ram);
    }
}

int mem_ram_discard(struct mem_ram *ram, uint64_t offset, uint64_t size)
{
    if (!mem_ram_host(ram, offset, size)) {
        return -EINVAL;
    }
    if (ram->readonly) {
        return -EACCES;
    }
    uint64_t first = bits_align_up(offset, ram->page_size);
    uint64_t end = bits_align_down(offset + size, ram->page_size);

    if (first >= end) {
        return 0;
    }
    if (ram->fd >= 0) {
        if (fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      (off_t)(ram->fd_offset + first), (off_t)(end - first)) < 0) {
            return -errno;
        }
    } else if (madvise(ram->host + first, end - first, MADV_DONTNEED) < 0) {
        return -errno;
    }
    mem_dirty_set(ram, first, end - first);
    return 0;
}
