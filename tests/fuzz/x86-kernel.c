/*
 * Kernels for x86 machines: an input is a file as -kernel names it, behind a byte that says how
 * much memory there is and who is told.
 */
#include "hw/machine/x86-boot.h"
#include "hw/nvram/fw-cfg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

static char *no_firmware(const char *name)
{
    return NULL;
}

static struct fw_cfg *make_fw_cfg(struct mem_space *space)
{
    struct fw_cfg *fw = (struct fw_cfg *)hw_device_create(&fw_cfg_type, NULL);
    char error[128];

    fw->memory = space;
    assert(hw_device_realize(&fw->device, NULL, false, error, sizeof(error)) == 0);
    return fw;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mem_region root;
    static struct mem_space space;
    struct machine machine = {.kernel = "fuzz", .find_firmware = no_firmware};
    struct x86_memory memory = {0};
    struct x86_boot boot = {
        .machine = &machine, .memory = &memory, .append = "a b", .tables = 0xd0000};
    struct loader_file file = {.what = "-kernel", .path = "fuzz", .size = size ? size - 1 : 0};
    char error[512] = "";
    bool tell;
    int err;

    if (size < 2) {
        return 0;
    }
    if (!root.initialised) {
        mem_region_init_container(&root, "fuzz", MEM_SIZE_ALL);
        mem_space_init(&space, "fuzz", &root);
    }
    tell = data[0] & 1;
    memory.below_4g = data[0] & 2 ? 2 << 20 : UINT64_C(3) << 30;
    memory.above_4g = data[0] & 4 ? UINT64_C(1) << 30 : 0;
    file.data = malloc(file.size);
    memcpy(file.data, data + 1, file.size);
    if (tell) {
        machine.fw_cfg = make_fw_cfg(&space);
        err = x86_boot_fw_cfg(&boot, &file, error, sizeof(error));
        hw_device_destroy(&machine.fw_cfg->device);
    } else {
        err = x86_boot_file(&boot, &file, error, sizeof(error));
        assert(err || boot.entry != X86_BOOT_RESET_VECTOR);
    }
    assert(!err == !*error);
    for (const struct loader_blob *b = machine.blobs.first; b; b = b->next) {
        assert(b->filled <= b->size && b->size - 1 <= UINT64_MAX - b->address);
        assert(!b->next || b->next->address - b->address >= b->size);
    }
    loader_free(&machine.blobs);
    loader_close(&file);
    return 0;
}
