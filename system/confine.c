/*
 * Giving up rights, in an order in which each step still has what it needs, and nothing comes back:
 *
 *     uses        what the machine uses decides about what the sandbox allows; what cannot go
 *                 together is a mistake
 *     user        is looked up while the host's files can be read
 *     keeper      is forked off while it has all rights
 *     rest        workers end; those that come later have the rights of then
 *     rings       of io_uring are made, while that is possible
 *     bounds      capabilities that programs might get, of all threads: takes a capability
 *     chroot      takes a capability; the last path that is named is named now
 *     user        groups, group, user: as root, who stays root no longer
 *     parent      the kernel forgets the wish to end with the parent when the user changes
 *     threads     on each of them: capabilities, no_new_privs
 *     check       no thread has kept anything
 *     files       on each thread: Landlock; nothing is opened from here on
 *     teardown    a process without rights is forked off
 *     filter      system calls
 *
 * Threads. The user is libc's to change for all threads, and the filter the kernel's; the rest is
 * each thread's own, so every thread does it itself: the main thread and the I/O threads. Others do
 * not exist: workers rest, vCPUs have not been started. A thread of some library would be found by
 * the check.
 */
#include "system/confine.h"

#include "io/block/block.h"
#include "io/block/query.h"
#include "io/chardev/chardev.h"
#include "io/loop/thread.h"
#include "io/net/net.h"
#include "system/identity.h"
#include "system/keeper.h"
#include "system/landlock.h"
#include "system/teardown.h"
#include "util/ending.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define RESOLV_CONF "/etc/resolv.conf"

/* What goes from step to step. */
struct confinement {
    const struct confine_options *options;
    struct loop *loop;
    const char *accel;
    uint32_t features;
    const char *commands; /* id of a network that runs some; NULL: none does */
    const char **folders; /* that the guest may read; ends with NULL */
    unsigned folder_count;
    struct identity identity;
    int tasks;         /* /proc/self/task */
    int rules;         /* Landlock's; -1: none */
    bool capabilities; /* are given up */
    _Atomic int thread_error;
    char *error;
    size_t error_size;
};

static pid_t parent;

static int fail(struct confinement *c, int err, const char *what)
{
    snprintf(c->error, c->error_size, "%s: %s", what, strerror(-err));
    return err;
}

/* ---- what the machine uses ------------------------------------------------------------------- */

static void look_at_disks(struct confinement *c)
{
    for (struct block_node *node = block_next(NULL); node; node = block_next(node)) {
        c->features |= SANDBOX_BIT(SANDBOX_FILE) | SANDBOX_BIT(SANDBOX_URING);
        if (strcmp(block_driver_name(node), "host_device") == 0) {
            c->features |= SANDBOX_BIT(SANDBOX_DEVICE);
        }
    }
}

static void look_at_chardevs(struct confinement *c)
{
    static const struct {
        const char *kind;
        enum sandbox_feature feature;
    } kinds[] = {
        {"stdio", SANDBOX_TERMINAL}, {"pty", SANDBOX_TERMINAL}, {"serial", SANDBOX_TERMINAL},
        {"socket", SANDBOX_SOCKET},  {"udp", SANDBOX_SOCKET},
    };
    const struct chardev *chr;

    for (unsigned n = 0; (chr = chardev_at(n)); n++) {
        for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
            if (strcmp(chardev_kind(chr), kinds[i].kind) == 0) {
                c->features |= SANDBOX_BIT(kinds[i].feature);
            }
        }
        if (chardev_reconnects(chr)) {
            c->features |= SANDBOX_BIT(SANDBOX_CONNECT);
        }
    }
}

static int look_at_networks(struct confinement *c)
{
    static const struct {
        const char *kind;
        enum sandbox_feature feature;
    } kinds[] = {
        {"user", SANDBOX_USER},     {"tap", SANDBOX_TAP},      {"socket", SANDBOX_SOCKET},
        {"stream", SANDBOX_SOCKET}, {"dgram", SANDBOX_SOCKET},
    };
    struct net_backend *net;

    for (unsigned n = 0; (net = net_at(n)); n++) {
        struct net_uses uses;

        for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
            if (strcmp(net_kind(net), kinds[i].kind) == 0) {
                c->features |= SANDBOX_BIT(kinds[i].feature);
            }
        }
        net_get_uses(net, &uses);
        if (uses.connects) {
            c->features |= SANDBOX_BIT(SANDBOX_CONNECT);
        }
        if (uses.commands) {
            c->commands = net_id(net);
        }
        if (uses.folder) {
            const char **more = realloc(c->folders, (c->folder_count + 2) * sizeof(*more));

            if (!more) {
                return fail(c, -ENOMEM, "-sandbox on");
            }
            c->folders = more;
            more[c->folder_count++] = uses.folder;
            more[c->folder_count] = NULL;
        }
    }
    return 0;
}

static int find_uses(struct confinement *c)
{
    static const struct {
        size_t option; /* its place in the options */
        enum sandbox_feature feature;
    } groups[] = {
        {offsetof(struct confine_options, obsolete), SANDBOX_OBSOLETE},
        {offsetof(struct confine_options, elevate), SANDBOX_ELEVATE},
        {offsetof(struct confine_options, spawn), SANDBOX_SPAWN},
        {offsetof(struct confine_options, resource), SANDBOX_RESOURCE},
        {offsetof(struct confine_options, daemonize), SANDBOX_DAEMON},
    };
    int err;

    if (!c->options->sandbox) {
        return 0;
    }
    for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (*(const bool *)((const char *)c->options + groups[i].option)) {
            c->features |= SANDBOX_BIT(groups[i].feature);
        }
    }
    if (strcmp(c->accel, "kvm") == 0) {
        c->features |= SANDBOX_BIT(SANDBOX_KVM);
    }
    look_at_disks(c);
    look_at_chardevs(c);
    err = look_at_networks(c);
    if (!err && c->commands && !c->options->spawn) {
        snprintf(c->error, c->error_size,
                 "-netdev %s: guestfwd= with cmd: runs commands, which -sandbox on allows with "
                 "spawn=allow only",
                 c->commands);
        err = -EPERM;
    }
    return err;
}

/* ---- the steps ------------------------------------------------------------------------------- */

static bool changes_rights(const struct confinement *c)
{
    return c->options->sandbox || c->options->user || c->options->chroot;
}

static int find_user(struct confinement *c)
{
    const struct confine_options *o = c->options;

    return o->user ? identity_find(&c->identity, o->user_option, o->user, c->error, c->error_size)
                   : 0;
}

static int start_keeper(struct confinement *c)
{
    static const char *const files[] = {RESOLV_CONF, NULL};
    bool user = c->features & SANDBOX_BIT(SANDBOX_USER);
    const struct keeper_config config = {
        .files = user ? files : NULL,
        .folders = c->folders,
        .silent = c->options->daemonize,
    };

    if (!changes_rights(c) || (!user && !ending_count())) {
        return 0;
    }
    c->features |= SANDBOX_BIT(SANDBOX_KEEPER);
    return keeper_start(&config, c->error, c->error_size);
}

static int rest_and_open(struct confinement *c)
{
    if (!changes_rights(c)) {
        return 0;
    }
    c->tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->tasks < 0) {
        return fail(c, -errno, "/proc/self/task");
    }
    /* Its file is read now, for messages of libraries that have the time in them. */
    tzset();
    return 0;
}

static void prepare_loop(struct loop *loop, void *opaque)
{
    block_prepare_loop(loop);
}

static int make_rings(struct confinement *c)
{
    int err = 0;

    if (c->options->sandbox) {
        if (c->features & SANDBOX_BIT(SANDBOX_URING)) {
            block_prepare_loop(c->loop);
            err = loop_thread_run_all(prepare_loop, NULL);
        }
    }
    if (changes_rights(c)) {
        block_seal();
    }
    return err ? fail(c, err, "-sandbox on") : 0;
}

/* Has fn called on all threads; the first error that one of them has. */
static int on_all_threads(struct confinement *c, void (*fn)(struct loop *loop, void *opaque))
{
    int err;

    fn(c->loop, c);
    err = loop_thread_run_all(fn, c);
    return err ? err : c->thread_error;
}

static void note_error(struct confinement *c, int err)
{
    if (err) {
        c->thread_error = err;
    }
}

static void drop_bounds(struct loop *loop, void *opaque)
{
    note_error(opaque, identity_drop_bounds());
}

static int give_up_bounds(struct confinement *c)
{
    int err;

    c->capabilities = (c->options->sandbox && !c->options->elevate) || c->options->user;
    if (!c->capabilities) {
        return 0;
    }
    err = on_all_threads(c, drop_bounds);
    if (err == -ENOTSUP && !c->options->sandbox) {
        c->capabilities = false; /* the change of the user takes the most of them */
        c->thread_error = err = 0;
    }
    if (err == -ENOTSUP) {
        snprintf(c->error, c->error_size, "-sandbox on: this program was built without libcap-ng");
        return err;
    }
    return err ? fail(c, err, "the bounding set of capabilities") : 0;
}

static int change_root(struct confinement *c)
{
    const struct confine_options *o = c->options;

    if (o->chroot) {
        return identity_chroot(o->chroot_option, o->chroot, c->error, c->error_size);
    }
    /* A daemon keeps no file system from being unmounted. */
    return o->daemonize && chdir("/") < 0 ? fail(c, -errno, "-daemonize") : 0;
}

static int change_user(struct confinement *c)
{
    const struct confine_options *o = c->options;
    int err = o->user ? identity_become(&c->identity, o->user_option, c->error, c->error_size) : 0;

    free(c->identity.name);
    return err;
}

static int end_with_parent(struct confinement *c)
{
    if (!c->options->exit_with_parent) {
        return 0;
    }
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0) {
        return fail(c, -errno, "-run-with exit-with-parent=on");
    }
    /* It may have ended before we asked. */
    if (getppid() != parent) {
        snprintf(c->error, c->error_size, "-run-with exit-with-parent=on: there is no parent");
        return -ESRCH;
    }
    return 0;
}

static void confine_thread(struct loop *loop, void *opaque)
{
    struct confinement *c = opaque;

    if (c->capabilities) {
        note_error(c, identity_drop_capabilities());
    }
    if (c->options->sandbox && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        note_error(c, -errno);
    }
}

static int confine_threads(struct confinement *c)
{
    int err = on_all_threads(c, confine_thread);

    return err ? fail(c, err, "the rights of threads") : 0;
}

/* The value of a line of /proc/PID/status, or "". */
static const char *status_line(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? at + strlen(name) + strspn(at + strlen(name), "\t") : "";
}

static int check_thread(struct confinement *c, const char *name)
{
    char path[64], text[4096], *end;
    const char *line;
    int fd, err = 0;
    ssize_t n;

    snprintf(path, sizeof(path), "%.32s/status", name);
    fd = openat(c->tasks, path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (n < 0) {
        return errno == ENOENT || errno == ESRCH ? 0 : fail(c, -errno, "/proc/self/task");
    }
    text[n] = 0;
    line = status_line(text, "\nCapPrm:");
    if (c->capabilities && (strtoull(line, &end, 16) != 0 || end == line)) {
        err = -EPERM;
    }
    line = status_line(text, "\nNoNewPrivs:");
    if (c->options->sandbox && *line != '1') {
        err = -EPERM;
    }
    if (err) {
        line = status_line(text, "Name:");
        snprintf(c->error, c->error_size, "thread %s (%.*s) keeps rights that were given up", name,
                 (int)strcspn(line, "\n"), line);
    }
    return err;
}

static int check_threads(struct confinement *c)
{
    struct dirent *entry;
    DIR *folder;
    int err = 0;

    if (!changes_rights(c)) {
        return 0;
    }
    folder = fdopendir(c->tasks);
    if (!folder) {
        return fail(c, -errno, "/proc/self/task");
    }
    while (!err && (entry = readdir(folder))) {
        if (entry->d_name[0] != '.') {
            err = check_thread(c, entry->d_name);
        }
    }
    closedir(folder);
    return err;
}

static void forbid_files_thread(struct loop *loop, void *opaque)
{
    struct confinement *c = opaque;

    note_error(c, landlock_apply(c->rules));
}

static int forbid_files(struct confinement *c)
{
    const uint32_t sockets = SANDBOX_BIT(SANDBOX_USER) | SANDBOX_BIT(SANDBOX_CONNECT);
    int err;

    /* A program that may be started has to be read. */
    if (!c->options->sandbox || c->options->spawn) {
        return 0;
    }
    c->rules = landlock_prepare(c->features & sockets);
    if (c->rules < 0) {
        return 0;
    }
    err = on_all_threads(c, forbid_files_thread);
    close(c->rules);
    return err ? fail(c, err, "-sandbox on: Landlock") : 0;
}

static int start_teardown(struct confinement *c)
{
    return c->options->async_teardown ? teardown_start(c->error, c->error_size) : 0;
}

static int apply_filter(struct confinement *c)
{
    return c->options->sandbox
               ? sandbox_apply(c->features, c->options->violation, c->error, c->error_size)
               : 0;
}

static int (*const steps[])(struct confinement *c) = {
    find_uses,      find_user,    start_keeper,   rest_and_open,   make_rings,
    give_up_bounds, change_root,  change_user,    end_with_parent, confine_threads,
    check_threads,  forbid_files, start_teardown, apply_filter,
};

void confine_begin(const struct confine_options *options)
{
    parent = getppid();
    if (options->sandbox) {
        block_restrict();
    }
}

int confine(const struct confine_options *options, struct loop *loop, const char *accel,
            char *error, size_t error_size)
{
    struct confinement c = {
        .options = options,
        .loop = loop,
        .accel = accel,
        .tasks = -1,
        .rules = -1,
        .error = error,
        .error_size = error_size,
    };
    int err = 0;

    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]) && !err; i++) {
        err = steps[i](&c);
    }
    free(c.folders);
    return err;
}
