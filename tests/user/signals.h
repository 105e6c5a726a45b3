/*
 * What the programs about signals share: a handler that records, and short names.
 */
#ifndef TINAMOU_TESTS_USER_SIGNALS_H
#define TINAMOU_TESTS_USER_SIGNALS_H

#include <pthread.h>
#include <signal.h>

#include "tests/user/tap.h"

static volatile sig_atomic_t hits;
static siginfo_t last;
static pthread_t last_thread;

static inline void record(int sig, siginfo_t *info, void *context)
{
    hits++;
    last = *info;
    last_thread = pthread_self();
}

static inline void install(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

    sigaction(sig, &sa, NULL);
}

/* The set of a, and of b unless that is 0. */
static inline sigset_t set_of(int a, int b)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, a);
    if (b) {
        sigaddset(&set, b);
    }
    return set;
}

#endif
