/* The sandbox of the system emulator: what a process under it can still do. */
#include "build/config.h"
#include "system/landlock.h"
#include "tests/unit/sandbox-child.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#if CONFIG_SECCOMP

static char folder[96];
static char file[128]; /* one that is there, and open as file_fd */
static int file_fd;
static struct timespec some_time;

/* ---- what is allowed ------------------------------------------------------------------------- */

/* Each returns 0, or the number of what does not work. */

static int memory(void)
{
    void *at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *more = at == MAP_FAILED ? at : mremap(at, 1 << 20, 2 << 20, MREMAP_MAYMOVE);
    uint8_t *heap = malloc(4 << 20);

    if (more == MAP_FAILED || !heap) {
        return 1;
    }
    memset(heap, 1, 4 << 20);
    heap = realloc(heap, 64 << 20);
    if (!heap) {
        return 2;
    }
    free(heap);
    return mprotect(more, 4096, PROT_READ) || madvise(more, 4096, MADV_DONTNEED) ||
                   munmap(more, 2 << 20)
               ? 3
               : 0;
}

static void *named_thread(void *opaque)
{
    prctl(PR_SET_NAME, "named");
    free(malloc(1 << 20));
    return opaque;
}

static int threads(void)
{
    pthread_t thread[8];
    void *result;

    for (intptr_t i = 0; i < 8; i++) {
        if (pthread_create(&thread[i], NULL, named_thread, (void *)i)) {
            return 1;
        }
    }
    for (intptr_t i = 0; i < 8; i++) {
        if (pthread_join(thread[i], &result) || (intptr_t)result != i) {
            return 2;
        }
    }
    return pthread_kill(pthread_self(), 0) ? 3 : 0;
}

static int times(void)
{
    struct pollfd none = {.fd = -1};
    uint64_t one = 1;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    some_time.tv_nsec = 1000;
    return fd < 0 || write(fd, &one, 8) != 8 || read(fd, &one, 8) != 8 || close(fd) ||
                   poll(&none, 1, 1) || nanosleep(&some_time, NULL) ||
                   clock_gettime(CLOCK_MONOTONIC, &some_time) || sched_yield()
               ? 1
               : 0;
}

static int streams(void)
{
    struct stat st;
    int flags = fcntl(file_fd, F_GETFL);

    /* libc looks what a new stream is, with whatever call it has for that. */
    if (fprintf(stdout, "%s", "") < 0 || fstat(file_fd, &st) || st.st_size != 6) {
        return 1;
    }
    return flags < 0 || fcntl(file_fd, F_SETFL, flags) ? 2 : isatty(file_fd) ? 3 : 0;
}

static int files(void)
{
    char text[8] = "";
    struct iovec iov = {text, 6};
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1};

    if (pread(file_fd, text, 6, 0) != 6 || pwrite(file_fd, text, 6, 0) != 6) {
        return 1;
    }
    if (preadv(file_fd, &iov, 1, 0) != 6 || pwritev2(file_fd, &iov, 1, 0, 0) != 6) {
        return 2;
    }
    if (fdatasync(file_fd) || fsync(file_fd) || ftruncate(file_fd, 8192) ||
        lseek(file_fd, 0, SEEK_DATA) != 0 || ftruncate(file_fd, 6)) {
        return 3;
    }
    return fcntl(file_fd, F_OFD_SETLK, &lock) || fcntl(file_fd, F_OFD_GETLK, &lock) ? 4 : 0;
}

static int sockets(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, error = 0;
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), other, waiting = 0;
    char c = 0;

    if (server < 0 || client < 0 || bind(server, (struct sockaddr *)&at, sizeof(at)) ||
        listen(server, 1) || getsockname(server, (struct sockaddr *)&at, &size) ||
        setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))) {
        return 1;
    }
    if (connect(client, (struct sockaddr *)&at, sizeof(at)) ||
        (other = accept4(server, NULL, NULL, SOCK_CLOEXEC)) < 0 ||
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))) {
        return 2;
    }
    size = sizeof(error);
    if (send(client, "x", 1, 0) != 1 || recv(other, &c, 1, 0) != 1 || c != 'x' ||
        ioctl(other, FIONREAD, &waiting) || shutdown(client, SHUT_WR) ||
        getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &size)) {
        return 3;
    }
    /* Not allowed, and not worth ending for. */
    if (!setsockopt(client, SOL_SOCKET, SO_PRIORITY, &one, sizeof(one)) || errno != ENOPROTOOPT) {
        return 4;
    }
    return 0;
}

/* The ways of libc that end well without what they ask for. */
static int asked_for_nothing(void)
{
    if (socket(AF_UNIX, SOCK_DGRAM, 0) >= 0 || errno != EAFNOSUPPORT) {
        return 1;
    }
    /* However it counts, there is at least one. */
    return sysconf(_SC_NPROCESSORS_ONLN) < 1 ? 2 : 0;
}

static void on_signal(int number)
{
}

static int signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return sigaction(SIGTSTP, &action, NULL) || raise(SIGTSTP) ||
                   pthread_sigmask(SIG_BLOCK, &set, NULL)
               ? 1
               : 0;
}

static int spawning(void)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "x=$(cat /etc/hostname; ls / | grep tmp); [ -n \"$x\" ]",
              NULL);
        _exit(9);
    }
    waitpid(child, &status, 0);
    return status;
}

static int resources(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) || sched_setaffinity(0, sizeof(set), &set) ||
                   setpriority(0, 0, 19)
               ? 1
               : 0;
}

static int elevation(void)
{
    return setuid(getuid()) || setresgid(-1, -1, -1) ? 1 : 0;
}

struct permitted {
    const char *what;
    uint32_t features;
    int (*do_it)(void);
};

static void try_permitted(void *opaque)
{
    const struct permitted *p = opaque;

    enter(p->features, SANDBOX_END);
    _exit(p->do_it());
}

static void check_allowed(void)
{
    static const struct permitted list[] = {
        {"memory", 0, memory},
        {"threads", 0, threads},
        {"times and events", 0, times},
        {"streams", 0, streams},
        {"files that are open", FEATURE(FILE), files},
        {"sockets of a user network", FEATURE(USER), sockets},
        {"signals of our own", 0, signals},
        {"what libc can do without", 0, asked_for_nothing},
        {"programs with spawn=allow", FEATURE(SPAWN), spawning},
        {"priorities with resourcecontrol=allow", FEATURE(RESOURCE), resources},
        {"the user with elevateprivileges=allow", FEATURE(ELEVATE) | FEATURE(SPAWN), elevation},
    };

    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        struct permitted p = list[i];
        struct outcome out = in_child(try_permitted, &p);

        tap_ok(exited(out, 0, 0), "allowed: %s", p.what);
    }
}

/* ---- Landlock -------------------------------------------------------------------------------- */

static void use_landlock(void *opaque)
{
    int rules = landlock_prepare(false), fd;
    char text[8];

    if (rules < 0) {
        _exit(50);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (landlock_apply(rules)) {
        _exit(1);
    }
    fd = open("/etc/passwd", O_RDONLY);
    if (fd >= 0 || errno != EACCES) {
        _exit(2);
    }
    if (unlink(file) == 0 || errno != EACCES) {
        _exit(3);
    }
    /* What is open stays usable. */
    _exit(pread(file_fd, text, 6, 0) == 6 && ftruncate(file_fd, 6) == 0 ? 0 : 4);
}

static void check_landlock(void)
{
    struct outcome out = in_child(use_landlock, NULL);

    if (WIFEXITED(out.status) && WEXITSTATUS(out.status) == 50) {
        tap_ok(syscall(444, NULL, 0, 1) < 0, "there is no Landlock, and no rules of it");
        return;
    }
    tap_eq(out.status, 0, "under Landlock nothing is opened, and what is open stays usable");
}

int main(void)
{
    make_folder(folder, sizeof(folder));
    snprintf(file, sizeof(file), "%s/file", folder);
    write_file(file, "inside");
    file_fd = open(file, O_RDWR | O_CLOEXEC);
    check_allowed();
    check_landlock();
    unlink(file);
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
