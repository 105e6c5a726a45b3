/*
 * The x86-64 back end. jit/jit.h says what it makes.
 */
#ifndef TINAMOU_JIT_X86_64_X86_64_H
#define TINAMOU_JIT_X86_64_X86_64_H

#include "jit/jit.h"
#include "jit/side.h"

struct x86_compiler;

/* A compiler's working memory; one a thread. NULL when out of memory. */
struct x86_compiler *jit_x86_new(const struct jit_layout *layout,
                                 const struct jit_options *options);
void jit_x86_delete(struct x86_compiler *compiler);

/* Compiles a verified unit into code (whose previous content is dropped). False if the unit keeps
 * more values alive than there are spill slots: the caller makes a shorter one (of a single guest
 * instruction none is too long). Without memory it aborts with a message. The unit may be dropped
 * afterwards. */
bool jit_x86_compile(struct x86_compiler *compiler, const struct ir_unit *unit,
                     struct jit_code *code);

/* What thunks need beyond the layout. */
struct jit_x86_hooks {
    /* Called on the shadow stack with every pin in its home: the host code for guest pc / for link
     * id; or NULL, with exit_reason set, to leave for the run loop. pc is set for the first. */
    const void *(*lookup)(void *state, uint64_t pc);
    const void *(*link)(void *state, uint32_t link);
    /* JIT_MEM_TLB: does the access whose struct jit_access is at `site`, with the registers as they
     * are, and writes its result to them; returns false when the unit is to be left: the state has
     * been recovered and exit_reason set. */
    bool (*slow)(void *state, struct jit_host_regs *regs, const uint8_t *site);
    /* For JIT_THUNK_CALL, with exit_reason set already. May be NULL where no reason goes there. */
    const void *(*call)(void *state);
    uint32_t pc_offset;
    uint32_t reason_poll; /* exit_reason of a fired exit check */
};

/* Writes the thunks for a target to code and their offsets to offset[]. */
void jit_x86_thunks(const struct ir_target *target, const struct jit_layout *layout,
                    const struct jit_x86_hooks *hooks, struct jit_code *code,
                    uint32_t offset[JIT_THUNK_COUNT]);

/* Where JIT_RELOC_RUNTIME leads. */
void *jit_x86_runtime(enum jit_runtime function);

/* How far rbp points behind the start of the state. */
int32_t jit_x86_bias(const struct ir_target *target);

#endif
