/*
 * TAP for unit tests: a line per check, and an exit status. Single-threaded.
 *
 *     int main(void)
 *     {
 *         tap_ok(1 + 1 == 2, "addition works");
 *         tap_eq(popcount(7), 3, "three bits");
 *         return tap_done();
 *     }
 */
#ifndef TINAMOU_TESTS_UNIT_TAP_H
#define TINAMOU_TESTS_UNIT_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tap_failed;
static int tap_count;

static inline void tap_vline(bool ok, const char *fmt, va_list ap)
{
    tap_count++;
    tap_failed += !ok;
    fputs(ok ? "ok - " : "not ok - ", stdout);
    vprintf(fmt, ap);
}

/* Reports one check; returns ok, so that more detail can follow a failure. */
__attribute__((format(printf, 2, 3))) static inline bool tap_ok(bool ok, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    tap_vline(ok, fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
    return ok;
}

/* A check that cannot be made here. The reason names what is missing. */
static inline void tap_skip(const char *what, const char *reason)
{
    tap_count++;
    printf("ok - %s # SKIP %s\n", what, reason);
    fflush(stdout);
}

/* A line of detail under the last check. */
__attribute__((format(printf, 1, 2))) static inline void tap_note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("# ", stdout);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

static inline bool tap_eq_at(unsigned long long got, unsigned long long want, const char *what,
                             const char *file, int line)
{
    if (!tap_ok(got == want, "%s", what)) {
        tap_note("%s:%d: got %#llx, expected %#llx", file, line, got, want);
        return false;
    }
    return true;
}

static inline bool tap_str_at(const char *got, const char *want, const char *what, const char *file,
                              int line)
{
    if (!tap_ok(strcmp(got, want) == 0, "%s", what)) {
        tap_note("%s:%d: got '%s', expected '%s'", file, line, got, want);
        return false;
    }
    return true;
}

/* Integers, or strings, that must be equal. */
#define tap_eq(got, want, what) \
    tap_eq_at((unsigned long long)(got), (unsigned long long)(want), what, __FILE__, __LINE__)
#define tap_str(got, want, what) tap_str_at(got, want, what, __FILE__, __LINE__)

/* The plan and main()'s result. A test without a single check has failed. */
static inline int tap_done(void)
{
    printf("1..%d\n", tap_count);
    return tap_failed || !tap_count;
}

#endif
