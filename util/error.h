/*
 * One-line messages to the person who typed the command: "tinamou-riscv64: ...".
 *
 * For bad options, images and kernels, and for host failures reported once by whoever stops them.
 * Never for what a guest does: that is logged (util/log.h) and answered as hardware or Linux would.
 */
#ifndef TINAMOU_UTIL_ERROR_H
#define TINAMOU_UTIL_ERROR_H

#include <stdarg.h>

/* Names the program in messages: the last component of path, which must stay valid. */
void error_set_program(const char *path);

/* The name in messages; "tinamou" until set. */
const char *error_program(void);

/* Prints "program: message" and a newline to stderr in one write. */
void error_report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void error_vreport(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* Prints "program: warning: message". */
void error_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Reports and exits with a status: 1 for options, 126 and 127 as a shell has them for programs. */
_Noreturn void error_exit(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Reports and exits with status 1. */
_Noreturn void error_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
