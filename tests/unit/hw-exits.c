/* How a guest ends: the test finisher and HTIF; and HTIF's console. */
#define BENCH_CHARDEV
#include "hw/core/runstate.h"
#include "hw/misc/htif.h"
#include "hw/misc/syscon-test.h"

#include "tests/unit/hw-bench.h"

enum { TEST = 0x100000, TO = 0x1000000, FROM = TO + 8 };

#define RAM UINT64_C(0x80000000)

static bool took(enum hw_request request, uint32_t detail)
{
    enum hw_cause cause = HW_CAUSE_NONE;
    uint32_t got = ~detail;

    return hw_runstate_take(request, &cause, &got) && cause == HW_CAUSE_GUEST && got == detail;
}

static bool took_nothing(void)
{
    enum hw_cause cause;
    uint32_t detail;

    return !hw_runstate_take(HW_REQUEST_SHUTDOWN, &cause, &detail) &&
           !hw_runstate_take(HW_REQUEST_RESET, &cause, &detail);
}

static void check_syscon(void)
{
    struct syscon_test *test = bench_create(&syscon_test_type, "");

    bench_realize(test);
    bench_put(TEST, &test->mmio);
    bench_write(TEST, 4, 0x5555);
    tap_ok(took(HW_REQUEST_SHUTDOWN, 0), "pass");
    bench_write(TEST, 4, 0x00073333);
    tap_ok(took(HW_REQUEST_SHUTDOWN, 7), "fail with a status");
    bench_write(TEST, 2, 0x3333);
    tap_ok(took(HW_REQUEST_SHUTDOWN, 0), "fail in 16 bits");
    bench_write(TEST, 4, 0x7777);
    tap_ok(took(HW_REQUEST_RESET, 0), "reset");
    bench_write(TEST, 4, 0x1234);
    bench_write(TEST + 4, 4, 0x5555);
    bench_write(TEST + 0xffc, 4, 0x5555);
    tap_ok(took_nothing(), "nothing else does anything");
    tap_eq(bench_read(TEST, 4), 0, "reads are 0");
    mem_region_remove(&test->mmio);
    hw_device_destroy(&test->device);
}

static void check_console(struct chardev *chr)
{
    bench_write(TO, 8, UINT64_C(0x0101) << 48 | 'h');
    tap_str(bench_sent(chr), "h", "a character is written");
    tap_eq(bench_read(TO, 8), 0, "the command was taken");
    tap_eq(bench_read(FROM, 8), UINT64_C(0x0101) << 48 | 0x100 | 'h', "and answered");
    bench_write(TO, 4, 'i');
    tap_str(bench_sent(chr), "", "a half is no command");
    bench_write(TO + 4, 4, 0x01010000);
    tap_str(bench_sent(chr), "i", "the other one starts it");
    bench_write(FROM, 8, 0);

    chr->room = 0;
    bench_write(TO, 8, UINT64_C(0x0101) << 48 | 'j');
    tap_eq(bench_read(TO, 8), UINT64_C(0x0101) << 48 | 'j', "a slow host keeps tohost busy");
    bench_write(TO, 8, UINT64_C(0x0101) << 48 | 'k');
    chr->room = 100;
    bench_take(chr);
    tap_ok(!bench_read(TO, 8) && !strcmp(bench_sent(chr), "j"), "until it takes the character");
    bench_write(FROM, 8, 0);

    bench_type(chr, "ab");
    tap_eq(chr->waiting_count, 2, "nobody asked for input");
    bench_write(TO, 8, UINT64_C(0x0100) << 48);
    tap_eq(bench_read(FROM, 8), UINT64_C(0x0100) << 48 | 0x100 | 'a', "a character is read");
    bench_write(TO, 8, UINT64_C(0x0100) << 48);
    tap_eq(bench_read(FROM, 8) & 0xff, 'a', "an answer stays until it is taken");
    bench_write(FROM, 4, 0);
    bench_write(FROM + 4, 4, 0);
    tap_eq(bench_read(FROM, 8), UINT64_C(0x0100) << 48 | 0x100 | 'b', "then comes the next");
    bench_write(FROM, 8, 0);
    bench_write(TO, 8, UINT64_C(0x0100) << 48);
    tap_eq(bench_read(FROM, 8), 0, "no input yet");
    bench_type(chr, "c");
    tap_eq(bench_read(FROM, 8), UINT64_C(0x0100) << 48 | 0x100 | 'c', "it answers when it comes");
    bench_write(FROM, 8, 0);
}

static void check_system(struct chardev *chr)
{
    uint64_t words[8] = {64, 1, RAM + 0x100, 5};

    bench_write(TO, 8, 1);
    tap_ok(took(HW_REQUEST_SHUTDOWN, 0), "exit with 0");
    bench_write(TO, 8, 42 << 1 | 1);
    tap_ok(took(HW_REQUEST_SHUTDOWN, 42), "exit with 42");
    mem_access_write(&bench_space, mem_gpa(RAM), words, sizeof(words), MEM_ATTRS_NONE);
    mem_access_write(&bench_space, mem_gpa(RAM + 0x100), "hello", 5, MEM_ATTRS_NONE);
    bench_write(TO, 8, RAM);
    tap_str(bench_sent(chr), "hello", "write()");
    tap_ok(bench_read(RAM, 8) == 5 && bench_read(FROM, 8) == 1, "and its result");
    bench_write(RAM, 8, 64);
    bench_write(RAM + 16, 8, RAM + 0xf000);
    bench_write(RAM + 24, 8, UINT64_MAX);
    chr->room = SIZE_MAX;
    bench_write(TO, 8, RAM);
    tap_eq(bench_read(RAM, 8), 0x1000, "as much as there is");
    bench_write(RAM, 8, 64);
    bench_write(RAM + 16, 8, TO);
    bench_write(TO, 8, RAM);
    tap_eq(bench_read(RAM, 8), (uint64_t)-EFAULT, "its own registers are no memory");
    bench_write(RAM, 8, 64);
    bench_write(RAM + 8, 8, 3);
    bench_write(TO, 8, RAM);
    tap_eq(bench_read(RAM, 8), (uint64_t)-EBADF, "no other file");
    bench_write(RAM, 8, 1234);
    bench_write(TO, 8, RAM);
    tap_eq(bench_read(RAM, 8), (uint64_t)-ENOSYS, "no other call");
    bench_write(TO, 8, 0xfffffffffff8);
    bench_write(TO, 8, TO);
    bench_write(TO, 8, RAM + 0xffff8);
    bench_write(TO, 8, UINT64_MAX);
    bench_write(TO, 8, 0);
    tap_ok(took_nothing() && !bench_read(TO, 8), "wild commands and addresses are survived");
}

static void check_htif(void)
{
    struct chardev chr = {.room = 100}, second = {.room = 100};
    struct htif *htif = bench_create(&htif_type, ""), *other = bench_create(&htif_type, "");
    struct mem_ram_config config = {.name = "ram", .size = 0x10000};
    struct mem_region region = {0};
    struct mem_ram *ram;
    char error[256];

    if (mem_ram_create(&ram, &config, error, sizeof(error)) ||
        mem_region_init_ram(&region, "ram", ram, 0, 0x10000, false)) {
        tap_ok(false, "RAM");
        return;
    }
    bench_put(RAM, &region);
    htif->chr = &chr;
    other->chr = &second;
    htif->memory = &bench_space;
    bench_realize(htif);
    bench_realize(other);
    bench_put(TO, &htif->tohost);
    bench_put(FROM, &htif->fromhost);
    check_console(&chr);
    check_system(&chr);
    chr.room = 0;
    bench_sent(&chr);
    bench_write(FROM, 8, 0);
    bench_write(TO, 8, UINT64_C(0x0100) << 48);
    bench_write(TO, 8, UINT64_C(0x0101) << 48 | 'm');
    tap_eq(bench_move(htif_type.state, htif, other), 0, "state moves");
    tap_str(bench_sent(&second), "m", "what was on its way arrives");
    other->from = 0;
    bench_type(&second, "n");
    tap_eq(other->from, UINT64_C(0x0100) << 48 | 0x100 | 'n', "what was asked for is answered");
    hw_reset_device(&htif->device, false);
    tap_ok(!bench_read(TO, 8) && !bench_read(FROM, 8), "reset");
    mem_region_remove(&htif->tohost);
    mem_region_remove(&htif->fromhost);
    hw_device_destroy(&htif->device);
    hw_device_destroy(&other->device);
    mem_region_retire(&region, NULL, NULL);
    mem_ram_unref(ram);
}

int main(void)
{
    bench_init();
    hw_lock_acquire();
    check_syscon();
    check_htif();
    hw_lock_release();
    return tap_done();
}
