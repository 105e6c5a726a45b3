/*
 * io/chardev's stdio on a terminal of the test's own: raw while it is used, and given back when the
 * process ends, however it does.
 */
#include "io/chardev/chardev.h"
#include "io/loop/loop.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static size_t can_receive(void *opaque)
{
    return 1;
}

static struct loop *loop;

/* What is typed says how the child ends. */
static void receive(void *opaque, const uint8_t *bytes, size_t size)
{
    struct chardev *chr = opaque;

    switch (bytes[0]) {
    case 'e':
        exit(3);
    case 'a':
        abort();
    case 's':
        raise(SIGSEGV);
        break;
    case 'q':
        loop_quit(loop);
        break;
    case 'n':
        chardev_write(chr,
                      fcntl(1, F_GETFL) & O_NONBLOCK ? (const uint8_t *)"shared"
                                                     : (const uint8_t *)"own!!!",
                      6);
        break;
    default:
        chardev_write(chr, bytes, size);
        break;
    }
}

static void on_quit(void *opaque)
{
    exit(5);
}

static const struct chardev_handlers handlers = {.can_receive = can_receive, .receive = receive};

static int master;
static char name[64];

static int child(const char *options)
{
    struct chardev *chr;
    char error[256];

    signal(SIGSEGV, SIG_DFL); /* of sanitizers */
    loop = loop_create();
    chardev_set_quit(on_quit, NULL);
    if (chardev_create(&chr, loop, options, error, sizeof(error))) {
        return 99;
    }
    chardev_attach(chr, &handlers, chr);
    chardev_write(chr, (const uint8_t *)"ready", 5);
    loop_run(loop);
    chardev_destroy_all();
    loop_iterate(loop, false);
    loop_destroy(loop);
    return 0;
}

static bool expect(const char *want)
{
    char text[64] = {0};
    size_t n = 0;

    while (n < strlen(want)) {
        struct pollfd wait = {.fd = master, .events = POLLIN};

        if (poll(&wait, 1, 10000) <= 0) {
            break;
        }
        ssize_t got = read(master, text + n, strlen(want) - n);

        if (got <= 0) {
            break;
        }
        n += (size_t)got;
    }
    return !strcmp(text, want);
}

static tcflag_t local_modes(void)
{
    struct termios modes = {0};

    tcgetattr(master, &modes);
    return modes.c_lflag & (ICANON | ECHO | ISIG);
}

static int reports[2]; /* how the job stopped or ended */

/* What a shell does: a session on the terminal, with a job in front. Only a job whose parent is in
 * the session can be stopped. */
static int shell(const char *options)
{
    setsid();
    int fd = open(name, O_RDWR), status;

    ioctl(fd, TIOCSCTTY, 0);
    dup2(fd, 0);
    dup2(fd, 1);
    dup2(fd, 2);
    signal(SIGTTOU, SIG_IGN);
    pid_t pid = fork();

    if (!pid) {
        setpgid(0, 0);
        tcsetpgrp(0, getpid());
        signal(SIGTTOU, SIG_DFL);
        signal(SIGINT, SIG_DFL); /* whoever runs the tests in the background has it ignored */
        signal(SIGQUIT, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        _exit(child(options));
    }
    if (write(reports[1], &pid, sizeof(pid)) != sizeof(pid)) {
        return 1;
    }
    while (waitpid(pid, &status, WUNTRACED) == pid) {
        if (write(reports[1], &status, sizeof(status)) != sizeof(status)) {
            return 1;
        }
    }
    return 0;
}

static int report(void)
{
    struct pollfd wait = {.fd = reports[0], .events = POLLIN};
    int value = -1;

    if (poll(&wait, 1, 20000) <= 0 || read(reports[0], &value, sizeof(value)) != sizeof(value)) {
        value = -1;
    }
    return value;
}

static pid_t leader;

static pid_t start(const char *options)
{
    fflush(stdout);
    leader = fork();
    if (!leader) {
        _exit(shell(options));
    }
    return report();
}

static int finish(void)
{
    int status = report();

    waitpid(leader, NULL, 0);
    return status;
}

static void type(const char *text)
{
    if (write(master, text, strlen(text)) < 0) {
        tap_note("write: %s", strerror(errno));
    }
}

/* Runs a child, has it end in some way, and looks at the terminal. */
static void ends(const char *how, const char *typed, int number, int want)
{
    pid_t pid = start("stdio,id=s");

    if (!tap_ok(expect("ready") && !(local_modes() & (ICANON | ECHO)), "%s: it is raw", how)) {
        kill(pid, SIGKILL);
    }
    if (typed) {
        type(typed);
    } else {
        kill(pid, number);
    }
    tap_eq(finish(), want, "it ends as it should");
    tap_eq(local_modes(), ICANON | ECHO | ISIG, "the terminal is as it was");
}

static void check_stop(void)
{
    pid_t pid = start("stdio,id=s");

    tap_ok(expect("ready"), "a job");
    kill(pid, SIGTSTP);
    int status = report();

    tap_ok(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP, "stops");
    tap_eq(local_modes(), ICANON | ECHO | ISIG, "the terminal is as it was");
    kill(pid, SIGCONT);
    for (int i = 0; i < 5000 && local_modes() & ICANON; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    tap_eq(local_modes(), ISIG, "raw again when it goes on");
    type("x");
    tap_ok(expect("x"), "and works");
    type("q");
    tap_ok(!finish() && local_modes() == (ICANON | ECHO | ISIG), "and gives it back");
}

static void check_mux(void)
{
    start("stdio,id=s,mux=on,signal=off");
    tap_ok(expect("ready"), "mon:stdio");
    tap_eq(local_modes(), 0, "has Ctrl-C for the guest");
    type("\3");
    tap_ok(expect("\3"), "which gets it");
    type("n");
    tap_ok(expect("own!!!"), "the shell's open file keeps its flags");
    type("\1x");
    int status = finish();

    tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 5, "Ctrl-A x asks to quit");
    tap_eq(local_modes(), ICANON | ECHO | ISIG, "the terminal is as it was");
}

/* Without a terminal: pipes on both sides, and an end of input. */
static void check_pipes(void)
{
    int in[2], out[2], status = 0;
    char text[16] = {0};

    if (!tap_ok(!pipe(in) && !pipe(out), "pipes")) {
        return;
    }
    fflush(stdout);
    pid_t pid = fork();

    if (!pid) {
        struct chardev *chr;
        char error[256];

        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        loop = loop_create();
        if (chardev_create_legacy(&chr, loop, "s", "stdio", error, sizeof(error))) {
            _exit(99);
        }
        chardev_attach(chr, &handlers, chr);
        for (;;) {
            if (!loop_iterate(loop, false)) {
                nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
                chardev_write(chr, (const uint8_t *)"x", 1);
            }
        }
    }
    close(in[0]);
    close(in[1]);
    tap_ok(read(out[0], text, 1) == 1 && read(out[0], text, 1) == 1 && text[0] == 'x',
           "output goes on when input has ended");
    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    tap_eq(status, SIGTERM, "it ends");
    close(out[0]);
    close(out[1]);
}

int main(void)
{
    if (pipe2(reports, O_CLOEXEC)) {
        return 1;
    }
    master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || unlockpt(master) || ptsname_r(master, name, sizeof(name))) {
        tap_skip("stdio", "no pseudo-terminal");
        return tap_done();
    }
    int keep = open(name, O_RDWR | O_NOCTTY); /* so that the modes last */

    ends("exit()", "e", 0, 3 << 8);
    ends("the end", "q", 0, 0);
    ends("abort()", "a", 0, SIGABRT);
    ends("a fault", "s", 0, SIGSEGV);
    ends("a real Ctrl-C", "\3", 0, SIGINT);
    ends("SIGTERM", NULL, SIGTERM, SIGTERM);
    ends("SIGHUP", NULL, SIGHUP, SIGHUP);
    check_stop();
    check_mux();
    check_pipes();
    close(keep);
    return tap_done();
}
