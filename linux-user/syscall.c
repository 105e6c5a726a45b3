/*
 * From a system call's number to its handler.
 *
 * Rows are by name and numbers by architecture; the two meet when a number is first used, and the
 * row is kept in an array by number. So nothing is built at start, where it would cost every short
 * process, and a call is one load away from its row.
 */
#include "linux-user/syscall.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "linux-user/abi.h"
#include "linux-user/strace.h"
#include "util/log.h"

#define NUMBER_MAX 1024

static const struct syscall_row rows[] = {
#define SYSCALL(name, signature, handler, level, flags) \
    {#name, signature, handler, SYSCALL_##level, SYSCALL_##flags},
#define SYSCALL_MISSING(name, signature) {#name, signature, NULL, SYSCALL_ABSENT, SYSCALL_NONE},
#include "linux-user/syscalls.def"
#undef SYSCALL
#undef SYSCALL_MISSING
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* What numbers without a row share. */
static const struct syscall_row no_row = {"?", "x x x x x x", NULL, SYSCALL_ABSENT, SYSCALL_NONE};

static const struct syscall_row *by_number[NUMBER_MAX]; /* NULL: not asked for yet */

static const struct syscall_row *find(const char *name)
{
    for (size_t i = 0; name != NULL && i < ROWS; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

const struct syscall_row *syscall_row(int64_t nr)
{
    const struct syscall_row *row;

    if (nr < 0 || nr >= NUMBER_MAX) {
        return NULL;
    }
    row = __atomic_load_n(&by_number[nr], __ATOMIC_RELAXED);
    if (row == NULL) {
        row = find(abi_syscall_name(nr));
        row = row != NULL ? row : &no_row;
        __atomic_store_n(&by_number[nr], row, __ATOMIC_RELAXED);
    }
    return row != &no_row ? row : NULL;
}

static int64_t absent(int64_t nr)
{
    const char *name = abi_syscall_name(nr);

    log_limited(LOG_UNIMP, "system call %" PRId64 " (%s) is not implemented\n", nr,
                name != NULL ? name : "unknown");
    return -ENOSYS;
}

int64_t syscall_make(struct user_thread *t)
{
    const struct syscall_row *row = syscall_row(t->syscall_nr);
    const bool trace = user_process.strace;
    char line[STRACE_LINE];
    int64_t result;

    if (__builtin_expect(trace, 0)) {
        strace_enter(t, row, line);
        if (row != NULL && row->flags & SYSCALL_NORETURN) {
            strace_no_result(t, line);
        }
    }
    if (__builtin_expect(row == NULL || row->handler == NULL, 0)) {
        result = absent(t->syscall_nr);
    } else {
        result = row->handler(t, t->syscall_args);
    }
    if (__builtin_expect(trace, 0) && (row == NULL || !(row->flags & SYSCALL_NORETURN))) {
        strace_leave(t, row, line, result);
    }
    return result;
}

void syscall_list(void (*line)(void *opaque, const char *text), void *opaque)
{
    static const char *const levels[] = {"full", "partial", "absent"};
    char text[96];

    for (int64_t nr = 0; nr < NUMBER_MAX; nr++) {
        const char *name = abi_syscall_name(nr);
        const struct syscall_row *row = syscall_row(nr);
        if (name != NULL) {
            snprintf(text, sizeof(text), "%" PRId64 " %s %s", nr, name,
                     levels[row != NULL ? row->level : SYSCALL_ABSENT]);
            line(opaque, text);
        }
    }
}
