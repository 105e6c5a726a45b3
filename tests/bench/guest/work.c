/*
 * What tests/bench/system.py runs inside of a machine besides the kernels: one static program,
 * whose first argument says what to do. `row NAME PROGRAM...` brackets the others: it runs the
 * program with its output behind two lines,
 *
 *     bench begin NAME
 *     bench end NAME STATUS SECONDS
 *
 * which the host sees on the console and takes its own time of; SECONDS is the guest's clock, so
 * that a clock which runs wrong is found. The rest each do a fixed amount of one kind of work.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20, PAGE = 4096 };

static void require(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Starts a program and waits for it; returns its wait status. */
static int spawn(char **argv)
{
    int status;
    pid_t child = fork();

    require(child >= 0, "fork");
    if (child == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    require(waitpid(child, &status, 0) == child, "waitpid");
    return status;
}

static void row(char **argv)
{
    int status;
    double start;

    printf("bench begin %s\n", argv[0]);
    fflush(stdout);
    start = now();
    status = spawn(argv + 1);
    printf("bench end %s %d %.3f\n", argv[0], status, now() - start);
}

/* `fork N`: as many processes that only leave again. */
static void forks(long count)
{
    char self[] = "/proc/self/exe", what[] = "nothing";

    for (long i = 0; i < count; i++) {
        require(spawn((char *[]){self, what, NULL}) == 0, "nothing");
    }
}

/* `pipe N`: a byte to another process and back, so often. */
static void pipes(long count)
{
    int there[2], back[2];
    char byte = 1;

    require(pipe(there) == 0 && pipe(back) == 0, "pipe");
    if (fork() == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) {
            require(write(back[1], &byte, 1) == 1, "write");
        }
        _exit(0);
    }
    for (long i = 0; i < count; i++) {
        require(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "pipe");
    }
    close(there[1]);
    wait(NULL);
}

static void syscalls(long count)
{
    for (long i = 0; i < count; i++) {
        syscall(SYS_getppid);
    }
}

/*
 * `stride N`: loads from 256 MiB at steps of 1 MiB, N times through; each is in a page of its own,
 * and all are in the same set of caches that take their index from the low bits of the page's
 * number.
 */
static void stride(long count)
{
    size_t size = (size_t)256 * MIB;
    volatile uint64_t *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t sum = 0;

    require(memory != MAP_FAILED, "mmap");
    /* Pages of 2 MiB would halve the number of translations. */
    madvise((void *)memory, size, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size / 8; i += MIB / 8) {
        memory[i] = i;
    }
    for (long n = 0; n < count; n++) {
        for (size_t i = 0; i < size / 8; i += MIB / 8) {
            sum += memory[i];
        }
    }
    printf("bits %016llx\n", (unsigned long long)sum);
}

/* `pages N`: loads from random pages of 64 MiB. */
static void pages(long count)
{
    size_t size = (size_t)64 * MIB;
    volatile uint8_t *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t state = 88172645463325252, sum = 0;

    require(memory != MAP_FAILED, "mmap");
    madvise((void *)memory, size, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size; i += PAGE) {
        memory[i] = (uint8_t)(i / PAGE);
    }
    for (long n = 0; n < count; n++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        sum += memory[(state % (size / PAGE)) * PAGE];
    }
    printf("bits %016llx\n", (unsigned long long)sum);
}

/*
 * `copy DEVICE MIB direct|cached`: the first so many MiB of a disk to those behind them. Cached
 * goes through the guest's page cache, and ends when all is written.
 */
static void copy(const char *device, long mib, int direct)
{
    int flags = direct ? O_DIRECT : 0;
    int in = open(device, O_RDONLY | flags), out = open(device, O_WRONLY | flags);
    void *buffer;

    require(in >= 0 && out >= 0, device);
    require(posix_memalign(&buffer, PAGE, MIB) == 0, "posix_memalign");
    for (off_t i = 0; i < mib; i++) {
        require(pread(in, buffer, MIB, i * MIB) == MIB, "read");
        require(pwrite(out, buffer, MIB, (mib + i) * MIB) == MIB, "write");
    }
    require(fsync(out) == 0, "fsync");
}

/* `reads DEVICE MIB N`: N direct reads of 4 KiB at random places, one at a time. */
static void reads(const char *device, long mib, long count)
{
    int in = open(device, O_RDONLY | O_DIRECT);
    uint64_t state = 88172645463325252;
    void *buffer;

    require(in >= 0, device);
    require(posix_memalign(&buffer, PAGE, PAGE) == 0, "posix_memalign");
    for (long i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        off_t page = (off_t)(state % ((uint64_t)mib * (MIB / PAGE)));
        require(pread(in, buffer, PAGE, page * PAGE) == PAGE, "read");
    }
}

/*
 * `send`, `receive`, `echo ADDRESS PORT COUNT`: the host's server is told which, and does the other
 * side. COUNT is in MiB, of echo in bytes that go there and back one by one.
 */
static void tcp(const char *what, const char *address, int port, uint64_t count)
{
    static char buffer[65536];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    uint64_t bytes = what[0] == 'e' ? count : count * MIB;
    char request[32];

    inet_pton(AF_INET, address, &to.sin_addr);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    require(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0, "connect");
    memset(request, ' ', sizeof(request));
    snprintf(request, sizeof(request), "%s %llu ", what, (unsigned long long)bytes);
    require(write(fd, request, sizeof(request)) == sizeof(request), "write");
    while (bytes > 0) {
        size_t piece = bytes < sizeof(buffer) ? bytes : sizeof(buffer);
        ssize_t done;

        if (what[0] == 'e') {
            require(write(fd, buffer, 1) == 1 && read(fd, buffer, 1) == 1, "echo");
            done = 1;
        } else if (what[0] == 's') {
            done = write(fd, buffer, piece);
        } else {
            done = read(fd, buffer, piece);
        }
        require(done > 0, what);
        bytes -= (uint64_t)done;
    }
    if (what[0] == 's') {
        /* One byte says that the host has all of it. */
        require(read(fd, buffer, 1) == 1, "answer");
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    long count = argc > 2 ? atol(argv[argc - 1]) : 0;

    if (!strcmp(what, "row") && argc > 3) {
        row(argv + 2);
    } else if (!strcmp(what, "nothing")) {
        return 0;
    } else if (!strcmp(what, "fork")) {
        forks(count);
    } else if (!strcmp(what, "pipe")) {
        pipes(count);
    } else if (!strcmp(what, "syscalls")) {
        syscalls(count);
    } else if (!strcmp(what, "stride")) {
        stride(count);
    } else if (!strcmp(what, "pages")) {
        pages(count);
    } else if (!strcmp(what, "copy") && argc == 5) {
        copy(argv[2], atol(argv[3]), !strcmp(argv[4], "direct"));
    } else if (!strcmp(what, "reads") && argc == 5) {
        reads(argv[2], atol(argv[3]), count);
    } else if (argc == 5) {
        tcp(what, argv[2], atoi(argv[3]), (uint64_t)count);
    } else {
        fprintf(stderr, "work: what to do?\n");
        return 1;
    }
    return 0;
}
