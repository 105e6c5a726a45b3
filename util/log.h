/*
 * The log: what -d ITEM,ITEM chooses, to stderr or to the file of -D.
 *
 * An item is a bit of a mask; the table in log.c gives each its name and help. Asking whether an
 * item is on is one load. A message is formatted into a buffer on the stack and goes out in one
 * write(), so lines of different threads do not mix, and a signal handler or a fork child may log
 * (no lock, no heap, errno preserved).
 */
#ifndef TINAMOU_UTIL_LOG_H
#define TINAMOU_UTIL_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_IN_ASM       (1u << 0)
#define LOG_OP           (1u << 1)
#define LOG_OP_OPT       (1u << 2)
#define LOG_OUT_ASM      (1u << 3)
#define LOG_EXEC         (1u << 4)
#define LOG_INT          (1u << 5)
#define LOG_STRACE       (1u << 6)
#define LOG_STATS        (1u << 7)
#define LOG_UNIMP        (1u << 8)
#define LOG_GUEST_ERRORS (1u << 9)
#define LOG_PAGE         (1u << 10)
#define LOG_NOCHAIN      (1u << 11) /* a mode rather than an item: units are not linked */
#define LOG_CPU          (1u << 12)
#define LOG_FPU          (1u << 13)
#define LOG_MMU          (1u << 14)
#define LOG_CPU_RESET    (1u << 15)

#define LOG_MESSAGE_MAX 2048 /* bytes; a longer message is cut, and says so */

struct log_item {
    uint32_t mask;
    const char *name;
    const char *help;
};

/* Every item in the order of help; ends with a NULL name. */
extern const struct log_item log_items[];

/* Chosen items. Written by log_set_mask(), before there are threads. */
extern uint32_t log_mask;

static inline bool log_enabled(uint32_t items)
{
    return __builtin_expect((log_mask & items) != 0, 0);
}

void log_set_mask(uint32_t mask);

/*
 * The mask for a list of names as in "in_asm,strace"; "all" is every item but nochain. Returns 0
 * and the mask, or -EINVAL with the unknown name at *bad (*bad_len bytes of the list).
 */
int log_parse_items(const char *list, uint32_t *mask, const char **bad, size_t *bad_len);

/* Prints the table of items to file descriptor fd. */
void log_print_items(int fd);

/*
 * Sends the log to a file, created or truncated. One "%d" in the path becomes the process id, "%%"
 * a percent sign; anything else after a percent sign is -EINVAL. The descriptor is moved as high as
 * the limit of open files allows, out of the guest's way, and closes on exec. Returns 0 or -errno;
 * on error the log stays where it was.
 */
int log_open(const char *path);

/* The file descriptor of the log; the guest's close() must spare it when it is not stderr. */
int log_fd(void);

/* Writes a message, whatever the mask says. printf's formats; no newline is added. */
void log_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_vprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* Writes n bytes of text, of any length. */
void log_text(const char *text, size_t n);

/* Writes a message if one of the items is on; arguments are not evaluated otherwise. */
#define log_items_printf(items, ...) \
    do {                             \
        if (log_enabled(items)) {    \
            log_printf(__VA_ARGS__); \
        }                            \
    } while (0)

/* State of one rate-limited call site; zeroed. */
struct log_limit {
    uint64_t window; /* CLOCK_MONOTONIC seconds + 1 of the current window; 0 at first */
    uint32_t count;  /* messages asked for in this window */
};

#define LOG_LIMIT_BURST 5 /* messages a second and call site */

/*
 * For what a guest can cause as often as it likes: at most LOG_LIMIT_BURST messages a second; the
 * first message of a later second is preceded by a line with the number that was dropped.
 */
void log_limit_printf(struct log_limit *limit, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The same with a limit of its own for this call site, if one of the items is on. */
#define log_limited(items, ...)                             \
    do {                                                    \
        if (log_enabled(items)) {                           \
            static struct log_limit log_limit_here;         \
            log_limit_printf(&log_limit_here, __VA_ARGS__); \
        }                                                   \
    } while (0)

#endif
