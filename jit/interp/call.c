/*
 * Helper calls through libffi.
 *
 * A signature is few bits: the result is nothing, a word or a doubleword; each of up to six
 * arguments is a word or a doubleword (the vCPU is one of the latter). So there is a table of all
 * signatures, in which a call interface is prepared when it is first used and stays for good. A
 * reader needs no lock: an entry's `ready` is stored, with release, after all else.
 */
#include "jit/interp/call.h"

#include <assert.h>
#include <ffi.h>
#include <stdbool.h>
#include "jit/interp/fp_x86_64.h"
#include "util/lock.h"

#define MAX_ARGS (IR_MAX_HELPER_ARGS + 1)

struct signature {
    bool ready;
    ffi_cif cif;
    ffi_type *args[MAX_ARGS];
};

enum { RESULT_NONE, RESULT_WORD, RESULT_DOUBLEWORD, RESULT_COUNT };

/* Second index: a 1, then a bit for each argument from the last to the first, 1 for a doubleword.
 */
static struct signature signatures[RESULT_COUNT][2 << MAX_ARGS];
static struct lock signatures_lock = LOCK_INIT;

static unsigned result_kind(const struct ir_helper *helper)
{
    unsigned size = ir_type_size((enum ir_type)helper->result);

    return size == 0 ? RESULT_NONE : size == 4 ? RESULT_WORD : RESULT_DOUBLEWORD;
}

static void prepare(struct signature *s, unsigned result, unsigned bits)
{
    ffi_type *const types[] = {&ffi_type_void, &ffi_type_uint32, &ffi_type_uint64};
    ffi_status status;
    unsigned n = 0;

    lock_acquire(&signatures_lock);
    if (!s->ready) {
        for (; bits > 1; bits >>= 1) {
            s->args[n++] = bits & 1 ? &ffi_type_uint64 : &ffi_type_uint32;
        }
        status = ffi_prep_cif(&s->cif, FFI_DEFAULT_ABI, n, types[result], s->args);
        assert(status == FFI_OK);
        (void)status;
        __atomic_store_n(&s->ready, true, __ATOMIC_RELEASE);
    }
    lock_release(&signatures_lock);
}

uint64_t interp_call(const struct ir_helper *helper, void *state, const uint64_t *args)
{
    unsigned result = result_kind(helper);
    bool cpu = helper->effects & IR_H_CPU, fp = helper->effects & IR_H_FP;
    unsigned bits = 1, n = 0;
    void *values[MAX_ARGS];
    struct signature *s;
    uint32_t mxcsr = 0;
    ffi_arg value = 0;

    for (unsigned i = helper->nargs; i-- > 0;) {
        bits = bits << 1 | (ir_type_size((enum ir_type)helper->args[i]) == 8);
    }
    if (cpu) {
        bits = bits << 1 | 1;
        values[n++] = &state;
    }
    /* The host is little-endian: the low half of a doubleword is where it starts. */
    for (unsigned i = 0; i < helper->nargs; i++) {
        values[n++] = (void *)&args[i];
    }
    s = &signatures[result][bits];
    if (!__atomic_load_n(&s->ready, __ATOMIC_ACQUIRE)) {
        prepare(s, result, bits);
    }
    if (fp) {
        mxcsr = interp_mxcsr();
    }
    ffi_call(&s->cif, FFI_FN(helper->fn), &value, values);
    if (fp) {
        interp_set_mxcsr(mxcsr);
    }
    return result == RESULT_NONE ? 0 : result == RESULT_WORD ? (uint32_t)value : value;
}
