/*
 * -perfmap and -jitdump where the code buffer is emptied: the map starts anew, the dump goes on.
 *
 * The guest is a chain of jumps, each a unit of its own, in a buffer that holds a part of them.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "accel/tcg/internal.h"
#include "target/riscv/cpu.h"
#include "tests/unit/tap.h"

enum { JUMPS = 4000, CODE_SIZE = 64 * 1024, J_NEXT = 0x0040006f, ECALL = 0x00000073 };

static uint32_t *guest;
static uint64_t forgotten;

/* Names every other unit. */
static const char *symbol(uint64_t pc, uint64_t *distance)
{
    uint64_t i = (pc - (uint64_t)guest) / 4;

    *distance = i % 4;
    return i % 2 ? NULL : "with\nnewline";
}

static void forget(uint64_t start, uint64_t end)
{
    forgotten = start;
}

static char *content(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY);
    off_t length = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)length + 1);

    *size = length > 0 && pread(fd, text, (size_t)length, 0) == length ? (size_t)length : 0;
    if (fd >= 0) {
        close(fd);
    }
    return text;
}

static void check_map(void)
{
    unsigned lines = 0, named = 0, bad = 0, thunks = 0;
    unsigned long long address, size, end = 0;
    char path[64], name[64], *text, *rest, *line;
    size_t length;

    snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
    text = content(path, &length);
    rest = text;
    while ((line = strtok_r(rest, "\n", &rest))) {
        lines++;
        if (sscanf(line, "%llx %llx %63s", &address, &size, name) != 3 || address < end ||
            !tcg_in_buffer(address) || !tcg_in_buffer(address + size - 1)) {
            bad++;
            tap_note("line %u: %s", lines, line);
            continue;
        }
        end = address + size;
        thunks += !strcmp(name, "tinamou_thunks");
        named += !strncmp(name, "with?newline", 12);
    }
    tap_ok(!bad, "map: lines in the order of their code, without overlap");
    tap_eq(thunks, 1, "map: the thunks are there once");
    tap_ok(lines > 1 && lines < JUMPS, "map: %u lines, of the last filling only", lines);
    tap_ok(named > 0 && named < lines, "map: %u have a symbol's name, in one line", named);
    free(text);
    unlink(path);
}

static void check_dump(void)
{
    size_t size, at = 40, count = 0;
    uint64_t last = 0, when;
    char path[64], *data;
    uint32_t total = 0;
    bool good = true;

    snprintf(path, sizeof(path), "jit-%d.dump", getpid());
    data = content(path, &size);
    while (good && at + 56 <= size) {
        memcpy(&total, data + at + 4, 4);
        memcpy(&when, data + at + 8, 8);
        good = total > 56 && total <= size - at && when >= last;
        last = when;
        at += total;
        count++;
    }
    tap_ok(good && at == size, "dump: records to the end, in the order of time");
    tap_eq(count, tcg.stats.units + 1, "dump: a record for each unit ever made, and the thunks");
    free(data);
    unlink(path);
}

int main(void)
{
    const struct tcg_config config = {
        .options = "no-cold",
        .code_size = CODE_SIZE,
        .perfmap = true,
        .jitdump = true,
        .symbol = symbol,
        .forget_symbols = forget,
    };
    const char *folder = getenv("TMPDIR");
    char error[256];
    struct cpu *cpu;

    if (chdir(folder ? folder : "/tmp") < 0 || tcg_init(&config, error, sizeof(error)) < 0) {
        tap_ok(false, "starts: %s", error);
        return tap_done();
    }
    guest = mmap(NULL, (JUMPS + 1) * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cpu = accel_tcg.cpu_create(&riscv64_target_ops);
    for (unsigned i = 0; i < JUMPS; i++) {
        guest[i] = J_NEXT;
    }
    guest[JUMPS] = ECALL;
    riscv_cpu(cpu)->pc = (uint64_t)guest;
    tap_eq(accel_tcg.cpu_run(cpu), CPU_EXIT_SYSCALL, "the guest comes to its end");
    tap_eq(riscv_cpu(cpu)->pc, (uint64_t)&guest[JUMPS], "where it should");
    tap_ok(tcg.stats.cache_resets > 0, "the buffer was emptied: %llu times",
           (unsigned long long)tcg.stats.cache_resets);
    tap_ok(tcg.stats.units > JUMPS, "each jump was a unit");
    check_map();
    check_dump();
    tcg_invalidate((uint64_t)guest, (uint64_t)guest + 4);
    tap_eq(forgotten, (uint64_t)guest, "code that has gone takes its symbols with it");
    accel_tcg.cpu_destroy(cpu);
    return tap_done();
}
