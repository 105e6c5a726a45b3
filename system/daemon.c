/* The process among others. The parent of a daemon learns by a pipe that the child is ready. */
#include "system/daemon.h"

#include "util/ending.h"
#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready_fd = -1, null_fd = -1;
static char *pidfile;

/* The status of a child that ended early, or 0 once it has said that it is ready. */
static int wait_for(pid_t child, int fd)
{
    int status;
    ssize_t n;
    char byte;

    do {
        n = read(fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 1) {
        return 0;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

void daemon_fork(void)
{
    int fds[2];
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) < 0 || (child = fork()) < 0) {
        error_fatal("-daemonize: %s", strerror(errno));
    }
    if (child > 0) {
        close(fds[1]);
        _exit(wait_for(child, fds[0]));
    }
    close(fds[0]);
    ready_fd = fds[1];
    setsid();
    umask(027);
    signal(SIGTSTP, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    signal(SIGTTIN, SIG_IGN);
}

static void remove_pidfile(void)
{
    if (pidfile) {
        ending_remove_file(pidfile);
    }
}

int daemon_write_pidfile(const char *path, char *error, size_t error_size)
{
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    int err = fd < 0 ? -errno : 0;
    char text[24];
    int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

    if (!err && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        err = -errno;
    }
    if (!err && (ftruncate(fd, 0) < 0 || write(fd, text, (size_t)length) != length)) {
        err = errno ? -errno : -EIO;
    }
    if (err) {
        snprintf(error, error_size, "-pidfile %s: %s", path,
                 err == -EWOULDBLOCK ? "belongs to a process that runs" : strerror(-err));
        if (fd >= 0) {
            close(fd);
        }
        return err;
    }
    /* The descriptor stays open: it holds the lock. The working folder may change. */
    pidfile = realpath(path, NULL);
    if (pidfile) {
        ending_note_file(pidfile);
    }
    atexit(remove_pidfile);
    return 0;
}

void daemon_prepare(void)
{
    if (ready_fd >= 0) {
        null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    }
}

void daemon_ready(void)
{
    if (ready_fd < 0) {
        return;
    }
    for (int fd = 0; fd < 3 && null_fd >= 0; fd++) {
        dup2(null_fd, fd);
    }
    if (null_fd > 2) {
        close(null_fd);
    }
    if (write(ready_fd, "", 1) != 1) {
        _exit(1);
    }
    close(ready_fd);
    ready_fd = -1;
}
