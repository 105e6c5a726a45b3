/* util/ending: what is owed is paid once, by ourselves or by an agent, wherever we are by then. */
#include "util/ending.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[128];

static void make(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT, 0700);

    if (fd < 0) {
        abort();
    }
    close(fd);
}

static bool is_there(const char *name)
{
    return access(name, F_OK) == 0;
}

static unsigned asked;

static int agent(unsigned n)
{
    asked = n;
    return n == 3 ? 0 : -EROFS;
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    FILE *script;

    snprintf(folder, sizeof(folder), "%.80s/ending-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder) || chdir(folder) || !(script = fopen("script", "w"))) {
        return 1;
    }
    fputs("#!/bin/sh\n[ \"$1\" = argument ] && : >ran\n", script);
    fclose(script);
    chmod("script", 0700);

    make("a");
    ending_note_file("a");
    tap_eq(ending_count(), 1, "a note");
    if (mkdir("elsewhere", 0700) || chdir("elsewhere")) {
        return 1;
    }
    make("a");
    tap_eq(ending_remove_file("a"), 0, "a file is removed");
    tap_ok(is_there("a") && !is_there("../a"), "the one that was meant");
    tap_eq(ending_pay(0), 0, "it is paid once");
    tap_eq(ending_remove_file("a"), 0, "what was not noted is removed directly");
    tap_eq(ending_remove_file("a"), -ENOENT, "which may fail");
    tap_eq(ending_pay(7), -ENOENT, "there is no such note");
    if (chdir("..")) {
        return 1;
    }

    make("b");
    ending_note_file("b");
    ending_remove_file("b");
    make("b");
    ending_note_file("b");
    tap_ok(!ending_remove_file("b") && !is_there("b"), "a file that was made again");

    tap_ok(!ending_run_command("./script", "argument") && is_there("ran"), "a command");
    unlink("ran");
    tap_eq(ending_run_command("./script", "x"), -EIO, "a command that fails");
    tap_eq(ending_run_command("./missing", "x"), -ENOENT, "a command that is not there");

    ending_note_command("./script", "argument");
    make("c");
    ending_note_file("c");
    ending_set_agent(agent);
    tap_ok(!ending_run_command("./script", "argument") && asked == 3 && !is_there("ran"),
           "an agent is asked for the command");
    tap_ok(ending_remove_file("c") == -EROFS && asked == 4 && is_there("c"),
           "and for the file, and says what became of it");
    make("d");
    tap_ok(ending_remove_file("d") == -EPERM && is_there("d"),
           "what the agent does not know of stays");

    unlink("c");
    unlink("d");
    unlink("script");
    rmdir("elsewhere");
    rmdir(folder);
    return tap_done();
}
