/* The two system calls RISC-V has of its own. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "accel/tcg/tcg.h"
#include "linux-user/mm.h"
#include "linux-user/syscall.h"
#include "target/riscv/cpu.h"

#define FLUSH_LOCAL 1 /* SYS_RISCV_FLUSH_ICACHE_LOCAL */

/* As the kernel, which ignores it, for a range that makes no sense. */
int64_t sys_riscv_flush_icache(struct user_thread *t, const uint64_t args[6])
{
    if (args[2] & ~(uint64_t)FLUSH_LOCAL) {
        return -EINVAL;
    }
    if (args[0] < args[1] && args[1] <= mm_task_size()) {
        tcg_flush_changed(args[0], args[1]);
    } else {
        tcg_flush_changed(0, mm_task_size());
    }
    return 0;
}

/* ---- riscv_hwprobe: keys and bits of Linux 6.12 (Documentation/arch/riscv/hwprobe.rst) ------- */

enum {
    KEY_MVENDORID,
    KEY_MARCHID,
    KEY_MIMPID,
    KEY_BASE_BEHAVIOR,
    KEY_IMA_EXT_0,
    KEY_CPUPERF_0,
    KEY_ZICBOZ_BLOCK_SIZE,
    KEY_HIGHEST_VIRT_ADDRESS,
    KEY_TIME_CSR_FREQ,
    KEY_MISALIGNED_SCALAR_PERF,
    KEY_COUNT
};

#define BASE_BEHAVIOR_IMA 1
#define MISALIGNED_FAST   3
#define WHICH_CPUS        1
#define ZICBOZ_BLOCK      64
#define TIME_FREQUENCY    10000000ull /* rdtime counts in 100 ns */
#define MAX_CPUMASK_BYTES 128

struct pair {
    int64_t key;
    uint64_t value;
};

static const struct {
    uint8_t bit, ext;
} extension_bits[] = {
    {3, RV_EXT_zba},    {4, RV_EXT_zbb},     {5, RV_EXT_zbs},          {6, RV_EXT_zicboz},
    {7, RV_EXT_zbc},    {8, RV_EXT_zbkb},    {9, RV_EXT_zbkc},         {10, RV_EXT_zbkx},
    {11, RV_EXT_zknd},  {12, RV_EXT_zkne},   {13, RV_EXT_zknh},        {16, RV_EXT_zkt},
    {27, RV_EXT_zfh},   {28, RV_EXT_zfhmin}, {29, RV_EXT_zihintntl},   {32, RV_EXT_zfa},
    {34, RV_EXT_zacas}, {35, RV_EXT_zicond}, {36, RV_EXT_zihintpause}, {42, RV_EXT_zimop},
    {43, RV_EXT_c},     {44, RV_EXT_zcb},    {47, RV_EXT_zcmop},       {48, RV_EXT_zawrs},
};

static uint64_t extensions(const struct rv_ext_set *ext)
{
    const uint64_t fd = 1, c = 1 << 1, zcd = 1ull << 45;
    uint64_t value = 0;

    if (rv_has(ext, RV_EXT_f) && rv_has(ext, RV_EXT_d)) {
        value |= fd;
    }
    if (rv_has(ext, RV_EXT_c)) {
        value |= c;
        if (rv_has(ext, RV_EXT_d)) {
            value |= zcd;
        }
    }
    for (size_t i = 0; i < sizeof(extension_bits) / sizeof(extension_bits[0]); i++) {
        if (rv_has(ext, extension_bits[i].ext)) {
            value |= 1ull << extension_bits[i].bit;
        }
    }
    return value;
}

/* Fills in the value; a key unknown becomes -1 with 0. False if it was unknown. */
static bool answer(struct cpu *cpu, struct pair *pair)
{
    const struct rv_ext_set *ext = &riscv_cpu(cpu)->ext;

    switch (pair->key) {
    case KEY_MVENDORID:
    case KEY_MARCHID:
    case KEY_MIMPID:
        pair->value = 0;
        return true;
    case KEY_BASE_BEHAVIOR:
        pair->value = BASE_BEHAVIOR_IMA;
        return true;
    case KEY_IMA_EXT_0:
        pair->value = extensions(ext);
        return true;
    case KEY_CPUPERF_0:
    case KEY_MISALIGNED_SCALAR_PERF:
        pair->value = MISALIGNED_FAST;
        return true;
    case KEY_ZICBOZ_BLOCK_SIZE:
        pair->value = rv_has(ext, RV_EXT_zicboz) ? ZICBOZ_BLOCK : 0;
        return true;
    case KEY_HIGHEST_VIRT_ADDRESS:
        pair->value = mm_task_size() - 1;
        return true;
    case KEY_TIME_CSR_FREQ:
        pair->value = TIME_FREQUENCY;
        return true;
    default:
        pair->key = -1;
        pair->value = 0;
        return false;
    }
}

/* Does a processor with `have` satisfy `want`? */
static bool satisfies(const struct pair *have, const struct pair *want)
{
    switch (want->key) {
    case KEY_BASE_BEHAVIOR:
    case KEY_IMA_EXT_0:
    case KEY_CPUPERF_0:
        return (have->value & want->value) == want->value;
    default:
        return have->value == want->value;
    }
}

static void online(uint8_t mask[MAX_CPUMASK_BYTES])
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    memset(mask, 0, MAX_CPUMASK_BYTES);
    for (long i = 0; i < cpus && i < MAX_CPUMASK_BYTES * 8; i++) {
        mask[i / 8] |= (uint8_t)(1 << i % 8);
    }
}

int64_t sys_riscv_hwprobe(struct user_thread *t, const uint64_t args[6])
{
    uint64_t pairs = args[0], count = args[1], size = args[2], cpus = args[3], flags = args[4];
    uint8_t up[MAX_CPUMASK_BYTES], asked[MAX_CPUMASK_BYTES] = {0};
    bool which = flags == WHICH_CPUS, all = true, empty = true;

    if (flags & ~(uint64_t)WHICH_CPUS || (which && (!size || !cpus))) {
        return -EINVAL;
    }
    if (size > sizeof(asked)) {
        size = sizeof(asked);
    }
    if (cpus || size) {
        online(up);
        if (mem_guest_read(asked, cpus, size) < 0) {
            return -EFAULT;
        }
        for (size_t i = 0; i < size; i++) {
            empty = empty && !asked[i];
        }
        if (empty && which) {
            memcpy(asked, up, sizeof(asked));
            empty = false;
        } else {
            empty = true;
            for (size_t i = 0; i < size; i++) {
                asked[i] &= up[i];
                empty = empty && !asked[i];
            }
        }
        if (empty && !which) {
            return -EINVAL;
        }
    }

    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = pairs + i * sizeof(struct pair);
        struct pair pair, want;

        if (mem_guest_read(&pair, at, sizeof(pair)) < 0) {
            return -EFAULT;
        }
        want = pair;
        if (!answer(t->cpu, &pair)) {
            all = false;
        } else if (which) {
            all = all && satisfies(&pair, &want);
            continue;
        }
        if (mem_guest_write(at, &pair, sizeof(pair)) < 0) {
            return -EFAULT;
        }
    }
    if (which) {
        if (!all) {
            memset(asked, 0, sizeof(asked));
        }
        if (mem_guest_write(cpus, asked, size) < 0) {
            return -EFAULT;
        }
    }
    return 0;
}
