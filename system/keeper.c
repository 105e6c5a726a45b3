/*
 * Requests are messages of one number and perhaps a path: OPEN, or PAY with the number of an
 * ending. The answer is 0 or -errno, for OPEN with a descriptor. One request is under way at a
 * time.
 *
 * The keeper is a fork of a process with threads, so what is called in it is async-signal-safe;
 * lists are read where they lie.
 */
#include "system/keeper.h"

#include "util/ending.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OPEN, PAY };

struct request {
    uint32_t what, number;
    char path[PATH_MAX];
};

#define REQUEST_HEAD offsetof(struct request, path)

/* In our process. */
static int asking = -1; /* the socket */
static _Atomic bool busy;

/* In the keeper. */
static struct {
    int socket;
    const char *const *files;
    const char *const *folders;
    int *folder_fds; /* as many as folders */
} self;

/* ---- the keeper's side ----------------------------------------------------------------------- */

/* Below the folder, over no link that leads out of it. */
static int open_below(int folder, const char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, folder, path, &how, sizeof(how));

    return fd < 0 ? -errno : (int)fd;
}

static int open_listed(const char *path)
{
    for (unsigned i = 0; self.files && self.files[i]; i++) {
        if (strcmp(self.files[i], path) == 0) {
            int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

            return fd < 0 ? -errno : fd;
        }
    }
    for (unsigned i = 0; self.folders && self.folders[i]; i++) {
        size_t length = strlen(self.folders[i]);

        if (strncmp(self.folders[i], path, length) == 0 && path[length] == '/') {
            path += length;
            return open_below(self.folder_fds[i], path + strspn(path, "/"));
        }
    }
    return -EPERM;
}

/* A descriptor goes along if there is one. */
static void answer(int32_t result, int fd)
{
    struct iovec iov = {&result, sizeof(result)};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control.space);
        control.head = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    }
    while (sendmsg(self.socket, &message, MSG_NOSIGNAL) < 0 && errno == EINTR) {
    }
}

static void serve(struct request *request, size_t size)
{
    int result = -EINVAL, fd = -1;

    if (size >= REQUEST_HEAD && request->what == PAY) {
        result = ending_pay(request->number);
    } else if (size > REQUEST_HEAD && request->what == OPEN &&
               memchr(request->path, 0, size - REQUEST_HEAD)) {
        fd = open_listed(request->path);
        result = fd < 0 ? fd : 0;
    }
    answer(result, fd);
    if (fd >= 0) {
        close(fd);
    }
}

static void close_from_to(unsigned from, unsigned to)
{
    if (from > to || syscall(SYS_close_range, from, to, 0) == 0) {
        return;
    }
    /* Before Linux 5.9. Nobody has more than this open. */
    for (unsigned fd = from; fd <= to && fd < 1u << 16; fd++) {
        close((int)fd);
    }
}

/* Is it one that the keeper needs? */
static bool is_own(unsigned fd)
{
    bool own = fd == (unsigned)self.socket;

    for (unsigned i = 0; self.folders && self.folders[i]; i++) {
        own |= fd == (unsigned)self.folder_fds[i];
    }
    return own;
}

/* What else is open in our process is not the keeper's business: locks, devices, terminals. */
static void close_others(bool silent)
{
    unsigned highest = (unsigned)self.socket, from = 3;
    int null;

    for (unsigned i = 0; self.folders && self.folders[i]; i++) {
        highest = highest > (unsigned)self.folder_fds[i] ? highest : (unsigned)self.folder_fds[i];
    }
    for (unsigned fd = 3; fd <= highest; fd++) {
        if (is_own(fd)) {
            close_from_to(from, fd - 1);
            from = fd + 1;
        }
    }
    close_from_to(from, UINT_MAX);
    for (int fd = 0; fd < (silent ? 3 : 2); fd++) {
        close(fd);
    }
    /* These become 0, 1, and 2, in their order. */
    null = open("/dev/null", O_RDWR);
    (void)dup(null);
    if (silent) {
        (void)dup(null);
    }
}

static _Noreturn void keep(bool silent)
{
    static struct request request;
    sigset_t all;
    ssize_t n;

    /* It ends when the process has, not by Ctrl-C. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    prctl(PR_SET_NAME, "tinamou-keeper");
    close_others(silent);
    do {
        n = recv(self.socket, &request, sizeof(request), 0);
        if (n > 0) {
            serve(&request, (size_t)n);
        }
    } while (n > 0 || (n < 0 && errno == EINTR));
    for (unsigned i = 0; i < ending_count(); i++) {
        (void)ending_pay(i);
    }
    _exit(0);
}

/* ---- our side -------------------------------------------------------------------------------- */

/* The answer, and the descriptor that came with it or -1. */
static int ask(const struct request *request, size_t size, int *fd)
{
    int32_t result = -EIO;
    struct iovec iov = {&result, sizeof(result)};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control.space)};
    ssize_t n;

    *fd = -1;
    while (atomic_exchange(&busy, true)) {
        sched_yield();
    }
    do {
        n = send(asking, request, size, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)size) {
        do {
            n = recvmsg(asking, &message, MSG_CMSG_CLOEXEC);
        } while (n < 0 && errno == EINTR);
    }
    atomic_store(&busy, false);
    if (n != sizeof(result)) {
        return -EIO; /* it is gone */
    }
    if (message.msg_controllen >= CMSG_LEN(sizeof(int)) && control.head.cmsg_type == SCM_RIGHTS) {
        memcpy(fd, CMSG_DATA(&control.head), sizeof(*fd));
    }
    return result;
}

static int pay(unsigned n)
{
    struct request request = {.what = PAY, .number = n};
    int fd;

    return ask(&request, REQUEST_HEAD, &fd);
}

bool keeper_runs(void)
{
    return asking >= 0;
}

int keeper_open(const char *path)
{
    struct request request;
    size_t length = strnlen(path, PATH_MAX);
    int fd, err;

    if (asking < 0 || length == PATH_MAX) {
        return asking < 0 ? -EPERM : -ENAMETOOLONG;
    }
    request.what = OPEN;
    request.number = 0;
    memcpy(request.path, path, length + 1);
    err = ask(&request, REQUEST_HEAD + length + 1, &fd);
    return err ? err : fd < 0 ? -EIO : fd;
}

/* The same descriptor where it is not in the way of standard input, output and error. */
static int above_standard(int fd)
{
    int higher = fd < 0 || fd > 2 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);

    if (higher != fd) {
        close(fd);
    }
    return higher;
}

static int open_folders(const char *const *folders, char *error, size_t error_size)
{
    unsigned count = 0;

    while (folders && folders[count]) {
        count++;
    }
    self.folder_fds = calloc(count + 1, sizeof(int));
    for (unsigned i = 0; i < count && self.folder_fds; i++) {
        self.folder_fds[i] = above_standard(open(folders[i], O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (self.folder_fds[i] < 0) {
            int err = -errno;

            snprintf(error, error_size, "%s: %s", folders[i], strerror(-err));
            return err;
        }
    }
    return self.folder_fds ? 0 : -ENOMEM;
}

int keeper_start(const struct keeper_config *config, char *error, size_t error_size)
{
    int ends[2], err = 0;
    pid_t child;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        err = -errno;
        snprintf(error, error_size, "the keeper's socket: %s", strerror(-err));
        return err;
    }
    asking = above_standard(ends[0]);
    self.socket = above_standard(ends[1]);
    self.files = config->files;
    self.folders = config->folders;
    err = open_folders(config->folders, error, error_size);
    if (err) {
        return err;
    }
    child = fork();
    if (child == 0) {
        keep(config->silent);
    }
    if (child < 0) {
        err = -errno;
        snprintf(error, error_size, "the keeper cannot be started: %s", strerror(-err));
        return err;
    }
    close(self.socket);
    for (unsigned i = 0; config->folders && config->folders[i]; i++) {
        close(self.folder_fds[i]);
    }
    ending_set_agent(pay);
    return 0;
}
