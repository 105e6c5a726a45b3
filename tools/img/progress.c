/*
 * Telling how far a long command is, and ending it in order.
 *
 * With -p it is qemu-img's line, "    (12.34/100%)". Without, whatever takes longer than a second
 * draws a bar with rate and time left, if there is a terminal. Drawing happens ten times a second
 * at most.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/img/img.h"

enum { BAR_WIDTH = 30 };

static volatile sig_atomic_t interrupted;

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void img_progress_begin(struct img_progress *p, bool asked, bool quiet, uint64_t total)
{
    *p = (struct img_progress){.asked = asked && !quiet,
                               .bar = !asked && !quiet && isatty(STDERR_FILENO),
                               .total = total,
                               .start = now_ms()};
    if (p->asked) {
        printf("    (0.00/100%%)\r");
        fflush(stdout);
    }
}

static void draw_bar(struct img_progress *p, uint64_t now)
{
    double share = p->total ? (double)p->done / (double)p->total : 1;
    double seconds = (double)(now - p->start) / 1000, rate = (double)p->done / seconds;
    unsigned left = rate > 0 ? (unsigned)((double)(p->total - p->done) / rate + 0.5) : 0;
    char bar[BAR_WIDTH + 1], per_second[32];

    for (int i = 0; i < BAR_WIDTH; i++) {
        bar[i] = i < share * BAR_WIDTH ? '#' : '.';
    }
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %5.1f%%  %s/s  %u:%02u left \033[K", bar, share * 100,
            img_size_text((uint64_t)rate, per_second), left / 60, left % 60);
    p->drawn = true;
}

void img_progress_at(struct img_progress *p, uint64_t done)
{
    uint64_t now;

    p->done = done < p->total ? done : p->total;
    if (!p->asked && !p->bar) {
        return;
    }
    now = now_ms();
    if (now - p->drawn_at < 100 || (p->bar && now - p->start < 1000)) {
        return;
    }
    p->drawn_at = now;
    if (p->asked) {
        printf("    (%3.2f/100%%)\r", p->total ? (double)p->done * 100 / (double)p->total : 100.0);
        fflush(stdout);
    } else {
        draw_bar(p, now);
    }
}

void img_progress_end(struct img_progress *p, bool complete)
{
    if (p->asked) {
        printf(complete ? "    (100.00/100%%)\n" : "\n");
    } else if (p->drawn) {
        fprintf(stderr, "\r\033[K");
    }
    fflush(stdout);
}

void img_pace(const struct img_progress *p, uint64_t rate)
{
    struct timespec pause = {.tv_nsec = 10000000};

    while (rate && !interrupted &&
           (double)p->done * 1000 / (double)rate > (double)(now_ms() - p->start)) {
        nanosleep(&pause, NULL);
    }
}

static void note(int signal)
{
    interrupted = signal;
}

void img_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int img_interrupted(void)
{
    return interrupted;
}
