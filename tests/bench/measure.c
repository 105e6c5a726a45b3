/*
 * measure OUT RUNS COMMAND...: runs the command RUNS times and writes a line a run to OUT:
 * user+system CPU seconds, wall seconds, maximal resident KiB, and the wait status.
 *
 * A program of its own, because the kernel counts the resident memory of the process that called
 * exec as the new program's: started from python, everything would seem to need python's memory.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static double cpu(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * 1e-6;
}

int main(int argc, char **argv)
{
    FILE *out;
    int runs;

    if (argc < 4 || (runs = atoi(argv[2])) < 1) {
        fprintf(stderr, "usage: measure OUT RUNS COMMAND...\n");
        return 2;
    }
    out = fopen(argv[1], "we");
    if (!out) {
        perror(argv[1]);
        return 2;
    }
    for (int i = 0; i < runs; i++) {
        double start = seconds();
        struct rusage usage;
        int status;
        pid_t pid = fork();

        if (pid == 0) {
            execv(argv[3], argv + 3);
            perror(argv[3]);
            _exit(127);
        }
        if (pid < 0 || wait4(pid, &status, 0, &usage) < 0) {
            perror("measure");
            return 2;
        }
        fprintf(out, "%.6f %.6f %ld %d\n", cpu(&usage), seconds() - start, usage.ru_maxrss, status);
    }
    return fclose(out) ? 2 : 0;
}
