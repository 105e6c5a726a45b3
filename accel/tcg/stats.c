/*
 * The counters of `-d stats`.
 *
 * Those of the translator change under its lock. Ways out of generated code are counted by each
 * vCPU for itself and added up here, so that threads do not share a line of memory for it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "accel/tcg/internal.h"
#include "util/log.h"

void tcg_keep_exits_locked(const struct tcg_cpu *gone)
{
    for (unsigned i = 0; i < TCG_EXIT_COUNT; i++) {
        tcg.exits[i] += gone->exits[i];
    }
}

void tcg_stats_fork_child(struct tcg_cpu *self)
{
    memset(&tcg.stats, 0, sizeof(tcg.stats));
    memset(tcg.exits, 0, sizeof(tcg.exits));
    memset(self->exits, 0, sizeof(self->exits));
}

static void add_line(char *text, size_t size, const char *name, uint64_t value, const char *help)
{
    size_t used = strlen(text);

    snprintf(text + used, size - used, "%-20s %12llu  # %s\n", name, (unsigned long long)value,
             help);
}

static uint64_t count_exits_locked(unsigned reason)
{
    uint64_t sum = tcg.exits[reason];

    for (const struct tcg_cpu *cpu = tcg.cpus; cpu; cpu = cpu->next) {
        sum += __atomic_load_n(&cpu->exits[reason], __ATOMIC_RELAXED);
    }
    return sum;
}

void tcg_print_stats(const char *when)
{
    /* one write, so that the processes of a guest do not mix their lines */
    char text[4096];

    snprintf(text, sizeof(text), "# process %d, %s\n", getpid(), when);
    lock_acquire(&tcg.lock);
#define X(name, help) add_line(text, sizeof(text), #name, tcg.stats.name, help);
    TCG_COUNTERS(X)
#undef X
#define X(reason, name, help) add_line(text, sizeof(text), #name, count_exits_locked(reason), help);
    TCG_EXITS(X)
#undef X
    lock_release(&tcg.lock);
    log_text(text, strlen(text));
}
