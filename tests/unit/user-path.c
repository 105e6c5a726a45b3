/* linux-user/path: what is found below -L and what is not. */
#include "linux-user/path.h"

#include "tests/unit/tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linux-user/procfs.h"
#include "linux-user/user.h"

/* What path.c asks of its neighbours. */
struct user_process user_process = {.ld_prefix_fd = -1, .exe_path = "/guest/exe"};

bool procfs_is_exe(const char *path)
{
    return strcmp(path, "/proc/self/exe") == 0;
}

int user_fd_reserve(int fd)
{
    return fd;
}

int64_t user_string(uint64_t guest, char *buffer, size_t size)
{
    return -1;
}

static char root[] = "/tmp/tinamou-path-XXXXXX";

static void folder(const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", root, name);
    mkdir(path, 0755);
}

static void file(const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", root, name);
    close(open(path, O_CREAT | O_WRONLY, 0644));
}

static void leads(const char *guest, const char *below, bool follow, const char *what)
{
    char host[2 * PATH_MAX], want[2 * PATH_MAX];
    const char *got = follow ? user_path(guest, host) : user_path_link(guest, host);

    snprintf(want, sizeof(want), "%s%s", root, below);
    if (!tap_ok(strcmp(got, want) == 0, "%s", what)) {
        tap_note("%s gave %s, not %s", guest, got, want);
    }
}

static void stays(const char *guest, const char *what)
{
    char host[2 * PATH_MAX];

    tap_ok(user_path(guest, host) == guest, "%s", what);
}

int main(void)
{
    char host[2 * PATH_MAX], path[PATH_MAX];

    if (mkdtemp(root) == NULL) {
        return 1;
    }
    folder("etc");
    folder("usr");
    folder("usr/lib");
    folder("tmp");
    file("etc/passwd");
    file("usr/lib/libc.so");
    file("tmp/file");
    snprintf(path, sizeof(path), "%s/lib", root);
    (void)!symlink("/usr/lib", path); /* absolute: in the prefix, not on the host */
    snprintf(path, sizeof(path), "%s/etc/link", root);
    (void)!symlink("/etc/passwd", path);
    snprintf(path, sizeof(path), "%s/etc/up", root);
    (void)!symlink("../../../../../etc/passwd", path);

    stays("/etc/passwd", "without -L nothing is redirected");
    tap_ok(user_path_init("/nonexistent/folder") < 0, "-L of no folder");
    tap_eq(user_path_init("/"), 0, "-L / is no redirection");
    stays("/etc/passwd", "with it nothing is redirected either");
    tap_eq(user_path_init(root), 0, "-L of a folder");

    leads("/etc/passwd", "/etc/passwd", true, "a file");
    leads("//etc//passwd", "/etc/passwd", true, "with slashes to spare");
    leads("/usr/lib", "/usr/lib", true, "a folder");
    leads("/lib/libc.so", "/usr/lib/libc.so", true, "through an absolute link");
    leads("/etc/link", "/etc/passwd", true, "a link to a file");
    leads("/etc/link", "/etc/link", false, "the link itself");
    leads("/etc/up", "/etc/passwd", true, "a link that climbs stays below the prefix");
    stays("/etc/shadow-of-nothing", "a file that is not there");
    stays("/home/somebody", "a top folder that is not there");
    stays("/home/somebody", "remembered as such");
    stays("/", "the root");
    stays("etc/passwd", "a relative path");
    stays("/tmp/file", "/tmp is the host's");
    stays("/proc/self/maps", "/proc is the host's");
    stays("/dev/null", "/dev is the host's");
    snprintf(path, sizeof(path), "%s/etc/passwd", root);
    leads(path, "/etc/passwd", true, "a path that is below the prefix already");
    tap_ok(strcmp(user_path("/proc/self/exe", host), "/guest/exe") == 0,
           "/proc/self/exe is the guest's executable");
    tap_ok(strcmp(user_path_link("/proc/self/exe", host), "/proc/self/exe") == 0,
           "unless the link itself is meant");

    snprintf(path, sizeof(path), "rm -rf %s", root);
    return system(path) == 0 ? tap_done() : 1;
}
