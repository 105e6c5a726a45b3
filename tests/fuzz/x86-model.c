/*
 * Texts as -cpu takes them: whatever they are, they are refused with one line, or give a model
 * whose leaves are in order and whose features have what they need. Input: a byte that says how the
 * accelerator is, then the text.
 */
#include "target/x86/features.h"
#include "target/x86/model.h"
#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

static struct x86_supported supported;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct x86_leaf leaves[X86_LEAVES_MAX];
    struct x86_model model = {0};
    char error[256];
    unsigned count;

    /* warnings are not looked at */
    if (x86_model_set(&model, "x86-64-v3,+xsaves,+xsavec,phys-bits=44", error, sizeof(error))) {
        abort();
    }
    count = x86_model_leaves(&model, leaves);
    memcpy(supported.leaf, leaves, count * sizeof(leaves[0]));
    supported.count = count;
    supported.xcr0 = 7;
    supported.signature = "KVMKVMKVM\0\0";
    supported.tsc_hz = supported.apic_hz = 1000000000;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct x86_model model = {.threads = 1, .cores = 3, .dies = 2};
    struct x86_leaf leaves[X86_LEAVES_MAX];
    char text[512], error[1024] = "";
    unsigned count;

    if (size == 0) {
        return 0;
    }
    x86_model_set_supported(data[0] & 1 ? &supported : NULL);
    size = size - 1 < sizeof(text) - 16 ? size - 1 : sizeof(text) - 16;
    memcpy(text, data + 1, size);
    text[size] = 0;
    strcat(text, ",check=off");
    if (x86_model_set(&model, text, error, sizeof(error))) {
        assert(error[0]);
        return 0;
    }
    count = x86_model_leaves(&model, leaves);
    assert(count <= X86_LEAVES_MAX);
    for (unsigned n = 0; n < count; n++) {
        struct x86_leaf l = x86_model_cpuid(&model, leaves[n].leaf, leaves[n].subleaf);

        assert(n == 0 || leaves[n].leaf > leaves[n - 1].leaf ||
               (leaves[n].leaf == leaves[n - 1].leaf && leaves[n].subleaf > leaves[n - 1].subleaf));
        assert(l.eax == leaves[n].eax && l.ebx == leaves[n].ebx && l.ecx == leaves[n].ecx &&
               l.edx == leaves[n].edx);
    }
    for (unsigned n = 0; n < x86_feature_count; n++) {
        const char *name = x86_feature_table[n].name;

        assert(!x86_model_has(&model, name) || !x86_feature_lacks(&model.feature, name));
    }
    return 0;
}
