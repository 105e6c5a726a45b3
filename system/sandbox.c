/* The table, and the filter made of it. */
#include "system/sandbox.h"

#include "build/config.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#if CONFIG_SECCOMP
#include <seccomp.h>
#endif

/* ---- the table ------------------------------------------------------------------------------- */

/* The kind of a socket without SOCK_CLOEXEC and SOCK_NONBLOCK. */
#define SOCK_KIND 15
/* Below the signals that libc has for its users. */
#define LIBC_SETXID 33
/* TCGETS2 and TCSETS2: their header does not go together with libc's <termios.h>. */
#define TERMIOS2_GET 0x802c542a
#define TERMIOS2_SET 0x402c542b

/* Arguments that are an int may have anything in their upper half. */
#define IS(n, v)                                    \
    {                                               \
        SANDBOX_EQUAL, n, UINT32_MAX, (uint32_t)(v) \
    }
#define LACKS(n, bits)            \
    {                             \
        SANDBOX_EQUAL, n, bits, 0 \
    }
#define MASKED(n, mask, v)        \
    {                             \
        SANDBOX_EQUAL, n, mask, v \
    }
#define SELF(n)                        \
    {                                  \
        SANDBOX_SELF, n, UINT32_MAX, 0 \
    }

#define ROW(feature, action, call, request, error, why, ...) \
    {SANDBOX_##feature, SANDBOX_##action, call, request, error, why, {__VA_ARGS__}},
#define ALLOW(feature, call, why, ...)  ROW(feature, ALLOW, #call, NULL, 0, why, __VA_ARGS__)
#define SERVE(feature, call, why)       ROW(feature, SERVE, #call, NULL, 0, why, {0})
#define FAIL(feature, call, error, why) ROW(feature, FAIL, #call, NULL, error, why, {0})
#define QUIET(feature, call, error, why, ...) \
    ROW(feature, QUIET, #call, NULL, error, why, __VA_ARGS__)
#define KILL(feature, call, why, ...) ROW(feature, KILL, #call, NULL, 0, why, __VA_ARGS__)
#define CONTROL(feature, request, why) \
    ROW(feature, ALLOW, "ioctl", #request, 0, why, IS(1, request))

const struct sandbox_row sandbox_rows[] = {
#include "system/sandbox.def"
};

const unsigned sandbox_row_count = sizeof(sandbox_rows) / sizeof(sandbox_rows[0]);

static const struct {
    const char *name, *use;
} features[] = {
#define FEATURE(id, text, when) {text, when},
#undef ALLOW
#include "system/sandbox.def"
};

const char *sandbox_feature_name(enum sandbox_feature feature)
{
    return features[feature].name;
}

const char *sandbox_feature_use(enum sandbox_feature feature)
{
    return features[feature].use;
}

/* ---- the filter ------------------------------------------------------------------------------ */

#if CONFIG_SECCOMP

static bool same(const struct sandbox_row *a, const struct sandbox_row *b)
{
    return a->action == b->action && strcmp(a->call, b->call) == 0 &&
           memcmp(a->conditions, b->conditions, sizeof(a->conditions)) == 0;
}

static bool unconditional(const struct sandbox_row *row)
{
    return row->conditions[0].test == SANDBOX_NONE;
}

/* Another row says the same, or allows the call whatever its arguments. */
static bool is_covered(const struct sandbox_row *row, uint32_t active)
{
    for (const struct sandbox_row *r = sandbox_rows; r < sandbox_rows + sandbox_row_count; r++) {
        if (r == row || !(active & SANDBOX_BIT(r->feature)) || strcmp(r->call, row->call) != 0) {
            continue;
        }
        if ((same(r, row) && r < row) ||
            (r->action == SANDBOX_ALLOW && unconditional(r) && !unconditional(row))) {
            return true;
        }
    }
    return false;
}

static uint32_t action_of(const struct sandbox_row *row)
{
    switch (row->action) {
    case SANDBOX_ALLOW:
        return SCMP_ACT_ALLOW;
    case SANDBOX_FAIL:
        return SCMP_ACT_ERRNO((uint16_t)row->error);
    case SANDBOX_KILL:
        return SCMP_ACT_KILL_PROCESS;
    default:
        return SCMP_ACT_TRAP; /* which is the default */
    }
}

static struct scmp_arg_cmp compare(const struct sandbox_condition *c)
{
    return (struct scmp_arg_cmp){
        .arg = c->argument,
        .op = SCMP_CMP_MASKED_EQ,
        .datum_a = c->mask,
        .datum_b = c->test == SANDBOX_SELF ? (uint64_t)getpid() : c->value,
    };
}

static int add_row(scmp_filter_ctx filter, const struct sandbox_row *row, uint32_t active)
{
    struct scmp_arg_cmp tests[SANDBOX_CONDITIONS];
    uint32_t action = action_of(row);
    unsigned count = 0;
    int call = seccomp_syscall_resolve_name(row->call);

    /* What this kernel's ABI, or this libseccomp, does not have nobody can call. */
    if (action == SCMP_ACT_TRAP || call < 0 || is_covered(row, active)) {
        return 0;
    }
    while (count < SANDBOX_CONDITIONS && row->conditions[count].test != SANDBOX_NONE) {
        tests[count] = compare(&row->conditions[count]);
        count++;
    }
    return seccomp_rule_add_array(filter, action, call, count, tests);
}

int sandbox_apply(uint32_t active, enum sandbox_violation violation, char *error, size_t error_size)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
    int err = filter ? 0 : -ENOMEM;

    active |= SANDBOX_BIT(SANDBOX_CORE);
    if (!err) {
        err = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    }
    if (!err) {
        err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    }
    if (!err) {
        /* What the kernel says, and not what libseccomp makes of it. */
        (void)seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
        /* A binary search for the call's number; without it a walk. An older libseccomp has none.
         */
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
        err = sandbox_trap_install(active, violation);
    }
    for (unsigned i = 0; i < sandbox_row_count && !err; i++) {
        if (active & SANDBOX_BIT(sandbox_rows[i].feature)) {
            err = add_row(filter, &sandbox_rows[i], active);
        }
    }
    if (!err) {
        err = seccomp_load(filter);
    }
    if (filter) {
        seccomp_release(filter);
    }
    if (err) {
        snprintf(error, error_size, "-sandbox on: the kernel does not take the filter: %s",
                 strerror(-err));
    }
    return err;
}

#else

int sandbox_apply(uint32_t active, enum sandbox_violation violation, char *error, size_t error_size)
{
    snprintf(error, error_size, "-sandbox on: this program was built without libseccomp");
    return -ENOTSUP;
}

#endif
