/*
 * The log. State is a mask and a file descriptor, both settled before the guest runs; messages are
 * formatted on the stack and written with write(), so there is nothing to lock and nothing that a
 * fork child or a signal handler could find half done.
 */
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

const struct log_item log_items[] = {
    {LOG_IN_ASM, "in_asm", "guest instructions of each unit translated"},
    {LOG_OP, "op", "IR of each unit, as translated"},
    {LOG_OP_OPT, "op_opt", "IR of each unit, after optimisation"},
    {LOG_OUT_ASM, "out_asm", "host instructions of each unit"},
    {LOG_EXEC, "exec", "entries into translated code from the run loop"},
    {LOG_INT, "int", "exceptions, interrupts and delivered signals"},
    {LOG_STRACE, "strace", "system calls with arguments and results"},
    {LOG_STATS, "stats", "counters, printed when the program ends"},
    {LOG_UNIMP, "unimp", "what the guest asked for and is not implemented"},
    {LOG_GUEST_ERRORS, "guest_errors", "what the guest did wrong"},
    {LOG_PAGE, "page", "guest memory map, when it is set up and when it changes"},
    {LOG_NOCHAIN, "nochain", "do not link units, so that exec sees each one"},
    {LOG_CPU, "cpu", "CPU registers before each unit entered from the run loop"},
    {LOG_FPU, "fpu", "floating-point registers with cpu"},
    {LOG_MMU, "mmu", "page table walks, TLB fills and flushes"},
    {LOG_CPU_RESET, "cpu_reset", "CPU registers at each reset"},
    {0, NULL, NULL},
};

uint32_t log_mask;
static int log_descriptor = STDERR_FILENO;

void log_set_mask(uint32_t mask)
{
    log_mask = mask;
}

static uint32_t log_find_item(const char *name, size_t len)
{
    uint32_t all = 0;

    for (const struct log_item *item = log_items; item->name; item++) {
        if (strlen(item->name) == len && memcmp(item->name, name, len) == 0) {
            return item->mask;
        }
        all |= item->mask;
    }
    return len == 3 && memcmp(name, "all", 3) == 0 ? all & ~LOG_NOCHAIN : 0;
}

int log_parse_items(const char *list, uint32_t *mask, const char **bad, size_t *bad_len)
{
    uint32_t result = 0;

    for (;;) {
        size_t len = strcspn(list, ",");
        uint32_t item = log_find_item(list, len);

        if (!item) {
            *bad = list;
            *bad_len = len;
            return -EINVAL;
        }
        result |= item;
        if (list[len] == '\0') {
            *mask = result;
            return 0;
        }
        list += len + 1;
    }
}

static void log_write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, text, n);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return; /* the log has nobody to complain to */
        }
        text += done;
        n -= (size_t)done;
    }
}

void log_print_items(int fd)
{
    for (const struct log_item *item = log_items; item->name; item++) {
        char line[128];
        int n = snprintf(line, sizeof(line), "%-14s %s\n", item->name, item->help);

        log_write_all(fd, line, (size_t)n);
    }
}

static int log_expand_path(const char *path, char out[PATH_MAX])
{
    size_t n = 0;
    bool pid_seen = false;

    for (; *path; path++) {
        if (*path != '%') {
            out[n++] = *path;
        } else if (path[1] == '%') {
            out[n++] = *++path;
        } else if (path[1] == 'd' && !pid_seen) {
            n += (size_t)snprintf(out + n, PATH_MAX - n, "%ld", (long)getpid());
            pid_seen = true;
            path++;
        } else {
            return -EINVAL;
        }
        if (n >= PATH_MAX - 24) {
            return -ENAMETOOLONG;
        }
    }
    out[n] = '\0';
    return 0;
}

int log_open(const char *path)
{
    char expanded[PATH_MAX];
    struct rlimit limit;
    int err = log_expand_path(path, expanded);
    int fd;

    if (err) {
        return err;
    }
    fd = open(expanded, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        return -errno;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 64) {
        rlim_t wanted = limit.rlim_cur > INT_MAX ? INT_MAX : limit.rlim_cur;
        int high;

        /* The kernel sizes the descriptor table by the highest one: an unlimited limit must not
         * cost a table of millions. */
        wanted = wanted > 65536 ? 65536 : wanted;
        high = fcntl(fd, F_DUPFD_CLOEXEC, (int)wanted - 16);
        if (high >= 0) {
            close(fd);
            fd = high;
        }
    }
    if (log_descriptor != STDERR_FILENO) {
        close(log_descriptor);
    }
    log_descriptor = fd;
    return 0;
}

int log_fd(void)
{
    return log_descriptor;
}

void log_text(const char *text, size_t n)
{
    int saved_errno = errno;

    log_write_all(log_descriptor, text, n);
    errno = saved_errno;
}

void log_vprintf(const char *fmt, va_list ap)
{
    static const char cut[] = " [cut]\n";
    char buffer[LOG_MESSAGE_MAX];
    int saved_errno = errno;
    int n = vsnprintf(buffer, sizeof(buffer), fmt, ap);

    if (n >= (int)sizeof(buffer)) {
        n = (int)sizeof(buffer) - 1;
        memcpy(buffer + n - (sizeof(cut) - 1), cut, sizeof(cut) - 1);
    }
    if (n > 0) {
        log_write_all(log_descriptor, buffer, (size_t)n);
    }
    errno = saved_errno;
}

void log_printf(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_vprintf(fmt, ap);
    va_end(ap);
}

void log_limit_printf(struct log_limit *limit, const char *fmt, ...)
{
    int saved_errno = errno;
    struct timespec now = {0, 0};
    uint64_t window, seen;
    uint32_t count;
    va_list ap;

    clock_gettime(CLOCK_MONOTONIC, &now);
    window = (uint64_t)now.tv_sec + 1;
    seen = __atomic_load_n(&limit->window, __ATOMIC_RELAXED);
    /* Whoever moves the window reports what the last one dropped; losing the race is harmless. */
    if (seen != window && __atomic_compare_exchange_n(&limit->window, &seen, window, false,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        uint32_t before = __atomic_exchange_n(&limit->count, 0, __ATOMIC_RELAXED);

        if (before > LOG_LIMIT_BURST) {
            log_printf("(%u more messages like the next one)\n", before - LOG_LIMIT_BURST);
        }
    }
    count = __atomic_fetch_add(&limit->count, 1, __ATOMIC_RELAXED);
    if (count < LOG_LIMIT_BURST) {
        va_start(ap, fmt);
        log_vprintf(fmt, ap);
        va_end(ap);
    }
    errno = saved_errno;
}
