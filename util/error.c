/*
 * One-line messages on stderr. Built in one buffer and written at once, so that messages of
 * several processes on one terminal stay whole.
 */
#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ERROR_MESSAGE_MAX 4096

static const char *error_name = "tinamou";

void error_set_program(const char *path)
{
    const char *slash = strrchr(path, '/');

    error_name = slash && slash[1] ? slash + 1 : path;
}

const char *error_program(void)
{
    return error_name;
}

static void error_print(const char *kind, const char *fmt, va_list ap)
{
    char line[ERROR_MESSAGE_MAX];
    int saved_errno = errno;
    size_t limit = sizeof(line) - 1; /* room for the newline */
    size_t n = (size_t)snprintf(line, limit, "%s: %s", error_name, kind);

    if (n < limit) {
        int more = vsnprintf(line + n, limit - n, fmt, ap);

        n += more > 0 ? (size_t)more : 0;
    }
    n = n < limit ? n : limit - 1;
    line[n++] = '\n';
    for (size_t done = 0; done < n;) {
        ssize_t k = write(STDERR_FILENO, line + done, n - done);

        if (k <= 0 && !(k < 0 && errno == EINTR)) {
            break;
        }
        done += k > 0 ? (size_t)k : 0;
    }
    errno = saved_errno;
}

void error_vreport(const char *fmt, va_list ap)
{
    error_print("", fmt, ap);
}

void error_report(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_print("", fmt, ap);
    va_end(ap);
}

void error_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_print("warning: ", fmt, ap);
    va_end(ap);
}

void error_exit(int status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_print("", fmt, ap);
    va_end(ap);
    exit(status);
}

void error_fatal(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_print("", fmt, ap);
    va_end(ap);
    exit(EXIT_FAILURE);
}
