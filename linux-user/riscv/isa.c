/* Extensions as programs ask for them; see the header. */
#include "linux-user/riscv/isa.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "accel/tcg/tcg.h"
#include "linux-user/mm.h"
#include "linux-user/syscall.h"

void riscv_isa_string(const struct rv_ext_set *set, char *text, size_t size)
{
    static const char *const names[] = {
#define RV_EXT(id, name, help) name,
#include "target/riscv/extensions.def"
#undef RV_EXT
    };
    size_t used = (size_t)snprintf(text, size, "rv64");

    /* Single letters first, in the order of the table, which is the canonical one. */
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < RV_EXT_COUNT; i++) {
            const bool letter = names[i][1] == 0;
            if (rv_has(set, (enum rv_ext)i) && letter == (pass == 0) && used < size) {
                used +=
                    (size_t)snprintf(text + used, size - used, "%s%s", letter ? "" : "_", names[i]);
            }
        }
    }
}

/* Keys and bits of riscv_hwprobe(2), from the kernel's interface. */
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
};
#define BEHAVIOR_IMA    1
#define MISALIGNED_FAST 3
#define CACHE_BLOCK     64
#define TIME_FREQUENCY  10000000 /* of rdtime */
#define FLAG_WHICH_CPUS 1

static uint64_t ima_extensions(const struct rv_ext_set *set)
{
    static const struct {
        uint8_t ext, bit;
    } bits[] = {
        {RV_EXT_d, 0},        {RV_EXT_c, 1},          {RV_EXT_zba, 3},
        {RV_EXT_zbb, 4},      {RV_EXT_zbs, 5},        {RV_EXT_zicboz, 6},
        {RV_EXT_zbc, 7},      {RV_EXT_zbkb, 8},       {RV_EXT_zbkc, 9},
        {RV_EXT_zbkx, 10},    {RV_EXT_zknd, 11},      {RV_EXT_zkne, 12},
        {RV_EXT_zknh, 13},    {RV_EXT_zkt, 16},       {RV_EXT_zfh, 27},
        {RV_EXT_zfhmin, 28},  {RV_EXT_zihintntl, 29}, {RV_EXT_zfa, 32},
        {RV_EXT_zacas, 34},   {RV_EXT_zicond, 35},    {RV_EXT_zihintpause, 36},
        {RV_EXT_zimop, 42},   {RV_EXT_zcb, 44},       {RV_EXT_zcmop, 47},
        {RV_EXT_zawrs, 48},   {RV_EXT_zicntr, 50},    {RV_EXT_zihpm, 51},
        {RV_EXT_zfbfmin, 52}, {RV_EXT_zicbom, 55},    {RV_EXT_zabha, 58},
    };
    uint64_t value = 0;

    for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        if (rv_has(set, (enum rv_ext)bits[i].ext)) {
            value |= UINT64_C(1) << bits[i].bit;
        }
    }
    /* Bit 0 says F and D. */
    return rv_has(set, RV_EXT_f) ? value : value & ~UINT64_C(1);
}

/* True with the value; false for a key we don't know. */
static bool probe(const struct rv_ext_set *set, int64_t key, uint64_t *value)
{
    switch (key) {
    case KEY_MVENDORID:
    case KEY_MARCHID:
    case KEY_MIMPID:
        *value = 0;
        return true;
    case KEY_BASE_BEHAVIOR:
        *value = BEHAVIOR_IMA;
        return true;
    case KEY_IMA_EXT_0:
        *value = ima_extensions(set);
        return true;
    case KEY_CPUPERF_0:
    case KEY_MISALIGNED_SCALAR_PERF:
        *value = MISALIGNED_FAST;
        return true;
    case KEY_ZICBOZ_BLOCK_SIZE:
        *value = rv_has(set, RV_EXT_zicboz) ? CACHE_BLOCK : 0;
        return true;
    case KEY_HIGHEST_VIRT_ADDRESS:
        *value = mm_task_size() - 1;
        return true;
    case KEY_TIME_CSR_FREQ:
        *value = TIME_FREQUENCY;
        return true;
    default:
        return false;
    }
}

/* riscv_hwprobe(pairs, pair_count, cpusetsize, cpus, flags): all processors are alike, so which
 * are asked about does not matter, but there must be some. */
int64_t sys_riscv_hwprobe(struct user_thread *t, const uint64_t args[6])
{
    const struct rv_ext_set *set = &riscv_cpu(t->cpu)->ext;
    const uint64_t pairs = args[0], count = args[1];
    const bool which = args[4] == FLAG_WHICH_CPUS;
    bool all = true;

    if (args[4] & ~(uint64_t)FLAG_WHICH_CPUS) {
        return -EINVAL;
    }
    if (which ? args[2] == 0 || args[3] == 0 : (args[2] == 0) != (args[3] == 0)) {
        return -EINVAL;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t pair[2], value = 0;
        if (mem_guest_read(pair, pairs + i * sizeof(pair), sizeof(pair)) < 0) {
            return -EFAULT;
        }
        if (!probe(set, (int64_t)pair[0], &value)) {
            /* An unknown key is marked, and matches no processor. */
            pair[0] = UINT64_MAX;
            value = 0;
            all = false;
        } else if (which) {
            const bool bits = pair[0] == KEY_BASE_BEHAVIOR || pair[0] == KEY_IMA_EXT_0;
            all &= bits ? (value & pair[1]) == pair[1] : value == pair[1];
            value = pair[1];
        }
        pair[1] = value;
        if (mem_guest_write(pairs + i * sizeof(pair), pair, sizeof(pair)) < 0) {
            return -EFAULT;
        }
    }
    for (uint64_t i = 0; which && !all && i < args[2]; i++) {
        if (mem_guest_store(args[3] + i, 1, 0, NULL, NULL) < 0) {
            return -EFAULT;
        }
    }
    return 0;
}

/* Flag 1: this thread only. Translations are shared by all, so it makes no difference. */
int64_t sys_riscv_flush_icache(struct user_thread *t, const uint64_t args[6])
{
    if (args[2] & ~UINT64_C(1)) {
        return -EINVAL;
    }
    /* The kernel ignores the range and flushes everything, which callers with an empty one want. */
    if (args[0] < args[1]) {
        tcg_flush_changed(args[0], args[1]);
    } else {
        tcg_flush_changed(0, mm_task_size());
    }
    return 0;
}
