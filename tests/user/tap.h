/*
 * TAP from inside a guest.
 *
 * A guest test is one program.  It calls ok() and is() as often as it likes and ends with
 * `return tap_done();`, which prints the plan, so that a program which dies early is seen.
 * Lines go out with one write() each: nothing is left in a buffer for a forked child to repeat,
 * and a signal handler may report as well.
 */
#ifndef TINAMOU_TESTS_USER_TAP_H
#define TINAMOU_TESTS_USER_TAP_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tap_count, tap_failures;

static inline void tap_write(const char *text, int size)
{
    while (size > 0) {
        ssize_t n = write(1, text, (size_t)size);

        if (n < 0 && errno != EINTR) {
            _exit(3);
        }
        if (n > 0) {
            text += n;
            size -= (int)n;
        }
    }
}

static inline void __attribute__((format(printf, 1, 2))) note(const char *format, ...)
{
    char line[512] = "# ";
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line + 2, sizeof(line) - 3, format, args) + 2;
    va_end(args);
    n = n > (int)sizeof(line) - 2 ? (int)sizeof(line) - 2 : n;
    line[n++] = '\n';
    tap_write(line, n);
}

static inline int __attribute__((format(printf, 2, 3))) ok(int good, const char *format, ...)
{
    char line[512];
    va_list args;
    int n = snprintf(line, sizeof(line), "%s - ", good ? "ok" : "not ok");

    va_start(args, format);
    n += vsnprintf(line + n, sizeof(line) - 2 - (size_t)n, format, args);
    va_end(args);
    n = n > (int)sizeof(line) - 2 ? (int)sizeof(line) - 2 : n;
    line[n++] = '\n';
    tap_write(line, n);
    tap_count++;
    tap_failures += !good;
    return good;
}

/* Compares two integers (or pointers cast to them); a failure shows both. */
#define is(got, want, ...)                                                   \
    do {                                                                     \
        uint64_t tap_got = (uint64_t)(got), tap_want = (uint64_t)(want);     \
                                                                             \
        if (!ok(tap_got == tap_want, __VA_ARGS__))                           \
            note("got 0x%llx, expected 0x%llx", (unsigned long long)tap_got, \
                 (unsigned long long)tap_want);                              \
    } while (0)

static inline int tap_done(void)
{
    char line[32];

    tap_write(line, snprintf(line, sizeof(line), "1..%d\n", tap_count));
    return tap_failures ? 1 : 0;
}

#endif
