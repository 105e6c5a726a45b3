/*
 * fw_cfg under a hostile guest: accesses of any size to its registers, and RAM that the input
 * fills, so that DMA descriptors are whatever it wants. An input is operations of one byte each:
 *
 *     0 to 3   write 1, 2, 4 or 8 bytes to a register: offset, value
 *     4 to 7   read such
 *     8        fill RAM: offset (2 bytes), length (1 byte), bytes
 *     9        run the descriptor at an offset in RAM (2 bytes)
 *     10       reset
 */
#include "hw/core/lock.h"
#include "hw/core/reset.h"
#include "hw/nvram/fw-cfg.h"
#include "mem/access.h"

#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>

enum { FW = 0x10100000, IO = 0x10200000, RAM_SIZE = 0x10000, LIVE = 48 };

#define RAM UINT64_C(0x80000000)

static struct mem_region root, ram_region;
static struct mem_space space;
static struct mem_ram *ram;
static struct fw_cfg *fw;
static uint8_t *live;

static void written(void *opaque, uint32_t offset, uint32_t size)
{
    assert(size && offset < LIVE && size <= LIVE - offset);
}

static const struct fw_cfg_item_ops live_ops = {.written = written};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct mem_ram_config config = {.name = "ram", .size = RAM_SIZE};
    struct hw_device *device = hw_device_create(&fw_cfg_type, NULL);
    char error[256];
    int err = mem_ram_create(&ram, &config, error, sizeof(error));

    hw_lock_acquire();
    live = malloc(LIVE);
    if (err || !device || !live) {
        abort();
    }
    mem_region_init_container(&root, "root", MEM_SIZE_ALL);
    mem_space_init(&space, "fuzz", &root);
    fw = (struct fw_cfg *)device;
    fw->memory = &space;
    err = mem_region_init_ram(&ram_region, "ram", ram, 0, RAM_SIZE, false) ||
          hw_device_realize(device, NULL, false, error, sizeof(error)) ||
          mem_region_add(&root, RAM, &ram_region, 0) || mem_region_add(&root, FW, &fw->mmio, 0) ||
          mem_region_add(&root, IO, &fw->io, 0) || fw_cfg_add_string(fw, 9, "command line") ||
          fw_cfg_add_file(fw, "opt/a", "abc", 3) || fw_cfg_add_file(fw, "opt/empty", "", 0) ||
          fw_cfg_add_live_file(fw, "etc/live", live, LIVE, true, &live_ops, NULL);
    if (err) {
        abort();
    }
    return 0;
}

static void reset(void)
{
    memset(live, 0, LIVE);
    hw_reset_device(&fw->device, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    uint8_t bytes[256];

    reset();
    memset(ram->host, 0, RAM_SIZE);
    while (in.left) {
        unsigned op = (unsigned)fuzz_number(&in, 1) % 11;
        uint64_t value, at, n;

        if (op < 8) {
            at = fuzz_number(&in, 1);
            at = (at & 0x80 ? IO : FW) + at % 0x20;
            n = UINT64_C(1) << op % 4;
            if (op < 4) {
                value = fuzz_number(&in, (unsigned)n);
                mem_access_store(&space, mem_gpa(at), (unsigned)n, value, MEM_ATTRS_NONE);
            } else {
                mem_access_load(&space, mem_gpa(at), (unsigned)n, &value, MEM_ATTRS_NONE);
            }
        } else if (op == 8) {
            at = fuzz_number(&in, 2);
            n = fuzz_number(&in, 1);
            fuzz_bytes(&in, bytes, n);
            mem_access_write(&space, mem_gpa(RAM + at), bytes, n, MEM_ATTRS_NONE);
        } else if (op == 9) {
            value = __builtin_bswap64(RAM + fuzz_number(&in, 2));
            mem_access_store(&space, mem_gpa(FW + 16), 8, value, MEM_ATTRS_NONE);
        } else {
            reset();
        }
    }
    return 0;
}
