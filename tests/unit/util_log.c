/* util/log and util/error: items, files, cutting, rate limit, the form of messages. */
#include "util/error.h"
#include "util/log.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char captured[64 << 10];

static const char *read_file(const char *path)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, captured, sizeof(captured) - 1);

    close(fd);
    captured[n > 0 ? n : 0] = '\0';
    return captured;
}

static unsigned count_of(const char *text, const char *part)
{
    unsigned n = 0;

    for (; (text = strstr(text, part)); text += strlen(part)) {
        n++;
    }
    return n;
}

/* What error_exit() prints on stderr, and its exit status. */
static int run_error(const char *path)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

        dup2(fd, STDERR_FILENO);
        error_set_program("/somewhere/tinamou-riscv64");
        error_warn("option '%s' is odd", "-x");
        error_exit(127, "%s: no such file", "/bin/none");
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void check_items(void)
{
    uint32_t mask = 0;
    const char *bad = NULL;
    size_t bad_len = 0;
    bool found = true;

    tap_eq(log_parse_items("in_asm,strace", &mask, &bad, &bad_len), 0, "a list of items");
    tap_eq(mask, LOG_IN_ASM | LOG_STRACE, "has the mask of both");
    for (const struct log_item *item = log_items; item->name; item++) {
        mask = 0;
        log_parse_items(item->name, &mask, &bad, &bad_len);
        found = found && mask == item->mask && item->help[0];
    }
    tap_ok(found, "every item is found by its name and has help");
    tap_eq(log_parse_items("all", &mask, &bad, &bad_len), 0, "all is known");
    tap_ok((mask & LOG_OP) && (mask & LOG_STATS) && !(mask & LOG_NOCHAIN), "all but nochain");

    mask = 77;
    tap_eq(log_parse_items("exec,in_as,int", &mask, &bad, &bad_len), -EINVAL, "an unknown item");
    tap_ok(bad_len == 5 && memcmp(bad, "in_as", 5) == 0, "is pointed at");
    tap_eq(mask, 77, "and leaves the mask alone");
    tap_eq(log_parse_items("", &mask, &bad, &bad_len), -EINVAL, "an empty list is refused");
    tap_eq(log_parse_items("op,", &mask, &bad, &bad_len), -EINVAL, "so is an empty item");
}

static void check_file(const char *dir)
{
    static char huge[3 * LOG_MESSAGE_MAX];
    struct log_limit limit = {0, 0};
    char path[256], expanded[256];
    const char *text;

    snprintf(path, sizeof(path), "%s/log.%%d", dir);
    snprintf(expanded, sizeof(expanded), "%s/log.%ld", dir, (long)getpid());
    tap_eq(log_open(path), 0, "a file with %d opens");
    tap_eq(access(expanded, F_OK), 0, "and has the process id in its name");
    tap_ok(log_fd() > 64, "its descriptor is out of the way");
    tap_ok(fcntl(log_fd(), F_GETFD) & FD_CLOEXEC, "and closes on exec");

    log_set_mask(LOG_EXEC);
    errno = EDOM;
    log_items_printf(LOG_EXEC, "one %d\n", 1);
    log_items_printf(LOG_INT, "two %d\n", 2);
    tap_eq(errno, EDOM, "logging preserves errno");
    tap_str(read_file(expanded), "one 1\n", "only items that are on are logged");

    memset(huge, 'x', sizeof(huge) - 1);
    log_printf("%s\n", huge);
    text = read_file(expanded);
    tap_ok(strlen(text) == 6 + LOG_MESSAGE_MAX - 1 && strstr(text, "[cut]\n"),
           "a message too long is cut and says so");
    log_text(huge, sizeof(huge) - 1);
    tap_eq(strlen(read_file(expanded)), 6 + LOG_MESSAGE_MAX - 1 + sizeof(huge) - 1,
           "text of any length is not");

    log_open(path);
    for (int i = 0; i < 1000; i++) {
        log_limit_printf(&limit, "storm\n");
    }
    /* The loop may straddle a second, seldom two. */
    text = read_file(expanded);
    tap_ok(count_of(text, "storm") >= LOG_LIMIT_BURST && count_of(text, "storm") <= 20,
           "a storm of messages is held back");
    limit.window -= 1; /* as if a second had passed */
    log_limit_printf(&limit, "calm\n");
    text = read_file(expanded);
    tap_ok(strstr(text, " more messages like the next one)\ncalm\n") != NULL,
           "the number held back is told");

    tap_eq(log_open("/nonexistent/folder/log"), -ENOENT, "a path that cannot be is an error");
    tap_eq(log_open("/tmp/%s"), -EINVAL, "so is a format other than %d");
    log_printf("still here\n");
    tap_ok(strstr(read_file(expanded), "still here") != NULL, "and the log stays where it was");

    snprintf(path, sizeof(path), "%s/error", dir);
    tap_eq(run_error(path), 127, "error_exit exits with its status");
    tap_str(read_file(path),
            "tinamou-riscv64: warning: option '-x' is odd\n"
            "tinamou-riscv64: /bin/none: no such file\n",
            "messages name the program");
    unlink(path);
    unlink(expanded);
}

int main(void)
{
    char dir[] = "/tmp/tinamou-log-XXXXXX";

    if (!mkdtemp(dir)) {
        return 1;
    }
    check_items();
    check_file(dir);
    rmdir(dir);
    return tap_done();
}
