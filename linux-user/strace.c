/* -strace: arguments by the signature of the call's row; see syscall.h for its letters. */
#include "linux-user/strace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "linux-user/signal.h"
#include "util/log.h"

#define STRING_SHOWN 256 /* bytes of a path */
#define BYTES_SHOWN  32  /* bytes of a buffer */
#define VECTOR_SHOWN 4   /* entries of an iovec */

/* A line being written; what does not fit is dropped. */
struct out {
    char *text;
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void put(struct out *o, const char *fmt, ...)
{
    const size_t room = STRACE_LINE - o->used;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(o->text + o->used, room, fmt, ap);
    va_end(ap);
    o->used += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

struct flag {
    uint64_t bits;
    const char *name;
};
#define FLAG(name)  \
    {               \
        name, #name \
    }

static const struct flag open_flags[] = {FLAG(O_CREAT),    FLAG(O_EXCL),
                                         FLAG(O_NOCTTY),   FLAG(O_TRUNC),
                                         FLAG(O_APPEND),   FLAG(O_NONBLOCK),
                                         FLAG(O_SYNC),     FLAG(O_DSYNC),
                                         FLAG(O_DIRECT),   {0100000, "O_LARGEFILE"},
                                         FLAG(O_TMPFILE),  FLAG(O_DIRECTORY),
                                         FLAG(O_NOFOLLOW), FLAG(O_NOATIME),
                                         FLAG(O_CLOEXEC),  FLAG(O_PATH),
                                         {0, NULL}};
static const struct flag prot_flags[] = {
    FLAG(PROT_READ), FLAG(PROT_WRITE), FLAG(PROT_EXEC), {0, NULL}};
static const struct flag map_flags[] = {FLAG(MAP_FIXED),
                                        FLAG(MAP_ANONYMOUS),
                                        FLAG(MAP_GROWSDOWN),
                                        FLAG(MAP_DENYWRITE),
                                        FLAG(MAP_LOCKED),
                                        FLAG(MAP_NORESERVE),
                                        FLAG(MAP_POPULATE),
                                        FLAG(MAP_NONBLOCK),
                                        FLAG(MAP_STACK),
                                        FLAG(MAP_HUGETLB),
                                        {0x100000, "MAP_FIXED_NOREPLACE"},
                                        {0, NULL}};
static const struct flag clone_flags[] = {FLAG(CLONE_VM),
                                          FLAG(CLONE_FS),
                                          FLAG(CLONE_FILES),
                                          FLAG(CLONE_SIGHAND),
                                          FLAG(CLONE_PTRACE),
                                          FLAG(CLONE_VFORK),
                                          FLAG(CLONE_PARENT),
                                          FLAG(CLONE_THREAD),
                                          FLAG(CLONE_NEWNS),
                                          FLAG(CLONE_SYSVSEM),
                                          FLAG(CLONE_SETTLS),
                                          FLAG(CLONE_PARENT_SETTID),
                                          FLAG(CLONE_CHILD_CLEARTID),
                                          FLAG(CLONE_CHILD_SETTID),
                                          FLAG(CLONE_NEWUSER),
                                          FLAG(CLONE_NEWPID),
                                          FLAG(CLONE_NEWNET),
                                          FLAG(CLONE_NEWIPC),
                                          FLAG(CLONE_NEWUTS),
                                          {0, NULL}};
static const struct flag at_flags[] = {{AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"},
                                       {AT_REMOVEDIR, "AT_REMOVEDIR"},
                                       {AT_SYMLINK_FOLLOW, "AT_SYMLINK_FOLLOW"},
                                       {AT_NO_AUTOMOUNT, "AT_NO_AUTOMOUNT"},
                                       {AT_EMPTY_PATH, "AT_EMPTY_PATH"},
                                       {0, NULL}};

static void put_flags(struct out *o, const struct flag *flags, uint64_t value, const char *zero)
{
    bool some = zero != NULL && *zero != 0;

    if (some) {
        put(o, "%s", zero);
    }
    for (; flags->name != NULL; flags++) {
        if ((value & flags->bits) == flags->bits) {
            put(o, "%s%s", some ? "|" : "", flags->name);
            value &= ~flags->bits;
            some = true;
        }
    }
    if (value != 0 || !some) {
        put(o, "%s0x%" PRIx64, some ? "|" : "", value);
    }
}

static void put_bytes(struct out *o, const unsigned char *bytes, size_t n)
{
    static const char special[] = "\a\b\t\n\v\f\r", letters[] = "abtnvfr";

    put(o, "\"");
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = bytes[i];
        const char *s = c != 0 ? strchr(special, c) : NULL;
        if (s != NULL) {
            put(o, "\\%c", letters[s - special]);
        } else if (c < ' ' || c > '~') {
            put(o, "\\%03o", c);
        } else {
            put(o, c == '"' || c == '\\' ? "\\%c" : "%c", c);
        }
    }
    put(o, "\"");
}

static void put_string(struct out *o, uint64_t guest)
{
    unsigned char text[STRING_SHOWN];
    int64_t length = mem_guest_strlen(guest, 1 << 20);
    size_t n = length > STRING_SHOWN ? STRING_SHOWN : (size_t)length;

    if (guest == 0) {
        put(o, "NULL");
    } else if (length < 0 || mem_guest_read(text, guest, n) < 0) {
        put(o, "0x%" PRIx64, guest);
    } else {
        put_bytes(o, text, n);
        if ((uint64_t)length > n) {
            put(o, "...");
        }
    }
}

static void put_buffer(struct out *o, uint64_t guest, uint64_t size)
{
    unsigned char bytes[BYTES_SHOWN];
    size_t n = size < BYTES_SHOWN ? size : BYTES_SHOWN;

    if (guest == 0 || mem_guest_read(bytes, guest, n) < 0) {
        put(o, "0x%" PRIx64, guest);
        return;
    }
    put_bytes(o, bytes, n);
    if (size > n) {
        put(o, "...");
    }
}

static void put_signal(struct out *o, int signo)
{
    const char *name = sigabbrev_np(signo);

    if (name != NULL) {
        put(o, "SIG%s", name);
    } else if (signo >= 32 && signo <= 64) {
        put(o, "SIGRT_%d", signo - 32);
    } else {
        put(o, "%d", signo);
    }
}

static void put_futex(struct out *o, uint64_t op)
{
    static const char *const names[] = {
        "FUTEX_WAIT",           "FUTEX_WAKE",        "FUTEX_FD",          "FUTEX_REQUEUE",
        "FUTEX_CMP_REQUEUE",    "FUTEX_WAKE_OP",     "FUTEX_LOCK_PI",     "FUTEX_UNLOCK_PI",
        "FUTEX_TRYLOCK_PI",     "FUTEX_WAIT_BITSET", "FUTEX_WAKE_BITSET", "FUTEX_WAIT_REQUEUE_PI",
        "FUTEX_CMP_REQUEUE_PI", "FUTEX_LOCK_PI2",
    };
    const uint64_t command = op & 0x7f;

    if (command < sizeof(names) / sizeof(names[0])) {
        put(o, "%s", names[command]);
    } else {
        put(o, "%" PRIu64, command);
    }
    put(o, "%s%s", op & 128 ? "|FUTEX_PRIVATE_FLAG" : "", op & 256 ? "|FUTEX_CLOCK_REALTIME" : "");
}

static void put_timespec(struct out *o, uint64_t guest)
{
    int64_t ts[2];

    if (guest == 0 || mem_guest_read(ts, guest, sizeof(ts)) < 0) {
        put(o, guest == 0 ? "NULL" : "0x%" PRIx64, guest);
    } else {
        put(o, "{%" PRId64 ",%" PRId64 "}", ts[0], ts[1]);
    }
}

static void put_set(struct out *o, uint64_t guest)
{
    uint64_t set;
    bool some = false;

    if (guest == 0 || mem_guest_read(&set, guest, sizeof(set)) < 0) {
        put(o, guest == 0 ? "NULL" : "0x%" PRIx64, guest);
        return;
    }
    put(o, "[");
    for (int signo = 1; signo <= SIGNAL_COUNT; signo++) {
        if (set & SIGNAL_BIT(signo)) {
            put(o, some ? " " : "");
            put_signal(o, signo);
            some = true;
        }
    }
    put(o, "]");
}

static void put_vector(struct out *o, uint64_t guest, uint64_t count)
{
    put(o, "[");
    for (uint64_t i = 0; i < count && i < VECTOR_SHOWN; i++) {
        uint64_t entry[2];
        put(o, i != 0 ? "," : "");
        if (mem_guest_read(entry, guest + i * sizeof(entry), sizeof(entry)) < 0) {
            put(o, "0x%" PRIx64, guest + i * sizeof(entry));
            break;
        }
        put(o, "{0x%" PRIx64 ",%" PRIu64 "}", entry[0], entry[1]);
    }
    put(o, count > VECTOR_SHOWN ? ",...]" : "]");
}

static bool is(const char *word, size_t length, const char *name)
{
    return strlen(name) == length && memcmp(word, name, length) == 0;
}

static void put_value(struct out *o, const char *word, size_t length, uint64_t value, uint64_t next)
{
    if (is(word, length, "d")) {
        put(o, "%d", (int)value);
    } else if (is(word, length, "u")) {
        put(o, "%" PRIu64, value);
    } else if (is(word, length, "l")) {
        put(o, "%" PRId64, (int64_t)value);
    } else if (is(word, length, "p")) {
        put(o, value == 0 ? "NULL" : "0x%" PRIx64, value);
    } else if (is(word, length, "o")) {
        put(o, "0%o", (unsigned)value);
    } else if (is(word, length, "s") || is(word, length, "path") || is(word, length, "link")) {
        put_string(o, value);
    } else if (is(word, length, "ts")) {
        put_timespec(o, value);
    } else if (is(word, length, "set")) {
        put_set(o, value);
    } else if (is(word, length, "iov")) {
        put_vector(o, value, next);
    } else if (is(word, length, "b") || is(word, length, "B")) {
        put_buffer(o, value, next);
    } else if (is(word, length, "fd")) {
        put(o, (int)value == AT_FDCWD ? "AT_FDCWD" : "%d", (int)value);
    } else if (is(word, length, "sig")) {
        put_signal(o, (int)value);
    } else if (is(word, length, "at")) {
        put_flags(o, at_flags, (uint32_t)value, NULL);
    } else if (is(word, length, "open")) {
        static const char *const modes[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
        put_flags(o, open_flags, (uint32_t)value & ~(uint32_t)O_ACCMODE, modes[value & O_ACCMODE]);
    } else if (is(word, length, "prot")) {
        put_flags(o, prot_flags, (uint32_t)value, (uint32_t)value == 0 ? "PROT_NONE" : NULL);
    } else if (is(word, length, "map")) {
        static const char *const types[] = {"0", "MAP_SHARED", "MAP_PRIVATE",
                                            "MAP_SHARED_VALIDATE"};
        put_flags(o, map_flags, (uint32_t)value & ~(uint32_t)3, types[value & 3]);
    } else if (is(word, length, "clone")) {
        put_signal(o, (int)(value & 0xff));
        put(o, "|");
        put_flags(o, clone_flags, value & ~UINT64_C(0xff), NULL);
    } else if (is(word, length, "futex")) {
        put_futex(o, value);
    } else {
        put(o, "0x%" PRIx64, value);
    }
}

/*
 * Prints arguments until the first that the call itself writes ("B"), or from there on: what such a
 * buffer holds is known afterwards, and what the others hold may be overwritten by then. A result
 * is the length of the buffer.
 */
static void put_arguments(struct out *o, const struct user_thread *t, const struct syscall_row *row,
                          bool after, int64_t result)
{
    const char *word = row != NULL ? row->signature : "x x x x x x";
    bool some = false, seen = false;

    for (unsigned i = 0; i < 6 && *word != 0 && *word != '='; i++) {
        const size_t length = strcspn(word, " ");
        const bool output = is(word, length, "B");
        uint64_t next = i < 5 ? t->syscall_args[i + 1] : 0;

        seen |= output;
        if (!is(word, length, "-")) {
            if (seen == after) {
                put(o, some ? "," : "");
                if (output && (result < 0 || (uint64_t)result > next)) {
                    put(o, "0x%" PRIx64, t->syscall_args[i]);
                } else {
                    put_value(o, word, length, t->syscall_args[i],
                              output ? (uint64_t)result : next);
                }
            }
            some = true;
        }
        word += length + strspn(word + length, " ");
    }
    if (seen == after) {
        put(o, ")");
    }
}

void strace_enter(struct user_thread *t, const struct syscall_row *row, char *line)
{
    struct out o = {line, 0};

    if (row != NULL) {
        put(&o, "%d %s(", t->tid, row->name);
    } else {
        put(&o, "%d syscall_%" PRId64 "(", t->tid, t->syscall_nr);
    }
    put_arguments(&o, t, row, false, 0);
}

static void put_result(struct out *o, const struct syscall_row *row, int64_t result)
{
    const char *word = row != NULL ? strchr(row->signature, '=') : NULL;

    if (result >= -4095 && result < 0) {
        const char *name = strerrorname_np((int)-result);
        switch (result) {
        case -USER_ERESTARTSYS:
        case -USER_ERESTARTNOINTR:
        case -USER_ERESTARTNOHAND:
            put(o, "? (interrupted)");
            return;
        case -USER_ESIGRETURN:
            put(o, "? (registers restored)");
            return;
        default:
            put(o, "-1 errno=%d %s (%s)", (int)-result, name != NULL ? name : "?",
                strerrordesc_np((int)-result) != NULL ? strerrordesc_np((int)-result) : "?");
            return;
        }
    }
    if (word == NULL) {
        put(o, "%" PRId64, result);
        return;
    }
    word += 1 + strspn(word + 1, " ");
    put_value(o, word, strlen(word), (uint64_t)result, 0);
}

void strace_leave(struct user_thread *t, const struct syscall_row *row, const char *line,
                  int64_t result)
{
    char text[2 * STRACE_LINE];
    struct out o = {text, 0};

    put(&o, "%s", line);
    if (row != NULL && strchr(row->signature, 'B') != NULL) {
        put_arguments(&o, t, row, true, result);
    }
    put(&o, " = ");
    put_result(&o, row, result);
    put(&o, "\n");
    log_text(text, o.used);
}

void strace_no_result(struct user_thread *t, const char *line)
{
    char text[STRACE_LINE + 8];

    log_text(text, (size_t)snprintf(text, sizeof(text), "%s\n", line));
}

void strace_signal(struct user_thread *t, const siginfo_t *info)
{
    char text[STRACE_LINE];
    struct out o = {text, 0};

    put(&o, "--- ");
    put_signal(&o, info->si_signo);
    put(&o, " {si_signo=%d, si_code=%d", info->si_signo, info->si_code);
    if (info->si_code > 0 && (SIGNAL_BIT(info->si_signo) & SIGNAL_FAULTS) != 0) {
        put(&o, ", si_addr=%p", info->si_addr);
    } else if (info->si_code <= 0) {
        put(&o, ", si_pid=%d, si_uid=%u", info->si_pid, info->si_uid);
    }
    put(&o, "} ---\n");
    log_text(text, o.used);
}
