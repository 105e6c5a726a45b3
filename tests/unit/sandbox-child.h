/* What tests of the sandbox have in common: attempts in children, and what became of them. */
#ifndef TINAMOU_TESTS_UNIT_SANDBOX_CHILD_H
#define TINAMOU_TESTS_UNIT_SANDBOX_CHILD_H

#include "system/sandbox.h"
#include "tests/unit/tap.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FEATURE(name) SANDBOX_BIT(SANDBOX_##name)

struct outcome {
    int status;      /* as of wait */
    char text[1024]; /* of its standard error */
};

/* What try() does, in a child. */
static inline struct outcome in_child(void (*try)(void *opaque), void *opaque)
{
    struct outcome out = {0};
    size_t got = 0;
    int ends[2];
    pid_t child;
    ssize_t n;

    fflush(stdout);
    if (pipe(ends) < 0 || (child = fork()) < 0) {
        return (struct outcome){.status = -1};
    }
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        try(opaque);
        _exit(99);
    }
    close(ends[1]);
    while (got < sizeof(out.text) - 1 &&
           (n = read(ends[0], out.text + got, sizeof(out.text) - 1 - got)) > 0) {
        got += (size_t)n;
    }
    close(ends[0]);
    waitpid(child, &out.status, 0);
    return out;
}

static inline void enter(uint32_t features, enum sandbox_violation violation)
{
    char error[256];

    if (sandbox_apply(features, violation, error, sizeof(error))) {
        dprintf(STDERR_FILENO, "%s\n", error);
        _exit(98);
    }
}

static inline unsigned lines(const char *text)
{
    unsigned n = 0;

    for (; *text; text++) {
        n += *text == '\n';
    }
    return n;
}

/* By the sandbox. */
static inline bool killed(struct outcome out)
{
    return WIFSIGNALED(out.status) && WTERMSIG(out.status) == SIGSYS;
}

/* Exited with this status; of what it has written `text_lines` lines. */
static inline bool exited(struct outcome out, int status, unsigned text_lines)
{
    if (WIFEXITED(out.status) && WEXITSTATUS(out.status) == status &&
        lines(out.text) == text_lines) {
        return true;
    }
    printf("# status %#x, '%s'\n", (unsigned)out.status, out.text);
    return false;
}

/* A folder of the test's own. */
static inline void make_folder(char *path, size_t size)
{
    const char *base = getenv("TMPDIR");

    snprintf(path, size, "%.60s/sandbox-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(path)) {
        abort();
    }
    chmod(path, 0755);
}

static inline void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        abort();
    }
    close(fd);
}

#endif
