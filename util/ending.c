/* Notes are an array of pointers that only grows: numbers stay, and an agent forked off has them.
 */
#include "util/ending.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct note {
    char *text;     /* as it was given: the path, or the program */
    char *argument; /* of a command; NULL: a file */
    char *path;     /* absolute */
    bool paid;
};

static struct note **notes;
static unsigned count;
static int (*agent_fn)(unsigned n);

extern char **environ;

/* The path from the root, without resolving what the last component may be a link to. */
static char *absolute(const char *path)
{
    char *folder, *result = NULL;

    if (path[0] == '/') {
        return strdup(path);
    }
    folder = getcwd(NULL, 0);
    if (folder && asprintf(&result, "%s/%s", folder, path) < 0) {
        result = NULL;
    }
    free(folder);
    return result;
}

static void note(const char *text, const char *argument)
{
    struct note **grown = realloc(notes, (count + 1) * sizeof(struct note *));
    struct note *made = calloc(1, sizeof(*made));

    notes = grown ? grown : notes;
    if (grown && made) {
        made->text = strdup(text);
        made->path = absolute(text);
        made->argument = argument ? strdup(argument) : NULL;
    }
    if (!grown || !made || !made->text || !made->path || (argument && !made->argument)) {
        if (made) {
            free(made->text);
            free(made->path);
        }
        free(made);
        return;
    }
    notes[count++] = made;
}

void ending_note_file(const char *path)
{
    note(path, NULL);
}

void ending_note_command(const char *program, const char *argument)
{
    note(program, argument);
}

/* With signals as a program expects them; -EIO when it fails. */
static int run(const char *program, const char *argument)
{
    char *argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)argument, NULL};
    posix_spawnattr_t attributes;
    sigset_t set;
    pid_t pid;
    int status, err;

    posix_spawnattr_init(&attributes);
    sigemptyset(&set);
    posix_spawnattr_setsigmask(&attributes, &set);
    sigaddset(&set, SIGPIPE); /* ignored here */
    posix_spawnattr_setsigdefault(&attributes, &set);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    err = posix_spawn(&pid, program, NULL, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    if (err) {
        return -err;
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return status ? -EIO : 0;
}

static int remove_file(const char *path)
{
    return unlink(path) ? -errno : 0;
}

unsigned ending_count(void)
{
    return count;
}

int ending_pay(unsigned n)
{
    struct note *due = n < count ? notes[n] : NULL;

    if (!due || due->paid) {
        return due ? 0 : -ENOENT;
    }
    due->paid = true;
    return due->argument ? run(due->path, due->argument) : remove_file(due->path);
}

void ending_set_agent(int (*agent)(unsigned n))
{
    agent_fn = agent;
}

/* The latest that is not paid: the same path may have been made, removed and made again. */
static int pay(const char *text, const char *argument)
{
    for (unsigned n = count; n-- > 0;) {
        struct note *due = notes[n];

        if (due->paid || strcmp(due->text, text) != 0 || !due->argument != !argument ||
            (argument && strcmp(due->argument, argument) != 0)) {
            continue;
        }
        if (!agent_fn) {
            return ending_pay(n);
        }
        due->paid = true;
        return agent_fn(n);
    }
    if (agent_fn) {
        return -EPERM; /* it came to be behind the agent's back */
    }
    return argument ? run(text, argument) : remove_file(text);
}

int ending_remove_file(const char *path)
{
    return pay(path, NULL);
}

int ending_run_command(const char *program, const char *argument)
{
    return pay(program, argument);
}
