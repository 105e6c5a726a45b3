/* The keeper of the system emulator: what it does for a process in the sandbox, and what not. */
#include "build/config.h"
#include "system/keeper.h"
#include "tests/unit/sandbox-child.h"
#include "util/ending.h"

#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>

#if CONFIG_SECCOMP

static char folder[96];

/* ---- the keeper ------------------------------------------------------------------------------ */

static const char *read_stream(const char *path)
{
    static char text[64];
    FILE *f = fopen(path, "r");

    text[0] = 0;
    if (f) {
        if (!fgets(text, sizeof(text), f)) {
            text[0] = 0;
        }
        fclose(f);
    }
    return f ? text : NULL;
}

static char *named, *next, *secret, *shared, *inside, *outside, *by_link;
static char *owed, *relative, *second, *ran, *script;

/* A path in the folder. */
static char *in_folder(const char *name)
{
    char *path;

    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        abort();
    }
    return path;
}

static void start_keeper(void)
{
    static const char *files[2], *folders[2];
    static const struct keeper_config config = {.files = files, .folders = folders};
    char error[256];

    files[0] = named;
    folders[0] = shared;
    if (keeper_start(&config, error, sizeof(error))) {
        dprintf(STDERR_FILENO, "%s\n", error);
        _exit(97);
    }
}

static void use_keeper(void *opaque)
{
    const char *text;
    struct stat st;

    start_keeper();
    enter(FEATURE(KEEPER), SANDBOX_ERRNO);
    text = read_stream(named);
    if (!text || strcmp(text, "first") != 0 || stat(named, &st) || st.st_size != 5) {
        _exit(1);
    }
    /* The parent puts another file in its place; it comes by the pipe that says so. */
    if (write(*(int *)opaque, "x", 1) != 1) {
        _exit(2);
    }
    for (int tries = 0; tries < 1000; tries++) {
        text = read_stream(named);
        if (text && strcmp(text, "second") == 0) {
            break;
        }
        poll(NULL, 0, 10);
    }
    if (!text || strcmp(text, "second") != 0) {
        _exit(3);
    }
    text = read_stream(inside);
    if (!text || strcmp(text, "shared") != 0) {
        _exit(4);
    }
    if (read_stream(outside) || read_stream(by_link)) {
        _exit(5);
    }
    /* Up to here nothing was a violation; this is one. */
    if (read_stream(secret) || errno != EPERM) {
        _exit(6);
    }
    if (open(named, O_WRONLY | O_CLOEXEC) >= 0 || errno != EPERM) {
        _exit(7);
    }
    _exit(0);
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* What is owed is paid by the keeper: one on request, the rest when the process is gone. */
static void owe(void *opaque)
{
    if (chdir(folder)) {
        _exit(1);
    }
    ending_note_file(owed);
    ending_note_file("relative");
    ending_note_file(second);
    ending_note_command(script, "argument");
    start_keeper();
    enter(FEATURE(KEEPER), SANDBOX_ERRNO);
    if (ending_remove_file(owed) || ending_remove_file(secret) != -EPERM) {
        _exit(2);
    }
    syscall(SYS_tgkill, getpid(), getpid(), SIGKILL);
}

static void check_keeper(void)
{
    struct outcome out;
    char *text;
    int ends[2];

    named = in_folder("named");
    next = in_folder("next");
    secret = in_folder("secret");
    shared = in_folder("shared");
    inside = in_folder("shared/file");
    outside = in_folder("shared/../secret");
    by_link = in_folder("shared/link");
    owed = in_folder("owed");
    relative = in_folder("relative");
    second = in_folder("second");
    ran = in_folder("ran");
    script = in_folder("script");
    mkdir(shared, 0700);
    write_file(named, "first");
    write_file(secret, "secret");
    write_file(inside, "shared");
    if (symlink("../secret", by_link) || pipe(ends)) {
        abort();
    }
    fflush(stdout);
    pid_t changer = fork();
    if (changer == 0) {
        char c;

        close(ends[1]);
        if (read(ends[0], &c, 1) == 1) {
            write_file(next, "second");
            rename(next, named);
        }
        _exit(0);
    }
    out = in_child(use_keeper, &ends[1]);
    close(ends[0]);
    close(ends[1]);
    waitpid(changer, NULL, 0);
    tap_ok(exited(out, 0, 1), "the keeper opens what is on its list, and nothing else");

    write_file(owed, "");
    write_file(relative, "");
    write_file(second, "");
    if (asprintf(&text, "#!/bin/sh\necho \"$1\" >%s\n", ran) < 0) {
        abort();
    }
    write_file(script, text);
    free(text);
    chmod(script, 0700);
    /* in_child() reads until nobody has standard error open: until the keeper is gone, too. */
    out = in_child(owe, NULL);
    tap_ok(WIFSIGNALED(out.status) && WTERMSIG(out.status) == SIGKILL, "the process is killed");
    tap_ok(!is_there(owed) && !is_there(relative) && !is_there(second) && is_there(secret),
           "what it owed is removed, and nothing else");
    tap_str(is_there(ran) ? read_stream(ran) : "", "argument\n", "and the command was run");
    for (size_t i = 0; i < 6; i++) {
        unlink((const char *[]){named, secret, inside, by_link, ran, script}[i]);
    }
    rmdir(shared);
}

int main(void)
{
    make_folder(folder, sizeof(folder));
    check_keeper();
    rmdir(folder);
    return tap_done();
}

#else

int main(void)
{
    tap_skip("the sandbox", "built without libseccomp");
    return tap_done();
}

#endif
