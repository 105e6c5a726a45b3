/*
 * SiFive's test finisher. Only a write of the commands to the register at 0 does anything; it reads
 * as 0. A write of 16 bits is taken too, its exit status is 0.
 */
#include "hw/misc/syscon-test.h"
#include "hw/core/runstate.h"
#include "util/log.h"

enum { SIZE = 0x1000 };

static int test_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    *value = 0;
    return 0;
}

static int test_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    unsigned command = offset ? 0 : value & 0xffff;

    switch (command) {
    case SYSCON_TEST_PASS:
        hw_runstate_request(HW_REQUEST_SHUTDOWN, HW_CAUSE_GUEST, 0);
        break;
    case SYSCON_TEST_FAIL:
        hw_runstate_request(HW_REQUEST_SHUTDOWN, HW_CAUSE_GUEST, (value >> 16) & 0xffff);
        break;
    case SYSCON_TEST_RESET:
        hw_runstate_request(HW_REQUEST_RESET, HW_CAUSE_GUEST, 0);
        break;
    default:
        log_limited(LOG_GUEST_ERRORS, "sifive_test: write of %#x to offset %#x\n", (unsigned)value,
                    (unsigned)offset);
    }
    return 0;
}

static const struct mem_ops test_ops = {
    .read = test_read, .write = test_write, .min_size = 2, .max_size = 4};

static int test_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct syscon_test *test = (struct syscon_test *)device;

    mem_region_init_mmio(&test->mmio, "sifive_test", SIZE, &test_ops, test, &device->owner);
    return 0;
}

static void test_unrealize(struct hw_device *device)
{
    mem_region_retire(&((struct syscon_test *)device)->mmio, NULL, NULL);
}

const struct hw_device_type syscon_test_type = {
    .name = "riscv.sifive.test",
    .help = "register to power off, fail and reset",
    .size = sizeof(struct syscon_test),
    .internal = true,
    .realize = test_realize,
    .unrealize = test_unrealize,
};
