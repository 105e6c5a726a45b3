/*
 * Terminal modes are the process's, so this is one object: what the terminal was, and what we made
 * of it. It is put back at exit, by signals that end the process (unless somebody else handles
 * them, who calls chardev_restore_terminal()), and while the process is stopped.
 *
 * Modes are set with `saved` written first, so that a handler that comes between finds something
 * to restore.
 */
#include "io/chardev/terminal.h"
#include "io/chardev/chardev.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved, raw;
static int terminal_fd;
static _Atomic bool is_raw, wanted; /* the modes are ours; they should be */

/* Those that end a process by default, where that is not the answer to a keystroke. */
static const int fatal_signals[] = {SIGHUP, SIGINT,  SIGQUIT, SIGILL,  SIGABRT, SIGBUS,
                                    SIGFPE, SIGSEGV, SIGTERM, SIGXCPU, SIGXFSZ};

/* Modes as they were. Async-signal-safe. */
static void restore(void)
{
    int error = errno;

    if (atomic_exchange(&is_raw, false)) {
        tcsetattr(terminal_fd, TCSANOW, &saved);
    }
    errno = error;
}

void chardev_restore_terminal(void)
{
    atomic_store(&wanted, false);
    restore();
}

static void make_raw(void)
{
    atomic_store(&is_raw, true);
    tcsetattr(terminal_fd, TCSANOW, &raw);
}

/* Installed with SA_RESETHAND: the signal comes again and ends the process. */
static void on_fatal(int number, siginfo_t *info, void *context)
{
    bool fault = number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL;

    chardev_restore_terminal();
    /* A fault is raised anew by the instruction, with its address for a core dump. */
    if (!fault || info->si_code <= 0) {
        raise(number);
    }
}

static void on_stop(int number)
{
    struct sigaction action = {.sa_handler = SIG_DFL}, old;
    sigset_t set, old_set;
    int error = errno;

    restore();
    sigaction(number, &action, &old);
    sigemptyset(&set);
    sigaddset(&set, number);
    raise(number);
    /* It is blocked in its handler: here the process stops, until SIGCONT. */
    pthread_sigmask(SIG_UNBLOCK, &set, &old_set);
    pthread_sigmask(SIG_SETMASK, &old_set, NULL);
    sigaction(number, &old, NULL);
    errno = error;
}

/* Also after SIGSTOP, when the shell has changed the modes meanwhile. Changing them from the
 * background would stop the process: there it waits for the SIGCONT of "fg". */
static void on_continue(int number)
{
    int error = errno;

    if (atomic_load(&wanted) && tcgetpgrp(terminal_fd) == getpgrp()) {
        make_raw();
    }
    errno = error;
}

static void handle(int number, void (*fn)(int))
{
    struct sigaction action = {.sa_handler = fn, .sa_flags = SA_RESTART | SA_ONSTACK}, old;

    if (!sigaction(number, NULL, &old) && old.sa_handler == SIG_DFL) {
        sigaction(number, &action, NULL);
    }
}

static void install(void)
{
    static bool installed;

    if (installed) {
        return;
    }
    installed = true;
    atexit(chardev_restore_terminal);
    for (unsigned i = 0; i < sizeof(fatal_signals) / sizeof(fatal_signals[0]); i++) {
        struct sigaction action = {.sa_sigaction = on_fatal}, old;

        action.sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER | SA_ONSTACK;
        if (!sigaction(fatal_signals[i], NULL, &old) && old.sa_handler == SIG_DFL) {
            sigaction(fatal_signals[i], &action, NULL);
        }
    }
    handle(SIGTSTP, on_stop);
    handle(SIGCONT, on_continue);
}

void terminal_set_raw(int fd, bool signals)
{
    if (!isatty(fd) || tcgetattr(fd, &saved)) {
        return;
    }
    terminal_fd = fd;
    raw = saved;
    raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    raw.c_oflag |= OPOST;
    raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN | (signals ? 0 : ISIG));
    raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
    raw.c_cflag |= CS8;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    atomic_store(&wanted, true);
    make_raw();
    install();
}
